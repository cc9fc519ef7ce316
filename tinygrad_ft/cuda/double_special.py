"""The special functions of the device `emulator`: what `cupyx.scipy.special` and SciPy both have."""

from __future__ import annotations

from typing import Any

import scipy.special

from tinygrad_ft.cuda import contract
from tinygrad_ft.cuda.double_module import Function


def __getattr__(name: str) -> Any:
    path = f"cupyx.scipy.special.{name}"
    if name.startswith("_") or not hasattr(scipy.special, name) or not contract.has(path):
        raise AttributeError(f"cupyx.scipy.special has no {name}")
    return Function(path, getattr(scipy.special, name))
