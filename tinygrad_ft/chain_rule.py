"""The chain rule, and the ops that it needs itself: they bring a cotangent to the shape and dtype of its input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import Any

from numpy import ndarray

from tinygrad_ft import engine
from tinygrad_ft.device import DEVICES, cpu
from tinygrad_ft.engine import RELEASED, Array, Node, Value, elementwise, op, pick


def cotangents(
    roots: Sequence[tuple[Node, Array]], wanted: set[Node] | None, *, graph: bool, release: bool
) -> tuple[dict[Node, Array], set[int]]:
    """The chain rule: dL/dn for every wanted node n, given dL/dy at each root y; and what of it is `lent`, see `own`.

    `wanted` may be None for every node that retains its gradient: all leaves, and those that were told to.

    Nodes are taken newest first, so each has received all it will ever get before it hands anything on. With `graph`
    the rules run on Tensors, and what comes out can be differentiated again; without, the same rules run on plain
    arrays.
    """
    needed = None if wanted is None else _leading_to(wanted, [node for node, _ in roots])
    arrived: dict[Node, Any] = {}
    answers: dict[Node, Any] = {}
    lent: set[int] = set()
    queue: list[tuple[int, Node]] = []
    for node, g in roots:
        _lend(g, lent)
        _arrive(node, g, arrived, queue)
    while queue:
        node = heappop(queue)[1]
        g = arrived.pop(node)
        if node.hooks:
            for hook in list(node.hooks.values()):  # a hook may remove itself
                g = _through_hook(hook, node, g, graph, lent)
        op = node.op
        if node.grad is not None if wanted is None else node in wanted:
            answers[node] = g
        if op is None:
            continue
        if op is pick:
            _arrive_at_output(node.parents[0], node.params["i"], g, arrived, queue)
            continue
        if needed is not None and not any(parent in needed for parent in node.parents):
            continue
        for parent, gx in zip(node.parents, node.pull(g, graph), strict=True):
            if parent is None or gx is None or (needed is not None and parent not in needed):
                continue
            if callable(gx):
                gx = gx()
            try:
                fits = gx.shape == parent.shape and gx.dtype is parent.dtype
            except AttributeError:
                raise TypeError(
                    f"the rule of {op.name} must answer Tensors or arrays: got {type(gx).__name__}"
                ) from None
            if not fits:
                gx = fit(gx, parent.shape, parent.dtype, f"the rule of {op.name}")
            _arrive(parent, gx, arrived, queue)
        if release and node.kept:
            node.kept = RELEASED
    return answers, lent


def own(g: Array, lent: set[int]) -> Any:
    """g as a Tensor that has its memory to itself. What it holds is lent from then on: the next owner gets a copy.

    Rules are linear in g, so they answer with fresh memory, or with g itself or a view of it. So a copy is needed of
    views, and of arrays that someone holds already: the one who gave the seed, a hook, another owner.
    """
    if type(g) is ndarray and g.base is None and id(g) not in lent:
        lent.add(id(g))
        return engine.Tensor(g)
    g = as_tensor(g)
    if g.array.base is not None or id(g.array) in lent:
        g = clone(g)
    lent.add(id(g.array))
    return g


def _lend(g: Array, lent: set[int]) -> None:
    """Note who is seen outside: this array, and the one that it may be a view of."""
    array = g.array if isinstance(g, Value) else g
    lent.update((id(array), id(array.base)))


def as_tensor(g: Array) -> Any:
    """g, or a Tensor that shares its memory."""
    return g if isinstance(g, Value) else engine.Tensor(g if type(g) in DEVICES else cpu.xp.asarray(g))


def as_gradient(g: Any, of: Any, called: str, error: type[Exception] = ValueError) -> Any:
    """What someone gives as the gradient of a Tensor or node: a Tensor of its shape and dtype, or an error."""
    if not hasattr(g, "dtype"):
        raise TypeError(f"{called} must be a Tensor or an array: got {type(g).__name__}")
    g = as_tensor(g)
    if tuple(g.shape) != tuple(of.shape):
        raise error(f"{called} must have the shape {tuple(of.shape)} of the Tensor: got {tuple(g.shape)}")
    return g if g.dtype == of.dtype else cast(g, dtype=of.dtype)


def _arrive(node: Node, g: Array, arrived: dict[Node, Any], queue: list[tuple[int, Node]]) -> None:
    if node in arrived:
        arrived[node] = arrived[node] + g
    else:
        arrived[node] = g
        heappush(queue, (-node.index, node))


def _arrive_at_output(node: Node | None, i: int, g: Array, arrived: dict[Node, Any], queue: list[Any]) -> None:
    """A node of several outputs collects a list of cotangents: None where none arrived."""
    assert node is not None
    if node not in arrived:
        _arrive(node, [None] * len(node.shape), arrived, queue)
    got = arrived[node]
    got[i] = g if got[i] is None else got[i] + g


def _through_hook(hook: Callable[[Any], Any], node: Node, g: Array, graph: bool, lent: set[int]) -> Array:
    seen = as_tensor(g)
    _lend(seen, lent)
    answer = hook(seen)
    if answer is None:
        return g
    answer = as_gradient(answer, node, "what a hook returns", RuntimeError)
    _lend(answer, lent)
    return answer if graph else answer.array


def _leading_to(wanted: set[Node], roots: Sequence[Node]) -> set[Node]:
    """The nodes between the roots and the wanted ones: the only ones worth walking through."""
    found, queue = set(roots), list(roots)
    while queue:
        for parent in queue.pop().parents:
            if parent is not None and parent not in found:
                found.add(parent)
                queue.append(parent)
    needed = set(wanted)
    for node in sorted(found, key=lambda n: n.index):
        if any(parent in needed for parent in node.parents):
            needed.add(node)
    return needed


# ---------------------------------------------------------------- the ops that the chain rule itself needs


@elementwise
def ones_of(xp: Any, y: Array) -> Array:
    """dy/dy: ones in the shape and dtype of y."""
    return xp.ones_like(y)


@op
def expand(xp: Any, x: Array, *, shape: tuple[int, ...]) -> Array:
    """x repeated along new or single axes until it has that shape; a view."""
    if type(x) is ndarray and x.size == 1:
        y = ndarray(shape, x.dtype, x, strides=(0,) * len(shape))  # in a tenth of the time
        y.flags.writeable = False
        return y
    return xp.broadcast_to(x, shape)


@expand.vjp
def expand_vjp(g: Array) -> Array:
    """Every copy counts, so the copies' cotangents are summed: `fit` does that."""
    return g


