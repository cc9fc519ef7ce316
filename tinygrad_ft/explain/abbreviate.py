"""Long formulas told in steps: what occurs several times gets a letter, and is written once."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from tinygrad_ft.explain.expression import Expression, symbol
from tinygrad_ft.explain.formulas import Formulated
from tinygrad_ft.explain.values import parts, replaced, symbols

SMALLEST = 5  # parts of what is worth a letter
MOST = 6
SOFTMAX = {1: "p", 2: "P"}  # which has letters of its own, however short
LETTERS = {0: "srqtk", 1: "uzhac", 2: "ZHPQR"}  # by the number of axes


class Abbreviated(NamedTuple):
    """A formula with letters for some of its parts, and what they stand for: the later may name the earlier."""

    formula: Formulated
    parts: dict[str, Formulated]


def abbreviated(formula: Formulated) -> Abbreviated:
    """The formula with a letter for every large part that occurs more than once, largest saving first."""
    found: dict[str, Expression] = {}
    left = formula.expression
    used = symbols(left)
    while len(found) < MOST and (part := _most_worth_a_letter([left, *found.values()])):
        letters = (SOFTMAX[len(part.shape)] if part.head == "softmax" else "") + LETTERS[len(part.shape)]
        letter = next((n for n in letters if n not in used), None)
        if letter is None:
            break
        used.add(letter)
        names = {part: symbol(letter, part.shape)}
        left = replaced(left, names)
        found = {name: replaced(x, names) for name, x in found.items()}
        found[letter] = part
    ordered = sorted(found, key=lambda name: _depth(name, found))
    return Abbreviated(Formulated(left, formula.shape), {n: Formulated(found[n], found[n].shape) for n in ordered})


def _most_worth_a_letter(written: list[Expression]) -> Expression | None:
    counts = Counter(p for x in written for p in parts(x) if p.size >= SMALLEST or p.head == "softmax")
    worth = {p: (n - 1) * p.size for p, n in counts.items() if n > 1 and p.head in ("sum", "call", "softmax", "reduce")}
    return max(worth, key=lambda p: (worth[p], p.key), default=None)


def _depth(name: str, found: dict[str, Expression]) -> int:
    """How many letters have to be known before this one."""
    return 1 + max((_depth(n, found) for n in symbols(found[name]) if n in found), default=0)
