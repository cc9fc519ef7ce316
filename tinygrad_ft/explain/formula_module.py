"""An array module whose arrays are formulas: an op's own forward and rule, run on it, write themselves down.

This module is the `xp` that forwards are handed, as NumPy is on the CPU: its functions have NumPy's names. What has no
counterpart here cannot be written as a formula, and says so. The engine knows these arrays only inside `engaged()`, so
they are no device that tensors could be brought to.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from threading import Lock
from typing import Any

import numpy as np

from tinygrad_ft.device import DEVICES, Device
from tinygrad_ft.explain import algebra, matrix
from tinygrad_ft.explain.expression import MINUS, ONE, ZERO, Expression, Shape, natural
from tinygrad_ft.explain.simplify import COMPARISONS, LOGICAL, apply
from tinygrad_ft.explain.simplify import number as number_of

float16, float32, float64, inf, nan = np.float16, np.float32, np.float64, math.inf, math.nan
FLOAT, TRUTH = np.dtype(np.float64), np.dtype(bool)
SAME_NAME = (
    "exp", "expm1", "log", "log1p", "log2", "log10", "sqrt", "sin", "cos", "tan", "arcsin", "arccos", "arctan", "sinh",
    "cosh", "tanh", "arcsinh", "arccosh", "arctanh", "abs", "sign", "erf", "floor", "ceil", "maximum", "minimum",
    "hypot", "arctan2", "logaddexp", "square", "reciprocal", "where", *COMPARISONS, *LOGICAL,
)  # fmt: skip


def _operators(name: str) -> tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]:
    """The function of this module as an operator: with the other array on the right, on the left, and in place."""

    def function() -> Callable[..., Any]:
        return getattr(sys.modules[__name__], name)  # type: ignore[no-any-return]

    return (
        lambda self, other: function()(self, other),
        lambda self, other: function()(other, self),
        lambda self, other: function()(self, other, out=self),
    )


class Formula:
    """An array that is a formula: an expression, and the shape to which it is spread."""

    __slots__ = ("dtype", "expression", "shape")
    __array_ufunc__ = None  # NumPy's scalars leave their operators to ours
    base = None  # it is never a view

    def __init__(self, expression: Expression, shape: Shape = (), dtype: Any = FLOAT):
        self.expression, self.shape, self.dtype = expression, tuple(shape), dtype

    @property
    def ndim(self) -> int:
        """How many axes it has."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """How many elements it has."""
        return math.prod(self.shape)

    @property
    def T(self) -> Formula:
        """Transposed."""
        return transpose(self, tuple(reversed(range(self.ndim))))

    def __repr__(self) -> str:
        return f"Formula({self.expression!r}, {self.shape})"

    __add__, __radd__, __iadd__ = _operators("add")
    __sub__, __rsub__, __isub__ = _operators("subtract")
    __mul__, __rmul__, __imul__ = _operators("multiply")
    __truediv__, __rtruediv__, __itruediv__ = _operators("true_divide")
    __pow__, __rpow__, __ipow__ = _operators("power")
    __lt__, __le__, __gt__, __ge__, __eq__, __ne__ = (
        _operators(name)[0] for name in ("less", "less_equal", "greater", "greater_equal", "equal", "not_equal")
    )

    def __neg__(self) -> Formula:
        return negative(self)

    __hash__ = object.__hash__

    def __matmul__(self, other: Any) -> Formula:
        return matmul(self, other)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise ValueError(f"no formula is written for {name}: it goes through single elements, or chooses among them")

    def __len__(self) -> int:
        return self.shape[0]

    def swapaxes(self, a: int, b: int) -> Formula:
        """Two axes exchanged."""
        order = list(range(self.ndim))
        order[a], order[b] = order[b], order[a]
        return transpose(self, order)

    def __bool__(self) -> bool:
        raise ValueError("a formula has no truth value: a branch on numbers cannot be derived; use where(...)")

    def __float__(self) -> float:
        raise ValueError("a formula is not a number: code that asks for one (item(), float()) cannot be derived")

    item = __int__ = __index__ = __float__

    def __getitem__(self, key: Any) -> Formula:
        if key == (..., 0) and self.shape and self.shape[-1] == 1:  # the rule of matmul takes a column back so
            return self.reshape(self.shape[:-1])
        raise ValueError(f"formulas stand for whole arrays: an index, {key!r}, cannot be written")

    def __setitem__(self, key: Any, value: Formula) -> None:
        if key != (..., 0) or self.shape[-1:] != (1,):  # the rule of that index fills zeros
            raise ValueError(f"formulas stand for whole arrays: an index, {key!r}, cannot be written")
        self.expression = value.reshape(self.shape).expression

    def reshape(self, *shape: Any) -> Formula:
        """In another shape that differs by axes of length 1, or not at all."""
        new = list(shape[0] if len(shape) == 1 and isinstance(shape[0], tuple | list) else shape)
        if -1 in new:
            new[new.index(-1)] = self.size // (math.prod(n for n in new if n != -1) or 1)
        return Formula(matrix.reshape(self.expression, self.shape, tuple(new)), tuple(new), self.dtype)

    def sum(self, axis: Any = None, keepdims: bool = False, dtype: Any = None) -> Formula:
        """The sum over some axes, all if None."""
        return _reduce(self, axis, keepdims, "sum")

    def astype(self, dtype: Any, copy: bool = True) -> Formula:
        """A copy: formulas have no precision."""
        return self.copy() if copy else self

    def copy(self) -> Formula:
        """Itself, which never changes."""
        return Formula(self.expression, self.shape, self.dtype)


def lift(x: Any) -> Formula:
    """A number as a formula; a formula as it is."""
    if isinstance(x, Formula):
        return x
    if isinstance(x, bool | int | np.integer | np.bool_):
        return Formula(number_of(Fraction(int(x))))
    if isinstance(x, float | np.floating):
        return Formula(number_of(float(x)))
    if isinstance(x, np.ndarray) and x.ndim == 0:
        return lift(x[()])
    raise ValueError(
        f"formulas meet formulas and single numbers only: got {type(x).__name__} of {np.shape(x)}; name it"
    )


def _spread(*parts: Formula) -> Shape:
    try:
        return np.broadcast_shapes(*(p.shape for p in parts))
    except ValueError:
        raise ValueError(f"shapes do not broadcast: {' and '.join(str(p.shape) for p in parts)}") from None


def _into(out: Formula | None, answer: Formula) -> Formula:
    """The answer, written into another array if one was given."""
    if out is None:
        return answer
    if out.shape != answer.shape:
        raise ValueError(f"an answer of shape {answer.shape} cannot be written into an array of shape {out.shape}")
    out.expression = answer.expression
    return out


def _elementwise(name: str) -> Callable[..., Formula]:
    def of_formulas(*xs: Any, out: Any = None) -> Formula:
        """The function of that name, element by element, written into `out` if there is one."""
        formulas = [lift(x) for x in xs]
        dtype = TRUTH if name in COMPARISONS or name in LOGICAL else FLOAT
        return _into(out, Formula(apply(name, *(f.expression for f in formulas)), _spread(*formulas), dtype))

    of_formulas.__name__ = name
    return of_formulas


globals().update({name: _elementwise(name) for name in SAME_NAME})
absolute = _elementwise("abs")


def add(a: Any, b: Any, out: Any = None) -> Formula:
    """a + b."""
    a, b = lift(a), lift(b)
    return _into(out, Formula(algebra.add(a.expression, b.expression), _spread(a, b)))


def multiply(a: Any, b: Any, out: Any = None) -> Formula:
    """a b, element by element."""
    a, b = lift(a), lift(b)
    return _into(out, Formula(algebra.multiply(a.expression, b.expression), _spread(a, b)))


def negative(x: Any) -> Formula:
    """-x."""
    return multiply(MINUS_ONE, x)


def subtract(a: Any, b: Any, out: Any = None) -> Formula:
    """a - b."""
    return add(a, negative(b), out)


def true_divide(a: Any, b: Any, out: Any = None) -> Formula:
    """a / b."""
    a, b = lift(a), lift(b)
    return _into(out, Formula(algebra.divide(a.expression, b.expression), _spread(a, b)))


divide = true_divide


def power(a: Any, b: Any, out: Any = None) -> Formula:
    """a^b, element by element."""
    a, b = lift(a), lift(b)
    return _into(out, Formula(algebra.power(a.expression, b.expression), _spread(a, b)))


MINUS_ONE = Formula(MINUS)


def clip(x: Any, least: Any, most: Any) -> Formula:
    """x, held between two numbers of which one may be None."""
    y = lift(x) if least is None else _elementwise("maximum")(x, least)
    return y if most is None else _elementwise("minimum")(y, most)


def isfinite(x: Any) -> Formula:
    """That it is: symbols stand for finite numbers."""
    return Formula(ONE, lift(x).shape, TRUTH)


def asarray(x: Any, dtype: Any = None) -> Formula:
    """x as a formula."""
    return lift(x)


ascontiguousarray = asarray


def zeros_like(x: Any) -> Formula:
    """0, spread to the shape of x."""
    return Formula(ZERO, lift(x).shape)


def ones_like(x: Any) -> Formula:
    """1, spread to the shape of x."""
    return Formula(ONE, lift(x).shape)


def full(shape: Any, value: Any, dtype: Any = None) -> Formula:
    """A number, spread to a shape."""
    return Formula(lift(value).expression, shape if isinstance(shape, tuple) else (shape,))


def zeros(shape: Any, dtype: Any = None) -> Formula:
    """0, spread to a shape."""
    return full(shape, 0)


def ones(shape: Any, dtype: Any = None) -> Formula:
    """1, spread to a shape."""
    return full(shape, 1)


def broadcast_to(x: Formula, shape: Shape) -> Formula:
    """The same expression, spread further."""
    return Formula(x.expression, shape, x.dtype)


def transpose(x: Formula, axes: Sequence[int] | None = None) -> Formula:
    """The axes in another order."""
    order = tuple(a % x.ndim for a in axes) if axes is not None else tuple(reversed(range(x.ndim)))
    shape = tuple(x.shape[a] for a in order)
    if [a for a in order if x.shape[a] != 1] == [a for a in range(x.ndim) if x.shape[a] != 1]:
        return x.reshape(shape)
    if order != (1, 0):
        raise ValueError(f"formulas have at most 2 axes to exchange: got {x.shape} in the order {order}")
    return Formula(matrix.transpose(x.expression), shape, x.dtype)


def swapaxes(x: Formula, a: int, b: int) -> Formula:
    """Two axes exchanged."""
    return x.swapaxes(a, b)


def squeeze(x: Formula, axis: Any = None) -> Formula:
    """Without axes of length 1."""
    axes = range(x.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
    gone = {a % x.ndim for a in axes}
    return x.reshape(tuple(n for i, n in enumerate(x.shape) if i not in gone or n != 1))


def _reduce(x: Any, axis: Any, keepdims: bool, name: str) -> Formula:
    x = lift(x)
    axes = range(x.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
    gone = {a % x.ndim for a in axes}
    if len(natural(x.shape)) > 2:
        raise ValueError(f"formulas have at most 2 axes: got {x.shape}")
    answer = matrix.total(x.expression, x.shape, tuple(a - x.ndim for a in gone), name)
    kept = Formula(answer, tuple(1 if i in gone else n for i, n in enumerate(x.shape)))
    return kept if keepdims else kept.reshape(tuple(n for i, n in enumerate(x.shape) if i not in gone))


def sum(x: Any, axis: Any = None, keepdims: bool = False, dtype: Any = None) -> Formula:
    """The sum over some axes, all if None."""
    return _reduce(x, axis, keepdims, "sum")


def max(x: Any, axis: Any = None, keepdims: bool = False) -> Formula:
    """The largest over some axes, all if None."""
    return _reduce(x, axis, keepdims, "max")


def min(x: Any, axis: Any = None, keepdims: bool = False) -> Formula:
    """The smallest over some axes, all if None."""
    return _reduce(x, axis, keepdims, "min")


def mean(x: Any, axis: Any = None, keepdims: bool = False) -> Formula:
    """The mean over some axes, all if None."""
    summed = _reduce(x, axis, keepdims, "sum")
    return true_divide(summed, lift(x).size // summed.size)


def matmul(a: Any, b: Any) -> Formula:
    """a b; one axis alone is a row on the left, a column on the right."""
    if a.ndim > 2 or b.ndim > 2:
        raise ValueError(f"formulas multiply matrices, not batches of them: got {a.shape} and {b.shape}")
    rows, inner = a.shape if a.ndim == 2 else (1, *a.shape)
    columns = b.shape[1] if b.ndim == 2 else 1
    right = b.expression if b.ndim == 2 else matrix.reshape(b.expression, b.shape, (*b.shape, 1))
    shape = (*a.shape[:-1], *b.shape[1:])
    y = matrix.matmul(a.expression, right, rows, inner, columns)
    return Formula(matrix.reshape(y, (rows, columns), shape), shape)


_users, _lock = [0], Lock()


@contextmanager
def engaged() -> Iterator[None]:
    """A context in which the engine knows formulas as arrays."""
    with _lock:
        _users[0] += 1
        DEVICES[Formula] = Device("formulas", sys.modules[__name__], __name__)
    try:
        yield
    finally:
        with _lock:
            _users[0] -= 1
            if not _users[0]:
                del DEVICES[Formula]


def __getattr__(name: str) -> Any:
    """What no formula is written for."""
    if name.startswith("__"):
        raise AttributeError(name)
    raise ValueError(f"no formula is written for {name}(...): it goes through single elements, or chooses among them")
