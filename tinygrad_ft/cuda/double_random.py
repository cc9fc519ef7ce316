"""Random numbers of the device `emulator`: what NumPy's and CuPy's generators both have, as arrays of the double.

The numbers are NumPy's, so a seed says nothing of what a GPU would draw.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ft.cuda import contract
from tinygrad_ft.cuda.contract import Refused
from tinygrad_ft.cuda.double import DoubleArray, called


class Generator:
    """`cupy.random.Generator`, which has about half of the methods of NumPy's."""

    def __init__(self, draws: np.random.Generator):
        self._draws = draws

    def __repr__(self) -> str:
        return "<cupy.random.Generator of the device double>"

    def __getattr__(self, name: str) -> Any:
        path = f"cupy.random.Generator.{name}"
        if name.startswith("_") or not callable(getattr(self._draws, name, None)) or not contract.has(path):
            raise AttributeError(f"CuPy's generators have no {name}", name=name, obj=self)

        def drawn(generator: Generator, *arguments: Any, **keywords: Any) -> Any:
            return as_array(getattr(generator._draws, name)(*arguments, **keywords))

        return lambda *arguments, **keywords: called(path, drawn, (self, *arguments), keywords)


def as_array(drawn: Any) -> Any:
    """A single number as an array without axes, which is how CuPy draws it."""
    return np.asarray(drawn) if isinstance(drawn, int | float) else drawn


def default_rng(seed: Any = None) -> Generator:
    """A generator.

    Raises:
        Refused: for a seed that lies on the device, which CuPy would fetch.
    """
    if isinstance(seed, DoubleArray):
        raise Refused("random.default_rng: a seed on the device would have to be fetched: give a Python integer")
    return Generator(np.random.default_rng(seed))


class Random:
    """`cupy.random`."""

    Generator, default_rng = Generator, staticmethod(default_rng)

    def __repr__(self) -> str:
        return "<cupy.random of the device double>"

    def __getattr__(self, name: str) -> Any:
        path, of_numpy = f"cupy.random.{name}", getattr(np.random, name, None)
        if name.startswith("_") or not callable(of_numpy) or not contract.has(path):
            raise AttributeError(f"CuPy has no random.{name}", name=name)
        if isinstance(of_numpy, type):
            raise AttributeError(f"the device double has no random.{name}: take random.default_rng", name=name)

        def drawn(*arguments: Any, **keywords: Any) -> Any:
            return as_array(of_numpy(*arguments, **keywords))

        return lambda *arguments, **keywords: called(path, drawn, arguments, keywords)
