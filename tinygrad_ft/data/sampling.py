"""Batches for training, by number: batch i is the same in every process, so a run is resumed by its number alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .batches import TokenBatch, Tokens, check_positive, check_tokens

SHUFFLES, SNIPPETS = 1, 2  # each kind of chance draws from a stream of its own


def drawn_for(seed: int, purpose: int, number: int) -> np.random.Generator:
    """A generator that depends on these three numbers only, and on nothing that was drawn before."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, purpose, number])))


class Shuffled:
    """Epochs without end, each in its own order: `shuffled[i]` is batch i, a tuple of arrays; len() is an epoch's.

    Args:
        arrays: one example a row, shapes (n, ...), as many rows in each.
        seed: decides the order of each epoch, together with its number.
        drop_last: leave out the last batch of an epoch if it is smaller than batch_size.

    Raises:
        ValueError: if the arrays differ in length, or there is no batch to give.
    """

    def __init__(self, *arrays: npt.NDArray[Any], batch_size: int, seed: int, drop_last: bool = False):
        check_positive(batch_size=batch_size)
        lengths = [len(a) for a in arrays]
        if len(set(lengths)) != 1:
            raise ValueError(f"Shuffled needs arrays with a row for each example: got lengths {lengths}.")
        self.arrays, self.batch_size, self.seed = arrays, batch_size, seed
        n = lengths[0]
        self._batches = n // batch_size if drop_last else -(-n // batch_size)
        if self._batches == 0:
            raise ValueError(
                f"Shuffled needs at least {batch_size if drop_last else 1} examples with batch_size={batch_size} "
                f"and drop_last={drop_last}: got {n}. Give more examples or a smaller batch_size."
            )
        self._epoch, self._order = -1, np.empty(0, np.int64)

    def __len__(self) -> int:
        return self._batches

    def __getitem__(self, i: int) -> tuple[npt.NDArray[Any], ...]:
        epoch, part = divmod(i, self._batches)
        if epoch != self._epoch:
            rng = drawn_for(self.seed, SHUFFLES, epoch)
            self._epoch, self._order = epoch, rng.permutation(len(self.arrays[0]))
        rows = self._order[part * self.batch_size : (part + 1) * self.batch_size]
        return tuple(a[rows] for a in self.arrays)


class TokenSnippets:
    """Snippets of a text from random places: `snippets[i]` is (inputs, targets), the targets one token further.

    Every start from 0 to len(tokens) - context - 1 is equally likely.

    Args:
        tokens: shape (n,), any integer dtype; a memory map is read only where a snippet lies.
        context: tokens in a snippet.

    Answers:
        int64 arrays of shape (batch_size, context).

    Raises:
        ValueError: if the text is shorter than context + 1 tokens.
    """

    def __init__(self, tokens: Tokens, *, context: int, batch_size: int, seed: int):
        check_tokens(tokens, context=context, batch_size=batch_size)
        self.tokens, self.batch_size, self.seed = tokens, batch_size, seed
        self._offsets = np.arange(context)

    def __getitem__(self, i: int) -> TokenBatch:
        rng, starts = drawn_for(self.seed, SNIPPETS, i), len(self.tokens) - len(self._offsets)
        at = rng.integers(0, starts, size=(self.batch_size, 1)) + self._offsets
        inputs, targets = self.tokens[at], self.tokens[at + 1]
        return inputs.astype(np.int64, copy=False), targets.astype(np.int64, copy=False)
