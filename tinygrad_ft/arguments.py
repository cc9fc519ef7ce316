"""How a call of an op may be written: which of what is given are its arrays, and which its parameters."""

from __future__ import annotations

from typing import Any

ALIASES = {"dim": "axis", "keepdim": "keepdims", "dims": "axes"}


def sort_arguments(op: Any, inputs: tuple[Any, ...], params: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Parameters may be given by position after the arrays, and under PyTorch's names dim and keepdim.

    Arrays may be given by their names; of those that are missing, PyTorch's `input` is the first, `other` the last.
    """
    if len(inputs) == op.arity and params.keys() <= op.named:
        params = {**op.defaults, **params}
        if len(params) == len(op.params):
            return inputs, params
    if missing := op.inputs[len(inputs) :]:
        unnamed = [name for name in missing if name not in params] or missing
        places = {"input": unnamed[0], "other": unnamed[-1], **{name: name for name in missing}}
        given = {places[name]: params[name] for name in params.keys() & places.keys()}
        if len(given) < len(params.keys() & places.keys()):
            raise TypeError(f"{op.name} was given the same array twice: {', '.join(params)}")
        params = {name: value for name, value in params.items() if name not in places}
        inputs = (*inputs, *(given[name] for name in missing if name in given))
    named = [ALIASES.get(name, name) for name in params]
    if not op.variadic and op.arity < len(inputs) <= op.arity + len(op.params):
        named += op.params[: len(inputs) - op.arity]
        params = dict(zip(named, [*params.values(), *inputs[op.arity :]], strict=True))
        inputs = inputs[: op.arity]
    else:
        params = dict(zip(named, params.values(), strict=True))
    if len(params) < len(named):
        raise TypeError(f"{op.name} was given the same parameter twice: {', '.join(named)}")
    params = {**op.defaults, **params}
    if (not op.variadic and len(inputs) != op.arity) or params.keys() != set(op.params):
        asked = ", ".join([*op.inputs, *(f"{n}={op.defaults.get(n, '?')}" for n in op.params)])
        raise TypeError(f"{op.name}({asked}) was given {len(inputs)} arrays and {sorted(params) or 'no parameters'}")
    return inputs, params
