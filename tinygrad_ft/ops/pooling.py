"""Pooling: the mean or the largest of each window."""

from __future__ import annotations

from itertools import product
from math import inf, prod
from typing import Any

import numpy as np

from tinygrad_ft.engine import Array, op
from tinygrad_ft.ops.composed import composed
from tinygrad_ft.ops.convolution import batch, bordered, numbers, span, windows
from tinygrad_ft.ops.index import HERE, getitem, put
from tinygrad_ft.ops.join import blank
from tinygrad_ft.ops.linalg import matmul
from tinygrad_ft.ops.reduce import mean, sum
from tinygrad_ft.ops.shape import Shape, movedim, ravel, reshape

__all__ = [
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "avg_pool1d", "avg_pool2d", "max_pool1d", "max_pool2d",
]  # fmt: skip


@op
def max_of_windows(xp: Any, x: Array, *, kernel: Shape, stride: Shape, dilation: Shape) -> Array:
    """The largest in each window; the derivative is that of the first of them at a tie.

    A running maximum over the places in a window: taking it over a short axis of `windows` is several times slower.
    """
    w = windows.forward(xp, x, kernel=kernel, stride=stride, dilation=dilation)
    first, *others = product(*map(range, kernel))
    y = w[first].copy()
    for at in others:
        xp.maximum(y, w[at], out=y)
    return y


@max_of_windows.vjp
def max_of_windows_vjp(g: Array, x: Array, y: Array, *, kernel: Shape, stride: Shape, dilation: Shape) -> Array:
    """dy = the dx that attains y first."""
    return max_of_windows_grad(g, x, y, kernel=kernel, stride=stride, dilation=dilation)


@composed
def max_of_windows_grad(g: Array, x: Array, y: Array, *, kernel: Shape, stride: Shape, dilation: Shape) -> Array:
    """g of each window where in x its largest, y, stands first, added up where windows overlap; 0 elsewhere."""
    which, shape = first_of_windows(x, y, kernel=kernel, stride=stride, dilation=dilation), tuple(x.shape)
    lead, size = shape[: len(shape) - len(kernel)], shape[len(shape) - len(kernel) :]
    rows = np.arange(prod(lead)).reshape(*lead, *(1 for _ in size)) * prod(size)
    places = places_of(which, size, kernel, stride, (0,) * len(size), dilation) + numbers_like(x, numbers=rows)
    return reshape(put(ravel(g), ravel(places), key=(HERE,), shape=(prod(shape),)), shape)


@op
def first_of_windows(xp: Any, x: Array, y: Array, *, kernel: Shape, stride: Shape, dilation: Shape) -> Array:
    """Which element of its window, read as one row, is the first that is y, or NaN."""
    w = windows.forward(xp, x, kernel=kernel, stride=stride, dilation=dilation)
    which = xp.zeros(y.shape, dtype=xp.int64)
    for i, at in reversed(list(enumerate(product(*map(range, kernel))))):
        v = xp.ascontiguousarray(w[at])  # what follows takes a tenth of the time on this copy
        xp.putmask(which, (v == y) | (v != v), i)
    return which


def places_of(which: Array, size: Shape, kernel: Shape, stride: Shape, padding: Shape, dilation: Shape) -> Array:
    """Where in the last axes of x, of that size and read as one row, an element of each window stands."""
    within = start = np.zeros((), dtype=np.int64)
    axes = zip(size, which.shape[which.ndim - len(size) :], kernel, stride, padding, dilation, strict=True)
    for m, o, k, s, p, d in axes:
        within = np.add.outer(within * m, np.arange(k) * d)
        start = np.add.outer(start * m, np.arange(o) * s - p)
    inside = getitem(numbers_like(which, numbers=within.ravel()), which, key=(HERE,))
    return inside + numbers_like(which, numbers=start)


@op
def numbers_like(xp: Any, like: Array, *, numbers: Any) -> Array:
    """Numbers on the device of another array; fractions in its dtype too, or in float32 if it holds integers."""
    fractions = like.dtype if like.dtype.kind == "f" else xp.float32
    return xp.asarray(numbers, dtype=fractions if numbers.dtype.kind == "f" else None)


def along(x: Array, matrix: Any, axis: int) -> Array:
    """x with a NumPy matrix applied to the numbers along an axis."""
    return movedim(matmul(movedim(x, axis, -1), numbers_like(x, numbers=matrix.T)), -1, axis)


