"""An eager call of a kernel: the shares of its work, done here and now, by several threads where that pays."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np

from tinygrad_ft.dispatch import Share
from tinygrad_ft.kernels.cpu.blas import single_threaded
from tinygrad_ft.threads import pool, usable_threads

WORTH_THREADS = 4 << 20  # bytes of arguments: about 1 ms of work, ten times what it takes to wake a thread
PARTS = 8  # for each thread: one that is held up by other programs then leaves more to the others


def done(y: Any, shares: Callable[..., list[Share]], *arrays: Any, **params: Any) -> Any:
    """y, after all the work that writes it was done."""
    for share in shares(y, *arrays, **params):
        if share.items < 2 or _bytes(share.arguments) * share.weight < WORTH_THREADS or not _together(share):
            share.loop(*share.arguments, 0, share.items)
    return y


def _bytes(arguments: tuple[Any, ...]) -> int:
    return sum([a.nbytes for a in arguments if type(a) is np.ndarray])


def _together(share: Share) -> bool:
    """Do a share with several threads, each taking the next part until none is left; False if they are busy."""
    loop, items, arguments, _ = share
    threads = usable_threads()
    parts = min(items, PARTS * threads)
    if threads == 1:
        return False
    loop(*arguments, 0, 0)  # compiled, if it is to be, before several threads ask for it
    taken = count()

    def work() -> None:
        for i in iter(taken.__next__, None):
            if i >= parts:
                return
            loop(*arguments, items * i // parts, items * (i + 1) // parts)

    with single_threaded():
        return pool.work_off([work] * threads)
