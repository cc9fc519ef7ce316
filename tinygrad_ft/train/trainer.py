"""The training loop: one page, and callbacks for all that is not the loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from time import perf_counter
from typing import Any, Protocol

import numpy as np

from tinygrad_ft import nn
from tinygrad_ft.gradients import no_grad
from tinygrad_ft.optim import Optimizer
from tinygrad_ft.optim.optimizer import set_lr
from tinygrad_ft.tensor import Tensor
from tinygrad_ft.train.callbacks import Callback
from tinygrad_ft.train.chance import random_state, set_random_state
from tinygrad_ft.train.step import Step

Record = dict[str, float]


class Diverged(RuntimeError):
    """The loss is NaN or infinite: training further would teach nothing."""


class Batches(Protocol):
    """Training data: batch number i, for every i from 0, a function of i alone; see `data.Shuffled`."""

    def __getitem__(self, i: int, /) -> Sequence[Any]:
        """Arrays, which loss_of gets as Tensors; None stays None."""


class Trainer:
    """Trains a model: `run()` takes steps until there are `steps`, or a callback says `stop`.

    Args:
        loss_of: loss_of(model, *batch) answers the loss of a batch of Tensors, one number, the mean over the batch.
        batches: batches[i] is the i-th batch, counted from 0 through all epochs.
        schedule: schedule(step), steps counted from 0, is what the groups' own rates are multiplied by.
        max_norm: gradients are scaled down to this length together.
        accumulate: how many batches make the gradient of one step, the mean of theirs.
        evaluate: evaluate(last) answers val_loss and other measures of the model as it is, in evaluation mode and
            without recording a graph: before the first step, after every `evaluate_every`, and after the last.
        jitted: the step is recorded and replayed, see `jit`, if the model is on the CPU; else it runs op by op.

    Raises:
        ValueError: if a number is out of its range.
    """

    def __init__(
        self,
        model: nn.Module,
        loss_of: Callable[..., Any],
        optimizer: Optimizer,
        batches: Batches,
        *,
        steps: int,
        schedule: Callable[[int], float] | None = None,
        max_norm: float | None = None,
        accumulate: int = 1,
        evaluate: Callable[[bool], Record] | None = None,
        evaluate_every: int | None = None,
        callbacks: Sequence[Callback] = (),
        jitted: bool = True,
    ):
        for name, value in (("steps", steps), ("accumulate", accumulate), ("evaluate_every", evaluate_every)):
            if value is not None and value < 1:
                raise ValueError(f"Trainer needs {name} to be at least 1: got {value}")
        self.model, self.optimizer, self.batches, self.steps = model, optimizer, batches, steps
        self.schedule, self.accumulate = schedule or (lambda step: 1.0), accumulate
        self.evaluate, self.evaluate_every = evaluate, evaluate_every or steps
        self.callbacks = list(callbacks)
        self.device = next(model.parameters()).device
        self._step = Step(
            model, loss_of, optimizer, max_norm=max_norm, jitted=jitted and str(self.device) == "cpu"
        )  # fmt: skip
        self._rates = [float(group["lr"]) for group in optimizer.param_groups]
        self.step = 0  # optimiser steps taken
        self.whole = True  # not within a step: model, optimiser and random states belong together
        self.stopped: str | None = None  # why no more steps are to be taken
        self.record: Record = {"step": 0}  # of the last step and the last evaluation

    @np.errstate(all="ignore")  # where numbers end, it says so itself
    def run(self) -> Record:
        """Take the steps that are left; answers the last record, with the measures of the last evaluation.

        Raises:
            Diverged: if the loss of a step, its gradient's length, or a measure of an evaluation is not finite. The
                step is not taken, the evaluation not told: what was kept is from before.
            Whatever a callback raises, after all were told that the run has ended.
        """
        error: BaseException | None = None
        try:
            self._tell("started")
            if self.step == 0:
                self._evaluate({"step": 0})
            while self.step < self.steps and self.stopped is None:
                self.whole = False
                record = self._take_step()
                if self.step % self.evaluate_every == 0 or self.step == self.steps:
                    self._evaluate(record)
                self.record |= record
                self.whole = True
                self._tell("stepped", record)
        except BaseException as caught:
            error = caught
            raise
        finally:
            self._end(error)
        return self.record

    def _take_step(self) -> Record:
        started, number = perf_counter(), self.step + 1
        factor, first = self.schedule(self.step), self.step * self.accumulate
        for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
            set_lr(group, rate * factor)
        batches = [self._on_device(self.batches[first + i]) for i in range(self.accumulate)]
        loss, length = self._step.gradients(batches)
        _require_finite("the loss", loss, number)
        if length is not None:
            _require_finite("the gradient's length", length, number)
        self._step.update()
        self.step = number
        examples = sum(len(batch[0]) for batch in batches)
        seconds = perf_counter() - started
        rate = float(self.optimizer.param_groups[-1]["lr"])
        return {"step": number, "train_loss": loss, "lr": rate, "examples_per_second": examples / seconds}

    def _on_device(self, batch: Sequence[Any]) -> list[Any]:
        return [None if a is None else Tensor(a).to(self.device) for a in batch]

    def _evaluate(self, record: Record) -> None:
        if self.evaluate is None:
            return
        with self.model.evaluating():
            with no_grad():
                measures = self.evaluate(self.step == self.steps)
            for name, value in measures.items():
                _require_finite(name, value, self.step)
            record |= measures
            self.record |= record
            self._tell("evaluated", record)

    def stop(self, why: str) -> None:
        """Take no further step."""
        self.stopped = why

    def _tell(self, what: str, *news: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, what)(self, *news)

    def _end(self, error: BaseException | None) -> None:
        """Tell all; the first thing that goes wrong on the way is raised, if nothing did before."""
        spoilt: BaseException | None = None
        for callback in self.callbacks:
            try:
                callback.ended(self, error)
            except Exception as caught:
                spoilt = spoilt or caught
        if spoilt is not None and error is None:
            raise spoilt

    # what a resumed run must know, beside the weights

    def state_dict(self) -> dict[str, Any]:
        """The step, which is the place in the data too; why it was stopped; random states; callbacks' states."""
        return {
            "step": self.step,
            "stopped": self.stopped,
            "record": self.record,
            "rates": self._rates,
            "random": random_state(self.model),
            "callbacks": [{"of": type(c).__name__, **c.state_dict()} for c in self.callbacks],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` answered; weights and optimiser are loaded by themselves.

        Raises:
            ValueError: if it is of another kind of run: other callbacks, or other random generators.
        """
        kinds, mine = [saved["of"] for saved in state["callbacks"]], [type(c).__name__ for c in self.callbacks]
        if kinds != mine:
            raise ValueError(f"the saved run had {', '.join(kinds) or 'no callbacks'}, and this has {', '.join(mine)}")
        set_random_state(self.model, state["random"])
        for callback, saved in zip(self.callbacks, state["callbacks"], strict=True):
            callback.load_state_dict(saved)
        self.step, self.stopped, self.record = state["step"], state["stopped"], dict(state["record"])
        self._rates = list(state["rates"])


def _require_finite(what: str, value: float, step: int) -> None:
    if not isfinite(value):
        raise Diverged(f"{what} became {value} at step {step}; a smaller learning rate may help")
