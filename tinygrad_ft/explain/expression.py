"""What a formula is made of: a tree of numbers, symbols and operations, each with the shape that it needs by itself.

The shape of an expression is its natural one: broadcasting does the rest. The number 2 has shape () wherever it
stands, and a row that is added to every row of a matrix has the shape of that row. Leading lengths of 1 are left out,
so shapes are (), (n,) a vector, (n, m) a matrix, and (n, 1) a column, which is always a vector wrapped in `column`.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import wraps
from math import isfinite
from typing import Any

LONGEST = 6_000  # parts of one formula: beyond it nobody reads, and derivatives of derivatives grow without end
Shape = tuple[int, ...]
Value = Fraction | float

RANKS = {
    head: i
    for i, head in enumerate(
        ("number", "constant", "symbol", "identity", "transpose", "column", "power", "call", "reduce", "softmax",
         "matmul", "diag", "product", "sum")
    )
}  # fmt: skip


class Expression:
    """A node of the tree: what it is (`head`), which one (`data`), and of what (`args`); it never changes.

    number: data a Fraction, or a float where no simple fraction is meant. constant: data "e" or "pi". symbol: data its
    name. sum, product: args in canonical order, the number in front of a product first. power: args base and exponent.
    call: data the name of a function that goes element by element. reduce: data (name, axes counted from the end).
    matmul: args a chain of matrices, of which the last may be a vector. transpose, column, softmax, diag: of one.
    """

    __slots__ = ("args", "data", "hash", "head", "key", "shape", "size")
    size: int

    def __init__(self, head: str, args: tuple[Expression, ...] = (), data: Any = None, shape: Shape = ()):
        self.head, self.args, self.data, self.shape = head, args, data, shape
        self.size = 1 + sum(a.size for a in args)
        if self.size > LONGEST:
            raise ValueError(
                f"the formula has grown beyond {LONGEST} parts: ask for a lower order, or for less at once"
            )
        self.hash = hash((head, data, shape, args))
        number = float(data) if head == "number" else 0.0
        self.key: Any = (RANKS[head], "" if head == "number" else str(data), number, tuple(a.key for a in args))

    def __hash__(self) -> int:
        return self.hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Expression) or self.hash != other.hash:
            return False
        mine, theirs = (self.head, self.data, self.shape), (other.head, other.data, other.shape)
        return mine == theirs and self.args == other.args

    def __repr__(self) -> str:
        return (
            f"{self.head}({', '.join([*([repr(self.data)] if self.data is not None else []), *map(repr, self.args)])})"
        )


def whole(value: Value) -> Value:
    """A float as the fraction that it stands for, if there is one with a small denominator; else as it is."""
    if isinstance(value, Fraction):
        return value if max(abs(value.numerator), value.denominator) < 10**15 else float(value)
    if not isfinite(value) or abs(value) >= 1e15:
        return value
    near = Fraction(value).limit_denominator(1000)
    return near if float(near) == value else value


def plain_number(value: Value | int) -> Expression:
    """The number itself."""
    return Expression("number", data=whole(Fraction(value) if isinstance(value, int) else value))


ZERO, ONE, TWO, MINUS = plain_number(0), plain_number(1), plain_number(2), plain_number(-1)
HALF = plain_number(0.5)
E, PI = Expression("constant", data="e"), Expression("constant", data="pi")


def symbol(name: str, shape: Shape = ()) -> Expression:
    """A named array; lengths of 1 in front of its shape are left out, a single column becomes a column."""
    shape = natural(shape)
    if len(shape) > 2:
        raise ValueError(f"formulas have at most 2 axes: {name} has shape {shape}")
    if len(shape) == 2 and shape[1] == 1:
        return Expression("column", (Expression("symbol", data=name, shape=shape[:1]),), shape=shape)
    return Expression("symbol", data=name, shape=shape)


def natural(shape: Shape) -> Shape:
    """A shape without lengths of 1 in front."""
    while shape and shape[0] == 1:
        shape = shape[1:]
    return tuple(shape)


def together(*parts: Expression) -> Shape:
    """The shape to which these broadcast.

    Raises:
        ValueError: if they do not; the word broadcast is in the message, as NumPy has it.
    """
    shape: list[int] = []
    for part in parts:
        for i, n in enumerate(reversed(part.shape)):
            if i == len(shape):
                shape.append(n)
            elif shape[i] == 1:
                shape[i] = n
            elif n not in (1, shape[i]):
                raise ValueError(f"shapes do not broadcast: {' and '.join(str(p.shape) for p in parts)}")
    return natural(tuple(reversed(shape)))


def is_column(shape: Shape) -> bool:
    """Whether that is the shape of a column."""
    return len(shape) == 2 and shape[1] == 1


def column(x: Expression) -> Expression:
    """A vector (n,) as a column (n, 1); what has no axis stays."""
    return x if not x.shape else Expression("column", (x,), shape=(*x.shape, 1))


def uncolumn(x: Expression) -> Expression:
    """A column as the vector that it holds; what has no axis stays."""
    return x.args[0] if x.head == "column" else x


def elementwise(f: Callable[..., Expression]) -> Callable[..., Expression]:
    """f, where a column is wanted, of the vectors in its columns: so nothing but `column` ever has their shape."""

    @wraps(f)
    def on_vectors(*args: Expression) -> Expression:
        if any(a.head == "column" for a in args) and is_column(together(*args)):
            return column(f(*map(uncolumn, args)))
        return f(*args)

    return on_vectors
