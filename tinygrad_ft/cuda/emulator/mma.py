"""mma.sync: a warp multiplies two small matrices and adds a third, each spread over its lanes.

Products are exact, sums in float64, rounded once; a tensor core keeps fewer bits on the way.

Source: PTX ISA, "Warp Level Matrix Multiply-Accumulate Instructions", the fragments of m16n8k8 and m16n8k16.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ft.cuda.emulator.decode import Decoder, maker
from tinygrad_ft.cuda.emulator.faults import ABSENT
from tinygrad_ft.cuda.emulator.operands import F32, TYPES, U32
from tinygrad_ft.cuda.emulator.rules import Words
from tinygrad_ft.cuda.emulator.text import Instruction
from tinygrad_ft.cuda.emulator.transfer import items

LANE = np.arange(32)
ROW, COLUMN = LANE >> 2, LANE & 3
TF32_BITS = np.uint32(0xFFFF_E000)  # the hardware ignores the others


def _numbers(kind: str, x: Any) -> Any:
    """The numbers in registers of 32 bits, side by side along a last axis, as float64."""
    if kind == "tf32":
        return (x & TF32_BITS).view(np.float32).astype(np.float64)[..., None]
    halves = np.stack([x & np.uint32(0xFFFF), x >> np.uint32(16)], axis=-1)
    if kind == "bf16":
        return (halves.astype(np.uint32) << np.uint32(16)).view(np.float32).astype(np.float64)
    return halves.astype(np.uint16).view(np.float16).astype(np.float64)


def _tile(lanes: Any, x: Any) -> Any:
    return lanes.spread(x).reshape(-1, 32)


@maker("mma")
def mma(d: Decoder, i: Instruction) -> None:
    """D = A B + C for m16n8k8 of tf32, m16n8k8 and m16n8k16 of f16 and bf16, summed in f32."""
    words = Words(i)
    words.need("sync")
    words.need("aligned")
    shape = words.need("m16n8k4", "m16n8k8", "m16n8k16")
    words.need("row")
    words.need("col")
    c_type = words.type("tf32", "bf16")
    b_type = words.type("tf32", "bf16")
    a_type = words.type("tf32", "bf16")
    d_type = words.type("tf32", "bf16")
    words.done()
    kind, k = a_type.name, int(shape[6:])
    if (c_type, d_type, b_type) != (F32, F32, a_type) or kind not in ("tf32", "f16", "bf16"):
        raise words.unknown("these types")
    a_regs, b_regs = ([d.source(r, U32) for r in items(i.operands[n])] for n in (1, 2))
    c_regs = [d.source(r, TYPES["f32"]) for r in items(i.operands[3])]
    d_regs = [d.target(r, F32) for r in items(i.operands[0])]
    each = 1 if kind == "tf32" else 2
    if len(a_regs) * each * 32 != 16 * k or len(b_regs) * each * 32 != 8 * k or len(c_regs) != 4:
        raise words.unknown("these registers")
    number = d.number

    def step(R: list[Any], m: Any) -> None:
        lanes = m.lanes
        present = lanes.present[lanes.warp]
        if (present != 0xFFFF_FFFF).any():
            k_bad = int((present != 0xFFFF_FFFF).argmax())
            raise m.fault(ABSENT, number, k_bad, "mma.sync needs all 32 lanes of a warp")
        warps = lanes.layout.width // 32
        a, b, c = np.zeros((warps, 16, k)), np.zeros((warps, k, 8)), np.zeros((warps, 16, 8))
        for n, slot in enumerate(a_regs):
            values = _numbers(kind, _tile(lanes, R[slot]))
            for h in range(each):
                a[:, ROW + 8 * (n & 1), each * COLUMN + h + 4 * each * (n >> 1)] = values[..., h]
        for n, slot in enumerate(b_regs):
            values = _numbers(kind, _tile(lanes, R[slot]))
            for h in range(each):
                b[:, each * COLUMN + h + 4 * each * n, ROW] = values[..., h]
        for n, slot in enumerate(c_regs):
            c[:, ROW + 8 * (n >> 1), 2 * COLUMN + (n & 1)] = _tile(lanes, R[slot])
        result = (a @ b + c).astype(np.float32)
        for n, (slot, finish) in enumerate(d_regs):
            x = result[:, ROW + 8 * (n >> 1), 2 * COLUMN + (n & 1)].reshape(-1)[lanes.padded]
            R[slot] = x if finish is None else finish(x)

    d.emit(step)
