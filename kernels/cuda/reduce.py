"""Sums, means and extrema on a GPU, over any axes: the innermost by a warp a row, others by a thread a column.

Replaces: ops.reduce.sum, mean, amax and amin, chain_rule.sum_to. Moves x once and the answer; the parts of long rows
and columns are a next pass's input, a small share of x. A thread of a column takes every so many rows, so that
neighbours read neighbours however few columns there are. No atomics: the same numbers give the same answer each time.
Applies: contiguous float32 of fewer than 2^31 elements.
Source: Harris, "Optimizing Parallel Reduction in CUDA", 2007; the shuffles are of later hardware.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from tinygrad_ft.chain_rule import sum_to
from tinygrad_ft.cuda.launch import launch
from tinygrad_ft.kernels.cuda.generated import written_kernel
from tinygrad_ft.kernels.cuda.grid import THREADS, plain
from tinygrad_ft.ops.reduce import amax, amin, count_along, kept_shape, mean, sum
from tinygrad_ft.ops.shape import axes_of

WARPS = 8  # in a block, each with a row of its own
BUSY = 1 << 16  # threads with which a card has enough to do
SHORT, LONG = 1024, 4096  # elements of a row that a warp adds up: where there are few rows, where there are many
LOW, HIGH = 64, 1024  # of a column, that a thread adds up, likewise; what one adds up rounds off in proportion

# name: what it starts from, and how it takes on v
COMBINE = {
    "sum": ("F(0.0)", "s + v"),
    "largest": ("-inf", "s if (s > v) | (s != s) else v"),  # NaN, which is larger than nothing, stays
    "smallest": ("inf", "s if (s < v) | (s != s) else v"),
}

ROWS = '''def {name}_of_rows(x, y, length, parts, part, count):
    """Part p of row r of x, reduced, is item r parts + p of y; a warp an item."""
    lane = uint32(cuda.threadIdx.x)
    item = uint32(cuda.blockIdx.x * cuda.blockDim.y + cuda.threadIdx.y)
    if item < uint32(y.size):
        row = uint32(item // max(parts, uint32(1)))
        first = uint32(uint32(item - row * parts) * part)
        last = uint32(row * length + min(uint32(first + part), length))
        i = uint32(row * length + first + lane)
        s = {start}
        while i < last:
            v = x[i]
            s = {combined}
            i = uint32(i + uint32(32))
        for away in (16, 8, 4, 2, 1):
            v = cuda.shfl_xor_sync(0xFFFFFFFF, s, away)
            s = {combined}
        if lane == uint32(0):
            y[item] = s{divided}
'''

COLUMNS = '''def {name}_of_columns(x, y, whole, apart, count):
    """Stretch r of x, `whole` long, has `apart` items of y; each reduces what lies that far apart. A thread an item."""
    item = uint32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
    if item < uint32(y.size):
        above = uint32(item // max(apart, uint32(1)))
        i = uint32(above * whole + uint32(item - above * apart))
        last = uint32(above * whole + whole)
        s = {start}
        while i < last:
            v = x[i]
            s = {combined}
            i = uint32(i + apart)
        y[item] = s{divided}
'''


@lru_cache(None)
def written(text: str, name: str) -> Any:
    """One of the kernels above, for one way to combine."""
    start, combined = COMBINE[name]
    shape = "rows" if text is ROWS else "columns"
    filled = text.format(name=name, start=start, combined=combined, divided=" / count" if name == "sum" else "")
    return written_kernel(
        f"{name}_of_{shape}", filled, version=shape, moves="reads x once, writes 4 bytes a part",
        why="a warp a row, met by shuffles" if text is ROWS else "a thread a column, every so many rows",
    )  # fmt: skip


def groups_of(shape: tuple[int, ...], axes: tuple[int, ...]) -> list[tuple[bool, int]]:
    """The axes as (whether it is reduced, its length), neighbours alike made one; those of length 1 are left out."""
    groups: list[tuple[bool, int]] = []
    for reduced, n in ((i in axes, n) for i, n in enumerate(shape) if n > 1):
        if groups and groups[-1][0] == reduced:
            n *= groups.pop()[1]
        groups.append((reduced, n))
    return groups


def one_pass(xp: Any, name: str, x: Any, outer: int, length: int, width: int, count: float) -> tuple[Any, int]:
    """x (outer, length, width), in one row, with the middle axis brought down to a number of parts, which it answers.

    The sum is divided by count if there is one part only.
    """
    few = outer * width * (32 if width == 1 else 1) < BUSY
    part = (SHORT if few else LONG) if width == 1 else (LOW if few else HIGH)
    parts = -(-length // part)
    y = xp.empty(outer * parts * width, np.float32)
    divisor = np.float32(count if parts == 1 else 1.0)
    if width == 1:
        numbers = map(np.uint32, (length, parts, part))
        launch(written(ROWS, name), -(-y.size // WARPS), (32, WARPS), x, y, *numbers, divisor)
    else:
        numbers = map(np.uint32, (length * width, parts * width))
        launch(written(COLUMNS, name), -(-y.size // THREADS), THREADS, x, y, *numbers, divisor)
    return y, parts


def reduced(xp: Any, name: str, x: Any, axes: tuple[int, ...], shape: tuple[int, ...], count: float = 1.0) -> Any:
    """x reduced over those axes, group by group from the innermost, in that shape; a sum divided by count."""
    groups = groups_of(x.shape, axes)
    y = whole = x.reshape(-1)
    for at in range(len(groups) - 1, -1, -1):
        gone, length = groups[at]
        if gone:
            outer, width = (prod(n for _, n in some) for some in (groups[:at], groups[at + 1 :]))
            last = not any(gone for gone, _ in groups[:at])
            while length > 1:
                y, length = one_pass(xp, name, y, outer, length, width, count if last else 1.0)
            groups[at] = (False, 1)
    return (y.copy() if y is whole else y).reshape(shape)


def _applies(x: Any, **params: Any) -> bool:
    return plain(x)


def _shape(x: Any, axis: Any, keepdims: bool) -> tuple[int, ...]:
    gone = axes_of(axis, x.ndim)
    return kept_shape(x.shape, axis) if keepdims else tuple(n for i, n in enumerate(x.shape) if i not in gone)


@sum.kernel("cuda", when=_applies)
def sum_in_parts(xp: Any, x: Any, *, axis: Any, keepdims: bool) -> Any:
    """Rows by warps, columns by threads."""
    return reduced(xp, "sum", x, axes_of(axis, x.ndim), _shape(x, axis, keepdims))


@mean.kernel("cuda", when=_applies)
def mean_in_parts(xp: Any, x: Any, *, axis: Any, keepdims: bool) -> Any:
    """As the sum, divided in its last pass."""
    shape = _shape(x, axis, keepdims)
    return reduced(xp, "sum", x, axes_of(axis, x.ndim), shape, float(count_along(x.shape, axis)))


@amax.kernel("cuda", when=_applies)
def amax_in_parts(xp: Any, x: Any, *, axis: Any, keepdims: bool) -> Any:
    """As the sum."""
    return reduced(xp, "largest", x, axes_of(axis, x.ndim), _shape(x, axis, keepdims))


@amin.kernel("cuda", when=_applies)
def amin_in_parts(xp: Any, x: Any, *, axis: Any, keepdims: bool) -> Any:
    """As the sum."""
    return reduced(xp, "smallest", x, axes_of(axis, x.ndim), _shape(x, axis, keepdims))


@sum_to.kernel("cuda", when=_applies)
def sum_to_in_parts(xp: Any, x: Any, *, shape: tuple[int, ...]) -> Any:
    """As the sum."""
    lead = x.ndim - len(shape)
    repeated = (i + lead for i, n in enumerate(shape) if n == 1 and x.shape[i + lead] != 1)
    return reduced(xp, "sum", x, (*range(lead), *repeated), shape)
