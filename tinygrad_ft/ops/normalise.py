"""Normalisation: features brought to mean 0 and variance 1."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from tinygrad_ft import engine
from tinygrad_ft.chain_rule import cast
from tinygrad_ft.engine import Array, Value, op
from tinygrad_ft.ops.composed import composed
from tinygrad_ft.ops.functions import rsqrt
from tinygrad_ft.ops.reduce import HALF, count_along, in_float32, mean, sum
from tinygrad_ft.ops.shape import permute, reshape
from tinygrad_ft.ops.update import moved_towards

__all__ = ["batch_norm", "group_norm", "instance_norm", "layer_norm", "normalise", "rms_norm"]


@op
def normalise(xp: Any, x: Array, *, axes: int = 1, eps: float = 1e-5) -> tuple[Array, Array]:
    """(y, r): y = (x - mean) r over the last `axes` axes, r = 1 / sqrt(variance + eps).

    Of examples one by one this is layer norm, of channels batch norm.
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


@op
def layer_norm_of_rows(
    xp: Any, x: Array, weight: Array, bias: Array, *, axes: int = 1, eps: float = 1e-5
) -> tuple[Array, Array, Array]:
    """(y, mean, r): y = (x - mean) r weight + bias, mean and r = 1 / sqrt(variance + eps) over the last `axes` axes.

    weight and bias may be None. Source: Ba, Kiros and Hinton, "Layer Normalization", 2016.
    """
    if x.dtype is HALF:
        return in_float32(layer_norm_of_rows, xp, x, weight, bias, axes=axes, eps=eps)  # type: ignore[no-any-return]
    over = tuple(range(x.ndim - axes, x.ndim))
    m = xp.mean(x, axis=over, keepdims=True)
    y = x - m
    r = 1.0 / xp.sqrt(xp.mean(y * y, axis=over, keepdims=True) + eps)
    y *= r
    y = y if weight is None else y * weight
    return y if bias is None else y + bias, m, r


@layer_norm_of_rows.vjp
def layer_norm_of_rows_vjp(
    gs: list[Array | None], x: Array, weight: Array, y: tuple[Array, Array, Array], *, axes: int
) -> tuple[Any, ...]:
    """See layer_norm_grad; beside it dmean = mean(dx) and dr = -r^3 mean((x - mean) dx)."""
    (g, gm, gr), (_, m, r) = gs, y
    gx, gw, gb = (None,) * 3 if g is None else layer_norm_grad(g, x, weight, m, r, axes=axes)
    n = count_along(x.shape, tuple(range(x.ndim - axes, x.ndim)))
    for more in (None if gm is None else gm * (1.0 / n), None if gr is None else gr * r * r * r * (m - x) * (1.0 / n)):
        gx = more if gx is None else gx if more is None else gx + more
    return gx, gw, gb


@composed
def layer_norm_grad(g: Array, x: Array, weight: Array, m: Array, r: Array, *, axes: int) -> tuple[Array, Array, Array]:
    """(gx, gw, gb): with z = (x - m) r and h = g w: gx = r (h - mean(h) - z mean(h z)), gw = sum(g z), gb = sum(g)."""
    over = tuple(range(x.ndim - axes, x.ndim))
    z, h = (x - m) * r, g if weight is None else g * weight
    gx = r * (h - mean(h, over, True) - z * mean(h * z, over, True))
    rows = tuple(range(x.ndim - axes))
    return gx, sum(g * z, axis=rows), sum(g, axis=rows)


@op
def rms_norm_of_rows(xp: Any, x: Array, weight: Array, *, axes: int = 1, eps: float = 1e-5) -> tuple[Array, Array]:
    """(y, r): y = x r weight, r = 1 / sqrt(mean(x^2) + eps) over the last `axes` axes; weight may be None.

    Source: Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019.
    """
    if x.dtype is HALF:
        return in_float32(rms_norm_of_rows, xp, x, weight, axes=axes, eps=eps)  # type: ignore[no-any-return]
    r = 1.0 / xp.sqrt(xp.mean(x * x, axis=tuple(range(x.ndim - axes, x.ndim)), keepdims=True) + eps)
    return x * r if weight is None else x * r * weight, r


