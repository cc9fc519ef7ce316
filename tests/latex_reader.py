"""Reads the LaTeX that the explainer prints, and computes it with SymPy's numbers and matrices, in 40 digits.

It knows the signs of mathematics and nothing of the explainer: vectors are columns, `\\odot` and `^{\\circ 2}` go
element by element, `\\mathbf{1}` is the column of ones as long as it has to be.
"""

import re
from functools import reduce

import numpy as np
import sympy

DIGITS = 40
TOKEN = re.compile(
    r"\\begin\{cases\}|\\end\{cases\}|\\text\{[^}]*\}|\\operatorname\{\w+\}|\\mathrm\{\w+\}|\\mathbf\{\w\}|\\left\\lVert"
    r"|\\right\\rVert|\\left\\lfloor|\\right\\rfloor|\\left.|\\right.|\\\\|\\[A-Za-z]+|\\,|\d+\.?\d*|[A-Za-z]|\S"
)
BY_ONE = {
    r"\sin": sympy.sin, r"\cos": sympy.cos, r"\tan": sympy.tan, r"\sinh": sympy.sinh, r"\cosh": sympy.cosh,
    r"\tanh": sympy.tanh, r"\log": sympy.log, r"\arcsin": sympy.asin, r"\arccos": sympy.acos, r"\arctan": sympy.atan,
    r"\sigma": lambda x: 1 / (1 + sympy.exp(-x)), "erf": sympy.erf, "sign": sympy.sign, "arcsinh": sympy.asinh,
}  # fmt: skip
ONES, ONES_TURNED = "a column of ones", "a row of ones"
RELATIONS = {
    "<": sympy.Lt, ">": sympy.Gt, r"\le": sympy.Le, r"\ge": sympy.Ge, "=": sympy.Eq, r"\ne": sympy.Ne,
}  # fmt: skip


def evaluate(latex, values, shape=()):
    """What the LaTeX comes to, as an array of that shape; values are float arrays by name."""
    reader = Reader(latex, {name: as_sympy(value) for name, value in values.items()}, shape[0] if shape else 1)
    found = reader.sum()
    assert reader.place == len(reader.tokens), f"{latex} ends with {reader.tokens[reader.place :]}"
    if isinstance(found, sympy.MatrixBase):
        array = np.array(found.evalf(DIGITS).tolist(), dtype=np.float64)
        array = array.reshape(-1) if len(shape) == 1 else array
    else:
        array = np.float64(1.0 if isinstance(found, str) else sympy.N(found, DIGITS))
    return np.broadcast_to(array, shape)


def as_sympy(value):
    exact = np.vectorize(lambda x: sympy.Float(float(x), DIGITS), otypes=[object])(np.asarray(value, np.float64))
    return sympy.Matrix(exact.tolist()) if exact.ndim else exact.item()


def each(f, *xs):
    """F element by element; what has one row or column is repeated."""
    xs = [sympy.Integer(1) if isinstance(x, str) else x for x in xs]
    shapes = [x.shape for x in xs if isinstance(x, sympy.MatrixBase)]
    if not shapes:
        return f(*xs)
    n, m = max(s[0] for s in shapes), max(s[1] for s in shapes)
    assert all(s[0] in (1, n) and s[1] in (1, m) for s in shapes), shapes

    def at(x, i, j):
        if not isinstance(x, sympy.MatrixBase):
            return x
        return x[i if x.rows > 1 else 0, j if x.cols > 1 else 0]

    return sympy.Matrix(n, m, lambda i, j: f(*(at(x, i, j) for x in xs)))


def times(a, b):
    """The product of matrices, columns and numbers."""
    if b in (ONES, ONES_TURNED) and not isinstance(a, str | sympy.MatrixBase):
        return a  # repeated where it meets a matrix
    if a == ONES or b == ONES_TURNED:
        return sympy.Integer(1) if a == ONES and b == ONES_TURNED else b if a == ONES else a
    y = a * b
    return y[0, 0] if isinstance(y, sympy.MatrixBase) and y.shape == (1, 1) else y


def summed(factors):
    """A 1 as the sums of the rows of A, 1^T A as those of its columns: there ones are as long as A is."""
    factors = list(factors)
    for i in reversed(range(len(factors) - 1)):
        a, b = factors[i : i + 2]
        if a == ONES_TURNED and isinstance(b, sympy.MatrixBase):
            factors[i : i + 2] = [sympy.Matrix(1, b.cols, lambda _, j, b=b: sum(b[:, j]))]
        elif b == ONES and isinstance(a, sympy.MatrixBase):
            factors[i : i + 2] = [sympy.Matrix(a.rows, 1, lambda j, _, a=a: sum(a[j, :]))]
    return factors


