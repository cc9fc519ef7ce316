"""Convolutions, pooling and images in another size: one number of y, or of the window behind it, after the other."""

import math

import numpy as np

from references.reduce import variance
from references.ways import fetched


def each_axis(given, n):
    return (given,) * n if isinstance(given, int) else tuple(given) * (n if len(given) == 1 else 1)


def windows(x, kernel, stride, dilation):
    n = len(kernel)
    lead, size = x.shape[: x.ndim - n], x.shape[x.ndim - n :]
    places = [len(range(0, m - (k - 1) * d, s)) for m, k, s, d in zip(size, kernel, stride, dilation, strict=True)]

    def source(place):
        within, where, which = place[:n], place[n : len(place) - n], place[len(place) - n :]
        return (*where, *(o * s + k * d for o, s, k, d in zip(which, stride, within, dilation, strict=True)))

    return fetched(x, (*kernel, *lead, *places), source)


def overlap_add(w, size, stride, dilation):
    n, y = len(size), np.zeros((*w.shape[len(size) : w.ndim - len(size)], *size))
    for place in np.ndindex(w.shape):
        within, where, which = place[:n], place[n : len(place) - n], place[len(place) - n :]
        y[(*where, *(o * s + k * d for o, s, k, d in zip(which, stride, within, dilation, strict=True)))] += w[place]
    return y


def largest(x, kernel, stride, dilation):
    w = windows(x, kernel, stride, dilation)
    return w.reshape(-1, *w.shape[len(kernel) :]).max(0)


def first_of_windows(x, y, kernel, stride, dilation):
    w = windows(x, kernel, stride, dilation)
    which = np.empty(y.shape, int)
    for place in np.ndindex(y.shape):
        which[place] = [w[(*k, *place)] for k in np.ndindex(*kernel)].index(y[place])
    return which


def first_of_windows_receives(g, x, y, kernel, stride, dilation):
    which, n, gx = first_of_windows(x, y, kernel, stride, dilation), len(kernel), np.zeros(x.shape)
    for place in np.ndindex(y.shape):
        within = np.unravel_index(which[place], kernel)
        starts = zip(place[y.ndim - n :], within, stride, dilation, strict=True)
        gx[(*place[: y.ndim - n], *(o * s + k * d for o, k, s, d in starts))] += g[place]
    return gx


