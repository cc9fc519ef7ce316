"""The engine: an op is a value and a rule. Computing the value leaves behind what the rule will need.

Read `Op.__call__` first: it computes a value and leaves a `Node`. Then `Node.pull`, which applies the op's rule there.
The chain rule, which walks back from node to node, is the next page, `chain_rule.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from inspect import Parameter, signature
from itertools import count
from operator import itemgetter
from sys import maxsize
from threading import local
from types import MethodType
from typing import Any, TypeVar

import numpy as np
from numpy import ndarray

from tinygrad_ft.arguments import sort_arguments
from tinygrad_ft.device import DEVICES, cpu, one_device
from tinygrad_ft.dispatch import Kernels

Array = Any  # a Tensor, or a plain array of any device: ops take both, and answer in kind
F = TypeVar("F", bound=Callable[..., Any])
_new_index = count().__next__
_FLOAT64 = np.dtype(np.float64)
_NUMBERS = {int, float}
_new: Any = object.__new__
NONE_YET = object()
RELEASED = object()  # stands where the kept arrays of a node were, once backward() has let them go
observer: Any = None  # stands in the place of every call and rule while someone watches, see watch.py

OPS: dict[str, Op] = {}  # the library's own ops by name: the tests and `tinygrad-ft ops` read it


class _Mode(local):
    """Whether ops leave nodes behind; each thread has its own."""

    recording = True


mode = _Mode()


class Node:
    """One application of an op: what the chain rule needs in order to walk back through it. A leaf has no op."""

    __slots__ = ("dtype", "grad", "hooks", "index", "kept", "op", "params", "parents", "shape", "trace")
    trace: Any  # what detect_anomaly notes here; empty without it

    def __init__(self, op: Op | None, parents: Sequence[Node | None], kept: Any, params: Any, shape: Any, dtype: Any):
        self.op, self.parents, self.kept, self.params, self.shape, self.dtype = op, parents, kept, params, shape, dtype
        self.index = _new_index()  # a node is always newer than its parents, so indices sort the graph
        self.hooks: dict[object, Callable[[Any], Any]] | None = None  # in the order in which they were registered
        self.grad: Any = None  # a Tensor; NONE_YET on a leaf, or a node told to retain its gradient, before it has one

    def pull(self, g: Array, graph: bool) -> Sequence[Array]:
        """The op's derivative at this point: from dL/dy to one dL/dx (or a function that gives it) a parent x."""
        if observer is not None and (seen := observer.pull(self, g, graph)) is not NotImplemented:
            return seen  # type: ignore[no-any-return]
        op: Any = self.op
        kept = self.kept
        if kept is RELEASED:
            raise RuntimeError(
                f"backward came a second time through {op.name}, whose kept arrays the first pass has released; "
                "pass retain_graph=True to the first if you want both"
            )
        if graph:  # a kept array that gets its node back can be differentiated again; without one it is a constant
            kept = [self._as_tensor(which, a) for which, a in zip(op.keeps, kept, strict=True)]
        if op.rule_params:
            answer = op.rule(g, *kept, **{name: self.params[name] for name in op.rule_params})
        else:
            answer = op.rule(g, *kept)
        answers = answer if type(answer) is tuple else (answer,)
        if len(answers) != len(self.parents):
            raise ValueError(
                f"the rule of {op.name} must answer one gradient an input, None for an input without one: "
                f"got {len(answers)} for {len(self.parents)}"
            )
        return answers

    def _as_tensor(self, which: int | slice, a: Any) -> Any:
        if which == -1:
            return Tensor(a, self) if type(a) is not tuple else tuple(map(Tensor, a, self.output_nodes(a)))
        if isinstance(which, slice):
            return [Tensor(x, n) for x, n in zip(a, self.parents[which.start :], strict=True)]
        return Tensor(a, self.parents[which]) if type(a) in DEVICES else a

    def output_nodes(self, ys: tuple[Array, ...]) -> list[Node]:
        """A node for each of several outputs: `pick` hands its cotangent on to this one, which holds the rule."""
        return [Node(pick, (self,), (), {"i": i}, y.shape, y.dtype) for i, y in enumerate(ys)]


class Value:
    """An array and the node that made it. A constant has no node. `tensor.Tensor` adds everything else."""

    __slots__ = ("__weakref__", "array", "node")

    def __init__(self, array: Any, node: Node | None = None):
        self.array, self.node = array, node

    shape: Any = property(lambda self: self.array.shape)
    dtype: Any = property(lambda self: self.array.dtype)
    ndim: Any = property(lambda self: self.array.ndim)


