"""A run's measures as event files, which TensorBoard draws."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tinygrad_ft.train.callbacks import Callback
from tinygrad_ft.train.trainer import Record, Trainer


class TensorBoard(Callback):
    """Writes each number of each record into event files in a folder; `tensorboard --logdir FOLDER` shows them.

    Raises:
        ValueError: if tensorboardX is not installed.
    """

    def __init__(self, folder: Path):
        try:
            import tensorboardX
        except ImportError:
            raise ValueError(
                "event files for TensorBoard need tensorboardX: pip install 'tinygrad-ft[tensorboard]'"
            ) from None
        self.folder, self._writer_of = folder, tensorboardX.SummaryWriter
        self._writer: Any = None

    def started(self, trainer: Trainer) -> None:
        """Open a file; what an earlier process wrote of later steps is hidden."""
        self._writer = self._writer_of(str(self.folder), purge_step=trainer.step + 1 if trainer.step else None)

    def stepped(self, trainer: Trainer, record: Record) -> None:
        """Write the record."""
        for name, value in record.items():
            if name != "step":
                self._writer.add_scalar(name.replace("_", "/", 1), value, trainer.step)

    def ended(self, trainer: Trainer, error: BaseException | None) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()
