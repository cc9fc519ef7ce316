"""A run's folder: config.json, metrics.jsonl, model.safetensors, sample.txt, loss.png, checkpoints/."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, TextIO

from tinygrad_ft import models, nn, storage

MODELS: dict[str, tuple[Any, Any]] = {
    "gpt": (models.GPT, models.GPTConfig),
    "mlp": (models.MLP, models.MLPConfig),
    "text-cnn": (models.TextCNN, models.TextCNNConfig),
}


class RunFolder:
    """A folder that a run writes into. An earlier run's files stay whole until the new weights have been written.

    Args:
        resumed: go on with the run that is in the folder, from the state after that many steps, instead.

    Raises:
        OSError: if the folder cannot be made or written.
    """

    def __init__(self, path: Path, config: dict[str, Any], model: nn.Module, *, resumed: int | None = None):
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise FileExistsError(f"{path} is a file, where a folder for the results was needed") from None
        if resumed is None:
            self.keep_weights(model)  # the largest file first: if there is no room for it, nothing has been replaced
            storage.write_atomically(path / "config.json", json.dumps(config, indent=2, ensure_ascii=False) + "\n")
            shutil.rmtree(self.checkpoints, ignore_errors=True)
        else:
            lines = [json.dumps(r) + "\n" for r in read_metrics(path / "metrics.jsonl") if r["step"] <= resumed]
            storage.write_atomically(path / "metrics.jsonl", "".join(lines))
        self._metrics: TextIO = open(path / "metrics.jsonl", "w" if resumed is None else "a", encoding="utf-8")  # noqa: SIM115 (open as long as the run)

    @property
    def checkpoints(self) -> Path:
        """Where checkpoints lie."""
        return self.path / "checkpoints"

    def note(self, record: dict[str, float]) -> None:
        """Add a line to metrics.jsonl; it is on its way to the disk when this returns."""
        try:
            self._metrics.write(json.dumps(record) + "\n")
            self._metrics.flush()
        except OSError as error:
            raise OSError(error.errno, error.strerror, self._metrics.name) from None

    def keep_weights(self, model: nn.Module) -> None:
        """Write model.safetensors, atomically."""
        storage.save(model.state_dict(), self.path / "model.safetensors")

    def keep_text(self, text: str) -> None:
        """Write sample.txt, atomically."""
        storage.write_atomically(self.path / "sample.txt", text)

    def close(self) -> None:
        """No more metrics will come."""
        self._metrics.close()


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The records in a run's metrics.jsonl, oldest first, without a last line that a full disk has cut off."""
    if not path.exists():
        return []
    whole, _, _ = path.read_text(encoding="utf-8").rpartition("\n")
    return [json.loads(line) for line in whole.splitlines()]


def load_model(path: Path) -> tuple[nn.Module, dict[str, Any]]:
    """The model in a run's folder, in evaluation mode, and the run's config.

    Raises:
        FileNotFoundError: if there is no such folder, or it lacks a file.
        ValueError: if the files are not what a run writes, or do not fit each other.
    """
    if not path.is_dir():
        raise FileNotFoundError(f"{path} is not a folder; give one that `tinygrad-ft train --out` has written")
    for name in ("config.json", "model.safetensors"):
        if not (path / name).is_file():
            raise FileNotFoundError(
                f"{path} is not a model folder: it has no {name}; `tinygrad-ft train --out` writes one"
            )
    config = storage.read_json(path / "config.json")
    try:
        kind, make_config = MODELS[config["model"]["kind"]]
        sizes = {name: value for name, value in config["model"].items() if name != "kind"}
        model: nn.Module = kind(make_config(**sizes))
    except KeyError as error:
        raise ValueError(f"{path / 'config.json'} does not describe a model of ours: no {error}") from None
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path / 'config.json'} does not describe a model of ours: {error}") from None
    state = storage.load(path / "model.safetensors")
    try:
        model.load_state_dict(state)
    except (KeyError, ValueError) as error:
        raise ValueError(f"{path}: the weights do not fit config.json: {error.args[0]}") from None
    return model.eval(), config
