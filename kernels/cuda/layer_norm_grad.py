"""How layer norm passes a cotangent on, on a GPU: to x row by row, to weight and bias column by column.

Replaces: ops.normalise.layer_norm_grad. Moves 20 bytes an element (g and x twice, gx), where an array operation at a
time moves about 90.
Applies: contiguous float32, weight None or contiguous. A cotangent is copied first if it is not contiguous.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ft.cuda.compile import cuda, device, float32, int32, kernel, uint32
from tinygrad_ft.cuda.intrinsics import address
from tinygrad_ft.kernels.cuda.row_weights import fit, row_or, weight_grads
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
from tinygrad_ft.ops.normalise import layer_norm_grad

ZERO, ONE = np.float32(0.0), np.float32(1.0)


@kernel(version="block", moves="reads g and x twice, writes gx once", why="coalesced; a tree in shared memory meets")
def layer_norm_grad_block(g: Any, x: Any, weight: Any, mean: Any, r: Any, gx: Any, n: Any, scaled: Any) -> None:
    """gx = r (h - mean(h) - z mean(h z)), with h = g weight and z = (x - mean) r, for rows of n, a block a row."""
    row, t = uint32(cuda.blockIdx.x), uint32(cuda.threadIdx.x)
    start = uint32(row * n)
    m, scale = mean[row], r[row]
    j, s, q = t, ZERO, ZERO
    while j < n:
        h = g[uint32(start + j)]
        if scaled:
            h *= weight[j]
        s += h
        q += h * ((x[uint32(start + j)] - m) * scale)
        j = uint32(j + THREADS)
    shift, tilt = tree_sum(s) / float32(n), tree_sum(q) / float32(n)
    j = t
    while j < n:
        h = g[uint32(start + j)]
        if scaled:
            h *= weight[j]
        gx[uint32(start + j)] = scale * (h - shift - (x[uint32(start + j)] - m) * scale * tilt)
        j = uint32(j + THREADS)


@device
def h_and_z(g: Any, x: Any, weight: Any, i: Any, j: Any, left: Any, step: Any, m: Any, scale: Any, scaled: Any) -> Any:
    """h and z of four numbers, the first of them at i of the arrays and at j of the row; h is 0 beyond the row."""
    a, b, c, d = take(g, i, left, step, ZERO)
    if scaled:
        e, f, h, k = take(weight, j, left, step, ZERO)
        a, b, c, d = a * e, b * f, c * h, d * k
    e, f, h, k = take(x, i, left, step, ZERO)
    return a, b, c, d, (e - m) * scale, (f - m) * scale, (h - m) * scale, (k - m) * scale


@kernel(
    version="shuffles",
    moves="reads g and x once from memory and once more from cache, writes gx once",
    why="16 bytes a load; shuffles, with two barriers a row or none",
)
def layer_norm_grad_shuffles(g: Any, x: Any, weight: Any, mean: Any, r: Any, gx: Any, n: Any, scaled: Any) -> None:
    """The same, a warp or a block a row."""
    row = row_here()
    if row * n < uint32(x.size):
        step = apart(n, address(g) | address(x) | address(weight) | address(gx))
        turn = int32(cuda.blockDim.x << 2)
        j = uint32(first(step))
        i, left = uint32(row * n + j), int32(n - j)
        m, scale = mean[row], r[row]
        s, q = ZERO, ZERO
        while left > 0:
            a, b, c, d, e, f, h, k = h_and_z(g, x, weight, i, j, left, step, m, scale, scaled)
            s += (a + b) + (c + d)
            q += (a * e + b * f) + (c * h + d * k)
            i, j, left = uint32(i + turn), uint32(j + turn), int32(left - turn)
        shift, tilt = row_sum(s) / float32(n), row_sum(q) / float32(n)
        j = uint32(first(step))
        i, left = uint32(row * n + j), int32(n - j)
        while left > 0:
            a, b, c, d, e, f, h, k = h_and_z(g, x, weight, i, j, left, step, m, scale, scaled)
            a, b, c, d = a - shift - e * tilt, b - shift - f * tilt, c - shift - h * tilt, d - shift - k * tilt
            put(gx, i, left, step, scale * a, scale * b, scale * c, scale * d)
            i, j, left = uint32(i + turn), uint32(j + turn), int32(left - turn)


def _applies(g: Any, x: Any, weight: Any, m: Any, r: Any, *, axes: int) -> bool:
    alike = type(g) is type(x) and x.dtype == np.float32 and g.dtype == np.float32 and g.shape == x.shape
    return alike and fit(x, axes, rows=(weight,), numbers=(m, r))


def _ready(xp: Any, g: Any, x: Any, weight: Any, m: Any, r: Any) -> tuple[Any, Any, tuple[Any, ...]]:
    """gx, the cotangent in one row, and what the kernels of rows are given."""
    gx, g = xp.empty(x.shape, np.float32), xp.ascontiguousarray(g).reshape(-1)
    n = np.uint32(x.size // r.size)
    arrays = g, x.reshape(-1), row_or(weight, r), m.reshape(-1), r.reshape(-1), gx.reshape(-1)
    return gx, g, (*arrays, n, weight is not None)


@layer_norm_grad.kernel("cuda", when=_applies)
def block(xp: Any, g: Any, x: Any, weight: Any, m: Any, r: Any, *, axes: int) -> tuple[Any, Any, Any]:
    """A block a row, then columns."""
    gx, g, arguments = _ready(xp, g, x, weight, m, r)
    by_blocks(layer_norm_grad_block, r.size, *arguments)
    return gx, *weight_grads(xp, g, x.reshape(-1), m.reshape(-1), r.reshape(-1), x.shape[x.ndim - axes :])


@layer_norm_grad.kernel("cuda", when=_applies)
def shuffles(xp: Any, g: Any, x: Any, weight: Any, m: Any, r: Any, *, axes: int) -> tuple[Any, Any, Any]:
    """A warp or a block a row, then columns."""
    gx, g, arguments = _ready(xp, g, x, weight, m, r)
    by_rows(layer_norm_grad_shuffles, r.size, x.size // r.size, *arguments)
    return gx, *weight_grads(xp, g, x.reshape(-1), m.reshape(-1), r.reshape(-1), x.shape[x.ndim - axes :])
