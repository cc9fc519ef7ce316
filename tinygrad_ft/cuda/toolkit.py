"""What compiling for a GPU needs on this machine: which wheel brings it, where its tools lie, what is missing."""

from __future__ import annotations

import os
import re
import subprocess
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from shutil import which


class MissingToolkit(ImportError, RuntimeError):
    """Something that a wheel would bring is not installed; the message says how to get it."""


def need_compiler() -> None:
    """Make sure that numba-cuda is here, and not its simulator.

    Raises:
        MissingToolkit: if it is not installed, with what to install.
        RuntimeError: if NUMBA_ENABLE_CUDASIM puts Numba's simulator in its place, which compiles nothing.
    """
    if find_spec("numba_cuda") is None:  # numba.cuda alone may be the old one that Numba itself still carries
        raise MissingToolkit(
            "CUDA kernels need numba-cuda, which is not installed: pip install 'tinygrad-ft[emulator]'"
        )
    if os.environ.get("NUMBA_ENABLE_CUDASIM", "0") not in ("", "0"):
        raise RuntimeError("NUMBA_ENABLE_CUDASIM is set, so Numba simulates instead of compiling: unset it")


def need_nvvm(error: BaseException) -> None:
    """Make sure that an error of compiling does not come from a missing NVVM.

    Raises:
        MissingToolkit: if it does, with what to install.
    """
    if type(error).__name__ == "NvvmSupportError":
        raise MissingToolkit(
            "CUDA kernels need NVVM, the compiler behind numba-cuda, which is not installed: "
            "pip install 'tinygrad-ft[emulator]'"
        ) from error


@cache
def versions() -> dict[str, str]:
    """The versions of everything that decides what PTX comes out; what is not installed is left out."""
    found = {}
    for name in ("numba-cuda", "numba", "llvmlite", "nvidia-nvvm", "nvidia-cuda-nvcc-cu12"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


@cache
def tool(name: str) -> Path:
    """Where `ptxas` or `nvdisasm` lies: in the newest of the wheels, or on the PATH.

    Raises:
        MissingToolkit: if it is nowhere, with what to install.
    """
    package = find_spec("nvidia")
    folders = [Path(folder) for folder in (package.submodule_search_locations or ())] if package else []
    for pattern in (f"cu[0-9]*/bin/{name}", f"*/bin/{name}"):  # the wheels of CUDA 13 and later; those of 12
        for path in sorted((path for folder in folders for path in folder.glob(pattern)), reverse=True):
            return path
    if found := which(name):
        return Path(found)
    raise MissingToolkit(
        f"the compile report needs {name}, which is not installed: pip install 'tinygrad-ft[gpu-check]'"
    )


@cache
def version_of(name: str) -> str:
    """What the tool of that name says of its version, as "13.5.37".

    Raises:
        MissingToolkit: if it is not installed.
    """
    said = run([str(tool(name)), "--version"])
    found = re.search(r"V(\d[\d.]*)", said)
    return found[1] if found else said.strip()


def run(order: list[str]) -> str:
    """What a program says, on both of its outputs.

    Raises:
        RuntimeError: if it fails, with what it says.
    """
    done = subprocess.run(order, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(" ".join(done.stderr.split()) or f"{Path(order[0]).name} ended with {done.returncode}")
    return done.stdout + done.stderr
