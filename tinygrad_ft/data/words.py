"""Texts as rows of numbers of words or characters: the most frequent ones, and one number for all others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

PADDING, UNKNOWN = 0, 1
UNITS = ("words", "characters")
BETWEEN_WORDS = {ord(c): " " for c in '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n\r'}


@dataclass(frozen=True)
class WordTokenizer:
    """Number 0 is padding, 1 any unknown unit, and from 2 on the known ones, the most frequent first.

    Words are in lower case and end at white space or punctuation; an apostrophe is part of a word. Characters are all
    but white space, as they stand: the units of Chinese.

    Args:
        units: the known words or characters, each once.
        unit: "words" or "characters".

    Raises:
        ValueError: if a unit comes twice, there is none, or `unit` is another.

    Source: Keras' Tokenizer, whose filters and order these are; there unknown words are left out.
    """

    units: tuple[str, ...]
    unit: str = "words"

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise ValueError(f"a word tokenizer's unit is one of {', '.join(UNITS)}: got {self.unit!r}")
        if not self.units or len(set(self.units)) != len(self.units):
            raise ValueError(
                f"a word tokenizer needs {self.unit}, each once: "
                f"got {len(self.units)}, {len(set(self.units))} different"
            )

    @classmethod
    def train(cls, texts: Iterable[str], *, vocabulary: int = 10_000, unit: str = "words") -> WordTokenizer:
        """The tokenizer of the most frequent units of some texts; of equally frequent ones, those that came first.

        Args:
            vocabulary: how many numbers there are, padding and unknown among them.

        Raises:
            ValueError: if there is no room for a unit, the texts have none, or there is one text instead of a list.
        """
        if vocabulary < 3:
            raise ValueError(f"a vocabulary needs 3 numbers at least, two are padding and unknown: got {vocabulary}")
        if unit not in UNITS:
            raise ValueError(f"a word tokenizer's unit is one of {', '.join(UNITS)}: got {unit!r}")
        _require_texts(texts)
        counts = Counter(part for text in texts for part in split_into(text, unit))
        if not counts:
            raise ValueError(f"the texts have no {unit} to learn a vocabulary from")
        return cls(tuple(part for part, _ in counts.most_common(vocabulary - 2)), unit)

    @property
    def vocab_size(self) -> int:
        """How many numbers there are: ids are 0..vocab_size-1."""
        return len(self.units) + 2

    def encode(self, texts: Sequence[str], length: int) -> npt.NDArray[np.int64]:
        """Ids (texts, length): a longer text loses its end, a shorter one has padding behind it.

        Raises:
            ValueError: if the length is below 1, or there is one text instead of a list.
        """
        if length < 1:
            raise ValueError(f"encode needs a length of at least 1: got {length}")
        _require_texts(texts)
        places = {part: i for i, part in enumerate(self.units, start=2)}
        ids = np.full((len(texts), length), PADDING, np.int64)
        for row, text in zip(ids, texts, strict=True):
            found = [places.get(part, UNKNOWN) for part in split_into(text, self.unit)[:length]]
            row[: len(found)] = found
        return ids

    def to_dict(self) -> dict[str, Any]:
        """What `from_dict` needs to build an equal tokenizer, as JSON can hold it."""
        return {"type": self.unit, "units": list(self.units)}

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> WordTokenizer:
        """The tokenizer that `to_dict` described.

        Raises:
            ValueError: if `saved` describes something else.
        """
        units = saved.get("units")
        if saved.get("type") not in UNITS or not isinstance(units, list) or not all(isinstance(u, str) for u in units):
            raise ValueError(
                "A saved word tokenizer needs 'type': 'words' or 'characters' and 'units': texts, "
                f"got {dict(saved)!r:.200}: write it with WordTokenizer.to_dict()."
            )
        return cls(tuple(units), saved["type"])


def split_into(text: str, unit: str) -> list[str]:
    """The words or the characters of a text, in order."""
    if unit == "characters":
        return [c for c in text if not c.isspace()]
    return text.lower().translate(BETWEEN_WORDS).split()


def _require_texts(texts: Iterable[str]) -> None:
    if isinstance(texts, str):  # whose characters would pass for texts
        raise ValueError(f"a word tokenizer needs texts, a list of them: got one text, {texts[:30]!r}")
