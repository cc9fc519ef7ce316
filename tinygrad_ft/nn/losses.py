"""The losses as modules, to be configured once and called often; `nn.functional` has them as functions."""

from __future__ import annotations

from typing import Any

from tinygrad_ft import ops
from tinygrad_ft.nn.module import Module


class _Loss(Module):
    def __init__(self, **options: Any):
        super().__init__()
        self.options = options


class MSELoss(_Loss):
    """Mean squared difference."""

    def __init__(self, reduction: str = "mean"):
        super().__init__(reduction=reduction)

    def forward(self, input: Any, target: Any) -> Any:
        """Equal shapes -> one number, or one for each element with reduction="none"."""
        return ops.mse_loss(input, target, **self.options)


class CrossEntropyLoss(_Loss):
    """Cross-entropy of logits against classes; see `functional.cross_entropy`."""

    def __init__(
        self, weight: Any = None, *, ignore_index: int = -100, reduction: str = "mean", label_smoothing: float = 0.0
    ):
        super().__init__(weight=weight, ignore_index=ignore_index, reduction=reduction, label_smoothing=label_smoothing)

    def forward(self, input: Any, target: Any) -> Any:
        """Logits (n, classes, ...) and targets (n, ...) -> one number, or one for each target with reduction="none"."""
        return ops.cross_entropy(input, target, **self.options)


class BCELoss(_Loss):
    """Cross-entropy of chances against targets from 0 to 1."""

    def __init__(self, weight: Any = None, reduction: str = "mean"):
        super().__init__(weight=weight, reduction=reduction)

    def forward(self, input: Any, target: Any) -> Any:
        """Equal shapes -> one number, or one for each element with reduction="none"."""
        return ops.binary_cross_entropy(input, target, **self.options)


class BCEWithLogitsLoss(_Loss):
    """Cross-entropy of sigmoid(logits) against targets from 0 to 1, without the overflow."""

    def __init__(self, weight: Any = None, reduction: str = "mean", pos_weight: Any = None):
        super().__init__(weight=weight, reduction=reduction, pos_weight=pos_weight)

    def forward(self, input: Any, target: Any) -> Any:
        """Equal shapes -> one number, or one for each element with reduction="none"."""
        return ops.binary_cross_entropy_with_logits(input, target, **self.options)