Tensor: type[Value] = Value  # what ops answer with; tensor.py puts its own subclass here
V = TypeVar("V", bound=type[Value])


def answers_with(tensor_class: V) -> V:
    """From now on ops wrap their results in this class."""
    global Tensor
    Tensor = tensor_class
    return tensor_class


class Op:
    """A differentiable function: its value, its derivative, and faster kernels for some devices.

    `forward(xp, *arrays, **params)` takes an array module, arrays positionally and parameters by keyword. Calling the
    op with a Tensor among its arrays gives a Tensor; with plain arrays only, a plain array.
    """

    def __init__(self, forward: Callable[..., Any], *, elementwise: bool = False):
        given = list(signature(forward).parameters.values())[1:]
        self.name, self.__doc__, self.forward, self.elementwise = (
            forward.__name__,
            forward.__doc__,
            forward,
            elementwise,
        )
        self.__module__, self.__qualname__ = forward.__module__, forward.__qualname__  # where pickle finds it again
        self.inputs = [p.name for p in given if p.kind is not Parameter.KEYWORD_ONLY]
        self.variadic = any(p.kind is Parameter.VAR_POSITIONAL for p in given)
        self.arity = -1 if self.variadic else len(self.inputs)
        self.params = [p.name for p in given if p.kind is Parameter.KEYWORD_ONLY]
        self.defaults = {
            p.name: p.default for p in given if p.kind is Parameter.KEYWORD_ONLY and p.default is not p.empty
        }
        self.named = set(self.params)
        self.asks_for_dtype = "dtype" in self.named  # such an op answers in the dtype it was told
        known = elementwise or forward.__module__.startswith(
            "tinygrad_ft."
        )  # another may have effects, or answer tuples
        simple = known and self.arity in (1, 2) and not self.variadic and self.defaults.keys() == self.named
        self.unrolled = self.arity if simple else 0
        self.kernels: Kernels | None = None
        self.chooses = False  # whether an eager call may run another forward than its own
        self.least = maxsize  # elements of a NumPy array from which on it may
        self.wider: Callable[..., Any] | None = None
        self.rule: Callable[..., Any] | None = None
        self.overwritten: tuple[int | slice, ...] = ()
        self.check: Callable[..., None] | None = None
        self.keeps: list[int | slice] = []
        self.save: Callable[[list[Any]], tuple[Any, ...]] = tuple
        self.shapes: list[tuple[str, int | slice]] = []
        self.rule_params: list[str] = []

    def vjp(self, rule: F) -> F:
        """Define the derivative, by a function of g = dL/dy that answers dL/dx for each input x in order.

        Its signature is the list of what is saved. Positional: inputs by name, `y` for the output. Keyword: the op's
        parameters, and `x_shape` for the shape of input x, which keeps nothing alive. An answer may be None (no
        gradient) or a function without arguments (a costly one, run only if it is wanted). Answers need not have the
        shape of x where broadcasting explains the difference: `fit` sums or spreads them.
        """
        assert "y" not in self.inputs, "y is the output: no input may be called so"
        taken = list(signature(rule).parameters.values())[1:]
        self.keeps = [self._position(p.name) for p in taken if p.kind is not p.KEYWORD_ONLY]
        self.save = itemgetter(*self.keeps) if len(self.keeps) > 1 else lambda arrays: (arrays[self.keeps[0]],)
        self.rule_params = [p.name for p in taken if p.kind is p.KEYWORD_ONLY]
        shapes = [name for name in self.rule_params if name.endswith("_shape") and name not in self.params]
        self.shapes = [(name, self._position(name.removesuffix("_shape"))) for name in shapes]
        self.rule = rule
        return rule

    def _position(self, name: str) -> int | slice:
        """Where an array stands in the list of all inputs and, last, the output y."""
        if name == "y":
            return -1
        i = self.inputs.index(name)
        return slice(i, -1) if self.variadic and i == len(self.inputs) - 1 else i

    def extended(self, wider: F) -> F:
        """Leave calls with parameters to a composed function that knows more of them: the op itself stays quick."""
        self.wider = wider
        return wider

    def overwrites(self, *inputs: str) -> Op:
        """Declare an effect: the op writes into these inputs. Whoever records ops has to know."""
        self.overwritten = tuple(self._position(name) for name in inputs)
        self.unrolled = 0  # which after an error would begin anew
        return self

    def requires(self, check: F) -> F:
        """Register what raises for arrays with contents that the op cannot take; its forward may rely on the caller.

        Kernels and recorded steps, which do not look at contents, ask it beforehand.
        """
        self.check = check
        return check

    def kernel(
        self, device: str, *, when: Callable[..., bool] = lambda *_, **__: True, elements: int = 0, **how: bool
    ) -> Callable[[F], F]:
        """Register a faster forward for one device. The newest whose `when` accepts the arguments is used.

        None is for first arrays of fewer `elements` than it says, which calls of small arrays have not even to ask;
        one with `by_choice=True` is only for those who ask for it by name.
        """
        return self._choosing_from(device, elements).register(device, when, elements, **how)

    def _choosing_from(self, device: str, elements: int) -> Kernels:
        self.kernels, self.chooses = self.kernels or Kernels(self.forward), True
        if device == cpu.name:
            self.least = min(self.least, elements)
        return self.kernels

    def shares(self, device: str, *, when: Callable[..., bool] = lambda *_, **__: True) -> Callable[[F], F]:
        """Register how a recorded step shares out the work among threads; see `dispatch.Division`."""
        self.kernels = self.kernels or Kernels(self.forward)
        return self.kernels.register_shares(device, when)

    def expect_kernels(self, device: str, module: str, elements: int) -> None:
        """Say which module registers kernels, and how large an array must be to merit importing it."""
        self._choosing_from(device, elements).pending[device] = (module, elements)

    def expect_shares(self, device: str, module: str) -> None:
        """Say which module shares out the work of this op, which eager calls leave to the op's own forward."""
        self.kernels = self.kernels or Kernels(self.forward)
        self.kernels.pending[device] = (module, maxsize)

    def __reduce__(self) -> str:
        return self.__qualname__

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """An op is a method too, where a class names it: `exp = ops.exp` makes x.exp() mean exp(x)."""
        return self if instance is None else MethodType(self, instance)

    def __call__(self, *inputs: Any, **params: Any) -> Any:
        """The value; a Tensor with a node if an input has one and nodes are being recorded."""
        if 0 < self.unrolled == len(inputs) and not params:
            y = self.quick(*inputs)
            if y is not NotImplemented:
                return y
        if params and self.wider:
            return self.wider(*inputs, **params)
        if params or len(inputs) != self.arity:
            inputs, params = sort_arguments(self, inputs, params)
        else:
            params = self.defaults
        if observer is not None and (seen := observer.call(self, inputs, params)) is not NotImplemented:
            return seen
        arrays: list[Any] = []
        parents: list[Node | None] = []
        kind = tracked = elsewhere = None
        for x in inputs:
            if isinstance(x, Value):
                arrays.append(x.array)
                parents.append(x.node)
                kind = type(x.array)
                if kind is not ndarray:
                    elsewhere = kind
                tracked = tracked or x.node
            else:
                arrays.append(x)
                parents.append(None)
        device = cpu
        if elsewhere or kind is None:
            device, kind = one_device(self, arrays, parents, plain=kind is None), elsewhere
        chooses = self.chooses and (device is not cpu or self.least < maxsize)
        run = self.kernels.choose(device.name, arrays, params) if chooses else self.forward  # type: ignore[union-attr]
        try:
            y = run(device.xp, *arrays, **params) if params else run(device.xp, *arrays)
        except ValueError as error:
            if self.elementwise and "broadcast" in str(error):
                raise ValueError(f"{self.name} needs shapes that broadcast: got {_shapes(arrays)}") from None
            raise
        except TypeError:
            one_device(self, arrays, parents, plain=False)  # or are they on several?
            raise
        except AttributeError as error:
            refuse_lists(self.name, error)
            raise
        if kind is None:
            return y
        # NumPy answers with a bare scalar when no axis is left, which can hold no node
        if type(y) is tuple:
            y = [part if type(part) in DEVICES else device.xp.asarray(part) for part in y]
            y = tuple([self._never_promoted(part, arrays) if part.dtype is _FLOAT64 else part for part in y])
        else:
            if type(y) is not kind and type(y) not in DEVICES:
                y = device.xp.asarray(y)
            if y.dtype is _FLOAT64:
                y = self._never_promoted(y, arrays)
        if tracked is None or self.rule is None or not mode.recording:
            return Tensor(y) if type(y) is not tuple else tuple([Tensor(part) for part in y])
        arrays.append(y)
        if self.shapes:
            params = {**params, **{name: _shape(arrays[i]) for name, i in self.shapes}}
        kept = self.save(arrays) if self.keeps else ()
        if type(y) is not tuple:
            return Tensor(y, Node(self, parents, kept, params, y.shape, y.dtype))
        node = Node(self, parents, kept, params, [part.shape for part in y], None)
        return tuple([Tensor(part, one) for part, one in zip(y, node.output_nodes(y), strict=True)])

    def quick(self, a: Any, b: Any = 0) -> Any:
        """The call for one or two NumPy arrays, without parameters but the op's own, where its own cost counts.

        NotImplemented for anything else: other arrays, large ones where there are kernels, someone who watches, errors
        (which the call tells).
        """
        if observer is not None:
            return NotImplemented
        node_a = node_b = None
        plain = True
        if isinstance(a, Value):
            node_a, a, plain = a.node, a.array, False
        if isinstance(b, Value):
            node_b, b, plain = b.node, b.array, False
        if (type(a) is not ndarray and type(a) not in _NUMBERS) or (type(b) is not ndarray and type(b) not in _NUMBERS):
            return NotImplemented
        if self.least < maxsize and (type(a) is not ndarray or a.size >= self.least):
            return NotImplemented
        try:
            y = self.forward(np, a) if self.unrolled == 1 else self.forward(np, a, b)
        except Exception:
            return NotImplemented
        if type(y) is tuple:
            self.unrolled = 0
            return NotImplemented
        if plain:
            return y
        if type(y) is not ndarray:
            y = np.asarray(y)
        if y.dtype is _FLOAT64:
            y = self._never_promoted(y, (a, b))
        tensor = _new(Tensor)
        tensor.array = y
        if (node_a is None and node_b is None) or self.rule is None or not mode.recording:
            tensor.node = None
            return tensor
        tensor.node = node = _new(Node)
        params = self.defaults
        if self.shapes:
            params = {**params, **{name: np.shape(y if i == -1 else b if i == 1 else a) for name, i in self.shapes}}
        node.op, node.params, node.hooks, node.grad = self, params, None, None
        node.shape, node.dtype, node.index = y.shape, y.dtype, _new_index()
        node.parents = (node_a,) if self.unrolled == 1 else (node_a, node_b)
        node.kept = self.save((a, y) if self.unrolled == 1 else (a, b, y)) if self.keeps else ()  # type: ignore[arg-type]
        return tensor

    def _never_promoted(self, y: Any, arrays: Iterable[Any]) -> Any:
        """float64 only where it came in or was asked for: NumPy makes it of int64 with float32, and of integers."""
        floats = [a.dtype for a in arrays if type(a) in DEVICES and a.dtype.kind == "f"]
        if self.asks_for_dtype or _FLOAT64 in floats:
            return y
        return y.astype(np.result_type(*floats) if floats else np.float32)


