"""Ops that move elements without changing them: shapes, axes, indices, joining and cutting."""

from __future__ import annotations

import operator
from itertools import pairwise
from math import prod
from numbers import Integral
from typing import Any

from tinygrad_ft.chain_rule import expand
from tinygrad_ft.engine import Array, op
from tinygrad_ft.ops.composed import composed

Shape = tuple[int, ...]
Axis = int | tuple[int, ...] | None


def axes_of(axis: Any, ndim: int) -> tuple[int, ...]:
    """The axes that are meant, counted from 0: None means all of them; an array without axes accepts 0 and -1."""
    given: Any = range(ndim) if axis is None else (axis,) if isinstance(axis, Integral) else axis
    try:
        if bad := [a for a in given if not -max(ndim, 1) <= a < max(ndim, 1)]:
            raise IndexError(f"axis {bad[0]} does not exist in an array of {ndim} axes: say -{ndim} to {ndim - 1}")
        return tuple(operator.index(a) % ndim for a in given) if ndim else ()
    except TypeError:
        raise TypeError(f"an axis is an integer, several are a tuple of them: got {axis!r}") from None


@op
def reshape(xp: Any, x: Array, *, shape: Shape) -> Array:
    """y = the elements of x in row-major order, in a new shape; one length may be -1, which means what is left."""
    try:
        return x.reshape(shape)
    except ValueError:
        raise ValueError(f"reshape cannot bring {x.shape}, {x.size} elements, to {shape}") from None


@reshape.vjp
def reshape_vjp(g: Array, *, x_shape: Shape) -> Array:
    """Back to the shape of x."""
    return g.reshape(x_shape)


@op
def permute(xp: Any, x: Array, *, axes: tuple[int, ...]) -> Array:
    """y = x with its axes in another order: axis i of y is axis axes[i] of x."""
    if sorted(a % max(x.ndim, 1) for a in axes) != list(range(x.ndim)):
        raise ValueError(f"permute needs each of the {x.ndim} axes of {x.shape} once: got {tuple(axes)}")
    return xp.transpose(x, axes)


@permute.vjp
def permute_vjp(g: Array, *, axes: tuple[int, ...]) -> Array:
    """The inverse order."""
    back = [0] * len(axes)
    for i, a in enumerate(axes):
        back[a % len(axes)] = i
    return permute(g, tuple(back))


@composed
def transpose(x: Array, axis0: int = -2, axis1: int = -1) -> Array:
    """x with two axes exchanged, the last two unless told."""
    axes = list(range(x.ndim))
    try:
        axes[axis0], axes[axis1] = axes[axis1], axes[axis0]
    except IndexError:
        raise IndexError(f"transpose: axes {axis0} and {axis1} do not both exist in shape {x.shape}") from None
    return permute(x, tuple(axes))


@composed
def broadcast_to(x: Array, shape: Shape) -> Array:
    """x repeated along new or single axes until it has that shape; -1 keeps a length as it is."""
    lead = len(shape) - len(x.shape)
    if any(n == -1 for n in shape):
        shape = tuple(x.shape[i - lead] if n == -1 and i >= lead else n for i, n in enumerate(shape))
    if lead < 0 or any(n not in (1, m) for n, m in zip(x.shape, shape[lead:], strict=True)):
        raise ValueError(
            f"broadcast_to cannot bring {tuple(x.shape)} to {tuple(shape)}: only lengths of 1 can be repeated"
        )
    return expand(x, shape=tuple(shape))


@composed
def squeeze(x: Array, axis: int | tuple[int, ...] | None = None) -> Array:
    """x without its axes of length 1: all such, or those named that are."""
    named = range(x.ndim) if axis is None else axes_of(axis, x.ndim)
    return reshape(x, tuple(n for i, n in enumerate(x.shape) if n != 1 or i not in named))


@composed
def unsqueeze(x: Array, axis: int) -> Array:
    """x with a new axis of length 1 at that place."""
    if not -x.ndim - 1 <= axis <= x.ndim:
        raise IndexError(
            f"unsqueeze: a new axis of {tuple(x.shape)} can stand at {-x.ndim - 1} to {x.ndim}, not {axis}"
        )
    i = axis % (x.ndim + 1)
    return reshape(x, (*x.shape[:i], 1, *x.shape[i:]))


