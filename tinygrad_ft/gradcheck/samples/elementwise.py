"""Samples for the ops element by element."""

from __future__ import annotations

import numpy as np

from tinygrad_ft.gradcheck.samples.base import Sample, Samples, binary, normal, of, positive, unary, unit

SAMPLES: Samples = {
    "add": binary(),
    "sub": binary(),
    "mul": binary(),
    "div": binary(b=positive),
    **{name: lambda rng: [*binary()(rng), *binary(alpha=-0.5)(rng)] for name in ["add_scaled", "sub_scaled"]},
    "div_rounded": lambda rng: [*binary(b=positive)(rng), *binary(b=positive, rounding_mode="floor")(rng)],
    "whole_quotient": lambda rng: [s for to in ("floor", "trunc") for s in binary(b=positive, towards=to)(rng)],
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
            "expm1",
            "exp2",
            "square",
            "reciprocal",
            "tan",
            "atan",
            "sinh",
            "cosh",
            "asinh",
            "deg2rad",
            "rad2deg",
            "erfc",
            "floor",
            "ceil",
            "trunc",
            "frac",
        ]
    },
    **{name: unary(positive) for name in ["log", "sqrt", "log1p", "log2", "log10", "rsqrt", "lgamma", "digamma"]},
    **{name: unary(unit) for name in ["asin", "acos", "atanh", "erfinv"]},
    **{name: binary() for name in ["tanh_grad", "sigmoid_grad", "gelu_grad", "bias_gelu"]},
    **{name: binary() for name in ["logaddexp", "atan2", "hypot", "copysign", "fmax", "fmin"]},
    **{name: binary(b=positive) for name in ["xlogy", "fmod", "remainder"]},
    "acosh": unary(lambda rng, *shape: np.asarray(1.0 + positive(rng, *shape))),
    "sinc": lambda rng: [*unary()(rng), Sample((np.array([0.0, 0.01, -0.02]),))],
    "polygamma_at": lambda rng: [*unary(positive)(rng), *unary(positive, n=2)(rng)],
    "polygamma": of(lambda rng: Sample((1, positive(rng, 3)))),
    "round": lambda rng: [*unary()(rng), Sample((normal(rng, 3) * 100,), {"decimals": -1})],
    "logit": lambda rng: [*unary(unit)(rng), *unary(unit, eps=0.25)(rng)],
    "nan_to_num": lambda rng: [*unary()(rng), Sample((np.array([1.5, np.inf, -np.inf]), 0.25, 2.0, -3.0))],
    "bias_gelu_grad": of(
        lambda rng: Sample((normal(rng, 3, 4), normal(rng, 3, 4), normal(rng, 4))),
        lambda rng: Sample((normal(rng), normal(rng), normal(rng))),
    ),
    "lerp": of(
        lambda rng: Sample((normal(rng, 3, 4), normal(rng, 4), 0.3)),
        lambda rng: Sample((normal(rng), normal(rng), unit(rng))),
        lambda rng: Sample((normal(rng, 0, 2), normal(rng, 2), unit(rng, 2))),
    ),
    **dict.fromkeys(
        ["addcmul", "addcdiv"],
        of(
            lambda rng: Sample((normal(rng, 3, 4), normal(rng, 3, 1), positive(rng, 4))),
            lambda rng: Sample((normal(rng), normal(rng), positive(rng)), {"value": -0.5}),
            lambda rng: Sample((normal(rng, 0, 2), normal(rng, 2), positive(rng))),
        ),
    ),
    "clamp": lambda rng: [
        *unary(min=-0.05, max=0.77)(rng),
        Sample((normal(rng, 3, 4), normal(rng, 4)), {"max": normal(rng, 3, 1)}),
        Sample((normal(rng, 3), None, positive(rng))),
    ],
    "clamp_min": binary(),
    "clamp_max": binary(),
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
