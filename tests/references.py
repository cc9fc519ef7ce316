"""What each op computes, once more and by other means: loops over Python floats, `math`, `statistics`, other formulas.

`REFERENCES[name](*arrays, **params)` takes what the op of that name takes, as plain arrays. `VALUES` holds inputs for
the ops without a derivative, which `tinygrad_ft.gradcheck.SAMPLES` has no reason to list.
"""

import functools
import itertools
import math
from statistics import NormalDist

import numpy as np

from tinygrad_ft.gradcheck import Sample
from tinygrad_ft.ops.shape import HERE

# ---------------------------------------------------------------- ways to loop


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


# ---------------------------------------------------------------- one number at a time


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


def bce_number(x, t):
    floor = lambda z: -100.0 if z == 0 else max(math.log(z), -100.0)  # noqa: E731
    return -t * floor(x) - (1 - t) * floor(1 - x)


# ---------------------------------------------------------------- many numbers to one


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


# ---------------------------------------------------------------- elements moved


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


def transpose(x, axis0=-2, axis1=-1):
    axes = list(range(x.ndim))
    axes[axis0], axes[axis1] = axes[axis1], axes[axis0]
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


def gather(x, index, axis):
    return fetched(x, index.shape, lambda p: along(p, axis % x.ndim, index[p]))


def scatter_add(g, index, axis, shape):
    y = np.zeros(shape)
    for place in np.ndindex(index.shape):
        y[along(place, axis % g.ndim, index[place])] += g[place]
    return y


def joined(lists, axis):
    if axis == 0:
        return list(itertools.chain(*lists))
    return [joined(parts, axis - 1) for parts in zip(*lists, strict=True)]


def concatenate(*xs, axis=0):
    return np.array(joined([x.tolist() for x in xs], axis % xs[0].ndim))


def stack(tensors, axis=0):
    return concatenate(*(unsqueeze(x, axis) for x in tensors), axis=axis)


def split(x, sizes, axis=0):
    ends = list(itertools.accumulate(sizes, initial=0))
    return tuple(np.take(x, range(a, b), axis) for a, b in itertools.pairwise(ends))


def pad_constant(x, widths, value=0.0):
    y = np.full([before + n + after for (before, after), n in zip(widths, x.shape, strict=True)], value)
    for place in np.ndindex(x.shape):
        y[tuple(before + i for (before, _), i in zip(widths, place, strict=True))] = x[place]
    return y


def pad(x, pad, value=0.0):
    pairs = [(pad[i], pad[i + 1]) for i in range(0, len(pad), 2)]
    return pad_constant(x, ((0, 0),) * (x.ndim - len(pairs)) + tuple(reversed(pairs)), value)


# ---------------------------------------------------------------- products


def matmul(a, b):
    left, right = (a[None] if a.ndim == 1 else a), (b[:, None] if b.ndim == 1 else b)
    batch = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    (n, k), m = left.shape[-2:], right.shape[-1]
    left, right = np.broadcast_to(left, (*batch, n, k)), np.broadcast_to(right, (*batch, k, m))
    y = np.empty((*batch, n, m))
    for (*where, i, j), _ in np.ndenumerate(y):
        y[(*where, i, j)] = math.fsum(left[(*where, i, q)] * right[(*where, q, j)] for q in range(k))
    y = y[..., 0, :] if a.ndim == 1 else y
    return y[..., 0] if b.ndim == 1 else y


def linear(x, weight, bias):
    y = np.empty((*x.shape[:-1], len(weight)))
    for (*where, o), _ in np.ndenumerate(y):
        products = [a * w for a, w in zip(x[tuple(where)], weight[o], strict=True)]
        y[(*where, o)] = math.fsum([*products, 0.0 if bias is None else bias[o]])
    return y


def embedding(ids, weight):
    y = np.empty((*ids.shape, weight.shape[1]))
    for place, i in np.ndenumerate(ids):
        y[place] = weight[i]
    return y


def sum_rows(g, ids, rows):
    y = np.zeros((rows, g.shape[-1]))
    for place, i in np.ndenumerate(ids):
        y[i] += g[place]
    return y


def normalise(x, axes=1, eps=1e-5):
    last = tuple(range(x.ndim - axes, x.ndim))
    y, r = np.empty(x.shape), np.empty(tuple(1 if i in last else n for i, n in enumerate(x.shape)))
    for place, numbers in meetings(x, last).items():
        r[place] = (variance(numbers, 0) + eps) ** -0.5
        centre = math.fsum(numbers) / len(numbers)
        y[place[: x.ndim - axes]] = (x[place[: x.ndim - axes]] - centre) * r[place]
    return y, r


