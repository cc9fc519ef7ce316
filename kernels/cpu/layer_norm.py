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
from tinygrad_ft.kernels.cpu.vector import alike, compiled, product_sum, total
from tinygrad_ft.ops.normalise import layer_norm_grad, layer_norm_of_rows

CHUNKS, FEWEST = 32, 32  # at most so many chunks of at least so many rows, each with sums for gw and gb of its own
ADDED = 4  # rows whose shares in gw and gb are added in the precision of x; then float64 goes on


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
        gw, gb = sums[chunk, 0], sums[chunk, 1]
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
                _add_four(g[first : first + ADDED], z, gw, gb)
            else:
                for i in range(here):
                    _add_one(g[first + i], z[i], gw, gb)


@compiled
def _add_four(g: Any, z: Any, gw: Any, gb: Any) -> None:
    """gw += the sum of g z over four rows, gb += that of g."""
    a, b, c, d = g[0], g[1], g[2], g[3]
    p, q, r, s = z[0], z[1], z[2], z[3]
    for j in range(gw.size):
        gw[j] += (a[j] * p[j] + b[j] * q[j]) + (c[j] * r[j] + d[j] * s[j])
    for j in range(gb.size):
        gb[j] += (a[j] + b[j]) + (c[j] + d[j])


@compiled
def _add_one(a: Any, z: Any, gw: Any, gb: Any) -> None:
    for j in range(gw.size):
        gw[j] += a[j] * z[j]
    for j in range(gb.size):
        gb[j] += a[j]


@compiled
def layer_norm_grad_columns(sums: Any, gw: Any, gb: Any, start: int, end: int) -> None:
    """gw and gb for columns start to end: the sums of the chunks, first to last."""
    total_w, total_b = np.zeros(end - start), np.zeros(end - start)
    for chunk in range(sums.shape[0]):
        w, b = sums[chunk, 0, start:end], sums[chunk, 1, start:end]
        for j in range(w.size):
            total_w[j] += w[j]
        for j in range(b.size):
            total_b[j] += b[j]
    gw[start:end] = total_w
    gb[start:end] = total_b


def _row(a: Any, otherwise: int, x: Any, width: int) -> Any:
    """weight or bias as one row; of the same number throughout if it is None."""
    return np.full(width, otherwise, x.dtype) if a is None else a.reshape(-1)


def _applies(x: Any, *rest: Any) -> bool:
    return x.size > 0 and alike(x, *(a for a in rest if a is not None))


def _value_applies(x: Any, weight: Any, bias: Any, *, axes: int, eps: float) -> bool:
    return _applies(x, weight, bias)


def _grad_applies(g: Any, x: Any, weight: Any, m: Any, r: Any, *, axes: int) -> bool:
    return bool(g.shape == x.shape) and _applies(x, g, weight, m, r)


@layer_norm_of_rows.shares("cpu", when=_value_applies)
def layer_norm_shares(y: Any, x: Any, weight: Any, bias: Any, *, axes: int, eps: float) -> list[Share]:
    """Rows."""
    out, mean, r = y
    shape = n, width = mean.size, x.size // mean.size
    scaled = _row(weight, 1, x, width), _row(bias, 0, x, width)
    arrays = x.reshape(shape), *scaled, out.reshape(shape), mean.reshape(-1), r.reshape(-1)
    return [Share(layer_norm_rows, n, (*arrays, np.float64(eps)))]


@layer_norm_grad.shares("cpu", when=_grad_applies)
def layer_norm_grad_shares(y: Any, g: Any, x: Any, weight: Any, m: Any, r: Any, *, axes: int) -> list[Share]:
    """Chunks of rows, then columns."""
    gx, gw, gb = y
    shape = n, width = m.size, x.size // m.size
    rows = max(FEWEST, -(-n // CHUNKS))
    sums = np.empty((-(-n // rows), 2, width))
    w, m, r = _row(weight, 1, x, width), m.reshape(-1), r.reshape(-1)
    return [
        Share(
            layer_norm_grad_chunks,
            len(sums),
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
