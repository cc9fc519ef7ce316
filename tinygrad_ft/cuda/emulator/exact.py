"""Floating-point operations that NumPy lacks, as loops that Numba compiles: one rounding where the hardware has one.

Arguments are arrays of one length, or single numbers. (`numba.vectorize` would compile its wrappers anew each time.)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba.extending import intrinsic
from numpy import ndarray

LARGEST, INFINITY = np.float32(3.4028234663852886e38), np.float32(np.inf)

compiled: Any = numba.njit(cache=True, error_model="numpy", nogil=True)


def _llvm_fma(typing: Any, x: Any, y: Any, z: Any) -> Any:
    """LLVM's fused multiply-add: an instruction of the processor, or a function that is as exact."""
    return x(x, x, x), lambda context, builder, signature, arguments: builder.fma(*arguments)


_fma: Any = intrinsic(_llvm_fma)


@compiled
def _fma_each(x: Any, y: Any, z: Any, out: Any) -> None:
    n = out.size
    a, b, c = x[0], y[0], z[0]
    if x.size == n and y.size == n and z.size == n:  # the loops that LLVM turns into vector instructions
        for i in range(n):
            out[i] = _fma(x[i], y[i], z[i])
    elif x.size == n and z.size == n:
        for i in range(n):
            out[i] = _fma(x[i], b, z[i])
    elif x.size == n and y.size == n:
        for i in range(n):
            out[i] = _fma(x[i], y[i], c)
    elif x.size == n:
        for i in range(n):
            out[i] = _fma(x[i], b, c)
    else:
        for i in range(n):
            out[i] = _fma(a, y[i if y.size == n else 0], z[i if z.size == n else 0])


@compiled
def _beyond(rounded: Any, x: Any, y: Any, z: Any) -> int:
    """The sign of x y + z - rounded, for float32: +1 if the exact result is above the rounded one."""
    product = np.float64(x) * np.float64(y)  # exact: twice 24 bits are less than 53
    s = product + np.float64(z)
    t = s - product
    error = (product - (s - t)) + (np.float64(z) - t)  # what the sum lost, Knuth's two-sum
    left = s - np.float64(rounded)
    if left != 0.0:
        return 1 if left > 0.0 else -1
    return 1 if error > 0.0 else -1 if error < 0.0 else 0


@compiled
def _down(x: Any, y: Any, z: Any) -> Any:
    """x y + z of float32, rounded down."""
    r = _fma(x, y, z)
    if not (math.isfinite(x) and math.isfinite(y) and math.isfinite(z)):
        return r
    if r == INFINITY:
        return LARGEST
    beyond = _beyond(r, x, y, z)
    if r == 0.0 and beyond == 0:  # an exact zero is -0, unless it is the sum of +0 and +0
        positive = math.copysign(1.0, z) > 0.0 and math.copysign(1.0, x) == math.copysign(1.0, y)
        return r if positive and z == 0.0 else np.float32(-0.0)
    return np.nextafter(r, -INFINITY) if beyond < 0 and r != -INFINITY else r


@compiled
def _down_each(x: Any, y: Any, z: Any, out: Any) -> None:
    for i in range(out.size):
        out[i] = _down(x[i if x.size > 1 else 0], y[i if y.size > 1 else 0], z[i if z.size > 1 else 0])


@compiled
def _maximum_each(x: Any, y: Any, out: Any) -> None:
    many_x, many_y = x.size == out.size, y.size == out.size
    for i in range(out.size):
        a, b = x[i if many_x else 0], y[i if many_y else 0]
        larger = a if a > b or (a == b and math.copysign(1.0, b) < 0.0) else b
        out[i] = b if a != a else a if b != b else larger


@compiled
def _minimum_each(x: Any, y: Any, out: Any) -> None:
    many_x, many_y = x.size == out.size, y.size == out.size
    for i in range(out.size):
        a, b = x[i if many_x else 0], y[i if many_y else 0]
        smaller = a if a < b or (a == b and math.copysign(1.0, a) < 0.0) else b
        out[i] = b if a != a else a if b != b else smaller


def _over_two(loop: Any) -> Callable[[Any, Any], Any]:
    def call(x: Any, y: Any) -> Any:
        a = x if type(x) is ndarray else x.reshape(1)
        b = y if type(y) is ndarray else y.reshape(1)
        out = np.empty(max(a.size, b.size), a.dtype)
        loop(a, b, out)
        return out if type(x) is ndarray or type(y) is ndarray else out[0]

    return call


def _over_three(loop: Any) -> Callable[[Any, Any, Any], Any]:
    def call(x: Any, y: Any, z: Any) -> Any:
        a = x if type(x) is ndarray else x.reshape(1)
        b = y if type(y) is ndarray else y.reshape(1)
        c = z if type(z) is ndarray else z.reshape(1)
        out = np.empty(max(a.size, b.size, c.size), a.dtype)
        loop(a, b, c, out)
        return out if type(x) is ndarray or type(y) is ndarray or type(z) is ndarray else out[0]

    return call


fma = _over_three(_fma_each)  # x y + z, rounded once, to nearest
fma_down = _over_three(_down_each)
maximum = _over_two(_maximum_each)  # the other one if one is NaN; and +0 is larger than -0
minimum = _over_two(_minimum_each)


def fma_up(x: Any, y: Any, z: Any) -> Any:
    """x y + z of float32, rounded up."""
    return -fma_down(-x, y, -z)


def fma_to_zero(x: Any, y: Any, z: Any) -> Any:
    """x y + z of float32, rounded towards zero."""
    down, near = fma_down(x, y, z), fma(x, y, z)
    small = np.where(near == 0, near, np.float32(0))  # an exact zero keeps its sign
    return np.where(down == 0, small, np.where(down < 0, fma_up(x, y, z), down))[()]


def fma_half(x: Any, y: Any, z: Any) -> Any:
    """x y + z of float16, rounded once: the sum in float64 is rounded to odd, so that the second rounding is right."""
    product = np.asarray(x, np.float64) * np.asarray(y, np.float64)  # exact
    wide = np.asarray(z, np.float64)
    s = product + wide
    t = s - product
    error = (product - (s - t)) + (wide - t)
    inexact = (error != 0) & np.isfinite(s) & (s.view(np.int64) & 1 == 0)
    return np.where(inexact, np.nextafter(s, np.copysign(np.inf, error)), s).astype(np.float16)[()]
