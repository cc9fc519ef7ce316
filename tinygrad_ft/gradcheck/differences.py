"""Derivatives by differences: a number and how sure it is, from the curve of the error against the step.

Along a line x + t v the function is K numbers (one for each output) of the single number t. Central differences err by
c h^2 + ... and, as h shrinks, by the noise of f divided by h. So no one step serves all functions: a cheap probe of two
steps comes first, and where that is not enough, a series of steps from far too large to far too small, of which
Richardson's extrapolation uses the stretch where its own estimates agree.

Source: Ridders, "Accurate computation of F'(x) and F'(x) F''(x)", Advances in Engineering Software 4, 1982.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Array = Any
RATIO = 4.0  # of one step to the next in a curve
DEEPEST = 4  # columns of Richardson's tableau: h^8 and beyond is below rounding
SMALLEST = 1e-12  # step, in units of the scale of x
EPS = 2.0**-52
NOISE = 1e-2  # in parts of f: what moves it by more at one step is no noise
FLAT = 256.0  # times the step of a probe: who moves there, and not before, may be too coarse for it
STILL = 3  # steps that do not move f at all: it may be grained
NOISY = 5  # of the smallest steps: the noise of f is measured there


class Curve(NamedTuple):
    """Slopes of one output by step, largest step first."""

    steps: Array
    central: Array
    right: Array
    left: Array


class Slope(NamedTuple):
    """A derivative, its uncertainty, the slopes to both sides, and why there is none, if there is none."""

    value: float
    uncertainty: float
    right: float
    left: float
    kink: str
    curve: Curve


class Line:
    """f on the line x + t v, every evaluation remembered; nan where it raises or is not finite."""

    def __init__(self, at: Callable[[float], Array], here: Array, size: Array, eps: float = EPS):
        """`at(t)` answers K numbers, `here` at t = 0; they are sums of terms of that `size`, with rounding `eps`."""
        self.at, self.here, self.size, self.rounding = at, here, size, eps * size
        self.known: dict[float, Array] = {}

    def __call__(self, t: float) -> Array:
        """The K numbers at t."""
        if t not in self.known:
            try:
                with np.errstate(all="ignore"):
                    y = self.at(t)
            except Exception:  # outside of the domain a function may raise whatever it likes
                y = np.full_like(self.here, np.nan)
            self.known[t] = np.where(np.isfinite(y), y, np.nan)
        return self.known[t]


def probe(line: Line, h: float) -> tuple[Array, Array, Array]:
    """Slopes from the steps h and h/2, their uncertainties, and the bends that a smooth f would not show: K of each."""
    a, b, c, d = line(h), line(-h), line(h / 2), line(-h / 2)
    wide, narrow = (a - b) / (2 * h), (c - d) / h
    value = (4.0 * narrow - wide) / 3.0
    uncertainty = np.abs(value - narrow) + 4.0 * line.rounding / h
    still = (a == line.here) & (b == line.here) & (c == line.here) & (d == line.here)
    if still.any():  # f is constant, or the step is below what it can resolve
        uncertainty = np.where(still & (line(FLAT * h) != line.here), np.inf, uncertainty)
    bend, half = np.abs(a - 2.0 * line.here + b) / h, 2.0 * np.abs(c - 2.0 * line.here + d) / h
    kink = np.where(half > 0.6 * bend, half, 0.0)  # of a smooth f the bend halves with the step
    kink = np.where(kink > 16.0 * line.rounding / h, kink, 0.0)
    return value, uncertainty, kink


def slope(line: Line, k: int, scale: float, far: float, tolerance: Callable[[float], float]) -> Slope:
    """The derivative of output k, from the whole curve.

    Args:
        scale: how large x is along the line, in units of t; steps go down to a 1e-12th of it.
        far: the largest step.
        tolerance: how much it may matter, for a derivative of that size: smaller kinks are overlooked.
    """
    h = _power_of_two(far)
    steps = []
    while h >= max(scale * SMALLEST, 1e-300):
        steps.append(h)
        h /= RATIO
    t = np.array(steps)
    above = np.array([line(h)[k] for h in steps])
    below = np.array([line(-h)[k] for h in steps])
    here = line.here[k]
    right, left, central = (above - here) / t, (here - below) / t, (above - below) / (2.0 * t)
    curve = Curve(t, central, right, left)
    noise = max(_noise(above, below, here, line.size[k], line.rounding[k]), _stuck(t, above - here, below - here))
    r, ur = _extrapolated(t, right, noise, 1)
    s, us = _extrapolated(t, left, noise, 1)
    if not np.isfinite(r) or not np.isfinite(s):
        side = "it has no finite value on one side" if np.isfinite(r) or np.isfinite(s) else "no finite value around"
        value = r if np.isfinite(r) else s
        return Slope(value, ur if np.isfinite(r) else us, r, s, side, curve)
    value, uncertainty = _extrapolated(t, central, noise, 2)
    matters = tolerance(max(abs(r), abs(s)))
    kink = ""
    if _jumps(above - here, line.rounding[k]) or _jumps(here - below, line.rounding[k]):
        kink = "the function jumps"
    elif abs(r - s) > 5.0 * (ur + us) + matters + 1e-4 * max(abs(r), abs(s)):
        kink = f"the slopes to the right and to the left are {r:.6g} and {s:.6g}"
    elif not uncertainty < 0.3 * abs(value) and (_grows(right, t, noise) or _grows(left, t, noise)):
        kink = "the slope has no bound"
    return Slope(value, uncertainty, r, s, kink, curve)


def _power_of_two(h: float) -> float:
    """So that x + h is exact wherever h is not below the spacing of the numbers around x."""
    return float(2.0 ** np.floor(np.log2(h)))


def _noise(above: Array, below: Array, here: float, size: float, rounding: float) -> float:
    """How much f scatters: its second difference at the smallest steps; or its grain, if some steps do not move it."""
    if ((above == here) & (below == here)).sum() >= STILL:
        moves = np.abs(np.concatenate([above, below]) - here)
        moves = np.sort(moves[(moves > 0) & (moves <= NOISE * size)])[:NOISY]
        parts = moves / moves.min(initial=np.inf)
        grained = parts.size > 1 and (np.abs(parts - np.rint(parts)) < 1e-3).all()  # whole multiples of one number
        return max(float(rounding), float(moves[0])) if grained else float(rounding)
    bends = np.abs(above - 2.0 * here + below)
    last = bends[bends <= NOISE * size][-NOISY:]
    smooth = (last[1:] <= np.maximum(last[:-1] / 3.0, 4.0 * rounding)).all()  # bends of f itself, and not yet noise
    return max(float(rounding), 0.5 * float((last[-1:] if smooth else last).max(initial=0.0)))


def _stuck(t: Array, above: Array, below: Array) -> float:
    """What f would have moved by at the largest step that does not move it, if only the smallest few are such.

    A straight line that is rounded alike on both sides shows no second difference, however coarse the rounding.
    """
    still = (above == 0) & (below == 0)
    moved = ~still & np.isfinite(above - below)
    if not still[-1] or still[:-STILL].any() or not moved.any():
        return 0.0
    return float(np.abs(np.median((above - below)[moved] / (2.0 * t[moved]))) * t[still].max())


def _extrapolated(t: Array, slopes: Array, noise: float, power: int) -> tuple[float, float]:
    """Where the slopes tend to as t shrinks, their error being a series in t^power; and how sure that is.

    The surest estimate that no smaller step contradicts: at a huge step a bounded function looks flat, and sure of it.
    """
    finite = np.isfinite(slopes)
    if not finite[-1]:
        return np.nan, np.inf
    start = len(slopes) - int(np.argmin(finite[::-1])) if not finite.all() else 0
    values, errors, before = [], [], np.array([])
    for h, s in zip(t[start:], slopes[start:], strict=True):
        row = [float(s)]
        best, error = float(s), np.inf
        for j in range(min(len(before), DEEPEST)):
            row.append(row[j] + (row[j] - before[j]) / (RATIO ** (power * (j + 1)) - 1.0))
            spread = max(abs(row[-1] - row[j]), abs(row[-1] - before[j])) + 4.0 * noise / h
            if spread < error:
                best, error = row[-1], spread
        values.append(best)
        errors.append(error)
        before = np.array(row)
    v, e = np.array(values), np.array(errors)
    for i in np.argsort(e):
        with np.errstate(invalid="ignore"):
            off = np.abs(v[i + 1 :] - v[i]) / (e[i + 1 :] + e[i] + 1e-300)  # in units of what both may err
        if (off > 4.0).sum() <= 0.1 * off.size and not (off > 20.0).any():
            return float(v[i]), float(e[i])
    return float(v[-1]), np.inf


def _jumps(moves: Array, rounding: float) -> bool:
    """Whether f moves by as much at each of the smallest steps: not the steps but the point itself matters."""
    last = moves[-6:]
    mean = float(np.mean(last))
    return bool(np.isfinite(mean) and np.ptp(last) <= 0.05 * abs(mean) and abs(mean) > 64.0 * rounding)


def _grows(slopes: Array, t: Array, noise: float) -> bool:
    """Whether the slope keeps growing as the step shrinks, beyond what noise explains."""
    size = np.abs(slopes[-6:])
    return bool((size[1:] > 1.2 * size[:-1]).all() and size[-1] > 100.0 * noise / t[-1])
