"""Losses of numbers, and of the distributions of numbers, that were to be met."""

from __future__ import annotations

from math import log as log_of
from math import nan, pi
from typing import Any

from tinygrad_ft.device import at_hand
from tinygrad_ft.engine import Array
from tinygrad_ft.ops.arithmetic import abs, clip
from tinygrad_ft.ops.comparison import where
from tinygrad_ft.ops.composed import composed
from tinygrad_ft.ops.functions import exp, log, softplus
from tinygrad_ft.ops.loss import reduced, warn_of_broadcasting
from tinygrad_ft.ops.reduce import sum
from tinygrad_ft.ops.shape import unsqueeze

__all__ = [
    "gaussian_nll_loss", "huber_loss", "kl_div", "l1_loss", "poisson_nll_loss", "smooth_l1_loss",
    "soft_margin_loss",
]  # fmt: skip


@composed
def l1_loss(input: Array, target: Array, *, reduction: str = "mean") -> Array:
    """Absolute differences."""
    warn_of_broadcasting("l1_loss", input, target)
    return reduced(abs(input - target), reduction)


@composed
def smooth_l1_loss(input: Array, target: Array, *, reduction: str = "mean", beta: float = 1.0) -> Array:
    """d^2 / (2 beta) for differences below beta, |d| - beta / 2 beyond: Huber's loss divided by beta."""
    if beta < 0:
        raise ValueError(f"smooth_l1_loss needs beta of 0 or more: got {beta}")
    warn_of_broadcasting("smooth_l1_loss", input, target)
    d = abs(input - target)
    return reduced(where(d < beta, d * d * (0.5 / beta), d - 0.5 * beta) if beta else d, reduction)


@composed
def huber_loss(
    input: Array, target: Array, *, reduction: str = "mean", delta: float = 1.0, weight: Array = None
) -> Array:
    """d^2 / 2 for differences up to delta, delta (|d| - delta / 2) beyond.

    Source: Huber, "Robust estimation of a location parameter", 1964.
    """
    if delta <= 0:
        raise ValueError(f"huber_loss needs delta above 0: got {delta}")
    warn_of_broadcasting("huber_loss", input, target)
    d = abs(input - target)
    losses = where(d <= delta, d * d * 0.5, delta * (d - 0.5 * delta))
    return reduced(losses if weight is None else losses * weight, reduction, weight)


@composed
def kl_div(input: Array, target: Array, *, reduction: str = "mean", log_target: bool = False) -> Array:
    """t (log t - x) for logarithms x of chances: summed, how far the distribution t is from that of the model.

    Args:
        reduction: "batchmean" is the sum divided by the length of the first axis; "mean" divides by all lengths.
        log_target: whether the target is given as logarithms too.
    """
    if log_target:
        losses = exp(target) * (target - input)
    else:
        losses = target * (log(where(target == 0, 1.0, target)) - input)
    if reduction != "batchmean":
        return reduced(losses, reduction)
    return sum(losses) / (input.shape[0] if input.ndim else 1)


@composed
def gaussian_nll_loss(
    input: Array, target: Array, var: Any, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> Array:
    """(log v + (x - t)^2 / v) / 2 with variances v of eps at least, + log(2 pi) / 2 if `full`.

    Shapes: var as input, or one for each row: (..., 1) or (...).
    """
    shape = tuple(input.shape)
    if isinstance(var, int | float):
        var = 0.0 * input + var
    if tuple(var.shape) == shape[:-1] != shape:
        var = unsqueeze(var, -1)
    elif var.ndim != len(shape) or [m for n, m in zip(shape, var.shape, strict=True) if n != m] not in ([], [1]):
        raise ValueError(f"gaussian_nll_loss needs variances for {shape} or its rows: got {tuple(var.shape)}")
    if at_hand(var) and bool((var < 0).any()):
        raise ValueError("gaussian_nll_loss needs variances of 0 or more: some are negative")
    v, d = clip(var, min=eps), input - target
    v = v if at_hand(var) else where(var < 0, nan, v)
    losses = 0.5 * (log(v) + d * d / v)
    return reduced(losses + 0.5 * log_of(2 * pi) if full else losses, reduction)


@composed
def poisson_nll_loss(
    input: Array,
    target: Array,
    *,
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
    reduction: str = "mean",
) -> Array:
    """e^x - t x for logarithms x of rates, or x - t log(x + eps) for rates; `full` adds Stirling's log t! for t > 1."""
    losses = exp(input) - target * input if log_input else input - target * log(input + eps)
    if full:
        several = target > 1
        t = where(several, target, 1.0)
        losses = losses + where(several, t * log(t) - t + 0.5 * log(2 * pi * t), 0.0)
    return reduced(losses, reduction)


@composed
def soft_margin_loss(input: Array, target: Array, *, reduction: str = "mean") -> Array:
    """log(1 + e^(-t x)) for targets t of 1 or -1."""
    return reduced(softplus(-target * input), reduction)
