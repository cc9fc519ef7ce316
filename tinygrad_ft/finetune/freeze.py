"""Which parameters are trained, by patterns of their names, and at what rates: smaller ones nearer the input."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from math import inf
from typing import Any

from tinygrad_ft import nn
from tinygrad_ft.train.callbacks import Callback


def freeze(model: nn.Module, *patterns: str) -> list[str]:
    """Let the parameters of these names get no gradient any more; answers the names.

    Args:
        patterns: as in a shell: "*embeddings*", "bert.encoder.layer.[0-2].*"; a full name is a pattern too.

    Raises:
        ValueError: if a pattern is the name of no parameter; the message has names that are like it.
    """
    return _set(model, patterns, False)


def unfreeze(model: nn.Module, *patterns: str) -> list[str]:
    """Let the parameters of these names get gradients; answers the names. Otherwise as `freeze`."""
    return _set(model, patterns, True)


def matching(names: Iterable[str], patterns: Iterable[str]) -> list[str]:
    """The names that fit one of the patterns, in their order.

    Raises:
        ValueError: if a pattern fits none.
    """
    names = list(names)
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ValueError(f"{pattern!r} is the name of no parameter of this model: {_near(pattern, names)}")
    return [name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)]


def _set(model: nn.Module, patterns: Sequence[str], wanted: bool) -> list[str]:
    params = dict(model.named_parameters())
    found = matching(params, patterns)
    for name in found:
        params[name].requires_grad_(wanted)
        if not wanted:
            params[name].grad = None  # an optimiser would go on with one that is left over
    return found


def _near(pattern: str, names: list[str]) -> str:
    bare = pattern.strip("*.")
    parts = sorted({part for name in names for part in name.split(".") if not part.isdigit()})
    near = get_close_matches(pattern, names, 3, 0.6) or get_close_matches(bare.split(".")[-1], parts, 3, 0.5)
    shown = near or [*names[:2], names[-1]]
    return f"{'near are' if near else 'there are'} {', '.join(shown)}; patterns are as in a shell, like '*{shown[0]}*'"


def layerwise_groups(
    model: nn.Module, lr: float, decay: float = 1.0, weight_decay: float = 0.0
) -> list[dict[str, Any]]:
    """Groups for an optimiser: lr for the head, and times `decay` for each layer towards the input.

    The layers are the numbered parts of the model ("encoder.layer.3."); what comes before the first of them, as the
    embeddings do, is one below it, and what comes after the last is the head. Biases and the scales of norms, which
    have one axis, get no weight decay. Frozen parameters are in it too, as they may be unfrozen later: without a
    gradient an optimiser passes them over, and keeps nothing for them.

    Raises:
        ValueError: unless decay is above 0 and at most 1.

    Source: Howard and Ruder, "Universal Language Model Fine-tuning for Text Classification", 2018, section 3.2.
    """
    if not 0.0 < decay <= 1.0:
        raise ValueError(f"layers nearer the input learn at smaller rates: decay must be in (0, 1], got {decay}")
    named = list(model.named_parameters())
    depths = _depths([name for name, _ in named])
    groups: dict[tuple[int, bool], dict[str, Any]] = {}
    top = max(depths.values())
    for name, p in named:
        depth, decayed = depths[name] if decay < 1.0 else top, p.ndim > 1
        made = {
            "params": [],
            "lr": lr * decay ** (top - depth),
            "weight_decay": weight_decay if decayed else 0.0,
            "name": f"depth {depth}, {'matrices' if decayed else 'biases and norms'}",
        }
        groups.setdefault((depth, decayed), made)["params"].append(p)
    return [groups[key] for key in sorted(groups)]


def _depths(names: list[str]) -> dict[str, int]:
    """0 for what comes before the numbered layers, 1, 2, ... for these, and one more for what comes after."""
    layers = [next((int(part) for part in name.split(".") if part.isdigit()), None) for name in names]
    numbers = [n for n in layers if n is not None]
    first = next((i for i, n in enumerate(layers) if n is not None), 0)
    top = max(numbers, default=-1) + 2
    return {
        name: n + 1 if n is not None else (0 if i < first else top)
        for i, (name, n) in enumerate(zip(names, layers, strict=True))
    }


class ProgressiveUnfreezing(Callback):
    """Unfreezes parameters on the way: those of plan[step] take part from the step after so many.

    What is trained depends on the step alone, so a resumed run is right by itself. The optimiser must have them
    from the beginning, as `layerwise_groups` gives them to it.

    Args:
        plan: patterns of names by the number of steps taken before; see `freeze`.

    Raises:
        ValueError: at the start of a run, if a pattern is the name of no parameter, or the optimiser lacks one.

    Source: Howard and Ruder, 2018, section 3.3, "gradual unfreezing".
    """

    def __init__(self, plan: Mapping[int, Sequence[str]]):
        for step, patterns in plan.items():
            if not 0 <= step < inf or isinstance(patterns, str) or not patterns:
                raise ValueError(f"a plan has lists of patterns by steps from 0: got {patterns!r} at {step!r}")
        self.plan = {step: list(plan[step]) for step in sorted(plan)}

    def started(self, trainer: Any) -> None:
        """Freeze what is to come, and unfreeze what is due already."""
        known = {id(p) for group in trainer.optimizer.param_groups for p in group["params"]}
        params = dict(trainer.model.named_parameters())
        for patterns in self.plan.values():
            lacking = [name for name in matching(params, patterns) if id(params[name]) not in known]
            if lacking:
                raise ValueError(f"{lacking[0]} is to be unfrozen, and the optimiser lacks it: give it all groups")
        for patterns in self.plan.values():
            freeze(trainer.model, *patterns)
        for step, patterns in self.plan.items():
            if step <= trainer.step:
                unfreeze(trainer.model, *patterns)

    def stepped(self, trainer: Any, record: Any) -> None:
        """Unfreeze what is due."""
        if trainer.step in self.plan:
            unfreeze(trainer.model, *self.plan[trainer.step])


__all__ = ["ProgressiveUnfreezing", "freeze", "layerwise_groups", "matching", "unfreeze"]
