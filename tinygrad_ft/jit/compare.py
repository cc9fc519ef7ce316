"""Whether two recordings of a step are the same program, and what differs: nothing may be baked in unnoticed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygrad_ft.jit.record import Recorder
from tinygrad_ft.jit.roots import GRADIENT, HELD, Line, Ref


class Difference(NamedTuple):
    """What differs, in words; `value` if the ops are the same and only a number or a constant differs."""

    text: str
    value: bool


def difference(a: Recorder, b: Recorder) -> Difference | None:
    """The first difference between two recordings; None if they are the same program."""
    both = a.leaves.keys() & b.leaves.keys()  # others are made in the step itself, as func.grad does
    if any(a.leaves[i].had != b.leaves[i].had for i in both):
        return Difference("which leaves have a gradient beforehand", False)
    for one, other in zip(a.lines, b.lines, strict=False):
        if found := _of_lines(a, b, one, other):
            return found
    if len(a.lines) != len(b.lines):
        return Difference(f"{len(a.lines)} ops in one call and {len(b.lines)} in another", False)
    if [root for root, _ in a.events] != [root for root, _ in b.events]:
        return Difference("what Python does beside the ops", False)
    return None


def _of_lines(a: Recorder, b: Recorder, one: Line, other: Line) -> Difference | None:
    if one.op is not other.op or len(one.inputs) != len(other.inputs) or one.params.keys() != other.params.keys():
        return Difference(f"{one.op.name} at {one.place} in one call and {other.op.name} at {other.place}", False)
    if one.outputs != other.outputs:
        return Difference(f"the shape of what {one.op.name} at {one.place} answers", False)
    for i, (x, y) in enumerate(zip(one.inputs, other.inputs, strict=True)):
        if isinstance(x, Ref) != isinstance(y, Ref) or (isinstance(x, Ref) and x != y):
            return Difference(f"where input {i} of {one.op.name} at {one.place} comes from", False)
        if not isinstance(x, Ref):
            if not same(x, y):
                return Difference(f"{one.op.name} at {one.place} was called with {x!r}, then with {y!r}", True)
        elif found := _of_roots(a, b, x.root, one):
            return found
    for name, x in one.params.items():
        if not same(x, other.params[name]):
            text = f"{one.op.name} at {one.place} was called with {name}={x!r}, then with {name}={other.params[name]!r}"
            return Difference(text, True)
    return None


def _of_roots(a: Recorder, b: Recorder, root: int, line: Line) -> Difference | None:
    x, y = a.roots[root], b.roots[root]
    where = f"an array that {line.op.name} at {line.place} is given"
    if x.kind is not y.kind or x.nbytes != y.nbytes:
        return Difference(f"where {where} comes from", False)
    if x.kind is GRADIENT and x.owner is not y.owner:
        return Difference(f"whose gradient {where} is", False)
    if x.kind is HELD and x.array is not y.array:
        if x.owner is not None and x.owner is y.owner:  # a Tensor that was given another array in between
            return None
        if x.overwritten or y.overwritten or root not in a.constants or root not in b.constants:
            return Difference(
                f"{where} was made in the step without an op: make it outside, or with tg.zeros() etc.", True
            )
        if not np.array_equal(x.bytes, y.bytes):
            return Difference(f"{where} was made without an op, and has other numbers in each call", True)
    return None


def of_answers(a: Recorder, b: Recorder, xs: Sequence[Ref], ys: Sequence[Ref]) -> Difference | None:
    """The first difference between what two recordings answer."""
    if list(xs) != list(ys):
        return Difference("where an answer comes from", False)
    for ref in xs:
        x, y = a.roots[ref.root], b.roots[ref.root]
        held = x.kind is HELD and x.array is not y.array
        if held and (ref.root not in a.constants or not np.array_equal(x.bytes, y.bytes)):
            return Difference("an answer is made in the step without an op", True)
    return None


def same(x: Any, y: Any) -> bool:
    """Whether two numbers, parameters or structures of them are equal; NaN is equal to NaN."""
    if isinstance(x, np.ndarray) or isinstance(y, np.ndarray):
        return type(x) is type(y) and x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()
    if type(x) is not type(y):
        return False
    if isinstance(x, tuple | list):
        return len(x) == len(y) and all(map(same, x, y))
    if isinstance(x, dict):
        return x.keys() == y.keys() and all(same(x[k], y[k]) for k in x)
    if isinstance(x, set | frozenset):
        return x == y and {*map(type, x)} == {*map(type, y)}  # 2 is not 2.0
    if not isinstance(x, bool | int | float | complex | str | bytes | np.generic | np.dtype | slice):
        return x is y
    return bool(x is y or x == y or (x != x and y != y))
