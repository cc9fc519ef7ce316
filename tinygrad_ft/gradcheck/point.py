"""A subject at one point: its outputs made numbers, lines through the point, and the gradient under test there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_ft.gradcheck.differences import Line, Slope, probe, slope
from tinygrad_ft.gradcheck.subject import FunctionError, Subject

Array = Any
FIRST_STEP = 2.0**-10  # in units of the scale of x: there, h^4 and rounding / h are both about 1e-12
STRETCH = 1e-2  # an element below this part of its array's size is moved as if it were as large as that


class Point:
    """The subject near its inputs. Differences are taken in float64, also where the inputs are float32.

    Attributes:
        arrays: the inputs in their own dtype; `wide` the same in float64.
        us: what each output is weighted by, to make one number of it: 1 for a single number, else random.
        ys: the outputs.
    """

    def __init__(self, subject: Subject, rng: np.random.Generator, step: float | None = None):
        self.subject, self.step = subject, step
        self.arrays = [np.array(place.array) for place in subject.places]
        with np.errstate(all="ignore"):
            self.ys = [np.array(y) for y in subject.value(self.arrays)]
        for name, y in zip(self.names(), self.ys, strict=True):
            if not np.isfinite(y).all():
                raise ValueError(
                    f"gradcheck needs a finite value at the point: output {name} of {subject.name} is {_strange(y)}; "
                    "move the inputs into its domain"
                )
        self.us = [np.array(1.0) if y.size == 1 and y.ndim == 0 else _weights(rng, y.shape) for y in self.ys]
        self.repeated = subject.value(self.arrays)
        self.wide = self._widened()
        self.here, self.size, self.eps = self._numbers()
        self.sizes = [_scales(a) for a in self.wide]
        self.seed = int(rng.integers(2**31))

    def names(self) -> list[str]:
        """What the outputs are called."""
        return self.subject.output_names() or [str(k) for k in range(len(self.ys))]

    def _widened(self) -> list[Array]:
        """The inputs in float64 if the function takes them so, else as they are."""
        if all(a.dtype == np.float64 for a in self.arrays):
            return [a.copy() for a in self.arrays]
        wide = [a.astype(np.float64) for a in self.arrays]
        try:
            ys = self.subject.value(wide)
        except (FunctionError, ArithmeticError, TypeError, ValueError):
            return [a.copy() for a in self.arrays]
        same = [y.shape for y in ys] == [y.shape for y in self.ys] and all(np.isfinite(y).all() for y in ys)
        return wide if same else [a.copy() for a in self.arrays]

    def _numbers(self) -> tuple[Array, Array, float]:
        """The weighted outputs, how large the terms are that they are sums of, and their relative rounding."""
        ys = self.subject.value(self.wide)
        size = np.array([float(np.abs(u * y).sum()) for u, y in zip(self.us, ys, strict=True)])
        return self._weighted(ys), size, max((float(np.finfo(y.dtype).eps) for y in ys), default=0.0)

    def _weighted(self, ys: Sequence[Array]) -> Array:
        if [y.shape for y in ys] != [u.shape for u in self.us]:
            raise ValueError("the outputs have other shapes elsewhere")
        pairs = zip(self.us, ys, strict=True)
        return np.array([np.dot(u.ravel(), np.asarray(y, np.float64).ravel()) for u, y in pairs])

    def numbers(self, arrays: Sequence[Array]) -> Array:
        """The weighted outputs: one number each."""
        return self._weighted(self.subject.value(arrays))

    def changes(self) -> float:
        """How much the outputs of two calls differ, in units of rounding; 0 for a deterministic function."""
        largest = 0.0
        for y, again in zip(self.ys, self.repeated, strict=False):
            if y.shape != again.shape:
                return math.inf
            unit = float(np.finfo(y.dtype).eps) * max(float(np.abs(y).max(initial=0.0)), 1e-290)
            largest = max(largest, float(np.abs(y - again).max(initial=0.0)) / unit)
        return largest if len(self.ys) == len(self.repeated) else math.inf

    def gradient(self, k: int, arrays: Sequence[Array] | None = None, rules: bool = False) -> list[Any]:
        """The gradient of the k-th number; zeros in place of None."""
        arrays = self.arrays if arrays is None else arrays
        us = [u if j == k else np.zeros_like(u) for j, u in enumerate(self.us)]
        with np.errstate(all="ignore"):  # a gradient that is not finite is reported, with more than a warning
            found = (self.subject.rules if rules else self.subject.pull)([np.array(a) for a in arrays], us)
        return [np.zeros(a.shape, a.dtype) if g is None else g for g, a in zip(found, arrays, strict=True)]

    # lines

    def line(self, i: int, element: tuple[int, ...]) -> Line:
        """Through the point along one element of input i."""
        moved = [a.copy() if j == i else a for j, a in enumerate(self.wide)]
        x = moved[i]
        before = x[element]

        def at(t: float) -> Array:
            x[element] = before + t
            if x[element] == before and math.isfinite(before):
                raise ArithmeticError("the step is below the spacing of numbers")
            return self.numbers(moved)

        return Line(at, self.here, self.size, self.eps)

    def direction(self, which: int, i: int | None = None, part: slice = slice(None)) -> list[Array]:
        """Random numbers of the size of the inputs, all of them or input i alone, or a stretch of it; else zeros."""
        rng = np.random.default_rng([self.seed, which])
        vs = []
        for j, (a, size) in enumerate(zip(self.wide, self.sizes, strict=True)):
            if i is not None and j != i:
                vs.append(np.zeros(a.shape))
                continue
            v = _weights(rng, a.shape) * size
            if part != slice(None):
                kept = np.zeros(a.size)
                kept[part] = v.ravel()[part]
                v = kept.reshape(a.shape)
            vs.append(v)
        return vs

    def along(self, vs: Sequence[Array]) -> Line:
        """Through the point along vs."""
        moving = [bool(v.any()) for v in vs]

        def at(t: float) -> Array:
            return self.numbers([a + t * v if m else a for a, v, m in zip(self.wide, vs, moving, strict=True)])

        return Line(at, self.here, self.size, self.eps)

    def probed(self, i: int, element: tuple[int, ...]) -> tuple[Array, Array, Array]:
        """The slopes of all outputs by one element, cheaply."""
        scale = float(self.sizes[i][element])
        return probe(self.line(i, element), self.step or float(2.0 ** math.floor(math.log2(scale * FIRST_STEP))))

    def slope(self, k: int, i: int, element: tuple[int, ...], tolerance: Any) -> Slope:
        """The slope of output k by one element, from the whole curve."""
        scale = abs(float(self.wide[i][element])) or float(self.sizes[i][element])
        far = 0.5 * max(1.0, float(self.sizes[i].max(initial=scale)), scale)
        return slope(self.line(i, element), k, scale, far, tolerance)

    def slope_along(self, k: int, line: Line, tolerance: Any) -> Slope:
        """The slope of output k along a line whose direction is of the size of the inputs."""
        smallest = min((float(s.min(initial=1.0)) for s in self.sizes), default=1.0)
        return slope(line, k, 1.0, 0.5 * max(1.0, min(1.0 / max(smallest, 1e-300), 1e8)), tolerance)


def _strange(x: Array) -> str:
    place = np.unravel_index(np.argmin(np.isfinite(x)), x.shape)
    return f"{x[place]} at element {tuple(int(n) for n in place)}" if x.ndim else f"{x}"


def _weights(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Numbers that hide no element: from 0.5 to 1.5, with either sign."""
    return np.asarray(rng.uniform(0.5, 1.5, shape) * np.where(rng.random(shape) < 0.5, -1.0, 1.0))


def _scales(x: Array) -> Array:
    """How large each element is, or is to be thought of where it is much less than the others; 1 if all are 0."""
    x = np.where(np.isfinite(x), x, 0.0)
    size = math.sqrt(float(np.mean(np.square(x)))) if x.size else 1.0
    return np.asarray(np.maximum(np.abs(x), STRETCH * size if size else 1.0))