def layer_norm(x, normalized_shape, weight=None, bias=None, eps=1e-5):
    y, _ = normalise(x, 1 if isinstance(normalized_shape, int) else len(normalized_shape), eps)
    return y * (1 if weight is None else weight) + (0 if bias is None else bias)


def attention(q, k, v, mask=None, *, causal=False, scale=1.0):
    """One query after the other, over the list of the keys that it may see."""
    batch, n, m = q.shape[:-2], q.shape[-2], k.shape[-2]
    y, p = np.zeros((*batch, n, v.shape[-1])), np.zeros((*batch, n, m))
    mask = np.broadcast_to(np.zeros(()) if mask is None else mask, p.shape)
    for *where, i in np.ndindex(*batch, n):
        where = tuple(where)
        row = mask[(*where, i)]
        seen = [j for j in range(m) if not (causal and j > i) and (row.dtype != bool or row[j])]
        added = {j: 0.0 if row.dtype == bool else row[j] for j in seen}
        scores = {j: scale * math.fsum(q[(*where, i)] * k[(*where, j)]) + added[j] for j in seen}
        for j in seen:
            p[(*where, i, j)] = 1 / math.fsum(math.exp(scores[other] - scores[j]) for other in seen)
            y[(*where, i)] += p[(*where, i, j)] * v[(*where, j)]
    return y, p


def scaled_dot_product_attention(query, key, value, attn_mask=None, *, is_causal=False):
    return attention(query, key, value, attn_mask, causal=is_causal, scale=1 / math.sqrt(query.shape[-1]))[0]


# ---------------------------------------------------------------- losses


def summarised(losses, reduction, count=None):
    if reduction == "none":
        return losses
    total = math.fsum(losses.ravel())
    return total / (losses.size if count is None else count) if reduction == "mean" else total


def surprise(row, c):
    """-log softmax(row)[c]."""
    return math.log(math.fsum(math.exp(x - row[c]) for x in row))


def cross_entropy_rows(x, target):
    losses = np.array([surprise(row, c) for row, c in zip(x.tolist(), target, strict=True)])
    return losses, normalising(lambda x, xs: 1 / math.fsum(math.exp(other - x) for other in xs))(x, 1)


def less_onehot(p, target):
    return np.array([[x - (c == wanted) for c, x in enumerate(row)] for row, wanted in zip(p, target, strict=True)])


def cross_entropy(
    input, target, weight=None, *, ignore_index=-100, reduction="mean", label_smoothing=0.0
):  # "input" as PyTorch has it
    """Through a distribution over the classes for each example, whatever way the target was given."""
    x = np.moveaxis(input, 1, -1) if input.ndim > 1 else input
    classes, by_chance = x.shape[-1], target.dtype.kind == "f"
    wanted = np.moveaxis(target, 1, -1) if by_chance and target.ndim > 1 else target
    weight = [1.0] * classes if weight is None else weight.tolist()
    losses, count = np.zeros(x.shape[:-1]), 0.0
    for place in np.ndindex(losses.shape):
        if not by_chance and wanted[place] == ignore_index:
            continue
        chances = wanted[place] if by_chance else [float(c == wanted[place]) for c in range(classes)]
        chances = [t * (1 - label_smoothing) + label_smoothing / classes for t in chances]
        losses[place] = math.fsum(t * w * surprise(x[place], c) for c, (t, w) in enumerate(zip(chances, weight)))  # noqa: B905
        count += 1.0 if by_chance else weight[int(wanted[place])]
    return summarised(losses, reduction, count)


def mse_loss(input, target, reduction="mean"):
    return summarised(each(lambda x, t: (x - t) ** 2)(input, target), reduction)


def binary_cross_entropy(input, target, weight=None, reduction="mean"):
    w = np.ones(()) if weight is None else weight
    return summarised(each(lambda x, t, w: w * bce_number(x, t))(input, target, w), reduction)


def binary_cross_entropy_with_logits(input, target, weight=None, reduction="mean", pos_weight=None):
    w, up = (np.ones(()) if a is None else a for a in (weight, pos_weight))
    loss = lambda x, t, w, up: w * -(up * t * math.log(logistic(x)) + (1 - t) * math.log(logistic(-x)))  # noqa: E731
    return summarised(each(loss)(input, target, w, up), reduction)


