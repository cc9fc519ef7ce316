"""Gradients: `backward` adds them up on the leaves, `grad` answers with them. The semantics are PyTorch's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinygrad_ft import engine
from tinygrad_ft.chain_rule import clone, cotangents
from tinygrad_ft.device import DEVICES, cpu, device_of
from tinygrad_ft.engine import NONE_YET, Node, Value, recording


def no_grad() -> Any:
    """A context, or a decorator, in which ops leave nothing behind to be differentiated."""
    return recording(False)


def enable_grad() -> Any:
    """A context, or a decorator, that undoes an outer `no_grad`."""
    return recording(True)


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
    seed = _seed(y, gradient, create_graph)
    release = not (create_graph if retain_graph is None else retain_graph)
    leaves = cotangents([seed], None, graph=create_graph, release=release)
    handed_out = {id(_array(seed[1]))}
    for node, g in leaves.items():
        _add_to_grad(node, g, handed_out)


def _add_to_grad(node: Node, g: Any, handed_out: set[int]) -> None:
    """Leaves must own their gradients: rules hand the same array on to several parents, views of it, or the seed."""
    g = _as_tensor(g)
    if node.grad is NONE_YET and (g.array.base is not None or id(g.array) in handed_out or node.hooks):
        g = clone(g)
    handed_out.add(id(g.array))
    node.grad = g if node.grad is NONE_YET else node.grad + g


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
    roots = [_seed(y, g, create_graph) for y, g in zip(ys, gs, strict=True)]
    found = cotangents(roots, [x.node for x in xs], graph=create_graph, release=not retain)
    for i, x in enumerate(xs):
        if x.node not in found and not allow_unused:
            raise RuntimeError(f"grad: no output depends on input {i}; pass allow_unused=True to get None for it")
    return tuple(_as_tensor(found[x.node]) if x.node in found else None for x in xs)


def _as_tensor(g: Any) -> Any:
    if isinstance(g, Value):
        return g
    return engine.Tensor(g if type(g) in DEVICES else cpu.xp.asarray(g))


def _array(x: Any) -> Any:
    return x.array if isinstance(x, Value) else x


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
        gradient = device_of(y.array).xp.ones_like(y.array)
    if hasattr(gradient, "dtype") and not isinstance(gradient, Value):
        gradient = device_of(y.array).xp.asarray(gradient)  # NumPy's own numbers are no arrays
    if type(_array(gradient)) not in DEVICES:
        raise TypeError(f"the gradient must be a Tensor or an array: got {type(gradient).__name__}")
    g = gradient if graph else _array(gradient)
    g = engine.Tensor(g) if graph and not isinstance(g, Value) else g
    if tuple(g.shape) != tuple(y.array.shape):
        raise ValueError(f"the gradient must have the shape {y.array.shape} of the Tensor: got {tuple(g.shape)}")
    return y.node, g
