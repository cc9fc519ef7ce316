"""RMS norm on a GPU, a row at a time: its mean square, and the row divided by the root of that, and scaled.

Replaces: ops.normalise.rms_norm_of_rows.
Applies: contiguous float32 or float16, weight of that dtype or None, fewer than 2^31 elements. Sums are float32.
"""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np

from tinygrad_ft.cuda.compile import cuda, float32, int32, kernel, uint32
from tinygrad_ft.cuda.intrinsics import address
from tinygrad_ft.kernels.cuda.row_weights import fit, numbers_of, row_or
from tinygrad_ft.kernels.cuda.rows import (
    THREADS,
    apart,
    by_blocks,
    by_rows,
    first,
    put,
    row_here,
    row_sum,
    take,
    tree_sum,
)
from tinygrad_ft.ops.normalise import rms_norm_of_rows

ZERO, ONE = np.float32(0.0), np.float32(1.0)
TURNS = 4  # of four numbers each, that a thread holds
NUMBERS = 4 * TURNS


@kernel(version="block", moves="reads x twice, writes y once", why="coalesced; a tree in shared memory meets")
def rms_norm_block(x: Any, weight: Any, y: Any, r: Any, n: Any, eps: Any, scaled: Any) -> None:
    """y = x r weight, r = 1 / sqrt(mean(x^2) + eps) for rows of n, a block a row; weight counts if `scaled`."""
    start, t = uint32(cuda.blockIdx.x * n), uint32(cuda.threadIdx.x)
    j, q = t, ZERO
    while j < n:
        v = float32(x[uint32(start + j)])
        q += v * v
        j = uint32(j + THREADS)
    scale = ONE / sqrt(tree_sum(q) / float32(n) + eps)
    j = t
    while j < n:
        v = float32(x[uint32(start + j)]) * scale
        if scaled:
            v *= float32(weight[j])
        y[uint32(start + j)] = v
        j = uint32(j + THREADS)
    if t == 0:
        r[cuda.blockIdx.x] = scale


@kernel(
    version="registers",
    moves="reads x once, writes y once",
    why="a thread holds its numbers in registers; 16 bytes a load; shuffles, with one barrier a row or none",
)
def rms_norm_registers(x: Any, weight: Any, y: Any, r: Any, n: Any, eps: Any, scaled: Any) -> None:
    """The same for rows of at most NUMBERS a thread."""
    row = row_here()
    if row * n < uint32(x.size):
        step = apart(n, address(x) | address(y) | address(weight))
        turn = int32(cuda.blockDim.x << 2)
        j = uint32(first(step))
        i, left = uint32(row * n + j), int32(n - j)
        v = cuda.local.array(NUMBERS, float32)
        q = ZERO
        for k in range(TURNS):
            a, b, c, d = take(x, uint32(i + k * turn), int32(left - k * turn), step, ZERO)
            q += (a * a + b * b) + (c * c + d * d)
            v[4 * k], v[4 * k + 1], v[4 * k + 2], v[4 * k + 3] = a, b, c, d
        scale = ONE / sqrt(row_sum(q) / float32(n) + eps)
        for k in range(TURNS):
            h, ahead = 4 * k, int32(left - k * turn)
            a, b, c, d = v[h] * scale, v[h + 1] * scale, v[h + 2] * scale, v[h + 3] * scale
            if scaled:
                e, f, g, u = take(weight, uint32(j + k * turn), ahead, step, ZERO)
                a, b, c, d = a * e, b * f, c * g, d * u
            put(y, uint32(i + k * turn), ahead, step, a, b, c, d)
        if cuda.threadIdx.x == 0:
            r[row] = scale


def _applies(x: Any, weight: Any, *, axes: int, eps: float) -> bool:
    return fit(x, axes, rows=(weight,))


def _fits_registers(x: Any, weight: Any, *, axes: int, eps: float) -> bool:
    return fit(x, axes, rows=(weight,), longest=NUMBERS * THREADS)


def _ready(xp: Any, x: Any, weight: Any, axes: int, eps: float) -> tuple[Any, int, int, tuple[Any, ...]]:
    """The answers, how many rows and how long, and what the kernels are given."""
    y, r = xp.empty(x.shape, x.dtype), numbers_of(xp, x, axes)
    n = x.size // r.size
    arrays = x.reshape(-1), row_or(weight, r), y.reshape(-1), r.reshape(-1)
    return (y, r), r.size, n, (*arrays, np.uint32(n), np.float32(eps), weight is not None)


@rms_norm_of_rows.kernel("cuda", when=_applies)
def block(xp: Any, x: Any, weight: Any, *, axes: int, eps: float) -> tuple[Any, Any]:
    """A block a row, two passes."""
    y, rows, _, arguments = _ready(xp, x, weight, axes, eps)
    by_blocks(rms_norm_block, rows, *arguments)
    return y  # type: ignore[no-any-return]


@rms_norm_of_rows.kernel("cuda", when=_fits_registers)
def registers(xp: Any, x: Any, weight: Any, *, axes: int, eps: float) -> tuple[Any, Any]:
    """A warp or a block a row, one pass."""
    y, rows, n, arguments = _ready(xp, x, weight, axes, eps)
    by_rows(rms_norm_registers, rows, n, *arguments, at_most=NUMBERS)
    return y  # type: ignore[no-any-return]
