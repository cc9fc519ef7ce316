"""The largest or smallest of many on the CPU, and how it passes a cotangent on, row by row or many columns at a time.

Replaces: ops.reduce.amax, amin and extremum_grad. Forward reads x once; NumPy takes 1.4 to 3 times as long for rows of
500 to 16 numbers in float32, and as long for few long rows. The smallest x is the largest -x, by the same loop.
Backward reads x, which stays in the cache for a second look, and writes gx once, where NumPy compares x twice, counts,
and chooses: 2 to 4 times as long.
Applies: float32 or float64. Axes may lie in any order; what cannot be read in rows or columns is copied first, except
in an eager call forward, which leaves it to NumPy.
"""

from __future__ import annotations

from math import inf
from typing import Any

import numpy as np

from tinygrad_ft.dispatch import Share
from tinygrad_ft.kernels.cpu.copy import copies, copying
from tinygrad_ft.kernels.cpu.eager import done
from tinygrad_ft.kernels.cpu.matmul import memory
from tinygrad_ft.kernels.cpu.reduce import COLUMNS, columns_of, reduced, reducible, rows_along, steps_of
from tinygrad_ft.kernels.cpu.vector import compiled, larger, reduction
from tinygrad_ft.ops.reduce import amax, amin, count_along, extremum_grad, kept_shape
from tinygrad_ft.ops.shape import axes_of

THRESHOLD, THRESHOLD_BACK = 1 << 16, 4096  # elements of x in an eager call, below which NumPy is as quick
LONG = 4096  # elements in a row, of more of which NumPy finds the largest as quickly
WIDE = 256  # columns in an item backward: of fewer, two threads took three times as long on 1000 by 1000


@reduction
def extremum_of(row: Any, sign: Any) -> Any:
    """The element that is the largest when multiplied by `sign`; NaN if that is among them."""
    m, nans = sign * row[0], np.int32(0)
    for j in range(row.size):
        m = larger(m, sign * row[j])
        nans = np.int32(nans + (row[j] != row[j]))
    return np.nan if nans else sign * m


@compiled
def row_extrema(
    x: Any, y: Any, inner: int, x1: int, x2: int, y1: int, y2: int, length: int, more: int, apart: int, sign: Any,
    start: int, end: int,
) -> None:  # fmt: skip
    """The extrema of rows start to end, which lie as in `reduce.row_sums`."""
    for item in range(start, end):
        i, j = item // inner, item % inner
        at = i * x1 + j * x2
        m = extremum_of(x[at : at + length], sign)
        for k in range(1, more):
            v = extremum_of(x[at + k * apart : at + k * apart + length], sign)
            m = v if (sign * v > sign * m) | (v != v) else m
        y[i * y1 + j * y2] = m


@compiled
def column_extrema(x: Any, y: Any, sign: Any, start: int, end: int) -> None:
    """y[i, j] = the extremum of x[i, :, j]; an item is 16 neighbours j of one i."""
    rows, columns = x.shape[1], x.shape[2]
    parts = (columns + COLUMNS - 1) // COLUMNS
    item = start
    while item < end:
        i, part = item // parts, item % parts
        some = min(parts - part, end - item)
        first, last = part * COLUMNS, min((part + some) * COLUMNS, columns)
        out, row = y[i][first:last], x[i, 0][first:last]
        for j in range(out.size):
            out[j] = row[j]
        for r in range(1, rows):
            row = x[i, r][first:last]
            for j in range(out.size):
                out[j] = row[j] if (sign * row[j] > sign * out[j]) | (row[j] != row[j]) else out[j]
        item += some


