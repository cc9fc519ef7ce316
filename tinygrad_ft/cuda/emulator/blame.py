"""What a machine says when a kernel does what it must not: who, where, and what stands in the way."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ft.cuda.emulator.decode import Code, Ready
from tinygrad_ft.cuda.emulator.faults import (
    ABSENT,
    BARRIER,
    ENDLESS,
    EXITED,
    RACE,
    Index,
    KernelFault,
    Other,
    UnknownInstruction,
)
from tinygrad_ft.cuda.emulator.lanes import FULL_WARP, Group, Lanes, Layout
from tinygrad_ft.cuda.emulator.order import ONE_LANE
from tinygrad_ft.cuda.emulator.program import Program


class Blame:
    """The faults of a machine, which has these attributes."""

    program: Program
    code: Code
    layout: Layout
    lanes: Lanes
    grid: Index
    block: Index
    step_limit: int

    def thread(self, n: int) -> Index:
        """(x, y, z) of the n-th thread of a block."""
        x, y, _ = self.block
        return n % x, n // x % y, n // (x * y)

    def _who(self, stamp: int) -> tuple[Index, Index]:
        x, y, _ = self.grid
        b = stamp >> self.layout.shift
        return (b % x, b // x % y, b // (x * y)), self.thread(stamp & ((1 << self.layout.shift) - 1))

    def fault(self, kind: str, number: int, k: int, detail: str, other: Other | None = None) -> KernelFault:
        """A fault of the k-th running lane at an instruction."""
        block, thread = self._who(int(self.lanes.stamps[k]))
        place = self.program.place(self.program.code[number])
        return KernelFault(kind, self.program.name, block, thread, place, detail, other)

    def race(self, number: int, k: int, where: str, noted: Any, did: str) -> KernelFault:
        """The fault of two threads at the same place, one of which wrote."""
        lane = int(self.lanes.stamps[k])
        stamp, by = int(noted["lane"]), int(noted["by"])
        if stamp == lane and noted["apart"] != ONE_LANE:
            stamp, by = int(noted["other"]), int(noted["other_by"])
        block, thread = self._who(stamp)
        mine, theirs = self.program.code[number], self.program.code[by]
        other = Other(did, block, thread, self.program.place(theirs))
        if "nc" in mine.modifiers:
            why = "a load with .nc may read only what the kernel never writes: it need not see what was written"
        else:
            why = self._unordered(lane, stamp, self.program.source(mine) == self.program.source(theirs))
        return self.fault(RACE, number, k, f"{where}; {why}", other)

    def _unordered(self, lane: int, stamp: int, same_line: bool) -> str:
        if (stamp >> self.layout.shift) != (lane >> self.layout.shift):
            why = "the blocks are different, and only the end of the kernel orders them"
            return why + ("; should it be an atomic?" if same_line else "")
        warp = ", or a syncwarp()" if stamp >> 5 == lane >> 5 else ""
        atomic = ", or should it be an atomic" if same_line else ""
        return f"no barrier stands between the two: is a syncthreads() missing{warp}{atomic}?"

    def unknown(self, number: int, what: str) -> UnknownInstruction:
        """The error of an instruction that is known, but not so."""
        i = self.program.code[number]
        return UnknownInstruction(f"the emulator does not know {what}, PTX line {i.line}: {i.text!r}")

    def waits(self, groups: dict[int, Group]) -> Any:
        """For each block and thread the barrier at which it waits, -1 if at none."""
        where = np.full(self.layout.count, -1)
        for at, group in groups.items():
            where[group.lanes.positions] = at
        return where.reshape(self.layout.blocks, -1)

    def check_barrier(self, groups: dict[int, Group]) -> None:
        """All threads of a block must wait, and at the same barrier."""
        by_block = self.waits(groups)
        low, high = by_block.min(axis=1), by_block.max(axis=1)
        for b in np.flatnonzero(low != high):
            at, row = int(high[b]), by_block[b]
            instruction = self.code.blocks[at].numbers[0]
            thread = int((row == at).argmax())
            here = int((row == at).sum())
            self.lanes = Lanes(self.layout, np.array([b * self.layout.threads + thread]))
            if low[b] < 0:
                missing = int((row < 0).argmax())
                raise self.fault(
                    EXITED, instruction, 0,
                    f"{here} of {row.size} threads of the block wait here for the others, but thread "
                    f"{self.thread(missing)} has ended: a barrier must be reached by all",
                )  # fmt: skip
            other = self.code.blocks[int(low[b])].numbers[0]
            place = self.program.place(self.program.code[other])
            raise self.fault(
                BARRIER, instruction, 0,
                f"{here} of {row.size} threads of the block wait here, the others at another barrier, {place}",
            )  # fmt: skip

    def absent(self, at: int, group: Group) -> KernelFault:
        """The fault of lanes that wait for others of their warp which will not come."""
        ready = self.code.blocks[at]
        self.lanes = group.lanes
        present = int(group.lanes.present[group.lanes.warp[0]])
        mask: Any = np.int64(FULL_WARP)
        if ready.members is not None:
            mask = np.ravel(group.registers[ready.members])[0].astype(np.int64) & FULL_WARP
        missing = int(mask) & int(self.layout.existing[group.lanes.warp[0]]) & ~present
        names = ", ".join(str(n) for n in range(32) if missing >> n & 1)
        return self.fault(
            ABSENT, ready.numbers[0], 0,
            f"the mask {int(mask):#x} names lanes {names} of its warp too, and they never come here",
        )  # fmt: skip

    def endless(self, ready: Ready) -> KernelFault:
        """The fault of a kernel that does not come to an end."""
        return self.fault(
            ENDLESS, ready.numbers[0], 0,
            f"no end after {self.step_limit} instructions, and this is where it is now: an endless loop? "
            "If it is not, pass a larger step_limit",
        )  # fmt: skip
