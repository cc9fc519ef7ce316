"""What names a thing of Python's holds: all that code can read through it, and how to read that again.

Through a function its globals, enclosing variables and defaults; through a container its elements; through an object
its attributes, slots and methods, and those of its classes; through what stands around a function that function.
"""

from __future__ import annotations

import os
import sys
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from dis import get_instructions
from functools import cache, partial
from itertools import islice
from types import (
    ClassMethodDescriptorType,
    CodeType,
    FunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodDescriptorType,
    MethodType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any, NamedTuple

import numpy as np

from tinygrad_ft.engine import Op, Value

SIMPLE = (bool, int, float, str, bytes, type(None), complex, np.float64, np.float32, np.int64, np.bool_)
LONGEST = 64  # elements of a container or an array that are looked at one by one
GONE = object()  # stands for what is not there
CONTAINERS = (dict, list, deque, tuple, set, frozenset)
WRAPPERS = (MethodType, partial, property, staticmethod, classmethod, defaultdict)  # what stands around a function
_OF_C = (
    ClassMethodDescriptorType, GetSetDescriptorType, MemberDescriptorType, MethodDescriptorType, WrapperDescriptorType,
)  # fmt: skip
_MAKING = ("__init__", "__new__", "__post_init__")  # not run by who only uses a thing
_NEVER = ("__init_subclass__", "__del__", "__repr__", "__str__", "__reduce__")  # nothing that is computed comes of them


class Held(NamedTuple):
    """A value, how it is called, and what reads it again; None if it cannot change, or nobody need look."""

    called: str
    value: Any
    now: Callable[[], Any] | None


def is_ours(thing: Any) -> bool:
    """Whether it is a module or an optimiser, whose attributes are options."""
    return not isinstance(thing, type) and (hasattr(thing, "named_modules") or hasattr(thing, "param_groups"))


def holds_names(thing: Any) -> bool:
    """Whether it is a function, a container, or a class or an object of the user's, whose contents code may read."""
    if isinstance(thing, (*CONTAINERS, *WRAPPERS, FunctionType, ModuleType)) or is_ours(thing):
        return True
    if isinstance(thing, type):
        return not _foreign(thing.__module__)
    return _is_open(thing) or bool(_functions_given_to(thing))


def held_by(thing: Any, called: str, words: set[str]) -> Iterator[Held]:
    """What a thing holds.

    Args:
        words: the names in the code of the step, of which those are looked at that a module of Python's has.
    """
    if isinstance(thing, FunctionType):
        if not _foreign(thing.__module__):
            yield from _of_function(thing, called)
    elif isinstance(thing, ModuleType):
        if not _foreign(thing.__name__):
            yield from (_entry(vars(thing), name, f"{called}.{name}") for name in sorted(words & vars(thing).keys()))
    elif isinstance(thing, type):
        yield from _of_class(thing, called, making=thing.__name__ in words)
    elif is_ours(thing):
        yield from _of_ours(thing)
    else:
        if isinstance(thing, CONTAINERS):
            yield from _of_container(thing, called)
        yield from _of_object(thing, called)


def words_in(code: CodeType) -> Iterator[str]:
    """All names that code mentions: of globals, attributes, methods."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from words_in(constant)


def _of_function(f: FunctionType, called: str) -> Iterator[Held]:
    for name, cell in zip(f.__code__.co_freevars, f.__closure__ or (), strict=True):
        yield _read(name, partial(_content, cell))
    read = sorted({*_globals_read(f.__code__)} & f.__globals__.keys())
    yield from (_entry(f.__globals__, name, name) for name in read)
    for defaults in ("__defaults__", "__kwdefaults__"):
        if getattr(f, defaults):
            yield _read(f"the defaults of {called}", partial(getattr, f, defaults))
    yield from (_entry(vars(f), name, f"{called}.{name}") for name in [*vars(f)])


def _of_container(thing: Any, called: str) -> Iterator[Held]:
    if isinstance(thing, dict):
        keys = list(dict.keys(thing))
        yield _read(f"what is new in {called}", partial(_added, thing, frozenset(keys)))
        yield from (_read(f"{called}[{key!r}]", partial(dict.get, thing, key, GONE)) for key in keys[:LONGEST])
        return
    if isinstance(thing, list | deque):
        yield _read(f"the length of {called}", partial(len, thing))
        kind = list if isinstance(thing, list) else deque
        many = min(len(thing), LONGEST)
        yield from (_read(f"{called}[{i}]", partial(_element, kind, thing, i)) for i in range(many))
        return
    if isinstance(thing, set):
        few = len(thing) <= LONGEST
        yield _read(called, partial(frozenset, thing)) if few else _read(f"the length of {called}", partial(len, thing))
    yield from (Held(f"{called}[{i}]", value, None) for i, value in enumerate(islice([*thing], LONGEST)))


def _of_object(thing: Any, called: str) -> Iterator[Held]:
    if _is_open(thing):
        names = getattr(thing, "__dict__", {})
        yield _read(f"how many attributes {called} has", partial(len, names))
        hidden = "_" if _standard(type(thing).__module__) else "__"
        yield from (_entry(names, key, f"{called}.{key}") for key in [*names] if not key.startswith(hidden))
    yield from (Held(called, f, None) for f in _functions_given_to(thing))
    for kind in type(thing).__mro__:
        if not _foreign(kind.__module__):
            yield Held(kind.__name__, kind, None)
        for key in [key for key, value in vars(kind).items() if isinstance(value, MemberDescriptorType)]:
            if kind in WRAPPERS:
                value = getattr(thing, key)
                yield Held(type(value).__name__ if key == "__self__" else f"{called}.{key}", value, None)
            elif not _foreign(kind.__module__):
                yield _read(f"{called}.{key}", partial(getattr, thing, key, GONE))


def _of_class(kind: Any, called: str, making: bool) -> Iterator[Held]:
    """What stands in a class; `making`: also what is run where an object is made."""
    yield _read(f"what is new in {called}", partial(_added, vars(kind), frozenset(vars(kind))))
    for key, value in [*vars(kind).items()]:
        if not key.startswith("__"):
            if not isinstance(value, _OF_C):
                yield _entry(vars(kind), key, f"{called}.{key}")
        elif isinstance(value, FunctionType) and key not in (_NEVER if making else _NEVER + _MAKING):
            yield Held(f"{called}.{key}", value, None)
    yield from (
        Held(k.__name__, k, None) for k in (*kind.__mro__[1:], *type(kind).__mro__) if not _foreign(k.__module__)
    )


def _of_ours(thing: Any) -> Iterator[Held]:
    """What the attributes of modules hold; these themselves are options, as is all that an optimiser has."""
    modules = [*thing.modules()] if hasattr(thing, "named_modules") else []
    for part in modules:
        held = [(key, value) for key, value in vars(part).items() if not is_ours(value)]
        yield from (Held(f"{type(part).__name__}.{key}", value, None) for key, value in held)
    kinds = [kind for part in modules or [thing] for kind in type(part).__mro__ if not _foreign(kind.__module__)]
    yield from (Held(kind.__name__, kind, None) for kind in kinds)


def _functions_given_to(thing: Any) -> list[Any]:
    """The user's functions that a thing of the library, or one that stands around a function, runs in a recording."""
    if isinstance(thing, Op):
        return [thing.rule, *([thing.forward] if thing.elementwise else [])]  # other forwards are run in replays too
    if isinstance(thing, Value):
        return [*thing.node.hooks.values()] if thing.node is not None and thing.node.hooks else []
    return [f for name, f in getattr(thing, "__dict__", {}).items() if name == "__wrapped__"]


def _is_open(thing: Any) -> bool:
    """Whether it is an object of the user's own, or of a class of Python's library (a namespace, a queue, ...)."""
    module = type(thing).__module__
    if isinstance(thing, Value | type):
        return False
    return not _foreign(module) or (_standard(module) and hasattr(thing, "__dict__"))


@cache
def _standard(module: str) -> bool:
    """Whether it is a module of Python's library, and not the user's own of the same name."""
    root, home = module.partition(".")[0], os.path.dirname(os.__file__)
    file = getattr(sys.modules.get(root), "__file__", None) or home
    return root in sys.stdlib_module_names and root != "builtins" and file.startswith(home)


def _foreign(module: str | None) -> bool:
    """Whether the code there is not the user's."""
    root = (module or "").partition(".")[0]
    return root in {"tinygrad_ft", "numpy", "builtins", "numba"} or _standard(root)


def _read(called: str, now: Callable[[], Any]) -> Held:
    return Held(called, now(), now)


def _entry(names: Any, key: Any, called: str) -> Held:
    return _read(called, partial(names.get, key, GONE))


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # empty
        return GONE


def _element(kind: Any, thing: Any, i: int) -> Any:
    try:
        return kind.__getitem__(thing, i)
    except IndexError:
        return GONE


def _added(names: Any, known: frozenset[Any]) -> tuple[Any, ...]:
    """Under which keys simple values have been added; what else comes to a dict may be kept there for later calls."""
    if len(names) <= len(known):
        return ()
    return tuple([key for key, value in [*names.items()] if key not in known and type(value) in SIMPLE])


def _globals_read(code: CodeType) -> Iterator[str]:
    """The globals that code reads; attributes of the same names are others."""
    yield from (str(i.argval) for i in get_instructions(code) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME"))
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _globals_read(constant)
