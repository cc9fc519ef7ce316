"""Scalar functions that LLVM turns into vector instructions inside a loop, which `math.exp` never does under Numba.

What vectorising needs, each measured to cost 8 to 14 times if forgotten: error_model="numpy" wherever there is a
division, loops over a whole array (`range(x.size)`), and no branch but a select.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numba
import numpy as np

F = np.float32


def compiled(f: Any, *, inline: Any = "never") -> Any:
    """Numba's njit with the options that let LLVM vectorise, compiled at first use and cached on disk."""
    # No more of fastmath than fused multiply-add: the rest saved nothing here, "arcp" and "nnan" made NaN of gelu(inf),
    # and "reassoc" would cancel the rounding by addition in exp32.
    return numba.njit(f, inline=inline, fastmath={"contract"}, error_model="numpy", nogil=True, cache=True)


inlined = partial(compiled, inline="always")


def alike(*arrays: Any) -> bool:
    """Whether these are NumPy arrays of one floating dtype that a loop can walk through side by side."""
    dtype = arrays[0].dtype
    return dtype in (np.float32, np.float64) and all(
        isinstance(a, np.ndarray) and a.dtype == dtype and a.flags.c_contiguous for a in arrays
    )


SHIFTER = F(12582912.0)  # 1.5 * 2^23: adding and subtracting it leaves the nearest integer


@inlined
def exp32(x: Any) -> Any:
    """e^x for float32, relative error 1.2e-7; x is held between -87 and 88, where float32 ends.

    e^x = 2^n e^r with n the integer nearest to x / ln 2: r is at most 0.35, where a polynomial of degree 7 is enough,
    and 2^n is n written into the exponent bits. Polynomial: Cephes, expf (Moshier, 1992).
    """
    x = min(max(x, F(-87.0)), F(88.0))
    n = (x * F(1.44269504) + SHIFTER) - SHIFTER
    r = x - n * F(0.693359375) - n * F(-2.12194440e-4)  # ln 2 in two parts, the first exact in few bits
    p = F(1.9875691500e-4)
    p = p * r + F(1.3981999507e-3)
    p = p * r + F(8.3334519073e-3)
    p = p * r + F(4.1665795894e-2)
    p = p * r + F(1.6666665459e-1)
    p = p * r + F(5.0000001201e-1)
    return (p * r * r + r + F(1.0)) * np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)


@inlined
def normal_tail(x: Any) -> Any:
    """(chance that a standard normal is below x, its density at x without the factor 1/sqrt(2 pi)), for float32.

    Absolute error 3e-7, of which 8e-8 is the formula's and the rest rounding: gelu is off by up to 4.2e-7, NumPy's six
    passes in float32 by up to 4.5e-7. Both are exactly 0 below -13, and NaN at NaN.
    Source: Abramowitz and Stegun, "Handbook of Mathematical Functions", 1964, formula 7.1.26.
    """
    z = abs(x) * F(0.70710678)
    t = F(1.0) / (F(1.0) + F(0.3275911) * z)
    e = exp32(-z * z) if z < F(9.25) else F(0.0)  # else the clamp in exp32 leaves 1e-38, and -inf times it is -inf
    p = F(1.061405429) * t + F(-1.453152027)
    p = (((p * t + F(1.421413741)) * t + F(-0.284496736)) * t + F(0.254829592)) * t
    beyond = F(0.5) * p * e
    return (beyond if x < F(0.0) else F(1.0) - beyond), e
