"""What layer norm and RMS norm share on a GPU: which arrays they take, and the gradients of what scales each row alike.

Such a gradient is a sum over rows, column by column. Blocks take 32 columns of a chunk of rows each; the chunks' sums
are added in a second pass: no atomics, so the same numbers give the same answer each time.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ft.cuda.compile import cuda, float32, kernel, uint32
from tinygrad_ft.cuda.launch import launch
from tinygrad_ft.kernels.cuda.reduce import reduced
from tinygrad_ft.kernels.cuda.rows import WARP, are_rows

LANES = 8  # rows that a block takes side by side
CHUNKS, FEWEST = 64, 64  # at most so many chunks of at least so many rows
ZERO = np.float32(0.0)


@kernel(
    version="columns",
    moves="reads g and x once, writes 8 bytes a column and chunk of rows",
    why="neighbours in a row are neighbours in a warp; rows are added eight at a time, chunks beside each other",
)
def weight_grad_columns(g: Any, x: Any, mean: Any, r: Any, gw: Any, gb: Any, n: Any, chunk: Any, centred: Any) -> None:
    """For columns of chunks of rows: gw = sum(g z) and, if `centred`, gb = sum(g), with z = (x - mean) r or x r."""
    of_w = cuda.shared.array((LANES, WARP), float32)
    of_b = cuda.shared.array((LANES, WARP), float32)
    tx, ty = cuda.threadIdx.x, cuda.threadIdx.y
    column, rows = uint32(cuda.blockIdx.x * WARP + tx), uint32(r.size)
    row = uint32(cuda.blockIdx.y * chunk + ty)
    end = min(rows, uint32(cuda.blockIdx.y * chunk + chunk))
    w, b = ZERO, ZERO
    if column < n:
        while row < end:
            v, h = x[uint32(row * n + column)], g[uint32(row * n + column)]
            if centred:
                v -= mean[row]
            w += h * (v * r[row])
            b += h
            row = uint32(row + LANES)
    of_w[ty, tx] = w
    of_b[ty, tx] = b
    cuda.syncthreads()
    if ty == 0 and column < n:
        for k in range(1, LANES):
            w += of_w[k, tx]
            b += of_b[k, tx]
        place = uint32(cuda.blockIdx.y * n + column)
        gw[place] = w
        if centred:
            gb[place] = b


def weight_grads(xp: Any, g: Any, x: Any, mean: Any, r: Any, shape: tuple[int, ...]) -> tuple[Any, Any]:
    """(gw, gb) of rows in one row each, `mean` None for those that were not centred, which have no gb."""
    rows, n = r.size, x.size // r.size
    chunk = max(FEWEST, -(-rows // CHUNKS))
    chunks = -(-rows // chunk)
    gw = xp.empty(chunks * n, np.float32)
    gb = None if mean is None else xp.empty(chunks * n, np.float32)
    arrays = g, x, r if mean is None else mean, r, gw, gw if gb is None else gb
    sizes = np.uint32(n), np.uint32(chunk), mean is not None
    launch(weight_grad_columns, (-(-n // WARP), chunks), (WARP, LANES), *arrays, *sizes)
    gw, gb = (None if a is None else _added(xp, a, chunks).reshape(shape) for a in (gw, gb))
    return gw, gb


def _added(xp: Any, parts: Any, chunks: int) -> Any:
    """The sums of the chunks as one row."""
    return parts if chunks == 1 else reduced(xp, "sum", parts.reshape(chunks, -1), (0,), (parts.size // chunks,))


def fit(x: Any, axes: int, *, rows: Any = (), numbers: Any = (), longest: float = np.inf) -> bool:
    """Whether kernels take x row by row, a row being its last `axes` axes, of at most `longest` elements.

    Beside it lie `rows`, as long as one of its rows, of which any may be None, and `numbers`, one for each row.
    """
    rows = [a for a in rows if a is not None]
    if not (0 < axes <= getattr(x, "ndim", 0) and are_rows(x, *rows, *numbers)):
        return False
    lead, last = x.shape[: x.ndim - axes], x.shape[x.ndim - axes :]
    return (
        all(a.shape == last for a in rows)
        and all(a.shape == (*lead, *(1,) * axes) for a in numbers)
        and bool(np.prod(last, dtype=np.int64) <= longest)
    )


def numbers_of(xp: Any, x: Any, axes: int) -> Any:
    """Room for a number for each row of x."""
    return xp.empty((*x.shape[: x.ndim - axes], *(1,) * axes), x.dtype)


def row_or(a: Any, otherwise: Any) -> Any:
    """weight or bias as one row; if it is None, some other array that the kernel does not look at."""
    return (otherwise if a is None else a).reshape(-1)
