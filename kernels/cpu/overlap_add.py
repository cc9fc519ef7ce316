"""Windows added up where they were cut out, on the CPU, channel by channel while the channel is in the cache.

Replaces: ops.convolution.overlap_add, the backward of a convolution. Reads w once and writes y once, where NumPy goes
over the whole of y for each place in a window.
Where channels are neighbours in memory, place by place, all channels of one at a time.
Applies: float32 or float64, one or two axes of windows, up to two before them, any layout without negative strides;
for an eager call from 4,096 elements on, below which NumPy is as quick.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from tinygrad_ft.dispatch import Share
from tinygrad_ft.kernels.cpu.copy import into_contiguous
from tinygrad_ft.kernels.cpu.eager import done
from tinygrad_ft.kernels.cpu.matmul import memory
from tinygrad_ft.kernels.cpu.vector import compiled
from tinygrad_ft.ops.convolution import added_up_in, overlap_add, side_by_side

THRESHOLD = 4096


@compiled
def overlapping_windows(w: Any, y: Any, lengths: Any, strides: Any, steps: Any, start: int, end: int) -> None:
    """y[i, a s + k d, b t + l e] = the sum of w[k, l, i, a, b], for i from start to end; i counts through two axes.

    w is given as memory; `lengths` and `strides` are those of its axes k, l, both of i, a and b; `steps` d, e, s, t.
    """
    across = y.shape[2]
    for item in range(start, end):
        out = y[item].reshape(-1)
        for j in range(out.size):
            out[j] = 0
        channel = item // lengths[3] * strides[2] + item % lengths[3] * strides[3]
        for k in range(lengths[0]):
            for m in range(lengths[1]):
                for a in range(lengths[4]):
                    at_w = np.uint64(channel + k * strides[0] + m * strides[1] + a * strides[4])
                    at_y = np.uint64((a * steps[2] + k * steps[0]) * across + m * steps[1])
                    step_w, step_y, count = np.uint64(strides[5]), np.uint64(steps[3]), np.uint64(lengths[5])
                    if step_w == 1 and step_y == 1:  # unsigned indices are contiguous for LLVM, signed ones may wrap
                        for b in range(count):
                            out[at_y + b] += w[at_w + b]
                    else:
                        for b in range(count):
                            out[at_y + b * step_y] += w[at_w + b * step_w]


@compiled
def overlapping_windows_side_by_side(
    w: Any, y: Any, lengths: Any, strides: Any, steps: Any, start: int, end: int
) -> None:
    """y[i, a s + k d, b t + l e, c] = the sum of w[k, l, i, c, a, b], which is contiguous in c; i from start to end.

    `lengths`, `strides` and `steps` as for overlapping_windows, whose second axis of i is c.
    """
    across = y.shape[2]
    for item in range(start, end):
        out = y[item].reshape(-1)
        for j in range(out.size):
            out[j] = 0
        for k in range(lengths[0]):
            for m in range(lengths[1]):
                at = item * strides[2] + k * strides[0] + m * strides[1]
                for a in range(lengths[4]):
                    row = (a * steps[2] + k * steps[0]) * across + m * steps[1]
                    for b in range(lengths[5]):
                        at_w = np.uint64(at + a * strides[4] + b * strides[5])
                        at_y = np.uint64((row + b * steps[3]) * lengths[3])
                        for c in range(np.uint64(lengths[3])):
                            out[at_y + c] += w[at_w + c]


def _six(w: Any, n: int) -> Any:
    """w with two axes in a window, two of channels and two of windows."""
    lead = w.ndim - 2 * n
    one = (1,) * (2 - n)
    return w.reshape(*one, *w.shape[:n], *(1,) * (2 - lead), *w.shape[n : n + lead], *one, *w.shape[n + lead :])


def _applies(w: Any, *, size: Any, stride: Any, dilation: Any) -> bool:
    n = len(size)
    usual = isinstance(w, np.ndarray) and w.dtype in (np.float32, np.float64) and n in (1, 2) and w.size > 0
    return usual and w.ndim - 2 * n in (0, 1, 2) and all(s >= 0 and s % w.itemsize == 0 for s in w.strides)


@overlap_add.shares("cpu", when=_applies)
def overlap_add_shares(y: Any, w: Any, *, size: Any, stride: Any, dilation: Any) -> list[Share]:
    """Channels of examples; examples, where y and w have their channels side by side."""
    n = len(size)
    one = (1,) * (2 - n)
    six = _six(w, n)
    numbers = (six.shape, [s // w.itemsize for s in six.strides], [*one, *dilation, *one, *stride])
    tables = tuple(np.array(some, np.int64) for some in numbers)
    channels = y.ndim - n - 1
    if channels >= 0 and side_by_side(w, n + channels) and side_by_side(y, channels):
        last = np.moveaxis(y, channels, -1)
        if last.flags.c_contiguous:
            whole = last.reshape(-1, *one, *size, y.shape[channels])
            return [Share(overlapping_windows_side_by_side, six.shape[2], (memory(w), whole, *tables))]
    return _by_channel(y, w, tables, (*one, *size))


@into_contiguous
def _by_channel(y: Any, w: Any, tables: Any, size: Any) -> list[Share]:
    return [Share(overlapping_windows, y.size // prod(size), (memory(w), y.reshape(-1, *size), *tables))]


@overlap_add.kernel("cpu", when=lambda w, **rest: w.size >= THRESHOLD and _applies(w, **rest))
def overlap_add_by_channel(xp: Any, w: Any, *, size: Any, stride: Any, dilation: Any) -> Any:
    """A channel at a time."""
    y = added_up_in(np.empty, w, size)
    return done(y, overlap_add_shares, w, size=size, stride=stride, dilation=dilation)
