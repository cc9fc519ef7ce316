"""Products of many elements, sums and products up to each element, and differences of neighbours."""

from __future__ import annotations

from collections.abc import Callable
from math import prod as product
from typing import Any

from tinygrad_ft.engine import Array, op
from tinygrad_ft.ops.arrange import flip
from tinygrad_ft.ops.composed import composed
from tinygrad_ft.ops.functions import exp, logaddexp
from tinygrad_ft.ops.index import getitem
from tinygrad_ft.ops.join import cat
from tinygrad_ft.ops.reduce import HALF, in_float32, kept_shape, sum
from tinygrad_ft.ops.shape import Axis, axes_of, movedim, reshape

__all__ = ["cumprod", "cumsum", "diff", "logcumsumexp", "prod", "trapezoid"]


@composed
def prod(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """y = the product over `axis` (all if None); of none, 1.

    Halves are multiplied with each other until one element is left: no division, so zeros are nothing special.
    """
    axes = axes_of(axis, x.ndim)
    y = movedim(x, axes, tuple(range(len(axes))))
    left = tuple(y.shape[len(axes) :])
    y = reshape(y, (product(y.shape[: len(axes)]), *left))
    if y.shape[0] == 0:
        y = exp(sum(y, axis=0, keepdims=True))
    while (n := y.shape[0]) > 1:
        half = _rows(y, 0, n // 2) * _rows(y, n // 2, n - n % 2)
        y = cat([half, _rows(y, n - 1, n)]) if n % 2 else half
    return reshape(y, kept_shape(x.shape, axis) if keepdims else left)


def _rows(x: Array, start: int, end: int) -> Array:
    return getitem(x, key=(slice(start, end),))


@op
def cumsum(xp: Any, x: Array, *, axis: int) -> Array:
    """y_i = x_0 + ... + x_i along `axis`."""
    if x.dtype is HALF:
        return in_float32(cumsum, xp, x, axis=axis)
    axes = axes_of(axis, x.ndim)
    return xp.cumsum(x, axis=axes[0]) if axes else x.copy()


@cumsum.vjp
def cumsum_vjp(g: Array, *, axis: int) -> Array:
    """x_i is in y_i and all that follow."""
    return flip(cumsum(flip(g, axis), axis=axis), axis)


def _scan(x: Array, axis: int, combine: Callable[[Array, Array], Array]) -> Array:
    """y_i = x_0, ..., x_i combined: each element with those 1, 2, 4, ... before it (Hillis and Steele, 1986)."""
    axes = axes_of(axis, x.ndim)
    if not axes:
        return x
    y, step = movedim(x, axes[0], 0), 1
    while step < y.shape[0]:
        y = cat([_rows(y, 0, step), combine(_rows(y, step, y.shape[0]), _rows(y, 0, y.shape[0] - step))])
        step *= 2
    return movedim(y, 0, axes[0])


@composed
def cumprod(x: Array, axis: int) -> Array:
    """y_i = x_0 ... x_i along `axis`; no division, so zeros are nothing special."""
    return _scan(x, axis, lambda a, b: a * b)


@composed
def logcumsumexp(x: Array, axis: int) -> Array:
    """y_i = log(e^x_0 + ... + e^x_i) along `axis`."""
    return _scan(x, axis, logaddexp)


@composed
def diff(x: Array, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Array:
    """y_i = x_(i+1) - x_i along `axis`, n times over; something may be put in front of x, and behind it, first."""
    if x.ndim == 0:
        raise ValueError("diff needs an array with axes: got one number")
    if n < 0:
        raise ValueError(f"diff can be taken 0 times or more: got {n}")
    (axis,) = axes_of(axis, x.ndim)
    if n and not (prepend is None and append is None):
        x = cat([part for part in (prepend, x, append) if part is not None], axis)
    before = (slice(None),) * axis
    for _ in range(min(n, x.shape[axis])):
        x = getitem(x, key=(*before, slice(1, None))) - getitem(x, key=(*before, slice(0, max(x.shape[axis] - 1, 0))))
    return x


@composed
def trapezoid(y: Array, x: Array | None = None, *, dx: Any = 1.0, axis: int = -1) -> Array:
    """The integral of y along `axis` by trapezoids: at the places x, or at places dx apart."""
    (axis,) = axes_of(axis, y.ndim)
    y = movedim(y, axis, -1)
    if x is not None:
        x = movedim(x, axis, -1) if x.ndim == y.ndim else x
        dx = diff(x)
        if x.shape[-1] not in (1, y.shape[-1]):
            raise ValueError(f"trapezoid needs as many places as heights: got {x.shape[-1]} and {y.shape[-1]}")
    n = y.shape[-1]
    return sum((_last(y, 1, n) + _last(y, 0, max(n - 1, 0))) * dx, axis=-1) * 0.5


def _last(x: Array, start: int, end: int) -> Array:
    return getitem(x, key=(Ellipsis, slice(start, end)))
