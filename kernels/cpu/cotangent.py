"""How a cotangent comes to a loop over elements: as it is, as the one number that it repeats, or copied."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ft.kernels.cpu.vector import alike


def fits(g: Any, x: Any) -> bool:
    """Whether g is the cotangent of an array that a loop can walk through, element by element."""
    return alike(x) and isinstance(g, np.ndarray) and g.dtype == x.dtype and g.shape == x.shape


def fits_as_it_is(g: Any, x: Any) -> bool:
    """Whether `numbers_of` needs no copy of it either: one number seen many times is what the rule of a sum leaves."""
    return fits(g, x) and (g.flags.c_contiguous or not any(g.strides))


def numbers_of(g: Any) -> Any:
    """The numbers of g in one row; a single one if it repeats that."""
    if g.flags.c_contiguous:
        return g.reshape(-1)
    return np.ascontiguousarray(g).reshape(-1) if any(g.strides) else g[(slice(1),) * g.ndim].reshape(-1)
