"""Cross-entropy of logits on a GPU, fused with log-softmax: the loss and its slope, from one reading of memory.

Replaces: ops.loss.summed_cross_entropy. Moves 8 bytes an element in float32 (reads x, writes the slope), where an array
operation at a time moves about 40; logarithms of chances are never in memory. Backward is a product with the slope.
Applies: contiguous rows of at least one class, float32 or float16, fewer than 2^31 elements; contiguous targets.
"""

from __future__ import annotations

from math import exp, log
from typing import Any

import numpy as np

from tinygrad_ft.cuda.compile import cuda, float32, int32, int64, kernel, uint32
from tinygrad_ft.cuda.intrinsics import address
from tinygrad_ft.kernels.cuda.reduce import reduced
from tinygrad_ft.kernels.cuda.rows import apart, are_rows, by_rows, first, put, row_here, take
from tinygrad_ft.kernels.cuda.softmax import NOTHING, largest_and_sum
from tinygrad_ft.ops.loss import summed_cross_entropy

ZERO = np.float32(0.0)


@kernel(
    version="online",
    moves="reads x once from memory and once more from cache, writes the slope and 4 bytes a row",
    why="loss and slope from one largest and one sum; chances stay in registers",
)
def cross_entropy_online(
    x: Any, target: Any, shares: Any, share: Any, each: Any, slope: Any, losses: Any, n: Any
) -> None:
    """slope, and each row's part of the loss, for rows of n; `shares` holds one number for all rows or, if `each`, one
    for each, and otherwise `share` is what every row counts.

    A target below 0 counts from the end; one that is no class is read as the nearest, since nobody can be told.
    """
    row = row_here()
    if row * n < uint32(x.size):
        part = share
        if each:
            part = float32(shares[min(row, uint32(shares.size - 1))])
        wanted = int64(target[row])
        if wanted < 0:
            wanted += n
        wanted = int32(min(max(wanted, int64(0)), int64(n - 1)))
        step = apart(n, address(x) | address(slope))
        turn = int32(cuda.blockDim.x << 2)
        i, left = uint32(row * n + first(step)), int32(n - first(step))
        m, s = largest_and_sum(x, i, left, step)
        if cuda.threadIdx.x == 0:
            loss = ZERO
            if part != ZERO:
                loss = part * (log(s) - (float32(x[uint32(row * n + wanted)]) - m))
            losses[row] = loss
        scale = part / s
        ahead = int32(wanted - first(step))  # how far ahead of this thread the wanted class lies
        while left > 0:
            a, b, c, d = take(x, i, left, step, NOTHING)
            a, b, c, d = exp(a - m) * scale, exp(b - m) * scale, exp(c - m) * scale, exp(d - m) * scale
            a = a - part if ahead == 0 else a
            b = b - part if ahead == step else b
            c = c - part if ahead == 2 * step else c
            d = d - part if ahead == 3 * step else d
            put(slope, i, left, step, a, b, c, d)
            i, left, ahead = uint32(i + turn), int32(left - turn), int32(ahead - turn)


def _applies(x: Any, target: Any, share: Any) -> bool:
    if not are_rows(x) or x.ndim != 2 or type(target) is not type(x) or target.dtype.kind not in "iu":
        return False
    if target.shape != x.shape[:1] or not target.flags.c_contiguous or isinstance(share, float):
        return bool(target.shape == x.shape[:1] and target.flags.c_contiguous)
    alike = type(share) is type(x) and share.dtype in (np.float32, np.float16)
    return alike and bool(share.flags.c_contiguous) and share.size in (1, x.shape[0])


@summed_cross_entropy.kernel("cuda", when=_applies)
def online(xp: Any, x: Any, target: Any, share: Any) -> tuple[Any, Any]:
    """Loss and slope, a warp or a block a row; then the sum of the rows' losses, in an order that never changes."""
    rows, n = x.shape
    slope, losses = xp.empty(x.shape, x.dtype), xp.empty(rows, np.float32)
    each = not isinstance(share, float)
    shares, alone = (share.reshape(-1), ZERO) if each else (losses, np.float32(share))
    arguments = x.reshape(-1), target, shares, alone, each, slope.reshape(-1), losses, np.uint32(n)
    by_rows(cross_entropy_online, rows, n, *arguments)
    loss = reduced(xp, "sum", losses, (0,), ())
    return loss if x.dtype == np.float32 else loss.astype(x.dtype), slope
