"""Batches of token ids: texts of different lengths side by side, blocks of running text, and words hidden in them.

Batch i is a function of i and the seed alone, so that a run is resumed by its step alone. Batches have few shapes,
since a recorded step is recorded once for each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tinygrad_ft.data import PretrainedTokenizer, Shuffled
from tinygrad_ft.data.sampling import drawn_for

LENGTHS = (8, 16, 32, 48, 64, 96, 128, 192, 256, 384, 512)
CHUNK = 50  # batches whose texts are sorted by length together
ORDER, MASKS = 11, 12  # each kind of chance draws from a stream of its own
IGNORED = -100  # the class of what counts for nothing
Ids = np.ndarray[Any, np.dtype[np.int64]]
Batch = tuple[Ids, ...]


def buckets(longest: int, most: int) -> tuple[int, ...]:
    """The lengths to which texts of up to `longest` tokens are padded, none above `most`: few, so that steps repeat."""
    return (*(n for n in LENGTHS if n < longest), min(most, next((n for n in LENGTHS if n >= longest), most)))


class Bucketed:
    """Texts as (ids, mask, labels), batch after batch through all epochs; len() is an epoch's number of batches.

    In each epoch texts are shuffled, in every `CHUNK` batches sorted by length, and the batches shuffled: hardly
    anything is padded, and still each batch is a chance one. A batch is as long as the smallest bucket that holds its
    texts. One in an epoch, if texts are lacking, is filled up with padding that has the class IGNORED.

    Args:
        rows: the ids of each text, at least one.
        labels: the class of each: (texts,).
        max_length: the longest batch that the model takes.

    Answers:
        int64 arrays: ids and mask (batch_size, length), the mask 1 where a token stands; labels (batch_size,).

    Raises:
        ValueError: if there are no texts, one has no token, there is not one label for each, or batch_size is below 1.
    """

    def __init__(
        self,
        rows: Sequence[Sequence[int]],
        labels: Ids,
        *,
        batch_size: int,
        max_length: int,
        seed: int = 0,
        pad: int = 0,
    ):
        if batch_size < 1 or not rows or not all(rows) or len(rows) != len(labels):
            raise ValueError(
                f"Bucketed needs texts with a token or more, a label for each, and batch_size >= 1: got {len(rows)} "
                f"texts, {len(labels)} labels and {batch_size}"
            )
        self.rows, self.labels, self.batch_size, self.seed, self.pad = list(rows), labels, batch_size, seed, pad
        self.lengths = np.array([len(row) for row in rows])
        longest = int(self.lengths.max())
        if longest > max_length:
            raise ValueError(f"a text has {longest} tokens, and a batch at most {max_length}: cut it off")
        self.buckets = buckets(longest, max_length)
        self._epoch, self._parts = -1, list[Ids]()

    def __len__(self) -> int:
        return -(-len(self.rows) // self.batch_size)

    def __getitem__(self, i: int) -> Batch:
        epoch, part = divmod(i, len(self))
        if epoch != self._epoch:
            self._epoch, self._parts = epoch, self._dealt(epoch)
        return self.padded(self._parts[part])

    def _dealt(self, epoch: int) -> list[Ids]:
        """Which texts each batch of an epoch has."""
        rng, chunk = drawn_for(self.seed, ORDER, epoch), CHUNK * self.batch_size
        order = rng.permutation(len(self.rows))
        chunks = [order[start : start + chunk] for start in range(0, len(order), chunk)]
        by_length = [part[np.argsort(self.lengths[part], kind="stable")] for part in chunks]
        size = self.batch_size
        parts = [part[start : start + size] for part in by_length for start in range(0, len(part), size)]
        return [parts[j] for j in rng.permutation(len(parts))]

    def padded(self, part: Ids) -> Batch:
        """A batch of the texts of these numbers, at most batch_size."""
        longest = int(self.lengths[part].max())
        length = next(n for n in self.buckets if n >= longest)
        ids = np.full((self.batch_size, length), self.pad, np.int64)
        mask = np.zeros_like(ids)
        labels = np.full(self.batch_size, IGNORED, np.int64)
        for row, number in enumerate(part):
            ids[row, : self.lengths[number]] = self.rows[number]
            mask[row, : self.lengths[number]] = 1
            labels[row] = self.labels[number]
        mask[len(part) :, 0] = 1  # attention needs something to look at
        return ids, mask, labels

    def in_order_of_length(self) -> Iterator[tuple[Ids, Batch]]:
        """All texts once, for evaluation: their numbers, and the batch, which may have rows of padding after them."""
        order = np.argsort(self.lengths, kind="stable")
        for start in range(0, len(order), self.batch_size):
            part = order[start : start + self.batch_size]
            yield part, self.padded(part)


def blocks(tokenizer: PretrainedTokenizer, lines: Sequence[str], length: int, *, special: bool) -> Ids:
    """Running text in rows of `length` tokens: (blocks, length); what is left over at the end is dropped.

    Args:
        special: whether each line gets the tokens that the model expects around a text; else an end token, if the
            tokenizer has one, stands after each.

    Raises:
        ValueError: if that is not one block.
    """
    end = [] if special or "end" not in tokenizer.special else [tokenizer.special["end"]]
    tokens = np.array([i for row in tokenizer.lists(lines, special=special) for i in (*row, *end)], np.int64)
    rows = len(tokens) // length
    if not rows:
        raise ValueError(f"the text has {len(tokens)} tokens, and a block {length}: give more text or a --max-length")
    return tokens[: rows * length].reshape(rows, length)


class NextTokens:
    """(inputs, targets) from blocks of running text, the targets one token further; otherwise as data.Shuffled."""

    def __init__(self, rows: Ids, *, batch_size: int, seed: int):
        self._shuffled = Shuffled(rows, batch_size=min(batch_size, len(rows)), seed=seed, drop_last=True)

    def __len__(self) -> int:
        return len(self._shuffled)

    def __getitem__(self, i: int) -> Batch:
        (rows,) = self._shuffled[i]
        return rows[:, :-1], rows[:, 1:]


class Masked:
    """(ids, places, targets): blocks in which some words are hidden, where these are, and what they were.

    Of the tokens that are not special 15 % are chosen, as many in each batch; of these 80 % become the mask token, 10 %
    any other and 10 % stay. Which depends on the number of the batch alone.

    Answers:
        ids (batch_size, length); places (chosen,), counted through the rows one after another; targets (chosen,), or
        IGNORED where a batch has too few words.

    Raises:
        ValueError: if the tokenizer has no mask token.

    Source: Devlin et al., "BERT", 2019, section 3.1, task 1.
    """

    def __init__(self, rows: Ids, tokenizer: PretrainedTokenizer, *, batch_size: int, seed: int, share: float = 0.15):
        if "mask" not in tokenizer.special:
            raise ValueError("the tokenizer has no mask token, so words cannot be hidden: use --task clm")
        self._shuffled = Shuffled(rows, batch_size=min(batch_size, len(rows)), seed=seed, drop_last=True)
        self.seed, self.mask, self.vocabulary = seed, tokenizer.special["mask"], tokenizer.vocab_size
        self._special = np.array(sorted(set(tokenizer.special.values())), np.int64)
        self.chosen = max(1, round(share * min(batch_size, len(rows)) * rows.shape[1]))

    def __len__(self) -> int:
        return len(self._shuffled)

    def __getitem__(self, i: int) -> Batch:
        (rows,) = self._shuffled[i]
        rng = drawn_for(self.seed, MASKS, i)
        flat = rows.reshape(-1).copy()
        words = np.flatnonzero(~np.isin(flat, self._special))
        chosen = np.sort(rng.permutation(words)[: self.chosen])
        targets = np.full(self.chosen, IGNORED, np.int64)
        targets[: len(chosen)] = flat[chosen]
        dice = rng.random(len(chosen))
        flat[chosen[dice < 0.8]] = self.mask
        others = chosen[(dice >= 0.8) & (dice < 0.9)]
        flat[others] = rng.integers(self.vocabulary, size=len(others))
        places = np.zeros(self.chosen, np.int64)
        places[: len(chosen)] = chosen
        return flat.reshape(rows.shape), places, targets
