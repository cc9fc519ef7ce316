"""Products with the gradient of an extremum on the CPU: what is not 0 in it is found by its place and multiplied alone.

Replaces: ops.extremum_products. The backward of the text CNN's convolution and maximum moved 30 MB and took 10 ms of a
step of 14 when the gradient was written down; this reads the 8 MB of x once more, and what the places name.
Where an extremum stands in several places, these are looked up again: were all windows equal, it took 3.7 times as long
(32 texts of 500 words, 128 channels), with half of every text the same word 0.5 of the time. Zeros of g are passed
over, as if 0 times infinity were 0.
Applies: float32 or float64, contiguous arrays.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ft.dispatch import Share
from tinygrad_ft.kernels.cpu.mostly_zero import add_row
from tinygrad_ft.kernels.cpu.vector import alike, compiled
from tinygrad_ft.ops.extremum_products import extremum_grad_matmul, extremum_grad_outer, extremum_places

WIDE = 128  # columns in an item


@compiled
def extremum_places_columns(x: Any, y: Any, places: Any, start: int, end: int) -> None:
    """An item is 128 neighbours j of the columns x[i, :, j] of one i."""
    rows, columns = x.shape[1], x.shape[2]
    parts = (columns + WIDE - 1) // WIDE
    counts, firsts = np.empty(WIDE, np.int32), np.empty(WIDE, np.int32)
    for item in range(start, end):
        i, left = item // parts, item % parts * WIDE
        right = min(left + WIDE, columns)
        count, first, extrema, out = (
            counts[: right - left],
            firsts[: right - left],
            y[i][left:right],
            places[i][left:right],
        )
        for j in range(count.size):
            count[j] = 0
            first[j] = 0
        for r in range(rows):
            row, at = x[i, r][left:right], np.int32(r)
            for j in range(row.size):
                attained = (row[j] == extrema[j]) | (row[j] != row[j])
                first[j] = at if attained & (count[j] == 0) else first[j]
                count[j] += np.int32(attained)
        for j in range(out.size):
            out[j] = first[j] if count[j] == 1 else -1 - first[j]


@compiled
def times_attained(
    factor: Any, x: Any, i: int, j: int, extremum: Any, place: int, b: Any, at_b: int, apart_b: int, c: Any, at_c: int,
    apart_c: int, m: int,
) -> None:  # fmt: skip
    """c += factor b, m numbers for each place r of the extremum of x[i, :, j], from place -1 - `place` on.

    Those of r begin r `apart_b` after `at_b` in b, and in c likewise. The factor is divided by how many places there
    are.
    """
    rows, count = x.shape[1], 0
    for r in range(-1 - place, rows):
        v = x[i, r, j]
        count += (v == extremum) | (v != v)
    part = x.dtype.type(factor / count)
    for r in range(-1 - place, rows):
        v = x[i, r, j]
        if (v == extremum) | (v != v):
            add_row(part, b, at_b + r * apart_b, c, at_c + r * apart_c, m)


@compiled
def extremum_grad_matmul_rows(
    g: Any, x: Any, y: Any, places: Any, w: Any, out: Any, m: int, apart: int, start: int, end: int
) -> None:
    """An item is one i: a row of out. w is given as memory with m numbers a row."""
    columns = x.shape[2]
    for i in range(start, end):
        mine = out[i]
        for k in range(mine.size):
            mine[k] = 0
        for j in range(columns):
            factor, place = g[i, j], places[i, j]
            if factor != 0 and place >= 0:
                add_row(factor, w, j * m, mine, place * apart, m)
            elif factor != 0:
                times_attained(factor, x, i, j, y[i, j], place, w, j * m, 0, mine, 0, apart, m)


@compiled
def extremum_grad_outer_rows(
    g: Any, x: Any, y: Any, places: Any, a: Any, out: Any, m: int, start: int, end: int
) -> None:
    """An item is one column j: a row of out. a and out are given as memory with m numbers a row."""
    rows = x.shape[1]
    for j in range(start, end):
        mine = out[j * m : (j + 1) * m]
        for k in range(mine.size):
            mine[k] = 0
        for i in range(x.shape[0]):
            factor, place = g[i, j], places[i, j]
            if factor != 0 and place >= 0:
                add_row(factor, a, (i * rows + place) * m, mine, 0, m)
            elif factor != 0:
                times_attained(factor, x, i, j, y[i, j], place, a, i * rows * m, m, mine, 0, 0, m)


def _fits(x: Any, y: Any) -> bool:
    return alike(x, y) and x.ndim == 3 and x.size > 0 and y.shape == (x.shape[0], x.shape[2])


@extremum_places.shares("cpu", when=_fits)
def extremum_places_shares(places: Any, x: Any, y: Any) -> list[Share]:
    """Columns."""
    parts = -(-x.shape[2] // WIDE)
    return [Share(extremum_places_columns, x.shape[0] * parts, (x, y, places))]


def _multiplies(g: Any, x: Any, y: Any, places: Any, b: Any, **rest: Any) -> bool:
    of_x = alike(x, y, g) and _fits(x, y) and places.flags.c_contiguous and g.shape == places.shape == y.shape
    return of_x and alike(x, b) and b.ndim == 2 and b.size > 0


@extremum_grad_matmul.shares("cpu", when=_multiplies)
def extremum_grad_matmul_shares(out: Any, g: Any, x: Any, y: Any, places: Any, w: Any, *, apart: int) -> list[Share]:
    """One i after the other."""
    arguments = (g, x, y, places, w.reshape(-1), out, w.shape[1], apart)
    return [Share(extremum_grad_matmul_rows, x.shape[0], arguments)]


@extremum_grad_outer.shares("cpu", when=_multiplies)
def extremum_grad_outer_shares(out: Any, g: Any, x: Any, y: Any, places: Any, a: Any) -> list[Share]:
    """One column after the other."""
    flat = (a.reshape(-1), out.reshape(-1), a.shape[1])
    return [Share(extremum_grad_outer_rows, x.shape[2], (g, x, y, places, *flat))]
