"""Samples for the ops that reduce."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ft.gradcheck.samples.base import Rng, Sample, Samples, along_axes, normal, of, unit
from tinygrad_ft.ops.reduce import amax


def _largest(rng: Rng, axis: Any, *shape: int) -> Sample:
    """g, x and its largest over the axis, x in integers: there is no derivative in it."""
    x = rng.integers(-1, 2, shape)
    y = amax(x, axis=axis)
    return Sample((normal(rng, *np.shape(y)), x, np.asarray(y)), {"axis": axis})


SAMPLES: Samples = {
    "sum": along_axes(),
    "mean": along_axes(),
    "var": of(
        lambda rng: Sample((normal(rng, 3, 4),), {"axis": 0}),
        lambda rng: Sample((normal(rng, 2, 3),), {"correction": 0}),
        lambda rng: Sample((normal(rng),), {"correction": 0}),
        lambda rng: Sample((normal(rng, 2, 3, 2),), {"axis": (0, 2), "keepdims": True}),
    ),
    "std": lambda rng: [Sample((normal(rng, 3, 4),), {"axis": 0}), Sample((normal(rng, 5),))],
    "amax": along_axes(),
    "amin": along_axes(),
    "extremum_grad": of(
        lambda rng: _largest(rng, 1, 2, 5, 3),
        lambda rng: _largest(rng, (0, -1), 2, 3, 4),
        lambda rng: _largest(rng, None, 3, 4),
    ),
    "max": along_axes(whole=False),
    "min": along_axes(whole=False),
    "logsumexp": along_axes(),
    "softmax": along_axes(whole=False),
    "log_softmax": along_axes(whole=False),
    "softmax_grad": of(
        lambda rng: Sample((normal(rng, 3, 4), unit(rng, 3, 4)), {"axis": 0}),
        lambda rng: Sample((normal(rng), unit(rng))),
    ),
    "sum_to": of(
        lambda rng: Sample((normal(rng, 2, 3, 4),), {"shape": (3, 1)}),
        lambda rng: Sample((normal(rng, 2, 3),), {"shape": ()}),
    ),
}
