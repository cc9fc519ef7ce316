"""Inputs for the ops without a derivative, which `tinygrad_ft.gradcheck.SAMPLES` has no reason to list."""

import math

import numpy as np

from tinygrad_ft.gradcheck import Sample
from tinygrad_ft.ops.extremum_products import extremum_places
from tinygrad_ft.ops.index import HERE


def small_integers(rng, *shape):
    """Floating-point numbers with many ties among them."""
    return np.asarray(rng.integers(-1, 2, shape).astype(float))


def pairs_with_ties(rng):
    shapes = [((3, 4), (3, 4)), ((2, 1), (3,)), ((), ()), ((0, 2), (2,))]
    return [Sample((small_integers(rng, *a), small_integers(rng, *b))) for a, b in shapes]


def pairs_of_booleans(rng):
    return [Sample((a > 0, b > 0)) for (a, b), _ in pairs_with_ties(rng)]


def pairs_of_integers(rng):
    return [Sample(((4 * a).astype(np.int64), (4 * b).astype(np.int64))) for (a, b), _ in pairs_with_ties(rng)]


def with_infinities(rng):
    return [Sample((np.array(x),)) for x in ([1.0, math.inf, -math.inf, math.nan], 2.0, np.ones((0, 2)))]


def reductions_with_ties(rng):
    x = small_integers(rng, 3, 4, 5)
    along_axes = [Sample((x,), params) for params in ({}, {"axis": 1}, {"axis": -1, "keepdims": True})]
    return [*along_axes, Sample((x[0, 0, 0],))]


def windows_with_ties(rng):
    """x and the largest of each pair of neighbours."""
    x = small_integers(rng, 2, 7)
    return [Sample((x, np.maximum(x[:, :-1], x[:, 1:])), {"kernel": (2,), "stride": (1,), "dilation": (1,)})]


def largest_in_columns(rng, more=None, **params):
    """What the products with the gradient of a maximum over the middle axis take."""
    x = small_integers(rng, 2, 4, 3)
    y = x.max(axis=1)
    if more is None:
        return Sample((x, y), params)
    return Sample((rng.standard_normal((2, 3)), x, y, extremum_places(x, y), rng.standard_normal(more)), params)


def optimiser_state(rng, moments, *numbers, **params):
    """Parameter and gradient, the running means, the learning rate 0.1 and more numbers, all arrays."""
    arrays = [*rng.standard_normal((2, 2, 3)), *rng.uniform(0.6, 0.7, (moments, 2, 3))]
    return Sample((*arrays, *map(np.array, (0.1, *numbers))), params)


VALUES = {
    **dict.fromkeys(["eq", "ne", "lt", "le", "gt", "ge"], pairs_with_ties),
    **dict.fromkeys(["logical_and", "logical_or", "share"], pairs_of_booleans),
    **dict.fromkeys(["bitwise_and", "bitwise_or"], lambda rng: pairs_of_booleans(rng) + pairs_of_integers(rng)),
    "bitwise_not": lambda rng: [Sample((a,)) for (a, _), _ in pairs_of_booleans(rng) + pairs_of_integers(rng)],
    "logical_not": lambda rng: [Sample((a,)) for (a, _), _ in pairs_of_booleans(rng)],
    "isfinite": with_infinities,
    "cast": lambda rng: [Sample((rng.standard_normal(3),), {"dtype": np.dtype(name)}) for name in ("f2", "f4", "f8")],
    "zeros_like": lambda rng: [Sample((a,)) for (a, _), _ in pairs_with_ties(rng)],
    "argmax": reductions_with_ties,
    "argmin": reductions_with_ties,
    "argsort": lambda rng: [Sample((rng.standard_normal((3, 4)),), p) for p in ({}, {"axis": 0, "descending": True})],
    "on_or_below": lambda rng: [Sample((np.ones((2, 3, 4)),), {"diagonal": k}) for k in (-1, 0, 2)],
    **dict.fromkeys(
        ["last_writer", "arrival"],
        lambda rng: [Sample((np.array(row, dtype=int),), {"key": (HERE,), "shape": (4,)}) for row in ([3, 0, 3], [])],
    ),
    "first_of_windows": windows_with_ties,
    "extremum_places": lambda rng: [largest_in_columns(rng)],
    "extremum_grad_matmul": lambda rng: [largest_in_columns(rng, (3, 4), apart=apart) for apart in (4, 1)],
    "extremum_grad_outer": lambda rng: [largest_in_columns(rng, (8, 5))],
    "numbers_like": lambda rng: [Sample((np.ones(2),), {"numbers": x}) for x in (np.arange(3), np.eye(2) / 3)],
    "pick": lambda rng: [Sample((np.ones(2), np.zeros((3, 1))), {"i": 1})],
    "blank": lambda rng: [Sample((np.ones(2),), {"shape": (3, 0)}), Sample((np.ones(2),), {"shape": (2, 2)})],
    "identity": lambda rng: [Sample((np.ones((2, 3)),)), Sample((np.ones(0),))],
    "ones_of": lambda rng: [Sample((a,)) for (a, _), _ in pairs_with_ties(rng)],
    "clip_to_length": lambda rng: [
        Sample((np.array(0.5), *rng.standard_normal((2, 3))), {"norm_type": n}) for n in (2.0, math.inf, 3.0)
    ],
    "clip_elements": lambda rng: [Sample((rng.standard_normal((2, 3)),), {"clip_value": 0.4})],
    "moved_towards": lambda rng: [Sample(tuple(rng.standard_normal((2, 3))), {"share": 0.1})],
    "counted_up": lambda rng: [Sample((np.array(3),))],
    "sgd_update": lambda rng: [
        optimiser_state(rng, 1, momentum=0.9, dampening=damped, weight_decay=decay, nesterov=ahead)
        for damped, decay, ahead in [(0.0, 0.0, False), (0.5, 0.1, False), (0.0, 0.1, True)]
    ],
    "adam_update": lambda rng: [
        optimiser_state(rng, 2, done, beta1=0.9, beta2=0.99, eps=1e-3, weight_decay=decay, decoupled=decoupled)
        for done, decay, decoupled in [(0, 0.0, False), (2, 0.1, False), (2, 0.1, True)]
    ],
    "rmsprop_update": lambda rng: [
        optimiser_state(rng, 3, alpha=alpha, eps=1e-3, weight_decay=decay, momentum=momentum)
        for alpha, decay, momentum in [(0.99, 0.0, 0.5), (0.99, 0.1, 0.0)]
    ],
}
