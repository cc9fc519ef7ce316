"""Trigonometric and hyperbolic functions beyond sin, cos and tanh, and their inverses; angles in radians."""

from __future__ import annotations

from math import pi
from typing import Any

from tinygrad_ft.engine import Array, elementwise
from tinygrad_ft.ops.arithmetic import abs, over, times
from tinygrad_ft.ops.comparison import where
from tinygrad_ft.ops.composed import composed
from tinygrad_ft.ops.functions import sin, sqrt

__all__ = [
    "acos", "acosh", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctan2", "arctanh", "asin", "asinh", "atan",
    "atan2", "atanh", "cosh", "deg2rad", "degrees", "hypot", "rad2deg", "radians", "sinc", "sinh", "tan",
]  # fmt: skip


@elementwise
def tan(xp: Any, x: Array) -> Array:
    """y = sin x / cos x."""
    return xp.tan(x)


@tan.vjp
def tan_vjp(g: Array, y: Array) -> Array:
    """dy = (1 + y^2) dx."""
    return g * (1.0 + y * y)


@elementwise
def asin(xp: Any, x: Array) -> Array:
    """y = the angle from -pi/2 to pi/2 whose sine is x."""
    return xp.arcsin(x)


@asin.vjp
def asin_vjp(g: Array, x: Array) -> Array:
    """dy = dx / sqrt(1 - x^2), infinite at -1 and 1."""
    return over(g, sqrt((1.0 - x) * (1.0 + x)))


@elementwise
def acos(xp: Any, x: Array) -> Array:
    """y = the angle from 0 to pi whose cosine is x."""
    return xp.arccos(x)


@acos.vjp
def acos_vjp(g: Array, x: Array) -> Array:
    """dy = -dx / sqrt(1 - x^2), infinite at -1 and 1."""
    return -over(g, sqrt((1.0 - x) * (1.0 + x)))


@elementwise
def atan(xp: Any, x: Array) -> Array:
    """y = the angle from -pi/2 to pi/2 whose tangent is x."""
    return xp.arctan(x)


@atan.vjp
def atan_vjp(g: Array, x: Array) -> Array:
    """dy = dx / (1 + x^2)."""
    return g / (1.0 + x * x)


@elementwise
def atan2(xp: Any, a: Array, b: Array) -> Array:
    """y = the angle from -pi to pi of the point with height a and width b."""
    return xp.arctan2(a, b)


@atan2.vjp
def atan2_vjp(g: Array, a: Array, b: Array) -> tuple[Any, ...]:
    """dy = (b da - a db) / (a^2 + b^2); 0 at the origin."""
    return lambda: over(g * b, a * a + b * b), lambda: -over(g * a, a * a + b * b)


@elementwise
def hypot(xp: Any, a: Array, b: Array) -> Array:
    """y = sqrt(a^2 + b^2), where the squares cannot overflow."""
    return xp.hypot(a, b)


@hypot.vjp
def hypot_vjp(g: Array, a: Array, b: Array, y: Array) -> tuple[Any, ...]:
    """dy = (a da + b db) / y; 0 at the origin."""
    return lambda: over(g * a, y), lambda: over(g * b, y)


@elementwise
def sinh(xp: Any, x: Array) -> Array:
    """y = (e^x - e^-x) / 2."""
    return xp.sinh(x)


@sinh.vjp
def sinh_vjp(g: Array, x: Array) -> Array:
    """dy = cosh(x) dx."""
    return times(g, cosh(x))


@elementwise
def cosh(xp: Any, x: Array) -> Array:
    """y = (e^x + e^-x) / 2."""
    return xp.cosh(x)


@cosh.vjp
def cosh_vjp(g: Array, x: Array) -> Array:
    """dy = sinh(x) dx."""
    return times(g, sinh(x))


@elementwise
def asinh(xp: Any, x: Array) -> Array:
    """y = log(x + sqrt(x^2 + 1))."""
    return xp.arcsinh(x)


@asinh.vjp
def asinh_vjp(g: Array, x: Array) -> Array:
    """dy = dx / sqrt(x^2 + 1)."""
    return g / hypot(x, 1.0)


@elementwise
def acosh(xp: Any, x: Array) -> Array:
    """y = log(x + sqrt(x^2 - 1)), for x >= 1."""
    return xp.arccosh(x)


@acosh.vjp
def acosh_vjp(g: Array, x: Array) -> Array:
    """dy = dx / sqrt(x^2 - 1), infinite at 1."""
    return over(g, sqrt((x - 1.0) * (x + 1.0)))


@elementwise
def atanh(xp: Any, x: Array) -> Array:
    """y = log((1 + x) / (1 - x)) / 2."""
    return xp.arctanh(x)


@atanh.vjp
def atanh_vjp(g: Array, x: Array) -> Array:
    """dy = dx / (1 - x^2), infinite at -1 and 1."""
    return over(g, (1.0 - x) * (1.0 + x))


@composed
def sinc(x: Array) -> Array:
    """y = sin(pi x) / (pi x), 1 at 0; near 0 by its series, since there the quotient's slope would lose digits."""
    z = x * pi
    near = abs(z) < 0.1
    s, z = z * z, where(near, 1.0, z)
    s = where(near, s, 0.0)
    series = 1.0 - s / 6.0 * (1.0 - s / 20.0 * (1.0 - s / 42.0 * (1.0 - s / 72.0)))
    return where(near, series, sin(z) / z)


@composed
def deg2rad(x: Array) -> Array:
    """Degrees as radians."""
    return x * (pi / 180.0)


@composed
def rad2deg(x: Array) -> Array:
    """Radians as degrees."""
    return x * (180.0 / pi)


arcsin, arccos, arctan, arctan2 = asin, acos, atan, atan2  # their names in NumPy, which PyTorch takes too
arcsinh, arccosh, arctanh = asinh, acosh, atanh
degrees, radians = rad2deg, deg2rad
