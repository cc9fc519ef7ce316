"""The model that a task needs, from the folder of a pretrained one; and the folder of the fine-tuned one."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_ft import storage
from tinygrad_ft.data import PretrainedTokenizer
from tinygrad_ft.models.pretrained import architectures, load_pretrained, save_pretrained

# How the classes of models are called that can do a task, as "BertForMaskedLM" or "GPT2LMHeadModel".
ENDINGS = {
    "classification": ("ForSequenceClassification",),
    "mlm": ("ForMaskedLM",),
    "clm": ("ForCausalLM", "LMHeadModel"),
}
TOKENIZER = "tokenizer.json"


def model_for(
    task: str,
    folder: Path,
    *,
    rng: np.random.Generator,
    classes: Sequence[str] = (),
    pooling: str = "pooler",
    from_scratch: bool = False,
) -> Any:
    """A model for a task in training mode, with the folder's weights; its head is new if the folder has none for it.

    Args:
        task: "classification", "mlm" or "clm".
        rng: draws what is new, and drops out.
        classes: of a classifier, their names.
        pooling: what a classifier sees, see BertConfig.
        from_scratch: take the folder's configuration only; all weights are new.

    Raises:
        FileNotFoundError, ValueError: as `load_pretrained`; ValueError also if this kind of model cannot do the task.
    """
    config = _config(folder)
    known = architectures.get(config.get("model_type", ""))
    if known is None:
        raise ValueError(
            f"{folder} holds a model of type {config.get('model_type')!r}: known here are {', '.join(architectures)}"
        )
    kind = next((c for name, c in known.models.items() if name.endswith(ENDINGS[task])), None)
    if kind is None:
        able = [t for t, ends in ENDINGS.items() if any(name.endswith(ends) for name in known.models)]
        raise ValueError(
            f"{folder} holds a model of type {config['model_type']!r}, which cannot do --task {task}, "
            f"but {' and '.join(able) or 'none'}"
        )
    changes: dict[str, Any] = {}
    new: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    if task == "classification":
        changes = {"labels": tuple(classes), "classifier_pooling": pooling}
        new, ignore = ("classifier.*",), ("cls.*",)
        new, ignore = (new, (*ignore, "pooler.*")) if pooling == "mean" else ((*new, "bert.pooler.*"), ignore)
    elif task == "mlm":
        new, ignore = ("cls.*",), ("pooler.*", "classifier.*")
    if from_scratch:
        return kind(replace(known.config.from_hf(config), **changes), rng=rng).train()
    return load_pretrained(kind, folder, new=new, ignore=ignore, rng=rng, **changes).train()


def longest_of(model: Any) -> int | None:
    """The most tokens that a model takes at once; None if its configuration does not say."""
    return getattr(model.config, "max_position_embeddings", None)


def tokenizer_for(model: Any, folder: Path) -> PretrainedTokenizer:
    """The folder's tokenizer.

    Raises:
        FileNotFoundError, ValueError, RuntimeError: as `PretrainedTokenizer.from_file`; ValueError also if it has more
            words than the model.
    """
    tokenizer = PretrainedTokenizer.from_file(folder)
    tokenizer.check_fits(model.config.vocab_size)
    return tokenizer


def write_folder(model: Any, folder: Path, tokenizer_from: Path) -> None:
    """Write config.json, model.safetensors and tokenizer.json, so that the folder is a pretrained model's by itself.

    Raises:
        OSError: if it cannot be written.
    """
    save_pretrained(model, folder)
    for name in (TOKENIZER, "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
        source = tokenizer_from / name
        if source.is_file() and source.resolve() != (folder / name).resolve():
            shutil.copyfile(source, folder / name)


def finetuned_folder(path: Path) -> Path:
    """A folder with a model: `path` itself, or the one called model in it, where a run's folder has it."""
    return path / "model" if (path / "model" / "config.json").is_file() else path


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder} has no config.json: a pretrained model's folder has config.json, model.safetensors and "
            f"{TOKENIZER}, or is named minilm"
        )
    config = storage.read_json(path)
    if not isinstance(config, dict):
        raise ValueError(f"{path} holds no table of settings but {type(config).__name__}")
    return config
