"""The graph behind a Tensor, laid out in a list: which op made each node, of what, and what walked back through it.

Everything in this room that speaks of a graph reads it from here. Nodes are numbered oldest first, so a node's parents
have smaller numbers; nothing walks by recursion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinygrad_ft.chain_rule import fit, ones_of
from tinygrad_ft.device import DEVICES, cpu
from tinygrad_ft.engine import RELEASED, Array, Node, Value, pick

UNTOLD = "random"  # the file of ops that answer otherwise at every call: their values are not computed again


@dataclass
class Edge:
    """What one node hands back to one of its inputs.

    `answered` is the shape in which the rule answered; where it differs from the input's, `summed` are the axes (of
    that shape) over which the copies were summed, and `spread` says that one number was handed to many elements.
    """

    child: int
    parent: int
    position: int
    g: Array
    answered: tuple[int, ...]
    summed: tuple[int, ...] = ()
    spread: bool = False


@dataclass
class Step:
    """One node's turn in the backward pass: what had arrived there, and what it handed on."""

    number: int
    g: Array
    edges: list[Edge] = field(default_factory=list)


class Recorded:
    """The nodes between a Tensor and its leaves, oldest first, with what is known of their values.

    Args:
        y: the Tensor.
        known: arrays of Tensors that someone holds, by node: the leaves of a model, the variables of a caller.
    Raises:
        ValueError: if y is no Tensor that keeps a gradient.
    """

    def __init__(self, y: Any, known: dict[Node, Any] | None = None):
        if not isinstance(y, Value):
            raise ValueError(f"explain needs a Tensor that ops made: got {type(y).__name__}")
        if y.node is None:
            raise ValueError(
                "this Tensor depends on nothing that requires grad, so there is no graph to explain; "
                "make a leaf of an input: x.requires_grad_()"
            )
        found, waiting = {y.node}, [y.node]
        while waiting:
            for parent in waiting.pop().parents:
                if parent is not None and parent not in found:
                    found.add(parent)
                    waiting.append(parent)
        self.root = y.node
        self.nodes: list[Node] = sorted(found, key=lambda node: node.index)
        self.number = {node: i for i, node in enumerate(self.nodes)}
        self.parents: list[list[int | None]] = [
            [None if p is None else self.number[p] for p in node.parents] for node in self.nodes
        ]
        self.values = _values(self.nodes, {**(known or {}), y.node: y.array})

    def __len__(self) -> int:
        return len(self.nodes)

    @property
    def leaves(self) -> list[int]:
        """The numbers of the nodes that no op made."""
        return [i for i, node in enumerate(self.nodes) if node.op is None]

    @property
    def released(self) -> bool:
        """Whether backward() has let go of what some rule needs."""
        return any(node.kept is RELEASED for node in self.nodes)

    def seed(self, gradient: Any = None) -> Array:
        """dL/dy to begin with: what was given, or ones, as of L = y.sum()."""
        y = self.values[self.root]
        if gradient is None:
            return ones_of(y)
        g = np.asarray(gradient.array if isinstance(gradient, Value) else gradient, dtype=y.dtype)
        if g.shape != y.shape:
            raise ValueError(f"the gradient to begin with must have the shape {y.shape} of the Tensor: got {g.shape}")
        return g

    def edges(self, number: int, g: Array) -> list[Edge]:
        """What the rule of a node makes of a cotangent that arrives there, one edge an input with a gradient.

        Raises:
            ValueError: if backward() has released what the rule needs.
        """
        node = self.nodes[number]
        if node.op is None:
            return []
        if node.op is pick:
            holder: Any = node.parents[0]
            return [Edge(number, self.number[holder], 0, g, tuple(np.shape(g)))]
        if node.kept is RELEASED:
            raise ValueError(
                f"backward() has released what the rule of {node.op.name} needs; explain before backward(), or call "
                "backward(retain_graph=True)"
            )
        made = []
        for position, (parent, gx) in enumerate(zip(node.parents, node.pull(g, False), strict=True)):
            if parent is None or gx is None:
                continue
            gx = gx() if callable(gx) else gx
            answered = tuple(gx.shape)
            fitted = fit(gx, parent.shape, parent.dtype, f"the rule of {node.op.name}")
            lead = len(answered) - len(parent.shape)
            summed: tuple[int, ...] = ()
            if lead >= 0:
                summed = tuple(range(lead)) + tuple(
                    i + lead for i, n in enumerate(parent.shape) if n == 1 and answered[i + lead] != 1
                )
            spread = int(np.prod(answered)) < int(np.prod(parent.shape))
            made.append(Edge(number, self.number[parent], position, fitted, answered, summed, spread))
        return made

    def backward(self, seed: Array) -> list[Step]:
        """The whole backward pass in the order of the chain rule: the newest node first. Hooks are not called."""
        arrived: dict[int, Any] = {len(self) - 1: seed}
        steps = []
        for number in range(len(self) - 1, -1, -1):  # newest first is what the chain rule's queue comes to
            if number not in arrived:
                continue
            step = Step(number, arrived.pop(number))
            step.edges = self.edges(number, step.g)
            for edge in step.edges:
                self.arrive(arrived, edge)
            steps.append(step)
        return steps

    def arrive(self, arrived: dict[int, Any], edge: Edge, *, assign: bool = False) -> None:
        """Add what an edge hands back to what its parent has; `assign` puts it in the place of that, which is wrong."""
        old, child = arrived.get(edge.parent), self.nodes[edge.child]
        if child.op is not pick:
            arrived[edge.parent] = edge.g if old is None or assign else old + edge.g
            return
        parts = [None] * len(self.nodes[edge.parent].shape) if old is None else list(old)
        i = child.params["i"]
        parts[i] = edge.g if parts[i] is None or assign else parts[i] + edge.g
        arrived[edge.parent] = parts


