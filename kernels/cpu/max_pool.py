"""The largest of each window, and how it passes a cotangent on, on the CPU, channel by channel.

Replaces: ops.pooling.max_of_windows and max_of_windows_grad. NumPy goes over all windows once for each place in one,
backward several times; this reads x once forward and once backward. A window as long as x (the global pool of a text
CNN) is one row, searched many elements at a time.
Applies: contiguous float32 or float64, windows over one or two axes.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from tinygrad_ft.dispatch import Share
from tinygrad_ft.kernels.cpu.copy import into_contiguous
from tinygrad_ft.kernels.cpu.eager import done
from tinygrad_ft.kernels.cpu.vector import alike, compiled, larger
from tinygrad_ft.ops.pooling import max_of_windows, max_of_windows_grad

THRESHOLD = 4096  # elements of x, below which NumPy is as quick forward, but not backward
LANES = 64  # elements that are searched at once


@compiled
def window_maxima(
    x: Any, y: Any, length: int, across: int, down: int, places: int, height: int, width: int, s: int, t: int, d: int,
    e: int, start: int, end: int,
) -> None:  # fmt: skip
    """y[i, a, b] = the largest of all x[i, a s + k d, b t + l e], NaN if that is there, for i from start to end.

    x[i] is length by across, y[i] is down by places and the windows (k, l) are height by width; x and y are one row.
    Indices without a sign: LLVM does not vectorise what may count from the end.
    """
    unit, count, tall, wide = np.uint64(e), np.uint64(places), np.uint64(height), np.uint64(width)
    line, step = np.uint64(d * across), np.uint64(t)
    for i in range(start, end):
        for a in range(down):
            at_y, at_x = np.uint64((i * down + a) * places), np.uint64((i * length + a * s) * across)
            if e == 1 and width >= LANES:  # along a window
                for b in range(count):
                    first = at_x + b * step
                    best, nans = x[first], np.int32(0)
                    for k in range(tall):
                        at = first + k * line
                        for m in range(wide):
                            best = larger(best, x[at + m])
                        for m in range(wide):
                            nans = np.int32(nans + (x[at + m] != x[at + m]))
                    y[at_y + b] = np.nan if nans else best
            else:  # along the windows
                for b in range(count):
                    y[at_y + b] = x[at_x + b * step]
                for k in range(tall):
                    for m in range(wide):
                        at = at_x + k * line + m * unit
                        for b in range(count):
                            v, so_far = x[at + b * step], y[at_y + b]
                            y[at_y + b] = v if (v > so_far) | (v != v) else so_far


@compiled
def window_maxima_grad(
    g: Any, x: Any, y: Any, gx: Any, length: int, across: int, down: int, places: int, height: int, width: int, s: int,
    t: int, d: int, e: int, start: int, end: int,
) -> None:  # fmt: skip
    """gx = 0, then g[i, a, b] added where in the window the first element is y[i, a, b], or NaN; see window_maxima."""
    unit, count, tall, wide = np.uint64(e), np.uint64(places), np.uint64(height), np.uint64(width)
    line, lanes, zero = np.uint64(d * across), np.uint64(LANES), np.uint64(0)
    for j in range(np.uint64(start * length * across), np.uint64(end * length * across)):
        gx[j] = 0
    for i in range(start, end):
        for a in range(down):
            at_y, at_x = np.uint64((i * down + a) * places), np.uint64((i * length + a * s) * across)
            for b in range(count):
                wanted, first, found = y[at_y + b], at_x + b * np.uint64(t), False
                for k in range(tall):
                    at, skipped = first + k * line, zero
                    while e == 1 and skipped + lanes <= wide:  # as many as are compared at once, without a branch
                        hits = np.int32(0)  # so wide that as many are compared at once as fit into a register
                        for m in range(lanes):
                            v = x[at + skipped + m]
                            hits = np.int32(hits + ((v == wanted) | (v != v)))
                        if hits:
                            break
                        skipped += lanes
                    for m in range(skipped, wide):
                        v = x[at + m * unit]
                        if (v == wanted) | (v != v):
                            gx[at + m * unit] += g[at_y + b]
                            found = True
                            break
                    if found:
                        break


def _applies(x: Any, *, kernel: Any, stride: Any, dilation: Any) -> bool:
    return alike(x) and len(kernel) in (1, 2) and x.size > 0


def _grad_applies(g: Any, x: Any, y: Any, *, kernel: Any, stride: Any, dilation: Any) -> bool:
    return g.shape == y.shape and alike(x, g, y) and _applies(x, kernel=kernel, stride=stride, dilation=dilation)


def _shares(loop: Any, n: int, arrays: tuple[Any, ...], x: int, y: int, *pairs: Any) -> list[Share]:
    """The loop over channels of n axes, with pairs of numbers; of the arrays, x and y are those in such a place."""
    one = (1,) * (2 - n)
    sizes = [(*one, *arrays[of].shape[arrays[of].ndim - n :]) for of in (x, y)]
    numbers = [int(v) for pair in (*sizes, *((*one, *pair) for pair in pairs)) for v in pair]
    return [Share(loop, arrays[x].size // prod(sizes[0]), (*(a.reshape(-1) for a in arrays), *numbers))]


@max_of_windows.shares("cpu", when=_applies)
@into_contiguous
def max_of_windows_shares(y: Any, x: Any, *, kernel: Any, stride: Any, dilation: Any) -> list[Share]:
    """Channels of examples."""
    return _shares(window_maxima, len(kernel), (x, y), 0, 1, kernel, stride, dilation)


@max_of_windows_grad.shares("cpu", when=_grad_applies)
@into_contiguous
def max_of_windows_grad_shares(
    gx: Any, g: Any, x: Any, y: Any, *, kernel: Any, stride: Any, dilation: Any
) -> list[Share]:
    """Channels of examples."""
    return _shares(window_maxima_grad, len(kernel), (g, x, y, gx), 1, 2, kernel, stride, dilation)


@max_of_windows.kernel("cpu", when=lambda x, **rest: x.size >= THRESHOLD and _applies(x, **rest))
def max_of_windows_by_channel(xp: Any, x: Any, *, kernel: Any, stride: Any, dilation: Any) -> Any:
    """A channel at a time."""
    lead = x.ndim - len(kernel)
    sizes = zip(x.shape[lead:], kernel, stride, dilation, strict=True)
    y = np.empty((*x.shape[:lead], *((n - (k - 1) * d - 1) // s + 1 for n, k, s, d in sizes)), x.dtype)
    return done(y, max_of_windows_shares, x, kernel=kernel, stride=stride, dilation=dilation)


@max_of_windows_grad.kernel("cpu", when=_grad_applies)
def max_of_windows_grad_by_channel(xp: Any, g: Any, x: Any, y: Any, *, kernel: Any, stride: Any, dilation: Any) -> Any:
    """A channel at a time."""
    return done(np.empty_like(x), max_of_windows_grad_shares, g, x, y, kernel=kernel, stride=stride, dilation=dilation)
