"""A run from the command line: the loop, its progress bar, and its folder."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from threading import current_thread, main_thread
from types import TracebackType
from typing import Any, Self

from tinygrad_ft import nn
from tinygrad_ft.train.folder import RunFolder, read_metrics
from tinygrad_ft.train.loop import Record
from tinygrad_ft.train.plot import plot_loss


class Run:
    """The journal of one training run: shows progress, keeps metrics, weights and samples, and leaves a picture.

    As a context it closes the folder however the run ends: done, diverged, or interrupted. Ctrl-C (or SIGTERM) takes
    effect when the step is complete, and the weights are kept as they are then; a second Ctrl-C takes effect at once.
    """

    def __init__(
        self, folder: RunFolder, model: nn.Module, *, steps: int, unit: str, per_example: int, sample: Callable[[], str]
    ):
        from tqdm import tqdm

        self.folder, self.model, self.sample = folder, model, sample
        self.unit, self.per_example = unit, per_example
        self.samples: list[str] = []
        self.last: Record = {}
        self.bar: Any = tqdm(total=steps, unit="step", dynamic_ncols=True)
        self.asked_to_stop = False
        self._handlers: dict[int, Any] = {}

    def evaluated(self, record: Record) -> None:
        """Keep the weights, and let the model show what it can do."""
        self.last = dict(record)
        self.folder.keep_weights(self.model)
        shown = "  ".join(
            f"{name} {value:.4f}" for name, value in record.items() if name.startswith(("train_", "val_"))
        )
        text = self.sample()
        self.samples.append(f"--- step {record['step']}: {shown}\n{text}\n")
        self.folder.keep_text("\n".join(self.samples))
        self.bar.write(f"step {record['step']}: {shown}\n{_indented(text)}")

    def stepped(self, record: Record) -> None:
        """Add the step to metrics.jsonl and to the bar."""
        speed = record.pop("examples_per_second") * self.per_example
        self.folder.note({**record, f"{self.unit}_per_second": round(speed, 1)})
        self.bar.set_postfix_str(f"loss {record['train_loss']:.3f}, {speed:,.0f} {self.unit}/s", refresh=False)
        self.bar.update()
        if self.asked_to_stop:
            raise KeyboardInterrupt

    def _stop(self, number: int, frame: Any) -> None:
        if self.asked_to_stop:
            raise KeyboardInterrupt
        self.asked_to_stop = True

    def __enter__(self) -> Self:
        if current_thread() is main_thread():  # no other may set handlers
            self._handlers = {number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self.bar.close()
        path: Path = self.folder.path
        try:
            if kind is KeyboardInterrupt:
                self.folder.keep_weights(self.model)
            self.folder.close()
            plot_loss(read_metrics(path / "metrics.jsonl"), path / "loss.png", title=path.resolve().name)
        except OSError:
            if error is None:  # else what ended the run is the thing to tell: a full disk spoils the picture too
                raise


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())