@rms_norm_of_rows.vjp
def rms_norm_of_rows_vjp(
    gs: list[Array | None], x: Array, weight: Array, y: tuple[Array, Array], *, axes: int
) -> tuple[Any, ...]:
    """See rms_norm_grad; beside it dr = -r^3 mean(x dx)."""
    (g, gr), (_, r) = gs, y
    gx, gw = (None, None) if g is None else rms_norm_grad(g, x, weight, r, axes=axes)
    if gr is None:
        return gx, gw
    more = gr * r * r * r * x * (-1.0 / count_along(x.shape, tuple(range(x.ndim - axes, x.ndim))))
    return more if gx is None else gx + more, gw


@composed
def rms_norm_grad(g: Array, x: Array, weight: Array, r: Array, *, axes: int) -> tuple[Array, Array]:
    """(gx, gw): with z = x r and h = g w: gx = r (h - z mean(h z)), gw = sum(g z)."""
    over = tuple(range(x.ndim - axes, x.ndim))
    z, h = x * r, g if weight is None else g * weight
    return r * (h - z * mean(h * z, over, True)), sum(g * z, axis=tuple(range(x.ndim - axes)))


def _last_lengths(name: str, normalized_shape: Any, x: Array, **scales: Array) -> tuple[int, ...]:
    """normalized_shape as a tuple, if x ends in it, and what scales and shifts by element has it."""
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if not shape or tuple(x.shape[-len(shape) :]) != shape:
        raise ValueError(f"{name} over {shape} needs x with these as its last lengths: got {tuple(x.shape)}")
    for what, by in scales.items():
        if by is not None and tuple(by.shape) != shape:
            raise ValueError(f"{name} over {shape} needs {what} of that shape: got {tuple(by.shape)}")
    return shape


@composed
def layer_norm(x: Array, normalized_shape: Any, weight: Array = None, bias: Array = None, eps: float = 1e-5) -> Array:
    """x brought to mean 0 and variance 1 over its last axes, then scaled by weight and shifted by bias, if not None.

    Shapes: x (..., *normalized_shape); weight and bias normalized_shape.
    """
    shape = _last_lengths("layer_norm", normalized_shape, x, weight=weight, bias=bias)
    if all(by is None or by.dtype == x.dtype for by in (weight, bias)) and x.dtype.kind == "f" and x.dtype.itemsize > 2:
        return layer_norm_of_rows(x, weight, bias, axes=len(shape), eps=eps)[0]
    y = normalise(x, axes=len(shape), eps=eps)[0]  # which keeps y: of float16, x less its mean would lose digits
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


@composed
def rms_norm(input: Array, normalized_shape: Any, weight: Array = None, eps: float | None = None) -> Array:
    """x divided by the root of its mean square over its last axes, then scaled by weight, if not None.

    Shapes: x (..., *normalized_shape); weight normalized_shape. eps is the dtype's own unless told.
    """
    shape = _last_lengths("rms_norm", normalized_shape, input, weight=weight)
    eps = float(np.finfo(input.dtype if input.dtype.kind == "f" else np.float32).eps) if eps is None else eps
    narrow = input.dtype.kind != "f" or input.dtype == HALF
    wide = cast(input, dtype=np.dtype(np.float32)) if narrow else input
    within = None if weight is None or narrow or weight.dtype != input.dtype else weight
    y = rms_norm_of_rows(wide, within, axes=len(shape), eps=eps)[0]
    y = cast(y, dtype=HALF) if input.dtype == HALF else y
    return y if within is weight else y * weight


