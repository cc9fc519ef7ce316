"""Steps of what each lane does by itself: arithmetic by the table of rules, copies, parameters of functions."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ft.cuda.emulator import bits, compare, convert, floats, integers  # noqa: F401  (they list their rules)
from tinygrad_ft.cuda.emulator.decode import Decoder, maker
from tinygrad_ft.cuda.emulator.faults import UnknownInstruction
from tinygrad_ft.cuda.emulator.flow import CARRY, parameters
from tinygrad_ft.cuda.emulator.operands import NOTHING, TYPES, U32, Operand, Pair, Type, Vector, bits_of
from tinygrad_ft.cuda.emulator.rules import FLOATS, OTHERS, Rule, Words, rule_of
from tinygrad_ft.cuda.emulator.steps import copy, one, step_of
from tinygrad_ft.cuda.emulator.text import Instruction


@maker(*FLOATS, *OTHERS)
def arithmetic(d: Decoder, i: Instruction) -> None:
    """The steps of an instruction that computes each lane by itself, by the table of rules."""
    rule: Rule = rule_of(i)
    results = [i.operands[0]]
    if isinstance(i.operands[0], Pair):
        results = [i.operands[0].first, i.operands[0].second]
    sources = list(i.operands[1:])
    if len(sources) != len(rule.sources):
        raise UnknownInstruction(f"{len(sources)} operands instead of {len(rule.sources)}")
    if rule.carry_in or rule.carry_out:
        d.slot(CARRY.name, U32)
    common = d.like(results[0], rule.results[0])
    given = []
    for o, t in zip(sources, rule.sources, strict=True):
        given.append(d.source(o, common if t == rule.results[0] else t))
    if rule.carry_in:
        given.append(d.source(CARRY, U32))
    f = rule.function
    if len(rule.results) == 1 and not rule.carry_out:
        slot, finish = d.target(results[0], common)
        d.emit(step_of(f if finish is None else (lambda *xs: finish(f(*xs))), slot, given))
        return
    outputs = [d.target(o, t) for o, t in zip(results, rule.results, strict=False)]
    if rule.carry_out:
        outputs.append(d.target(CARRY, U32))

    def step(R: list[Any], m: Any) -> None:
        for (slot, finish), value in zip(outputs, f(*[R[a] for a in given]), strict=False):
            R[slot] = value if finish is None else finish(value)

    d.emit(step)


@maker("mov", "cvta")
def mov(d: Decoder, i: Instruction) -> None:
    """A copy; of a vector into one register, or of one into a vector, lowest bits first."""
    words = Words(i)
    t = words.type("f16x2", "f32x2", "bf16", "bf16x2")
    if i.op == "cvta":
        words.has("to")
        words.need("global", "shared", "local", "const", "param")
    words.done()
    result, source = i.operands
    if isinstance(result, Vector):
        _apart(d, result, source, t)
        return
    t = t if t.kind in "pf" else bits_of(t.bits)
    t = d.like(result, t)
    slot_of_source = d.source(source, t)
    slot, finish = d.target(result, t)
    d.emit(copy(finish, slot, slot_of_source))


def _apart(d: Decoder, result: Vector, source: Operand, t: Type) -> None:
    wide = TYPES[f"u{t.bits}"]
    width = t.bits // len(result.items)
    a = d.source(source, wide)
    for n, item in enumerate(result.items):
        if item == NOTHING:
            continue
        slot, finish = d.target(item, TYPES[f"u{width}"])
        shift, narrow = wide.dtype.type(n * width), np.dtype(f"u{width // 8}")

        def lower(x: Any, shift: Any = shift, narrow: Any = narrow, finish: Any = finish) -> Any:
            y = (x >> shift).astype(narrow)
            return y if finish is None else finish(y)

        d.emit(one(lower, slot, a))


def param(d: Decoder, i: Instruction) -> None:
    """ld.param and st.param: a copy between registers and the parameters of a function."""
    words = Words(i)
    words.has("param")
    words.one_of("v2", "v4")
    t = words.type()
    words.done()
    other = i.operands[0 if i.op == "ld" else 1]
    registers = other.items if isinstance(other, Vector) else (other,)
    for own, register in zip(parameters(i), registers, strict=True):
        if own.name.partition("+")[0] in d.kernel_params and own.name not in d.params:
            raise UnknownInstruction("a part of a parameter")
        d.slot(own.name, bits_of(t.bits))
        source, result = (own, register) if i.op == "ld" else (register, own)
        kind = d.like(result, bits_of(t.bits)) if t.kind != "s" else t
        a = d.source(source, kind)
        slot, finish = d.target(result, kind)
        d.emit(copy(finish, slot, a))


@maker("bra", "ret", "exit")
def way(d: Decoder, i: Instruction) -> None:
    """No step: where it goes on is the machine's affair."""
    words = Words(i)
    words.has("uni")
    words.done()


@maker("nanosleep", "prefetch", "prefetchu")
def nothing(d: Decoder, i: Instruction) -> None:
    """No step: it changes nothing but the time."""
