"""Ops that join arrays and cut them into pieces."""

from __future__ import annotations

import operator
from itertools import pairwise
from numbers import Integral
from typing import Any

from tinygrad_ft.engine import Array, op
from tinygrad_ft.ops.composed import composed
from tinygrad_ft.ops.index import getitem
from tinygrad_ft.ops.shape import Shape, axes_of, reshape, unsqueeze

__all__ = [
    "cat", "chunk", "column_stack", "concat", "concatenate", "dstack", "hstack", "narrow", "select", "split", "stack",
    "tensor_split", "unbind", "vstack",
]  # fmt: skip


@op
def join(xp: Any, *xs: Array, axis: int = 0) -> Array:
    """y = the arrays end to end along `axis`; all other lengths must agree."""
    if not xs:
        raise ValueError("cat needs at least one array: got none")
    if other := [type(x).__name__ for x in xs if not hasattr(x, "shape")]:
        raise TypeError(f"cat needs arrays: got {other[0]}")
    try:
        return xp.concatenate(xs, axis=axis)
    except IndexError:
        raise IndexError(f"cat: axis {axis} does not exist in an array of {xs[0].ndim} axes") from None
    except ValueError:
        shapes = ", ".join(str(x.shape) for x in xs)
        raise ValueError(f"cat needs shapes that agree on every axis but {axis}: got {shapes}") from None


@join.vjp
def join_vjp(g: Array, *, axis: int, xs_shape: list[Shape]) -> tuple[Any, ...]:
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
    return join(
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
    return join(*tensors, axis=axis)


concat = concatenate = cat


@composed
def stack(tensors: Any, axis: int = 0) -> Array:
    """The arrays of a sequence side by side along a new `axis`; all shapes must agree."""
    tensors = list(tensors)
    if len({tuple(x.shape) for x in tensors}) > 1:
        raise ValueError(f"stack needs equal shapes: got {', '.join(str(tuple(x.shape)) for x in tensors)}")
    return join(*(unsqueeze(x, axis) for x in tensors), axis=axis)


@composed
def hstack(tensors: Any) -> Array:
    """The arrays side by side: along the second axis, rows along their only one."""
    tensors = [_at_least(x, 1) for x in tensors]
    return cat(tensors, axis=0 if tensors and tensors[0].ndim == 1 else 1)


@composed
def vstack(tensors: Any) -> Array:
    """The arrays on top of each other; a row is a matrix of one row."""
    return cat([_at_least(x, 2) for x in tensors])


@composed
def dstack(tensors: Any) -> Array:
    """The arrays behind each other, along the third axis."""
    return cat([_at_least(x, 3) for x in tensors], axis=2)


@composed
def column_stack(tensors: Any) -> Array:
    """The arrays side by side, an array of one axis as a column."""
    return cat([reshape(x, (-1, 1)) if x.ndim < 2 else x for x in tensors], axis=1)


def _at_least(x: Array, ndim: int) -> Array:
    """x with axes of length 1: in front for the first two, behind for the third."""
    shape = (1,) * (min(ndim, 2) - x.ndim) + tuple(x.shape)
    return reshape(x, shape + (1,) * (ndim - len(shape)))


@composed
def chunk(x: Array, chunks: int, axis: int = 0) -> tuple[Array, ...]:
    """x cut along `axis` into that many stretches of one size, or fewer, the last perhaps shorter; views."""
    if chunks <= 0:
        raise ValueError(f"chunk needs a number of pieces above 0: got {chunks}")
    n = x.shape[axes_of(axis, _some_axes(x, "chunk"))[0]]
    return tuple(stretches(x, sizes=(0,) * chunks, axis=axis) if n == 0 else split(x, -(-n // chunks), axis))


@composed
def tensor_split(x: Array, indices_or_sections: Any, axis: int = 0) -> tuple[Array, ...]:
    """x cut along `axis` at those places, or into that many stretches, the first ones longer by 1 if need be; views."""
    given = indices_or_sections.tolist() if hasattr(indices_or_sections, "tolist") else indices_or_sections
    n = x.shape[axes_of(axis, _some_axes(x, "tensor_split"))[0]]
    if isinstance(given, Integral):
        if given <= 0:
            raise ValueError(f"tensor_split needs a number of pieces above 0: got {given}")
        return tuple(stretches(x, sizes=tuple(n // given + (i < n % given) for i in range(int(given))), axis=axis))
    ends = [*(slice(i).indices(n)[1] for i in given), n]
    return tuple(_cut_out(x, axis, slice(a, b)) for a, b in pairwise([0, *ends]))


def _some_axes(x: Array, name: str) -> int:
    if x.ndim == 0:
        raise ValueError(f"{name} needs an array with axes: got one number")
    return int(x.ndim)


@composed
def unbind(x: Array, axis: int = 0) -> tuple[Array, ...]:
    """The slices of x along `axis`, which they lack; views."""
    n = x.shape[axes_of(axis, _some_axes(x, "unbind"))[0]]
    return tuple(reshape(part, _without(x.shape, axis)) for part in split(x, 1, axis)) if n else ()


@composed
def narrow(x: Array, axis: int, start: int, length: int) -> Array:
    """x from `start` on, `length` places along `axis`; a view."""
    n, start = x.shape[axes_of(axis, _some_axes(x, "narrow"))[0]], operator.index(start)
    first = start + n if start < 0 else start
    if not 0 <= first <= first + length <= n:
        raise IndexError(f"narrow: {length} places from {start} on do not lie within axis {axis} of {tuple(x.shape)}")
    return _cut_out(x, axis, slice(first, first + length))


@composed
def select(x: Array, axis: int, index: int) -> Array:
    """The slice of x at one place along `axis`, which it lacks; a view."""
    n = x.shape[axes_of(axis, _some_axes(x, "select"))[0]]
    if not -n <= index < n:
        raise IndexError(f"select: place {index} does not exist along axis {axis} of {tuple(x.shape)}")
    return _cut_out(x, axis, int(index))


def _cut_out(x: Array, axis: int, key: int | slice) -> Array:
    return getitem(x, key=(slice(None),) * axes_of(axis, x.ndim)[0] + (key,))


def _without(shape: Shape, axis: int) -> Shape:
    return tuple(n for i, n in enumerate(shape) if i != axis % len(shape))
