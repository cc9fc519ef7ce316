"""The table from mnemonic to what it computes, and how its modifiers are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from tinygrad_ft.cuda.emulator.faults import UnknownInstruction
from tinygrad_ft.cuda.emulator.operands import TYPES, Pair, Type
from tinygrad_ft.cuda.emulator.text import Instruction

Function = Callable[..., Any]
SPECIAL = {"f16x2", "f32x2", "bf16", "bf16x2", "tf32"}


class Rule(NamedTuple):
    """A function of arrays or single numbers, one for each lane or one for all, and the types of both its sides.

    With several results it answers a tuple. `carry_in` is a further argument, `carry_out` a further result.
    """

    function: Function
    results: tuple[Type, ...]
    sources: tuple[Type, ...]
    carry_in: bool = False
    carry_out: bool = False


class Words:
    """The modifiers of an instruction. Each must be read by someone, or the instruction is not known."""

    def __init__(self, instruction: Instruction):
        self.instruction, self.op = instruction, instruction.op
        self.left = list(instruction.modifiers)

    def has(self, word: str) -> bool:
        """Whether it is there; it counts as read."""
        found = word in self.left
        if found:
            self.left.remove(word)
        return found

    def one_of(self, *words: str) -> str | None:
        """The one of them that is there."""
        return next((word for word in words if self.has(word)), None)

    def need(self, *words: str) -> str:
        """The one of them that must be there."""
        found = self.one_of(*words)
        if found is None:
            raise self.unknown(f"none of {', '.join(words)}")
        return found

    def type(self, *special: str) -> Type:
        """The last type. Of those with parts or a format of their own, only the ones named are meant."""
        for word in reversed(self.left):
            if word in TYPES and (word in special or word not in SPECIAL):
                self.left.reverse()
                self.left.remove(word)
                self.left.reverse()
                return TYPES[word]
        raise self.unknown("its type")

    def unknown(self, what: str) -> UnknownInstruction:
        """The error to raise for a modifier that is not known here. The decoder adds where it is."""
        return UnknownInstruction(f"{self.instruction.name}: {what}")

    def done(self) -> None:
        """All must have been read."""
        if self.left:
            raise self.unknown("." + ".".join(self.left))


Maker = Callable[[Words], Rule]
FLOATS: dict[str, Maker] = {}
OTHERS: dict[str, Maker] = {}


def rule(*names: str, floats: bool = False) -> Callable[[Maker], Maker]:
    """List what makes the rule of these mnemonics; of their form for floats, or the other."""

    def add(maker: Maker) -> Maker:
        (FLOATS if floats else OTHERS).update(dict.fromkeys(names, maker))
        return maker

    return add


def rule_of(i: Instruction) -> Rule:
    """What an instruction computes.

    Raises:
        UnknownInstruction: if that is not known, modifier for modifier.
    """
    key = i.op, i.modifiers, isinstance(i.operands[0], Pair)
    if key not in _known:
        words = Words(i)
        float_type = any(word[0] == "f" and word in TYPES for word in i.modifiers)
        table = FLOATS if float_type and i.op in FLOATS else OTHERS
        if i.op not in table:
            raise words.unknown("unknown mnemonic")
        made = table[i.op](words)
        words.done()
        _known[key] = made
    return _known[key]


_known: dict[tuple[str, tuple[str, ...], bool], Rule] = {}
