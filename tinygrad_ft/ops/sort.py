"""Ops that bring elements into order, and pick by rank."""

from __future__ import annotations

from typing import Any, NamedTuple

from tinygrad_ft.engine import Array, op
from tinygrad_ft.ops.comparison import logical_and, logical_or, where
from tinygrad_ft.ops.composed import composed
from tinygrad_ft.ops.index import gather
from tinygrad_ft.ops.join import narrow
from tinygrad_ft.ops.reduce import sum
from tinygrad_ft.ops.shape import axes_of, ravel, reshape, squeeze

__all__ = ["argsort", "median", "sort", "topk"]


class Ranked(NamedTuple):
    """The values in their order, and where they stood."""

    values: Any
    indices: Any


@op
def argsort(xp: Any, x: Array, *, axis: int = -1, descending: bool = False, stable: bool = False) -> Array:
    """Where along `axis` the elements stand, the smallest first; equal ones keep their order; NaN is the largest."""
    axes = axes_of(axis, x.ndim)
    if not axes:
        return xp.zeros((), dtype=xp.int64)
    if not descending:
        return xp.argsort(x, axis=axes[0], kind="stable")
    backwards = xp.argsort(xp.flip(x, axes[0]), axis=axes[0], kind="stable")
    return xp.flip(x.shape[axes[0]] - 1 - backwards, axes[0])


@composed
def sort(x: Array, axis: int = -1, descending: bool = False, stable: bool = False) -> Ranked:
    """The elements along `axis` from the smallest on, NaN last, and where they stood; equal ones keep their order."""
    order = argsort(x, axis=axis, descending=descending)
    return Ranked(gather(x, axis, order), order)


@composed
def topk(x: Array, k: int, axis: int = -1, largest: bool = True, sorted: bool = True) -> Ranked:
    """The k largest along `axis`, or the k smallest, in order, and where they stood."""
    (axis,) = axes_of(axis, x.ndim) or (0,)
    n = x.shape[axis] if x.ndim else 1
    if not 0 <= k <= n:
        raise ValueError(f"topk: there are {n} elements along axis {axis} of {tuple(x.shape)}, of which to take {k}")
    order = argsort(x, axis=axis, descending=largest)
    order = narrow(order, axis, 0, k) if x.ndim else order
    return Ranked(gather(x, axis, order), order)


@composed
def median(x: Array, axis: int | None = None, keepdims: bool = False) -> Any:
    """median(x): the middle one, the lower of two; equal ones share its derivative. median(x, axis): with its index.

    NaN where one occurs.
    """
    if axis is None:
        flat = ravel(x)
        middle = _middle(flat, 0).values if flat.shape[0] else sum(flat) / 0.0
        hit = logical_or(flat == middle, logical_and(flat != flat, middle != middle))
        y = sum(where(hit, flat, 0.0)) / sum(hit)
        return reshape(y, (1,) * x.ndim) if keepdims else y
    return _middle(x, axis, keepdims)


def _middle(x: Array, axis: int, keepdims: bool = False) -> Ranked:
    if x.ndim == 0:
        axes_of(axis, 0)
        return Ranked(x, argsort(x))
    (axis,) = axes_of(axis, x.ndim)
    if not x.shape[axis]:
        raise ValueError(f"median over no elements has no answer: the shape is {tuple(x.shape)} and the axis {axis}")
    order = argsort(x, axis=axis)
    nans = sum(x != x, axis=axis, keepdims=True)
    middle = (x.shape[axis] - 1) // 2
    index = gather(order, axis, where(nans > 0, x.shape[axis] - nans, middle))
    values = gather(x, axis, index)
    return Ranked(values, index) if keepdims else Ranked(squeeze(values, axis), squeeze(index, axis))
