"""Formulas as LaTeX, and as text for a terminal. See `layout` for what stands where."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from tinygrad_ft.explain.expression import Expression, Shape
from tinygrad_ft.explain.layout import ATOM, POWER, PRODUCT, SUM, Layout, Written

GREEK = {
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "kappa", "lambda", "mu", "nu", "xi", "pi",
    "rho", "sigma", "tau", "phi", "chi", "psi", "omega",
}  # fmt: skip
BACKSLASHED = {
    "sin", "cos", "tan", "sinh", "cosh", "tanh", "arcsin", "arccos", "arctan", "log",
}  # fmt: skip
LATEX_NAMES = {"sigmoid": r"\sigma", "maximum": r"\max", "minimum": r"\min", "max": r"\max", "min": r"\min"}
RELATIONS = {"less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">=", "equal": "==", "not_equal": "!="}
LATEX_RELATIONS = {**RELATIONS, "less_equal": r"\le", "greater_equal": r"\ge", "equal": "=", "not_equal": r"\ne"}


def latex(x: Expression, shape: Shape = ()) -> str:
    """x, spread to that shape, as LaTeX for mathematics mode."""
    return Latex().write(x, shape)


def text(x: Expression, shape: Shape = ()) -> str:
    """x as one line of text, in Python's signs: * element by element, @ between matrices, .T for a transpose."""
    return Text().write(x, shape)


class Latex(Layout):
    """The signs of LaTeX. Products of numbers are set apart by a thin space, of elements by a circled dot."""

    ones = r"\mathbf{1}"
    unit = r"\mathbf{I}"

    def number(self, value: Fraction | int | float) -> Written:
        """A fraction; a float that is none in full, powers of ten as such."""
        if isinstance(value, Fraction | int):
            if Fraction(value).denominator == 1:
                return str(Fraction(value)), ATOM
            return rf"\frac{{{value.numerator}}}{{{value.denominator}}}", POWER
        digits, _, exponent = repr(value).partition("e")
        if digits == "1":
            return f"10^{{{int(exponent)}}}", POWER
        return (rf"{digits} \cdot 10^{{{int(exponent)}}}", PRODUCT) if exponent else (digits, ATOM)

    def name(self, name: str) -> str:
        """Greek letters by their names, longer names upright, what follows _ below the line."""
        head, _, below = name.partition("_")
        sign = rf"\{head}" if head in GREEK else head if len(head) == 1 else rf"\mathrm{{{head}}}"
        return f"{sign}_{{{below}}}" if below else sign

    def brackets(self, text: str) -> str:
        """Round brackets that grow."""
        return rf"\left({text}\right)"

    def transposed(self, text: str) -> str:
        """A raised T."""
        return rf"{text}^\top"

    def chain(self, parts: Sequence[str], number: str = "") -> str:
        """Side by side."""
        return r" \, ".join([number, *parts] if number else parts)

    def joined(self, scalars: Sequence[Written], elements: Sequence[Written]) -> str:
        """Numbers side by side, then a circled dot between arrays."""
        parts = [t if level >= POWER else self.brackets(t) for t, level in scalars]
        least = POWER if len(elements) > 1 else PRODUCT
        arrays = r" \odot ".join(t if level >= least else self.brackets(t) for t, level in elements)
        return self.chain([*parts, arrays] if elements else parts)

    def fraction(self, above: Written, below: Written) -> Written:
        """A fraction, which needs no brackets."""
        return rf"\frac{{{above[0]}}}{{{below[0]}}}", POWER

    def exponential(self, exponent: str) -> Written:
        """E to that power."""
        return f"e^{{{exponent}}}", POWER

    def root(self, of: str) -> Written:
        """A root."""
        return rf"\sqrt{{{of}}}", POWER

    def raised(self, base: str, exponent: Written, elements: bool) -> str:
        """An exponent; with a circle where it is of each element."""
        circle = r"\circ " if elements else ""
        return f"{base}^{{{circle}{exponent[0]}}}"

    def raised_name(self, name: str) -> str:
        """sin^2(x), as it is written by hand."""
        return rf"\{name}" if name in BACKSLASHED - {"log"} and not name.startswith("arc") else ""

    def function(self, name: str, args: Sequence[str], exponent: str = "", named: str = "") -> Written:
        """Its sign, and its arguments in brackets."""
        if name in LATEX_RELATIONS:
            return rf"\left[{args[0]} {LATEX_RELATIONS[name]} {args[1]}\right]", ATOM
        if name == "abs":
            return rf"\left|{args[0]}\right|", ATOM
        if name in ("floor", "ceil"):
            return rf"\left\l{name} {args[0]} \right\r{name}", ATOM
        if name == "softplus":
            return rf"\log\left(1 + e^{{{args[0]}}}\right)", POWER
        if name == "where":
            condition, a, b = args
            return rf"\begin{{cases}} {a} & {condition} \\ {b} & \text{{otherwise}} \end{{cases}}", SUM
        sign = LATEX_NAMES.get(name) or (rf"\{name}" if name in BACKSLASHED else _operator(name))
        raised = f"^{{{exponent}}}" if named else ""
        return rf"{sign}{raised}\left({', '.join(args)}\right)", POWER

    def squared_norm(self, of: str, matrix: bool) -> Written:
        """A norm, Frobenius' of a matrix."""
        frobenius = "_F" if matrix else ""
        return rf"\left\lVert {of} \right\rVert{frobenius}^{{2}}", POWER


