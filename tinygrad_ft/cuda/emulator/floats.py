"""What the floating-point instructions compute.

Those that the hardware approximates (`.approx`) are computed in float64 and rounded once: no worse than a GPU's, and
not its bits. A modifier that is not read here is an error.

Source: PTX ISA, "Floating Point Instructions", "Half Precision Floating Point Instructions".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_ft.cuda.emulator import exact
from tinygrad_ft.cuda.emulator.operands import PRED, Type
from tinygrad_ft.cuda.emulator.rules import Function, Rule, Words, rule

LN2 = np.log(2.0)
SMALLEST_NORMAL = np.float32(1.1754943508222875e-38)
UPPER_HALF = np.uint64(0xFFFF_FFFF_0000_0000)
ONE, ZERO = np.float32(1), np.float32(0)


def flush(x: Any) -> Any:
    """Denormal float32 as a zero of the same sign."""
    return np.where(np.abs(x) < SMALLEST_NORMAL, np.copysign(ZERO, x), x)[()]


def saturate(x: Any) -> Any:
    """Into [0, 1]; NaN is 0."""
    zero, one = x.dtype.type(0), x.dtype.type(1)
    return smaller(larger(x, zero), one)


def larger(x: Any, y: Any) -> Any:
    """The larger, by the rules of max."""
    return _wide(exact.maximum, x, y)


def smaller(x: Any, y: Any) -> Any:
    """The smaller, by the rules of min."""
    return _wide(exact.minimum, x, y)


def _wide(f: Function, *xs: Any) -> Any:
    """A function that is exact, of float16 by way of float32."""
    if xs[0].dtype.itemsize == 2:
        return f(*(x.astype(np.float32) for x in xs)).astype(np.float16)
    return f(*xs)


def packed(f: Function, part: Any) -> Function:
    """The same of each of the two numbers in a register."""

    def both(*xs: Any) -> Any:
        parts = [np.reshape(x, (-1, 1)).view(part) for x in xs]
        n = max(len(p) for p in parts)
        y = f(*(p.ravel() if len(p) == n else np.repeat(p, n, axis=0).ravel() for p in parts)).view(xs[0].dtype)
        return y if any(type(x) is np.ndarray for x in xs) else y[0]

    return both


def finish(words: Words, f: Function, t: Type, count: int) -> Rule:
    """A rule for `count` operands of one type, with .ftz and .sat if they are asked for."""
    if words.has("ftz"):
        if t.name not in ("f32", "f32x2"):
            raise words.unknown("ftz")
        exact_f = f
        f = lambda *xs: flush(exact_f(*map(flush, xs)))  # noqa: E731
    if words.has("sat"):
        unbounded = f
        f = lambda *xs: saturate(unbounded(*xs))  # noqa: E731
    if t.parts == 2:
        f = packed(f, {"f16x2": np.float16, "f32x2": np.float32}[t.name])
    return Rule(f, (t,), (t,) * count)


def directed(words: Words, t: Type, nearest: Function, as_fma: Callable[[Function], Function]) -> Function:
    """The function for the rounding that is asked for, as a fused multiply-add where it is not to nearest."""
    mode = words.one_of("rn", "rz", "rm", "rp") or "rn"
    if mode == "rn":
        return nearest
    if t.name not in ("f32", "f32x2"):
        raise words.unknown(mode)
    return as_fma({"rz": exact.fma_to_zero, "rm": exact.fma_down, "rp": exact.fma_up}[mode])


def number(words: Words) -> Type:
    """The type, if it is one of floats."""
    t = words.type("f16x2", "f32x2")
    if t.kind != "f" and t.name not in ("f16x2", "f32x2"):
        raise words.unknown(t.name)
    return t


@rule("add", "sub", "mul", floats=True)
def add_sub_mul(words: Words) -> Rule:
    """x + y, x - y, x y."""
    t = number(words)
    nearest = {"add": np.add, "sub": np.subtract, "mul": np.multiply}[words.op]

    def as_fma(f: Function) -> Function:
        if words.op == "mul":
            return lambda x, y: f(x, y, np.copysign(ZERO, x * y))
        return (lambda x, y: f(x, ONE, y)) if words.op == "add" else (lambda x, y: f(x, ONE, -y))

    return finish(words, directed(words, t, nearest, as_fma), t, 2)


@rule("fma", "mad", floats=True)
def fma(words: Words) -> Rule:
    """x y + z, rounded once."""
    t = number(words)
    nearest = exact.fma_half if t.name in ("f16", "f16x2") else exact.fma
    return finish(words, directed(words, t, nearest, lambda f: f), t, 3)


@rule("min", "max", floats=True)
def min_max(words: Words) -> Rule:
    """The smaller or larger; with .NaN, NaN if one of them is."""
    t = number(words)
    if words.has("NaN"):
        return finish(words, np.minimum if words.op == "min" else np.maximum, t, 2)
    return finish(words, smaller if words.op == "min" else larger, t, 2)


@rule("abs", "neg", floats=True)
def abs_neg(words: Words) -> Rule:
    """|x|, -x."""
    return finish(words, np.abs if words.op == "abs" else np.negative, number(words), 1)


@rule("copysign", floats=True)
def copysign(words: Words) -> Rule:
    """The second number with the sign of the first."""
    return finish(words, lambda x, y: np.copysign(y, x), number(words), 2)


def _in_float64(f: Function) -> Function:
    return lambda *xs: f(*(x.astype(np.float64) for x in xs)).astype(xs[0].dtype)


def _divided_approximately(x: Any, y: Any) -> Any:
    """x / y, and 0 for a divisor so large that its reciprocal is denormal, NaN if x is infinite."""
    huge = (np.abs(y) > np.float32(2.0**126)) & np.isfinite(y)
    return np.where(huge, x * np.copysign(ZERO, y), _in_float64(np.divide)(x, y))[()]


@rule("div", floats=True)
def div(words: Words) -> Rule:
    """x / y."""
    t = number(words)
    mode = words.one_of("rn", "approx", "full")
    if mode == "rn":
        return finish(words, np.divide, t, 2)
    if t.name != "f32" or mode is None:
        raise words.unknown(mode or "no rounding")
    return finish(words, _divided_approximately if mode == "approx" else _in_float64(np.divide), t, 2)


ROOTS: dict[str, Function] = {"rcp": np.reciprocal, "sqrt": np.sqrt, "rsqrt": lambda x: 1 / np.sqrt(x)}


@rule(*ROOTS, floats=True)
def rcp_sqrt_rsqrt(words: Words) -> Rule:
    """1 / x, the square root, and one over it."""
    t = number(words)
    f = ROOTS[words.op]
    mode = words.one_of("rn", "approx")
    if mode is None or (mode == "rn" and words.op == "rsqrt"):
        raise words.unknown(mode or "no rounding")
    if mode == "rn":
        return finish(words, f, t, 1)
    if t.name == "f64":  # of the upper 32 bits, with as many bits in the answer: the code around it refines it
        words.has("ftz")
        return Rule(lambda x: _upper_half(f(_upper_half(x))), (t,), (t,))
    return finish(words, _in_float64(f), t, 1)


def _upper_half(x: Any) -> Any:
    return (x.view(np.uint64) & UPPER_HALF).view(np.float64)


APPROXIMATE: dict[str, Function] = {
    "sin": np.sin,
    "cos": np.cos,
    "lg2": np.log2,
    "ex2": lambda x: np.exp(x * LN2),  # a quarter of the time of NumPy's exp2, and as exact once rounded to float32
    "tanh": np.tanh,
}


@rule(*APPROXIMATE, floats=True)
def approximate(words: Words) -> Rule:
    """sin x, cos x, the logarithm to base 2, 2^x, tanh x."""
    t = number(words)
    if not words.has("approx") or t.name == "f64":
        raise words.unknown(t.name)
    return finish(words, _in_float64(APPROXIMATE[words.op]), t, 1)


TESTS: dict[str, Function] = {
    "finite": np.isfinite,
    "infinite": np.isinf,
    "number": lambda x: ~np.isnan(x),
    "notanumber": np.isnan,
    "normal": lambda x: np.isfinite(x) & (np.abs(x) >= np.finfo(x.dtype).tiny),
    "subnormal": lambda x: (x != 0) & (np.abs(x) < np.finfo(x.dtype).tiny),
}


@rule("testp", floats=True)
def testp(words: Words) -> Rule:
    """Whether a number is of that kind."""
    t = number(words)
    return Rule(TESTS[words.need(*TESTS)], (PRED,), (t,))
