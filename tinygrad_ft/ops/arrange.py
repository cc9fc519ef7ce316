"""Ops that arrange elements anew: turned, repeated, in triangles, on diagonals, with borders."""

from __future__ import annotations

from math import prod
from numbers import Integral
from typing import Any

import numpy as np

from tinygrad_ft.engine import Array, op
from tinygrad_ft.ops.comparison import where
from tinygrad_ft.ops.composed import composed
from tinygrad_ft.ops.index import HERE, getitem, index_select, put
from tinygrad_ft.ops.join import cat
from tinygrad_ft.ops.moving import beside
from tinygrad_ft.ops.shape import Shape, axes_of, broadcast_to, flatten, movedim, ravel, reshape, transpose, unsqueeze

__all__ = [
    "diag", "diag_embed", "diagonal", "flip", "fliplr", "flipud", "meshgrid", "pad", "repeat",
    "repeat_interleave", "roll", "rot90", "tile", "tril", "triu", "unfold",
]  # fmt: skip


@op
def pad_constant(xp: Any, x: Array, *, widths: tuple[tuple[int, int], ...], value: float = 0.0) -> Array:
    """x with a border of one value: widths (before, after) for each axis."""
    return xp.pad(x, widths, constant_values=value)


@pad_constant.vjp
def pad_constant_vjp(g: Array, *, widths: tuple[tuple[int, int], ...], x_shape: Shape) -> Array:
    """The middle; the border came from nobody."""
    return getitem(g, key=tuple(slice(before, before + n) for (before, _), n in zip(widths, x_shape, strict=True)))


@composed
def pad(x: Array, pad: tuple[int, ...], mode: str = "constant", value: float | None = None) -> Array:
    """x with a border, or with less of itself where a width is below 0; the gradient adds up over the copies.

    `pad` is (before, after) for the last axis, then the last but one, and so on. The border repeats one `value`
    ("constant", 0 unless told), mirrors what is inside of the edge ("reflect"), repeats the edge ("replicate"), or
    goes on at the other end ("circular").
    """
    if len(pad) % 2 or len(pad) > 2 * x.ndim:
        raise ValueError(f"pad needs a pair of widths for each of the last axes of {tuple(x.shape)}: got {tuple(pad)}")
    pairs = [(0, 0)] * (x.ndim - len(pad) // 2) + list(zip(pad[::2], pad[1::2], strict=True))[::-1]
    if any(n + before + after < 0 for n, (before, after) in zip(x.shape, pairs, strict=True)):
        raise ValueError(f"pad cannot take {tuple(pad)} off the shape {tuple(x.shape)}")
    if mode in BORDERS and value is not None:
        raise ValueError(f"pad: a value belongs to the mode 'constant', not to {mode!r}")
    if any(n < 0 for n in pad) and mode != "replicate":  # which repeats an edge, then takes off
        cut = (slice(max(-a, 0), n - max(-b, 0)) for n, (a, b) in zip(x.shape, pairs, strict=True))
        x = getitem(x, key=tuple(cut))
    widths = pairs if mode == "replicate" else [(max(before, 0), max(after, 0)) for before, after in pairs]
    if mode == "constant":
        return pad_constant(x, widths=tuple(widths), value=value or 0.0)
    if mode not in BORDERS:
        raise ValueError(f"pad: mode is 'constant', {', '.join(map(repr, BORDERS))}: got {mode!r}")
    for axis, (before, after) in enumerate(widths):
        if before or after:
            x = index_select(x, axis, beside(x, _border(x.shape, axis, before, after, mode)))
    return x


BORDERS: dict[str, Any] = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}  # NumPy's names


def _border(shape: Shape, axis: int, before: int, after: int, mode: str) -> Array:
    """Where along an axis each element of the result comes from."""
    n = shape[axis]
    most = {"reflect": n - 1, "replicate": max(before, after) if n else 0, "circular": n}[mode]
    if max(before, after) > most:
        raise ValueError(f"pad: {mode!r} can add up to {most} at an end of {n} elements: got {before} and {after}")
    if mode == "replicate":
        return np.clip(np.arange(-before, n + after), 0, n - 1)
    return np.pad(np.arange(n), (before, after), mode=BORDERS[mode])


def _different(axes: Any, x: Array, name: str) -> tuple[int, ...]:
    found = axes_of(axes, x.ndim)
    if len(set(found)) != len(found):
        raise ValueError(f"{name} needs different axes: got {axes}")
    return found


@composed
def flip(x: Array, dims: Any) -> Array:
    """x read backwards along those axes; a view."""
    axes = _different(dims, x, "flip")
    return getitem(x, key=tuple(slice(None, None, -1 if i in axes else None) for i in range(x.ndim)))


