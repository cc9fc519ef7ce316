"""The grammar of PTX: functions, variables, statements and operands, read from the text.

Source: NVIDIA, "Parallel Thread Execution ISA", sections "Syntax", "State Spaces, Types, and Variables" and
"Directives".
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import NamedTuple

from tinygrad_ft.cuda.emulator.faults import UnknownInstruction
from tinygrad_ft.cuda.emulator.operands import (
    TYPES,
    Address,
    Arguments,
    Immediate,
    Negation,
    Operand,
    Pair,
    Register,
    Symbol,
    Type,
    Vector,
)

COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.S)
LINE_OF_ITS_OWN = re.compile(r"\s*\.(version|target|address_size)\b([^\n]*)")
FILE = re.compile(r'\s*\.file\s+(\d+)\s+"([^"]*)"[^\n]*')
SECTION = re.compile(r"\s*\.section\s+[.\w]+\s*\{[^}]*\}")
LINKAGE = r"(?:\.(?:visible|extern|common|weak)\s+)*"
VARIABLE = re.compile(
    rf"\s*{LINKAGE}\.(global|const|shared|local)\s+(?:\.align\s+(\d+)\s+)?\.(?:v([24])\s+)?\.?(\w+)\s+([\w$]+)"
    r"((?:\s*\[\s*\d*\s*\])*)\s*(?:=\s*(\{[^}]*\}|[^;{]+))?\s*;"
)
HEAD = re.compile(
    rf"\s*{LINKAGE}\.(entry|func)\s*(?:\.noreturn\s*)?(?:\(([^)]*)\))?\s*([\w$]+)\s*(?:\(([^)]*)\))?([^;{{]*)([;{{])"
)
PARAMETER = re.compile(
    r"\.(?:param|reg)\s+(?:\.align\s+\d+\s+)?\.(\w+)\s+(?:\.ptr\s+)?(?:\.(?:global|shared|local|const)\s+)?"
    r"(?:\.align\s+\d+\s+)?([%\w$]+)(?:\[(\d+)\])?"
)
LOC = re.compile(r"\s*\.loc\s+(\d+)\s+(\d+)\s+\d+(?:[^\n]*\binlined_at\s+(\d+)\s+(\d+))?[^\n]*")
SKIPPED = re.compile(r"\s*\.(?:pragma|noreturn|param)\b[^;]*;")  # a scope's own .param needs no room of its own
REGISTERS = re.compile(r"\s*\.reg\s+\.(\w+)\s+([^;]*);")
LABEL = re.compile(r"\s*([$\w]+)\s*:(?!:)")
STATEMENT = re.compile(r"\s*([^;{}]*(?:\{[^}]*\}[^;{}]*)*);")
INSTRUCTION = re.compile(r"(?:@(!?)([%\w$]+)\s+)?([a-z]\w*)((?:(?:\.|::)[\w]+)*)\s*(.*)", re.S)
NUMBERED = re.compile(r"(.+)<(\d+)>")
SPACE = re.compile(r"\s*")
ADDRESS = re.compile(r"\[\s*([^\s+\-\]]+)\s*(?:\+?\s*(-?\s*\w+))?\s*\]")


class At(NamedTuple):
    """Where the compiler says an instruction comes from: file and line, and the same of the call it was inlined at."""

    file: int
    line: int
    caller: tuple[int, int] | None


@dataclass(slots=True)
class Instruction:
    """One instruction; `guard` is the predicate that it runs under, and whether that is negated."""

    op: str
    modifiers: tuple[str, ...]
    operands: tuple[Operand, ...]
    guard: tuple[Register, bool] | None
    line: int
    text: str
    at: At | None

    @property
    def name(self) -> str:
        """With its modifiers, as fma.rn.f32."""
        return ".".join((self.op, *self.modifiers))


@dataclass
class Variable:
    """A variable of a module or function: its space, alignment, size in bytes (None: given at launch), first bytes."""

    space: str
    name: str
    align: int
    size: int | None
    data: bytes = b""


@dataclass
class Function:
    """A function as written. `labels` are positions in `code`."""

    name: str
    entry: bool
    params: list[tuple[str, Type, int]]  # name, type, bytes
    results: list[tuple[str, Type, int]]
    limits: str
    code: list[Instruction] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)
    registers: dict[str, Type] = field(default_factory=dict)
    variables: list[Variable] = field(default_factory=list)


@dataclass
class Module:
    """All that a PTX text holds."""

    target: str = ""
    files: dict[int, str] = field(default_factory=dict)
    variables: list[Variable] = field(default_factory=list)
    functions: dict[str, Function] = field(default_factory=dict)


class Reader:
    """Reads one PTX text from front to back."""

    def __init__(self, text: str):
        self.text = COMMENT.sub(lambda m: "\n" * m[0].count("\n"), text)
        self.at = 0
        self.newlines = [m.start() for m in re.finditer("\n", self.text)]
        self.module = Module()

    def line(self, position: int) -> int:
        """The line of a position, from 1."""
        return bisect_right(self.newlines, position - 1) + 1

    def take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """The pattern's match here, which is then behind."""
        found = pattern.match(self.text, self.at)
        if found:
            self.at = found.end()
        return found

    def rest(self) -> str:
        """What comes next, for a message."""
        self.take(SPACE)
        return f"PTX line {self.line(self.at)}: {self.text[self.at :].partition(chr(10))[0][:100]!r}"

    def read(self) -> Module:
        """The module.

        Raises:
            UnknownInstruction: at the first thing that is not understood.
        """
        module = self.module
        while self.take(SPACE) and self.at < len(self.text):
            if found := self.take(LINE_OF_ITS_OWN):
                if found[1] == "target":
                    module.target = found[2].split(",")[0].strip()
            elif found := self.take(FILE):
                module.files[int(found[1])] = found[2]
            elif self.take(SECTION):
                pass
            elif found := self.take(VARIABLE):
                module.variables.append(_variable(found))
            elif found := self.take(HEAD):
                self.function(found)
            else:
                raise UnknownInstruction(f"the emulator does not understand {self.rest()}")
        return module

    def function(self, head: re.Match[str]) -> None:
        """A function or its declaration, of which the head was read."""
        kind, results, name, params, limits, end = head.groups()
        made = Function(name, kind == "entry", _params(params), _params(results), limits.strip())
        if end == "{":
            _Body(self, made).read()
            self.module.functions[name] = made


