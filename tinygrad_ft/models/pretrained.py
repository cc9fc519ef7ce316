"""Weights that others trained: folders as Hugging Face writes them, a config.json beside a model.safetensors."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_ft import nn, storage
from tinygrad_ft.formats import read_safetensors
from tinygrad_ft.models.bert import BertConfig, BertForMaskedLM, BertForSequenceClassification, BertModel
from tinygrad_ft.models.gpt2 import GPT2Config, GPT2LMHeadModel, GPT2Model
from tinygrad_ft.models.llama import LlamaConfig, LlamaForCausalLM, LlamaModel

Arrays = dict[str, np.ndarray[Any, Any]]
SHOWN = 8  # of a list of names in a message; of the others it gives the number


@dataclass(frozen=True)
class Architecture:
    """How the folders of one `model_type` become models.

    Args:
        config: the class of the configuration, with `from_hf(dict)` and `to_dict()`.
        models: classes by the name that config.json's `architectures` gives them; the first is the default.
        prefix: what names of weights begin with in some files and not in others.
        harmless: patterns of names, without the prefix, that old files hold and no model needs.
        tied: names under which files may hold a weight once more, and the name of that weight.
        adapt: brings names and layouts of a file to the model's, where they differ by more than that.
    """

    config: Any
    models: Mapping[str, Any]
    prefix: str = ""
    harmless: tuple[str, ...] = ()
    tied: Mapping[str, str] = field(default_factory=dict)
    adapt: Callable[[Arrays], Arrays] = dict


def _bert_names(arrays: Arrays) -> Arrays:
    """LayerNorm's parameters were called gamma and beta in BERT's first files."""
    renamed = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}
    adapted = {}
    for name, array in arrays.items():
        for old, new in renamed.items():
            name = name.removesuffix(old) + new if name.endswith(old) else name
        adapted[name] = array
    return adapted


architectures: dict[str, Architecture] = {
    "bert": Architecture(
        config=BertConfig,
        models={
            "BertModel": BertModel,
            "BertForSequenceClassification": BertForSequenceClassification,
            "BertForMaskedLM": BertForMaskedLM,
        },
        prefix="bert.",
        harmless=("embeddings.position_ids",),
        tied={
            "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
            "cls.predictions.decoder.bias": "cls.predictions.bias",
        },
        adapt=_bert_names,
    ),
    "gpt2": Architecture(
        config=GPT2Config,
        models={"GPT2LMHeadModel": GPT2LMHeadModel, "GPT2Model": GPT2Model},
        prefix="transformer.",
        harmless=("h.*.attn.bias", "h.*.attn.masked_bias"),
        tied={"lm_head.weight": "transformer.wte.weight"},
    ),
    "llama": Architecture(
        config=LlamaConfig,
        models={"LlamaForCausalLM": LlamaForCausalLM, "LlamaModel": LlamaModel},
        prefix="model.",
        harmless=("layers.*.self_attn.rotary_emb.inv_freq",),
        tied={"lm_head.weight": "model.embed_tokens.weight"},
    ),
}


def from_pretrained(folder: str | os.PathLike[str], kind: str | None = None, **options: Any) -> Any:
    """The model in a folder with config.json and model.safetensors, of the kind that config.json names.

    Args:
        kind: another kind, as config.json's `architectures` would name it: "BertForSequenceClassification".
        options: as for `load_pretrained`.

    Raises:
        FileNotFoundError: if one of the two files is not there.
        ValueError: if the model is of an unknown kind, or as `load_pretrained` says.
    """
    config = _config(folder)
    found = _architecture(config.get("model_type"), folder)
    listed = config.get("architectures") or []
    if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
        raise ValueError(f"config.json in {folder} has architectures {listed!r:.80}, where a list of names was needed")
    named = [name for name in listed if name in found.models]
    kind = kind or (named[0] if named else next(iter(found.models)))
    if kind not in found.models:
        raise ValueError(
            f"there is no {kind!r} of model_type {config['model_type']!r}: known are {_listed(found.models)}"
        )
    return load_pretrained(found.models[kind], folder, **options)


def load_pretrained(
    model_class: Any,
    folder: str | os.PathLike[str],
    *,
    new: Iterable[str] = (),
    ignore: Iterable[str] = (),
    rng: Any = None,
    **changes: Any,
) -> Any:
    """A model of that class with the weights of a folder, in evaluation mode. Nothing is left to chance silently.

    Args:
        new: patterns of the model's names, as "classifier.*", that the file need not hold in this shape; they start as
            in a new model.
        ignore: patterns of the file's names that this model does not need.
        rng: draws what is new.
        changes: fields of the configuration to be set otherwise than config.json says, as `labels`.

    Raises:
        FileNotFoundError: if one of the two files is not there.
        ValueError: if a file cannot be read, or names and shapes do not fit otherwise; it lists what does not.
    """
    folder = Path(folder)
    config = _config(folder)
    found = _architecture(config.get("model_type"), folder)
    if model_class not in found.models.values():
        raise ValueError(
            f"{folder} holds a model of type {config['model_type']!r}, which is {_listed(found.models)}, "
            f"and no {model_class.__name__}"
        )
    model = model_class(replace(found.config.from_hf(config), **changes), rng=rng)
    path = folder / "model.safetensors"
    _fill(model, found, _weights(path), tuple(new), tuple(ignore), path)
    return model.eval()


def save_pretrained(model: Any, folder: str | os.PathLike[str]) -> None:
    """Write config.json and model.safetensors, each whole or not at all, as Hugging Face's transformers reads them.

    Raises:
        ValueError: if no architecture has models of this class.
        OSError: if the folder cannot be written.
    """
    import json

    from safetensors.numpy import save

    for found in architectures.values():
        names = [name for name, known in found.models.items() if type(model) is known]
        if names:
            break
    else:
        raise ValueError(f"save_pretrained knows no architecture of which {type(model).__name__} is a model")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: np.ascontiguousarray(t.numpy_copy()) for name, t in model.state_dict().items()}
    dtype = str(next(iter(weights.values())).dtype)
    config = {"architectures": names[:1], "dtype": dtype, **model.config.to_dict()}
    storage.write_atomically(folder / "model.safetensors", save(weights, metadata={"format": "pt"}))
    storage.write_atomically(folder / "config.json", json.dumps(config, indent=2) + "\n")


def _config(folder: str | os.PathLike[str]) -> dict[str, Any]:
    path = Path(folder) / "config.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no {path}: a model's folder holds config.json and model.safetensors, as Hugging Face writes them"
        )
    config = storage.read_json(path)
    if not isinstance(config, dict):
        raise ValueError(f"{path} holds no table of settings but {type(config).__name__}")
    return config


def _architecture(model_type: Any, folder: str | os.PathLike[str]) -> Architecture:
    if not isinstance(model_type, str) or model_type not in architectures:
        raise ValueError(
            f"config.json in {folder} has model_type {model_type!r}: known here are {_listed(architectures)}"
        )
    return architectures[model_type]


def _weights(path: Path) -> Arrays:
    if not path.is_file():
        pickled = sorted(path.parent.glob("*.bin"))
        why = f"; {pickled[0].name} is never unpickled here: save it as safetensors first" if pickled else ""
        raise FileNotFoundError(f"there is no {path}{why}")
    return read_safetensors(path)


def _fill(
    model: nn.Module, kind: Architecture, arrays: Arrays, new: tuple[str, ...], ignore: tuple[str, ...], path: Path
) -> None:
    """Copy arrays into the model, or say all that does not fit and copy nothing."""
    own = {name: tuple(t.shape) for name, t in model.state_dict().items()}
    for pattern in new:
        if not any(fnmatchcase(name, pattern) for name in own):
            raise ValueError(f"new={pattern!r} is the name of nothing in {type(model).__name__}: it has {_listed(own)}")
    given: Arrays = {}
    wrong: dict[str, str] = {}
    unexpected = []
    for name, array in kind.adapt(arrays).items():
        bare = name.removeprefix(kind.prefix)
        known = next((n for n in (name, bare, kind.prefix + name) if n in own), None)
        known = known or next((kind.tied[n] for n in (name, bare) if kind.tied.get(n) in own), None)
        if known is None:
            if not _matches(name, ignore) and not _matches(bare, (*ignore, *kind.harmless)):
                unexpected.append(name)
        elif known in given and not np.array_equal(given[known], array):
            wrong[known] = f"{name} is {known} once more, with other numbers"
        elif array.dtype.kind != "f":
            wrong[known] = f"{known} holds {array.dtype}, and no floating-point numbers"
        elif array.shape == own[known]:
            given[known] = array
        elif not _matches(known, new):
            wrong[known] = f"{known} has shape {array.shape} in the file and {own[known]} in the model"
    missing = [name for name in own if name not in given and name not in wrong and not _matches(name, new)]
    parts = [("missing", missing), ("unexpected", unexpected), ("not fitting", list(wrong.values()))]
    if any(names for _, names in parts):
        raise ValueError(
            f"{path} does not fit {type(model).__name__} with this config.json: "
            + "; ".join(f"{what}: {_listed(names)}" for what, names in parts if names)
            + ". Is config.json that of these weights? What may start anew is named by new=('classifier.*',), "
            "and what is not needed by ignore=('cls.*',)"
        )
    model.load_state_dict(given, strict=False)


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
