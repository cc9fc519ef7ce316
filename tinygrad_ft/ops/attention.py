"""Attention: every position asks all positions, and takes the mean of what they offer, weighted by fit."""

from __future__ import annotations

from typing import Any

from tinygrad_ft.engine import Array, op
from tinygrad_ft.ops.composed import composed
from tinygrad_ft.ops.linalg import matmul
from tinygrad_ft.ops.random import dropout
from tinygrad_ft.ops.reduce import softmax_grad
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
    p = xp.matmul(q * scale, xp.swapaxes(k, -1, -2))
    if causal:
        p += xp.triu(xp.full(p.shape[-2:], -xp.inf, dtype=p.dtype), 1)
    if mask is not None:
        p = xp.where(mask, p, -xp.inf) if mask.dtype == bool else p + mask
    m = xp.max(p, axis=-1, keepdims=True, initial=-xp.inf)
    p -= xp.where(xp.isfinite(m), m, xp.zeros_like(m))
    xp.exp(p, out=p)
    total = xp.sum(p, axis=-1, keepdims=True)
    p /= xp.where(xp.equal(total, 0), xp.ones_like(total), total)
    return xp.matmul(p, v), p


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

    Args:
        dropout_p: chance that a weight is dropped; as in PyTorch it applies whenever given, so pass 0 in evaluation.
    """
    if query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
        raise ValueError(
            "attention needs q (..., n, d), k (..., m, d) and v (..., m, e): "
            f"got q {tuple(query.shape)}, k {tuple(key.shape)}, v {tuple(value.shape)}"
        )
    scale = query.shape[-1] ** -0.5 if scale is None else float(scale)  # NumPy's scalars would make float64 of float32
    y, p = attention(query, key, value, attn_mask, causal=is_causal, scale=scale)
    return matmul(dropout(p, dropout_p, rng=rng), value) if dropout_p else y
