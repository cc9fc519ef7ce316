"""What the instructions that compare and select compute.

Source: PTX ISA, "Comparison and Selection Instructions".
"""

from __future__ import annotations

import numpy as np

from tinygrad_ft.cuda.emulator.floats import flush
from tinygrad_ft.cuda.emulator.integers import choose
from tinygrad_ft.cuda.emulator.operands import PRED, TYPES, Pair, Type
from tinygrad_ft.cuda.emulator.rules import Function, Rule, Words, rule

COMPARE: dict[str, Function] = {
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
}  # fmt: skip
UNSIGNED = {"lo": "lt", "ls": "le", "hi": "gt", "hs": "ge"}
BOTH: dict[str, Function] = {"and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor}


def comparison(words: Words, t: Type) -> Function:
    """The comparison, for floats false if one is NaN, with a u behind its name true."""
    names = [*COMPARE, *UNSIGNED, *(f"{name}u" for name in COMPARE), "num", "nan"]
    name = words.need(*names)
    if t.kind != "f":
        if name in UNSIGNED and t.kind == "u":
            name = UNSIGNED[name]
        if name not in COMPARE or (t.kind == "b" and name not in ("eq", "ne")):
            raise words.unknown(name)
        return COMPARE[name]
    if t.bits == 32 and words.has("ftz"):
        inner = comparison_of_floats(words, name)
        return lambda x, y: inner(flush(x), flush(y))
    return comparison_of_floats(words, name)


def comparison_of_floats(words: Words, name: str) -> Function:
    """The comparison of that name."""
    if name == "ne":
        return lambda x, y: (x != y) & (x == x) & (y == y)
    if name in COMPARE:
        return COMPARE[name]
    if name == "num":
        return lambda x, y: (x == x) & (y == y)
    if name == "nan":
        return lambda x, y: (x != x) | (y != y)
    if name == "neu":
        return np.not_equal
    if name.endswith("u"):
        ordered = COMPARE[name[:-1]]
        return lambda x, y: ordered(x, y) | (x != x) | (y != y)
    raise words.unknown(name)


@rule("setp")
def setp(words: Words) -> Rule:
    """A comparison, and with a further predicate: (comparison op c), (not comparison op c)."""
    t = words.type()
    f = comparison(words, t)
    g = BOTH.get(words.one_of(*BOTH) or "")
    if not isinstance(words.instruction.operands[0], Pair):
        if g is None:
            return Rule(f, (PRED,), (t, t))
        return Rule(lambda x, y, p: g(f(x, y), p), (PRED,), (t, t, PRED))
    if g is None:
        return Rule(lambda x, y: (c := f(x, y), ~c), (PRED, PRED), (t, t))
    return Rule(lambda x, y, p: (g(c := f(x, y), p), g(~c, p)), (PRED, PRED), (t, t, PRED))


@rule("set")
def set_(words: Words) -> Rule:
    """A comparison as a number: all ones, or 1.0."""
    t = words.type()
    result = words.type()
    f = comparison(words, t)
    yes = np.array(1.0 if result.kind == "f" else -1).astype(result.dtype)[()]
    return Rule(lambda x, y: choose(f(x, y), yes, result.dtype.type(0)), (result,), (t, t))


@rule("selp")
def selp(words: Words) -> Rule:
    """x if p, else y."""
    t = words.type()
    t = t if t.kind == "f" else TYPES[f"b{t.bits}"]
    return Rule(lambda x, y, p: choose(p, x, y), (t,), (t, t, PRED))


@rule("slct")
def slct(words: Words) -> Rule:
    """x if z >= 0, else y."""
    c = words.type()
    t = words.type()
    return Rule(lambda x, y, z: choose(z >= 0, x, y), (t,), (t, t, c))
