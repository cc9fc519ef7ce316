"""The way through a kernel: blocks of instructions that run one after another, and the registers alive between them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from tinygrad_ft.cuda.emulator.faults import UnknownInstruction
from tinygrad_ft.cuda.emulator.operands import (
    NOTHING,
    Address,
    Negation,
    Operand,
    Pair,
    Register,
    Symbol,
    Vector,
)
from tinygrad_ft.cuda.emulator.program import Program
from tinygrad_ft.cuda.emulator.text import Instruction

NO_RESULT = {
    "st", "red", "bra", "ret", "exit", "call", "membar", "fence", "trap", "brkpt", "nanosleep", "prefetch", "prefetchu",
}  # fmt: skip
CARRY = Register("%cc")
CARRY_READERS = {"addc", "subc", "madc"}
LEAVERS = {"ret", "exit"}
BARRIER, WARP = "barrier", "warp"


@dataclass(slots=True)
class Block:
    """Instructions start to stop of the code, which lanes enter at the first and leave after the last.

    Attributes:
        guard: a register that lanes need to be true (or false, if negated) to run it; the others pass it by.
        gate: what must have come together before it runs: all threads of the block (barrier), a warp, or nothing.
        condition: of the branch at its end; None if all go to `taken`. The others go on to the next block.
        taken: the block gone to; the number of blocks if lanes end there.
        live: registers whose values at its beginning are still needed.
        needs, gives: registers that it reads from outside, and that it writes for others.
        dead: registers that it writes and nobody needs after it.
    """

    index: int
    start: int
    stop: int
    guard: tuple[Register, bool] | None = None
    gate: str = ""
    condition: tuple[Register, bool] | None = None
    taken: int = 0
    live: frozenset[str] = frozenset()
    needs: frozenset[str] = frozenset()
    gives: frozenset[str] = frozenset()
    dead: frozenset[str] = frozenset()
    next: list[int] = field(default_factory=list)


def gate(i: Instruction) -> str:
    """What an instruction waits for."""
    if i.op in ("bar", "barrier"):
        return WARP if "warp" in i.modifiers else BARRIER
    if i.op in ("shfl", "vote", "match", "redux", "mma"):
        return WARP
    return ""


def registers(o: Operand) -> Iterator[str]:
    """Names of the registers in an operand."""
    match o:
        case Register(name):
            if o != NOTHING:
                yield name
        case Address(base, _):
            yield from registers(base)
        case Vector(items):
            for item in items:
                yield from registers(item)
        case Pair(first, second):
            yield from registers(first)
            yield from registers(second)
        case Negation(of):
            yield from registers(of)


def parameters(i: Instruction) -> list[Register]:
    """The registers that stand for the parameters which ld.param and st.param name."""
    address = i.operands[1 if i.op == "ld" else 0]
    other = i.operands[0 if i.op == "ld" else 1]
    if not (isinstance(address, Address) and isinstance(address.base, Symbol)):
        raise UnknownInstruction(f"a parameter at an address that is computed: {i.text!r}")
    count = len(other.items) if isinstance(other, Vector) else 1
    size = int("".join(filter(str.isdigit, i.modifiers[-1]))) // 8
    return [Register(f"{address.base.name}+{address.offset + n * size}") for n in range(count)]


def effects(i: Instruction) -> tuple[set[str], set[str]]:
    """Names of the registers that an instruction writes, and reads."""
    writes: set[str] = set()
    reads: set[str] = set()
    operands = i.operands
    if "param" in i.modifiers and i.op in ("ld", "st"):
        (reads if i.op == "ld" else writes).update(r.name for r in parameters(i))
        operands = (operands[0],) if i.op == "ld" else operands
    results = 0 if i.op in NO_RESULT or (i.op in ("bar", "barrier") and "red" not in i.modifiers) else 1
    for position, o in enumerate(operands):
        (writes if position < results else reads).update(registers(o))
    if "cc" in i.modifiers:
        writes.add(CARRY.name)
    if i.op in CARRY_READERS:
        reads.add(CARRY.name)
    return writes, reads


def blocks(program: Program) -> list[Block]:
    """The blocks of a kernel in the order of its text, with what is alive between them."""
    code, end = program.code, len(program.code)
    starts = {0, *program.labels.values()}
    for n, i in enumerate(code):
        if i.op == "bra" or i.op in LEAVERS:
            starts.add(n + 1)
        elif i.guard:
            starts |= {n, n + 1}
        elif gate(i):
            starts.add(n)
        if i.op == "trap":
            starts |= {n, n + 1}
    order = sorted(s for s in starts if s < end)
    number = {start: k for k, start in enumerate(order)}
    number[end] = len(order)
    made = []
    for k, start in enumerate(order):
        stop = order[k + 1] if k + 1 < len(order) else end
        first, last = code[start], code[stop - 1]
        block = Block(k, start, stop, gate=gate(first), taken=k + 1)
        if last.op == "bra" or last.op in LEAVERS:
            if last.op == "bra" or last.operands:
                target = last.operands[0]
                if not isinstance(target, Symbol) or target.name not in program.labels:
                    raise UnknownInstruction(f"a branch to nowhere: {last.text!r}")
                block.taken = number[program.labels[target.name]]
            else:
                block.taken = len(order)
            block.condition = last.guard
        elif first.guard:
            block.guard = first.guard
        block.next = [block.taken] if block.condition is None else sorted({block.taken, k + 1})
        made.append(block)
    _live(program, made)
    return made


def _live(program: Program, made: list[Block]) -> None:
    """Work out backwards what is alive, until nothing changes."""
    uses: list[set[str]] = []
    kills: list[set[str]] = []
    for block in made:
        used: set[str] = set()
        killed: set[str] = set()
        for i in program.code[block.start : block.stop]:
            writes, reads = effects(i)
            used |= reads - killed
            killed |= writes
        if block.condition and block.condition[0].name not in killed:
            used.add(block.condition[0].name)
        uses.append(used)
        kills.append(killed)
    live: list[set[str]] = [set() for _ in range(len(made) + 1)]
    out: list[set[str]] = [set() for _ in made]
    changed = True
    while changed:
        changed = False
        for block in reversed(made):
            k = block.index
            out[k] = set().union(*(live[n] for n in block.next))
            now = uses[k] | (out[k] if block.guard else out[k] - kills[k])
            if block.guard:  # lanes that pass it by go to the next
                now |= live[k + 1] | {block.guard[0].name}
            if now != live[k]:
                live[k], changed = now, True
    for block in made:
        k = block.index
        block.live = frozenset(live[k])
        block.needs = frozenset(uses[k] | ({block.guard[0].name} if block.guard else set()))
        after = out[k] | (live[k + 1] if block.guard else set())
        block.gives = frozenset(kills[k] & after)
        block.dead = frozenset(kills[k] - after)
