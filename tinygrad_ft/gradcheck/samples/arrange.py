"""Samples for the ops that arrange, join, cut, index and order."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ft.gradcheck.samples.base import Rng, Sample, Samples, along_axes, normal, of


def on(shape: tuple[int, ...], *calls: tuple[Any, ...], **params: Any) -> Any:
    """Samples with an array of that shape first, and those further arguments."""
    return lambda rng: [Sample((normal(rng, *shape), *rest), params) for rest in calls]


def joined(*shapes: tuple[int, ...]) -> Any:
    """A sample of a sequence of arrays, and one of numbers without axes."""
    return lambda rng: [
        Sample((tuple(normal(rng, *shape) for shape in row),)) for row in (shapes, ((), ()), ((0, *shapes[0][1:]),) * 2)
    ]


def scattered(rng: Rng, *rest: Any, **params: Any) -> Sample:
    """Five numbers for the twelve places of a matrix, two of them for the same."""
    return Sample((normal(rng, 3, 4), 1, np.array([[0, 0], [3, 1], [2, 3]]), normal(rng, 3, 2), *rest), params)


MASK = np.array([[True, False, True], [False, False, True]])
ROW = np.array([2, 0, 2])

SAMPLES: Samples = {
    "unflatten": on((2, 6), (1, (2, -1)), (-2, (2, 1))),
    "ravel": lambda rng: [Sample((normal(rng, *shape),)) for shape in ((2, 3), (), (0, 2))],
    "movedim": on((2, 3, 4), (0, -1), ((0, 1), (1, 2))),
    "t": lambda rng: [Sample((normal(rng, *shape),)) for shape in ((2, 3), (3,), (), (0, 2))],
    "hstack": joined((2, 3), (2, 1)),
    "vstack": joined((2, 3), (1, 3)),
    "dstack": joined((2, 3), (2, 3)),
    "column_stack": joined((2, 3), (2,)),
    "chunk": on((5, 2), (2,), (3, -2), (9,)),
    "tensor_split": on((5, 2), (3,), ((1, 3), 0), ((0, -1), -2)),
    "unbind": on((2, 3), (), (-1,)),
    "narrow": on((4, 3), (0, 1, 2), (-1, -2, 1), (0, 4, 0)),
    "select": on((4, 3), (0, 1), (-1, -2)),
    "flip": on((2, 3), (0,), ((0, -1),), ((),)),
    "fliplr": on((2, 3), ()),
    "flipud": on((2, 3), ()),
    "rot90": on((2, 3), (), (2,), (-1, (1, 0))),
    "roll": on((3, 4), (2, 1), ((1, -2), (0, 1)), (5,), (0, 0)),
    "tile": on((2, 3), (2,), ((3, 1, 2),), ((0, 1),)),
    "repeat": on((2, 3), (2, 1), (2, 1, 2)),
    "repeat_interleave": on((2, 3), (2,), (2, 1), (np.array([0, 1, 3]), 1)),
    "tril": on((3, 4), (), (1,), (-1,)),
    "triu": on((2, 4, 3), (), (1,), (-1,)),
    "diagonal": on((2, 4, 3), (), (1, 1, 2), (-2, 2, 1), (9,)),
    "diag_embed": on((2, 3), (), (1,), (-2, 0, 2)),
    "diag": lambda rng: [Sample((normal(rng, 3), 1)), Sample((normal(rng, 2, 3),)), Sample((normal(rng, 0),))],
    "meshgrid": of(
        lambda rng: Sample((normal(rng, 2), normal(rng, 3)), {"indexing": "ij"}),
        lambda rng: Sample((normal(rng, 2), normal(rng), normal(rng, 3)), {"indexing": "xy"}),
    ),
    "unfold": on((5, 2), (0, 3, 1), (0, 2, 2), (-1, 1, 1)),
    "take": on((2, 3), (np.array([[5, 0], [5, -1]]),)),
    "take_along_dim": on((2, 3), (np.array([[2, 0]]), 1), (np.array([3, 3]),)),
    "index_select": on((3, 2), (0, ROW), (-1, np.array([1]))),
    "index_add": lambda rng: [Sample((normal(rng, 3, 2), 0, ROW, normal(rng, 3, 2)), {"alpha": a}) for a in (1, -2)],
    "index_fill": on((3, 2), (0, ROW, 0.5), (1, np.array([-1]), 2.0)),
    "index_put": of(
        lambda rng: Sample((normal(rng, 3, 2), (ROW[:2],), normal(rng, 2))),
        lambda rng: Sample((normal(rng, 3, 2), (ROW, np.array([0, 1, 0])), normal(rng, 3), True)),
    ),
    "masked_fill": on((2, 3), (MASK, 0.5), (MASK[0], -1.0)),
    "masked_select": on((2, 3), (MASK,), (MASK[0],)),
    "scatter_add": of(scattered),
    "scatter": of(
        lambda rng: Sample((normal(rng, 3, 4), -1, np.array([[0, 1], [3, 1], [2, 3]]), normal(rng, 3, 2))),
        lambda rng: scattered(rng, reduce="multiply"),
    ),
    "scatter_reduce": lambda rng: [
        scattered(rng, name, include_self=itself)
        for name in ("sum", "prod", "mean", "amax", "amin")
        for itself in (True, False)
    ],
    "sort": on((3, 4), (), (0, True)),
    "topk": on((3, 4), (2,), (2, 0, False)),
    "median": on((3, 4), (), (0,), (-1, True)),
    "prod": along_axes(),
    "cumsum": along_axes(whole=False),
    "cumprod": along_axes(whole=False),
    "logcumsumexp": along_axes(whole=False),
    "diff": of(
        lambda rng: Sample((normal(rng, 2, 4), 2)),
        lambda rng: Sample((normal(rng, 3, 2), 1, 0, normal(rng, 1, 2), normal(rng, 2, 2))),
    ),
    "trapezoid": of(
        lambda rng: Sample((normal(rng, 2, 4),), {"dx": 0.5, "axis": 0}),
        lambda rng: Sample((normal(rng, 2, 4), normal(rng, 4))),
    ),
    "nansum": along_axes(),
    "nanmean": along_axes(empty=False),
    "std_mean": on((3, 4), (), (0, False)),
    "var_mean": on((3, 4), (), (0, False)),
    "norm": on((2, 3), (), (1, 0), (3.5, 1), (np.inf, 1), (-np.inf,)),
    "dist": lambda rng: [Sample((normal(rng, 2, 3), normal(rng, 3), p)) for p in (2, 1, 3.0)],
}