def convolution(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """A number of y after the other: the sum over channels and places of the kernel, where these lie in x."""
    n = weight.ndim - 2
    if x.ndim == n + 1:
        return convolution(x[None], weight, bias, stride, padding, dilation, groups)[0]
    stride, dilation, kernel = each_axis(stride, n), each_axis(dilation, n), weight.shape[2:]
    reach = [(k - 1) * d for k, d in zip(kernel, dilation, strict=True)]
    before = [r // 2 for r in reach] if padding == "same" else each_axis(padding, n)
    both = reach if padding == "same" else [2 * p for p in before]
    places = [(m + p - r - 1) // s + 1 for m, p, r, s in zip(x.shape[2:], both, reach, stride, strict=True)]
    y = np.zeros((len(x), len(weight), *places))
    for e, o, *which in np.ndindex(y.shape):
        own = o // (len(weight) // groups) * weight.shape[1]
        for c, *within in np.ndindex(weight.shape[1:]):
            at = [i * s + k * d - p for i, s, k, d, p in zip(which, stride, within, dilation, before, strict=True)]
            if all(0 <= i < m for i, m in zip(at, x.shape[2:], strict=True)):
                y[(e, o, *which)] += weight[(o, c, *within)] * x[(e, own + c, *at)]
    return y if bias is None else y + bias.reshape(-1, *(1 for _ in kernel))


def convolution_back(x, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    """A number of x after the other: what it adds to which numbers of y."""
    n = weight.ndim - 2
    if x.ndim == n + 1:
        return convolution_back(x[None], weight, bias, stride, padding, output_padding, groups, dilation)[0]
    stride, dilation, padding, more = (each_axis(v, n) for v in (stride, dilation, padding, output_padding))
    steps = zip(x.shape[2:], weight.shape[2:], stride, dilation, padding, more, strict=True)
    size = [(m - 1) * s + (k - 1) * d + 1 + extra - 2 * p for m, k, s, d, p, extra in steps]
    y = np.zeros((len(x), weight.shape[1] * groups, *size))
    for e, c, *which in np.ndindex(x.shape):
        own = c // (len(weight) // groups) * weight.shape[1]
        for o, *within in np.ndindex(weight.shape[1:]):
            at = [i * s + k * d - p for i, s, k, d, p in zip(which, stride, within, dilation, padding, strict=True)]
            if all(0 <= i < m for i, m in zip(at, size, strict=True)):
                y[(e, own + o, *at)] += weight[(c, o, *within)] * x[(e, c, *which)]
    return y if bias is None else y + bias.reshape(-1, *(1 for _ in size))


def pooled(n, x, kernel, stride, padding, ceil_mode, dilation, f):
    """f(the numbers in a window with their places in x, the number of places within the padding) for every window."""
    if x.ndim == n + 1:
        return pooled(n, x[None], kernel, stride, padding, ceil_mode, dilation, f)[0]
    kernel, stride = each_axis(kernel, n), each_axis(kernel if stride is None else stride, n)
    padding, dilation = each_axis(padding, n), each_axis(dilation, n)
    starts = []
    for m, k, s, p, d in zip(x.shape[2:], kernel, stride, padding, dilation, strict=True):
        last = (m + 2 * p - (k - 1) * d - 1) / s
        ends = math.ceil(last) if ceil_mode else math.floor(last)
        starts.append([i * s - p for i in range(ends + 1) if i * s - p < m])
    y = np.empty((*x.shape[:2], *map(len, starts)), object)
    for e, c, *which in np.ndindex(y.shape):
        found, counted = [], 0
        for within in np.ndindex(*kernel):
            at = [row[i] + k * d for row, i, k, d in zip(starts, which, within, dilation, strict=True)]
            counted += all(i < m + p for i, m, p in zip(at, x.shape[2:], padding, strict=True))
            if all(0 <= i < m for i, m in zip(at, x.shape[2:], strict=True)):
                found.append((x[(e, c, *at)], int(np.ravel_multi_index(at, x.shape[2:]))))
        y[(e, c, *which)] = f(found, counted)
    return y


def averaging(n):
    def reference(x, kernel, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None):
        def mean(found, counted):
            total = math.fsum(number for number, _ in found)
            return total / (divisor_override or (counted if count_include_pad else len(found)))

        return pooled(n, x, kernel, stride, padding, ceil_mode, 1, mean).astype(float)

    return reference


def maximal(n):
    def reference(x, kernel, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
        best = lambda found, counted: max(found, key=lambda pair: (pair[0], -pair[1]))  # noqa: E731
        pairs = pooled(n, x, kernel, stride, padding, ceil_mode, dilation, best)
        y = np.array([pair[0] for pair in pairs.flat], float).reshape(pairs.shape)
        return (y, np.array([pair[1] for pair in pairs.flat], int).reshape(pairs.shape)) if return_indices else y

    return reference


def adaptive(n):
    def reference(x, output_size):
        sizes = each_axis(output_size, n)
        for axis, m in zip(range(x.ndim - n, x.ndim), sizes, strict=True):
            if m is not None:
                ends = [(i * x.shape[axis] / m, (i + 1) * x.shape[axis] / m) for i in range(m)]
                parts = [x.take(range(math.floor(a), math.ceil(b)), axis).mean(axis) for a, b in ends]
                x = np.stack(parts, axis)
        return x

    return reference


def cubic(far):
    """Keys' kernel with a = -0.75, at a distance."""
    a, far = -0.75, abs(far)
    if far <= 1:
        return (a + 2) * far**3 - (a + 3) * far**2 + 1
    return a * far**3 - 5 * a * far**2 + 8 * a * far - 4 * a if far < 2 else 0.0


def interpolate(x, size=None, scale_factor=None, mode="nearest", align_corners=False):
    n = x.ndim - 2
    scales = (scale_factor,) * n if isinstance(scale_factor, int) else scale_factor
    sizes = each_axis(size, n) if size else [math.floor(m * s) for m, s in zip(x.shape[2:], scales, strict=True)]
    if mode == "area":
        return adaptive(n)(x, sizes)
    for axis, m in enumerate(sizes, 2):
        old, rows = x.shape[axis], []
        step = old / m if size else 1 / scales[axis - 2]
        for i in range(m):
            at = i * (old - 1) / (m - 1) if align_corners else (i + 0.5) * step - 0.5
            if mode.startswith("nearest"):
                shares = {math.floor(i * step if mode == "nearest" else at + 0.5): 1.0}
            elif mode == "bicubic":
                shares = {j: cubic(at - j) for j in range(math.floor(at) - 1, math.floor(at) + 3)}
            else:
                at = min(max(at, 0), old - 1)
                shares = {j: 1 - abs(at - j) for j in range(old) if abs(at - j) < 1}
            rows.append(sum(share * x.take(min(max(j, 0), old - 1), axis) for j, share in shares.items()))
        x = np.stack(rows, axis)
    return x


def pixel_shuffle(x, r):
    *lead, c, h, w = x.shape
    source = lambda at: (*at[:-3], at[-3] * r * r + at[-2] % r * r + at[-1] % r, at[-2] // r, at[-1] // r)  # noqa: E731
    return fetched(x, (*lead, c // r**2, h * r, w * r), source)


def pixel_unshuffle(x, r):
    *lead, c, h, w = x.shape
    inside = lambda k, r: (k // r % r, k % r)  # noqa: E731
    source = lambda at: (  # noqa: E731
        *at[:-3], at[-3] // r**2, at[-2] * r + inside(at[-3], r)[0], at[-1] * r + inside(at[-3], r)[1],
    )  # fmt: skip
    return fetched(x, (*lead, c * r**2, h // r, w // r), source)


def by_channel(y, weight, bias):
    column = (-1, *(1 for _ in y.shape[2:]))
    return y * (1 if weight is None else weight.reshape(column)) + (0 if bias is None else bias.reshape(column))


def batch_norm(x, mean, var, weight=None, bias=None, training=False, eps=1e-5):
    y = np.empty(x.shape)
    for c in range(x.shape[1]):
        numbers = x[:, c].ravel().tolist()
        centre, spread = (math.fsum(numbers) / len(numbers), variance(numbers, 0)) if training else (mean[c], var[c])
        y[:, c] = (x[:, c] - centre) / math.sqrt(spread + eps)
    return by_channel(y, weight, bias)


def instance_norm(x, mean=None, var=None, weight=None, bias=None, use_input_stats=True, eps=1e-5):
    if not use_input_stats:
        return batch_norm(x, mean, var, weight, bias, eps=eps)
    return by_channel(
        np.stack([batch_norm(one[None], None, None, training=True, eps=eps)[0] for one in x]), weight, bias
    )


REFERENCES = {
    "windows": windows,
    "overlap_add": overlap_add,
    "max_of_windows": largest,
    "max_of_windows_grad": first_of_windows_receives,
    "first_of_windows": first_of_windows,
    "numbers_like": lambda like, numbers: numbers,
    "conv1d": convolution,
    "conv2d": convolution,
    "conv_transpose1d": convolution_back,
    "conv_transpose2d": convolution_back,
    "avg_pool1d": averaging(1),
    "avg_pool2d": averaging(2),
    "max_pool1d": maximal(1),
    "max_pool2d": maximal(2),
    "adaptive_avg_pool1d": adaptive(1),
    "adaptive_avg_pool2d": adaptive(2),
    "interpolate": interpolate,
    "pixel_shuffle": pixel_shuffle,
    "pixel_unshuffle": pixel_unshuffle,
    "batch_norm": batch_norm,
    "instance_norm": instance_norm,
}
