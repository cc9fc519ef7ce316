"""Comparisons, which answer with booleans, and the choice between two arrays by one."""

from __future__ import annotations

from typing import Any

from tinygrad_ft.engine import Array, elementwise

__all__ = [
    "bitwise_and", "bitwise_not", "bitwise_or", "eq", "ge", "greater", "greater_equal", "gt", "isfinite", "le", "less",
    "less_equal", "logical_and", "logical_not", "logical_or", "lt", "ne", "not_equal", "where",
]  # fmt: skip


@elementwise
def eq(xp: Any, a: Array, b: Array) -> Array:
    """a == b, as booleans."""
    return xp.equal(a, b)


@elementwise
def ne(xp: Any, a: Array, b: Array) -> Array:
    """a != b, as booleans."""
    return xp.not_equal(a, b)


not_equal = ne  # NumPy's names are PyTorch's too, but for equal, which answers with one truth there


@elementwise
def lt(xp: Any, a: Array, b: Array) -> Array:
    """a < b, as booleans."""
    return xp.less(a, b)


less = lt


@elementwise
def le(xp: Any, a: Array, b: Array) -> Array:
    """a <= b, as booleans."""
    return xp.less_equal(a, b)


less_equal = le


@elementwise
def gt(xp: Any, a: Array, b: Array) -> Array:
    """a > b, as booleans."""
    return xp.greater(a, b)


greater = gt


@elementwise
def ge(xp: Any, a: Array, b: Array) -> Array:
    """a >= b, as booleans."""
    return xp.greater_equal(a, b)


greater_equal = ge


@elementwise
def logical_and(xp: Any, a: Array, b: Array) -> Array:
    """Whether both hold."""
    return xp.logical_and(a, b)


@elementwise
def logical_or(xp: Any, a: Array, b: Array) -> Array:
    """Whether either holds."""
    return xp.logical_or(a, b)


@elementwise
def logical_not(xp: Any, x: Array) -> Array:
    """Whether it does not hold."""
    return xp.logical_not(x)


@elementwise
def bitwise_and(xp: Any, a: Array, b: Array) -> Array:
    """a & b, bit by bit of integers; of booleans, whether both hold."""
    return xp.bitwise_and(a, b)


@elementwise
def bitwise_or(xp: Any, a: Array, b: Array) -> Array:
    """a | b, bit by bit of integers; of booleans, whether either holds."""
    return xp.bitwise_or(a, b)


@elementwise
def bitwise_not(xp: Any, x: Array) -> Array:
    """~x, bit by bit of integers; of booleans, whether it does not hold."""
    return xp.invert(x)


@elementwise
def isfinite(xp: Any, x: Array) -> Array:
    """Whether x is neither infinite nor NaN."""
    return xp.isfinite(x)


@elementwise
def where(xp: Any, condition: Array, a: Array, b: Array) -> Array:
    """y = a where the condition holds, else b."""
    return xp.where(condition, a, b)


@where.vjp
def where_vjp(g: Array, condition: Array) -> tuple[Any, ...]:
    """dy = da where the condition holds, else db; the other side gets exactly 0."""
    return None, lambda: where(condition, g, 0.0), lambda: where(condition, 0.0, g)
