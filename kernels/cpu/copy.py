"""Copies between arrays of any layout on the CPU, in shares: of views, of pieces end to end, into a border of zeros.

Replaces nothing in an eager call, where NumPy copies as well; a recorded step needs its work in shares.
Axes that follow each other in both arrays are joined. Where x is contiguous along another axis than y, tiles
are copied whose lines of both arrays stay in the cache.
Applies: elements of 1, 2, 4 or 8 bytes, whatever they mean.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from math import prod
from typing import Any, TypeVar, cast

import numpy as np
from numpy.lib.stride_tricks import as_strided

from tinygrad_ft.chain_rule import clone
from tinygrad_ft.dispatch import Share
from tinygrad_ft.kernels.cpu.vector import compiled
from tinygrad_ft.ops.arrange import pad_constant
from tinygrad_ft.ops.join import join
from tinygrad_ft.ops.shape import reshape

F = TypeVar("F", bound=Callable[..., list[Share]])
AXES = 6  # at most, after joining
BITS = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}
STRETCH = 4096  # elements that one item fills


@compiled
def copied_tiles(x: Any, y: Any, axes: Any, x0: int, y0: int, height: int, width: int, start: int, end: int) -> None:
    """y = x for the tiles start to end, of `height` by `width` elements along the last two axes.

    x and y are the memory that the arrays cover, which begin at x0 and y0; `axes` holds the lengths and both strides.
    """
    last = axes.shape[1] - 1
    n, m = axes[0, last - 1], axes[0, last]
    down, across = (n + height - 1) // height, (m + width - 1) // width
    for item in range(start, end):
        rest, tile = item // (down * across), item % (down * across)
        top, left = tile // across * height, tile % across * width
        at_x = x0 + top * axes[1, last - 1] + left * axes[1, last]
        at_y = y0 + top * axes[2, last - 1] + left * axes[2, last]
        for axis in range(last - 2, -1, -1):
            i = rest % axes[0, axis]
            rest = rest // axes[0, axis]
            at_x += i * axes[1, axis]
            at_y += i * axes[2, axis]
        step_x, step_y = np.uint64(axes[1, last]), np.uint64(axes[2, last])  # without a sign, so that no index may
        for row in range(min(height, n - top)):  # count from the end, which keeps LLVM from vectorising
            i, j = np.uint64(at_x + row * axes[1, last - 1]), np.uint64(at_y + row * axes[2, last - 1])
            count = np.uint64(min(width, m - left))
            if step_x == 1 and step_y == 1:
                for k in range(count):
                    y[j + k] = x[i + k]
            elif step_y == 1 and step_x == 0:
                one = x[i]
                for k in range(count):
                    y[j + k] = one
            elif step_y == 1:
                for k in range(count):
                    y[j + k] = x[i + k * step_x]
            else:
                for k in range(count):
                    y[j + k * step_y] = x[i + k * step_x]


@compiled
def filled(y: Any, value: Any, start: int, end: int) -> None:
    """One value throughout, a stretch an item."""
    for i in range(np.uint64(start * STRETCH), np.uint64(min(end * STRETCH, y.size))):
        y[i] = value


def _memory(a: Any) -> tuple[Any, int]:
    """What an array covers, from the lowest address on, and at which element of it the array begins."""
    origin = sum((1 - n) * s for n, s in zip(a.shape, a.strides, strict=True) if s < 0) // a.itemsize
    a = a[(..., *(slice(None, None, -1 if s < 0 else None) for s in a.strides))]
    extent = sum((n - 1) * s for n, s in zip(a.shape, a.strides, strict=True)) // a.itemsize + 1
    return as_strided(a, (extent,), (a.itemsize,)).view(BITS[a.itemsize]), origin


def _axes(y: Any, x: Any) -> list[tuple[int, int, int]]:
    """(length, stride in x, stride in y) in elements, those of y falling; axes that follow in both are joined."""
    size, found = x.itemsize, list[tuple[int, int, int]]()
    axes = [(n, p // size, q // size) for n, p, q in zip(x.shape, x.strides, y.strides, strict=True) if n > 1]
    for n, p, q in sorted(axes, key=lambda axis: -abs(axis[2])):
        if found and found[-1][1:] == (n * p, n * q):
            n *= found.pop()[0]
        found.append((n, p, q))
    return found


def copying(y: Any, x: Any) -> list[Share]:
    """The work of y[...] = x, for arrays of one shape and dtype."""
    assert (x.shape, x.dtype) == (y.shape, y.dtype), "copies are of bits"
    if not x.size:
        return []
    axes = _axes(y, x)
    turned = bool(axes) and abs(axes[-1][1]) > 1
    lines = [axis for axis in axes[:-1] if turned and abs(axis[1]) == 1]
    if len(axes) > 2:  # a tile's rows lie along an axis in which x is contiguous, or else along the longest
        along = axes.pop(axes.index(lines[0] if lines else max(axes[:-1])))
        axes.insert(len(axes) - 1, along)
    axes = [(1, 0, 0)] * (AXES - len(axes)) + axes
    (from_x, x0), (to_y, y0) = _memory(x), _memory(y)
    lengths = [n for n, _, _ in axes]
    width = 32 if lines else min(lengths[-1], STRETCH)
    height = 64 if lines else -(-STRETCH // width)  # tiles of 16 by 16 take up to twice the time
    items = prod(lengths[:-2]) * -(-lengths[-2] // height) * -(-lengths[-1] // width)
    plan = np.ascontiguousarray(np.array(axes, np.int64).T)
    return [Share(copied_tiles, items, (from_x, to_y, plan, x0, y0, height, width))]


def filling(y: Any, value: float) -> list[Share]:
    """The work of y[...] = value, for a contiguous y."""
    return [Share(filled, -(-y.size // STRETCH), (y.reshape(-1), y.dtype.type(value)))]


def into_contiguous(into: F) -> F:
    """For a function that answers the shares that write y: one that is not contiguous is written by way of a copy.

    NumPy lays an answer out as the arguments lie, so that y may be the transpose of a contiguous array.
    """

    @wraps(into)
    def whole(y: Any, *arrays: Any, **params: Any) -> list[Share]:
        if y.flags.c_contiguous:
            return into(y, *arrays, **params)
        laid_out = np.empty(y.shape, y.dtype)
        return [*into(laid_out, *arrays, **params), *copying(y, laid_out)]

    return cast(F, whole)


def copies(x: Any) -> bool:
    """Whether `copying` takes an array."""
    strides_fit = isinstance(x, np.ndarray) and all(s % x.itemsize == 0 for s in x.strides)
    return strides_fit and x.dtype.kind in "fiub" and x.itemsize in BITS and x.ndim <= AXES


@clone.shares("cpu", when=copies)
def clone_shares(y: Any, x: Any) -> list[Share]:
    """Tiles."""
    return copying(y, x)


@reshape.shares("cpu", when=lambda x, **_: copies(x))
@into_contiguous
def reshape_shares(y: Any, x: Any, *, shape: Any) -> list[Share]:
    """Tiles of a y that does not share the memory of x."""
    return copying(y.reshape(x.shape), x)


def _join_applies(*xs: Any, axis: int) -> bool:
    return all(copies(x) and x.dtype == xs[0].dtype for x in xs)


@join.shares("cpu", when=_join_applies)
def join_shares(y: Any, *xs: Any, axis: int) -> list[Share]:
    """One array after the other."""
    shares, at = [], 0
    for x in xs:
        n = x.shape[axis]
        shares += copying(np.moveaxis(np.moveaxis(y, axis, 0)[at : at + n], 0, axis), x)
        at += n
    return shares


def _is_float(x: Any) -> bool:
    return copies(x) and x.dtype in (np.float32, np.float64)


@pad_constant.shares("cpu", when=lambda x, **_: _is_float(x))
@into_contiguous
def pad_constant_shares(y: Any, x: Any, *, widths: Any, value: float) -> list[Share]:
    """The value throughout, then x."""
    inside = tuple(slice(before, before + n) for (before, _), n in zip(widths, x.shape, strict=True))
    return [*filling(y, value), *copying(y[inside], x)]
