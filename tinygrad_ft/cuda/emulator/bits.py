"""What the instructions on the bits of integers compute: counting, fields, shifts, logic, permutations.

Source: PTX ISA, "Integer Arithmetic Instructions", "Logic and Shift Instructions", "Data Movement and Conversion
Instructions: prmt".
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ft.cuda.emulator.integers import choose, neutral, settle
from tinygrad_ft.cuda.emulator.operands import PRED, TYPES, U32
from tinygrad_ft.cuda.emulator.rules import Rule, Words, rule

B8 = np.uint64(0xFF)


def bit_length(x: Any) -> Any:
    """Bits up to the highest 1, of an unsigned number."""
    if x.dtype.itemsize == 8:
        upper = x >> np.uint64(32)
        return choose(upper != 0, bit_length(upper.astype(np.uint32)) + np.int32(32), bit_length(x.astype(np.uint32)))
    return np.frexp(x.astype(np.float64))[1]


@rule("popc", "clz")
def popc_clz(words: Words) -> Rule:
    """How many bits are 1; how many zeros come before the first 1."""
    t = TYPES[f"u{words.type().bits}"]
    if words.op == "popc":
        return Rule(lambda x: np.bitwise_count(x).astype(np.uint32), (U32,), (t,))
    return Rule(lambda x: (np.int32(t.bits) - bit_length(x)).astype(np.uint32), (U32,), (t,))


@rule("bfind")
def bfind(words: Words) -> Rule:
    """Where the highest bit is that is not the sign's; with .shiftamt how far it is from the top. All ones if none."""
    t, distance = words.type(), words.has("shiftamt")

    def f(x: Any) -> Any:
        x = choose(x < 0, ~x, x).astype(f"u{t.bytes}")
        at = bit_length(x) - 1
        return choose(at < 0, np.int32(-1), np.int32(t.bits - 1) - at if distance else at).astype(np.uint32)

    return Rule(f, (U32,), (t,))


