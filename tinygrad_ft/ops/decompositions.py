"""Inverses, solutions and factors of the matrices in the last two axes.

Sources of the rules: Giles, "Collected matrix derivative results", 2008; Walter and Lehmann, "Algorithmic
differentiation of linear algebra functions", 2018; Murray, "Differentiation of the Cholesky decomposition", 2016.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from math import inf
from typing import Any, NamedTuple

import numpy as np

from tinygrad_ft.engine import Array, op
from tinygrad_ft.ops.arrange import tril, triu
from tinygrad_ft.ops.comparison import where
from tinygrad_ft.ops.composed import composed
from tinygrad_ft.ops.join import cat
from tinygrad_ft.ops.linalg import matmul
from tinygrad_ft.ops.reduce import HALF
from tinygrad_ft.ops.shape import transpose, unsqueeze

__all__ = ["cholesky_solve"]


class QR(NamedTuple):
    """An orthonormal Q and an upper triangular R."""

    Q: Any
    R: Any


class Eigen(NamedTuple):
    """Eigenvalues, ascending, and eigenvectors in the columns of a matrix."""

    eigenvalues: Any
    eigenvectors: Any


class SVD(NamedTuple):
    """x = U diag(S) Vh."""

    U: Any
    S: Any
    Vh: Any


def of_matrices(square: bool = True) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Check for (square) matrices, compute float16 in float32, which LAPACK lacks, and name the op in errors."""

    def decorate(forward: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(forward)
        def checked(xp: Any, x: Array, *more: Array, **params: Any) -> Any:
            if x.ndim < 2 or (square and x.shape[-1] != x.shape[-2]):
                kind = "square matrices (..., n, n)" if square else "matrices (..., n, m)"
                raise ValueError(f"{forward.__name__} needs {kind}: got {x.shape}")
            arrays = [a.astype(xp.float32) if a.dtype == HALF else a for a in (x, *more)]
            try:
                y = forward(xp, *arrays, **params)
            except xp.linalg.LinAlgError as error:
                raise ValueError(f"{forward.__name__} of {x.shape}: {error}") from None
            if x.dtype != HALF:
                return y
            return tuple(part.astype(HALF) for part in y) if isinstance(y, tuple) else y.astype(HALF)

        return checked

    return decorate


@op
def identity(xp: Any, like: Array) -> Array:
    """The identity matrix as long as the last axis of another array, in its dtype."""
    return xp.eye(like.shape[-1], dtype=like.dtype)


def _halved_triangle(x: Array) -> Array:
    """The lower triangle of x, with half of its diagonal."""
    return (tril(x) + tril(x, -1)) * 0.5


def mirrored(x: Array) -> Array:
    """The symmetric matrix with the lower triangle of x."""
    return tril(x) + transpose(tril(x, -1))


def _gaps(values: Array) -> Array:
    """values_j - values_i, infinite for i = j."""
    return where(identity(values) == 1, inf, unsqueeze(values, -2) - unsqueeze(values, -1))


def _symmetric(x: Array) -> Array:
    return (x + x.swapaxes(-1, -2)) * 0.5


@op
@of_matrices()
def inv(xp: Any, x: Array) -> Array:
    """y = x^-1."""
    return xp.linalg.inv(x)


@inv.vjp
def inv_vjp(g: Array, y: Array) -> Array:
    """dy = -y dx y."""
    y = transpose(y)
    return -matmul(matmul(y, g), y)


@op
@of_matrices()
def solve_columns(xp: Any, a: Array, b: Array) -> Array:
    """y = a^-1 b, for columns b (..., n, k)."""
    if b.ndim < 2 or b.shape[-2] != a.shape[-1]:
        raise ValueError(f"solve needs b (..., {a.shape[-1]}, k) for a {a.shape}: got {b.shape}")
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])  # which CuPy leaves to the caller
    return xp.linalg.solve(*(xp.broadcast_to(m, lead + m.shape[-2:]) for m in (a, b)))


