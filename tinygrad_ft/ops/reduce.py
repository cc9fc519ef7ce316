"""Ops that gather many elements into one: sums, means, extrema, and the softmax family."""

from __future__ import annotations

import builtins
from math import nan, prod
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np

from tinygrad_ft.chain_rule import cast
from tinygrad_ft.engine import Array, Op, op
from tinygrad_ft.ops.arithmetic import maximum, minimum
from tinygrad_ft.ops.comparison import logical_or, where
from tinygrad_ft.ops.composed import composed
from tinygrad_ft.ops.functions import exp
from tinygrad_ft.ops.index import take_along_axis
from tinygrad_ft.ops.shape import Axis, axes_of, reshape

__all__ = [
    "amax", "amin", "argmax", "argmin", "log_softmax", "logsumexp", "max", "mean", "min", "softmax", "sum",
]  # fmt: skip

HALF = np.dtype(np.float16)


def kept_shape(shape: tuple[int, ...], axis: Axis) -> tuple[int, ...]:
    """The shape that is left when those axes are reduced to length 1."""
    gone = axes_of(axis, len(shape))
    return tuple(1 if i in gone else n for i, n in enumerate(shape))


def count_along(shape: tuple[int, ...], axis: Axis) -> int:
    """How many elements meet in one when those axes are reduced."""
    return prod(shape[i] for i in axes_of(axis, len(shape)))


def in_float32(op: Op, xp: Any, *arrays: Array, **params: Any) -> Any:
    """What an op that adds up answers in float16, computed in float32: float16 ends at 65504, and 2048 + 1 is 2048."""
    y = op.forward(xp, *(a.astype(xp.float32) if getattr(a, "dtype", None) == HALF else a for a in arrays), **params)
    return tuple(part.astype(HALF) for part in y) if isinstance(y, tuple) else y.astype(HALF)


@op
def sum(xp: Any, x: Array, *, axis: Axis = None, keepdims: bool = False) -> Array:
    """y = the sum over `axis` (all if None)."""
    if x.dtype is HALF:
        return in_float32(sum, xp, x, axis=axis, keepdims=keepdims)
    if axis is None and not keepdims:
        return x.sum()
    return xp.sum(x, axis=axes_of(axis, x.ndim), keepdims=keepdims)


@sum.vjp
def sum_vjp(g: Array, *, axis: Axis, x_shape: tuple[int, ...]) -> Array:
    """Every element counts once: g, spread over the axes that were summed."""
    return g.reshape((1,) * len(x_shape) if axis is None else kept_shape(x_shape, axis))


@op
def mean(xp: Any, x: Array, *, axis: Axis = None, keepdims: bool = False) -> Array:
    """y = the sum over `axis` (all if None), divided by how many there were; of none, NaN."""
    if x.dtype is HALF:
        return in_float32(mean, xp, x, axis=axis, keepdims=keepdims)
    return xp.sum(x, axis=axes_of(axis, x.ndim), keepdims=keepdims) / (count_along(x.shape, axis) or nan)


@mean.vjp
def mean_vjp(g: Array, *, axis: Axis, x_shape: tuple[int, ...]) -> Array:
    """Every element counts 1 / n: g / n, spread over the axes that were summed."""
    return (g * (1.0 / builtins.max(count_along(x_shape, axis), 1))).reshape(kept_shape(x_shape, axis))


@op
def amax(xp: Any, x: Array, *, axis: Axis = None, keepdims: bool = False) -> Array:
    """y = the largest over `axis` (all if None); where several tie, the derivative is shared evenly among them."""
    _some(x, axis, "amax")
    return xp.max(x, axis=axes_of(axis, x.ndim), keepdims=keepdims)


@op
def amin(xp: Any, x: Array, *, axis: Axis = None, keepdims: bool = False) -> Array:
    """y = the smallest over `axis` (all if None); where several tie, the derivative is shared evenly among them."""
    _some(x, axis, "amin")
    return xp.min(x, axis=axes_of(axis, x.ndim), keepdims=keepdims)


