"""Barriers, fences, traps and print: what concerns more than a lane's own registers, and no data."""

from __future__ import annotations

import re
import struct
from typing import Any

import numpy as np

from tinygrad_ft.cuda.emulator.decode import Decoder, maker
from tinygrad_ft.cuda.emulator.faults import TRAP
from tinygrad_ft.cuda.emulator.operands import PRED, U32, U64, Arguments, Immediate, Register, Symbol
from tinygrad_ft.cuda.emulator.program import LOCAL
from tinygrad_ft.cuda.emulator.rules import Words
from tinygrad_ft.cuda.emulator.text import Instruction

FORMAT = re.compile(r"%(?:[-+ #0]*\d*(?:\.\d+)?)(?:hh|h|ll|l|z)?[a-zA-Z%]")


@maker("bar", "barrier")
def bar(d: Decoder, i: Instruction) -> None:
    """Of the block, the machine lets the lanes through; of a warp, what they did before is then ordered."""
    words = Words(i)
    if words.has("warp"):
        words.need("sync")
        words.done()
        d.emit(lambda R, m: m.warp_barrier())
        return
    words.has("cta")
    words.has("aligned")
    action = words.need("sync", "red")
    if action == "sync":
        words.done()
        if len(i.operands) != 1 or not isinstance(i.operands[0], Immediate):
            raise words.unknown("only barriers of all threads of the block")
        return
    name = words.need("popc", "and", "or")
    words.need("u32" if name == "popc" else "pred")
    words.done()
    if len(i.operands) != 3 or not isinstance(i.operands[1], Immediate):
        raise words.unknown("only barriers of all threads of the block")
    p = d.source(i.operands[2], PRED)
    slot, finish = d.target(i.operands[0], U32 if name == "popc" else PRED)
    reduce: Any = {"popc": np.sum, "and": np.all, "or": np.any}[name]

    def step(R: list[Any], m: Any) -> None:
        layout, lanes = m.layout, m.lanes
        votes = np.zeros(layout.count, bool)
        votes[lanes.positions] = R[p]
        x = reduce(votes.reshape(layout.blocks, layout.threads), axis=1)[layout.block[lanes.positions]]
        x = x.astype(np.uint32) if name == "popc" else x
        R[slot] = x if finish is None else finish(x)

    d.emit(step)


@maker("membar", "fence")
def fence(d: Decoder, i: Instruction) -> None:
    """Orders what the lane did before. With an atomic behind it, it tells other blocks."""
    words = Words(i)
    words.one_of("sc", "acq_rel")
    reach = words.need("cta", "cluster", "gl", "gpu", "sys")
    words.done()
    if reach in ("gl", "gpu", "sys"):
        d.emit(lambda R, m: m.fenced())


@maker("trap", "brkpt")
def trap(d: Decoder, i: Instruction) -> None:
    """The kernel gives up."""
    number = d.number

    def step(R: list[Any], m: Any) -> None:
        raise m.fault(TRAP, number, 0, "the kernel stops itself here")

    d.emit(step)


@maker("call")
def call(d: Decoder, i: Instruction) -> None:
    """What is called stands in place of the call; but vprintf prints."""
    if not any(o == Symbol("vprintf") for o in i.operands):
        return
    result, given = (o for o in i.operands if isinstance(o, Arguments))
    text, values = (d.source(Register(f"{o.name}+0"), U64) for o in given.items if isinstance(o, Symbol))
    answers = [d.slot(f"{o.name}+0", U32) for o in result.items if isinstance(o, Symbol)]
    d.written.update(answers)

    def step(R: list[Any], m: Any) -> None:
        texts, places = (np.broadcast_to(R[slot], m.lanes.n) for slot in (text, values))
        for k in range(m.lanes.n):
            print(_printed(m, k, int(texts[k]), int(places[k])), end="")
        for slot in answers:
            R[slot] = np.uint32(0)

    d.emit(step)


def _string(m: Any, address: int) -> str:
    region = m.memory.find(address)
    data = region.data[address - region.first :].tobytes() if region else b"?"
    return data.partition(b"\0")[0].decode(errors="replace")


def _printed(m: Any, k: int, text: int, place: int) -> str:
    """A format of C with its values, which lie in local memory, each at a multiple of its size."""
    at, lane = place - LOCAL, int(m.lanes.positions[k])

    def value(found: re.Match[str]) -> str:
        nonlocal at
        word = found[0]
        if word == "%%":
            return "%"
        size = 4 if word[-1] in "diuxXoc" and "l" not in word and "z" not in word else 8
        at = -(-at // size) * size
        raw = m.local.words[1][:, lane, :].ravel()[at : at + size].tobytes()
        at += size
        if word[-1] == "s":
            return _string(m, struct.unpack("<Q", raw)[0])
        if word[-1] in "fFeEgGaA":
            return str(re.sub("[hlz]", "", word) % struct.unpack("<d", raw))
        number = int.from_bytes(raw, "little", signed=word[-1] in "di")
        if word[-1] == "p":
            return hex(number)
        return str(re.sub("[hlz]", "", word) % (chr(number) if word[-1] == "c" else number))

    return FORMAT.sub(value, _string(m, text))
