"""The logarithm of softmax on a GPU, by the kernels of softmax, told to write the logarithm.

Replaces: ops.reduce.log_softmax. Applies where they do.
"""

from __future__ import annotations

from typing import Any

from tinygrad_ft.kernels.cuda.softmax import by_block, by_online, by_registers, fits, fits_registers
from tinygrad_ft.ops.reduce import log_softmax


@log_softmax.kernel("cuda", when=fits)
def block(xp: Any, x: Any, *, axis: int) -> Any:
    """A block a row, three passes."""
    return by_block(xp, x, True)


@log_softmax.kernel("cuda", when=fits)
def online(xp: Any, x: Any, *, axis: int) -> Any:
    """A warp or a block a row, two passes."""
    return by_online(xp, x, True)


@log_softmax.kernel("cuda", when=fits_registers)
def registers(xp: Any, x: Any, *, axis: int) -> Any:
    """A warp or a block a row, one pass."""
    return by_registers(xp, x, True)
