"""Matrix products on a GPU by our own kernels, for what takes a batch, broadcasts, or lies transposed.

On `cuda` they run by choice only, as in `use_kernels(matmul="register")`: CuPy calls cuBLAS, which has more tricks. On
the emulator they are what runs: "register" from 48 rows and columns on, "tiled" below.
Replaces: ops.linalg.matmul. Sums are float32 for float16 too; a bias is where they start.
Applies: both operands float32 or both float16, each of at most 2^29 elements, with no negative stride; a batch of at
most two axes, once those that follow each other in memory are joined.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np

from tinygrad_ft.cuda.compile import Kernel
from tinygrad_ft.cuda.launch import launch
from tinygrad_ft.kernels.cuda.matmul_register import THREADS, matmul_register_64, matmul_register_128
from tinygrad_ft.kernels.cuda.matmul_tiled import EDGE, matmul_naive, matmul_tiled
from tinygrad_ft.ops.linalg import matmul

LARGEST = 1 << 29  # elements, so that four times a length still is a positive number of 32 bits
MOST_BLOCKS = 65535  # along the second and third axis of a grid
WORTH_REGISTERS = 48  # rows and columns; measured on the emulator, where below it most lanes of a tile compute nothing


class Product(NamedTuple):
    """A batch of products as the kernels take it, all strides in elements.

    A matrix of a begins i a_outer + j a_inner elements into its memory, where j counts to `inner` and i to `outer`.
    """

    rows: int
    columns: int
    depth: int
    a_row: int
    a_depth: int
    b_column: int
    b_depth: int
    outer: int
    inner: int
    a_outer: int
    a_inner: int
    b_outer: int
    b_inner: int
    shape: tuple[int, ...]  # of the answer

    def numbers(self) -> list[np.int32]:
        """What the kernels are given beside the arrays, in their order."""
        lengths = (self.rows, self.columns, self.depth, self.a_row, self.a_depth, self.b_column, self.b_depth)
        places = (self.inner, self.a_outer, self.a_inner, self.b_outer, self.b_inner)
        return [np.int32(n) for n in lengths + places]


def product(a: Any, b: Any) -> Product | None:
    """How the kernels compute a b; None for what they do not take, and for what has nothing to compute."""
    usual = all(getattr(x, "ndim", 0) and 0 < x.size <= LARGEST for x in (a, b))
    if not usual or a.dtype != b.dtype or a.dtype not in (np.float32, np.float16):
        return None
    of_a, of_b = _strides(a), _strides(b)
    if of_a is None or of_b is None or a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0]:
        return None
    try:
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        return None
    shape = (*batch, *a.shape[-2:-1], *b.shape[-1:][: b.ndim - 1])
    depth, a_depth = a.shape[-1], of_a[-1]
    rows, a_row = (a.shape[-2], of_a[-2]) if a.ndim > 1 else (1, 0)
    columns, b_column = (b.shape[-1], of_b[-1]) if b.ndim > 1 else (1, 0)
    b_depth = of_b[-2] if b.ndim > 1 else of_b[0]
    axes = _joined([*zip(batch, _broadcast(a, of_a, batch), _broadcast(b, of_b, batch), strict=True)])
    if axes and axes[-1][2] == 0 and (rows == 1 or axes[-1][1] == rows * a_row):  # one b for all: more rows of a
        n, step, _ = axes.pop()
        rows, a_row = n * rows, step if rows == 1 else a_row
    if len(axes) > 2:
        return None
    (outer, a_outer, b_outer), (inner, a_inner, b_inner) = ([(1, 0, 0)] * 2 + axes)[-2:]
    blocks = -(-rows // 8), outer * inner  # 8 is what the smallest block takes
    if max(blocks) > MOST_BLOCKS or rows * columns * outer * inner > LARGEST:
        return None
    a_row, a_depth = _told_apart(rows, a_row, depth, a_depth)
    b_column, b_depth = _told_apart(columns, b_column, depth, b_depth)
    return Product(
        rows, columns, depth, a_row, a_depth, b_column, b_depth, outer, inner, a_outer, a_inner, b_outer, b_inner, shape
    )


def _strides(x: Any) -> list[int] | None:
    """Strides in elements; None if one is negative or no whole number. An axis of one element has none."""
    if any(s < 0 or s % x.itemsize for s in x.strides):
        return None
    return [s // x.itemsize if n > 1 else 0 for n, s in zip(x.shape, x.strides, strict=True)]


def _broadcast(x: Any, strides: list[int], batch: tuple[int, ...]) -> list[int]:
    """The strides of the axes of the batch: 0 for those that x has not."""
    own = strides[:-2]
    return [0] * (len(batch) - len(own)) + own


def _told_apart(edges: int, by_edge: int, depth: int, by_depth: int) -> tuple[int, int]:
    """The two strides of a matrix, where an axis of one element gets the larger one, a multiple of four.

    The kernels look for neighbours along the smaller one, and for fours of them where the other is such a multiple.
    """
    if edges == 1:
        return -(-depth * by_depth // 4) * 4 + 4, by_depth
    return by_edge, by_depth if depth > 1 else -(-edges * by_edge // 4) * 4 + 4


def _joined(axes: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Axes (length, stride, stride) without those of length 1, those that follow each other in both arrays joined."""
    found: list[tuple[int, int, int]] = []
    for n, p, q in axes:
        if found and found[-1][1:] == (n * p, n * q):
            n *= found.pop()[0]
        if n > 1:
            found.append((n, p, q))
    return found