def _pooled(
    name: str, n: int, x: Array, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> tuple[Array, Shape, Shape, Shape, Shape, list[tuple[int, int]]]:
    """x as a batch; kernel, stride, padding and dilation; and how far windows reach beyond the padding."""
    x = batch(name, x, n)
    kernel = numbers(name, "kernel_size", kernel, n, 1)
    stride = kernel if stride is None or stride == () else numbers(name, "stride", stride, n, 1)
    padding, dilation = numbers(name, "padding", padding, n, 0), numbers(name, "dilation", dilation, n, 1)
    beyond = []
    for size, k, s, p, d in zip(x.shape[2:], kernel, stride, padding, dilation, strict=True):
        if 2 * p > span(k, d):
            raise ValueError(f"{name} needs padding of at most half a window of {span(k, d)}: got {p}")
        room = size + 2 * p - span(k, d)
        if room < 0 or 0 in x.shape[1:]:
            raise ValueError(f"{name}: windows of {kernel} do not fit into x {tuple(x.shape)} with padding {padding}")
        last = -(-room // s) if ceil_mode else room // s
        last -= last * s >= size + p  # a window starts within x or the padding in front
        beyond.append((0, max(last * s - room, 0)))
    return x, kernel, stride, padding, dilation, beyond


def _like_input(y: Array, x: Array, n: int) -> Array:
    return y if x.ndim == n + 2 else reshape(y, y.shape[1:])


def _averaged(
    name: str, n: int, input: Array, kernel: Any, stride: Any, padding: Any, ceil_mode: bool, with_border: bool,
    divisor: int | None,
) -> Array:  # fmt: skip
    if divisor == 0:
        raise ValueError(f"{name} needs a divisor other than 0")
    x, kernel, stride, padding, dilation, beyond = _pooled(name, n, input, kernel, stride, padding, 1, ceil_mode)
    border = [(p, p) for p in padding]

    def totals(x: Array, value: float = 0.0) -> Array:
        w = windows(bordered(bordered(x, border, value), beyond), kernel=kernel, stride=stride, dilation=dilation)
        return sum(reshape(w, (prod(kernel), *w.shape[n:])), axis=0)  # a copy first: 4 times as quick as on the view

    full = prod(kernel) if divisor is None else divisor
    if divisor is None and (any(map(any, beyond)) or (any(padding) and not with_border)):
        ones = blank(x, shape=(1, 1, *x.shape[2:])) + 1.0
        full = totals(ones, 1.0 if with_border else 0.0)
    return _like_input(totals(x) / full, input, n)


@composed
def avg_pool1d(
    input: Array, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Array:  # fmt: skip
    """The mean of each window of x (n, channels, length) or (channels, length).

    The windows are `stride` apart, kernel_size unless told. With ceil_mode the last may reach beyond the padding, which
    does not count; the padding counts as zeros, unless count_include_pad is False.
    """
    return _averaged("avg_pool1d", 1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


@composed
def avg_pool2d(
    input: Array, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
    count_include_pad: bool = True, divisor_override: int | None = None,
) -> Array:  # fmt: skip
    """avg_pool1d over two axes; divisor_override takes the place of how many elements there are in a window."""
    return _averaged(
        "avg_pool2d", 2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


def _largest(
    name: str, n: int, input: Array, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool,
    return_indices: bool,
) -> Any:  # fmt: skip
    if input.dtype.kind != "f":
        raise TypeError(f"{name} needs floating-point numbers: got {input.dtype}; call .float() first")
    x, kernel, stride, padding, dilation, beyond = _pooled(name, n, input, kernel, stride, padding, dilation, ceil_mode)
    size = tuple(x.shape[2:])
    x = bordered(x, [(p, p + more) for p, (_, more) in zip(padding, beyond, strict=True)], -inf)
    y = max_of_windows(x, kernel=kernel, stride=stride, dilation=dilation)
    if not return_indices:
        return _like_input(y, input, n)
    which = first_of_windows(x, y, kernel=kernel, stride=stride, dilation=dilation)
    places = places_of(which, size, kernel, stride, padding, dilation)
    return _like_input(y, input, n), _like_input(places, input, n)


@composed
def max_pool1d(
    input: Array, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:  # fmt: skip
    """The largest in each window of x (n, channels, length) or (channels, length), the first of them at a tie.

    With return_indices also where in x they stood. For the rest see avg_pool1d; the padding counts as -inf.
    """
    return _largest("max_pool1d", 1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


@composed
def max_pool2d(
    input: Array, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:  # fmt: skip
    """max_pool1d over two axes; an index counts places in x's height and width read as one row."""
    return _largest("max_pool2d", 2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def adapted(name: str, n: int, input: Array, output_size: Any) -> Array:
    """The means of as many stretches along each of the last n axes as output_size says; None keeps an axis."""
    x = batch(name, input, n)
    given = output_size if isinstance(output_size, list | tuple) else (output_size,) * n
    if len(given) != n:
        raise ValueError(f"{name} needs one number, or {n}: got {output_size}")
    sizes = tuple(x.shape[2 + i] if m is None else m for i, m in enumerate(given))
    sizes = numbers(name, "output_size", sizes, n, 0)
    if all(m and size % m == 0 for m, size in zip(sizes, x.shape[2:], strict=True)):
        cut = [length for m, size in zip(sizes, x.shape[2:], strict=True) for length in (m, size // m)]
        x = mean(reshape(x, (*x.shape[:2], *cut)), axis=tuple(range(3, 3 + 2 * n, 2)))
        return _like_input(x, input, n)
    for axis, m in enumerate(sizes, 2):
        stretch, size = np.zeros((m, x.shape[axis])), x.shape[axis]
        for i in range(m):
            start, end = i * size // m, -(-(i + 1) * size // m)
            stretch[i, start:end] = 1.0 / (end - start)
        x = along(x, stretch, axis)
    return _like_input(x, input, n)


@composed
def adaptive_avg_pool1d(input: Array, output_size: Any) -> Array:
    """The means of output_size stretches of x (n, channels, length) or (channels, length).

    Stretch i of m goes from floor(i length / m) to ceil((i + 1) length / m).
    """
    return adapted("adaptive_avg_pool1d", 1, input, output_size)


@composed
def adaptive_avg_pool2d(input: Array, output_size: Any) -> Array:
    """adaptive_avg_pool1d over two axes; one number for both, or two, of which None keeps an axis."""
    return adapted("adaptive_avg_pool2d", 2, input, output_size)
