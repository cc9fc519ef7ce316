"""A program: a recorded step, and what has to be looked after at each replay."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from tinygrad_ft.jit.assembly import Assembly, aligned
from tinygrad_ft.jit.crew import Pace, single_threaded_blas, walk
from tinygrad_ft.jit.ground import Ground
from tinygrad_ft.jit.guards import Options
from tinygrad_ft.jit.leaves import Gradients
from tinygrad_ft.jit.record import Recorder
from tinygrad_ft.jit.roots import ARGUMENT, FRESH, HELD, Line, Ref
from tinygrad_ft.memory import give_back_freed_memory
from tinygrad_ft.threads import usable_threads

WORTH_COPYING = 1 << 14  # bytes: a smaller argument or answer is copied, a larger one left where it lies
WORTH_THREADS = 2e6  # bytes moved, or 20 times as many operations: less is done before a second thread is awake


class Held(NamedTuple):
    """A Tensor from outside that a program uses: the array that it had last, which root that is, and its node."""

    tensor: Any
    array: Any
    root: int
    node: Any


class Changed(Exception):
    """The program does not hold for this call, though its arguments fit: the step has to be recorded again."""


class Program:
    """Replays a record. `results` are the arrays that it answers."""

    def __init__(self, record: Recorder, results: Sequence[Ref], ground: Ground, threads: int | None = None):
        give_back_freed_memory()  # the arena beside what recording took would be the peak of it all
        found = [(leaf, ref) for leaf, ref in record.left if id(leaf.node) in record.leaves]
        self.assembly = Assembly(record, [*results, *(ref for _, ref in found if ref is not None)], ground)
        self.gradients = Gradients(self.assembly, found)
        self.options, self.frozen = Options(record.used), record.frozen
        self.results, shown = list(results), {ref.root for _, ref in found if ref is not None}
        roots, counted = record.roots, [ref.root for ref in results]
        mine = {i for i in counted if roots[i].kind is FRESH and i not in shown}
        self._given_away = {  # answers that lie in memory of their own, which each call gets anew, and how many bytes
            i: roots[i].nbytes
            for i in mine
            if roots[i].nbytes >= WORTH_COPYING and counted.count(i) == 1 and not self.assembly.in_python(i)
        }
        steady = mine - self._given_away.keys()
        self._steady = [self.assembly.view(ref) if ref.root in steady else None for ref in results]
        arguments = [i for i, root in enumerate(roots) if root.kind is ARGUMENT]
        self._rooms = [self._room(i) for i in arguments]
        large = [i for i in arguments if self._rooms[i] is None and not self.assembly.in_python(i)]
        self._lent = [*self._given_away, *large]  # the caller's, to be let go of after each call
        self.pace = Pace(threads or (usable_threads() if self.assembly.work > WORTH_THREADS else 1))
        self.held = [
            Held(root.owner, root.owner.array, i, root.owner.node)
            for i, root in enumerate(record.roots)
            if root.kind is HELD and root.owner is not None and _shows(root.owner, root.array)
        ]
        self._events = [(None if i < 0 else self.assembly.made_anew(i), do) for i, do in record.events]

    def _room(self, i: int) -> Any:
        """Where an argument is copied to; None for a large one."""
        a = self.assembly.record.roots[i].array
        if a.nbytes >= WORTH_COPYING:
            return None
        return np.ndarray(a.shape, a.dtype, self.assembly.memory[i]) if a.size else np.empty(a.shape, a.dtype)

    def applies(self) -> bool:
        """Whether modules, optimisers and leaves are as they were when the step was recorded."""
        for t, a, _, node in self.held:
            if t.node is not node or (t.array is not a and not self._follow(t)):
                return False
        if any([t.node is not None for t in self.frozen]):
            return False
        return self.options.hold() and self.gradients.hold()

    def _follow(self, t: Any) -> bool:
        """Use the array that a Tensor was given in the place of its old one, if it can stand there."""
        i, (_, _, root, _) = next((i, held) for i, held in enumerate(self.held) if held.tensor is t)
        a = t.array
        alone = a.base is None and a.flags.c_contiguous and not any(a is other.array for other in self.held)
        if not alone or a.dtype != self.held[i].array.dtype or a.shape != self.held[i].array.shape:
            return False
        if a.nbytes != self.assembly.memory[root].size:
            return False
        self.held[i] = Held(t, a, root, t.node)
        self.assembly.exchange(root, a.reshape(-1).view(np.uint8))
        return True

    def __call__(self, arguments: Sequence[Any]) -> list[Any]:
        """One replay; answers arrays of the caller's own.

        Raises:
            Changed: if a check of the contents of an argument fails; nothing has been written then.
        """
        table = self.assembly
        for i, (given, room) in enumerate(zip(arguments, self._rooms, strict=True)):
            if room is None:
                table.exchange(i, np.ascontiguousarray(given).reshape(-1).view(np.uint8))
            else:
                room[...] = given
        try:
            for check, line in table.checks:
                self._check(check, line)
            self.gradients.prepare()
            for array, do in self._events:
                made = do()
                if array is not None:
                    array[...] = made
            for i, size in self._given_away.items():
                table.exchange(i, aligned(size))
            self._walk()
            answers = [
                table.view(ref) if ref.root in self._given_away else (table.view(ref) if a is None else a).copy()
                for ref, a in zip(self.results, self._steady, strict=True)
            ]
            self.gradients.leave()
        finally:
            for i in self._lent:
                table.memory[i] = None
        return answers

    def _check(self, check: Any, line: Line) -> None:
        try:
            check(*[self.assembly.view(x) if isinstance(x, Ref) else x for x in line.inputs], **line.params)
        except (IndexError, ValueError) as error:
            raise Changed from error

    def _walk(self) -> None:
        table = self.assembly
        if table.work <= WORTH_THREADS:
            walk(table.functions, table.blocks, table.python, self.pace.threads)
            return
        threads = self.pace.next()
        with single_threaded_blas():
            started = perf_counter()
            walk(table.functions, table.blocks, table.python, threads)
            self.pace.note(threads, perf_counter() - started)


def _shows(t: Any, base: Any) -> bool:
    a = t.array
    while a is not base and type(a) is np.ndarray:
        a = a.base
    return a is base