def _values(nodes: Sequence[Node], known: dict[Node, Any]) -> dict[Node, Any]:
    """The value of each node, as far as someone holds it, a rule keeps it, or its op can be run again on such ones."""
    values = {node: array for node, array in known.items() if array is not None}
    for node in nodes:
        for which, kept in kept_of(node):
            if which == -1:
                values.setdefault(node, kept)
            elif isinstance(which, slice):
                for parent, array in zip(node.parents[which.start :], kept, strict=False):
                    if parent is not None:
                        values.setdefault(parent, array)
            elif (parent := node.parents[which]) is not None:
                values.setdefault(parent, kept)
    for node in nodes:
        if node in values or node.op is None:
            continue
        if node.op is pick:
            ys = values.get(node.parents[0])  # type: ignore[arg-type]
            if type(ys) is tuple:
                values[node] = ys[node.params["i"]]
            continue
        arrays = inputs_of(node, values)
        if arrays is not None and node.op.forward.__module__.rpartition(".")[2] != UNTOLD:
            params = {name: v for name, v in node.params.items() if name in node.op.named}
            with np.errstate(all="ignore"):
                values[node] = _whole(node.op.forward(cpu.xp, *arrays, **params), node)
    return values


def _whole(y: Any, node: Node) -> Any:
    """An op's answer as the engine keeps it: arrays in the dtype of the node."""
    return y if type(y) is tuple else np.asarray(y, dtype=node.dtype)


def kept_of(node: Node) -> list[tuple[int | slice, Any]]:
    """What a node keeps for its rule, each with its place among the inputs (-1: its output); nothing once released."""
    if node.op is None or node.kept is RELEASED or not node.op.keeps:
        return []
    return list(zip(node.op.keeps, node.kept, strict=True))


def inputs_of(node: Node, values: dict[Node, Any]) -> list[Any] | None:
    """The arrays and numbers that an op was called with; None if some are not known or not on the CPU."""
    kept: dict[int, Any] = {}
    for which, array in kept_of(node):
        if isinstance(which, slice):
            kept.update(enumerate(array, which.start))
        elif which >= 0:
            kept[which] = array
    arrays: list[Any] = []
    for i, parent in enumerate(node.parents):
        array = kept.get(i) if parent is None else values.get(parent)
        if array is None or (type(array) in DEVICES and type(array) is not np.ndarray):
            return None
        arrays.append(array)
    return arrays


def on_cpu(array: Any) -> np.ndarray[Any, Any]:
    """An array of any device as NumPy's, to be read."""
    return np.asarray(array.get() if hasattr(array, "get") else array)