def op(forward: Callable[..., Any]) -> Op:
    """Make an op of its value; give it a rule with `@name.vjp`. An op without a rule answers with a constant."""
    return _listed(Op(forward))


def elementwise(forward: Callable[..., Any]) -> Op:
    """An op whose every output element depends on one element of each input: it broadcasts, and it can be fused."""
    return _listed(Op(forward, elementwise=True))


def _listed(made: Op) -> Op:
    """The library's own ops are in OPS; a user's are not, who may call theirs what they like and define it again."""
    if made.forward.__module__.startswith("tinygrad_ft."):
        OPS[made.name] = made
    return made


def _shape(x: Any) -> Any:
    """The shape of an array, or of each in a list: those that a variadic op was given."""
    return [np.shape(a) for a in x] if type(x) is list else np.shape(x)


def refuse_lists(name: str, error: AttributeError) -> None:
    """Say what is meant where an error says that a list, a number or a string has no shape."""
    if type(error.obj) in (list, tuple, int, float, bool, str):
        raise TypeError(f"{name} needs an array: got {type(error.obj).__name__}; tg.tensor(...) makes one") from error


def _shapes(arrays: Iterable[Any]) -> str:
    return " and ".join(str(np.shape(a)) for a in arrays)


@op
def pick(xp: Any, *ys: Array, i: int) -> Array:
    """One of several outputs. `cotangents` knows it by name and never asks for its rule."""
    return ys[i]
