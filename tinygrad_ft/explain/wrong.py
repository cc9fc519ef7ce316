"""Two wrong ways to walk back that people believe in, run on a real graph, with what goes wrong and where."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_ft.explain.record import Edge, on_cpu
from tinygrad_ft.explain.table import html_table, shown, text_table

if TYPE_CHECKING:
    from tinygrad_ft.explain.explanation import Explanation

WAYS = {
    "depth-first": "depth first, each node once, as soon as something arrives there: what arrives later stays there",
    "assign": "in the right order, but g = ... in the place of g += ...: the last arrival wipes out those before",
}
HEAD = ("gradient of", "right", "wrong", "")


class Wrong:
    """What a wrong way answers: `gradients` by node number, `lost` edges, and the names of the leaves that `differ`.

    Raises:
        ValueError: for a way that is not among WAYS.
    """

    def __init__(self, explanation: Explanation, way: str, leaf: int):
        if way not in WAYS:
            raise ValueError(f"the wrong ways are {' and '.join(map(repr, WAYS))}: got {way!r}")
        self.way, self.leaf = way, leaf
        self.explanation, self.recorded, self.names = explanation, explanation.recorded, explanation.names
        self.gradients: dict[int, Any] = {}
        self.lost: list[Edge] = []  # whose cotangents got lost at the node where they arrive
        if way == "assign":
            self._assign()
        else:
            self._depth_first()

    def _assign(self) -> None:
        arrived: dict[int, Any] = {len(self.recorded) - 1: self.explanation.seed}
        came: dict[int, Edge] = {}
        for number in range(len(self.recorded) - 1, -1, -1):
            if number not in arrived:
                continue
            self.gradients[number] = arrived.pop(number)
            for edge in self.recorded.edges(number, self.gradients[number]):
                if edge.parent in came:
                    self.lost.append(came[edge.parent])
                came[edge.parent] = edge
                self.recorded.arrive(arrived, edge, assign=True)

    def _depth_first(self) -> None:
        root = len(self.recorded) - 1
        self.gradients[root] = self.explanation.seed
        visited = {root}
        stack: list[Iterator[Edge]] = [iter(self.recorded.edges(root, self.explanation.seed))]
        while stack:  # what a recursive function would do, without its depth
            edge = next(stack[-1], None)
            if edge is None:
                stack.pop()
                continue
            parent = edge.parent
            self.recorded.arrive(self.gradients, edge)
            if parent not in visited:
                visited.add(parent)
                stack.append(iter(self.recorded.edges(parent, self.gradients[parent])))
            elif self.recorded.nodes[parent].op is not None:
                self.lost.append(edge)

    @property
    def differ(self) -> list[str]:
        """The leaves whose gradients come out wrong."""
        return [self.names[i] for i in self.recorded.leaves if not self._same(i)]

    def _same(self, i: int) -> bool:
        right, wrong = self.explanation.gradients.get(i), self.gradients.get(i)
        if right is None or wrong is None:
            return right is wrong
        right, wrong = on_cpu(right), on_cpu(wrong)
        return bool(np.allclose(right, wrong, rtol=1e-5, atol=1e-6 * float(np.abs(right).max(initial=0))))

    def _rows(self) -> list[list[str]]:
        order = [self.leaf, *(i for i in self.recorded.leaves if i != self.leaf)]
        return [
            [
                self.names[i],
                shown(self.explanation.gradients.get(i)),
                shown(self.gradients.get(i)),
                "" if self._same(i) else "wrong",
            ]
            for i in order
        ]

    def where(self) -> str:
        """At which nodes something got lost, in words."""
        if not self.lost:
            return "Nothing got lost: no node is used twice in a way that this could spoil."
        what = "wiped out" if self.way == "assign" else "never handed on"
        places = [f"at {self.names[e.parent]}, {shown(e.g)} from {self.names[e.child]} was {what}" for e in self.lost]
        more = f"; and {len(places) - 10} more" if len(places) > 10 else ""
        return "Lost: " + "; ".join(places[:10]) + more

    def __repr__(self) -> str:
        return f"{self.way}: {WAYS[self.way]}\n{text_table(HEAD, self._rows())}\n{self.where()}"

    def _repr_html_(self) -> str:
        return html_table(HEAD, self._rows(), caption=f"{self.way}: {WAYS[self.way]}. {self.where()}")
