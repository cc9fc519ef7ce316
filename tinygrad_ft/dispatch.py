"""Which implementation of an op runs: its own forward, or a kernel registered for the device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, NamedTuple, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

ALSO = {"emulator": ("emulator", "cuda")}  # device -> the devices whose kernels it runs, if not its own alone
REFERENCE = "reference"  # the name under which an op's own forward can be asked for


class Kernel(NamedTuple):
    """A faster forward of one op: `when(*arrays, **params)` says whether it applies.

    One that is `by_choice` runs only if `use_kernels` names it.
    """

    name: str
    when: Callable[..., bool]
    run: Callable[..., Any]
    by_choice: bool = False


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

    def register(
        self, device: str, when: Callable[..., bool], elements: int = 0, by_choice: bool = False
    ) -> Callable[[F], F]:
        """A decorator that adds a kernel, under its function's name, for first arrays of so many elements or more."""

        def merited(*arrays: Any, **params: Any) -> bool:
            return getattr(arrays[0], "size", 0) >= elements and when(*arrays, **params)

        def add(run: F) -> F:
            kernel = Kernel(run.__name__, merited if elements else when, run, by_choice)
            self.by_device.setdefault(device, []).insert(0, kernel)
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
        self.load(device)
        if self.choice == REFERENCE:
            return None
        return next((d for d in self.divisions.get(device, ()) if d.when(*arrays, **params)), None)

    def divides(self, device: str) -> bool:
        """Whether its work can be shared out there at all."""
        self.load(device)
        return bool(self.divisions.get(device))

    def shares(self, device: str, y: Any, arrays: Sequence[Any], params: dict[str, Any]) -> list[Share] | None:
        """The work that writes y, shared out; None if no division applies to these arguments."""
        division = self.division(device, arrays, params)
        return None if division is None else division.into(y, *arrays, **params)

    def choose(self, device: str, arrays: Sequence[Any], params: dict[str, Any]) -> Callable[..., Any]:
        """What runs for these arguments. The module of kernels is imported when it is first worth it."""
        for place in ALSO.get(device) or (device,):
            waiting = self.pending.get(place)
            if waiting is not None and getattr(arrays[0], "size", 0) >= waiting[1]:
                import_module(waiting[0])
                self.pending.pop(place, None)
            if self.choice == REFERENCE:
                return self.forward
            for kernel in self.by_device.get(place, ()):
                chosen = self.choice == kernel.name or (self.choice is None and not kernel.by_choice)
                if chosen and kernel.when(*arrays, **params):
                    return kernel.run
        return self.forward

    def load(self, device: str | None = None) -> None:
        """Import the modules that still have kernels to register: of one device, or of all whose tools are installed.

        Raises:
            ImportError: if the tools of the device asked for are not installed, or those of the CPU.
        """
        for name in [*self.pending] if device is None else [device]:
            waiting = self.pending.get(name)
            if waiting is None:
                continue
            try:
                import_module(waiting[0])
            except ImportError:
                if device is None and name != "cpu":
                    continue
                raise
            self.pending.pop(name, None)

    def has(self, name: str) -> bool:
        """Whether `use_kernels` may choose it. Other devices' modules are imported only if the CPU's do not have it."""
        if name == REFERENCE:
            return True
        self.load("cpu")
        return name in self._registered() or name in self.names()

    def names(self) -> list[str]:
        """The names that `use_kernels` takes for this op."""
        self.load()
        return [REFERENCE, *sorted(self._registered())]

    def _registered(self) -> set[str]:
        return {kernel.name for kernels in self.by_device.values() for kernel in kernels}
