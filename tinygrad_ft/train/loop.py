"""The training loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import isfinite
from time import perf_counter
from typing import Any, Protocol

from tinygrad_ft import nn
from tinygrad_ft.optim import Optimizer

Record = dict[str, float]


class Diverged(RuntimeError):
    """The loss is NaN or infinite: training further would teach nothing."""


class Journal(Protocol):
    """Where a run tells what happens to it."""

    def evaluated(self, record: Record) -> None:
        """The model was evaluated: a moment to keep its weights."""

    def stepped(self, record: Record) -> None:
        """A step was taken; the record has step, train_loss, lr, examples_per_second, and val_* where evaluated."""


def fit(
    model: nn.Module,
    loss_of: Callable[[Any, Any, Any], Any],
    batches: Iterable[tuple[Any, Any]],
    optimizer: Optimizer,
    *,
    steps: int,
    learning_rate: Callable[[int], float],
    evaluate: Callable[[bool], Record],
    evaluate_every: int,
    journal: Journal,
    max_norm: float | None = None,
) -> None:
    """Take `steps` optimiser steps, one for each batch.

    Args:
        loss_of: loss_of(model, inputs, targets) answers the loss of a batch, one number.
        learning_rate: the rate of a step, steps counted from 0.
        evaluate: evaluate(last) answers val_loss and other measures of the model as it is; asked before the first
            step, then after every `evaluate_every`, and after the last, when it may take its time.
        max_norm: gradients are scaled down to this length together.

    Raises:
        Diverged: if the loss of a step, or its gradient's length, is not finite; the step is not taken.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    journal.evaluated({"step": 0, **_evaluated(model, evaluate, False)})
    for step, (inputs, targets) in zip(range(1, steps + 1), batches, strict=False):
        started = perf_counter()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step - 1)
        optimizer.zero_grad()
        loss = loss_of(model, inputs, targets)
        if not isfinite(loss.item()):
            raise Diverged(f"the loss became {loss.item()} at step {step}; a smaller learning rate may help")
        loss.backward()
        if max_norm is not None:
            length = nn.utils.clip_grad_norm_(parameters, max_norm).item()
            if not isfinite(length):
                raise Diverged(
                    f"the gradient's length became {length} at step {step}; a smaller learning rate may help"
                )
        optimizer.step()
        record = {"step": step, "train_loss": loss.item(), "lr": learning_rate(step - 1)}
        record["examples_per_second"] = len(inputs) / (perf_counter() - started)
        if step % evaluate_every == 0 or step == steps:
            record |= _evaluated(model, evaluate, step == steps)
            journal.evaluated(record)
        journal.stepped(record)


def _evaluated(model: nn.Module, evaluate: Callable[[bool], Record], last: bool) -> Record:
    model.eval()
    try:
        return evaluate(last)
    finally:
        model.train()
