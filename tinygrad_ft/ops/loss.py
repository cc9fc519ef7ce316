"""Losses: how far an answer is from what was wanted, as one number or one for each example."""

from __future__ import annotations

from math import nan
from typing import Any
from warnings import warn

from tinygrad_ft.chain_rule import as_tensor, cast
from tinygrad_ft.device import at_hand
from tinygrad_ft.engine import Array, Value, op
from tinygrad_ft.ops.arithmetic import clip, mul
from tinygrad_ft.ops.comparison import eq, ne, where
from tinygrad_ft.ops.composed import composed
from tinygrad_ft.ops.functions import log, softplus
from tinygrad_ft.ops.index import HERE, getitem, take_along_axis
from tinygrad_ft.ops.reduce import HALF, in_float32, log_softmax, mean, shifted, softmax, softmax_grad, sum
from tinygrad_ft.ops.shape import permute, reshape, unsqueeze

__all__ = ["binary_cross_entropy", "binary_cross_entropy_with_logits", "cross_entropy", "mse_loss", "nll_loss"]


@op
def summed_cross_entropy(xp: Any, x: Array, target: Array, share: Array) -> tuple[Array, Array]:
    """(loss, slope): loss = -sum(share log softmax(x)[target]) over the rows, slope = dloss/dx, both from one e^x.

    Shapes: x (rows, classes) logits, target (rows,) integers, share (rows,) or a number -> loss (), slope as x.
    A row whose share is 0 counts for nothing, even if its loss is infinite.
    """
    if x.dtype is HALF:
        return in_float32(summed_cross_entropy, xp, x, target, share)  # type: ignore[no-any-return]
    place = xp.arange(len(x)), target
    z, _ = shifted(xp, x, 1)
    slope = xp.exp(z)
    total = xp.sum(slope, axis=1, keepdims=True)
    losses = xp.log(total[:, 0]) - z[place]
    if not isinstance(share, float):
        losses = xp.where(xp.equal(share, 0), xp.zeros_like(losses), losses)
    slope /= total
    slope[place] -= 1
    slope *= _column(share)
    return xp.sum(losses * share), slope


@summed_cross_entropy.requires
def classes_exist(x: Array, target: Array, *_: Array) -> None:
    """Targets from 0 to classes - 1."""
    if target.size and not 0 <= target.min() <= target.max() < x.shape[-1]:
        raise IndexError(f"target classes from {target.min()} to {target.max()} of {x.shape[-1]} classes")


def _column(share: Array) -> Array:
    return share if isinstance(share, float) else share.reshape((-1, 1))


@summed_cross_entropy.vjp
def summed_cross_entropy_vjp(gs: list[Array | None], x: Array, target: Array, share: Array, y: Any) -> tuple[Any, ...]:
    """dloss = slope dx - log p[target] dshare, slope = share (p - onehot(target)), with p = softmax(x)."""
    (g, gslope), (_, slope) = gs, y

    def gx() -> Array:
        through_loss = 0.0 if g is None else g * slope
        return through_loss if gslope is None else through_loss + softmax_grad(gslope * _column(share), softmax(x))

    def gshare() -> Array:
        at = target.reshape((-1, 1))
        through_loss = 0.0 if g is None else -g * take_along_axis(log_softmax(x), at, axis=1).reshape(-1)
        if gslope is None:
            return through_loss
        return through_loss + sum(gslope * softmax(x), axis=1) - take_along_axis(gslope, at, axis=1).reshape(-1)

    return gx, None, gshare


def reduced(losses: Array, reduction: str, weight: Any = None) -> Array:
    """The losses of the examples as they are ("none"), their "sum", or their "mean", weighted if weights are given."""
    if reduction == "none":
        return losses
    if reduction not in ("mean", "sum"):
        raise ValueError(f"reduction is 'mean', 'sum' or 'none': got {reduction!r}")
    if reduction == "sum":
        return sum(losses)
    return mean(losses) if weight is None else _portion(sum(losses), sum(weight))


