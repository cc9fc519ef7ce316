"""From what a user gives to the checker to the subject that it is; and the gradients of a subject, as another one."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_ft import gradients
from tinygrad_ft.engine import Op, Value
from tinygrad_ft.func import jvp
from tinygrad_ft.gradcheck.by_hand import HandWritten
from tinygrad_ft.gradcheck.subject import Array, Arrays, OfTensors, Place, Subject, leaves_of
from tinygrad_ft.ops.arithmetic import zeros_like
from tinygrad_ft.tensor import Tensor


class Gradients(Subject):
    """The gradients of a function of Tensors, as a function of its inputs and of the cotangents of its outputs."""

    order = 2

    def __init__(self, first: OfTensors, us: Arrays):
        cotangents = [Place(f"dL/dy{k}" if len(us) > 1 else "dL/dy", np.asarray(u)) for k, u in enumerate(us)]
        super().__init__(f"the gradient of {first.name}", [*first.places, *cotangents])
        self.first, self.count = first, len(first.places)
        self.notes, self.constants = first.notes, first.constants

    def value(self, arrays: Arrays) -> list[Array]:
        """First derivatives; zeros where an output does not depend on an input."""
        found = self.first.pull(arrays[: self.count], arrays[self.count :])
        return [np.zeros(a.shape, a.dtype) if g is None else g for a, g in zip(arrays, found, strict=False)]

    def _graph(self, leaves: Sequence[Any]) -> list[Any]:
        found = self.first.graph(leaves[: self.count], leaves[self.count :], True)[1]
        return [zeros_like(x) if g is None else g for x, g in zip(leaves, found, strict=False)]

    def pull(self, arrays: Arrays, us: Arrays) -> list[Any]:
        """Second derivatives, by the chain rule through the first."""
        leaves = leaves_of(arrays)
        pairs = [(y, u) for y, u in zip(self._graph(leaves), us, strict=True) if y.node is not None]
        if not pairs:
            return [None] * len(leaves)
        weights = [Tensor(np.asarray(u, y.dtype)) for y, u in pairs]
        found = gradients.grad([y for y, _ in pairs], leaves, weights, allow_unused=True)
        return [None if g is None else g.array for g in found]

    def push(self, arrays: Arrays, vs: Arrays) -> list[Array]:
        """By forward mode through the gradient."""
        primals = tuple(Tensor(np.array(a)) for a in arrays)
        tangents = tuple(Tensor(np.asarray(v, a.dtype)) for v, a in zip(vs, arrays, strict=True))
        return [y.array for y in jvp(lambda *xs: tuple(self._graph(xs)), primals, tangents)[1]]

    def output_names(self) -> list[str]:
        """Each output is the gradient by one of the first inputs."""
        return [f"dL/d{place.name}" for place in self.first.places]


def subject_of(f: Any, inputs: Any, gradient: Any, names: Sequence[str] | None) -> Subject:
    """The normal form of what a user gives to the checker.

    Raises:
        TypeError: if f is no function, or an input by which a derivative is wanted holds integers.
        ValueError: if no input requires grad.
    """
    if not callable(f):
        raise TypeError(f"gradcheck needs a function, an op or a module: got {type(f).__name__}")
    single = isinstance(inputs, Value | np.ndarray | int | float)
    given = [inputs] if single else list(inputs)
    labels = list(names) if names is not None else _names(f, len(given))
    if len(labels) != len(given):
        raise ValueError(f"gradcheck needs a name for each input: got {len(labels)} for {len(given)}")
    if gradient is not None:
        by_hand = HandWritten(f, given, labels, gradient)
        if not by_hand.places:
            kinds = ", ".join(str(getattr(x, "dtype", type(x).__name__)) for x in by_hand.given) or "none"
            needed = "an input that requires grad" if by_hand.engine else "inputs of floating-point numbers"
            raise (ValueError if by_hand.engine else TypeError)(
                f"gradcheck needs {needed}: got {kinds}; "
                + ("pass requires_grad=True where you make it" if by_hand.engine else "pass x.astype(float)")
            )
        return by_hand
    subject = OfTensors(f, given, labels)
    if not subject.places:
        kinds = ", ".join(str(getattr(x, "dtype", type(x).__name__)) for x in given) or "no inputs"
        raise ValueError(
            f"gradcheck needs floating-point inputs that require grad: got {kinds}, none of which does; pass "
            "requires_grad=True where you make one, or gradient=... to check one that was written by hand"
        )
    return subject


def _names(f: Any, count: int) -> list[str]:
    """The names that f has for its inputs, as far as it tells; else their positions."""
    if isinstance(f, Op):
        found = f.inputs if not f.variadic else []
    else:
        try:
            parameters = inspect.signature(getattr(f, "forward", f)).parameters.values()
        except (TypeError, ValueError):
            parameters = {}.values()
        found = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return [*found[:count], *(str(i) for i in range(len(found[:count]), count))]
