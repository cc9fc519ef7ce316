"""A kernel as the machine runs it: its code with every call replaced by what is called, its variables placed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from tinygrad_ft.cuda.emulator.faults import Place, Source, UnknownInstruction
from tinygrad_ft.cuda.emulator.operands import (
    Address,
    Arguments,
    Negation,
    Operand,
    Pair,
    Register,
    Symbol,
    Type,
    Vector,
)
from tinygrad_ft.cuda.emulator.text import Function, Instruction, Module, Reader, Variable

# Where the spaces lie for an address of unknown space. cvta then changes nothing, and 32 bits hold a shared address.
SHARED = 0x0100_0000
LOCAL = 0x0200_0000
SPACE_SIZE = 0x0100_0000
CONSTANTS = 0x7E00_0000_0000
GLOBAL = 0x7F00_0000_0000
FRAME_ALIGN = 16


class Param(NamedTuple):
    """A parameter of the kernel."""

    name: str
    type: Type


class Constant(NamedTuple):
    """A variable of the module in global or constant memory, and its address."""

    name: str
    space: str
    address: int
    data: bytes


@dataclass
class Program:
    """One kernel, ready to be decoded.

    Attributes:
        name: of the kernel.
        target: the architecture it was compiled for, as sm_90.
        code: instructions; `labels` are positions in it.
        registers: their types.
        symbols: addresses of variables by name.
        shared, dynamic, local: bytes of shared memory whose size the kernel states, whether it has more of a size that
            the launch gives, and bytes of local memory of a thread.
        files: Python files by their number.
        code_of_steps: what `machine` made of it.
    """

    name: str
    target: str
    params: list[Param]
    limits: str
    code: list[Instruction]
    labels: dict[str, int]
    registers: dict[str, Type]
    symbols: dict[str, int]
    constants: list[Constant]
    shared: int
    dynamic: bool
    local: int
    files: dict[int, str]
    code_of_steps: Any = None

    @classmethod
    def parse(cls, ptx: str, entry: str | None = None) -> Program:
        """The kernel of a PTX text, by name where there are several.

        Raises:
            UnknownInstruction: for what the emulator does not know.
            ValueError: if there is no such kernel.
        """
        module = Reader(ptx).read()
        entries = [f.name for f in module.functions.values() if f.entry]
        if entry is None and len(entries) == 1:
            entry = entries[0]
        if entry not in entries:
            raise ValueError(f"the PTX holds the kernels {entries}; name one of them, not {entry!r}")
        return _Linker(module, module.functions[entry]).program()

    @cached_property
    def lines(self) -> tuple[int, ...]:
        """PTX lines that hold an instruction."""
        return tuple(sorted({i.line for i in self.code}))

    @cached_property
    def python_lines(self) -> dict[int, Source | None]:
        """The line of Python for each of these PTX lines."""
        return {i.line: self.source(i) for i in self.code}

    def source(self, instruction: Instruction) -> Source | None:
        """The line of Python that an instruction comes from: the caller's, if Numba's own code was inlined."""
        at = instruction.at
        if at is None:
            return None
        file, line = at.file, at.line
        if at.caller and "numba" in Path(self.files.get(file, "")).parts:
            file, line = at.caller
        path = self.files.get(file, f"file {file}")
        name = Path(path).name  # of what was typed, as <stdin>, Numba makes a file of the folder
        return Source(name if name.startswith("<") else path, line)

    def place(self, instruction: Instruction) -> Place:
        """An instruction for a message."""
        return Place(instruction.line, instruction.text, self.source(instruction))


class _Linker:
    """Puts callees in the place of calls and gives variables their addresses."""

    def __init__(self, module: Module, entry: Function):
        self.module, self.entry = module, entry
        self.code: list[Instruction] = []
        self.labels: dict[str, int] = {}
        self.registers: dict[str, Type] = {}
        self.symbols: dict[str, int] = {}
        self.shared: list[Variable] = []
        self.local = 0
        self.copies = 0

    def program(self) -> Program:
        constants = self._constants()
        self.shared += [v for v in self.module.variables if v.space == "shared"]
        self._paste(self.entry, "", {}, None, ())
        size, dynamic = self._place_shared()
        if max(size, self.local) > SPACE_SIZE:
            raise UnknownInstruction(f"kernel {self.entry.name} states more memory than the emulator gives")
        return Program(
            self.entry.name,
            self.module.target,
            [Param(name, kind) for name, kind, _ in self.entry.params],
            self.entry.limits,
            self.code,
            self.labels,
            self.registers,
            self.symbols,
            constants,
            size,
            dynamic,
            self.local,
            self.module.files,
        )

    def _constants(self) -> list[Constant]:
        end, found = CONSTANTS, []
        for v in self.module.variables:
            if v.space in ("global", "const"):
                end = _up(end, max(v.align, 256))
                self.symbols[v.name] = end
                found.append(Constant(v.name, v.space, end, v.data.ljust(v.size or 0, b"\0")))
                end += (v.size or 0) + 256  # a gap, so that one past the end is nobody's
        return found

    def _place_shared(self) -> tuple[int, bool]:
        end = 0
        for v in self.shared:
            if v.size is not None:
                end = _up(end, v.align)
                self.symbols[v.name] = SHARED + end
                end += v.size
        static, open_ended = end, [v for v in self.shared if v.size is None]
        for v in open_ended:  # they share one room behind all others
            end = max(end, _up(static, v.align))
        self.symbols |= {v.name: SHARED + end for v in open_ended}
        return end, bool(open_ended)

    def _paste(self, f: Function, tag: str, params: dict[str, str], end: str | None, path: tuple[str, ...]) -> None:
        """Append a function's code, its own names marked by `tag`, its parameters called as the caller calls them."""
        if f.name in path:
            raise UnknownInstruction(f"{f.name} calls itself, which the emulator does not do")
        self.registers |= {name + tag: kind for name, kind in f.registers.items()}
        names = dict(params)
        for v in f.variables:
            if v.space == "local":
                self.local = _up(self.local, max(v.align, FRAME_ALIGN if not self.local else v.align))
                names[v.name] = v.name + tag
                self.symbols[v.name + tag] = LOCAL + self.local
                self.local += v.size or 0
            elif v.space == "shared":
                self.shared.append(v)
            else:
                raise UnknownInstruction(f"variable {v.name} in .{v.space} memory inside a function")
        names |= {label: label + tag for label in f.labels}
        starts: dict[int, list[str]] = {}
        for label, position in f.labels.items():
            starts.setdefault(position, []).append(label + tag)

        def here(labels: Iterable[str]) -> None:
            self.labels |= dict.fromkeys(labels, len(self.code))

        def renamed(o: Operand) -> Operand:
            match o:
                case Register(name):
                    return Register(name + tag) if name in f.registers else o
                case Symbol(name):
                    return Symbol(names.get(name, name))
                case Address(base, offset):
                    inner = renamed(base)
                    assert isinstance(inner, Register | Symbol) or inner == base
                    return Address(inner, offset)
                case Vector(items):
                    return Vector(tuple(map(renamed, items)))
                case Arguments(items):
                    return Arguments(tuple(map(renamed, items)))
                case Pair(first, second):
                    return Pair(renamed(first), renamed(second))
                case Negation(of):
                    return Negation(renamed(of))
            return o

        for position, i in enumerate(f.code):
            here(starts.get(position, ()))
            made = i
            if tag:
                guard = (Register(i.guard[0].name + tag), i.guard[1]) if i.guard else None
                made = replace(i, operands=tuple(map(renamed, i.operands)), guard=guard)
            if made.op == "ret" and end is not None:
                made.operands = (Symbol(end),)
            self.code.append(made)
            if made.op == "call":
                self._call(made, (*path, f.name))
        here(starts.get(len(f.code), ()))

    def _call(self, call: Instruction, path: tuple[str, ...]) -> None:
        if call.guard is not None:
            raise UnknownInstruction(f"a call under a predicate: {call.text!r}")
        lists = [o.items for o in call.operands if isinstance(o, Arguments)]
        names = [o.name for o in call.operands if isinstance(o, Symbol)]
        if len(names) != 1:
            raise UnknownInstruction(f"an indirect call: {call.text!r}")
        if names[0] == "vprintf":
            return
        callee = self.module.functions.get(names[0])
        if callee is None:
            raise UnknownInstruction(
                f"{names[0]} is called at PTX line {call.line} and is not in the PTX: a GPU's linker would add it, "
                "the emulator cannot"
            )
        results = lists[0] if callee.results else ()
        given = lists[-1] if callee.params else ()
        params = {
            own[0]: outer.name
            for own, outer in zip((*callee.results, *callee.params), (*results, *given), strict=True)
            if isinstance(outer, Symbol)
        }
        self.copies += 1
        end = f"end@{self.copies}"
        self._paste(callee, f"@{self.copies}", params, end, path)
        self.labels[end] = len(self.code)


def _up(n: int, align: int) -> int:
    return -(-n // align) * align
