"""Matrix products with one result a thread: naive, and with tiles in shared memory.

An operand is the memory that it covers, as one row, and two strides: of its edge (the rows of a, the columns of b) and
of the depth, along which products are added. So a transposed or broadcast operand is read where it lies.
"""

from __future__ import annotations

from typing import Any

from tinygrad_ft.cuda.compile import cuda, device, float32, int32, kernel, uint32, uint64

EDGE = 16  # of a tile: its 256 results are those of a block
ROW = EDGE + 1  # in shared memory, so that a column lies in 16 banks


@device
def place_in(z: Any, inner: Any, outer_stride: Any, inner_stride: Any) -> Any:
    """Where matrix z of a batch begins: the batch has two axes, the second `inner` long."""
    i = int32(uint32(z) // uint32(inner))  # of 32 bits without sign, one instruction
    return i * outer_stride + (z - i * inner) * inner_stride


@kernel(
    version="naive",
    moves="reads a row of a and a column of b for each number of c: 8 bytes a product",
    why="the definition: a thread a number, neighbours in a row of c",
)
def matmul_naive(
    a: Any, b: Any, bias: Any, c: Any, rows: Any, columns: Any, depth: Any, a_row: Any, a_depth: Any, b_column: Any,
    b_depth: Any, inner: Any, a_outer: Any, a_inner: Any, b_outer: Any, b_inner: Any, biased: Any,
) -> None:  # fmt: skip
    """A block of (32, 8) threads for 8 rows and 32 columns of c."""
    z = cuda.blockIdx.z
    i = cuda.blockIdx.y * cuda.blockDim.y + cuda.threadIdx.y
    j = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    if i < rows and j < columns:
        at_a = place_in(z, inner, a_outer, a_inner) + i * a_row
        at_b = place_in(z, inner, b_outer, b_inner) + j * b_column
        s = float32(0)
        if biased:
            s = float32(bias[uint64(j)])
        k = depth
        while k > 0:
            s += float32(a[uint64(at_a)]) * float32(b[uint64(at_b)])
            at_a += a_depth
            at_b += b_depth
            k = int32(k - 1)
        c[uint64((z * rows + i) * columns + j)] = s


@kernel(
    version="tiled",
    moves="reads a once for 16 columns of c and b once for 16 rows: half a byte a product",
    why="a block shares what it reads: a tile of each operand waits in shared memory for all its threads",
)
def matmul_tiled(
    a: Any, b: Any, bias: Any, c: Any, rows: Any, columns: Any, depth: Any, a_row: Any, a_depth: Any, b_column: Any,
    b_depth: Any, inner: Any, a_outer: Any, a_inner: Any, b_outer: Any, b_inner: Any, biased: Any,
) -> None:  # fmt: skip
    """A block of 256 threads for each tile of c, in a grid of columns, rows and products of the batch."""
    of_a = cuda.shared.array((EDGE, ROW), float32)
    of_b = cuda.shared.array((EDGE, ROW), float32)
    z, t = cuda.blockIdx.z, cuda.threadIdx.x
    x, y = t & (EDGE - 1), t >> 4
    i, j = cuda.blockIdx.y * EDGE + y, cuda.blockIdx.x * EDGE + x

    # Neighbouring threads fetch neighbours in memory, which lie along the depth where its stride is the smaller one.
    # Indices are made unsigned last of all: Numba takes a signed one to count from the end where it is negative.
    edge_a, k_a = (y, x) if a_depth <= a_row else (x, y)
    edge_b, k_b = (y, x) if b_depth <= b_column else (x, y)
    row, column = cuda.blockIdx.y * EDGE + edge_a, cuda.blockIdx.x * EDGE + edge_b
    at_a = place_in(z, inner, a_outer, a_inner) + row * a_row + k_a * a_depth
    at_b = place_in(z, inner, b_outer, b_inner) + column * b_column + k_b * b_depth
    left_a, left_b = depth - k_a if row < rows else 0, depth - k_b if column < columns else 0

    s = float32(0)
    if biased and j < columns:
        s = float32(bias[uint64(j)])
    to_come = depth
    while to_come > 0:
        v, w = float32(0), float32(0)
        if left_a > 0:
            v = float32(a[uint64(at_a)])
        if left_b > 0:
            w = float32(b[uint64(at_b)])
        of_a[uint64(k_a), uint64(edge_a)] = v
        of_b[uint64(k_b), uint64(edge_b)] = w
        at_a += EDGE * a_depth
        at_b += EDGE * b_depth
        left_a -= EDGE
        left_b -= EDGE
        to_come = int32(to_come - EDGE)
        cuda.syncthreads()
        for k in range(EDGE):
            s += of_a[k, y] * of_b[k, x]
        cuda.syncthreads()
    if i < rows and j < columns:
        c[uint64((z * rows + i) * columns + j)] = s
