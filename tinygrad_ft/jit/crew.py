"""How a table is walked: by this thread alone, or together with others, Python's rows in between."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from importlib import import_module
from math import inf
from typing import Any

import numpy as np

from tinygrad_ft.threads import pool

Python = dict[int, Callable[[], None]]
_ALONE = np.zeros(2, np.int64)  # where one thread meets nobody
_MEETING = np.zeros(16, np.int64)  # where several do: two words in a cache line of their own


class Pace:
    """How many threads to walk with. On a busy machine threads wait for each other at every row, and one is quicker.

    The first walk is done alone, for comparison. If two walks together take longer than that, or one takes three times
    as long, the next ones are done alone, at first a few, then more and more, before the others are asked again.
    Answers do not depend on it: their bits are the same.
    """

    def __init__(self, threads: int):
        self.threads = threads
        self._alone, self._pause, self._slow = int(threads > 1), 8, 0
        self._time_alone = inf

    def next(self) -> int:
        """For the next walk."""
        if self._alone:
            self._alone -= 1
            return 1
        return self.threads

    def note(self, threads: int, seconds: float) -> None:
        """A walk took so long."""
        if threads == 1:
            self._time_alone = min(1.01 * self._time_alone, seconds)
        elif seconds <= self._time_alone:
            self._slow, self._pause = 0, 8
        else:
            self._slow += 1
            if self._slow == 2 or seconds > 3 * self._time_alone:
                self._slow, self._alone, self._pause = 0, self._pause, min(2 * self._pause, 256)


def walk(functions: Any, blocks: Any, python: Python, threads: int) -> None:
    """Walk a table to its end; row i of Python's is done by python[i]."""
    if threads == 1 and not python:
        _machine().walk_alone(functions, blocks)
    elif threads == 1 or not _walk_together(functions, blocks, python, threads):
        _walk_first(functions, blocks, python, 1, _ALONE)


def _walk_together(functions: Any, blocks: Any, python: Python, threads: int) -> bool:
    """Walk with other threads; False, and nothing is done, if they are busy."""
    machine, give = _machine(), _yielding()
    first = partial(_walk_first, functions, blocks, python, threads, _MEETING)
    others = [
        partial(machine.walk, functions, blocks, 0, thread, threads, _MEETING, 0, give) for thread in range(1, threads)
    ]
    return pool.work_off([first, *others], before=_clear, break_off=partial(_break_off, threads * (functions.size + 1)))


def _clear() -> None:
    _MEETING[:2] = 0


def _break_off(arrivals: int) -> None:
    """Let the others' walk end at the barrier where they wait for this thread."""
    _MEETING[1] = 1
    _MEETING[0] += arrivals


def _walk_first(functions: Any, blocks: Any, python: Python, threads: int, meeting: Any) -> None:
    machine, give = _machine(), _yielding()
    i = met = 0
    while i < functions.size:
        if i in python:
            python[i]()
        i, met = machine.walk(functions, blocks, i, 0, threads, meeting, met, give)


@cache
def _machine() -> Any:
    """The module of compiled loops, which needs Numba."""
    return import_module("tinygrad_ft.jit.machine")


@cache
def _yielding() -> int:
    return int(_machine().yielding())


def single_threaded_blas() -> Any:
    """A context in which BLAS has no threads of its own: its work is divided here."""
    return _blas().single_threaded()


@cache
def _blas() -> Any:
    return import_module("tinygrad_ft.kernels.cpu.blas")
