"""What is drawn of a graph: boxes and arrows; a large graph is folded, module by module, into few boxes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_ft.engine import pick
from tinygrad_ft.explain.names import Names
from tinygrad_ft.explain.record import Recorded
from tinygrad_ft.explain.table import shape_text, shown

UNFOLDED = 60  # nodes that are drawn one by one
BOXES = 24  # that a folded graph has at most, leaves outside of all modules apart


@dataclass
class Box:
    """One thing to be drawn: a leaf, an op, the result, or a fold of several nodes. `lines` is its text."""

    kind: str
    lines: list[str]
    members: list[int]


@dataclass
class Drawing:
    """Boxes, oldest first, and arrows (from, to, how many) between them; arrows go from older to newer boxes."""

    boxes: list[Box]
    arrows: dict[tuple[int, int], int]

    def box_of(self) -> dict[int, int]:
        """The box in which each node lies."""
        return {member: i for i, box in enumerate(self.boxes) for member in box.members}


def drawing(recorded: Recorded, names: Names, gradients: Mapping[int, Any], *, fold: bool | None = None) -> Drawing:
    """The drawing of a graph, with values and gradients; folded if it is large, or if `fold` says so."""
    if len(recorded) > UNFOLDED if fold is None else fold:
        return _folded(recorded, names, gradients)
    boxes = [_box(recorded, names, gradients, i) for i in range(len(recorded))]
    return Drawing(boxes, _arrows(recorded, list(range(len(recorded)))))


def _box(recorded: Recorded, names: Names, gradients: Mapping[int, Any], i: int) -> Box:
    node = recorded.nodes[i]
    kind = "leaf" if node.op is None else "result" if i == len(recorded) - 1 else "op"
    made = f"{names[i]} = {names.call(i)}" if node.op is not None else names[i]
    lines = [made, f"shape {shape_text(node.shape)}"] if not _scalar(node.shape) else [made]
    if node in recorded.values:
        lines.append(f"value {_brief(recorded.values[node])}")
    if i in gradients:
        lines.append(f"grad {_brief(gradients[i])}")
    return Box(kind, lines, [i])


def _scalar(shape: Any) -> bool:
    return isinstance(shape, tuple) and shape == ()


def _brief(array: Any) -> str:
    return shown(array).removeprefix(f"shape {shape_text(np.shape(array))}, ") if hasattr(array, "shape") else "(parts)"


def _arrows(recorded: Recorded, box_of: Sequence[int]) -> dict[tuple[int, int], int]:
    arrows: Counter[tuple[int, int]] = Counter()
    for child, parents in enumerate(recorded.parents):
        for parent in parents:
            if parent is not None and box_of[parent] != box_of[child]:
                arrows[box_of[parent], box_of[child]] += 1
    return dict(arrows)


def _folded(recorded: Recorded, names: Names, gradients: Mapping[int, Any]) -> Drawing:
    """Ops that ran one after the other fold together, so no arrow can go back from a fold to an older one."""
    runs = _runs(recorded, names)
    box_of = [-1] * len(recorded)
    for i, (_, members) in enumerate(runs):
        for member in members:
            box_of[member] = i
    inside, outside = _leaves(recorded, names, box_of)
    for leaf, run in inside.items():
        runs[run][1].append(leaf)
    alone = [([leaf], _box(recorded, names, gradients, leaf)) for leaf in outside[:BOXES]]
    if len(outside) > BOXES:
        rest = outside[BOXES:]
        alone.append((rest, Box("leaf", [f"{len(rest)} more leaves", _numbers(recorded, rest)], rest)))
    boxes = [box for _, box in alone]
    result = len(recorded) - 1
    for label, members in runs:
        if members == [result]:
            boxes.append(_box(recorded, names, gradients, result))
        else:
            boxes.append(Box("fold", _told(recorded, label, members, gradients), sorted(members)))
    where = {member: i for i, box in enumerate(boxes) for member in box.members}
    return Drawing(boxes, _arrows(recorded, [where[i] for i in range(len(recorded))]))


def _leaves(recorded: Recorded, names: Names, box_of: Sequence[int]) -> tuple[dict[int, int], list[int]]:
    """Leaves that lie in the run that uses them (a module's own parameters), and the others."""
    users: dict[int, list[int]] = {}
    for child, parents in enumerate(recorded.parents):
        for parent in parents:
            if parent is not None and recorded.nodes[parent].op is None:
                users.setdefault(parent, []).append(child)
    inside, outside = {}, []
    for leaf in recorded.leaves:
        if "." in names[leaf] and leaf in users:
            inside[leaf] = box_of[users[leaf][0]]
        else:
            outside.append(leaf)
    return inside, outside


def _runs(recorded: Recorded, names: Names) -> list[tuple[str, list[int]]]:
    """Stretches of ops in the order in which they ran, each under the name of the module whose parameters it uses.

    An op without parameters of its own (an activation) goes with those before it. Names are cut to fewer parts until
    there are few stretches; where that does not suffice, neighbours are put together.
    """
    ops = [i for i, node in enumerate(recorded.nodes) if node.op is not None]
    modules: list[tuple[str, ...]] = []
    for i in ops[:-1]:
        used = [
            names[p].split(".")[:-1]
            for p in recorded.parents[i]
            if p is not None and recorded.nodes[p].op is None and "." in names[p]
        ]
        modules.append(tuple(used[0]) if used else modules[-1] if modules else ())
    if modules:  # what runs before the first parameter prepares the input
        modules.append(("the result",))  # which stands alone, to be seen
    deepest = max((len(m) for m in modules), default=0)
    runs: list[tuple[str, list[int]]] = []
    for depth in range(deepest, 0, -1):
        runs = []
        for i, module in zip(ops, modules, strict=False):
            label = ".".join(module[:depth])
            if runs and runs[-1][0] == label:
                runs[-1][1].append(i)
            else:
                runs.append((label, [i]))
        if len(runs) <= BOXES:
            break
    if not runs:
        runs = [("the result", ops)]
    longest = max(len(ops) // BOXES + 1, 2)
    if len(runs) > BOXES or max(len(members) for _, members in runs) > max(UNFOLDED, 4 * longest):
        runs = _evened(runs, longest)
    return runs


def _evened(runs: list[tuple[str, list[int]]], size: int) -> list[tuple[str, list[int]]]:
    """The same ops in stretches of about `size`, under the names of all the modules that a stretch has part in."""
    flat = [(label, i) for label, members in runs for i in members]
    body, last = flat[:-1], flat[-1:]
    evened = []
    for start in range(0, len(body), size):
        part = body[start : start + size]
        labels = list(dict.fromkeys(label for label, _ in part if label))
        label = labels[0] if len(labels) == 1 else f"{labels[0]} to {labels[-1]}" if labels else ""
        evened.append((label, [i for _, i in part]))
    return [*evened, *[("the result", [i]) for _, i in last]]


def _told(recorded: Recorded, label: str, members: list[int], gradients: Mapping[int, Any]) -> list[str]:
    """The text of a fold: its name, how many ops of which kinds, its parameters, and how large its gradients are."""
    ops: list[Any] = [node.op for i in members if (node := recorded.nodes[i]).op not in (None, pick)]
    counts = Counter(op.name for op in ops)
    kinds = ", ".join(f"{name} x{n}" if n > 1 else name for name, n in counts.most_common(4))
    more = ", ..." if len(counts) > 4 else ""
    leaves = [i for i in members if recorded.nodes[i].op is None]
    lines = [label or "ops", f"{len(ops)} op{'s' if len(ops) != 1 else ''}: {kinds}{more}"]
    last = recorded.nodes[max(i for i in members if recorded.nodes[i].op is not None)]
    lines.append(f"out {shape_text(last.shape)}")
    if leaves:
        lines.append(f"{len(leaves)} parameter{'s' if len(leaves) != 1 else ''}, {_numbers(recorded, leaves)}")
        norms = [float(np.linalg.norm(np.asarray(gradients[i], float))) for i in leaves if _plain(gradients.get(i))]
        if norms:
            lines.append(f"|grad| {float(np.linalg.norm(norms)):.3g}")
    return lines


def _plain(g: Any) -> bool:
    return isinstance(g, np.ndarray)


def _numbers(recorded: Recorded, leaves: Sequence[int]) -> str:
    return f"{sum(int(np.prod(recorded.nodes[i].shape)) for i in leaves):,} numbers"
