"""What checks before a training come to, their report, and the copy of a model on which they are made."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_ft import nn
from tinygrad_ft.tensor import Tensor
from tinygrad_ft.train.chance import random_state, set_random_state

IGNORED = -100  # the label of what counts in no loss, as in cross_entropy

LossOf = Callable[..., Any]
Batch = Sequence[Any]


@dataclass(frozen=True)
class Finding:
    """What one check came to. `ok` is None where it could not be made, and `measured` then says why."""

    name: str
    ok: bool | None
    measured: str
    expected: str
    advice: str


def report(findings: Sequence[Finding]) -> str:
    """The findings as a table, with what was expected and what to do below each that failed."""
    width = max(len(f.name) for f in findings)
    lines = []
    for f in findings:
        lines.append(f"{ {True: 'ok', False: 'FAILED', None: 'open'}[f.ok]:<7} {f.name:<{width}}  {f.measured}")
        if f.ok is False:
            lines += [f"{'':<8}{'expected':<{width}}  {f.expected}", f"{'':<8}{'what to do':<{width}}  {f.advice}"]
    counts = {word: sum(f.ok is ok for f in findings) for word, ok in (("ok", True), ("failed", False), ("open", None))}
    said = ", ".join(f"{n} {word}" for word, n in counts.items() if n or word == "ok")
    return "\n".join([*lines, f"{len(findings)} checks: {said}"])


@contextmanager
def copied(model: nn.Module) -> Iterator[nn.Module]:
    """A copy of the model to do anything with; after it the process's generator stands where it stood."""
    chance = random_state(nn.Module())
    try:
        with np.errstate(all="ignore"):  # what is not finite is told as a finding
            yield copy.deepcopy(model)
    finally:
        set_random_state(nn.Module(), chance)


def array_of(a: Any) -> Any:
    """A part of a batch as NumPy's array; None for None."""
    return None if a is None else a.cpu().array if isinstance(a, Tensor) else np.asarray(a)


def on_device(model: nn.Module, arrays: Batch) -> list[Any]:
    """A batch as the Trainer gives it to loss_of: Tensors where the model is."""
    device = next(model.parameters()).device
    return [None if a is None else Tensor(array_of(a)).to(device) for a in arrays]
