"""Assembly: the memory of a program, and the rows that point into it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from tinygrad_ft.device import cpu
from tinygrad_ft.dispatch import Kernels, Share
from tinygrad_ft.engine import OPS
from tinygrad_ft.jit.fuse import Group, shares_of
from tinygrad_ft.jit.ground import Ground
from tinygrad_ft.jit.plan import ALIGNED, Arena, lifetimes, needed, refs_of, scheduled, stored_of
from tinygrad_ft.jit.record import Recorder
from tinygrad_ft.jit.roots import ARGUMENT, EACH_TIME, GRADIENT, HELD, JitError, Line, Ref
from tinygrad_ft.jit.sparse import without_extremum_gradients
from tinygrad_ft.jit.table import Row, row_of, told


class Assembly:
    """What a record became: its items in order, the memory of its roots, and its rows.

    Args:
        ends: what outlives a replay: answers, and gradients that are left behind.
        ground: where everything else lies, which other programs use at other times.
    """

    def __init__(self, record: Recorder, ends: Sequence[Ref], ground: Ground):
        self.record, self.ground = record, ground
        kept = self.kept = {ref.root for ref in ends}
        self.lines = without_extremum_gradients(needed(record, ends), record, kept)
        self.items = scheduled(self.lines, self._has_kernel)
        self.stored = {
            at: stored_of(item, self.items, kept) for at, item in enumerate(self.items) if isinstance(item, Group)
        }
        self._allot(kept)
        self.checks: list[tuple[Callable[..., None], Line]] = []
        with told():
            self._table()

    def _has_kernel(self, line: Line) -> bool:
        """Whether an elementwise op has a loop of its own that is better than its text."""
        kernels = line.op.kernels
        if not getattr(line.op, "elementwise", False) or kernels is None or not kernels.divides("cpu"):
            return False
        sizes = {x.root: self.record.roots[x.root].nbytes for x in refs_of(line)}
        ground = {root: np.empty(size, np.uint8) for root, size in sizes.items()}  # asked for layout alone
        arrays = [_view(x, ground[x.root]) if isinstance(x, Ref) else x for x in line.inputs]
        return kernels.division("cpu", arrays, line.params) is not None

    # memory

    def _allot(self, kept: set[int]) -> None:
        """Give every root its memory: in the arena, or of its own."""
        record = self.record
        self.unstored = {  # answers that stay within a loop
            line.outputs[0].root
            for at, item in enumerate(self.items)
            if isinstance(item, Group)
            for line in item.lines
            if line.outputs[0] not in self.stored[at]
        }
        lives = lifetimes(self.items, record, kept, self.unstored)
        self.arena = Arena()
        self.arena.place(lives)
        drawn, behind = dict[int, int](), _rounded(self.arena.size)
        for i, root in enumerate(record.roots):
            if root.kind is EACH_TIME and i not in kept:  # what Python makes at each replay lies behind the arena
                drawn[i], behind = behind, behind + _rounded(root.nbytes)
        ground = self.ground.of(behind)
        self.memory: dict[int, Any] = {}
        for i, root in enumerate(record.roots):
            size = root.nbytes
            if i in self.arena.places:
                self.memory[i] = ground[self.arena.places[i] : self.arena.places[i] + size]
            elif i in drawn:
                self.memory[i] = ground[drawn[i] : drawn[i] + size]
            elif i in record.constants:
                self.memory[i] = root.bytes.copy()  # who was handed it may write into it
            elif root.kind in (HELD, GRADIENT):
                self.memory[i] = root.bytes
            elif root.kind in (ARGUMENT, EACH_TIME) or i in kept:
                self.memory[i] = aligned(size)

    def made_anew(self, i: int) -> Any:
        """The array into which Python puts what it makes at each replay."""
        root = self.record.roots[i]
        return np.ndarray(root.shape, root.dtype, self.memory[i]) if root.nbytes else np.empty(root.shape, root.dtype)

    def view(self, ref: Ref) -> Any:
        """The array that a Ref stands for."""
        return _view(ref, self.memory[ref.root])

    # the table

    def _table(self) -> None:
        self.rows: list[Row | None] = []
        self.python: dict[int, Callable[[], None]] = {}
        self.by_python: dict[int, Line] = {}
        for at, item in enumerate(self.items):
            if isinstance(item, Group):
                if self.stored[at] or item.sums:
                    self.rows += [row_of(share) for share in shares_of(item, self.stored[at], self.view)]
                continue
            shares = self._shares(item)
            if shares is None:
                self.by_python[len(self.rows)] = item
                self.rows.append(None)
            else:
                self.rows += [row_of(share) for share in shares if share.items]
        self.functions = np.array([row.function if row else 0 for row in self.rows], np.int64)
        self.blocks = np.array([row.block.ctypes.data if row else 0 for row in self.rows], np.int64)
        self.work = self._work()
        self._find_places()
        for i in self.by_python:
            self._bind_python(i)

    def _shares(self, line: Line) -> Any:
        """The line's work shared out, if its op has a way to; None leaves it to Python."""
        kernels = line.op.kernels
        if kernels is None or not kernels.divides("cpu"):
            return None
        check = getattr(line.op, "check", None)
        if check is not None:
            indices = [x for x in refs_of(line) if x.dtype.kind in "iu"]
            roots = [self.record.roots[x.root] for x in indices]
            if any(root.kind not in (ARGUMENT, HELD) or root.overwritten for root in roots):
                return None  # Python checks them when they are there
        arrays = [self.view(x) if isinstance(x, Ref) else x for x in line.inputs]
        ys = tuple(self.view(ref) for ref in line.outputs)
        shares = self._writing(kernels, ys, line, arrays)
        if shares is None and not getattr(line.op, "overwritten", ()):
            shares = self._after_copies(kernels, ys, line, arrays)
        if shares is not None and check is not None:
            self.checks.append((check, line))
        return shares

    @staticmethod
    def _writing(kernels: Kernels, ys: Sequence[Any], line: Line, arrays: list[Any]) -> list[Share] | None:
        """The shares that write ys; where they would write a contiguous copy of one, it is copied from there then."""
        shares = kernels.shares("cpu", tuple(ys) if line.several else ys[0], arrays, line.params)
        if shares is None:
            return None
        given = [a for share in shares for a in share.arguments if isinstance(a, np.ndarray)]
        lost = [i for i, y in enumerate(ys) if y.size and not any(np.may_share_memory(a, y) for a in given)]
        if not lost:
            return shares
        places = [np.empty(y.shape, y.dtype) if i in lost else y for i, y in enumerate(ys)]
        shares = kernels.shares("cpu", tuple(places) if line.several else places[0], arrays, line.params)
        after = _copying([(ys[i], places[i]) for i in lost])
        return None if shares is None or after is None else [*shares, *after]

    @classmethod
    def _after_copies(cls, kernels: Kernels, ys: Sequence[Any], line: Line, arrays: list[Any]) -> list[Share] | None:
        """The shares for contiguous copies of what is not contiguous, and before them those that copy."""
        gaps = [i for i, a in enumerate(arrays) if isinstance(a, np.ndarray) and not a.flags.c_contiguous]
        copies = [np.empty(a.shape, a.dtype) if i in gaps else a for i, a in enumerate(arrays)]
        shares = cls._writing(kernels, ys, line, copies) if gaps else None
        before = _copying([(copies[i], arrays[i]) for i in gaps])
        return None if shares is None or before is None else [*before, *shares]

    def _find_places(self) -> None:
        """Note which words of which blocks point into memory that may be exchanged; keep arrays that nobody else does.

        The rows let go of their arrays, so that it can be seen whether a gradient is held by someone outside.
        """
        movable = [i for i in self.memory if i not in self.arena.places]
        spans = sorted((m.ctypes.data, m.ctypes.data + m.size, i) for i in movable if (m := self.memory[i]).size)
        starts = [span[0] for span in spans]
        self.places: dict[int, list[tuple[Any, int, int]]] = {i: [] for i in movable}
        self.scratch: list[Any] = []
        for row in self.rows:
            for word, a in row.places if row else ():
                where = a.ctypes.data
                k = bisect_right(starts, where) - 1
                if k >= 0 and where < spans[k][1]:
                    self.places[spans[k][2]].append((row.block, word, where - spans[k][0]))  # type: ignore[union-attr]
                else:
                    self.scratch.append(a)
            if row:
                row.places.clear()

    def _bind_python(self, i: int) -> None:
        line = self.by_python[i]
        arrays = [self.view(x) if isinstance(x, Ref) else x for x in line.inputs]
        ys = [self.view(ref) for ref in line.outputs]
        self.python[i] = partial(_run, line, arrays, ys)

    def exchange(self, root: int, memory: Any) -> None:
        """From now on this memory, as bytes, is the root's."""
        if memory is self.memory[root]:
            return
        self.memory[root] = memory
        start = memory.ctypes.data
        for block, word, offset in self.places[root]:
            block[word] = start + offset
        for i in self.in_python(root):
            self._bind_python(i)

    def in_python(self, root: int) -> list[int]:
        """The rows of Python's that read or write a root."""
        return [i for i, line in self.by_python.items() if _names(line, root)]

    def _work(self) -> float:
        """About how many bytes a replay moves, ten floating-point operations of a matrix product counting as one."""
        total = 0.0
        for row in self.rows:
            if row is not None:
                total += sum(a.nbytes for _, a in row.places)
        for line in self.lines:
            if line.op.name in ("matmul", "linear"):
                a, b = (x for x in line.inputs[:2])
                total += 2.0 * np.prod(a.shape) * b.shape[0 if line.op.name == "linear" else -1] / 10
        return total


