"""Derivatives of functions: f in, a function that computes its gradient, Jacobian or Hessian out; as `torch.func`."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from numbers import Integral
from typing import Any

import numpy as np

from tinygrad_ft import gradients, ops
from tinygrad_ft.engine import Node, Value
from tinygrad_ft.ops.arithmetic import zeros_like
from tinygrad_ft.tensor import Tensor, tensor

Function = Callable[..., Any]


def _variable(x: Any) -> Any:
    """A variable of its own for x, so that derivatives by this x and by an outer one are not mixed up."""
    if isinstance(x, Value) and x.node is not None:
        return ops.clone(x)
    x = x if isinstance(x, Value) else tensor(x)
    return Tensor(x.array).requires_grad_()


def _position(argnum: Any, args: tuple[Any, ...]) -> int:
    """Which argument is meant, counted from 0; those given by keyword have no position."""
    if not isinstance(argnum, Integral):
        raise TypeError(f"argnums says by its position which argument is meant: got {argnum!r}")
    if not args:
        raise TypeError("derivatives are by positional arguments, and none was given: pass x as f(x), not as f(x=x)")
    if not -len(args) <= int(argnum) < len(args):
        raise IndexError(f"argnums {argnum} is out of range: {len(args)} positional arguments were given")
    return int(argnum) % len(args)


def _at(argnums: int | tuple[int, ...], args: tuple[Any, ...]) -> tuple[list[Any], tuple[Any, ...]]:
    """The arguments at those positions made variables, and all the arguments with these in their places."""
    where = [_position(i, args) for i in (argnums if isinstance(argnums, tuple | list) else (argnums,))]
    if len(set(where)) < len(where):
        raise ValueError(f"argnums {argnums} names an argument twice")
    variables = {i: _variable(args[i]) for i in where}
    return list(variables.values()), tuple(variables.get(i, a) for i, a in enumerate(args))


def _settled(result: Any, own: list[Any]) -> Any:
    """A result as a constant, unless it depends on a variable that is not our own and may be asked for a gradient."""
    if isinstance(result, dict):
        return {key: _settled(r, own) for key, r in result.items()}
    if isinstance(result, tuple | list):
        kind = getattr(result, "_make", list if isinstance(result, list) else tuple)  # a named tuple stays one
        return kind(_settled(r, own) for r in result)
    if not isinstance(result, Value) or result.node is None:
        return result
    ours, queue, seen = {v.node for v in own}, [result.node], set()
    while queue:
        node: Node = queue.pop()
        if node.op is None and node not in ours:
            return result
        fresh = [p for p in node.parents if p is not None and p not in seen]
        seen.update(fresh)
        queue += fresh
    return Tensor(result.array)


def value_and_grad(f: Function, argnums: int | tuple[int, ...] = 0, has_aux: bool = False) -> Function:
    """A function that answers (f, df/dx) for a scalar f.

    Args:
        argnums: which positional argument x is; a tuple asks for a tuple of gradients.
        has_aux: f answers (value, anything); then ((value, anything), gradient) comes back.
    """

    @wraps(f)
    def derivative(*args: Any, **params: Any) -> Any:
        with gradients.enable_grad():
            variables, args = _at(argnums, args)
            answer = f(*args, **params)
            y = answer[0] if has_aux else answer
            if not isinstance(y, Value) or y.array.size != 1:
                raise ValueError(
                    f"grad needs a function with one number as its value: got {getattr(y, 'shape', type(y).__name__)}"
                )
            gs = _gradients([y], variables, None)
        gs = gs if isinstance(argnums, tuple | list) else gs[0]
        value = _settled(y, variables)
        return (value, _settled(answer[1], variables)) if has_aux else value, _settled(gs, variables)

    return derivative


def grad(f: Function, argnums: int | tuple[int, ...] = 0, has_aux: bool = False) -> Function:
    """A function that answers df/dx for a scalar f; with has_aux, (df/dx, anything). See `value_and_grad`."""

    @wraps(f)
    def derivative(*args: Any, **params: Any) -> Any:
        value, g = value_and_grad(f, argnums, has_aux)(*args, **params)
        return (g, value[1]) if has_aux else g

    return derivative


def _gradients(ys: Any, variables: list[Any], gs: Any) -> tuple[Any, ...]:
    """dL/dx by autograd, zeros where no y depends on x."""
    if not any(isinstance(y, Value) and y.node is not None for y in ys):
        return tuple(zeros_like(v.detach()) for v in variables)
    pairs = [(y, None if gs is None else g) for y, g in zip(ys, gs or ys, strict=True) if y.node is not None]
    found = gradients.grad(
        [y for y, _ in pairs], variables, [g for _, g in pairs], create_graph=True, allow_unused=True
    )
    return tuple(zeros_like(v.detach()) if g is None else g for v, g in zip(variables, found, strict=True))


def vjp(f: Function, *primals: Any) -> tuple[Any, Function]:
    """(f(*primals), pull), where pull(u) answers u^T J for each primal: a tuple, or one array for one primal."""
    with gradients.enable_grad():
        variables, args = _at(tuple(range(len(primals))), primals)
        y = f(*args)
    ys = y if isinstance(y, tuple) else (y,)

    def pull(*us: Any) -> Any:
        us = tuple(u if isinstance(u, Value) else tensor(u, dtype=y.dtype) for u, y in zip(us, ys, strict=True))
        gs = _settled(_gradients(ys, variables, us), variables)
        return gs[0] if len(primals) == 1 else gs

    return _settled(y, variables), pull


def jvp(f: Function, primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Any, Any]:
    """(f(*primals), J v): how f moves when its arguments move by the tangents v; a tuple if f answers a tuple.

    u^T J is linear in u, and its derivative by u, along v, is J v: two reverse passes make a forward one.
    """
    if len(primals) != len(tangents):
        raise ValueError(
            f"jvp needs a tangent for each primal: got {len(primals)} primals and {len(tangents)} tangents"
        )
    with gradients.enable_grad():
        variables, args = _at(tuple(range(len(primals))), primals)
        y = f(*args)
        ys = y if isinstance(y, tuple) else (y,)
        us = [_variable(np.zeros(y.shape, y.dtype)) for y in ys]
        gs = _gradients(ys, variables, us)
        vs = [t if isinstance(t, Value) else tensor(t, dtype=v.dtype) for v, t in zip(variables, tangents, strict=True)]
        moved = _settled(_gradients(gs, us, vs), [*variables, *us])
    return _settled(y, variables), moved if isinstance(y, tuple) else moved[0]


def _only_one(argnums: Any) -> None:
    if not isinstance(argnums, Integral):
        raise TypeError(f"Jacobians and Hessians are by one argument: got argnums={argnums!r}; call once for each")


def _of_one(f: Function, argnum: int, args: tuple[Any, ...]) -> tuple[Any, Function]:
    """The argument at that position, and f as a function of it alone."""
    i = _position(argnum, args)
    return args[i] if isinstance(args[i], Value) else tensor(args[i]), lambda v: f(*args[:i], v, *args[i + 1 :])


def jacrev(f: Function, argnums: int = 0) -> Function:
    """A function that answers J, shape (*y.shape, *x.shape), by one reverse pass an element of y: for few outputs."""
    _only_one(argnums)

    @wraps(f)
    def jacobian(*args: Any) -> Any:
        x, of_x = _of_one(f, argnums, args)
        y, pull = vjp(of_x, x)
        rows = [pull(basis) for basis in _basis(y)]
        return (
            ops.reshape(ops.stack(rows), (*y.shape, *x.shape))
            if rows
            else tensor(np.zeros((*y.shape, *x.shape), x.dtype))
        )

    return jacobian


def jacfwd(f: Function, argnums: int = 0) -> Function:
    """A function that answers J, shape (*y.shape, *x.shape), by one forward pass an element of x: for few inputs."""
    _only_one(argnums)

    @wraps(f)
    def jacobian(*args: Any) -> Any:
        x, of_x = _of_one(f, argnums, args)
        columns = [jvp(of_x, (x,), (basis,))[1] for basis in _basis(x)]
        shape = of_x(x).shape
        return (
            ops.reshape(ops.stack(columns, axis=-1), (*shape, *x.shape))
            if columns
            else tensor(np.zeros((*shape, *x.shape), x.dtype))
        )

    return jacobian


def hessian(f: Function, argnums: int = 0) -> Function:
    """A function that answers the second derivatives of a scalar f, shape (*x.shape, *x.shape)."""
    return jacfwd(grad(f, argnums), argnums)


def _basis(x: Any) -> list[Any]:
    n = int(np.prod(x.shape))
    return [tensor(row.reshape(x.shape)) for row in np.eye(n, dtype=x.dtype)]
