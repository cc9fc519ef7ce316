"""An array module that answers in Python text: an op's own forward, run on it, writes the body of a fused loop.

A `Text` stands for one element: the name of a variable of the loop, and whether it holds a number or a truth value.
Every operation on it adds a line to the loop's body. What has no counterpart here raises `NotWritable`, and the op
stays a call of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import Any

import numpy as np

# The functions of one number that compiled loops know how to vectorise, by NumPy's names
VECTORISED = {"exp": "exp_", "tanh": "tanh_", "log": "log_", "erf": "erf_", "sqrt": "sqrt", "abs": "abs"}
COMPARISONS = {
    "less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">=", "equal": "==", "not_equal": "!=",
}  # fmt: skip
ARITHMETIC = {"add": "+", "subtract": "-", "multiply": "*", "true_divide": "/", "divide": "/"}


class NotWritable(Exception):
    """The forward uses something that a fused loop has no text for."""


class Text:
    """One element, by the name of the variable that holds it."""

    __array_ufunc__ = None  # NumPy's scalars leave their operators to ours

    def __init__(self, body: Source, name: str, *, truth: bool = False):
        self.body, self.name, self.truth = body, name, truth

    @property
    def dtype(self) -> Any:
        """The dtype of the numbers in this loop."""
        return np.dtype(bool) if self.truth else self.body.dtype

    def __add__(self, other: Any) -> Any:
        return self.body.add(self, other)

    def __radd__(self, other: Any) -> Any:
        return self.body.add(other, self)

    def __sub__(self, other: Any) -> Any:
        return self.body.subtract(self, other)

    def __rsub__(self, other: Any) -> Any:
        return self.body.subtract(other, self)

    def __mul__(self, other: Any) -> Any:
        return self.body.multiply(self, other)

    def __rmul__(self, other: Any) -> Any:
        return self.body.multiply(other, self)

    def __truediv__(self, other: Any) -> Any:
        return self.body.true_divide(self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return self.body.true_divide(other, self)

    def __pow__(self, p: Any) -> Any:
        return self.body.power(self, p)

    def __rpow__(self, x: Any) -> Any:
        return self.body.power(x, self)

    def __neg__(self) -> Any:
        return self.body.negative(self)

    def __abs__(self) -> Any:
        return self.body.abs(self)

    def __lt__(self, other: Any) -> Any:
        return self.body.less(self, other)

    def __le__(self, other: Any) -> Any:
        return self.body.less_equal(self, other)

    def __gt__(self, other: Any) -> Any:
        return self.body.greater(self, other)

    def __ge__(self, other: Any) -> Any:
        return self.body.greater_equal(self, other)

    def __eq__(self, other: object) -> Any:
        return self.body.equal(self, other)

    def __ne__(self, other: object) -> Any:
        return self.body.not_equal(self, other)

    def __and__(self, other: Any) -> Any:
        return self.body.logical_and(self, other)

    def __or__(self, other: Any) -> Any:
        return self.body.logical_or(self, other)

    def __invert__(self) -> Any:
        return self.body.logical_not(self)

    def __bool__(self) -> bool:
        raise NotWritable("a branch")

    __hash__ = object.__hash__

    def astype(self, dtype: Any, copy: bool = True) -> Any:
        """In another dtype: the loop's own, or truth values."""
        if np.dtype(dtype) == self.body.dtype:
            return self.body.write(self.body.number(self))
        if np.dtype(dtype) == bool and self.truth:
            return self
        raise NotWritable(f"a dtype {dtype}")


