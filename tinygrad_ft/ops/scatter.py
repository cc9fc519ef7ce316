"""Ops that bring elements to where an index array says, along one axis, and combine those that meet."""

from __future__ import annotations

from math import inf, prod
from typing import Any

import numpy as np

from tinygrad_ft.chain_rule import cast
from tinygrad_ft.engine import Array, Value, op
from tinygrad_ft.notice import looks_at
from tinygrad_ft.ops.comparison import where
from tinygrad_ft.ops.composed import composed
from tinygrad_ft.ops.index import HERE, filled_key, getitem, last_writer, overwritten, put
from tinygrad_ft.ops.join import cat
from tinygrad_ft.ops.moving import beside
from tinygrad_ft.ops.reduce import amax, amin
from tinygrad_ft.ops.scan import prod as product
from tinygrad_ft.ops.shape import axes_of, broadcast_to, ravel, reshape, unsqueeze

__all__ = ["scatter", "scatter_add", "scatter_reduce"]


def _scattered(x: Array, axis: int, index: Array, src: Array, name: str) -> tuple[Array, tuple[Any, ...]]:
    """What of `src` goes anywhere, and to where: index arrays."""
    if {max(a.ndim, 1) for a in (x, index, src)} != {max(x.ndim, 1)}:
        raise ValueError(f"{name} needs as many axes in x, index and src: got {x.ndim}, {index.ndim} and {src.ndim}")
    (axis,) = axes_of(axis, x.ndim) or (0,)
    shape = tuple(index.shape) or (1,)
    beyond = any(n > m for i, (n, m) in enumerate(zip(shape, x.shape or (1,), strict=True)) if i != axis)
    if prod(shape) and (beyond or any(n > m for n, m in zip(shape, src.shape or (1,), strict=True))):
        raise ValueError(f"{name}: an index of {shape} reaches beyond {tuple(x.shape)} or {tuple(src.shape)}")
    if src.dtype != x.dtype:
        raise TypeError(f"{name} needs src in the dtype of x, {x.dtype}: got {src.dtype}")
    src = getitem(src if src.ndim else ravel(src), key=tuple(map(slice, shape)))
    places = [beside(x, place) for place in np.ogrid[tuple(map(slice, shape))]]
    places[axis] = reshape(index, shape)
    return src, tuple(places)


@composed
def scatter_add(x: Array, axis: int, index: Array, src: Array) -> Array:
    """x with src[i, j] added at [i, index[i, j]] for axis 1, and likewise along any other."""
    return scatter_reduce(x, axis, index, src, "sum")


@composed
def scatter(
    x: Array, axis: int, index: Array, src: Any = None, *, value: float | None = None, reduce: str | None = None
) -> Array:  # fmt: skip
    """x with src[i, j], or one value, written at [i, index[i, j]] for axis 1, and likewise along any other.

    Of several written to one place the last stays; `reduce` "add" or "multiply" combines them with what is there.
    """
    if (src is None) == (value is None):
        raise TypeError("scatter needs either src or value")
    src = value if src is None else src
    if not hasattr(src, "ndim"):
        src = broadcast_to(beside(x, np.asarray(src, dtype=x.dtype)), tuple(index.shape))
    if reduce is not None:
        if reduce not in ("add", "multiply"):
            raise ValueError(f"scatter: reduce is 'add' or 'multiply': got {reduce!r}")
        return scatter_reduce(x, axis, index, src, "sum" if reduce == "add" else "prod")
    src, places = _scattered(x, axis, index, src, "scatter")
    rows = x if x.ndim else ravel(x)
    return reshape(overwritten(rows, src, *places, key=(HERE,) * len(places)), x.shape)


@composed
def scatter_reduce(x: Array, axis: int, index: Array, src: Array, reduce: str, *, include_self: bool = True) -> Array:
    """x with what meets at each place combined: the src[i, j] that go to [i, index[i, j]], and x if `include_self`.

    `reduce` is "sum", "prod", "mean", "amax" or "amin"; a place where nothing arrives keeps its x.
    """
    if reduce not in NEUTRAL:
        raise ValueError(f"scatter_reduce: reduce is one of {', '.join(NEUTRAL)}: got {reduce!r}")
    src, places = _scattered(x, axis, index, src, "scatter_reduce")
    rows, key = x if x.ndim else ravel(x), (HERE,) * len(places)
    shape, neutral = tuple(rows.shape), NEUTRAL[reduce]
    stays = rows if include_self else where(last_writer(*places, key=key, shape=shape) < 0, rows, neutral)
    if reduce in ("sum", "mean"):
        y = stays + put(src, *places, key=key, shape=shape)
        if reduce == "mean":
            arrived = put(cast(src == src, dtype=rows.dtype), *places, key=key, shape=shape)
            y = y / (arrived + 1.0 if include_self else where(arrived == 0, 1.0, arrived))
        return reshape(y, x.shape)

    looks_at("how many elements meet in one place, by scatter_reduce")
    turn = arrival(*places, key=key, shape=shape)
    turns = turn.array if isinstance(turn, Value) else turn
    reached = (int(turns.max()) + 1 if turns.size else 0, *shape)
    layered = (turn, *places)
    filled = put(src, *layered, key=(HERE, *key), shape=reached)
    filled = where(last_writer(*layered, key=(HERE, *key), shape=reached) < 0, neutral, filled)
    return reshape(COMBINE[reduce](cat([unsqueeze(stays, 0), filled]), axis=0), x.shape)


NEUTRAL = {"sum": 0.0, "prod": 1.0, "mean": 0.0, "amax": -inf, "amin": inf}
COMBINE: dict[str, Any] = {"prod": product, "amax": amax, "amin": amin}


@op
def arrival(xp: Any, *indices: Array, key: tuple[Any, ...], shape: tuple[int, ...]) -> Array:
    """For each element written to [key] of an array of that shape, how many were written to its place before it."""
    place = xp.arange(prod(shape)).reshape(shape)[filled_key(key, indices)]
    flat = place.ravel()
    order = xp.argsort(flat, kind="stable")
    ranked = flat[order]
    y = xp.empty_like(flat)
    y[order] = xp.arange(flat.size) - xp.searchsorted(ranked, ranked)
    return y.reshape(place.shape)
