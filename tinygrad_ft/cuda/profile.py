"""What the emulator counted in launches, beside the roofs of a card: is it memory or arithmetic that binds?

Operations are those of float32 that threads executed, a fused multiply-add being two. Of the bytes two numbers are
known: at least every array has to move once, and at most every 32-byte sector that warps asked for, of which caches
serve a part. The truth of a card lies between, and so does the arithmetic intensity, operations for each byte.
Source: Williams et al., "Roofline: An Insightful Visual Performance Model for Multicore Architectures", 2009.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from tinygrad_ft.cuda.abi import is_array
from tinygrad_ft.cuda.cards import Card
from tinygrad_ft.cuda.launch import Launch

SECTOR = 32  # bytes


class Roofs(NamedTuple):
    """Operations and bytes of some launches, beside a card."""

    operations: int
    bytes_at_least: int
    bytes_at_most: int
    card: Card

    @property
    def intensity(self) -> tuple[float, float]:
        """Operations for each byte: if every sector comes from memory, and if every array does once."""
        return self.operations / max(self.bytes_at_most, 1), self.operations / max(self.bytes_at_least, 1)

    @property
    def binds(self) -> str:
        """Which roof."""
        low, high = self.intensity
        if high < self.card.balance:
            return "memory"
        if low >= self.card.balance:
            return "arithmetic"
        return "memory, unless caches serve most sectors; then arithmetic"

    @property
    def highest(self) -> float:
        """Operations a second that no kernel of this intensity can exceed on that card."""
        return min(self.card.flops, self.intensity[1] * self.card.bandwidth)

    @property
    def rows(self) -> list[tuple[str, str]]:
        """Name and value, as text."""
        low, high = self.intensity
        between = f"{high:.2f}" if f"{low:.2f}" == f"{high:.2f}" else f"{low:.2f} to {high:.2f}"
        card = self.card
        return [
            ("float32 operations", f"{self.operations:,}"),
            ("bytes of arrays, once each", f"{self.bytes_at_least:,}"),
            ("bytes of sectors asked for", f"{self.bytes_at_most:,}"),
            ("operations a byte", between),
            (f"roofs of {card.name}", f"{card.bandwidth / 1e9:.0f} GB/s, {card.flops / 1e12:.1f} TFLOP/s"),
            ("  both bind at", f"{card.balance:.1f} operations a byte"),
            ("  what binds", self.binds),
            ("  the roof here", f"{self.highest / 1e12:.3g} TFLOP/s, {self.highest / card.flops:.1%} of the peak"),
            ("  source", card.source),
        ]


def roofs(launches: Sequence[Launch], card: Card) -> Roofs:
    """The roofs over some launches together. Arrays that one launch writes and another reads count once for each."""
    return Roofs(
        sum(operations(noted.counters) for noted in launches),
        sum(array.nbytes for noted in launches for array in _arrays(noted)),
        sum(noted.counters.sectors * SECTOR for noted in launches),
        card,
    )


def operations(counters: Any) -> int:
    """Float32 operations, of tensor cores too."""
    kinds = counters.kinds
    of_matrices = sum(
        2 * int(found[1]) * int(found[2]) * int(found[3]) * lanes // 32
        for name, lanes in counters.mnemonics.items()
        if (found := re.search(r"mma\..*m(\d+)n(\d+)k(\d+)", name))
    )
    return int(kinds["float32"] + 2 * kinds["float32x2"] + counters.ffma + of_matrices)


def _arrays(noted: Launch) -> Iterable[Any]:
    return {id(argument): argument for argument in noted.args if is_array(argument)}.values()


def by_kernel(launches: Iterable[Launch]) -> dict[str, list[Launch]]:
    """Launches of each kernel, in order of the first."""
    found: dict[str, list[Launch]] = {}
    for noted in launches:
        found.setdefault(noted.kernel.name, []).append(noted)
    return found


def counted(launches: Sequence[Launch]) -> Any:
    """The counters of some launches together."""
    total = launches[0].counters
    for noted in launches[1:]:
        total = total + noted.counters
    return total
