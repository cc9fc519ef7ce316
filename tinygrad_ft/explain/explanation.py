"""`tg.explain(loss)`: what was computed, and how its gradients come about, read from the graph that ops left behind."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from tinygrad_ft.explain.graph import Drawing, drawing
from tinygrad_ft.explain.mermaid import Mermaid, mermaid
from tinygrad_ft.explain.names import Names, callers_variables, tensors_of
from tinygrad_ft.explain.record import Recorded, Step
from tinygrad_ft.explain.svg import Picture, svg
from tinygrad_ft.explain.table import html_table, shape_text, shown, text_table

if TYPE_CHECKING:
    from tinygrad_ft.explain.cost import Cost
    from tinygrad_ft.explain.debugger import Debugger
    from tinygrad_ft.explain.derivation import Derivation
    from tinygrad_ft.explain.paths import Paths
    from tinygrad_ft.explain.wrong import Wrong

ROWS = 40  # of the table that an Explanation prints
HEAD = ("", "made by", "shape", "value", "gradient")


def explain(y: Any, model: Any = None, *, gradient: Any = None) -> Explanation:
    """Everything about how y came about and how gradients flow back from it.

    Args:
        y: a Tensor that ops made, before backward() or after backward(retain_graph=True).
        model: a Module; its parameters keep their names, which also fold a large graph. Other Tensors are called as
            the caller's local variables are, the rest x1, x2 (leaves) and t1, t2 (what ops made).
        gradient: dL/dy to begin with, in the shape of y; ones by default, as of L = y.sum().
    Raises:
        ValueError: if y depends on nothing that requires grad.
    """
    return Explanation(y, list(tensors_of(callers_variables(), model)), gradient)


class Explanation:
    """A value and its graph. Each method shows another side; in a notebook each draws itself."""

    def __init__(self, y: Any, named: list[tuple[str, Any]], gradient: Any = None):
        names: dict[Any, str] = {}
        for name, tensor in named:
            names.setdefault(tensor.node, name)
        self.recorded = Recorded(y, {tensor.node: tensor.array for _, tensor in named})
        self.names = Names(self.recorded, names)
        self.seed = self.recorded.seed(gradient)
        # walked at once: a backward() that comes after it releases what the rules need
        self._steps = None if self.recorded.released else self.recorded.backward(self.seed)

    @property
    def steps(self) -> list[Step]:
        """The backward pass, node by node, in the order of the chain rule.

        Raises:
            ValueError: if backward() had released the graph before it was explained.
        """
        if self._steps is None:
            raise ValueError(
                "backward() had released what the rules need before this was explained: explain before backward(), or "
                "call backward(retain_graph=True)"
            )
        return self._steps

    @cached_property
    def gradients(self) -> dict[int, Any]:
        """dL/dn for every node n that something arrived at, by its number."""
        return {step.number: step.g for step in self.steps}

    def derivation(self) -> Derivation:
        """The backward pass written out: what arrives at a node, its rule, what it hands on, and in what shape."""
        from tinygrad_ft.explain.derivation import Derivation

        return Derivation(self)

    def paths(self, leaf: Any, *, wrong: str | None = None, limit: int = 1000) -> Paths | Wrong:
        """Every path from the result to a leaf (a Tensor or a name), with its product of local derivatives.

        `wrong="depth-first"` or `"assign"` shows instead what comes of walking back in no topological order, or of
        assigning gradients where they have to be added up.

        Raises:
            ValueError: for an unknown leaf, or if there are more than `limit` paths.
        """
        if wrong is not None:
            from tinygrad_ft.explain.wrong import Wrong

            return Wrong(self, wrong, self.names.find(leaf))
        from tinygrad_ft.explain.paths import Paths

        return Paths(self, self.names.find(leaf), limit)

    def drawing(self, *, fold: bool | None = None) -> Drawing:
        """Boxes and arrows; a graph of more than 60 nodes is folded by modules, unless `fold` says otherwise."""
        gradients = self.gradients if self._steps else {}  # a released graph can be drawn all the same
        return drawing(self.recorded, self.names, gradients, fold=fold)

    def graph(self, *, fold: bool | None = None) -> Mermaid:
        """The graph as Mermaid text."""
        return mermaid(self.drawing(fold=fold))

    def svg(self, *, fold: bool | None = None) -> Picture:
        """The graph as an SVG picture; `.save(path)` writes it."""
        return svg(self.drawing(fold=fold))

    def debugger(self) -> Debugger:
        """The backward pass step by step: step(), back(), run_to(op)."""
        from tinygrad_ft.explain.debugger import Debugger

        return Debugger(self)

    def cost(self) -> Cost:
        """Multiplications and peak bytes of forward mode, reverse mode and checkpointing for this graph."""
        from tinygrad_ft.explain.cost import Cost

        return Cost(self.recorded)

    def rows(self) -> list[list[str]]:
        """A row a node, oldest first: name, how it was made, shape, value, gradient."""
        gradients = self.gradients if self._steps else {}
        return [
            [
                self.names[i],
                self.names.call(i) or "leaf",
                shape_text(node.shape),
                shown(self.recorded.values.get(node)),
                shown(gradients.get(i)),
            ]
            for i, node in enumerate(self.recorded.nodes)
        ]

    def _short(self) -> tuple[list[list[str]], str]:
        rows, count = self.rows(), len(self.recorded)
        title = f"{self.names[count - 1]}: {count} nodes, {len(self.recorded.leaves)} of them leaves"
        if count > ROWS:
            half = ROWS // 2
            rows = [*rows[:half], [f"... {count - 2 * half} more", "", "", "", ""], *rows[-half:]]
        return rows, title

    def __repr__(self) -> str:
        rows, title = self._short()
        return f"{title}\n{text_table(HEAD, rows)}"

    def _repr_html_(self) -> str:
        rows, title = self._short()
        return html_table(HEAD, rows, caption=title)
