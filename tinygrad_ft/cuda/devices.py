"""Bring the devices `emulator` and `cuda` into the table of devices, once somebody asks for one of them."""

from __future__ import annotations

from tinygrad_ft.cuda import state, toolkit
from tinygrad_ft.device import DEVICES, Device


def emulator() -> None:
    """Arrays of the device double; kernels run in the emulator.

    Raises:
        MissingToolkit: if numba-cuda, which compiles the kernels, is not installed.
    """
    toolkit.need_compiler()
    from tinygrad_ft.cuda.double import DoubleArray
    from tinygrad_ft.cuda.double_module import xp

    DEVICES[DoubleArray] = Device("emulator", xp, "tinygrad_ft.cuda.double_special")


def cuda() -> None:
    """CuPy's arrays on the GPU that CuPy holds to be the current one.

    Raises:
        RuntimeError: if CuPy or numba-cuda is not installed, or no GPU can be used.
    """
    found = state.gpu()
    if not found.ready:
        raise RuntimeError(f"device {found.said}")
    import cupy

    DEVICES[cupy.ndarray] = Device("cuda", cupy, "cupyx.scipy.special")