class Reader:
    """One pass from left to right; a token that it does not know is an error."""

    def __init__(self, latex, values, size):
        self.tokens, self.values, self.size, self.place = TOKEN.findall(latex), values, size, 0

    def next(self):
        return self.tokens[self.place] if self.place < len(self.tokens) else ""

    def take(self, *signs):
        if self.next() not in signs:
            return None
        self.place += 1
        return self.tokens[self.place - 1]

    def need(self, sign):
        assert self.take(sign), f"{sign} expected: {' '.join(self.tokens[self.place - 3 : self.place + 3])}"

    def group(self, opening, closing, reads=None):
        self.need(opening)
        found = (reads or self.sum)()
        self.need(closing)
        return found

    def sum(self):
        total = each(lambda x: -x, self.product()) if self.take("-") else self.product()
        while sign := self.take("+", "-"):
            term = self.product()
            total = each(lambda a, b, s=sign: a + b if s == "+" else a - b, total, term)
        return total

    def product(self):
        factors = [self.elements()]
        while self.take(r"\,", r"\cdot"):
            factors.append(self.elements())
        return reduce(times, summed(factors))

    def elements(self):
        found = self.power()
        while self.take(r"\odot"):
            found = each(lambda a, b: a * b, found, self.power())
        return found

    def power(self):
        e = self.next() == "e" and "e" not in self.values
        base = self.atom()
        while self.take("^"):
            if self.take(r"\top"):
                base = ONES_TURNED if base == ONES else base.T
                continue
            self.need("{")
            circle = self.take(r"\circ")
            exponent = self.sum()
            self.need("}")
            assert circle or e or not isinstance(base, sympy.MatrixBase), "a power of a matrix"
            base = each(lambda a, p: a**p, base, exponent)
        return base

    def atom(self):
        token = self.next()
        self.place += 1
        if token[0].isdigit():
            return sympy.Rational(token)
        if token in (r"\left(", r"\left|", r"\left[", r"\left\lVert", r"\left\lfloor"):
            return self.bracket(token)
        if token == r"\frac":
            above, below = self.group("{", "}"), self.group("{", "}")
            return each(lambda a, b: a / b, above, below)
        if token == r"\sqrt":
            return each(sympy.sqrt, self.group("{", "}"))
        if token == r"\begin{cases}":
            return self.cases()
        if token == r"\mathbf{1}":
            return ONES
        if token == r"\mathbf{I}":
            return sympy.eye(self.size)
        function = token[14:-1] if token.startswith(r"\operatorname") else token
        if function in BY_ONE or function in (r"\max", r"\min", "softmax", "sum", "mean", "diag", "max", "min"):
            return self.function(function)
        return self.name(token)

    def name(self, token):
        name = token[8:-1] if token.startswith(r"\mathrm") else token.lstrip("\\")
        if self.take("_"):
            self.need("{")
            while not self.take("}"):
                name += ("" if "_" in name else "_") + self.next()
                self.place += 1
        constants = {"e": sympy.E, "pi": sympy.pi}
        return self.values[name] if name in self.values else constants[name]

    def bracket(self, token):
        found = self.sum()
        if token == r"\left[":
            relation = RELATIONS[self.next()]
            self.place += 1
            right = self.sum()
            self.need(r"\right]")
            return each(lambda a, b: sympy.Integer(bool(relation(a, b))), found, right)
        if token == r"\left\lVert":
            self.need(r"\right\rVert")
            if self.take("_"):
                self.need("F")
            assert self.group("{", "}") == 2 if self.take("^") else False, "a norm that is not squared"
            return sum(x * x for x in found)
        if token == r"\left\lfloor":
            self.need(r"\right\rfloor")
            return each(sympy.floor, found)
        self.need(token.replace("left", "right").replace("(", ")"))
        return found if token == r"\left(" else each(abs, found)

    def cases(self):
        a = self.sum()
        self.need("&")
        condition = self.sum()
        self.need(r"\\")
        b = self.sum()
        for sign in ("&", r"\text{otherwise}", r"\end{cases}"):
            self.need(sign)
        return each(lambda c, x, y: x if c else y, condition, a, b)

    def function(self, name):
        exponent = self.group("{", "}") if self.take("^") else sympy.Integer(1)
        rows = bool(self.take("_")) and self.group("{", "}", lambda: self.take(r"\text{rows}"))
        args = self.group(r"\left(", r"\right)", self.arguments)
        if name in BY_ONE:
            return each(lambda x: BY_ONE[name](x) ** exponent, *args)
        if len(args) == 2:
            return each(sympy.Max if name == r"\max" else sympy.Min, *args)
        (x,) = args
        if name == "diag":
            return sympy.diag(*x)
        if name in ("sum", "mean"):
            return sum(x) / (len(x) if name == "mean" else 1)
        if name == "softmax":
            turned = x.T if x.cols == 1 else x  # over the rows of a matrix; a column is one
            e = turned.applyfunc(sympy.exp)
            y = sympy.Matrix(*e.shape, lambda i, j: e[i, j] / sum(e[i, :]))
            return y.T if x.cols == 1 else y
        largest = sympy.Max if "max" in name else sympy.Min
        return sympy.Matrix(x.rows, 1, lambda i, _: largest(*x[i, :])) if rows else largest(*x)

    def arguments(self):
        found = [self.sum()]
        while self.take(","):
            found.append(self.sum())
        return found
