"""What kernels of rows share: which threads take a row, how they load it, how they bring together what each found.

A row is taken by blockDim.x threads: a warp, in a block of several rows, or a whole block. A thread loads four numbers
a turn: neighbours, in one load of 16 bytes, if rows begin at multiples of four; or else numbers as far apart as there
are threads. Either way what a warp asks for at once lies side by side.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ft.cuda.compile import cuda, device, float32, int32, uint32
from tinygrad_ft.cuda.intrinsics import ld4, st4
from tinygrad_ft.cuda.launch import launch
from tinygrad_ft.kernels.cuda.grid import LARGEST

WARP = 32
THREADS = 256  # of a block, at most
BUSY = 1 << 16  # threads with which a card has enough to do
FEW = 32  # numbers of a row that a thread takes before more threads share them, and each brings less to the meeting
ALL = 0xFFFFFFFF  # lanes of a warp
LOWEST = np.finfo(np.float32).min  # where a maximum starts: -inf would do, but -inf less -inf is NaN


@device
def warp_sum(v: Any) -> Any:
    """The sum over a warp, in each of its lanes."""
    away = 16
    while away > 0:
        v += cuda.shfl_xor_sync(ALL, v, away)
        away >>= 1
    return v


@device
def warp_max(v: Any) -> Any:
    """The largest of a warp, in each of its lanes; what is NaN does not count."""
    away = 16
    while away > 0:
        v = max(v, cuda.shfl_xor_sync(ALL, v, away))
        away >>= 1
    return v


@device
def row_sum(v: Any) -> Any:
    """The sum over the threads of a row, in each of them: by shuffles, then over the warps by way of shared memory.

    Each call has shared memory of its own, since its body takes the place of the call; it must not stand in a loop.
    """
    v = warp_sum(v)
    if cuda.blockDim.x > WARP:
        of_warps = cuda.shared.array(WARP, float32)
        lane = cuda.threadIdx.x & 31
        if lane == 0:
            of_warps[cuda.threadIdx.x >> 5] = v
        cuda.syncthreads()
        v = float32(0.0)
        if lane < cuda.blockDim.x >> 5:
            v = of_warps[lane]
        v = warp_sum(v)
    return v


@device
def row_max(v: Any) -> Any:
    """The largest of the threads of a row, likewise."""
    v = warp_max(v)
    if cuda.blockDim.x > WARP:
        of_warps = cuda.shared.array(WARP, float32)
        lane = cuda.threadIdx.x & 31
        if lane == 0:
            of_warps[cuda.threadIdx.x >> 5] = v
        cuda.syncthreads()
        v = float32(LOWEST)
        if lane < cuda.blockDim.x >> 5:
            v = of_warps[lane]
        v = warp_max(v)
    return v


@device
def tree_sum(v: Any) -> Any:
    """The sum over a block of THREADS, in each thread, by halves in shared memory: nine barriers; row_sum has one."""
    found = cuda.shared.array(THREADS, float32)
    t = cuda.threadIdx.x
    found[t] = v
    cuda.syncthreads()
    away = THREADS >> 1
    while away > 0:
        if t < away:
            found[t] += found[t + away]
        cuda.syncthreads()
        away >>= 1
    return found[0]


@device
def tree_max(v: Any) -> Any:
    """The largest of a block of THREADS, likewise."""
    found = cuda.shared.array(THREADS, float32)
    t = cuda.threadIdx.x
    found[t] = v
    cuda.syncthreads()
    away = THREADS >> 1
    while away > 0:
        if t < away:
            found[t] = max(found[t], found[t + away])
        cuda.syncthreads()
        away >>= 1
    return found[0]


@device
def row_here() -> Any:
    """The row that this thread has a part in."""
    return uint32(cuda.blockIdx.x * cuda.blockDim.y + cuda.threadIdx.y)


@device
def apart(n: Any, places: Any) -> Any:
    """How far apart the four numbers of a turn lie: 1, or as many as are threads; `places` are addresses, or-ed."""
    return int32(1) if (places | n << 2) & 15 == 0 else cuda.blockDim.x


@device
def first(step: Any) -> Any:
    """The first number of a row that this thread takes."""
    return int32(cuda.threadIdx.x << 2 if step == 1 else cuda.threadIdx.x)


@device
def take(x: Any, i: Any, left: Any, step: Any, otherwise: Any) -> Any:
    """x[i], x[i + step] ... as four float32; those that lie `left` or further from i are `otherwise`."""
    a, b, c, d = otherwise, otherwise, otherwise, otherwise
    if left > 0:
        if step == 1:
            p, q, r, s = ld4(x, i)
            a, b, c, d = float32(p), float32(q), float32(r), float32(s)
        else:
            a = float32(x[i])
            if left > step:
                b = float32(x[uint32(i + step)])
            if left > 2 * step:
                c = float32(x[uint32(i + 2 * step)])
            if left > 3 * step:
                d = float32(x[uint32(i + 3 * step)])
    return a, b, c, d


@device
def put(y: Any, i: Any, left: Any, step: Any, a: Any, b: Any, c: Any, d: Any) -> None:
    """y[i], y[i + step] ... = a, b, c, d, but for those that lie `left` or further from i."""
    if left > 0:
        if step == 1:
            st4(y, i, a, b, c, d)
        else:
            y[i] = a
            if left > step:
                y[uint32(i + step)] = b
            if left > 2 * step:
                y[uint32(i + 2 * step)] = c
            if left > 3 * step:
                y[uint32(i + 3 * step)] = d


def by_rows(kernel: Any, rows: int, n: int, *arguments: Any, at_most: int | None = None) -> None:
    """Launch a kernel for rows of n: a warp a row if they are short and many, a block a row if long or few.

    `at_most` is how many numbers of a row a thread can take at all.
    """
    threads, most = WARP, at_most or FEW
    while threads < THREADS and threads * 4 < n and (threads * most < n or threads * rows < BUSY):
        threads *= 2
    block = (WARP, THREADS // WARP) if threads == WARP else (threads, 1)
    launch(kernel, -(-rows // block[1]), block, *arguments)


def by_blocks(kernel: Any, rows: int, *arguments: Any) -> None:
    """Launch a kernel that takes a block of THREADS a row."""
    launch(kernel, rows, THREADS, *arguments)


def are_rows(*arrays: Any) -> bool:
    """Whether they are contiguous arrays of one device, of float32 all or of float16, neither empty nor too large."""
    x = arrays[0]
    return (
        0 < getattr(x, "size", 0) < LARGEST
        and all(type(a) is type(x) and a.dtype == x.dtype and a.flags.c_contiguous for a in arrays)
        and x.dtype in (np.float32, np.float16)
    )


def rows_along(axis: Any, *arrays: Any) -> bool:
    """Whether they are rows along that axis, all of one shape."""
    x = arrays[0]
    return are_rows(*arrays) and x.ndim > 0 and axis in (-1, x.ndim - 1) and all(a.shape == x.shape for a in arrays)
