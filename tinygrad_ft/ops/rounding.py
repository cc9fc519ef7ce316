"""Rounding, element by element, and what it leaves over. Rounded numbers are flat: their derivative is 0."""

from __future__ import annotations

from typing import Any

from tinygrad_ft.engine import Array, elementwise
from tinygrad_ft.ops.arithmetic import div, sign, zeros_like
from tinygrad_ft.ops.composed import composed

__all__ = ["ceil", "copysign", "fix", "floor", "fmod", "frac", "mod", "remainder", "round", "trunc"]


@elementwise
def floor(xp: Any, x: Array) -> Array:
    """y = the largest whole number that is not above x."""
    return xp.floor(x)


@elementwise
def ceil(xp: Any, x: Array) -> Array:
    """y = the smallest whole number that is not below x."""
    return xp.ceil(x)


@elementwise
def trunc(xp: Any, x: Array) -> Array:
    """y = x without its digits after the point."""
    return xp.trunc(x)


fix = trunc


@elementwise
def round(xp: Any, x: Array, *, decimals: int = 0) -> Array:
    """y = x to so many digits after the point, before it if negative; a half goes to the even neighbour."""
    return xp.round(x, decimals)


@floor.vjp
@ceil.vjp
@trunc.vjp
@round.vjp
def flat_vjp(g: Array) -> Array:
    """dy = 0."""
    return zeros_like(g)


@composed
def frac(x: Array) -> Array:
    """y = x - trunc(x), the digits after the point, with the sign of x."""
    return x - trunc(x)


@elementwise
def fmod(xp: Any, a: Array, b: Array) -> Array:
    """y = a - b trunc(a / b), what is left of a, with the sign of a."""
    return xp.fmod(a, b)


@fmod.vjp
def fmod_vjp(g: Array, a: Array, b: Array) -> tuple[Any, ...]:
    """dy = da - trunc(a / b) db."""
    return g, lambda: -g * trunc(a / b)


@elementwise
def remainder(xp: Any, a: Array, b: Array) -> Array:
    """y = a - b floor(a / b), what is left of a, with the sign of b, as Python's a % b."""
    return xp.remainder(a, b)


@remainder.vjp
def remainder_vjp(g: Array, a: Array, b: Array) -> tuple[Any, ...]:
    """dy = da - floor(a / b) db."""
    return g, lambda: -g * floor(a / b)


mod = remainder  # its name in NumPy


@div.extended
@composed
def div_rounded(a: Array, b: Array, *, rounding_mode: str | None = None) -> Array:
    """y = a / b as it is, or rounded down ("floor", as Python's a // b) or towards 0 ("trunc"): then it is flat."""
    if rounding_mode is None:
        return div(a, b)
    if rounding_mode not in ("floor", "trunc"):
        raise ValueError(f"div: rounding_mode is None, 'floor' or 'trunc': got {rounding_mode!r}")
    return whole_quotient(a, b, towards=rounding_mode)


@elementwise
def whole_quotient(xp: Any, a: Array, b: Array, *, towards: str) -> Array:
    """y = a / b, rounded down ("floor") or towards 0 ("trunc")."""
    if towards == "floor":
        return xp.floor_divide(a, b)
    return xp.trunc(xp.true_divide(a, b)).astype(xp.result_type(a, b))


@whole_quotient.vjp
def whole_quotient_vjp(g: Array) -> tuple[Any, ...]:
    """dy = 0."""
    return lambda: zeros_like(g), lambda: zeros_like(g)


@elementwise
def copysign(xp: Any, a: Array, b: Array) -> Array:
    """y = |a| with the sign of b, which a zero has too."""
    return xp.copysign(a, b)


@copysign.vjp
def copysign_vjp(g: Array, a: Array, b: Array) -> tuple[Any, ...]:
    """dy = da where a and b have one sign, -da where not, 0 where a = 0; b is flat."""
    return lambda: g * (sign(a) * copysign(1.0, b)), lambda: zeros_like(g)
