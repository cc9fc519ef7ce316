"""Losses: how far an answer is from what was wanted, as one number or one for each example."""

from __future__ import annotations

from math import prod
from typing import Any
from warnings import warn

from tinygrad_ft.engine import Array, op
from tinygrad_ft.ops.arithmetic import clip
from tinygrad_ft.ops.comparison import where
from tinygrad_ft.ops.composed import composed
from tinygrad_ft.ops.functions import log, softplus
from tinygrad_ft.ops.reduce import log_softmax, softmax_grad, sum
from tinygrad_ft.ops.shape import HERE, getitem, permute, reshape


@op
def cross_entropy_rows(xp: Any, x: Array, target: Array) -> tuple[Array, Array]:
    """(loss, p): p = softmax(x), loss = -log p[target], for each row; both from one e^x.

    Shapes: x (rows, classes) logits, target (rows,) integers -> loss (rows,), p (rows, classes).
    """
    rows = xp.arange(x.shape[0])
    z = x - xp.max(x, axis=1, keepdims=True, initial=-xp.inf)
    p = xp.exp(z)
    total = xp.sum(p, axis=1, keepdims=True)
    loss = xp.log(total[:, 0]) - z[rows, target]
    return loss, xp.divide(p, total, out=p)


@cross_entropy_rows.vjp
def cross_entropy_rows_vjp(gs: list[Array | None], target: Array, y: tuple[Array, Array]) -> tuple[Any, ...]:
    """dloss = (p - onehot(target)) dx."""
    (g, gp), (_, p) = gs, y
    gx = 0.0 if g is None else less_onehot(p, target) * reshape(g, (-1, 1))
    return (gx if gp is None else gx + softmax_grad(gp, p)), None


@op
def less_onehot(xp: Any, p: Array, target: Array) -> Array:
    """p with 1 taken off in each row's target column."""
    y = p.copy()
    y[xp.arange(p.shape[0]), target] -= 1
    return y


@less_onehot.vjp
def less_onehot_vjp(g: Array) -> tuple[Any, ...]:
    """The constant has no derivative."""
    return g, None


def reduced(losses: Array, reduction: str, weight: Any = None) -> Array:
    """The losses of the examples as they are ("none"), their "sum", or their "mean", weighted if weights are given."""
    if reduction == "none":
        return losses
    if reduction not in ("mean", "sum"):
        raise ValueError(f"reduction is 'mean', 'sum' or 'none': got {reduction!r}")
    total = sum(losses)
    if reduction == "sum":
        return total
    return total / (prod(losses.shape) if weight is None else sum(weight))