class _Body:
    """Reads the statements of a function. Braces open a scope, whose registers hide those outside."""

    def __init__(self, reader: Reader, function: Function):
        self.reader, self.function = reader, function
        self.scopes: list[dict[str, str]] = [{}]
        self.count = 0
        self.known: dict[str, Operand] = {}
        self.place: At | None = None

    def read(self) -> None:
        reader, text = self.reader, self.reader.text
        while self.scopes:
            reader.take(SPACE)
            match text[reader.at : reader.at + 1]:
                case ".":
                    self.directive()
                case "{":
                    self.scopes.append({})
                    reader.at += 1
                case "}":
                    self.scopes.pop()
                    self.known.clear()
                    reader.at += 1
                case _ if found := reader.take(LABEL):
                    self.function.labels[found[1]] = len(self.function.code)
                case _ if found := reader.take(STATEMENT):
                    self.instruction(found)
                case _:
                    raise UnknownInstruction(f"the emulator does not understand {reader.rest()}")

    def directive(self) -> None:
        reader = self.reader
        if found := reader.take(LOC):
            if int(found[2]):  # line 0 is the compiler's own code, which belongs to what stands before it
                caller = (int(found[3]), int(found[4])) if found[3] else None
                self.place = At(int(found[1]), int(found[2]), caller)
        elif found := reader.take(REGISTERS):
            self.declare(found)
        elif found := reader.take(VARIABLE):
            self.function.variables.append(_variable(found))
        elif not reader.take(SKIPPED):
            raise UnknownInstruction(f"the emulator does not understand {reader.rest()}")

    def declare(self, found: re.Match[str]) -> None:
        kind = TYPES.get(found[1])
        if kind is None:
            raise UnknownInstruction(f"registers of type .{found[1]} in {found[0].strip()!r}")
        for name in (part.strip() for part in found[2].split(",")):
            if numbered := NUMBERED.fullmatch(name):
                names = [f"{numbered[1]}{i}" for i in range(int(numbered[2]))]
            else:
                names = [name]
            for each in names:
                unique = each if len(self.scopes) == 1 else f"{each}:{self.count}"
                self.scopes[-1][each] = unique
                self.function.registers[unique] = kind
        self.count += 1
        self.known.clear()

    def instruction(self, found: re.Match[str]) -> None:
        text = " ".join(found[1].split())
        parts = INSTRUCTION.fullmatch(text)
        line = self.reader.line(found.start(1))
        if parts is None:
            raise UnknownInstruction(f"the emulator does not understand PTX line {line}: {text!r}")
        guard = (Register(self.unique(parts[2])), parts[1] == "!") if parts[2] else None
        modifiers = tuple(parts[4].lstrip(".").split(".")) if parts[4] else ()
        operands = tuple(self.operand(word) for word in _split(parts[5]))
        self.function.code.append(Instruction(parts[3], modifiers, operands, guard, line, text, self.place))

    def unique(self, name: str) -> str:
        """The register that a name means here; itself if none is declared."""
        return next((scope[name] for scope in reversed(self.scopes) if name in scope), name)

    def operand(self, word: str) -> Operand:
        if word not in self.known:
            self.known[word] = self.understood(word)
        return self.known[word]

    def understood(self, word: str) -> Operand:
        if word[0] == "{":
            return Vector(tuple(self.operand(part) for part in _split(word.strip("{} "))))
        if word[0] == "(":
            return Arguments(tuple(self.operand(part) for part in _split(word.strip("() "))))
        if word[0] == "[":
            return self.address(word)
        if word[0] == "!":
            return Negation(self.operand(word[1:].strip()))
        if "|" in word:
            first, _, second = word.partition("|")
            return Pair(self.operand(first.strip()), self.operand(second.strip()))
        if word[0].isdigit() or word[0] == "-":
            return Immediate(word)
        name = self.unique(word)
        return Register(name) if word[0] == "%" or word == "_" or name in self.function.registers else Symbol(word)

    def address(self, word: str) -> Address:
        parts = ADDRESS.fullmatch(word)
        base = self.operand(parts[1]) if parts else None
        if parts is None or not isinstance(base, Register | Immediate | Symbol):
            raise UnknownInstruction(f"the emulator does not understand the address {word}")
        return Address(base, int(parts[2].replace(" ", ""), 0) if parts[2] else 0)


