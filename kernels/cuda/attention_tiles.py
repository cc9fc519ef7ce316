"""What the attention kernels share: tiles of rows in shared memory, and what the lanes of a row do together.

A block holds a tile of its own rows (queries, or keys in the backward pass for these) and walks over the tiles of the
other side. `lanes` threads of one warp share a row: of the scores, each takes every lanes-th column; of a row of
numbers that is added up, runs of four neighbours, so that a warp reads shared memory without bank conflicts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tinygrad_ft.cuda.compile import cuda, device, float32, uint32

MINUS_INFINITY = float32(-np.inf)
NARROW = (np.float16, np.float32)  # what the kernels read and write; they count in float32
WIDEST = 128  # numbers of one head
MOST_BLOCKS = 65535  # along the second and third axis of a grid
WARP = 0xFFFFFFFF  # all lanes of one
STEP = 4  # numbers of a row that are loaded at once


class Tiles(NamedTuple):
    """How the work of a block is cut up.

    Args:
        width: room for the numbers of a head; what a head lacks is filled with zeros, and never multiplied.
        lanes: threads that share a row.
        rows: rows a thread has a part in, lying threads / lanes apart.
        columns: scores a lane computes in each of them, lying `lanes` apart.
        threads: of a block.
    """

    width: int
    lanes: int
    rows: int
    columns: int
    threads: int

    @property
    def own(self) -> int:
        """Rows of a block."""
        return self.threads // self.lanes * self.rows

    @property
    def others(self) -> int:
        """Rows of the other side that it looks at in one go."""
        return self.lanes * self.columns


class Parts(NamedTuple):
    """Device functions, compiled into the kernel that calls them."""

    fetch: Callable[..., Any]
    store: Callable[..., Any]
    clear: Callable[..., Any]
    products: Callable[..., Any]
    add_weighted: Callable[..., Any]
    keep: Callable[..., Any]
    row_sum: Callable[..., Any]
    row_max: Callable[..., Any]


def parts(tiles: Tiles) -> Parts:
    """The device functions for such tiles."""
    width, lanes, rows, columns, threads = tiles
    apart, run, numbers = threads // lanes, min(width // lanes, STEP), width // lanes

    @device
    def fetch(tile: Any, x: Any, first: Any, factor: Any) -> None:
        """tile = factor * the rows of x from `first` on, 0 beyond its end."""
        t = uint32(cuda.threadIdx.x)
        c = uint32(t % width)
        for turn in range(tile.shape[0] * width // threads):
            r = uint32(t // width + turn * (threads // width))
            i = uint32(first + r)
            value = float32(0.0)
            if i < x.shape[0] and c < x.shape[1]:
                value = float32(x[i, c]) * factor
            tile[r, c] = value

    @device
    def store(x: Any, first: Any, tile: Any) -> None:
        """The rows of x from `first` on = tile."""
        t = uint32(cuda.threadIdx.x)
        c = uint32(t % width)
        for turn in range(tile.shape[0] * width // threads):
            r = uint32(t // width + turn * (threads // width))
            i = uint32(first + r)
            if i < x.shape[0] and c < x.shape[1]:
                x[i, c] = tile[r, c]

    @device
    def clear(a: Any) -> None:
        """a = 0."""
        for r in range(a.shape[0]):
            for c in range(a.shape[1]):
                a[r, c] = float32(0.0)

    @device
    def products(s: Any, own: Any, other: Any, count: Any, row: Any, lane: Any) -> None:
        """s = own other^T for the rows and columns of this thread, over the first `count` numbers of both."""
        for r in range(rows):
            for c in range(columns):
                s[r, c] = float32(0.0)
        for x in range(uint32(0), uint32(count), uint32(STEP)):
            for r in range(rows):
                i = uint32(row + r * apart)
                for c in range(columns):
                    j = uint32(lane + c * lanes)
                    for z in range(STEP):
                        at = uint32(x + z)
                        s[r, c] += own[i, at] * other[j, at]

    @device
    def add_weighted(sums: Any, weights: Any, other: Any, lane: Any) -> None:
        """sums += weights other, of which each lane has its columns of the weights and its run of the sums' numbers."""
        leader = uint32(cuda.threadIdx.x & (32 - lanes))
        for owner in range(lanes):
            for c in range(columns):
                for r in range(rows):
                    weight = cuda.shfl_sync(WARP, weights[r, c], leader + owner)
                    for x in range(numbers):
                        at = uint32(lane * run + x // run * run * lanes + x % run)
                        sums[r, x] += weight * other[c * lanes + owner, at]

    @device
    def keep(tile: Any, sums: Any, r: Any, factor: Any, row: Any, lane: Any) -> None:
        """The r-th of this thread's rows of the tile = factor * sums."""
        i = uint32(row + r * apart)
        for x in range(numbers):
            at = uint32(lane * run + x // run * run * lanes + x % run)
            tile[i, at] = sums[r, x] * factor

    @device
    def row_sum(x: Any) -> Any:
        """The sum over the lanes of a row, in all of them."""
        distance = 1
        while distance < lanes:
            x += cuda.shfl_xor_sync(WARP, x, distance)
            distance *= 2
        return x

    @device
    def row_max(x: Any) -> Any:
        """The largest over the lanes of a row, in all of them."""
        distance = 1
        while distance < lanes:
            x = max(x, cuda.shfl_xor_sync(WARP, x, distance))
            distance *= 2
        return x

    return Parts(fetch, store, clear, products, add_weighted, keep, row_sum, row_max)


def heads_of(a: Any) -> Any:
    """a as (batch, heads, rows, numbers), where it lies."""
    return a[(None,) * (4 - a.ndim)]


def laid_out_as(xp: Any, a: Any, width: int) -> Any:
    """An empty array of the shape of a, its last length apart, whose axes lie in memory in the order of a's."""
    shape = (*a.shape[:-1], width)
    order = sorted(range(a.ndim - 1), key=lambda i: -a.strides[i])
    back = [order.index(i) for i in range(a.ndim - 1)]
    return xp.empty([*(shape[i] for i in order), width], dtype=a.dtype).transpose(*back, a.ndim - 1)


def are_heads(q: Any, k: Any, v: Any) -> bool:
    """Whether the kernels take these: one dtype that they know, one batch, no head too wide, nothing empty."""
    return (
        2 <= q.ndim <= 4
        and q.ndim == k.ndim == v.ndim
        and q.dtype in NARROW
        and q.dtype == k.dtype == v.dtype
        and q.shape[:-2] == k.shape[:-2] == v.shape[:-2]
        and q.shape[-1] == k.shape[-1]
        and k.shape[-2] == v.shape[-2]
        and max(q.shape[-1], v.shape[-1]) <= WIDEST
        and max(q.shape[:-2], default=1) <= MOST_BLOCKS
        and min(q.size, k.size, v.size) > 0
    )


def grid(tiles: Tiles, x: Any) -> tuple[int, int, int]:
    """A block for each tile of rows of each head of x (batch, heads, rows, numbers)."""
    return -(-x.shape[2] // tiles.own), x.shape[1], x.shape[0]
