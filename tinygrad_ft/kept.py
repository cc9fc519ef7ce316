"""Whether the arrays that a node keeps for its rule are still the ones it kept: checksums, and when each was seen."""

from __future__ import annotations

import linecache
from collections.abc import Iterator, Sequence
from threading import local
from typing import Any, NamedTuple
from weakref import WeakValueDictionary, ref
from zlib import crc32

import numpy as np

from tinygrad_ft.device import DEVICES
from tinygrad_ft.engine import Node
from tinygrad_ft.watch import Place, user_place

LOOKED_AT_AGAIN = 1 << 20  # bytes of kept arrays that each op call looks at again: 0.5 ms or so
COUNTED_AS = 1 << 12  # bytes, at least, that an array counts as among them
PRINTED_BETWEEN = 10  # lines


class Moment(NamedTuple):
    """A call of an op, or backward's coming to it; `rule` is the op in whose rule that happened."""

    name: str
    place: Place
    rule: str | None = None

    def __str__(self) -> str:
        return f"{self.name}{'' if self.rule is None else f' in the rule of {self.rule}'} at {self.place}"


class Trace:
    """What is noted of a node: the call that left it, its arguments in words, a checksum of each array it keeps."""

    __slots__ = ("given", "kept", "moment")

    def __init__(self, moment: Moment, node: Node, given: Sequence[object]):
        self.moment, self.given = moment, given
        self.kept = [(name, history := _history(a), history.look(moment)) for name, a in _kept_arrays(node)]

    def hold_against(self, node: Node) -> None:
        """Raise if an array that the node keeps has other bytes by now."""
        assert node.op is not None
        now = Moment(f"backward of {node.op.name}", user_place())
        for name, history, checksum in self.kept:
            if history.look(now) != checksum:
                lines = (
                    f"{name}, which {node.op.name} kept for backward, was changed in place before backward came to it",
                    f"kept by      {self.moment}",
                    *history.change_after(checksum),
                    "Change a copy instead (x.clone(), array.copy()), or do it after backward().",
                )
                raise RuntimeError("\n  ".join(lines))


class History:
    """The checksums that one array was seen to have, oldest first, each with its first and last moment."""

    __slots__ = ("__weakref__", "array", "seen")

    def __init__(self, array: Any):
        self.array = ref(array)
        self.seen: list[tuple[int, Moment, Moment]] = []

    def look(self, now: Moment) -> int:
        """Its checksum now."""
        found = _checksum(self.array())
        if self.seen and self.seen[-1][0] == found:
            self.seen[-1] = (found, self.seen[-1][1], now)
        else:
            self.seen.append((found, now, now))
        return found

    def change_after(self, checksum: int) -> Iterator[str]:
        """Between which two moments it ceased to have that checksum, in lines to print."""
        i = max(i for i, (found, _, _) in enumerate(self.seen) if found == checksum)
        before, after = self.seen[i][2], self.seen[i + 1][1]
        yield f"still so at  {before}"
        yield f"no longer at {after}"
        a, b = before.place, after.place
        if (a.file, a.function) == (b.file, b.function) and b.line - a.line <= PRINTED_BETWEEN:
            between = [(n, linecache.getline(a.file, n).strip()) for n in range(a.line + 1, b.line)]
            yield from (f"  between them, line {n}: {text}" for n, text in between if text and text[0] != "#")


class _Thread(local):
    def __init__(self) -> None:
        self.histories: WeakValueDictionary[int, History] = WeakValueDictionary()  # traces alone hold them


_here = _Thread()


def look_again(now: Moment) -> None:
    """Look at what was kept last, as far as that is cheap, so that a change can be placed between two calls."""
    budget = LOOKED_AT_AGAIN
    for history in reversed(list(_here.histories.values())):
        array = history.array()
        if array is None or array.nbytes > LOOKED_AT_AGAIN:
            continue
        budget -= max(array.nbytes, COUNTED_AS)
        if budget < 0:
            return
        history.look(now)


def _history(a: Any) -> History:
    history = _here.histories.pop(id(a), None)  # and in again: the newest stands last
    if history is None or history.array() is not a:
        history = History(a)
    _here.histories[id(a)] = history
    return history


def _checksum(a: Any) -> int:
    a = np.ascontiguousarray(a.get() if hasattr(a, "get") else a)
    return crc32(a.reshape(-1).view(np.uint8))


def _kept_arrays(node: Node) -> Iterator[tuple[str, Any]]:
    """The arrays that a node keeps, by name; several outputs stand in one place, as those of a list do."""
    assert node.op is not None
    inputs = node.op.inputs
    for which, kept in zip(node.op.keeps, node.kept, strict=True):
        name = "its output" if which == -1 else inputs[which.start if isinstance(which, slice) else which]
        if isinstance(kept, tuple | list):
            yield from ((f"{name}[{i}]", a) for i, a in enumerate(kept) if type(a) in DEVICES)
        elif type(kept) in DEVICES:
            yield name, kept
