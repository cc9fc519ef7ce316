"""Activations, number by number."""

import math

import numpy as np

from references.ways import each, normalising


def logistic(x):
    return 0.5 + 0.5 * math.tanh(0.5 * x)


def held(x, low, high):
    return sorted([low, x, high])[1]


def exponential_below_0(x, alpha=1.0, steepness=1.0):
    return x if x > 0 else alpha * (math.exp(x / steepness) - 1)


def by_channel(x, weight):
    y = np.empty(x.shape)
    for place in np.ndindex(x.shape):
        slope = weight[place[1]] if weight.size > 1 else weight.item()
        y[place] = x[place] * (1.0 if x[place] > 0 else slope)
    return y


def gated(x, axis=-1):
    a, b = np.split(x, 2, axis)
    return a / (1 + np.exp(-b))


REFERENCES = {
    "silu": each(lambda x: x * logistic(x)),
    "leaky_relu": each(lambda x, negative_slope=0.01: x * (1.0 if x > 0 else negative_slope)),
    "elu": each(exponential_below_0),
    "celu": each(lambda x, alpha=1.0: exponential_below_0(x, alpha, alpha)),
    "selu": each(lambda x: 1.0507009873554804934 * exponential_below_0(x, 1.6732632423543772848)),
    "mish": each(lambda x: x * math.tanh(math.log(1 + math.exp(x)))),
    "logsigmoid": each(lambda x: math.log(logistic(x))),
    "softsign": each(lambda x: math.copysign(1 - 1 / (1 + abs(x)), x)),
    "tanhshrink": each(lambda x: x - math.tanh(x)),
    "threshold": each(lambda x, threshold, value: x if x > threshold else value),
    "hardtanh": each(lambda x, min_val=-1.0, max_val=1.0: held(x, min_val, max_val)),
    "relu6": each(lambda x: held(x, 0.0, 6.0)),
    "hardsigmoid": each(lambda x: held(x + 3, 0.0, 6.0) / 6),
    "hardswish": each(lambda x: x * held(x + 3, 0.0, 6.0) / 6),
    "hardshrink": each(lambda x, lambd=0.5: x if abs(x) > lambd else 0.0),
    "softshrink": each(lambda x, lambd=0.5: math.copysign(max(abs(x) - lambd, 0.0), x)),
    "prelu": by_channel,
    "glu": gated,
    "softmin": normalising(lambda x, met: 1 / sum(math.exp(x - other) for other in met)),
}
