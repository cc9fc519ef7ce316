"""What a benchmark is made of: a piece of work, and the contenders that do it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

EAGER, JIT, TORCH = "tinygrad_ft eager", "tinygrad_ft jit", "torch"
PEERS = ("torch", "jax", "mygrad", "autograd", "tinygrad", "dezero", "pydynet")
THREADS = 2  # of PyTorch, and the processors that every contender may use


class NotAvailable(Exception):
    """This contender cannot do the work, for a reason that is no fault."""


class Running(NamedTuple):
    """A contender that is ready: step() does the work once, and numbers(what it answered) says what was computed.

    Only step() is timed.
    """

    step: Callable[[], Any]
    numbers: Callable[[Any], Sequence[float]]


class Work(NamedTuple):
    """A piece of work: what it is, who does it, and what our share of the baseline's time should be.

    Args:
        name: FILE.WORK, as the command line takes it.
        contenders: each builds its problem, in its own process, from the same numbers.
        targets: the highest median ratio to the baseline, for the contenders that have one.
        tolerance: relative; how far the numbers of the first steps may be from the baseline's.
        loose: the tolerances of contenders for which that is too strict.
    """

    name: str
    title: str
    contenders: Mapping[str, Callable[[], Running]]
    targets: Mapping[str, float]
    baseline: str = TORCH
    checked_steps: int = 3
    tolerance: float = 1e-4
    loose: Mapping[str, float] = {}


def loss_alone(loss: Any) -> list[float]:
    """The numbers of a training step, whose gradients show in the losses of the steps after it."""
    return [float(loss.item())]


def fingerprint(*arrays: Any) -> list[float]:
    """Two numbers an array that see its size, and the signs and places of its elements, with nothing to cancel."""
    numbers: list[float] = []
    for array in arrays:
        x = np.asarray(array, np.float64).ravel()
        size = float(np.sqrt(np.mean(x * x)))
        numbers += [size, float(np.mean(np.linspace(1, 2, x.size) * (x / (size or 1.0) + 1.0) ** 2))]
    return numbers
