"""A debugger of the backward pass: forward and back step by step, or on to an op, with the cotangents so far."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from tinygrad_ft.explain.derivation import rule_of
from tinygrad_ft.explain.record import Step
from tinygrad_ft.explain.table import shown, text_table

if TYPE_CHECKING:
    from tinygrad_ft.explain.explanation import Explanation

SHOWN = 30  # nodes of the table
HEAD = ("", "cotangent of", "so far", "arrivals")


class Debugger:
    """A backward pass that stands still between two nodes. `print(debugger)` shows where; a notebook has buttons.

    Nothing is computed twice: the pass was walked when the graph was explained, and this moves through what it left.
    """

    def __init__(self, explanation: Explanation):
        self.explanation = explanation
        self.recorded, self.names, self.steps = explanation.recorded, explanation.names, explanation.steps
        self.position = 0  # steps that are done
        self.cotangents: dict[int, Any] = {len(self.recorded) - 1: explanation.seed}  # so far, by node number
        self.expected = Counter(edge.parent for step in self.steps for edge in step.edges)
        self.arrivals: Counter[int] = Counter()
        self._before: list[dict[int, Any]] = []  # what each step changed, as it was before

    @property
    def done(self) -> bool:
        """Whether every node had its turn."""
        return self.position == len(self.steps)

    @property
    def next(self) -> Step | None:
        """The step that comes next: the node whose rule will run."""
        return None if self.done else self.steps[self.position]

    def step(self, count: int = 1) -> Debugger:
        """Let the next node hand on what it has, or the next few; at the end nothing more happens."""
        for _ in range(count):
            step = self.next
            if step is None:
                break
            self._before.append({edge.parent: self.cotangents.get(edge.parent) for edge in step.edges})
            for edge in step.edges:
                self.recorded.arrive(self.cotangents, edge)
                self.arrivals[edge.parent] += 1
            self.position += 1
        return self

    def back(self, count: int = 1) -> Debugger:
        """Undo the last step, or the last few; at the beginning nothing more happens."""
        for _ in range(min(count, self.position)):
            self.position -= 1
            for number, old in self._before.pop().items():
                if old is None:
                    del self.cotangents[number]
                else:
                    self.cotangents[number] = old
            for edge in self.steps[self.position].edges:
                self.arrivals[edge.parent] -= 1
        return self

    def run_to(self, name: str) -> Debugger:
        """Go on until the next node is one that this op made, or the one of this name; at least one step.

        Raises:
            ValueError: if no such node comes any more; nothing has moved then.
        """
        for k in range(self.position + 1, len(self.steps)):
            number = self.steps[k].number
            op = self.recorded.nodes[number].op
            if name in (self.names[number], None if op is None else op.name):
                return self.step(k - self.position)
        left = self.steps[self.position + 1 :]
        ops = dict.fromkeys(op.name for s in left if (op := self.recorded.nodes[s.number].op) is not None)
        raise ValueError(
            f"no node called {name!r} and no op of that name is still to come; to come are "
            f"{', '.join(list(ops)[:20]) or 'leaves only'}; back() goes back"
        )

    def rows(self) -> list[list[str]]:
        """A row a node that something has arrived at, newest first: a mark, name, cotangent so far, arrivals of all."""
        step = self.next
        passed = {s.number for s in self.steps[: self.position]}
        rows = []
        for number in sorted(self.cotangents, reverse=True):
            expected = self.expected[number]
            mark = "->" if step is not None and number == step.number else "ok" if number in passed else ""
            arrivals = f"{self.arrivals[number]} of {expected}" if expected else "seed"
            rows.append([mark, self.names[number], shown(self.cotangents[number]), arrivals])
        return rows

    def heading(self) -> str:
        """Where the pass stands, in a line."""
        step = self.next
        if step is None:
            return f"done: all {len(self.steps)} nodes had their turn"
        made = self.names.call(step.number)
        node = self.recorded.nodes[step.number]
        what = f"{self.names[step.number]}{' = ' + made if made else ''}"
        return f"step {self.position + 1} of {len(self.steps)}, next {what}: {rule_of(node)}"

    def __repr__(self) -> str:
        rows = self.rows()
        near = next((i for i, row in enumerate(rows) if row[0] == "->"), len(rows))
        start = max(0, min(near - SHOWN // 2, len(rows) - SHOWN))
        more = f"\n({len(rows) - SHOWN} more nodes not shown)" if len(rows) > SHOWN else ""
        return f"{self.heading()}\n{text_table(HEAD, rows[start : start + SHOWN])}{more}"

    def _repr_html_(self) -> str:
        from tinygrad_ft.explain.widget import widget

        return widget(self)