def memory(xp: Any, x: Any) -> Any:
    """What x covers from its first to its last element, as one row; no copy."""
    if x.ndim == 1 and x.flags.c_contiguous:
        return x
    extent = sum((n - 1) * s for n, s in zip(x.shape, x.strides, strict=True)) // x.itemsize + 1
    return xp.lib.stride_tricks.as_strided(x, (extent,), (x.itemsize,))


def by_number(xp: Any, a: Any, b: Any, bias: Any = None) -> Any:
    """a b + bias, a thread a number."""
    return _launched(matmul_naive, (32, 8), 32, 8, xp, a, b, bias)


def by_tile(xp: Any, a: Any, b: Any, bias: Any = None) -> Any:
    """a b + bias, a block a tile of 16 x 16."""
    return _launched(matmul_tiled, EDGE * EDGE, EDGE, EDGE, xp, a, b, bias)


def by_registers(xp: Any, a: Any, b: Any, bias: Any = None) -> Any:
    """a b + bias, a thread a square."""
    if at_least(128, a, b):
        return _launched(matmul_register_128, THREADS, 128, 128, xp, a, b, bias)
    return _launched(matmul_register_64, THREADS, 64, 64, xp, a, b, bias)


def _launched(
    kernel: Kernel, block: int | tuple[int, int], across: int, down: int, xp: Any, a: Any, b: Any, bias: Any
) -> Any:
    """The answer of a kernel whose blocks compute so many columns and rows."""
    p = product(a, b)
    assert p is not None, "the kernel's `when` has let through what it does not take"
    c = xp.empty(p.shape, a.dtype)
    row = c.reshape(-1)
    grid = -(-p.columns // across), -(-p.rows // down), p.outer * p.inner
    operands = memory(xp, a), memory(xp, b), row if bias is None else bias, row
    launch(kernel, grid, block, *operands, *p.numbers(), bias is not None)
    return c


def takes(a: Any, b: Any) -> bool:
    """Whether the kernels compute a b."""
    return product(a, b) is not None


def at_least(edge: int, a: Any, b: Any) -> bool:
    """Whether the kernels compute a b, and it has so many rows and columns."""
    p = product(a, b)
    return p is not None and min(p.rows, p.columns) >= edge


@matmul.kernel("cuda", when=takes, by_choice=True)
def naive(xp: Any, a: Any, b: Any) -> Any:
    """A thread a number."""
    return by_number(xp, a, b)


@matmul.kernel("emulator", when=takes)
@matmul.kernel("cuda", when=takes, by_choice=True)
def tiled(xp: Any, a: Any, b: Any) -> Any:
    """A block a tile, by way of shared memory."""
    return by_tile(xp, a, b)


@matmul.kernel("emulator", when=partial(at_least, WORTH_REGISTERS))
@matmul.kernel("cuda", when=takes, by_choice=True)
def register(xp: Any, a: Any, b: Any) -> Any:
    """A thread a square of numbers, in its registers."""
    return by_registers(xp, a, b)
