"""What the emulator objects to: a fault of the kernel, with thread and source line, or PTX that it does not know."""

from __future__ import annotations

import linecache
from typing import NamedTuple

Index = tuple[int, int, int]

OUT_OF_BOUNDS = "out of bounds"
MISALIGNED = "misaligned address"
READ_ONLY = "write to read-only memory"
UNWRITTEN = "read of memory that nobody wrote"
RACE = "race"
BARRIER = "divergent barrier"
EXITED = "barrier after exit"
ABSENT = "absent lane"
ENDLESS = "step limit"
TRAP = "trap"


class UnknownInstruction(NotImplementedError):
    """PTX that the emulator does not know: an instruction, a modifier, a directive. It never guesses."""


class Source(NamedTuple):
    """A line of a Python file."""

    file: str
    line: int

    @property
    def text(self) -> str:
        """The line itself; empty if the file cannot be read."""
        return linecache.getline(self.file, self.line).strip()

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" + (f": {self.text}" if self.text else "")


class Place(NamedTuple):
    """An instruction: its line in the PTX, its text there, and the Python line that it was compiled from."""

    line: int
    text: str
    source: Source | None

    def __str__(self) -> str:
        return f"{self.source or 'no Python line'}\n    PTX line {self.line}: {self.text}"


class Other(NamedTuple):
    """The other thread that a fault concerns, what it did, and where."""

    did: str
    block: Index
    thread: Index
    place: Place

    def __str__(self) -> str:
        return f"{self.did} by block {self.block} thread {self.thread} at {self.place}"


class KernelFault(RuntimeError):
    """Something that a kernel must not do, which a GPU may do silently.

    Attributes:
        kind: one of the names of this module, such as RACE.
        kernel, block, thread: who; block and thread are (x, y, z), or None where all are meant.
        place: the instruction, with `place.source` the line of Python.
        other: of a race, the other thread, what it did, and where; else None.
    """

    def __init__(
        self,
        kind: str,
        kernel: str,
        block: Index | None,
        thread: Index | None,
        place: Place,
        detail: str,
        other: Other | None = None,
    ):
        self.kind, self.kernel, self.block, self.thread = kind, kernel, block, thread
        self.place, self.detail, self.other = place, detail, other
        who = f", block {block}" if block is not None else ""
        who += f", thread {thread}" if thread is not None else ""
        told = f"{kind}: kernel {kernel}{who}\n  at {place}\n  {detail}"
        super().__init__(told + (f"\n  {other}" if other else ""))

    @property
    def source(self) -> Source | None:
        """The line of Python, if the PTX tells it."""
        return self.place.source

    @property
    def line(self) -> int:
        """The line in the PTX, from 1."""
        return self.place.line
