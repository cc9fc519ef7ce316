"""From instructions to steps: Python functions of the register file, made once for a program and run for many lanes.

A register holds an array with a number for each lane that runs, or one NumPy scalar if all have the same. Nothing ever
changes an array in place, so a register may share its array with another, or with a note of an access. Each register
keeps its numbers as one dtype, the one that most instructions want; for the others it is looked at as another.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_ft.cuda.emulator.faults import UnknownInstruction
from tinygrad_ft.cuda.emulator.flow import WARP, Block, blocks, effects
from tinygrad_ft.cuda.emulator.operands import (
    NOTHING,
    PRED,
    TYPES,
    U32,
    Immediate,
    Negation,
    Operand,
    Register,
    Symbol,
    Type,
    Vector,
)
from tinygrad_ft.cuda.emulator.program import Program
from tinygrad_ft.cuda.emulator.steps import Step, one
from tinygrad_ft.cuda.emulator.text import Instruction

Maker = Callable[["Decoder", Instruction], None]
MAKERS: dict[str, Maker] = {}

SPECIAL = {
    *(f"%{name}.{axis}" for name in ("tid", "ntid", "ctaid", "nctaid") for axis in "xyz"),
    *("%laneid", "%warpid", "%nwarpid", "%dynamic_smem_size", "%total_smem_size"),
    *(f"%lanemask_{which}" for which in ("eq", "lt", "le", "gt", "ge")),
}


def maker(*names: str) -> Callable[[Maker], Maker]:
    """List what makes the steps of these mnemonics."""

    def add(make: Maker) -> Maker:
        MAKERS.update(dict.fromkeys(names, make))
        return make

    return add


@dataclass(slots=True)
class Ready:
    """A block with its steps. Registers are positions in the register file.

    Attributes:
        needs: what it reads from outside.
        gives: what it writes for others.
        dead: what nobody needs after it.
        live: what is still needed when it begins.
        members: where the mask of a warp's lanes is that must come together before it.
        numbers: of its instructions, in the program.
    """

    block: Block
    steps: list[Step]
    needs: list[int]
    gives: frozenset[int]
    dead: list[int]
    live: frozenset[int]
    guard: tuple[int, bool] | None
    condition: tuple[int, bool] | None
    members: int | None
    numbers: range


@dataclass
class Code:
    """A decoded program: its blocks, and what its register file begins with.

    Attributes:
        dtypes: of the registers.
        file: what the register file holds at the start: the numbers that are written in the code, and zeros.
        special: positions of special registers by name.
        params: positions of the kernel's parameters, each with its place in the call.
    """

    blocks: list[Ready]
    dtypes: list[np.dtype[Any]]
    file: list[Any]
    special: dict[str, int]
    params: list[tuple[int, int]]


class Decoder:
    """Turns a program into steps, in two passes: the first asks which dtype each register should keep."""

    def __init__(self, program: Program):
        self.program = program
        self.voting = True
        self.votes: list[Counter[np.dtype[Any]]] = []
        self.dtypes: list[np.dtype[Any]] = []
        self.types: list[Type] = []
        self.slots: dict[str, int] = {}
        self.constants: dict[tuple[np.dtype[Any], bytes], int] = {}
        self.values: list[tuple[int, Any]] = []
        self.special: dict[str, int] = {}
        self.params = {f"{p.name}+0": n for n, p in enumerate(program.params)}
        self.kernel_params = {p.name for p in program.params}
        self.views: dict[tuple[int, np.dtype[Any]], int] = {}
        self.number = 0
        self.answered = True
        self._begin()

    def _begin(self) -> None:
        self.steps: list[Step] = []
        self.valid: dict[tuple[int, np.dtype[Any]], int] = {}
        self.written: set[int] = set()
        self.needs: set[int] = set()
        self.temporary: set[int] = set()

    def code(self) -> Code:
        """The decoded program."""
        made = blocks(self.program)
        for b in made:
            self._block(b)
        self.voting = False
        self.dtypes = [self._elected(n) for n in range(len(self.types))]
        ready = [self._block(b) for b in made]
        params = [(slot, self.params[name]) for name, slot in self.slots.items() if name in self.params]
        file = [dtype.type(0) for dtype in self.dtypes]
        for slot, value in self.values:
            file[slot] = value
        return Code(ready, self.dtypes, file, self.special, params)

    def _elected(self, slot: int) -> np.dtype[Any]:
        if self.types[slot].kind in "pf":
            return self.types[slot].dtype
        votes = self.votes[slot]
        return votes.most_common(1)[0][0] if votes else np.dtype(f"u{self.types[slot].bytes}")

    def _block(self, b: Block) -> Ready:
        self._begin()
        after = b.gives
        guard = (self.source(b.guard[0], PRED), b.guard[1]) if b.guard else None
        members = self._members(self.program.code[b.start]) if b.gate == WARP else None
        for number in range(b.start, b.stop):
            i = self.program.code[number]
            self.number = number
            self.answered = self._is_used(i, number, b, after)
            try:
                MAKERS[i.op](self, i)
            except KeyError as error:
                raise self._unknown(i, f"nothing known by the name {error}") from error
            except (NotImplementedError, ValueError, IndexError, TypeError, AttributeError) as error:
                raise self._unknown(i, str(error)) from error
        condition = (self.source(b.condition[0], PRED), b.condition[1]) if b.condition else None
        dead = [self.slots[name] for name in b.dead if name in self.slots]
        return Ready(
            b,
            self.steps,
            sorted(self.needs),
            frozenset(self.slots[name] for name in b.gives if name in self.slots),
            [*dead, *self.temporary],
            frozenset(self.slots[name] for name in b.live if name in self.slots),
            guard,
            condition,
            members,
            range(b.start, b.stop),
        )

    def _is_used(self, i: Instruction, number: int, b: Block, after: frozenset[str]) -> bool:
        """Whether anyone reads what an atomic answers."""
        if i.op != "atom" or not isinstance(i.operands[0], Register):
            return i.op == "atom"
        name = i.operands[0].name
        if name in after:
            return True
        return any(name in effects(later)[1] for later in self.program.code[number + 1 : b.stop])

    def _members(self, i: Instruction) -> int | None:
        """Where the mask of the lanes is that must take part, as whatever integer it is kept as."""
        mask = i.operands[-1]
        if i.op == "mma":
            return None
        if not isinstance(mask, Register):
            return self.source(mask, U32)
        self.needs.add(self.slot(mask.name))
        return self.slot(mask.name)

    def _unknown(self, i: Instruction, why: str) -> UnknownInstruction:
        return UnknownInstruction(f"the emulator does not understand PTX line {i.line}: {i.text!r} ({why})")

    def slot(self, name: str, kind: Type | None = None) -> int:
        """The position of a register; of one that is new, with its type."""
        if name in self.slots:
            return self.slots[name]
        if name in SPECIAL:
            kind = U32
        kind = kind or self.program.registers.get(name)
        if kind is None:
            raise UnknownInstruction(f"register {name} is not declared, nor a special one that the emulator knows")
        self.slots[name] = self._new(kind)
        if name in SPECIAL:
            self.special[name] = self.slots[name]
        return self.slots[name]

    def _new(self, kind: Type) -> int:
        self.types.append(kind)
        self.votes.append(Counter())
        self.dtypes.append(kind.dtype)
        return len(self.types) - 1

    def constant(self, value: Any) -> int:
        """The position of a number that is written in the code."""
        key = value.dtype, value.tobytes()
        if key not in self.constants:
            kind = next(t for t in TYPES.values() if t.dtype == value.dtype)
            self.constants[key] = self._new(kind)
            self.values.append((self.constants[key], value))
        self.needs.add(self.constants[key])
        return self.constants[key]

    def source(self, o: Operand, t: Type) -> int:
        """Where a step finds an operand as numbers of type t."""
        if isinstance(o, Immediate):
            return self.constant(o.value(t))
        if isinstance(o, Symbol):
            if o.name == "WARP_SZ":
                return self.constant(t.dtype.type(32))
            return self.constant(t.dtype.type(self.program.symbols[o.name]))
        if isinstance(o, Negation):
            return self._computed(np.invert, self.source(o.of, t), PRED)
        if isinstance(o, Vector):
            return self._together(o, t)
        if not isinstance(o, Register):
            raise UnknownInstruction(f"operand {o} where a number was expected")
        slot = self.slot(o.name)
        if slot not in self.written:
            self.needs.add(slot)
        kind = self.types[slot]
        if (kind == PRED) != (t == PRED) or kind.bits < t.bits:
            raise UnknownInstruction(f"register {o.name} of type .{kind.name} as .{t.name}")
        if self.voting:
            if t.kind in "suf" and kind.bits == t.bits:
                self.votes[slot][t.dtype] += 2
            return slot
        if self.dtypes[slot] == t.dtype:
            return slot
        return self._view(slot, t)

    def _view(self, slot: int, t: Type) -> int:
        """A register as another dtype, or its lower bits."""
        key = slot, t.dtype
        if key not in self.valid:
            dtype = t.dtype
            if self.types[slot].bits == t.bits:
                view: Callable[[Any], Any] = lambda x: x.view(dtype)  # noqa: E731
            else:
                whole, lower = np.dtype(f"u{self.types[slot].bytes}"), np.dtype(f"u{t.bytes}")
                view = lambda x: x.view(whole).astype(lower).view(dtype)  # noqa: E731
            if key not in self.views:
                self.views[key] = self._new(t)
            self.valid[key] = self.views[key]
            self.emit(one(view, self.views[key], slot))
            self.temporary.add(self.views[key])
        return self.valid[key]

    def _computed(self, f: Callable[..., Any], slot: int, t: Type) -> int:
        made = self._new(t)
        self.temporary.add(made)
        self.emit(one(f, made, slot))
        return made

    def _together(self, o: Vector, t: Type) -> int:
        """Several registers as one, the first in the lowest bits."""
        bits = t.bits // len(o.items)
        parts = [self.source(item, TYPES[f"u{bits}"]) for item in o.items]
        wide = np.dtype(f"u{t.bytes}")
        shifts = [wide.type(bits * n) for n in range(len(parts))]
        made = self._new(t)
        self.temporary.add(made)

        def step(R: list[Any], m: Any) -> None:
            total = R[parts[0]].astype(wide)
            for part, shift in zip(parts[1:], shifts[1:], strict=True):
                total = total | R[part].astype(wide) << shift
            R[made] = total.view(t.dtype)

        self.emit(step)
        return made

    def like(self, o: Operand, t: Type) -> Type:
        """For a type without a sign, or of bits only, the dtype in which a register keeps its numbers."""
        if t.kind not in "bi" or not isinstance(o, Register) or o == NOTHING or self.voting:
            return t
        slot = self.slot(o.name)
        dtype = self.dtypes[slot]
        if self.types[slot].bits != t.bits or (t.kind == "i" and dtype.kind == "f"):
            return t
        return t._replace(dtype=dtype)

    def target(self, o: Operand, t: Type) -> tuple[int, Callable[[Any], Any] | None]:
        """Where a step puts numbers of type t, and what must be done to them before."""
        if o == NOTHING:
            made = self._new(t)
            self.temporary.add(made)
            return made, None
        if not isinstance(o, Register):
            raise UnknownInstruction(f"operand {o} where a result was expected")
        slot = self.slot(o.name)
        self.written.add(slot)
        for key in [key for key in self.valid if key[0] == slot]:
            del self.valid[key]
        kind, keeps = self.types[slot], self.dtypes[slot]
        if (kind == PRED) != (t == PRED) or kind.bits < t.bits:
            raise UnknownInstruction(f"register {o.name} of type .{kind.name} as .{t.name}")
        if self.voting and t.kind in "suf" and kind.bits == t.bits:
            self.votes[slot][t.dtype] += 1
        if kind.bits > t.bits:
            wide = np.dtype(f"{'i' if t.kind == 's' else 'u'}{kind.bytes}")
            narrow = np.dtype(f"{'i' if t.kind == 's' else 'u'}{t.bytes}")
            return slot, lambda x: x.view(narrow).astype(wide).view(keeps)
        return slot, None if keeps == t.dtype else (lambda x: x.view(keeps))

    def emit(self, step: Step) -> None:
        """Add a step to the block."""
        if not self.voting:
            self.steps.append(step)
