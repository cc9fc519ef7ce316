"""Samples for the ops element by element."""

from __future__ import annotations

import numpy as np

from tinygrad_ft.gradcheck.samples.base import Sample, Samples, binary, normal, of, positive, unary

SAMPLES: Samples = {
    "add": binary(),
    "sub": binary(),
    "mul": binary(),
    "div": binary(b=positive),
    "over": binary(b=positive),
    "times": binary(),
    "pow": lambda rng: [
        *binary(positive)(rng),
        *(Sample((normal(rng, 3), p)) for p in (0, 1, 2, 3, -1, -2)),
        *(Sample((positive(rng, 3), p)) for p in (0.5, 2.5)),
    ],
    **{
        name: unary()
        for name in [
            "neg",
            "exp",
            "sin",
            "cos",
            "tanh",
            "sigmoid",
            "softplus",
            "relu",
            "erf",
            "gelu_slope",
            "abs",
            "sign",
            "clone",
        ]
    },
    **{name: unary(positive) for name in ["log", "sqrt"]},
    "gelu": lambda rng: [*unary()(rng), *unary(approximate="tanh")(rng)],
    "maximum": binary(),
    "minimum": binary(),
    "clip": lambda rng: [
        *unary(min=-0.05, max=0.77)(rng),
        Sample((normal(rng, 4),), {"min": 0.0}),
        Sample((normal(rng, 4),), {"max": 0.0}),
    ],
    "where": of(
        lambda rng: Sample((rng.random((3, 4)) < 0.5, normal(rng, 3, 4), normal(rng, 4))),
        lambda rng: Sample((rng.random((3, 1)) < 0.5, normal(rng, 4), normal(rng))),
        lambda rng: Sample((np.array(True), normal(rng), normal(rng))),
        lambda rng: Sample((np.zeros((0, 2), bool), normal(rng, 2), normal(rng))),
    ),
}
