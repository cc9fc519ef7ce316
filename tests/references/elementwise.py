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


REFERENCES = {
    "add": each(lambda a, b: a + b),
    "sub": each(lambda a, b: a - b),
    "neg": each(lambda x: 0.0 - x),
    "mul": each(lambda a, b: a * b),
    "div": each(lambda a, b: a / b),
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
    "abs": each(lambda x: -x if x < 0 else x),
    "sign": each(lambda x: 0.0 if x == 0 else math.copysign(1.0, x)),
    "zeros_like": each(lambda x: 0.0),
    "maximum": each(lambda a, b: a if a > b else b),
    "minimum": each(lambda a, b: a if a < b else b),
    "share": each(lambda lost, tied: 0.5 if tied else float(not lost)),
    "clip": each(clipped_number),
    "where": each(lambda condition, a, b: a if condition else b),
    "eq": each(lambda a, b: a == b),
    "ne": each(lambda a, b: a != b),
    "lt": each(lambda a, b: a < b),
    "le": each(lambda a, b: a <= b),
    "gt": each(lambda a, b: a > b),
    "ge": each(lambda a, b: a >= b),
    "logical_and": each(lambda a, b: bool(a and b)),
    "logical_or": each(lambda a, b: bool(a or b)),
    "logical_not": each(lambda x: not x),
    "isfinite": each(math.isfinite),
    "clone": each(lambda x: x),
    "cast": lambda x, dtype: np.array([dtype.type(number) for number in x.ravel().tolist()], dtype).reshape(x.shape),
}
