"""One subject at one point, examined: element by element, or along random directions and then narrowed down."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_ft.gradcheck.case import Case
from tinygrad_ft.gradcheck.differences import probe
from tinygrad_ft.gradcheck.guess import guess, guess_shape
from tinygrad_ft.gradcheck.point import FIRST_STEP, Point
from tinygrad_ft.gradcheck.tolerance import Answer, Tolerance, judged
from tinygrad_ft.gradcheck.verdict import Finding, Verdict

Array = Any
FEW = 2000  # elements: so many are looked at one by one
SURE = 16  # wrong elements that the whole curve must confirm before a probe is believed about the rest
KINKS = 64  # at so many kinks the rest is not looked at
ALONE = 100  # elements of one input of a large problem: so many are looked at one by one
SAMPLE = 24  # elements of a large input that a guess is made from


class Examination:
    """All that is found at one point, one finding for each output and input."""

    def __init__(self, point: Point, tolerance: Tolerance):
        self.point, self.subject, self.tolerance = point, point.subject, tolerance
        self.names = point.names()
        self.order = self.subject.order
        self.gradients: list[list[Array]] = []
        self.wide_gradients: dict[int, list[Array]] = {}

    def findings(self, directions: int | None) -> list[Finding]:
        """Everything, by the cheapest way that is sure."""
        if (times := self.point.changes()) > 64.0:
            detail = f"two calls at the same point differ, by {times:.3g} roundings"
            hint = "is there dropout in training mode, or another random number? call .eval(), or seed it in each call"
            return [self._finding(Verdict.NOT_DETERMINISTIC, 0, "-", detail=detail, guess=hint)]
        if wrong := self._pull():
            return wrong
        count = sum(a.size for a in self.point.arrays)
        if directions is None and count <= FEW:
            return [f for i in range(len(self.point.arrays)) for f in self._by_element(i)]
        return self._by_direction(directions or 3)

    def _finding(self, verdict: Verdict, k: int, name: str, **rest: Any) -> Finding:
        return Finding(verdict, self.order, self.names[k] if self.names else "-", name, **rest)

    def _pull(self) -> list[Finding]:
        """Ask for the gradients; findings if they have wrong shapes or change from call to call."""
        wrong: list[Finding] = []
        places = self.subject.places
        for k in range(len(self.names)):
            try:
                found = self.point.gradient(k)
            except ValueError as error:  # of a rule whose shapes do not fit
                hint = guess_shape(str(error), [(p.name, p.array.shape) for p in places], None, ())
                return [self._finding(Verdict.WRONG_SHAPE, k, "-", detail=str(error), guess=hint)]
            for place, g in zip(places, found, strict=True):
                if g.shape != place.array.shape:
                    shapes = [(p.name, p.array.shape) for p in places]
                    detail = f"the gradient has shape {g.shape}, the input {place.array.shape}"
                    hint = guess_shape("", shapes, g.shape, place.array.shape)
                    wrong.append(self._finding(Verdict.WRONG_SHAPE, k, place.name, detail=detail, guess=hint))
            self.gradients.append(found)
        if wrong or not self.names:
            return wrong
        again = self.point.gradient(0)
        for place, g, h in zip(places, self.gradients[0], again, strict=True):
            if not np.allclose(g, h, rtol=0.0, atol=1e-6 * _largest(g), equal_nan=True):
                detail = "two calls of the gradient at the same point differ"
                wrong.append(self._finding(Verdict.NOT_DETERMINISTIC, 0, place.name, detail=detail))
        return wrong

    # ------------------------------------------------------------ element by element

    def _by_element(self, i: int) -> list[Finding]:
        shape = self.point.arrays[i].shape
        elements = list(np.ndindex(shape))
        answers = self.by_differences(i, elements)
        return [self._worst(k, i, elements, answer, True) for k, answer in enumerate(answers)]

    def by_differences(self, i: int, elements: Sequence[tuple[int, ...]]) -> list[Answer]:
        """What differences say about these elements of input i, for each output."""
        probed = [self.point.probed(i, e) for e in elements]
        answers = []
        for k in range(len(self.names)):
            values, unsure, kinks = (np.array([p[part][k] for p in probed]) for part in range(3))
            answers.append(self._judged(k, i, elements, values, unsure, kinks))
        return answers

    def _judged(self, k: int, i: int, elements: Any, values: Array, unsure: Array, kinks: Array) -> Answer:
        got = np.array([self.gradients[k][i][e] for e in elements], float)
        expected, uncertainty = values.copy(), unsure.copy()
        verdicts = np.zeros(len(elements), int)  # severities
        details: dict[int, str] = {}
        floor = self._floor(k, i, values)
        allowed = floor + self.tolerance.rtol * np.abs(values)
        with np.errstate(invalid="ignore"):
            off = np.abs(got - values)
            vague = (unsure > 0.1 * allowed) & (unsure > 0.01 * off) & (unsure > self._nothing(k, i, elements))
            clear = ~vague & ~(kinks > 0.1 * allowed)
            clear &= np.isfinite(values)
            wrong = ~(off <= allowed + 3.0 * unsure)
        # a clear answer that agrees needs no curve; the worst that disagree do, and all that are not clear
        doubtful = [int(n) for n in np.argsort(-np.nan_to_num(off, nan=np.inf)) if wrong[n] and clear[n]]
        curves = [int(n) for n in np.flatnonzero(~clear)]
        believed = all(
            self._curve(k, i, elements, n, expected, uncertainty, verdicts, details, got, floor) == Verdict.WRONG
            for n in doubtful[:SURE]
        )
        verdicts[wrong & clear & (verdicts == Verdict.OK.severity)] = Verdict.WRONG.severity
        if not believed:
            curves += doubtful[SURE:]
        for n in curves:
            if (verdicts == Verdict.KINK.severity).sum() >= KINKS and kinks[n] > 0.1 * allowed[n]:
                verdicts[n] = Verdict.KINK.severity
                continue
            self._curve(k, i, elements, n, expected, uncertainty, verdicts, details, got, floor)
        self._in_float64(k, i, elements, expected, uncertainty, verdicts, details, floor)
        return Answer(expected, uncertainty, verdicts, details)

    def _floor(self, k: int, i: int, expected: Array) -> float:
        eps = float(np.finfo(self.point.arrays[i].dtype).eps)
        finite = np.abs(expected[np.isfinite(expected)])
        return self.tolerance.of(float(finite.max(initial=0.0)), eps)

    def _curve(
        self, k: int, i: int, elements: Any, n: int, expected: Array, uncertainty: Array, verdicts: Array,
        details: dict[int, str], got: Array, floor: float,
    ) -> Verdict:  # fmt: skip
        """Settle one element from the whole curve."""
        found = self.point.slope(k, i, elements[n], lambda size: floor + self.tolerance.rtol * size)
        expected[n], uncertainty[n] = found.value, found.uncertainty
        allowed = floor + self.tolerance.rtol * abs(found.value)
        nothing = float(self._nothing(k, i, elements[n : n + 1])[0])
        verdict, details[n] = judged(float(got[n]), found, allowed, nothing)
        verdicts[n] = verdict.severity
        return verdict

    def _nothing(self, k: int, i: int, elements: Any) -> Array:
        """Slopes that count as zero: over the size of x they move f by a 1e-9th."""
        return 1e-9 * self.point.size[k] / np.array([self.point.sizes[i][e] for e in elements])

    def _in_float64(
        self, k: int, i: int, elements: Any, expected: Array, uncertainty: Array, verdicts: Array,
        details: dict[int, str], floor: float,
    ) -> None:  # fmt: skip
        """What is wrong in float32 and right in float64 is a matter of precision."""
        point = self.point
        wrong = np.flatnonzero(verdicts == Verdict.WRONG.severity)
        if not wrong.size or point.wide[i].dtype == point.arrays[i].dtype:
            return
        if k not in self.wide_gradients:
            self.wide_gradients[k] = point.gradient(k, point.wide)
        for n in wrong:
            off = abs(float(self.wide_gradients[k][i][elements[n]]) - expected[n])
            if off <= floor + self.tolerance.rtol * abs(expected[n]) + 3.0 * uncertainty[n]:
                verdicts[n] = Verdict.LIMITED.severity
                details[int(n)] = f"in float64 the gradient agrees, in {point.arrays[i].dtype} it has lost its digits"

    def _worst(
        self, k: int, i: int, elements: Any, answer: Answer, whole: bool, checked: str = "every element"
    ) -> Finding:
        """The finding for output k and input i, of which these elements were looked at."""
        name = self.subject.places[i].name
        if not len(elements):
            return self._finding(Verdict.OK, k, name, checked="no elements")
        got = np.array([self.gradients[k][i][e] for e in elements], float)
        verdict = list(Verdict)[answer.verdicts.max()]
        with np.errstate(invalid="ignore"):
            off = np.abs(got - answer.expected) / (
                self.tolerance.rtol * np.abs(answer.expected) + 1e-300 + self._floor(k, i, answer.expected)
            )
        off = np.where(np.isnan(off), np.inf, off)
        n = int(np.argmax(np.where(answer.verdicts == verdict.severity, off, -1.0)))
        hint = ""
        if verdict == Verdict.WRONG:
            case = Case.of(self, k, i, elements, got, answer.expected, answer.verdicts == Verdict.WRONG.severity, whole)
            hint = guess(case)
        return self._finding(
            verdict, k, name, element=tuple(int(m) for m in elements[n]), expected=float(answer.expected[n]),
            uncertainty=float(answer.uncertainty[n]), got=float(got[n]), detail=answer.details.get(n, ""), guess=hint,
            checked=checked,
        )  # fmt: skip

    # ------------------------------------------------------------ along random directions

    def _by_direction(self, count: int) -> list[Finding]:
        """Along directions in all inputs at once; where one disagrees, along each input, then within it."""
        suspicious: set[int] = set()
        agreed: list[tuple[float, float, float]] = [(0.0, 0.0, 0.0)] * len(self.names)
        for which in range(count):
            agrees, numbers = self._along(self.point.direction(which))
            agreed = numbers
            suspicious |= {k for k, yes in enumerate(agrees) if not yes}
        checked = f"{count} random directions"
        findings = [
            self._finding(Verdict.OK, k, "all inputs", expected=e, uncertainty=u, got=g, checked=checked)
            for k, (e, u, g) in enumerate(agreed)
            if k not in suspicious
        ]
        for i, a in enumerate(self.point.arrays):
            if suspicious and a.size:
                findings += self._narrowed(i, suspicious, checked)
        return findings

    def _along(self, vs: list[Array], quick: bool = False) -> tuple[list[bool], list[tuple[float, float, float]]]:
        """Whether each output's slope along vs is what its gradient says; and expected, uncertainty, got."""
        line = self.point.along(vs)
        coarse, fine = probe(line, FIRST_STEP), probe(line, FIRST_STEP**2)  # the fine one passes by most kinks
        count = max(1, sum(int(np.count_nonzero(v)) for v in vs))
        eps = max((float(np.finfo(a.dtype).eps) for a in self.point.arrays), default=0.0)
        agrees, numbers = [], []
        for k, gs in enumerate(self.gradients):
            parts = [np.asarray(g, float).ravel() * v.ravel() for g, v in zip(gs, vs, strict=True)]
            got = float(sum(p.sum() for p in parts))
            norm = math.sqrt(sum(float(p @ p) for p in parts))
            for values, unsure, kinks in (coarse, fine):
                e, u = float(values[k]), float(unsure[k])
                size = max(norm, abs(e)) if math.isfinite(e) else norm
                allowed = size * max(0.1 * self.tolerance.rtol / math.sqrt(count), 1e-6, 16.0 * eps)
                agree = abs(got - e) <= allowed + u and u <= allowed and not kinks[k] > allowed
                if agree:
                    break
            if not agree and not quick:
                found = self.point.slope_along(k, line, lambda size, a=allowed: a)
                e, u = found.value, found.uncertainty
                enough = max(10.0 * allowed, 1e-3 * size, 1e-9 * self.point.size[k])
                agree = not found.kink and abs(got - e) <= allowed + 3.0 * u and u <= enough
            agrees.append(bool(agree))
            numbers.append((e, u, got))
        return agrees, numbers

    def _narrowed(self, i: int, suspicious: set[int], checked: str) -> list[Finding]:
        """Findings about input i: the outputs that disagree somewhere are looked at here."""
        agrees, numbers = self._along(self.point.direction(0, i))
        name = self.subject.places[i].name
        findings = []
        bad = [k for k in sorted(suspicious) if not agrees[k]]
        for k in sorted(suspicious):
            if k not in bad:
                e, u, g = numbers[k]
                findings.append(self._finding(Verdict.OK, k, name, expected=e, uncertainty=u, got=g, checked=checked))
        if bad and self.point.arrays[i].size <= (FEW if sum(a.size for a in self.point.arrays) <= FEW else ALONE):
            return findings + [f for k, f in enumerate(self._by_element(i)) if k in bad]
        for k in bad:
            elements = self._sample(i, self._halved(k, i))
            answer = self.by_differences(i, elements)[k]
            findings.append(self._worst(k, i, elements, answer, False, f"{checked}, then {len(elements)} elements"))
        return findings

    def _halved(self, k: int, i: int) -> int:
        """The flat index of the element that a direction disagrees most about, by halving the range."""
        start, stop = 0, self.point.arrays[i].size
        while stop - start > 1:
            middle = (start + stop) // 2
            off = []
            for part in (slice(start, middle), slice(middle, stop)):
                e, u, got = self._along(self.point.direction(0, i, part), True)[1][k]
                off.append(abs(got - e) - u if math.isfinite(got - e) else math.inf)
            start, stop = (start, middle) if off[0] >= off[1] else (middle, stop)
        return start

    def _sample(self, i: int, worst: int) -> list[tuple[int, ...]]:
        """That element and some others, spread over the array."""
        a = self.point.arrays[i]
        flat = {worst, *np.random.default_rng(self.point.seed).integers(0, a.size, SAMPLE - 1).tolist()}
        return [tuple(int(n) for n in np.unravel_index(n, a.shape)) for n in [worst, *sorted(flat - {worst})]]


def _largest(x: Array) -> float:
    return float(np.abs(x[np.isfinite(x)]).max(initial=1e-300))
