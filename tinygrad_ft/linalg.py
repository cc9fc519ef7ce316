"""Linear algebra under PyTorch's name for its home: `tg.linalg.inv`."""

from tinygrad_ft.ops.decompositions import (
    cholesky,
    eigh,
    inv,
    qr,
    solve,
    solve_triangular,
    svd,
    svdvals,
)
from tinygrad_ft.ops.determinants import det, matrix_power, pinv, slogdet
from tinygrad_ft.ops.distances import linalg_norm as norm
from tinygrad_ft.ops.distances import matrix_norm, vector_norm
from tinygrad_ft.ops.linalg import matmul
from tinygrad_ft.ops.products import linalg_cross as cross

__all__ = [
    "cholesky",
    "cross",
    "det",
    "eigh",
    "inv",
    "matmul",
    "matrix_norm",
    "matrix_power",
    "norm",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "solve_triangular",
    "svd",
    "svdvals",
    "vector_norm",
]
