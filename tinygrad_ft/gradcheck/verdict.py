"""What a check can find, in words: the verdicts, and one finding for each pair of an output and an input."""

from __future__ import annotations

from enum import StrEnum
from math import isfinite
from typing import Any, NamedTuple


class Verdict(StrEnum):
    """The cause, mildest first."""

    OK = "ok"
    LIMITED = "limited by precision"
    KINK = "kink or tie here"
    WRONG = "wrong"
    WRONG_SHAPE = "wrong shape"
    NOT_DETERMINISTIC = "not deterministic"

    @property
    def severity(self) -> int:
        """Its place among the verdicts, from 0 for ok."""
        return list(Verdict).index(self)


class Finding(NamedTuple):
    """What was found for one output and one input.

    Attributes:
        input: its name; "all inputs" where random directions were enough.
        element: the index of the worst element of that input; None where no single one was looked at.
        expected, uncertainty: dL/dx there by differences, L being the output weighted by random numbers (or the output
            itself, if it is one number), and how far off that may be.
        got: what the gradient under test says.
        detail: what else is known about the cause.
        guess: what a person would try first; "" if nothing is wrong, or nothing comes to mind.
        checked: "every element", or how many directions.
    """

    verdict: Verdict
    order: int
    output: str
    input: str
    element: tuple[int, ...] | None = None
    expected: float | None = None
    uncertainty: float | None = None
    got: float | None = None
    detail: str = ""
    guess: str = ""
    checked: str = "every element"

    @property
    def ratio(self) -> float | None:
        """got / expected, where that is a number."""
        if self.expected is None or self.got is None or not self.expected or not isfinite(self.expected):
            return None
        return self.got / self.expected

    @property
    def excess(self) -> float:
        """|got - expected| in parts of the larger."""
        if self.expected is None or self.got is None:
            return 0.0
        largest = max(abs(self.got), abs(self.expected))
        off = abs(self.got - self.expected) / largest if largest else 0.0
        return off if isfinite(off) else float("inf")

    def __str__(self) -> str:
        of = "" if self.order == 1 else f"order {self.order}, "
        where = f"{of}output {self.output}, input {self.input}"
        where += "" if self.element is None else f", element {self.element}"
        said = ""
        if self.expected is not None and self.got is not None:
            ratio = "" if self.ratio is None else f", ratio {self.ratio:.6g}"
            said = (
                f": the gradient says {self.got:.9g}, differences {self.expected:.9g} ± {self.uncertainty:.1g}{ratio}"
            )
        parts = [f"{self.verdict} at {where}{said}" if self.verdict != Verdict.OK else f"ok: {where}{said}"]
        return "; ".join([*parts, *filter(None, [self.detail, self.guess])])

    def as_dict(self) -> dict[str, Any]:
        """The same, ready for JSON: numbers that JSON has no sign for (nan, inf) become text."""
        numbers = {name: _plain(getattr(self, name)) for name in ("expected", "uncertainty", "got", "ratio")}
        return {
            "verdict": str(self.verdict),
            "order": self.order,
            "output": self.output,
            "input": self.input,
            "element": None if self.element is None else list(self.element),
            **numbers,
            "detail": self.detail,
            "guess": self.guess,
            "checked": self.checked,
        }


def _plain(x: float | None) -> float | str | None:
    return x if x is None or isfinite(x) else str(x)
