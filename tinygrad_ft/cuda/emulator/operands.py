"""The words of PTX: its types, and the operands of an instruction."""

from __future__ import annotations

import re
import struct
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from tinygrad_ft.cuda.emulator.faults import UnknownInstruction


class Type(NamedTuple):
    """A type of PTX. Kind: f float, s signed, u unsigned, b bits, p predicate, and i, an integer of either sign.

    `parts` numbers lie side by side in a register, as the two halves of f16x2.
    """

    name: str
    kind: str
    bits: int
    dtype: np.dtype[Any]
    parts: int = 1

    @property
    def bytes(self) -> int:
        """Bytes in memory."""
        return self.bits // 8


def _type(name: str, kind: str, bits: int, dtype: DTypeLike, parts: int = 1) -> Type:
    return Type(name, kind, bits, np.dtype(dtype), parts)


TYPES = {
    t.name: t
    for t in (
        *(_type(f"{kind}{n}", kind, n, f"i{n // 8}") for kind in "s" for n in (8, 16, 32, 64)),
        *(_type(f"{kind}{n}", kind, n, f"u{n // 8}") for kind in "ub" for n in (8, 16, 32, 64)),
        *(_type(f"f{n}", "f", n, f"f{n // 8}") for n in (16, 32, 64)),
        _type("pred", "p", 1, bool),
        _type("f16x2", "b", 32, np.uint32, 2),
        _type("f32x2", "b", 64, np.uint64, 2),
        _type("bf16", "b", 16, np.uint16),
        _type("bf16x2", "b", 32, np.uint32, 2),
        _type("tf32", "b", 32, np.uint32),
    )
}
PRED, U32, U64, S32, S64, F32, F64, B32, B64 = (
    TYPES[n] for n in ("pred", "u32", "u64", "s32", "s64", "f32", "f64", "b32", "b64")
)


def bits_of(bits: int) -> Type:
    """Untyped, of so many bits."""
    return TYPES[f"b{bits}"]


def integer_of(bits: int) -> Type:
    """An integer of so many bits, of which it does not matter whether it has a sign."""
    return Type(f"i{bits}", "i", bits, np.dtype(f"u{bits // 8}"))


class Register(NamedTuple):
    """A register, also a special one as %tid.x."""

    name: str


class Immediate(NamedTuple):
    """A number written out."""

    text: str

    def value(self, wanted: Type) -> Any:
        """It as a number of that type; a float that is written in hexadecimal gives its bits where bits are wanted.

        Raises:
            UnknownInstruction: if it is no number.
        """
        text = self.text
        try:
            if text[:2] in ("0f", "0F"):
                number: float | int = struct.unpack(">f", bytes.fromhex(text[2:]))[0]
            elif text[:2] in ("0d", "0D"):
                number = struct.unpack(">d", bytes.fromhex(text[2:]))[0]
            elif re.fullmatch(r"-?\d*\.\d+([eE][-+]?\d+)?", text):
                number = float(text)
            else:
                number = int(text.rstrip("U"), 0)
        except (ValueError, struct.error):
            raise UnknownInstruction(f"{text!r} is not a number that the emulator knows") from None
        if wanted.kind == "p":
            return np.bool_(number)
        if isinstance(number, float) and wanted.kind == "f":
            return wanted.dtype.type(number)
        unsigned = np.dtype(f"u{wanted.bytes}")
        raw = int.from_bytes(bytes.fromhex(text[2:])) if isinstance(number, float) else number
        value: Any = np.array(raw & (2**wanted.bits - 1), unsigned).view(wanted.dtype)[()]
        return value


class Symbol(NamedTuple):
    """A name: of a variable, a label or a function."""

    name: str


class Address(NamedTuple):
    """[base + offset]."""

    base: Register | Immediate | Symbol
    offset: int


class Vector(NamedTuple):
    """{a, b, ...}: several registers at once."""

    items: tuple[Operand, ...]


class Pair(NamedTuple):
    """a|b: two results."""

    first: Operand
    second: Operand


class Negation(NamedTuple):
    """!p."""

    of: Operand


class Arguments(NamedTuple):
    """(a, b, ...) of a call."""

    items: tuple[Operand, ...]


Operand = Register | Immediate | Symbol | Address | Vector | Pair | Negation | Arguments
NOTHING = Register("_")  # where a result may go that nobody wants
