"""Where the random generators of a model and of the process stand."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ft import nn
from tinygrad_ft.ops.random import generator


def random_state(model: nn.Module) -> list[Any]:
    """The states of the process's generator and of those that modules hold as `rng`, as JSON can hold them."""
    return [_plain(g.bit_generator.state) for g in _generators(model)]


def set_random_state(model: nn.Module, states: list[Any]) -> None:
    """Bring the generators to where they stood.

    Raises:
        ValueError: if the model has other generators.
    """
    found = _generators(model)
    if [g.bit_generator.state["bit_generator"] for g in found] != [state.get("bit_generator") for state in states]:
        raise ValueError(f"the saved states are of {len(states)} generators, and here are {len(found)}, or other kinds")
    for g, state in zip(found, states, strict=True):
        g.bit_generator.state = _arrays(state)


def _generators(model: nn.Module) -> list[np.random.Generator]:
    held = [generator(getattr(module, "rng", None)) for module in model.modules()]
    return list({id(g): g for g in [generator(), *held]}.values())


def _plain(state: Any) -> Any:
    if isinstance(state, dict):
        return {name: _plain(value) for name, value in state.items()}
    return state.tolist() if isinstance(state, np.ndarray | np.generic) else state


def _arrays(state: Any) -> Any:
    if isinstance(state, dict):
        return {name: _arrays(value) for name, value in state.items()}
    return np.array(state, np.uint64) if isinstance(state, list) else state
