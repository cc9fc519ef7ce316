"""Formulas of functions and of their derivatives, of any order: the engine's own forwards and rules, run on symbols."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinygrad_ft import gradients
from tinygrad_ft.engine import Value
from tinygrad_ft.explain import signs
from tinygrad_ft.explain.expression import ZERO, Expression, Shape, symbol
from tinygrad_ft.explain.formula_module import Formula, engaged, lift
from tinygrad_ft.explain.linear_map import jacobian_of
from tinygrad_ft.explain.values import evaluate, replaced
from tinygrad_ft.tensor import Tensor


class Formulated:
    """A value as a formula, which can be differentiated further by the engine.

    `latex` and `text` are two ways to write it, `shape` is the shape of its value; a notebook shows it typeset.
    """

    def __init__(
        self, expression: Expression, shape: Shape, value: Any = None, variables: Mapping[str, Any] | None = None
    ):
        self.expression, self.shape = expression, tuple(shape)
        self._value, self._variables = value, dict(variables or {})

    @property
    def latex(self) -> str:
        """As LaTeX, for mathematics mode."""
        return signs.latex(self.expression, self.shape)

    @property
    def text(self) -> str:
        """As a line of text."""
        return signs.text(self.expression, self.shape)

    def __repr__(self) -> str:
        return self.text

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {self.latex}$"

    @property
    def names(self) -> list[str]:
        """The variables that it can be differentiated by."""
        return list(self._variables)

    @property
    def size(self) -> int:
        """How many numbers it comes to."""
        return int(np.prod(self.shape))

    @property
    def ndim(self) -> int:
        """How many axes it has."""
        return len(self.shape)

    def evaluate(self, **values: Any) -> Any:
        """Its numbers, in float64, with these for the symbols: a float, or an array of its shape.

        Raises:
            ValueError: if a symbol has no value, or one of another shape.
        """
        y = np.broadcast_to(evaluate(self.expression, values), self.shape)
        return float(y) if not self.shape else y.copy()

    def derivative(self, name: str, order: int = 1) -> Formulated:
        """The derivative by a variable: of a number the gradient, of a vector the Jacobian; of any order.

        Raises:
            KeyError: if there is no such variable.
            ValueError: if it would have more than 2 axes (`vjp` has not), or if a Jacobian is to be differentiated.
        """
        if order < 1:
            raise ValueError(f"the order of a derivative is 1 or more: got {order}")
        answer = self._derivative(name)
        return answer if order == 1 else answer.derivative(name, order - 1)

    def _derivative(self, name: str) -> Formulated:
        x = self._variable(name)
        if not self.shape:
            return self._pulled(x, {})
        if len(self.shape) != 1 or len(x.shape) > 1:
            raise ValueError(
                f"the derivative of shape {self.shape} by {name} {tuple(x.shape)} has more than 2 axes: "
                f"vjp({name!r}) says what a rule answers, or differentiate a sum"
            )
        arriving = next(g for g in ("g", "g_1", "g_2") if g not in self._variables)
        handed_on = self.vjp(name, arriving)
        jacobian = jacobian_of(handed_on.expression, symbol(arriving, self.shape), tuple(x.shape))
        return Formulated(jacobian, (*self.shape, *x.shape))

    def vjp(self, name: str, arriving: str = "g") -> Formulated:
        """What the chain rule hands on to a variable when `arriving`, dL/dy in the shape of y, comes in."""
        if arriving in self._variables:
            raise ValueError(f"{arriving} is a variable already: give what arrives another name")
        return self._pulled(self._variable(name), {arriving: _leaf(arriving, self.shape)})

    def where(self, **parts: Formulated) -> Formulated:
        """The same with names for parts of it: softmax(z) * (1 - softmax(z)) with p=softmax(z) is p * (1 - p)."""
        names = {part.expression: symbol(name, part.shape) for name, part in parts.items()}
        return Formulated(replaced(self.expression, names), self.shape)

    def _variable(self, name: str) -> Any:
        if self._value is None:
            raise ValueError("a Jacobian is written out, not derived further: differentiate a sum, or use vjp")
        if name not in self._variables:
            raise KeyError(f"there is no variable {name!r}: there are {', '.join(self._variables) or 'none'}")
        return self._variables[name]

    def _pulled(self, x: Any, arriving: dict[str, Any]) -> Formulated:
        g = None
        if self._value.node is not None:
            with _of_formulas():
                given = next(iter(arriving.values()), None)
                (g,) = gradients.grad(self._value, [x], [given], create_graph=True, allow_unused=True)
        g = _constant(ZERO, x.shape) if g is None else g
        return Formulated(g.array.expression, g.shape, g, {**self._variables, **arriving})


@contextmanager
def _of_formulas() -> Iterator[None]:
    """A context in which the engine takes formulas, and says what to do about other arrays beside them."""
    with engaged():
        try:
            yield
        except ValueError as error:
            if not ("formulas" in str(error) and "bring them to one device" in str(error)):
                raise
            raise ValueError(
                "a formula meets formulas and single numbers: name an array, as one more argument of the function"
            ) from error


def constant(value: float) -> Any:
    """A number as a Tensor that can meet formulas."""
    return _constant(lift(value).expression, ())


def _constant(expression: Expression, shape: Shape) -> Any:
    with engaged():
        return Tensor(Formula(expression, shape))


def _leaf(name: str, shape: Shape) -> Any:
    with engaged():
        return Tensor(Formula(symbol(name, tuple(shape)), tuple(shape))).requires_grad_()


def formula(f: Callable[..., Any], *names: str, **shapes: Shape) -> Formulated:
    """f, a function of our ops, as a formula of its arguments.

        formula(lambda x: x * tg.exp(tg.sin(x)), "x").derivative("x").latex
        formula(lambda W, x, b: ((W @ x + b) ** 2).sum(), W=(2, 3), x=(3,), b=(2,)).derivative("W").text

    Args:
        names: the arguments that are numbers, in order; more by name with their `shapes`, () to (n, m).
    Raises:
        ValueError: where f does what no formula is written for: indexing, branches on numbers, more than 2 axes.
    """
    variables = {name: _leaf(name, shape) for name, shape in {**dict.fromkeys(names, ()), **shapes}.items()}
    with _of_formulas():
        y = f(*variables.values())
    if not isinstance(y, Value):
        y = _constant(lift(y).expression, ())
    if not isinstance(y.array, Formula):
        raise ValueError(f"the function must answer a Tensor made of its arguments: got {type(y).__name__}")
    return Formulated(y.array.expression, y.shape, y, variables)
