"""How kernels that take one element a thread are launched, and which arrays they take."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ft.cuda.launch import launch

THREADS = 256
BLOCKS = 8192  # more than any card holds at once; beyond it each thread takes several elements
LARGEST = 1 << 31  # elements: indices of 32 bits cost half of what those of 64 do


def over(n: int, kernel: Any, *arguments: Any) -> None:
    """Launch a kernel for n elements."""
    launch(kernel, min(-(-n // THREADS), BLOCKS), THREADS, *arguments)


def plain(*arrays: Any) -> bool:
    """Whether they are contiguous float32 of one shape on one device, neither empty nor beyond 32 bits."""
    x = arrays[0]
    return 0 < getattr(x, "size", 0) < LARGEST and all(
        type(a) is type(x) and a.dtype == np.float32 and a.shape == x.shape and a.flags.c_contiguous for a in arrays
    )
