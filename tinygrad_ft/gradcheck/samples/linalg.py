"""Samples for the ops of linear algebra."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_ft.gradcheck.samples.base import Rng, Sample, Samples, normal, of, positive

_C, _W = (4, 3), (5, 3)


def near_identity(rng: Rng, *shape: int) -> Any:
    """Matrices that have an inverse: numbers of 0.3 at most beside a diagonal of 1 to 2.5, no two of it alike."""
    n = shape[-1]
    return np.asarray(rng.uniform(-0.3, 0.3, shape) + np.diag(1.0 + 0.5 * np.arange(n)))


def arrays(*shapes: tuple[int, ...], domain: Any = normal, **params: Any) -> Any:
    """A sample of arrays of those shapes."""
    return lambda rng: Sample(tuple(domain(rng, *shape) for shape in shapes), params)


def matrices(domain: Any = near_identity, *, tall: bool = False, empty: bool = True, **params: Any) -> Any:
    """Samples for a function of matrices: one, two in a row, one by one, none."""
    shapes = [(3, 3), (2, 2, 2), (1, 1), *([(4, 2), (2, 3)] if tall else []), *([(0, 2, 2)] if empty else [])]
    return of(*(arrays(shape, domain=domain, **params) for shape in shapes))


def rectangles(rng: Rng, *shape: int) -> Any:
    """Matrices whose singular values are far from 0 and from one another."""
    return np.asarray(rng.uniform(-0.3, 0.3, shape) + np.eye(shape[-2], shape[-1]) * (1.0 + 0.7 * np.arange(shape[-1])))


SAMPLES: Samples = {
    "mm": of(arrays((2, 3), (3, 2)), arrays((0, 3), (3, 2))),
    "bmm": of(arrays((2, 2, 3), (2, 3, 1))),
    "mv": of(arrays((2, 3), (3,))),
    "dot": of(arrays((3,), (3,)), arrays((0,), (0,))),
    "outer": of(arrays((3,), (2,)), arrays((0,), (2,))),
    "inner": of(arrays((3,), (3,)), arrays((2, 3), (2, 2, 3)), arrays((), (2, 3))),
    "addmm": of(arrays((2,), (2, 3), (3, 2)), arrays((2, 1), (2, 3), (3, 2), beta=0.5, alpha=-2.0)),
    "baddbmm": of(arrays((2, 1, 1), (2, 2, 3), (2, 3, 1), alpha=0.5)),
    "tensordot": of(
        arrays((2, 3), (2, 3)),
        arrays((2, 3), (4,), dims=0),
        lambda rng: Sample((normal(rng, 2, 3, 2), normal(rng, 3, 4, 2), ([1, 0], [0, 2]))),
        arrays((0, 3), (3, 2), dims=1),
    ),
    "kron": of(arrays((2, 3), (2, 2)), arrays((2,), (2, 2)), arrays((), ())),
    "trace": of(arrays((3, 2)), arrays((0, 2))),
    "cross": of(arrays((2, 3), (2, 3)), arrays((3, 3), (3, 3)), arrays((0, 3), (0, 3))),
    "linalg_cross": of(arrays((2, 3), (1, 3)), arrays((3, 2), (3, 2), axis=0)),
    "vector_norm": of(
        arrays((3, 4), axis=0), arrays((2, 3), ord=3), arrays((4,), ord=1, keepdims=True), arrays((2, 3), ord=math.inf)
    ),
    "matrix_norm": lambda rng: [
        *(Sample((rectangles(rng, 3, 2),), {"ord": k}) for k in ("fro", "nuc", 1, -1, 2, -2, math.inf, -math.inf)),
        Sample((rectangles(rng, 2, 2, 2),), {"axis": (2, 0), "keepdims": True, "ord": 2}),
    ],
    "linalg_norm": of(arrays((2, 3)), arrays((3,), ord=3), arrays((2, 3), ord="fro"), arrays((2, 3, 2), ord=1, axis=1)),
    "normalize": of(arrays((3, 4)), arrays((2, 3, 2), p=3, axis=-1), arrays((0, 2))),
    "pairwise_distance": of(arrays((2, 3), (2, 3)), arrays((3,), (2, 3), p=3, keepdims=True)),
    "cosine_similarity": of(arrays((2, 3), (2, 3)), arrays((3,), (2, 3), axis=-1)),
    "bilinear": of(arrays((2, 3), (2, 2), (2, 3, 2), (2,)), arrays((3,), (2,), (1, 3, 2))),
    "cov": of(
        arrays((3, 4)),
        arrays((4,), correction=0),
        lambda rng: Sample((normal(rng, 2, 4),), {"fweights": np.array([1, 2, 0, 3]), "aweights": positive(rng, 4)}),
    ),
    "corrcoef": of(arrays((3, 4))),
    "einsum": of(
        lambda rng: Sample(("ij,jk->ik", normal(rng, 2, 3), normal(rng, 3, 2))),
        lambda rng: Sample(("ij,kj", normal(rng, 2, 3), normal(rng, 2, 3))),
        lambda rng: Sample(("bij,bjk,k->b", normal(rng, 2, 2, 3), normal(rng, 2, 3, 2), normal(rng, 2))),
        lambda rng: Sample(("...ii->...", normal(rng, 2, 3, 3))),
        lambda rng: Sample(("ij->j", normal(rng, 0, 2))),
    ),
    "contract": of(
        arrays((2, 3), (3, 2), equation="ij,jk->ik"),
        arrays((2, 3), (1, 3), equation="ij,ij->j"),
        arrays((2, 3), equation="ij->"),
    ),
    **{name: matrices() for name in ["inv", "det", "slogdet"]},
    "lower_factor": matrices(),
    "cholesky": of(arrays((3, 3), domain=near_identity), arrays((2, 2, 2), domain=near_identity, upper=True)),
    "symmetric_eigen": matrices(),
    "eigh": of(arrays((3, 3), domain=near_identity), arrays((2, 2, 2), domain=near_identity, UPLO="U")),
    "qr_tall": of(*(arrays(shape, domain=rectangles) for shape in [(3, 3), (2, 3, 2), (1, 1), (0, 2, 2)])),
    "qr": matrices(rectangles, tall=True),
    "singular": matrices(rectangles, tall=True),
    "svd": of(arrays((3, 3), domain=rectangles), arrays((2, 2, 3), domain=rectangles, full_matrices=False)),
    "svdvals": matrices(rectangles, tall=True),
    "pinv": matrices(rectangles, tall=True),
    "pseudo_inverse": matrices(rectangles, tall=True, rtol=1e-12),
    "matrix_power": lambda rng: [Sample((near_identity(rng, 2, 2), n)) for n in (0, 1, 3, -2)],
    "solve_columns": of(
        lambda rng: Sample((near_identity(rng, 2, 3, 3), normal(rng, 3, 2))),
        lambda rng: Sample((near_identity(rng, 1, 1), normal(rng, 2, 1, 1))),
    ),
    "solve": of(
        lambda rng: Sample((near_identity(rng, 3, 3), normal(rng, 3))),
        lambda rng: Sample((near_identity(rng, 2, 3, 3), normal(rng, 2, 3))),
        lambda rng: Sample((near_identity(rng, 3, 3), normal(rng, 2, 2, 3)), {"left": False}),
    ),
    "solve_triangular": lambda rng: [
        Sample(
            (near_identity(rng, 3, 3), normal(rng, *((3, 2) if left else (2, 3)))),
            {"upper": upper, "left": left, "unitriangular": unit},
        )
        for upper, left, unit in [(False, True, False), (True, True, True), (True, False, False), (False, False, True)]
    ],
    "cholesky_solve": of(
        lambda rng: Sample((normal(rng, 3, 2), near_identity(rng, 3, 3))),
        lambda rng: Sample((normal(rng, 2, 2, 1), near_identity(rng, 2, 2, 2), True)),
    ),
    "matmul": of(
        *(
            lambda rng, a=a, b=b: Sample((normal(rng, *a), normal(rng, *b)))
            for a, b in [
                ((2, 3), (3, 4)),
                ((2, 2), (2, 2)),
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
