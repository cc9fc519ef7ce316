"""Checkpoints: all that a run needs to go on as if nothing had happened, in a folder that is whole or not there."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_ft import storage
from tinygrad_ft.train.callbacks import BestWeights, Callback
from tinygrad_ft.train.trainer import Record, Trainer

FORMAT = 1
MODEL, OPTIMIZER, BEST, STATE = "model.safetensors", "optimizer.safetensors", "best.safetensors", "state.json"


class Checkpoints(Callback):
    """Writes a checkpoint after every so many steps, and one where the run is interrupted; the last `keep` stay.

    It shall be the last in the trainer's list, so that what the others learned of a step is in it.

    Raises:
        ValueError: if a number is below 1.
    """

    def __init__(self, folder: Path, *, every: int, keep: int = 2):
        if every < 1 or keep < 1:
            raise ValueError(f"checkpoints need every >= 1 and keep >= 1: got {every} and {keep}")
        self.folder, self.every, self.keep = folder, every, keep
        self._written = self._heard = -1

    def started(self, trainer: Trainer) -> None:
        """Clear away what an earlier process left unfinished."""
        self._written = trainer.step if checkpoints_in(self.folder) else -1
        for litter in self.folder.glob(".step-*") if self.folder.is_dir() else ():
            shutil.rmtree(litter)

    def stepped(self, trainer: Trainer, record: Record) -> None:
        """Write one, if it is time."""
        self._heard = trainer.step
        if trainer.step % self.every == 0 or trainer.step == trainer.steps or trainer.stopped is not None:
            self._write(trainer)

    def ended(self, trainer: Trainer, error: BaseException | None) -> None:
        """Write one if the run was interrupted between two, and not within a step: such a state is no one's."""
        between = trainer.whole and self._heard == trainer.step
        if isinstance(error, KeyboardInterrupt) and between and trainer.step > self._written:
            self._write(trainer)

    def _write(self, trainer: Trainer) -> None:
        write_checkpoint(trainer, self.folder)
        self._written = trainer.step
        for old in checkpoints_in(self.folder)[: -self.keep]:
            _take_away(old)


def checkpoints_in(folder: Path) -> list[Path]:
    """The checkpoints in a folder, oldest first."""
    return sorted(path for path in folder.glob("step-*") if path.name[5:].isdecimal()) if folder.is_dir() else []


def _take_away(checkpoint: Path) -> None:
    leaving = checkpoint.with_name(f".{checkpoint.name}.leaving")
    checkpoint.rename(leaving)  # at no moment is there half of one under its name
    shutil.rmtree(leaving)


def write_checkpoint(trainer: Trainer, folder: Path) -> Path:
    """Write weights, optimiser and state into folder/step-N; answers that path.

    Raises:
        OSError: if it cannot be written (no space, no permission); nothing of it is left, and older ones are untouched.
    """
    path = folder / f"step-{trainer.step:09d}"
    unfinished = folder / f".{path.name}.unfinished"
    tensors, described = _flat(trainer.optimizer.state_dict())
    best = next((c for c in trainer.callbacks if isinstance(c, BestWeights) and c.arrays), None)
    parts: dict[str, Mapping[str, Any]] = {MODEL: trainer.model.state_dict(), OPTIMIZER: tensors}
    if best is not None:
        parts[BEST] = best.arrays
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if unfinished.exists():
            shutil.rmtree(unfinished)
        unfinished.mkdir()
        for name, state in parts.items():
            storage.save(state, unfinished / name)
        state = {
            "format": FORMAT,
            "files": {name: _sha256(unfinished / name) for name in parts},
            "optimizer": described,
            "trainer": trainer.state_dict(),
        }
        storage.write_atomically(unfinished / STATE, _sealed(state))
        if path.exists():  # of a run that went on from an older one
            _take_away(path)
        unfinished.rename(path)
    except OSError as error:
        with suppress(OSError):
            shutil.rmtree(unfinished)
        raise OSError(error.errno, error.strerror, str(path)) from None
    storage.sync_folder(folder)
    return path


def load_checkpoint(trainer: Trainer, path: Path) -> None:
    """Bring a trainer to where the checkpoint was written: model, optimiser, random states, place in the data.

    Raises:
        ValueError: if the checkpoint is damaged, of another format, or of another model, optimiser or run; nothing is
            changed then but what is overwritten by the next one that loads.
        OSError: if it cannot be read.
    """
    state = _unsealed(path / STATE)
    if state.get("format") != FORMAT:
        raise ValueError(f"{path} has format {state.get('format')!r}, and this version reads {FORMAT}: use its version")
    files = state.get("files")
    if not isinstance(files, dict) or not {MODEL, OPTIMIZER} <= files.keys() <= {MODEL, OPTIMIZER, BEST}:
        raise ValueError(f"{path / STATE} does not name the files of a checkpoint: it was not written here")
    parts = {name: path / name for name in files}
    for name, part in parts.items():
        if not part.is_file() or _sha256(part) != files[name]:
            what = "has changed since it was written" if part.is_file() else "is missing"
            raise ValueError(f"{part} {what}: the checkpoint is damaged; delete {path} to go on from the one before")
    try:
        trainer.model.load_state_dict(storage.load(parts[MODEL]))
        trainer.optimizer.load_state_dict(_nested(storage.load(parts[OPTIMIZER]), state["optimizer"]))
        trainer.load_state_dict(state["trainer"])
    except (KeyError, ValueError, TypeError) as error:
        raise ValueError(f"{path} is of another run: {error.args[0]}") from None
    for callback in trainer.callbacks:
        if isinstance(callback, BestWeights) and BEST in parts:
            callback.arrays = {name: t.numpy_copy() for name, t in storage.load(parts[BEST]).items()}


def _flat(state: dict[str, Any]) -> tuple[dict[str, np.ndarray[Any, Any]], Any]:
    """An optimiser's state as arrays by name, and the groups, as JSON can hold them."""
    tensors = {f"{i}.{name}": np.asarray(a) for i, entry in state["state"].items() for name, a in entry.items()}
    return tensors, state["param_groups"]


def _nested(tensors: Mapping[str, Any], groups: Any) -> dict[str, Any]:
    state: dict[int, dict[str, Any]] = {}
    for name, t in tensors.items():
        position, _, what = name.partition(".")
        state.setdefault(int(position), {})[what] = t.array
    return {"state": state, "param_groups": groups}


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sealed(state: dict[str, Any]) -> str:
    text = json.dumps(state, sort_keys=True)
    return json.dumps({"sha256": hashlib.sha256(text.encode()).hexdigest(), "state": text}) + "\n"


def _unsealed(path: Path) -> dict[str, Any]:
    sealed = storage.read_json(path)
    text = sealed.get("state") if isinstance(sealed, dict) else None
    if not isinstance(text, str) or hashlib.sha256(text.encode()).hexdigest() != sealed.get("sha256"):
        raise ValueError(f"{path} has changed since it was written: delete {path.parent} to go on from the one before")
    state = json.loads(text)
    assert isinstance(state, dict)
    return state
