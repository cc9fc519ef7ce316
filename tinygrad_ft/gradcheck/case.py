"""A wrong gradient with all that a guess may look at, and what patterns are recognised by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygrad_ft.gradcheck.differences import Line, probe

Array = Any
CLOSE = 1e-4  # how well a pattern must fit, in parts of the largest number
MANY = 150  # elements: beyond, nothing is computed anew to try a guess


class Case(NamedTuple):
    """A wrong gradient by one input.

    Attributes:
        expected, got, wrong: in the shape of the input, or flat for a sample of a large one.
        inputs, which: all the arrays by name, and which of them the gradient is by.
        cotangents, output: what the outputs were weighted by, and which of them is meant.
        ys: the outputs.
        integers: the arrays of integers among the other arguments.
        whole: whether every element is here.
        value: the outputs elsewhere, for guesses that try something.
    """

    expected: Array
    got: Array
    wrong: Array
    inputs: list[tuple[str, Array]]
    which: int
    cotangents: list[Array]
    output: int
    ys: list[Array]
    constants: list[tuple[str, Array]]
    whole: bool
    value: Callable[[Sequence[Array]], list[Array]]

    @property
    def x(self) -> Array:
        """The input that the gradient is by."""
        return self.inputs[self.which][1]

    @property
    def u(self) -> Array:
        """What the output was weighted by."""
        return self.cotangents[self.output]

    @property
    def y(self) -> Array:
        """The output."""
        return self.ys[self.output]

    @classmethod
    def of(
        cls, examination: Any, k: int, i: int, elements: Any, got: Array, expected: Array, wrong: Array, whole: bool
    ) -> Case:
        """The case that an examination has before it."""
        point = examination.point
        shape = point.arrays[i].shape if whole else (len(elements),)
        named = [(place.name, a) for place, a in zip(point.subject.places, point.wide, strict=True)]
        return cls(
            expected.reshape(shape), got.reshape(shape), wrong.reshape(shape), named, i, point.us, k,
            [np.asarray(y, float) for y in point.ys], point.subject.constants, whole, point.subject.value,
        )  # fmt: skip

    def elsewhere(self, arrays: Sequence[Array], u: Array) -> Array:
        """The gradient by differences at other inputs, or for another cotangent; nan where f has no value."""
        arrays = [np.array(a, float) for a in arrays]
        x = arrays[self.which]

        def numbers(t: float) -> Array:
            x[place] = before + t
            y = np.asarray(self.value(arrays)[self.output], float)
            x[place] = before
            return np.array([(u * y).sum()])

        answer = np.full(x.shape, np.nan)
        for place in np.ndindex(x.shape):
            before = x[place]
            try:
                line = Line(numbers, numbers(0.0), np.zeros(1))
            except Exception:  # f need not have a value there
                return answer
            answer[place] = probe(line, 2.0**-10 * max(abs(float(before)), 0.1))[0][0]
        return answer


def same(a: Array, b: Array) -> bool:
    """Whether two arrays hold the same numbers, to what differences can tell."""
    if np.shape(a) != np.shape(b) or not np.size(a):
        return False
    top = max(float(np.abs(b).max()), 1e-300)
    return bool(np.isfinite(a).all() and (np.abs(np.subtract(a, b)) <= CLOSE * top).all())


def constant(r: Array) -> float | None:
    """The one number that r holds, if it is one."""
    r = r[np.isfinite(r)]
    if not r.size:
        return None
    middle = float(np.median(r))
    return middle if middle and (np.abs(r - middle) <= 10 * CLOSE * abs(middle)).all() else None


def ratios(case: Case) -> Array:
    """got / expected, where expected is clearly not 0."""
    clear = np.abs(case.expected) > 1e-3 * np.abs(case.expected).max(initial=0.0)
    return np.where(clear, case.got / np.where(clear, case.expected, 1.0), np.nan)


def small(case: Case) -> bool:
    """Whether it is cheap enough to compute gradients anew."""
    return case.whole and case.x.size <= MANY