@amax.vjp
@amin.vjp
def extremum_vjp(g: Array, x: Array, y: Array, *, axis: Axis) -> Array:
    """dy = the mean of the dx that attain y, which NaN does wherever it occurs."""
    return extremum_grad(g, x, y, axis=axis)


@composed
def extremum_grad(g: Array, x: Array, y: Array, *, axis: Axis) -> Array:
    """g, shared evenly among the elements of x that are its extremum y over `axis`, or NaN; 0 elsewhere."""
    shape = kept_shape(x.shape, axis)
    attained = logical_or(x == y.reshape(shape), x != x)
    part = cast(g.reshape(shape) / sum(attained, axis=axis, keepdims=True), dtype=g.dtype)  # NumPy's is a float64
    return where(attained, part, 0.0)


def _some(x: Array, axis: Axis, name: str) -> None:
    if count_along(x.shape, axis) == 0:
        raise ValueError(f"{name} over no elements has no answer: the shape is {x.shape} and the axis {axis}")


@op
def argmax(xp: Any, x: Array, *, axis: int | None = None, keepdims: bool = False) -> Array:
    """Where along `axis` (None: in the flattened array) the largest stands, the first of them at a tie."""
    _some(x, axis, "argmax")
    return xp.argmax(x, axis=axis, keepdims=keepdims)


@op
def argmin(xp: Any, x: Array, *, axis: int | None = None, keepdims: bool = False) -> Array:
    """Where along `axis` (None: in the flattened array) the smallest stands, the first of them at a tie."""
    _some(x, axis, "argmin")
    return xp.argmin(x, axis=axis, keepdims=keepdims)


class Extremum(NamedTuple):
    """What `max` and `min` along an axis answer: the values, and where they stood."""

    values: Any
    indices: Any


@composed
def max(x: Array, axis: Any = None, keepdims: bool = False) -> Any:
    """max(x): the largest. max(x, axis): (values, indices), the derivative going to that index. max(a, b): maximum."""
    return _extremum(x, axis, keepdims, amax, argmax, maximum)


@composed
def min(x: Array, axis: Any = None, keepdims: bool = False) -> Any:
    """min(x): the smallest. min(x, axis): (values, indices), the derivative going to that index. min(a, b): minimum."""
    return _extremum(x, axis, keepdims, amin, argmin, minimum)


def _extremum(x: Array, axis: Any, keepdims: bool, whole: Any, where_along: Any, of_two: Any) -> Any:
    if not hasattr(x, "ndim"):
        raise TypeError(f"{whole.name[1:]} needs an array: got {type(x).__name__}")
    if axis is None:
        return whole(x, keepdims=keepdims)
    if isinstance(axis, tuple | list):
        raise TypeError(f"{whole.name[1:]} goes along one axis, {whole.name} along several: got {axis}")
    if not isinstance(axis, Integral):  # NumPy's integers are axes too
        return of_two(x, axis)
    if x.ndim == 0:
        return Extremum(whole(x), where_along(x))
    indices = where_along(x, axis=axis, keepdims=True)
    values = take_along_axis(x, indices, axis=axis)
    if keepdims:
        return Extremum(values, indices)
    left = tuple(n for i, n in enumerate(x.shape) if i != axis % x.ndim)
    return Extremum(reshape(values, left), reshape(indices, left))


def shifted(xp: Any, x: Array, axis: Axis, otherwise: float = nan) -> tuple[Array, Array]:
    """x less its largest along `axis`, and that largest: e^x of a large x is infinite, and the shift cancels.

    `otherwise` stands in for a largest that is infinite: what NumPy would warn of, -inf less -inf, is not computed.
    """
    if x.dtype.kind != "f":
        raise TypeError(f"softmax and its kin need floating-point numbers: got {x.dtype}; call .float() first")
    if x.size:
        m = xp.max(x, axis=axis, keepdims=True)
        m = xp.where(xp.isfinite(m), m, otherwise)
    else:
        m = xp.full(kept_shape(x.shape, axis), otherwise, dtype=x.dtype)
    return x - m, m


