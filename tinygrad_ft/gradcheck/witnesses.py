"""Four witnesses of one derivative: reverse mode, forward mode, the complex step, differences; and who disagrees.

Reverse and forward mode share the rules of the ops; the complex step and differences see values only. A hand-written
gradient is a fifth.

Source of the complex step: Squire and Trapp, "Using complex variables to estimate derivatives of real functions",
SIAM Review 40, 1998: Im f(x + ih) / h has no difference in it, so h may be 1e-20 and nothing is lost.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygrad_ft.engine import Op, Value
from tinygrad_ft.gradcheck.by_hand import HandWritten
from tinygrad_ft.gradcheck.given import Gradients
from tinygrad_ft.gradcheck.point import Point
from tinygrad_ft.gradcheck.subject import NotAvailable
from tinygrad_ft.watch import Watch

Array = Any
TINY = 1e-20  # the complex step
CLOSE = 1e-5  # how well two witnesses must agree, beside their uncertainty
ANALYTIC = 1e-4  # how well an op's complex step must agree with differences of that op alone


class Statement(NamedTuple):
    """What one witness says: a number and its uncertainty, or why it says nothing."""

    witness: str
    value: float | None
    uncertainty: float = 0.0
    why: str = ""


class Testimony(NamedTuple):
    """All that was said about one derivative, and the judgement."""

    where: str
    statements: list[Statement]
    judgement: str

    def __str__(self) -> str:
        width = max(len(s.witness) for s in self.statements)
        lines = [f"{self.where}:"]
        for s in self.statements:
            said = f"not available: {s.why}" if s.value is None else f"{s.value:.12g}"
            said += f" ± {s.uncertainty:.1g}" if s.value is not None and s.uncertainty else ""
            lines.append(f"  {s.witness.ljust(width)}  {said}")
        return "\n".join([*lines, f"  {self.judgement}"])

    def as_dict(self) -> dict[str, Any]:
        """The same, ready for JSON."""
        said = [
            {"witness": s.witness, "value": _plain(s.value), "uncertainty": _plain(s.uncertainty), "why": s.why}
            for s in self.statements
        ]
        return {"where": self.where, "statements": said, "judgement": self.judgement}


def hear(point: Point, k: int, i: int | None = None, element: tuple[int, ...] | None = None) -> Testimony:
    """What each witness says about output k, by one element of input i, or along a random direction in all inputs."""
    if i is None or element is None:
        vs = point.direction(0)
        line = point.along(vs)
        found = point.slope_along(k, line, lambda size: 0.0)
        where = f"output {point.names()[k]} along a random direction"
    else:
        vs = [np.zeros(a.shape) for a in point.wide]
        vs[i][element] = 1.0
        found = point.slope(k, i, element, lambda size: 0.0)
        where = f"output {point.names()[k]} by {point.subject.places[i].name}, element {element}"
    eps = max(float(np.finfo(a.dtype).eps) for a in point.arrays)
    by_hand = isinstance(point.subject, HandWritten)
    statements = [_along("by hand" if by_hand else "reverse", point, k, vs, 64.0 * eps)]
    if by_hand:
        statements.append(_along("reverse", point, k, vs, 64.0 * eps, rules=True))
    statements.append(_forward(point, k, vs))
    statements.append(_complex(point, k, vs))
    if found.kink:
        statements.append(Statement("differences", None, 0.0, found.kink))
    else:
        statements.append(Statement("differences", found.value, found.uncertainty))
    statements = _without_a_complex_loner(statements)
    return Testimony(where, statements, judged(statements))


def _along(name: str, point: Point, k: int, vs: Sequence[Array], eps: float, rules: bool = False) -> Statement:
    try:
        gs = point.gradient(k, rules=rules)
    except NotAvailable as error:
        return Statement(name, None, 0.0, str(error))
    parts = [float(np.vdot(np.asarray(g, float), v)) for g, v in zip(gs, vs, strict=True)]
    return Statement(name, sum(parts), eps * sum(map(abs, parts)) if eps > 1e-10 else 0.0)


def _forward(point: Point, k: int, vs: Sequence[Array]) -> Statement:
    try:
        moved = point.subject.push(point.wide, vs)[k]
    except NotAvailable as error:
        return Statement("forward", None, 0.0, str(error))
    except Exception as error:
        return Statement("forward", None, 0.0, f"{type(error).__name__}: {error}")
    return Statement("forward", float((point.us[k] * moved).sum()))


def _complex(point: Point, k: int, vs: Sequence[Array]) -> Statement:
    try:
        return Statement("complex step", complex_step(point, vs)[k])
    except NotAvailable as error:
        return Statement("complex step", None, 0.0, str(error))
    except Exception as error:  # a function that was not meant for complex numbers may raise whatever it likes
        cause = error.__cause__ or error
        if isinstance(cause, NotAvailable):
            return Statement("complex step", None, 0.0, str(cause))
        return Statement("complex step", None, 0.0, f"{type(cause).__name__}: {str(cause).splitlines()[0][:80]}")


def complex_step(point: Point, vs: Sequence[Array]) -> list[float]:
    """Im f(x + i h v) / h for each weighted output.

    Raises:
        NotAvailable: if f, or an op in it, is not analytic there or does not take complex numbers.
    """
    if isinstance(point.subject, Gradients):
        raise NotAvailable("rules are written for real numbers")
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("error", np.exceptions.ComplexWarning)  # an imaginary part is thrown away
        with _Analytic():
            ys = point.subject.value([a + 1j * TINY * v for a, v in zip(point.wide, vs, strict=True)])
    answer = []
    for y, known, u in zip(ys, point.ys, point.us, strict=True):
        if np.shape(y) != known.shape or not np.iscomplexobj(y):
            raise NotAvailable("the function answers real numbers for complex ones")
        if not np.allclose(np.real(y), known, rtol=1e-4, atol=1e-6 * float(np.abs(known).max(initial=0.0))):
            raise NotAvailable("the function has another value for complex numbers")
        answer.append(float((u * np.imag(y)).sum() / TINY))
    return answer


class _Analytic(Watch):
    """Lets each op run on complex numbers, and holds it against differences of that op alone."""

    def call(self, op: Op, inputs: Sequence[Any], params: dict[str, Any]) -> Any:
        """The value, if the op's imaginary part is its derivative."""
        arrays: Any = [x.array if isinstance(x, Value) else x for x in inputs]
        if not any(np.iscomplexobj(a) for a in arrays if isinstance(a, np.ndarray)):
            return op(*inputs, **params)
        before = op.kernels.choice if op.kernels else None
        if op.kernels:
            op.kernels.choice = "reference"  # kernels are compiled for real numbers
        try:
            y = op(*inputs, **params)
            self._hold(op, arrays, params, y)
        finally:
            if op.kernels:
                op.kernels.choice = before
        return y

    def _hold(self, op: Op, arrays: Any, params: dict[str, Any], y: Any) -> None:
        moving = [isinstance(a, np.ndarray) and np.iscomplexobj(a) for a in arrays]
        size = max(float(np.abs(a.real).max(initial=0.0)) for a, m in zip(arrays, moving, strict=True) if m) or 1.0
        speed = max(float(np.abs(a.imag).max(initial=0.0)) for a, m in zip(arrays, moving, strict=True) if m) / TINY
        t = 1e-6 * size / speed if speed else 0.0

        def real(t: float) -> list[Array]:
            moved = [a.real + t * a.imag / TINY if m else a for a, m in zip(arrays, moving, strict=True)]
            answer = op(*moved, **params)
            return [np.asarray(z) for z in (answer if isinstance(answer, tuple) else (answer,))]

        parts: list[Any] = [getattr(z, "array", z) for z in (y if isinstance(y, tuple) else (y,))]
        for z, above, below in zip(parts, real(t), real(-t), strict=True):
            if above.dtype.kind != "f":  # a comparison, an index
                continue
            if not np.iscomplexobj(z):
                raise NotAvailable(f"{op.name} makes real numbers of complex ones")
            if not t:
                continue
            slope, step = (above - below) / (2.0 * t), z.imag / TINY
            noise = 1e-9 * float(np.abs(z).max(initial=0.0)) / (1e-6 * size) * speed
            if (np.abs(slope - step) > ANALYTIC * np.abs(slope).max(initial=0.0) + noise).any():
                raise NotAvailable(f"{op.name} is not analytic here")