@solve_columns.vjp
def solve_columns_vjp(g: Array, a: Array, y: Array) -> tuple[Any, ...]:
    """dy = a^-1 (db - da y)."""
    gb = solve_columns(transpose(a), g)
    return lambda: -matmul(gb, transpose(y)), gb


@composed
def solve(A: Array, B: Array, *, left: bool = True) -> Array:
    """The X with A X = B, or X A = B if not left; B is a vector for each matrix if it has one axis less, or one at all.

    Shapes: A (..., n, n), B (..., n, k), or (..., n) -> as B, the axes in front broadcast.
    Raises:
        ValueError: if a matrix is singular.
    """
    vector = B.ndim == 1 or (A.ndim - 1 == B.ndim and tuple(B.shape) == tuple(A.shape[:-1]))
    if vector and not left:
        raise ValueError(f"solve from the right needs a matrix B: got {tuple(B.shape)} for A {tuple(A.shape)}")
    if vector:
        return solve_columns(A, unsqueeze(B, -1))[..., 0]
    return solve_columns(A, B) if left else transpose(solve_columns(transpose(A), transpose(B)))


@composed
def solve_triangular(A: Array, B: Array, *, upper: bool, left: bool = True, unitriangular: bool = False) -> Array:
    """`solve` with the upper or lower triangle of A alone; its diagonal counts as ones if unitriangular."""
    if A.ndim < 2 or B.ndim < 2:
        raise ValueError(f"solve_triangular needs matrices: got A {tuple(A.shape)} and B {tuple(B.shape)}")
    triangle, k = (triu, 1) if upper else (tril, -1)
    t = triangle(A, k) + identity(A) if unitriangular else triangle(A)
    return solve_columns(t, B) if left else transpose(solve_columns(transpose(t), transpose(B)))


@op
@of_matrices()
def lower_factor(xp: Any, x: Array) -> Array:
    """The lower triangular y with y y^T = the symmetric part of x, so that x_ij and x_ji share the derivative."""
    return xp.linalg.cholesky((x + xp.swapaxes(x, -1, -2)) * 0.5)


@lower_factor.vjp
def lower_factor_vjp(g: Array, y: Array) -> Array:
    """dy = y T(y^-1 dx y^-T), T taking the lower triangle and half of the diagonal."""
    up = transpose(y)
    inner = solve_columns(up, _halved_triangle(matmul(up, g)))
    return _symmetric(transpose(solve_columns(up, transpose(inner))))


@composed
def cholesky(input: Array, *, upper: bool = False) -> Array:
    """The lower triangular L with L L^T = x, or the upper U with U^T U = x, for symmetric positive definite x."""
    return transpose(lower_factor(input)) if upper else lower_factor(input)


@composed
def cholesky_solve(B: Array, L: Array, upper: bool = False) -> Array:
    """The X with A X = B, where A = L L^T is given by its Cholesky factor, or by the upper one."""
    low = transpose(L) if upper else L
    return solve_triangular(transpose(low), solve_triangular(low, B, upper=False), upper=True)


@op
@of_matrices(square=False)
def qr_tall(xp: Any, x: Array) -> tuple[Array, Array]:
    """(q, r) with x = q r, for at least as many rows as columns."""
    q, r = xp.linalg.qr(x)
    return q, r


@qr_tall.vjp
def qr_tall_vjp(gs: list[Array | None], y: tuple[Array, Array]) -> Array:
    """gx = (gq + q S) r^-T, S the symmetric matrix with the lower triangle of M = r gr^T - gq^T q."""
    (gq, gr), (q, r) = gs, y
    m = 0.0 if gr is None else matmul(r, transpose(gr))
    m = m if gq is None else m - matmul(transpose(gq), q)
    inner = matmul(q, mirrored(m))
    inner = inner if gq is None else gq + inner
    return transpose(solve_columns(r, transpose(inner)))


