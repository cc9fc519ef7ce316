"""Attention and its derivative on the CPU, head by head and block of rows by block, while both are in the cache.

Replaces: ops.attention.attention and attention_grad. A causal block of rows multiplies only the columns that it may
see, so half of the work of long sequences falls away; q, k and v are read where they lie, with their heads side by
side, so that nothing is transposed; and the answers lie as q does, so that joining the heads again copies nothing.
Where a causal row sees only finite numbers, a recorded step answers it even if what comes a block later is not finite;
the op, and so the eager kernel, makes NaN of it, because its zeros multiply all columns.
Applies: float32 or float64 of 3 or 4 axes whose rows are contiguous, without a mask, where NumPy brings OpenBLAS.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ft.dispatch import Share
from tinygrad_ft.kernels.cpu.blas import PLAIN, TRANSPOSED, address, product
from tinygrad_ft.kernels.cpu.eager import done
from tinygrad_ft.kernels.cpu.vector import compiled, exp_below, largest, product_sum, total
from tinygrad_ft.ops.attention import attention, attention_grad

WEIGHT = 4.0  # of a byte: products and exponentials
BLOCK = 64  # rows whose scores stay in the cache of the first or second level


@compiled
def _weights(rows: Any, width: int, first: int, scale: Any, causal: int) -> None:
    """Scores become softmax(scale row), 0 beyond `width`; where causal, row i sees the columns up to first + i."""
    none, infinity = rows.dtype.type(0), rows.dtype.type(np.inf)
    for i in range(rows.shape[0]):
        row, beyond = rows[i][:width], rows[i][width:]  # of a whole row, so that the compiler knows it is contiguous
        if causal:  # a loop of full width with a comparison vectorises, one up to the diagonal does not
            seen = np.int32(first + i)
            for j in range(row.size):
                row[j] += none if np.int32(j) <= seen else -infinity  # as the op does: what is NaN stays so
        m = largest(row)
        shift = m if m > -infinity else none
        for j in range(row.size):
            row[j] = exp_below((row[j] - shift) * scale)
        s = total(row)  # 0 where a row may look nowhere; NaN beside an infinite score, whose share alone is NaN
        share = none if s == 0.0 or m == infinity else rows.dtype.type(1.0 / s)
        for j in range(row.size):
            row[j] *= share
        for j in range(beyond.size):
            beyond[j] = 0


@compiled
def attention_heads(
    gemm: Any, q: Any, k: Any, v: Any, p: Any, y: Any, scale: Any, causal: int, start: int, end: int
) -> None:
    """p and y for the heads start to end, counted through the batch."""
    one, zero = q.dtype.type(1), q.dtype.type(0)
    heads, n, m = q.shape[1], q.shape[2], k.shape[2]
    for head in range(start, end):
        b, h = head // heads, head % heads
        for first in range(0, n, BLOCK):
            last = min(first + BLOCK, n)
            width = min(last, m) if causal else m
            rows = p[b, h, first:last]
            s = rows[:, :width]
            product(gemm, PLAIN, TRANSPOSED, one, q[b, h, first:last], k[b, h, :width], zero, s)
            _weights(rows, width, first, scale, causal)
            product(gemm, PLAIN, PLAIN, one, s, v[b, h, :width], zero, y[b, h, first:last])


@compiled
def attention_grad_heads(
    gemm: Any, g: Any, q: Any, k: Any, v: Any, p: Any, gq: Any, gk: Any, gv: Any, scale: Any, causal: int,
    start: int, end: int,
) -> None:  # fmt: skip
    """gq, gk and gv for the heads start to end."""
    one, zero = q.dtype.type(1), q.dtype.type(0)
    heads, n, m = q.shape[1], q.shape[2], k.shape[2]
    work = np.empty((min(BLOCK, n), m), q.dtype)
    for head in range(start, end):
        b, h = head // heads, head % heads
        blocks = (n + BLOCK - 1) // BLOCK
        for block in range(blocks - 1, -1, -1):  # the last first: it reaches all columns, and so begins gk and gv
            first = block * BLOCK
            last = min(first + BLOCK, n)
            width = min(last, m) if causal else m
            so_far = zero if block == blocks - 1 else one
            weights, rows = p[b, h, first:last, :width], g[b, h, first:last]
            s = work[: last - first, :width]
            product(gemm, TRANSPOSED, PLAIN, one, weights, rows, so_far, gv[b, h, :width])
            product(gemm, PLAIN, TRANSPOSED, one, rows, v[b, h, :width], zero, s)
            for i in range(last - first):
                a, w = work[i][:width], p[b, h, first + i][:width]
                mean = work.dtype.type(product_sum(a, w))
                for j in range(a.size):
                    a[j] = w[j] * (a[j] - mean) * scale
            product(gemm, PLAIN, PLAIN, one, s, k[b, h, :width], zero, gq[b, h, first:last])
            product(gemm, TRANSPOSED, PLAIN, one, s, q[b, h, first:last], so_far, gk[b, h, :width])


def _fits(*arrays: Any) -> bool:
    """Whether these are of one dtype that BLAS knows, with 3 or 4 axes, the same batch, and contiguous rows."""
    q = arrays[0]
    return all(
        isinstance(a, np.ndarray)
        and a.dtype == q.dtype
        and a.ndim == q.ndim
        and a.shape[:-2] == q.shape[:-2]
        and a.strides[-1] == a.itemsize
        and a.strides[-2] >= a.shape[-1] * a.itemsize
        and a.strides[-2] % a.itemsize == 0
        and a.size > 0
        for a in arrays
    ) and bool(q.ndim in (3, 4) and address(q.dtype))


def _applies(q: Any, k: Any, v: Any, mask: Any, *, causal: bool, scale: float) -> bool:
    reaches_all = not causal or q.shape[-2] >= k.shape[-2]
    usual = mask is None and reaches_all and bool(np.isfinite(scale) and scale > 0)
    return usual and _fits(q, k, v) and q.shape[-1] == k.shape[-1] and k.shape[-2] == v.shape[-2]


def _grad_applies(g: Any, q: Any, k: Any, v: Any, p: Any, *, causal: bool, scale: float) -> bool:
    shapes = g.shape == (*q.shape[:-1], v.shape[-1]) and p.shape == (*q.shape[:-1], k.shape[-2])
    return shapes and _applies(q, k, v, None, causal=causal, scale=scale) and _fits(q, g, p)


def _finite(*arrays: Any) -> bool:
    with np.errstate(over="ignore", invalid="ignore"):
        return all(np.isfinite(a.sum()) for a in arrays)


def _four(a: Any) -> Any:
    return a if a.ndim == 4 else a[:, None]


def _laid_out_as(a: Any, width: int) -> Any:
    """An empty array of the shape of a, its last length apart, whose axes lie in memory in the order of a's."""
    shape = (*a.shape[:-1], width)
    order = sorted(range(a.ndim - 1), key=lambda i: -a.strides[i])
    back = [order.index(i) for i in range(a.ndim - 1)]
    return np.empty([*(shape[i] for i in order), width], a.dtype).transpose(*back, a.ndim - 1)


