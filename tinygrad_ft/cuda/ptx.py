"""The PTX of one kernel: made readable and loadable by older drivers, and what its text tells of a launch."""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path
from typing import Any

from tinygrad_ft.cuda.cards import Capability

# The first version of PTX that knows the architecture. NVVM writes its own newest, which older drivers refuse to load.
# Source: PTX ISA, "Release Notes", table "PTX Release History".
FIRST_VERSION = {
    (7, 5): "6.3",
    (8, 0): "7.0",
    (8, 6): "7.1",
    (8, 9): "7.8",
    (9, 0): "7.8",
    (10, 0): "8.6",
    (12, 0): "8.7",
}


class Compiled:
    """PTX of one kernel for one signature and capability, and what its text tells. `path` is the file that holds it."""

    def __init__(self, name: str, ptx: str, capability: Capability, path: Path):
        self.name, self.ptx, self.capability, self.path = name, ptx, capability, path

    def __repr__(self) -> str:
        return f"<PTX of {self.name} for sm_{self.capability[0]}{self.capability[1]}>"

    @cached_property
    def parameters(self) -> tuple[int, ...]:
        """Bytes of each parameter of the entry, in order."""
        head = self.ptx[self.ptx.index(".entry") :].partition("{")[0]
        return tuple(int(bits) // 8 for bits in re.findall(r"\.param\s+\.[a-z](\d+)\b", head))

    @cached_property
    def shared(self) -> int:
        """Bytes of shared memory whose size the kernel itself states."""
        end = 0
        for align, size in re.findall(r"\.shared\s+\.align\s+(\d+)\s+\.b8\s+[\w$]+\[(\d+)\]", self.ptx):
            end = -(-end // int(align)) * int(align) + int(size)
        return end

    @cached_property
    def program(self) -> Any:
        """The same, as the emulator reads it."""
        from tinygrad_ft.cuda.emulator.program import Program

        return Program.parse(self.ptx)


def tidy(text: str, name: str, capability: Capability, registers: int | None) -> str:
    """NVVM's text with a readable name of the entry, for the oldest drivers that know the architecture.

    Numba's own names count up with what was compiled before in the process, so no two runs would agree.
    """
    found = re.search(r"\.entry\s+([\w$]+)\s*\(", text)
    assert found, "NVVM answered no kernel"
    mangled = found[1]
    text = re.sub(r"^\.common \.global .*NumbaEnv.*\n", "", text, flags=re.M)
    text = re.sub(r"^\s*// \.globl.*\n", "", text, flags=re.M).replace(mangled, name)
    for count, shared in enumerate(dict.fromkeys(re.findall(r"_cudapy_smem_\d+", text))):
        text = re.sub(rf"\b{shared}\b", f"shared_{count}", text)
    text = re.sub(r"^\.version .*$", f".version {FIRST_VERSION[capability]}", text, flags=re.M)
    if registers is not None:
        head = text.index(")", text.index(".entry")) + 1
        text = f"{text[:head]}\n.maxnreg {registers}{text[head:]}"
    return text
