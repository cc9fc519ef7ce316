"""The library's own ops, checked on their samples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tinygrad_ft.engine import OPS, Value
from tinygrad_ft.gradcheck.check import gradcheck, gradgradcheck
from tinygrad_ft.gradcheck.samples import SAMPLES, Sample
from tinygrad_ft.ops.composed import COMPOSED
from tinygrad_ft.tensor import Tensor


def leaves(sample: Sample) -> tuple[Any, ...]:
    """The sample's floating-point arrays as Tensors that require grad, also those in a sequence; the rest as it is."""

    def leaf(a: Any) -> Any:
        if isinstance(a, tuple) and any(isinstance(part, np.ndarray) for part in a):
            return tuple(map(leaf, a))
        return Tensor(np.asarray(a)).requires_grad_() if getattr(a, "dtype", np.dtype(int)).kind == "f" else a

    return tuple(map(leaf, sample.arrays))


def _refilled(args: Any, leaves: Iterator[Any]) -> Any:
    """The arguments with other leaves in the places of theirs."""
    if isinstance(args, tuple):
        return tuple(_refilled(a, leaves) for a in args)
    return next(leaves) if isinstance(args, Value) else args


def check_op(name: str, *, seed: int = 0) -> int:
    """Check first and second derivatives of an op or a composed function on its samples; answers how many there were.

    Raises:
        GradcheckError: where the chain rule and the differences disagree.
        KeyError: if there are no samples of that name: ops without a derivative have none.
    """
    f = OPS.get(name) or COMPOSED[name]
    samples = SAMPLES[name](np.random.default_rng(seed))
    for sample in samples:
        args = leaves(sample)
        flat = [x for a in args for x in (a if isinstance(a, tuple) else [a]) if isinstance(x, Value)]

        def of_leaves(*xs: Any, args: Any = args, params: Any = sample.params) -> Any:
            return f(*_refilled(args, iter(xs)), **params)

        gradcheck(of_leaves, flat)
        gradgradcheck(of_leaves, flat)
    return len(samples)
