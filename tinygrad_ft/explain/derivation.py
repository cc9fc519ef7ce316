"""The backward pass written out, node by node, in the order of the chain rule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tinygrad_ft.engine import Node, pick
from tinygrad_ft.explain.local import local
from tinygrad_ft.explain.record import Edge, Step
from tinygrad_ft.explain.table import html_table, shape_text, shown
from tinygrad_ft.watch import named

if TYPE_CHECKING:
    from tinygrad_ft.explain.explanation import Explanation

SHOWN = 100  # steps that are printed
HEAD = ("", "node", "arrives", "rule", "local derivative", "hands on")


def rule_of(node: Node) -> str:
    """The derivative of the op that made a node, as its rule says it of itself."""
    if node.op is None:
        return "a leaf: this is its gradient"
    if node.op is pick:
        return "one of several outputs: its cotangent goes to the op that made them"
    for doc in (node.op.rule.__doc__, node.op.__doc__):
        line = (doc or "").strip().split("\n")[0]
        if line and not line.startswith("See "):
            return line
    return f"the rule of {node.op.name}"


class Derivation:
    """The steps of a backward pass in words and numbers; `len`, `lines()` for text, a table in a notebook."""

    def __init__(self, explanation: Explanation):
        self.recorded, self.names, self.steps = explanation.recorded, explanation.names, explanation.steps

    def __len__(self) -> int:
        return len(self.steps)

    def _letters(self, step: Step) -> str:
        """Which input is meant by which letter of the rule."""
        node = self.recorded.nodes[step.number]
        if node.op is None or node.op is pick:
            return ""
        letters = [f"{letter} = {operand}" for letter, operand in named(node.op, self.names.operands(step.number))]
        return ", ".join([f"y = {self.names[step.number]}", *letters])

    def shape_story(self, edge: Edge) -> str:
        """Why what is handed on has another shape than what the rule answered; "" where it has not."""
        parent, name = self.recorded.nodes[edge.parent], self.names[edge.parent]
        if edge.summed:
            axes = ", ".join(map(str, edge.summed))
            copies = 1
            for axis in edge.summed:
                copies *= edge.answered[axis]
            plural = "axes" if len(edge.summed) > 1 else "axis"
            return (
                f"summed over {plural} {axes} of {edge.answered}: {name} of shape {shape_text(parent.shape)} was "
                f"broadcast to {copies} copies, and every copy counts"
            )
        if edge.spread:
            return f"{edge.answered} spread over the shape {shape_text(parent.shape)} of {name}, which was reduced"
        return ""

    def _locals(self, step: Step) -> list[str]:
        if any(not isinstance(self.recorded.nodes[step.number].shape, tuple) for _ in step.edges):
            return []
        try:
            return [
                f"d{self.names[step.number]}/d{self.names[e.parent]} = {local(self.recorded, step.number, e.position)}"
                for e in step.edges
            ]
        except ValueError:  # backward() has come since, and with it went what the rule needs
            return []

    def _hands_on(self, step: Step) -> list[str]:
        lines = []
        for edge in step.edges:
            story = self.shape_story(edge)
            lines.append(f"to {self.names[edge.parent]}: {shown(edge.g)}" + (f" ({story})" if story else ""))
        return lines

    def lines(self) -> list[str]:
        """The whole as lines of text."""
        told = []
        for k, step in enumerate(self.steps[:SHOWN], 1):
            node, name = self.recorded.nodes[step.number], self.names[step.number]
            made = self.names.call(step.number)
            told.append(f"{k}. {name}{' = ' + made if made else ''}   shape {shape_text(node.shape)}")
            told.append(f"   arrives   {shown(step.g)}")
            letters = self._letters(step)
            told.append(f"   rule      {rule_of(node)}" + (f"   with {letters}" if letters else ""))
            told += [f"   local     {line}" for line in self._locals(step)]
            told += [f"   hands on  {line}" for line in self._hands_on(step)]
        if len(self) > SHOWN:
            told.append(f"... {len(self) - SHOWN} more steps")
        return told

    def rows(self) -> list[list[str]]:
        """A row a step: number, node, what arrives, rule, local derivatives, what is handed on."""
        rows: list[list[Any]] = []
        for k, step in enumerate(self.steps[:SHOWN], 1):
            node, made = self.recorded.nodes[step.number], self.names.call(step.number)
            letters = self._letters(step)
            rows.append(
                [
                    str(k),
                    f"{self.names[step.number]}{' = ' + made if made else ''}\nshape {shape_text(node.shape)}",
                    shown(step.g),
                    rule_of(node) + (f"\n{letters}" if letters else ""),
                    "\n".join(self._locals(step)),
                    "\n".join(line.replace(" (", "\n  (", 1) for line in self._hands_on(step)),
                ]
            )
        if len(self) > SHOWN:
            rows.append(["", f"... {len(self) - SHOWN} more steps", "", "", "", ""])
        return rows

    def __repr__(self) -> str:
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        return f'<div style="overflow-x:auto">{html_table(HEAD, self.rows())}</div>'
