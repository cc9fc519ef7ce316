"""LoRA: the pretrained matrices stay, and each learns a correction of low rank beside itself."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from math import inf, sqrt
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_ft import nn, ops, storage
from tinygrad_ft.finetune.freeze import matching, unfreeze
from tinygrad_ft.formats import read_metadata

FORMAT = "tinygrad-ft-lora-1"
TARGETS = ("*.query", "*.value")
USUAL = (TARGETS, ("*.q_proj", "*.v_proj"), ("*.c_attn",))  # as BERT, Llama and GPT-2 call queries and values


class LoRALinear(nn.Module):
    """y = base(x) + alpha / rank (x A^T) B^T, where only A and B are trained; B starts at 0.

    Shapes: x (..., inputs) -> (..., outputs); lora_A (rank, inputs), lora_B (outputs, rank).

    Args:
        base: a Linear, or another module with a matrix `weight`, (inputs, outputs) then, as GPT-2's Conv1D.
        dropout: chance that an element of x is dropped on the way through A, in training.

    Source: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2021, section 4.1.
    """

    def __init__(self, base: nn.Module, rank: int, alpha: float, dropout: float = 0.0, rng: Any = None):
        super().__init__()
        rows, columns = matrix_of(base).shape
        self.transposed = not isinstance(base, nn.Linear)  # whether the matrix is (inputs, outputs)
        outputs, inputs = (columns, rows) if self.transposed else (rows, columns)
        if not 1 <= rank <= min(outputs, inputs):
            raise ValueError(f"{outputs} by {inputs} takes a rank from 1 to {min(outputs, inputs)}: got {rank}")
        self.base, self.rank, self.alpha, self.scale = base, rank, alpha, alpha / rank
        self.lora_A = nn.Parameter(np.empty((rank, inputs), np.float32))
        self.lora_B = nn.Parameter(np.zeros((outputs, rank), np.float32))
        nn.init.kaiming_uniform_(self.lora_A, a=sqrt(5), rng=rng)
        self.dropout = nn.Dropout(dropout, rng=rng)

    def forward(self, x: Any) -> Any:
        """x (..., inputs) -> (..., outputs)."""
        low = ops.linear(self.dropout(x), self.lora_A, None)
        return self.base(x) + ops.linear(low, self.lora_B, None) * self.scale

    def merged(self) -> nn.Module:
        """The base, with the correction added to its matrix."""
        correction = self.scale * (self.lora_B.numpy_copy() @ self.lora_A.numpy_copy())
        weight = matrix_of(self.base)
        merged = weight.numpy_copy() + (correction.T if self.transposed else correction)
        weight.array[...] = weight.device.xp.asarray(merged)
        return self.base

    def extra_repr(self) -> str:
        """Its rank."""
        return f"rank={self.rank}"


def matrix_of(module: nn.Module) -> nn.Parameter:
    """The matrix of a module that multiplies by one.

    Raises:
        ValueError: if it does not.
    """
    weight = getattr(module, "weight", None)
    if not isinstance(weight, nn.Parameter) or weight.ndim != 2 or isinstance(module, nn.Embedding):
        raise ValueError(f"LoRA adapts modules that multiply by a matrix, as Linear: got {type(module).__name__}")
    return weight


def add_lora(
    model: Any,
    rank: int = 8,
    alpha: float = 16.0,
    targets: Sequence[str] = TARGETS,
    dropout: float = 0.0,
    *,
    also: Sequence[str] = (),
    rng: Any = None,
) -> Any:
    """Put an adapter beside each target, in place, and freeze all else; answers the model.

    Args:
        rank: of the corrections; each adapter has rank (inputs + outputs) parameters.
        alpha: the correction is scaled by alpha / rank.
        targets: patterns of the names of modules.
        also: patterns of the names of parameters that are trained as they are, as a new head's, "classifier.*".
        rng: draws A.

    Raises:
        ValueError: if a pattern has no module, the model has adapters already, or a number is out of its range.
    """
    if not 0 < alpha < inf:
        raise ValueError(f"add_lora needs alpha to be finite and above 0: got {alpha}")
    if adapters(model):
        raise ValueError("the model has adapters already: merge_lora(model) makes them part of it")
    places = {name: module for name, module in model.named_modules() if name}
    for pattern in targets:
        if not any(fnmatchcase(name, pattern) for name in places):
            kinds = sorted({name.rsplit(".", 1)[-1] for name, m in places.items() if isinstance(m, nn.Linear)})
            raise ValueError(f"{pattern!r} is the name of no module: there are {', '.join(f'*.{k}' for k in kinds)}")
    chosen = [name for name in places if any(fnmatchcase(name, pattern) for pattern in targets)]
    made = {name: LoRALinear(places[name], rank, alpha, dropout, rng) for name in chosen}  # all, or none
    model.requires_grad_(False)
    if also:
        unfreeze(model, *also)
    _replace(model, made.__getitem__, made)
    return model


def usual_targets(model: nn.Module) -> tuple[str, ...]:
    """Patterns of the modules that make queries and values, as the kind of model calls them; the paper adapts these."""
    names = [name for name, _ in model.named_modules()]
    there = (each for each in USUAL if all(any(fnmatchcase(name, pattern) for name in names) for pattern in each))
    return next(there, TARGETS)


def adapters(model: nn.Module) -> dict[str, LoRALinear]:
    """The adapters in a model, by the names of the modules that they adapt."""
    return {name: module for name, module in model.named_modules() if isinstance(module, LoRALinear)}


def merge_lora(model: Any) -> Any:
    """Add the corrections to the matrices and put the plain modules back, in place; answers the model.

    All parameters stay frozen or not as they are: `model.requires_grad_()` trains them again.
    """
    found = adapters(model)
    _replace(model, lambda name: found[name].merged(), found)
    return model


def _replace(model: nn.Module, by: Callable[[str], nn.Module], names: Iterable[str]) -> None:
    places = dict(model.named_modules())
    for name in names:
        owner, _, last = name.rpartition(".")
        new = by(name)
        new.train(places[owner].training)
        setattr(places[owner], last, new)


def lora_state(model: nn.Module, also: Sequence[str] = ()) -> dict[str, Any]:
    """The adapters' parameters by name, "encoder.layer.0.attention.self.query.lora_A", and those that `also` names.

    Raises:
        ValueError: if the model has no adapters, or a pattern is the name of no parameter.
    """
    if not adapters(model):
        raise ValueError("the model has no adapters: add_lora(model) makes them")
    state = model.state_dict()
    extra = set(matching(state, also))
    return {name: t for name, t in state.items() if name.rpartition(".")[2] in ("lora_A", "lora_B") or name in extra}


def save_lora(model: nn.Module, path: str | os.PathLike[str], also: Sequence[str] = ()) -> None:
    """Write `lora_state` as a safetensors file, whole or not at all; rank, scale and targets are in its metadata.

    Raises:
        ValueError: as lora_state.
        OSError: if it cannot be written.
    """
    from safetensors.numpy import save

    found = adapters(model)
    state = {name: np.ascontiguousarray(t.numpy_copy()) for name, t in lora_state(model, also).items()}
    first = next(iter(found.values()))
    described = {
        "rank": first.rank,
        "alpha": first.alpha,
        "targets": list(found),
        "dropout": first.dropout.p,
        "also": list(also),
    }
    storage.write_atomically(path, save(state, metadata={"format": FORMAT, "lora": json.dumps(described)}))


def load_lora(model: Any, path: str | os.PathLike[str]) -> Any:
    """Bring adapters from a file into a model, which gets new ones for them if it has none; answers the model.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it holds no adapters, or those of another model, another rank or other targets; it is one line,
            and the model is as before.
    """
    path = Path(path)
    described = _described(path)
    state = storage.load(path)
    known, mine = dict(model.named_modules()), adapters(model)
    rank, targets = described["rank"], described["targets"]
    strange = [name for name in targets if name not in known]
    if strange:
        raise ValueError(f"{path} adapts {strange[0]}, which {type(model).__name__} has not: it is for another model")
    shapes: dict[str, tuple[int, ...]] = {}
    for name in targets:
        base = mine[name].base if name in mine else known[name]
        rows, columns = matrix_of(base).shape
        outputs, inputs = (rows, columns) if isinstance(base, nn.Linear) else (columns, rows)
        shapes |= {f"{name}.lora_A": (rank, inputs), f"{name}.lora_B": (outputs, rank)}
    own = model.state_dict()
    shapes |= {name: tuple(t.shape) for name, t in own.items() if any(fnmatchcase(name, p) for p in described["also"])}
    for name in [*shapes, *state]:
        here, there = shapes.get(name), tuple(state[name].shape) if name in state else None
        if here != there:
            raise ValueError(f"{path} has {name} of shape {there}, and the model {here}: it is for another model")
    if mine:
        first = next(iter(mine.values()))
        if first.rank != rank or first.alpha != described["alpha"] or sorted(mine) != sorted(targets):
            raise ValueError(
                f"{path} has {len(targets)} adapters of rank {rank} and alpha {described['alpha']:g}, and the model "
                f"{len(mine)} of rank {first.rank} and alpha {first.alpha:g}: load into a model without"
            )
    else:
        add_lora(model, rank, described["alpha"], targets, described["dropout"], also=described["also"])
    model.load_state_dict(state, strict=False)
    return model


def _described(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"there is no {path}: adapters are in a file that save_lora has written")
    metadata = read_metadata(path)
    if metadata.get("format") != FORMAT:
        raise ValueError(f"{path} holds no adapters of ours: its format is {metadata.get('format')!r}, not {FORMAT!r}")
    kinds = {"rank": int, "alpha": int | float, "targets": list, "dropout": int | float, "also": list}
    try:
        described: Any = json.loads(metadata.get("lora", ""))
    except (ValueError, RecursionError):
        described = None
    if not isinstance(described, dict) or not all(isinstance(described.get(name), kinds[name]) for name in kinds):
        raise ValueError(f"{path} does not say the {', '.join(kinds)} of its adapters: was its metadata changed?")
    return described


__all__ = [
    "LoRALinear",
    "adapters",
    "add_lora",
    "load_lora",
    "lora_state",
    "matrix_of",
    "merge_lora",
    "save_lora",
    "usual_targets",
]
