"""Randomness: one generator for the process, explicit ones wherever an `rng` is passed."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from tinygrad_ft.chain_rule import cast
from tinygrad_ft.engine import Array
from tinygrad_ft.notice import each_time
from tinygrad_ft.ops.arithmetic import mul
from tinygrad_ft.ops.comparison import ge
from tinygrad_ft.ops.composed import composed

__all__ = ["dropout", "manual_seed"]

Rng: TypeAlias = "np.random.Generator | None"  # a string: merely naming it would import numpy.random, 15 ms

_default: Rng = None


def generator(rng: Rng = None) -> np.random.Generator:
    """The generator that was passed, or the process's own if none was."""
    return rng or _default or manual_seed(0)


def manual_seed(seed: int) -> np.random.Generator:
    """Start the process's generator anew from a seed, and return it."""
    global _default
    # Philox counts instead of shuffling a state: a position in the stream can be written down, and gone back to
    _default = np.random.Generator(np.random.Philox(seed))
    return _default


@composed
def dropout(x: Array, p: float = 0.5, training: bool = True, *, rng: Rng = None) -> Array:
    """Each element of x set to 0 with chance p, the others divided by 1 - p to keep the mean; x itself in evaluation.

    Source: Srivastava et al., "Dropout", 2014, section 10 (the inverted form).
    """
    p = float(p)  # NumPy's scalars would make float64 of float32
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout needs a chance from 0 to 1: got p={p}")
    if not training or p == 0.0:
        return x
    drawn = each_time(lambda: generator(rng).random(x.shape, dtype=np.float32))
    keep = cast(ge(drawn, p), dtype=x.dtype if x.dtype.kind == "f" else np.dtype(np.float32))
    return x * mul(keep, 1.0 / (1.0 - p) if p < 1.0 else 0.0)
