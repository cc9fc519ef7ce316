"""How a softmax passes a cotangent on, on a GPU: a sum over the row of products, then a product.

Replaces: ops.reduce.softmax_grad. Moves 12 bytes an element in float32, and the second reading of a row is from cache.
Applies: contiguous p, float32 or float16, along the last axis. A cotangent is copied first if it is not contiguous.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ft.cuda.compile import cuda, float32, int32, kernel, uint32
from tinygrad_ft.cuda.intrinsics import address
from tinygrad_ft.kernels.cuda.rows import (
    THREADS,
    apart,
    by_blocks,
    by_rows,
    first,
    put,
    row_here,
    row_sum,
    rows_along,
    take,
    tree_sum,
)
from tinygrad_ft.ops.reduce import softmax_grad


@kernel(version="block", moves="reads g and p twice, writes y once", why="coalesced; a tree in shared memory meets")
def softmax_grad_block(g: Any, p: Any, y: Any, n: Any) -> None:
    """y = p (g - sum(g p)) for rows of n, a block a row."""
    start = uint32(cuda.blockIdx.x * n)
    end = uint32(start + n)
    i = uint32(start + cuda.threadIdx.x)
    s = float32(0.0)
    while i < end:
        s += float32(g[i]) * float32(p[i])
        i = uint32(i + THREADS)
    s = tree_sum(s)
    i = uint32(start + cuda.threadIdx.x)
    while i < end:
        y[i] = float32(p[i]) * (float32(g[i]) - s)
        i = uint32(i + THREADS)


@kernel(
    version="shuffles",
    moves="reads g and p once from memory and once more from cache, writes y once",
    why="16 bytes a load; shuffles, with one barrier a row or none",
)
def softmax_grad_shuffles(g: Any, p: Any, y: Any, n: Any) -> None:
    """y = p (g - sum(g p)) for rows of n."""
    row = row_here()
    if row * n < uint32(p.size):
        step = apart(n, address(g) | address(p) | address(y))
        turn = int32(cuda.blockDim.x << 2)
        i, left = uint32(row * n + first(step)), int32(n - first(step))
        s = float32(0.0)
        while left > 0:
            a, b, c, d = take(g, i, left, step, float32(0.0))
            e, f, h, k = take(p, i, left, step, float32(0.0))
            s += (a * e + b * f) + (c * h + d * k)
            i, left = uint32(i + turn), int32(left - turn)
        s = row_sum(s)
        i, left = uint32(row * n + first(step)), int32(n - first(step))
        while left > 0:
            a, b, c, d = take(g, i, left, step, float32(0.0))
            e, f, h, k = take(p, i, left, step, float32(0.0))
            put(y, i, left, step, e * (a - s), f * (b - s), h * (c - s), k * (d - s))
            i, left = uint32(i + turn), int32(left - turn)


def _applies(g: Any, p: Any, *, axis: Any) -> bool:
    return rows_along(axis, p) and type(g) is type(p) and g.dtype == p.dtype and bool(g.shape == p.shape)


def _arguments(xp: Any, g: Any, p: Any) -> tuple[Any, tuple[Any, ...]]:
    """The answer, and what the kernels are given."""
    y = xp.empty(p.shape, p.dtype)
    return y, (xp.ascontiguousarray(g).reshape(-1), p.reshape(-1), y.reshape(-1), np.uint32(p.shape[-1]))


@softmax_grad.kernel("cuda", when=_applies)
def block(xp: Any, g: Any, p: Any, *, axis: int) -> Any:
    """A block a row."""
    y, arguments = _arguments(xp, g, p)
    by_blocks(softmax_grad_block, p.size // p.shape[-1], *arguments)
    return y


@softmax_grad.kernel("cuda", when=_applies)
def shuffles(xp: Any, g: Any, p: Any, *, axis: int) -> Any:
    """A warp or a block a row."""
    y, arguments = _arguments(xp, g, p)
    by_rows(softmax_grad_shuffles, p.size // p.shape[-1], p.shape[-1], *arguments)
    return y