@composed
def group_norm(input: Array, num_groups: int, weight: Array = None, bias: Array = None, eps: float = 1e-5) -> Array:
    """x (n, channels, ...) brought to mean 0 and variance 1 in each group of channels, then scaled and shifted.

    Shapes: weight and bias (channels,). Source: Wu and He, "Group Normalization", 2018.
    """
    if input.ndim < 2 or num_groups < 1 or input.shape[1] % num_groups:
        raise ValueError(f"group_norm in {num_groups} groups needs x (n, channels, ...): got {tuple(input.shape)}")
    y = reshape(input, (input.shape[0], num_groups, prod(input.shape[1:]) // num_groups))
    return _scaled("group_norm", reshape(normalise(y, eps=eps)[0], tuple(input.shape)), weight, bias)


def _scaled(name: str, y: Array, weight: Array, bias: Array) -> Array:
    """y (n, channels, ...) times the weight and plus the bias of its channel, if not None."""
    for what, by in (("weight", weight), ("bias", bias)):
        if by is not None and tuple(by.shape) != (y.shape[1],):
            raise ValueError(f"{name} needs {what} ({y.shape[1]},): got {tuple(by.shape)}")
    column = (y.shape[1], *(1 for _ in y.shape[2:]))
    y = y if weight is None else y * reshape(weight, column)
    return y if bias is None else y + reshape(bias, column)


@composed
def batch_norm(
    input: Array, running_mean: Array, running_var: Array, weight: Array = None, bias: Array = None,
    training: bool = False, momentum: float = 0.1, eps: float = 1e-5,
) -> Array:  # fmt: skip
    """x (n, channels, ...) brought to mean 0 and variance 1 in each channel, then scaled and shifted.

    In training by the mean and variance of x, towards which the arrays of running_mean and running_var, if not None,
    are moved by `momentum` of the way, written in place; otherwise by these two.
    Shapes: all but x (channels,). Source: Ioffe and Szegedy, "Batch Normalization", 2015.
    """
    if not training:
        return _scaled("batch_norm", _by_running("batch_norm", input, running_mean, running_var, eps), weight, bias)
    n = input.shape[0] * prod(input.shape[2:]) if input.ndim > 1 else 0
    if n < 2:
        raise ValueError(f"batch_norm in training needs 2 values a channel of x (n, channels, ...): got {input.shape}")
    swapped = (1, 0, *range(2, input.ndim))
    y, r = normalise(permute(input, swapped), axes=input.ndim - 1, eps=eps)
    _move(running_mean, running_var, input, (0, *range(2, input.ndim)), r, n, momentum, eps)
    return _scaled("batch_norm", permute(y, swapped), weight, bias)


@composed
def instance_norm(
    input: Array, running_mean: Array = None, running_var: Array = None, weight: Array = None, bias: Array = None,
    use_input_stats: bool = True, momentum: float = 0.1, eps: float = 1e-5,
) -> Array:  # fmt: skip
    """x (n, channels, ...) brought to mean 0 and variance 1 in each channel of each example, then scaled and shifted.

    The running mean and variance are those of batch_norm, averaged over the examples.
    Source: Ulyanov, Vedaldi and Lempitsky, "Instance Normalization", 2016.
    """
    if not use_input_stats:
        return _scaled(
            "instance_norm", _by_running("instance_norm", input, running_mean, running_var, eps), weight, bias
        )
    n = prod(input.shape[2:])
    if n < 2:
        raise ValueError(f"instance_norm needs 2 values a channel of x (n, channels, ...): got {tuple(input.shape)}")
    y, r = normalise(input, axes=input.ndim - 2, eps=eps)
    _move(running_mean, running_var, input, tuple(range(2, input.ndim)), r, n, momentum, eps)
    return _scaled("instance_norm", y, weight, bias)


def _by_running(name: str, x: Array, running_mean: Array, running_var: Array, eps: float) -> Array:
    if running_mean is None or running_var is None:
        raise ValueError(f"{name} outside of training needs running_mean and running_var")
    if x.ndim < 2 or {tuple(running_mean.shape), tuple(running_var.shape)} != {(x.shape[1],)}:
        raise ValueError(
            f"{name} needs x (n, channels, ...), running_mean and running_var (channels,): "
            f"got {tuple(x.shape)}, {tuple(running_mean.shape)} and {tuple(running_var.shape)}"
        )
    column = (x.shape[1], *(1 for _ in x.shape[2:]))
    return (x - reshape(running_mean, column)) * reshape(rsqrt(running_var + eps), column)


def _move(
    running_mean: Array, running_var: Array, x: Array, over: Any, r: Array, n: int, momentum: float, eps: float
) -> None:
    """Bring the running arrays nearer to the mean of n elements of x and their variance, of which r is 1 / sqrt."""
    x, r = (engine.Tensor(a.array) if isinstance(a, Value) else a for a in (x, r))
    for running, found in ((running_mean, None), (running_var, (1.0 / (r * r) - eps) * (n / (n - 1)))):
        if running is not None:
            now = mean(x, axis=over) if found is None else found
            moved_towards(running, mean(reshape(now, (-1, x.shape[1])), axis=0), share=momentum)
