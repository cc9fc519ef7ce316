"""Attention with several heads, and the Transformer block around it."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ft import ops
from tinygrad_ft.nn import init
from tinygrad_ft.nn.layers import Dropout, LayerNorm, Linear
from tinygrad_ft.nn.module import Module, Parameter
from tinygrad_ft.ops.random import Rng


class MultiheadAttention(Module):
    """`num_heads` attentions side by side, each over its own embed_dim / num_heads wide part of projected q, k and v.

    Shapes: query (batch, n, embed_dim), key and value (batch, m, embed_dim) -> y (batch, n, embed_dim). The batch
    always comes first. Parameters have PyTorch's names: in_proj_weight (3 embed_dim, embed_dim) holds all three
    projections.
    Source: Vaswani et al., "Attention Is All You Need", 2017, section 3.2.2.
    """

    def __init__(self, embed_dim: int, num_heads: int, dropout: float = 0.0, bias: bool = True, *, rng: Rng = None):
        super().__init__()
        if num_heads < 1 or embed_dim < 1 or embed_dim % num_heads:
            raise ValueError(f"embed_dim must be a multiple of num_heads: got {embed_dim} and {num_heads}")
        self.embed_dim, self.num_heads, self.dropout, self.rng = embed_dim, num_heads, dropout, rng
        self.in_proj_weight = Parameter(np.empty((3 * embed_dim, embed_dim), np.float32))
        init.xavier_uniform_(self.in_proj_weight, rng=rng)
        self.in_proj_bias = Parameter(np.zeros(3 * embed_dim, np.float32)) if bias else None
        self.out_proj = Linear(embed_dim, embed_dim, bias, rng=rng)
        if self.out_proj.bias is not None:
            init.zeros_(self.out_proj.bias)

    def forward(
        self,
        query: Any,
        key: Any = None,
        value: Any = None,
        *,
        attn_mask: Any = None,
        is_causal: bool = False,
        need_weights: bool = False,
    ) -> tuple[Any, Any]:
        """(y, weights): weights (batch, n, m), the mean over heads, if need_weights, else None.

        Args:
            key, value: as query unless given.
            attn_mask: booleans that say where a position may NOT look, as PyTorch has it here (and the other way round
                in `scaled_dot_product_attention`), or numbers to be added; broadcasts to (batch, heads, n, m).
            is_causal: position i looks at positions 0 to i only.

        Raises:
            ValueError: if query, key and value are not of those shapes.
        """
        q, k, v = self._projected(query, key, value)
        if attn_mask is not None and attn_mask.dtype == bool:
            attn_mask = ops.logical_not(attn_mask)
        rate = self.dropout if self.training else 0.0
        if need_weights:
            scale = q.shape[-1] ** -0.5
            _, weights = ops.attention(q, k, v, attn_mask, causal=is_causal, scale=scale)
            y = ops.matmul(ops.dropout(weights, rate, rng=self.rng), v)
            shown = ops.mean(weights, axis=1)
        else:
            y, shown = ops.scaled_dot_product_attention(q, k, v, attn_mask, rate, is_causal, rng=self.rng), None
        batch, _, n, _ = y.shape
        return self.out_proj(ops.reshape(ops.permute(y, axes=(0, 2, 1, 3)), shape=(batch, n, self.embed_dim))), shown

    def _projected(self, query: Any, key: Any, value: Any) -> list[Any]:
        """q, k and v as (batch, heads, positions, width): one product for all three where they come from the same x."""
        for name, x in (("query", query), ("key", key), ("value", value)):
            if x is not None and (x.ndim != 3 or x.shape[0] != query.shape[0] or x.shape[2] != self.embed_dim):
                raise ValueError(
                    f"{name} needs shape (batch, positions, {self.embed_dim}), the batch as the query's: got "
                    f"{tuple(x.shape)} with query {tuple(query.shape)}"
                )
        sizes = (self.embed_dim,) * 3
        if key is None and value is None:
            parts = ops.split(ops.linear(query, self.in_proj_weight, self.in_proj_bias), sizes, axis=-1)
        else:
            key = query if key is None else key
            weights = ops.split(self.in_proj_weight, sizes)
            biases = (None,) * 3 if self.in_proj_bias is None else ops.split(self.in_proj_bias, sizes)
            xs = (query, key, key if value is None else value)
            parts = tuple(ops.linear(x, w, b) for x, w, b in zip(xs, weights, biases, strict=True))
        width = self.embed_dim // self.num_heads
        return [
            ops.permute(ops.reshape(x, shape=(*x.shape[:2], self.num_heads, width)), axes=(0, 2, 1, 3)) for x in parts
        ]


class TransformerEncoderLayer(Module):
    """A pre-norm Transformer block: x + attention(norm1(x)), then x + linear2(gelu(linear1(norm2(x)))).

    Parameters have PyTorch's names, so the state fits its namesake with norm_first=True, batch_first=True and GELU.
    Shapes: x (batch, positions, d_model) -> the same.
    Source: Xiong et al., "On Layer Normalization in the Transformer Architecture", 2020, section 3.
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        *,
        layer_norm_eps: float = 1e-5,
        bias: bool = True,
        rng: Rng = None,
    ):
        super().__init__()
        self.norm1 = LayerNorm(d_model, layer_norm_eps, bias=bias)
        self.self_attn = MultiheadAttention(d_model, nhead, dropout, bias, rng=rng)
        self.norm2 = LayerNorm(d_model, layer_norm_eps, bias=bias)
        self.linear1 = Linear(d_model, dim_feedforward, bias, rng=rng)
        self.linear2 = Linear(dim_feedforward, d_model, bias, rng=rng)
        self.dropout = Dropout(dropout, rng=rng)

    def forward(self, x: Any, *, attn_mask: Any = None, is_causal: bool = False) -> Any:
        """x (batch, positions, d_model) -> the same shape."""
        x = x + self.dropout(self.self_attn(self.norm1(x), attn_mask=attn_mask, is_causal=is_causal)[0])
        return x + self.dropout(self.linear2(self.dropout(ops.gelu(self.linear1(self.norm2(x))))))
