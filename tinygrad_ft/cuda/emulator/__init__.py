"""A GPU on the CPU: executes the PTX that Numba emits, checks what a GPU would let pass, counts what a profiler would.

    from numba import cuda
    from tinygrad_ft.cuda import emulator

    @cuda.jit
    def add(x, y, out):
        i = cuda.grid(1)
        if i < out.size:
            out[i] = x[i] + y[i]

    print(emulator.launch(add, 4, 64, x, y, out))  # NumPy arrays; out is written in place

The PTX is read by `text` and `program`, divided by `flow`, and turned by `decode` into Python functions, of which
`rules`, `floats`, `integers` and `convert` say what they compute; `machine` runs them for all lanes at once on NumPy.
Every address goes through `access`, which finds what must not be, by what `order` knows of barriers and fences.
`counters` and `faults` are what one gets to see.
"""

from __future__ import annotations

from types import FunctionType
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from tinygrad_ft.cuda.abi import is_array
from tinygrad_ft.cuda.cards import Capability, nearest
from tinygrad_ft.cuda.emulator.counters import Counters
from tinygrad_ft.cuda.emulator.faults import KernelFault, UnknownInstruction
from tinygrad_ft.cuda.emulator.machine import run
from tinygrad_ft.cuda.emulator.memory import Written
from tinygrad_ft.cuda.emulator.program import Program

__all__ = ["Counters", "KernelFault", "Program", "UnknownInstruction", "Written", "launch", "run"]

_kernels: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()


def launch(
    kernel: Any,
    grid: int | tuple[int, ...],
    block: int | tuple[int, ...],
    *arguments: Any,
    shared: int = 0,
    capability: Capability = (9, 0),
    step_limit: int | None = None,
    written: Written | None = None,
) -> Counters:
    """Run a kernel on NumPy arrays, in place; what was counted.

    Args:
        kernel: made by `cuda.jit`, or a plain function in Numba-CUDA's language, or a kernel of this package.
        grid, block: how many blocks, and threads in each; a number or up to three.
        arguments: arrays, which may be views and need not be contiguous, and numbers; Python's are 64 bits wide.
        shared: bytes of dynamic shared memory a block.
        capability: of the GPU to compile for, as (9, 0).
        step_limit: after so many instructions a kernel counts as endless; else a few millions.
        written: what of the arrays was written so far, so that reading what nobody wrote is found.
    Raises:
        KernelFault: when a thread does what it must not: kernel, block, thread, line of Python and of PTX.
        CompileError: if Numba cannot compile it.
        TypeError, ValueError: for arguments or sizes that it cannot have.
    """
    made = _kernel(kernel)
    for name, a in zip(made.arguments, arguments, strict=False):
        if is_array(a) and not isinstance(a, np.ndarray):
            raise TypeError(
                f"kernel {made.name}, argument {name}: emulator.launch takes NumPy arrays, not "
                f"{type(a).__module__}.{type(a).__name__}"
            )
    given = arguments
    if made is not kernel:  # where Numba takes a float for float64, our own kernels take it for float32
        given = tuple(np.float64(a) if type(a) is float else a for a in arguments)
    compiled = made.ptx(made.signature(*given), nearest(capability))
    return run(
        compiled.program,
        grid,
        block,
        given,
        shared=shared,
        step_limit=step_limit,
        written=written,
        names=made.arguments,
    )


def _kernel(given: Any) -> Any:
    """The package's kernel for what the user has."""
    from tinygrad_ft.cuda.compile import Kernel

    if isinstance(given, Kernel):
        return given
    function = getattr(given, "py_func", given)
    if not isinstance(function, FunctionType):
        raise TypeError(
            f"emulator.launch(kernel, grid, block, ...) takes a kernel or a function, not {type(given).__name__}"
        )
    if not function.__name__.isidentifier():
        raise TypeError("emulator.launch takes a function with a name, not a lambda: write it with def")
    options = getattr(given, "targetoptions", {})
    fastmath = bool(options.get("fastmath"))
    known = _kernels.setdefault(function, {})
    if fastmath not in known:
        names = function.__code__.co_varnames[: function.__code__.co_argcount]
        known[fastmath] = Kernel(
            function, version="own", moves="unknown", why="your own", fastmath=fastmath, strided=names
        )
    return known[fastmath]
