"""Start a compiled kernel on a GPU: through CuPy, and through Numba where CuPy cannot load the PTX.

CuPy loads the PTX once for each kernel, signature and device, and starts it on CuPy's current stream with the flat ABI:
nothing is copied, converted or waited for. `cupy` is handed in, as the array module of the device `cuda`.
"""

from __future__ import annotations

import warnings
from typing import Any

from tinygrad_ft.cuda.abi import flat, is_array, typed
from tinygrad_ft.cuda.cards import STATIC_SHARED, Capability, nearest
from tinygrad_ft.cuda.compile import Kernel
from tinygrad_ft.cuda.ptx import Compiled

Size = tuple[int, int, int]

_functions: dict[str, Any] = {}  # by the file of the PTX; CuPy itself keeps one module a device
_capabilities: dict[int, Capability] = {}  # by the number of the device


def capability(cupy: Any) -> Capability:
    """The capability to compile for, so that the current device runs it."""
    device = cupy.cuda.Device()
    known = _capabilities.get(device.id)
    if known is None:
        digits = device.compute_capability  # "90", "120"
        known = _capabilities[device.id] = nearest((int(digits[:-1]), int(digits[-1])))
    return known


def start(
    cupy: Any, kernel: Kernel, compiled: Compiled, grid: Size, block: Size, arguments: tuple[Any, ...], shared: int
) -> None:
    """Start it on CuPy's current stream, and do not wait.

    Raises:
        ValueError: if an array is on another GPU than the current one.
    """
    current = cupy.cuda.Device().id
    for name, argument in zip(kernel.arguments, arguments, strict=True):
        if is_array(argument) and argument.device.id != current:
            raise ValueError(
                f"kernel {kernel.name}: {name} is on GPU {argument.device.id}, and the current one is GPU {current}; "
                f"move it, or launch within cupy.cuda.Device({argument.device.id})"
            )
    function = _loaded(cupy, kernel, compiled)
    if function is None:
        given = [argument if is_array(argument) else typed(argument) for argument in arguments]
        kernel.start_by_numba(grid, block, given, shared, cupy.cuda.get_current_stream().ptr)
        return
    if compiled.shared + shared > STATIC_SHARED:  # which a driver gives only when asked
        function.max_dynamic_shared_size_bytes = shared
    function(grid, block, tuple(flat(arguments, _address)), shared_mem=shared)


def _address(array: Any) -> int:
    return int(array.data.ptr)


def _loaded(cupy: Any, kernel: Kernel, compiled: Compiled) -> Any:
    """The function that CuPy made of the PTX; None where the driver refuses it."""
    key = str(compiled.path)
    if key not in _functions:
        try:
            _functions[key] = cupy.RawModule(path=key).get_function(compiled.name)
        except cupy.cuda.driver.CUDADriverError as error:
            warnings.warn(
                f"the driver does not load the PTX of kernel {kernel.name} ({error}); Numba compiles and starts it "
                "instead, which takes longer",
                RuntimeWarning,
                stacklevel=4,
            )
            _functions[key] = None
    return _functions[key]
