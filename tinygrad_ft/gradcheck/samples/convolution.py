"""Samples for convolutions, pooling, interpolation, and the normalisation that goes with them."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ft.gradcheck.samples.base import Rng, Sample, Samples, normal, of, positive
from tinygrad_ft.ops.pooling import max_of_windows

_SPARSE: dict[str, Any] = {"kernel": (2,), "stride": (2,), "dilation": (3,)}
_DENSE: dict[str, Any] = {"kernel": (2, 3), "stride": (1, 2), "dilation": (2, 1)}


def _apart(rng: Rng, *shape: int) -> Any:
    """Numbers that differ by 0.1 at least: no largest ties, also not after a small step."""
    return rng.permutation(np.prod(shape, dtype=int)).reshape(shape) / 10 - 1.0


def _largest(rng: Rng, params: dict[str, Any], *shape: int) -> Sample:
    """g, x and the largest of its windows, x in integers: there is no derivative in it."""
    x = rng.integers(-2, 3, shape)
    y = max_of_windows(x, **params)
    return Sample((normal(rng, *y.shape), x, y), params)


def _pooled(*lengths: int, **more: Any) -> Any:
    n = (1,) * (len(lengths) - 1)
    return of(
        lambda rng: Sample((_apart(rng, 2, 2, *lengths), 2)),
        lambda rng: Sample((_apart(rng, 2, *lengths), (3, *n), (2, *n), (1, *(0 for _ in n)))),
        lambda rng: Sample((_apart(rng, 1, 2, *lengths), 2), {"stride": 3, "padding": 1, "ceil_mode": True, **more}),
        lambda rng: Sample((_apart(rng, 0, 1, *lengths), 2)),
    )


SAMPLES: Samples = {
    "windows": of(
        lambda rng: Sample((normal(rng, 2, 8),), _SPARSE),
        lambda rng: Sample((normal(rng, 2, 5, 6),), _DENSE),
        lambda rng: Sample((normal(rng, 0, 8),), _SPARSE),
    ),
    "overlap_add": of(
        lambda rng: Sample((normal(rng, 2, 3, 2),), {"size": (9,), "stride": (2,), "dilation": (3,)}),
        lambda rng: Sample((normal(rng, 2, 3, 2, 3, 2),), {"size": (5, 6), "stride": (1, 2), "dilation": (2, 1)}),
        lambda rng: Sample((normal(rng, 1, 2, 4),), {"size": (4,), "stride": (1,), "dilation": (1,)}),
        lambda rng: Sample((normal(rng, 2, 0, 2),), {"size": (9,), "stride": (2,), "dilation": (3,)}),
    ),
    "max_of_windows": of(
        lambda rng: Sample((_apart(rng, 2, 8),), _SPARSE),
        lambda rng: Sample((_apart(rng, 2, 5, 6),), _DENSE),
    ),
    "max_of_windows_grad": of(
        lambda rng: _largest(rng, _SPARSE, 2, 8),
        lambda rng: _largest(rng, _DENSE, 2, 5, 6),
    ),
    "conv1d": of(
        lambda rng: Sample((normal(rng, 2, 3, 6), normal(rng, 2, 3, 3), normal(rng, 2))),
        lambda rng: Sample((normal(rng, 4, 7), normal(rng, 2, 2, 3)), {"stride": 2, "padding": 1, "groups": 2}),
        lambda rng: Sample((normal(rng, 1, 1, 6), normal(rng, 2, 1, 2)), {"padding": "same", "dilation": 3}),
        lambda rng: Sample((normal(rng, 0, 1, 4), normal(rng, 2, 1, 2))),
    ),
    "conv2d": of(
        lambda rng: Sample((normal(rng, 2, 2, 4, 5), normal(rng, 3, 2, 2, 3), normal(rng, 3)), {"padding": (0, 1)}),
        lambda rng: Sample((normal(rng, 2, 5, 6), normal(rng, 4, 1, 3, 2)), {"stride": (2, 1), "groups": 2}),
        lambda rng: Sample((normal(rng, 1, 2, 5, 4), normal(rng, 1, 2, 2, 2)), {"padding": "same", "dilation": (3, 1)}),
        lambda rng: Sample((normal(rng, 2, 3, 2, 2), normal(rng, 2, 3, 1, 1), normal(rng, 2))),
    ),
    "conv_transpose1d": of(
        lambda rng: Sample((normal(rng, 2, 3, 4), normal(rng, 3, 2, 3), normal(rng, 2))),
        lambda rng: Sample(
            (normal(rng, 4, 3), normal(rng, 4, 1, 2)),
            {"stride": 2, "padding": 1, "output_padding": 2, "groups": 2, "dilation": 3},
        ),
    ),
    "conv_transpose2d": of(
        lambda rng: Sample((normal(rng, 2, 2, 3, 2), normal(rng, 2, 1, 2, 3), normal(rng, 1)), {"stride": (2, 1)}),
        lambda rng: Sample(
            (normal(rng, 2, 2, 3), normal(rng, 2, 2, 2, 3)),
            {"stride": 2, "padding": (0, 1), "output_padding": 1, "groups": 2},
        ),
    ),
    "avg_pool1d": _pooled(5, count_include_pad=False),
    "avg_pool2d": _pooled(5, 4, divisor_override=3),
    "max_pool1d": _pooled(5, return_indices=True),
    "max_pool2d": _pooled(5, 4, dilation=(1, 2), return_indices=True),
    "adaptive_avg_pool1d": of(
        lambda rng: Sample((normal(rng, 2, 2, 5), 3)),
        lambda rng: Sample((normal(rng, 2, 6), (2,))),
    ),
    "adaptive_avg_pool2d": of(
        lambda rng: Sample((normal(rng, 2, 2, 5, 4), (3, None))),
        lambda rng: Sample((normal(rng, 2, 4, 6), 1)),
    ),
    "interpolate": of(
        lambda rng: Sample((normal(rng, 2, 1, 3, 4), (5, 3))),
        lambda rng: Sample((normal(rng, 1, 2, 3, 2),), {"scale_factor": 2}),
        lambda rng: Sample((normal(rng, 2, 1, 3, 4), (5, 3)), {"mode": "bilinear"}),
        lambda rng: Sample((normal(rng, 1, 2, 4, 3),), {"scale_factor": (0.6, 1.7), "mode": "bilinear"}),
        lambda rng: Sample((normal(rng, 2, 1, 4), 6), {"mode": "linear", "align_corners": True}),
        lambda rng: Sample((normal(rng, 1, 1, 4, 3), (6, 2)), {"mode": "bicubic"}),
        lambda rng: Sample((normal(rng, 1, 2, 5), 3), {"mode": "area"}),
        lambda rng: Sample((normal(rng, 1, 2, 5), 3), {"mode": "nearest-exact"}),
    ),
    "pixel_shuffle": of(
        lambda rng: Sample((normal(rng, 2, 8, 2, 3), 2)), lambda rng: Sample((normal(rng, 9, 1, 2), 3))
    ),
    "pixel_unshuffle": of(
        lambda rng: Sample((normal(rng, 2, 2, 4, 6), 2)), lambda rng: Sample((normal(rng, 1, 3, 6), 3))
    ),
    "batch_norm": of(
        lambda rng: Sample((normal(rng, 3, 2, 2), None, None, normal(rng, 2), normal(rng, 2)), {"training": True}),
        lambda rng: Sample((normal(rng, 3, 2, 2, 1), normal(rng, 2), positive(rng, 2), normal(rng, 2), normal(rng, 2))),
        lambda rng: Sample((normal(rng, 4, 2), None, None), {"training": True, "eps": 1e-2}),
    ),
    "instance_norm": of(
        lambda rng: Sample((normal(rng, 2, 3, 4), None, None, normal(rng, 3), normal(rng, 3))),
        lambda rng: Sample((normal(rng, 2, 2, 3), normal(rng, 2), positive(rng, 2)), {"use_input_stats": False}),
        lambda rng: Sample((normal(rng, 1, 2, 2, 2),), {"eps": 1e-2}),
    ),
}