@composed
def fliplr(x: Array) -> Array:
    """x read backwards along its second axis; a view."""
    return flip(x, _of_matrix(x, 1, "fliplr"))


@composed
def flipud(x: Array) -> Array:
    """x read backwards along its first axis; a view."""
    return flip(x, _of_matrix(x, 0, "flipud"))


def _of_matrix(x: Array, axis: int, name: str) -> int:
    if x.ndim <= axis:
        raise ValueError(f"{name} needs {axis + 1} axes at least: got shape {tuple(x.shape)}")
    return axis


@composed
def rot90(x: Array, k: int = 1, dims: tuple[int, int] = (0, 1)) -> Array:
    """x turned k times by a quarter, from the first of two axes towards the second."""
    if len(dims) != 2 or x.ndim < 2:
        raise ValueError(f"rot90 turns in the plane of 2 axes: got {tuple(dims)} for shape {tuple(x.shape)}")
    a, b = _different(dims, x, "rot90")
    y = flip(x, [(), (b,), (a, b), (a,)][k % 4])
    return transpose(y, a, b) if k % 2 else y


@composed
def roll(x: Array, shifts: Any, dims: Any = None) -> Array:
    """x shifted along those axes (none: as one row), what falls off the end coming in at the start."""
    if dims is None or dims == ():
        if not isinstance(shifts, Integral) and len(shifts) != 1:
            raise ValueError(f"roll without axes takes one shift: got {shifts}")
        return reshape(roll(ravel(x), shifts, 0), x.shape)
    if not x.ndim:
        raise IndexError(f"roll along {dims} needs an array with axes: got one number")
    shifts, axes = (shifts,) if isinstance(shifts, Integral) else shifts, axes_of(dims, x.ndim)
    if len(shifts) != (1 if isinstance(dims, Integral) else len(dims)):
        raise ValueError(f"roll needs one shift for each axis: got {shifts} for {dims}")
    for shift, axis in zip(shifts, axes, strict=False):
        if x.shape[axis] and (k := -shift % x.shape[axis]):
            before = (slice(None),) * axis
            x = cat([getitem(x, key=(*before, slice(k, None))), getitem(x, key=(*before, slice(k)))], axis)
    return x


@composed
def tile(x: Array, dims: Any) -> Array:
    """x repeated dims[i] times along axis i, counted from the last."""
    dims = (dims,) if isinstance(dims, Integral) else tuple(dims)
    if any(r < 0 for r in dims):
        raise ValueError(f"x can be repeated 0 times or more: got {dims}")
    dims = (1,) * (x.ndim - len(dims)) + dims
    shape = (1,) * (len(dims) - x.ndim) + tuple(x.shape)
    pairs = list(zip(dims, shape, strict=True))
    y = reshape(x, tuple(m for _, n in pairs for m in (1, n)))
    return reshape(broadcast_to(y, tuple(m for pair in pairs for m in pair)), tuple(r * n for r, n in pairs))


@composed
def repeat(x: Array, *sizes: Any) -> Array:
    """x repeated sizes[i] times along axis i; as many numbers, or one tuple of them, as x has axes, or more."""
    sizes = tuple(sizes[0]) if len(sizes) == 1 and isinstance(sizes[0], tuple | list) else sizes
    if len(sizes) < x.ndim:
        raise ValueError(f"repeat needs a number for each of the {x.ndim} axes of {tuple(x.shape)}: got {sizes}")
    return tile(x, sizes)


@composed
def repeat_interleave(x: Array, repeats: Any, axis: int | None = None) -> Array:
    """Each slice along `axis` (None: each element) repeated in place, all as often or each as `repeats` says."""
    if axis is None:
        return repeat_interleave(ravel(x), repeats, 0)
    n = x.shape[axes_of(axis, x.ndim)[0]] if x.ndim else 1
    times = np.asarray(repeats.tolist() if hasattr(repeats, "tolist") else repeats)
    if (times.size and times.dtype.kind != "i") or times.ndim > 1 or times.size not in (1, n) or (times < 0).any():
        raise ValueError(f"repeat_interleave needs one integer >= 0, or one for each of the {n} slices: got {repeats}")
    if times.size == 1 and x.ndim:  # no index, whose adjoint is slow
        (axis,) = axes_of(axis, x.ndim)
        shape = (*x.shape[: axis + 1], int(times.item()), *x.shape[axis + 1 :])
        return flatten(broadcast_to(unsqueeze(x, axis + 1), shape), axis, axis + 1)
    return index_select(x, axis, beside(x, np.repeat(np.arange(n), times.astype(np.intp))))


