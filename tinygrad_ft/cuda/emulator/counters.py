"""What a profiler would count: instructions, memory requests and what they cost, branches, and what never ran."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from tinygrad_ft.cuda.emulator.access import LANES, REQUESTS, UNITS, WORST
from tinygrad_ft.cuda.emulator.faults import Source
from tinygrad_ft.cuda.emulator.tally import FUSED, KIND_OF, Tally, kind_of, space_of, width_of
from tinygrad_ft.cuda.emulator.text import Instruction


class Line(NamedTuple):
    """What one line of Python did in memory: the space, requests, sectors or ways, the most of one request."""

    source: Source | None
    space: str
    requests: int
    units: int
    worst: int


class Counters:
    """What was counted in one launch or several.

    A memory request is what a warp asks for at once, up to 128 bytes: with 64-bit accesses it makes two, with 128-bit
    ones four. So 4 sectors (of 32 bytes) a request is what contiguous 4-byte numbers cost, and 1 way a request is
    shared memory without bank conflicts.
    """

    def __init__(self) -> None:
        self.tallies: dict[int, Tally] = {}

    def add(self, tally: Tally) -> None:
        """Add a launch."""
        known = self.tallies.get(id(tally.program))
        if known is None:
            self.tallies[id(tally.program)] = tally
        else:
            known.merge(tally)

    def __add__(self, other: Counters) -> Counters:
        total = Counters()
        for tally in (*self.tallies.values(), *other.tallies.values()):
            copy = Tally(tally.program, tally.code)
            copy.merge(tally)
            total.add(copy)
        return total

    def _executed(self) -> Iterator[tuple[int, Instruction, int, int]]:
        for tally in self.tallies.values():
            yield from tally.executed()

    @property
    def instructions(self) -> int:
        """Instructions, counted for each thread."""
        return sum(lanes for _, _, lanes, _ in self._executed())

    @property
    def warp_instructions(self) -> int:
        """Instructions, counted for each warp, whether all its lanes take part or one."""
        return sum(warps for _, _, _, warps in self._executed())

    @property
    def kinds(self) -> Counter[str]:
        """Instructions of threads by kind."""
        total: Counter[str] = Counter()
        for _, i, lanes, _ in self._executed():
            if lanes:
                total[kind_of(i)] += lanes
        return total

    @property
    def mnemonics(self) -> Counter[str]:
        """Instructions of threads by their full name."""
        total: Counter[str] = Counter()
        for _, i, lanes, _ in self._executed():
            if lanes:
                total[i.name] += lanes
        return total

    @property
    def ffma(self) -> int:
        """Fused multiply-adds of float32."""
        return sum(
            lanes * (2 if i.modifiers[-1] == "f32x2" else 1)
            for _, i, lanes, _ in self._executed()
            if i.op in FUSED and i.modifiers[-1] in ("f32", "f32x2")
        )

    @property
    def accesses(self) -> Counter[str]:
        """Accesses of threads by instruction, space and bits, as ld.global.128."""
        total: Counter[str] = Counter()
        for _, i, lanes, _ in self._executed():
            if lanes and i.op in ("ld", "st", "atom", "red", "ldu") and space_of(i) != "param":
                total[f"{i.op}.{space_of(i)}.{width_of(i)}"] += lanes
        return total

    def _of_kind(self, kind: str) -> int:
        return sum(lanes for _, i, lanes, _ in self._executed() if KIND_OF.get(i.op) == kind)

    @property
    def atomics(self) -> int:
        """Atomics, of threads."""
        return self._of_kind("atomic")

    @property
    def shuffles(self) -> int:
        """Shuffles, of threads."""
        return self._of_kind("shuffle")

    @property
    def barriers(self) -> int:
        """Barriers of blocks, of threads."""
        return sum(
            lanes for _, i, lanes, _ in self._executed() if KIND_OF.get(i.op) == "barrier" and "warp" not in i.modifiers
        )

    @property
    def branches(self) -> int:
        """Conditional branches, of warps."""
        return sum(
            warps
            for t in self.tallies.values()
            for ready, (_, warps, _) in zip(t.code.blocks, t.blocks, strict=True)
            if ready.condition is not None
        )

    @property
    def divergent(self) -> int:
        """Conditional branches at which a warp's lanes went both ways."""
        return sum(parted for t in self.tallies.values() for _, _, parted in t.blocks)

    def _requests(self, *spaces: str, ops: tuple[str, ...] = ("ld", "ldu", "st")) -> Any:
        """Requests, units, the most of one, and lanes, in these spaces."""
        total = np.zeros(4, np.int64)
        for t in self.tallies.values():
            for i, row in zip(t.program.code, t.requests, strict=True):
                if row[REQUESTS] and i.op in ops and space_of(i) in spaces:
                    worst = max(total[WORST], row[WORST])
                    total += row
                    total[WORST] = worst
        return total

    @property
    def global_requests(self) -> int:
        """Requests to global memory, without atomics."""
        return int(self._requests("global", "generic")[REQUESTS])

    @property
    def sectors(self) -> int:
        """32-byte sectors that these asked for."""
        return int(self._requests("global", "generic")[UNITS])

    @property
    def bytes(self) -> int:
        """Bytes that lanes loaded from or stored to global memory."""
        return sum(
            int(row[LANES]) * width_of(i) // 8
            for t in self.tallies.values()
            for i, row in zip(t.program.code, t.requests, strict=True)
            if row[LANES] and space_of(i) in ("global", "generic") and i.op in ("ld", "ldu", "st")
        )

    @property
    def sectors_a_request(self) -> float:
        """4 is ideal for 4-byte numbers; 32 is each lane for itself."""
        return self.sectors / max(self.global_requests, 1)

    @property
    def shared_requests(self) -> int:
        """Requests to shared memory, without atomics."""
        return int(self._requests("shared")[REQUESTS])

    @property
    def bank_ways(self) -> float:
        """How often a bank of shared memory is asked for a different word in one request: 1 is no conflict."""
        found = self._requests("shared")
        return float(found[UNITS]) / max(int(found[REQUESTS]), 1)

    @property
    def worst_bank_ways(self) -> int:
        """The most of one request."""
        return int(self._requests("shared")[WORST])

    @property
    def memory_lines(self) -> list[Line]:
        """Python lines that made memory requests, the most costly first."""
        found: dict[tuple[Any, str], Any] = {}
        for t in self.tallies.values():
            for i, row in zip(t.program.code, t.requests, strict=True):
                if row[REQUESTS]:
                    total = found.setdefault((t.program.source(i), space_of(i)), np.zeros(4, np.int64))
                    worst = max(total[WORST], row[WORST])
                    total += row
                    total[WORST] = worst
        lines = [Line(s, space, int(r[REQUESTS]), int(r[UNITS]), int(r[WORST])) for (s, space), r in found.items()]
        return sorted(lines, key=lambda line: -line.units)

    @property
    def missed(self) -> list[int]:
        """PTX lines of which no lane ran any instruction; of the first program, if there are several."""
        t = next(iter(self.tallies.values()))
        ran = {i.line for _, i, lanes, _ in t.executed() if lanes}
        return [line for line in t.program.lines if line not in ran]

    @property
    def coverage(self) -> float:
        """The share of the PTX lines that ran."""
        ran = all_lines = 0
        for t in self.tallies.values():
            lines = {i.line for _, i, lanes, _ in t.executed() if lanes}
            ran, all_lines = ran + len(lines), all_lines + len(t.program.lines)
        return ran / max(all_lines, 1)

    @property
    def rows(self) -> list[tuple[str, str]]:
        """Name and value of each count, as text."""
        total = max(self.instructions, 1)
        found = [("thread instructions", f"{self.instructions:,}")]
        found += [(f"  {kind}", f"{n:,} ({100 * n / total:.0f} %)") for kind, n in self.kinds.most_common()]
        found.append(("warp instructions", f"{self.warp_instructions:,}"))
        if self.ffma:
            found.append(("FFMA", f"{self.ffma:,}, one in {total / self.ffma:.2f} instructions"))
        if self.global_requests:
            found.append(("global requests", f"{self.global_requests:,}, {self.bytes:,} bytes"))
            found.append(("32-byte sectors a request", f"{self.sectors_a_request:.2f}"))
        if self.shared_requests:
            found.append(("shared requests", f"{self.shared_requests:,}"))
            found.append(("bank ways a request", f"{self.bank_ways:.2f}, at most {self.worst_bank_ways}"))
        wide = sum(n for name, n in self.accesses.items() if name.endswith(".128"))
        for name, n in (("128-bit accesses", wide), ("atomics", self.atomics), ("barriers", self.barriers)):
            if n:
                found.append((name, f"{n:,}"))
        if self.branches:
            found.append(("branches of warps", f"{self.branches:,}, {self.divergent:,} of them divergent"))
        found.append(("PTX lines that ran", f"{100 * self.coverage:.0f} %"))
        return found

    def __repr__(self) -> str:
        rows = self.rows
        wide = max(len(name) for name, _ in rows)
        names = ", ".join(t.program.name for t in self.tallies.values()) or "nothing"
        return "\n".join([f"counted in {names}", *(f"  {name:{wide}}  {value}" for name, value in rows)])
