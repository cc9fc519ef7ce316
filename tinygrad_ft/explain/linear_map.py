"""The matrix of a linear map that is written as a formula: how Jacobians are read off from what a rule answers."""

from __future__ import annotations

from tinygrad_ft.explain.algebra import add, multiply
from tinygrad_ft.explain.expression import ONE, ZERO, Expression, column
from tinygrad_ft.explain.matrix import chain, total, transpose
from tinygrad_ft.explain.values import parts


def identity(n: int) -> Expression:
    """The identity of n rows."""
    return Expression("identity", data=n, shape=(n, n))


def diagonal(x: Expression, n: int) -> Expression:
    """The matrix with x on its diagonal, a number or a vector (n,)."""
    if not x.shape:
        return multiply(x, identity(n))
    factors = x.args if x.head == "product" else (x,)
    scalars = [f for f in factors if not f.shape]
    return multiply(*scalars, Expression("diag", (multiply(*(f for f in factors if f.shape)),), shape=(n, n)))


def matrix_of(x: Expression, g: Expression, rows: int) -> Expression:
    """A, where x = A g with x a vector of so many rows, or a number (rows 1: A is a row, given as a vector).

    Raises:
        ValueError: if x is not linear in g as far as can be read off.
    """
    n = g.shape[0] if g.shape else 1
    if g not in set(parts(x)):
        if x == ZERO:
            return ZERO
        raise ValueError("not linear: a part does not depend on what arrives")
    if x == g:
        return identity(n) if n > 1 else ONE
    if x.head == "sum":
        return add(*(matrix_of(t, g, rows) for t in x.args))
    if x.head == "matmul" and len(x.shape) == 1:
        inner = x.args[-1]
        return chain(*x.args[:-1], matrix_of(inner, g, inner.shape[0]))
    if x.head == "reduce" and x.data == ("sum", (-1,)) and len(x.args[0].shape) == 1:
        of = x.args[0]
        return _ones_times(matrix_of(of, g, of.shape[0]), of.shape[0], n)
    if x.head == "product":
        return _of_product(x, g, rows, n)
    raise ValueError(f"not linear in what arrives: a {x.head}")


def _of_product(x: Expression, g: Expression, rows: int, n: int) -> Expression:
    """c L(g): of vectors element by element, diag(c) A; of a vector and a number, c a^T."""
    linear = [f for f in x.args if g in set(parts(f))]
    if len(linear) != 1:
        raise ValueError("not linear: a product of several parts that depend on what arrives")
    c, inner = multiply(*(f for f in x.args if f is not linear[0])), linear[0]
    if inner.head == "sum" and c.shape:
        return add(*(matrix_of(multiply(c, t), g, rows) for t in inner.args))
    if inner.shape and c.shape:
        a = matrix_of(inner, g, rows)
        return diagonal(c, rows) if a.head == "identity" else multiply(column(c), a)
    row = matrix_of(inner, g, rows if inner.shape else 1)
    if n == 1:
        return multiply(c, row)
    return multiply(column(c), row) if c.shape else multiply(c, row)


def _ones_times(a: Expression, rows: int, n: int) -> Expression:
    """1^T A as a vector."""
    if a.head == "sum":
        return add(*(_ones_times(t, rows, n) for t in a.args))
    if a.head == "identity":
        return ONE
    if a.head == "diag":
        return a.args[0]
    if a.head == "product":
        matrices = [f for f in a.args if len(f.shape) == 2]
        if len(matrices) == 1 and matrices[0].head in ("diag", "identity"):
            return multiply(*(f for f in a.args if f is not matrices[0]), _ones_times(matrices[0], rows, n))
    return total(a, (rows, n), (-2,))


def transposed_matrix_of(x: Expression, g: Expression, rows: int) -> Expression:
    """A^T of the same map: where x is what a rule hands on of g, the Jacobian."""
    return transpose(matrix_of(x, g, rows))
