"""The special registers: who a thread is, and how large everything is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_ft.cuda.emulator.faults import Index
from tinygrad_ft.cuda.emulator.lanes import FULL_WARP, Layout

MASKS: dict[str, Callable[[Any], Any]] = {
    "lanemask_eq": lambda bit: bit,
    "lanemask_lt": lambda bit: bit - 1,
    "lanemask_le": lambda bit: 2 * bit - 1,
    "lanemask_gt": lambda bit: FULL_WARP - 2 * bit + 1,
    "lanemask_ge": lambda bit: FULL_WARP - bit + 1,
}


def special(name: str, layout: Layout, grid: Index, block: Index, dynamic: int, shared: int) -> Any:
    """What a special register holds: a number for each lane, or one for all."""
    kind, _, axis = name[1:].partition(".")
    if axis:
        return np.uint32(_of_axis(kind, "xyz".index(axis), layout, grid, block))
    lane = layout.thread % 32
    if kind in MASKS:
        return MASKS[kind](np.int64(1) << lane).astype(np.uint32)
    found: dict[str, Any] = {
        "laneid": lane,
        "warpid": layout.thread // 32,
        "nwarpid": layout.warps_of_block,
        "dynamic_smem_size": dynamic,
        "total_smem_size": shared,
    }
    return np.uint32(found[kind])


def _of_axis(kind: str, axis: int, layout: Layout, grid: Index, block: Index) -> Any:
    if kind in ("ntid", "nctaid"):
        return (block if kind == "ntid" else grid)[axis]
    sizes = block if kind == "tid" else grid
    value = layout.thread if kind == "tid" else layout.block + layout.first_block
    for size in sizes[:axis]:
        value = value // size
    value = value % sizes[axis]
    return value[0] if kind == "ctaid" and layout.blocks == 1 else value