@op
def on_or_below(xp: Any, like: Array, *, diagonal: int) -> Array:
    """Whether a place in the last two axes lies on that diagonal or below; 0 is the main one, above it is > 0."""
    if like.ndim < 2:
        raise ValueError(f"tril and triu need a matrix, or several: got shape {like.shape}")
    rows, columns = like.shape[-2:]
    return xp.arange(columns) <= xp.arange(rows)[:, None] + diagonal


@composed
def tril(x: Array, diagonal: int = 0) -> Array:
    """x on and below a diagonal, 0 above."""
    return where(on_or_below(x, diagonal=diagonal), x, 0.0)


@composed
def triu(x: Array, diagonal: int = 0) -> Array:
    """x on and above a diagonal, 0 below."""
    return where(on_or_below(x, diagonal=diagonal - 1), 0.0, x)


def _steps(rows: int, columns: int, offset: int) -> tuple[slice, int]:
    """A diagonal of a matrix that is stored as one row: a slice, and how long it is."""
    n = max(min(rows + min(offset, 0), columns - max(offset, 0)), 0)
    start = max(offset, 0) - min(offset, 0) * columns
    return slice(start, start + n * (columns + 1), columns + 1) if n else slice(0), n


@composed
def diagonal(x: Array, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Array:
    """The elements [i, i + offset] of the matrices in axes dim1 and dim2, in a new last axis."""
    if x.ndim < 2:
        raise ValueError(f"diagonal needs a matrix, or several: got shape {tuple(x.shape)}")
    x = movedim(x, _different((dim1, dim2), x, "diagonal"), (-2, -1))
    *lead, rows, columns = x.shape
    return getitem(reshape(x, (*lead, rows * columns)), key=(Ellipsis, _steps(rows, columns, offset)[0]))


@composed
def diag_embed(x: Array, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Array:
    """Square matrices, in axes dim1 and dim2, with the last axis of x at [i, i + offset] and 0 elsewhere."""
    if x.ndim == 0:
        raise ValueError("diag_embed needs an array with axes: got one number")
    *lead, n = x.shape
    side = n + abs(offset)
    start = _steps(side, side, offset)[0]
    y = reshape(put(x, key=(Ellipsis, start), shape=(*lead, side * side)), (*lead, side, side))
    if not -y.ndim <= min(dim1, dim2) <= max(dim1, dim2) < y.ndim:
        raise IndexError(f"diag_embed: axes {dim1} and {dim2} do not both exist in a result of {y.ndim} axes")
    return movedim(y, (-2, -1), _different((dim1, dim2), y, "diag_embed"))


@composed
def diag(x: Array, diagonal: int = 0) -> Array:
    """The matrix with that diagonal, if x is a row; the diagonal of x, if x is a matrix."""
    if x.ndim not in (1, 2):
        raise ValueError(f"diag takes a row or a matrix: got shape {tuple(x.shape)}; diag_embed and diagonal take more")
    return diag_embed(x, diagonal) if x.ndim == 1 else _diagonal(x, diagonal)


_diagonal = diagonal  # which is a parameter's name too


@composed
def meshgrid(*tensors: Any, indexing: str = "ij") -> tuple[Array, ...]:
    """The coordinates of a grid: y_k[i_0, i_1, ...] = x_k[i_k]; with indexing "xy" the first two axes are exchanged."""
    xs = list(tensors[0]) if len(tensors) == 1 and isinstance(tensors[0], tuple | list) else list(tensors)
    if indexing not in ("ij", "xy"):
        raise ValueError(f"meshgrid: indexing is 'ij' or 'xy': got {indexing!r}")
    if not xs or any(x.ndim > 1 for x in xs):
        raise ValueError(f"meshgrid takes rows or numbers, one at least: got {[tuple(x.shape) for x in xs]}")
    shape = tuple(prod(x.shape) for x in xs)
    alone = [tuple(n if i == k else 1 for i, n in enumerate(shape)) for k in range(len(xs))]
    ys = tuple(broadcast_to(reshape(x, one), shape) for x, one in zip(xs, alone, strict=True))
    return tuple(transpose(y, 0, 1) for y in ys) if indexing == "xy" and len(ys) > 1 else ys


@composed
def unfold(x: Array, dimension: int, size: int, step: int) -> Array:
    """Windows of that size along an axis, one every `step` places; what is in a window lies along a new last axis."""
    if x.ndim == 0:
        return getitem(unfold(reshape(x, (1,)), dimension, size, step), key=(0,))
    (axis,) = axes_of(dimension, x.ndim)
    if size < 0 or step < 1 or size > x.shape[axis]:
        raise ValueError(f"unfold: windows of {size} every {step} places do not fit into {x.shape[axis]} places")
    starts = np.arange(0, x.shape[axis] - size + 1, step)
    places = beside(x, starts[:, None] + np.arange(size))
    return movedim(getitem(x, places, key=(slice(None),) * axis + (HERE,)), axis + 1, -1)
