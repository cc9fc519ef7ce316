"""Arithmetic, element by element: sums, products, quotients, absolute values, the larger and the smaller."""

from __future__ import annotations

from math import inf
from typing import Any

import numpy as np

from tinygrad_ft.engine import Array, elementwise
from tinygrad_ft.ops.comparison import logical_and, logical_or, where
from tinygrad_ft.ops.composed import composed

__all__ = [
    "abs", "absolute", "add", "addcdiv", "addcmul", "clamp", "clamp_max", "clamp_min", "div", "divide", "fmax",
    "fmin", "lerp", "maximum", "minimum", "mul", "multiply", "nan_to_num", "neg", "negative", "sign", "sub", "subtract",
    "true_divide",
]  # fmt: skip


@elementwise
def add(xp: Any, a: Array, b: Array) -> Array:
    """y = a + b."""
    return xp.add(a, b)


@add.vjp
def add_vjp(g: Array) -> tuple[Array, Array]:
    """dy = da + db."""
    return g, g


@add.extended
@composed
def add_scaled(a: Array, b: Array, *, alpha: float = 1) -> Array:
    """y = a + alpha b."""
    return add(a, mul(b, alpha))


@elementwise
def sub(xp: Any, a: Array, b: Array) -> Array:
    """y = a - b."""
    return xp.subtract(a, b)


@sub.vjp
def sub_vjp(g: Array) -> tuple[Any, ...]:
    """dy = da - db."""
    return g, lambda: -g


@sub.extended
@composed
def sub_scaled(a: Array, b: Array, *, alpha: float = 1) -> Array:
    """y = a - alpha b."""
    return sub(a, mul(b, alpha))


subtract = sub


@elementwise
def neg(xp: Any, x: Array) -> Array:
    """y = -x."""
    return xp.negative(x)


@neg.vjp
def neg_vjp(g: Array) -> Array:
    """dy = -dx."""
    return -g


negative = neg


@elementwise
def mul(xp: Any, a: Array, b: Array) -> Array:
    """y = a b."""
    return xp.multiply(a, b)


@mul.vjp
def mul_vjp(g: Array, a: Array, b: Array) -> tuple[Any, ...]:
    """dy = b da + a db."""
    return lambda: g * b, lambda: g * a


multiply = mul


@elementwise
def div(xp: Any, a: Array, b: Array) -> Array:
    """y = a / b."""
    return xp.true_divide(a, b)


@div.vjp
def div_vjp(g: Array, a: Array, b: Array) -> tuple[Any, ...]:
    """dy = da / b - a / b^2 db."""
    return lambda: over(g, b), lambda: -over(over(g * a, b), b)


divide = true_divide = div  # the other names that NumPy and PyTorch have, here and below


@elementwise
def over(xp: Any, g: Array, d: Array) -> Array:
    """y = g / d, where a zero g stays zero even if d is zero: a cotangent that nobody asked about brings no NaN."""
    return xp.true_divide(g, xp.where(xp.equal(g, 0), xp.asarray(1, dtype=g.dtype), d))


@over.vjp
def over_vjp(h: Array, g: Array, d: Array) -> tuple[Any, ...]:
    """As the quotient it is."""
    return lambda: over(h, d), lambda: -over(over(h * g, d), d)


@elementwise
def times(xp: Any, g: Array, d: Array) -> Array:
    """y = g d, where a zero g stays zero even if d is infinite.

    With `over` it keeps NaN from the branch that `where` left out: the rules of div, pow, sqrt, log and exp, whose
    slopes can be infinite at a finite x, multiply by them so. Those of mul and matmul do not, where it would cost more
    than the product itself: there 0 times an infinite factor is NaN.
    """
    return xp.multiply(g, xp.where(xp.equal(g, 0), xp.asarray(0, dtype=g.dtype), d))


@times.vjp
def times_vjp(h: Array, g: Array, d: Array) -> tuple[Any, ...]:
    """As the product it is."""
    return lambda: times(h, d), lambda: h * g


@elementwise
def abs(xp: Any, x: Array) -> Array:
    """y = |x|; the derivative at 0 is taken to be 0."""
    return xp.abs(x)


@abs.vjp
def abs_vjp(g: Array, x: Array) -> Array:
    """dy = sign(x) dx."""
    return g * sign(x)


absolute = abs


@elementwise
def sign(xp: Any, x: Array) -> Array:
    """y = -1, 0 or 1: flat, so its derivative is 0."""
    return xp.sign(x)


