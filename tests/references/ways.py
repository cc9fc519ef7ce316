"""Ways to loop over places and over the numbers that meet."""

import numpy as np


def each(f):
    """The reference that calls f on the numbers that broadcasting brings together, one place after the other."""

    def reference(*xs, **params):
        shape = np.broadcast_shapes(*map(np.shape, xs))
        columns = [np.broadcast_to(x, shape).reshape(-1).tolist() for x in xs]
        return np.array([f(*numbers, **params) for numbers in zip(*columns, strict=True)]).reshape(shape)

    return reference


def axes_named(axis, ndim):
    named = range(ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
    return {a % ndim for a in named} if ndim else set()


def meetings(x, axis):
    """The numbers that meet when `axis` is reduced: from each place that is left (lengths 1 kept) to their list."""
    gone = axes_named(axis, x.ndim)
    groups = {place: [] for place in np.ndindex(tuple(1 if i in gone else n for i, n in enumerate(x.shape)))}
    for place in np.ndindex(x.shape):
        groups[tuple(0 if i in gone else p for i, p in enumerate(place))].append(x[place].item())
    return groups


def reducing(f):
    """The reference that calls f on each list of numbers that meet along `axis`."""

    def reference(x, axis=None, keepdims=False, **params):
        gone = axes_named(axis, x.ndim)
        groups = meetings(x, axis)
        shape = tuple(1 if i in gone else n for i, n in enumerate(x.shape))
        y = np.array([f(numbers, **params) for numbers in groups.values()]).reshape(shape)
        return y if keepdims else y.reshape([n for i, n in enumerate(shape) if i not in gone])

    return reference


def normalising(f):
    """The reference that calls f on a number and the list of all that it meets along `axis`."""

    def reference(x, axis=-1):
        y, gone, groups = np.empty(x.shape), axes_named(axis, x.ndim), meetings(x, axis)
        for place in np.ndindex(x.shape):
            y[place] = f(x[place].item(), groups[tuple(0 if i in gone else p for i, p in enumerate(place))])
        return y

    return reference


def fetched(x, shape, source):
    """y[place] = x[source(place)] for every place of that shape."""
    y = np.empty(shape, x.dtype)
    for place in np.ndindex(*shape):
        y[place] = x[source(place)]
    return y
