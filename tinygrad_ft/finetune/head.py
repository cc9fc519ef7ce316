"""The cheapest fine-tuning: the encoder sees each text once, and a logistic regression learns from its vectors."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_ft import storage
from tinygrad_ft.finetune.batches import Bucketed, Ids
from tinygrad_ft.gradients import no_grad
from tinygrad_ft.models.bert import mean_of_tokens
from tinygrad_ft.tensor import Tensor

Vectors = np.ndarray[Any, np.dtype[np.float32]]


def vectors_of(model: Any, texts: Bucketed) -> Vectors:
    """The mean of the last hidden states of each text's tokens: (texts, hidden_size)."""
    device = next(model.parameters()).device
    answer = np.empty((len(texts.rows), model.config.hidden_size), np.float32)
    with model.evaluating(), no_grad():
        for numbers, (ids, mask, _) in texts.in_order_of_length():
            shown = Tensor(mask).to(device)
            hidden, _ = model.bert(Tensor(ids).to(device), shown)
            answer[numbers] = mean_of_tokens(hidden, shown).cpu().numpy_copy()[: len(numbers)]
    return answer


def cached(path: Path, weights: str, texts: Bucketed, make: Callable[[], Vectors]) -> Vectors:
    """The vectors of these texts from the file, if it has them; else those that are made, which the file then has too.

    Args:
        weights: what tells the encoder from others, as the checksum of its file.
    """
    digest = hashlib.sha256(f"{weights} {texts.rows}".encode()).hexdigest()
    known: dict[str, Any] = dict(storage.load(path)) if path.exists() else {}
    if digest in known:
        vectors: Vectors = known[digest].numpy_copy()
        return vectors
    known[digest] = make()
    storage.save(known, path)
    vectors = known[digest]
    return vectors


def learn_head(model: Any, vectors: Vectors, labels: Ids) -> None:
    """Give a classifier with mean pooling the head that a logistic regression learns from these vectors.

    Args:
        vectors, labels: (texts, hidden_size) and (texts,), every class among them.

    Source: scikit-learn's LogisticRegression, with its defaults: L2 penalty, C = 1.
    """
    from sklearn.linear_model import LogisticRegression

    found = LogisticRegression(max_iter=2000).fit(vectors.astype(np.float64), labels)
    weight, bias = found.coef_, found.intercept_
    if len(weight) == 1:  # of two classes it gives the difference of the logits
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    head = model.classifier
    head.weight.array[...] = head.weight.device.xp.asarray(weight)
    head.bias.array[...] = head.bias.device.xp.asarray(bias)
