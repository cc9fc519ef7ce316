"""What a recorded step takes for granted: Python values that its code read, options of its modules and optimisers.

`Baked` values are those of the user's own code: globals, enclosing variables, attributes, elements. A change of one is
an error, since the user meant it to have an effect. `Options` are those of our modules and optimisers (training or
evaluation, momentum, which layers and weights there are, ...): with other ones the step is recorded again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dis import get_instructions
from operator import is_, itemgetter
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple

import numpy as np

from tinygrad_ft.engine import Value
from tinygrad_ft.jit.compare import same
from tinygrad_ft.jit.roots import JitError

SIMPLE = (bool, int, float, str, bytes, type(None), complex, np.float64, np.float32, np.int64, np.bool_)
DEEPEST = 4  # functions that functions call, objects in objects
LONGEST = 64  # elements of a list or an array that are looked at one by one
_GONE = object()


class Baked(NamedTuple):
    """A value that the user's code may have read: `names[key]`, or the cell `names`, and how it is called."""

    names: Any
    key: Any
    value: Any
    called: str

    def now(self) -> Any:
        """The value at present."""
        if self.key is _GONE:
            return self.names.copy() if type(self.names) is np.ndarray else getattr(self.names, "cell_contents", _GONE)
        if self.key is len:
            return len(self.names)
        try:
            return self.names[self.key]
        except (KeyError, IndexError):
            return _GONE


class Found(NamedTuple):
    """What the code of a step may read: simple values, and modules and optimisers of ours."""

    values: list[Baked]
    ours: list[Any]


def read_by(step: Any, arguments: Iterable[Any] = ()) -> Found:
    """What a step may read: what it and the functions and objects that it names, or is called with, hold."""
    found = Found([], [])
    seen: set[int] = set()
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
        seen.add(id(thing))
        if hasattr(thing, "named_modules") or hasattr(thing, "param_groups"):
            found.ours.append(thing)
            continue
        code = getattr(thing, "__func__", thing)
        if isinstance(code, FunctionType):
            words |= set(_words(code.__code__))
        for names, key, name in _names_of(thing, called, words):
            entry = Baked(names, key, None, name)
            value = entry.now()
            if type(value) in SIMPLE or (type(value) is tuple and all(type(v) in SIMPLE for v in value)):
                found.values.append(entry._replace(value=value))
            elif type(value) is np.ndarray and value.size <= LONGEST:
                found.values.append(Baked(value, _GONE, value.copy(), name))
            elif value is not _GONE and not isinstance(value, ModuleType | type):
                found.values.append(entry._replace(value=value))  # which thing it is, whatever it holds
            if _holds_names(value):
                (modules if isinstance(value, ModuleType) else waiting).append((value, name, depth + 1))
    return found


def _holds_names(thing: Any) -> bool:
    """Whether it is a function, a container, or an object of the user's own, whose contents the code may read."""
    if type(thing) in (dict, list, tuple) or isinstance(thing, FunctionType | MethodType | ModuleType):
        return True
    module = (thing.__module__ if isinstance(thing, type) else type(thing).__module__) or ""
    if hasattr(thing, "named_modules") or hasattr(thing, "param_groups"):
        return not isinstance(thing, type)
    return not _foreign(module) and not isinstance(thing, Value) and hasattr(thing, "__dict__")


def _foreign(module: str) -> bool:
    return module.split(".")[0] in {"tinygrad_ft", "numpy", "builtins", "numba"}


def _names_of(thing: Any, called: str, words: set[str]) -> Iterator[tuple[Any, Any, str]]:
    """(where a value stands, under which key, what it is called) for what a thing names; `words`: those of the code."""
    if isinstance(thing, MethodType):
        yield from _names_of(thing.__func__, called, words)
        thing = thing.__self__
    if isinstance(thing, FunctionType):
        if _foreign(thing.__module__ or ""):
            return
        for name, cell in zip(thing.__code__.co_freevars, thing.__closure__ or (), strict=True):
            yield cell, _GONE, name
        read = sorted(set(_globals_read(thing.__code__)))
        yield from ((thing.__globals__, name, name) for name in read if name in thing.__globals__)
        defaults: dict[Any, Any] = {**dict(enumerate(thing.__defaults__ or ())), **(thing.__kwdefaults__ or {})}
        yield from ((defaults, name, f"default {name} of {called}") for name in defaults)
    elif isinstance(thing, ModuleType):
        if not _foreign(thing.__name__):
            yield from ((vars(thing), name, f"{called}.{name}") for name in sorted(words) if name in vars(thing))
    elif type(thing) is dict:
        yield from ((thing, key, f"{called}[{key!r}]") for key in list(thing)[:LONGEST])
    elif type(thing) in (list, tuple):
        yield thing, len, f"the length of {called}"
        yield from ((thing, i, f"{called}[{i}]") for i in range(min(len(thing), LONGEST)))
    elif not hasattr(thing, "named_modules") and not hasattr(thing, "param_groups"):
        yield vars(thing), len, f"how many attributes {called} has"
        for names in (vars(thing), *(vars(k) for k in type(thing).__mro__ if not _foreign(k.__module__))):
            yield from ((names, key, f"{called}.{key}") for key in list(names) if not key.startswith("__"))


