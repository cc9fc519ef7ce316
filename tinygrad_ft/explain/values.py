"""What a formula comes to with numbers for its symbols, in float64; and formulas with others in the place of parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from tinygrad_ft.device import cpu
from tinygrad_ft.explain.algebra import add, multiply, power
from tinygrad_ft.explain.expression import Expression, column, natural
from tinygrad_ft.explain.matrix import chain, total, transpose
from tinygrad_ft.explain.simplify import apply

Array = Any
WITHOUT_NUMPY: dict[str, Callable[..., Array]] = {
    "sigmoid": lambda x: np.exp(-np.logaddexp(0.0, -x)),
    "softplus": lambda x: np.logaddexp(0.0, x),
    "erf": lambda x: cpu.special.erf(x),
}


def evaluate(x: Expression, values: Mapping[str, Any]) -> Array:
    """x in its natural shape, with these numbers for its symbols.

    Raises:
        ValueError: if a symbol has no value, or one of another shape.
    """
    known: dict[Expression, Array] = {}
    with np.errstate(all="ignore"):
        return _evaluate(x, values, known)


def _evaluate(x: Expression, values: Mapping[str, Any], known: dict[Expression, Array]) -> Array:
    if x in known:
        return known[x]
    args = [_evaluate(a, values, known) for a in x.args]
    y = _symbol(x, values) if x.head == "symbol" else EVALUATE[x.head](x, args)
    known[x] = y
    return y


def _symbol(x: Expression, values: Mapping[str, Any]) -> Array:
    if x.data not in values:
        raise ValueError(f"{x.data} has no value: give one, {x.data}=...")
    value = np.asarray(values[x.data], np.float64)
    if natural(value.shape) not in (x.shape, (*x.shape, 1)):
        raise ValueError(f"{x.data} has shape {x.shape} in the formula: got numbers of shape {value.shape}")
    return value.reshape(x.shape)


def _reduce(x: Expression, args: list[Array]) -> Array:
    name, axes = x.data
    return getattr(np, name)(args[0], axis=axes)


def _matmul(x: Expression, args: list[Array]) -> Array:
    y = args[-1]
    for a in reversed(args[:-1]):
        y = a @ y
    return y


EVALUATE: dict[str, Callable[[Expression, list[Array]], Array]] = {
    "number": lambda x, args: np.float64(x.data),
    "constant": lambda x, args: {"e": np.float64(np.e), "pi": np.float64(np.pi)}[x.data],
    "identity": lambda x, args: np.eye(x.shape[0]),
    "transpose": lambda x, args: args[0].T,
    "column": lambda x, args: args[0][:, None],
    "power": lambda x, args: np.exp(args[1]) if x.args[0].head == "constant" and x.args[0].data == "e"
    else np.power(*args),
    "call": lambda x, args: (WITHOUT_NUMPY.get(x.data) or getattr(np, x.data))(*args) * 1.0,
    "reduce": _reduce,
    "softmax": lambda x, args: np.exp(args[0] - np.logaddexp.reduce(args[0], axis=-1, keepdims=True)),
    "matmul": _matmul,
    "diag": lambda x, args: np.diag(args[0]),
    "product": lambda x, args: _folded(np.multiply, args),
    "sum": lambda x, args: _folded(np.add, args),
}  # fmt: skip


def _folded(f: Any, args: list[Array]) -> Array:
    y = args[0]
    for a in args[1:]:
        y = f(y, a)
    return y


def rebuilt(x: Expression, args: tuple[Expression, ...]) -> Expression:
    """The operation of x on other arguments, simplified anew."""
    if x.head in ("number", "constant", "symbol", "identity"):
        return x
    if x.head == "reduce":
        return _reduced_anew(x, args[0])
    if x.head == "call":
        return apply(x.data, *args)
    if x.head in ("softmax", "diag"):
        return Expression(x.head, args, shape=x.shape)
    if x.head == "matmul":
        return chain(*args)
    return {"transpose": transpose, "column": column, "power": power, "product": multiply, "sum": add}[x.head](*args)


def _reduced_anew(x: Expression, of: Expression) -> Expression:
    name, axes = x.data
    y = total(of, x.args[0].shape, axes, name)
    return y.args[0] if y.head == "column" and len(x.shape) == 1 else y


def replaced(x: Expression, names: Mapping[Expression, Expression]) -> Expression:
    """x with other expressions in the place of some."""
    if x in names:
        return names[x]
    args = tuple(replaced(a, names) for a in x.args)
    return x if args == x.args else rebuilt(x, args)


def simplified(x: Expression) -> Expression:
    """x built again from its leaves: the same, unless a rule of simplification had been missed."""
    return rebuilt(x, tuple(map(simplified, x.args)))


def parts(x: Expression) -> Iterator[Expression]:
    """x and everything in it, each as often as it occurs."""
    yield x
    for a in x.args:
        yield from parts(a)


def symbols(x: Expression) -> set[str]:
    """The names that occur in it."""
    return {str(p.data) for p in parts(x) if p.head == "symbol"}
