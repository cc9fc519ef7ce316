"""Changed copies of texts to train on: words or characters left out, exchanged, or said in other words.

Sources: Wei and Zou, "EDA: Easy Data Augmentation Techniques", 2019 (deletion, swaps and synonyms of words); Belinkov
and Bisk, "Synthetic and Natural Noise Both Break Neural Machine Translation", 2018 (swaps of neighbouring characters).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

UNITS = {"words": " ", "characters": ""}  # to what stands between two of them
Synonyms = Mapping[str, Sequence[str]]


def delete(text: str, share: float, *, rng: np.random.Generator, unit: str = "words") -> str:
    """The text without some of its words or characters, each left out with chance `share`; one word at least is kept.

    Words that were changed are joined by single blanks, here and below; a text that is not changed stays as it is.

    Args:
        share: from 0 to 1.
        unit: "words", which blanks separate, or "characters".

    Raises:
        ValueError: if the share or the unit is none of these.
    """
    units = _units(text, share, unit)
    kept = [u for u, drawn in zip(units, rng.random(len(units)), strict=True) if drawn >= share]
    if not "".join(kept).strip():
        kept = [u for u in units if u.strip()]
        kept = [kept[rng.integers(len(kept))]] if kept else units
    return _joined(text, units, kept, unit)


def swap(text: str, share: float, *, rng: np.random.Generator, unit: str = "words") -> str:
    """The text after share * n exchanges, of n units: of any two words, or of two characters side by side.

    Args and Raises: as of `delete`.
    """
    units = _units(text, share, unit)
    swapped, n = list(units), len(units)
    for _ in range(_count(share, n) if n > 1 else 0):
        i = int(rng.integers(n - 1))
        j = i + 1 if unit == "characters" else int(rng.integers(i + 1, n))
        swapped[i], swapped[j] = swapped[j], swapped[i]
    return _joined(text, units, swapped, unit)


def replace(text: str, share: float, synonyms: Synonyms, *, rng: np.random.Generator) -> str:
    """The text with share * n of its n words said otherwise, as far as the dictionary knows other words for them.

    Args:
        share: from 0 to 1.
        synonyms: for a word in lower case, the words that may stand for it; an empty list is as none.

    Raises:
        ValueError: if the share is out of its range.
    """
    words = _units(text, share, "words")
    known = [i for i, word in enumerate(words) if synonyms.get(word.lower())]
    replaced = list(words)
    for i in rng.permutation(known)[: _count(share, len(words))]:
        others = synonyms[words[i].lower()]
        replaced[i] = others[int(rng.integers(len(others)))]
    return _joined(text, words, replaced, "words")


def augment_text(
    text: str,
    share: float = 0.1,
    *,
    rng: np.random.Generator,
    unit: str = "words",
    synonyms: Synonyms | None = None,
) -> str:
    """The text changed in one of the ways of this file, drawn anew each time; by synonyms if there are any.

    A share of 0.1 is what Wei and Zou recommend. Swaps of words tell a model to overlook their order: they fit tasks
    in which single words decide, such as sentiment, and spoil those in which the order does.

    Args and Raises: as of `delete`; synonyms are those of words, so with them the unit has to be "words".
    """
    if synonyms is not None and unit != "words":
        raise ValueError(f"synonyms are of words: got the unit {unit!r}")
    way = rng.integers(2 if synonyms is None else 3)
    if way == 2 and synonyms is not None:
        return replace(text, share, synonyms, rng=rng)
    return (delete if way else swap)(text, share, rng=rng, unit=unit)


def augment_texts(
    texts: Sequence[str],
    labels: np.ndarray,
    copies: int = 1,
    share: float = 0.1,
    *,
    rng: np.random.Generator,
    unit: str = "words",
    synonyms: Synonyms | None = None,
) -> tuple[list[str], np.ndarray]:
    """The texts, then `copies` changed copies of all of them, each with the label of the text it was made from.

    Augment what is trained on only, after the split: a changed copy of a test text would leak it into training.

    Args:
        labels: shape (len(texts), ...), any dtype.
        copies: 0 or more.
        share, unit, synonyms: as of `augment_text`.

    Raises:
        ValueError: if texts and labels differ in number, or as `augment_text` does.
    """
    if len(texts) != len(labels) or copies < 0:
        raise ValueError(
            f"augment_texts needs a label for each text, and copies of 0 or more: got {len(texts)} texts, "
            f"{len(labels)} labels, copies={copies}"
        )
    changed = [
        augment_text(text, share, rng=rng, unit=unit, synonyms=synonyms) for _ in range(copies) for text in texts
    ]
    return [*texts, *changed], np.concatenate([labels] * (copies + 1))


def _units(text: str, share: float, unit: str) -> list[str]:
    if not 0 <= share <= 1:
        raise ValueError(f"a share is from 0 to 1: got {share}")
    if unit not in UNITS:
        raise ValueError(f"the unit is one of {', '.join(UNITS)}: got {unit!r}")
    return text.split() if unit == "words" else list(text)


def _count(share: float, n: int) -> int:
    """As many of n units as the share says, but one at least if it is not 0."""
    return max(1, round(share * n)) if share else 0


def _joined(text: str, before: list[str], after: list[str], unit: str) -> str:
    return text if after == before else UNITS[unit].join(after)
