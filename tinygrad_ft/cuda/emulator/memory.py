"""Where the data are: the arrays of a launch, the module's constants, shared memory of blocks, local memory of threads.

An array is not copied: the kernel writes into NumPy's own memory, so views of one base share it. Kernels see addresses
of their own, each base beginning at a multiple of 512 as a GPU's allocations do, with gaps that belong to nobody.
"""

from __future__ import annotations

import ctypes
import weakref
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tinygrad_ft.cuda.emulator.access import (
    BANKS,
    CELL,
    CHECKED,
    FIRST,
    GAP,
    HIGH,
    LOW,
    NONE_NOTED,
    STRIDE,
    UNWRITTEN,
    WRITTEN,
)
from tinygrad_ft.cuda.emulator.operands import TYPES
from tinygrad_ft.cuda.emulator.order import ACCESS
from tinygrad_ft.cuda.emulator.program import GLOBAL, SHARED, Constant, Program

ALIGN, HOLE, WIDEST = 512, 1 << 20, 32
NO_STATE = np.zeros(0, np.uint8)
WORDS = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}


class Region:
    """A stretch of memory: its bytes, as words of each width, and what is known of each of its cells.

    Args:
        first: address of the first byte.
        data: the bytes.
        cell: bytes of a cell, the smallest thing that is written at once.
        copies: blocks that have such a stretch of their own, one behind the other in `data`.
    """

    def __init__(self, first: int, data: Any, cell: int, *, copies: int = 1, banks: bool = False, checked: bool = True):
        self.first, self.data, self.cell, self.banks = first, data, cell, banks
        self.size = data.size // copies
        self.writable = True
        self.state: Any = NO_STATE
        self.tables = NONE_NOTED
        if checked:
            self.tables = np.zeros((3, -(-data.size // cell)), ACCESS)
        self.numbers = np.zeros(8, np.int64)
        self.numbers[[FIRST, HIGH, BANKS, CHECKED]] = first, self.size, banks, checked
        self.numbers[STRIDE] = self.size if copies > 1 else 0
        self.numbers[CELL] = cell.bit_length() - 1
        self.words = {n: data[: data.size // n * n].view(kind) for n, kind in WORDS.items()}

    def rows(self, size: int, count: int) -> Any:
        """The bytes as rows of so many words."""
        words = self.words[size]
        return words[: words.size // count * count].reshape(-1, count)

    def refine(self, width: int) -> None:
        """Take smaller cells, since something smaller is accessed."""
        times, self.cell = self.cell // width, width
        self.numbers[CELL] = width.bit_length() - 1
        self.state = np.repeat(self.state, times)
        self.tables = np.repeat(self.tables, times, axis=1)


class Written:
    """What of some arrays was written so far. Give one to `run`, again and again, for what `empty` made.

    `forget(array)` says that nobody wrote it yet. What a kernel writes is noted; `mark(array)` notes it for the host.
    """

    def __init__(self, unwritten: Iterable[Any] = ()):
        self._states: dict[int, tuple[int, Any]] = {}  # of a base: where it begins, and a byte for each of its bytes
        for array in unwritten:
            self.forget(array)

    def forget(self, array: Any) -> None:
        """Nothing in it was written."""
        self._set(array, UNWRITTEN)

    def mark(self, array: Any) -> None:
        """All of it was written."""
        if id(_base(array)) in self._states:
            self._set(array, WRITTEN)

    def _set(self, array: Any, state: Any) -> None:
        base = _base(array)
        start, end = np.lib.array_utils.byte_bounds(base)
        if id(base) not in self._states:
            self._states[id(base)] = start, np.full(end - start, WRITTEN)
            weakref.finalize(base, self._states.pop, id(base), None)
        _bytes_of(array, self._states[id(base)][1], start)[...] = state

    def state(self, start: int, size: int, bases: Iterable[Any]) -> Any:
        """A state for each byte from `start`, or nothing if all were written."""
        found = [self._states[id(base)] for base in bases if id(base) in self._states]
        if not found:
            return None
        state = np.full(size, WRITTEN)
        for first, known in found:
            low, high = max(first, start), min(first + known.size, start + size)
            state[low - start : high - start] = known[low - first : high - first]
        return state

    def learn(self, start: int, state: Any, bases: Iterable[Any]) -> None:
        """Take over what a kernel wrote."""
        for base in bases:
            if id(base) in self._states:
                first, known = self._states[id(base)]
                low, high = max(first, start), min(first + known.size, start + state.size)
                part = known[low - first : high - first]
                np.maximum(part, state[low - start : high - start], out=part)
                if (known == WRITTEN).all():
                    del self._states[id(base)]


def _bytes_at(room: Any) -> Any:
    return np.frombuffer(room, np.uint8)


def _base(array: Any) -> Any:
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _bytes_of(array: Any, flags: Any, start: int) -> Any:
    """The flags of the bytes of an array, of flags that begin at address `start`."""
    at = array.__array_interface__["data"][0] - start
    shape, strides = (*array.shape, array.itemsize), (*array.strides, 1)
    return np.lib.stride_tricks.as_strided(flags[at:], shape, strides)


class Memory:
    """Global memory of a launch: a region for each stretch that its arrays and the module's constants lie in."""

    def __init__(
        self,
        constants: Sequence[Constant],
        named: Sequence[tuple[str, Any]],
        written: Written | None,
        checked: bool,
    ):
        self.regions: list[Region] = []
        self.written, self._named = written, named  # the arrays must live as long as their addresses
        self._addresses: dict[int, int] = {}
        self._known: list[tuple[Region, int, list[Any]]] = []
        for constant in constants:
            data = np.frombuffer(constant.data, np.uint8).copy()
            region = Region(constant.address, data, 4, checked=checked)
            region.writable = constant.space != "const"
            self.regions.append(region)
        address = GLOBAL
        for group in _overlapping([array for _, array in named]):
            address = self._add(group, address, checked)
        self._starts = [region.first for region in self.regions]

    def _add(self, group: list[Any], address: int, checked: bool) -> int:
        """A region for arrays that lie in one stretch of memory; where the next may begin."""
        bases = [*{id(base): base for base in map(_base, group)}.values()]
        origin = min(np.lib.array_utils.byte_bounds(base)[0] for base in bases)
        filled = [a for a in group if a.size]
        bounds = [np.lib.array_utils.byte_bounds(a) for a in filled]
        start = min((low for low, _ in bounds), default=origin)
        end = max((high for _, high in bounds), default=origin)
        for a in group:
            self._addresses[id(a)] = address + a.__array_interface__["data"][0] - origin
        if filled:
            low = (start - origin) % WIDEST  # what is aligned in memory stays so in the region
            room = (ctypes.c_uint8 * (end - start + low)).from_address(start - low)
            cell = min(a.itemsize for a in filled)
            region = Region(address + start - low - origin, _bytes_at(room), cell, checked=checked)
            region.numbers[LOW] = low
            region.writable = any(a.flags.writeable for a in filled)
            region.state = self._state(region, start - low, filled, bases)
            self.regions.append(region)
            if region.state.size and self.written is not None:
                self._known.append((region, start - low, bases))
        return -(-(address + end - origin + HOLE) // ALIGN) * ALIGN

    def _state(self, region: Region, start: int, arrays: list[Any], bases: list[Any]) -> Any:
        """A state for each cell; none if all is some array's and written."""
        low = int(region.numbers[LOW])
        state = self.written.state(start, region.size, bases) if self.written is not None else None
        if state is None and any(a.nbytes == region.size - low for a in arrays):
            return NO_STATE
        allowed = np.zeros(region.size, bool)
        for a in arrays:
            _bytes_of(a, allowed, start)[...] = True
        if state is None and allowed[low:].all():
            return NO_STATE
        return np.where(allowed, WRITTEN if state is None else state, GAP)[:: region.cell].copy()

    def address(self, array: Any) -> int:
        """Where an array begins."""
        return self._addresses[id(array)]

    def find(self, address: int) -> Region | None:
        """The region that an address lies in."""
        k = bisect_right(self._starts, address) - 1
        if k < 0 or address >= self.regions[k].first + self.regions[k].size:
            return None
        return self.regions[k]

    def describe(self, address: int) -> str:
        """An address for a message: what array it lies in, or is nearest to."""
        best = None
        for name, array in self._named:
            low = self._addresses[id(array)]
            high = low + max(array.nbytes, 1)
            away = max(low - address, address - high + 1, 0)
            if best is None or away < best[0]:
                best = away, name, array, address - low
        if best is None or best[0] > HOLE:
            return f"address {address:#x}, near no array"
        away, name, array, offset = best
        index = offset // max(array.itemsize, 1)
        where = "" if not away else " past its end" if offset > 0 else " before its beginning"
        return f"byte {offset}, element {index}, of {name} (shape {array.shape}, {array.dtype}){where}"

    def finish(self) -> None:
        """Pass on what was written to whoever keeps track of it."""
        for region, start, bases in self._known:
            assert self.written is not None
            self.written.learn(start, np.repeat(region.state, region.cell)[: region.size], bases)


def _overlapping(arrays: Sequence[Any]) -> list[list[Any]]:
    """The arrays, those together whose bases overlap."""
    groups: list[tuple[int, list[Any]]] = []
    for array in sorted(arrays, key=lambda a: np.lib.array_utils.byte_bounds(_base(a))[0]):
        low, high = np.lib.array_utils.byte_bounds(_base(array))
        if groups and low < groups[-1][0]:
            groups[-1] = max(high, groups[-1][0]), [*groups[-1][1], array]
        else:
            groups.append((high, [array]))
    return [group for _, group in groups]


def shared_region(size: int, blocks: int, cell: int, checked: bool) -> Region:
    """Shared memory of so many blocks, each of `size` bytes, which nobody wrote yet."""
    room = -(-max(size, 1) // WIDEST) * WIDEST
    region = Region(SHARED, np.zeros(room * blocks, np.uint8), cell, copies=blocks, banks=True, checked=checked)
    region.numbers[HIGH] = size
    region.numbers[STRIDE] = room
    region.state = np.full(room * blocks // cell, UNWRITTEN)
    return region


def shared_cell(program: Program) -> int:
    """Bytes of the smallest thing that the kernel may move to or from shared memory, at most 4."""
    elsewhere = {"global", "local", "const", "param"}
    moves = [i.modifiers for i in program.code if i.op in ("ld", "ldu", "st", "atom", "red")]
    return min([4, *(TYPES[words[-1]].bytes for words in moves if words[-1] in TYPES and not elsewhere & {*words})])
