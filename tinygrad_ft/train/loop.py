"""The training loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import isfinite
from time import perf_counter
from typing import Any, Protocol

import numpy as np

from tinygrad_ft import nn
from tinygrad_ft.jit import jit
from tinygrad_ft.optim import Optimizer
from tinygrad_ft.optim.optimizer import set_lr
from tinygrad_ft.tensor import Tensor

Record = dict[str, float]


class Diverged(RuntimeError):
    """The loss is NaN or infinite: training further would teach nothing."""


class Journal(Protocol):
    """Where a run tells what happens to it."""

    def evaluated(self, record: Record) -> None:
        """The model was evaluated, and still is in evaluation mode: a moment to keep its weights."""

    def stepped(self, record: Record) -> None:
        """A step was taken; the record has step, train_loss, lr, examples_per_second, and val_* where evaluated."""


@np.errstate(all="ignore")  # where numbers end, it says so itself
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
    jitted: bool = True,
) -> None:
    """Take `steps` optimiser steps, one for each batch, on the device that the model is on.

    Args:
        loss_of: loss_of(model, inputs, targets) answers the loss of a batch of Tensors, one number.
        learning_rate: the rate of a step for all of the optimiser's groups, steps counted from 0.
        evaluate: evaluate(last) answers val_loss and other measures of the model as it is; asked before the first
            step, then after every `evaluate_every`, and after the last, when it may take its time.
        max_norm: gradients are scaled down to this length together.
        jitted: the step is recorded and replayed, see `jit`, if the model is on the CPU; else it runs op by op.

    Raises:
        Diverged: if the loss of a step, its gradient's length, or a measure of an evaluation is not finite. The step is
            not taken, the evaluation not told: what was kept is from before.
        ValueError: if the batches run out before the steps are taken.
    """
    place = next(model.parameters()).device
    differentiate, update = halves_of_a_step(
        model, loss_of, optimizer, max_norm=max_norm, jitted=jitted and str(place) == "cpu"
    )
    _evaluate(model, evaluate, False, {"step": 0}, journal)
    remaining = iter(batches)
    for step in range(1, steps + 1):
        started = perf_counter()
        try:
            inputs, targets = next(remaining)
        except StopIteration:
            raise ValueError(f"the batches ran out after {step - 1} steps of {steps}") from None
        for group in optimizer.param_groups:
            set_lr(group, learning_rate(step - 1))
        loss, length = differentiate(*(None if a is None else Tensor(a).to(place) for a in (inputs, targets)))
        _require_finite("the loss", loss.item(), step)
        if length is not None:
            _require_finite("the gradient's length", length.item(), step)
        update()
        record = {"step": step, "train_loss": loss.item(), "lr": learning_rate(step - 1)}
        record["examples_per_second"] = len(inputs) / (perf_counter() - started)
        if step % evaluate_every == 0 or step == steps:
            _evaluate(model, evaluate, step == steps, record, journal)
        journal.stepped(record)


def halves_of_a_step(
    model: nn.Module, loss_of: Callable[[Any, Any, Any], Any], optimizer: Optimizer, *, max_norm: Any, jitted: bool
) -> tuple[Callable[[Any, Any], tuple[Any, Any]], Callable[[], None]]:
    """(differentiate, update): the loss and the gradients' length for a batch, then the optimiser's step.

    They are two, since between them Python looks at the loss, before anything is changed.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]

    def differentiate(inputs: Any, targets: Any) -> tuple[Any, Any]:
        optimizer.zero_grad()
        loss = loss_of(model, inputs, targets)
        loss.backward()
        return loss.detach(), None if max_norm is None else nn.utils.clip_grad_norm_(parameters, max_norm)

    def update() -> None:
        optimizer.step()

    return (jit(differentiate), jit(update)) if jitted else (differentiate, update)


def _evaluate(
    model: nn.Module, evaluate: Callable[[bool], Record], last: bool, record: Record, journal: Journal
) -> None:
    with model.evaluating():
        measures = evaluate(last)
        for name, value in measures.items():
            _require_finite(name, value, int(record["step"]))
        record |= measures
        journal.evaluated(record)


def _require_finite(what: str, value: float, step: int) -> None:
    if not isfinite(value):
        raise Diverged(f"{what} became {value} at step {step}; a smaller learning rate may help")
