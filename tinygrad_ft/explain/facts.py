"""What can be told of a formula by looking at it: its number in front, its sign, whether it is whole."""

from __future__ import annotations

from fractions import Fraction
from math import isfinite, isqrt

from tinygrad_ft.explain.expression import ONE, ZERO, Expression, Value, column, plain_number


def split(x: Expression) -> tuple[Value, Expression]:
    """A term as its number and the rest."""
    if x.head == "number":
        return x.data, ONE
    if x.head == "product" and x.args[0].head == "number":
        rest = x.args[1:]
        return x.args[0].data, rest[0] if len(rest) == 1 else Expression("product", rest, shape=x.shape)
    return Fraction(1), x


def scaled(c: Value, x: Expression) -> Expression:
    """A number times a simplified expression without a number in front."""
    if x is ONE or x == ONE:
        return plain_number(c)
    if c == 1:
        return x
    if x.head == "column":
        within, rest = split(x.args[0])
        return column(scaled(c * within, rest))
    if x.head == "sum" and c == -1:
        return Expression("sum", tuple(scaled(-k, t) for k, t in map(split, x.args)), shape=x.shape)
    factors = x.args if x.head == "product" else (x,)
    return Expression("product", (plain_number(c), *factors), shape=x.shape)


def is_integer(x: Expression) -> bool:
    """Whether x is a whole number."""
    return x.head == "number" and isinstance(x.data, Fraction) and x.data.denominator == 1


TRUTHS = {"less", "less_equal", "greater", "greater_equal", "equal", "not_equal", "logical_not"}


def is_truth(x: Expression) -> bool:
    """Whether x is 1 or 0, as something holds or does not."""
    return x.head == "call" and x.data in TRUTHS


POSITIVE = {"cosh", "sigmoid", "softplus"}


def is_positive(x: Expression) -> bool:
    """Whether x is above 0 wherever it is defined."""
    if x.head in ("number", "power"):
        return x.data > 0 if x.head == "number" else is_positive(x.args[0])
    if x.head == "sum":
        return all(map(is_nonnegative, x.args)) and any(map(is_positive, x.args))
    if x.head in ("product", "column"):
        return all(map(is_positive, x.args))
    if x.head == "reduce":
        return is_positive(x.args[0])
    return x.head in ("constant", "softmax") or (x.head == "call" and x.data in POSITIVE)


def is_nonnegative(x: Expression) -> bool:
    """Whether x is 0 or above wherever it is defined."""
    if x.head == "power":
        even = is_integer(x.args[1]) and x.args[1].data % 2 == 0
        return even or is_nonnegative(x.args[0])
    if x.head == "number":
        return bool(x.data >= 0)
    if x.head in ("sum", "product", "column", "reduce"):
        return all(map(is_nonnegative, x.args))
    return is_positive(x) or (x.head == "call" and x.data == "abs")


LARGEST_POWER = 64  # of exact numbers: beyond it they are floats


def power_of_numbers(base: Value, exponent: Value) -> Expression:
    """A power of numbers: exact where that is short, a root where it has to be, NaN or inf where it does not exist."""
    unevaluated = Expression("power", (plain_number(base), plain_number(exponent)))
    if isinstance(base, Fraction) and isinstance(exponent, Fraction):
        if exponent.denominator == 1 and abs(exponent) <= LARGEST_POWER and (base != 0 or exponent > 0):
            return plain_number(base**exponent.numerator)
        if base < 0 or base == 0:
            return ZERO if base == 0 and exponent > 0 else unevaluated
        if exponent.denominator == 2 and abs(exponent) <= LARGEST_POWER:
            up, down = isqrt(base.numerator), isqrt(base.denominator)
            if up * up == base.numerator and down * down == base.denominator:
                return plain_number(Fraction(up, down) ** exponent.numerator)
            if abs(exponent) != Fraction(1, 2) or base.numerator == 1:  # 2^(3/2) is 2 sqrt(2), (1/2)^(1/2) 2^(-1/2)
                whole_part, half = divmod(exponent, 1)
                if base.numerator == 1:
                    return power_of_numbers(1 / base, -exponent)
                root = Expression("power", (plain_number(base), plain_number(half)))
                return scaled(base ** int(whole_part), root)
        return unevaluated
    try:
        found = float(base) ** float(exponent)
    except (OverflowError, ZeroDivisionError):
        return unevaluated
    return plain_number(found) if isinstance(found, float) and isfinite(found) else unevaluated
