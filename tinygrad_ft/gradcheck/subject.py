"""What is checked, in one normal form: arrays in, arrays out, and a gradient of the outputs weighted by cotangents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygrad_ft import gradients
from tinygrad_ft.engine import Op, Value
from tinygrad_ft.func import jvp
from tinygrad_ft.tensor import Tensor

Array = Any
Arrays = Sequence[Any]


class Place(NamedTuple):
    """One array by which derivatives are taken: its name, and where it stands."""

    name: str
    array: Array


class NotAvailable(Exception):
    """This witness cannot be heard, for the reason given."""


class FunctionError(RuntimeError):
    """The function under test raised; its own error is the cause."""


class Subject:
    """A function of the arrays at `places`; everything else that it takes is held constant.

    Attributes:
        name: what messages call it.
        notes: what a reader of the report should know.
        order: 1, or 2 if the function is itself a gradient.
    """

    order = 1

    def __init__(self, name: str, places: list[Place]):
        self.name, self.places = name, places
        self.notes: list[str] = []
        self.constants: list[tuple[str, Array]] = []  # for guesses: what else it was given

    def value(self, arrays: Arrays) -> list[Array]:
        """The floating-point outputs."""
        raise NotImplementedError

    def pull(self, arrays: Arrays, us: Arrays) -> list[Any]:
        """The gradient under test: of the sum of u y over the outputs, for each place; None stands for zero."""
        raise NotImplementedError

    def rules(self, arrays: Arrays, us: Arrays) -> list[Any]:
        """The same by the engine's rules, where the gradient under test is a hand-written one."""
        raise NotAvailable("no gradient but the one under test")

    def push(self, arrays: Arrays, vs: Arrays) -> list[Array]:
        """How each output moves when the arrays move by vs, by forward mode."""
        raise NotAvailable("forward mode needs a function of Tensors")

    def output_names(self) -> list[str]:
        """What messages call the outputs: their positions, unless somebody knows better."""
        return []


class OfTensors(Subject):
    """A function of Tensors, or a module, whose parameters are checked too."""

    def __init__(self, f: Any, given: list[Any], names: list[str]):
        self.f, self.given = f, given
        checked = [i for i, x in enumerate(given) if isinstance(x, Value) and x.node is not None]
        self.positions = checked
        self.homes: list[list[tuple[Any, str]]] = []
        places = [Place(names[i], given[i].array) for i in checked]
        notes = []
        if hasattr(f, "named_parameters"):
            for name, p in f.named_parameters():
                if p.node is None:
                    continue
                holders = [(m, n) for m in f.modules() for n, v in vars(m).items() if v is p]
                self.homes.append(holders)
                places.append(Place(name, p.array))
            frozen = [name for name, p in f.named_parameters() if p.node is None]
            buffers = [name for name, _ in f.named_buffers()]
            notes += [f"held constant, because they do not require grad: {', '.join(frozen)}"] if frozen else []
            notes += [f"buffers held constant: {', '.join(buffers)}"] if buffers else []
        super().__init__(name_of(f), places)
        self.notes += notes
        self.constants = [
            (names[i], getattr(x, "array", x))
            for i, x in enumerate(given)
            if i not in checked and isinstance(getattr(x, "array", x), np.ndarray)
        ]

    def call(self, leaves: Sequence[Any]) -> list[Any]:
        """The outputs for Tensors in all the places."""
        args = [Tensor(np.array(x.array)) if isinstance(x, Value) else x for x in self.given]
        for i, leaf in zip(self.positions, leaves, strict=False):
            args[i] = leaf
        before = [(m, n, getattr(m, n)) for holders in self.homes for m, n in holders]
        try:
            for holders, leaf in zip(self.homes, leaves[len(self.positions) :], strict=True):
                for m, n in holders:
                    setattr(m, n, leaf)
            return _tensors(self._run(args))
        finally:
            for m, n, p in before:
                setattr(m, n, p)

    def _run(self, args: list[Any]) -> Any:
        try:
            with gradients.enable_grad():
                return self.f(*args)
        except NotAvailable:
            raise
        except Exception as error:
            raise FunctionError(f"{self.name} raised {type(error).__name__}: {error}") from error

    def value(self, arrays: Arrays) -> list[Array]:
        """With leaves that require grad, since f may take gradients itself."""
        return [y.array for y in self.call(leaves_of(arrays))]

    def pull(self, arrays: Arrays, us: Arrays) -> list[Any]:
        """By the rules of the ops."""
        return [None if g is None else g.array for g in self.graph(arrays, us, False)[1]]

    def graph(self, arrays: Arrays, us: Arrays, create_graph: bool) -> tuple[list[Any], Sequence[Any]]:
        """The leaves, and the gradients by them."""
        leaves = list(arrays) if create_graph else leaves_of(arrays)
        pairs = [(y, u) for y, u in zip(self.call(leaves), us, strict=True) if y.node is not None]
        if not pairs:
            return leaves, [None] * len(leaves)
        weights = [u if isinstance(u, Value) else Tensor(np.asarray(u, y.dtype)) for y, u in pairs]
        found = gradients.grad([y for y, _ in pairs], leaves, weights, create_graph=create_graph, allow_unused=True)
        return leaves, found

    def push(self, arrays: Arrays, vs: Arrays) -> list[Array]:
        """By two reverse passes, see func.jvp."""
        primals = tuple(Tensor(np.array(a)) for a in arrays)
        tangents = tuple(Tensor(np.asarray(v, a.dtype)) for v, a in zip(vs, arrays, strict=True))
        return [y.array for y in jvp(lambda *xs: tuple(self.call(xs)), primals, tangents)[1]]


def leaves_of(arrays: Arrays) -> list[Any]:
    """Variables that share the arrays' memory; complex ones are constants, since only their values are wanted."""
    return [Tensor(a).requires_grad_() if a.dtype.kind == "f" else Tensor(a) for a in arrays]


def name_of(f: Any) -> str:
    """What a reader would call f."""
    if isinstance(f, Op):
        return f.name
    name = getattr(f, "__name__", type(f).__name__)
    return "the function" if name == "<lambda>" else str(name)


def _flat(answer: Any) -> Iterator[Any]:
    if isinstance(answer, dict):
        answer = tuple(answer.values())
    if isinstance(answer, tuple | list):
        for part in answer:
            yield from _flat(part)
    elif isinstance(answer, Value):
        yield answer


def _tensors(answer: Any) -> list[Any]:
    """The floating-point Tensors in an answer; integers have no derivative."""
    ys = list(_flat(answer))
    if not ys:
        raise TypeError(
            f"gradcheck needs a function that answers a Tensor, or a tuple of them: got {type(answer).__name__}"
        )
    return [y for y in ys if y.dtype.kind in "fc"]
