"""Optimiser steps, by other means."""

import math

import numpy as np

from references.ways import each


def sgd_number(p, g, m, lr, momentum, dampening, weight_decay, nesterov):
    g += weight_decay * p
    m = momentum * m + (1 - dampening) * g
    return p - lr * (g + momentum * m if nesterov else m)


def adam_number(p, g, m, v, lr, done, beta1, beta2, eps, weight_decay, decoupled):
    decay = lr * weight_decay * p if decoupled else 0.0
    g = g if decoupled else g + weight_decay * p
    mean = (beta1 * m + (1 - beta1) * g) / (1 - beta1 ** (done + 1))
    square = (beta2 * v + (1 - beta2) * g**2) / (1 - beta2 ** (done + 1))
    return p - decay - lr * mean / (math.sqrt(square) + eps)


def rmsprop_number(p, g, v, m, mean, lr, alpha, eps, weight_decay, momentum):
    g += weight_decay * p
    square, first = alpha * v + (1 - alpha) * g**2, alpha * mean + (1 - alpha) * g
    return p - lr * (momentum * m + g / (math.sqrt(square - first**2) + eps))


def length(max_norm, *gs, norm_type):
    sizes = [abs(number) for g in gs for number in g.ravel()]
    return np.array(max(sizes) if norm_type == math.inf else sum(n**norm_type for n in sizes) ** (1 / norm_type))


REFERENCES = {
    "clip_to_length": length,
    "clip_elements": each(lambda g, clip_value: min(max(g, -clip_value), clip_value)),
    "moved_towards": each(lambda running, now, share: (1 - share) * running + share * now),
    "counted_up": each(lambda n: n + 1),
    "sgd_update": each(sgd_number),
    "adam_update": each(adam_number),
    "rmsprop_update": each(rmsprop_number),
}
