"""The plan of a program: which lines are needed, in which loops and order, and where in one arena their arrays lie."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import prod
from typing import Any

from tinygrad_ft.jit.fuse import WIDEST, Group, constant, dtype_of, order_of, sums_up, width_of
from tinygrad_ft.jit.record import Recorder
from tinygrad_ft.jit.roots import FRESH, Line, Ref, overwritten_by

ALIGNED = 64  # bytes: a line of the cache, and the widest register

Item = Line | Group


def refs_of(line: Line) -> list[Ref]:
    """What a line reads."""
    return [x for x in line.inputs if isinstance(x, Ref)]


def written_by(line: Line) -> list[int]:
    """The roots that a line writes: its answers, and what it overwrites."""
    found = [line.inputs[i] for i in overwritten_by(line.op, len(line.inputs))]
    return [x.root for x in (*line.outputs, *found) if isinstance(x, Ref)]


def folded(lines: Sequence[Line]) -> list[Line]:
    """The lines, with the number itself where an elementwise op reads a constant: the 1 that backward starts from."""
    found: list[Line] = []
    constants: dict[int, float] = {}  # by root
    for line in lines:
        dtype = dtype_of(line)
        if dtype is not None:
            inputs = tuple([constants.get(x.root, x) if isinstance(x, Ref) else x for x in line.inputs])
            simpler = line._replace(inputs=inputs)
            line = simpler if dtype_of(simpler) == dtype else line  # some forwards ask an input for its dtype
            value = constant(line, dtype) if prod(line.outputs[0].shape) == 1 else None
            if value is not None:
                constants[line.outputs[0].root] = value
        found.append(line)
    return found


def needed(record: Recorder, results: Iterable[Ref]) -> list[Line]:
    """The lines on which a result, or something that was there before the step, depends."""
    wanted = {ref.root for ref in results}
    kept: list[Line] = []
    for line in reversed(folded(record.lines)):
        if any(root in wanted or record.roots[root].kind is not FRESH for root in written_by(line)):
            kept.append(line)
            wanted |= {ref.root for ref in refs_of(line)}
    return kept[::-1]


def scheduled(lines: Sequence[Line], alone: Callable[[Line], bool]) -> list[Item]:
    """The lines in order, elementwise ones gathered into groups but for those that stand `alone`."""
    items: list[Item] = []
    writer: dict[int, int] = {}  # root -> the item that last wrote it
    for line in lines:
        made = (
            items[writer[x.root]] if line.inputs and isinstance(x := line.inputs[0], Ref) and x.root in writer else None
        )
        if isinstance(made, Group) and sums_up(line, made):
            made.sums.append(line)
            writer[line.outputs[0].root] = writer[x.root]
            continue
        dtype = None if alone(line) else dtype_of(line)
        at = _group_for(line, dtype, items, writer) if dtype is not None else None
        if at is not None:
            items[at].lines.append(line)  # type: ignore[union-attr]
        else:
            at = len(items)
            items.append(line if dtype is None else Group(line, dtype))
        for root in written_by(line):
            writer[root] = at
    return items


def _group_for(line: Line, dtype: Any, items: list[Item], writer: dict[int, int]) -> int | None:
    """The latest group that the line can join: one that reads or makes something that it reads."""
    refs = set(refs_of(line))
    for at in range(len(items) - 1, -1, -1):
        group = items[at]
        if isinstance(group, Group) and _alike(group, line, dtype):
            made = group.made
            made_roots = {ref.root for ref in made}
            there = all(ref in made or (writer.get(ref.root, -1) < at and ref.root not in made_roots) for ref in refs)
            known = made | set(group.operands())
            operands = (known | refs) - made
            near = there and refs & known and len(operands) <= WIDEST
            width = width_of(list(operands), group.shape, group.order)
            if near and width is not None and (width == prod(group.shape) or not group.sums):
                return at
        if any(writer.get(ref.root, -1) >= at for ref in refs):
            return None  # what the line reads is made here: it cannot stand earlier
    return None


def _alike(group: Group, line: Line, dtype: Any) -> bool:
    y = line.outputs[0]
    return bool(group.dtype == dtype and group.shape == y.shape and group.order == order_of(y))


def lines_of(item: Item) -> list[Line]:
    """The lines of an item."""
    return [*item.lines, *item.sums] if isinstance(item, Group) else [item]


def stored_of(group: Group, items: Sequence[Item], kept: set[int]) -> list[Ref]:
    """Which answers of a group are read elsewhere, or kept."""
    elsewhere = {ref.root for item in items if item is not group for line in lines_of(item) for ref in refs_of(line)}
    inside = {
        ref.root for line in group.lines for ref in refs_of(line) if ref not in group.made
    }  # another view of an answer is read from memory
    return [line.outputs[0] for line in group.lines if line.outputs[0].root in elsewhere | kept | inside]


class Arena:
    """Where arrays lie that live and die within a step: ranges of one stretch of memory, used again and again."""

    def __init__(self) -> None:
        self.places: dict[int, int] = {}  # root -> offset
        self.size = 0
        self.asked = 0  # bytes, had every array its own

    def place(self, lives: dict[int, tuple[int, int, int]]) -> None:
        """Place roots, given (first item, last item, bytes) of each; the largest find room first."""
        taken: list[tuple[int, int, int, int]] = []  # (first, last, offset, end)
        for root, (first, last, size) in sorted(lives.items(), key=lambda entry: -entry[1][2]):
            room = -(-size // ALIGNED) * ALIGNED
            offset = 0
            for _, _, begin, end in sorted(
                (other for other in taken if other[0] <= last and first <= other[1]), key=lambda other: other[2]
            ):
                if begin - offset >= room:
                    break
                offset = max(offset, end)
            taken.append((first, last, offset, offset + room))
            self.places[root] = offset
            self.size = max(self.size, offset + room)
            self.asked += size


def lifetimes(items: Sequence[Item], record: Recorder, kept: set[int], unstored: set[int]) -> dict[int, Any]:
    """(first item, last item, bytes) of each root that an op makes and nobody keeps."""
    lives: dict[int, list[int]] = {}
    for at, item in enumerate(items):
        for line in lines_of(item):
            for root in {*written_by(line), *(ref.root for ref in refs_of(line))} - unstored - kept:
                if record.roots[root].kind is FRESH:
                    lives.setdefault(root, [at, at])[1] = at
    return {root: (first, last, record.roots[root].nbytes) for root, (first, last) in lives.items()}
