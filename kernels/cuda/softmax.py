"""Softmax and its logarithm on a GPU: three ways to the largest of a row and the sum of its e^x.

Replaces: ops.reduce.softmax and, in log_softmax.py, log_softmax, which differ in what they write at the end. A row that
holds NaN or +inf, or only -inf, becomes NaN, as the op says; that comes out of the arithmetic, with no test for it.
Applies: contiguous float32 or float16, along the last axis, fewer than 2^31 elements. Sums are float32 for both.
Source: Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018.
"""

from __future__ import annotations

from math import exp, log
from typing import Any

import numpy as np

from tinygrad_ft.cuda.compile import cuda, device, float32, int32, kernel, uint32
from tinygrad_ft.cuda.intrinsics import address
from tinygrad_ft.kernels.cuda.rows import (
    LOWEST,
    THREADS,
    apart,
    by_blocks,
    by_rows,
    first,
    put,
    row_here,
    row_max,
    row_sum,
    rows_along,
    take,
    tree_max,
    tree_sum,
)
from tinygrad_ft.ops.reduce import softmax

NOTHING = np.float32(-np.inf)  # whose e^x is 0
TURNS = 4  # of four numbers each, that a thread holds
NUMBERS = 4 * TURNS


@kernel(version="block", moves="reads x three times, writes y once", why="coalesced; a tree in shared memory meets")
def softmax_block(x: Any, y: Any, n: Any, logarithm: Any) -> None:
    """y = softmax(x) or its logarithm for rows of n, a block a row: the largest, then the sum, then the answer."""
    start = uint32(cuda.blockIdx.x * n)
    end = uint32(start + n)
    i = uint32(start + cuda.threadIdx.x)
    m = LOWEST
    while i < end:
        m = max(m, float32(x[i]))
        i = uint32(i + THREADS)
    m = tree_max(m)
    i = uint32(start + cuda.threadIdx.x)
    s = float32(0.0)
    while i < end:
        s += exp(float32(x[i]) - m)
        i = uint32(i + THREADS)
    s = tree_sum(s)
    shift, scale = log(s), float32(1.0) / s
    i = uint32(start + cuda.threadIdx.x)
    while i < end:
        v = float32(x[i]) - m
        y[i] = v - shift if logarithm else exp(v) * scale
        i = uint32(i + THREADS)


@device
def largest_and_sum(x: Any, i: Any, left: Any, step: Any) -> Any:
    """Of a row, in each of its threads: the largest and the sum of e^(x - largest), from one reading.

    Whenever a larger number is met, the sum so far shrinks by e^(old largest - new one).
    """
    m, s, turn = LOWEST, float32(0.0), int32(cuda.blockDim.x << 2)
    while left > 0:
        a, b, c, d = take(x, i, left, step, NOTHING)
        top = max(m, max(max(a, b), max(c, d)))
        s = s * exp(m - top) + ((exp(a - top) + exp(b - top)) + (exp(c - top) + exp(d - top)))
        m = top
        i, left = uint32(i + turn), int32(left - turn)
    top = row_max(m)
    return top, row_sum(s * exp(m - top))


@kernel(
    version="online",
    moves="reads x once from memory and once more from cache, writes y once",
    why="largest and sum in one pass; 16 bytes a load; shuffles, with two barriers a row or none",
)
def softmax_online(x: Any, y: Any, n: Any, logarithm: Any) -> None:
    """y = softmax(x) or its logarithm for rows of n, of any length."""
    row = row_here()
    if row * n < uint32(x.size):
        step = apart(n, address(x) | address(y))
        turn = int32(cuda.blockDim.x << 2)
        i, left = uint32(row * n + first(step)), int32(n - first(step))
        m, s = largest_and_sum(x, i, left, step)
        shift, scale = log(s), float32(1.0) / s
        while left > 0:
            a, b, c, d = take(x, i, left, step, NOTHING)
            a, b, c, d = a - m, b - m, c - m, d - m
            if logarithm:
                put(y, i, left, step, a - shift, b - shift, c - shift, d - shift)
            else:
                put(y, i, left, step, exp(a) * scale, exp(b) * scale, exp(c) * scale, exp(d) * scale)
            i, left = uint32(i + turn), int32(left - turn)


@kernel(
    version="registers",
    moves="reads x once, writes y once",
    why="a thread holds its numbers in registers, so one e^x each is enough",
)
def softmax_registers(x: Any, y: Any, n: Any, logarithm: Any) -> None:
    """y = softmax(x) or its logarithm for rows of n, at most NUMBERS a thread."""
    row = row_here()
    if row * n < uint32(x.size):
        step = apart(n, address(x) | address(y))
        turn = int32(cuda.blockDim.x << 2)
        i, left = uint32(row * n + first(step)), int32(n - first(step))
        v = cuda.local.array(NUMBERS, float32)
        m = LOWEST
        for k in range(TURNS):
            j = 4 * k
            v[j], v[j + 1], v[j + 2], v[j + 3] = take(x, uint32(i + k * turn), int32(left - k * turn), step, NOTHING)
            m = max(m, max(max(v[j], v[j + 1]), max(v[j + 2], v[j + 3])))
        m = row_max(m)
        s = float32(0.0)
        for j in range(NUMBERS):
            v[j] -= m
            e = exp(v[j])
            s += e
            if not logarithm:
                v[j] = e
        s = row_sum(s)
        shift, scale = log(s), float32(1.0) / s
        for j in range(NUMBERS):
            v[j] = v[j] - shift if logarithm else v[j] * scale
        for k in range(TURNS):
            j = 4 * k
            put(y, uint32(i + k * turn), int32(left - k * turn), step, v[j], v[j + 1], v[j + 2], v[j + 3])


def fits(x: Any, *, axis: Any) -> bool:
    """Whether the kernels take the rows of x, of any length."""
    return rows_along(axis, x)


def fits_registers(x: Any, *, axis: Any) -> bool:
    """Whether a row is short enough for the registers of a block."""
    return rows_along(axis, x) and x.shape[-1] <= NUMBERS * THREADS


def by_block(xp: Any, x: Any, logarithm: bool) -> Any:
    """The answer of softmax_block."""
    y, n = xp.empty(x.shape, x.dtype), x.shape[-1]
    by_blocks(softmax_block, x.size // n, x.reshape(-1), y.reshape(-1), np.uint32(n), logarithm)
    return y


def by_online(xp: Any, x: Any, logarithm: bool) -> Any:
    """The answer of softmax_online."""
    y, n = xp.empty(x.shape, x.dtype), x.shape[-1]
    by_rows(softmax_online, x.size // n, n, x.reshape(-1), y.reshape(-1), np.uint32(n), logarithm)
    return y


def by_registers(xp: Any, x: Any, logarithm: bool) -> Any:
    """The answer of softmax_registers."""
    y, n = xp.empty(x.shape, x.dtype), x.shape[-1]
    arguments = x.reshape(-1), y.reshape(-1), np.uint32(n), logarithm
    by_rows(softmax_registers, x.size // n, n, *arguments, at_most=NUMBERS)
    return y


@softmax.kernel("cuda", when=fits)
def block(xp: Any, x: Any, *, axis: int) -> Any:
    """A block a row, three passes."""
    return by_block(xp, x, False)


@softmax.kernel("cuda", when=fits)
def online(xp: Any, x: Any, *, axis: int) -> Any:
    """A warp or a block a row, two passes."""
    return by_online(xp, x, False)


@softmax.kernel("cuda", when=fits_registers)
def registers(xp: Any, x: Any, *, axis: int) -> Any:
    """A warp or a block a row, one pass."""
    return by_registers(xp, x, False)
