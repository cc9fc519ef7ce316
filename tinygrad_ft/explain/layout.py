"""How a formula is laid out on a line: where brackets are needed, what is a fraction, which factor is a transpose.

`Layout` decides; `latex` and `text` say with which signs. Vectors are columns. What NumPy broadcasts is written out:
a row that is added to each row of a matrix is 1 b^T, with 1 the column of ones, a factor for each row diag(c) A.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from fractions import Fraction

from tinygrad_ft.explain.algebra import multiply, negative, power
from tinygrad_ft.explain.expression import HALF, ONE, TWO, E, Expression, Shape, plain_number, uncolumn
from tinygrad_ft.explain.facts import split
from tinygrad_ft.explain.matrix import transpose

SUM, PRODUCT, POWER, ATOM = range(4)  # how tightly a text holds together
Written = tuple[str, int]
LINEAR = {"identity", "diag", "matmul", "column", "transpose"}  # beside these a number means that matrix, not elements


class Layout(ABC):
    """Walks through a formula; every answer is a text and how tightly it holds together."""

    ones: str
    unit: str

    def write(self, x: Expression, shape: Shape = ()) -> str:
        """The formula as it stands by itself, spread to that shape."""
        if x.shape or not shape or (x.head == "number" and not x.data):
            return self.within(x, shape)[0]
        if len(shape) == 2:
            return self._all_over(x)
        return self.ones if x == ONE else self.chain([self.ones], self.inside(x, POWER))

    def of(self, x: Expression) -> Written:
        """x by itself: a vector is a column."""
        written: Callable[[Expression], Written] = getattr(self, f"_{x.head}")
        return written(x)

    def inside(self, x: Expression, level: int, shape: Shape | None = None) -> str:
        """x, in brackets if it holds together less tightly than that; `shape` is of the matrix that it is part of."""
        text, own = self.of(x) if shape is None else self.within(x, shape)
        return text if own >= level else self.brackets(text)

    def within(self, x: Expression, shape: Shape) -> Written:
        """x as a part of what has that shape: in a matrix, vectors are rows, and repeated."""
        if len(shape) < 2 or (len(x.shape) == 2 and x.shape[1] != 1):
            return self.of(x)
        if x.head == "column":
            return self.chain([self.inside(x.args[0], POWER), self.transposed(self.ones)]), PRODUCT
        if x.shape:
            return self.chain([self.ones, self.row(x)]), PRODUCT
        return self.of(x)

    def row(self, x: Expression) -> str:
        """A vector as a row."""
        if x.head == "matmul" and len(x.shape) == 1:
            return self.chain([self.row(x.args[-1]), *(self._link(transpose(a)) for a in reversed(x.args[:-1]))])
        if x.head == "reduce" and x.data == ("sum", (-2,)):
            links = x.args[0].args if x.args[0].head == "matmul" else x.args
            return self.chain([self.transposed(self.ones), *map(self._link, links)])
        return self.transposed(self.inside(x, ATOM))

    def _link(self, x: Expression) -> str:
        return self.inside(x, POWER)

    # the heads

    def _number(self, x: Expression) -> Written:
        text, level = self.number(abs(x.data))
        return (text, level) if x.data >= 0 else (f"-{text}", SUM)

    def _constant(self, x: Expression) -> Written:
        return self.name(x.data), ATOM

    def _symbol(self, x: Expression) -> Written:
        return self.name(x.data), ATOM

    def _identity(self, x: Expression) -> Written:
        return self.unit, ATOM

    def _transpose(self, x: Expression) -> Written:
        return self.transposed(self.inside(x.args[0], ATOM)), POWER

    def _column(self, x: Expression) -> Written:
        return self.of(x.args[0])

    def _call(self, x: Expression) -> Written:
        return self.function(x.data, [self.within(a, x.shape)[0] for a in x.args])

    def _softmax(self, x: Expression) -> Written:
        return self.function("softmax", [self.within(x.args[0], x.shape)[0]])

    def _diag(self, x: Expression) -> Written:
        return self.function("diag", [self.write(x.args[0])])

    def _matmul(self, x: Expression) -> Written:
        return self.chain([self._link(a) for a in x.args]), PRODUCT

    def _power(self, x: Expression) -> Written:
        base, exponent = x.args
        if base is E:
            return self.exponential(self.within(exponent, x.shape)[0])
        if exponent.head == "number" and exponent.data < 0:
            return self._product(Expression("product", (ONE, x), shape=x.shape))
        if exponent == HALF:
            return self.root(self.within(base, x.shape)[0])
        raised = self.within(exponent, x.shape)
        if base.head == "call" and not x.shape and (named := self.raised_name(base.data)) and exponent.head == "number":
            return self.function(base.data, [self.within(a, base.shape)[0] for a in base.args], raised[0], named)
        return self.raised(self.inside(base, ATOM, x.shape), raised, bool(x.shape)), POWER

    def _reduce(self, x: Expression) -> Written:
        name, axes = x.data
        of = x.args[0]
        if name != "sum":
            return self.function(name + ("" if not x.shape else "_of_rows" if axes == (-1,) else "_of_columns"),
                                 [self.write(of)])  # fmt: skip
        if x.shape:
            if axes == (-2,) and of.head == "sum":
                return self.chain([self.transposed(self.inside(of, ATOM)), self.ones]), PRODUCT
            rows = of if axes == (-1,) else transpose(of)
            links = rows.args if rows.head == "matmul" else (rows,)
            return self.chain([*map(self._link, links), self.ones]), PRODUCT
        if of.head == "power" and of.args[1] == TWO:
            return self.squared_norm(self.write(of.args[0]), len(of.shape) == 2)
        if len(of.shape) == 1 and of.head == "product" and len(of.args) == 2 and all(f.shape for f in of.args):
            return self._inner(*of.args), PRODUCT
        return self.function("sum", [self.write(of)])

    def _inner(self, a: Expression, b: Expression) -> str:
        """a^T b; of a product of matrices in it, x^T A y rather than y^T A^T x."""
        if a.head == "matmul" and b.head != "matmul":
            a, b = b, a
        if b.head != "matmul" or a.head == "matmul":
            return self.chain([self.row(a), self._link(b)])
        links = list(b.args[:-1])
        left, right = a, b.args[-1]
        if 2 * sum(m.head == "transpose" for m in links) > len(links):
            links = [transpose(m) for m in reversed(links)]
            left, right = right, left
        return self.chain([self.row(left), *map(self._link, links), self._link(right)])

    # sums

    def _sum(self, x: Expression) -> Written:
        terms = list(x.args)
        first = next((i for i, t in enumerate(terms) if not _is_negative(t)), 0)
        if first:
            terms.insert(0, terms.pop(first))
        matrices = len(x.shape) == 2 and any(uncolumn(split(t)[1]).head in LINEAR or _is_outer(t) for t in terms)
        text = ""
        for t in terms:
            minus = _is_negative(t)
            t = negative(t) if minus else t
            part = self._all_over(t) if matrices and not t.shape else self.inside(t, PRODUCT, x.shape)
            text += (" - " if minus else " + ") + part if text else ("-" if minus else "") + part
        return text, SUM

    def _all_over(self, x: Expression) -> str:
        """A number, in every place of a matrix."""
        every = [self.ones, self.transposed(self.ones)]
        return self.chain(every, "" if x == ONE else self.inside(x, POWER))

    # products

    def _product(self, x: Expression) -> Written:
        c, _ = split(x)
        factors = [f for f in x.args if f.head != "number"]
        turned = next((f for f in factors if f.head == "sum" and any(map(_is_negative, f.args))), None)
        if c < 0 and turned is not None:
            c, factors = -c, [negative(f) if f is turned else f for f in factors]  # 2 (b - a), not -2 (a - b)
        if c < 0:
            text = self.inside(multiply(plain_number(-c), *factors), PRODUCT)
            return f"-{text}", SUM
        c, factors = self._means(c, factors)
        if len(x.shape) == 2:
            return self._matrix_product(c, factors, x.shape)
        up, down = _apart(factors)
        top, bottom = (c.numerator, c.denominator) if isinstance(c, Fraction) else (c, 1)
        above, below = self._side(top, up), self._side(bottom, down)
        return above if bottom == 1 and not down else self.fraction(above, below)

    def _side(self, number: int | float, factors: list[Expression]) -> Written:
        """A number times factors, those without axes first."""
        scalars = [self.of(f) for f in factors if not f.shape]
        elements = [self.of(f) for f in factors if f.shape]
        if number != 1 or not factors:
            scalars.insert(0, self.number(number))
        if len(scalars) + len(elements) == 1:
            return (scalars + elements)[0]
        return self.joined(scalars, elements), PRODUCT

    def _means(self, c: Fraction | float, factors: list[Expression]) -> tuple[Fraction | float, list[Expression]]:
        """1/n times a sum of n elements is a mean."""
        for i, f in enumerate(factors):
            g = uncolumn(f)
            if not isinstance(c, Fraction) or c.denominator == 1 or g.head != "reduce" or g.data[0] != "sum":
                continue
            of = g.args[0]
            n = 1
            for a in g.data[1]:
                n *= of.shape[a]
            product = of.head == "product" and len(of.args) == 2 and len(of.shape) == 1
            if g.shape or product or (c * n).denominator != 1:
                continue
            mean = Expression("call", (of,), "mean", ())
            return c * n, [*factors[:i], mean, *factors[i + 1 :]]
        return c, factors

    def _matrix_product(self, c: Fraction | float, factors: list[Expression], shape: Shape) -> Written:
        scalars = [f for f in factors if not f.shape]
        columns = [f.args[0] for f in factors if f.head == "column"]
        rows = [f for f in factors if len(f.shape) == 1]
        full = [f for f in factors if len(f.shape) == 2 and f.head != "column"]
        front = "" if c == 1 and not scalars else self.inside(multiply(plain_number(c), *scalars), POWER)
        if not full:
            pair = [self.inside(multiply(*columns), POWER), self.row(multiply(*rows))]
            return self.chain(pair, front), PRODUCT
        up, down = _apart(full)
        middle = self._hadamard(up, down)
        parts = []
        if columns:
            parts.append(self.function("diag", [self.write(multiply(*columns))])[0])
        least = POWER if columns or rows else PRODUCT if front else SUM
        parts.append(middle[0] if middle[1] >= least else self.brackets(middle[0]))
        if rows:
            parts.append(self.function("diag", [self.write(multiply(*rows))])[0])
        return self.chain(parts, front), PRODUCT

    def _hadamard(self, up: list[Expression], down: list[Expression]) -> Written:
        return self._side(1, up) if not down else self.fraction(self._side(1, up), self._side(1, down))

    # the signs, which latex and text have their own of

    @abstractmethod
    def number(self, value: Fraction | int | float) -> Written:
        """A number that is not negative."""

    @abstractmethod
    def name(self, name: str) -> str:
        """A symbol or constant."""

    @abstractmethod
    def brackets(self, text: str) -> str:
        """In brackets."""

    @abstractmethod
    def transposed(self, text: str) -> str:
        """With the sign of a transpose."""

    @abstractmethod
    def chain(self, parts: Sequence[str], number: str = "") -> str:
        """A product of matrices, with a number before it."""

    @abstractmethod
    def joined(self, scalars: Sequence[Written], elements: Sequence[Written]) -> str:
        """Numbers, then vectors or matrices multiplied element by element."""

    @abstractmethod
    def fraction(self, above: Written, below: Written) -> Written:
        """A quotient."""

    @abstractmethod
    def exponential(self, exponent: str) -> Written:
        """E to that power."""

    @abstractmethod
    def root(self, of: str) -> Written:
        """The square root."""

    @abstractmethod
    def raised(self, base: str, exponent: Written, elements: bool) -> str:
        """A power; of each element if there are several."""

    @abstractmethod
    def raised_name(self, name: str) -> str:
        """The sign of a function that takes its exponent behind its name; empty if it does not."""

    @abstractmethod
    def function(self, name: str, args: Sequence[str], exponent: str = "", named: str = "") -> Written:
        """A function of arguments."""

    @abstractmethod
    def squared_norm(self, of: str, matrix: bool) -> Written:
        """The sum of the squares of all elements."""


def _is_negative(t: Expression) -> bool:
    """Whether a minus stands before a term."""
    return split(uncolumn(t))[0] < 0


def _is_outer(t: Expression) -> bool:
    _, rest = split(t)
    return rest.head == "product" and len(rest.shape) == 2 and all(
        f.head == "column" or len(f.shape) < 2 for f in rest.args
    )  # fmt: skip


def _apart(factors: list[Expression]) -> tuple[list[Expression], list[Expression]]:
    """Factors above the line, and those below it, turned up."""
    up, down = [], []
    for f in factors:
        exponent = f.args[1] if f.head == "power" else ONE
        if exponent.head == "number" and exponent.data < 0 and f.args[0] is not E:
            down.append(power(f.args[0], negative(exponent)))
        else:
            up.append(f)
    return up, down
