"""What samples are made of: numbers away from kinks, ties and ends of domains, in the usual shapes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Rng = np.random.Generator


class Sample(NamedTuple):
    """One call of an op: plain arrays (float64, or integers and booleans), and parameters."""

    arrays: tuple[Any, ...]
    params: dict[str, Any] = {}  # noqa: RUF012 (never written to)


def normal(rng: Rng, *shape: int) -> Any:
    """Numbers around 0, none nearer to it than 0.1, all different."""
    x = rng.standard_normal(shape)
    return np.asarray(x + np.where(x < 0, -0.1, 0.1))


def positive(rng: Rng, *shape: int) -> Any:
    """Numbers from 0.5 to 2."""
    return np.asarray(rng.uniform(0.5, 2.0, shape))


def unit(rng: Rng, *shape: int) -> Any:
    """Numbers from 0.1 to 0.9."""
    return np.asarray(rng.uniform(0.1, 0.9, shape))


def unary(domain: Any = normal, **params: Any) -> Callable[[Rng], list[Sample]]:
    """Samples for a function of one array: a matrix, no axes, nothing."""
    return lambda rng: [Sample((domain(rng, *shape),), params) for shape in [(3, 4), (), (0, 2)]]


def binary(a: Any = normal, b: Any = normal, **params: Any) -> Callable[[Rng], list[Sample]]:
    """Samples for a function of two arrays that broadcast."""
    pairs = [((3, 4), (3, 4)), ((2, 3), (3,)), ((2, 1), (1, 3)), ((), (2,)), ((), ()), ((0, 2), (2,))]
    return lambda rng: [Sample((a(rng, *left), b(rng, *right)), params) for left, right in pairs]


def of(*calls: Callable[[Rng], Sample]) -> Callable[[Rng], list[Sample]]:
    """The samples that these functions make, in a list."""
    return lambda rng: [call(rng) for call in calls]


def along_axes(
    domain: Any = normal, whole: bool = True, empty: bool = True, **params: Any
) -> Callable[[Rng], list[Sample]]:
    """Samples for a function that reduces: along one axis, over all if `whole`, with no rows if `empty`."""

    def samples(rng: Rng) -> list[Sample]:
        found = [
            Sample((domain(rng, 3, 4),), {**params, "axis": 0}),
            Sample((domain(rng, 2, 3, 4),), {**params, "axis": 1}),
            Sample((domain(rng),), {**params, "axis": -1}),
        ]
        if whole:
            found.append(Sample((domain(rng, 2, 3),), dict(params)))
            found.append(Sample((domain(rng, 2, 3, 4),), {**params, "axis": (0, -1), "keepdims": True}))
        if empty:
            found.append(Sample((domain(rng, 0, 3),), {**params, "axis": 1}))
        return found

    return samples


Samples = dict[str, Callable[[Rng], list[Sample]]]