@composed
def flatten(x: Array, start_dim: int = 0, end_dim: int = -1) -> Array:
    """x with the axes from start_dim to end_dim, both included, joined into one."""
    if x.ndim == 0:
        return reshape(x, (1,))
    first, last = axes_of((start_dim, end_dim), x.ndim)
    if first > last:
        raise ValueError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim} in shape {tuple(x.shape)}")
    return reshape(x, (*x.shape[:first], prod(x.shape[first : last + 1]), *x.shape[last + 1 :]))


HERE = "here"  # stands in a key where the next index array goes: arrays are inputs of the op, the rest a parameter


def _filled(key: tuple[Any, ...], indices: tuple[Array, ...]) -> tuple[Any, ...]:
    arrays = iter(indices)
    return tuple(next(arrays) if k is HERE else k for k in key)


@op
def getitem(xp: Any, x: Array, *indices: Array, key: tuple[Any, ...]) -> Array:
    """y = x[key], by slices, integers, None, ... and index arrays; `Tensor[...]` writes the key."""
    return x[_filled(key, indices)]


@getitem.vjp
def getitem_vjp(g: Array, indices: tuple[Array, ...], *, key: tuple[Any, ...], x_shape: Shape) -> tuple[Any, ...]:
    """Each cotangent goes back to where its element came from; an element taken twice receives both."""
    return put(g, *indices, key=key, shape=x_shape), *(None for _ in indices)


@op
def put(xp: Any, g: Array, *indices: Array, key: tuple[Any, ...], shape: Shape) -> Array:
    """Zeros of that shape with g added at [key]; the adjoint of getitem."""
    y = xp.zeros(shape, dtype=g.dtype)
    if indices:
        xp.add.at(y, _filled(key, indices), g)
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
    return take_along_axis(x, index, axis=axis)


@op
def take_along_axis(xp: Any, x: Array, index: Array, *, axis: int) -> Array:
    """y[i, j] = x[i, index[i, j]] for axis 1, and likewise along any other; the shape is that of index."""
    among = tuple(slice(None) if i == axis % x.ndim else slice(n) for i, n in enumerate(index.shape))
    return xp.take_along_axis(x[among], index, axis=axis)


@take_along_axis.vjp
def take_along_axis_vjp(g: Array, index: Array, *, axis: int, x_shape: Shape) -> tuple[Any, ...]:
    """Each cotangent goes back to where its element came from."""
    return scatter_add(g, index, axis=axis, shape=x_shape), None


@op
def scatter_add(xp: Any, g: Array, index: Array, *, axis: int, shape: Shape) -> Array:
    """Zeros of that shape with g[i, j] added at [i, index[i, j]] for axis 1; the adjoint of take_along_axis."""
    y = xp.zeros(shape, dtype=g.dtype)
    places = list(xp.ogrid[tuple(slice(n) for n in index.shape)])
    places[axis] = index
    xp.add.at(y, tuple(places), g)
    return y


@scatter_add.vjp
def scatter_add_vjp(h: Array, index: Array, *, axis: int) -> tuple[Any, ...]:
    """What stands at those places."""
    return take_along_axis(h, index, axis=axis), None


@op
def concatenate(xp: Any, *xs: Array, axis: int = 0) -> Array:
    """y = the arrays end to end along `axis`; all other lengths must agree."""
    if not xs:
        raise ValueError("concatenate needs at least one array: got none")
    try:
        return xp.concatenate(xs, axis=axis)
    except IndexError:
        raise IndexError(f"concatenate: axis {axis} does not exist in an array of {xs[0].ndim} axes") from None
    except ValueError:
        shapes = ", ".join(str(x.shape) for x in xs)
        raise ValueError(f"concatenate needs shapes that agree on every axis but {axis}: got {shapes}") from None


@concatenate.vjp
def concatenate_vjp(g: Array, *, axis: int, xs_shape: list[Shape]) -> tuple[Any, ...]:
    """Each array gets its own stretch."""
    return tuple(stretches(g, sizes=tuple(shape[axis] for shape in xs_shape), axis=axis))


