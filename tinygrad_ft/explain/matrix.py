"""Matrix expressions: sums over axes, products of matrices, transposes; each takes the lengths that were meant.

An expression that is constant along an axis does not have it (see `expression`), so whoever sums over it or multiplies
by it says how long the axis is: the sum of the number 2 over 3 rows is 6.
"""

from __future__ import annotations

from math import prod

from tinygrad_ft.explain.algebra import add, multiply, power
from tinygrad_ft.explain.expression import ONE, ZERO, E, Expression, Shape, column, natural, plain_number, uncolumn

TURNED = {"product", "matmul", "column", "transpose", "diag", "identity"}  # whose transposes are written without one


def transpose(x: Expression) -> Expression:
    """x^T of what stands in a matrix: a row (m,) becomes a column, a column a row."""
    if not x.shape:
        return x
    if x.head in ("column", "transpose"):
        return x.args[0]
    if len(x.shape) == 1:
        return column(x)
    if x.head in ("diag", "identity"):
        return x
    if x.head == "product":
        return multiply(*map(transpose, x.args))
    if x.head == "matmul":
        return chain(*map(transpose, reversed(x.args)))
    if x.head == "sum" and all(len(t.shape) < 2 or t.head in TURNED for t in x.args):
        return add(*map(transpose, x.args))
    return Expression("transpose", (x,), shape=natural((x.shape[1], x.shape[0])))


def full(x: Expression, shape: Shape) -> bool:
    """Whether x has all axes of that shape."""
    return x.shape == natural(shape)


def _lacks(x: Expression, axis: int) -> bool:
    """Whether x is the same all along an axis, counted from the end."""
    return len(x.shape) < -axis or x.shape[axis] == 1


def total(x: Expression, shape: Shape, axes: tuple[int, ...], name: str = "sum") -> Expression:
    """The sum (or max, or min) of x, spread to that shape, over axes counted from the end, which stay."""
    if len(axes) > 1:
        first = max(axes)  # the last axis first
        part = total(x, shape, (first,), name)
        left = tuple(1 if i - len(shape) == first else n for i, n in enumerate(shape))
        return total(part, left, tuple(a for a in axes if a != first), name)
    if not axes or shape[axes[0]] == 1:
        return x
    (axis,) = axes
    if _lacks(x, axis):
        return multiply(plain_number(shape[axis]), x) if name == "sum" else x
    return _sum(x, shape, axis) if name == "sum" else _reduced(x, axis, name)


def _reduced(x: Expression, axis: int, name: str) -> Expression:
    """The node itself; over the last axis of a matrix it is a column, over the axis of a column a number."""
    if x.head == "column":
        return _reduced(x.args[0], -1, name)
    if len(x.shape) == 2 and axis == -1:
        return column(Expression("reduce", (x,), (name, (-1,)), x.shape[:1]))
    if len(x.shape) == 1 and x.head == "reduce" and x.data == (name, (-2,)):  # of all, by way of the rows
        return total(x.args[0], x.args[0].shape, (-2, -1), name)
    if len(x.shape) == 1 and x.head == "reduce" and x.data == (name, (-1,)):
        return Expression("reduce", x.args, (name, (-2, -1)))
    return Expression("reduce", (x,), (name, (axis,)), x.shape[1:] if len(x.shape) == 2 else ())


def _sum(x: Expression, shape: Shape, axis: int) -> Expression:
    if x.head == "column":
        return total(x.args[0], x.shape[:1], (-1,))
    if x.head == "sum":
        apart = [t for t in x.args if _lacks(t, axis)]
        if apart:
            rest = [t for t in x.args if not _lacks(t, axis)]
            spread = add(*(total(t, shape, (axis,)) for t in (*apart, add(*rest))))
            if spread.size < x.size:  # sum(x - mean(x)) is 0; otherwise it would only be longer
                return spread
    factors = x.args if x.head == "product" else (x,)
    outside: list[Expression] = []
    inside: list[Expression] = []
    for f in factors:
        apart = [f] if _lacks(f, axis) else []
        if f.head == "power" and f.args[0] is E and f.args[1].head == "sum":
            apart = [power(E, t) for t in f.args[1].args if _lacks(t, axis)]
            f = power(E, add(*(t for t in f.args[1].args if not _lacks(t, axis)))) if apart else f
        elif apart:
            f = ZERO
        outside += apart
        inside += [] if f is ZERO else [f]
    if outside:
        return multiply(*outside, total(multiply(*inside), shape, (axis,)))
    if len(x.shape) == 2 and x.head == "product":
        across = [f for f in x.args if f.head == "column" if axis == -2] + [
            f for f in x.args if len(f.shape) == 1 if axis == -1
        ]
        if across:  # the sum over j of a_ij b_j is A b
            a = multiply(*(f for f in x.args if f not in across))
            product = chain(a if axis == -1 else transpose(a), column(multiply(*map(uncolumn, across))))
            return product if axis == -1 else uncolumn(product)
    if x.head == "softmax" and axis == -1:
        return ONE
    if x.head == "diag":
        return x.args[0] if axis == -2 else column(x.args[0])
    return _reduced(x, axis, "sum")


