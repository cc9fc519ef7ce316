"""Samples for the ops of nets: normalisation, attention, losses."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ft.gradcheck.samples.base import Sample, Samples, normal, of, positive, unit

_C, _W = (4, 3), (5, 3)


def _signs(rng: Any, *shape: int) -> Any:
    """Integers, 1 or -1."""
    return rng.integers(0, 2, shape) * 2 - 1


class SameDraws:
    """A generator whose every call draws the same numbers: only so is what chance decides a function, with a slope."""

    def random(self, *args: Any, **params: Any) -> Any:
        """As a generator of seed 0 answers its first call."""
        return np.random.default_rng(0).random(*args, **params)

    def integers(self, *args: Any, **params: Any) -> Any:
        """Likewise."""
        return np.random.default_rng(0).integers(*args, **params)


SAMPLES: Samples = {
    "normalise": of(
        lambda rng: Sample((normal(rng, 3, 4),)),
        lambda rng: Sample((normal(rng, 2, 3, 2),), {"axes": 2, "eps": 1e-2}),
        lambda rng: Sample((normal(rng, 0, 4),)),
    ),
    "layer_norm": of(
        lambda rng: Sample((normal(rng, 3, 4), 4, normal(rng, 4), normal(rng, 4))),
        lambda rng: Sample((normal(rng, 2, 2, 3), (2, 3), normal(rng, 2, 3))),
        lambda rng: Sample((normal(rng, 3, 4), (4,))),
    ),
    "layer_norm_of_rows": of(
        lambda rng: Sample((normal(rng, 3, 4), normal(rng, 4), normal(rng, 4))),
        lambda rng: Sample((normal(rng, 2, 3, 2), normal(rng, 3, 2), None), {"axes": 2, "eps": 1e-2}),
        lambda rng: Sample((normal(rng, 0, 4), None, None)),
    ),
    "layer_norm_grad": of(
        lambda rng: Sample(
            (normal(rng, 3, 4), normal(rng, 3, 4), normal(rng, 4), normal(rng, 3, 1), positive(rng, 3, 1)), {"axes": 1}
        ),
        lambda rng: Sample(
            (normal(rng, 2, 3, 2), normal(rng, 2, 3, 2), None, normal(rng, 2, 1, 1), positive(rng, 2, 1, 1)),
            {"axes": 2},
        ),
    ),
    "rms_norm_of_rows": of(
        lambda rng: Sample((normal(rng, 3, 4), normal(rng, 4))),
        lambda rng: Sample((normal(rng, 2, 3, 2), None), {"axes": 2, "eps": 1e-2}),
        lambda rng: Sample((normal(rng, 0, 4), None)),
    ),
    "rms_norm_grad": of(
        lambda rng: Sample((normal(rng, 3, 4), normal(rng, 3, 4), normal(rng, 4), positive(rng, 3, 1)), {"axes": 1}),
        lambda rng: Sample((normal(rng, 2, 3, 2), normal(rng, 2, 3, 2), None, positive(rng, 2, 1, 1)), {"axes": 2}),
    ),
    "attention_grad": of(
        lambda rng: Sample(
            (
                normal(rng, 2, 3, 2),
                normal(rng, 2, 3, 4),
                normal(rng, 2, 3, 4),
                normal(rng, 2, 3, 2),
                unit(rng, 2, 3, 3),
            ),
            {"causal": False, "scale": 0.5},
        ),
        lambda rng: Sample(
            (normal(rng, 3, 2), normal(rng, 3, 4), normal(rng, 3, 4), normal(rng, 3, 2), np.tril(unit(rng, 3, 3))),
            {"causal": True, "scale": 2.0},
        ),
    ),
    "attention": of(
        lambda rng: Sample(
            (normal(rng, 2, 3, 4), normal(rng, 2, 3, 4), normal(rng, 2, 3, 2), None), {"causal": True, "scale": 0.5}
        ),
        lambda rng: Sample((normal(rng, 3, 2), normal(rng, 4, 2), normal(rng, 4, 2), normal(rng, 3, 4))),
        lambda rng: Sample((normal(rng, 0, 2), normal(rng, 4, 2), normal(rng, 4, 2), None)),
    ),
    "flash_attention": of(
        lambda rng: Sample(
            (normal(rng, 2, 3, 4), normal(rng, 2, 3, 4), normal(rng, 2, 3, 2)), {"causal": True, "scale": 0.5}
        ),
        lambda rng: Sample((normal(rng, 3, 2), normal(rng, 4, 2), normal(rng, 4, 2))),
        lambda rng: Sample((normal(rng, 0, 2), normal(rng, 4, 2), normal(rng, 4, 2))),
    ),
    "flash_attention_grad": of(
        lambda rng: Sample(
            (
                normal(rng, 2, 3, 2),
                normal(rng, 2, 3, 4),
                normal(rng, 2, 4, 4),
                normal(rng, 2, 4, 2),
                normal(rng, 2, 3, 2),
                positive(rng, 2, 3, 1),
            ),
            {"causal": True, "scale": 0.5},
        ),
        lambda rng: Sample(
            (
                normal(rng, 3, 2),
                normal(rng, 3, 4),
                normal(rng, 3, 4),
                normal(rng, 3, 2),
                normal(rng, 3, 2),
                positive(rng, 3, 1),
                normal(rng, 3, 1),
            ),
            {"causal": False, "scale": 0.7},
        ),
    ),
    "scaled_dot_product_attention": of(
        lambda rng: Sample((normal(rng, 2, 3, 4), normal(rng, 2, 3, 4), normal(rng, 2, 3, 4)), {"is_causal": True}),
        lambda rng: Sample((normal(rng, 3, 2), normal(rng, 4, 2), normal(rng, 4, 2), rng.random((3, 4)) < 0.7)),
    ),
    "counted_dropout": of(
        lambda rng: Sample((normal(rng, 3, 50), 7), {"p": 0.3}),
        lambda rng: Sample((normal(rng), (5 << 40) + 1), {"p": 0.5}),
        lambda rng: Sample((normal(rng, 0, 2), 7), {"p": 1.0}),
    ),
    "dropout": of(
        lambda rng: Sample((normal(rng, 3, 4), 0.4), {"rng": SameDraws()}),
        lambda rng: Sample((normal(rng), 0.5), {"rng": SameDraws()}),
        lambda rng: Sample((normal(rng, 3, 4),), {"training": False}),
    ),
    "summed_cross_entropy": of(
        lambda rng: Sample((normal(rng, *_C), np.array([0, 2, 2, 1]), positive(rng, 4))),
        lambda rng: Sample((normal(rng, *_C), np.array([0, 2, 2, 1]), 0.25)),
        lambda rng: Sample((normal(rng, 0, 3), np.zeros(0, int), 0.25)),
    ),
    "cross_entropy": of(
        lambda rng: Sample((normal(rng, *_C), np.array([0, 2, -100, 1]))),
        lambda rng: Sample((normal(rng, 3), np.array(1))),
        lambda rng: Sample(
            (normal(rng, 2, 3, 2), np.array([[0, 2], [1, 1]]), positive(rng, 3)), {"label_smoothing": 0.1}
        ),
        lambda rng: Sample((normal(rng, *_C), unit(rng, *_C)), {"reduction": "sum"}),
        lambda rng: Sample((normal(rng, *_C), np.array([0, 2, 2, 1])), {"reduction": "none"}),
    ),
    "mse_loss": of(
        lambda rng: Sample((normal(rng, 3, 2), normal(rng, 3, 2))),
        lambda rng: Sample((normal(rng), normal(rng)), {"reduction": "sum"}),
    ),
    "rms_norm": of(
        lambda rng: Sample((normal(rng, 3, 4), 4, normal(rng, 4))),
        lambda rng: Sample((normal(rng, 2, 2, 3), (2, 3)), {"eps": 1e-2}),
    ),
    "group_norm": of(
        lambda rng: Sample((normal(rng, 2, 4, 3), 2, normal(rng, 4), normal(rng, 4))),
        lambda rng: Sample((normal(rng, 3, 2), 1)),
    ),
    "nll_loss": of(
        lambda rng: Sample((normal(rng, *_C), np.array([0, 2, -100, 1]), positive(rng, 3))),
        lambda rng: Sample((normal(rng, 3), np.array(1)), {"reduction": "sum"}),
        lambda rng: Sample((normal(rng, 2, 3, 2), np.array([[0, 2], [1, 1]])), {"reduction": "none"}),
    ),
    **{
        name: of(
            lambda rng: Sample((normal(rng, 3, 2), normal(rng, 3, 2))),
            lambda rng: Sample((normal(rng), normal(rng)), {"reduction": "sum"}),
        )
        for name in ["l1_loss", "smooth_l1_loss", "huber_loss"]
    },
    "kl_div": of(
        lambda rng: Sample((normal(rng, 3, 2), unit(rng, 3, 2)), {"reduction": "batchmean"}),
        lambda rng: Sample((normal(rng, 3, 2), normal(rng, 3, 2)), {"log_target": True}),
    ),
    "gaussian_nll_loss": of(
        lambda rng: Sample((normal(rng, 3, 2), normal(rng, 3, 2), positive(rng, 3, 2)), {"full": True}),
        lambda rng: Sample((normal(rng, 3, 2), normal(rng, 3, 2), positive(rng, 3))),
    ),
    "poisson_nll_loss": of(
        lambda rng: Sample((normal(rng, 3, 2), positive(rng, 3, 2)), {"full": True}),
        lambda rng: Sample((positive(rng, 3, 2), positive(rng, 3, 2)), {"log_input": False, "reduction": "sum"}),
    ),
    "soft_margin_loss": of(lambda rng: Sample((normal(rng, 3, 2), _signs(rng, 3, 2)))),
    "hinge_embedding_loss": of(lambda rng: Sample((normal(rng, 3, 2), _signs(rng, 3, 2)))),
    "margin_ranking_loss": of(lambda rng: Sample((normal(rng, 4), normal(rng, 4), _signs(rng, 4)), {"margin": 0.5})),
    "triplet_margin_loss": of(
        lambda rng: Sample((normal(rng, 4, 3), normal(rng, 4, 3), normal(rng, 4, 3))),
        lambda rng: Sample((normal(rng, 4, 3), normal(rng, 4, 3), normal(rng, 4, 3)), {"swap": True, "margin": 4.0}),
    ),
    "cosine_embedding_loss": of(
        lambda rng: Sample((normal(rng, 4, 3), normal(rng, 4, 3), _signs(rng, 4))),
        lambda rng: Sample((normal(rng, 3), normal(rng, 3), np.array(1)), {"reduction": "sum"}),
    ),
    "bce_of_chances": of(lambda rng: Sample((unit(rng, 3, 2), unit(rng, 3, 2)))),
    "binary_cross_entropy": of(
        lambda rng: Sample((unit(rng, 3, 2), unit(rng, 3, 2))),
        lambda rng: Sample((unit(rng), unit(rng), positive(rng)), {"reduction": "sum"}),
    ),
    "binary_cross_entropy_with_logits": of(
        lambda rng: Sample((normal(rng, 3, 2), unit(rng, 3, 2))),
        lambda rng: Sample((normal(rng, 3, 2), unit(rng, 3, 2)), {"pos_weight": positive(rng, 2), "reduction": "none"}),
    ),
}
