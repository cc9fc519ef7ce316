"""Matrix products on the CPU, shared out by rows of the result, by its columns, or by the products of a batch.

Replaces nothing in an eager call, where NumPy hands the same work to the same BLAS; a recorded step needs it in shares.
There are as many items as threads, for BLAS rearranges its operands for each.
Applies: float32 or float64 whose matrices or their transposes have contiguous rows, where NumPy brings OpenBLAS.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from tinygrad_ft.dispatch import Share
from tinygrad_ft.kernels.cpu.blas import PLAIN, TRANSPOSED, address, gemm
from tinygrad_ft.kernels.cpu.copy import into_contiguous
from tinygrad_ft.kernels.cpu.mostly_zero import add_nonzero, mostly_zero
from tinygrad_ft.kernels.cpu.vector import alike, compiled, inlined
from tinygrad_ft.ops.linalg import linear, matmul
from tinygrad_ft.threads import usable_threads

UNIT = 16  # rows or columns of a piece: a multiple of what OpenBLAS takes at a time
WORTH_PIECES = 1 << 18  # multiply-adds of a product, or there are fewer rows than it takes to share them out


@inlined
def turned(ta: int, tb: int, rows: int, columns: int) -> bool:
    """Whether the result is computed as its transpose: 0.7 of the time, for OpenBLAS is slow to turn b."""
    return ta == PLAIN and tb == TRANSPOSED and 4 * rows <= columns


@compiled
def matmul_parts(
    function: int, a: Any, b: Any, bias: Any, c: Any, ta: int, tb: int, rows: int, columns: int, depth: int, lda: int,
    ldb: int, grain: int, parts: int, inner: int, a1: int, a2: int, b1: int, b2: int, start: int, end: int,
) -> None:  # fmt: skip
    """c = op(a) op(b) + bias for the items start to end, each so many rows or columns (`grain`) of a product.

    An item is always done by itself: how OpenBLAS adds up depends on how large a product it is given.

    All arrays are given as the memory from their first to their last element; bias may be empty. A product of the batch
    has `parts` items; the one in place i, j, with j below `inner`, begins i a1 + j a2 elements into a and i b1 + j b2
    into b, and those of c lie end to end. Where a is mostly 0 in an item, as the gradient of a maximum is, only what is
    not 0 is multiplied, as if 0 times infinity were 0.
    """
    one, zero, size = c.dtype.type(1), c.dtype.type(0), c.itemsize
    for item in range(start, end):
        i, j, part = item // parts // inner, item // parts % inner, item % parts
        down, across = (lda, 1) if ta == PLAIN else (1, lda)
        top, left, bottom, right = 0, 0, rows, columns
        if rows >= columns:
            top, bottom = part * grain, min((part + 1) * grain, rows)
        else:
            left, right = part * grain, min((part + 1) * grain, columns)
        at_a = i * a1 + j * a2 + top * down
        at_b = i * b1 + j * b2 + left * (1 if tb == PLAIN else ldb)
        at_c = ((i * inner + j) * rows + top) * columns + left
        from_a, from_b = a.ctypes.data + at_a * size, b.ctypes.data + at_b * size
        n, m = bottom - top, right - left
        stretch = bias[left:right]
        if tb == PLAIN and mostly_zero(a, at_a, across, down, n, depth):
            for row in range(n):
                out = c[at_c + row * columns : at_c + row * columns + m]
                if bias.size > 0:
                    out[:] = stretch
                else:
                    out[:] = zero
            add_nonzero(a, at_a, across, down, b, at_b, ldb, c, at_c, columns, n, m, depth)
        elif turned(ta, tb, rows, columns):
            y = np.empty((m, n), c.dtype)
            gemm(
                function, np.int32(PLAIN), np.int32(TRANSPOSED), m, n, depth, one, from_b, ldb, from_a, lda, zero,
                y.ctypes.data, n,
            )  # fmt: skip
            for row in range(n):
                out = c[at_c + row * columns : at_c + row * columns + m]
                if bias.size > 0:
                    for k in range(m):
                        out[k] = y[k, row] + stretch[k]
                else:
                    for k in range(m):
                        out[k] = y[k, row]
        else:
            if bias.size > 0:  # BLAS adds to what is there in the time in which it would write zeros first
                for row in range(n):
                    c[at_c + row * columns : at_c + row * columns + m] = stretch
            gemm(
                function, np.int32(ta), np.int32(tb), n, m, depth, one, from_a, lda, from_b, ldb,
                one if bias.size > 0 else zero, c.ctypes.data + at_c * size, columns,
            )  # fmt: skip


class Matrix(NamedTuple):
    """How BLAS reads the last two axes of an array, and the axes before them."""

    form: int
    leading: int
    batch: tuple[int, ...]  # strides, in elements as `leading`


def _matrix(x: Any) -> Matrix | None:
    """None for a layout that BLAS cannot read."""
    steps = [s // x.itemsize for s in x.strides]
    if any(s < 0 or s % x.itemsize for s in x.strides):
        return None
    (n, m), (down, across) = x.shape[-2:], steps[-2:]
    if (m == 1 or across == 1) and (n == 1 or down >= m):
        return Matrix(PLAIN, down if n > 1 else m, tuple(steps[:-2]))
    if (n == 1 or down == 1) and (m == 1 or across >= n):
        return Matrix(TRANSPOSED, across if m > 1 else n, tuple(steps[:-2]))
    return None


def memory(x: Any) -> Any:
    """What x covers from its first to its last element, as one row; its strides are not negative."""
    extent = sum((n - 1) * s for n, s in zip(x.shape, x.strides, strict=True)) // x.itemsize + 1
    return as_strided(x, (extent,), (x.itemsize,))


def _plan(a: Any, b: Any) -> tuple[Any, ...] | None:
    """The arguments of `matmul_parts` after `c`, and how many items there are; None for what it cannot do."""
    known = all(isinstance(x, np.ndarray) and x.ndim and x.size and x.dtype == a.dtype for x in (a, b))
    if not known or not address(a.dtype):
        return None
    a, b = a[None] if a.ndim == 1 else a, b[:, None] if b.ndim == 1 else b
    if a.shape[-1] != b.shape[-2]:
        return None
    try:
        shape = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        return None
    (rows, depth), columns = a.shape[-2:], b.shape[-1]
    of_a, of_b = (_matrix(np.broadcast_to(x, (*shape, *x.shape[-2:]))) for x in (a, b))
    if of_a is None or of_b is None:
        return None
    batch = _fewest([axis for axis in zip(shape, of_a.batch, of_b.batch, strict=True) if axis[0] > 1])
    if batch and of_a.form == PLAIN and batch[-1][1:] == (rows * of_a.leading, 0):  # one b for all: more rows of a
        rows *= batch.pop()[0]
    if len(batch) > 2:
        return None
    (outer, a1, b1), (inner, a2, b2) = ([(1, 0, 0)] * 2 + batch)[-2:]
    longer, work = max(rows, columns), rows * columns * depth * outer * inner
    pieces = 1 if work < WORTH_PIECES or outer * inner >= 4 * usable_threads() else usable_threads()
    grain = -(-longer // pieces // UNIT) * UNIT
    parts = -(-longer // grain)
    sizes = of_a.form, of_b.form, rows, columns, depth, of_a.leading, of_b.leading
    return (*sizes, grain, parts, inner, a1, a2, b1, b2), outer * inner * parts


def _fewest(axes: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Axes (length, stride, stride) of a batch, those that follow each other in both arrays joined."""
    found: list[tuple[int, int, int]] = []
    for n, p, q in axes:
        if found and found[-1][1:] == (n * p, n * q):
            n *= found.pop()[0]
        found.append((n, p, q))
    return found


def _shares(y: Any, a: Any, b: Any, bias: Any) -> list[Share]:
    plan = _plan(a, b)
    assert plan is not None
    arrays = (memory(a), memory(b), bias, y.reshape(-1))
    return [Share(matmul_parts, plan[1], (address(a.dtype), *arrays, *plan[0]))]


@matmul.shares("cpu", when=lambda a, b: _plan(a, b) is not None)
@into_contiguous
def matmul_shares(y: Any, a: Any, b: Any) -> list[Share]:
    """Rows or columns, whichever are more, of the products of a batch one after the other."""
    return _shares(y, a, b, np.empty(0, y.dtype))


def _linear_applies(x: Any, weight: Any, bias: Any) -> bool:
    fits = bias is None or (alike(bias) and bias.dtype == x.dtype and bias.shape == weight.shape[:1])
    return fits and weight.ndim == 2 and _plan(x, weight.T) is not None


@linear.shares("cpu", when=_linear_applies)
@into_contiguous
def linear_shares(y: Any, x: Any, weight: Any, bias: Any) -> list[Share]:
    """As those of the product, each with its stretch of the bias."""
    return _shares(y, x, weight.T, np.empty(0, y.dtype) if bias is None else bias)