def _of_heads(heads: Any, arrays: tuple[Any, ...], q: Any, causal: bool, scale: float) -> list[Share]:
    items = q.shape[0] if q.ndim == 3 else q.shape[0] * q.shape[1]
    return [Share(heads, items, (address(q.dtype), *map(_four, arrays), q.dtype.type(scale), int(causal)), WEIGHT)]


@attention.shares("cpu", when=_applies)
def attention_shares(y: Any, q: Any, k: Any, v: Any, mask: Any, *, causal: bool, scale: float) -> list[Share]:
    """Heads, counted through the batch."""
    y, p = y
    return _of_heads(attention_heads, (q, k, v, p, y), q, causal, scale)


@attention_grad.shares("cpu", when=_grad_applies)
def attention_grad_shares(y: Any, g: Any, q: Any, k: Any, v: Any, p: Any, *, causal: bool, scale: float) -> list[Share]:
    """Heads, counted through the batch."""
    return _of_heads(attention_grad_heads, (g, q, k, v, p, *y), q, causal, scale)


@attention.kernel("cpu", when=_applies)
def attention_by_head(xp: Any, q: Any, k: Any, v: Any, mask: Any, *, causal: bool, scale: float) -> tuple[Any, Any]:
    """A head at a time."""
    y = _laid_out_as(q, v.shape[-1]), np.empty((*q.shape[:-1], k.shape[-2]), q.dtype)
    done(y, attention_shares, q, k, v, mask, causal=causal, scale=scale)
    if not _finite(y[0]):
        return attention.forward(xp, q, k, v, mask, causal=causal, scale=scale)  # type: ignore[no-any-return]
    return y


@attention_grad.kernel("cpu", when=_grad_applies)
def attention_grad_by_head(
    xp: Any, g: Any, q: Any, k: Any, v: Any, p: Any, *, causal: bool, scale: float
) -> tuple[Any, Any, Any]:
    """A head at a time."""
    y = _laid_out_as(q, q.shape[-1]), _laid_out_as(k, k.shape[-1]), _laid_out_as(v, v.shape[-1])
    done(y, attention_grad_shares, g, q, k, v, p, causal=causal, scale=scale)
    if not _finite(*y):
        return attention_grad.f(g, q, k, v, p, causal=causal, scale=scale)  # type: ignore[no-any-return]
    return y
