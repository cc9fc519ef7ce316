"""What a recorded step takes for granted: Python values that its code read, options of its modules and optimisers.

`Baked` values are those of the user's own code: globals, enclosing variables, attributes, elements. A change of one is
an error, since the user meant it to have an effect. `Options` are those of our modules and optimisers (training or
evaluation, momentum, which layers and weights there are, ...): with other ones the step is recorded again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import is_, itemgetter
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

import numpy as np

from tinygrad_ft.jit.compare import same
from tinygrad_ft.jit.names import GONE, LONGEST, SIMPLE, WRAPPERS, held_by, holds_names, is_ours, words_in
from tinygrad_ft.jit.roots import JitError

DEEPEST = 4  # functions that functions call, objects in objects


class Baked(NamedTuple):
    """A value that the user's code may have read, and what reads it again; `array`: the one whose numbers these are."""

    called: str
    value: Any
    now: Callable[[], Any]
    array: Any = None


class Found(NamedTuple):
    """What the code of a step may read: simple values, and modules and optimisers of ours."""

    values: list[Baked]
    ours: list[Any]


def read_by(step: Any, arguments: Iterable[Any] = ()) -> Found:
    """What a step may read: what it and the functions and objects that it names, or is called with, hold."""
    found = Found([], [])
    seen: dict[int, Any] = {}
    waiting: list[tuple[Any, str, int]] = [(step, getattr(step, "__qualname__", type(step).__name__), 0)]
    waiting += [(argument, type(argument).__name__, 1) for argument in arguments]
    modules: list[tuple[Any, str, int]] = []  # of Python's, looked at last: whatever code names may be theirs
    words: set[str] = set()
    while waiting or modules:
        if not waiting:
            waiting, modules = modules, []
        thing, called, depth = waiting.pop()
        if id(thing) in seen or depth > DEEPEST:
            continue
        seen[id(thing)] = thing
        if is_ours(thing):
            found.ours.append(thing)
        if isinstance(thing, FunctionType):
            words |= set(words_in(thing.__code__))
        below = depth + (not isinstance(thing, (*WRAPPERS, type)))
        for name, value, now in held_by(thing, called, words):
            if now is not None and not isinstance(value, ModuleType):
                found.values.append(Baked(name, value, now))  # of what is not simple: which thing it is
            if type(value) is np.ndarray and value.size <= LONGEST:
                found.values.append(Baked(name, value.copy(), value.copy, value))
            if holds_names(value):
                (modules if isinstance(value, ModuleType) else waiting).append((value, name, below))
    return found


def changed_by_itself(values: list[Baked]) -> None:
    """Raise if one of the values is another now, after the step ran."""
    for called, was, read, _ in values:
        now = read()
        if now is not was and not same(now, was):
            raise JitError(
                f"the step changes {called} (from {_shown(was)} to {_shown(now)}), which a replay would not: its "
                "Python code runs only while it is recorded. Count outside the step, or in a Tensor."
            )


def require_unchanged(values: list[Baked]) -> None:
    """Raise if one of the values is another than when the step was recorded."""
    for called, was, read, _ in values:
        now = read()
        if now is not was and not same(now, was):
            changed = f"was {_shown(was)} when the step was recorded, and is {_shown(now)} now"
            if _shown(was) == _shown(now):
                changed = f"is another {type(now).__name__} than when the step was recorded"
            raise JitError(
                f"{called} {changed}: a jitted step has what its Python code read baked in. Pass {called} as an "
                "argument, or keep it in a Tensor; or jit the step anew."
            )


def _shown(value: Any) -> str:
    if value is GONE:
        return "not there"
    simple = type(value) in (*SIMPLE, tuple) or (type(value) is np.ndarray and value.size <= LONGEST)
    if type(value) in (set, frozenset) and all(type(v) in SIMPLE for v in value):
        return f"{{{', '.join(sorted(map(repr, value)))}}}"
    return repr(value) if simple else f"a {type(value).__name__}"


class Options:
    """What modules and optimisers are made of: attributes and, of optimisers, the options of groups but the rate."""

    def __init__(self, used: list[Any]):
        self._expected: list[tuple[dict[str, Any], int, Any, Any]] = []  # a dict, its size, what takes all out, these
        self._called: list[tuple[str, list[str], set[str]]] = []  # whose it is, if told; the keys; what may change
        self._states: list[tuple[Any, Any, tuple[Any, ...]]] = []
        self._groups: list[tuple[Any, list[Any], list[int]]] = []  # how many parameters each has
        every = [m for thing in used for m in (thing.modules() if hasattr(thing, "named_modules") else (thing,))]
        for thing in {id(thing): thing for thing in every}.values():
            passing = {"param_groups", "state", "last_epoch", "_last_lr"} if hasattr(thing, "param_groups") else set()
            self._expect(type(thing).__name__, vars(thing), passing)
            if hasattr(thing, "param_groups"):
                self._states.append((thing, thing.state, tuple(thing.state.values())))
                self._groups.append((thing, thing.param_groups, [len(group["params"]) for group in thing.param_groups]))
                for entry in thing.state.values():
                    self._expect("", entry, set())
                for group in thing.param_groups:
                    self._expect(type(thing).__name__, group, {"lr", "initial_lr"})

    def _expect(self, whose: str, names: dict[str, Any], passing: set[str]) -> None:
        keys = [key for key in names if key not in passing]
        take = itemgetter(*keys) if len(keys) > 1 else lambda names: tuple([names[key] for key in keys])
        self._expected.append((names, len(names), take, take(names)))
        self._called.append((whose, keys, passing))

    def changed(self) -> list[str]:
        """How those are called that are others now; there may be changes that have no name."""
        found = []
        for (names, _, _, values), (whose, keys, passing) in zip(self._expected, self._called, strict=True):
            before = dict(zip(keys, values, strict=True))
            every = [key for key in {**before, **names} if whose and key not in passing]
            found += [f"{key} of {whose}" for key in every if not _equal(before.get(key, GONE), names.get(key, GONE))]
        for thing, groups, params in self._groups:
            if not _has_as_many(groups, params):
                found.append(f"which parameters {type(thing).__name__} has")
        return found

    def hold(self) -> bool:
        """Whether all are as they were."""
        for names, size, take, values in self._expected:
            if len(names) != size:
                return False
            if not values:
                continue
            try:
                now = take(names)
            except KeyError:
                return False
            if not all(map(is_, now, values)) and not all(map(_equal, now, values)):
                return False
        for _, groups, params in self._groups:
            if not _has_as_many(groups, params):
                return False
        for thing, state, entries in self._states:
            if thing.state is not state or len(state) != len(entries) or not all(map(is_, state.values(), entries)):
                return False
        return True


def _has_as_many(groups: list[Any], params: list[int]) -> bool:
    return [len(group["params"]) for group in groups] == params


def _equal(a: Any, b: Any) -> bool:
    return a is b or (type(a) in (*SIMPLE, tuple, list) and same(a, b))
