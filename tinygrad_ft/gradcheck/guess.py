"""What a person would try first, from the pattern of wrong numbers: a table of small functions, asked in order.

Each takes a `Case` and answers a guess, or "" if it sees nothing. They see numbers only, so every guess is a question.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from tinygrad_ft.gradcheck.case import CLOSE, Case, constant, ratios, same, small
from tinygrad_ft.gradcheck.guess_arrays import arrays_like, by_axis, elsewhere, off_by, other_slope, wrong_saved

LAST = "a term is missing or wrong: or one use of the input assigned where it should accumulate?"


def guess(case: Case) -> str:
    """The first guess that fits."""
    with np.errstate(all="ignore"):
        for look in LOOKS:
            if found := look(case):
                return found
    return LAST


# ---------------------------------------------------------------- the table


def _not_finite(case: Case) -> str:
    if np.isfinite(case.got).all():
        return ""
    return "a division by zero, or a logarithm or power of 0, in the rule? (0 times inf is nan)"


def _zero(case: Case) -> str:
    zero = case.got == 0
    if (zero | ~case.wrong).all() and zero.any():
        if (zero | (np.abs(case.expected) < CLOSE * np.abs(case.expected).max())).all():
            return "the gradient is missing (zero): cut off by detach, or no gradient returned?"
        return "a term is missing: zero here; is a part of the input forgotten, or masked?"
    return ""


def _factor(case: Case) -> str:
    r = constant(ratios(case))
    if r is None or not same(case.got, r * case.expected):
        return ""
    if abs(r + 1.0) < 1e-3:
        return "sign?"
    sign = "sign, and " if r < 0 else ""
    size = abs(r)
    names = [name for n, name in _lengths(case) if abs(size - n) < 1e-3 * n or abs(size * n - 1.0) < 1e-3]
    lengths = f"ratio {r:.4g} is {'1 / ' if size < 1 else ''}{names[0]}: mean against sum?" if names else ""
    if abs(size - 2.0) < 1e-3:
        twice = "ratio 2: a factor 2 too much, or a term counted twice?"
    elif abs(size - 0.5) < 1e-3:
        twice = "ratio 0.5 (1/2): the 2 of a square forgotten, or one of two uses assigned where it should accumulate?"
    else:
        twice = ""
    if twice or lengths:
        return sign + " or ".join(filter(None, [twice, lengths]))
    for name, a in case.inputs:
        if a.size == 1 and same(np.array([r]), a.reshape(1)):
            return f"ratio {r:.4g} is {name} itself: is {name} missing, or too much?"
    whole = round(max(size, 1.0 / size))
    if whole > 2 and abs(max(size, 1.0 / size) - whole) < 1e-3 * whole:
        return f"{sign}ratio {r:.4g} everywhere: mean against sum over {whole}, or a constant factor?"
    number = f"{r:.3g}" if abs(size - 1.0) > 0.05 else f"{r:.6g}"
    return f"{sign}ratio {number} everywhere: a constant factor forgotten?"


def _lengths(case: Case) -> Iterator[tuple[int, str]]:
    """Numbers that a mean divides by, with what they count."""
    for n, name in ((case.x.size, "the number of elements"), (case.y.size, "the number of elements of the output")):
        if n > 1:
            yield n, name
    for label, a in [("input", case.x), ("output", case.y), *[(f"{name}", a) for name, a in case.inputs]]:
        for axis, n in enumerate(a.shape):
            if n > 1:
                batch = " (the batch size?)" if axis == 0 and a.ndim > 1 else ""
                yield n, f"the length of axis {axis} of {label}{batch}"
        for pair in combinations(a.shape, 2):
            yield int(np.prod(pair)), f"the product of two axes of {label}"


def _transposed(case: Case) -> str:
    if not case.whole or case.x.ndim < 2:
        return ""
    for p, q in combinations(range(case.x.ndim), 2):
        if case.x.shape[p] == case.x.shape[q] and same(case.got, np.swapaxes(case.expected, p, q)):
            return f"transposed? (axes {p} and {q} swapped)"
    return ""


def _reordered(case: Case) -> str:
    if not case.whole or case.x.size < 3 or np.ptp(case.expected) == 0:
        return ""
    for axis in range(case.x.ndim):
        if same(case.got, np.flip(case.expected, axis)):
            return f"in the reverse order along axis {axis}?"
    if same(np.sort(case.got, axis=None), np.sort(case.expected, axis=None)):
        return "the right numbers in the wrong order: transposed, or reshaped by other axes?"
    return ""


def _mask(case: Case) -> str:
    none = np.abs(case.expected) <= 1e-9 * max(float(np.abs(case.got).max()), 1e-300)
    if case.wrong.any() and none.any() and (none >= case.wrong).all() and not (case.got[none] == 0).all():
        return "not zero where it must be: a mask is missing?"
    return ""


def _not_summed(case: Case) -> str:
    if not small(case):
        return ""
    base = [a for _, a in case.inputs]
    for axis, n in enumerate(case.u.shape):
        for index, name in ((0, "first"), (-1, "last")) if n > 1 else ():
            u = np.zeros_like(case.u)
            place = (*[slice(None)] * axis, index)
            u[place] = case.u[place]
            if same(case.got, case.elsewhere(base, u)):
                return f"broadcast axis not summed? only the {name} of output axis {axis} has come back"
    return ""


def _backwards(case: Case) -> str:
    if not small(case) or case.u.shape != case.x.shape:
        return ""
    base = [a for _, a in case.inputs]
    for axis in range(case.x.ndim):
        if case.x.shape[axis] > 1:
            turned = [np.flip(a, axis) if a.shape == case.x.shape else a for a in base]
            if same(case.got, np.flip(case.elsewhere(turned, np.flip(case.u, axis)), axis)):
                return f"summed in the wrong order: backward along axis {axis}?"
    return ""


def _accumulate(case: Case) -> str:
    repeated = [name for name, a in case.constants if a.dtype.kind in "iu" and np.unique(a).size < a.size]
    wrong = case.got[case.wrong]
    cotangents = case.u.ravel()
    alone = wrong.size and all((np.abs(cotangents - g) <= CLOSE * abs(g)).any() for g in wrong)
    expected = case.expected[case.wrong]
    summed = not any((np.abs(cotangents - e) <= CLOSE * abs(e)).any() for e in expected)
    some_right = not case.wrong.all()
    if alone and summed and (some_right or repeated):
        return "assigned where it should accumulate? one cotangent has come where several should be added"
    if repeated and some_right:
        return f"assigned where it should accumulate? {repeated[0]} holds an index twice"
    if alone and not summed and case.whole:
        return "cotangents in the wrong order or place: an axis transposed, or cut elsewhere?"
    return ""


def _exchanged(case: Case) -> str:
    """Zero where it should not be, and not where it should; or u minus what it should be."""
    zero, none = case.got == 0, np.abs(case.expected) <= CLOSE * np.abs(case.expected).max()
    if none.any() and not none.all() and (zero != none).all():
        return "the mask is inverted, or two branches are exchanged?"
    if case.whole and case.u.shape == case.x.shape and same(case.got, case.u - case.expected):
        return "one minus what it should be: a sign inside the function, or the shares exchanged?"
    return ""


def _same_along(case: Case) -> str:
    """What is missing is the same along an axis: a sum or a mean that a rule takes off."""
    if not case.whole:
        return ""
    missing = case.expected - case.got
    candidates = [("", missing), *((f" times {name}", missing / a) for name, a in arrays_like(case))]
    for text, m in candidates:
        for axis, n in enumerate(m.shape):
            level = m.mean(axis=axis, keepdims=True)
            if n > 1 and np.isfinite(m).all() and same(np.broadcast_to(level, m.shape), m):
                return f"a term is missing: a sum or mean along axis {axis}{text}?"
    return ""


def _alone(case: Case) -> str:
    if case.wrong.sum() == 1 < case.wrong.size:
        return "all others that were looked at are right: an index, an edge or a special case?"
    return ""


LOOKS: list[Callable[[Case], str]] = [
    _not_finite, _exchanged, _zero, _factor, _transposed, _mask, _reordered, wrong_saved, off_by, by_axis, other_slope,
    elsewhere, _not_summed, _backwards, _accumulate, _same_along, _alone,
]  # fmt: skip


def guess_shape(message: str, inputs: Sequence[tuple[str, tuple[int, ...]]], got: Any, wanted: tuple[int, ...]) -> str:
    """What to try where the shape is wrong, from the shapes, or from what a rule that fails says."""
    if got is None:
        if "answered shape" not in message:
            return "transposed, or a product of the wrong arrays? its shapes do not fit"
        numbers = message.split("answered shape ")[1]
        got, wanted = (_parsed(part) for part in numbers.split(" for an input of shape ")[:2])
    if len(got) == len(wanted) and sorted(got) == sorted(wanted):
        return "transposed?"
    if [n for n in got if n != 1] == [n for n in wanted if n != 1]:
        return "an axis of length 1 too many or too few: keepdims, or a reshape?"
    if len(got) > len(wanted) or (
        len(got) == len(wanted) and all(n == m or m == 1 for n, m in zip(got, wanted, strict=True))
    ):
        return "broadcast axis not summed?"
    if [name for name, shape in inputs if shape == got]:
        return "swapped with the gradient of another input?"
    return "summed over an axis too many, or the shape of another array?"


def _parsed(text: str) -> tuple[int, ...]:
    inside = text[text.index("(") + 1 : text.index(")")]
    return tuple(int(n) for n in inside.split(",") if n.strip())