# ---------------------------------------------------------------- judging


def judged(statements: Sequence[Statement]) -> str:
    """Who disagrees with the majority; where two stand against two, what they have in common decides."""
    heard = [s for s in statements if s.value is not None]
    if len(heard) < 2:
        return "there is nothing to compare"
    groups: list[list[Statement]] = []
    for s in heard:
        home = next((group for group in groups if _agree(group[0], s)), None)
        if home is None:
            groups.append([s])
        else:
            home.append(s)
    if len(groups) == 1:
        return f"all {len(heard)} agree"
    values = {"complex step", "differences"}
    groups.sort(key=lambda group: (-len(group), -sum(s.witness in values for s in group)))
    first, others = groups[0], groups[1:]
    outvoted = _names([s for group in others for s in group])
    if len(first) > len(others[0]):
        return f"{_names(first)} agree; {outvoted} disagree{'s' if sum(map(len, others)) == 1 else ''}"
    rules = [s.witness for group in others for s in group]
    because = "a rule is wrong" if set(rules) <= {"reverse", "forward"} else f"the gradient {rules[0]} is wrong"
    if not values & {s.witness for s in first}:
        return f"{_names(first)} stand against {outvoted}: nobody can tell"
    return f"{_names(first)} see only values and stand against {outvoted}: {because}"


def _agree(a: Statement, b: Statement) -> bool:
    assert a.value is not None and b.value is not None
    if not math.isfinite(a.value) or not math.isfinite(b.value):
        return a.value == b.value
    allowed = CLOSE * max(abs(a.value), abs(b.value)) + 3.0 * (a.uncertainty + b.uncertainty)
    return abs(a.value - b.value) <= allowed


def _names(statements: Sequence[Statement]) -> str:
    names = [s.witness for s in statements]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _without_a_complex_loner(statements: list[Statement]) -> list[Statement]:
    """A complex step that everyone contradicts, differences too, is no witness: the function is not analytic."""
    step = next(s for s in statements if s.witness == "complex step")
    rest = [s for s in statements if s is not step and s.value is not None]
    if step.value is None or len(rest) < 2 or any(_agree(step, s) for s in rest):
        return statements
    loner = Statement("complex step", None, 0.0, "the function is not analytic here: everyone contradicts it")
    return [loner if s is step else s for s in statements]


def _plain(x: float | None) -> float | str | None:
    return x if x is None or math.isfinite(x) else str(x)