@composed
def cross_entropy(
    input: Array,
    target: Array,
    weight: Array = None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Array:
    """How surprised a model with these logits is by the true classes, in nats.

    Shapes: input (classes,), (n, classes) or (n, classes, d1, ...) logits; target the same without the classes axis,
    integers, or the same shape as input, probabilities; weight (classes,).
    Args:
        ignore_index: examples with this class count for nothing, nor in the mean; the mean of none is NaN.
        label_smoothing: share of the target that is spread evenly over all classes.
    Raises:
        IndexError: if a target is neither a class nor ignore_index.
    """
    if input.dtype.kind != "f":
        raise TypeError(f"cross_entropy needs floating-point logits: got {input.dtype}; call .float() first")
    axis = 1 if input.ndim > 1 else 0
    if target.dtype.kind == "f":
        return _soft_cross_entropy(input, target, weight, axis, reduction, label_smoothing)
    classes = input.shape[axis]
    expected = (*input.shape[:axis], *input.shape[axis + 1 :])
    if tuple(target.shape) != expected:
        raise ValueError(
            f"cross_entropy with logits {tuple(input.shape)} needs targets {expected}: got {tuple(target.shape)}"
        )
    moved = permute(input, (0, *range(2, input.ndim), 1)) if input.ndim > 2 else input
    rows, wanted = reshape(moved, (-1, classes)), reshape(getattr(target, "array", target), (-1,))
    counted = wanted != ignore_index
    if wanted.size and not (((wanted >= 0) & (wanted < classes)) | ~counted).all():
        bad = wanted[((wanted < 0) | (wanted >= classes)) & counted][0]
        raise IndexError(
            f"cross_entropy: target class {bad} is out of range for {classes} classes (0 to {classes - 1})"
        )
    wanted = wanted * counted  # an ignored row asks for class 0, and is then left out
    each = counted.astype(input.dtype) if weight is None else getitem(weight, wanted, key=(HERE,)) * counted
    losses = where(counted, cross_entropy_rows(rows, wanted)[0], 0.0)  # not 0 times: it may be infinite
    losses = losses if weight is None else losses * each
    if label_smoothing:
        logs = log_softmax(rows, axis=1)
        spread = where(counted, -sum(logs if weight is None else logs * weight, axis=1), 0.0)
        losses = losses * (1.0 - label_smoothing) + spread * (label_smoothing / classes)
    return reduced(reshape(losses, expected), reduction, each)


def _soft_cross_entropy(x: Array, target: Array, weight: Array, axis: int, reduction: str, smoothing: float) -> Array:
    if tuple(target.shape) != tuple(x.shape):
        raise ValueError(
            f"cross_entropy with probabilities needs equal shapes: got {tuple(x.shape)} and {tuple(target.shape)}"
        )
    if smoothing:
        target = target * (1.0 - smoothing) + smoothing / x.shape[axis]
    logs = log_softmax(x, axis=axis)
    if weight is not None:
        logs = logs * reshape(weight, (-1, *(1 for _ in x.shape[axis + 1 :])))
    losses = -sum(logs * target, axis=axis)
    return reduced(losses, reduction)


@composed
def mse_loss(input: Array, target: Array, *, reduction: str = "mean") -> Array:
    """Squared differences; broadcasting between them is allowed, and warned of, since it is seldom meant."""
    _warn_of_broadcasting("mse_loss", input, target)
    d = input - target
    return reduced(d * d, reduction)


@composed
def binary_cross_entropy(input: Array, target: Array, weight: Array = None, *, reduction: str = "mean") -> Array:
    """-(t log x + (1 - t) log(1 - x)) for chances x from 0 to 1, logarithms held at -100 or more as in PyTorch."""
    if tuple(target.shape) != tuple(input.shape):
        raise ValueError(f"binary_cross_entropy needs equal shapes: got {tuple(input.shape)} and {tuple(target.shape)}")
    losses = bce_of_chances(input, target)
    return reduced(losses if weight is None else losses * weight, reduction)


@op
def bce_of_chances(xp: Any, x: Array, t: Array) -> Array:
    """-(t log x + (1 - t) log(1 - x)), each logarithm at least -100."""
    if x.size and not (xp.all(x >= 0) and xp.all(x <= 1)):
        raise ValueError(
            f"binary_cross_entropy needs chances from 0 to 1: got {x.min()} to {x.max()}; "
            "for logits use the _with_logits form"
        )
    least = xp.asarray(1e-44 if x.dtype != xp.float16 else 6e-8, dtype=x.dtype)
    log_x, log_rest = (xp.maximum(xp.log(xp.maximum(z, least)), -100.0) for z in (x, 1.0 - x))
    return -(t * log_x + (1.0 - t) * log_rest)


@bce_of_chances.vjp
def bce_of_chances_vjp(g: Array, x: Array, t: Array) -> tuple[Any, ...]:
    """dy = (x - t) / (x (1 - x)) dx, the denominator held at 1e-12 at the ends, where the slope would be infinite."""
    gx = lambda: g * (x - t) / clip(x * (1.0 - x), min=1e-12)  # noqa: E731
    gt = lambda: g * (clip(log(clip(1.0 - x, min=1e-44)), min=-100.0) - clip(log(clip(x, min=1e-44)), min=-100.0))  # noqa: E731
    return gx, gt


@composed
def binary_cross_entropy_with_logits(
    input: Array, target: Array, weight: Array = None, *, reduction: str = "mean", pos_weight: Array = None
) -> Array:
    """binary_cross_entropy(sigmoid(x), t) without the overflow: softplus(x) - t x, positives weighted by pos_weight."""
    if tuple(target.shape) != tuple(input.shape):
        raise ValueError(
            f"binary_cross_entropy_with_logits needs equal shapes: got {tuple(input.shape)} and {tuple(target.shape)}"
        )
    if pos_weight is None:
        losses = softplus(input) - input * target
    else:
        losses = softplus(input) * (1.0 - target) + softplus(-input) * (target * pos_weight)
    return reduced(losses if weight is None else losses * weight, reduction)


def _warn_of_broadcasting(name: str, x: Array, target: Array) -> None:
    if tuple(x.shape) != tuple(target.shape):
        warn(
            f"{name}: input {tuple(x.shape)} and target {tuple(target.shape)} differ in shape and will be broadcast",
            stacklevel=4,
        )
