"""Means, spreads and sizes of many numbers, composed of the sums."""

from __future__ import annotations

from math import inf, nan
from typing import Any

import numpy as np

from tinygrad_ft.chain_rule import cast
from tinygrad_ft.engine import Array
from tinygrad_ft.ops.arithmetic import abs, sign
from tinygrad_ft.ops.comparison import where
from tinygrad_ft.ops.composed import composed
from tinygrad_ft.ops.functions import pow, sqrt
from tinygrad_ft.ops.reduce import HALF, amax, amin, count_along, mean, sum
from tinygrad_ft.ops.shape import Axis

__all__ = ["dist", "nanmean", "nansum", "norm", "std", "std_mean", "var", "var_mean"]


@composed
def var(
    x: Array, axis: Axis = None, unbiased: bool = True, *, correction: float | None = None, keepdims: bool = False
) -> Array:
    """Mean squared distance from the mean, n - correction in the denominator: 1 estimates, 0 describes.

    Without a correction, it is 1 if `unbiased`. NaN if the denominator is not above 0, as for one number with 1.
    """
    return _narrowed(_variance(x, axis, unbiased, correction, keepdims), x)


@composed
def std(
    x: Array, axis: Axis = None, unbiased: bool = True, *, correction: float | None = None, keepdims: bool = False
) -> Array:
    """The square root of `var`; where all numbers are equal, the derivative is taken to be 0."""
    return _narrowed(_root(_variance(x, axis, unbiased, correction, keepdims)), x)


@composed
def var_mean(x: Array, axis: Axis = None, unbiased: bool = True, **params: Any) -> tuple[Array, Array]:
    """`var` and `mean`."""
    return var(x, axis, unbiased, **params), mean(x, _or_all(axis), params.get("keepdims", False))


@composed
def std_mean(x: Array, axis: Axis = None, unbiased: bool = True, **params: Any) -> tuple[Array, Array]:
    """`std` and `mean`."""
    return std(x, axis, unbiased, **params), mean(x, _or_all(axis), params.get("keepdims", False))


def _root(x: Array) -> Array:
    """The square root, its derivative at 0 taken to be 0."""
    flat = x == 0
    return where(flat, 0.0, sqrt(where(flat, 1.0, x)))


def _wide(x: Array) -> Array:
    """In float32 at least: the squares of float16 overflow."""
    return cast(x, dtype=np.dtype(np.float32)) if x.dtype is HALF else x


def _narrowed(y: Array, x: Array) -> Array:
    return cast(y, dtype=HALF) if x.dtype is HALF else y


def _or_all(axis: Axis) -> Axis:
    """None for no axes, and for a boolean: PyTorch's var(x, False) means unbiased=False."""
    if axis is None or isinstance(axis, bool):
        return None
    return axis if isinstance(axis, int) or len(axis) else None


def _variance(x: Array, axis: Axis, unbiased: bool | None, correction: float | None, keepdims: bool) -> Array:
    axis, unbiased = _or_all(axis), axis if isinstance(axis, bool) else unbiased
    wide = _wide(x)
    d = wide - mean(wide, axis, True)
    left = count_along(x.shape, axis) - ((unbiased is not False) if correction is None else correction)
    return sum(d * d, axis=axis, keepdims=keepdims) / (left if left > 0 else nan)


@composed
def nansum(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """The sum of those that are not NaN."""
    return sum(where(x != x, 0.0, x), axis=axis, keepdims=keepdims)


@composed
def nanmean(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """The mean of those that are not NaN; of none, NaN."""
    n = sum(cast(x == x, dtype=x.dtype), axis=axis, keepdims=keepdims)
    return nansum(x, axis, keepdims) / where(n == 0, nan, n)


@composed
def norm(x: Array, p: Any = 2, axis: Axis = None, keepdims: bool = False) -> Array:
    """(sum |x|^p)^(1/p) over `axis` (all if None); inf is the largest |x|, -inf the smallest.

    p = 0 counts what is not 0. Where all x are 0 the derivative is taken to be 0.
    """
    p = 2 if p in (None, "fro") else p
    if isinstance(p, str):
        raise ValueError(f"norm: p is a number or 'fro': got {p!r}; linalg.matrix_norm knows 'nuc'")
    if abs(p) == inf:
        return (amax if p > 0 else amin)(abs(x), axis=axis, keepdims=keepdims)
    if p == 0:
        return sum(where(x == 0, sign(x), 1.0), axis=axis, keepdims=keepdims)  # sign: a 0 that is flat in x
    wide = _wide(x)
    if p == 2:
        return _narrowed(_root(sum(wide * wide, axis=axis, keepdims=keepdims)), x)
    if p == 1:
        return sum(abs(x), axis=axis, keepdims=keepdims)
    zero = wide == 0
    powers = where(zero, 0.0 if p > 0 else inf, pow(abs(where(zero, 1.0, wide)), p))
    total = sum(powers, axis=axis, keepdims=keepdims)
    flat = total == (0 if p > 0 else inf)
    return _narrowed(where(flat, 0.0, pow(where(flat, 1.0, total), 1.0 / p)), x)


@composed
def dist(x: Array, other: Array, p: float = 2) -> Array:
    """The norm of x - other."""
    return norm(x - other, p)
