"""Attention: every position asks all positions, and takes the mean of what they offer, weighted by fit."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ft.chain_rule import cast
from tinygrad_ft.device import cpu, device_of
from tinygrad_ft.engine import Array, Value, op
from tinygrad_ft.ops.arithmetic import zeros_like
from tinygrad_ft.ops.arrange import on_or_below
from tinygrad_ft.ops.comparison import where
from tinygrad_ft.ops.composed import composed
from tinygrad_ft.ops.functions import exp
from tinygrad_ft.ops.linalg import matmul
from tinygrad_ft.ops.random import dropout
from tinygrad_ft.ops.reduce import HALF, softmax_grad, sum
from tinygrad_ft.ops.shape import transpose

__all__ = ["attention", "scaled_dot_product_attention"]


@op
def attention(
    xp: Any, q: Array, k: Array, v: Array, mask: Array, *, causal: bool = False, scale: float = 1.0
) -> tuple[Array, Array]:
    """(y, p): p = softmax(scale q k^T + mask), y = p v. A row that may look nowhere answers 0.

    Shapes: q (..., n, d), k (..., m, d), v (..., m, e), mask None or broadcasting to (..., n, m), booleans saying where
    to look or numbers to be added -> y (..., n, e), p (..., n, m). `causal`: position i sees positions 0 to i.
    Source: Vaswani et al., "Attention Is All You Need", 2017, section 3.2.1.
    """
    p, _, total = _exponentials(xp, q, k, mask, causal, scale)
    p /= xp.where(xp.equal(total, 0), xp.ones_like(total), total)
    return xp.matmul(p, v), p


def _exponentials(xp: Any, q: Array, k: Array, mask: Array, causal: bool, scale: float) -> tuple[Array, Array, Array]:
    """(e^(s - shift), shift, sum(e^(s - shift))) of the scores s = scale q k^T + mask; shift is a row's largest."""
    p = xp.matmul(q * scale, xp.swapaxes(k, -1, -2))
    if causal:
        p += xp.triu(xp.full(p.shape[-2:], -xp.inf, dtype=p.dtype), 1)
    if mask is not None:
        p = xp.where(mask, p, -xp.inf) if mask.dtype == bool else p + mask
    if p.shape[-1]:
        m = xp.max(p, axis=-1, keepdims=True)
        m = xp.where(xp.isfinite(m), m, xp.zeros_like(m))
    else:
        m = xp.zeros((*p.shape[:-1], 1), dtype=p.dtype)
    p -= m
    xp.exp(p, out=p)
    return p, m, xp.sum(p, axis=-1, keepdims=True)


@attention.vjp
def attention_vjp(
    gs: list[Array | None],
    q: Array,
    k: Array,
    v: Array,
    mask: Array,
    y: tuple[Array, Array],
    *,
    causal: bool,
    scale: float,
) -> tuple[Any, ...]:
    """With s = scale q k^T + mask: gp = gy v^T, gs = p (gp - sum(gp p)), gq = scale gs k, gk = scale gs^T q,
    gv = p^T gy.
    """
    (gy, gp), (_, p) = gs, y
    if gp is None and mask is None:
        return *attention_grad(gy, q, k, v, p, causal=causal, scale=scale), None
    if gy is not None:
        through_y = matmul(gy, transpose(v))
        gp = through_y if gp is None else gp + through_y
    gs_ = softmax_grad(gp, p)
    return (
        lambda: matmul(gs_, k) * scale,
        lambda: matmul(transpose(gs_), q * scale),
        None if gy is None else lambda: matmul(transpose(p), gy),
        gs_,
    )


@composed
def attention_grad(
    g: Array, q: Array, k: Array, v: Array, p: Array, *, causal: bool, scale: float
) -> tuple[Array, Array, Array]:
    """(gq, gk, gv) of y = p v alone, p = softmax(scale q k^T) being 0 where `causal` forbids to look."""
    gs = softmax_grad(matmul(g, transpose(v)), p) * scale
    return matmul(gs, k), matmul(transpose(gs), q), matmul(transpose(p), g)


