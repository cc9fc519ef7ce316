"""Samples for the ops that move elements."""

from __future__ import annotations

import numpy as np

from tinygrad_ft.gradcheck.samples.base import Sample, Samples, normal, of
from tinygrad_ft.ops.index import HERE

SAMPLES: Samples = {
    "expand": of(
        lambda rng: Sample((normal(rng, 3, 1),), {"shape": (2, 3, 4)}),
        lambda rng: Sample((normal(rng),), {"shape": (0, 2)}),
    ),
    "moved": of(lambda rng: Sample((normal(rng, 2, 3),), {"source": "cpu", "target": "cpu"})),
    "broadcast_to": of(lambda rng: Sample((normal(rng, 3, 1), (2, -1, 4))), lambda rng: Sample((normal(rng), (2,)))),
    "reshape": of(
        lambda rng: Sample((normal(rng, 2, 6),), {"shape": (3, -1)}),
        lambda rng: Sample((normal(rng),), {"shape": (1, 1)}),
        lambda rng: Sample((normal(rng, 0, 3),), {"shape": (3, 0)}),
    ),
    "permute": of(
        lambda rng: Sample((normal(rng, 2, 3, 4),), {"axes": (2, 0, 1)}),
        lambda rng: Sample((normal(rng, 2, 3, 4),), {"axes": (-2, -1, 0)}),
        lambda rng: Sample((normal(rng),), {"axes": ()}),
    ),
    "transpose": of(lambda rng: Sample((normal(rng, 2, 3, 4),)), lambda rng: Sample((normal(rng, 2, 3), 0, -1))),
    "squeeze": of(lambda rng: Sample((normal(rng, 1, 3, 1),)), lambda rng: Sample((normal(rng, 1, 3, 1), -1))),
    "unsqueeze": of(lambda rng: Sample((normal(rng, 2, 3), 1)), lambda rng: Sample((normal(rng), -1))),
    "flatten": of(lambda rng: Sample((normal(rng, 2, 3, 4), 1)), lambda rng: Sample((normal(rng),))),
    "getitem": of(
        lambda rng: Sample((normal(rng, 4, 5),), {"key": (slice(None, None, 2), 1)}),
        lambda rng: Sample((normal(rng, 4, 5),), {"key": (Ellipsis, None, slice(3, 0, -1))}),
        lambda rng: Sample((normal(rng, 4, 5), np.array([0, 0, 3])), {"key": (HERE,)}),
        lambda rng: Sample((normal(rng, 4, 5), np.array([[0], [-1]]), np.array([1, 1])), {"key": (HERE, HERE)}),
        lambda rng: Sample((normal(rng, 3, 2), np.array([True, False, True])), {"key": (HERE,)}),
        lambda rng: Sample((normal(rng),), {"key": ()}),
    ),
    "put": of(
        lambda rng: Sample((normal(rng, 2),), {"key": (slice(None, None, 2), 1), "shape": (4, 5)}),
        lambda rng: Sample((normal(rng, 3, 2), np.array([0, 0, 3])), {"key": (HERE,), "shape": (4, 2)}),
    ),
    "gather": of(lambda rng: Sample((normal(rng, 3, 4), -1, np.array([[0, 0], [3, 1], [2, 2]])))),
    "take_along_axis": of(
        lambda rng: Sample((normal(rng, 3, 4), np.array([[0, 0], [3, 1], [2, 2]])), {"axis": 1}),
        lambda rng: Sample((normal(rng, 3, 4), np.array([[0, 1, 2, 2]])), {"axis": 0}),
    ),
    "put_along_axis": of(
        lambda rng: Sample((normal(rng, 3, 2), np.array([[0, 0], [3, 1], [2, 2]])), {"axis": 1, "shape": (3, 4)})
    ),
    "join": of(
        lambda rng: Sample((normal(rng, 2, 3), normal(rng, 2, 1)), {"axis": -1}),
        lambda rng: Sample((normal(rng, 2), normal(rng, 0), normal(rng, 3))),
    ),
    "cat": of(lambda rng: Sample(((normal(rng, 2, 3), normal(rng, 1, 3)),))),
    "stack": of(
        lambda rng: Sample(((normal(rng, 2, 3), normal(rng, 2, 3)), 1)),
        lambda rng: Sample(((normal(rng), normal(rng)),)),
    ),
    "split": of(
        lambda rng: Sample((normal(rng, 2, 5), 2, -1)),
        lambda rng: Sample((normal(rng, 3, 2), (1, 2))),
        lambda rng: Sample((normal(rng, 0, 2), 3)),
    ),
    "stretches": of(
        lambda rng: Sample((normal(rng, 2, 6),), {"sizes": (1, 2, 3), "axis": -1}),
        lambda rng: Sample((normal(rng, 3, 2),), {"sizes": (0, 3)}),
    ),
    "pad_constant": of(lambda rng: Sample((normal(rng, 2, 3),), {"widths": ((1, 0), (2, 1)), "value": 0.5})),
    "pad": of(
        lambda rng: Sample((normal(rng, 2, 3), (1, 2))),
        lambda rng: Sample((normal(rng, 0, 3), (0, 1, 2, 0), "constant", 7.0)),
    ),
}
