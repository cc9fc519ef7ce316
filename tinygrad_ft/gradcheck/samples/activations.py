"""Samples for the activations of nets; those that are ops are with the other elementwise ones."""

from __future__ import annotations

from tinygrad_ft.gradcheck.samples.base import Sample, Samples, along_axes, normal, of, positive, unary

SAMPLES: Samples = {
    **{
        name: unary()
        for name in [
            "silu",
            "selu",
            "mish",
            "logsigmoid",
            "softsign",
            "tanhshrink",
            "relu6",
            "hardsigmoid",
            "hardswish",
        ]
    },
    "leaky_relu": lambda rng: [*unary()(rng), *unary(negative_slope=0.3)(rng)],
    "elu": lambda rng: [*unary()(rng), *unary(alpha=0.7)(rng)],
    "celu": lambda rng: [*unary()(rng), *unary(alpha=0.7)(rng)],
    "hardtanh": lambda rng: [*unary()(rng), *unary(min_val=-0.05, max_val=0.6)(rng)],
    "hardshrink": lambda rng: [*unary()(rng), *unary(lambd=0.3)(rng)],
    "softshrink": lambda rng: [*unary()(rng), *unary(lambd=0.3)(rng)],
    "threshold": lambda rng: unary(threshold=0.05, value=-2.0)(rng),
    "prelu": of(
        lambda rng: Sample((normal(rng, 2, 3, 4), positive(rng, 3))),
        lambda rng: Sample((normal(rng, 5), positive(rng, 1))),
        lambda rng: Sample((normal(rng), positive(rng))),
        lambda rng: Sample((normal(rng, 0, 2), positive(rng, 2))),
    ),
    "glu": of(
        lambda rng: Sample((normal(rng, 3, 4),)),
        lambda rng: Sample((normal(rng, 2, 3), 0)),
        lambda rng: Sample((normal(rng, 0, 4),)),
    ),
    "softmin": along_axes(whole=False),
}
