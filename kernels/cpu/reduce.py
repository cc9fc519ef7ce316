"""Sums and means on the CPU, in shares; and how an array is taken apart into rows or columns.

Replaces nothing in an eager call, where NumPy's reductions are as quick; a recorded step needs their work in shares.
Where the innermost axis of x is reduced, row by row, in whatever order the other axes lie; otherwise many columns at a
time. All sums are added up in float64, from stretches in the precision of x.
Applies: float32 or float64; what is reduced and what is kept lies in three groups of axes at most.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from tinygrad_ft.chain_rule import sum_to
from tinygrad_ft.dispatch import Share
from tinygrad_ft.kernels.cpu.copy import copies, copying
from tinygrad_ft.kernels.cpu.matmul import memory
from tinygrad_ft.kernels.cpu.vector import compiled, total
from tinygrad_ft.ops.reduce import count_along, kept_shape, mean, sum
from tinygrad_ft.ops.shape import axes_of

CHUNK = 16384  # elements of a long row that one item adds up
COLUMNS = 16  # in an item: a line of the cache in float32
AT_ONCE = 1024  # columns whose sums stay in the first-level cache
TOGETHER = 8  # rows of x that are added in its own precision, for the conversion to float64 costs more than adding


@compiled
def row_sums(
    x: Any, y: Any, inner: int, x1: int, x2: int, y1: int, y2: int, length: int, more: int, apart: int, count: float,
    start: int, end: int,
) -> None:  # fmt: skip
    """The sums of rows start to end, divided by count.

    Row i, j, with j below `inner`, begins i x1 + j x2 elements into x, `length` long, and `more` of that length follow,
    `apart` from each other; its sum is i y1 + j y2 elements into y. x and y are the memory that the arrays cover.
    """
    for item in range(start, end):
        i, j = item // inner, item % inner
        at, s = i * x1 + j * x2, 0.0
        for k in range(more):
            s += total(x[at + k * apart : at + k * apart + length])
        y[i * y1 + j * y2] = s / count


@compiled
def chunk_sums(x: Any, sums: Any, inner: int, x1: int, x2: int, length: int, start: int, end: int) -> None:
    """sums[r, c] = the sum of chunk c, an item, of row r; see row_sums."""
    chunks = sums.shape[1]
    for item in range(start, end):
        r, c = item // chunks, item % chunks
        at = r // inner * x1 + r % inner * x2
        sums[r, c] = total(x[at + c * CHUNK : at + min((c + 1) * CHUNK, length)])


@compiled
def column_sums(x: Any, y: Any, count: Any, start: int, end: int) -> None:
    """y[i, j] = sum of x[i, :, j] / count; an item is 16 neighbours j of one i."""
    rows, columns = x.shape[1], x.shape[2]
    parts = (columns + COLUMNS - 1) // COLUMNS
    sums = np.empty(min(columns, AT_ONCE))
    item = start
    while item < end:
        i, part = item // parts, item % parts
        some = min(parts - part, end - item, AT_ONCE // COLUMNS)
        first, last = part * COLUMNS, min((part + some) * COLUMNS, columns)
        acc = sums[: last - first]
        for j in range(acc.size):
            acc[j] = 0
        whole = rows // TOGETHER * TOGETHER
        for r in range(0, whole, TOGETHER):
            a, b, c, d = x[i, r][first:last], x[i, r + 1][first:last], x[i, r + 2][first:last], x[i, r + 3][first:last]
            e, f, g, h = (
                x[i, r + 4][first:last],
                x[i, r + 5][first:last],
                x[i, r + 6][first:last],
                x[i, r + 7][first:last],
            )
            for j in range(acc.size):
                acc[j] += ((a[j] + b[j]) + (c[j] + d[j])) + ((e[j] + f[j]) + (g[j] + h[j]))
        for r in range(whole, rows):
            a = x[i, r][first:last]
            for j in range(acc.size):
                acc[j] += a[j]
        out = y[i][first:last]
        for j in range(acc.size):
            out[j] = acc[j] / count
        item += some


Strides = tuple[int, ...]


def steps_of(x: Any) -> Strides:
    """The strides of an array in elements."""
    return tuple(s // x.itemsize for s in x.strides)


def rows_along(shape: tuple[int, ...], axes: tuple[int, ...], *strides: Strides) -> tuple[Any, ...] | None:
    """(inner, x1, x2, y1, y2, ..., length, more, apart) as in `row_sums`, for the strides of x and of each y.

    None where the innermost axis of x is not reduced, or what is kept or reduced lies in more than two groups of axes.
    """
    groups: list[tuple[bool, int, list[int]]] = []
    for i, n in enumerate(shape):
        if n == 1:
            continue
        steps = [strides[0][i], *(0 if i in axes else s[i] for s in strides[1:])]
        if min(steps) < 0:
            return None
        if groups and groups[-1][0] == (i in axes) and groups[-1][2] == [n * s for s in steps]:
            n *= groups.pop()[1]
        groups.append((i in axes, n, steps))
    kept = [(n, steps) for reduced, n, steps in groups if not reduced]
    along = sorted((steps[0], n) for reduced, n, steps in groups if reduced)
    if len(kept) > 2 or len(along) > 2 or not along or along[0][0] != 1:
        return None
    none = (1, [0] * len(strides))
    (_, outer), (inner, near) = ([none, none] + kept)[-2:]
    apart, more = along[1] if len(along) > 1 else (0, 1)
    return inner, *(s for pair in zip(outer, near, strict=True) for s in pair), along[0][1], more, apart


def columns_of(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, int, int] | None:
    """The shape as three axes of which the middle one is reduced; None if that is not so."""
    groups: list[tuple[bool, int]] = []
    for reduced, n in ((i in axes, n) for i, n in enumerate(shape) if n > 1):
        if groups and groups[-1][0] == reduced:
            n *= groups.pop()[1]
        groups.append((reduced, n))
    match groups:
        case []:
            return 1, 1, 1
        case [(False, n)]:
            return 1, 1, n
        case [(True, n), (_, m)]:
            return 1, n, m
        case [(False, n), (_, m), (_, k)]:
            return n, m, k
    return None


def reducible(x: Any, axes: tuple[int, ...]) -> bool:
    """Whether x, or at least a contiguous copy of it, can be reduced here over those axes."""
    if not (copies(x) and x.dtype in (np.float32, np.float64) and x.size):
        return False
    return columns_of(x.shape, axes) is not None or rows_along(x.shape, axes, _contiguous(x.shape)) is not None


def _contiguous(shape: tuple[int, ...]) -> Strides:
    return tuple(prod(shape[i + 1 :]) for i in range(len(shape)))


def reduced(y: Any, x: Any, axes: tuple[int, ...], rows: Any, columns: Any, *numbers: Any) -> list[Share]:
    """The work of one of two loops, by way of contiguous copies where it needs them."""
    y, before, after = y.reshape(kept_shape(x.shape, axes)), list[Share](), list[Share]()
    order = sorted(range(x.ndim), key=lambda i: -abs(x.strides[i]))  # as the axes lie in x
    turned, turned_axes = x.transpose(order), tuple(order.index(i) for i in axes)
    in_rows = rows_along(turned.shape, turned_axes, steps_of(turned), steps_of(y.transpose(order)))
    if in_rows is not None or columns_of(turned.shape, turned_axes) is not None:
        x, y, axes = turned, y.transpose(order), turned_axes
    found = rows_along(x.shape, axes, steps_of(x), steps_of(y))
    if found is None:
        if not x.flags.c_contiguous:
            x, strided = np.empty(x.shape, x.dtype), x
            before = copying(x, strided)
        if not y.flags.c_contiguous:
            y, strided = np.empty(y.shape, y.dtype), y
            after = copying(strided, y)
        found = rows_along(x.shape, axes, steps_of(x), steps_of(y))
    if found is None:
        three = columns_of(x.shape, axes)
        assert three is not None
        first, _, last = three
        arrays = x.reshape(three), y.reshape(first, last)
        return [*before, Share(columns, first * -(-last // COLUMNS), (*arrays, *numbers)), *after]
    inner, x1, x2, y1, y2, length, more, _ = found
    if rows is row_sums and y.size <= 8 and length > CHUNK and more == 1:  # too few rows to be shared out
        sums = np.empty((y.size, -(-length // CHUNK)))
        before.append(Share(chunk_sums, sums.size, (memory(x), sums, inner, x1, x2, length)))
        x, steps = sums, sums.shape[1]
        found = inner, inner * steps, steps, y1, y2, steps, 1, 0
    return [*before, Share(rows, y.size, (memory(x), memory(y), *found, *numbers)), *after]


def _summed(y: Any, x: Any, axes: tuple[int, ...], count: int = 1) -> list[Share]:
    return reduced(y, x, axes, row_sums, column_sums, float(count))


def _applies(x: Any, *, axis: Any, keepdims: bool) -> bool:
    return reducible(x, axes_of(axis, x.ndim))


@sum.shares("cpu", when=_applies)
def sum_shares(y: Any, x: Any, *, axis: Any, keepdims: bool) -> list[Share]:
    """Rows or columns, or chunks of few rows."""
    return _summed(y, x, axes_of(axis, x.ndim))


@mean.shares("cpu", when=_applies)
def mean_shares(y: Any, x: Any, *, axis: Any, keepdims: bool) -> list[Share]:
    """As those of the sum."""
    return _summed(y, x, axes_of(axis, x.ndim), count_along(x.shape, axis))


def _gone(x: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The axes of x that `sum_to` sums up."""
    lead = x.ndim - len(shape)
    return (*range(lead), *(i + lead for i, n in enumerate(shape) if n == 1 and x.shape[i + lead] != 1))


@sum_to.shares("cpu", when=lambda x, *, shape: reducible(x, _gone(x, shape)))
def sum_to_shares(y: Any, x: Any, *, shape: tuple[int, ...]) -> list[Share]:
    """As those of the sum."""
    return _summed(y, x, _gone(x, shape))
