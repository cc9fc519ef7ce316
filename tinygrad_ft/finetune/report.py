"""What fine-tuning costs and what it did: counted and measured, not promised."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tinygrad_ft import nn
from tinygrad_ft.optim import Optimizer

Arrays = dict[str, np.ndarray[Any, Any]]


def costs(model: nn.Module, optimizer: Optimizer | None = None) -> dict[str, float]:
    """How many parameters a model has and trains, and the bytes of weights, of gradients and of the optimiser's state.

    Gradients are those of one step. Before the first step the state is none: it is counted as it is.
    """
    every = list(model.parameters())
    trained = [p for p in every if p.requires_grad]
    total, training = sum(p.array.size for p in every), sum(p.array.size for p in trained)
    entries = [] if optimizer is None else [a for entry in optimizer.state.values() for a in entry.values()]
    return {
        "parameters": total,
        "trained_parameters": training,
        "trained_share": training / total,
        "weights_bytes": sum(p.array.nbytes for p in every),
        "gradients_bytes": sum(p.array.nbytes for p in trained),
        "optimizer_bytes": sum(int(getattr(a, "nbytes", 0)) for a in entries),
    }


def copied(model: nn.Module) -> Arrays:
    """The parameters as they are now, by name, for `changes`."""
    return {name: p.numpy_copy() for name, p in model.named_parameters()}


def changes(model: nn.Module, before: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, float]:
    """How far each parameter has moved, in lengths of what it was: |now - before| / |before|, by name.

    One that was 0 has moved by its own length. Names that are not in `before` are left out.
    """
    found = {}
    for name, p in model.named_parameters():
        if name in before:
            was = before[name].astype(np.float64)
            moved = float(np.linalg.norm(p.numpy_copy().astype(np.float64) - was))
            found[name] = moved / (float(np.linalg.norm(was)) or 1.0)
    return found


def cost_lines(found: Mapping[str, float]) -> list[str]:
    """`costs` for people."""
    mebibytes = {name: found[f"{name}_bytes"] / 2**20 for name in ("weights", "gradients", "optimizer")}
    return [
        f"parameters {found['parameters']:,.0f}, of which {found['trained_parameters']:,.0f} are trained "
        f"({found['trained_share']:.3%})",
        f"memory: weights {mebibytes['weights']:.1f} MiB, gradients {mebibytes['gradients']:.1f} MiB, "
        f"state of the optimiser {mebibytes['optimizer']:.1f} MiB",
    ]


def change_lines(found: Mapping[str, float], shown: int = 5) -> list[str]:
    """`changes` for people: how many moved, and those that moved most."""
    moved = {name: value for name, value in found.items() if value > 0}
    still = len(found) - len(moved)
    lines = [f"{len(moved)} of {len(found)} parameter arrays changed; {still} are as they were, bit for bit"]
    for name, value in sorted(moved.items(), key=lambda item: -item[1])[:shown]:
        lines.append(f"    {name}: moved by {value:.2%} of its length")
    return lines
