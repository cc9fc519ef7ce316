"""Counting where the host waits for the device or sends it numbers: on a GPU both cost more than most kernels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class Count:
    """How often, by what was called: `waits` for the device's numbers, `copies` of numbers to the device."""

    def __init__(self) -> None:
        self.waits: Counter[str] = Counter()
        self.copies: Counter[str] = Counter()

    def __int__(self) -> int:
        """How often the host waited."""
        return self.waits.total()

    def __repr__(self) -> str:
        return f"waits {dict(self.waits)}, copies {dict(self.copies)}"


_counts: list[Count] = []


@contextmanager
def synchronisations() -> Iterator[Count]:
    """A count of both, on the device `emulator`, until the context ends."""
    count = Count()
    _counts.append(count)
    try:
        yield count
    finally:
        _counts[:] = [other for other in _counts if other is not count]


def waited(name: str) -> None:
    """The host has waited for numbers of the device."""
    for count in _counts:
        count.waits[name] += 1


def copied(name: str) -> None:
    """Numbers of the host went to the device."""
    for count in _counts:
        count.copies[name] += 1
