"""Samples for the ops of linear algebra."""

from __future__ import annotations

import numpy as np

from tinygrad_ft.gradcheck.samples.base import Sample, Samples, normal, of

_C, _W = (4, 3), (5, 3)
SAMPLES: Samples = {
    "matmul": of(
        *(
            lambda rng, a=a, b=b: Sample((normal(rng, *a), normal(rng, *b)))
            for a, b in [
                ((2, 3), (3, 4)),
                ((3,), (3,)),
                ((3,), (3, 2)),
                ((2, 3), (3,)),
                ((2, 2, 3), (3, 2)),
                ((2, 1, 2, 3), (3, 3, 2)),
                ((3,), (2, 3, 2)),
                ((2, 2, 3), (3,)),
                ((0, 3), (3, 2)),
                ((2, 0), (0, 3)),
                ((2, 3, 0), (0, 4)),
            ]
        )
    ),
    "linear": of(
        lambda rng: Sample((normal(rng, *_C), normal(rng, *_W), normal(rng, 5))),
        lambda rng: Sample((normal(rng, 2, *_C), normal(rng, *_W), None)),
        lambda rng: Sample((normal(rng, 3), normal(rng, *_W), normal(rng, 5))),
        lambda rng: Sample((normal(rng, 0, 3), normal(rng, *_W), normal(rng, 5))),
    ),
    "embedding": of(
        lambda rng: Sample((np.array([[0, 2], [2, 2]]), normal(rng, 4, 3))),
        lambda rng: Sample((np.array(1), normal(rng, 4, 3))),
        lambda rng: Sample((np.zeros((0, 2), int), normal(rng, 4, 3))),
    ),
    "sum_rows": of(
        lambda rng: Sample((normal(rng, 2, 2, 3), np.array([[0, 2], [2, 2]])), {"rows": 4}),
        lambda rng: Sample((normal(rng, 0, 3), np.zeros(0, int)), {"rows": 2}),
    ),
}
