"""Dropout on a GPU, forward and backward, by random numbers that follow from a seed and an element's place.

Replaces: ops.random.counted_dropout. Moves 8 bytes an element (reads x, writes y): no mask is kept, since the backward
pass draws the same numbers again. One counter gives the words of four elements, which lie 32 apart, so that the lanes
of a warp read neighbours; which number an element gets does not depend on the grid.
Applies: contiguous float32 of fewer than 2^31 elements.
Source: Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", 2011, section 3.3, Philox4x32-10.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ft.cuda.compile import cuda, device, float32, kernel, uint32, uint64
from tinygrad_ft.kernels.cuda.grid import over, plain
from tinygrad_ft.ops.random import MULTIPLIERS, ROUNDS, STEPS, WORD, counted_dropout, kept_scale, threshold

FIRST, SECOND = (np.uint64(m) for m in MULTIPLIERS)
STEP0, STEP1 = (np.uint32(step) for step in STEPS)
HALF = np.uint64(32)


@device
def philox(counter: Any, low: Any, high: Any) -> Any:
    """Four words of 32 bits for a counter below 2^32 and a key of two words."""
    a, b, c, d = uint32(counter), uint32(0), uint32(0), uint32(0)
    for _ in range(ROUNDS):
        first, second = uint64(a) * FIRST, uint64(c) * SECOND
        a, b = uint32(uint32(second >> HALF) ^ b ^ low), uint32(second)
        c, d = uint32(uint32(first >> HALF) ^ d ^ high), uint32(first)
        low, high = uint32(low + STEP0), uint32(high + STEP1)
    return a, b, c, d


@device
def drop(x: Any, y: Any, i: Any, word: Any, least: Any, scale: Any) -> None:
    """One element."""
    if i < uint32(x.size):
        y[i] = x[i] * scale if word >= least else float32(0.0)


@kernel(version="counted", moves="reads x, writes y: 8 bytes an element", why="no mask in memory")
def dropout_counted(x: Any, y: Any, low: Any, high: Any, least: Any, scale: Any) -> None:
    """y = scale x where an element's word is not below `least`, else 0; a counter a thread."""
    t = uint32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
    step = uint32(cuda.blockDim.x * cuda.gridDim.x)
    counters = uint32((uint32(x.size) + uint32(127)) // uint32(128) * uint32(32))
    while t < counters:
        i = uint32(t // uint32(32) * uint32(128) + t % uint32(32))
        a, b, c, d = philox(t, low, high)
        drop(x, y, i, a, least, scale)
        drop(x, y, uint32(i + uint32(32)), b, least, scale)
        drop(x, y, uint32(i + uint32(64)), c, least, scale)
        drop(x, y, uint32(i + uint32(96)), d, least, scale)
        t = uint32(t + step)


@counted_dropout.kernel("cuda", when=lambda x, seed, *, p: plain(x) and isinstance(seed, int))
def counted(xp: Any, x: Any, seed: Any, *, p: float) -> Any:
    """A counter a thread."""
    y = xp.empty_like(x)
    numbers = np.uint32(seed & WORD), np.uint32(seed >> 32), np.uint32(threshold(p)), np.float32(kept_scale(p))
    over(-(-x.size // 128) * 32, dropout_counted, x.reshape(-1), y.reshape(-1), *numbers)
    return y
