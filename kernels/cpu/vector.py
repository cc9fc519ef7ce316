"""Scalar functions that LLVM turns into vector instructions inside a loop, which `math.exp` never does under Numba.

What vectorising needs, each measured to cost 8 to 14 times if forgotten: error_model="numpy" wherever there is a
division, loops over a whole array (`range(x.size)`), and no branch but a select.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core.compiler import Compiler
from numba.core.compiler_machinery import register_pass
from numba.core.lowering import Lower
from numba.core.typed_passes import NativeLowering
from numba.extending import intrinsic, overload

F = np.float32


class _WideLower(Lower):
    def setup_function(self, fndesc: Any) -> None:
        super().setup_function(fndesc)  # type: ignore[no-untyped-call]
        set.add(self.function.attributes, '"prefer-vector-width"="512"')  # its own `add` knows no words of targets


@register_pass(mutates_CFG=True, analysis_only=False)  # type: ignore[no-untyped-call]
class _WideLowering(NativeLowering):
    _name = "wide_native_lowering"
    lowering_class = _WideLower


class Wide(Compiler):
    """Numba's compiler, told to take the widest registers there are: LLVM takes half of AVX-512's if not asked.

    Measured on a processor with AVX-512: exp and GELU in 0.72 of the time.
    """

    def define_pipelines(self) -> Any:
        """Numba's own, but for the pass that writes LLVM's text."""
        pipelines = super().define_pipelines()  # type: ignore[no-untyped-call]
        for pipeline in pipelines:
            pipeline.passes = [(_WideLowering if p is NativeLowering else p, why) for p, why in pipeline.passes]
        return pipelines


def compiled(f: Any, *, inline: Any = "never", also: tuple[str, ...] = ()) -> Any:
    """Numba's njit with the options that let LLVM vectorise, compiled at first use and cached on disk."""
    # No more of fastmath than fused multiply-add: the rest saved nothing here, "arcp" and "nnan" made NaN of gelu(inf),
    # and "reassoc" would cancel the rounding by addition in exp32. Only a reduction needs `also` reassoc.
    fastmath = {"contract", *also}
    return numba.njit(
        f, inline=inline, fastmath=fastmath, error_model="numpy", nogil=True, cache=True, pipeline_class=Wide
    )


inlined = partial(compiled, inline="always")
reduction = partial(compiled, also=("reassoc",))


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


SHIFTER64 = 6755399441055744.0  # the same for float64: 1.5 * 2^52


@inlined
def exp64(x: Any) -> Any:
    """e^x for float64, relative error 4e-16; x is held between -708 and 709, where float64 ends.

    As exp32, with the quotient of polynomials 1 + 2 p / (q - p) for e^r. Source: Cephes, exp (Moshier, 1995).
    """
    x = min(max(x, -708.0), 709.0)
    shifted = (
        x * 1.4426950408889634 + SHIFTER64
    )  # whose last bits are n: few processors turn many float64 into integers
    n = shifted - SHIFTER64
    r = x - n * 6.93145751953125e-1 - n * 1.42860682030941723212e-6
    s = r * r
    p = r * ((1.26177193074810590878e-4 * s + 3.02994407707441961300e-2) * s + 1.0)
    q = ((3.00198505138664455042e-6 * s + 2.52448340349684104192e-3) * s + 2.27265548208155028766e-1) * s + 2.0
    return (1.0 + 2.0 * p / (q - p)) * np.int64((np.float64(shifted).view(np.int64) + 1023) << 52).view(np.float64)


def exp_below(x: float) -> float:
    """e^x for x up to 0, as it is after the largest was taken off: 0 at -inf, NaN at NaN, in the precision of x."""
    raise NotImplementedError("compiled code alone calls this")


@overload(exp_below, inline="always")
def _exp_below(x: Any) -> Callable[..., Any]:
    def single(x: Any) -> Any:
        return F(0.0) if x < F(-87.0) else exp32(x) + (x - x)  # x - x brings NaN past the bounds in exp32

    def double(x: Any) -> Any:
        return 0.0 if x < -708.0 else exp64(x) + (x - x)

    return single if x == numba.float32 else double


def _larger(context: Any, a: Any, b: Any) -> Any:
    """The larger of two numbers; what of NaN is left open, so that LLVM may compare eight or sixteen at a time."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = args[0].type
        function = builder.module.declare_intrinsic("llvm.maxnum", [kind], ir.FunctionType(kind, [kind, kind]))
        return builder.call(function, args, fastmath=("nnan", "nsz", "reassoc"))

    return a(a, a), generate


larger: Any = intrinsic(_larger)


@reduction
def largest(row: Any) -> Any:
    """The largest element of at least one; any of them if NaN is among them."""
    m = row[0]
    for j in range(row.size):
        m = larger(m, row[j])
    return m


STRETCH = 512  # so many are added in the precision of the elements, in several partial sums; then float64 goes on


@reduction
def _stretch(row: Any) -> Any:
    s = row.dtype.type(0)
    for j in range(row.size):
        s += row[j]
    return s


@compiled
def total(row: Any) -> Any:
    """The sum, a float64."""
    s = 0.0
    for start in range(0, row.size, STRETCH):
        s += _stretch(row[start : start + STRETCH])
    return s


@reduction
def _product_stretch(a: Any, b: Any) -> Any:
    s = a.dtype.type(0)
    for j in range(a.size):
        s += a[j] * b[j]
    return s


@compiled
def product_sum(a: Any, b: Any) -> Any:
    """The sum of the products of two rows' elements, likewise."""
    s = 0.0
    for start in range(0, a.size, STRETCH):
        s += _product_stretch(a[start : start + STRETCH], b[start : start + STRETCH])
    return s


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
