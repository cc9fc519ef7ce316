"""Nets, by other means."""

import math

import numpy as np

from references.elementwise import logistic
from references.reduce import variance
from references.ways import each, meetings, normalising


def bce_number(x, t):
    floor = lambda z: -100.0 if z == 0 else max(math.log(z), -100.0)  # noqa: E731
    return -t * floor(x) - (1 - t) * floor(1 - x)


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


def layer_norm_of_rows(x, weight, bias, axes=1, eps=1e-5):
    last = tuple(range(x.ndim - axes, x.ndim))
    _, r = normalise(x, axes, eps)
    mean = np.empty(r.shape)
    for place, numbers in meetings(x, last).items():
        mean[place] = math.fsum(numbers) / len(numbers)
    return layer_norm(x, x.shape[x.ndim - axes :], weight, bias, eps), mean, r


def layer_norm_grad(g, x, weight, m, r, *, axes):
    """By the whole Jacobian r (1 - 1/n - z z^T / n) of each row."""
    n = math.prod(x.shape[x.ndim - axes :])
    w = np.ones(n) if weight is None else weight.reshape(n)
    gx, gw, gb = np.empty((x.size // n, n)), np.zeros(n), np.zeros(n)
    rows = zip(g.reshape(-1, n), x.reshape(-1, n), m.reshape(-1), r.reshape(-1), strict=True)
    for i, (one, row, centre, scale) in enumerate(rows):
        z = (row - centre) * scale
        gx[i] = scale * (np.eye(n) - 1 / n - np.outer(z, z) / n) @ (one * w)
        gw, gb = gw + one * z, gb + one
    shape = x.shape[x.ndim - axes :]
    return gx.reshape(x.shape), gw.reshape(shape), gb.reshape(shape)


def rms_norm_of_rows(x, weight, axes=1, eps=1e-5):
    r = np.empty((*x.shape[: x.ndim - axes], *(1,) * axes))
    for place, numbers in meetings(x, tuple(range(x.ndim - axes, x.ndim))).items():
        r[place] = (math.fsum(x * x for x in numbers) / len(numbers) + eps) ** -0.5
    return rms_norm(x, x.shape[x.ndim - axes :], weight, eps), r


def rms_norm_grad(g, x, weight, r, *, axes):
    """By the whole Jacobian r (1 - z z^T / n) of each row."""
    shape = x.shape[x.ndim - axes :]
    n = math.prod(shape)
    w = np.ones(n) if weight is None else weight.reshape(n)
    gx, gw = np.empty((x.size // n, n)), np.zeros(n)
    for i, (one, row, scale) in enumerate(zip(g.reshape(-1, n), x.reshape(-1, n), r.reshape(-1), strict=True)):
        z = row * scale
        gx[i] = scale * (np.eye(n) - np.outer(z, z) / n) @ (one * w)
        gw += one * z
    return gx.reshape(x.shape), gw.reshape(shape)


def attention_grad(g, q, k, v, p, *, causal, scale):
    """By the whole Jacobian of each row of weights."""
    gp = np.einsum("...ie,...je->...ij", g, v)
    gs = np.empty(p.shape)
    for place in np.ndindex(p.shape[:-1]):
        gs[place] = scale * (np.diag(p[place]) - np.outer(p[place], p[place])) @ gp[place]
    parts = (("...ij,...jd->...id", gs, k), ("...ij,...id->...jd", gs, q), ("...ij,...ie->...je", p, g))
    return tuple(np.einsum(*part) for part in parts)


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


def flash_attention(q, k, v, *, causal=False, scale=1.0):
    """The logarithm of the sum over the keys that a query may see; infinite where it sees none."""
    lse = np.full((*q.shape[:-1], 1), np.inf)
    for *where, i in np.ndindex(*q.shape[:-1]):
        where = tuple(where)
        seen = [j for j in range(k.shape[-2]) if not (causal and j > i)]
        scores = [scale * math.fsum(q[(*where, i)] * k[(*where, j)]) for j in seen]
        if seen:
            lse[(*where, i)] = math.log(math.fsum(map(math.exp, scores)))
    return attention(q, k, v, causal=causal, scale=scale)[0], lse


def flash_attention_grad(g, q, k, v, y, lse, glse=None, *, causal, scale):
    """Each pair of a query and a key that it sees adds its part."""
    gq, gk, gv = np.zeros(q.shape), np.zeros(k.shape), np.zeros(v.shape)
    for *where, i, j in np.ndindex(*q.shape[:-1], k.shape[-2]):
        at, to = (*where, i), (*where, j)
        if not (causal and j > i):
            p = math.exp(scale * math.fsum(q[at] * k[to]) - lse[at][0])
            more = 0.0 if glse is None else glse[at][0]
            gs = p * (math.fsum(g[at] * v[to]) - math.fsum(g[at] * y[at]) + more)
            gq[at] += scale * gs * k[to]
            gk[to] += scale * gs * q[at]
            gv[to] += p * g[at]
    return gq, gk, gv


def scaled_dot_product_attention(query, key, value, attn_mask=None, *, is_causal=False):
    return attention(query, key, value, attn_mask, causal=is_causal, scale=1 / math.sqrt(query.shape[-1]))[0]


def philox(counter, key):
    """Salmon et al., 2011: four words of 32 bits in, two of a key, four out, all in Python's integers."""
    (a, b, c, d), (low, high) = counter, key
    for _ in range(10):
        p, q = 0xD2511F53 * a, 0xCD9E8D57 * c
        a, b, c, d = q >> 32 ^ b ^ low, q % 2**32, p >> 32 ^ d ^ high, p % 2**32
        low, high = (low + 0x9E3779B9) % 2**32, (high + 0xBB67AE85) % 2**32
    return a, b, c, d


def counted_dropout(x, seed, p):
    y = np.zeros(x.shape)
    for i in range(x.size):
        word = philox((i // 128 * 32 + i % 32, 0, 0, 0), (seed % 2**32, seed // 2**32))[i % 128 // 32]
        if word >= p * 2**32 and p < 1:
            y.flat[i] = x.flat[i] / (1 - p)
    return y


def dropout(x, p=0.5, training=True, *, rng=None):
    """One draw for each element, in order of memory."""
    if not training:
        return x
    draws = rng.random(x.shape, dtype=np.float32)
    return each(lambda x, draw: 0.0 if draw < p else x / (1 - p))(x, draws)


def summarised(losses, reduction, count=None):
    if reduction == "none":
        return losses
    total = math.fsum(losses.ravel())
    return total / (losses.size if count is None else count) if reduction == "mean" else total


def surprise(row, c):
    """-log softmax(row)[c]."""
    return math.log(math.fsum(math.exp(x - row[c]) for x in row))


def summed_cross_entropy(x, target, share):
    shares = np.broadcast_to(share, len(x)).tolist()
    loss = math.fsum(s * surprise(row, c) for row, c, s in zip(x.tolist(), target, shares, strict=True))
    chances = normalising(lambda x, xs: 1 / math.fsum(math.exp(other - x) for other in xs))(x, 1)
    slope = [[s * (p - (j == c)) for j, p in enumerate(row)] for row, c, s in zip(chances, target, shares, strict=True)]
    return np.array(loss), np.array(slope).reshape(x.shape)


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


def rms_norm(input, normalized_shape, weight=None, eps=None):
    axes = 1 if isinstance(normalized_shape, int) else len(normalized_shape)
    y = np.empty(input.shape)
    for place, numbers in meetings(input, tuple(range(input.ndim - axes, input.ndim))).items():
        square = math.fsum(x * x for x in numbers) / len(numbers) + (np.finfo(float).eps if eps is None else eps)
        y[place[: input.ndim - axes]] = input[place[: input.ndim - axes]] / math.sqrt(square)
    return y * (1 if weight is None else weight)


def group_norm(x, groups, weight=None, bias=None):
    """One group of one example after the other."""
    y, size = np.empty(x.shape), x.shape[1] // groups
    for n, k in np.ndindex(len(x), groups):
        part = x[n, k * size : (k + 1) * size]
        spread = math.sqrt(variance(part.ravel().tolist(), 0) + 1e-5)
        y[n, k * size : (k + 1) * size] = (part - math.fsum(part.ravel()) / part.size) / spread
    column = (-1, *(1 for _ in x.shape[2:]))
    return y * (1 if weight is None else weight.reshape(column)) + (0 if bias is None else bias.reshape(column))


def nll_loss(input, target, weight=None, reduction="mean"):
    x, losses, count = (np.moveaxis(input, 1, -1) if input.ndim > 1 else input), np.zeros(target.shape), 0.0
    for place, c in np.ndenumerate(target):
        w = 0.0 if c == -100 else 1.0 if weight is None else weight[c]
        losses[place], count = -w * x[(*place, c)] if w else 0.0, count + w
    return summarised(losses, reduction, count)


def kl_div(x, t, reduction="mean", log_target=False):
    losses = each(lambda x, t: math.exp(t) * (t - x) if log_target else t * (math.log(t) - x))(x, t)
    return summarised(losses, "sum") / len(x) if reduction == "batchmean" else summarised(losses, reduction)


def gaussian_nll_loss(x, t, var, full=False):
    """-log of the normal density, but for its constant unless `full`."""
    var = var[:, None] if var.ndim < x.ndim else var
    density = lambda x, t, v: math.exp(-((x - t) ** 2) / (2 * v)) / math.sqrt(2 * math.pi * v)  # noqa: E731
    constant = 0.0 if full else math.log(2 * math.pi) / 2
    return summarised(each(lambda *numbers: -math.log(density(*numbers)) - constant)(x, t, var), "mean")


def poisson_nll_loss(x, t, log_input=True, full=False, reduction="mean"):
    def loss(x, t):
        stirling = t * math.log(t) - t + math.log(2 * math.pi * t) / 2 if full and t > 1 else 0.0
        return (math.exp(x) - t * x if log_input else x - t * math.log(x + 1e-8)) + stirling

    return summarised(each(loss)(x, t), reduction)


def triplet_margin_loss(anchor, positive, negative, margin=1.0, swap=False):
    far = lambda a, b: math.dist(a + 1e-6, b)  # noqa: E731
    rows = zip(anchor, positive, negative, strict=True)
    losses = [max(0.0, margin + far(a, p) - min(far(a, n), far(p, n) if swap else math.inf)) for a, p, n in rows]
    return summarised(np.array(losses), "mean")


def cosine_embedding_loss(a, b, t, reduction="mean"):
    rows = zip(np.atleast_2d(a), np.atleast_2d(b), np.atleast_1d(t), strict=True)
    cosines = [(math.fsum(a * b) / (math.hypot(*a) * math.hypot(*b)), t) for a, b, t in rows]
    return summarised(np.array([1 - c if t == 1 else max(0.0, c) for c, t in cosines]), reduction)


def averaged(f):
    """The loss that f gives for numbers, over arrays."""
    return lambda *xs, reduction="mean", **params: summarised(each(f)(*xs, **params), reduction)


REFERENCES = {
    "rms_norm": rms_norm,
    "group_norm": group_norm,
    "nll_loss": nll_loss,
    "l1_loss": averaged(lambda x, t: abs(x - t)),
    "smooth_l1_loss": averaged(lambda x, t: (x - t) ** 2 / 2 if abs(x - t) < 1 else abs(x - t) - 0.5),
    "huber_loss": averaged(lambda x, t: (x - t) ** 2 / 2 if abs(x - t) < 1 else abs(x - t) - 0.5),
    "kl_div": kl_div,
    "gaussian_nll_loss": gaussian_nll_loss,
    "poisson_nll_loss": poisson_nll_loss,
    "soft_margin_loss": averaged(lambda x, t: math.log(1 + math.exp(-t * x))),
    "hinge_embedding_loss": averaged(lambda x, t: x if t == 1 else max(0.0, 1 - x)),
    "margin_ranking_loss": averaged(lambda a, b, t, margin: max(0.0, margin - t * (a - b))),
    "triplet_margin_loss": triplet_margin_loss,
    "cosine_embedding_loss": cosine_embedding_loss,
    "normalise": normalise,
    "layer_norm_of_rows": layer_norm_of_rows,
    "layer_norm_grad": layer_norm_grad,
    "rms_norm_of_rows": rms_norm_of_rows,
    "rms_norm_grad": rms_norm_grad,
    "attention_grad": attention_grad,
    "layer_norm": layer_norm,
    "attention": attention,
    "flash_attention": flash_attention,
    "flash_attention_grad": flash_attention_grad,
    "scaled_dot_product_attention": scaled_dot_product_attention,
    "counted_dropout": counted_dropout,
    "dropout": dropout,
    "summed_cross_entropy": summed_cross_entropy,
    "cross_entropy": cross_entropy,
    "mse_loss": mse_loss,
    "bce_of_chances": each(bce_number),
    "binary_cross_entropy": binary_cross_entropy,
    "binary_cross_entropy_with_logits": binary_cross_entropy_with_logits,
}
