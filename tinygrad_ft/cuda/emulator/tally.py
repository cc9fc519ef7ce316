"""Raw counts of the launches of one program, and what kind an instruction is."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tinygrad_ft.cuda.emulator.access import WORST
from tinygrad_ft.cuda.emulator.decode import Code
from tinygrad_ft.cuda.emulator.program import Program
from tinygrad_ft.cuda.emulator.text import Instruction

KINDS = {
    "load": {"ld", "ldu"},
    "store": {"st"},
    "atomic": {"atom", "red"},
    "shuffle": {"shfl"},
    "vote": {"vote", "match", "redux", "activemask"},
    "barrier": {"bar", "barrier"},
    "fence": {"membar", "fence"},
    "matrix": {"mma"},
    "branch": {"bra", "ret", "exit", "call"},
    "move": {"mov", "cvta"},
    "convert": {"cvt"},
}
KIND_OF = {op: kind for kind, ops in KINDS.items() for op in ops}
FUSED = {"fma", "mad"}


def kind_of(i: Instruction) -> str:
    """The kind of an instruction, for a table."""
    if i.op in KIND_OF:
        return KIND_OF[i.op]
    types = [word for word in i.modifiers if word[0] in "fsub" and word[1:2].isdigit()]
    if types and types[-1][0] == "f" and i.op not in ("selp", "setp"):
        return f"float{types[-1][1:]}"
    return "integer and logic"


def width_of(i: Instruction) -> int:
    """Bits that a lane moves at once in a load, store or atomic."""
    count = next((int(word[1:]) for word in i.modifiers if word in ("v2", "v4", "v8")), 1)
    return count * int("".join(filter(str.isdigit, i.modifiers[-1].partition("x")[0])))


def space_of(i: Instruction) -> str:
    """The space of a load, store or atomic; generic if it names none."""
    return next((s for s in ("global", "shared", "local", "const", "param") if s in i.modifiers), "generic")


class Tally:
    """Raw counts of the launches of one program, filled by the machine.

    Attributes:
        blocks: for each block of the code how many lanes ran it, how many warps, and how many warps parted at its end.
        requests: for each instruction requests, their sectors or ways, the most of one request, and lanes.
    """

    def __init__(self, program: Program, code: Code):
        self.program, self.code = program, code
        self.blocks = [[0, 0, 0] for _ in code.blocks]
        self.requests = np.zeros((len(program.code), 4), np.int64)

    def merge(self, other: Tally) -> None:
        """Add another's."""
        self.blocks = [
            [a + b for a, b in zip(x, y, strict=True)] for x, y in zip(self.blocks, other.blocks, strict=True)
        ]
        worst = np.maximum(self.requests[:, WORST], other.requests[:, WORST])
        self.requests = self.requests + other.requests
        self.requests[:, WORST] = worst

    def executed(self) -> Iterator[tuple[int, Instruction, int, int]]:
        """For each instruction its number, itself, and how many lanes and warps ran it."""
        for ready, (lanes, warps, _) in zip(self.code.blocks, self.blocks, strict=True):
            for n in ready.numbers:
                yield n, self.program.code[n], lanes, warps
