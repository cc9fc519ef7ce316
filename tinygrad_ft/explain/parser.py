"""Expressions as people type them: `x * exp(sin(y)) + W @ v`, read by a grammar of our own; nothing is ever executed.

expression = operand, then operators by how tightly they bind: + -, * / @, a minus before, ** (or ^) to the right
operand    = number | name | name "(" expressions and name=number ")" | "(" expression ")", then ".T" any times
value      = number, or rows of them in square brackets
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from math import e, isfinite, pi
from typing import Any, NamedTuple

from tinygrad_ft.ops.composed import every

LONGEST, DEEPEST, MOST = 2_000, 60, 400  # characters, brackets in brackets, parts: beyond them nobody reads the answer
LARGEST_POWER = 100.0
NUMBER = re.compile(r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
SPACE = re.compile(r"\s*")
CONSTANTS = {"pi": pi, "e": e}
BINDING = {"+": 1, "-": 1, "*": 2, "/": 2, "@": 2, "**": 4, "^": 4}
MINUS_BINDS = 3
ONE_ARRAY = (
    "exp", "log", "sin", "cos", "tan", "sinh", "cosh", "tanh", "asin", "acos", "atan", "asinh", "acosh", "atanh",
    "sqrt", "rsqrt", "square", "reciprocal", "abs", "sign", "exp2", "expm1", "log1p", "log2", "log10", "sigmoid",
    "softplus", "relu", "gelu", "silu", "elu", "selu", "leaky_relu", "mish", "logsigmoid", "softsign", "tanhshrink",
    "erf", "softmax", "log_softmax", "logsumexp", "sum", "mean", "amax", "amin", "layer_norm", "rms_norm",
)  # fmt: skip
TWO_ARRAYS = ("maximum", "minimum", "hypot", "atan2", "logaddexp", "pow", "matmul", "dot", "outer")
ALONG = {"softmax": -1, "log_softmax": -1, "logsumexp": None, "sum": None, "mean": None, "amax": None, "amin": None}
ALIASES = {"ln": "log", "max": "maximum", "min": "minimum", "swish": "silu"}
FUNCTIONS = {**dict.fromkeys(ONE_ARRAY, 1), **dict.fromkeys(TWO_ARRAYS, 2)}


class ParseError(ValueError):
    """An expression that cannot be read: `source`, and the place in it where it stops making sense."""

    def __init__(self, what: str, source: str, place: int):
        super().__init__(f"{what}, at place {place + 1}")
        self.source, self.place = source, place

    def pointed(self) -> str:
        """The expression, and a ^ below the place."""
        start = max(self.place - 60, 0)
        return f"{self.source[start : start + 100]}\n{' ' * (self.place - start)}^"


class Tree(NamedTuple):
    """A part of an expression: its kind, a name, sign or number, its parts, and where it stands."""

    kind: str  # number, name, call, sign, transpose
    what: Any
    parts: tuple[Tree, ...] = ()
    place: int = 0
    along: int | None = None  # the axis that a call was given

    def walk(self) -> Iterator[Tree]:
        """Itself and all its parts."""
        yield self
        for part in self.parts:
            yield from part.walk()

    def names(self) -> list[str]:
        """The names that need a value, in order of their first use."""
        return list(dict.fromkeys(t.what for t in self.walk() if t.kind == "name" and t.what not in CONSTANTS))


class _Reader:
    """Reads from left to right; `place` is the next character."""

    def __init__(self, source: str):
        self.source, self.place, self.deep, self.count = source, 0, 0, 0
        if len(source) > LONGEST:
            raise ParseError(
                f"the expression has {len(source)} characters: at most {LONGEST} are read", source, LONGEST
            )
        if bad := re.search(r"[^\x20-\x7e\t]", source):
            raise ParseError(f"{bad[0]!r} is no part of an expression", source, bad.start())
        self.space()

    def fail(self, what: str, place: int | None = None) -> ParseError:
        return ParseError(what, self.source, self.place if place is None else place)

    def space(self) -> None:
        self.place = SPACE.match(self.source, self.place).end()  # type: ignore[union-attr]

    def take(self, sign: str) -> bool:
        found = self.source.startswith(sign, self.place)
        if found:
            self.place += len(sign)
            self.space()
        return found

    def need(self, sign: str) -> None:
        if not self.take(sign):
            raise self.fail(f"{sign!r} was expected, and {self.next()} came")

    def next(self) -> str:
        return repr(self.source[self.place]) if self.place < len(self.source) else "the end"

    def matched(self, pattern: re.Pattern[str]) -> str | None:
        found = pattern.match(self.source, self.place)
        if found is None:
            return None
        self.place = found.end()
        self.space()
        return found[0]

    def number(self) -> float:
        place = self.place
        text = self.matched(NUMBER)
        if text is None:
            raise self.fail(f"a number was expected, and {self.next()} came")
        if not isfinite(float(text)):
            raise self.fail(f"{text[:20]} is more than a number can be", place)
        return float(text)

    def made(self, *tree: Any) -> Tree:
        self.count += 1
        if self.count > MOST:
            raise self.fail(f"the expression has more than {MOST} parts")
        return Tree(*tree)

    def expression(self, binding: int = 0) -> Tree:
        self.deep += 1
        if self.deep > DEEPEST:
            raise self.fail(f"brackets stand more than {DEEPEST} deep in each other")
        left = self.operand()
        while (sign := self.sign()) and BINDING[sign] > binding:
            place = self.place
            self.take(sign)
            own = BINDING[sign]
            right = self.expression(MINUS_BINDS if own == 4 else own)
            if own == 4 and right.kind == "number" and abs(right.what) > LARGEST_POWER:
                raise self.fail(f"a power of {right.what:g} is more than {LARGEST_POWER:g}", place)
            left = self.made("sign", "**" if sign == "^" else sign, (left, right), place)
        self.deep -= 1
        return left

    def sign(self) -> str | None:
        return next((s for s in ("**", *BINDING) if self.source.startswith(s, self.place)), None)

    def operand(self) -> Tree:
        place = self.place
        if self.take("-"):
            return self.made("sign", "minus", (self.expression(MINUS_BINDS),), place)
        if self.take("+"):
            return self.expression(MINUS_BINDS)
        if self.take("("):
            tree = self.expression()
            self.need(")")
        elif self.place < len(self.source) and (self.source[self.place].isdigit() or self.source[self.place] == "."):
            tree = self.made("number", self.number(), (), place)
        elif name := self.matched(NAME):
            tree = self.call(name, place) if self.take("(") else self.made("name", name, (), place)
        else:
            raise self.fail(f"a number, a name or '(' was expected, and {self.next()} came")
        while self.source.startswith(".T", self.place):
            at = self.place
            self.take(".T")
            tree = self.made("transpose", "T", (tree,), at)
        return tree

    def call(self, name: str, place: int) -> Tree:
        own = ALIASES.get(name, name)
        if own not in FUNCTIONS:
            near = get_close_matches(name, [*FUNCTIONS, *ALIASES], 1, 0.5)
            hint = f"did you mean {near[0]}?" if near else "explain --help lists those that there are"
            raise self.fail(f"there is no function {name!r}: {hint}", place)
        arguments: list[Tree] = []
        along: int | None = None
        while not self.take(")"):
            if arguments or along is not None:
                self.need(",")
            if re.compile(r"(axis|dim)\s*=").match(self.source, self.place):
                at = self.place
                self.matched(NAME)
                self.need("=")
                minus = self.take("-")
                axis = self.number()
                if own not in ALONG or along is not None or axis not in (0, 1, 2):
                    raise self.fail(f"{name} takes no such axis", at)
                along = int(-axis if minus else axis)
            else:
                arguments.append(self.expression())
        if name in ("max", "min") and len(arguments) == 1:
            own = f"a{name}"
        if len(arguments) != FUNCTIONS[own]:
            raise self.fail(f"{name} takes {FUNCTIONS[own]} arguments: got {len(arguments)}", place)
        return self.made("call", own, tuple(arguments), place, along)

    def rows(self, deep: int = 0) -> Any:
        """A number, or a list of rows."""
        if not self.take("["):
            minus = self.take("-")
            value = self.number()
            return -value if minus else value
        if deep == 2:
            raise self.fail("a value has at most 2 axes")
        rows = [self.rows(deep + 1)]
        while not self.take("]"):
            self.need(",")
            rows.append(self.rows(deep + 1))
        if len({len(r) if isinstance(r, list) else -1 for r in rows}) > 1:
            raise self.fail("the rows of a matrix must have one length")
        return rows


def parse(source: str) -> Tree:
    """The expression as a tree.

    Raises:
        ParseError: a ValueError, if it cannot be read, with the place; if it is longer or deeper than anybody reads.
    """
    reader = _Reader(source)
    if not source.strip():
        raise reader.fail("the expression is empty")
    tree = reader.expression()
    if reader.place < len(source):
        raise reader.fail(f"an operator or the end was expected, and {reader.next()} came")
    return tree


def parse_values(source: str) -> dict[str, Any]:
    """`x=2, v=[1, 2], W=[[1, 2], [3, 4]]` as numbers and nested lists of numbers.

    Raises:
        ParseError: if it cannot be read, or if a name comes twice.
    """
    reader = _Reader(source)
    values: dict[str, Any] = {}
    while reader.place < len(source):
        if values:
            reader.need(",")
        place = reader.place
        name = reader.matched(NAME)
        if name is None:
            raise reader.fail(f"a name was expected, as in x=2, and {reader.next()} came")
        reader.need("=")
        if name in values or name in CONSTANTS or name in FUNCTIONS:
            raise reader.fail(f"{name} has a meaning already: a value needs a name of its own", place)
        values[name] = reader.rows()
    return values


SIGNS: dict[str, Callable[[Any, Any], Any]] = {
    "+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b, "/": lambda a, b: a / b,
    "@": lambda a, b: a @ b, "**": lambda a, b: a**b,
}  # fmt: skip


def compute(tree: Tree, values: dict[str, Any], constant: Callable[[float], Any]) -> Any:
    """The tree's value by our ops, whatever arrays they work on; `constant` makes one of a number.

    Raises:
        ValueError: if a name has no value, or where the ops cannot take the shapes.
    """
    if tree.kind == "number":
        return constant(tree.what)
    if tree.kind == "name":
        if tree.what in values:
            return values[tree.what]
        if tree.what in CONSTANTS:
            return constant(CONSTANTS[tree.what])
        raise ValueError(f"{tree.what} has no value: give one, as in --at {tree.what}=2")
    xs = [compute(part, values, constant) for part in tree.parts]
    try:
        if tree.kind == "transpose":
            return xs[0].T
        if tree.kind == "sign":
            power = tree.parts[1].what if tree.what == "**" and tree.parts[1].kind == "number" else None
            return -xs[0] if tree.what == "minus" else SIGNS[tree.what](xs[0], xs[1] if power is None else power)
        return _called(tree, xs)
    except (ArithmeticError, IndexError, TypeError) as error:
        raise ValueError(f"{tree.what} at place {tree.place + 1}: {error}") from error


def _called(tree: Tree, xs: list[Any]) -> Any:
    if tree.what in ("layer_norm", "rms_norm"):
        if not xs[0].ndim:
            raise ValueError(f"{tree.what} needs a vector or a matrix: got a number")
        return every()[tree.what](xs[0], (xs[0].shape[-1],))
    f = every()[tree.what]
    if tree.what not in ALONG:
        return f(*xs)
    return f(xs[0], axis=ALONG[tree.what] if tree.along is None else tree.along)