def matmul(a: Expression, b: Expression, rows: int, inner: int, columns: int) -> Expression:
    """a b, of matrices (rows, inner) and (inner, columns)."""
    if inner == 1:
        return multiply(a, b)
    if _lacks(a, -1):
        return multiply(a, total(b, (inner, columns), (-2,)))
    if _lacks(b, -2):
        return multiply(total(a, (rows, inner), (-1,)), b)
    c, a = _in_front(a)
    d, b = _in_front(b)
    return multiply(*c, *d, _matmul(a, b, inner))


def _in_front(x: Expression) -> tuple[list[Expression], Expression]:
    """The factors without axes, and the rest."""
    if x.head == "column":
        scalars, x = _in_front(x.args[0])
        return scalars, column(x)
    if x.head != "product":
        return [], x
    return [f for f in x.args if not f.shape], multiply(*(f for f in x.args if f.shape))


def _matmul(a: Expression, b: Expression, inner: int) -> Expression:
    row, as_column = len(a.shape) == 1, b.head == "column"
    if row and as_column:
        return total(multiply(a, uncolumn(b)), (inner,), (-1,))
    if row:
        return uncolumn(chain(transpose(b), column(a)))
    return chain(a, b)


def chain(*parts: Expression) -> Expression:
    """A product of matrices, of which the last may be a column; what is a row times a column in it is a factor."""
    flat: list[Expression] = []
    for p in parts:
        flat += p.args if p.head == "matmul" else (p,)
    if flat[-1].head == "column":
        inside = flat[-1].args[0]
        flat[-1:] = inside.args if inside.head == "matmul" else (inside,)
        return column(_chained(flat))
    return _chained(flat)


def _chained(flat: list[Expression]) -> Expression:
    kept = [p for p in flat if p.head != "identity"]
    if not kept:
        return flat[0]
    for i, p in enumerate(kept):
        if p.head == "product" and (factors := _outer(p)) and len(kept) > 1:
            return _around(kept[:i], *factors, kept[i + 1 :])
    shape = natural((kept[0].shape[0], *kept[-1].shape[1:]))
    return kept[0] if len(kept) == 1 else Expression("matmul", tuple(kept), shape=shape)


def _outer(p: Expression) -> tuple[list[Expression], Expression, Expression] | None:
    """u v^T as its numbers, u and v, if that is what a product is."""
    columns = [f for f in p.args if f.head == "column"]
    rows = [f for f in p.args if len(f.shape) == 1]
    if len(columns) != 1 or not rows or any(f.shape and f not in columns and f not in rows for f in p.args):
        return None
    return [f for f in p.args if not f.shape], columns[0].args[0], multiply(*rows)


def _around(
    left: list[Expression], scalars: list[Expression], u: Expression, v: Expression, right: list[Expression]
) -> Expression:
    """A (u v^T) B as (A u) (B^T v)^T."""
    if left:
        u = _chained([*left, *(u.args if u.head == "matmul" else (u,))])
    if right and len(right[-1].shape) == 1:
        w = _chained(right) if len(right) > 1 else right[0]
        return multiply(*scalars, u, total(multiply(v, w), v.shape, (-1,)))
    if right:
        v = _chained([*map(transpose, reversed(right)), *(v.args if v.head == "matmul" else (v,))])
    return multiply(*scalars, column(u), v)


def reshape(x: Expression, old: Shape, new: Shape) -> Expression:
    """x, spread to `old`, in the shape `new`, as far as that only adds and drops axes of length 1."""
    if [n for n in old if n != 1] != [n for n in new if n != 1] or max(len(natural(old)), len(natural(new))) > 2:
        raise ValueError(f"a formula can be reshaped by axes of length 1 only, with at most 2 left: {old} to {new}")
    old, new = natural(old), natural(new)
    if old == new or prod(old) == 1:
        return x
    return column(x) if new[-1] == 1 else uncolumn(x)
