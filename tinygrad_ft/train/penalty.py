"""Penalties on the size of weights, as a part of the loss."""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase
from math import isfinite
from typing import Any

from tinygrad_ft import nn, ops


def penalised(
    loss_of: Callable[..., Any], l1: float = 0.0, l2: float = 0.0, names: str = "*weight*"
) -> Callable[..., Any]:
    """loss_of with l1 * sum |w| + l2 * sum w^2 added, over the trainable parameters whose dotted names match `names`.

    The gradient of a weight gains l1 * sign(w), 0 at w = 0, and 2 * l2 * w. Pass the answer to Trainer as its loss_of:
    the train_loss that it records then has the penalty in it; losses of an evaluation have it only if they call it.

    L2 in the loss is weight decay only for plain SGD, where the rate is lr * 2 * l2. Adam divides the whole gradient,
    and so the penalty's share of it too, by the root of its running mean square: weights with large gradients are then
    shrunk less than others. AdamW takes lr * weight_decay * w off beside the gradient, from all weights alike. The two
    train differently; choose one of them.

    Args:
        l1, l2: factors of at least 0, in units of the loss.
        names: as in a shell, `*` and `?` stand for any text and any character. The usual "*weight*" spares the biases;
            of a normalisation the scale is called weight too.

    Raises:
        ValueError: if a factor is negative or not finite; when called, if no trainable parameter has such a name.

    Sources: Hoerl and Kennard, "Ridge Regression", 1970; Tibshirani, "Regression Shrinkage and Selection via the
    Lasso", 1996; Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019.
    """
    for name, factor in (("l1", l1), ("l2", l2)):
        if not (isfinite(factor) and factor >= 0):
            raise ValueError(f"penalised needs {name} to be 0 or more, and finite: got {factor}")

    def penalised_loss_of(model: nn.Module, *batch: Any) -> Any:
        weights = [p for name, p in model.named_parameters() if p.requires_grad and fnmatchcase(name, names)]
        if not weights:
            known = ", ".join(name for name, p in model.named_parameters() if p.requires_grad) or "none"
            raise ValueError(f"no trainable parameter's name matches {names!r}: the model has {known}")
        loss = loss_of(model, *batch)
        for w in weights:
            if l1:
                loss = loss + l1 * ops.sum(ops.abs(w))
            if l2:
                loss = loss + l2 * ops.sum(w * w)
        return loss

    return penalised_loss_of
