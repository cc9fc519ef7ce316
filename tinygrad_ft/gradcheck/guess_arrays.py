"""Guesses about arrays: one saved, or used, where another belongs; exchanged; or not transposed."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import numpy as np

from tinygrad_ft.gradcheck.case import Array, Case, constant, ratios, same, small


def off_by(case: Case) -> str:
    """The ratio varies as something simple does."""
    r = ratios(case)
    if not case.whole or np.isfinite(r).sum() < 2:
        return ""
    for name, p in arrays_like(case):
        with np.errstate(all="ignore"):
            for text, q in ((f"{name}", p), (f"1 / {name}", 1.0 / p), (f"{name}^2", p * p), (f"1 / {name}^2", p**-2.0)):
                c = constant(r / np.broadcast_to(q, r.shape))
                if c is not None and constant(np.abs(q)) is None:
                    times = "" if abs(c - 1.0) < 1e-3 else f"{c:.4g} "
                    return f"off by a factor of {times}{text}: is {name} missing, or too much?"
            c = constant(r / np.broadcast_to(np.sign(p), r.shape))
            if c is not None and (np.sign(p) < 0).any():
                return f"off by the sign of {name}?" if abs(c - 1.0) < 1e-3 else f"off by {c:.4g} times sign({name})?"
    for (a, p), (b, q) in combinations(arrays_like(case), 2):
        for up, p_, down, q_ in ((a, p, b, q), (b, q, a, p)):
            c = constant(r / np.broadcast_to(p_ / q_, r.shape))
            if c is not None and abs(abs(c) - 1.0) < 1e-3:
                return f"wrong array saved: {up} where {down} belongs{_both_inputs(up, down)}?"
    return ""


def by_axis(case: Case) -> str:
    """The ratio is another one at each place of one axis."""
    r = ratios(case)
    for axis, n in enumerate(r.shape if case.whole and case.x.ndim > 1 else ()):
        rows = [constant(row) for row in np.moveaxis(r, axis, 0)]
        if n < 2 or None in rows or (np.isfinite(np.moveaxis(r, axis, 0).reshape(n, -1)).sum(axis=1) < 2).any():
            continue
        levels = np.array(rows, float)
        for i, (name, a) in enumerate([*case.inputs, *case.constants]):
            if a.size == n and a.dtype.kind == "f":
                for text, q in ((name, a.ravel()), (f"1 / {name}", 1.0 / a.ravel())):
                    if constant(levels / q) is not None:
                        return f"off by a factor of {text} (input {i}) along axis {axis}: is it missing, or too much?"
        return f"a factor that depends on axis {axis} alone: the weight, share or scale of each is missing?"
    return ""


def arrays_like(case: Case) -> list[tuple[str, Array]]:
    """What broadcasts to the input: the inputs and the output, by name."""
    found = [(f"{name} (input {i})", a) for i, (name, a) in enumerate(case.inputs)]
    found += [(name, a) for name, a in case.constants if a.dtype.kind == "f"]
    found += [("the output", case.y)] if case.y.size > 1 or not case.x.ndim else []
    return [(name, a) for name, a in found if _broadcasts(a.shape, case.x.shape)]


def _broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    return len(shape) <= len(to) and all(n in (1, m) for n, m in zip(shape[::-1], to[::-1], strict=False))


SHAPES: dict[str, Callable[[Array], Array]] = {
    "1": np.ones_like,
    "t": lambda t: t,
    "1/t": lambda t: 1.0 / t,
    "2 t": lambda t: 2.0 * t,
    "1/(2 t)": lambda t: 0.5 / t,
    "t^2": lambda t: t * t,
    "1/t^2": lambda t: t**-2.0,
    "1 - t": lambda t: 1.0 - t,
    "1 + t": lambda t: 1.0 + t,
    "1/(1 + t)": lambda t: 1.0 / (1.0 + t),
    "1 - t^2": lambda t: 1.0 - t * t,
    "1 + t^2": lambda t: 1.0 + t * t,
    "1/(1 + t^2)": lambda t: 1.0 / (1.0 + t * t),
    "1/(1 - t^2)": lambda t: 1.0 / (1.0 - t * t),
    "1/sqrt(1 - t^2)": lambda t: 1.0 / np.sqrt(1.0 - t * t),
    "t (1 - t)": lambda t: t * (1.0 - t),
    "e^t": np.exp,
    "ln t": np.log,
    "sin t": np.sin,
    "cos t": np.cos,
    "1/(1 + e^-t)": lambda t: 1.0 / (1.0 + np.exp(-t)),
    "1/(1 + e^t)": lambda t: 1.0 / (1.0 + np.exp(t)),
}


def wrong_saved(case: Case) -> str:
    """The slope is a known function of one array where it should be the same of another."""
    got, expected = _slopes(case)
    for function, now in got:
        for right, was in expected:
            if function == right:
                both = _both_inputs(now, was)
                return f"wrong array saved: {now} where {was} belongs, in {function}{both}?"
    return ""


def other_slope(case: Case) -> str:
    """The slope is a known function where it should be another one."""
    got, expected = _slopes(case)
    if not got or not expected:
        return ""
    (function, now), (right, was) = got[0], expected[0]
    return f"the slope is {function}, t being {now}, and should be {right}, t being {was}?"


def _slopes(case: Case) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """What is multiplied with the cotangent, in got and in expected: a function, and the name of the array it is of."""
    got: list[tuple[str, str]] = []
    expected: list[tuple[str, str]] = []
    for text, f in SHAPES.items() if case.whole and case.u.shape == case.x.shape else ():
        for name, a in arrays_like(case):
            slope = case.u * np.broadcast_to(f(a), case.x.shape)
            for found, numbers in ((got, case.got), (expected, case.expected)):
                found += [(text, name)] if same(slope, numbers) else []
                found += [(f"-({text})", name)] if same(-slope, numbers) else []
    return got, expected


def _both_inputs(a: str, b: str) -> str:
    return ", the two inputs exchanged" if "(input" in a and "(input" in b else ""


def elsewhere(case: Case) -> str:
    """got is the right gradient of another point: an array swapped, replaced or transposed."""
    if not small(case):
        return ""
    base = [a for _, a in case.inputs]
    name = case.inputs[case.which][0]
    for j, (other, a) in enumerate(case.inputs):
        trials: list[tuple[str, dict[int, Array]]] = []
        if j != case.which and a.shape == case.x.shape:
            trials.append((f"swapped? {name} and {other} exchanged", {case.which: a, j: case.x}))
            trials.append((f"wrong array saved: {name} where the other input {other} belongs?", {j: case.x}))
            trials.append((f"wrong array saved: the other input {other} where {name} belongs?", {case.which: a}))
        if case.y.shape == a.shape:
            trials.append((f"wrong array saved: the output where {other} belongs?", {j: case.y}))
        if a.ndim >= 2 and a.shape[-1] == a.shape[-2]:
            trials.append((f"transposed? {other} where its transpose belongs", {j: np.swapaxes(a, -1, -2)}))
        for text, changed in trials:
            if same(case.got, case.elsewhere([changed.get(m, b) for m, b in enumerate(base)], case.u)):
                return text
    if case.u.ndim >= 2 and case.u.shape[-1] == case.u.shape[-2]:
        turned = case.elsewhere(base, np.swapaxes(case.u, -1, -2))
        if same(case.got, turned) or (case.x.ndim >= 2 and same(case.got, np.swapaxes(turned, -1, -2))):
            return "transposed? the cotangent where its transpose belongs"
    return _other_gradient(case, base)


def _other_gradient(case: Case, base: list[Array]) -> str:
    """got is, up to sign, what another input should have received."""
    for j, (other, a) in enumerate(case.inputs):
        if j != case.which and a.shape == case.x.shape:
            theirs = case._replace(which=j).elsewhere(base, case.u)
            if same(case.got, theirs):
                return f"swapped? this is the gradient of the other input {other}"
            if same(case.got, -theirs):
                return f"sign, or swapped? this is minus the gradient of the other input {other}"
    return ""
