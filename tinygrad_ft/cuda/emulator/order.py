"""Which access of a cell comes before which: what is noted of each, and what barriers, fences and atomics order.

A barrier of the block orders what its threads do, one of a warp (or of some of its lanes) what that warp does. A fence
and an atomic behind it publish what a thread did before; a thread whose own atomic comes later sees it. A barrier ahead
of the one or behind the other extends that to all threads of the block. So are written locks, flags, and what the last
block to finish does for all.

Kept are the latest access, fence and atomic of each, which is enough for these patterns.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ft.cuda.emulator.exact import compiled

# Lanes are stamped block << shift | thread, with at least five bits for the thread, so that a warp is stamp >> 5.
ACCESS = np.dtype(
    [
        ("lane", "i8"),
        ("other", "i8"),  # an earlier lane than `lane`, if `apart`
        ("epoch", "i4"),  # barriers of its block so far, from 1; 0: never
        ("warp_epoch", "i4"),
        ("by", "i4"),  # the instruction
        ("other_by", "i4"),
        ("clock", "i4"),
        ("apart", "i4"),
    ]
)
ONE_LANE, ONE_WARP, ONE_BLOCK, BLOCKS = range(4)  # `apart`: the accesses that nothing orders were of ...

# The state of the machine that all of this needs, in an array of int64: a clock that counts blocks of code as they run,
# and the like, then how many barriers each warp had and each block, from the first that runs on.
CLOCK, SHIFT, FIRST_BLOCK, WARPS, EPOCHS = range(5)

# Clocks of a lane, and of a block as a whole: the last fence, the first atomic behind it, that atomic's fence, the last
# atomic. Of a block also: its barriers at the release, its barriers at the last atomic, and the last one before those.
FENCED, RELEASED, FENCE_OF_RELEASE, ACQUIRED = range(4)
RELEASE_EPOCH, ACQUIRE_EPOCH, ACQUIRED_EARLIER = range(4, 7)


@compiled
def warp_epoch_of(lane: int, machine: Any) -> Any:
    """How many barriers the lane's warp had."""
    return machine[EPOCHS + (lane >> 5) - (machine[FIRST_BLOCK] << machine[SHIFT] - 5)]


@compiled
def epoch_of(lane: int, machine: Any) -> Any:
    """How many barriers the lane's block had, and one."""
    return machine[EPOCHS + machine[WARPS] + (lane >> machine[SHIFT]) - machine[FIRST_BLOCK]]


@compiled
def behind_barrier(a: Any, lane: int, epoch: int, warp_epoch: int, shift: int) -> Any:
    """Whether all accesses noted in `a` come before one of `lane` now, by a barrier or as its own."""
    if a.epoch == 0:
        return True
    if a.apart == BLOCKS or (a.lane >> shift) != (lane >> shift):
        return False
    if a.epoch != epoch:
        return True
    if a.apart == ONE_BLOCK or (a.lane >> 5) != (lane >> 5):
        return False
    if a.warp_epoch != warp_epoch:
        return True
    return a.apart == ONE_LANE and a.lane == lane


@compiled
def published(a: Any, lane: int, epoch: int, machine: Any, lanes: Any, blocks: Any) -> Any:
    """Whether a fence and an atomic, and then an atomic on the side of `lane`, order them."""
    theirs, ours = a.lane >> machine[SHIFT], lane >> machine[SHIFT]
    behind_a_barrier = blocks[ACQUIRE_EPOCH, ours] < epoch
    seen = max(lanes[ACQUIRED, lane], blocks[ACQUIRED if behind_a_barrier else ACQUIRED_EARLIER, ours])
    if a.apart == ONE_LANE and a.clock < lanes[FENCE_OF_RELEASE, a.lane] and lanes[RELEASED, a.lane] <= seen:
        return True
    if a.apart == BLOCKS or theirs == ours:
        return False
    ahead_of_a_barrier = a.epoch < blocks[RELEASE_EPOCH, theirs]
    return ahead_of_a_barrier and a.clock < blocks[FENCE_OF_RELEASE, theirs] and blocks[RELEASED, theirs] <= seen


@compiled
def note(a: Any, lane: int, epoch: int, warp_epoch: int, by: int, clock: int, shift: int, after: bool) -> None:
    """Note an access of `lane` in `a`; `after`: it is known that all noted there come before it."""
    if after or a.epoch == 0:
        a.apart = ONE_LANE
    elif a.apart != BLOCKS:
        if (a.lane >> shift) != (lane >> shift):
            a.apart = BLOCKS
        elif a.epoch != epoch:
            a.apart = ONE_LANE
        elif a.apart != ONE_BLOCK:
            if (a.lane >> 5) != (lane >> 5):
                a.apart = ONE_BLOCK
            elif a.warp_epoch != warp_epoch:
                a.apart = ONE_LANE
            elif a.lane != lane:
                a.apart = ONE_WARP
    if a.lane != lane:
        a.other, a.other_by = a.lane, a.by
    a.lane, a.epoch, a.warp_epoch, a.by, a.clock = lane, epoch, warp_epoch, by, clock


@compiled
def fence(stamps: Any, machine: Any, lanes: Any, blocks: Any) -> None:
    """These lanes fence what they did."""
    machine[CLOCK] += 1
    for lane in stamps:
        lanes[FENCED, lane] = blocks[FENCED, lane >> machine[SHIFT]] = machine[CLOCK]


@compiled
def atomic(stamps: Any, machine: Any, lanes: Any, blocks: Any) -> None:
    """These lanes make an atomic: it publishes what they fenced, and shows them what others published."""
    now = machine[CLOCK]
    for lane in stamps:
        b, epoch = lane >> machine[SHIFT], epoch_of(lane, machine)
        lanes[ACQUIRED, lane] = now
        if blocks[ACQUIRE_EPOCH, b] != epoch:
            blocks[ACQUIRED_EARLIER, b], blocks[ACQUIRE_EPOCH, b] = blocks[ACQUIRED, b], epoch
        blocks[ACQUIRED, b] = now
        if lanes[FENCED, lane] != lanes[FENCE_OF_RELEASE, lane]:
            lanes[RELEASED, lane], lanes[FENCE_OF_RELEASE, lane] = now, lanes[FENCED, lane]
        if blocks[FENCED, b] != blocks[FENCE_OF_RELEASE, b] or blocks[RELEASE_EPOCH, b] != epoch:
            blocks[RELEASED, b], blocks[FENCE_OF_RELEASE, b] = now, blocks[FENCED, b]
            blocks[RELEASE_EPOCH, b] = epoch
