"""What the integer instructions compute.

Numbers wrap as two's complement does. Where PTX leaves a result open (division by zero) it is all ones.

Source: PTX ISA, "Integer Arithmetic Instructions", "Extended-Precision Integer Arithmetic Instructions".
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ft.cuda.emulator.operands import S32, TYPES, U32, Type, integer_of
from tinygrad_ft.cuda.emulator.rules import Function, Rule, Words, rule


def choose(p: Any, x: Any, y: Any) -> Any:
    """x where p, else y."""
    if type(p) is not np.ndarray:
        return x if p else y
    return np.where(p, x, y)


def settle(value: Any, *given: Any) -> Any:
    """One number if only single numbers were given, else the array."""
    return value if any(type(x) is np.ndarray for x in given) else np.ravel(value)[0]


def double(t: Type) -> Type:
    """The integer of twice the bits."""
    return TYPES[f"{t.kind}{2 * t.bits}"]


def high(x: Any, y: Any, t: Type) -> Any:
    """The upper half of x y."""
    if t.bits < 64:
        wide = double(t).dtype
        return (x.astype(wide) * y.astype(wide) >> wide.type(t.bits)).astype(t.dtype)
    half, low = np.uint64(32), np.uint64(0xFFFF_FFFF)
    a, b = x.astype(np.uint64), y.astype(np.uint64)
    (a1, a0), (b1, b0) = (a >> half, a & low), (b >> half, b & low)
    middle = a1 * b0 + (a0 * b0 >> half)
    product = a1 * b1 + (middle >> half) + ((middle & low) + a0 * b1 >> half)
    if t.kind == "s":
        product = product - choose(x < 0, b, np.uint64(0)) - choose(y < 0, a, np.uint64(0))
    return product.astype(t.dtype)


def neutral(t: Type) -> Type:
    """The same without a sign, for operations to which it makes no difference."""
    return integer_of(t.bits)


def part(words: Words, t: Type) -> tuple[Function, Type, Type]:
    """The product that .lo, .hi or .wide stands for, the type of its operands and its own."""
    which = words.need("lo", "hi", "wide")
    if which == "lo":
        return np.multiply, neutral(t), neutral(t)
    if which == "hi":
        return (lambda x, y: high(x, y, t)), t, t
    wide = double(t).dtype
    return (lambda x, y: x.astype(wide) * y.astype(wide)), t, double(t)


def clamp(words: Words, t: Type) -> Function:
    """int64 into the range of s32, the only type that saturates."""
    if t != S32:
        raise words.unknown("sat")
    low, high_ = np.iinfo(t.dtype).min, np.iinfo(t.dtype).max
    return lambda x: np.minimum(np.maximum(x, np.int64(low)), np.int64(high_)).astype(t.dtype)


@rule("add", "sub")
def add_sub(words: Words) -> Rule:
    """x + y, x - y; with .cc the carry too, which for sub is the borrow."""
    t = words.type()
    f: Function = np.add if words.op == "add" else np.subtract
    if words.has("sat"):
        to = clamp(words, t)
        return Rule(lambda x, y: to(f(x.astype(np.int64), y.astype(np.int64))), (t,), (t, t))
    if words.has("cc"):
        return _carried(t, words.op, reads=False)
    n = neutral(t)
    return Rule(f, (n,), (n, n))


def _carried(t: Type, op: str, *, reads: bool, writes: bool = True) -> Rule:
    u = TYPES[f"u{t.bits}"]

    def add(x: Any, y: Any, c: Any) -> Any:
        y = y if op == "add" else ~y
        c = (c if op == "add" else c ^ U32.dtype.type(1)).astype(u.dtype)
        s = x + y
        total = s + c
        out = ((s < x) | (total < s)).astype(np.uint32)
        return total, (out if op == "add" else out ^ U32.dtype.type(1))

    start = np.uint32(0)
    f = add if reads else (lambda x, y: add(x, y, start))
    return Rule(f if writes else (lambda *xs: f(*xs)[0]), (u,), (u, u), carry_in=reads, carry_out=writes)


@rule("addc", "subc")
def addc_subc(words: Words) -> Rule:
    """x + y + carry, x - y - borrow."""
    return _carried(words.type(), words.op[:3], reads=True, writes=words.has("cc"))


@rule("madc")
def madc(words: Words) -> Rule:
    """The lower or upper half of x y, + z + carry."""
    return _mad_carried(words, reads=True)


def _mad_carried(words: Words, *, reads: bool) -> Rule:
    u = TYPES[f"u{words.type().bits}"]
    product = np.multiply if words.need("lo", "hi") == "lo" else (lambda x, y: high(x, y, u))
    add = _carried(u, "add", reads=reads, writes=words.has("cc"))
    f = lambda x, y, *rest: add.function(product(x, y), *rest)  # noqa: E731
    return Rule(f, add.results, (u, u, u), add.carry_in, add.carry_out)


@rule("mul")
def mul(words: Words) -> Rule:
    """The lower or upper half of x y, or all of it."""
    f, t, result = part(words, words.type())
    return Rule(f, (result,), (t, t))


@rule("mad")
def mad(words: Words) -> Rule:
    """The lower or upper half of x y, or all of it, + z."""
    if "cc" in words.left:
        return _mad_carried(words, reads=False)
    t = words.type()
    saturates = words.has("sat")
    f, t, result = part(words, t)
    if saturates:
        to = clamp(words, t)
        return Rule(lambda x, y, z: to(f(x, y).astype(np.int64) + z), (t,), (t, t, t))
    return Rule(lambda x, y, z: f(x, y) + z, (result,), (t, t, result))


def _24(words: Words) -> tuple[Function, Type]:
    t = words.type()
    shift, wide = np.array(8, t.dtype)[()], double(t).dtype
    which = words.need("lo", "hi")

    def product(x: Any, y: Any) -> Any:
        p = ((x << shift) >> shift).astype(wide) * ((y << shift) >> shift).astype(wide)
        return (p if which == "lo" else p >> wide.type(16)).astype(t.dtype)

    return product, t


@rule("mul24")
def mul24(words: Words) -> Rule:
    """The lower 32 bits, or the upper, of the 48 bits of the product of two numbers of 24 bits."""
    f, t = _24(words)
    return Rule(f, (t,), (t, t))


@rule("mad24")
def mad24(words: Words) -> Rule:
    """The same, + z."""
    f, t = _24(words)
    return Rule(lambda x, y, z: f(x, y) + z, (t,), (t, t, t))


@rule("div")
def div(words: Words) -> Rule:
    """x / y towards zero."""
    t = words.type()

    def f(x: Any, y: Any) -> Any:
        q = (x - np.fmod(x, y)) // y
        return choose(y == 0, t.dtype.type(-1 if t.kind == "s" else np.iinfo(t.dtype).max), q)

    return Rule(f, (t,), (t, t))


@rule("rem")
def rem(words: Words) -> Rule:
    """What is left of x / y, with the sign of x."""
    t = words.type()
    return Rule(lambda x, y: choose(y == 0, x, np.fmod(x, y)), (t,), (t, t))


@rule("sad")
def sad(words: Words) -> Rule:
    """|x - y| + z."""
    t = words.type()
    return Rule(lambda x, y, z: choose(x < y, y - x, x - y) + z, (t,), (t, t, t))


@rule("abs", "neg")
def abs_neg(words: Words) -> Rule:
    """|x|, -x."""
    t = words.type()
    return Rule(np.abs if words.op == "abs" else np.negative, (t,), (t,))


@rule("min", "max")
def min_max(words: Words) -> Rule:
    """The smaller, the larger."""
    t = words.type()
    return Rule(np.minimum if words.op == "min" else np.maximum, (t,), (t, t))


@rule("dp4a")
def dp4a(words: Words) -> Rule:
    """The sum of the products of four bytes, + z."""
    b, a = words.type(), words.type()
    if {a.bits, b.bits} != {32}:
        raise words.unknown("not of 32 bits")
    result = S32 if "s" in (a.kind, b.kind) else U32

    def f(x: Any, y: Any, z: Any) -> Any:
        total = z.astype(np.int64)
        for n in (0, 8, 16, 24):
            x8, y8 = ((v >> np.uint32(n)).astype(f"{'i' if k.kind == 's' else 'u'}1") for v, k in ((x, a), (y, b)))
            total = total + x8.astype(np.int64) * y8.astype(np.int64)
        return total.astype(result.dtype)

    return Rule(f, (result,), (U32, U32, result))