@composed
def split(x: Array, split_size_or_sections: Any, axis: int = 0) -> tuple[Array, ...]:
    """x cut along `axis` into stretches of one size, the last perhaps shorter, or of the sizes in a sequence; views."""
    size = split_size_or_sections
    if isinstance(size, Integral):
        n = x.shape[axes_of(axis, x.ndim)[0]]
        if size <= 0:
            raise ValueError(f"split needs a size above 0: got {size}")
        size = [min(size, n - start) for start in range(0, n, int(size))] or [0]
    return tuple(stretches(x, sizes=tuple(size), axis=axis))


@op
def stretches(xp: Any, x: Array, *, sizes: tuple[int, ...], axis: int = 0) -> tuple[Array, ...]:
    """x cut along `axis` into stretches of those sizes; views."""
    axis = axes_of(axis, x.ndim)[0]
    if any(n < 0 for n in sizes):
        raise ValueError(f"split needs sizes of 0 or more: got {tuple(sizes)}")
    if sum(sizes) != x.shape[axis]:
        raise ValueError(
            f"split: sizes {tuple(sizes)} add up to {sum(sizes)}, but axis {axis} of {x.shape} is {x.shape[axis]} long"
        )
    ends = [sum(sizes[:i]) for i in range(len(sizes) + 1)]
    before = (slice(None),) * axis
    return tuple(x[(*before, slice(a, b))] for a, b in pairwise(ends))


@stretches.vjp
def stretches_vjp(gs: list[Array | None], *, sizes: tuple[int, ...], axis: int, x_shape: Shape) -> Array:
    """The stretches end to end again, zeros for one that nobody used."""
    some = next(g for g in gs if g is not None)
    return concatenate(
        *(blank(some, shape=_cut(x_shape, axis, n)) if g is None else g for g, n in zip(gs, sizes, strict=True)),
        axis=axis,
    )


def _cut(shape: Shape, axis: int, n: int) -> Shape:
    return tuple(n if i == axis % len(shape) else m for i, m in enumerate(shape))


@op
def blank(xp: Any, like: Array, *, shape: Shape) -> Array:
    """Zeros of that shape, in the dtype and on the device of another array."""
    return xp.zeros(shape, dtype=like.dtype)


@composed
def cat(tensors: Any, axis: int = 0) -> Array:
    """The arrays of a sequence end to end along `axis`."""
    return concatenate(*tensors, axis=axis)


@composed
def stack(tensors: Any, axis: int = 0) -> Array:
    """The arrays of a sequence side by side along a new `axis`; all shapes must agree."""
    tensors = list(tensors)
    if len({tuple(x.shape) for x in tensors}) > 1:
        raise ValueError(f"stack needs equal shapes: got {', '.join(str(tuple(x.shape)) for x in tensors)}")
    return concatenate(*(unsqueeze(x, axis) for x in tensors), axis=axis)


@op
def pad_constant(xp: Any, x: Array, *, widths: tuple[tuple[int, int], ...], value: float = 0.0) -> Array:
    """x with a border of one value: widths (before, after) for each axis."""
    return xp.pad(x, widths, constant_values=value)


@pad_constant.vjp
def pad_constant_vjp(g: Array, *, widths: tuple[tuple[int, int], ...], x_shape: Shape) -> Array:
    """The middle; the border came from nobody."""
    return getitem(g, key=tuple(slice(before, before + n) for (before, _), n in zip(widths, x_shape, strict=True)))


@composed
def pad(x: Array, pad: tuple[int, ...], mode: str = "constant", value: float = 0.0) -> Array:
    """x with a border of one value; `pad` is (before, after) for the last axis, then the last but one, and so on."""
    if mode != "constant":
        raise ValueError(f"pad: mode is 'constant', the only one known: got {mode!r}")
    if len(pad) % 2 or len(pad) > 2 * x.ndim or any(n < 0 for n in pad):
        raise ValueError(
            f"pad needs a pair of widths >= 0 for each of the last axes of {tuple(x.shape)}: got {tuple(pad)}"
        )
    pairs = list(zip(pad[::2], pad[1::2], strict=True))[::-1]
    return pad_constant(x, widths=((0, 0),) * (x.ndim - len(pairs)) + tuple(pairs), value=value)
