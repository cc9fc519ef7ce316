"""Functions composed of ops: no rule of their own, since the chain rule goes through their parts."""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from inspect import signature
from sys import maxsize
from types import MethodType
from typing import Any, TypeVar

from numpy import ndarray

from tinygrad_ft import engine
from tinygrad_ft.arguments import ALIASES
from tinygrad_ft.device import DEVICES, cpu
from tinygrad_ft.dispatch import Kernels
from tinygrad_ft.engine import OPS, Op, Value, refuse_lists

F = TypeVar("F", bound=Callable[..., Any])
COMPOSED: dict[str, Composed] = {}  # by name: the tests and `tinygrad-ft ops` read it


class Composed:
    """A function of ops; it takes PyTorch's names too, as ops do.

    These are `dim` and `keepdim` for `axis` and `keepdims`, `input` for its first argument and `other` for its second.
    It may have kernels, as an op may; they run where all arrays are plain, as in a rule whose graph nobody wants.
    """

    __name__: str

    def __init__(self, f: Callable[..., Any]):
        update_wrapper(self, f)
        self.f, self.name = f, f.__name__
        own = list(signature(f).parameters)
        aliases = {**ALIASES, **dict(zip(("input", "other"), own, strict=False))}
        self.aliases = {theirs: ours for theirs, ours in aliases.items() if theirs not in own}
        self.kernels: Kernels | None = None
        self.least = maxsize  # elements of a first array of NumPy's from which on a kernel may run

    def __call__(self, *inputs: Any, **params: Any) -> Any:
        """What f answers, or a kernel for plain arrays."""
        named = {self.aliases.get(name, name): value for name, value in params.items()} if params else params
        if len(named) < len(params):
            raise TypeError(f"{self.name} was given one parameter under two names: {', '.join(params)}")
        if (
            self.kernels is not None
            and inputs
            and type(inputs[0]) in DEVICES
            and (inputs[0].size >= self.least or type(inputs[0]) is not ndarray)
            and not any(isinstance(x, Value) for x in inputs)
        ):
            device = DEVICES[type(inputs[0])]
            run = self.kernels.choose(device.name, inputs, named)
            if run is not self.f:
                return run(device.xp, *inputs, **named)
        if self.kernels is not None and engine.observer is not None:
            seen = engine.observer.composed(self, inputs, named)
            if seen is not NotImplemented:
                return seen
        try:
            return self.f(*inputs, **named)
        except AttributeError as error:
            refuse_lists(self.name, error)
            raise

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """It is a method too, where a class names it."""
        return self if instance is None else MethodType(self, instance)

    def __reduce__(self) -> str:
        """It pickles as the function that it is, by its name, and copies to itself."""
        return self.name

    def kernel(self, device: str, *, when: Callable[..., bool], elements: int = 0, **how: bool) -> Callable[[F], F]:
        """Register a faster form for one device; see `Op.kernel`."""
        return self._choosing_from(device, elements).register(device, when, elements, **how)

    def _choosing_from(self, device: str, elements: int) -> Kernels:
        self.kernels = self.kernels or Kernels(self.f)
        if device == cpu.name:
            self.least = min(self.least, elements)
        return self.kernels

    def shares(self, device: str, *, when: Callable[..., bool]) -> Callable[[F], F]:
        """Register how a recorded step shares out the work; see `Op.shares`."""
        self.kernels = self.kernels or Kernels(self.f)
        return self.kernels.register_shares(device, when)

    def expect_kernels(self, device: str, module: str, elements: int) -> None:
        """Say which module registers kernels; see `Op.expect_kernels`."""
        self._choosing_from(device, elements).pending[device] = (module, elements)


def composed(f: Callable[..., Any]) -> Composed:
    """Register a function composed of ops."""
    COMPOSED[f.__name__] = made = Composed(f)
    return made


def every() -> dict[str, Op | Composed]:
    """All ops and all functions composed of them, by name."""
    return {**OPS, **COMPOSED}
