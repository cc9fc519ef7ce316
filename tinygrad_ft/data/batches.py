"""Batches in one pass: an epoch of examples, or the windows of a text for evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

Examples = tuple[npt.NDArray[Any], npt.NDArray[Any]]
Tokens = npt.NDArray[np.integer[Any]]
TokenBatch = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]


def batches(
    x: npt.NDArray[Any],
    y: npt.NDArray[Any],
    *,
    batch_size: int,
    rng: np.random.Generator | None = None,
    drop_last: bool = False,
) -> Iterator[Examples]:
    """One epoch: every example once, shuffled by `rng` if there is one, else in order.

    Args:
        x, y: one example a row, shapes (n, ...).
        drop_last: leave out the last batch if it is smaller than batch_size.

    Raises:
        ValueError: at once, if x and y differ in length or there is no batch to give.
    """
    check_positive(batch_size=batch_size)
    n = len(x)
    if n != len(y):
        raise ValueError(f"batches needs one y for each x: got {n} x and {len(y)} y.")
    end = n - n % batch_size if drop_last else n
    if end == 0:
        raise ValueError(
            f"batches needs at least {batch_size if drop_last else 1} examples with batch_size={batch_size} "
            f"and drop_last={drop_last}: got {n}. Give more examples or a smaller batch_size."
        )
    order = np.arange(n) if rng is None else rng.permutation(n)
    parts = (order[start : start + batch_size] for start in range(0, end, batch_size))
    return ((x[part], y[part]) for part in parts)


def token_windows(tokens: Tokens, *, context: int, batch_size: int) -> Iterator[TokenBatch]:
    """One pass over a text, in order, for evaluation: (inputs, targets) windows that do not overlap.

    Each token but the first is a target once, up to the remainder, which is shorter than a window and dropped.

    Args:
        tokens: shape (n,), any integer dtype.
        context: tokens in a window.

    Yields:
        int64 arrays of shape (batch_size, context); the last may have fewer rows.

    Raises:
        ValueError: at once, if the text is shorter than context + 1 tokens.
    """
    check_tokens(tokens, context=context, batch_size=batch_size)
    rows = (len(tokens) - 1) // context
    end = rows * context
    inputs = tokens[:end].reshape(rows, context)
    targets = tokens[1 : end + 1].reshape(rows, context)
    parts = (slice(start, start + batch_size) for start in range(0, rows, batch_size))
    return ((inputs[part].astype(np.int64), targets[part].astype(np.int64)) for part in parts)


def check_tokens(tokens: Tokens, *, context: int, batch_size: int) -> None:
    """Raise ValueError unless there is a row of integers with a snippet in it."""
    check_positive(context=context, batch_size=batch_size)
    if tokens.ndim != 1 or tokens.dtype.kind not in "iu":
        raise ValueError(
            f"Tokens need to be one row of integers: got shape {tokens.shape} of {tokens.dtype}. "
            "Encode the text with a tokenizer."
        )
    if len(tokens) < context + 1:
        raise ValueError(
            f"A text needs at least context + 1 = {context + 1} tokens: got {len(tokens)}. "
            "Give a longer text or a smaller context."
        )


def check_positive(**sizes: int) -> None:
    """Raise ValueError unless each is at least 1."""
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} needs to be at least 1: got {size}.")
