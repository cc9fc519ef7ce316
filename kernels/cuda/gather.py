"""Rows of a table taken by index, and added up again where they were taken from, on a GPU.

Replaces: ops.linalg.embedding and sum_rows. Neither looks at the ids on the host, which would wait for the GPU: as on
the CPU in a recorded step, an id that is out of range touches nothing of the table. What it would take is NaN, what it
would add is left out.
Applies: int32 or int64 ids into a contiguous float32 table; fewer than 2^31 numbers taken or added.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ft.cuda.compile import cuda, float32, kernel, uint32
from tinygrad_ft.cuda.launch import launch
from tinygrad_ft.kernels.cuda.grid import LARGEST, over
from tinygrad_ft.ops.linalg import embedding, sum_rows

WARPS = 8  # in a block, each with a row of its own
NAN = np.float32(np.nan)


@kernel(version="elements", moves="reads ids and the rows taken, writes y", why="lanes side by side in a row")
def take_rows(ids: Any, weight: Any, y: Any) -> None:
    """y[i] = weight[ids[i]], an element a thread."""
    i = uint32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
    step = uint32(cuda.blockDim.x * cuda.gridDim.x)
    n, rows, width = uint32(y.size), weight.shape[0], max(uint32(weight.shape[1]), uint32(1))
    while i < n:
        r = uint32(i // width)
        c = uint32(i - r * width)
        at = ids[r]
        v = NAN
        if 0 <= at < rows:
            v = weight[at, c]
        y[r, c] = v
        i = uint32(i + step)


@kernel(
    version="atomic",
    moves="reads g and ids, adds to a row of y for each row of g",
    why="all rows at once, in any order",
)
def add_rows_atomic(g: Any, ids: Any, y: Any) -> None:
    """y[ids[i]] += g[i], an element a thread; which of two rows comes first changes from run to run."""
    i = uint32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
    step = uint32(cuda.blockDim.x * cuda.gridDim.x)
    n, rows, width = uint32(g.size), y.shape[0], max(uint32(g.shape[1]), uint32(1))
    while i < n:
        r = uint32(i // width)
        c = uint32(i - r * width)
        at = ids[r]
        if 0 <= at < rows:
            cuda.atomic.add(y, (at, c), g[r, c])
        i = uint32(i + step)


@kernel(
    version="sorted",
    moves="reads g, the order and the sorted ids, writes each row of y that has a part once",
    why="no atomics: the same sums in the same order each time",
)
def add_rows_sorted(g: Any, order: Any, ids: Any, y: Any) -> None:
    """y[id] = the sum of g[order[k]] for all k with ids[k] = id, by the warps that meet the first of them.

    A block of (32, WARPS) threads has WARPS neighbours k and 32 columns.
    """
    k = uint32(cuda.blockIdx.x * cuda.blockDim.y + cuda.threadIdx.y)
    c = uint32(cuda.blockIdx.y * cuda.blockDim.x + cuda.threadIdx.x)
    n = uint32(ids.size)
    if k < n and c < uint32(g.shape[1]):
        at = ids[k]
        first = True
        if k > uint32(0):
            first = ids[uint32(k - uint32(1))] != at
        if first and 0 <= at < y.shape[0]:
            s = float32(0.0)
            same = True
            while same:
                s += g[order[k], c]
                k = uint32(k + uint32(1))
                same = False
                if k < n:
                    same = ids[k] == at
            y[at, c] = s


def _is_ids(ids: Any) -> bool:
    return hasattr(ids, "dtype") and ids.dtype in (np.int32, np.int64) and bool(ids.flags.c_contiguous)


def _takes(ids: Any, weight: Any) -> bool:
    usual = _is_ids(ids) and getattr(weight, "ndim", 0) == 2 and weight.dtype == np.float32
    return usual and bool(weight.flags.c_contiguous) and 0 < ids.size * weight.shape[1] < LARGEST


def _adds(g: Any, ids: Any, *, rows: int) -> bool:
    usual = _is_ids(ids) and bool(g.dtype == np.float32) and bool(g.shape[:-1] == ids.shape)
    return usual and 0 < g.size < LARGEST and 0 < rows * g.shape[-1] < LARGEST


@embedding.kernel("cuda", when=_takes)
def elements(xp: Any, ids: Any, weight: Any) -> Any:
    """An element a thread."""
    y = xp.empty((*ids.shape, weight.shape[1]), np.float32)
    over(y.size, take_rows, ids.reshape(-1), weight, y.reshape(ids.size, -1))
    return y


@sum_rows.kernel("cuda", when=_adds)
def atomic(xp: Any, g: Any, ids: Any, *, rows: int) -> Any:
    """All rows at once."""
    y = xp.zeros((rows, g.shape[-1]), np.float32)
    rows_of_g = xp.ascontiguousarray(g).reshape(ids.size, -1)
    over(g.size, add_rows_atomic, rows_of_g, ids.reshape(-1), y)
    return y


@sum_rows.kernel("cuda", when=_adds)
def in_order(xp: Any, g: Any, ids: Any, *, rows: int) -> Any:
    """Rows of one id together, after a sort that keeps their order."""
    y = xp.zeros((rows, g.shape[-1]), np.float32)
    row = ids.reshape(-1)
    order = xp.argsort(row, kind="stable")
    grid = -(-row.size // WARPS), -(-g.shape[-1] // 32)
    rows_of_g = xp.ascontiguousarray(g).reshape(row.size, -1)
    launch(add_rows_sorted, grid, (32, WARPS), rows_of_g, order, row[order], y)
    return y
