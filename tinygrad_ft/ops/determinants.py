"""Determinants, pseudo-inverses and powers of the matrices in the last two axes."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ft.device import at_hand
from tinygrad_ft.engine import Array, op
from tinygrad_ft.ops.arithmetic import maximum
from tinygrad_ft.ops.arrange import tril, triu
from tinygrad_ft.ops.comparison import where
from tinygrad_ft.ops.composed import composed
from tinygrad_ft.ops.decompositions import identity, inv, mirrored, of_matrices, singular
from tinygrad_ft.ops.linalg import matmul
from tinygrad_ft.ops.shape import reshape, transpose, unsqueeze

__all__ = ["det", "matrix_power", "slogdet"]


@op
@of_matrices()
def slogdet(xp: Any, x: Array) -> tuple[Array, Array]:
    """(sign, log |det x|): what does not overflow where the determinant does."""
    sign, log = xp.linalg.slogdet(x)
    return xp.asarray(sign), xp.asarray(log)


@slogdet.vjp
def slogdet_vjp(gs: list[Array | None], x: Array) -> Array:
    """d log |det x| = sum(x^-T dx); the sign is flat."""
    return None if gs[1] is None else reshape(gs[1], (*gs[1].shape, 1, 1)) * transpose(inv(x))


@op
@of_matrices()
def det(xp: Any, x: Array) -> Array:
    """y = the determinant."""
    return xp.asarray(xp.linalg.det(x))


@det.vjp
def det_vjp(g: Array, x: Array, y: Array) -> Array:
    """dy = sum(cofactors dx), the cofactors being y x^-T; where y = 0, they come of the singular values."""
    values: Any = getattr(y, "array", y)
    if at_hand(values) and (values != 0).all():
        return reshape(g * y, (*y.shape, 1, 1)) * transpose(inv(x))
    return reshape(g, (*y.shape, 1, 1)) * _cofactors(x)


def _cofactors(x: Array) -> Array:
    """u diag(c) v^T det(u v^T), c_i being the product of all singular values but s_i."""
    u, s, vt = singular(x)
    n = s.shape[-1]
    left = where(identity(s) == 1, 1.0, unsqueeze(s, -2))
    c = left[..., 0]
    for i in range(1, n):
        c = c * left[..., i]
    c = c * unsqueeze(det(matmul(u, vt)), -1)
    return matmul(u * unsqueeze(c, -2), vt)


@op
@of_matrices(square=False)
def pseudo_inverse(xp: Any, x: Array, *, rtol: Any) -> Array:
    """The pinv of x: singular values up to rtol times the largest count as 0."""
    return xp.linalg.pinv(x, rcond=rtol)


@pseudo_inverse.vjp
def pseudo_inverse_vjp(g: Array, x: Array, y: Array) -> Array:
    """dy = -y dx y + y y^T dx^T (1 - x y) + (1 - y x) dx^T y^T y, as long as the rank stays.

    Source: Golub and Pereyra, "The differentiation of pseudo-inverses", 1973, eq. 4.12.
    """
    gt, yt = transpose(g), transpose(y)
    from_left, from_right = matmul(matmul(gt, y), yt), matmul(yt, matmul(y, gt))
    gx = from_left - matmul(x, matmul(y, from_left)) + from_right - matmul(matmul(from_right, y), x)
    return gx - matmul(matmul(yt, g), yt)


@composed
def pinv(A: Array, rtol: Any = None, *, atol: Any = None, hermitian: bool = False) -> Array:
    """The pseudo-inverse: it maps what A reaches back, and all else to 0.

    Args:
        rtol: singular values up to rtol times the largest count as 0; max(n, m) times the precision unless told.
        atol: singular values up to atol count as 0 too; given alone, rtol is 0.
        hermitian: whether A is symmetric; then its lower triangle alone is read.
    """
    A = mirrored(A) if hermitian else A
    if atol is not None and min(A.shape[-2:]):
        largest = singular(A)[1][..., 0]
        rtol = maximum(
            0.0 if rtol is None else rtol, where(largest == 0, 0.0, atol) / where(largest == 0, 1.0, largest)
        )
    elif rtol is None:
        rtol = max(A.shape[-2:]) * float(np.finfo(A.dtype if A.dtype.kind == "f" else np.float32).eps)
    return pseudo_inverse(A, rtol=getattr(rtol, "array", rtol))


@composed
def matrix_power(A: Array, n: int) -> Array:
    """A times itself n times, by repeated squaring; the inverse so often if n is negative, the identity if n is 0."""
    if A.ndim < 2 or A.shape[-1] != A.shape[-2]:
        raise ValueError(f"matrix_power needs square matrices (..., n, n): got {tuple(A.shape)}")
    if n == 0:
        return identity(A) + tril(triu(A, 1))  # zeros with a derivative of 0, also where A is infinite
    square, n = (inv(A), -n) if n < 0 else (A, n)
    y = None
    while n:
        y = y if n % 2 == 0 else square if y is None else matmul(y, square)
        n //= 2
        square = matmul(square, square) if n else square
    return y
