"""Ops that change the shape and the order of axes, not the elements."""

from __future__ import annotations

import operator
from math import prod
from numbers import Integral
from typing import Any

from tinygrad_ft.chain_rule import expand
from tinygrad_ft.engine import Array, op
from tinygrad_ft.ops.composed import composed

__all__ = [
    "broadcast_to", "expand_dims", "flatten", "moveaxis", "movedim", "permute", "ravel", "reshape", "squeeze",
    "swapaxes", "swapdims", "t", "transpose", "unflatten", "unsqueeze",
]  # fmt: skip

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
def transpose(x: Array, dim0: int = -2, dim1: int = -1) -> Array:
    """x with two axes exchanged, the last two unless told."""
    if x.ndim == 0:
        axes_of((dim0, dim1), 0)
        return x
    axes = list(range(x.ndim))
    try:
        axes[dim0], axes[dim1] = axes[dim1], axes[dim0]
    except IndexError:
        raise IndexError(f"transpose: axes {dim0} and {dim1} do not both exist in shape {x.shape}") from None
    return permute(x, tuple(axes))


swapaxes = swapdims = transpose


@composed
def broadcast_to(x: Array, shape: Shape) -> Array:
    """x repeated along new or single axes until it has that shape; -1 keeps a length as it is."""
    lead = len(shape) - len(x.shape)
    shape = tuple(x.shape[i - lead] if n == -1 and i >= lead else n for i, n in enumerate(shape))
    if (
        lead < 0
        or any(n < 0 for n in shape)
        or any(n not in (1, m) for n, m in zip(x.shape, shape[lead:], strict=True))
    ):
        raise ValueError(
            f"broadcast_to cannot bring {tuple(x.shape)} to {tuple(shape)}: only lengths of 1 can be repeated"
        )
    return expand(x, shape=shape)


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


expand_dims = unsqueeze  # its name in NumPy


@composed
def flatten(x: Array, start_dim: int = 0, end_dim: int = -1) -> Array:
    """x with the axes from start_dim to end_dim, both included, joined into one."""
    if x.ndim == 0:
        return reshape(x, (1,))
    first, last = axes_of((start_dim, end_dim), x.ndim)
    if first > last:
        raise ValueError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim} in shape {tuple(x.shape)}")
    return reshape(x, (*x.shape[:first], prod(x.shape[first : last + 1]), *x.shape[last + 1 :]))


@composed
def unflatten(x: Array, axis: int, sizes: Shape) -> Array:
    """x with one axis cut into several of those lengths, of which one may be -1."""
    (i,) = axes_of(axis, x.ndim)
    if not len(sizes):
        raise ValueError("unflatten needs the lengths to cut an axis into: got none")
    known = prod(n for n in sizes if n != -1)
    if -1 in sizes and known and x.shape[i] % known == 0:
        sizes = tuple(x.shape[i] // known if n == -1 else n for n in sizes)
    if prod(sizes) != x.shape[i]:
        raise ValueError(f"unflatten: {tuple(sizes)} does not multiply to {x.shape[i]}, the length of axis {axis}")
    return reshape(x, (*x.shape[:i], *sizes, *x.shape[i + 1 :]))


@composed
def ravel(x: Array) -> Array:
    """x as one row."""
    return reshape(x, (-1,))


@composed
def movedim(x: Array, source: Axis, destination: Axis) -> Array:
    """x with the axes `source` at the places `destination`, the others in their order."""
    start, end = axes_of(source, x.ndim), axes_of(destination, x.ndim)
    if len(set(start)) != len(start) or len(set(end)) != len(end) or len(start) != len(end):
        raise ValueError(f"movedim needs as many different places as different axes: got {source} and {destination}")
    axes = [i for i in range(x.ndim) if i not in start]
    for to, axis in sorted(zip(end, start, strict=True)):
        axes.insert(to, axis)
    return permute(x, tuple(axes))


moveaxis = movedim


@composed
def t(x: Array) -> Array:
    """The transpose of a matrix; an array of fewer axes is its own."""
    if x.ndim > 2:
        raise ValueError(f"t takes at most 2 axes: got {tuple(x.shape)}; transpose exchanges two of more")
    return transpose(x) if x.ndim == 2 else x