# ---------------------------------------------------------------- steps of the optimisers, one parameter at a time


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
    "share": each(lambda won, tied: 0.5 if tied else float(won)),
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
    "cast": each(lambda x, dtype: x),
    "pick": lambda *ys, i: ys[i],
    "blank": lambda like, shape: np.array([0.0] * math.prod(shape)).reshape(shape),
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
    "scatter_add": scatter_add,
    "concatenate": concatenate,
    "cat": lambda tensors, axis=0: concatenate(*tensors, axis=axis),
    "stack": stack,
    "split": split,
    "pad_constant": pad_constant,
    "pad": pad,
    "matmul": matmul,
    "linear": linear,
    "embedding": embedding,
    "sum_rows": sum_rows,
    "normalise": normalise,
    "layer_norm": layer_norm,
    "attention": attention,
    "scaled_dot_product_attention": scaled_dot_product_attention,
    "dropout": lambda x, p=0.5, training=True: x,  # the samples are those without chance; chance has tests of its own
    "cross_entropy_rows": cross_entropy_rows,
    "less_onehot": less_onehot,
    "cross_entropy": cross_entropy,
    "mse_loss": mse_loss,
    "bce_of_chances": each(bce_number),
    "binary_cross_entropy": binary_cross_entropy,
    "binary_cross_entropy_with_logits": binary_cross_entropy_with_logits,
    "sgd_update": each(sgd_number),
    "adam_update": each(adam_number),
    "rmsprop_update": each(rmsprop_number),
}


# ---------------------------------------------------------------- inputs for the ops without a derivative


def small_integers(rng, *shape):
    """Floating-point numbers with many ties among them."""
    return np.asarray(rng.integers(-1, 2, shape).astype(float))


def pairs_with_ties(rng):
    shapes = [((3, 4), (3, 4)), ((2, 1), (3,)), ((), ()), ((0, 2), (2,))]
    return [Sample((small_integers(rng, *a), small_integers(rng, *b))) for a, b in shapes]


def pairs_of_booleans(rng):
    return [Sample((a > 0, b > 0)) for (a, b), _ in pairs_with_ties(rng)]


def with_infinities(rng):
    return [Sample((np.array(x),)) for x in ([1.0, math.inf, -math.inf, math.nan], 2.0, np.ones((0, 2)))]


def reductions_with_ties(rng):
    x = small_integers(rng, 3, 4, 5)
    along_axes = [Sample((x,), params) for params in ({}, {"axis": 1}, {"axis": -1, "keepdims": True})]
    return [*along_axes, Sample((x[0, 0, 0],))]


def optimiser_state(rng, moments, *numbers, **params):
    """Parameter and gradient, the running means, the learning rate 0.1 and more numbers, all arrays."""
    arrays = [*rng.standard_normal((2, 2, 3)), *rng.uniform(0.6, 0.7, (moments, 2, 3))]
    return Sample((*arrays, *map(np.array, (0.1, *numbers))), params)


VALUES = {
    **dict.fromkeys(["eq", "ne", "lt", "le", "gt", "ge"], pairs_with_ties),
    **dict.fromkeys(["logical_and", "logical_or", "share"], pairs_of_booleans),
    "logical_not": lambda rng: [Sample((a,)) for (a, _), _ in pairs_of_booleans(rng)],
    "isfinite": with_infinities,
    "zeros_like": lambda rng: [Sample((a,)) for (a, _), _ in pairs_with_ties(rng)],
    "argmax": reductions_with_ties,
    "argmin": reductions_with_ties,
    "pick": lambda rng: [Sample((np.ones(2), np.zeros((3, 1))), {"i": 1})],
    "blank": lambda rng: [Sample((np.ones(2),), {"shape": (3, 0)}), Sample((np.ones(2),), {"shape": (2, 2)})],
    "sgd_update": lambda rng: [
        optimiser_state(rng, 1, momentum=0.9, dampening=damped, weight_decay=decay, nesterov=ahead)
        for damped, decay, ahead in [(0.0, 0.0, False), (0.5, 0.1, False), (0.0, 0.1, True)]
    ],
    "adam_update": lambda rng: [
        optimiser_state(rng, 2, done, beta1=0.9, beta2=0.99, eps=1e-3, weight_decay=decay, decoupled=decoupled)
        for done, decay, decoupled in [(0, 0.0, False), (2, 0.1, False), (2, 0.1, True)]
    ],
    "rmsprop_update": lambda rng: [
        optimiser_state(rng, 3, alpha=alpha, eps=1e-3, weight_decay=decay, momentum=momentum)
        for alpha, decay, momentum in [(0.99, 0.0, 0.5), (0.99, 0.1, 0.0)]
    ],
}
