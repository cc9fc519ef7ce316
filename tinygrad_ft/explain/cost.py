"""What a gradient costs by forward mode, by reverse mode and with checkpoints: multiplications and peak live bytes.

Counted from the graph of one call, not measured. Applying a local derivative costs the same multiplications forwards
(a tangent times the Jacobian) as backwards (a cotangent times it), so which way is cheaper is a matter of how many
inputs and outputs there are.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isqrt, prod
from typing import Any

import numpy as np

from tinygrad_ft.creation import zeros
from tinygrad_ft.engine import Node, pick
from tinygrad_ft.explain.record import Recorded, kept_of
from tinygrad_ft.explain.table import html_table, text_table
from tinygrad_ft.tensor import Tensor

# whose derivative only copies, adds or selects
FREE = {
    *("add", "sub", "neg", "abs", "sign", "maximum", "minimum", "where", "clip", "relu", "fmod", "copysign"),
    *("floor", "ceil", "trunc", "round", "whole_quotient", "sum", "cumsum", "amax", "amin", "max_of_windows"),
    *("reshape", "permute", "getitem", "put", "join", "stretches", "moved", "pad_constant", "expand", "sum_to"),
    *("clone", "cast", "take_along_axis", "put_along_axis", "embedding", "sum_rows", "windows", "overlap_add", "pick"),
}
HEAD = ("way", "passes", "multiplications", "peak bytes beside the leaves")


def work_of(node: Node) -> tuple[int, int, bool]:
    """Multiplications of an op: of its value, and of its derivative by one input; and whether they are an estimate.

    A value and its derivative count one multiplication an element of an elementwise op, m k n for a matrix product,
    none where numbers are only added, moved or chosen. What is none of these counts two an element: an estimate.
    """
    op = node.op
    if op is None or op.name in FREE:
        return 0, 0, False
    size = prod(node.shape) if isinstance(node.shape, tuple) else sum(prod(s) for s in node.shape)
    shapes = _input_shapes(node)
    if op.name in ("matmul", "linear") and any(shapes[:2]):
        inner = shapes[0][-1] if shapes[0] else (shapes[1] or (1,))[-1 if op.name == "linear" else 0]
        return size * inner, size * inner, False
    if op.name == "contract" and all(s is not None for s in shapes):
        letters = dict(
            pair
            for part, shape in zip(node.params["equation"].split("->")[0].split(","), shapes, strict=False)
            for pair in zip(part.strip(), shape or (), strict=False)
        )
        return prod(letters.values()), prod(letters.values()), False
    if op.name == "mean":
        return size, size, False
    if op.elementwise:
        return size, size, False
    largest = max([size, *(prod(s) for s in shapes if s is not None)])
    return 2 * largest, 2 * largest, True


def _input_shapes(node: Node) -> list[tuple[int, ...] | None]:
    """The shape of each input, as far as its node or what the rule keeps of it knows."""
    shapes = [None if p is None or isinstance(p.shape, list) else tuple(p.shape) for p in node.parents]
    for which, kept in kept_of(node):
        if isinstance(which, slice):
            for i, array in enumerate(kept, which.start):
                shapes[i] = tuple(np.shape(array))
        elif which >= 0:
            shapes[which] = tuple(np.shape(kept))
    return shapes


class Cost:
    """The cost of the gradient of one graph. `rows` has the three ways; `crossing` says where they meet.

    `inputs` and `outputs` count numbers, not arrays; `value` and `derivative` are the multiplications of computing the
    value and of taking one tangent or cotangent through the graph. Peaks count values, kept arrays, tangents and
    cotangents that live at one moment; leaves and their gradients, which every way needs, are left out.
    """

    def __init__(self, recorded: Recorded):
        self.recorded = recorded
        self.inputs = sum(prod(recorded.nodes[i].shape) for i in recorded.leaves)
        self.outputs: int = prod(recorded.root.shape)
        works = [work_of(node) for node in recorded.nodes]
        edges = [sum(p is not None for p in parents) for parents in recorded.parents]
        self.value = sum(value for value, _, _ in works)
        self.derivative = sum(each * n for (_, each, _), n in zip(works, edges, strict=True))
        self.estimated = sorted(
            {node.op.name for node, (_, _, guess) in zip(recorded.nodes, works, strict=True) if guess and node.op}
        )
        self._sizes = [_bytes(node) if node.op is not None and node.op is not pick else 0 for node in recorded.nodes]
        self._kept = _kept_arrays(recorded)
        self.forward_bytes = self._forward_peak()
        self.reverse_bytes = self._reverse_peak(1)
        self.segments = max(isqrt(sum(node.op is not None for node in recorded.nodes)), 1)
        self.checkpoint_bytes = self._reverse_peak(self.segments)

    @property
    def crossing(self) -> int:
        """The number of inputs below which forward mode needs fewer multiplications than reverse mode."""
        return self.outputs

    def forward_mode(self, inputs: int) -> int:
        """Multiplications of the value and of one tangent for each of so many inputs."""
        return self.value + inputs * self.derivative

    def reverse_mode(self, outputs: int) -> int:
        """Multiplications of the value and of one cotangent for each of so many outputs."""
        return self.value + outputs * self.derivative

    def checkpointed(self, outputs: int) -> int:
        """As reverse mode, and the value once more for each pass: what was not kept is computed again."""
        return self.reverse_mode(outputs) + outputs * self.value

    def _forward_peak(self) -> int:
        """Values and tangents, two of each size, from when they are made until their last user has run."""
        last = list(range(len(self.recorded)))
        for child, parents in enumerate(self.recorded.parents):
            for p in parents:
                if p is not None:
                    last[p] = child
        dying: dict[int, int] = {}
        live = peak = 0
        for i, size in enumerate(self._sizes):
            live += 2 * size
            dying[last[i]] = dying.get(last[i], 0) + 2 * size
            peak = max(peak, live)
            live -= dying.pop(i, 0)
        return peak

    def _reverse_peak(self, segments: int) -> int:
        """Kept arrays and cotangents of a backward pass over so many stretches, each computed again but its borders."""
        ops = [i for i, node in enumerate(self.recorded.nodes) if node.op is not None]
        length = -(-len(ops) // segments) or 1
        segment = {i: k // length for k, i in enumerate(ops)}
        crossing = {  # used by a later stretch than its own: kept from the forward pass on
            p
            for child, parents in enumerate(self.recorded.parents)
            for p in parents
            if p in segment and segment[p] < segment[child]
        }
        alive = {len(self.recorded) - 1}  # nodes with a cotangent
        peak, cotangents = 0, self._sizes[-1]
        for k in range(segment[ops[-1]] if ops else 0, -1, -1):
            members = ops[k * length : (k + 1) * length]
            border = sum(self._sizes[p] for p in crossing if segment[p] < k)
            users: dict[int, int] = {}
            sizes: dict[int, int] = {}
            outer = {array for p in crossing if segment[p] < k for array in self._kept_as_value(p)}
            for i in members:
                for array, size in self._kept[i].items():
                    if array not in outer:
                        users[array] = users.get(array, 0) + 1
                        sizes[array] = size
            kept = sum(sizes.values())
            for i in reversed(members):
                for p in self.recorded.parents[i]:
                    if p is not None and p not in alive:
                        alive.add(p)
                        cotangents += self._sizes[p]
                peak = max(peak, border + kept + cotangents)
                cotangents -= self._sizes[i]
                for array in self._kept[i]:
                    if array in users:
                        users[array] -= 1
                        kept -= sizes[array] if not users[array] else 0
        return peak

    def _kept_as_value(self, number: int) -> list[int]:
        array = self.recorded.values.get(self.recorded.nodes[number])
        return [] if array is None or type(array) is tuple else [_base(array)]

    def rows(self) -> list[list[str]]:
        """A row a way: its name, passes, multiplications, peak bytes."""
        return [
            ["forward mode", f"{self.inputs:,}", f"{self.forward_mode(self.inputs):,}", f"{self.forward_bytes:,}"],
            ["reverse mode", f"{self.outputs:,}", f"{self.reverse_mode(self.outputs):,}", f"{self.reverse_bytes:,}"],
            [
                f"reverse, {_count(self.segments, 'checkpointed stretch')}",
                f"{self.outputs:,}",
                f"{self.checkpointed(self.outputs):,}",
                f"{self.checkpoint_bytes:,}",
            ],
        ]

    def _note(self) -> str:
        guess = f" Estimated, two an element: {', '.join(self.estimated)}." if self.estimated else ""
        return (
            f"{_count(self.inputs, 'input')}, {_count(self.outputs, 'output')}; the value takes "
            f"{_count(self.value, 'multiplication')}, one pass of derivatives {self.derivative:,}. The ways cross at "
            f"{_count(self.crossing, 'input')}: with fewer inputs than outputs forward mode is cheaper, with more "
            f"reverse mode.{guess}"
        )

    def __repr__(self) -> str:
        return f"{text_table(HEAD, self.rows(), right=(1, 2, 3))}\n{self._note()}"

    def _repr_html_(self) -> str:
        return html_table(HEAD, self.rows(), caption=self._note())


def cost_of(f: Callable[..., Any], *inputs: Any) -> Cost:
    """The cost of the derivatives of f at these inputs (Tensors or arrays of floats), each of them a variable.

    Raises:
        ValueError: if what f answers depends on none of them.
    """
    leaves = [Tensor(x.array if isinstance(x, Tensor) else np.asarray(x)).requires_grad_() for x in inputs]
    y = f(*leaves)
    return Cost(Recorded(y if isinstance(y, Tensor) else zeros(()), {leaf.node: leaf.array for leaf in leaves}))


def _count(n: int, what: str) -> str:
    return f"{n:,} {what if n == 1 else what + ('es' if what.endswith('h') else 's')}"


def _bytes(node: Node) -> int:
    if isinstance(node.shape, list):
        return int(sum(prod(s) for s in node.shape)) * 8
    return int(prod(node.shape)) * int(np.dtype(node.dtype).itemsize)


def _base(array: Any) -> int:
    """What memory an array lies in."""
    while getattr(array, "base", None) is not None and type(array.base) is type(array):
        array = array.base
    return id(array)


def _kept_arrays(recorded: Recorded) -> list[dict[int, int]]:
    """The memory that each node keeps for its rule, by identity, with its bytes; that of leaves is left out."""
    values = recorded.values
    leaves = {_base(values[recorded.nodes[i]]) for i in recorded.leaves if recorded.nodes[i] in values}
    kept: list[dict[int, int]] = []
    for node in recorded.nodes:
        mine: dict[int, int] = {}
        for _, array in kept_of(node):
            for part in array if isinstance(array, list | tuple) else (array,):
                if hasattr(part, "nbytes") and _base(part) not in leaves:
                    mine[_base(part)] = int(part.nbytes)
        kept.append(mine)
    return kept
