"""What an examination found, to be read, drawn, or handed on as JSON."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from tinygrad_ft.gradcheck.differences import Curve
from tinygrad_ft.gradcheck.examine import Examination
from tinygrad_ft.gradcheck.verdict import Finding, Verdict
from tinygrad_ft.gradcheck.witnesses import Testimony, hear


class GradcheckError(AssertionError):
    """The gradient and the differences do not agree; the message says where and by how much, `report` says the rest."""

    def __init__(self, message: str, report: Report | None = None):
        super().__init__(message)
        self.report = report


class Report:
    """The findings of a check, for each order, output and input.

    Attributes:
        name: of what was checked.
        findings: a `Finding` each; `worst` is the gravest.
        notes: what was held constant, and the like.
    """

    def __init__(self, name: str, findings: Sequence[Finding], notes: Sequence[str], examinations: list[Examination]):
        self.name, self.findings, self.notes = name, list(findings), list(notes)
        self._examinations = examinations

    @property
    def worst(self) -> Finding | None:
        """The gravest finding, of those the one that is furthest off; None if there was nothing to check."""
        return max(self.findings, key=lambda f: (f.verdict.severity, f.excess), default=None)

    @property
    def verdict(self) -> Verdict:
        """That of the worst finding."""
        return self.worst.verdict if self.worst else Verdict.OK

    @property
    def ok(self) -> bool:
        """Whether every gradient agrees with differences."""
        return self.verdict == Verdict.OK

    def _examined(self) -> tuple[Examination, int, int | None] | None:
        """The examination, the output and the input of the worst finding."""
        for examination in self._examinations:
            if self.worst and examination.order == self.worst.order and self.worst.output in examination.names:
                inputs = [place.name for place in examination.subject.places]
                i = inputs.index(self.worst.input) if self.worst.input in inputs else None
                return examination, examination.names.index(self.worst.output), i
        return None

    @cached_property
    def curve(self) -> Curve | None:
        """Slopes by step at the worst element, or along the first random direction if no element was looked at."""
        if (found := self._examined()) is None or self.worst is None:
            return None
        examination, k, i = found
        point = examination.point
        if i is None or self.worst.element is None:
            return point.slope_along(k, point.along(point.direction(0, i)), lambda size: 0.0).curve
        return point.slope(k, i, self.worst.element, lambda size: 0.0).curve

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw the curve of the error against the step into a PNG file."""
        from tinygrad_ft.gradcheck.plot import plot_curve

        if self.worst is None or self.worst.expected is None or self.curve is None:
            raise ValueError("there is no curve to draw: nothing was differentiated")
        plot_curve(self.curve, self.worst, path, title=self.name)

    @cached_property
    def witnesses(self) -> list[Testimony]:
        """What each way to a derivative says, at the worst element and along a random direction."""
        found = self._examined()
        if found is None or self.worst is None or self.worst.verdict == Verdict.WRONG_SHAPE:
            return []
        examination, k, i = found
        heard = [] if i is None or self.worst.element is None else [hear(examination.point, k, i, self.worst.element)]
        return [*heard, hear(examination.point, k)]

    def table(self) -> str:
        """The witnesses, side by side, and who disagrees."""
        return "\n\n".join(map(str, self.witnesses)) or "no witnesses: no gradient of the right shape was answered"

    def __str__(self) -> str:
        lines = [f"{self.name}: {self.verdict}"]
        rows = [("verdict", "order", "output", "input", "element", "expected", "±", "got", "ratio")]
        for f in self.findings:
            rows.append(
                (
                    str(f.verdict), str(f.order), f.output, f.input, "" if f.element is None else str(f.element),
                    _number(f.expected, 9), _number(f.uncertainty, 2), _number(f.got, 9), _number(f.ratio, 6),
                )
            )  # fmt: skip
        widths = [max(len(row[c]) for row in rows) for c in range(len(rows[0]))]
        lines += ["  " + "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
        for f in self.findings:
            if f.detail or f.guess:
                lines.append(f"output {f.output}, input {f.input}: " + "; ".join(filter(None, [f.detail, f.guess])))
        lines += [f"note: {note}" for note in self.notes]
        if self.verdict == Verdict.WRONG:
            lines += ["", self.table()]
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """The same, ready for JSON; the witnesses are there if something is wrong."""
        answer: dict[str, Any] = {
            "name": self.name,
            "verdict": str(self.verdict),
            "ok": self.ok,
            "worst": self.worst.as_dict() if self.worst else None,
            "findings": [f.as_dict() for f in self.findings],
            "notes": self.notes,
        }
        if not self.ok:
            answer["witnesses"] = [w.as_dict() for w in self.witnesses]
        return answer

    def raise_if_not_ok(self) -> None:
        """Raise a GradcheckError that tells of the worst finding."""
        if not self.ok:
            raise GradcheckError(f"{self.name}: {self.worst}", self)


def _number(x: float | None, digits: int) -> str:
    return "" if x is None else f"{x:.{digits}g}"
