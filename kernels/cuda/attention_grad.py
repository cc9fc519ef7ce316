"""How attention passes a cotangent on, on a GPU: the weights are computed anew, a tile at a time, and never stored.

Replaces: ops.attention.flash_attention_grad, where lse has no cotangent of its own, which only second derivatives give
it. Two kernels, each of which writes its numbers once, in one order, so that every run answers the same: the first has
the rows of q for itself and gives gq, the second has the rows of k and v and gives gk and gv.
Applies: as the forward kernel.
Source: Dao et al., "FlashAttention", 2022, algorithm 4, without its atomic additions.
"""

from __future__ import annotations

import math
from typing import Any

from tinygrad_ft.cuda.compile import Kernel, cuda, float32, kernel, uint32
from tinygrad_ft.cuda.launch import launch
from tinygrad_ft.kernels.cuda.attention_tiles import Tiles, are_heads, grid, heads_of, laid_out_as, parts
from tinygrad_ft.ops.attention import flash_attention_grad


def backward_to_q(tiles: Tiles, registers: int | None) -> Kernel:
    """The kernel that gives gq, and for each row the mean of its gp, which the other one needs."""
    fetch, store, clear, products, add_weighted, keep, row_sum, _ = parts(tiles)
    width, lanes, rows, columns, threads = tiles
    own, others, apart, numbers = tiles.own, tiles.others, threads // lanes, width // lanes
    row_of_products = width + 4  # so that neighbouring rows begin four banks apart

    def body(
        g: Any, q: Any, k: Any, v: Any, y: Any, lse: Any, mean: Any, gq: Any, scale: Any, causal: Any
    ) -> None:  # fmt: skip
        """A block of `threads` for each tile of rows of q, in a grid of tiles, heads and batch."""
        qs = cuda.shared.array((own, row_of_products), float32, alignment=16)
        gs = cuda.shared.array((own, row_of_products), float32, alignment=16)
        ks = cuda.shared.array((others, row_of_products), float32, alignment=16)
        vs = cuda.shared.array((others, row_of_products), float32, alignment=16)
        sums = cuda.local.array((rows, numbers), float32)
        s = cuda.local.array((rows, columns), float32)
        gp = cuda.local.array((rows, columns), float32)
        lse_of = cuda.local.array(rows, float32)
        mean_of = cuda.local.array(rows, float32)
        t = uint32(cuda.threadIdx.x)
        lane, row = uint32(t % lanes), uint32(t // lanes)
        first = uint32(cuda.blockIdx.x * own)
        b, h = cuda.blockIdx.z, cuda.blockIdx.y
        q_h, k_h, v_h, g_h, y_h = q[b, h], k[b, h], v[b, h], g[b, h], y[b, h]
        n, m, d, e = uint32(q_h.shape[0]), uint32(k_h.shape[0]), q_h.shape[1], v_h.shape[1]
        fetch(qs, q_h, first, scale)
        fetch(gs, g_h, first, float32(1.0))
        clear(sums)
        cuda.syncthreads()
        for r in range(rows):
            i = uint32(first + row + r * apart)
            lse_of[r] = lse[b, h, i, 0] if i < n else float32(0.0)
            part = float32(0.0)
            for x in range(numbers):
                c = uint32(lane + x * lanes)
                if i < n and c < e:
                    part += gs[uint32(row + r * apart), c] * float32(y_h[i, c])
            mean_of[r] = row_sum(part)
            if lane == 0 and i < n:
                mean[b, h, i, 0] = mean_of[r]

        end = min(m, uint32(first + own)) if causal else m
        for start in range(uint32(0), end, uint32(others)):
            cuda.syncthreads()
            fetch(ks, k_h, start, float32(1.0))
            fetch(vs, v_h, start, float32(1.0))
            cuda.syncthreads()
            products(s, qs, ks, d, row, lane)
            products(gp, gs, vs, e, row, lane)
            for r in range(rows):
                seen = min(m, uint32(first + row + r * apart + 1)) if causal else m
                for c in range(columns):
                    passed = math.exp(s[r, c] - lse_of[r]) * (gp[r, c] - mean_of[r])
                    s[r, c] = passed if uint32(start + lane + c * lanes) < seen else float32(0.0)
            add_weighted(sums, s, ks, lane)

        cuda.syncthreads()
        for r in range(rows):
            keep(qs, sums, r, scale, row, lane)
        cuda.syncthreads()
        store(gq[b, h], first, qs)

    body.__name__ = f"flash_grad_q_{width}"
    return kernel(
        version="flash",
        moves=f"reads q, g and y once, k and v once for {own} rows of q; writes gq once and one number a row",
        why="weights from lse, no matrix of them in memory; no atomic additions",
        registers=registers,
        any_layout=("g", "q", "k", "v", "y", "gq"),
    )(body)


def backward_to_k_and_v(tiles: Tiles, registers: int | None) -> Kernel:
    """The kernel that gives gk and gv."""
    fetch, store, clear, products, add_weighted, keep, _, _ = parts(tiles)
    width, lanes, rows, columns, threads = tiles
    own, others, apart, numbers = tiles.own, tiles.others, threads // lanes, width // lanes
    row_of_products = width + 4  # so that neighbouring rows begin four banks apart

    def body(
        g: Any, q: Any, k: Any, v: Any, lse: Any, mean: Any, gk: Any, gv: Any, scale: Any, causal: Any
    ) -> None:  # fmt: skip
        """A block of `threads` for each tile of rows of k and v, in a grid of tiles, heads and batch."""
        ks = cuda.shared.array((own, row_of_products), float32, alignment=16)
        vs = cuda.shared.array((own, row_of_products), float32, alignment=16)
        qs = cuda.shared.array((others, row_of_products), float32, alignment=16)
        gs = cuda.shared.array((others, row_of_products), float32, alignment=16)
        lse_of = cuda.shared.array(others, float32)
        mean_of = cuda.shared.array(others, float32)
        sums_k = cuda.local.array((rows, numbers), float32)
        sums_v = cuda.local.array((rows, numbers), float32)
        p = cuda.local.array((rows, columns), float32)
        gp = cuda.local.array((rows, columns), float32)
        t = uint32(cuda.threadIdx.x)
        lane, row = uint32(t % lanes), uint32(t // lanes)
        first = uint32(cuda.blockIdx.x * own)
        b, h = cuda.blockIdx.z, cuda.blockIdx.y
        q_h, k_h, v_h, g_h = q[b, h], k[b, h], v[b, h], g[b, h]
        n, d, e = uint32(q_h.shape[0]), q_h.shape[1], v_h.shape[1]
        fetch(ks, k_h, first, float32(1.0))
        fetch(vs, v_h, first, float32(1.0))
        clear(sums_k)
        clear(sums_v)

        begin = uint32(first // others * others) if causal else uint32(0)  # earlier rows of q see none of these of k
        for start in range(begin, n, uint32(others)):
            cuda.syncthreads()
            fetch(qs, q_h, start, scale)
            fetch(gs, g_h, start, float32(1.0))
            if t < others:  # rows beyond the last are zeros in qs and gs, so that they add nothing
                i = uint32(start + t)
                lse_of[t] = lse[b, h, i, 0] if i < n else float32(0.0)
                mean_of[t] = mean[b, h, i, 0] if i < n else float32(0.0)
            cuda.syncthreads()
            products(p, ks, qs, d, row, lane)
            products(gp, vs, gs, e, row, lane)
            for r in range(rows):
                j = uint32(first + row + r * apart)
                for c in range(columns):
                    of_lane = uint32(lane + c * lanes)
                    weight = math.exp(p[r, c] - lse_of[of_lane])
                    if causal and j > uint32(start + of_lane):
                        weight = float32(0.0)
                    p[r, c] = weight
                    gp[r, c] = weight * (gp[r, c] - mean_of[of_lane])
            add_weighted(sums_v, p, gs, lane)
            add_weighted(sums_k, gp, qs, lane)

        cuda.syncthreads()
        for r in range(rows):
            keep(ks, sums_k, r, float32(1.0), row, lane)
            keep(vs, sums_v, r, float32(1.0), row, lane)
        cuda.syncthreads()
        store(gk[b, h], first, ks)
        store(gv[b, h], first, vs)

    body.__name__ = f"flash_grad_kv_{width}"
    return kernel(
        version="flash",
        moves=f"reads k and v once, q and g once for {own} rows of k; writes gk and gv once",
        why="weights from lse, no matrix of them in memory; no atomic additions",
        registers=registers,
        any_layout=("g", "q", "k", "v", "gk", "gv"),
    )(body)


BY_WIDTH = {
    tiles.width: (tiles, backward_to_q(tiles, of_q), backward_to_k_and_v(tiles, of_k))
    for tiles, of_q, of_k in (
        (Tiles(width=32, lanes=8, rows=2, columns=4, threads=128), 64, 64),
        (Tiles(width=64, lanes=8, rows=2, columns=2, threads=256), 64, 80),
        (Tiles(width=128, lanes=16, rows=2, columns=1, threads=128), None, 80),
    )
}


def _applies(g: Any, q: Any, k: Any, v: Any, y: Any, lse: Any, glse: Any = None, *, causal: bool, scale: float) -> bool:
    return (
        glse is None
        and are_heads(q, k, v)
        and g.shape == y.shape == (*q.shape[:-1], v.shape[-1])
        and q.dtype == g.dtype == y.dtype
        and lse.shape == (*q.shape[:-1], 1)
        and lse.dtype == "float32"
    )


@flash_attention_grad.kernel("cuda", when=_applies)
def flash(
    xp: Any, g: Any, q: Any, k: Any, v: Any, y: Any, lse: Any, glse: Any = None, *, causal: bool, scale: float
) -> tuple[Any, Any, Any]:
    """Two launches; the answers lie in memory as q, k and v do."""
    answers = tuple(laid_out_as(xp, a, a.shape[-1]) for a in (q, k, v))
    lse = xp.ascontiguousarray(lse)
    mean = xp.empty_like(lse)
    tiles, to_q, to_k_and_v = next(BY_WIDTH[w] for w in BY_WIDTH if w >= max(q.shape[-1], v.shape[-1]))
    g, q, k, v, y, lse, mean, gq, gk, gv = map(heads_of, (g, q, k, v, y, lse, mean, *answers))
    numbers = float(scale), bool(causal)
    launch(to_q, grid(tiles, q), tiles.threads, g, q, k, v, y, lse, mean, gq, *numbers)
    launch(to_k_and_v, grid(tiles, k), tiles.threads, g, q, k, v, lse, mean, gk, gv, *numbers)
    return answers
