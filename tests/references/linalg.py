"""Linear algebra, by other means."""

import math

import numpy as np
import scipy.linalg


def matmul(a, b):
    left, right = (a[None] if a.ndim == 1 else a), (b[:, None] if b.ndim == 1 else b)
    batch = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    (n, k), m = left.shape[-2:], right.shape[-1]
    left, right = np.broadcast_to(left, (*batch, n, k)), np.broadcast_to(right, (*batch, k, m))
    y = np.empty((*batch, n, m))
    for (*where, i, j), _ in np.ndenumerate(y):
        y[(*where, i, j)] = math.fsum(left[(*where, i, q)] * right[(*where, q, j)] for q in range(k))
    y = y[..., 0, :] if a.ndim == 1 else y
    return y[..., 0] if b.ndim == 1 else y


def linear(x, weight, bias):
    y = np.empty((*x.shape[:-1], len(weight)))
    for (*where, o), _ in np.ndenumerate(y):
        products = [a * w for a, w in zip(x[tuple(where)], weight[o], strict=True)]
        y[(*where, o)] = math.fsum([*products, 0.0 if bias is None else bias[o]])
    return y


def embedding(ids, weight):
    y = np.empty((*ids.shape, weight.shape[1]))
    for place, i in np.ndenumerate(ids):
        y[place] = weight[i]
    return y


def sum_rows(g, ids, rows):
    y = np.zeros((rows, g.shape[-1]))
    for place, i in np.ndenumerate(ids):
        y[i] += g[place]
    return y


def one_by_one(f):
    """The reference that calls f on one matrix after the other, and stacks each of what it answers."""

    def reference(x, **params):
        batch = x.shape[:-2]
        ys = [f(x[place], **params) for place in np.ndindex(*batch)]
        if not ys:
            shaped = f(np.eye(*x.shape[-2:]), **params)
            return (
                tuple(np.empty((*batch, *np.shape(part))) for part in shaped)
                if isinstance(shaped, tuple)
                else np.empty((*batch, *np.shape(shaped)))
            )
        if isinstance(ys[0], tuple):
            return tuple(np.reshape(part, (*batch, *np.shape(part[0]))) for part in zip(*ys, strict=True))
        return np.reshape(ys, (*batch, *np.shape(ys[0])))

    return reference


def determinant(x):
    """By the first row's minors."""
    if not len(x):
        return 1.0
    return sum((-1) ** j * x[0, j] * determinant(np.delete(x[1:], j, axis=1)) for j in range(len(x)))


def inverse(x):
    """Cramer's rule."""
    minor = lambda i, j: determinant(np.delete(np.delete(x, j, 0), i, 1))  # noqa: E731
    n = len(x)
    return np.array([[(-1) ** (i + j) * minor(i, j) for j in range(n)] for i in range(n)]) / determinant(x)


def lower_factor(x):
    """Row by row."""
    x, y = (x + x.T) / 2, np.zeros(x.shape)
    for i, j in zip(*np.tril_indices(len(x)), strict=True):
        rest = x[i, j] - math.fsum(y[i] * y[j])
        y[i, j] = math.sqrt(rest) if i == j else rest / y[j, j]
    return y


def reflected(x):
    """SciPy's QR, columns and rows cut to the shorter length."""
    q, r = scipy.linalg.qr(x, mode="economic")
    return q, r


def solved(a, b):
    """By the inverse."""
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return matmul(one_by_one(inverse)(np.broadcast_to(a, (*batch, *a.shape[-2:]))), b)


def solve(a, b, left=True):
    if b.ndim < a.ndim:
        return solved(a, b[..., None])[..., 0]
    return solved(a, b) if left else np.swapaxes(solved(np.swapaxes(a, -1, -2), np.swapaxes(b, -1, -2)), -1, -2)


def solve_triangular(a, b, upper, left=True, unitriangular=False):
    f = lambda a, b, t: scipy.linalg.solve_triangular(a, b, lower=not upper, trans=t, unit_diagonal=unitriangular)  # noqa: E731
    return f(a, b, "N") if left else f(a, b.T, "T").T


