"""Which implementation of an op runs: its own forward, or a kernel registered for the device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, NamedTuple, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

REFERENCE = "reference"  # the name under which an op's own forward can be asked for


class Kernel(NamedTuple):
    """A faster forward of one op: `when(*arrays, **params)` says whether it applies."""

    name: str
    when: Callable[..., bool]
    run: Callable[..., Any]


class Share(NamedTuple):
    """Work that threads can share out: `loop(*arguments, start, end)` does the items from start to end, of so many.

    The loop is a compiled function that needs no lock of Python's; arguments are arrays, floats and integers. `weight`
    is how long it takes for each byte of them, in times of a copy: where there is more to do, threads pay sooner.
    """

    loop: Any
    items: int
    arguments: tuple[Any, ...]
    weight: float = 1.0


class Division(NamedTuple):
    """How the work of one op is shared out: `into(y, *arrays, **params)` answers the shares that write y, in order."""

    when: Callable[..., bool]
    into: Callable[..., list[Share]]


class Kernels:
    """The kernels of one op, by device, newest first; and how a recorded step shares out its work, likewise."""

    def __init__(self, forward: Callable[..., Any]):
        self.forward = forward
        self.by_device: dict[str, list[Kernel]] = {}
        self.pending: dict[
            str, tuple[str, int]
        ] = {}  # device -> (module that registers kernels, elements that merit it)
        self.choice: str | None = None
        self.divisions: dict[str, list[Division]] = {}

    def register(self, device: str, when: Callable[..., bool], elements: int = 0) -> Callable[[F], F]:
        """A decorator that adds a kernel, under its function's name, for first arrays of so many elements or more."""

        def merited(*arrays: Any, **params: Any) -> bool:
            return getattr(arrays[0], "size", 0) >= elements and when(*arrays, **params)

        def add(run: F) -> F:
            self.by_device.setdefault(device, []).insert(0, Kernel(run.__name__, merited if elements else when, run))
            return run

        return add

    def register_shares(self, device: str, when: Callable[..., bool]) -> Callable[[F], F]:
        """A decorator that adds a way to share out the work among threads."""

        def add(into: F) -> F:
            self.divisions.setdefault(device, []).insert(0, Division(when, into))
            return into

        return add

    def division(self, device: str, arrays: Sequence[Any], params: dict[str, Any]) -> Division | None:
        """The way to share out the work for these arguments; None if there is none."""
        self.load()
        if self.choice == REFERENCE:
            return None
        return next((d for d in self.divisions.get(device, ()) if d.when(*arrays, **params)), None)

    def shares(self, device: str, y: Any, arrays: Sequence[Any], params: dict[str, Any]) -> list[Share] | None:
        """The work that writes y, shared out; None if no division applies to these arguments."""
        division = self.division(device, arrays, params)
        return None if division is None else division.into(y, *arrays, **params)

    def choose(self, device: str, arrays: Sequence[Any], params: dict[str, Any]) -> Callable[..., Any]:
        """What runs for these arguments. The module of kernels is imported when it is first worth it."""
        waiting = self.pending.get(device)
        if waiting is not None and getattr(arrays[0], "size", 0) >= waiting[1]:
            import_module(waiting[0])
            self.pending.pop(device, None)
        if self.choice == REFERENCE:
            return self.forward
        for kernel in self.by_device.get(device, ()):
            if (self.choice is None or self.choice == kernel.name) and kernel.when(*arrays, **params):
                return kernel.run
        return self.forward

    def load(self) -> None:
        """Import every module that still has kernels to register."""
        while self.pending:
            import_module(self.pending.popitem()[1][0])

    def names(self) -> list[str]:
        """The names that `use_kernels` takes for this op."""
        self.load()
        return [REFERENCE, *sorted({k.name for kernels in self.by_device.values() for k in kernels})]
