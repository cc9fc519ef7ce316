"""What a training loop tells, and to whom: the base of all callbacks, and the plain ones."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from tinygrad_ft.train.trainer import Record, Trainer


class Callback:
    """Is told what happens to a run. A subclass overrides what it wants to hear of.

    Callbacks are told in the order of the trainer's list; what they raise ends the run. Those with a state of their own
    answer it in `state_dict`, as JSON can hold it, and so survive a resumption.
    """

    def started(self, trainer: Trainer) -> None:
        """The run begins, or goes on from a checkpoint: trainer.step steps are taken."""

    def evaluated(self, trainer: Trainer, record: Record) -> None:
        """The model was evaluated, and still is in evaluation mode; record has the step and the measures."""

    def stepped(self, trainer: Trainer, record: Record) -> None:
        """A step was taken, and evaluated if it was time; record has step, train_loss, lr, seconds and more."""

    def ended(self, trainer: Trainer, error: BaseException | None) -> None:
        """The run is over: done, stopped, or by that error. Told to all, even if one of them raises."""

    def state_dict(self) -> dict[str, Any]:
        """What it must know to go on in another process."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` answered."""


class EarlyStopping(Callback):
    """Stops the run when a measure has not improved for `patience` evaluations.

    Args:
        monitor: the measure; smaller is better unless `larger`.
        min_delta: what counts as an improvement is larger than this.

    Raises:
        ValueError: if patience is below 1, or min_delta negative.

    Source: Prechelt, "Early Stopping - But When?", 1998, criterion UP.
    """

    def __init__(self, patience: int, *, monitor: str = "val_loss", larger: bool = False, min_delta: float = 0.0):
        if patience < 1 or not 0 <= min_delta < inf:
            raise ValueError(f"early stopping needs patience >= 1 and min_delta >= 0: got {patience} and {min_delta}")
        self.patience, self.monitor, self.larger, self.min_delta = patience, monitor, larger, min_delta
        self.best, self.waited = inf, 0

    def evaluated(self, trainer: Trainer, record: Record) -> None:
        """Count, or start to count anew."""
        value = measure(record, self.monitor) * (-1 if self.larger else 1)
        if value < self.best - self.min_delta:
            self.best, self.waited = value, 0
            return
        self.waited += 1
        if self.waited >= self.patience:
            trainer.stop(f"{self.monitor} has not improved in {self.patience} evaluations")

    def state_dict(self) -> dict[str, Any]:
        """The best so far (none: null), and for how many evaluations it has stood."""
        return {"best": self.best if isfinite(self.best) else None, "waited": self.waited}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` answered."""
        self.best, self.waited = inf if state["best"] is None else float(state["best"]), int(state["waited"])


class BestWeights(Callback):
    """Keeps a copy of the weights of the best evaluation, and gives them back to the model at the end of the run.

    They are not part of a checkpoint's JSON: `arrays` is, as what `Checkpoints` writes beside the model.
    """

    def __init__(self, *, monitor: str = "val_loss", larger: bool = False):
        self.monitor, self.larger = monitor, larger
        self.best, self.step = inf, 0
        self.arrays: dict[str, np.ndarray[Any, Any]] = {}

    def evaluated(self, trainer: Trainer, record: Record) -> None:
        """Copy the weights if they are the best so far."""
        value = measure(record, self.monitor) * (-1 if self.larger else 1)
        if value < self.best:
            self.best, self.step = value, int(record["step"])
            self.arrays = {name: t.numpy_copy() for name, t in trainer.model.state_dict().items()}

    def ended(self, trainer: Trainer, error: BaseException | None) -> None:
        """Give them back, unless the run was broken off: then it may be resumed from where it is."""
        if error is None and self.arrays:
            trainer.model.load_state_dict(self.arrays)

    def state_dict(self) -> dict[str, Any]:
        """The best measure, and when it was."""
        return {"best": self.best if isfinite(self.best) else None, "step": self.step}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` answered."""
        self.best, self.step = inf if state["best"] is None else float(state["best"]), int(state["step"])


def measure(record: Record, name: str) -> float:
    """A measure of an evaluation.

    Raises:
        ValueError: if there is none of that name.
    """
    if name not in record:
        raise ValueError(f"no evaluation answers {name}: there are {', '.join(record)}")
    return record[name]
