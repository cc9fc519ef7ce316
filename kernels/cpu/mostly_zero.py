"""Products of a matrix that is mostly 0, as the gradient of a maximum is: only what is not 0 is multiplied.

The text CNN's convolution gets a cotangent of which 0.2 % is not 0; this took 0.4 to 0.5 of the time of BLAS
there, and what is left is reading the zeros. Part of the product in `matmul.py`, which asks for each of its pieces.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ft.kernels.cpu.vector import compiled, inlined

STRETCH, EIGHT = 128, 8  # elements of a row, or rows, that are looked at together
LOOKED_AT, FEW = 128, 4  # about so many elements of a piece are looked at, of which so many may be other than 0


@compiled
def mostly_zero(a: Any, at: int, across: int, down: int, n: int, m: int) -> bool:
    """Whether a sample of n rows of m elements of a is nearly all 0; what is not so is left after a few looks.

    Element i, k lies i down + k across after the place `at`.
    """
    if n * m < 8 * LOOKED_AT:
        return False
    found, far, step = 0, max(n // 16, 1) | 1, max(16 * m // LOOKED_AT, 1) | 1
    for i in range(0, n, far):
        for k in range(i // far * 7 % step, m, step):  # other places in each row
            found += a[at + i * down + k * across] != 0
            if found > FEW:
                return False
    return True


@compiled
def add_nonzero(
    a: Any, at: int, across: int, down: int, b: Any, at_b: int, ldb: int, c: Any, at_c: int, columns: int, n: int,
    m: int, depth: int,
) -> None:  # fmt: skip
    """c += a b, for n rows of a and m columns of b, passing over what is 0 in a; its elements lie as in mostly_zero.

    What is contiguous in a is looked at in stretches of a row, or in rows of eight columns of the item.
    """
    if across == 1:
        for i in range(n):
            for first in range(0, depth, STRETCH):
                last, start = min(first + STRETCH, depth), np.uint64(at + i * down)
                if any_nonzero(a, start + np.uint64(first), np.uint64(last - first)):
                    for k in range(first, last):
                        factor = a[start + np.uint64(k)]
                        if factor != 0:
                            add_row(factor, b, at_b + k * ldb, c, at_c + i * columns, m)
    else:
        for first in range(0, depth, EIGHT):
            last, start = min(first + EIGHT, depth), np.uint64(at + first * across)
            if last - first < EIGHT or any_of_eight(a, start, np.uint64(across), np.uint64(n)):
                for k in range(first, last):
                    for i in range(n):
                        factor = a[start + np.uint64(i)]
                        if factor != 0:
                            add_row(factor, b, at_b + k * ldb, c, at_c + i * columns, m)
                    start += np.uint64(across)


@inlined
def any_nonzero(a: Any, at: Any, n: Any) -> Any:
    """Whether one of n neighbours is not 0. Indices are without a sign here: none may count from the end."""
    found = np.int32(0)
    for j in range(n):
        found |= np.int32(a[at + j] != 0)
    return found != 0


@inlined
def any_of_eight(a: Any, at: Any, apart: Any, n: Any) -> Any:
    """The same for eight rows of n neighbours."""
    found = np.int32(0)
    for j in range(n):
        i = at + j
        k = i + np.uint64(4) * apart
        p = (a[i] != 0) | (a[i + apart] != 0) | (a[i + np.uint64(2) * apart] != 0) | (a[i + np.uint64(3) * apart] != 0)
        q = (a[k] != 0) | (a[k + apart] != 0) | (a[k + np.uint64(2) * apart] != 0) | (a[k + np.uint64(3) * apart] != 0)
        found |= np.int32(p | q)
    return found != 0


@compiled
def add_row(factor: Any, b: Any, at_b: int, c: Any, at_c: int, m: int) -> None:
    """c += factor b for m neighbours of each."""
    i, j = np.uint64(at_b), np.uint64(at_c)
    for k in range(np.uint64(m)):
        c[j + k] += factor * b[i + k]