@op
def flash_attention(
    xp: Any, q: Array, k: Array, v: Array, *, causal: bool = False, scale: float = 1.0
) -> tuple[Array, Array]:
    """(y, lse): y = p v as `attention` answers it, and lse = log(sum(e^s)) of each row of s = scale q k^T.

    From lse the weights can be had again a tile at a time, p = e^(s - lse), so that a kernel need not keep them all.
    Shapes: lse (..., n, 1), in float32 where q is float16; infinite for a row that may look nowhere, so that p is 0.
    Source: Dao et al., "FlashAttention", 2022, algorithms 1 and 2.
    """
    if q.dtype == HALF:
        y, lse = flash_attention.forward(xp, *(a.astype(xp.float32) for a in (q, k, v)), causal=causal, scale=scale)
        return y.astype(HALF), lse
    p, m, total = _exponentials(xp, q, k, None, causal, scale)
    nowhere = xp.equal(total, 0)
    total = xp.where(nowhere, xp.ones_like(total), total)
    p /= total
    return xp.matmul(p, v), xp.where(nowhere, xp.inf, m + xp.log(total))


@flash_attention.vjp
def flash_attention_vjp(
    gs: list[Array | None], q: Array, k: Array, v: Array, y: tuple[Array, Array], *, causal: bool, scale: float
) -> tuple[Array, Array, Array]:
    """See flash_attention_grad."""
    (g, glse), (z, lse) = gs, y
    g = zeros_like(z) if g is None else g
    return flash_attention_grad(g, q, k, v, z, lse, glse, causal=causal, scale=scale)  # type: ignore[no-any-return]


@composed
def flash_attention_grad(
    g: Array, q: Array, k: Array, v: Array, y: Array, lse: Array, glse: Array = None, *, causal: bool, scale: float
) -> tuple[Array, Array, Array]:
    """(gq, gk, gv): with p = e^(s - lse) and gs = p (g v^T - sum(g y) + glse) as below, where glse may be None.

    It is `attention_grad`, for sum(g y) is the mean that softmax_grad subtracts; and dlse = sum(p ds).
    """
    if q.dtype == HALF:
        wide = (cast(a, dtype=np.dtype(np.float32)) for a in (g, q, k, v, y))
        answers = flash_attention_grad(*wide, lse, glse, causal=causal, scale=scale)
        return tuple(cast(a, dtype=HALF) for a in answers)
    s = matmul(q * scale, transpose(k))
    p = exp((where(on_or_below(s, diagonal=0), s, -np.inf) if causal else s) - lse)
    less = sum(g * y, axis=-1, keepdims=True)
    gs = p * (matmul(g, transpose(v)) - (less if glse is None else less - glse)) * scale
    return matmul(gs, k), matmul(transpose(gs), q), matmul(transpose(p), g)


def _has_flash_kernel(q: Array, k: Array, v: Array, causal: bool, scale: float) -> bool:
    """Whether these are on a device, other than the CPU, that has a kernel of flash_attention for them."""
    arrays = [a.array if isinstance(a, Value) else a for a in (q, k, v)]
    if flash_attention.kernels is None or (device := device_of(arrays[0])) is cpu:
        return False
    params = {"causal": causal, "scale": scale}
    return flash_attention.kernels.choose(device.name, arrays, params) is not flash_attention.forward


@composed
def scaled_dot_product_attention(
    query: Array,
    key: Array,
    value: Array,
    attn_mask: Array = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    rng: Any = None,
) -> Array:
    """softmax(q k^T / sqrt(d)) v, q·k of d unit normals having variance d; see `attention`.

    Where the device has a kernel for it, no weights are kept, unless dropout needs them; see `flash_attention`.

    Args:
        dropout_p: chance that a weight is dropped; as in PyTorch it applies whenever given, so pass 0 in evaluation.
    """
    if query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
        raise ValueError(
            "attention needs q (..., n, d), k (..., m, d) and v (..., m, e): "
            f"got q {tuple(query.shape)}, k {tuple(key.shape)}, v {tuple(value.shape)}"
        )
    scale = query.shape[-1] ** -0.5 if scale is None else float(scale)  # NumPy's scalars would make float64 of float32
    if attn_mask is None and not dropout_p and _has_flash_kernel(query, key, value, is_causal, scale):
        return flash_attention(query, key, value, causal=is_causal, scale=scale)[0]
    y, p = attention(query, key, value, attn_mask, causal=is_causal, scale=scale)
    return matmul(dropout(p, dropout_p, rng=rng), value) if dropout_p else y
