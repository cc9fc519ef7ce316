"""Ops that take elements from where indices point, and that put elements there."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from tinygrad_ft.device import at_hand
from tinygrad_ft.engine import Array, op
from tinygrad_ft.ops.comparison import where
from tinygrad_ft.ops.composed import composed
from tinygrad_ft.ops.shape import Shape, axes_of, broadcast_to, ravel, reshape

__all__ = [
    "gather", "getitem", "index_add", "index_fill", "index_put", "index_select", "masked_fill", "masked_select",
    "take", "take_along_dim",
]  # fmt: skip

HERE = "here"  # stands in a key where the next index array goes: arrays are inputs of the op, the rest a parameter


def filled_key(key: tuple[Any, ...], indices: tuple[Array, ...]) -> tuple[Any, ...]:
    """The key with the index arrays in their places."""
    arrays = iter(indices)
    return tuple(next(arrays) if k is HERE else k for k in key)


@op
def getitem(xp: Any, x: Array, *indices: Array, key: tuple[Any, ...]) -> Array:
    """y = x[key], by slices, integers, None, ... and index arrays; `Tensor[...]` writes the key."""
    return x[filled_key(key, indices)]


@getitem.requires
def places_exist(x: Array, *indices: Array, key: tuple[Any, ...]) -> None:
    """Places within x: NumPy says so of an array of that shape that takes no memory."""
    np.broadcast_to(np.zeros((), bool), x.shape)[filled_key(key, indices)]


@getitem.vjp
def getitem_vjp(g: Array, indices: tuple[Array, ...], *, key: tuple[Any, ...], x_shape: Shape) -> tuple[Any, ...]:
    """Each cotangent goes back to where its element came from; an element taken twice receives both."""
    return put(g, *indices, key=key, shape=x_shape), *(None for _ in indices)


@op
def put(xp: Any, g: Array, *indices: Array, key: tuple[Any, ...], shape: Shape) -> Array:
    """Zeros of that shape with g added at [key]; the adjoint of getitem."""
    y = xp.zeros(shape, dtype=g.dtype)
    if indices:
        xp.add.at(y, filled_key(key, indices), g)
    else:
        y[key] = g
    return y


@put.vjp
def put_vjp(h: Array, indices: tuple[Array, ...], *, key: tuple[Any, ...]) -> tuple[Any, ...]:
    """What stands at [key]."""
    return getitem(h, *indices, key=key), *(None for _ in indices)


@composed
def gather(x: Array, axis: int, index: Array) -> Array:
    """y[i, j] = x[i, index[i, j]] for axis 1, and likewise along any other; the shape is that of index."""
    if max(x.ndim, 1) != max(index.ndim, 1):
        raise ValueError(f"gather needs an index of {x.ndim} axes, as x has: got shape {tuple(index.shape)}")
    (axis,) = axes_of(axis, x.ndim) or (0,)
    if x.ndim == 0 or index.ndim == 0:
        return reshape(take_along_axis(ravel(x), ravel(index), axis=0), index.shape)
    if any(n > m for i, (n, m) in enumerate(zip(index.shape, x.shape, strict=True)) if i != axis):
        raise ValueError(f"gather: an index of {tuple(index.shape)} reaches beyond {tuple(x.shape)}")
    return take_along_axis(x, index, axis=axis)


@op
def take_along_axis(xp: Any, x: Array, index: Array, *, axis: int) -> Array:
    """y[i, j] = x[i, index[i, j]] for axis 1, and likewise along any other; the shape is that of index."""
    among = tuple(slice(None) if i == axis % x.ndim else slice(n) for i, n in enumerate(index.shape))
    return xp.take_along_axis(x[among], index, axis=axis)


@take_along_axis.vjp
def take_along_axis_vjp(g: Array, index: Array, *, axis: int, x_shape: Shape) -> tuple[Any, ...]:
    """Each cotangent goes back to where its element came from."""
    return put_along_axis(g, index, axis=axis, shape=x_shape), None


@op
def put_along_axis(xp: Any, g: Array, index: Array, *, axis: int, shape: Shape) -> Array:
    """Zeros of that shape with g[i, j] added at [i, index[i, j]] for axis 1; the adjoint of take_along_axis."""
    y = xp.zeros(shape, dtype=g.dtype)
    places = list(xp.ogrid[tuple(slice(n) for n in index.shape)])
    places[axis] = index
    xp.add.at(y, tuple(places), g)
    return y


@put_along_axis.vjp
def put_along_axis_vjp(h: Array, index: Array, *, axis: int) -> tuple[Any, ...]:
    """What stands at those places."""
    return take_along_axis(h, index, axis=axis), None


@composed
def take(x: Array, index: Array) -> Array:
    """y = the elements at those places of x read as one row."""
    return getitem(ravel(x), index, key=(HERE,))


@composed
def take_along_dim(x: Array, indices: Array, axis: int | None = None) -> Array:
    """y[i, j] = x[i, indices[i, j]] for axis 1, and likewise along any other, after broadcasting all other axes."""
    if axis is None:
        return take(x, ravel(indices))
    if x.ndim != indices.ndim:
        raise ValueError(f"take_along_dim needs as many axes in both: got {tuple(x.shape)} and {tuple(indices.shape)}")
    (axis,) = axes_of(axis, x.ndim) or (0,)
    shape = np.broadcast_shapes(*((*a.shape[:axis], 1, *a.shape[axis + 1 :]) for a in (x, indices)))
    x, indices = (broadcast_to(a, (*shape[:axis], a.shape[axis], *shape[axis + 1 :])) for a in (x, indices))
    return take_along_axis(x, indices, axis=axis)


def _slices(x: Array, axis: int, index: Array, name: str) -> tuple[Any, ...]:
    """x with axes, a row of places, and the key of those places along `axis`."""
    if index.ndim > 1:
        raise ValueError(f"{name} needs the places in one row: got shape {tuple(index.shape)}")
    if index.dtype.kind not in "iu":
        raise TypeError(f"{name} needs places in integers: got {index.dtype}")
    (axis,) = axes_of(axis, x.ndim) or (0,)
    return x if x.ndim else reshape(x, (1,)), ravel(index), (slice(None),) * axis + (HERE,)


@composed
def index_select(x: Array, axis: int, index: Array) -> Array:
    """The slices of x at those places along `axis`."""
    rows, index, key = _slices(x, axis, index, "index_select")
    y = getitem(rows, index, key=key)
    return y if x.ndim else reshape(y, ())


@composed
def index_add(x: Array, axis: int, index: Array, source: Array, *, alpha: float = 1) -> Array:
    """x with alpha times each slice of `source` added at its place along `axis`; one named twice receives both."""
    rows, index, key = _slices(x, axis, index, "index_add")
    wanted = tuple(index.shape[0] if i == len(key) - 1 else n for i, n in enumerate(rows.shape))
    if prod(source.shape) != prod(wanted) or (x.ndim and source.ndim and tuple(source.shape) != wanted):
        raise ValueError(f"index_add needs a source of shape {wanted}: got {tuple(source.shape)}")
    return x + reshape(put(reshape(source, wanted) * alpha, index, key=key, shape=tuple(rows.shape)), x.shape)


@composed
def index_fill(x: Array, axis: int, index: Array, value: Any) -> Array:
    """x with the slices at those places along `axis` set to one number."""
    _one_number(value, "index_fill")
    rows, index, key = _slices(x, axis, index, "index_fill")
    return where(reshape(last_writer(index, key=key, shape=tuple(rows.shape)), x.shape) < 0, x, value)


@op
def last_writer(xp: Any, *indices: Array, key: tuple[Any, ...], shape: Shape) -> Array:
    """For each place of an array of that shape, which of the elements written to [key] stays there; -1 for none."""
    y = xp.full(shape, -1)
    key = filled_key(key, indices)
    order = xp.arange(y[key].size).reshape(y[key].shape)
    if at_hand(y):
        y[key] = order
    else:  # a GPU writes in any order
        xp.maximum.at(y, key, order)
    return y


def overwritten(x: Array, source: Array, *indices: Array, key: tuple[Any, ...]) -> Array:
    """x with `source` written to [key]; of several elements written to one place the last stays."""
    if not prod(source.shape):
        return x
    from_where = last_writer(*indices, key=key, shape=tuple(x.shape))
    untouched = from_where < 0
    return where(untouched, x, take(source, where(untouched, 0, from_where)))


@composed
def index_put(x: Array, indices: Any, values: Array, accumulate: bool = False) -> Array:
    """x with `values` written to x[indices], or added there; of several written to one place the last stays."""
    key = (HERE,) * len(indices)
    values = broadcast_to(values, getitem(x, *indices, key=key).shape)
    if accumulate:
        return x + put(values, *indices, key=key, shape=tuple(x.shape))
    return overwritten(x, values, *indices, key=key)


@composed
def masked_fill(x: Array, mask: Array, value: Any) -> Array:
    """x with one number where the mask holds; both broadcast."""
    _one_number(value, "masked_fill")
    _boolean(mask, "masked_fill")
    return where(mask, value, x)


@composed
def masked_select(x: Array, mask: Array) -> Array:
    """The elements of x where the mask holds, in one row; both broadcast."""
    _boolean(mask, "masked_select")
    shape = np.broadcast_shapes(tuple(x.shape), tuple(mask.shape))
    return getitem(broadcast_to(x, shape), broadcast_to(mask, shape), key=(HERE,))


def _one_number(value: Any, name: str) -> None:
    if getattr(value, "ndim", 0) or isinstance(value, complex):
        what = value if isinstance(value, complex) else f"shape {tuple(value.shape)}"
        raise ValueError(f"{name} needs one real number to fill in: got {what}")


def _boolean(mask: Array, name: str) -> None:
    if mask.dtype.kind != "b":
        raise TypeError(f"{name} needs a mask of booleans: got {mask.dtype}")