def cholesky_solve(b, factor, upper=False):
    factor = np.triu(factor) if upper else np.tril(factor)
    whole = np.swapaxes(factor, -1, -2) @ factor if upper else factor @ np.swapaxes(factor, -1, -2)
    return solved(whole, b)


def one_triangle(x, UPLO="L"):
    return scipy.linalg.eigh(x, lower=UPLO == "L", driver="evd")


def decomposed(x, full=False):
    return scipy.linalg.svd(x, full_matrices=full)


def least_squares(x, rtol=None):
    """The solution of x y = 1 by the normal equations, for matrices of full rank."""
    return inverse(x.T @ x) @ x.T if x.shape[0] >= x.shape[1] else x.T @ inverse(x @ x.T)


def vector_product(a, b, axis=-1):
    return np.cross(*np.broadcast_arrays(a, b), axis=axis)


def cosine(a, b, axis=1):
    a, b = np.broadcast_arrays(a, b)
    length = lambda x: np.linalg.norm(x, axis=axis)  # noqa: E731
    return np.sum(a * b, axis=axis) / (length(a) * length(b))


def vector_norm(x, ord=2, axis=None, keepdims=False):
    return np.linalg.norm(x.ravel() if axis is None and not keepdims else x, ord, axis, keepdims)


REFERENCES = {
    "vector_norm": vector_norm,
    "matrix_norm": lambda x, ord="fro", axis=(-2, -1), keepdims=False: np.linalg.norm(x, ord, axis, keepdims),
    "linalg_norm": lambda x, ord=None, axis=None: np.linalg.norm(x, ord, axis),
    "normalize": lambda x, p=2, axis=1: x / np.linalg.norm(x, p, axis, True),
    "pairwise_distance": lambda a, b, p=2, keepdims=False: np.linalg.norm(a - b + 1e-6, p, -1, keepdims),
    "cosine_similarity": cosine,
    "bilinear": lambda a, b, w, bias=0.0: np.einsum("...i,oij,...j", a, w, b) + bias,
    "mm": matmul,
    "bmm": matmul,
    "mv": matmul,
    "dot": matmul,
    "outer": np.outer,
    "inner": np.inner,
    "addmm": lambda x, a, b, beta=1, alpha=1: beta * x + alpha * matmul(a, b),
    "baddbmm": lambda x, a, b, beta=1, alpha=1: beta * x + alpha * matmul(a, b),
    "tensordot": lambda a, b, dims=2: np.tensordot(a, b, dims),
    "kron": np.kron,
    "trace": np.trace,
    "cross": lambda a, b: vector_product(a, b, a.shape.index(3)),
    "linalg_cross": vector_product,
    "cov": lambda x, correction=1, **weights: np.cov(x, ddof=correction, **weights),
    "corrcoef": np.corrcoef,
    "einsum": np.einsum,
    "contract": lambda *xs, equation: np.einsum(equation, *xs),
    "identity": lambda like: np.diag(np.ones(like.shape[-1])),
    "inv": one_by_one(inverse),
    "det": one_by_one(determinant),
    "slogdet": one_by_one(lambda x: (math.copysign(1, determinant(x)), math.log(abs(determinant(x))))),
    "lower_factor": one_by_one(lower_factor),
    "cholesky": one_by_one(lambda x, upper=False: lower_factor(x).T if upper else lower_factor(x)),
    "symmetric_eigen": one_by_one(lambda x: one_triangle((x + x.T) / 2)),
    "eigh": one_by_one(one_triangle),
    "qr_tall": one_by_one(reflected),
    "qr": one_by_one(reflected),
    "singular": one_by_one(decomposed),
    "svd": one_by_one(lambda x, full_matrices=True: decomposed(x, full_matrices)),
    "svdvals": one_by_one(scipy.linalg.svdvals),
    "pinv": one_by_one(least_squares),
    "pseudo_inverse": one_by_one(least_squares),
    "matrix_power": np.linalg.matrix_power,
    "solve_columns": solved,
    "solve": solve,
    "solve_triangular": solve_triangular,
    "cholesky_solve": cholesky_solve,
    "matmul": matmul,
    "linear": linear,
    "embedding": embedding,
    "sum_rows": sum_rows,
}
