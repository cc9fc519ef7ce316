"""How the process gets memory for arrays."""

from __future__ import annotations

from functools import cache
from typing import Any

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # glibc's names, malloc.h


@cache
def _c_library() -> Any:
    import ctypes

    try:
        return ctypes.CDLL(None)
    except (OSError, TypeError):  # Windows
        return None


@cache
def keep_freed_memory() -> bool:
    """Ask the C library to keep freed memory for reuse instead of giving it back to the system; whether it agreed.

    A training step frees and asks for the same arrays again and again. By default glibc gives back any of 128 KiB or
    more at once, and each time the system clears its pages anew: 8,500 page faults a step of the nano GPT, and about a
    quarter of its time (2 cores, Linux, November 2026). What is freed then counts as the process's own until it ends.
    """
    mallopt = getattr(_c_library(), "mallopt", None)
    if mallopt is None:  # another C library than glibc
        return False
    return all([mallopt(M_MMAP_THRESHOLD, 32 << 20), mallopt(M_TRIM_THRESHOLD, 1 << 30)])  # 32 MiB is glibc's limit


def give_back_freed_memory() -> None:
    """Give what is free now back to the system, where the C library can: before much memory is asked for, for long."""
    trim = getattr(_c_library(), "malloc_trim", None)
    if trim is not None:
        trim(0)
