"""Gradients scaled down together on the CPU: a sum of squares, and a product where they are too long.

Shares out: ops.update.clip_to_length, norm 2. Each array is read once, in a fixed number of parts for any number of
threads, and read and written once more if the scale is below 1.
Applies: contiguous float32 or float64 of one dtype.
"""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np

from tinygrad_ft.dispatch import Share
from tinygrad_ft.kernels.cpu.vector import alike, compiled, product_sum
from tinygrad_ft.ops.update import clip_to_length

PART = 1 << 14  # elements: a part is a few microseconds


@compiled
def squares_of_parts(g: Any, squares: Any, start: int, end: int) -> None:
    """The sum of squares of each part from start to end."""
    for i in range(start, end):
        part = g[i * PART : (i + 1) * PART]
        squares[i] = product_sum(part, part)


@compiled
def length_and_scale(squares: Any, most: Any, y: Any, scale: Any, start: int, end: int) -> None:
    """y, the length, and by how much to scale."""
    total = 0.0
    for i in range(squares.size):
        total += squares[i]
    y[0] = sqrt(total)
    scale[0] = most[0] / (sqrt(total) + 1e-6)


@compiled
def scaled_parts(g: Any, scale: Any, start: int, end: int) -> None:
    """The elements from start to end times the scale, unless it is 1 or more."""
    if not scale[0] >= 1.0:
        s = g.dtype.type(scale[0])
        part = g[start:end]
        for i in range(part.size):
            part[i] *= s


def _applies(most: Any, *gs: Any, norm_type: float) -> bool:
    return norm_type == 2.0 and len(gs) > 0 and alike(*gs)


@clip_to_length.shares("cpu", when=_applies)
def clip_shares(y: Any, most: Any, *gs: Any, norm_type: float) -> list[Share]:
    """Sums of squares, the length, then the products."""
    rows = [g.reshape(-1) for g in gs if g.size]
    counts = [-(-row.size // PART) for row in rows]
    squares, scale = np.zeros(sum(counts)), np.zeros(1)
    limit = most.reshape(1) if isinstance(most, np.ndarray) else np.array([most], np.float64)
    ends = np.cumsum(counts).tolist()
    return [
        *(
            Share(squares_of_parts, n, (row, squares[end - n : end]))
            for row, n, end in zip(rows, counts, ends, strict=True)
        ),
        Share(length_and_scale, 1, (squares, limit, y.reshape(1), scale)),
        *(Share(scaled_parts, row.size, (row, scale)) for row in rows),
    ]
