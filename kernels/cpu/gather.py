"""Rows of a table taken by index, and added up again where they were taken from, on the CPU.

Replaces: ops.linalg.embedding and sum_rows, ops.index.getitem and put with one index array in the first place. Taking
rows is a copy, which a recorded step needs in shares only. Adding up moves each row once; NumPy's add.at does it
element by element, and sum_rows sorts and copies all rows first.
Applies: int32 or int64 indices into contiguous float32 or float64; what sum_rows adds up may have any layout. An index
that is out of range touches nothing of the table: what it would take is NaN, what it would add to is left out.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from tinygrad_ft.dispatch import Share
from tinygrad_ft.kernels.cpu.copy import copies, copying, filling, into_contiguous
from tinygrad_ft.kernels.cpu.eager import done
from tinygrad_ft.kernels.cpu.matmul import memory
from tinygrad_ft.kernels.cpu.vector import alike, compiled
from tinygrad_ft.ops.index import HERE, getitem, put
from tinygrad_ft.ops.linalg import embedding, sum_rows

OWNERS = (
    64  # items: which of them a row of the table belongs to goes by turns, since the rows often used are neighbours
)


@compiled
def taken_rows(x: Any, index: Any, y: Any, lowest: int, start: int, end: int) -> None:
    """y[i] = x[index[i]] for i from start to end; indices from `lowest`, below 0 counted from the end."""
    n, width = len(x), np.uint64(x.shape[1])
    for i in range(start, end):
        at, row = index[i], np.uint64(i)
        r = np.uint64(at + n if at < 0 else at)
        if lowest <= at < n:
            for j in range(width):
                y[row, j] = x[r, j]
        else:
            for j in range(width):
                y[row, j] = np.nan


@compiled
def added_rows(
    g: Any, index: Any, y: Any, wide: int, inner: int, g1: int, g2: int, apart: int, lowest: int, start: int, end: int
) -> None:
    """y = 0, then its row index[i], `wide` elements, += row i of g for all i, in the rows that belong to start to end.

    g is the memory that the array covers: row a inner + b begins a g1 + b g2 elements into it, which lie `apart`.
    """
    n = y.size // wide
    width, step = np.uint64(wide), np.uint64(apart)  # without a sign, no index may count from the end: a third of the
    for block in range(0, n, OWNERS):  # time
        for j in range(np.uint64((block + start) * wide), np.uint64(min(block + end, n) * wide)):
            y[j] = 0
    to, begins, count = np.empty(index.size, np.uint64), np.empty(index.size, np.uint64), 0
    for a in range(index.size // inner):
        for b in range(inner):  # without a branch, which would be foretold wrongly half of the time
            at = index[a * inner + b]
            row = at + n if at < 0 else at
            owner = row & (OWNERS - 1)
            to[count], begins[count] = row, a * g1 + b * g2
            count += 1 if (start <= owner) & (owner < end) & (lowest <= at) & (at < n) else 0
    for k in range(count):
        first, i = to[k] * width, begins[k]
        if step == 1:
            for j in range(width):
                y[first + j] += g[i + j]
        else:
            for j in range(first, first + width):
                y[j] += g[i]
                i += step


def _indices(index: Any) -> bool:
    return copies(index) and index.dtype in (np.int32, np.int64)


def _is_float(g: Any) -> bool:
    return copies(g) and g.dtype in (np.float32, np.float64)


def _first_place(key: tuple[Any, ...]) -> bool:
    return bool(key) and key[0] is HERE and all(isinstance(k, slice) and k == slice(None) for k in key[1:])


def _in_a_row(index: Any) -> tuple[Any, list[Share]]:
    """Indices one after the other, and the work of bringing them there."""
    if index.flags.c_contiguous:
        return index.reshape(-1), []
    row = np.empty(index.shape, index.dtype)
    return row.reshape(-1), copying(row, index)


def _taking(y: Any, x: Any, index: Any, lowest: int) -> list[Share]:
    rows, before = _in_a_row(index)
    arrays = x.reshape(len(x), -1), rows, y.reshape(rows.size, -1)
    return [*before, Share(taken_rows, rows.size, (*arrays, lowest))]


def _adding(y: Any, g: Any, index: Any, lowest: int) -> list[Share]:
    found, (rows, before) = _rows(g, index.ndim), _in_a_row(index)
    if found is None:
        g, strided = np.empty(g.shape, g.dtype), g
        before += copying(g, strided)
        found = rows.size, 0, g.size // rows.size, 1
    width = g.size // rows.size
    return [*before, Share(added_rows, OWNERS, (memory(g), rows, y.reshape(-1), width, *found, lowest))]


def _rows(g: Any, n: int) -> tuple[int, ...] | None:
    """(inner, g1, g2, apart) as in `added_rows`, for rows along the axes after the first n; None if it is not so."""
    count = prod(g.shape[:n])
    if g.flags.c_contiguous:
        return count, 0, g.size // count, 1
    steps = [s // g.itemsize for s in g.strides]
    groups = list[tuple[int, int]]()
    for length, step in zip(g.shape[:n], steps, strict=False):
        if length > 1:
            joined = groups.pop()[0] if groups and groups[-1][1] == length * step else 1
            groups.append((joined * length, step))
    if g.ndim != n + 1 or min(steps) < 0 or len(groups) > 2:
        return None
    (_, g1), (inner, g2) = ([(1, 0), (1, 0), *groups])[-2:]
    return inner, g1, g2, steps[-1]


@embedding.shares("cpu", when=lambda ids, weight: alike(weight) and _indices(ids) and ids.size * weight.size > 0)
@into_contiguous
def embedding_shares(y: Any, ids: Any, weight: Any) -> list[Share]:
    """Rows."""
    return _taking(y, weight, ids, 0)


def _sum_applies(g: Any, ids: Any, *, rows: int) -> bool:
    return _is_float(g) and _indices(ids) and g.size > 0 and rows > 0 and bool(g.shape[:-1] == ids.shape)


@sum_rows.shares("cpu", when=_sum_applies)
@into_contiguous
def sum_rows_shares(y: Any, g: Any, ids: Any, *, rows: int) -> list[Share]:
    """Rows of the table, by turns."""
    return _adding(y, g, ids, 0)


def _get_applies(x: Any, *indices: Any, key: tuple[Any, ...]) -> bool:
    usual = alike(x) and len(indices) == 1 and _first_place(key) and len(key) <= x.ndim
    return usual and x.size > 0 and _indices(indices[0]) and bool(indices[0].size > 0)


@getitem.shares("cpu", when=_get_applies)
@into_contiguous
def getitem_shares(y: Any, x: Any, index: Any, *, key: tuple[Any, ...]) -> list[Share]:
    """Rows."""
    return _taking(y, x, index, -len(x))


def _put_applies(g: Any, *indices: Any, key: tuple[Any, ...], shape: tuple[int, ...]) -> bool:
    usual = alike(g) and g.size > 0 and len(indices) == 1 and _first_place(key) and len(key) <= len(shape)
    return usual and _indices(indices[0]) and bool(g.shape == (*indices[0].shape, *shape[1:])) and shape[0] > 0


@put.shares("cpu", when=_put_applies)
@into_contiguous
def put_shares(y: Any, g: Any, index: Any, *, key: tuple[Any, ...], shape: tuple[int, ...]) -> list[Share]:
    """Rows of the table, by turns."""
    return _adding(y, g, index, -shape[0])


def _stretch_applies(g: Any, *indices: Any, key: tuple[Any, ...], shape: tuple[int, ...]) -> bool:
    return not indices and _is_float(g)


@put.shares("cpu", when=_stretch_applies)
@into_contiguous
def put_stretch_shares(y: Any, g: Any, *, key: tuple[Any, ...], shape: tuple[int, ...]) -> list[Share]:
    """Zeros, then g at a place without index arrays, which is a view of y."""
    at = y[(*key, ...)] if ... not in key else y[key]
    return [*filling(y, 0.0), *copying(at, np.broadcast_to(g, at.shape))]


@sum_rows.kernel("cpu", when=_sum_applies)
def sum_rows_in_place(xp: Any, g: Any, ids: Any, *, rows: int) -> Any:
    """Each row added where it belongs, one after the other."""
    if ids.min() < 0 or ids.max() >= rows:
        return sum_rows.forward(xp, g, ids, rows=rows)  # which says so
    return done(np.empty((rows, g.shape[-1]), g.dtype), sum_rows_shares, g, ids, rows=rows)


@put.kernel("cpu", when=_put_applies)
def put_in_place(xp: Any, g: Any, index: Any, *, key: tuple[Any, ...], shape: tuple[int, ...]) -> Any:
    """Each row added where it belongs, one after the other."""
    if index.min() < -shape[0] or index.max() >= shape[0]:
        return put.forward(xp, g, index, key=key, shape=shape)  # which says so
    return done(np.empty(shape, g.dtype), put_shares, g, index, key=key, shape=shape)
