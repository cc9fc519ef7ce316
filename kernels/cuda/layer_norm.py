"""Layer norm on a GPU, a row at a time: its mean, its variance, and the row brought to 0 and 1, scaled and shifted.

Replaces: ops.normalise.layer_norm_of_rows. The mean of float32 numbers is itself rounded: what it is off by is found
beside the variance, as the mean of what is left, and taken off too, so that a row far from 0 keeps its digits.
Applies: contiguous float32 or float16, weight and bias of that dtype or None, fewer than 2^31 elements.
"""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np

from tinygrad_ft.cuda.compile import cuda, device, float32, int32, kernel, uint32
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
from tinygrad_ft.ops.normalise import layer_norm_of_rows

ZERO, ONE = np.float32(0.0), np.float32(1.0)
TURNS = 4  # of four numbers each, that a thread holds
NUMBERS = 4 * TURNS


@device
def inverse_root(variance: Any, eps: Any) -> Any:
    """1 / sqrt(variance + eps) of a variance that may have been rounded to less than 0; NaN stays NaN."""
    return ONE / sqrt((ZERO if variance < ZERO else variance) + eps)


@kernel(version="block", moves="reads x three times, writes y once", why="coalesced; a tree in shared memory meets")
def layer_norm_block(
    x: Any, weight: Any, bias: Any, y: Any, mean: Any, r: Any, n: Any, eps: Any, scaled: Any, moved: Any
) -> None:
    """y, mean and r = 1 / sqrt(variance + eps) for rows of n, a block a row.

    weight counts if `scaled`, bias if `moved`.
    """
    start, t = uint32(cuda.blockIdx.x * n), uint32(cuda.threadIdx.x)
    j, s = t, ZERO
    while j < n:
        s += float32(x[uint32(start + j)])
        j = uint32(j + THREADS)
    m = tree_sum(s) / float32(n)
    j, s, q = t, ZERO, ZERO
    while j < n:
        v = float32(x[uint32(start + j)]) - m
        s += v
        q += v * v
        j = uint32(j + THREADS)
    off = tree_sum(s) / float32(n)
    scale = inverse_root(tree_sum(q) / float32(n) - off * off, eps)
    j = t
    while j < n:
        v = (float32(x[uint32(start + j)]) - m - off) * scale
        if scaled:
            v *= float32(weight[j])
        if moved:
            v += float32(bias[j])
        y[uint32(start + j)] = v
        j = uint32(j + THREADS)
    if t == 0:
        mean[cuda.blockIdx.x], r[cuda.blockIdx.x] = m + off, scale


