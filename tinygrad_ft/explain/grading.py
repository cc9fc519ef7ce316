"""An answer to an exercise, held against differences or against the right value, with what a teacher would say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from inspect import Parameter, Signature, signature
from typing import Any

import numpy as np

from tinygrad_ft.engine import Value
from tinygrad_ft.gradcheck import Finding, FunctionError, Verdict, examine
from tinygrad_ft.gradcheck.case import constant
from tinygrad_ft.tensor import Tensor

Array = Any


@dataclass(frozen=True)
class Grade:
    """What became of an answer: whether it is right, and a line that says so or what may be wrong with it."""

    right: bool
    text: str

    def __repr__(self) -> str:
        return self.text


def grade(f: Callable[..., Any], rule: Callable[..., Any], *inputs: Any) -> Grade:
    """Grade a rule of the chain rule that a learner wrote, by central differences of f in float64.

    Args:
        f: a function of Tensors that answers a Tensor of any shape.
        rule: called as rule(g, *inputs) on NumPy arrays, with g = dL/dy in the shape of y = f(*inputs); it answers
            dL/dx in the shape of the input, for several inputs a tuple or list (None for those of integers).
        inputs: numbers or arrays; those of integers (indices, labels) are not differentiated.

    An error in the rule is part of the grade; one in f is raised.
    """
    arrays = [_plain(x) for x in inputs]
    arrays = [a.astype(np.float64) if a.dtype.kind == "f" else a for a in arrays]

    def value(*xs: Array) -> Array:
        return _plain(f(*map(Tensor, xs)))

    ones = np.ones(value(*arrays).shape)

    def answered(*g_and_xs: Array) -> Any:
        answer = rule(*g_and_xs)
        return tuple(answer) if isinstance(answer, list) and len(arrays) > 1 else answer

    try:
        answer = answered(ones, *(a.copy() for a in arrays))
    except Exception as error:  # whatever a learner's code may raise is what the grade has to say
        return Grade(False, f"not yet: your rule raised {type(error).__name__}: {error}")
    if answer is None or answer is Ellipsis:
        return Grade(False, "not yet: your rule answers nothing: is there a `return`?")
    answers = answer if isinstance(answer, tuple) else (answer,)
    if not all(a is None or _plain(a).dtype.kind in "fiub" for a in answers):
        return Grade(False, f"not yet: your rule must answer an array for each input: got {answer!r}")

    def call(*xs_and_g: Array) -> Any:
        *xs, g = xs_and_g
        answer = answered(np.reshape(g, ones.shape), *xs)
        several = isinstance(answer, tuple)
        return tuple(None if a is None else _plain(a) for a in answer) if several else _plain(answer)

    names = _names(f, len(arrays))
    gradient: Any = call
    gradient.__name__ = "that you wrote"
    # by its signature the checker knows that it wants g, even where y is one number
    gradient.__signature__ = Signature([Parameter(name, Parameter.POSITIONAL_ONLY) for name in (*names, "g")])
    try:
        report = examine(value, arrays, gradient=gradient, names=names)
    except (TypeError, FunctionError) as error:
        return Grade(False, f"not yet: {error}")
    if report.worst is None or report.ok:
        many = sum(a.size for a in arrays if a.dtype.kind == "f")
        return Grade(True, f"right: {'it agrees' if many == 1 else f'all {many} numbers agree'} with differences")
    return Grade(False, _criticised(report.worst))


def grade_value(yours: Any, right: Any, *, rtol: float = 1e-6) -> Grade:
    """Grade a number or an array that a learner predicted.

    Args:
        yours: the prediction; None or ... while there is none.
        right: what it is held against, of any shape.
        rtol: how far off it may be, in parts of the largest number of `right`.
    """
    if yours is None or yours is Ellipsis:
        return Grade(False, "not yet: there is no answer")
    try:
        got, wanted = np.asarray(_plain(yours), float), np.asarray(_plain(right), float)
    except (TypeError, ValueError):
        return Grade(False, f"not yet: a number or an array is asked for: got {yours!r}")
    if got.shape != wanted.shape:
        turned = got.ndim > 1 and got.T.shape == wanted.shape and _close(got.T, wanted, rtol)
        why = "your answer is the transpose" if turned else f"your answer has shape {got.shape}, not {wanted.shape}"
        return Grade(False, f"not yet: {why}")
    if _close(got, wanted, rtol):
        return Grade(True, "right")
    if got.ndim == 2 and got.shape == got.T.shape and _close(got.T, wanted, rtol):
        return Grade(False, "not yet: your answer is the transpose")
    with np.errstate(all="ignore"):
        ratio = constant(np.where(np.abs(wanted) > 0, got / wanted, np.nan))
    # a factor is a hint where it is a simple one, or the same for many numbers; else it gives the answer away
    simple = ratio is not None and min(abs(r - round(r)) for r in (ratio, 1 / ratio)) < 1e-6
    if ratio is not None and (simple or got.size > 1) and _close(got, ratio * wanted, rtol):
        of = " everywhere" if got.size > 1 else ""
        why = "the sign is turned" if abs(ratio + 1.0) < 1e-6 else f"your answer is {ratio:.4g} times the right one{of}"
        return Grade(False, f"not yet: {why}")
    if got.size == 1 and np.isfinite(got):
        return Grade(False, f"not yet: {got.item():.6g} is too {'small' if got < wanted else 'large'}")
    with np.errstate(invalid="ignore"):
        far = np.abs(got - wanted)
    if not np.isfinite(far).all():
        return Grade(False, "not yet: your answer holds nan or inf" if got.size > 1 else f"not yet: {got} is no answer")
    wrong = int((far > rtol * np.abs(wanted).max(initial=0.0)).sum())
    where = tuple(int(i) for i in np.unravel_index(far.argmax(), far.shape))
    return Grade(
        False, f"not yet: {wrong} of {got.size} numbers are wrong, most of all the one at {where}: {got[where]:.6g}"
    )


def _plain(x: Any) -> Array:
    return np.asarray(x.array if isinstance(x, Value) else x)


def _close(a: Array, b: Array, rtol: float) -> bool:
    largest = float(np.abs(b[np.isfinite(b)]).max(initial=0.0))
    return bool(np.allclose(a, b, rtol=0.0, atol=rtol * max(largest, 1e-300)))


def _names(f: Callable[..., Any], count: int) -> list[str]:
    """The names that f has for its inputs; their numbers where it does not tell."""
    try:
        names = [p.name for p in signature(f).parameters.values() if p.kind == p.POSITIONAL_OR_KEYWORD]
    except (TypeError, ValueError):  # a callable that does not tell
        names = []
    return names[:count] if len(names) >= count else [f"x{i}" for i in range(count)]


def _criticised(worst: Finding) -> str:
    """The finding in one line: where, both numbers, and what a person would try first."""
    judged = "not judged here" if worst.verdict in (Verdict.KINK, Verdict.LIMITED) else "not yet"
    parts = [f"dL/d{worst.input}" + (f" at {worst.element}" if worst.element else "")]
    if worst.got is not None and worst.expected is not None:
        ratio = "" if worst.ratio is None or "ratio" in worst.guess else f", ratio {worst.ratio:.4g}"
        parts = [f"{parts[0]} is {worst.expected:.6g} by differences, {worst.got:.6g} by your rule{ratio}"]
    guess = worst.guess.replace("transposed?", "is your answer the transpose?").replace("sign?", "is the sign turned?")
    return f"{judged}: {'; '.join([*parts, *filter(None, [worst.detail, guess])])}"