@op
def logsumexp(xp: Any, x: Array, *, axis: Axis = None, keepdims: bool = False) -> Array:
    """y = log(sum(e^x)) over `axis` (all if None)."""
    if x.dtype is HALF:
        return in_float32(logsumexp, xp, x, axis=axis, keepdims=keepdims)
    axes = axes_of(axis, x.ndim)
    z, m = shifted(xp, x, axes, otherwise=0.0)
    total = xp.sum(xp.exp(z), axis=axes, keepdims=True)
    none = xp.equal(total, 0)  # the sum of nothing, or of e^-inf: log 0 without NumPy's warning
    y = xp.where(none, -xp.inf, xp.log(xp.where(none, xp.ones_like(total), total)) + m)
    return y if keepdims else xp.squeeze(y, axis=axes)


@logsumexp.vjp
def logsumexp_vjp(g: Array, x: Array, y: Array, *, axis: Axis) -> Array:
    """dy = softmax(x) dx; a sum of nothing, log 0, has no direction to go; at +inf it is NaN, and 0 beside it."""
    shape = kept_shape(x.shape, axis)
    y = y.reshape(shape)
    with np.errstate(invalid="ignore"):  # inf less inf
        return g.reshape(shape) * exp(x - where(y == -np.inf, 0.0, y))


@op
def softmax(xp: Any, x: Array, *, axis: int = -1) -> Array:
    """y = e^x / sum(e^x) along `axis`; NaN where the largest x is infinite, as where all are -inf."""
    if x.dtype is HALF:
        return in_float32(softmax, xp, x, axis=axis)
    axes = axes_of(axis, x.ndim)
    z, _ = shifted(xp, x, axes)
    y = xp.exp(z)
    return y / xp.sum(y, axis=axes, keepdims=True)


@softmax.vjp
def softmax_vjp(g: Array, y: Array, *, axis: int) -> Array:
    """dy_i = y_i (dx_i - sum_j y_j dx_j)."""
    return softmax_grad(g, y, axis=axis)


@op
def softmax_grad(xp: Any, g: Array, p: Array, *, axis: int = -1) -> Array:
    """gx = p (g - sum(g p)): how a softmax p passes a cotangent on; linear in g."""
    if p.dtype is HALF:
        return in_float32(softmax_grad, xp, g, p, axis=axis)
    return p * (g - xp.sum(g * p, axis=axes_of(axis, p.ndim), keepdims=True))


@softmax_grad.vjp
def softmax_grad_vjp(h: Array, g: Array, p: Array, *, axis: int) -> tuple[Any, ...]:
    """In g the same map, which is its own transpose; in p the product rule."""

    def gp() -> Array:
        return h * (g - sum(g * p, axis=axis, keepdims=True)) - g * sum(h * p, axis=axis, keepdims=True)

    return lambda: softmax_grad(h, p, axis=axis), gp


@op
def log_softmax(xp: Any, x: Array, *, axis: int = -1) -> Array:
    """y = x - log(sum(e^x)) along `axis`; log(softmax(x)) would be -inf where softmax underflows.

    NaN where the largest x is infinite, as where all are -inf.
    """
    if x.dtype is HALF:
        return in_float32(log_softmax, xp, x, axis=axis)
    axes = axes_of(axis, x.ndim)
    z, _ = shifted(xp, x, axes)
    return z - xp.log(xp.sum(xp.exp(z), axis=axes, keepdims=True))


@log_softmax.vjp
def log_softmax_vjp(g: Array, y: Array, *, axis: int) -> Array:
    """dy_i = dx_i - sum_j softmax(x)_j dx_j, so g loses its total, spread as softmax(x) = e^y."""
    return g - exp(y) * sum(g, axis=axis, keepdims=True)
