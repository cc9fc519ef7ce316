"""Layer norm and its derivative on the CPU, row by row while the row is in the cache.

Replaces: ops.normalise.layer_norm_of_rows and layer_norm_grad. Forward it moves 8 bytes an element in float32 (reads x,
writes y) and backward 12 (reads g and x, writes gx), where NumPy's passes move about 50 and 90.
Applies: contiguous float32 or float64, weight and bias of that dtype.
"""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np

from tinygrad_ft.dispatch import Share
from tinygrad_ft.kernels.cpu.eager import done
from tinygrad_ft.kernels.cpu.row_weights import (
    ADDED,
    add_chunks,
    add_four,
    add_four_products,
    add_one,
    add_one_product,
    chunks_of,
    fit,
    row_of,
)
from tinygrad_ft.kernels.cpu.vector import compiled, product_sum, total
from tinygrad_ft.ops.normalise import layer_norm_grad, layer_norm_of_rows


@compiled
def layer_norm_rows(x: Any, weight: Any, bias: Any, y: Any, mean: Any, r: Any, eps: Any, start: int, end: int) -> None:
    """y, mean and r for rows start to end."""
    number, n = x.dtype.type, x.shape[1]
    for i in range(start, end):
        row, out = x[i], y[i]
        m = number(total(row) / n)  # a product with a rounded 1 / n would make something of equal numbers
        for j in range(row.size):
            out[j] = row[j] - m
        s = number(1.0 / sqrt(product_sum(out, out) / n + eps))
        mean[i], r[i] = m, s
        for j in range(row.size):
            out[j] = out[j] * s * weight[j] + bias[j]


@compiled
def layer_norm_grad_chunks(
    g: Any, x: Any, weight: Any, mean: Any, r: Any, gx: Any, sums: Any, rows: int, start: int, end: int
) -> None:
    """gx for the chunks start to end of so many rows; in `sums`, what each chunk adds to gw and to gb."""
    number, n = x.dtype.type, x.shape[1]
    z = np.empty((ADDED, n), x.dtype)
    for chunk in range(start, end):
        gw, gb = sums[0, chunk], sums[1, chunk]
        gw[:] = 0.0
        gb[:] = 0.0
        last = min((chunk + 1) * rows, x.shape[0])
        for first in range(chunk * rows, last, ADDED):
            here = min(ADDED, last - first)
            for i in range(here):
                row, a, out, b = x[first + i], g[first + i], gx[first + i], z[i]
                m, s = mean[first + i], r[first + i]
                for j in range(row.size):
                    b[j] = (row[j] - m) * s
                for j in range(row.size):
                    out[j] = a[j] * weight[j]
                shift, tilt = number(total(out) / n), number(product_sum(out, b) / n)
                for j in range(row.size):
                    out[j] = s * (out[j] - shift - b[j] * tilt)
            if here == ADDED:
                add_four_products(g[first : first + ADDED], z, gw)
                add_four(g[first : first + ADDED], gb)
            else:
                for i in range(here):
                    add_one_product(g[first + i], z[i], gw)
                    add_one(g[first + i], gb)


@compiled
def layer_norm_grad_columns(sums: Any, gw: Any, gb: Any, start: int, end: int) -> None:
    """gw and gb for columns start to end: the sums of the chunks, first to last."""
    add_chunks(sums[0], gw, start, end)
    add_chunks(sums[1], gb, start, end)


def _value_applies(x: Any, weight: Any, bias: Any, *, axes: int, eps: float) -> bool:
    return fit(x, axes, rows=(weight, bias))


def _grad_applies(g: Any, x: Any, weight: Any, m: Any, r: Any, *, axes: int) -> bool:
    return fit(x, axes, whole=(g,), rows=(weight,), numbers=(m, r))


@layer_norm_of_rows.shares("cpu", when=_value_applies)
def layer_norm_shares(y: Any, x: Any, weight: Any, bias: Any, *, axes: int, eps: float) -> list[Share]:
    """Rows."""
    out, mean, r = y
    shape = n, width = mean.size, x.size // mean.size
    scaled = row_of(weight, 1, x, width), row_of(bias, 0, x, width)
    arrays = x.reshape(shape), *scaled, out.reshape(shape), mean.reshape(-1), r.reshape(-1)
    return [Share(layer_norm_rows, n, (*arrays, np.float64(eps)))]


@layer_norm_grad.shares("cpu", when=_grad_applies)
def layer_norm_grad_shares(y: Any, g: Any, x: Any, weight: Any, m: Any, r: Any, *, axes: int) -> list[Share]:
    """Chunks of rows, then columns."""
    gx, gw, gb = y
    shape = n, width = m.size, x.size // m.size
    chunks, rows = chunks_of(n)
    sums = np.empty((2, chunks, width))
    w, m, r = row_of(weight, 1, x, width), m.reshape(-1), r.reshape(-1)
    return [
        Share(
            layer_norm_grad_chunks,
            chunks,
            (g.reshape(shape), x.reshape(shape), w, m, r, gx.reshape(shape), sums, rows),
        ),
        Share(layer_norm_grad_columns, width, (sums, gw.reshape(-1), gb.reshape(-1))),
    ]


@layer_norm_of_rows.kernel("cpu", when=_value_applies)
def layer_norm_by_row(xp: Any, x: Any, weight: Any, bias: Any, *, axes: int, eps: float) -> tuple[Any, Any, Any]:
    """A row at a time."""
    shape = (*x.shape[: x.ndim - axes], *(1,) * axes)
    y = np.empty_like(x), np.empty(shape, x.dtype), np.empty(shape, x.dtype)
    return done(y, layer_norm_shares, x, weight, bias, axes=axes, eps=eps)  # type: ignore[no-any-return]


@layer_norm_grad.kernel("cpu", when=_grad_applies)
def layer_norm_grad_by_row(xp: Any, g: Any, x: Any, weight: Any, m: Any, r: Any, *, axes: int) -> tuple[Any, Any, Any]:
    """A row at a time."""
    shape = x.shape[x.ndim - axes :]
    y = np.empty_like(x), np.empty(shape, x.dtype), np.empty(shape, x.dtype)
    return done(y, layer_norm_grad_shares, g, x, weight, m, r, axes=axes)  # type: ignore[no-any-return]
