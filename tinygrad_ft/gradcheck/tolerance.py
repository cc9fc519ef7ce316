"""How much a gradient may be off, and what follows from the slope that differences have found."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from tinygrad_ft.gradcheck.differences import Slope
from tinygrad_ft.gradcheck.verdict import Verdict

Array = Any


class Tolerance(NamedTuple):
    """How much a gradient may be off: rtol in parts of its own element, atol absolute.

    atol None stands for a hundredth of rtol in parts of the array's largest element, so that small gradients are
    checked as well as large ones.
    """

    rtol: float
    atol: float | None

    def of(self, largest: float, eps: float) -> float:
        """What is added to rtol |x|."""
        return self.atol if self.atol is not None else max(1e-2 * self.rtol, 32.0 * eps) * largest


class Answer(NamedTuple):
    """Differences, their uncertainties and verdicts for every element of an input (or for those of a sample)."""

    expected: Array
    uncertainty: Array
    verdicts: Array
    details: dict[int, str]


def judged(got: float, found: Slope, allowed: float, nothing: float) -> tuple[Verdict, str]:
    """The verdict on one element, and what else is known; `allowed` is the tolerance, `nothing` counts as zero."""
    if found.kink:
        return Verdict.KINK, found.kink
    far = np.abs(found.curve.central[:3])
    nothing = max(nothing, 1e-6 * float(far[np.isfinite(far)].max(initial=0.0)))
    off = abs(got - found.value)
    if not math.isfinite(found.uncertainty):
        return Verdict.LIMITED, "differences do not settle on a slope"
    if off <= allowed + 3.0 * found.uncertainty:
        vague = found.uncertainty > max(allowed, nothing, 0.05 * max(abs(found.value), abs(got)))
        return (Verdict.LIMITED, "differences are too noisy to tell") if vague else (Verdict.OK, "")
    if found.uncertainty > 0.3 * off:
        return Verdict.LIMITED, "differences are too noisy to tell"
    return Verdict.WRONG, ""