@sign.vjp
def sign_vjp(g: Array) -> Array:
    """dy = 0."""
    return zeros_like(g)


@elementwise
def zeros_like(xp: Any, x: Array) -> Array:
    """Zeros in the shape of x."""
    return xp.zeros_like(x)


@elementwise
def maximum(xp: Any, a: Array, b: Array) -> Array:
    """y = the larger of a and b; at a tie each has half of the derivative."""
    return xp.maximum(a, b)


@maximum.vjp
def maximum_vjp(g: Array, a: Array, b: Array) -> tuple[Any, ...]:
    """dy = da where a is larger, db where b is, half of each at a tie, all of each where either is NaN."""
    return lambda: g * share(a < b, a == b), lambda: g * share(b < a, a == b)


@elementwise
def minimum(xp: Any, a: Array, b: Array) -> Array:
    """y = the smaller of a and b; at a tie each has half of the derivative."""
    return xp.minimum(a, b)


@minimum.vjp
def minimum_vjp(g: Array, a: Array, b: Array) -> tuple[Any, ...]:
    """dy = da where a is smaller, db where b is, half of each at a tie, all of each where either is NaN."""
    return lambda: g * share(a > b, a == b), lambda: g * share(b > a, a == b)


@elementwise
def share(xp: Any, lost: Array, tied: Array) -> Array:
    """1/2 where tied, 0 where lost, 1 elsewhere."""
    return xp.where(tied, xp.float32(0.5), xp.where(lost, xp.float32(0.0), xp.float32(1.0)))


@elementwise
def clip(xp: Any, x: Array, *, min: float | None = None, max: float | None = None) -> Array:
    """y = x, held between the numbers min and max, of which one may be None."""
    if min is None and max is None:
        raise ValueError("clip needs min or max: both are None, which would clip nothing")
    return xp.clip(x, min, max)


@clip.vjp
def clip_vjp(g: Array, x: Array, *, min: float | None, max: float | None) -> Array:
    """dy = dx inside and on the bounds, 0 outside."""
    inside = x == x if min is None else x >= min
    return where(inside if max is None else logical_and(inside, x <= max), g, 0.0)


@composed
def clamp(x: Array, min: Any = None, max: Any = None) -> Array:
    """y = x, held between min and max: numbers, or arrays that have a derivative where x is beyond them.

    Where min is above max, y is max.
    """
    if all_numbers(min, max):
        return clip(x, min=min, max=max)
    x = x if min is None else where(x < min, min, x)
    return x if max is None else where(x > max, max, x)


def all_numbers(*bounds: Any) -> bool:
    """Whether each is a Python number or None."""
    return all(b is None or isinstance(b, int | float) for b in bounds)


@composed
def clamp_min(x: Array, min: Any) -> Array:
    """y = x, or min where x is below it."""
    return clamp(x, min=min)


@composed
def clamp_max(x: Array, max: Any) -> Array:
    """y = x, or max where x is above it."""
    return clamp(x, max=max)


@composed
def fmax(a: Array, b: Array) -> Array:
    """y = the larger of a and b, the other where one is NaN; at a tie a has the derivative."""
    return where(logical_or(a >= b, b != b), a, b)


@composed
def fmin(a: Array, b: Array) -> Array:
    """y = the smaller of a and b, the other where one is NaN; at a tie a has the derivative."""
    return where(logical_or(a <= b, b != b), a, b)


@composed
def lerp(a: Array, end: Array, weight: Any) -> Array:
    """y = a + weight (end - a), on the way from a to the end."""
    return add(a, mul(weight, sub(end, a)))


@composed
def addcmul(x: Array, tensor1: Array, tensor2: Array, value: float = 1.0) -> Array:
    """y = x + value a b."""
    return add(x, mul(value, mul(tensor1, tensor2)))


@composed
def addcdiv(x: Array, tensor1: Array, tensor2: Array, value: float = 1.0) -> Array:
    """y = x + value a / b."""
    return add(x, mul(value, div(tensor1, tensor2)))


@composed
def nan_to_num(x: Array, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None) -> Array:
    """y = x with numbers for NaN and the infinities (the largest of the dtype if None); flat where it put one."""
    if x.dtype.kind != "f":
        return x
    largest = float(np.finfo(x.dtype).max)
    x = where(x != x, nan, x)
    x = where(x == inf, largest if posinf is None else posinf, x)
    return where(x == -inf, -largest if neginf is None else neginf, x)
