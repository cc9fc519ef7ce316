"""Functions composed of ops: no rule of their own, since the chain rule goes through their parts."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import signature
from typing import Any

from tinygrad_ft.engine import ALIASES, refuse_lists

COMPOSED: dict[str, Callable[..., Any]] = {}  # by name: the tests and `tinygrad-ft ops` read it


def composed(f: Callable[..., Any]) -> Callable[..., Any]:
    """Register a composed function; it takes PyTorch's names too, as ops do.

    These are `dim` and `keepdim` for `axis` and `keepdims`, `input` for its first argument and `other` for its second.
    """
    own = list(signature(f).parameters)
    aliases = {**ALIASES, **dict(zip(("input", "other"), own, strict=False))}
    aliases = {theirs: ours for theirs, ours in aliases.items() if theirs not in own}

    @wraps(f)
    def call(*inputs: Any, **params: Any) -> Any:
        named = {aliases.get(name, name): value for name, value in params.items()} if params else params
        if len(named) < len(params):
            raise TypeError(f"{f.__name__} was given one parameter under two names: {', '.join(params)}")
        try:
            return f(*inputs, **named)
        except AttributeError as error:
            refuse_lists(f.__name__, error)
            raise

    COMPOSED[f.__name__] = call
    return call
