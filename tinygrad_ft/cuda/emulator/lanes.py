"""Sets of lanes that run together, and their registers."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy import ndarray

FULL_WARP = 0xFFFF_FFFF  # the mask of all lanes of a warp


class Layout:
    """The lanes of the blocks that run at once. Lane `block * threads + thread` of these blocks is one position.

    `stamps` are as `access` has them; `padded` are positions where each block has whole warps.
    """

    def __init__(self, first_block: int, blocks: int, threads: int):
        self.first_block, self.blocks, self.threads = first_block, blocks, threads
        self.count = blocks * threads
        self.shift = self.bits_of_thread(threads)
        self.warps_of_block = -(-threads // 32)
        every = np.arange(self.count)
        self.every = every
        self.block, self.thread = every // threads, every % threads
        self.stamps = (self.block + first_block) << self.shift | self.thread
        self.padded = self.block * (self.warps_of_block * 32) + self.thread
        self.is_padded = threads % 32 != 0
        self.width = blocks * self.warps_of_block * 32

    @staticmethod
    def bits_of_thread(threads: int) -> int:
        """Bits of a stamp that tell the thread: at least five, so that the others tell the warp."""
        return max(5, (threads - 1).bit_length())

    @cached_property
    def existing(self) -> Any:
        """For each warp the bits of the lanes that exist."""
        return _bits(self, self.padded)


def _bits(layout: Layout, padded: Any) -> Any:
    present = np.zeros(layout.width, bool)
    present[padded] = True
    return np.packbits(present.reshape(-1, 32), axis=1, bitorder="little").view(np.uint32).ravel().astype(np.int64)


class Lanes:
    """Some lanes, in ascending order. `index` are their positions, None for all."""

    def __init__(self, layout: Layout, index: Any = None):
        self.layout, self.index = layout, index
        self.n = layout.count if index is None else index.size
        self.stamps = layout.stamps if index is None else layout.stamps[index]
        self.shuffles: dict[Any, Any] = {}

    @property
    def positions(self) -> Any:
        """Their positions, also of all."""
        return self.layout.every if self.index is None else self.index

    @cached_property
    def padded(self) -> Any:
        """Where they are in whole warps."""
        return self.layout.padded if self.index is None else self.layout.padded[self.index]

    @cached_property
    def warp(self) -> Any:
        """The number of each one's warp, among whole warps."""
        return self.padded >> 5

    @cached_property
    def warps(self) -> int:
        """How many warps they are of."""
        if self.index is None:
            return self.layout.blocks * self.layout.warps_of_block
        return int(np.count_nonzero(np.diff(self.warp))) + 1 if self.n else 0

    @cached_property
    def blocks(self) -> Any:
        """The numbers of the blocks that they are of, in the grid."""
        return np.unique(self.stamps >> self.layout.shift)

    @cached_property
    def present(self) -> Any:
        """For each warp the bits of the lanes that are here."""
        return self.layout.existing if self.index is None else _bits(self.layout, self.padded)

    @cached_property
    def whole(self) -> bool:
        """Whether each warp is here with all its lanes, or with none."""
        if self.index is None:
            return True
        present = self.present
        return bool((present[present != 0] == self.layout.existing[present != 0]).all())

    def spread(self, x: Any) -> Any:
        """Their numbers at their places in whole warps, in an array for all."""
        if self.index is None and not self.layout.is_padded and type(x) is ndarray:
            return x
        out = np.zeros(self.layout.width, x.dtype)
        out[self.padded] = x
        return out


class Group:
    """Lanes that stand at the same instruction, with their registers.

    All lanes together use the register file itself. Others have copies of what they read, taken when they need it, and
    put back what they changed when they part or meet others.
    """

    __slots__ = ("changed", "file", "lanes", "prepared", "registers")

    def __init__(self, lanes: Lanes, file: list[Any]):
        self.lanes, self.file = lanes, file
        self.registers: list[Any] = file if lanes.index is None else [None] * len(file)
        self.changed: set[int] = set()
        self.prepared: set[int] = set()

    def prepare(self, block: int, needs: list[int]) -> None:
        """Take copies of what a block reads."""
        if self.lanes.index is None or block in self.prepared:
            return
        self.prepared.add(block)
        registers, file, index = self.registers, self.file, self.lanes.index
        for slot in needs:
            if registers[slot] is None:
                value = file[slot]
                registers[slot] = value[index] if type(value) is ndarray else value

    def put_back(self, live: frozenset[int]) -> None:
        """Put what was changed and is still needed where other groups find it."""
        if self.lanes.index is None:
            return
        for slot in self.changed & live:
            new, old = self.registers[slot], self.file[slot]
            if type(old) is ndarray:
                old = old.copy()
            elif type(new) is not ndarray and old is not None and new == old:
                continue
            else:
                old = np.full(self.lanes.layout.count, new.dtype.type(0) if old is None else old)
            old[self.lanes.index] = new
            self.file[slot] = old
        self.changed = set()
        self.prepared = set()

    def split(self, chosen: Any, live: frozenset[int]) -> tuple[Group, Group]:
        """Those that are chosen, and the others, after putting back."""
        self.put_back(live)
        positions = self.lanes.positions
        return self._of(positions[chosen]), self._of(positions[~chosen])

    def joined(self, other: Group, live: frozenset[int]) -> Group:
        """Both together."""
        self.put_back(live)
        other.put_back(live)
        return self._of(np.sort(np.concatenate([self.lanes.positions, other.lanes.positions])))

    def _of(self, positions: Any) -> Group:
        layout = self.lanes.layout
        return Group(Lanes(layout, None if positions.size == layout.count else positions), self.file)
