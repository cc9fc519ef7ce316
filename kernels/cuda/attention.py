"""Attention on a GPU without its matrix of weights: a tile of scores at a time, and a softmax that corrects itself.

Replaces: ops.attention.flash_attention, to which scaled_dot_product_attention goes where there is no mask and no
dropout. Of n rows and m columns its weights are n m numbers, which never leave the multiprocessor; what is kept is one
number a row, their logarithm, from which the backward pass has them again (see attention_grad).
Where a causal row sees only finite numbers, it answers them even if what comes a tile later is not finite; the op makes
NaN of it, because its zeros multiply all columns.
Applies: float32 or float16 of 2 to 4 axes, in any layout, heads of up to 128 numbers. It counts in float32.
Source: Dao et al., "FlashAttention", 2022, algorithm 1; Milakov and Gimelshein, "Online normalizer calculation for
softmax", 2018.
"""

from __future__ import annotations

import math
from typing import Any

from tinygrad_ft.cuda.compile import Kernel, cuda, float32, kernel, uint32
from tinygrad_ft.cuda.launch import launch
from tinygrad_ft.kernels.cuda.attention_tiles import (
    MINUS_INFINITY,
    Tiles,
    are_heads,
    grid,
    heads_of,
    laid_out_as,
    parts,
)
from tinygrad_ft.ops.attention import flash_attention


def forward_of(tiles: Tiles, registers: int) -> Kernel:
    """The forward kernel with such tiles."""
    fetch, store, clear, products, add_weighted, keep, row_sum, row_max = parts(tiles)
    width, lanes, rows, columns, threads = tiles
    own, others, apart, numbers = tiles.own, tiles.others, threads // lanes, width // lanes
    row_of_products = width + 4  # so that neighbouring rows begin four banks apart

    def body(q: Any, k: Any, v: Any, y: Any, lse: Any, scale: Any, causal: Any) -> None:
        """A block of `threads` for each tile of rows of q, in a grid of tiles, heads and batch."""
        qs = cuda.shared.array((own, row_of_products), float32, alignment=16)
        ks = cuda.shared.array((others, row_of_products), float32, alignment=16)
        vs = cuda.shared.array((others, width), float32, alignment=16)
        sums = cuda.local.array((rows, numbers), float32)  # of e^(s - top) v
        total = cuda.local.array(rows, float32)  # of e^(s - top), over the columns of this lane
        top = cuda.local.array(rows, float32)  # the largest s of the row so far
        s = cuda.local.array((rows, columns), float32)
        t = uint32(cuda.threadIdx.x)
        lane, row = uint32(t % lanes), uint32(t // lanes)
        first = uint32(cuda.blockIdx.x * own)
        b, h = cuda.blockIdx.z, cuda.blockIdx.y
        q_h, k_h, v_h = q[b, h], k[b, h], v[b, h]
        n, m, d = uint32(q_h.shape[0]), uint32(k_h.shape[0]), q_h.shape[1]
        fetch(qs, q_h, first, scale)
        clear(sums)
        for r in range(rows):
            top[r], total[r] = MINUS_INFINITY, float32(0.0)

        end = min(m, uint32(first + own)) if causal else m
        for start in range(uint32(0), end, uint32(others)):
            cuda.syncthreads()
            fetch(ks, k_h, start, float32(1.0))
            fetch(vs, v_h, start, float32(1.0))
            cuda.syncthreads()
            products(s, qs, ks, d, row, lane)
            for r in range(rows):
                seen = min(m, uint32(first + row + r * apart + 1)) if causal else m
                best = top[r]
                for c in range(columns):
                    if uint32(start + lane + c * lanes) >= seen:
                        s[r, c] += MINUS_INFINITY  # as the op does: what is NaN stays so
                    best = max(best, s[r, c])
                best = row_max(best)
                shift = best if best > MINUS_INFINITY else float32(0.0)
                less = math.exp(top[r] - shift)
                top[r] = best
                total[r] *= less
                for c in range(columns):
                    s[r, c] = math.exp(s[r, c] - shift)
                    total[r] += s[r, c]
                for x in range(numbers):
                    sums[r, x] *= less
            add_weighted(sums, s, vs, lane)

        cuda.syncthreads()
        for r in range(rows):
            of_row = row_sum(total[r])
            nowhere = of_row == float32(0.0)
            keep(qs, sums, r, float32(0.0) if nowhere else float32(1.0) / of_row, row, lane)
            i = uint32(first + row + r * apart)
            if lane == 0 and i < n:
                of_lane = -MINUS_INFINITY if nowhere else top[r] + math.log(of_row)
                lse[b, h, i, 0] = of_lane
        cuda.syncthreads()
        store(y[b, h], first, qs)

    body.__name__ = f"flash_{width}"
    return kernel(
        version="flash",
        moves=f"reads q once, k and v once for {own} rows of q; writes y once and one number a row",
        why=f"no matrix of weights in memory; {lanes} lanes share a row, so that all loads are coalesced",
        registers=registers,
        any_layout=("q", "k", "v", "y"),
    )(body)


BY_WIDTH = {
    tiles.width: (tiles, forward_of(tiles, registers))
    for tiles, registers in (
        (Tiles(width=32, lanes=8, rows=2, columns=4, threads=128), 64),
        (Tiles(width=64, lanes=8, rows=2, columns=4, threads=256), 64),
        (Tiles(width=128, lanes=16, rows=2, columns=1, threads=256), 64),
    )
}


def _applies(q: Any, k: Any, v: Any, *, causal: bool, scale: float) -> bool:
    return are_heads(q, k, v)


@flash_attention.kernel("cuda", when=_applies)
def flash(xp: Any, q: Any, k: Any, v: Any, *, causal: bool, scale: float) -> tuple[Any, Any]:
    """One launch; y lies in memory as q does, so that joining its heads again copies nothing."""
    y, lse = laid_out_as(xp, q, v.shape[-1]), xp.empty((*q.shape[:-1], 1), dtype=xp.float32)
    tiles, of_width = next(BY_WIDTH[w] for w in BY_WIDTH if w >= max(q.shape[-1], v.shape[-1]))
    q, k, v, four, one = map(heads_of, (q, k, v, y, lse))
    launch(of_width, grid(tiles, q), tiles.threads, q, k, v, four, one, float(scale), bool(causal))
    return y, lse
