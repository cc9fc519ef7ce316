"""Element by element, by other means."""

import math
from statistics import NormalDist

import numpy as np

from references.ways import each


def tanh_by_exponentials(x):
    return (math.exp(x) - math.exp(-x)) / (math.exp(x) + math.exp(-x))


def logistic(x):
    return 0.5 + 0.5 * math.tanh(0.5 * x)


def gelu_number(x, approximate="none"):
    if approximate == "none":
        return x * 0.5 * math.erfc(-x / math.sqrt(2))
    return x * logistic(2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))


def gelu_slope_number(x, approximate="none"):
    if approximate == "none":
        return NormalDist().cdf(x) + x * NormalDist().pdf(x)
    c = 2 * math.sqrt(2 / math.pi)
    s = logistic(c * (x + 0.044715 * x**3))
    return s + x * s * (1 - s) * c * (1 + 3 * 0.044715 * x**2)


def clipped_number(x, min=None, max=None):
    x = min if min is not None and x < min else x
    return max if max is not None and x > max else x


def gamma_slope(n, x):
    """The n-th derivative of digamma, from its recurrence up to large numbers and the asymptotic series there."""
    far, y = x + 30.0, np.zeros(x.shape)
    bernoulli = [1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66]
    for k in range(30):
        y = y - (-1) ** n * math.factorial(n) / (x + k) ** (n + 1)
    if n == 0:
        series = np.log(far) - 1 / (2 * far)
    else:
        series = (-1) ** (n + 1) * (math.factorial(n - 1) / far**n + math.factorial(n) / (2 * far ** (n + 1)))
    for k, b in enumerate(bernoulli, 1):
        rising = math.factorial(2 * k + n - 1) / math.factorial(2 * k)
        series = series - (-1) ** n * b * rising / far ** (2 * k + n)
    return y + series