def _globals_read(code: CodeType) -> Iterator[str]:
    """The globals that code reads; attributes of the same names are others."""
    yield from (str(i.argval) for i in get_instructions(code) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME"))
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _globals_read(constant)


def _words(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _words(constant)


def changed_by_itself(values: list[Baked]) -> None:
    """Raise if one of the values is another now, after the step ran."""
    for value in values:
        now = value.now()
        if not same(now, value.value):
            raise JitError(
                f"the step changes {value.called} (from {_shown(value.value)} to {_shown(now)}), which a replay "
                "would not: its Python code runs only while it is recorded. Count outside the step, or in a Tensor."
            )


def require_unchanged(values: list[Baked]) -> None:
    """Raise if one of the values is another than when the step was recorded."""
    for value in values:
        now = value.now()
        if now is not value.value and not same(now, value.value):
            was, is_now = _shown(value.value), _shown(now)
            changed = f"was {was} when the step was recorded, and is {is_now} now"
            if was == is_now:
                changed = f"is another {type(now).__name__} than when the step was recorded"
            raise JitError(
                f"{value.called} {changed}: a jitted step has what its Python code read baked in. Pass {value.called} "
                "as an argument, or keep it in a Tensor; or jit the step anew."
            )


def _shown(value: Any) -> str:
    if value is _GONE:
        return "gone"
    simple = type(value) in (*SIMPLE, tuple) or (type(value) is np.ndarray and value.size <= LONGEST)
    return repr(value) if simple else f"a {type(value).__name__}"


class Options:
    """What modules and optimisers are made of: attributes and, of optimisers, the options of groups but the rate."""

    def __init__(self, used: list[Any]):
        self._expected: list[tuple[dict[str, Any], int, Any, Any]] = []  # a dict, its size, what takes all out, these
        self._states: list[tuple[Any, Any, tuple[Any, ...]]] = []
        self._groups: list[tuple[list[Any], list[list[Any]]]] = []
        every = [m for thing in used for m in (thing.modules() if hasattr(thing, "named_modules") else (thing,))]
        for thing in {id(thing): thing for thing in every}.values():
            attributes = vars(thing)
            passing = {"param_groups", "state", "last_epoch", "_last_lr"} if hasattr(thing, "param_groups") else set()
            self._expect(attributes, passing)
            if hasattr(thing, "param_groups"):
                self._states.append((thing, thing.state, tuple(thing.state.values())))
                self._groups.append((thing.param_groups, [list(group["params"]) for group in thing.param_groups]))
                for entry in thing.state.values():
                    self._expect(entry, set())
                for group in thing.param_groups:
                    self._expect(group, {"lr", "initial_lr"})

    def _expect(self, names: dict[str, Any], passing: set[str]) -> None:
        keys = [key for key in names if key not in passing]
        if len(keys) > 1:
            take = itemgetter(*keys)
            self._expected.append((names, len(names), take, take(names)))
        elif keys:
            self._expected.append((names, len(names), lambda names: (names[keys[0]],), (names[keys[0]],)))

    def hold(self) -> bool:
        """Whether all are as they were."""
        for names, size, take, values in self._expected:
            if len(names) != size:
                return False
            try:
                now = take(names)
            except KeyError:
                return False
            if not all(map(is_, now, values)) and not all(map(_equal, now, values)):
                return False
        for groups, params in self._groups:
            if len(groups) != len(params) or not all(
                len(group["params"]) == len(known) for group, known in zip(groups, params, strict=True)
            ):
                return False
        for thing, state, entries in self._states:
            if thing.state is not state or len(state) != len(entries) or not all(map(is_, state.values(), entries)):
                return False
        return True


def _equal(a: Any, b: Any) -> bool:
    return a is b or (type(a) in (*SIMPLE, tuple, list) and same(a, b))
