"""A step of Adam or AdamW on a GPU in one launch.

Replaces: ops.update.adam_update. Moves 28 bytes an element (reads p, g, m, v; writes p, m, v), where an array operation
at a time moves about 110. What follows from the count of steps is computed on the host, which holds it, in float64.
Applies: contiguous float32 of fewer than 2^31 elements; a rate and a count of steps that the host knows.
"""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np

from tinygrad_ft.cuda.compile import cuda, kernel, uint32
from tinygrad_ft.device import at_hand
from tinygrad_ft.kernels.cuda.grid import over, plain
from tinygrad_ft.ops.update import adam_update


@kernel(version="fused", moves="reads p, g, m and v, writes p, m and v: 28 bytes an element", why="one pass")
def adam_step(
    p: Any, g: Any, m: Any, v: Any, decay: Any, part1: Any, keep2: Any, part2: Any, shrink: Any, rate: Any, tiny: Any
) -> None:
    """m += part1 (d - m), v = keep2 v + part2 d^2, p = shrink p - rate m / (sqrt(v) + tiny), with d = g + decay p."""
    i = uint32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
    step = uint32(cuda.blockDim.x * cuda.gridDim.x)
    n = uint32(p.size)
    while i < n:
        x = p[i]
        d = g[i] + decay * x
        mean = m[i] + part1 * (d - m[i])
        square = keep2 * v[i] + part2 * (d * d)
        m[i] = mean
        v[i] = square
        p[i] = shrink * x - rate * (mean / (sqrt(square) + tiny))
        i = uint32(i + step)


def _applies(p: Any, g: Any, m: Any, v: Any, lr: Any, step: Any, **params: Any) -> bool:
    return plain(p, g, m, v) and at_hand(lr) and at_hand(step)


@adam_update.kernel("cuda", when=_applies)
def fused(
    xp: Any, p: Any, g: Any, m: Any, v: Any, lr: Any, step: Any,
    *, beta1: float, beta2: float, eps: float, weight_decay: float, decoupled: bool,
) -> Any:  # fmt: skip
    """p, m and v in one pass; advances step."""
    step += 1
    lr, t = float(lr), int(step)
    root = sqrt(1.0 - beta2**t)  # sqrt(vhat) = sqrt(v) / root, which eps and the rate take on
    shrinking, decay = (weight_decay, 0.0) if decoupled else (0.0, weight_decay)
    numbers = decay, 1.0 - beta1, beta2, 1.0 - beta2, 1.0 - lr * shrinking, lr * root / (1.0 - beta1**t), eps * root
    over(p.size, adam_step, *(a.reshape(-1) for a in (p, g, m, v)), *map(np.float32, numbers))
    return p
