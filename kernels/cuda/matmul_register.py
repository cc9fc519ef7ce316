"""The register-blocked matrix product: each thread computes a small square of the result out of its registers.

A thread that multiplies 8 numbers of a by 8 of b makes 64 products of 16 loads, where one result a thread takes two
loads a product. While a block multiplies one pair of tiles, the next pair is on its way from memory into registers,
and shared memory holds two pairs, so that one barrier a pair is enough.
Source: Volkov and Demmel, "Benchmarking GPUs to Tune Dense Linear Algebra", 2008; Nath, Tomov and Dongarra, "An
Improved MAGMA GEMM for Fermi GPUs", 2010.
"""

from __future__ import annotations

from typing import Any

from tinygrad_ft.cuda.compile import Kernel, cuda, device, float32, int32, kernel, uint64
from tinygrad_ft.cuda.intrinsics import address, ld4, st4
from tinygrad_ft.kernels.cuda.matmul_tiled import place_in

THREADS = 256
STEP = 64  # rows or columns of a tile that 16 threads take side by side, four each
NEVER = int32(1 << 30)  # more than is ever left


@device
def from_how_many(x: Any, offset: Any, step: Any, stride: Any) -> Any:
    """How many must be left for one load of four: 4, or NEVER where fours do not lie at multiples of their size."""
    size = x.itemsize
    odd = (address(x) + offset * size) & (4 * size - 1) | (step ^ 1) | (stride & 3)
    return int32(4) if odd == 0 else NEVER


@device
def fetch(x: Any, at: Any, step: Any, left: Any, enough: Any) -> Any:
    """Four neighbours as float32, of which only so many are left; zeros for the rest."""
    v0, v1, v2, v3 = float32(0), float32(0), float32(0), float32(0)
    if left >= enough:
        w0, w1, w2, w3 = ld4(x, at)
        v0, v1, v2, v3 = float32(w0), float32(w1), float32(w2), float32(w3)
    else:
        if left > 0:
            v0 = float32(x[uint64(at)])
        if left > 1:
            v1 = float32(x[uint64(at + step)])
        if left > 2:
            v2 = float32(x[uint64(at + 2 * step)])
        if left > 3:
            v3 = float32(x[uint64(at + 3 * step)])
    return v0, v1, v2, v3


