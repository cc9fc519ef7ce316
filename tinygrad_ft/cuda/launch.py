"""Launch a kernel on the device that its arrays live on: the emulator, or a GPU.

Whatever a launch cannot have is refused here, before anything runs, with the same words for both.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from operator import index
from typing import Any, NamedTuple

from tinygrad_ft.cuda import gpu
from tinygrad_ft.cuda.abi import is_array
from tinygrad_ft.cuda.cards import LARGEST_GRID, LIMITS, LONGEST_BLOCK, THREADS_IN_A_BLOCK, Capability, nearest
from tinygrad_ft.cuda.compile import Kernel
from tinygrad_ft.cuda.ptx import Compiled
from tinygrad_ft.device import DEVICES, Device, cpu

Size = tuple[int, int, int]

capability: Capability = (9, 0)  # of the GPU that the emulator stands for


class Launch(NamedTuple):
    """One launch, as `recorded` notes it. `counters` is what the emulator counted, None on a GPU."""

    kernel: Kernel
    compiled: Compiled
    grid: Size
    block: Size
    args: tuple[Any, ...]
    shared: int
    counters: Any


_logs: list[list[Launch]] = []
_runs = True


@contextmanager
def recorded(log: list[Launch] | None = None) -> Iterator[list[Launch]]:
    """A list of every launch until the context ends. Arguments are the arrays themselves, which may change later."""
    log = [] if log is None else log
    _logs.append(log)
    try:
        yield log
    finally:
        _logs[:] = [other for other in _logs if other is not log]


@contextmanager
def compiled_only() -> Iterator[None]:
    """Launches on the emulator are compiled and noted, but nothing runs, and answers hold anything: for the report."""
    global _runs
    before, _runs = _runs, False
    try:
        yield
    finally:
        _runs = before


@contextmanager
def emulating(other: Capability) -> Iterator[None]:
    """The emulator stands for a GPU of another compute capability until the context ends.

    Raises:
        ValueError: for one that is older than all that are known.
    """
    global capability
    before, capability = capability, nearest(other)
    try:
        yield
    finally:
        capability = before


def launch(
    kernel: Kernel, grid: int | tuple[int, ...], block: int | tuple[int, ...], *arguments: Any, shared: int = 0
) -> None:
    """Run `kernel` in a grid of blocks of threads; `shared` is the dynamic shared memory of a block in bytes.

    Raises:
        TypeError: for wrong arguments: their number, a host array, something that is neither array nor number.
        ValueError: for a grid, block or shared memory that no launch can have, arrays of several devices, or one that
            is not contiguous where the kernel needs it.
        CompileError: if the kernel does not compile for these arguments.
    """
    sizes = _grid(kernel, grid), _block(kernel, block)
    device = _device(kernel, arguments)
    emulated = device.name == "emulator"
    compiled = kernel.compiled(arguments, capability if emulated else gpu.capability(device.xp))
    _check_shared(kernel, compiled, shared)
    counters = None
    if not emulated:
        gpu.start(device.xp, kernel, compiled, *sizes, arguments, shared)
    elif _runs:
        counters = _emulate(kernel, compiled, sizes, arguments, shared)
    for log in _logs:
        log.append(Launch(kernel, compiled, *sizes, arguments, shared, counters))


def _three(kernel: Kernel, what: str, given: Any) -> Size:
    if type(given) is int:
        return given, 1, 1
    sizes = given if isinstance(given, tuple) else (given,)
    try:
        x, y, z = map(index, (*sizes, 1, 1)[: max(3, len(sizes))])
    except (TypeError, ValueError):
        raise TypeError(
            f"kernel {kernel.name}: the {what} is a number or a tuple of one to three, not {given!r}"
        ) from None
    return x, y, z


def _grid(kernel: Kernel, given: Any) -> Size:
    sizes = _three(kernel, "grid", given)
    if min(sizes) < 1:
        raise ValueError(f"kernel {kernel.name}: a grid of {sizes} has no blocks; with nothing to do, do not launch")
    if sizes[0] > LARGEST_GRID[0] or sizes[1] > LARGEST_GRID[1] or sizes[2] > LARGEST_GRID[2]:
        raise ValueError(f"kernel {kernel.name}: a grid of {sizes} blocks is too large: at most {LARGEST_GRID}")
    return sizes


def _block(kernel: Kernel, given: Any) -> Size:
    sizes = _three(kernel, "block", given)
    threads = sizes[0] * sizes[1] * sizes[2]
    if min(sizes) < 1:
        raise ValueError(f"kernel {kernel.name}: a block of {sizes} has no threads")
    if threads > THREADS_IN_A_BLOCK or sizes[2] > LONGEST_BLOCK[2]:
        raise ValueError(
            f"kernel {kernel.name}: a block of {sizes} is {threads} threads: at most {THREADS_IN_A_BLOCK}, and at most "
            f"{LONGEST_BLOCK} along each axis"
        )
    return sizes


def _check_shared(kernel: Kernel, compiled: Compiled, dynamic: Any) -> None:
    if not isinstance(dynamic, int) or dynamic < 0:
        raise ValueError(f"kernel {kernel.name}: dynamic shared memory is a number of bytes, not {dynamic!r}")
    most = LIMITS[compiled.capability].shared_of_a_block
    if compiled.shared + dynamic > most:
        raise ValueError(
            f"kernel {kernel.name}: {compiled.shared} + {dynamic} bytes of shared memory (static + dynamic) are too "
            f"many: compute capability {'.'.join(map(str, compiled.capability))} gives a block at most {most}"
        )


def _device(kernel: Kernel, arguments: tuple[Any, ...]) -> Device:
    """The one device that all arrays are on."""
    found: Device | None = None
    for argument in arguments:
        if type(argument) in DEVICES or is_array(argument):
            device = DEVICES.get(type(argument), cpu)
            if device is cpu or (found is not None and device is not found):
                raise _misplaced(kernel, arguments)
            found = device
    if found is None:
        raise TypeError(f"kernel {kernel.name}: no array among the arguments, so it is unknown where to run")
    return found


def _misplaced(kernel: Kernel, arguments: tuple[Any, ...]) -> TypeError | ValueError:
    """What to say of arrays that are not all on one device that runs kernels."""
    on: dict[str, str] = {}
    for position, argument in enumerate(arguments):
        if not is_array(argument):
            continue
        name = kernel.arguments[position] if position < len(kernel.arguments) else f"argument {position}"
        device = DEVICES.get(type(argument))
        if device is None:
            kind = f"{type(argument).__module__}.{type(argument).__name__}"
            return TypeError(f"kernel {kernel.name}: {name} is a {kind}, not an array of the emulator or a GPU")
        if device is cpu:
            return TypeError(
                f"kernel {kernel.name}: {name} is an array of the host; move it to the device first, as xp.asarray does"
            )
        on.setdefault(device.name, name)
    (a, one), (b, other) = [*on.items()][:2]
    return ValueError(f"kernel {kernel.name}: {one} is on {a}, and {other} is on {b}; move one of them")


def _emulate(
    kernel: Kernel, compiled: Compiled, sizes: tuple[Size, Size], arguments: tuple[Any, ...], shared: int
) -> Any:
    from tinygrad_ft.cuda.emulator.machine import run

    given = [memory(argument) if is_array(argument) else argument for argument in arguments]
    return run(compiled.program, *sizes, given, shared=shared, names=kernel.arguments)


def memory(array: Any) -> Any:
    """The NumPy array that holds the numbers of an array of the emulator."""
    return array._memory