@composed
def qr(A: Array, mode: str = "reduced") -> QR:
    """(Q, R) with A = Q R, Q with orthonormal columns, R upper triangular: (..., n, m) -> (..., n, k), (..., k, m)."""
    if mode != "reduced":
        raise ValueError(f"qr: mode is 'reduced', the only one known: got {mode!r}")
    if A.ndim < 2 or A.shape[-2] >= A.shape[-1]:
        return QR(*qr_tall(A))
    n = A.shape[-2]
    q, r = qr_tall(A[..., :n])
    return QR(q, cat([r, matmul(transpose(q), A[..., n:])], -1))


@op
@of_matrices()
def symmetric_eigen(xp: Any, x: Array) -> tuple[Array, Array]:
    """(w, v): eigenvalues, ascending, and eigenvectors, in columns, of the symmetric part of x."""
    w, v = xp.linalg.eigh((x + xp.swapaxes(x, -1, -2)) * 0.5)
    return w, v


@symmetric_eigen.vjp
def symmetric_eigen_vjp(gs: list[Array | None], y: tuple[Array, Array]) -> Array:
    """gx = v (diag(gw) + (v^T gv) / (w_j - w_i)) v^T; equal eigenvalues leave their vectors without a derivative."""
    (gw, gv), (w, v) = gs, y
    gx = 0.0 if gw is None else matmul(v * unsqueeze(gw, -2), transpose(v))
    if gv is None:
        return gx
    turned = matmul(transpose(v), gv) / _gaps(w)
    return _symmetric(gx + matmul(matmul(v, turned), transpose(v)))


@composed
def eigh(A: Array, UPLO: str = "L") -> Eigen:
    """(eigenvalues, eigenvectors) of symmetric matrices; only one triangle is read, and has the derivative."""
    if UPLO.upper() not in ("L", "U"):
        raise ValueError(f"eigh: UPLO is 'L' or 'U': got {UPLO!r}")
    return Eigen(*symmetric_eigen(mirrored(A if UPLO.upper() == "L" else transpose(A))))


@op
@of_matrices(square=False)
def singular(xp: Any, x: Array, *, full: bool = False) -> tuple[Array, Array, Array]:
    """(u, s, v^T) with x = u diag(s) v^T, s descending; u and v^T square if `full`."""
    u, s, vt = xp.linalg.svd(x, full_matrices=full)
    return u, s, vt


@singular.vjp
def singular_vjp(gs: list[Array | None], y: tuple[Array, Array, Array]) -> Array:
    """gx = u (diag(gs) + [u^T gu] s + s [v^T gv]) v^T and what leaves the planes of u and v; [m] = (m - m^T) / gaps.

    The gaps are s_j^2 - s_i^2: equal singular values leave their vectors without a derivative.
    """
    (gu, gs_, gvt), (u, s, vt) = gs, y
    k = s.shape[-1]
    u, vt = u[..., :k], vt[..., :k, :]
    gx = 0.0 if gs_ is None else matmul(u * unsqueeze(gs_, -2), vt)
    if gu is None and gvt is None:
        return gx
    gaps = _gaps(s * s)
    if gu is not None:
        gu = gu[..., :k]
        turned = matmul(transpose(u), gu)
        part = matmul(u, (turned - transpose(turned)) / gaps * unsqueeze(s, -2))
        if u.shape[-2] > k:
            part = part + (gu - matmul(u, turned)) / unsqueeze(s, -2)
        gx = gx + matmul(part, vt)
    if gvt is not None:
        gvt = gvt[..., :k, :]
        turned = matmul(vt, transpose(gvt))
        part = matmul(unsqueeze(s, -1) * ((turned - transpose(turned)) / gaps), vt)
        if vt.shape[-1] > k:
            part = part + (gvt - matmul(transpose(turned), vt)) / unsqueeze(s, -1)
        gx = gx + matmul(u, part)
    return gx


@composed
def svd(A: Array, full_matrices: bool = True) -> SVD:
    """(U, S, Vh) with A = U diag(S) Vh; the columns that full_matrices adds are constants."""
    return SVD(*singular(A, full=full_matrices))


@composed
def svdvals(A: Array) -> Array:
    """The singular values, descending."""
    return singular(A)[1]
