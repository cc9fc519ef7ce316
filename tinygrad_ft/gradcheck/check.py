"""Is this gradient right? `examine` answers with a report, `gradcheck` and `gradgradcheck` with yes or an error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_ft.engine import Value
from tinygrad_ft.gradcheck.examine import Examination
from tinygrad_ft.gradcheck.given import Gradients, subject_of
from tinygrad_ft.gradcheck.point import Point
from tinygrad_ft.gradcheck.report import GradcheckError, Report
from tinygrad_ft.gradcheck.subject import OfTensors, Subject
from tinygrad_ft.gradcheck.tolerance import Tolerance

__all__ = ["GradcheckError", "examine", "gradcheck", "gradgradcheck"]

Function = Callable[..., Any]
WEIGHTED = "made one number by random weights of 0.5 to 1.5 with either sign: expected and got are of that number"


def examine(
    f: Function,
    inputs: Any,
    *,
    gradient: Function | None = None,
    order: int = 1,
    names: Sequence[str] | None = None,
    rtol: float = 1e-3,
    atol: float | None = None,
    seed: int = 0,
    directions: int | None = None,
    eps: float | None = None,
) -> Report:
    """Hold the gradients of f against differences, and report what was found, whatever it is.

    Args:
        f: a function of Tensors that answers a Tensor or several (in tuples, lists, dicts), an op, or a module, whose
            parameters that require grad are checked too; with `gradient`, a function of plain arrays or numbers too.
        inputs: one, or a sequence. Tensors are checked where they require grad; plain arrays where they hold
            floating-point numbers. float32 is welcome: differences are taken in float64.
        gradient: one that was written by hand. It is called as gradient(*inputs) if f answers one number, and as
            gradient(*inputs, *gs), with g = dL/dy for each output y, if f answers arrays or if its signature takes
            them. It answers an array, or a tuple with one for each input (None for zero).
        order: 2 examines the gradients of f as well, as functions of its inputs and of dL/dy.
        names: of the inputs; else those in f's signature.
        rtol, atol: how much an element may be off: rtol in parts of itself, atol absolute. atol None is rtol / 100 in
            parts of the largest element of that gradient.
        seed: of the weights of the outputs and of the directions.
        directions: look along so many random directions, and within the inputs only if one disagrees. None: 3 where
            there are more than 2000 elements, else every element.
        eps: the first step, in units of x. None: a 1000th of each element, or of the size of its array.
    Raises:
        TypeError: if f answers no Tensor, or inputs hold integers where a gradient is wanted.
        ValueError: if no input requires grad, an input or the value is not finite.
        FunctionError: a RuntimeError, if f or the gradient raises; the cause is chained.
    """
    if order not in (1, 2):
        raise ValueError(f"gradcheck knows first and second order: got order={order}")
    first = subject_of(f, inputs, gradient, names)
    if order == 2 and not isinstance(first, OfTensors):
        raise ValueError("second order needs a gradient made of the library's ops: pass order=1 with gradient=...")
    tolerance = Tolerance(rtol, atol)
    rng = np.random.default_rng(seed)
    with _buffers_as_they_are(f):
        done = [_examined(first, rng, tolerance, eps)]
        findings = done[0].findings(directions)
        if order == 2 and isinstance(first, OfTensors) and all(found.verdict.severity < 3 for found in findings):
            weights = [np.array(u, y.dtype) for u, y in zip(done[0].point.us, done[0].point.ys, strict=True)]
            second = _examined(Gradients(first, weights), rng, tolerance, eps)
            findings = findings + second.findings(directions)
            done.append(second)
    weighted = [] if all(u.ndim == 0 for u in done[0].point.us) else [f"an output of several numbers is {WEIGHTED}"]
    return Report(first.name, findings, [*first.notes, *weighted], done)


def _examined(subject: Subject, rng: np.random.Generator, tolerance: Tolerance, eps: float | None) -> Examination:
    return Examination(Point(subject, rng, eps), tolerance)


class _buffers_as_they_are:
    """A context after which a module's buffers (running means) are what they were."""

    def __init__(self, f: Any):
        self.buffers = [b for _, b in f.named_buffers()] if hasattr(f, "named_buffers") else []

    def __enter__(self) -> None:
        self.before = [b.array.copy() for b in self.buffers]

    def __exit__(self, *_: object) -> None:
        for buffer, array in zip(self.buffers, self.before, strict=True):
            buffer.array[...] = array


def gradcheck(
    f: Function,
    inputs: Any,
    *,
    gradient: Function | None = None,
    eps: float | None = None,
    atol: float | None = None,
    rtol: float = 1e-3,
    names: Sequence[str] | None = None,
    seed: int = 0,
    directions: int | None = None,
    raise_exception: bool = True,
) -> bool:
    """Whether the gradients of f agree with differences; the arguments are those of `examine`.

    Raises:
        GradcheckError: unless the verdict is ok, with the worst element, both numbers, their ratio, and a guess.
        TypeError, ValueError, FunctionError: as `examine`.
    """
    report = examine(
        f, inputs, gradient=gradient, names=names, rtol=rtol, atol=atol, seed=seed, directions=directions, eps=eps
    )
    if raise_exception:
        report.raise_if_not_ok()
    return report.ok


def gradgradcheck(
    f: Function,
    inputs: Any,
    grad_outputs: Any = None,
    *,
    eps: float | None = None,
    atol: float | None = None,
    rtol: float = 1e-3,
    names: Sequence[str] | None = None,
    seed: int = 0,
    directions: int | None = None,
    raise_exception: bool = True,
) -> bool:
    """The same for second derivatives: of the gradients of f, as functions of its inputs and of dL/dy.

    Args:
        grad_outputs: dL/dy at which to look, for each floating-point output; random if not given.
    """
    first = subject_of(f, inputs, None, names)
    assert isinstance(first, OfTensors)
    rng = np.random.default_rng(seed)
    point = Point(first, rng, eps)
    weights = [np.array(u, y.dtype) for u, y in zip(point.us, point.ys, strict=True)]
    if grad_outputs is not None:
        given = [grad_outputs] if isinstance(grad_outputs, Value) else list(grad_outputs)
        weights = [g.array if isinstance(g, Value) else np.asarray(g) for g in given]
    with _buffers_as_they_are(f):
        examination = _examined(Gradients(first, weights), rng, Tolerance(rtol, atol), eps)
        report = Report(first.name, examination.findings(directions), first.notes, [examination])
    if raise_exception:
        report.raise_if_not_ok()
    return report.ok