@rule("brev")
def brev(words: Words) -> Rule:
    """The bits in reverse."""
    t = TYPES[f"u{words.type().bits}"]
    masks = [int(f"{'0' * n}{'1' * n}" * (t.bits // 2 // n), 2) for n in (1, 2, 4, 8, 16, 32) if n < t.bits]

    def f(x: Any) -> Any:
        for n, mask in zip((1, 2, 4, 8, 16, 32), masks, strict=False):
            shift, m = t.dtype.type(n), t.dtype.type(mask)
            x = ((x >> shift) & m) | ((x & m) << shift)
        return x

    return Rule(f, (t,), (t,))


def lowest(count: Any, dtype: Any) -> Any:
    """A number whose so many lowest bits are 1."""
    return ~shift_left(np.full(np.shape(count), ~dtype.type(0)), np.asarray(count))


@rule("bfe")
def bfe(words: Words) -> Rule:
    """So many bits from a place on; above what was taken, and beyond the top, zeros or the sign of what was taken."""
    t = words.type()
    u = np.dtype(f"u{t.bytes}")

    def f(x: Any, start: Any, count: Any) -> Any:
        a, n, bits = start & np.uint32(255), count & np.uint32(255), np.uint32(t.bits)
        raw = x.astype(u)
        value = shift_right(raw, a) & lowest(n, u)
        if t.kind == "s":
            top = np.minimum(a + n, bits) - np.uint32(1)
            sign = (shift_right(raw, top) & u.type(1)) != 0
            taken = np.minimum(n, bits - np.minimum(a, bits))
            value = np.where(sign, value | ~lowest(taken, u), value)
        return settle(np.where(n == 0, u.type(0), value).astype(t.dtype), x, start, count)

    return Rule(f, (t,), (t, U32, U32))


@rule("bfi")
def bfi(words: Words) -> Rule:
    """The second number with so many of its bits, from a place on, taken from the first."""
    t = TYPES[f"u{words.type().bits}"]

    def f(x: Any, y: Any, start: Any, count: Any) -> Any:
        a, n = start & np.uint32(255), count & np.uint32(255)
        mask = shift_left(lowest(n, t.dtype), np.asarray(a))
        return settle((shift_left(x, np.asarray(a)) & mask) | (y & ~mask), x, y, start, count)

    return Rule(f, (t,), (t, t, U32, U32))


def shift_left(x: Any, n: Any) -> Any:
    """x << n, zero for n as large as the number of bits."""
    bits = x.dtype.itemsize * 8
    return choose(n >= bits, x.dtype.type(0), x << (n & np.uint32(bits - 1)).astype(x.dtype))


def shift_right(x: Any, n: Any) -> Any:
    """x >> n, for n as large as the number of bits all sign."""
    bits = x.dtype.itemsize * 8
    if x.dtype.kind == "i":
        return x >> np.minimum(n, np.uint32(bits - 1)).astype(x.dtype)
    return choose(n >= bits, x.dtype.type(0), x >> (n & np.uint32(bits - 1)).astype(x.dtype))


@rule("shl", "shr")
def shl_shr(words: Words) -> Rule:
    """x 2^n and x / 2^n, downwards."""
    t = words.type()
    if words.op == "shl":
        t = neutral(t)
    elif t.kind == "b":
        t = TYPES[f"u{t.bits}"]
    return Rule(shift_left if words.op == "shl" else shift_right, (t,), (t, U32))


@rule("shf")
def shf(words: Words) -> Rule:
    """Half of 64 bits, given as lower and upper, that are shifted left (its upper) or right (its lower)."""
    t = TYPES[f"u{words.type().bits}"]
    left, wraps = words.need("l", "r") == "l", words.need("wrap", "clamp") == "wrap"

    def f(low: Any, up: Any, n: Any) -> Any:
        both = low.astype(np.uint64) | up.astype(np.uint64) << np.uint64(32)
        n = (n & np.uint32(31) if wraps else np.minimum(n, np.uint32(32))).astype(np.uint64)
        return ((both << n) >> np.uint64(32) if left else both >> n).astype(np.uint32)

    return Rule(f, (t,), (t, t, U32))


@rule("and", "or", "xor", "not", "cnot")
def logic(words: Words) -> Rule:
    """x & y, x | y, x ^ y, ~x, x == 0."""
    t = words.type()
    n = t if t == PRED else neutral(t)
    if words.op == "not":
        return Rule(np.invert, (n,), (n,))
    if words.op == "cnot":
        return Rule(lambda x: (x == 0).astype(x.dtype), (n,), (n,))
    return Rule({"and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor}[words.op], (n,), (n, n))


@rule("lop3")
def lop3(words: Words) -> Rule:
    """Any function of three bits; bit 4 x + 2 y + z of the table is its value."""
    t = TYPES["u32"] if words.type().bits == 32 else None
    if t is None:
        raise words.unknown("not b32")

    def f(x: Any, y: Any, z: Any, table: Any) -> Any:
        value = np.uint32(0)
        for n in range(8):
            if int(table) >> n & 1:
                value = value | (x if n & 4 else ~x) & (y if n & 2 else ~y) & (z if n & 1 else ~z)
        return value

    return Rule(f, (t,), (t, t, t, U32))


@rule("prmt")
def prmt(words: Words) -> Rule:
    """Four bytes chosen of the eight of x and y by the four nibbles of the selector; its top bit asks for the sign."""
    words.type()

    def f(x: Any, y: Any, selector: Any) -> Any:
        both = x.astype(np.uint64) | y.astype(np.uint64) << np.uint64(32)
        value: Any = np.uint32(0)
        for n in range(4):
            nibble = selector.astype(np.uint64) >> np.uint64(4 * n)
            byte = both >> ((nibble & np.uint64(7)) << np.uint64(3)) & B8
            sign = np.where(byte >= 128, B8, np.uint64(0))
            byte = np.where(nibble & np.uint64(8), sign, byte)[()]
            value = value | (byte << np.uint64(8 * n)).astype(np.uint32)
        return value

    return Rule(f, (U32,), (U32, U32, U32))
