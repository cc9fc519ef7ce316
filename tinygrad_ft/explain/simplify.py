"""Functions that go element by element: what is known of each, comparisons, and the choice between two values."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from tinygrad_ft.explain.algebra import (
    absolute,
    add,
    divide,
    multiply,
    negative,
    power,
)
from tinygrad_ft.explain.expression import (
    HALF,
    MINUS,
    ONE,
    PI,
    TWO,
    ZERO,
    E,
    Expression,
    elementwise,
    plain_number,
    together,
)
from tinygrad_ft.explain.facts import is_nonnegative, is_positive, split

ODD = {"sin", "tan", "sinh", "tanh", "arcsin", "arctan", "arcsinh", "arctanh", "erf", "sign"}
EVEN = {"cos", "cosh"}
AT_ZERO = {**dict.fromkeys(ODD, ZERO), "cos": ONE, "cosh": ONE, "sigmoid": HALF}
COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "less": lambda a, b: a < b, "less_equal": lambda a, b: a <= b, "greater": lambda a, b: a > b,
    "greater_equal": lambda a, b: a >= b, "equal": lambda a, b: a == b, "not_equal": lambda a, b: a != b,
}  # fmt: skip
OPPOSITE = {"less": "greater_equal", "greater": "less_equal", "equal": "not_equal"}
OPPOSITE |= {theirs: ours for ours, theirs in OPPOSITE.items()}
MIRRORED = {"less": "greater", "greater": "less", "less_equal": "greater_equal", "greater_equal": "less_equal"}
LOGICAL = {"logical_and", "logical_or", "logical_not"}

# What the engine's rules write as floats, and people as roots and logarithms
CONSTANTS: dict[float, Expression] = {
    math.pi: PI,
    -math.pi: negative(PI),
    2.0 / math.sqrt(math.pi): divide(TWO, power(PI, HALF)),
    math.sqrt(2.0): power(TWO, HALF),
    math.sqrt(0.5): power(TWO, negative(HALF)),
    math.sqrt(2.0 / math.pi): power(divide(TWO, PI), HALF),
    math.sqrt(0.5 / math.pi): power(multiply(TWO, PI), negative(HALF)),
    math.log(2.0): Expression("call", (TWO,), "log"),
    math.log(10.0): Expression("call", (plain_number(10),), "log"),
    math.e: E,
}


def number(value: float | Fraction) -> Expression:
    """A number, as the fraction, root or logarithm that it stands for where it is one of the usual ones."""
    if isinstance(value, Fraction):
        return plain_number(value)
    exact = plain_number(float(value))
    if value in CONSTANTS or isinstance(exact.data, Fraction):
        return CONSTANTS.get(value, exact)
    if 1e-3 < abs(value) < 1e3:
        square = Fraction(value * value).limit_denominator(100)
        if abs(math.sqrt(square) - abs(value)) <= 2 * math.ulp(value):  # 1 / sqrt(3), as attention has it
            root = power(plain_number(square), HALF)
            return root if value > 0 else negative(root)
    return exact


def apply(name: str, *args: Expression) -> Expression:
    """name(args), by what is known of the function."""
    return elementwise(lambda *xs: _apply(name, *xs))(*args)


def _apply(name: str, *args: Expression) -> Expression:
    x = args[0]
    if name in COMPARISONS:
        return _compared(name, x, args[1])
    if name in SPECIAL:
        return SPECIAL[name](*args)
    if name in AT_ZERO and x == ZERO:
        return AT_ZERO[name]
    if len(args) == 1 and split(x)[0] < 0:
        if name in ODD:
            return negative(_apply(name, negative(x)))
        if name in EVEN:
            return _apply(name, negative(x))
    return Expression("call", args, name, together(*args))


def _log(x: Expression) -> Expression:
    """log x; of e^u, u; of a product with e^u in it, u more."""
    if x == ONE:
        return ZERO
    if x is E:
        return ONE
    if x.head == "power" and (x.args[0] is E or (is_positive(x.args[0]) and x.args[1].head == "number")):
        return multiply(x.args[1], _log(x.args[0]))
    if x.head == "product":
        free = [f for f in x.args if f.head == "power" and f.args[0] is E]
        rest = [f for f in x.args if f not in free]
        if free and (not rest or is_nonnegative(multiply(*rest))):
            return add(*map(_log, free), *([_log(multiply(*rest))] if rest else []))
    return Expression("call", (x,), "log", x.shape)


def _sign(x: Expression) -> Expression:
    if is_positive(x):
        return ONE
    c, rest = split(x)
    if rest is ONE:
        return plain_number((c > 0) - (c < 0))
    if c < 0:
        return negative(_sign(negative(x)))
    return Expression("call", (rest,), "sign", x.shape)


def _extreme(name: str) -> Callable[..., Expression]:
    pick = max if name == "maximum" else min

    def of_two(a: Expression, b: Expression) -> Expression:
        if a == b:
            return a
        if a.head == b.head == "number":
            return plain_number(pick(a.data, b.data))
        if b.head != "number" and (a.head == "number" or b.key < a.key):
            a, b = b, a  # a number comes second
        if b == ZERO and is_nonnegative(a):
            return a if name == "maximum" else ZERO
        return Expression("call", (a, b), name, together(a, b))

    return of_two


def _compared(name: str, a: Expression, b: Expression) -> Expression:
    """Whether a stands so to b, as 1 or 0. Symbols stand for arrays in general position: unequal, finite, not NaN."""
    if a.head == b.head == "number":
        return ONE if COMPARISONS[name](a.data, b.data) else ZERO
    if a == b:
        return ONE if COMPARISONS[name](0, 0) else ZERO
    if name in ("equal", "not_equal") and not (_is_extreme(a) or _is_extreme(b)):
        return ZERO if name == "equal" else ONE
    if a.head == "number" and name in MIRRORED:
        return _compared(MIRRORED[name], b, a)
    if b == ZERO:
        if is_positive(a) or (is_nonnegative(a) and name in ("less", "greater_equal")):
            return ONE if name in ("greater", "greater_equal", "not_equal") else ZERO
        if a.head == "call" and a.data == "maximum" and a.args[1] == ZERO and name in ("greater", "less_equal"):
            return _compared(name, a.args[0], ZERO)  # relu's y > 0
        if split(a)[0] < 0 and a.head != "sum" and name in MIRRORED:
            return _compared(MIRRORED[name], negative(a), ZERO)
        if split(a)[0] not in (1, -1):
            return _compared(name, split(a)[1], ZERO)
    return Expression("call", (a, b), name, together(a, b))


def _is_extreme(x: Expression) -> bool:
    """Whether x is the largest or smallest of some elements, to which one of them is equal indeed."""
    x = x.args[0] if x.head == "column" else x
    return x.head == "reduce" and x.data[0] in ("max", "min")


def _not(x: Expression) -> Expression:
    if x.head == "number":
        return ONE if x == ZERO else ZERO
    if x.head == "call" and x.data in OPPOSITE:
        return Expression("call", x.args, OPPOSITE[x.data], x.shape)
    return Expression("call", (x,), "logical_not", x.shape)


def _and(a: Expression, b: Expression) -> Expression:
    return ZERO if ZERO in (a, b) else b if a in (ONE, b) else a if b == ONE else multiply(a, b)


def _or(a: Expression, b: Expression) -> Expression:
    return _not(_and(_not(a), _not(b)))


def _where(condition: Expression, a: Expression, b: Expression) -> Expression:
    if condition.head == "number":
        return b if condition == ZERO else a
    if a == b:
        return a
    if b == ZERO and is_finite(a):
        return multiply(condition, a)
    if a == ZERO and is_finite(b):
        return multiply(_not(condition), b)
    return _chosen(condition, a, b)


def _chosen(condition: Expression, a: Expression, b: Expression) -> Expression:
    return Expression("call", (condition, a, b), "where", together(condition, a, b))


BOUNDED = {"sin", "cos", "tanh", "sigmoid", "softplus", "erf", "sign", "abs", "maximum", "minimum", "arctan"}


def is_finite(x: Expression) -> bool:
    """Whether x is a finite number wherever its symbols are, so that 0 times it is 0."""
    if x.head == "power":
        exponent = x.args[1]
        if x.args[0] is E:
            return is_finite(exponent)
        return exponent.head == "number" and exponent.data > 0 and exponent.data % 1 == 0 and is_finite(x.args[0])
    if x.head == "call" and x.data not in (BOUNDED | COMPARISONS.keys()):
        return False
    return all(map(is_finite, x.args))


SPECIAL: dict[str, Callable[..., Expression]] = {
    "exp": lambda x: power(E, x),
    "exp2": lambda x: power(TWO, x),
    "expm1": lambda x: add(power(E, x), MINUS),
    "log": _log,
    "log1p": lambda x: _log(add(ONE, x)),
    "log2": lambda x: divide(_log(x), _log(TWO)),
    "log10": lambda x: divide(_log(x), _log(plain_number(10))),
    "logaddexp": lambda a, b: _log(add(power(E, a), power(E, b))),
    "sqrt": lambda x: power(x, HALF),
    "square": lambda x: power(x, TWO),
    "reciprocal": lambda x: power(x, MINUS),
    "abs": absolute,
    "hypot": lambda a, b: power(add(power(a, TWO), power(b, TWO)), HALF),
    "sign": _sign,
    "maximum": _extreme("maximum"),
    "minimum": _extreme("minimum"),
    "logical_not": _not,
    "logical_and": _and,
    "logical_or": _or,
    "where": _where,
}
