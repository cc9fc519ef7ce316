"""The library's own ops, checked on their samples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tinygrad_ft.engine import Value
from tinygrad_ft.gradcheck.check import examine
from tinygrad_ft.gradcheck.report import Report
from tinygrad_ft.gradcheck.samples import SAMPLES, Sample
from tinygrad_ft.ops.composed import every
from tinygrad_ft.tensor import Tensor

RTOL = 1e-5  # samples are tame, and in float64


def leaves(sample: Sample) -> tuple[Any, ...]:
    """The sample's floating-point arrays as Tensors that require grad, also those in a sequence; the rest as it is."""

    def leaf(a: Any) -> Any:
        if isinstance(a, tuple) and any(isinstance(part, np.ndarray) for part in a):
            return tuple(map(leaf, a))
        return Tensor(np.asarray(a)).requires_grad_() if getattr(a, "dtype", np.dtype(int)).kind == "f" else a

    return tuple(map(leaf, sample.arrays))


def refilled(args: Any, leaves: Iterator[Any]) -> Any:
    """The arguments with other leaves in the places of theirs."""
    if isinstance(args, tuple):
        return tuple(refilled(a, leaves) for a in args)
    return next(leaves) if isinstance(args, Value) else args


def examine_sample(f: Any, sample: Sample, *, name: str, seed: int = 0, order: int = 2, rtol: float = RTOL) -> Report:
    """The report on one call of an op: along two random directions, and by element where one disagrees."""
    args = leaves(sample)
    flat = [x for a in args for x in (a if isinstance(a, tuple) else [a]) if isinstance(x, Value)]

    def of_leaves(*xs: Any) -> Any:
        return f(*refilled(args, iter(xs)), **sample.params)

    of_leaves.__name__ = name
    names = list(getattr(f, "inputs", ()))
    named = [n for n, a in zip(names, args, strict=False) if isinstance(a, Value)]
    fits = len(named) == len(flat) and not getattr(f, "variadic", False)
    return examine(of_leaves, flat, names=named if fits else None, order=order, rtol=rtol, seed=seed, directions=2)


def examine_op(name: str, *, seed: int = 0, order: int = 2) -> list[Report]:
    """A report on each of the samples of an op or a composed function.

    Raises:
        KeyError: if there are no samples of that name: ops without a derivative have none.
    """
    return list(_reports(name, seed, order))


def _reports(name: str, seed: int, order: int) -> Iterator[Report]:
    f = every()[name]
    for sample in SAMPLES[name](np.random.default_rng(seed)):
        yield examine_sample(f, sample, name=name, seed=seed, order=order)


def check_op(name: str, *, seed: int = 0) -> int:
    """Check first and second derivatives of an op or a composed function on its samples; answers how many there were.

    Raises:
        GradcheckError: where the chain rule and the differences disagree.
        KeyError: if there are no samples of that name: ops without a derivative have none.
    """
    count = 0
    for report in _reports(name, seed, 2):
        report.raise_if_not_ok()
        count += 1
    return count
