"""Ops with an effect and no derivative: how an optimiser writes its step into parameters and moments, in place.

They go through `Op.__call__` like all others, so that a recorded training step holds them too. What changes from step
to step is positional: `lr`, a number or an array without axes, and `step`, an array without axes that the op itself
advances, so that a replay counts on without Python. All arithmetic is in the dtype of p.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any

from tinygrad_ft.device import at_hand
from tinygrad_ft.engine import Array, op

__all__ = ["adam_update", "rmsprop_update", "sgd_update"]


@op
def sgd_update(
    xp: Any,
    p: Array,
    g: Array,
    m: Array,
    lr: Array,
    *,
    momentum: float,
    dampening: float,
    weight_decay: float,
    nesterov: bool,
) -> Array:
    """p -= lr g, or with momentum p -= lr m, m = momentum m + (1 - dampening) g. Writes p, and m unless it is None.

    Weight decay adds weight_decay p to g first. Nesterov's form looks ahead: p -= lr (g + momentum m).
    Source: Sutskever et al., "On the importance of initialization and momentum in deep learning", 2013; as in PyTorch,
    lr multiplies the whole step, where the paper has it inside m.
    """
    if weight_decay:
        g = _decayed(xp, p, g, weight_decay)
    work = xp.empty_like(p)
    if m is not None:
        m *= momentum
        m += xp.multiply(g, 1.0 - dampening, out=work) if dampening else g
        if nesterov:
            g = g + xp.multiply(m, momentum, out=work)
        else:
            g = m
    p -= xp.multiply(g, float(lr), out=work)
    return p


sgd_update.overwrites("p", "m")


@op
def adam_update(
    xp: Any,
    p: Array,
    g: Array,
    m: Array,
    v: Array,
    lr: Array,
    step: Array,
    *,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    decoupled: bool,
) -> Array:
    """p -= lr mhat / (sqrt(vhat) + eps), mhat = m / (1 - beta1^step), vhat = v / (1 - beta2^step).

    Writes p, the running means m of g and v of g^2, and `step`, which the first update finds 0 and leaves 1. Weight
    decay is decoupled (p *= 1 - lr weight_decay) or, as in plain Adam, adds weight_decay p to g.
    Sources: Kingma and Ba, "Adam", 2015, algorithm 1, in the cheaper order of computation of section 2; Loshchilov and
    Hutter, "Decoupled Weight Decay Regularization", 2019, algorithm 2.
    """
    step += 1
    lr, t = float(lr), int(step)
    root = (1.0 - beta2**t) ** 0.5  # sqrt(vhat) = sqrt(v) / root: two passes fewer if eps and lr take it on
    if weight_decay and decoupled:
        p *= 1.0 - lr * weight_decay
    elif weight_decay:
        g = _decayed(xp, p, g, weight_decay)
    work = xp.subtract(g, m, out=xp.empty_like(p))
    work *= 1.0 - beta1
    m += work
    xp.multiply(g, g, out=work)
    work *= 1.0 - beta2
    v *= beta2
    v += work
    xp.sqrt(v, out=work)
    work += eps * root
    xp.divide(m, work, out=work)
    work *= lr * root / (1.0 - beta1**t)
    p -= work
    return p


adam_update.overwrites("p", "m", "v", "step")


@op
def rmsprop_update(
    xp: Any,
    p: Array,
    g: Array,
    v: Array,
    m: Array,
    mean: Array,
    lr: Array,
    *,
    alpha: float,
    eps: float,
    weight_decay: float,
    momentum: float,
) -> Array:
    """p -= lr g / (sqrt(v) + eps), v the running mean of g^2. Writes p, v, and m and mean where they are not None.

    With `mean`, the running mean of g, mean^2 is taken off v under the root; with `m`, p -= lr m, where
    m = momentum m + g / (sqrt(v) + eps). Weight decay adds weight_decay p to g first.
    Sources: Tieleman and Hinton, "Neural Networks for Machine Learning", 2012, lecture 6.5; Graves, "Generating
    Sequences with Recurrent Neural Networks", 2013, for mean and m, with eps under the root; outside it as in PyTorch.
    """
    if weight_decay:
        g = _decayed(xp, p, g, weight_decay)
    work = xp.multiply(g, g, out=xp.empty_like(p))
    work *= 1.0 - alpha
    v *= alpha
    v += work
    if mean is None:
        xp.sqrt(v, out=work)
    else:
        xp.subtract(g, mean, out=work)
        work *= 1.0 - alpha
        mean += work
        xp.multiply(mean, mean, out=work)
        xp.subtract(v, work, out=work)
        xp.sqrt(work, out=work)
    work += eps
    xp.divide(g, work, out=work)
    if m is not None:
        m *= momentum
        m += work
        xp.multiply(m, float(lr), out=work)
    else:
        work *= float(lr)
    p -= work
    return p


rmsprop_update.overwrites("p", "v", "m", "mean")


@op
def clip_to_length(xp: Any, max_norm: Array, *gs: Array, norm_type: float) -> Array:
    """The length of all gs together, which are scaled down, in place, to max_norm if it is larger.

    `norm_type` is 2 for the Euclidean length, inf for the largest element.
    """
    total, dtype = length(xp, gs, norm_type), xp.result_type(xp.float32, *(g.dtype for g in gs))
    scale = _number(max_norm) / (total + 1e-6)
    if not at_hand(scale):
        scale = xp.minimum(scale, 1.0)
    elif scale >= 1.0:
        gs = ()
    for g in gs:
        g *= scale
    return xp.asarray(total, dtype=dtype)


clip_to_length.overwrites("gs")


def length(xp: Any, gs: Sequence[Array], norm_type: float) -> Any:
    """How long several arrays are together: a number, or on a GPU an array without axes, which nobody waits for."""
    if norm_type == inf:
        largest: Any = 0.0
        for g in gs:
            if g.size:
                largest = _number(xp.maximum(largest, abs(g).max()))  # Python's max would lose a NaN
        return largest
    if norm_type == 2.0:  # a dot product reads each once and makes no temporary
        return sum(_number(g @ g) for g in (_wide(xp, g).ravel() for g in gs)) ** 0.5
    return sum(_number((abs(_wide(xp, g)) ** norm_type).sum()) for g in gs) ** (1.0 / norm_type)


def _number(a: Any) -> Any:
    """A number without axes as Python's, if that waits for nobody."""
    return float(a) if at_hand(a) else a


def _wide(xp: Any, g: Array) -> Array:
    """g in float32 at least: in float16 the square of 256 is infinite."""
    return g.astype(xp.result_type(g.dtype, xp.float32), copy=False)


@op
def clip_elements(xp: Any, g: Array, *, clip_value: float) -> Array:
    """Hold every element of g between -clip_value and clip_value, in place."""
    return g.clip(-clip_value, clip_value, out=g)


clip_elements.overwrites("g")


@op
def moved_towards(xp: Any, running: Array, now: Array, *, share: float) -> Array:
    """running += share (now - running), in place: a running mean."""
    running += share * (now - running)
    return running


moved_towards.overwrites("running")


@op
def counted_up(xp: Any, n: Array) -> Array:
    """n += 1, in place."""
    n += 1
    return n


counted_up.overwrites("n")


def _decayed(xp: Any, p: Array, g: Array, weight_decay: float) -> Array:
    """g + weight_decay p, in an array of its own: g belongs to the parameter's grad."""
    work = xp.multiply(p, weight_decay, out=xp.empty_like(p))
    work += g
    return work
