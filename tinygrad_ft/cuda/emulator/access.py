"""One memory instruction of many lanes: are its addresses allowed, who else was there, how many requests does it make.

Two accesses of a cell race if different threads made them, at least one wrote, not both are atomic, and nothing orders
them (see `order`); also if both wrote the same. Kept for each cell and kind of access is the latest, and how far apart
those were that nothing orders.

All in loops that Numba compiles: a lane costs a few nanoseconds, whatever its address.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ft.cuda.emulator.exact import compiled
from tinygrad_ft.cuda.emulator.order import (
    ACCESS,
    CLOCK,
    FIRST_BLOCK,
    SHIFT,
    behind_barrier,
    epoch_of,
    note,
    published,
    warp_epoch_of,
)

# A volatile read and a write as strong may meet an atomic. A constant read is of what the kernel does not write at all.
READ, WRITE, ATOMIC, VOLATILE, CONSTANT, STRONG = range(6)
OK, OUTSIDE, UNALIGNED, FORBIDDEN, FRESH, AFTER = range(6)  # AFTER + kind: unordered after one of that kind
# Whether an access races with an unordered earlier one, by their kinds.
RACES = np.array([[0, 1, 1], [1, 1, 1], [1, 1, 0], [0, 1, 0], [0, 1, 1]], bool)

# States of a cell, where not all are written and allowed.
GAP, UNWRITTEN, WRITTEN = np.uint8(0), np.uint8(1), np.uint8(2)

# What `access` needs of a region, in an array of int64. Addresses go from FIRST + LOW to below FIRST + HIGH.
FIRST, LOW, HIGH, CELL, STRIDE, BANKS, CHECKED, NOTED = range(8)  # NOTED: bits of the kinds of access that were noted
# Columns of the tally of an instruction.
REQUESTS, UNITS, WORST, LANES = range(4)
SCRATCH = 32 * 65  # numbers that counting needs room for
NONE_NOTED = np.zeros((3, 0), ACCESS)


@compiled
def _find(addresses: Any, stamps: Any, at: Any, region: Any, machine: Any, state: Any, width: int, reads: bool) -> Any:
    """Where the lanes' data lie in the region, in units of `width` bytes, if each address is allowed.

    Answers a code and the first lane it concerns.
    """
    many = addresses.size > 1
    first, last, cell = region[LOW], region[HIGH] - width, region[CELL]
    for k in range(stamps.size):
        offset = np.int64(addresses[k if many else 0]) - region[FIRST]
        if offset < first or offset > last:
            return OUTSIDE, k
        if offset & (width - 1):
            return UNALIGNED, k
        start = offset + ((stamps[k] >> machine[SHIFT]) - machine[FIRST_BLOCK]) * region[STRIDE]
        at[k] = start // width
        if state.size:
            for c in range(start >> cell, (start >> cell) + max(width >> cell, 1)):
                if state[c] == GAP:
                    return FORBIDDEN, k
                if reads and region[CHECKED] and state[c] == UNWRITTEN:
                    return FRESH, k
    return OK, 0


@compiled
def _witness(
    at: Any,
    stamps: Any,
    region: Any,
    machine: Any,
    clocks: Any,
    state: Any,
    tables: Any,
    width: int,
    kind: int,
    by: int,
) -> Any:
    """Note the accesses, and look for one that they race with. Answers a code, the lane and the cell."""
    lanes, blocks = clocks
    fences, clock, shift = blocks.size > 0, machine[CLOCK], machine[SHIFT]
    cells = max(width >> region[CELL], 1)
    own = READ if kind == CONSTANT else kind
    if kind != VOLATILE:
        region[NOTED] |= 1 << own
    for k in range(at.size):
        lane = stamps[k]
        epoch, warp_epoch = epoch_of(lane, machine), warp_epoch_of(lane, machine)
        start = at[k] * width >> region[CELL]
        for c in range(start, start + cells):
            for earlier in range(3):
                if not region[NOTED] >> earlier & 1 or not RACES[kind, earlier]:
                    continue
                a = tables[earlier, c]
                before = behind_barrier(a, lane, epoch, warp_epoch, shift)
                if kind == CONSTANT:
                    before = a.epoch == 0
                elif not before and fences:
                    before = published(a, lane, epoch, machine, lanes, blocks)
                if not before:
                    return AFTER + earlier, k, c
            if kind != VOLATILE:
                a = tables[own, c]
                after = kind == WRITE or (fences and published(a, lane, epoch, machine, lanes, blocks))
                note(a, lane, epoch, warp_epoch, by, clock, shift, after)
            if state.size and kind in (WRITE, ATOMIC):
                state[c] = WRITTEN
    return OK, 0, 0


@compiled
def _count(addresses: Any, stamps: Any, banks: bool, width: int, tally: Any, scratch: Any) -> None:
    """Add an instruction's requests to its tally, and the 32-byte sectors or the bank-conflict ways of each.

    A warp makes one request for up to 128 bytes: each half of it one with 64-bit accesses, each quarter with 128-bit
    ones. Ways are how often the busiest of the 32 banks (of 4 bytes) is asked for different words.
    """
    many = addresses.size > 1
    ways, seen = scratch[:32], scratch[32:].reshape(32, 64)
    half, bytes_of_a_lane = 5, width  # lanes of a request, as a power of two
    while bytes_of_a_lane > 4:
        half, bytes_of_a_lane = half - 1, bytes_of_a_lane >> 1
    before, units, found = np.int64(-1), 0, 0
    for k in range(stamps.size + 1):
        request = stamps[k] >> half if k < stamps.size else np.int64(-2)
        if request != before:
            if before >= 0:
                tally[REQUESTS] += 1
                tally[UNITS] += units
                tally[WORST] = max(tally[WORST], units)
            if k == stamps.size:
                break
            before, units, found = request, 0, 0
            if banks:
                ways[:] = 0
        tally[LANES] += 1
        address = np.int64(addresses[k if many else 0])
        if not banks:
            sector = address >> 5
            new = True
            for s in range(found - 1, -1, -1):
                if seen[0, s] == sector:
                    new = False
                    break
            if new:
                seen[0, found] = sector
                found += 1
                units = found
            continue
        for word in range(address >> 2, (address >> 2) + max(width >> 2, 1)):
            bank = word & 31
            new = True
            for s in range(ways[bank]):
                if seen[bank, s] == word:
                    new = False
                    break
            if new:
                seen[bank, ways[bank]] = word
                ways[bank] += 1
                units = max(units, ways[bank])


@compiled
def access(
    addresses: Any,
    stamps: Any,
    at: Any,
    region: Any,
    machine: Any,
    clocks: Any,
    state: Any,
    tables: Any,
    tally: Any,
    scratch: Any,
    width: int,
    kind: int,
    by: int,
) -> Any:
    """Check, count and note an access; fills `at` with where the data lie. Answers a code, the lane, and the cell."""
    code, k = _find(addresses, stamps, at, region, machine, state, width, kind not in (WRITE, STRONG))
    if code != OK:
        return code, k, 0
    _count(addresses, stamps, region[BANKS] != 0, width, tally[by], scratch)
    if region[CHECKED] == 0:
        return OK, 0, 0
    kind = ATOMIC if kind == STRONG else kind
    return _witness(at, stamps, region, machine, clocks, state, tables, width, kind, by)
