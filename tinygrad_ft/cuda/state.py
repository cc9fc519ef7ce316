"""What this machine can do of the GPU's side, in one line each, and what to install for the rest."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, NamedTuple

from tinygrad_ft.cuda import toolkit


class State(NamedTuple):
    """Whether something is ready, and the line that says so or says what is missing."""

    ready: bool
    said: str


def emulator() -> State:
    """Kernels compiled and executed on the CPU."""
    try:
        toolkit.need_compiler()
        return State(True, f"emulator: ready (numba-cuda {toolkit.versions()['numba-cuda']})")
    except (ImportError, RuntimeError) as error:
        return State(False, f"emulator: {error}")


def tools() -> State:
    """The compile report."""
    try:
        return State(True, f"compile report: ready (ptxas {toolkit.version_of('ptxas')})")
    except (ImportError, RuntimeError) as error:
        return State(False, f"compile report: {error}")


def contract() -> State:
    """CuPy's own word on every kind of call that the device double is given."""
    if find_spec("cupy") is None:
        return State(
            False,
            "device double: refuses by its own rules alone, for CuPy is not installed: "
            "pip install 'tinygrad-ft[gpu-check]'",
        )
    from tinygrad_ft.cuda.contract import cupy

    if cupy() is None:
        return State(False, "device double: no call is replayed on CuPy, which has a GPU here or cannot be imported")
    return State(True, f"device double: ready, every kind of call is replayed on CuPy {cupy().__version__}")


def gpu() -> State:
    """A GPU that CuPy can use, and the compiler for its kernels."""
    if find_spec("cupy") is None:
        return State(
            False,
            "cuda: CuPy is not installed; with an NVIDIA GPU: pip install 'tinygrad-ft[cuda13]', or [cuda12] for a "
            "driver of CUDA 12",
        )
    import cupy

    found = emulator()
    if not found.ready:
        return State(False, found.said.replace("emulator:", "cuda:", 1))
    try:
        return State(True, f"cuda: ready ({', '.join(names(cupy))})")
    except Exception as error:  # of the driver, or of a library that cannot be loaded
        return State(False, f"cuda: no GPU can be used here: {' '.join(str(error).split())}")


def names(cupy: Any) -> list[str]:
    """The GPUs, by the names that the driver gives them."""
    count = cupy.cuda.runtime.getDeviceCount()
    if not count:
        raise RuntimeError("the driver finds none")
    return [cupy.cuda.runtime.getDeviceProperties(i)["name"].decode() for i in range(count)]
