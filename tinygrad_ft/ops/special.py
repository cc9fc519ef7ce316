"""Special functions, element by element: the error function's kin, and the logarithm of the gamma function."""

from __future__ import annotations

from math import inf, pi
from math import sqrt as root
from typing import Any

from tinygrad_ft.device import special
from tinygrad_ft.engine import Array, elementwise
from tinygrad_ft.ops.arithmetic import times
from tinygrad_ft.ops.comparison import logical_and, logical_or, where
from tinygrad_ft.ops.composed import composed
from tinygrad_ft.ops.functions import exp, log

__all__ = ["digamma", "erfc", "erfinv", "lgamma", "polygamma", "xlogy"]


def _in_dtype_of(x: Array, y: Array) -> Array:
    """SciPy answers some of these in more digits than x has."""
    return y.astype(x.dtype) if x.dtype.kind == "f" else y


@elementwise
def erfc(xp: Any, x: Array) -> Array:
    """y = 1 - erf(x), to full precision where erf(x) is all but 1."""
    return special(xp).erfc(x)


@erfc.vjp
def erfc_vjp(g: Array, x: Array) -> Array:
    """dy = -2/sqrt(pi) e^(-x^2) dx."""
    return g * (-2.0 / root(pi)) * exp(-(x * x))


@elementwise
def erfinv(xp: Any, x: Array) -> Array:
    """y = the number whose erf is x."""
    return _in_dtype_of(x, special(xp).erfinv(x))


@erfinv.vjp
def erfinv_vjp(g: Array, y: Array) -> Array:
    """dy = sqrt(pi)/2 e^(y^2) dx, infinite at -1 and 1."""
    return times(g, root(pi) / 2.0 * exp(y * y))


@elementwise
def lgamma(xp: Any, x: Array) -> Array:
    """y = log |gamma(x)|; gamma(n + 1) is n! for whole n."""
    return special(xp).gammaln(x)


@lgamma.vjp
def lgamma_vjp(g: Array, x: Array) -> Array:
    """dy = digamma(x) dx."""
    return times(g, digamma(x))


@elementwise
def polygamma_at(xp: Any, x: Array, *, n: int = 0) -> Array:
    """y = the n-th derivative of digamma."""
    return _in_dtype_of(x, special(xp).polygamma(n, x) if n else special(xp).digamma(x))


@polygamma_at.vjp
def polygamma_at_vjp(g: Array, x: Array, *, n: int) -> Array:
    """dy = the next derivative times dx."""
    return times(g, polygamma_at(x, n=n + 1))


@composed
def digamma(x: Array) -> Array:
    """y = the derivative of lgamma."""
    return polygamma_at(x)


@composed
def polygamma(n: int, x: Array) -> Array:
    """y = the n-th derivative of digamma."""
    return polygamma_at(x, n=n)


@composed
def xlogy(a: Array, b: Array) -> Array:
    """y = a log b, and 0 where a is 0 even if log b is infinite or no number, without a derivative there."""
    settled = logical_and(a == 0, logical_or(b <= 0, b == inf))
    return a * log(where(settled, 1.0, b))
