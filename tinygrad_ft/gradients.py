"""Gradients: `backward` adds them up on the leaves, `grad` answers with them. The semantics are PyTorch's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import wraps
from typing import Any, TypeVar

from tinygrad_ft.chain_rule import as_gradient, as_tensor, cotangents, ones_of, own
from tinygrad_ft.device import DEVICES
from tinygrad_ft.engine import NONE_YET, Node, Value, mode

F = TypeVar("F", bound=Callable[..., Any])
_AS_IT_IS = nullcontext()


def no_grad(f: Callable[..., Any] | None = None) -> Any:
    """A context in which ops leave nothing behind to be differentiated; a decorator too, with brackets or without."""
    return Recording(False) if f is None else Recording(False)(f)


def enable_grad(f: Callable[..., Any] | None = None) -> Any:
    """A context, or a decorator, that undoes an outer `no_grad`."""
    return Recording(True) if f is None else Recording(True)(f)


def backward(y: Any, gradient: Any = None, retain_graph: bool | None = None, create_graph: bool = False) -> None:
    """Add dL/d(leaf) to the `grad` of every leaf that y depends on.

    Args:
        gradient: dL/dy in the shape of y; 1 if y has one element.
        retain_graph: keep what the rules need, for another pass; else it is released. Default: as create_graph.
        create_graph: make the gradients differentiable themselves. (grad and leaf then refer to each other: such a
            pair waits for the garbage collector unless you set grad to None; `grad` has no such cycle.)
    Raises:
        RuntimeError: if y depends on no leaf, if its size is not 1 and no gradient is given, or on a second pass
            through a graph that was released.
    """
    release = not (create_graph if retain_graph is None else retain_graph)
    with _recorded_if(create_graph):
        seed = _seed(y, gradient, create_graph)
        leaves, lent = cotangents([seed], None, graph=create_graph, release=release)
        for node, g in leaves.items():
            node.grad = own(g, lent) if node.grad is NONE_YET else node.grad + g


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Any, ...]:
    """[dL/dx for x in inputs], L being the sum of outputs weighted by grad_outputs; no `grad` is touched.

    Args:
        outputs, inputs: a Tensor or a sequence of them.
        grad_outputs: dL/dy for each output y, None standing for 1.
        retain_graph, create_graph: as in `backward`.
        allow_unused: answer None for an input on which no output depends, instead of raising.
    """
    ys, xs = _sequence(outputs), _sequence(inputs)
    gs = [None] * len(ys) if grad_outputs is None else _sequence(grad_outputs)
    if len(gs) != len(ys):
        raise ValueError(f"grad needs as many grad_outputs as outputs: got {len(gs)} and {len(ys)}")
    for i, x in enumerate(xs):
        if x.node is None:
            raise RuntimeError(f"grad: input {i} does not require grad; create it with requires_grad=True")
    retain = create_graph if retain_graph is None else retain_graph
    with _recorded_if(create_graph):
        roots = [_seed(y, g, create_graph) for y, g in zip(ys, gs, strict=True)]
        found, lent = cotangents(roots, {x.node for x in xs}, graph=create_graph, release=not retain)
        for i, x in enumerate(xs):
            if x.node not in found and not allow_unused:
                raise RuntimeError(f"grad: no output depends on input {i}; pass allow_unused=True to get None for it")
        return tuple(own(found[x.node], lent) if x.node in found else None for x in xs)


def _recorded_if(graph: bool) -> Any:
    """A gradient that shall be differentiable is recorded even inside no_grad."""
    return enable_grad() if graph else _AS_IT_IS


def _sequence(x: Any) -> Sequence[Any]:
    return [x] if isinstance(x, Value) or type(x) in DEVICES else list(x)


def _seed(y: Any, gradient: Any, graph: bool) -> tuple[Node, Any]:
    if not isinstance(y, Value) or y.node is None:
        raise RuntimeError("this Tensor depends on nothing that requires grad, so there is nothing to differentiate")
    if gradient is None:
        if y.array.size != 1:
            raise RuntimeError(
                f"a gradient starts from one number, and this Tensor has shape {y.array.shape}: reduce it first, with "
                ".sum() or .mean(), or pass the gradient with respect to it"
            )
        g = ones_of(y.array)
        return y.node, as_tensor(g) if graph else g
    g = as_gradient(gradient, y, "the gradient")
    return y.node, g if graph else g.array


class Recording:
    """A context, or a decorator, in which ops leave nodes behind or do not; it may be entered again, also in itself."""

    def __init__(self, on: bool):
        self.on = on
        self.before: list[bool] = []

    def __enter__(self) -> None:
        self.before.append(mode.recording)
        mode.recording = self.on

    def __exit__(self, *_: object) -> None:
        mode.recording = self.before.pop()

    def __call__(self, f: F) -> F:
        """f, run in such a context: one for each call, since calls may come from several threads."""

        @wraps(f)
        def call(*args: Any, **params: Any) -> Any:
            with Recording(self.on):
                return f(*args, **params)

        return call  # type: ignore[return-value]
