"""Runs a kernel: all lanes of many blocks at once, those that stand at the same instruction together.

Lanes that branch apart become groups of their own. The group at the lowest block of the code runs first, which brings
lanes together again where their ways meet; every legal order gives the same, or the checks find the race. At a block
barrier lanes wait until nobody can run, and at an instruction of a warp until all lanes of its mask have come.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy import ndarray

from tinygrad_ft.cuda.abi import flat, is_array
from tinygrad_ft.cuda.emulator import atomics, mma, order, start, sync, warp  # noqa: F401  (most list their steps)
from tinygrad_ft.cuda.emulator.access import SCRATCH
from tinygrad_ft.cuda.emulator.blame import Blame
from tinygrad_ft.cuda.emulator.counters import Counters
from tinygrad_ft.cuda.emulator.decode import Code, Decoder, Ready
from tinygrad_ft.cuda.emulator.faults import ABSENT, Index
from tinygrad_ft.cuda.emulator.flow import BARRIER
from tinygrad_ft.cuda.emulator.lanes import FULL_WARP, Group, Lanes, Layout
from tinygrad_ft.cuda.emulator.local import Local
from tinygrad_ft.cuda.emulator.memory import Memory, Written, shared_cell, shared_region
from tinygrad_ft.cuda.emulator.order import CLOCK, EPOCHS, FIRST_BLOCK, SHIFT, WARPS
from tinygrad_ft.cuda.emulator.program import Program
from tinygrad_ft.cuda.emulator.special import special
from tinygrad_ft.cuda.emulator.tally import Tally

LANES_AT_ONCE = 8192  # more would not fit into the processor's cache, fewer spend their time in Python
STEP_LIMIT = 5_000_000
PATIENCE = 2_000  # blocks of code after which another group gets its turn: the one that holds a lock, perhaps


def run(
    program: Program,
    grid: int | Sequence[int],
    block: int | Sequence[int],
    arguments: Sequence[Any],
    *,
    shared: int = 0,
    checks: bool = True,
    step_limit: int | None = None,
    counters: Counters | None = None,
    written: Written | None = None,
    names: Sequence[str] | None = None,
) -> Counters:
    """Run a kernel on NumPy arrays, in place.

    Args:
        program: the kernel.
        grid, block: how many blocks, and threads in each; numbers or up to three.
        arguments: arrays and numbers, as the kernel was compiled for.
        shared: bytes of dynamic shared memory.
        checks: whether races and reads of what nobody wrote are looked for; addresses are checked in any case.
        step_limit: after so many instructions of the same lanes a kernel counts as endless; else STEP_LIMIT.
        counters: to which what is counted is added; else new ones.
        written: what of the arrays was written before; what is unwritten must not be read.
        names: of the arguments, for messages.
    Raises:
        KernelFault: when a thread does what it must not.
        UnknownInstruction: for PTX that the emulator does not know.
        ValueError: for sizes that no GPU runs, or arguments that do not fit the kernel.
    """
    sizes = start.sizes(program, grid, block, shared)
    code = decoded(program)
    names = names or [f"argument {n}" for n in range(len(arguments))]
    arrays = [(name, a) for name, a in zip(names, arguments, strict=True) if is_array(a)]
    memory = Memory(program.constants, arrays, written, checks)
    params = start.params(program, code, flat(arguments, memory.address))
    launch = Launch(program, code, sizes, memory, params, shared, checks, step_limit or STEP_LIMIT)
    with np.errstate(all="ignore"):
        for first in range(0, launch.blocks, launch.at_once):
            layout = Layout(first, min(launch.at_once, launch.blocks - first), launch.threads)
            Machine(launch, layout).run()
    memory.finish()
    counters = Counters() if counters is None else counters
    counters.add(launch.tally)
    return counters


def decoded(program: Program) -> Code:
    """The program's steps, made once."""
    if program.code_of_steps is None:
        program.code_of_steps = Decoder(program).code()
    code: Code = program.code_of_steps
    return code