def _split(text: str) -> list[str]:
    """The operands: split at commas that stand in no bracket."""
    if not any(bracket in text for bracket in "{(["):
        return [word for word in map(str.strip, text.split(",")) if word]
    words, depth, start = [], 0, 0
    for i, letter in enumerate(text):
        if letter in "[{(":
            depth += 1
        elif letter in "]})":
            depth -= 1
        elif letter == "," and not depth:
            words.append(text[start:i].strip())
            start = i + 1
    words.append(text[start:].strip())
    return [word for word in words if word]


def _params(text: str | None) -> list[tuple[str, Type, int]]:
    found = []
    for kind, name, count in PARAMETER.findall(text or ""):
        if kind not in TYPES:
            raise UnknownInstruction(f"parameter {name} of type .{kind}")
        found.append((name, TYPES[kind], TYPES[kind].bytes * int(count or 1)))
    return found


def _variable(found: re.Match[str]) -> Variable:
    space, align, wide, kind, name, dims, values = found.groups()
    if kind not in TYPES:
        raise UnknownInstruction(f"variable {name} of type .{kind}")
    each = TYPES[kind]
    sizes = re.findall(r"\[\s*(\d*)\s*\]", dims)
    size: int | None = each.bytes * int(wide or 1)
    for n in sizes:
        size = None if n == "" or size is None else size * int(n)
    data = b""
    if values:
        words = _split(values.strip("{} \n"))
        data = b"".join(Immediate(word).value(each).tobytes() for word in words)
        size = max(size or 0, len(data))
    return Variable(space, name, int(align or each.bytes), size, data)
