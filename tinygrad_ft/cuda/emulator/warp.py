"""What the lanes of a warp do together: shuffles, votes, matches, reductions. Those of the mask must all have come.

Source: PTX ISA, "Data Movement and Conversion Instructions: shfl.sync", "Parallel Synchronization and Communication
Instructions: vote.sync, match.sync, activemask, redux.sync".
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ft.cuda.emulator.decode import Decoder, maker
from tinygrad_ft.cuda.emulator.faults import ABSENT
from tinygrad_ft.cuda.emulator.operands import PRED, TYPES, U32, Pair
from tinygrad_ft.cuda.emulator.rules import Words
from tinygrad_ft.cuda.emulator.text import Instruction

LANE_BITS = np.int64(1) << np.arange(32)


def _sources(mode: str, lanes: Any, b: Any, c: Any) -> tuple[Any, Any]:
    """The lane that each lane reads, and whether that is inside its segment. `c` is segment mask << 8 | clamp."""
    lane = lanes.padded & 31
    b, c = np.asarray(b).astype(np.int64) & 31, np.asarray(c).astype(np.int64)
    segment = (c >> 8) & 31
    low = lane & segment
    top = low | (c & 31 & ~segment)
    if mode == "up":
        at = lane - b
        inside = at >= top
    elif mode == "down":
        at = lane + b
        inside = at <= top
    elif mode == "bfly":
        at = lane ^ b
        inside = at <= top
    else:
        at = low | (b & ~segment & 31)
        inside = at <= top
    return np.where(inside, at, lane), inside


@maker("shfl")
def shfl(d: Decoder, i: Instruction) -> None:
    """Each lane reads a register of another."""
    words = Words(i)
    words.need("sync")
    mode = words.need("up", "down", "bfly", "idx")
    words.need("b32")
    words.done()
    result = i.operands[0]
    first, second = (result.first, result.second) if isinstance(result, Pair) else (result, None)
    t = d.like(first, TYPES["b32"])
    source = d.source(i.operands[1], t)
    b, c, members = (d.source(o, U32) for o in i.operands[2:5])
    slot, finish = d.target(first, t)
    inside_slot = d.target(second, PRED)[0] if second is not None else None
    number = d.number

    def step(R: list[Any], m: Any) -> None:
        lanes = m.lanes
        fixed = not any(type(R[a]) is np.ndarray for a in (b, c, members))
        key = (mode, int(R[b]), int(R[c]), int(R[members])) if fixed else None
        found = lanes.shuffles.get(key) if key else None
        if found is None:
            at, inside = _sources(mode, lanes, R[b], R[c])
            mask = np.asarray(R[members]).astype(np.int64) & lanes.layout.existing[lanes.warp]
            bad = (mask >> at) & 1 == 0
            if bad.any():
                k = int(bad.argmax())
                raise m.fault(ABSENT, number, k, f"it reads lane {int(at[k])} of its warp, which takes no part")
            found = (lanes.padded & ~31) + at, inside
            if key:
                lanes.shuffles[key] = found
        at, inside = found
        x = lanes.spread(R[source])[at]
        R[slot] = x if finish is None else finish(x)
        if inside_slot is not None:
            R[inside_slot] = inside

    d.emit(step)


def _ballot(lanes: Any, p: Any) -> Any:
    """For each lane the bits of those of its warp for which p holds."""
    bits = np.packbits(lanes.spread(p).reshape(-1, 32), axis=1, bitorder="little").view(np.uint32).ravel()
    return bits[lanes.warp].astype(np.int64)


@maker("vote")
def vote(d: Decoder, i: Instruction) -> None:
    """Whether a predicate holds for all lanes, any, all or none, or for which."""
    words = Words(i)
    words.need("sync")
    mode = words.need("all", "any", "uni", "ballot")
    words.need("b32" if mode == "ballot" else "pred")
    words.done()
    p, members = d.source(i.operands[1], PRED), d.source(i.operands[2], U32)
    slot, finish = d.target(i.operands[0], U32 if mode == "ballot" else PRED)

    def step(R: list[Any], m: Any) -> None:
        mask = np.asarray(R[members]).astype(np.int64) & m.lanes.present[m.lanes.warp]
        votes = _ballot(m.lanes, R[p]) & mask
        if mode == "ballot":
            x = votes.astype(np.uint32)
        elif mode == "any":
            x = votes != 0
        else:
            x = (votes == mask) | ((votes == 0) & (mode == "uni"))
        R[slot] = x if finish is None else finish(x)

    d.emit(step)


@maker("activemask")
def activemask(d: Decoder, i: Instruction) -> None:
    """The lanes of the warp that run this together, which the hardware may choose otherwise."""
    words = Words(i)
    words.need("b32")
    words.done()
    slot, finish = d.target(i.operands[0], U32)

    def step(R: list[Any], m: Any) -> None:
        x = m.lanes.present[m.lanes.warp].astype(np.uint32)
        R[slot] = x if finish is None else finish(x)

    d.emit(step)


@maker("match")
def match(d: Decoder, i: Instruction) -> None:
    """Which lanes hold the same value (any); all lanes and true if all do (all)."""
    words = Words(i)
    words.need("sync")
    mode = words.need("any", "all")
    t = words.type()
    words.done()
    result = i.operands[0]
    first, second = (result.first, result.second) if isinstance(result, Pair) else (result, None)
    source, members = d.source(i.operands[1], TYPES[f"u{t.bits}"]), d.source(i.operands[2], U32)
    slot, finish = d.target(first, U32)
    same_slot = d.target(second, PRED)[0] if second is not None else None

    def step(R: list[Any], m: Any) -> None:
        lanes = m.lanes
        values = lanes.spread(R[source]).reshape(-1, 32)
        mask = np.asarray(R[members]).astype(np.int64) & lanes.present[lanes.warp]
        equal = (values[:, :, None] == values[:, None, :]) @ LANE_BITS
        x = equal.ravel()[lanes.padded] & mask
        if mode == "all":
            same = x == mask
            x = np.where(same, mask, 0)
            if same_slot is not None:
                R[same_slot] = same
        x = x.astype(np.uint32)
        R[slot] = x if finish is None else finish(x)

    d.emit(step)


REDUCE: dict[str, Any] = {
    "add": np.add, "min": np.minimum, "max": np.maximum,
    "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor,
}  # fmt: skip


@maker("redux")
def redux(d: Decoder, i: Instruction) -> None:
    """The sum, smallest, largest, and, or, exclusive or over the lanes of the mask."""
    words = Words(i)
    words.need("sync")
    name = words.need(*REDUCE)
    t = words.type()
    words.done()
    t = TYPES[f"u{t.bits}"] if t.kind == "b" else t
    if t.kind == "f" or t.bits != 32:
        raise words.unknown(t.name)
    source, members = d.source(i.operands[1], t), d.source(i.operands[2], U32)
    slot, finish = d.target(i.operands[0], t)
    neutral = {"add": 0, "or": 0, "xor": 0, "and": -1, "min": np.iinfo(t.dtype).max, "max": np.iinfo(t.dtype).min}[name]
    start = np.array(neutral).astype(t.dtype)

    def step(R: list[Any], m: Any) -> None:
        lanes = m.lanes
        mask = np.asarray(R[members]).astype(np.int64) & lanes.present[lanes.warp]
        values = lanes.spread(R[source]).reshape(-1, 32)[lanes.warp]
        x = REDUCE[name].reduce(np.where(mask[:, None] & LANE_BITS != 0, values, start), axis=1, dtype=t.dtype)
        R[slot] = x if finish is None else finish(x)

    d.emit(step)
