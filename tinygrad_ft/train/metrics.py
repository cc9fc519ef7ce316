"""What is said of a classifier or a language model, by scikit-learn where it has the measure."""

from __future__ import annotations

from math import exp, inf, isnan
from typing import Any

import numpy as np


def classification_metrics(said: np.ndarray[Any, Any], labels: np.ndarray[Any, Any], classes: int) -> dict[str, float]:
    """accuracy, precision, recall and f1 from 0 to 1, of the classes that were said for examples of these labels.

    Of two classes the second is the one that is looked for; of more, each counts alike (macro averages). Where nothing
    is found or nothing was to be found, precision or recall is 0.

    Args:
        said, labels: integers from 0 to classes - 1, shape (n,).

    Raises:
        ValueError: if they differ in length, are empty, or hold something else.
    """
    from sklearn.metrics import accuracy_score, precision_recall_fscore_support

    if said.shape != labels.shape or said.ndim != 1 or not said.size:
        raise ValueError(f"metrics need as many answers as labels, in one row: got {said.shape} and {labels.shape}")
    if said.dtype.kind not in "iu" or labels.dtype.kind not in "iu":
        raise ValueError(f"metrics need classes as whole numbers: got {said.dtype} and {labels.dtype}")
    if min(said.min(), labels.min()) < 0 or max(said.max(), labels.max()) >= classes:
        raise ValueError(f"metrics of {classes} classes need labels from 0 to {classes - 1}")
    average, names = ("binary", None) if classes == 2 else ("macro", range(classes))
    precision, recall, f1, _ = precision_recall_fscore_support(
        labels, said, average=average, labels=names, zero_division=0
    )
    return {
        "accuracy": float(accuracy_score(labels, said)),
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
    }


def perplexity(nats: float) -> float:
    """e to the mean cross-entropy in nats: among how many equally likely tokens the model chooses; inf beyond 709.7.

    Raises:
        ValueError: if nats is NaN.
    """
    if isnan(nats):
        raise ValueError(f"perplexity needs a loss in nats: got {nats}")
    try:
        return exp(nats)
    except OverflowError:
        return inf
