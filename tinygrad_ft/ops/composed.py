"""Functions composed of ops: no rule of their own, since the chain rule goes through their parts."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from tinygrad_ft.engine import ALIASES

COMPOSED: dict[str, Callable[..., Any]] = {}  # by name: the tests and `tinygrad-ft ops` read it


def composed(f: Callable[..., Any]) -> Callable[..., Any]:
    """Register a composed function; it takes PyTorch's `dim` and `keepdim` for `axis` and `keepdims`, as ops do."""

    @wraps(f)
    def call(*inputs: Any, **params: Any) -> Any:
        named = {ALIASES.get(name, name): value for name, value in params.items()} if params else params
        if len(named) < len(params):
            raise TypeError(f"{f.__name__} was given one parameter under two names: {', '.join(params)}")
        return f(*inputs, **named)

    COMPOSED[f.__name__] = call
    return call
