"""The chain rule against central differences, element by element."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_ft.engine import Value
from tinygrad_ft.gradients import grad
from tinygrad_ft.ops.arithmetic import zeros_like
from tinygrad_ft.tensor import Tensor, tensor

Function = Callable[..., Any]


class GradcheckError(AssertionError):
    """The chain rule and the differences disagree; the message says where, and by how much."""


def gradcheck(
    f: Function,
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
) -> bool:
    """Whether the gradients of f agree with central differences, for every input that requires grad.

    Args:
        inputs: a Tensor or a sequence of them; float64 where they require grad, since differences in float32 lose
            half of its 7 digits.
        eps: the step h in (f(x + h) - f(x - h)) / 2h, in units of x.
        raise_exception: raise on disagreement instead of answering False.
    Raises:
        GradcheckError: naming output, input and element with the largest disagreement, both numbers and their ratio.
        ValueError: if no input requires grad, or one that does is not float64.
    """
    given = [inputs] if isinstance(inputs, Value) else list(inputs)
    checked = [i for i, x in enumerate(given) if isinstance(x, Value) and x.node is not None]
    for i in checked:  # a variable of its own for each place, since one Tensor may stand in two
        given[i] = Tensor(given[i].array).requires_grad_()
    if not checked:
        raise ValueError(
            "gradcheck needs an input that requires grad: got none; pass requires_grad=True where you make it"
        )
    for i in checked:
        if given[i].dtype != np.float64:
            raise ValueError(
                f"gradcheck needs float64 where a gradient is asked for: input {i} is {given[i].dtype}; call .double()"
            )
    try:
        for n, (y, u) in enumerate(_outputs(f, given)):
            expected = _differences(f, given, checked, n, u, eps)
            xs = [given[i] for i in checked]
            got: Any = [None] * len(xs)  # an output cut off from the inputs must be constant
            if y.node is not None:
                got = grad(y, xs, u, allow_unused=True, retain_graph=True)
            for i, e, g in zip(checked, expected, got, strict=True):
                _compare(np.zeros_like(e) if g is None else g.array, e, n, i, atol, rtol)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def gradgradcheck(
    f: Function,
    inputs: Any,
    grad_outputs: Any = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
) -> bool:
    """The same for second derivatives: gradcheck of the gradients of f, as functions of its inputs and of dL/dy."""
    given = [inputs] if isinstance(inputs, Value) else list(inputs)
    checked = [i for i, x in enumerate(given) if isinstance(x, Value) and x.node is not None]
    seeds = (
        [Tensor(u.array).requires_grad_() for y, u in _outputs(f, given) if y.node is not None]
        if grad_outputs is None
        else _list(grad_outputs)
    )

    def gradients(*args: Any) -> tuple[Any, ...]:
        xs, us = args[: len(given)], args[len(given) :]
        ys = [y for y in _list(f(*xs)) if y.node is not None]
        wanted = [xs[i] for i in checked]
        found = grad(ys, wanted, us, create_graph=True, allow_unused=True)
        return tuple(zeros_like(x) if g is None else g for x, g in zip(wanted, found, strict=True))

    return gradcheck(gradients, [*given, *seeds], eps=eps, atol=atol, rtol=rtol, raise_exception=raise_exception)


def _list(y: Any) -> list[Any]:
    ys = [y] if isinstance(y, Value) else list(y) if isinstance(y, tuple | list) else []
    ys = [part for part in ys if isinstance(part, Value)]
    if not ys:
        raise TypeError(f"gradcheck needs a function that answers a Tensor, or a tuple of them: got {type(y).__name__}")
    return ys


def _outputs(f: Function, given: Sequence[Any]) -> list[tuple[Any, Any]]:
    """The floating-point outputs of f, each with a random weighting that makes one number of it."""
    rng = np.random.default_rng(0)
    return [(y, tensor(rng.standard_normal(y.shape))) for y in _list(f(*given)) if y.dtype.kind == "f"]


def _differences(f: Function, given: Sequence[Any], checked: list[int], n: int, u: Any, eps: float) -> list[Any]:
    """d sum(u y_n) / dx by central differences, for each checked input x."""
    constants = [Tensor(np.array(x.array)) if isinstance(x, Value) else x for x in given]

    def value() -> float:
        leaves = [Tensor(x.array).requires_grad_() if i in checked else x for i, x in enumerate(constants)]
        ys = [y for y in _list(f(*leaves)) if y.dtype.kind == "f"]
        return float((ys[n].array * u.array).sum())

    slopes = []
    for i in checked:
        x = constants[i].array
        slope = np.empty_like(x)
        for place in np.ndindex(x.shape):
            before = x[place]
            x[place] = before + eps
            above = value()
            x[place] = before - eps
            below = value()
            x[place] = before
            slope[place] = (above - below) / (2 * eps)
        slopes.append(slope)
    return slopes


def _compare(got: Any, expected: Any, output: int, which: int, atol: float, rtol: float) -> None:
    if got.shape != expected.shape:
        raise GradcheckError(
            f"output {output}, input {which}: the gradient has shape {got.shape}, the input {expected.shape}"
        )
    off = np.abs(got - expected) - atol - rtol * np.abs(expected)
    if off.size and not (off <= 0).all():
        place = np.unravel_index(np.argmax(np.where(np.isnan(off), np.inf, off)), off.shape)
        g, e = float(got[place]), float(expected[place])
        ratio = f", ratio {g / e:.6g}" if e else ""
        at = tuple(int(i) for i in place)
        raise GradcheckError(
            f"output {output}, input {which}, element {at}: the chain rule says {g:.9g}, differences {e:.9g}{ratio}"
        )
