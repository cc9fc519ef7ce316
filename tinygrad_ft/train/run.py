"""A run as the command line offers it: the trainer, a progress bar, a folder, checkpoints, and Ctrl-C."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import current_thread, main_thread
from typing import Any

from tinygrad_ft import nn, storage
from tinygrad_ft.optim import Optimizer
from tinygrad_ft.train.callbacks import BestWeights, Callback, EarlyStopping
from tinygrad_ft.train.checkpoint import Checkpoints, checkpoints_in, load_checkpoint
from tinygrad_ft.train.folder import RunFolder, read_metrics
from tinygrad_ft.train.plot import plot_loss
from tinygrad_ft.train.tensorboard import TensorBoard
from tinygrad_ft.train.trainer import Batches, Record, Trainer


@dataclass(frozen=True)
class Running:
    """How a run is carried out, whatever it trains.

    Args:
        checkpoint_every: steps between checkpoints; as many as between evaluations unless given.
        keep: how many checkpoints stay.
        resume: go on from the last checkpoint in the folder.
        accumulate: batches for the gradient of a step.
        patience: stop after that many evaluations without a better val_loss, and take the weights of the best.
        tensorboard: write event files for TensorBoard too.
        jitted: record and replay the step.
        arguments: what the run was begun with, as JSON can hold it; kept in config.json, for a resumption.
        inspect: called with model, loss_of and batches before anything is written; what it raises ends the run.
    """

    checkpoint_every: int | None = None
    keep: int = 2
    resume: bool = False
    accumulate: int = 1
    patience: int | None = None
    tensorboard: bool = False
    jitted: bool = True
    arguments: dict[str, Any] | None = None
    inspect: Callable[[nn.Module, Callable[..., Any], Batches], None] | None = None


def carry_out(
    out: Path,
    config: dict[str, Any],
    model: nn.Module,
    loss_of: Callable[..., Any],
    optimizer: Optimizer,
    batches: Batches,
    *,
    steps: int,
    schedule: Callable[[int], float],
    evaluate: Callable[[bool], Record],
    evaluate_every: int,
    running: Running,
    unit: str,
    per_example: int = 1,
    max_norm: float | None = None,
    sample: Callable[[], str] | None = None,
    callbacks: tuple[Callback, ...] = (),
) -> Record:
    """Train as `Trainer` does, in the folder `out`; answers the last record.

    Args:
        config: what config.json shall hold; `load_model` needs its "model".
        unit, per_example: what the progress bar counts by the second, and how many of them an example has.
        sample: a text that shows what the model can do, asked for at each evaluation.
        callbacks: further ones, told before the folder is.

    Raises:
        OSError: if the folder cannot be written.
        FileNotFoundError: if there is nothing to resume.
        Diverged: if the loss is no longer finite; the weights of the last evaluation are kept.
    """
    if running.inspect is not None:
        running.inspect(model, loss_of, batches)
    found = checkpoints_in(out / "checkpoints") if running.resume else []
    if running.resume and not found:
        raise FileNotFoundError(f"{out} has no checkpoint to go on from: start the run anew, without --resume")
    if running.arguments is not None:
        config = {**config, "arguments": running.arguments}
    if found:
        _require_the_same(out, config)
    journal = Journal(out, config, unit=unit, per_example=per_example, sample=sample)
    patience = [] if running.patience is None else [BestWeights(), EarlyStopping(running.patience)]
    trainer = Trainer(
        model,
        loss_of,
        optimizer,
        batches,
        steps=steps,
        schedule=schedule,
        max_norm=max_norm,
        accumulate=running.accumulate,
        evaluate=evaluate,
        evaluate_every=evaluate_every,
        callbacks=[
            *callbacks,
            *patience,
            *([TensorBoard(out / "tensorboard")] if running.tensorboard else []),
            journal,
            Checkpoints(out / "checkpoints", every=running.checkpoint_every or evaluate_every, keep=running.keep),
            Interruption(),
        ],
        jitted=running.jitted,
    )
    if found:
        load_checkpoint(trainer, found[-1])
    return trainer.run()


def _require_the_same(out: Path, config: dict[str, Any]) -> None:
    saved = storage.read_json(out / "config.json")
    wanted = json.loads(json.dumps(config))  # tuples become lists
    names = [name for name in wanted if name != "arguments" and wanted[name] != saved.get(name)]
    if names:
        raise ValueError(f"{out} was begun with another {', '.join(names)}: the data or the options have changed since")


class Journal(Callback):
    """Keeps a run's folder and shows its progress: metrics, weights, samples, and at the end a picture."""

    def __init__(
        self, path: Path, config: dict[str, Any], *, unit: str, per_example: int, sample: Callable[[], str] | None
    ):
        self.path, self.config, self.sample = path, config, sample
        self.unit, self.per_example = unit, per_example
        self.samples: list[str] = []
        self.folder: RunFolder | None = None
        self.bar: Any = None

    def started(self, trainer: Trainer) -> None:
        """Open the folder and the bar."""
        from tqdm import tqdm

        self.folder = RunFolder(self.path, self.config, trainer.model, resumed=trainer.step or None)
        self.bar = tqdm(total=trainer.steps, initial=trainer.step, unit="step", dynamic_ncols=True)

    def evaluated(self, trainer: Trainer, record: Record) -> None:
        """Keep the weights, and let the model show what it can do."""
        assert self.folder is not None
        self.folder.keep_weights(trainer.model)
        shown = "  ".join(
            f"{name} {value:.4f}" for name, value in record.items() if name.startswith(("train_", "val_"))
        )
        self.bar.write(f"step {record['step']}: {shown}")
        if self.sample is not None:
            text = self.sample()
            self.samples.append(f"--- step {record['step']}: {shown}\n{text}\n")
            self.folder.keep_text("\n".join(self.samples))
            self.bar.write("\n".join(f"    {line}" for line in text.splitlines()))

    def stepped(self, trainer: Trainer, record: Record) -> None:
        """Add the step to metrics.jsonl and to the bar."""
        assert self.folder is not None
        speed = record["examples_per_second"] * self.per_example
        plain = {name: value for name, value in record.items() if name != "examples_per_second"}
        self.folder.note({**plain, f"{self.unit}_per_second": round(speed, 1)})
        self.bar.set_postfix_str(f"loss {record['train_loss']:.3f}, {speed:,.0f} {self.unit}/s", refresh=False)
        self.bar.update()
        if trainer.stopped is not None:
            self.bar.write(f"stopped: {trainer.stopped}")

    def ended(self, trainer: Trainer, error: BaseException | None) -> None:
        """Keep the weights as they are, unless they may have gone bad, and draw the picture."""
        if self.folder is None or self.bar is None:
            return
        self.bar.close()
        if error is None or (isinstance(error, KeyboardInterrupt) and trainer.whole):
            self.folder.keep_weights(trainer.model)
        self.folder.close()
        plot_loss(read_metrics(self.path / "metrics.jsonl"), self.path / "loss.png", title=self.path.resolve().name)

    def state_dict(self) -> dict[str, Any]:
        """The samples so far."""
        return {"samples": self.samples}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` answered."""
        self.samples = list(state["samples"])


class Interruption(Callback):
    """Ctrl-C and SIGTERM end the run when the step is complete; a second one ends it at once.

    It shall be the last in the list: the others know of a step when the run is ended after it.
    """

    def __init__(self) -> None:
        self.asked = False
        self._handlers: dict[int, Any] = {}

    def started(self, trainer: Trainer) -> None:
        """Listen."""
        if current_thread() is main_thread():  # no other may set handlers
            self._handlers = {number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)}

    def stepped(self, trainer: Trainer, record: Record) -> None:
        """End the run if that was asked for."""
        if self.asked:
            raise KeyboardInterrupt

    def ended(self, trainer: Trainer, error: BaseException | None) -> None:
        """Listen no more."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _stop(self, number: int, frame: Any) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
