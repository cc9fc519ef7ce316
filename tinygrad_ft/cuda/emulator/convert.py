"""What cvt computes: numbers of one type as another.

Source: PTX ISA, "Data Movement and Conversion Instructions: cvt".
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ft.cuda.emulator.floats import flush, saturate
from tinygrad_ft.cuda.emulator.integers import choose, settle
from tinygrad_ft.cuda.emulator.operands import F32, TYPES, Type
from tinygrad_ft.cuda.emulator.rules import Function, Rule, Words, rule

TO_INTEGER: dict[str, Function] = {"rni": np.rint, "rzi": np.trunc, "rmi": np.floor, "rpi": np.ceil}
TO_FLOAT = ("rn", "rz", "rm", "rp")
SPECIAL = ("f16x2", "bf16", "bf16x2", "tf32")


def integer(to: Type, nan: int = 0) -> Function:
    """Floats that are whole as integers: what is too large is the largest, and NaN has a number of its own."""
    info = np.iinfo(to.dtype)
    end = float(info.max) + (1.0 if to.bits < 64 else 0.0)  # the first that is too large; of 64 bits max rounds to it

    def f(x: Any) -> Any:
        wide = x.astype(np.float64)
        inside = np.where((wide < end) & (wide >= float(info.min)), wide, 0.0)
        if to.name == "u64":
            half = 2.0**63
            big = inside >= half
            y = np.where(big, inside - half, inside).astype(np.int64).astype(np.uint64)
            y = y + np.where(big, np.uint64(2**63), np.uint64(0))
        else:
            y = inside.astype(np.int64).astype(to.dtype)
        y = np.where(wide >= end, to.dtype.type(info.max), y)
        y = np.where(wide < float(info.min), to.dtype.type(info.min), y)
        return np.where(np.isnan(wide), to.dtype.type(nan), y)[()]

    return f


def narrowed(mode: str, to: Type) -> Function:
    """Floats with fewer bits, or integers as floats, rounded as `mode` says."""

    def f(x: Any) -> Any:
        y = x.astype(to.dtype)
        if mode == "rn":
            return y
        up, down = to.dtype.type(np.inf), to.dtype.type(-np.inf)
        if x.dtype.kind == "f":
            back = y.astype(x.dtype)
            above, below = back > x, back < x
        else:  # what came out may be no integer of that size any more
            info, wide = np.iinfo(x.dtype), y.astype(np.float64)
            back = integer(TYPES[f"{'u' if x.dtype.kind == 'u' else 's'}{x.dtype.itemsize * 8}"])(y)
            above, below = (back > x) | (wide >= float(int(info.max) + 1)), (back < x) | (wide < float(info.min))
        if mode == "rz":
            above, below = above & (x > 0), below & (x < 0)
        if mode != "rp":
            y = np.where(above, np.nextafter(y, down), y)
        if mode != "rm":
            y = np.where(below, np.nextafter(y, up), y)
        return y[()]

    return f


def resized(to: Type) -> Function:
    """Integers with more or fewer bits."""
    return lambda x: x.astype(to.dtype)


def clamped(to: Type) -> Function:
    """Integers, those that are too large as the largest."""
    low, high = np.iinfo(to.dtype).min, np.iinfo(to.dtype).max

    def f(x: Any) -> Any:
        if x.dtype == np.uint64:
            return np.minimum(x, np.uint64(high)).astype(to.dtype)
        wide = x.astype(np.int64)
        y = (
            choose(wide > high, to.dtype.type(high), wide.astype(to.dtype))
            if high < 2**63 - 1
            else wide.astype(to.dtype)
        )
        return choose(wide < low, to.dtype.type(low), y)

    return f


def to_bf16(x: Any) -> Any:
    """The upper half of a float32, rounded to nearest even; NaN stays one."""
    bits = x.view(np.uint32)
    rounded = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    return np.where(np.isnan(x), np.uint32(0x7FFF), rounded >> np.uint32(16)).astype(np.uint16)[()]


def to_tf32(x: Any) -> Any:
    """A float32 with 10 bits of mantissa, rounded to nearest, ties away from zero."""
    bits = x.view(np.uint32)
    rounded = (bits + np.uint32(0x1000)) & np.uint32(0xFFFF_E000)
    return np.where(np.isfinite(x), rounded, bits & np.uint32(0xFFFF_E000))[()]


def _special(words: Words, to: Type, source: Type) -> Rule:
    """Conversions of the formats that no register is declared as."""
    mode = words.one_of("rn", "rna")
    if to.name == "tf32" and mode == "rna" and source == F32:
        return Rule(to_tf32, (to,), (F32,))
    if to.name == "bf16" and mode == "rn" and source == F32:
        return Rule(to_bf16, (to,), (F32,))
    if to == F32 and source.name == "bf16" and mode is None:
        return Rule(lambda x: (x.astype(np.uint32) << np.uint32(16)).view(np.float32), (F32,), (source,))
    if to.name in ("f16x2", "bf16x2") and mode == "rn" and source == F32:
        one: Function = to_bf16 if to.name == "bf16x2" else (lambda x: x.astype(np.float16).view(np.uint16))

        def both(upper: Any, lower: Any) -> Any:
            bits = one(lower).astype(np.uint32) | one(upper).astype(np.uint32) << np.uint32(16)
            return settle(bits, upper, lower)

        return Rule(both, (to,), (F32, F32))
    raise words.unknown("between these formats")


@rule("cvt")
def cvt(words: Words) -> Rule:
    """Conversion; from float to integer it is rounded as .rni, .rzi, .rmi or .rpi say.

    NaN becomes 0, but with 64 bits on either side the number with only the top bit.
    """
    source = words.type(*SPECIAL)
    to = words.type(*SPECIAL)
    if {source.name, to.name} & {*SPECIAL}:
        return _special(words, to, source)
    whole = words.one_of(*TO_INTEGER)
    mode = words.one_of(*TO_FLOAT)
    ftz, sat = words.has("ftz"), words.has("sat")
    rounds = to.kind == "f" and (source.kind != "f" or to.bits < source.bits)
    becomes_whole = source.kind == "f" and (to.kind != "f" or (to == source and whole is not None))
    if rounds != (mode is not None) or becomes_whole != (whole is not None) or (ftz and F32 not in (source, to)):
        raise words.unknown("this rounding")
    if becomes_whole and to.kind == "f":
        f: Function = TO_INTEGER[whole or ""]
    elif becomes_whole:
        top = 1 << (to.bits - 1)
        lowest = -top if to.kind == "s" else top
        to_whole, as_integer = TO_INTEGER[whole or ""], integer(to, lowest if 64 in (source.bits, to.bits) else 0)
        f = lambda x: as_integer(to_whole(x))  # noqa: E731
    elif to.kind == "f":
        f = narrowed(mode or "rn", to)
    else:
        f = clamped(to) if sat else resized(to)
    if sat and to.kind == "f":
        unbounded = f
        f = lambda x: saturate(unbounded(x))  # noqa: E731
    if ftz:
        f = _flushed(f, source, to)
    return Rule(f, (to,), (source,))


def _flushed(f: Function, source: Type, to: Type) -> Function:
    before = flush if source == F32 else (lambda x: x)
    after = flush if to == F32 else (lambda x: x)
    return lambda x: after(f(before(x)))