def _operator(name: str) -> str:
    head, _, below = name.partition("_of_")
    return rf"\operatorname{{{head}}}" + (rf"_{{\text{{{below}}}}}" if below else "")


class Text(Layout):
    """Python's signs, with the ops' own names."""

    ones = "ones"
    unit = "I"

    def number(self, value: Fraction | int | float) -> Written:
        """A fraction as a quotient."""
        exact = Fraction(value) if isinstance(value, Fraction | int) else None
        if exact is None:
            return repr(value), ATOM
        return str(exact), ATOM if exact.denominator == 1 else PRODUCT

    def name(self, name: str) -> str:
        """Itself."""
        return name

    def brackets(self, text: str) -> str:
        """Round brackets."""
        return f"({text})"

    def transposed(self, text: str) -> str:
        """As an attribute."""
        return f"{text}.T"

    def chain(self, parts: Sequence[str], number: str = "") -> str:
        """With the operator of matrices."""
        return (f"{number}*" if number else "") + " @ ".join(parts)

    def joined(self, scalars: Sequence[Written], elements: Sequence[Written]) -> str:
        """With the operator of elements."""
        first, *others = [*scalars, *elements]
        parts = [
            first[0] if first[1] >= (PRODUCT if not elements or not scalars else POWER) else self.brackets(first[0])
        ]
        return "*".join(parts + [t if level >= POWER else self.brackets(t) for t, level in others])

    def fraction(self, above: Written, below: Written) -> Written:
        """A quotient on one line."""
        over = above[0] if above[1] >= PRODUCT else self.brackets(above[0])
        under = below[0] if below[1] >= POWER else self.brackets(below[0])
        return f"{over}/{under}", PRODUCT

    def exponential(self, exponent: str) -> Written:
        """A function."""
        return f"exp({exponent})", ATOM

    def root(self, of: str) -> Written:
        """A function."""
        return f"sqrt({of})", ATOM

    def raised(self, base: str, exponent: Written, elements: bool) -> str:
        """With two stars."""
        return f"{base}**{exponent[0] if exponent[1] >= ATOM else self.brackets(exponent[0])}"

    def raised_name(self, name: str) -> str:
        """No function has one."""
        return ""

    def function(self, name: str, args: Sequence[str], exponent: str = "", named: str = "") -> Written:
        """A call; comparisons are operators."""
        if name in RELATIONS:
            return f"({args[0]} {RELATIONS[name]} {args[1]})", ATOM
        if name == "maximum" and args[1] == "0":
            return f"relu({args[0]})", ATOM
        return f"{name}({', '.join(args)})", ATOM

    def squared_norm(self, of: str, matrix: bool) -> Written:
        """A sum of squares."""
        return f"sum(({of})**2)" if any(c in of for c in " */@") else f"sum({of}**2)", ATOM
