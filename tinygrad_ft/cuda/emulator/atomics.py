"""atom and red: read, change and write back, one lane after the other in ascending order.

Source: PTX ISA, "Parallel Synchronization and Communication Instructions: atom, red".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_ft.cuda.emulator.access import ATOMIC
from tinygrad_ft.cuda.emulator.decode import Decoder, maker
from tinygrad_ft.cuda.emulator.exact import compiled
from tinygrad_ft.cuda.emulator.faults import READ_ONLY
from tinygrad_ft.cuda.emulator.floats import larger, packed, smaller
from tinygrad_ft.cuda.emulator.operands import TYPES, Type
from tinygrad_ft.cuda.emulator.rules import Words
from tinygrad_ft.cuda.emulator.text import Instruction
from tinygrad_ft.cuda.emulator.transfer import address_of, generic, space_of, touch

SCOPES = ("relaxed", "acquire", "release", "acq_rel")
REACHES = ("cta", "cluster", "gpu", "sys")
NAMES = ("add", "min", "max", "exch", "cas", "inc", "dec", "and", "or", "xor")
ADD, MIN, MAX, EXCH, CAS, INC, DEC, AND, OR, XOR = range(10)

Loop = Callable[[Any, Any, Any, Any, Any], None]  # of memory, places in it, two operands, and what was there before


@compiled
def _numbers(memory: Any, at: Any, x: Any, y: Any, old: Any, name: int) -> None:
    for k in range(at.size):
        i = at[k]
        before, a = memory[i], x[k if x.size > 1 else 0]
        old[k] = before
        after = a  # exch
        if name == ADD:
            after = before + a
        elif name == MIN:
            after = before if before < a or a != a else a
        elif name == MAX:
            after = before if before > a or a != a else a
        elif name == CAS:
            after = y[k if y.size > 1 else 0] if before == a else before
        elif name == INC:
            after = memory.dtype.type(0) if before >= a else before + memory.dtype.type(1)
        elif name == DEC:
            after = a if before == 0 or before > a else before - memory.dtype.type(1)
        memory[i] = after


@compiled
def _bits(memory: Any, at: Any, x: Any, y: Any, old: Any, name: int) -> None:
    for k in range(at.size):
        i = at[k]
        before, a = memory[i], x[k if x.size > 1 else 0]
        old[k] = before
        memory[i] = before & a if name == AND else before | a if name == OR else before ^ a


def _halves(name: str, t: Type) -> Loop:
    """float16, which Numba does not compile: each lane by NumPy."""
    change: Any = {"add": np.add, "min": smaller, "max": larger, "exch": lambda old, new: new}[name]
    if t.parts == 2:
        change = packed(change, np.float16)

    def loop(memory: Any, at: Any, x: Any, y: Any, old: Any) -> None:
        for k, i in enumerate(at):
            old[k] = memory[i]
            memory[i] = change(old[k], x[k if x.size > 1 else 0])

    return loop


def loop_of(name: str, t: Type) -> Loop:
    """What an atomic of that name does to numbers of that type."""
    if t.name in ("f16", "f16x2"):
        return _halves(name, t)
    number, loop = NAMES.index(name), _bits if name in ("and", "or", "xor") else _numbers
    return lambda memory, at, x, y, old: loop(memory, at, x, y, old, number)


@maker("atom", "red")
def atom(d: Decoder, i: Instruction) -> None:
    """An atomic; of `atom`, the answer is what was there before."""
    words = Words(i)
    words.one_of(*SCOPES)
    words.one_of(*REACHES)
    space = space_of(words)
    if space not in ("global", "shared", ""):
        raise words.unknown(space)
    name = words.need(*NAMES)
    words.has("noftz")
    t = words.type("f16x2")
    words.done()
    if t.kind == "b" and t.parts == 1:
        if name not in ("exch", "cas", "and", "or", "xor"):
            raise words.unknown(f"{name} of .{t.name}")
        t = TYPES[f"u{t.bits}"]
    loop, answered, number = loop_of(name, t), d.answered, d.number
    operands = list(i.operands)
    result = operands.pop(0) if i.op == "atom" else None
    address = address_of(d, operands.pop(0))
    given = [d.source(o, t) for o in operands]
    slot, finish = d.target(result, t) if result is not None else (0, None)

    def step(R: list[Any], m: Any) -> None:
        old = update(m, space, address(R), [R[a] for a in given], t, loop, number)
        if space != "shared":
            m.atomic()
        if answered:
            R[slot] = old if finish is None else finish(old)

    d.emit(step)


def update(m: Any, space: str, addresses: Any, given: list[Any], t: Type, loop: Loop, number: int) -> Any:
    """Change memory lane by lane; what was there before."""
    if not space and (space := generic(m, addresses, number)) == "local":
        raise m.unknown(number, "an atomic in local memory")
    values = [v if type(v) is np.ndarray else v.reshape(1) for v in given]
    old = np.empty(m.lanes.n, t.dtype)
    for region, at, chosen in touch(m, space, addresses, t.bytes, ATOMIC, number):
        if not region.writable:
            raise m.fault(READ_ONLY, number, 0, "an array that is not writable, or a constant")
        part = [v if chosen is None or v.size == 1 else v[chosen] for v in values]
        before = np.empty(at.size, t.dtype)
        loop(region.words[t.bytes].view(t.dtype), at, part[0], part[-1], before)
        old[slice(None) if chosen is None else chosen] = before
    return old
