"""Watching ops from outside: a `Watch` is shown every call of an op, and every rule that runs, in its own thread.

While nobody watches, an op pays for it by looking at one name, `engine.observer`. (Replacing `Op.__call__` for the time
would cost nothing at all, but from Python 3.13 on a class that was changed 1,000 times is slow ever after.)
"""

from __future__ import annotations

import linecache
import os
import sys
from collections.abc import Callable, Sequence
from threading import Lock, local
from typing import Any, NamedTuple

import numpy as np

from tinygrad_ft import engine
from tinygrad_ft.engine import Array, Node, Op, Value

_HERE = os.path.dirname(os.path.abspath(__file__))
# NumPy's own frames stand between a user's np.sin(t) and us
_NOT_THE_USER = tuple(
    folder + os.sep for folder in (_HERE, os.path.join(os.path.dirname(_HERE), "kernels"), os.path.dirname(np.__file__))
)


class Place(NamedTuple):
    """A line of code."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        source = linecache.getline(self.file, self.line).strip()
        inside = "" if self.function == "<module>" else f", in {self.function}"
        return f"{_shown(self.file)}:{self.line}{inside}" + (f": {source}" if source else "")


def _shown(file: str) -> str:
    """In[5] for the file that a notebook makes of its cell 5, whose path would tell nobody anything."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    name = getattr(getattr(shell, "compile", None), "format_code_name", lambda file: None)(file)
    return file if name is None else str(name[1])


def ours(file: str) -> bool:
    """Whether a file of code is this library's, or NumPy's."""
    return file.startswith(_NOT_THE_USER)


def user_place() -> Place:
    """The line of the user's code that is running: of the innermost frame that is neither ours nor NumPy's."""
    innermost = frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_NOT_THE_USER):
        frame = frame.f_back
    if frame.f_code.co_filename.startswith((*_NOT_THE_USER, "<frozen")):  # a command of ours: no user's code at all
        frame = innermost
    return Place(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)


class _Thread(local):
    """What is watched in this thread."""

    def __init__(self) -> None:
        self.watches: list[Watch] = []  # the last one is told
        self.calling = False  # an op is running that a watch has been told of
        self.rules: list[Node] = []  # whose rules are running, the innermost last


_here = _Thread()
_everywhere = Lock()
_count = 0  # contexts that are open, in all threads


class Watch:
    """A context that stands around every op and every rule that runs in it; the innermost one is told.

    Subclasses say what they do there.
    """

    def call(self, op: Op, inputs: Sequence[Any], params: dict[str, Any]) -> Any:
        """Stands in the place of op(*inputs, **params), which it calls."""
        return op(*inputs, **params)

    def pull(self, node: Node, g: Array, graph: bool) -> Sequence[Array]:
        """Stands in the place of node.pull(g, graph), which it calls."""
        return node.pull(g, graph)

    def composed(self, f: Any, inputs: Sequence[Any], params: dict[str, Any]) -> Any:
        """Stands in the place of a composed function that has kernels, called without a node; NotImplemented: go on."""
        return NotImplemented

    def each_time(self, make: Callable[[], Any]) -> Any:
        """Stands in the place of numbers that change from call to call; see `notice.each_time`."""
        return make()

    def effect(self, f: Callable[[], None]) -> None:
        """Stands in the place of something that Python does in each step beside ops."""
        f()

    def constant(self, array: Any) -> None:
        """Python made an array of numbers and shapes alone."""

    def looks_at(self, what: str) -> None:
        """Python code is about to look at the contents of an array."""

    def uses(self, thing: Any) -> None:
        """A module or an optimiser whose options ops depend on is at work."""

    def __enter__(self) -> Any:
        global _count
        _here.watches.append(self)
        with _everywhere:
            _count += 1
            engine.observer = _observer
        return self

    def __exit__(self, *_: object) -> None:
        global _count
        _here.watches.pop()
        with _everywhere:
            _count -= 1
            if not _count:
                engine.observer = None


class _Observer:
    """Hands on to this thread's watch what the engine shows; NotImplemented if there is none, or if it knows."""

    def call(self, op: Op, inputs: Sequence[Any], params: dict[str, Any]) -> Any:
        return self._once(lambda watch: watch.call(op, inputs, params))

    def composed(self, f: Any, inputs: Sequence[Any], params: dict[str, Any]) -> Any:
        return self._once(lambda watch: watch.composed(f, inputs, params))

    @staticmethod
    def _once(tell: Callable[[Watch], Any]) -> Any:
        """What the watch answers, who is not told of the calls that it makes itself."""
        if not _here.watches or _here.calling:
            return NotImplemented
        _here.calling = True
        try:
            return tell(_here.watches[-1])
        finally:
            _here.calling = False

    def each_time(self, make: Callable[[], Any]) -> Any:
        return _here.watches[-1].each_time(make) if _here.watches else make()

    def effect(self, f: Callable[[], None]) -> None:
        if _here.watches:
            _here.watches[-1].effect(f)
        else:
            f()

    def constant(self, array: Any) -> None:
        if _here.watches:
            _here.watches[-1].constant(array)

    def looks_at(self, what: str) -> None:
        if _here.watches:
            _here.watches[-1].looks_at(what)

    def uses(self, thing: Any) -> None:
        if _here.watches:
            _here.watches[-1].uses(thing)

    def pull(self, node: Node, g: Array, graph: bool) -> Any:
        if not _here.watches or running_rule() is node:
            return NotImplemented
        watch = _here.watches[-1]
        return inside_rule(node, lambda: watch.pull(node, g, graph))


_observer = _Observer()


def running_rule() -> Node | None:
    """The node whose rule is running now, if one is."""
    return _here.rules[-1] if _here.rules else None


def inside_rule(node: Node, part: Callable[[], Any]) -> Any:
    """What that part of a node's rule answers."""
    _here.rules.append(node)
    try:
        return part()
    finally:
        _here.rules.pop()


def node_of(y: Any) -> Node | None:
    """The node that an op left behind with its answer, which may be several Tensors."""
    y = y[0] if type(y) is tuple else y
    node = y.node if isinstance(y, Value) else None
    return node.parents[0] if node is not None and node.op is engine.pick else node


def named(op: Op, inputs: Sequence[Any]) -> list[tuple[str, Any]]:
    """The arrays and numbers among the arguments of an op, by the names that its forward has for them."""
    names = op.inputs
    if op.variadic:
        last = len(names) - 1
        names = [*names[:last], *(f"{names[last]}[{i}]" for i in range(len(inputs) - last))]
    return list(zip(names, inputs, strict=False))  # parameters given by position come after
