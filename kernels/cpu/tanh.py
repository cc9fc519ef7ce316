"""How tanh passes a cotangent on, on the CPU, in one pass.

Replaces: ops.functions.tanh_grad. Moves 12 bytes an element in float32, where NumPy's three passes move 28: 0.4 to 0.7
of the time. Forward is left to NumPy, whose loop for float32 takes 0.8 of the time of ours; to share that out among two
threads saved nothing below two million elements, and cost a tenth where they had not the processor to themselves.
Applies: contiguous float32 or float64; a cotangent in any layout, copied if it is neither contiguous nor one number.
Recorded steps fuse the text of the rule instead.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ft.dispatch import Share
from tinygrad_ft.kernels.cpu.cotangent import fits, numbers_of
from tinygrad_ft.kernels.cpu.eager import done
from tinygrad_ft.kernels.cpu.vector import compiled
from tinygrad_ft.ops.functions import LARGE, tanh_grad


@compiled
def tanh_grad_stretch(g: Any, t: Any, y: Any, start: int, end: int) -> None:
    """y = g times the slope of tanh where it is t, for elements start to end; g may be one number for all."""
    t, y = t[start:end], y[start:end]
    one = t.dtype.type(1)
    if g.size == 1:
        by = g[0]
        for i in range(t.size):
            y[i] = by * (one - t[i] * t[i])
    else:
        g = g[start:end]
        for i in range(t.size):
            y[i] = g[i] * (one - t[i] * t[i])


def tanh_grad_shares(y: Any, g: Any, t: Any) -> list[Share]:
    """Elements."""
    return [Share(tanh_grad_stretch, t.size, (numbers_of(g), t.reshape(-1), y.reshape(-1)))]


@tanh_grad.kernel("cpu", when=fits, elements=LARGE)
def tanh_grad_one_pass(xp: Any, g: Any, t: Any) -> Any:
    """Slope and product in one pass."""
    return done(np.empty_like(t), tanh_grad_shares, g, t)