@op
def sum_to(xp: Any, x: Array, *, shape: tuple[int, ...]) -> Array:
    """x summed over the axes along which that shape would be broadcast to reach it; the adjoint of expand."""
    lead = x.ndim - len(shape)
    axes = tuple(range(lead)) + tuple(i + lead for i, n in enumerate(shape) if n == 1 and x.shape[i + lead] != 1)
    wide = xp.float32 if x.dtype == xp.float16 else None  # float16 cannot count past 2048
    y = x.sum(axis=axes, keepdims=lead == 0, dtype=wide).astype(x.dtype, copy=False)
    return y if y.shape == shape else y.reshape(shape)


@sum_to.vjp
def sum_to_vjp(g: Array, *, shape: tuple[int, ...], x_shape: tuple[int, ...]) -> Array:
    """Every summed element counts once: g is spread over them."""
    return expand(g, shape=x_shape)


@op
def clone(xp: Any, x: Array) -> Array:
    """A copy of x."""
    return x.copy()


@clone.vjp
def clone_vjp(g: Array) -> Array:
    """dy = dx."""
    return g


@op
def cast(xp: Any, x: Array, *, dtype: Any) -> Array:
    """x in another floating dtype."""
    return x.astype(dtype)


@cast.vjp
def cast_vjp(g: Array) -> Array:
    """The cotangent goes back as it came; `fit` gives it the dtype of x."""
    return g


def fit(g: Array, shape: tuple[int, ...], dtype: Any, by: str = "a rule") -> Array:
    """Bring a cotangent to its parent's shape and dtype: sum what was broadcast, spread what was summed.

    Only a number is spread along new axes: g along those that a sum has removed would broadcast too, but along wrong
    ones.
    """
    if g.shape != shape:
        lead = g.ndim - len(shape)
        if g.ndim == 0 or (lead == 0 and all([n in (1, m) for n, m in zip(g.shape, shape, strict=True)])):
            g = expand(g, shape=shape)
        elif lead >= 0 and all([m in (1, n) for n, m in zip(g.shape[lead:], shape, strict=True)]):
            g = sum_to(g, shape=shape)
        else:
            raise ValueError(
                f"{by} answered shape {tuple(g.shape)} for an input of shape {tuple(shape)}: it must have that shape, "
                "or be one number, or differ in axes of length 1 only and in axes that broadcasting put in front"
            )
    return g if g.dtype == dtype else cast(g, dtype=dtype)
