"""The memory in which the programs of one step keep what does not outlive a replay: one after the other, the same."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np

LEAST = 1 << 24  # bytes; pages that nobody has touched take no memory
LARGER = 8  # a later program, for longer texts perhaps, may need so many times as much as the first


class Ground:
    """Bytes for programs that never run at the same time. Its contents are lost between two replays."""

    def __init__(self) -> None:
        self._whole: Any = np.empty(0, np.uint8)
        self._pages: Any = None

    def of(self, size: int) -> Any:
        """So many bytes, beginning at a page; the same for everyone who asks, unless it has to be larger."""
        if size > self._whole.size:
            self._ask_for(max(LEAST, LARGER * size))
        return self._whole[:size]

    def rest(self) -> None:
        """Give the memory back to the system until it is next touched, where that can be done."""
        if self._pages is not None:
            self._pages.madvise(mmap.MADV_DONTNEED)

    def _ask_for(self, size: int) -> None:
        if hasattr(mmap, "MAP_PRIVATE") and hasattr(mmap, "MADV_DONTNEED"):
            self._pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            if hasattr(mmap, "MADV_HUGEPAGE"):
                self._pages.madvise(mmap.MADV_HUGEPAGE)
            self._whole = np.frombuffer(self._pages, np.uint8)
        else:
            self._pages, self._whole = None, np.empty(size, np.uint8)
