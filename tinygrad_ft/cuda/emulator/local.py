"""Local memory: each thread's own, with a row of eight bytes for all lanes together.

So an address that is the same for all lanes, as nearly all are, is a slice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_ft.cuda.emulator.faults import MISALIGNED, UNWRITTEN
from tinygrad_ft.cuda.emulator.program import LOCAL
from tinygrad_ft.cuda.emulator.transfer import out_of_bounds


class Local:
    """Local memory of so many lanes, `size` bytes each, which nobody wrote yet."""

    def __init__(self, size: int, lanes: int, checks: bool):
        rows = -(-size // 8)
        self.size, self.checks = size, checks
        data, known = np.zeros((rows, lanes, 8), np.uint8), np.zeros((rows, lanes, 8), np.uint8)
        self.words = {n: data.view(f"u{n}") for n in (1, 2, 4, 8)}
        self.known = {n: known.view(f"u{n}") for n in (1, 2, 4, 8)}  # all ones where it was written

    def _place(self, m: Any, addresses: Any, size: int, count: int, number: int) -> list[Any]:
        """For each of `count` words, its row, lane and part."""
        width = size * count
        offset = addresses.astype(np.int64) - np.int64(LOCAL)
        bad = np.atleast_1d((offset < 0) | (offset + width > self.size))
        if bad.any():
            raise out_of_bounds(m, "local", np.atleast_1d(addresses), int(bad.argmax()), width, number)
        crooked = np.atleast_1d(offset % width != 0)
        if crooked.any():
            k = int(crooked.argmax())
            detail = f"byte {np.atleast_1d(offset)[k]} of local memory is not a multiple of {width}"
            raise m.fault(MISALIGNED, number, k, detail)
        lanes = slice(None) if type(offset) is not np.ndarray and m.lanes.index is None else m.lanes.positions
        starts = [offset + n * size for n in range(count)]
        return [(at >> 3, lanes, (at & 7) // size) for at in starts]

    def load(self, m: Any, addresses: Any, size: int, count: int, number: int) -> Sequence[Any]:
        """`count` unsigned integers of `size` bytes for each lane."""
        found = []
        for at in self._place(m, addresses, size, count, number):
            known = self.known[size][at]
            if self.checks and not (known == np.iinfo(known.dtype).max).all():
                k = int((known != np.iinfo(known.dtype).max).argmax())
                raise m.fault(UNWRITTEN, number, k, "local memory of the thread")
            found.append(self.words[size][at].copy())
        return found

    def store(self, m: Any, addresses: Any, values: Sequence[Any], size: int, number: int) -> None:
        """Write some unsigned integers of `size` bytes for each lane."""
        places = self._place(m, addresses, size, len(values), number)
        for at, value in zip(places, values, strict=True):
            self.words[size][at] = value
            self.known[size][at] = np.iinfo(f"u{size}").max
