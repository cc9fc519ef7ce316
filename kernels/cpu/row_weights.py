"""A weight that scales every row alike: as one row for a loop, and its gradient, which is a sum over the rows.

The rows are added in a fixed number of chunks, each into a sum of its own, and these from first to last: the same bits
however threads divide the chunks, and then the columns, among them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ft.kernels.cpu.vector import alike, compiled, inlined

CHUNKS, FEWEST = 32, 32  # at most so many chunks of at least so many rows
ADDED = 4  # rows that are added in the precision of x; then float64 goes on


def fit(x: Any, axes: int, *, whole: Any = (), rows: Any = (), numbers: Any = ()) -> bool:
    """Whether loops may walk through x row by row, a row being its last `axes` axes, and through others beside it.

    These are `whole` arrays like x, `rows` as long as one of its rows, of which any may be None, and `numbers`, one for
    each row.
    """
    rows = [a for a in rows if a is not None]
    if not (0 < axes <= x.ndim and x.size > 0 and alike(x, *whole, *rows, *numbers)):
        return False
    lead, last = x.shape[: x.ndim - axes], x.shape[x.ndim - axes :]
    return (
        all(a.shape == x.shape for a in whole)
        and all(a.shape == last for a in rows)
        and all(a.shape == (*lead, *(1,) * axes) for a in numbers)
    )


def row_of(a: Any, otherwise: int, x: Any, width: int) -> Any:
    """weight or bias as one row; of the same number throughout if it is None."""
    return np.full(width, otherwise, x.dtype) if a is None else a.reshape(-1)


def chunks_of(rows: int) -> tuple[int, int]:
    """(how many chunks, rows in each but the last)."""
    each = max(FEWEST, -(-rows // CHUNKS))
    return -(-rows // each), each


# Inlined, and with no branch inside: passing slices to functions took half as long again in rows of 64.
@inlined
def add_four(a: Any, y: Any) -> None:
    """y += the sum of ADDED rows."""
    p, q, r, s = a[0], a[1], a[2], a[3]
    for j in range(y.size):
        y[j] += (p[j] + q[j]) + (r[j] + s[j])


@inlined
def add_one(a: Any, y: Any) -> None:
    """y += one row."""
    for j in range(y.size):
        y[j] += a[j]


@inlined
def add_four_products(a: Any, b: Any, y: Any) -> None:
    """y += the sum over ADDED rows of the products of their elements."""
    p, q, r, s = a[0], a[1], a[2], a[3]
    e, f, g, h = b[0], b[1], b[2], b[3]
    for j in range(y.size):
        y[j] += (p[j] * e[j] + q[j] * f[j]) + (r[j] * g[j] + s[j] * h[j])


@inlined
def add_one_product(a: Any, b: Any, y: Any) -> None:
    """y += the products of the elements of two rows."""
    for j in range(y.size):
        y[j] += a[j] * b[j]


@compiled
def add_chunks(sums: Any, y: Any, start: int, end: int) -> None:
    """y for columns start to end: the sums of the chunks, first to last."""
    total = np.zeros(end - start)
    for chunk in range(sums.shape[0]):
        part = sums[chunk, start:end]
        for j in range(part.size):
            total[j] += part[j]
    y[start:end] = total
