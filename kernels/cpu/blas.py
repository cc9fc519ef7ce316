"""The matrix product of the BLAS that NumPy brings along, called by address from inside compiled loops.

NumPy's wheels bundle OpenBLAS. Where another BLAS is built in, `address` is 0, and kernels that need it do not apply.
"""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from tinygrad_ft.kernels.cpu.vector import compiled

PLAIN, TRANSPOSED = 111, 112  # as CBLAS numbers them
ROWS_FIRST = 101
NAMES = {np.dtype(np.float32): "scipy_cblas_sgemm64_", np.dtype(np.float64): "scipy_cblas_dgemm64_"}


@cache
def _library() -> Any:
    """The bundled OpenBLAS, which importing NumPy has already loaded; None if there is none."""
    folder = Path(np.__file__).resolve().parent
    found = [*folder.parent.glob("numpy.libs/*openblas*"), *folder.glob(".dylibs/*openblas*")]
    return ctypes.CDLL(str(found[0])) if found else None


@cache
def address(dtype: Any) -> int:
    """Where the matrix product for float32 or float64 begins; 0 if NumPy has another BLAS."""
    function = getattr(_library(), NAMES.get(dtype, ""), None)
    return ctypes.cast(function, ctypes.c_void_p).value or 0 if function else 0


class single_threaded:  # a function to its users, a class because it is entered thousands of times
    """As long as this lasts, each matrix product runs on the one thread that asks for it. It holds for all threads."""

    _lock = Lock()
    _inside = 0  # how many are, in all threads
    _before = 0

    def __enter__(self) -> None:
        get, put = _thread_count()
        with self._lock:
            if not single_threaded._inside:
                single_threaded._before = get()
                put(1)
            single_threaded._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            single_threaded._inside -= 1
            if not single_threaded._inside:
                _thread_count()[1](single_threaded._before)


@cache
def _thread_count() -> tuple[Any, Any]:
    """What says how many threads OpenBLAS uses, and what sets it; with another BLAS, nothing."""
    library = _library()
    get, put = (getattr(library, f"scipy_openblas_{verb}_num_threads64_", None) for verb in ("get", "set"))
    return (get, put) if get and put else (int, int)


def _gemm(
    context: Any, function: Any, ta: Any, tb: Any, m: Any, n: Any, k: Any, alpha: Any, a: Any, lda: Any, b: Any,
    ldb: Any, beta: Any, c: Any, ldc: Any,
) -> Any:  # fmt: skip
    """c = alpha op(a) op(b) + beta c; the arrays by address, their rows lda, ldb and ldc elements apart."""
    i, p = types.int64, types.intp
    signature = types.void(p, types.int32, types.int32, i, i, i, alpha, p, i, p, i, alpha, p, i)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        i32, i64 = ir.IntType(32), ir.IntType(64)
        number, pointer = args[6].type, ir.IntType(8).as_pointer()
        kinds = [i32, i32, i32, i64, i64, i64, number, pointer, i64, pointer, i64, number, pointer, i64]
        callee = builder.inttoptr(args[0], ir.FunctionType(ir.VoidType(), kinds).as_pointer())
        values = [
            builder.inttoptr(v, pointer) if kind == pointer else v for v, kind in zip(args[1:], kinds[1:], strict=True)
        ]
        builder.call(callee, [ir.Constant(i32, ROWS_FIRST), *values])
        return context.get_dummy_value()

    return signature, generate


gemm: Any = intrinsic(_gemm)


@compiled
def product(function: Any, ta: Any, tb: Any, alpha: Any, a: Any, b: Any, beta: Any, c: Any) -> None:
    """c = alpha op(a) op(b) + beta c for matrices whose rows are contiguous; op transposes where told."""
    k = a.shape[1] if ta == PLAIN else a.shape[0]
    itemsize = c.itemsize
    gemm(
        function, np.int32(ta), np.int32(tb), c.shape[0], c.shape[1], k, alpha, a.ctypes.data, a.strides[0] // itemsize,
        b.ctypes.data, b.strides[0] // itemsize, beta, c.ctypes.data, c.strides[0] // itemsize,
    )  # fmt: skip
