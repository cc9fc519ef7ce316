"""Normalisation: features brought to mean 0 and variance 1."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from tinygrad_ft.chain_rule import cast
from tinygrad_ft.engine import Array, op
from tinygrad_ft.ops.composed import composed
from tinygrad_ft.ops.functions import sqrt
from tinygrad_ft.ops.reduce import HALF, count_along, in_float32, mean
from tinygrad_ft.ops.shape import reshape

__all__ = ["group_norm", "layer_norm", "normalise", "rms_norm"]


@op
def normalise(xp: Any, x: Array, *, axes: int = 1, eps: float = 1e-5) -> tuple[Array, Array]:
    """(y, r): y = (x - mean) r over the last `axes` axes, r = 1 / sqrt(variance + eps).

    Source: Ba, Kiros and Hinton, "Layer Normalization", 2016.
    """
    if x.dtype is HALF:
        return in_float32(normalise, xp, x, axes=axes, eps=eps)  # type: ignore[no-any-return]
    over = tuple(range(x.ndim - axes, x.ndim))
    y = x - xp.mean(x, axis=over, keepdims=True)
    r = 1.0 / xp.sqrt(xp.mean(y * y, axis=over, keepdims=True) + eps)
    return xp.multiply(y, r, out=y), r


@normalise.vjp
def normalise_vjp(gs: list[Array | None], y: tuple[Array, Array], *, axes: int) -> Array:
    """dy = r (dx - mean(dx) - y mean(y dx)), which is its own transpose, and dr = -r^2 mean(y dx)."""
    (g, gr), (z, r) = gs, y
    over = tuple(range(z.ndim - axes, z.ndim))
    gx = 0.0 if g is None else r * (g - mean(g, over, True) - z * mean(g * z, over, True))
    if gr is None:
        return gx
    return gx - gr * r * r * z * (1.0 / count_along(z.shape, over))


@composed
def layer_norm(x: Array, normalized_shape: Any, weight: Array = None, bias: Array = None, eps: float = 1e-5) -> Array:
    """x brought to mean 0 and variance 1 over its last axes, then scaled by weight and shifted by bias, if not None.

    Shapes: x (..., *normalized_shape); weight and bias normalized_shape.
    """
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if not shape or tuple(x.shape[-len(shape) :]) != shape:
        raise ValueError(f"layer_norm over {shape} needs x with these as its last lengths: got {tuple(x.shape)}")
    y = normalise(x, axes=len(shape), eps=eps)[0]
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


@composed
def rms_norm(input: Array, normalized_shape: Any, weight: Array = None, eps: float | None = None) -> Array:
    """x divided by the root of its mean square over its last axes, then scaled by weight, if not None.

    Source: Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019. eps is the dtype's own unless told.
    """
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if not shape or tuple(input.shape[-len(shape) :]) != shape:
        raise ValueError(f"rms_norm over {shape} needs x with these as its last lengths: got {tuple(input.shape)}")
    if weight is not None and tuple(weight.shape) != shape:
        raise ValueError(f"rms_norm over {shape} needs weight of that shape: got {tuple(weight.shape)}")
    wide = cast(input, dtype=np.dtype(np.float32)) if input.dtype == HALF else input
    eps = float(np.finfo(input.dtype).eps) if eps is None else eps
    y = wide / sqrt(mean(wide * wide, tuple(range(-len(shape), 0)), True) + eps)
    y = cast(y, dtype=HALF) if input.dtype == HALF else y
    return y if weight is None else y * weight


@composed
def group_norm(input: Array, num_groups: int, weight: Array = None, bias: Array = None, eps: float = 1e-5) -> Array:
    """x (n, channels, ...) brought to mean 0 and variance 1 in each group of channels, then scaled and shifted.

    Shapes: weight and bias (channels,). Source: Wu and He, "Group Normalization", 2018.
    """
    if input.ndim < 2 or num_groups < 1 or input.shape[1] % num_groups:
        raise ValueError(f"group_norm in {num_groups} groups needs x (n, channels, ...): got {tuple(input.shape)}")
    channels = input.shape[1]
    y = reshape(input, (input.shape[0], num_groups, prod(input.shape[1:]) // num_groups))
    y = reshape(normalise(y, eps=eps)[0], tuple(input.shape))
    for name, by in (("weight", weight), ("bias", bias)):
        if by is not None and tuple(by.shape) != (channels,):
            raise ValueError(f"group_norm needs {name} ({channels},): got {tuple(by.shape)}")
    column = (channels, *(1 for _ in input.shape[2:]))
    y = y if weight is None else y * reshape(weight, column)
    return y if bias is None else y + reshape(bias, column)
