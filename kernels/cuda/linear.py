"""Linear layers on a GPU by the kernels of the matrix product, which start their sums at the bias.

Replaces: ops.linalg.linear, by choice on `cuda` and always on the emulator, as kernels.cuda.matmul says. The bias costs
no pass of its own: 8 bytes less for each number of the answer.
Applies: what the matrix product takes; a contiguous bias of the same dtype, or none.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from tinygrad_ft.kernels.cuda.matmul import WORTH_REGISTERS, at_least, by_number, by_registers, by_tile
from tinygrad_ft.ops.linalg import linear


def _takes(x: Any, weight: Any, bias: Any, *, edge: int = 0) -> bool:
    if getattr(weight, "ndim", 0) != 2 or not at_least(edge, x, weight.T):
        return False
    if bias is None:
        return True
    return bool(bias.dtype == x.dtype and bias.shape == weight.shape[:1] and bias.flags.c_contiguous)


@linear.kernel("cuda", when=_takes, by_choice=True)
def naive(xp: Any, x: Any, weight: Any, bias: Any) -> Any:
    """A thread a number."""
    return by_number(xp, x, weight.T, bias)


@linear.kernel("emulator", when=_takes)
@linear.kernel("cuda", when=_takes, by_choice=True)
def tiled(xp: Any, x: Any, weight: Any, bias: Any) -> Any:
    """A block a tile, by way of shared memory."""
    return by_tile(xp, x, weight.T, bias)


@linear.kernel("emulator", when=partial(_takes, edge=WORTH_REGISTERS))
@linear.kernel("cuda", when=_takes, by_choice=True)
def register(xp: Any, x: Any, weight: Any, bias: Any) -> Any:
    """A thread a square of numbers, in its registers."""
    return by_registers(xp, x, weight.T, bias)