@compiled
def extremum_grad_rows(
    g: Any, x: Any, y: Any, gx: Any, inner: int, x1: int, x2: int, g1: int, g2: int, y1: int, y2: int, length: int,
    more: int, apart: int, start: int, end: int,
) -> None:  # fmt: skip
    """gx for rows start to end of x, which lie as in `reduce.row_sums`, and gx as x does."""
    for item in range(start, end):
        i, j = item // inner, item % inner
        at, extremum, count = i * x1 + j * x2, y[i * y1 + j * y2], np.int32(0)
        for k in range(more):
            row = x[at + k * apart : at + k * apart + length]
            for n in range(row.size):
                count = np.int32(count + ((row[n] == extremum) | (row[n] != row[n])))
        part, none = x.dtype.type(g[i * g1 + j * g2] / count), x.dtype.type(0)
        for k in range(more):
            row, out = x[at + k * apart : at + k * apart + length], gx[at + k * apart : at + k * apart + length]
            for n in range(row.size):
                out[n] = part if (row[n] == extremum) | (row[n] != row[n]) else none


@compiled
def extremum_grad_columns(g: Any, x: Any, y: Any, gx: Any, start: int, end: int) -> None:
    """gx for columns x[i, :, j] with the extrema y[i, j]; an item is 256 neighbours j of one i."""
    rows, columns, none = x.shape[1], x.shape[2], x.dtype.type(0)
    parts = (columns + WIDE - 1) // WIDE
    counts, shares = np.empty(WIDE, np.int32), np.empty(WIDE, x.dtype)
    for item in range(start, end):
        i, first = item // parts, item % parts * WIDE
        last = min(first + WIDE, columns)
        count, share, given, extrema = (
            counts[: last - first],
            shares[: last - first],
            g[i][first:last],
            y[i][first:last],
        )
        for j in range(count.size):
            count[j] = 0
        for r in range(rows):
            row = x[i, r][first:last]
            for j in range(row.size):
                count[j] += (row[j] == extrema[j]) | (row[j] != row[j])
        for j in range(share.size):
            share[j] = given[j] / count[j]
        for r in range(rows):
            row, out = x[i, r][first:last], gx[i, r][first:last]
            for j in range(row.size):
                out[j] = share[j] if (row[j] == extrema[j]) | (row[j] != row[j]) else none


def _divides(x: Any, *, axis: Any, keepdims: bool) -> bool:
    return reducible(x, axes_of(axis, x.ndim))


@amax.shares("cpu", when=_divides)
def amax_shares(y: Any, x: Any, *, axis: Any, keepdims: bool) -> list[Share]:
    """Rows or columns."""
    return reduced(y, x, axes_of(axis, x.ndim), row_extrema, column_extrema, x.dtype.type(1))


@amin.shares("cpu", when=_divides)
def amin_shares(y: Any, x: Any, *, axis: Any, keepdims: bool) -> list[Share]:
    """Rows or columns."""
    return reduced(y, x, axes_of(axis, x.ndim), row_extrema, column_extrema, x.dtype.type(-1))


def _as_it_lies(x: Any, *, axis: Any, keepdims: bool) -> bool:
    """Whether x is large, and can be read without a copy, in rows that are not long or in columns behind an axis."""
    if not isinstance(x, np.ndarray) or x.size < THRESHOLD or x.dtype not in (np.float32, np.float64):
        return False
    axes = axes_of(axis, x.ndim)
    innermost = min(range(x.ndim), key=lambda i: abs(x.strides[i]) if x.shape[i] > 1 else inf)
    if innermost in axes:
        short = count_along(x.shape, axes) <= LONG
        return short and copies(x) and rows_along(x.shape, axes, steps_of(x), steps_of(_room(x, axes))) is not None
    columns = columns_of(x.shape, axes) if x.flags.c_contiguous else None
    return columns is not None and columns[0] > 1


def _room(x: Any, axes: tuple[int, ...]) -> Any:
    """An array for the extrema, with axes of length 1."""
    return np.empty(kept_shape(x.shape, axes), x.dtype)


@amax.kernel("cpu", when=_as_it_lies)
def amax_in_one_pass(xp: Any, x: Any, *, axis: Any, keepdims: bool) -> Any:
    """Rows or columns."""
    return _made(amax_shares, x, axis, keepdims)