@device
def held(left: Any, step: Any, turn: Any) -> Any:
    """How many numbers of a row this thread holds, in the order in which it takes them.

    One division a row, instead of a bound kept for each number: 47 registers on sm_100, instead of 56.
    """
    if step == 1:
        return int32(uint32(left + turn - 1) // uint32(turn) << 2)
    return int32(uint32(left + step - 1) // uint32(step))


@kernel(
    version="registers",
    moves="reads x once, writes y once",
    why="a thread holds its numbers in registers; 16 bytes a load; shuffles, with three barriers a row or none",
)
def layer_norm_registers(
    x: Any, weight: Any, bias: Any, y: Any, mean: Any, r: Any, n: Any, eps: Any, scaled: Any, moved: Any
) -> None:
    """The same for rows of at most NUMBERS a thread."""
    row = row_here()
    if row * n < uint32(x.size):
        step = apart(n, address(x) | address(y) | address(weight) | address(bias))
        turn = int32(cuda.blockDim.x << 2)
        j = uint32(first(step))
        i, left = uint32(row * n + j), int32(n - j)
        v = cuda.local.array(NUMBERS, float32)
        has = held(left, step, turn)
        s = ZERO
        for k in range(TURNS):
            h = 4 * k
            v[h], v[h + 1], v[h + 2], v[h + 3] = take(x, uint32(i + k * turn), int32(left - k * turn), step, ZERO)
            s += (v[h] + v[h + 1]) + (v[h + 2] + v[h + 3])
        m = row_sum(s) / float32(n)
        s, q = ZERO, ZERO
        for k in range(TURNS):
            for h in range(4):
                d = v[4 * k + h] - m if has > 4 * k + h else ZERO
                s += d
                q += d * d
                v[4 * k + h] = d
        off = row_sum(s) / float32(n)
        scale = inverse_root(row_sum(q) / float32(n) - off * off, eps)
        for k in range(TURNS):
            h, ahead = 4 * k, int32(left - k * turn)
            a, b, c, d = v[h] - off, v[h + 1] - off, v[h + 2] - off, v[h + 3] - off
            a, b, c, d = a * scale, b * scale, c * scale, d * scale
            if scaled:
                e, f, g, u = take(weight, uint32(j + k * turn), ahead, step, ZERO)
                a, b, c, d = a * e, b * f, c * g, d * u
            if moved:
                e, f, g, u = take(bias, uint32(j + k * turn), ahead, step, ZERO)
                a, b, c, d = a + e, b + f, c + g, d + u
            put(y, uint32(i + k * turn), ahead, step, a, b, c, d)
        if cuda.threadIdx.x == 0:
            mean[row], r[row] = m + off, scale


def fits(x: Any, weight: Any, bias: Any, *, axes: int, eps: float) -> bool:
    """Whether the kernels take the rows of x, of any length."""
    return fit(x, axes, rows=(weight, bias))


def fits_registers(x: Any, weight: Any, bias: Any, *, axes: int, eps: float) -> bool:
    """Whether a row is short enough for the registers of a block."""
    return fit(x, axes, rows=(weight, bias), longest=NUMBERS * THREADS)


def _ready(xp: Any, x: Any, weight: Any, bias: Any, axes: int, eps: float) -> tuple[Any, int, int, tuple[Any, ...]]:
    """The answers, how many rows and how long, and what the kernels are given."""
    y, mean, r = xp.empty(x.shape, x.dtype), *(numbers_of(xp, x, axes) for _ in range(2))
    n = x.size // r.size
    arrays = x.reshape(-1), row_or(weight, r), row_or(bias, r), y.reshape(-1), mean.reshape(-1), r.reshape(-1)
    told = np.uint32(n), np.float32(eps), weight is not None, bias is not None
    return (y, mean, r), r.size, n, (*arrays, *told)


def by_block(xp: Any, x: Any, weight: Any, bias: Any, *, axes: int, eps: float) -> tuple[Any, Any, Any]:
    """The answers of layer_norm_block."""
    y, rows, _, arguments = _ready(xp, x, weight, bias, axes, eps)
    by_blocks(layer_norm_block, rows, *arguments)
    return y  # type: ignore[no-any-return]


def by_registers(xp: Any, x: Any, weight: Any, bias: Any, *, axes: int, eps: float) -> tuple[Any, Any, Any]:
    """The answers of layer_norm_registers."""
    y, rows, n, arguments = _ready(xp, x, weight, bias, axes, eps)
    by_rows(layer_norm_registers, rows, n, *arguments, at_most=NUMBERS)
    return y  # type: ignore[no-any-return]


@layer_norm_of_rows.kernel("cuda", when=fits)
def block(xp: Any, x: Any, weight: Any, bias: Any, *, axes: int, eps: float) -> tuple[Any, Any, Any]:
    """A block a row, three passes."""
    return by_block(xp, x, weight, bias, axes=axes, eps=eps)


@layer_norm_of_rows.kernel("cuda", when=fits_registers)
def registers(xp: Any, x: Any, weight: Any, bias: Any, *, axes: int, eps: float) -> tuple[Any, Any, Any]:
    """A warp or a block a row, one pass."""
    return by_registers(xp, x, weight, bias, axes=axes, eps=eps)