class Launch:
    """What is the same for all blocks of a launch."""

    def __init__(
        self,
        program: Program,
        code: Code,
        sizes: tuple[Index, Index],
        memory: Memory,
        params: list[tuple[int, Any]],
        dynamic: int,
        checks: bool,
        step_limit: int,
    ):
        self.program, self.code, self.memory, self.params = program, code, memory, params
        self.grid, self.block = sizes
        self.dynamic, self.checks, self.step_limit = dynamic, checks, step_limit
        self.blocks, self.threads = (int(np.prod(size, dtype=np.int64)) for size in sizes)
        self.at_once = min(max(1, LANES_AT_ONCE // self.threads), self.blocks)
        self.tally = Tally(program, code)
        shift = Layout.bits_of_thread(self.threads)
        warps = self.at_once << (shift - 5)
        self.numbers = np.zeros(EPOCHS + warps + self.at_once, np.int64)
        self.numbers[[SHIFT, WARPS]] = shift, warps
        fenced = self.blocks if any(i.op in ("membar", "fence") for i in program.code) else 0
        self.order = np.zeros((4, fenced << shift), np.int64), np.zeros((7, fenced), np.int64)
        self.scratch = np.zeros(SCRATCH, np.int64)


class Machine(Blame):
    """Some blocks of a launch, from their first instruction to their last. The steps' second argument."""

    def __init__(self, launch: Launch, layout: Layout):
        self.program, self.code, self.memory, self.checks = launch.program, launch.code, launch.memory, launch.checks
        self.grid, self.block, self.step_limit, self.layout = launch.grid, launch.block, launch.step_limit, layout
        self.counts, self.tally, self.scratch = launch.tally.blocks, launch.tally.requests, launch.scratch
        self.numbers, self.order = launch.numbers, launch.order
        self.numbers[FIRST_BLOCK] = layout.first_block
        epochs = EPOCHS + int(self.numbers[WARPS])
        self.warp_epochs, self.epochs = self.numbers[EPOCHS:epochs], self.numbers[epochs:]
        self.warp_epochs[:], self.epochs[:] = 0, 1
        self.shared_size = self.program.shared + launch.dynamic
        self.shared = shared_region(self.shared_size, layout.blocks, shared_cell(self.program), self.checks)
        self.local = Local(self.program.local, layout.count, self.checks)
        self.left = launch.step_limit
        self.end = len(self.code.blocks)
        self.pending: dict[int, Group] = {}  # by the block of code at which they stand
        self.parked: dict[int, Group] = {}
        self.waiting: list[tuple[int, Group]] = []
        self.turns = 0
        self.lanes = Lanes(layout)
        self.file = self.code.file.copy()
        for slot, value in launch.params:
            self.file[slot] = value
        for name, slot in self.code.special.items():
            value = special(name, layout, launch.grid, launch.block, launch.dynamic, self.shared_size)
            self.file[slot] = value.view(self.code.dtypes[slot])

    def run(self) -> None:
        """To the end of all lanes."""
        self.pending[0] = Group(self.lanes, self.file)
        while self.pending or self.release():
            if self.turns and self.waiting:  # who has more than enough may need what a block does behind its barrier
                self.release()
            at = min(self.pending, default=self.end)
            if self.turns and self.pending:  # somebody had more than enough
                at = sorted(self.pending)[self.turns % len(self.pending)]
            if at in self.pending:
                self.follow(at, self.pending.pop(at), patient=not self.turns)

    def follow(self, at: int, group: Group, patient: bool) -> None:
        """Run a group until it ends, waits, or another one should run first."""
        pending = self.pending
        for _ in range(PATIENCE):
            if at == self.end or (patient and pending and at >= min(pending)):
                break
            ready = self.code.blocks[at]
            going: Group | None = group
            if ready.guard is not None:
                going = self.pass_by(at, ready, group)
            if ready.block.gate == BARRIER and going is not None:
                self.waiting.append((at, going))
                going = None
            elif ready.block.gate and going is not None:
                going = self.gather(at, ready, going)
            if going is None:
                return
            at, going = self.advance(ready, going)
            if going is None:
                return
            group = going
        else:
            self.turns += bool(pending or self.waiting)
        if at != self.end:
            self.put(at, group)
        if not patient and len(pending) < 2:
            self.turns = 0

    def advance(self, ready: Ready, group: Group) -> tuple[int, Group | None]:
        """Run a block of code: where the group goes on, or no group if it parted."""
        lanes, index, registers = group.lanes, ready.block.index, group.registers
        self.lanes = lanes
        if lanes.index is not None and index not in group.prepared:
            group.prepare(index, ready.needs)
        counts = self.counts[index]
        counts[0] += lanes.n
        counts[1] += lanes.warps
        self.left -= len(ready.numbers)
        if self.left < 0:
            raise self.endless(ready)
        self.numbers[CLOCK] += 1
        for step in ready.steps:
            step(registers, self)
        if lanes.index is not None:
            group.changed |= ready.gives
        target = ready.block.taken
        if ready.condition is not None:
            slot, negated = ready.condition
            p = registers[slot]
            taken = np.count_nonzero(p) if type(p) is ndarray else int(p) * lanes.n
            if 0 < taken < lanes.n:
                return self.part(ready, group, ~p if negated else p)
            if (taken == 0) != negated:
                target = index + 1
        for slot in ready.dead:
            registers[slot] = None
        return target, group

    def part(self, ready: Ready, group: Group, p: Any) -> tuple[int, None]:
        """Part a group at a branch."""
        taken, beyond = ready.block.taken, ready.block.index + 1
        self.counts[ready.block.index][2] += _mixed(group.lanes, p)
        first, second = group.split(p, self.live(taken) | self.live(beyond))
        for slot in ready.dead:
            group.registers[slot] = None
        self.put(taken, first)
        self.put(beyond, second)
        return 0, None

    def pass_by(self, at: int, ready: Ready, group: Group) -> Group | None:
        """Those for which the guard of a block holds; the others go on behind it."""
        assert ready.guard is not None
        slot, negated = ready.guard
        group.prepare(at, ready.needs)
        p = np.broadcast_to(group.registers[slot] != negated, group.lanes.n)
        if p.all():
            return group
        if not p.any():
            self.put(at + 1, group)
            return None
        going, others = group.split(p, ready.live | self.live(at + 1))
        self.put(at + 1, others)
        return going

    def live(self, at: int) -> frozenset[int]:
        """What is alive when a block of code begins; nothing at the end."""
        return self.code.blocks[at].live if at < self.end else frozenset()

    def put(self, at: int, group: Group) -> None:
        """Let a group wait its turn, together with any that is there; at the end it is done."""
        if at != self.end:
            other = self.pending.get(at)
            self.pending[at] = group if other is None else other.joined(group, self.live(at))

    def gather(self, at: int, ready: Ready, group: Group) -> Group | None:
        """Those whose warps have come with all lanes that the mask names; the others stay."""
        if at in self.parked:
            group = self.parked.pop(at).joined(group, ready.live)
        group.prepare(at, ready.needs)
        lanes = group.lanes
        mask: Any = np.int64(FULL_WARP)
        if ready.members is not None:
            mask = np.asarray(group.registers[ready.members]).astype(np.int64) & FULL_WARP
        if lanes.whole and (mask == FULL_WARP).all():
            return group
        left_out = (np.broadcast_to(mask, lanes.n) >> (lanes.padded & 31)) & 1 == 0
        if left_out.any():
            self.lanes, k = lanes, int(left_out.argmax())
            detail = f"the mask {int(np.broadcast_to(mask, lanes.n)[k]):#x} leaves it out"
            raise self.fault(ABSENT, ready.numbers[0], k, detail)
        complete = mask & lanes.layout.existing[lanes.warp] & ~lanes.present[lanes.warp] == 0
        if complete.all():
            return group
        if not complete.any():
            self.parked[at] = group
            return None
        come, self.parked[at] = group.split(complete, ready.live)
        return come

    def release(self) -> bool:
        """Let those through whose whole block waits at a barrier, once nobody else can run. False if nobody is left."""
        if self.parked and not self.pending:
            raise self.absent(*next(iter(self.parked.items())))
        if not self.waiting:
            return False
        groups: dict[int, Group] = {}
        for at, group in self.waiting:
            other = groups.get(at)
            groups[at] = group if other is None else other.joined(group, self.live(at))
        self.waiting = []
        whole = np.ones(self.layout.blocks, bool)
        if self.pending:
            whole = self.complete(groups)
        elif len(groups) > 1 or next(iter(groups.values())).lanes.index is not None:
            self.check_barrier(groups)
        self.epochs[: whole.size][whole] += 1
        for at, group in groups.items():
            chosen, come = whole[self.layout.block[group.lanes.positions]], group
            if not chosen.all():
                come, stay = group.split(chosen, self.live(at))
                self.waiting.append((at, stay))
            if not chosen.any():
                continue
            target, going = self.advance(self.code.blocks[at], come)
            if going is not None:
                self.put(target, going)
        return True

    def complete(self, groups: dict[int, Group]) -> Any:
        """For each block whether all its threads wait at the same barrier."""
        where = self.waits(groups)
        return (where == where[:, :1]).all(axis=1) & (where[:, 0] >= 0)

    def warp_barrier(self) -> None:
        """What the running warps did is ordered before what they do now."""
        first = self.layout.first_block << (self.layout.shift - 5)
        self.warp_epochs[np.unique(self.lanes.stamps >> 5) - first] += 1

    def fenced(self) -> None:
        """The running lanes have fenced what they did."""
        order.fence(self.lanes.stamps, self.numbers, *self.order)

    def atomic(self) -> None:
        """The running lanes have made an atomic that other blocks see."""
        if self.order[1].size:
            order.atomic(self.lanes.stamps, self.numbers, *self.order)


def _mixed(lanes: Lanes, p: Any) -> int:
    """How many warps have lanes on both sides."""
    yes, no = np.zeros(lanes.layout.width >> 5, bool), np.zeros(lanes.layout.width >> 5, bool)
    yes[lanes.warp[p]] = True
    no[lanes.warp[~p]] = True
    return int((yes & no).sum())
