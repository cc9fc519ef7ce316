"""Ops that move elements, by other means."""

import itertools
import math

import numpy as np

from references.ways import axes_named, fetched
from tinygrad_ft.ops.index import HERE


def expand(x, shape):
    lead = len(shape) - x.ndim
    return fetched(x, shape, lambda p: tuple(0 if n == 1 else i for i, n in zip(p[lead:], x.shape, strict=True)))


def broadcast_to(x, shape):
    lead = len(shape) - x.ndim
    return expand(x, tuple(x.shape[i - lead] if n == -1 else n for i, n in enumerate(shape)))


def sum_to(x, shape):
    y, lead = np.zeros(shape), x.ndim - len(shape)
    for place in np.ndindex(x.shape):
        y[tuple(0 if n == 1 else i for i, n in zip(place[lead:], shape, strict=True))] += x[place]
    return y


def reshape(x, shape):
    left = x.size // max(-math.prod(shape), 1) if -1 in shape else 0
    shape = tuple(left if n == -1 else n for n in shape)
    return fetched(np.array(x.tolist()).ravel(), shape, lambda p: int(np.ravel_multi_index(p, shape)) if p else 0)


def permute(x, axes):
    axes = [a % x.ndim for a in axes]
    return fetched(x, tuple(x.shape[a] for a in axes), lambda p: tuple(p[axes.index(i)] for i in range(x.ndim)))


def transpose(x, dim0=-2, dim1=-1):
    axes = list(range(x.ndim))
    axes[dim0], axes[dim1] = axes[dim1], axes[dim0]
    return permute(x, axes)


def squeeze(x, axis=None):
    named = axes_named(axis, x.ndim)
    return reshape(x, tuple(n for i, n in enumerate(x.shape) if not (i in named and n == 1)))


def unsqueeze(x, axis):
    shape = list(x.shape)
    shape.insert(axis if axis >= 0 else len(shape) + 1 + axis, 1)
    return reshape(x, tuple(shape))


def flatten(x, start_dim=0, end_dim=-1):
    if x.ndim == 0:
        return reshape(x, (1,))
    last = end_dim % x.ndim
    return reshape(x, (*x.shape[:start_dim], math.prod(x.shape[start_dim : last + 1]), *x.shape[last + 1 :]))


def positions(shape, key, indices):
    """Where in the flattened array each element that the key chooses stands."""
    arrays = iter(indices)
    return np.arange(math.prod(shape)).reshape(shape)[tuple(next(arrays) if k is HERE else k for k in key)]


def getitem(x, *indices, key):
    chosen, flat = positions(x.shape, key, indices), x.ravel()
    return np.array([flat[i] for i in np.ravel(chosen)]).reshape(np.shape(chosen))


def put(g, *indices, key, shape):
    y = np.zeros(math.prod(shape))
    for i, number in zip(np.ravel(positions(shape, key, indices)), np.ravel(g), strict=True):
        y[i] += number
    return y.reshape(shape)


def along(place, axis, i):
    return (*place[:axis], i, *place[axis + 1 :])


def gather(x, axis, index):
    return fetched(x, index.shape, lambda p: along(p, axis % x.ndim, index[p]))


def put_along_axis(g, index, axis, shape):
    y = np.zeros(shape)
    for place in np.ndindex(index.shape):
        y[along(place, axis % g.ndim, index[place])] += g[place]
    return y


def joined(lists, axis):
    if axis == 0:
        return list(itertools.chain(*lists))
    return [joined(parts, axis - 1) for parts in zip(*lists, strict=True)]


def join(*xs, axis=0):
    return np.array(joined([x.tolist() for x in xs], axis % xs[0].ndim))


def stack(tensors, axis=0):
    return join(*(unsqueeze(x, axis) for x in tensors), axis=axis)


def split(x, size, axis=0):
    """By counting down what is left, where one size is given."""
    if isinstance(size, tuple):
        return stretches(x, size, axis)
    sizes, left = [], x.shape[axis]
    while left > 0 or not sizes:
        sizes.append(min(left, size))
        left -= size
    return stretches(x, sizes, axis)


def stretches(x, sizes, axis=0):
    ends = list(itertools.accumulate(sizes, initial=0))
    return tuple(np.take(x, range(a, b), axis) for a, b in itertools.pairwise(ends))


def pad_constant(x, widths, value=0.0):
    y = np.full([before + n + after for (before, after), n in zip(widths, x.shape, strict=True)], value)
    for place in np.ndindex(x.shape):
        y[tuple(before + i for (before, _), i in zip(widths, place, strict=True))] = x[place]
    return y


def pad(x, pad, mode="constant", value=0.0):
    pairs = [(pad[i], pad[i + 1]) for i in range(0, len(pad), 2)]
    return pad_constant(x, ((0, 0),) * (x.ndim - len(pairs)) + tuple(reversed(pairs)), value)


REFERENCES = {
    "pick": lambda *ys, i: ys[i],
    "blank": lambda like, shape: np.array([0.0] * math.prod(shape)).reshape(shape),
    "moved": lambda x, source, target: np.array(x.tolist()),
    "expand": expand,
    "broadcast_to": broadcast_to,
    "sum_to": sum_to,
    "reshape": reshape,
    "permute": permute,
    "transpose": transpose,
    "squeeze": squeeze,
    "unsqueeze": unsqueeze,
    "flatten": flatten,
    "getitem": getitem,
    "put": put,
    "gather": gather,
    "take_along_axis": lambda x, index, axis: gather(x, axis, index),
    "put_along_axis": put_along_axis,
    "join": join,
    "cat": lambda tensors, axis=0: join(*tensors, axis=axis),
    "stack": stack,
    "split": split,
    "stretches": stretches,
    "pad_constant": pad_constant,
    "pad": pad,
}
