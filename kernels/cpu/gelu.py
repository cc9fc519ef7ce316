"""GELU and how it passes a cotangent on, on the CPU, in one pass each.

Replaces: ops.functions.gelu and gelu_grad with erf. Moves 8 bytes an element in float32, backward 12, as one NumPy pass
does; NumPy needs six passes, and SciPy's erf alone takes 5 to 15 ns an element where this takes about 1.
Applies: contiguous float32 or float64 x; in an eager call of 4,096 elements or more, below that SciPy is as quick. A
cotangent that is neither contiguous nor one number is copied first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba.extending import overload

from tinygrad_ft.dispatch import Share
from tinygrad_ft.kernels.cpu.cotangent import fits, fits_as_it_is, numbers_of
from tinygrad_ft.kernels.cpu.eager import done
from tinygrad_ft.kernels.cpu.vector import alike, compiled, exp64, inlined, normal_tail
from tinygrad_ft.ops.functions import gelu, gelu_grad

THRESHOLD = 4096
WEIGHT = 2.0  # of a byte: see dispatch.Share
DENSITY = 0.3989422804014327  # 1 / sqrt(2 pi)


@inlined
def normal_tail64(x: Any) -> Any:
    """What vector.normal_tail answers, for float64: relative error of the chance 1e-15 down to x = -37, 0 below -37.6.

    The chance beyond a = |x| is e^(-a^2/2) f(u) / (a + 5), where u = (a - 5) / (a + 5) runs from -1 to 1 and f is so
    smooth that a polynomial of degree 22 is right to 1.3e-16: its Chebyshev series, computed with 80 digits.
    Source of the change of variable: Shepherd and Laframboise, "Chebyshev Approximation of (1 + 2x) exp(x^2) erfc x in
    0 <= x < infinity", 1981.
    """
    a = abs(x)
    t = 1.0 / (a + 5.0)
    u = 1.0 - 10.0 * t
    p = -7.854458583247658e-10 * u + 5.059297487966696e-10
    p = (p * u + 9.275082241537343e-09) * u - 5.027231930966982e-09
    p = (p * u - 6.741689051823604e-08) * u + 3.5844546560871596e-08
    p = (p * u + 4.3347664285137567e-07) * u - 3.311028544331811e-07
    p = (p * u - 2.7688787836720915e-06) * u + 3.977938262343427e-06
    p = (p * u + 1.6680852719925394e-05) * u - 4.976178374018789e-05
    p = (p * u - 5.937558833377767e-05) * u + 0.0005448988347568596
    p = (p * u - 0.0007978694277475297) * u - 0.0029933767389359726
    p = (p * u + 0.02079506680323404) * u - 0.06911863870874183
    p = (p * u + 0.16502036617019517) * u - 0.3135331566712172
    p = (p * u + 0.4953056159699805) * u - 0.6653825028900576
    p = p * u + 0.769193049750063
    short = np.int64(np.float64(a).view(np.int64) & -(1 << 27)).view(np.float64)  # of 26 bits: its square is exact
    rest = 0.5 * (a - short) * (a + short)
    e = exp64(-0.5 * short * short) * (1.0 - rest * (1.0 - 0.5 * rest)) if a < 37.6 else 0.0
    beyond = p * t * e
    return (beyond if x < 0.0 else 1.0 - beyond), e


def tail(x: float) -> tuple[float, float]:
    """normal_tail in the precision of x."""
    raise NotImplementedError("compiled code alone calls this")


@overload(tail, inline="always")
def _tail(x: Any) -> Callable[..., Any]:
    def single(x: Any) -> Any:
        return normal_tail(x)

    def double(x: Any) -> Any:
        return normal_tail64(x)

    return single if x == numba.float32 else double


@compiled
def gelu_stretch(x: Any, y: Any, start: int, end: int) -> None:
    """y = gelu(x) for elements start to end."""
    x, y = x[start:end], y[start:end]
    for i in range(x.size):
        y[i] = x[i] * tail(x[i])[0]


@compiled
def gelu_grad_stretch(g: Any, x: Any, y: Any, start: int, end: int) -> None:
    """y = g times the slope of gelu at x for elements start to end."""
    g, x, y = g[start:end], x[start:end], y[start:end]
    density = x.dtype.type(DENSITY)
    for i in range(x.size):
        below, e = tail(x[i])
        y[i] = g[i] * (below + x[i] * e * density)


@compiled
def gelu_grad_of_one_stretch(g: Any, x: Any, y: Any, start: int, end: int) -> None:
    """The same for a g of one number; in a loop of its own, since Numba warns where it inlines a function twice."""
    x, y = x[start:end], y[start:end]
    by, density = g[0], x.dtype.type(DENSITY)
    for i in range(x.size):
        below, e = tail(x[i])
        y[i] = by * (below + x[i] * e * density)


def _fits(x: Any, *, approximate: str) -> bool:
    return approximate == "none" and isinstance(x, np.ndarray) and alike(x)  # not a Python number


@gelu.shares("cpu", when=_fits)
def gelu_shares(y: Any, x: Any, *, approximate: str) -> list[Share]:
    """Elements."""
    return [Share(gelu_stretch, x.size, (x.reshape(-1), y.reshape(-1)), WEIGHT)]


@gelu_grad.shares("cpu", when=fits_as_it_is)
def gelu_grad_shares(y: Any, g: Any, x: Any) -> list[Share]:
    """Elements."""
    g = numbers_of(g)
    loop = gelu_grad_stretch if g.size == x.size else gelu_grad_of_one_stretch
    return [Share(loop, x.size, (g, x.reshape(-1), y.reshape(-1)))]


@gelu.kernel("cpu", when=_fits, elements=THRESHOLD)
def gelu_one_pass(xp: Any, x: Any, *, approximate: str) -> Any:
    """Value in one pass."""
    return done(np.empty_like(x), gelu_shares, x, approximate=approximate)


@gelu_grad.kernel("cpu", when=fits, elements=THRESHOLD)
def gelu_grad_one_pass(xp: Any, g: Any, x: Any) -> Any:
    """Slope and product in one pass."""
    return done(np.empty_like(x), gelu_grad_shares, g, x)
