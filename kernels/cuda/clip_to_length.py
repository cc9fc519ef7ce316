"""Gradients scaled down together on a GPU, without telling the host how long they are.

Replaces: ops.update.clip_to_length, norm 2, whose own forward waits for a number of each array. Reads each array once,
in parts of one warp; reads and writes it once more if the scale is below 1. No atomics: the same length each time.
Applies: contiguous float32 of fewer than 2^31 elements; a largest length that is a number of the host's.
"""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np

from tinygrad_ft.cuda.compile import cuda, float32, kernel, uint32
from tinygrad_ft.cuda.launch import launch
from tinygrad_ft.device import at_hand
from tinygrad_ft.kernels.cuda.grid import THREADS, over, plain
from tinygrad_ft.ops.update import clip_to_length

WARPS = THREADS // 32
PART = 2048  # elements of which a warp adds up the squares, 64 a lane


@kernel(version="parts", moves="reads g once, writes 4 bytes a part", why="a warp a part, met by shuffles")
def squares_of_parts(g: Any, sums: Any, start: Any) -> None:
    """sums[start + k] = the sum of squares of part k of g."""
    lane = uint32(cuda.threadIdx.x)
    k = uint32(cuda.blockIdx.x * cuda.blockDim.y + cuda.threadIdx.y)
    n = uint32(g.size)
    first = uint32(k * uint32(PART))
    if first < n:
        i = uint32(first + lane)
        last = min(uint32(first + uint32(PART)), n)
        s = float32(0.0)
        while i < last:
            s += g[i] * g[i]
            i = uint32(i + uint32(32))
        for away in (16, 8, 4, 2, 1):
            s += cuda.shfl_xor_sync(0xFFFFFFFF, s, away)
        if lane == uint32(0):
            sums[uint32(start + k)] = s


@kernel(version="parts", moves="reads the parts, writes two numbers", why="one block")
def length_and_scale(sums: Any, most: Any, length: Any, scale: Any) -> None:
    """length[0] = sqrt(the sum of sums) and scale[0] = most / (length + 1e-6), by one block of THREADS threads."""
    shared = cuda.shared.array(WARPS, float32)
    t = uint32(cuda.threadIdx.x)
    i, n = t, uint32(sums.size)
    s = float32(0.0)
    while i < n:
        s += sums[i]
        i = uint32(i + uint32(THREADS))
    for away in (16, 8, 4, 2, 1):
        s += cuda.shfl_xor_sync(0xFFFFFFFF, s, away)
    if t % uint32(32) == uint32(0):
        shared[t // uint32(32)] = s
    cuda.syncthreads()
    if t == uint32(0):
        for k in range(1, WARPS):
            s += shared[k]
        s = sqrt(s)
        length[0] = s
        scale[0] = most / (s + float32(1e-6))


@kernel(version="parts", moves="reads and writes g once, or only a number", why="decides on the GPU")
def scale_down(g: Any, scale: Any) -> None:
    """g *= scale[0], unless that is 1 or more."""
    s = scale[0]
    if not s >= float32(1.0):  # NaN goes on into g
        i = uint32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
        step = uint32(cuda.blockDim.x * cuda.gridDim.x)
        n = uint32(g.size)
        while i < n:
            g[i] *= s
            i = uint32(i + step)


def _applies(most: Any, *gs: Any, norm_type: float) -> bool:
    return norm_type == 2.0 and at_hand(most) and any(g.size for g in gs) and all(plain(g) for g in gs if g.size)


@clip_to_length.kernel("cuda", when=_applies)
def on_the_gpu(xp: Any, most: Any, *gs: Any, norm_type: float) -> Any:
    """Squares of all arrays, the length, then the products."""
    rows = [g.reshape(-1) for g in gs if g.size]
    starts = np.cumsum([0] + [-(-row.size // PART) for row in rows]).tolist()
    sums, length, scale = (xp.empty(n, np.float32) for n in (starts[-1], 1, 1))
    for row, start, end in zip(rows, starts, starts[1:], strict=False):
        launch(squares_of_parts, -(-(end - start) // WARPS), (32, WARPS), row, sums, np.uint32(start))
    launch(length_and_scale, 1, THREADS, sums, np.float32(float(most)), length, scale)
    for row in rows:
        over(row.size, scale_down, row, scale)
    return length.reshape(())
