"""Rows brought to mean 0 and variance 1 on a GPU, for batch, group and instance norm, and for layer norm of float16.

Replaces: ops.normalise.normalise, by the kernels of layer norm without weight and bias. Applies where they do.
"""

from __future__ import annotations

from typing import Any

from tinygrad_ft.kernels.cuda.layer_norm import by_block, by_registers, fits, fits_registers
from tinygrad_ft.ops.normalise import normalise


def _applies(x: Any, *, axes: int, eps: float) -> bool:
    return fits(x, None, None, axes=axes, eps=eps)


def _fits_registers(x: Any, *, axes: int, eps: float) -> bool:
    return fits_registers(x, None, None, axes=axes, eps=eps)


@normalise.kernel("cuda", when=_applies)
def block(xp: Any, x: Any, *, axes: int, eps: float) -> tuple[Any, Any]:
    """A block a row, three passes."""
    y, _, r = by_block(xp, x, None, None, axes=axes, eps=eps)
    return y, r


@normalise.kernel("cuda", when=_fits_registers)
def registers(xp: Any, x: Any, *, axes: int, eps: float) -> tuple[Any, Any]:
    """A warp or a block a row, one pass."""
    y, _, r = by_registers(xp, x, None, None, axes=axes, eps=eps)
    return y, r
