"""Every path from the result to a leaf, each with its product of local derivatives; their sum is the gradient."""

from __future__ import annotations

from dataclasses import dataclass
from math import log10
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_ft.engine import pick
from tinygrad_ft.explain.local import local
from tinygrad_ft.explain.record import Edge, Recorded, on_cpu
from tinygrad_ft.explain.table import html_table, shown, text_table

if TYPE_CHECKING:
    from tinygrad_ft.explain.explanation import Explanation

SHOWN = 50  # paths that are printed
HEAD = ("path", "product of local derivatives", "comes to")


@dataclass
class Path:
    """One way back: the edges from the result to the leaf, and the product of their derivatives with the seed."""

    edges: list[Edge]
    g: Any


def count_paths(recorded: Recorded, links: dict[int, list[int]], leaf: int) -> list[int]:
    """How many paths lead from each node to the leaf, exactly, without walking them.

    `links` are the parents to which each node hands something on; one that is used twice stands there twice.
    """
    counts = [0] * len(recorded)
    counts[leaf] = 1
    for i in range(leaf + 1, len(recorded)):
        counts[i] = sum(counts[parent] for parent in links.get(i, ()))
    return counts


def large(count: int) -> str:
    """A count in digits, or its magnitude where those are many."""
    if count < 10**15:
        return f"{count:,}"
    cut = max(count.bit_length() - 53, 0)  # more digits than a float has, and than Python likes to print
    return f"about 10^{int(log10(count >> cut) + cut * log10(2))}"


class Paths:
    """The paths from a result to one leaf: `count`, `paths`, their `sum`, and the `grad` of the backward pass."""

    def __init__(self, explanation: Explanation, leaf: int, limit: int = 1000):
        self.recorded, self.names, self.leaf = explanation.recorded, explanation.names, leaf
        if leaf not in explanation.gradients:
            raise ValueError(f"no gradient flows to {self.names[leaf]}: no path of derivatives leads there")
        links = {step.number: [edge.parent for edge in step.edges] for step in explanation.steps}
        counts = count_paths(self.recorded, links, leaf)
        self.count = counts[-1]
        if self.count > limit:
            edges = sum(map(len, links.values()))
            raise ValueError(
                f"{large(self.count)} paths lead from {self.names[len(counts) - 1]} to {self.names[leaf]}, more than "
                f"{limit:,}: the backward pass gets the same sum from {edges:,} edges; explain a smaller part, or pass "
                "a larger limit"
            )
        self.grad = explanation.gradients[leaf]
        self.paths = self._walk(explanation.seed, counts)
        self._local: dict[tuple[int, int], str] = {}

    def _walk(self, seed: Any, counts: list[int]) -> list[Path]:
        """Each path by its own multiplications from the result on: nothing is added up before the end."""
        found = []
        waiting: list[tuple[int, Any, list[Edge]]] = [(len(counts) - 1, seed, [])]
        while waiting:
            number, g, trail = waiting.pop()
            if number == self.leaf:
                found.append(Path(trail, g))
                continue
            for edge in reversed(self.recorded.edges(number, g)):
                if counts[edge.parent]:
                    handed = edge.g
                    if self.recorded.nodes[number].op is pick:
                        alone: dict[int, Any] = {}
                        self.recorded.arrive(alone, edge)
                        handed = alone[edge.parent]
                    waiting.append((edge.parent, handed, [*trail, edge]))
        return found

    @property
    def sum(self) -> np.ndarray[Any, Any]:
        """The products of all paths, added up."""
        total = np.zeros(np.shape(self.grad), on_cpu(self.grad).dtype)
        for path in self.paths:
            total = total + on_cpu(path.g)
        return total

    @property
    def difference(self) -> float:
        """The largest difference between the sum and the gradient, relative to the largest number in them."""
        total, grad = self.sum, on_cpu(self.grad)
        size = max(float(np.abs(total).max(initial=0)), float(np.abs(grad).max(initial=0)))
        return float(np.abs(total - grad).max(initial=0)) / size if size else 0.0

    def _rows(self) -> list[list[str]]:
        rows = []
        for path in self.paths[:SHOWN]:
            nodes = [len(self.recorded) - 1, *(edge.parent for edge in path.edges)]
            way = " <- ".join(self.names[i] for i in nodes)
            rows.append([way, " · ".join(self._factor(edge) for edge in path.edges) or "1", shown(path.g)])
        if self.count > SHOWN:
            rows.append([f"... {self.count - SHOWN:,} more paths", "", ""])
        name = self.names[self.leaf]
        rows.append([f"sum over {self.count:,} path{'s' if self.count != 1 else ''}", "", shown(self.sum)])
        rows.append([f"gradient of {name} by the backward pass", f"differs by {self.difference:.1e}", shown(self.grad)])
        return rows

    def _factor(self, edge: Edge) -> str:
        key = (edge.child, edge.position)
        if key not in self._local:
            self._local[key] = local(self.recorded, *key)
        return self._local[key]

    def __repr__(self) -> str:
        return text_table(HEAD, self._rows())

    def _repr_html_(self) -> str:
        return html_table(HEAD, self._rows())