def _portion(a: Array, total: Array) -> Array:
    """a / total; a share of nothing is NaN, and flat: a batch without targets moves no weight."""
    return where(total == 0, nan, a / where(total == 0, 1.0, total))


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
    if _kind(input, "logits") != "f":
        raise TypeError(f"cross_entropy needs floating-point logits: got {input.dtype}; call .float() first")
    if weight is not None:
        _kind(weight, "weight")
    axis = 1 if input.ndim > 1 else 0
    kind = _kind(target, "targets")
    if kind not in "iuf":
        raise TypeError(f"cross_entropy needs integer classes or floating-point chances as targets: got {target.dtype}")
    if kind == "f":
        return _soft_cross_entropy(input, target, weight, axis, reduction, label_smoothing)
    classes = input.shape[axis]
    expected = (*input.shape[:axis], *input.shape[axis + 1 :])
    if tuple(target.shape) != expected:
        raise ValueError(
            f"cross_entropy with logits {tuple(input.shape)} needs targets {expected}: got {tuple(target.shape)}"
        )
    rows: Any = input
    wanted: Any = getattr(target, "array", target)
    if input.ndim != 2:
        moved = permute(input, (0, *range(2, input.ndim), 1)) if input.ndim > 2 else input
        rows, wanted = moved.reshape((-1, classes)), reshape(wanted, (-1,))
    wanted, each = _asked(input, wanted, classes, ignore_index)
    if weight is not None:
        each = getitem(weight, wanted, key=(HERE,)) * (1.0 if each is None else each)
    if reduction not in ("mean", "sum") or label_smoothing or not len(wanted):
        losses = _row_losses(rows, wanted, each, weight, label_smoothing)
        return reduced(losses if input.ndim == 2 else losses.reshape(expected), reduction, each)
    if reduction == "mean" and each is not None:
        total = sum(each)
        mean_loss = summed_cross_entropy(rows, wanted, each / where(total == 0, 1.0, total))[0]
        return where(total == 0, nan, mean_loss)
    share = 1.0 / len(wanted) if reduction == "mean" else 1.0 if each is None else each
    return summed_cross_entropy(rows, wanted, share)[0]


@composed
def nll_loss(
    input: Array, target: Array, weight: Array = None, *, ignore_index: int = -100, reduction: str = "mean"
) -> Array:
    """`cross_entropy` of logarithms of chances instead of logits: -x[target].

    Raises:
        IndexError: if a target is neither a class nor ignore_index.
    """
    axis = 1 if input.ndim > 1 else 0
    expected = (*input.shape[:axis], *input.shape[axis + 1 :])
    if not input.ndim or tuple(target.shape) != expected:
        raise ValueError(f"nll_loss with {tuple(input.shape)} needs targets {expected}: got {tuple(target.shape)}")
    if weight is not None and tuple(weight.shape) != (input.shape[axis],):
        raise ValueError(f"nll_loss needs weight ({input.shape[axis]},): got {tuple(weight.shape)}")
    wanted: Any = getattr(target, "array", target)
    wanted, each = _asked(input, wanted, input.shape[axis], ignore_index)
    each = _beside(input, cast(eq(wanted, wanted), dtype=input.dtype)) if each is None else each
    each = each if weight is None else each * getitem(weight, wanted, key=(HERE,))
    losses = -take_along_axis(input, unsqueeze(wanted, axis), axis=axis).reshape(expected)
    return reduced(where(each == 0, 0.0, losses) * each, reduction, each)


def _beside(x: Array, a: Array) -> Array:
    """An array as a Tensor, if x is one: its operators are then ops, which a recorded step holds."""
    return as_tensor(a) if isinstance(x, Value) else a


