"""Ops that reduce, by other means."""

import functools
import math

import numpy as np

from references.ways import normalising, reducing


def variance(xs, correction=1):
    """By the mean of squares, less the square of the mean."""
    n = len(xs)
    return (math.fsum(x * x for x in xs) - math.fsum(xs) ** 2 / n) / (n - correction)


def log_add(a, b):
    return max(a, b) + math.log1p(math.exp(-abs(a - b)))


def first_place(choose):
    return lambda xs: xs.index(choose(xs))


def extremum(choose):
    values, indices = reducing(choose), reducing(first_place(choose))

    def reference(x, axis=None, keepdims=False):
        if axis is None:
            return values(x, None, keepdims)
        return values(x, axis, keepdims), indices(x, axis, keepdims)

    return reference


def softmax_grad(g, p, axis=-1):
    """By the whole Jacobian diag(p) - p p^T, a row at a time."""
    shape, g, p = p.shape, np.atleast_1d(g), np.atleast_1d(p)
    gx = np.empty(p.shape)
    for place in np.ndindex(p.shape):
        total = 0.0
        for j in range(p.shape[axis]):
            other = list(place)
            other[axis] = j
            total += p[place] * ((place == tuple(other)) - p[tuple(other)]) * g[tuple(other)]
        gx[place] = total
    return gx.reshape(shape)


def extremum_grad(g, x, y, axis=None):
    """The places that attain y are counted first."""
    axes = {i % x.ndim for i in (range(x.ndim) if axis is None else np.atleast_1d(axis))}
    where = {place: tuple(0 if i in axes else p for i, p in enumerate(place)) for place in np.ndindex(x.shape)}
    kept = [1 if i in axes else n for i, n in enumerate(x.shape)]
    g, y, count, gx = g.reshape(kept), y.reshape(kept), np.zeros(kept), np.zeros(x.shape)
    for place, at in where.items():
        count[at] += x[place] == y[at]
    for place, at in where.items():
        gx[place] = g[at] / count[at] if x[place] == y[at] else 0.0
    return gx


def extremum_places(x, y):
    """Each column as a list."""
    places = np.zeros(y.shape, int)
    for i, j in np.ndindex(y.shape):
        column = list(x[i, :, j])
        first = column.index(y[i, j])
        places[i, j] = first if column.count(y[i, j]) == 1 else -1 - first
    return places


def extremum_grad_matmul(g, x, y, places, w, apart):
    """Each place of each extremum brings its share of a row of w."""
    length, k = x.shape[1], w.shape[1]
    out = np.zeros((len(x), (length - 1) * apart + k))
    for i, r, j in np.ndindex(x.shape):
        if x[i, r, j] == y[i, j]:
            out[i, r * apart : r * apart + k] += g[i, j] / list(x[i, :, j]).count(y[i, j]) * w[j]
    return out


def extremum_grad_outer(g, x, y, places, a):
    """Each place of each extremum brings its share of a row of a."""
    out = np.zeros((x.shape[2], a.shape[1]))
    for i, r, j in np.ndindex(x.shape):
        if x[i, r, j] == y[i, j]:
            out[j] += g[i, j] / list(x[i, :, j]).count(y[i, j]) * a[i * x.shape[1] + r]
    return out


REFERENCES = {
    "extremum_grad": extremum_grad,
    "extremum_places": extremum_places,
    "extremum_grad_matmul": extremum_grad_matmul,
    "extremum_grad_outer": extremum_grad_outer,
    "sum": reducing(math.fsum),
    "mean": reducing(lambda xs: math.fsum(xs) / len(xs)),
    "var": reducing(variance),
    "std": reducing(lambda xs, correction=1: math.sqrt(variance(xs, correction))),
    "amax": reducing(max),
    "amin": reducing(min),
    "max": extremum(max),
    "min": extremum(min),
    "argmax": reducing(first_place(max)),
    "argmin": reducing(first_place(min)),
    "logsumexp": reducing(lambda xs: functools.reduce(log_add, xs)),
    "softmax": normalising(lambda x, xs: 1 / math.fsum(math.exp(other - x) for other in xs)),
    "log_softmax": normalising(lambda x, xs: -math.log(math.fsum(math.exp(other - x) for other in xs))),
    "softmax_grad": softmax_grad,
}