class Source:
    """The array module. `lines` grows with every operation; numbers are of one floating dtype."""

    def __init__(self, dtype: Any):
        self.dtype = np.dtype(dtype)
        self.lines: list[str] = []
        for name, sign in ARITHMETIC.items():
            setattr(self, name, self._infix(sign, self.number, truth=False))
        for name, sign in COMPARISONS.items():
            setattr(self, name, self._infix(sign, self.number, truth=True))
        for name, sign in {"logical_and": "&", "logical_or": "|", "bitwise_and": "&", "bitwise_or": "|"}.items():
            setattr(self, name, self._infix(sign, self.truth, truth=True))
        for name, function in VECTORISED.items():
            setattr(self, name, self._call(function))
        self.special = self  # erf, beside the functions that NumPy has itself
        self.float16 = np.float16  # some forwards ask whether it is theirs
        self.absolute, self.float32, self.float64 = self.abs, self.asarray, self.asarray

    def __getattr__(self, name: str) -> Any:
        raise NotWritable(name)

    def write(self, text: str, *, truth: bool = False) -> Text:
        """A new variable that holds what the text says."""
        name = f"t{len(self.lines)}"
        self.lines.append(f"{name} = {text}")
        return Text(self, name, truth=truth)

    def number(self, x: Any) -> str:
        """x as a number of the loop's dtype."""
        if isinstance(x, Text):
            return f"(F(1.0) if {x.name} else F(0.0))" if x.truth else x.name
        if isinstance(x, bool | int | float | np.bool_ | np.integer | np.floating):
            value = float(x)
            return f"F({value!r})" if isfinite(value) else "nan" if value != value else "inf" if value > 0 else "-inf"
        raise NotWritable(type(x).__name__)

    def truth(self, x: Any) -> str:
        """x as a truth value."""
        if isinstance(x, Text) and x.truth:
            return x.name
        if isinstance(x, bool | np.bool_):
            return repr(bool(x))
        raise NotWritable("numbers for truth values")

    def _infix(self, sign: str, kind: Callable[[Any], str], *, truth: bool) -> Callable[[Any, Any], Text]:
        return lambda a, b: self.write(f"{kind(a)} {sign} {kind(b)}", truth=truth)

    def _call(self, function: str) -> Callable[[Any], Text]:
        return lambda x: self.write(f"{function}({self.number(x)})")

    def log1p(self, x: Any) -> Text:
        """log(1 + x): what is lost in rounding 1 + x is brought back by the factor (Goldberg, 1991, theorem 4)."""
        v = self.number(x)
        u = self.write(f"F(1.0) + {v}").name
        w = self.write(f"log_({u}) * ({v} / ({u} - F(1.0)))").name
        return self.write(f"{v} if {u} == F(1.0) else ({u} if {u} == inf else {w})")

    def expm1(self, x: Any) -> Text:
        """e^x - 1, likewise."""
        v = self.number(x)
        u = self.write(f"exp_({v})").name
        w = self.write(f"({u} - F(1.0)) * ({v} / log_({u}))").name
        small = self.write(f"{v} if {u} == F(1.0) else {w}").name
        return self.write(f"F(-1.0) if {u} == F(0.0) else ({u} if {u} == inf else {small})")

    def negative(self, x: Any) -> Text:
        """-x."""
        return self.write(f"-{self.number(x)}")

    def logical_not(self, x: Any) -> Text:
        """Whether x is false."""
        return self.write(f"not {self.truth(x)}", truth=True)

    invert = logical_not

    def where(self, condition: Any, a: Any, b: Any) -> Text:
        """a where the condition holds, b elsewhere."""
        if all(isinstance(x, Text) and x.truth for x in (a, b)):
            return self.write(f"{a.name} if {self.truth(condition)} else {b.name}", truth=True)
        return self.write(f"{self.number(a)} if {self.truth(condition)} else {self.number(b)}")

    def maximum(self, a: Any, b: Any) -> Text:
        """The larger; NaN if either is."""
        return self._extreme(a, ">", b)

    def minimum(self, a: Any, b: Any) -> Text:
        """The smaller; NaN if either is."""
        return self._extreme(a, "<", b)

    def _extreme(self, a: Any, sign: str, b: Any) -> Text:
        x, y = self.number(a), self.number(b)
        return self.write(f"{x} if ({x} {sign} {y}) | ({x} != {x}) else {y}")

    def clip(self, x: Any, least: Any, most: Any) -> Text:
        """x, held between two numbers of which one may be None."""
        y = x if least is None else self.maximum(x, least)
        return y if most is None else self.minimum(y, most)

    def sign(self, x: Any) -> Text:
        """-1, 0 or 1; NaN of NaN."""
        v = self.number(x)
        return self.write(f"F(1.0) if {v} > F(0.0) else (F(-1.0) if {v} < F(0.0) else {v})")

    def power(self, x: Any, p: Any) -> Text:
        """x^p for the powers that are products and roots."""
        v = self.number(x)
        texts = {2: f"{v} * {v}", 3: f"{v} * {v} * {v}", 1: v, 0: "F(1.0)", -1: f"F(1.0) / {v}", 0.5: f"sqrt({v})"}
        if isinstance(p, int | float) and p in texts:
            return self.write(texts[p])
        raise NotWritable("a power")

    def isfinite(self, x: Any) -> Text:
        """Whether x is neither infinite nor NaN."""
        v = self.number(x)
        return self.write(f"({v} - {v}) == F(0.0)", truth=True)

    def zeros_like(self, x: Any) -> Text:
        """0."""
        return self.write("F(0.0)")

    def ones_like(self, x: Any) -> Text:
        """1."""
        return self.write("F(1.0)")

    def asarray(self, x: Any, dtype: Any = None) -> Any:
        """x itself, a number in a place where only its dtype was in question."""
        if isinstance(x, Text):
            return x
        self.number(x)  # or NotWritable
        return x
