"""exp, tanh, sigmoid, erf and log of a number of either dtype, over the whole range, in a form that LLVM vectorises.

For loops over elements, as those that a recorded step is fused into. Each names its error against the true value; all
answer as NumPy does at the infinities, at NaN and at 0. The ranges are joined by selects, never by branches.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba.extending import overload

from tinygrad_ft.kernels.cpu.vector import SHIFTER, SHIFTER64, F, exp32, exp64, inlined

D = np.float64
LN2, LN2_REST = F(0.693359375), F(-2.12194440e-4)  # ln 2 in two parts, the first exact in few bits
LN2_64, LN2_REST_64 = 6.93145751953125e-1, 1.42860682030941723212e-6


@inlined
def power32(n: Any) -> Any:
    """2^n as a float32, for integers n from -126 to 127."""
    return np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)


@inlined
def parts32(x: Any) -> Any:
    """(n, e^r - 1) with x = n ln 2 + r and |r| up to 0.35, as in `vector.exp32`; the second is exact at r = 0."""
    n = (x * F(1.44269504) + SHIFTER) - SHIFTER
    r = x - n * LN2 - n * LN2_REST
    p = F(1.9875691500e-4)
    p = p * r + F(1.3981999507e-3)
    p = p * r + F(8.3334519073e-3)
    p = p * r + F(4.1665795894e-2)
    p = p * r + F(1.6666665459e-1)
    p = p * r + F(5.0000001201e-1)
    return n, p * r * r + r


@inlined
def parts64(x: Any) -> Any:
    """(x / ln 2 + SHIFTER64, whose last bits are the integer n; p; q) with e^r - 1 = p / q, as in `vector.exp64`."""
    shifted = x * 1.4426950408889634 + SHIFTER64
    n = shifted - SHIFTER64
    r = x - n * LN2_64 - n * LN2_REST_64
    s = r * r
    p = r * ((1.26177193074810590878e-4 * s + 3.02994407707441961300e-2) * s + 1.0)
    q = ((3.00198505138664455042e-6 * s + 2.52448340349684104192e-3) * s + 2.27265548208155028766e-1) * s + 2.0
    return shifted, 2.0 * p, q - p


def _exp32(x: Any) -> Any:
    held = min(max(x, F(-104.0)), F(89.0))
    n, e = parts32(held)
    half = np.int32(n) >> np.int32(1)  # 2^n in two steps, for it may lie beyond what a float32 can be, or below
    y = (e + F(1.0)) * power32(half) * power32(np.int32(n) - half)
    return x if x != x else y


def _exp64(x: Any) -> Any:
    held = min(max(x, -746.0), 710.0)
    shifted, p, q = parts64(held)
    n = (D(shifted).view(np.int64) + 2048) & 4095  # so much more than n that it is positive, in bits
    half = n >> 1
    low, high = ((half - 1) << 52), ((n - half - 1) << 52)  # 1024 less in each, and 1023 more for the exponent
    y = (1.0 + p / q) * np.int64(low).view(np.float64) * np.int64(high).view(np.float64)
    return x if x != x else y


def _tanh32(x: Any) -> Any:
    a = min(abs(x), F(10.0))  # where tanh is 1
    n, e = parts32(a + a)
    scale = power32(n)
    e = scale * e + (scale - F(1.0))  # e^2a - 1, which loses no digits near 0
    y = e / (e + F(2.0))
    return x if x != x else (-y if x < F(0.0) else (y if x > F(0.0) else x))


def _tanh64(x: Any) -> Any:
    a = min(abs(x), 20.0)
    shifted, p, q = parts64(a + a)
    scale = np.int64((D(shifted).view(np.int64) + 1023) << 52).view(np.float64)
    p = scale * p
    y = (p + (scale - 1.0) * q) / (p + (scale + 1.0) * q)
    return x if x != x else (-y if x < 0.0 else (y if x > 0.0 else x))


def _sigmoid32(x: Any) -> Any:
    a = abs(x)
    e = F(0.0) if a > F(104.0) else exp_(-a)
    return x if x != x else (F(1.0) if x >= F(0.0) else e) / (F(1.0) + e)


def _sigmoid64(x: Any) -> Any:
    a = abs(x)
    e = 0.0 if a > 746.0 else exp_(-a)
    return x if x != x else (1.0 if x >= 0.0 else e) / (1.0 + e)


def _erf32(x: Any) -> Any:
    a = min(abs(x), F(4.0))  # where erf is 1
    z = a * a
    p = ((F(7.875875063e-5) * z + F(-8.016864287e-4)) * z + F(5.189087423e-3)) * z + F(-2.685421201e-2)
    p = ((p * z + F(1.128359472e-1)) * z + F(-3.761262667e-1)) * z + F(1.128379166)
    t = F(1.0) / (a + F(2.0)) - F(0.25)
    q = ((F(-7.00146359) * t + F(0.9197236994)) * t + F(5.054204947)) * t + F(3.866624401)
    q = (q * t + F(1.708743553)) * t + F(0.2553956403)
    y = p * a if a < F(1.0) else F(1.0) - q * exp32(-z)
    return x if x != x else (-y if x < F(0.0) else (y if x > F(0.0) else x))


def _erf64(x: Any) -> Any:
    a = min(abs(x), 6.0)
    z = a * a
    p = (-7.7958988270021422416e-10 * z + 1.3720064546977685604e-8) * z - 1.6208483801871705902e-7
    p = ((p * z + 1.644742470331736241e-6) * z - 1.4924736907419660338e-5) * z + 1.2055294904839707917e-4
    p = ((p * z - 8.5483259753896920806e-4) * z + 5.2239776071164227321e-3) * z - 2.686617064323777036e-2
    p = ((p * z + 1.1283791670945006266e-1) * z - 3.7612638903183540438e-1) * z + 1.1283791670955125665
    t = 1.0 / (a + 2.0) - 0.25
    q = (1051.4775993545124307 * t - 122.14774219922223002) * t - 236.01403460406521169
    q = ((q * t + 115.96120381135542326) * t + 28.881063180413663779) * t - 45.709255594336225865
    q = ((q * t + 2.8543682119405335657) * t + 16.088716424201867626) * t - 3.4698985393194695024
    q = ((q * t - 7.1654008296996594) * t + 0.9556204552940133837) * t + 5.054629185014562221
    q = ((q * t + 3.8665311078795177105) * t + 1.708743389655831541) * t + 0.2553956763105057455
    y = p * a if a < 1.0 else 1.0 - q * exp64(-z)
    return x if x != x else (-y if x < 0.0 else (y if x > 0.0 else x))


SMALLEST32, SMALLEST64 = F(1.17549435e-38), 2.2250738585072014e-308  # that are not denormal


def _log32(x: Any) -> Any:
    small = x < SMALLEST32
    bits = np.uint32(F(x * F(8388608.0) if small else x).view(np.uint32) + np.uint32(0x3F800000 - 0x3F3504F3))
    k = F(np.int32(bits >> np.uint32(23)) - np.int32(150 if small else 127))
    f = np.uint32((bits & np.uint32(0x7FFFFF)) + np.uint32(0x3F3504F3)).view(np.float32) - F(1.0)
    s = f / (F(2.0) + f)
    z, half = s * s, F(0.5) * f * f
    r = z * (((F(0.2333096405) * z + F(0.2855080255)) * z + F(0.40000122)) * z + F(0.6666666655))
    y = k * LN2 - ((half - (s * (half + r) + k * LN2_REST)) - f)
    y = x if x == F(np.inf) else (F(-np.inf) if x == F(0.0) else y)
    return y if x >= F(0.0) else F(np.nan)


def _log64(x: Any) -> Any:
    small = x < SMALLEST64
    bits = D(x * 4503599627370496.0 if small else x).view(np.int64) + (0x3FF0000000000000 - 0x3FE6A09E667F3BCD)
    k: Any = np.int64(((bits >> 52) & 2047) | 0x4330000000000000).view(np.float64)  # 2^52 + the exponent's bits
    k -= 4503599627370496.0 + (1075.0 if small else 1023.0)
    f = np.int64((bits & 0xFFFFFFFFFFFFF) + 0x3FE6A09E667F3BCD).view(np.float64) - 1.0
    s = f / (2.0 + f)
    z, half = s * s, 0.5 * f * f
    r = (0.14617037548791650146 * z + 0.15331674030167861852) * z + 0.18182890556695603528
    r = ((r * z + 0.22222211115144161503) * z + 0.28571428626095891537) * z + 0.39999999999899238978
    r = z * (r * z + 0.66666666666666696955)
    y = k * LN2_64 - ((half - (s * (half + r) + k * LN2_REST_64)) - f)
    y = x if x == np.inf else (-np.inf if x == 0.0 else y)
    return y if x >= 0.0 else np.nan


def _of_either(single: Any, double: Any) -> Callable[[Any], Callable[..., Any]]:
    def choose(x: Any) -> Any:
        return single if x == numba.float32 else double

    return choose


def exp_(x: float) -> float:
    """e^x, off by 8.4e-8 of itself in float32 and 2.3e-16 in float64; what is denormal by the rounding of such."""
    raise NotImplementedError("compiled code alone calls this")


def tanh_(x: float) -> float:
    """tanh x, off by 1.7e-7 of itself in float32 and 4.5e-16 in float64.

    By way of e^(2|x|) - 1, which keeps the digits of small x.
    """
    raise NotImplementedError("compiled code alone calls this")


def sigmoid_(x: float) -> float:
    """1 / (1 + e^-x), off by 1.8e-7 of itself in float32 and 3e-16 in float64."""
    raise NotImplementedError("compiled code alone calls this")


def erf_(x: float) -> float:
    """2/sqrt(pi) times the integral of e^(-t^2) from 0 to x, off by 1.8e-7 of itself in float32, 2.3e-16 in float64.

    Up to 1 a polynomial in x^2 times x, beyond it 1 - e^(-x^2) times one in 1 / (|x| + 2): both Chebyshev fits.
    """
    raise NotImplementedError("compiled code alone calls this")


def log_(x: float) -> float:
    """ln x, off by 8e-8 of itself in float32 and 1.5e-16 in float64; -inf at 0, NaN below.

    x = 2^k (1 + f) with 1 + f between 1/sqrt(2) and sqrt(2), and log(1 + f) = 2 artanh(f / (2 + f)), of which what
    follows the first two terms is a Chebyshev fit.
    """
    raise NotImplementedError("compiled code alone calls this")


overload(exp_, inline="always")(_of_either(_exp32, _exp64))
overload(tanh_, inline="always")(_of_either(_tanh32, _tanh64))
overload(sigmoid_, inline="always")(_of_either(_sigmoid32, _sigmoid64))
overload(erf_, inline="always")(_of_either(_erf32, _erf64))
overload(log_, inline="always")(_of_either(_log32, _log64))