def _row_losses(x: Array, target: Array, each: Array | None, weight: Array | None, smoothing: float) -> Array:
    """The loss of each row, times what it counts; of smoothed targets, a share lies evenly on all classes."""
    logs = log_softmax(x, axis=1)
    losses = -take_along_axis(logs, target.reshape((-1, 1)), axis=1).reshape(-1)
    losses = losses if each is None else where(each == 0, 0.0, losses) * each
    if not smoothing:
        return losses
    spread = -sum(logs if weight is None else logs * weight, axis=1)
    spread = spread if each is None else where(each == 0, 0.0, spread)
    return losses * (1.0 - smoothing) + spread * (smoothing / x.shape[1])


def _kind(x: Any, what: str) -> str:
    """The kind of numbers in an array: "f" for floating-point ones, "i" for integers."""
    if not hasattr(x, "dtype"):
        raise TypeError(f"cross_entropy needs its {what} in a Tensor or an array: got {type(x).__name__}")
    return str(x.dtype.kind)


def _asked(x: Array, wanted: Any, classes: int, ignore_index: int) -> tuple[Any, Any]:
    """(class, count) of each row: 0 and 0 for one to be ignored, which is then left out; None for count if all are 1.

    On a GPU, where looking would wait, the count of a row that asks for no class is NaN.

    Raises:
        IndexError: for a target that is no class, on the CPU.
    """
    if at_hand(wanted):
        counted = _counted(wanted, classes, ignore_index)
        if counted is None:
            return wanted, None
        return mul(wanted, counted), _beside(x, cast(counted, dtype=x.dtype))
    counted, exists = ne(wanted, ignore_index), (wanted >= 0) & (wanted < classes)
    each = where(exists | ~counted, cast(counted, dtype=x.dtype), nan)
    return where(exists & counted, wanted, 0), _beside(x, each)


def _counted(wanted: Any, classes: int, ignore_index: int) -> Any:
    """Which targets are not to be ignored; None if all count. Raises IndexError for one that is no class."""
    if wanted.size and wanted.min() >= 0 and wanted.max() < classes and not 0 <= ignore_index < classes:
        return None
    counted = ne(wanted, ignore_index)
    bad = wanted[((wanted < 0) | (wanted >= classes)) & counted]
    if bad.size:
        raise IndexError(
            f"cross_entropy: target class {bad[0]} is out of range for {classes} classes (0 to {classes - 1})"
        )
    return counted


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
    warn_of_broadcasting("mse_loss", input, target)
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
    if x.size and at_hand(x) and not (xp.all(x >= 0) and xp.all(x <= 1)):
        raise ValueError(
            f"binary_cross_entropy needs chances from 0 to 1: got {x.min()} to {x.max()}; "
            "for logits use the _with_logits form"
        )
    return -(t * _held_log(x) + (1.0 - t) * _held_log(1.0 - x))


def _held_log(x: Array) -> Array:
    """log x, held at -100 or more, with no gradient where it is held."""
    none = x == 0
    return where(none, -100.0, clip(log(where(none, 1.0, x)), min=-100.0))


@bce_of_chances.vjp
def bce_of_chances_vjp(g: Array, x: Array, t: Array) -> tuple[Any, ...]:
    """dy = (x - t) / (x (1 - x)) dx + (log(1 - x) - log x) dt.

    The denominator is held above 0 at the ends, where the slope would be infinite: at 1e-12, in float16 at 1e-4, whose
    inverse is still finite there.
    """
    least = 1e-4 if x.dtype == HALF else 1e-12
    return lambda: g * (x - t) / clip(x * (1.0 - x), min=least), lambda: g * (_held_log(1.0 - x) - _held_log(x))


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


def warn_of_broadcasting(name: str, x: Array, target: Array) -> None:
    """Warn where shapes differ: broadcasting is allowed, and seldom meant."""
    if tuple(x.shape) != tuple(target.shape):
        warn(
            f"{name}: input {tuple(x.shape)} and target {tuple(target.shape)} differ in shape and will be broadcast",
            stacklevel=4,
        )
