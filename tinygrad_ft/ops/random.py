"""Randomness: one generator for the process, explicit ones wherever an `rng` is passed."""

from __future__ import annotations

from math import prod
from typing import Any, TypeAlias

import numpy as np

from tinygrad_ft.chain_rule import cast
from tinygrad_ft.device import at_hand
from tinygrad_ft.engine import Array, op
from tinygrad_ft.notice import each_time
from tinygrad_ft.ops.arithmetic import mul
from tinygrad_ft.ops.comparison import ge
from tinygrad_ft.ops.composed import composed

__all__ = ["dropout", "manual_seed"]

Rng: TypeAlias = "np.random.Generator | None"  # a string: merely naming it would import numpy.random, 15 ms

_default: Rng = None


def generator(rng: Rng = None) -> np.random.Generator:
    """The generator that was passed, or the process's own if none was."""
    return rng or _default or manual_seed(0)


def manual_seed(seed: int) -> np.random.Generator:
    """Start the process's generator anew from a seed, and return it."""
    global _default
    # Philox counts instead of shuffling a state: a position in the stream can be written down, and gone back to
    _default = np.random.Generator(np.random.Philox(seed))
    return _default


@composed
def dropout(x: Array, p: float = 0.5, training: bool = True, *, rng: Rng = None) -> Array:
    """Each element of x set to 0 with chance p, the others divided by 1 - p to keep the mean; x itself in evaluation.

    Source: Srivastava et al., "Dropout", 2014, section 10 (the inverted form).
    """
    p = float(p)  # NumPy's scalars would make float64 of float32
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout needs a chance from 0 to 1: got p={p}")
    if not training or p == 0.0:
        return x
    if not at_hand(x):  # drawn where it is used
        return counted_dropout(x, each_time(lambda: int(generator(rng).integers(1 << 63))), p=p)
    shape = x.shape  # a recorded step keeps the function, which must not keep x
    drawn = each_time(lambda: generator(rng).random(shape, dtype=np.float32))
    keep = cast(ge(drawn, p), dtype=x.dtype if x.dtype.kind == "f" else np.dtype(np.float32))
    return x * mul(keep, kept_scale(p))


@op
def counted_dropout(xp: Any, x: Array, seed: Array, *, p: float) -> Array:
    """Dropout by numbers that follow from the seed and an element's place alone, so that its rule draws them again.

    Element 128 b + 32 w + l has word w of Philox's counter 32 b + l: a warp whose lanes take a counter each then reads
    neighbours four times. It is dropped if that word, of 32 bits, is below p 2^32.
    """
    n = prod(x.shape)
    words = xp.stack(philox(xp, xp.arange(-(-n // 128) * 32, dtype=np.uint64), int(seed)))
    words = words.reshape(4, -1, 32).swapaxes(0, 1).reshape(-1)[:n].reshape(x.shape)
    return xp.where(words >= threshold(p), x * kept_scale(p), xp.zeros_like(x))


@counted_dropout.vjp
def counted_dropout_vjp(g: Array, seed: Array, *, p: float) -> tuple[Any, ...]:
    """The same elements are kept, and scaled alike."""
    return counted_dropout(g, seed, p=p), None


def threshold(p: float) -> int:
    """Words of 32 bits below it are a share p of all."""
    return min(round(p * (1 << 32)), (1 << 32) - 1)


def kept_scale(p: float) -> float:
    """What is kept is divided by the chance of being kept; 0 if that is none."""
    return 1.0 / (1.0 - p) if p < 1.0 else 0.0


MULTIPLIERS, STEPS, ROUNDS, WORD = (0xD2511F53, 0xCD9E8D57), (0x9E3779B9, 0xBB67AE85), 10, (1 << 32) - 1


def philox(xp: Any, counter: Array, key: int) -> list[Array]:
    """Four words of 32 bits, in arrays of 64, for each counter below 2^64; the other half of the counter is 0.

    Source: Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", 2011, section 3.3, Philox4x32-10.
    """
    keys = [key & WORD, key >> 32]
    c = [counter & np.uint64(WORD), counter >> np.uint64(32), xp.zeros_like(counter), xp.zeros_like(counter)]
    for _ in range(ROUNDS):
        first, second = (c[i] * np.uint64(m) for i, m in zip((0, 2), MULTIPLIERS, strict=True))
        high = [
            (second >> np.uint64(32)) ^ c[1] ^ np.uint64(keys[0]),
            (first >> np.uint64(32)) ^ c[3] ^ np.uint64(keys[1]),
        ]
        c = [high[0], second & np.uint64(WORD), high[1], first & np.uint64(WORD)]
        keys = [(k + step) & WORD for k, step in zip(keys, STEPS, strict=True)]
    return c