def _copying(pairs: Sequence[tuple[Any, Any]]) -> list[Share] | None:
    """The shares that copy, of each pair of arrays, the second into the first; None if one cannot be copied so."""
    kernels, found = OPS["clone"].kernels, list[Share]()
    assert kernels is not None
    for y, x in pairs:
        shares = kernels.shares("cpu", y, [x], {})
        if shares is None:
            return None
        found += shares
    return found


def _view(ref: Ref, memory: Any) -> Any:
    assert memory is not None, "NumPy would make an array of anything"
    if 0 in ref.shape:
        return np.empty(ref.shape, ref.dtype)
    return np.ndarray(ref.shape, ref.dtype, memory, ref.offset, ref.strides)


def _names(line: Line, root: int) -> bool:
    return any(isinstance(x, Ref) and x.root == root for x in (*line.inputs, *line.outputs))


def _rounded(size: int) -> int:
    return -(-size // ALIGNED) * ALIGNED


def aligned(size: int) -> Any:
    """So many bytes, beginning at a line of the cache."""
    whole = np.empty(size + ALIGNED, np.uint8)
    start = -whole.ctypes.data % ALIGNED
    return whole[start : start + size]


def _run(line: Line, arrays: Sequence[Any], ys: Sequence[Any]) -> None:
    """What Python does in the place of a row: the op or composed function, its answers put where they belong."""
    forward = getattr(line.op, "forward", None)
    if forward is None:
        y = line.op(*arrays, **line.params)
    else:
        if line.op.check is not None:
            line.op.check(*arrays, **line.params)
        run = forward if line.op.kernels is None else line.op.kernels.choose("cpu", arrays, line.params)
        y = run(cpu.xp, *arrays, **line.params)
    for out, part in zip(ys, y if line.several else (y,), strict=True):
        if part is not out:
            if np.shape(part) != out.shape:
                raise JitError(
                    f"{line.op.name} at {line.place} answers shape {np.shape(part)}, and {out.shape} when it was "
                    "recorded: a jitted step has shapes that do not depend on numbers"
                )
            np.copyto(out, part, casting="unsafe")