REFERENCES = {
    "add": each(lambda a, b: a + b),
    "sub": each(lambda a, b: a - b),
    "neg": each(lambda x: 0.0 - x),
    "mul": each(lambda a, b: a * b),
    "div": each(lambda a, b: a / b),
    "add_scaled": each(lambda a, b, alpha=1: a + alpha * b),
    "sub_scaled": each(lambda a, b, alpha=1: a - alpha * b),
    "div_rounded": each(lambda a, b, rounding_mode=None: a // b if rounding_mode else a / b),
    "whole_quotient": each(lambda a, b, towards: a // b if towards == "floor" else float(int(a / b))),
    "over": each(lambda g, d: g / d),
    "times": each(lambda g, d: g * d),
    "pow": each(math.pow),
    "exp": each(math.exp),
    "log": each(math.log),
    "sqrt": each(math.sqrt),
    "sin": each(math.sin),
    "cos": each(math.cos),
    "tanh": each(tanh_by_exponentials),
    "sigmoid": each(logistic),
    "softplus": each(lambda x: math.log1p(math.exp(x))),
    "relu": each(lambda x: x if x > 0 else 0.0),
    "erf": each(math.erf),
    "gelu": each(gelu_number),
    "gelu_slope": each(gelu_slope_number),
    "gelu_grad": each(lambda g, x: g * gelu_slope_number(x)),
    "bias_gelu": each(lambda x, bias: gelu_number(x + bias)),
    "bias_gelu_grad": each(lambda g, x, bias: g * gelu_slope_number(x + bias)),
    "tanh_grad": each(lambda g, y: g * (1 - y) * (1 + y)),
    "sigmoid_grad": each(lambda g, y: g * y - g * y**2),
    "abs": each(lambda x: -x if x < 0 else x),
    "sign": each(lambda x: 0.0 if x == 0 else math.copysign(1.0, x)),
    "zeros_like": each(lambda x: 0.0),
    "ones_of": each(lambda x: 1.0),
    "maximum": each(lambda a, b: a if a > b else b),
    "minimum": each(lambda a, b: a if a < b else b),
    "share": each(lambda lost, tied: 0.5 if tied else float(not lost)),
    "clip": each(clipped_number),
    "clamp": lambda x, min=None, max=None: each(clipped_number)(
        x, np.array(-np.inf if min is None else min), np.array(np.inf if max is None else max)
    ),
    "clamp_min": each(lambda x, min: min if x < min else x),
    "clamp_max": each(lambda x, max: max if x > max else x),
    "fmax": each(lambda a, b: sorted([a, b])[1]),
    "fmin": each(lambda a, b: sorted([a, b])[0]),
    "lerp": each(lambda a, b, weight: (1 - weight) * a + weight * b),
    "addcmul": each(lambda x, a, b, value=1.0: x + value * a * b),
    "addcdiv": each(lambda x, a, b, value=1.0: x + value * a / b),
    "nan_to_num": lambda x, nan=0.0, posinf=None, neginf=None: np.nan_to_num(x, nan=nan, posinf=posinf, neginf=neginf),
    "expm1": each(math.expm1),
    "exp2": each(math.exp2),
    "log1p": each(math.log1p),
    "log2": each(math.log2),
    "log10": each(math.log10),
    "logaddexp": each(lambda a, b: math.log(math.exp(a) + math.exp(b))),
    "square": each(lambda x: x**2),
    "reciprocal": each(lambda x: x**-1),
    "rsqrt": each(lambda x: x**-0.5),
    "logit": each(lambda x, eps=0.0: -math.log(1 / clipped_number(x, eps, 1 - eps) - 1)),
    "tan": each(math.tan),
    "asin": each(math.asin),
    "acos": each(math.acos),
    "atan": each(math.atan),
    "atan2": each(math.atan2),
    "hypot": each(math.hypot),
    "sinh": each(math.sinh),
    "cosh": each(math.cosh),
    "asinh": each(math.asinh),
    "acosh": each(math.acosh),
    "atanh": each(math.atanh),
    "sinc": each(lambda x: math.sin(math.pi * x) / (math.pi * x) if x else 1.0),
    "deg2rad": each(math.radians),
    "rad2deg": each(math.degrees),
    "erfc": each(math.erfc),
    "erfinv": each(lambda x: NormalDist(sigma=math.sqrt(0.5)).inv_cdf((1 + x) / 2)),
    "lgamma": each(math.lgamma),
    "polygamma_at": lambda x, n=0: gamma_slope(n, x),
    "digamma": lambda x: gamma_slope(0, x),
    "polygamma": lambda n, x: gamma_slope(n, x),
    "xlogy": each(lambda a, b: a * math.log(b)),
    "floor": each(math.floor),
    "ceil": each(math.ceil),
    "trunc": each(math.trunc),
    "round": each(lambda x, decimals=0: round(x, decimals)),
    "frac": each(lambda x: math.modf(x)[0]),
    "fmod": each(math.fmod),
    "remainder": each(lambda a, b: a % b),
    "copysign": each(math.copysign),
    "where": each(lambda condition, a, b: a if condition else b),
    "eq": each(lambda a, b: a == b),
    "ne": each(lambda a, b: a != b),
    "lt": each(lambda a, b: a < b),
    "le": each(lambda a, b: a <= b),
    "gt": each(lambda a, b: a > b),
    "ge": each(lambda a, b: a >= b),
    "bitwise_and": each(lambda a, b: a & b),
    "bitwise_or": each(lambda a, b: a | b),
    "bitwise_not": each(lambda x: not x if isinstance(x, bool) else -x - 1),
    "logical_and": each(lambda a, b: bool(a and b)),
    "logical_or": each(lambda a, b: bool(a or b)),
    "logical_not": each(lambda x: not x),
    "isfinite": each(math.isfinite),
    "clone": each(lambda x: x),
    "cast": lambda x, dtype: np.array([dtype.type(number) for number in x.ravel().tolist()], dtype).reshape(x.shape),
}
