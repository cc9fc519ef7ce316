"""Is the machine quiet? What other processes take of it, and waiting until they stop, for so long and no longer."""

from __future__ import annotations

import os
from collections.abc import Callable
from time import perf_counter, process_time, sleep

LIMIT = 0.15  # of one core: what others may use while a contender is timed
WINDOW = 0.2  # seconds of looking before a burst


def busy_seconds() -> float | None:
    """The seconds that all cores together have worked since the start, or None where /proc/stat does not say."""
    try:
        with open("/proc/stat") as file:
            user, nice, system, _, _, *interrupts = file.readline().split()[1:9]
        return sum(map(int, (user, nice, system, *interrupts))) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError):
        return None


class Watch:
    """What processes other than this one use, from when it is made."""

    def __init__(self) -> None:
        self.since = perf_counter(), process_time(), busy_seconds()

    def others(self) -> float | None:
        """In cores; None where it cannot be told. Two ticks are let pass: both counters move by whole ticks."""
        started, own, busy = self.since
        now = busy_seconds()
        if now is None or busy is None:
            return None
        theirs = now - busy - (process_time() - own) - 2 / os.sysconf("SC_CLK_TCK")
        return max(0.0, theirs / (perf_counter() - started))


class Patience:
    """How long is waited in all for a quiet machine, and how often in vain."""

    def __init__(self, seconds: float) -> None:
        self.left = seconds
        self.discarded = 0

    def burst(self, take: Callable[[], tuple[float, float | None]]) -> tuple[float, float | None]:
        """take()'s answer, (a figure, what others used meanwhile), once that was little or patience is at an end."""
        while True:
            started = perf_counter()
            self._wait()
            figure, others = take()
            if others is None or others <= LIMIT or self.left <= 0:
                return figure, others
            self.discarded += 1
            self.left -= perf_counter() - started

    def _wait(self) -> None:
        """Look until others use little; what is spent after the first look is taken from what is left."""
        while True:
            watch = Watch()
            sleep(WINDOW)
            others = watch.others()
            if others is None or others <= LIMIT or self.left <= 0:
                return
            self.left -= WINDOW
