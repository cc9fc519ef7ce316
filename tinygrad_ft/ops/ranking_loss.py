"""Losses of pairs and triplets: what belongs together is to be near, and what does not at least a margin apart."""

from __future__ import annotations

from tinygrad_ft.engine import Array
from tinygrad_ft.ops.arithmetic import clip, minimum
from tinygrad_ft.ops.comparison import where
from tinygrad_ft.ops.composed import composed
from tinygrad_ft.ops.distances import pairwise_distance
from tinygrad_ft.ops.functions import sqrt
from tinygrad_ft.ops.loss import reduced
from tinygrad_ft.ops.reduce import sum

__all__ = ["cosine_embedding_loss", "hinge_embedding_loss", "margin_ranking_loss", "triplet_margin_loss"]


@composed
def hinge_embedding_loss(input: Array, target: Array, *, margin: float = 1.0, reduction: str = "mean") -> Array:
    """A distance x where t = 1, max(0, margin - x) where t = -1."""
    apart = where(target != 1, clip(margin - input, min=0.0), 0.0)
    return reduced(apart + where(target != -1, input, 0.0), reduction)


@composed
def margin_ranking_loss(
    input1: Array, input2: Array, target: Array, *, margin: float = 0.0, reduction: str = "mean"
) -> Array:
    """max(0, margin - t (a - b)): t = 1 if a is to be larger, -1 if b is."""
    if not input1.ndim == input2.ndim == target.ndim:
        raise ValueError(
            f"margin_ranking_loss needs as many axes in all: got {tuple(input1.shape)}, {tuple(input2.shape)} and "
            f"{tuple(target.shape)}"
        )
    return reduced(clip(margin - target * (input1 - input2), min=0.0), reduction)


@composed
def triplet_margin_loss(
    anchor: Array,
    positive: Array,
    negative: Array,
    *,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    reduction: str = "mean",
) -> Array:
    """max(0, margin + |anchor - positive| - |anchor - negative|), or - |positive - negative| if `swap` and smaller."""
    if not anchor.ndim == positive.ndim == negative.ndim:
        raise ValueError(
            f"triplet_margin_loss needs as many axes in all: got {tuple(anchor.shape)}, {tuple(positive.shape)} and "
            f"{tuple(negative.shape)}"
        )
    if margin <= 0:
        raise ValueError(f"triplet_margin_loss needs a margin above 0: got {margin}")
    near, far = pairwise_distance(anchor, positive, p, eps), pairwise_distance(anchor, negative, p, eps)
    far = minimum(far, pairwise_distance(positive, negative, p, eps)) if swap else far
    return reduced(clip(margin + near - far, min=0.0), reduction)


@composed
def cosine_embedding_loss(
    input1: Array, input2: Array, target: Array, *, margin: float = 0.0, reduction: str = "mean"
) -> Array:
    """1 - cosine where t = 1, max(0, cosine - margin) where t = -1. Shapes: (n, d) or (d,), target (n,) or ()."""
    if input1.ndim != target.ndim + 1 or input2.ndim != target.ndim + 1 or target.ndim > 1:
        raise ValueError(
            f"cosine_embedding_loss needs (n, d), (n, d), (n,) or (d,), (d,), (): got {tuple(input1.shape)}, "
            f"{tuple(input2.shape)} and {tuple(target.shape)}"
        )
    squares = [sum(x * x, axis=-1) + 1e-12 for x in (input1, input2)]
    cosine = sum(input1 * input2, axis=-1) / sqrt(squares[0] * squares[1])
    return reduced(
        where(target == 1, 1.0 - cosine, 0.0) + where(target == -1, clip(cosine - margin, min=0.0), 0.0), reduction
    )