def register_blocked(edge: int, deep: int) -> Kernel:
    """The kernel for tiles of edge x edge results, each a sum taken `deep` terms at a time.

    A block loads edge * deep numbers of each operand at once, four a thread: edge * deep = 1024.
    """
    quads_of_edge = (edge // 4).bit_length() - 1  # powers of two, as shifts
    quads_of_depth = (deep // 4).bit_length() - 1
    row = edge + 4  # of a tile in shared memory: a multiple of four that spreads a column over the banks
    pair, halves, side = 2 * deep * row, edge // STEP, 4 * (edge // STEP)

    @device
    def aim(t: Any, edges: Any, depth: Any, by_edge: Any, by_depth: Any) -> Any:
        """Which four numbers of a tile thread t fetches: where in memory, where in the tile, and how many there are.

        They are neighbours in memory, so they lie along the depth where its stride is the smaller one.
        """
        if by_depth <= by_edge:
            e, k = t >> quads_of_depth, (t & ((1 << quads_of_depth) - 1)) << 2
            return e * by_edge + k * by_depth, k * row + e, int32(4 * (edges - e)), int32(depth - k)
        e, k = (t & ((1 << quads_of_edge) - 1)) << 2, t >> quads_of_edge
        return e * by_edge + k * by_depth, k * row + e, int32(edges - e), int32(4 * (depth - k))

    @device
    def put(tile: Any, at: Any, along_depth: Any, v0: Any, v1: Any, v2: Any, v3: Any) -> None:
        """Four neighbours into a tile, whose rows lie along the edge."""
        if along_depth:
            tile[uint64(at)], tile[uint64(at + row)] = v0, v1
            tile[uint64(at + 2 * row)], tile[uint64(at + 3 * row)] = v2, v3
        else:
            st4(tile, at, v0, v1, v2, v3)

    def body(
        a: Any, b: Any, bias: Any, c: Any, rows: Any, columns: Any, depth: Any, a_row: Any, a_depth: Any, b_column: Any,
        b_depth: Any, inner: Any, a_outer: Any, a_inner: Any, b_outer: Any, b_inner: Any, biased: Any,
    ) -> None:  # fmt: skip
        """A block of 256 threads for each tile of c, in a grid of columns, rows and products of the batch."""
        of_a = cuda.shared.array(pair, float32, alignment=16)
        of_b = cuda.shared.array(pair, float32, alignment=16)
        t, z = cuda.threadIdx.x, cuda.blockIdx.z
        top, left = cuda.blockIdx.y * edge, cuda.blockIdx.x * edge

        from_a = place_in(z, inner, a_outer, a_inner)
        along_a, step_a = a_depth <= a_row, min(a_row, a_depth)
        enough_a = from_how_many(a, from_a, step_a, max(a_row, a_depth))
        at_a, into_a, edges_a, left_a = aim(t, rows - top, depth, a_row, a_depth)
        at_a += from_a + top * a_row
        from_b = place_in(z, inner, b_outer, b_inner)
        along_b, step_b = b_depth <= b_column, min(b_column, b_depth)
        enough_b = from_how_many(b, from_b, step_b, max(b_column, b_depth))
        at_b, into_b, edges_b, left_b = aim(t, columns - left, depth, b_column, b_depth)
        at_b += from_b + left * b_column

        # A warp takes 4 x 8 quads, so that what its lanes read at once lies in different banks or in one word.
        lane, warp = t & 31, t >> 5
        y, x = ((warp >> 1) * 4 + (lane >> 3)) * 4, ((warp & 1) * 8 + (lane & 7)) * 4
        sums = cuda.local.array((side, side), float32)
        p = cuda.local.array(side, float32)
        q = cuda.local.array(side, float32)
        for h in range(halves):
            for j in range(4):
                column = left + x + STEP * h + j
                start = float32(0)
                if biased and column < columns:
                    start = float32(bias[uint64(column)])
                for i in range(side):
                    sums[i, 4 * h + j] = start

        v0, v1, v2, v3 = float32(0), float32(0), float32(0), float32(0)
        w0, w1, w2, w3 = float32(0), float32(0), float32(0), float32(0)
        to_come, here, buffer = int32(depth), int32(0), 0
        more = True
        while more:
            more = to_come > 0
            if more:
                v0, v1, v2, v3 = fetch(a, at_a, step_a, min(edges_a, left_a), enough_a)
                w0, w1, w2, w3 = fetch(b, at_b, step_b, min(edges_b, left_b), enough_b)
                at_a += deep * a_depth
                at_b += deep * b_depth
                left_a = int32(left_a - (deep if along_a else 4 * deep))
                left_b = int32(left_b - (deep if along_b else 4 * deep))
            k, k_a, k_b = here, buffer + y, buffer + x
            while k > 0:
                k = int32(k - 1)
                for h in range(halves):
                    m = 4 * h
                    p[m], p[m + 1], p[m + 2], p[m + 3] = ld4(of_a, k_a + STEP * h)
                    q[m], q[m + 1], q[m + 2], q[m + 3] = ld4(of_b, k_b + STEP * h)
                for i in range(side):
                    for j in range(side):
                        sums[i, j] += p[i] * q[j]
                k_a += row
                k_b += row
            if more:
                here = min(to_come, int32(deep))
                to_come = int32(to_come - here)
                buffer ^= deep * row
                put(of_a, into_a + buffer, along_a, v0, v1, v2, v3)
                put(of_b, into_b + buffer, along_b, w0, w1, w2, w3)
                cuda.syncthreads()

        fours = from_how_many(c, 0, 1, columns) == 4
        at = (z * rows + top + y) * columns + left + x
        for i in range(side):
            if top + y + STEP * (i // 4) + i % 4 < rows:
                for h in range(halves):
                    column, m = left + x + STEP * h, 4 * h
                    if fours:
                        if column < columns:
                            st4(c, at + STEP * h, sums[i, m], sums[i, m + 1], sums[i, m + 2], sums[i, m + 3])
                    else:
                        for j in range(4):
                            if column + j < columns:
                                c[uint64(at + STEP * h + j)] = sums[i, m + j]
            at += columns
            if i % 4 == 3:
                at += (STEP - 4) * columns

    body.__name__ = f"matmul_register_{edge}"
    return kernel(
        version="register",
        moves=f"reads a once for {edge} columns of c and b once for {edge} rows, writes c once",
        why=f"{side} x {side} results a thread, {side // 2} products a load; loads of 16 bytes; one barrier a tile",
        registers=128,
    )(body)


matmul_register_128 = register_blocked(128, 8)
matmul_register_64 = register_blocked(64, 16)
