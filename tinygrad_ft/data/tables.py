"""Small labelled data sets, each as (x float32, y int64), one example a row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

Table = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]


def digits() -> Table:
    """Handwritten digits of 8x8 pixels: x (1797, 64) with grey levels in 0..1, y (1797,) in 0..9.

    Source: scikit-learn's load_digits, the test part of the UCI set "Optical Recognition of Handwritten Digits".
    """
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return (x / 16).astype(np.float32), y.astype(np.int64)


def digits28() -> Table:
    """`digits` drawn as large as MNIST: each pixel a 3x3 block, a border of 2; x (1797, 784)."""
    x, y = digits()
    blocks = x.reshape(-1, 8, 8).repeat(3, axis=1).repeat(3, axis=2)
    return np.pad(blocks, ((0, 0), (2, 2), (2, 2))).reshape(-1, 28 * 28), y


def breast_cancer() -> Table:
    """Tumours measured under a microscope: x (569, 30), raw values from 0 to 4254, y (569,): 0 malignant, 1 benign.

    The features differ in scale by 10^5: `standardise` them before training.

    Source: scikit-learn's load_breast_cancer, the UCI set "Breast Cancer Wisconsin (Diagnostic)".
    """
    from sklearn.datasets import load_breast_cancer

    x, y = load_breast_cancer(return_X_y=True)
    return x.astype(np.float32), y.astype(np.int64)


def moons(n: int = 200, *, noise: float = 0.1, rng: np.random.Generator) -> Table:
    """Two half circles, each with its end inside the other: x (n, 2), y (n,) alternately 0 and 1.

    Args:
        noise: standard deviation of the Gaussian added to both coordinates; the circles have radius 1.

    Raises:
        ValueError: if n < 2, which leaves a moon empty, or the noise is negative.
    """
    if n < 2 or not noise >= 0:
        raise ValueError(f"moons needs n >= 2 and noise >= 0: got n={n} and noise={noise}.")
    t, y = np.linspace(0, np.pi, n), np.arange(n) % 2
    upper, lower = np.stack([np.cos(t), np.sin(t)], axis=1), np.stack([1 - np.cos(t), 0.5 - np.sin(t)], axis=1)
    x = np.where(y[:, None] == 0, upper, lower) + noise * rng.standard_normal((n, 2))
    return x.astype(np.float32), y.astype(np.int64)


def standardise(
    train: npt.NDArray[np.floating], *others: npt.NDArray[np.floating]
) -> tuple[npt.NDArray[np.float32], ...]:
    """Every array with the mean and standard deviation of `train` taken out, column by column, as float32.

    The others are measured with the ruler of `train`, so that nothing of a test set leaks into training.
    A column that is constant in `train` has no scale: it is only shifted.

    Args:
        train: shape (n, features), n >= 1.
        others: shape (any, features).

    Raises:
        ValueError: if train has no row, or the arrays differ in their columns.
    """
    columns = [a.shape[1] if a.ndim == 2 else None for a in (train, *others)]
    if len(train) == 0 or columns[0] is None or set(columns) != {columns[0]}:
        shapes = ", ".join(str(a.shape) for a in (train, *others))
        raise ValueError(
            f"standardise needs (rows, features) with the same features and a row to train on: got {shapes}."
        )
    mean = train.mean(axis=0, dtype=np.float64)
    # Constant columns are found by comparing: rounding of the mean makes their std 1e-17, not 0.
    std = np.where(np.ptp(train, axis=0) == 0, 1.0, train.std(axis=0, dtype=np.float64))
    return tuple(((a - mean) / std).astype(np.float32) for a in (train, *others))


def split(
    x: npt.NDArray[Any],
    y: npt.NDArray[Any],
    fractions: Sequence[float] = (0.8, 0.2),
    *,
    rng: np.random.Generator,
    stratify: bool = False,
) -> list[tuple[npt.NDArray[Any], npt.NDArray[Any]]]:
    """The examples shuffled and dealt into parts, `[(x, y), ...]`, one for each fraction: (0.8, 0.1, 0.1) gives three.

    Sizes are within one example of n * fraction, every example lands in exactly one part.

    Args:
        stratify: give every part the class shares of the whole: of a class with m of the n examples, a part gets
            m * fraction, to within 1 + (classes * m / n) examples.

    Raises:
        ValueError: if x and y differ in length, the fractions do not sum to 1, or a part would be empty; under
            `stratify`, if y is not one label for each example.
    """
    if len(x) != len(y):
        raise ValueError(f"split needs one y for each x: got {len(x)} x and {len(y)} y.")
    if stratify and y.ndim != 1:
        raise ValueError(f"split with stratify=True needs one label for each example, y (n,): got shape {y.shape}.")
    if not math.isclose(math.fsum(fractions), 1.0, abs_tol=1e-9):
        raise ValueError(
            f"split needs fractions that sum to 1: got {tuple(fractions)}, which sum to {math.fsum(fractions):g}."
        )
    cuts = [round(len(x) * math.fsum(fractions[:i])) for i in range(len(fractions) + 1)]
    if any(stop <= start for start, stop in pairwise(cuts)):
        sizes = [stop - start for start, stop in pairwise(cuts)]
        raise ValueError(
            f"split needs an example in every part: got {len(x)} examples and fractions {tuple(fractions)}, "
            f"so parts of {sizes}. Give more examples or larger fractions."
        )
    order = rng.permutation(len(x))
    if stratify:
        order = order[_spread(y[order])]
    parts = [order[start:stop] for start, stop in pairwise(cuts)]
    if stratify:
        parts = [rng.permutation(part) for part in parts]
    return [(x[part], y[part]) for part in parts]


def _spread(labels: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    """An order in which every class is spread evenly from begin to end: the i-th of m stands at (i + 1/2) / m."""
    _, kinds, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    by_class = np.argsort(kinds, kind="stable")
    number = np.arange(len(labels)) - np.repeat(sizes.cumsum() - sizes, sizes)
    place = np.empty(len(labels))
    place[by_class] = (number + 0.5) / np.repeat(sizes, sizes)
    return np.argsort(place, kind="stable")
