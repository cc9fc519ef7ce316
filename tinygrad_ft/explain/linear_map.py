"""The matrix of a linear map that is written as a formula: how Jacobians are read off from what a rule answers."""

from __future__ import annotations

from tinygrad_ft.explain.algebra import add, multiply
from tinygrad_ft.explain.expression import ONE, ZERO, Expression, Shape, column, uncolumn
from tinygrad_ft.explain.matrix import chain, matmul, total, transpose
from tinygrad_ft.explain.values import parts

READ_OFF = "the Jacobian cannot be read off what arrives"


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
        raise ValueError(f"{READ_OFF}, which is missing in a term")
    if x == g:
        return identity(n) if n > 1 else ONE
    if x.head == "sum":
        return add(*(matrix_of(t, g, rows) for t in x.args))
    if x.head == "matmul" and len(x.shape) == 1:
        inner = x.args[-1]
        if g not in set(parts(inner)) and (moved := _into_the_vector(x)) is not None:
            return matrix_of(moved, g, rows)
        return chain(*x.args[:-1], matrix_of(inner, g, inner.shape[0]))
    if x.head == "reduce" and x.data == ("sum", (-1,)) and len(x.args[0].shape) == 1:
        of = x.args[0]
        return _ones_times(matrix_of(of, g, of.shape[0]), of.shape[0], n)
    if x.head == "reduce" and x.data[0] == "sum" and (spread := _summed_apart(x)) is not None:
        return matrix_of(spread, g, rows)
    if x.head == "product":
        return _of_product(x, g, rows, n)
    raise ValueError(f"{READ_OFF}, which stands inside a {x.head}")


def _into_the_vector(x: Expression) -> Expression | None:
    """A M v with the parts of M taken apart: of a sum the terms, of diag(c) B diag(r) v the vector c * (B (r * v))."""
    *front, m, v = x.args
    factors = m.args if m.head == "product" else (m,)
    inner = next((f for f in factors if f.head == "sum"), None)
    if inner is not None:
        terms = [multiply(*(f for f in factors if f is not inner), t) for t in inner.args]
        products = [uncolumn(matmul(t, column(v), m.shape[0], m.shape[1], 1)) for t in terms]
        return add(*(_after(front, t, m.shape[0]) for t in products))
    if all(len(f.shape) == 2 and f.head != "column" for f in factors):
        return None
    scalars = [f for f in m.args if not f.shape]
    left = multiply(*(uncolumn(f) for f in m.args if f.head == "column"))
    right = multiply(v, *(f for f in m.args if len(f.shape) == 1))
    full = multiply(*(f for f in m.args if len(f.shape) == 2 and f.head != "column"))
    inside = multiply(*scalars, left, uncolumn(matmul(full, column(right), m.shape[0], m.shape[1], 1)))
    return _after(front, inside, m.shape[0])


def _after(front: list[Expression], v: Expression, n: int) -> Expression:
    """A v, with a vector of n numbers, of which all may be one."""
    if not front:
        return v
    a = chain(*front)
    return uncolumn(matmul(a, column(v), a.shape[0], n, 1))


def _summed_apart(x: Expression) -> Expression | None:
    """A sum over the rows or columns of a sum of matrices, as the sum of their sums."""
    of = x.args[0]
    factors = of.args if of.head == "product" else (of,)
    inner = next((f for f in factors if f.head == "sum"), None)
    if inner is None:
        return None
    others = [f for f in factors if f is not inner]
    return add(*(uncolumn(total(multiply(*others, t), of.shape, x.data[1])) for t in inner.args))


def _of_product(x: Expression, g: Expression, rows: int, n: int) -> Expression:
    """c L(g): of vectors element by element, diag(c) A; of a vector and a number, c a^T."""
    linear = [f for f in x.args if g in set(parts(f))]
    if len(linear) != 1:
        raise ValueError(f"{READ_OFF}, which stands in several factors")
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


def jacobian_of(handed_on: Expression, g: Expression, x_shape: Shape) -> Expression:
    """J of y = f(x), a vector, where a rule hands J^T g on to x: a matrix, or a vector if x is a number."""
    if not x_shape:
        return matrix_of(handed_on, g, 1)
    return transpose(matrix_of(handed_on, g, x_shape[0]))