@amin.kernel("cpu", when=_as_it_lies)
def amin_in_one_pass(xp: Any, x: Any, *, axis: Any, keepdims: bool) -> Any:
    """Rows or columns."""
    return _made(amin_shares, x, axis, keepdims)


def _made(shares: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    axes = axes_of(axis, x.ndim)
    y = done(_room(x, axes), shares, x, axis=axes, keepdims=keepdims)
    return y if keepdims else np.squeeze(y, axes)


def _is_extremum(g: Any, x: Any, y: Any, *, axis: Any) -> bool:
    alike = all(copies(a) and a.dtype == x.dtype for a in (g, x, y)) and g.shape == y.shape
    return alike and x.dtype in (np.float32, np.float64) and bool(x.size > 0)


@extremum_grad.shares("cpu", when=_is_extremum)
def extremum_grad_shares(gx: Any, g: Any, x: Any, y: Any, *, axis: Any) -> list[Share]:
    """Rows or columns, in the order in which they lie in x; or rows of a copy, if these are neither."""
    axes = axes_of(axis, x.ndim)
    kept = kept_shape(x.shape, axes)
    arrays, alike = (g.reshape(kept), x, y.reshape(kept), gx), _alike(x, gx)
    turned, reduced_axes = _turned(arrays, sorted(range(x.ndim), key=lambda i: -x.strides[i]), axes)
    share = _along_rows(turned, reduced_axes) if alike else None
    if share is not None:
        return [share]
    if not reducible(turned[1], reduced_axes):
        turned, reduced_axes = _turned(arrays, [*(i for i in range(x.ndim) if i not in axes), *axes], axes)
    flat = tuple(a if a.flags.c_contiguous else np.empty(a.shape, a.dtype) for a in turned)
    before = [share for to, a in zip(flat[:3], turned[:3], strict=True) if to is not a for share in copying(to, a)]
    after = [] if flat[3] is turned[3] else copying(turned[3], flat[3])
    return [*before, _along_rows(flat, reduced_axes) or _along_columns(flat, reduced_axes), *after]


def _alike(x: Any, gx: Any) -> bool:
    return all(n == 1 or p == q for n, p, q in zip(x.shape, x.strides, gx.strides, strict=True))


def _turned(arrays: tuple[Any, ...], order: list[int], axes: tuple[int, ...]) -> tuple[Any, tuple[int, ...]]:
    """The arrays with their axes in that order, and where those axes are then."""
    return tuple(a.transpose(order) for a in arrays), tuple(order.index(i) for i in axes)


def _along_rows(arrays: tuple[Any, ...], axes: tuple[int, ...]) -> Share | None:
    """The work on rows, gx lying as x does; None where x is not to be read in rows."""
    g, x, y, _ = arrays
    found = rows_along(x.shape, axes, steps_of(x), steps_of(g), steps_of(y))
    if found is None:
        return None
    rows = (a.reshape(-1) if a.flags.c_contiguous else memory(a) for a in arrays)
    return Share(extremum_grad_rows, y.size, (*rows, *found))


def _along_columns(arrays: tuple[Any, ...], axes: tuple[int, ...]) -> Share:
    """The work on the columns of contiguous arrays."""
    g, x, y, gx = arrays
    three = columns_of(x.shape, axes)
    assert three is not None
    first, _, last = three
    parts = g.reshape(first, last), x.reshape(three), y.reshape(first, last), gx.reshape(three)
    return Share(extremum_grad_columns, first * -(-last // WIDE), parts)


def _is_large(g: Any, x: Any, y: Any, *, axis: Any) -> bool:
    return x.size >= THRESHOLD_BACK and _is_extremum(g, x, y, axis=axis)


@extremum_grad.kernel("cpu", when=_is_large)
def extremum_grad_in_one_go(xp: Any, g: Any, x: Any, y: Any, *, axis: Any) -> Any:
    """Rows or columns; gx laid out as x is."""
    return done(np.empty_like(x), extremum_grad_shares, g, x, y, axis=axis)
