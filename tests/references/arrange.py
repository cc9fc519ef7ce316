"""Ops that arrange, join, cut, index, order and scan, by NumPy's own functions and by loops."""

import itertools
import math
import statistics

import numpy as np

from references.ways import reducing


def scatter(x, axis, index, src, name="last", include_self=True, reduce=None):
    """By lists of what arrives at each place."""
    name = {"multiply": "prod", "add": "sum"}.get(reduce, name)
    arrived = {}
    for place in np.ndindex(index.shape):
        to = list(place)
        to[axis] = int(index[place])
        arrived.setdefault(tuple(to), []).append(float(src[place]))
    y = x.copy()
    for to, numbers in arrived.items():
        met = [x[to], *numbers] if include_self else numbers
        y[to] = REDUCE[name](met)
    return y


REDUCE = {
    "last": lambda met: met[-1],
    "sum": math.fsum,
    "prod": math.prod,
    "mean": lambda met: math.fsum(met) / len(met),
    "amax": max,
    "amin": min,
}


def scanned(f):
    """f of the first 1, 2, 3, ... numbers along the axis."""

    def reference(x, axis):
        return np.apply_along_axis(lambda row: [f(row[: i + 1]) for i in range(len(row))], axis, x) if x.size else x

    return lambda x, axis: reference(x, axis) if x.ndim else np.asarray(f([x.item()]))


def ordered(x, axis=-1, descending=False, stable=False):
    order = np.argsort(-x if descending else x, axis)
    return np.take_along_axis(x, order, axis), order


def topk(x, k, axis=-1, largest=True):
    return tuple(np.take(part, range(k), axis) for part in ordered(x, axis, largest))


def median(x, axis=None, keepdims=False):
    values = reducing(statistics.median_low)(x, axis, keepdims)
    return (
        values
        if axis is None
        else (values, reducing(lambda xs: xs.index(statistics.median_low(xs)))(x, axis, keepdims))
    )


def index_put(x, indices, values, accumulate=False):
    y = x.copy()
    if accumulate:
        np.add.at(y, indices, values)
    else:
        y[indices] = values
    return y


def index_fill(x, axis, index, value):
    y = x.copy()
    np.moveaxis(y, axis, 0)[index] = value
    return y


def index_add(x, axis, index, source, alpha=1):
    y = x.copy()
    for i, row in zip(index, source, strict=True):
        y[i] += alpha * row
    return y


def diag_embed(x, offset=0, dim1=-2, dim2=-1):
    matrices = np.array([np.diag(row, offset) for row in x])
    return np.moveaxis(matrices, (-2, -1), (dim1, dim2))


def norm(x, p=2, axis=None):
    return np.linalg.norm(x.ravel() if axis is None else x, p, axis)


def moments(root):
    def reference(x, axis=None, unbiased=True):
        spread = np.var(x, axis, ddof=int(unbiased))
        return np.sqrt(spread) if root else spread, np.average(x, axis)

    return reference


REFERENCES = {
    "unflatten": lambda x, axis, sizes: np.stack(np.split(x, sizes[0], axis), axis % x.ndim),
    "ravel": lambda x: np.array(list(x.flat)),
    "movedim": np.moveaxis,
    "t": lambda x: np.array([list(column) for column in zip(*x, strict=True)]) if x.size and x.ndim == 2 else x.T,
    "hstack": np.hstack,
    "vstack": np.vstack,
    "dstack": np.dstack,
    "column_stack": np.column_stack,
    "chunk": lambda x, n, axis=0: tuple(
        np.take(x, rows, axis)
        for rows in np.array_split(
            range(x.shape[axis]), range(-(-x.shape[axis] // n), x.shape[axis], -(-x.shape[axis] // n))
        )
    ),
    "tensor_split": lambda x, places, axis=0: tuple(np.array_split(x, places, axis)),
    "unbind": lambda x, axis=0: tuple(np.moveaxis(x, axis, 0)),
    "narrow": lambda x, axis, start, length: np.take(x, range(start, start + length), axis),
    "select": lambda x, axis, index: np.take(x, index, axis),
    "flip": np.flip,
    "fliplr": np.fliplr,
    "flipud": np.flipud,
    "rot90": np.rot90,
    "roll": np.roll,
    "tile": np.tile,
    "repeat": lambda x, *sizes: np.tile(x, sizes),
    "repeat_interleave": np.repeat,
    "on_or_below": lambda like, diagonal: np.tri(*like.shape[-2:], diagonal, dtype=bool),
    "tril": np.tril,
    "triu": np.triu,
    "diagonal": np.diagonal,
    "diag_embed": diag_embed,
    "diag": np.diag,
    "meshgrid": lambda *xs, indexing: tuple(np.meshgrid(*xs, indexing=indexing)),
    "unfold": lambda x, axis, size, step: np.take(
        np.lib.stride_tricks.sliding_window_view(x, size, axis),
        range(0, x.shape[axis] - size + 1, step),
        axis % x.ndim,
    ),
    "take": np.take,
    "take_along_dim": lambda x, index, axis=None: np.take_along_axis(x, index, axis),
    "index_select": lambda x, axis, index: np.take(x, index, axis),
    "index_add": index_add,
    "index_fill": index_fill,
    "index_put": index_put,
    "last_writer": lambda *indices, key, shape: scatter(
        np.full(shape, -1), 0, indices[0], np.arange(indices[0].size), include_self=False
    ),
    "arrival": lambda *indices, key, shape: np.array([list(indices[0][:i]).count(n) for i, n in enumerate(indices[0])]),
    "masked_fill": lambda x, mask, value: np.array(
        [n if not hide else value for n, hide in zip(x.flat, np.broadcast_to(mask, x.shape).flat, strict=True)]
    ).reshape(x.shape),
    "masked_select": lambda x, mask: np.array(list(itertools.compress(x.flat, np.broadcast_to(mask, x.shape).flat))),
    "scatter": scatter,
    "scatter_add": lambda x, axis, index, src: scatter(x, axis, index, src, "sum"),
    "scatter_reduce": scatter,
    "argsort": lambda x, axis=-1, descending=False: ordered(x, axis, descending)[1],
    "sort": ordered,
    "topk": topk,
    "median": median,
    "prod": reducing(math.prod),
    "cumsum": scanned(math.fsum),
    "cumprod": scanned(math.prod),
    "logcumsumexp": scanned(lambda xs: math.log(math.fsum(map(math.exp, xs)))),
    "diff": lambda x, n=1, axis=-1, *ends: np.diff(np.concatenate([ends[0], x, ends[1]], axis) if ends else x, n, axis),
    "trapezoid": lambda y, x=None, dx=1.0, axis=-1: np.trapezoid(y, x, dx, axis),
    "nansum": reducing(math.fsum),
    "nanmean": reducing(statistics.fmean),
    "std_mean": moments(True),
    "var_mean": moments(False),
    "norm": norm,
    "dist": lambda x, other, p=2: np.linalg.norm(np.ravel(x - other), p),
}
