"""What to call the nodes of a graph: a model's parameters by their own names, others by the caller's variables."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tinygrad_ft.engine import Node, Value, pick
from tinygrad_ft.explain.record import Recorded, kept_of, on_cpu

HERE = __name__.rpartition(".")[0]
SHELL = {"In", "Out", "exit", "quit"}  # what a notebook puts among its variables
LONGEST = 60  # characters of a constant that are shown


def callers_variables() -> dict[str, Any]:
    """The local variables of whoever called into this room."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(HERE):
        frame = frame.f_back
    return dict(frame.f_locals)


def tensors_of(variables: Mapping[str, Any], model: Any = None) -> Iterator[tuple[str, Any]]:
    """Named Tensors that have a node: a model's parameters first, then variables, and those in lists and dicts."""
    if model is not None:
        yield from ((name, p) for name, p in model.named_parameters() if p.node is not None)
    spoken = {name: value for name, value in variables.items() if name[0] != "_" and name not in SHELL}
    for name, value in spoken.items():
        if isinstance(value, Value) and value.node is not None:
            yield name, value
    for name, value in spoken.items():  # after all that have a name to themselves
        inside = enumerate(value) if type(value) in (list, tuple) else value.items() if type(value) is dict else ()
        yield from ((f"{name}[{key!r}]", v) for key, v in inside if isinstance(v, Value) and v.node is not None)


class Names:
    """The name of each node of a recorded graph: `names[number]`.

    A leaf that nobody names is x1, x2, ..., what an op made is t1, t2, ... Each name is given once.
    """

    def __init__(self, recorded: Recorded, named: Mapping[Node, str]):
        self.recorded = recorded
        taken: set[str] = set()
        self.given: list[str] = [""] * len(recorded)
        for i, node in enumerate(recorded.nodes):
            name = named.get(node, "")
            if name and name not in taken:
                taken.add(name)
                self.given[i] = name
        counts = {"x": 0, "t": 0}
        for i, node in enumerate(recorded.nodes):
            letter = "x" if node.op is None else "t"
            while not self.given[i]:
                counts[letter] += 1
                name = f"{letter}{counts[letter]}"
                if name not in taken:
                    self.given[i] = name
                    taken.add(name)

    def __getitem__(self, number: int) -> str:
        return self.given[number]

    def __len__(self) -> int:
        return len(self.given)

    def find(self, leaf: Any) -> int:
        """The number of a node, by its name or by the Tensor itself.

        Raises:
            ValueError: if it is not in the graph.
        """
        if isinstance(leaf, Value):
            if leaf.node in self.recorded.number:
                return self.recorded.number[leaf.node]
            raise ValueError("that Tensor is not in this graph: the explained value does not depend on it")
        if leaf in self.given:
            return self.given.index(leaf)
        leaves = [self[i] for i in self.recorded.leaves]
        shown = ", ".join(leaves[:20]) + (", ..." if len(leaves) > 20 else "")
        raise ValueError(f"nothing in this graph is called {leaf!r}; its leaves are {shown}")

    def operands(self, number: int) -> list[str]:
        """What the op was called with, in words: names, numbers, and for an array that is not kept its absence."""
        node = self.recorded.nodes[number]
        kept: dict[int, Any] = {}
        for which, array in kept_of(node):
            if isinstance(which, slice):
                kept.update(enumerate(array, which.start))
            elif which >= 0:
                kept[which] = array
        return [
            self[parent] if parent is not None else _constant(kept[i]) if i in kept else "constant"
            for i, parent in enumerate(self.recorded.parents[number])
        ]

    def call(self, number: int) -> str:
        """How a node was made: `mul(x, w)`, `sum(t1, axis=0)`; "" for a leaf."""
        node = self.recorded.nodes[number]
        if node.op is None:
            return ""
        if node.op is pick:
            return f"output {node.params['i']} of {self.operands(number)[0]}"
        op = node.op
        options = [
            f"{name}={_constant(value)}"
            for name, value in node.params.items()
            if name in op.named and not (name in op.defaults and _same(op.defaults[name], value))
        ]
        return f"{op.name}({', '.join([*self.operands(number), *options])})"


def _same(a: Any, b: Any) -> bool:
    return a is b or (type(a) is type(b) and not isinstance(a, np.ndarray) and bool(a == b))


def _constant(x: Any) -> str:
    """A number or option as it is; of an array only its shape, unless it is one number."""
    if hasattr(x, "shape") and hasattr(x, "dtype") and not isinstance(x, type):
        return f"{on_cpu(x).item():.4g}" if x.shape == () else f"constant {tuple(x.shape)}"
    text = repr(x) if not isinstance(x, float) else f"{x:.6g}"
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."
