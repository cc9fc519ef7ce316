"""Where arrays live, and the array module that computes there.

An op never names NumPy: its forward is handed `xp`, the array module of the device that its arrays are on. A device
joins by adding the type of its arrays to `DEVICES`; those in `ELSEWHERE` do so when somebody first asks for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np


class Device(NamedTuple):
    """A place where arrays live: its name, its array module, and its module of special functions."""

    name: str
    xp: Any
    special_module: str

    @property
    def special(self) -> Any:
        """erf and its kin, which NumPy lacks. Imported at first use: SciPy's take longer than all of this package."""
        return import_module(self.special_module)

    def __str__(self) -> str:
        return self.name


cpu = Device("cpu", np, "scipy.special")
DEVICES: dict[type, Device] = {np.ndarray: cpu}
ELSEWHERE = {"emulator": "tinygrad_ft.cuda.devices", "cuda": "tinygrad_ft.cuda.devices"}  # name -> who brings it in


def names() -> list[str]:
    """The names of all devices, whether or not this machine has what they need."""
    return [*dict.fromkeys([*map(str, DEVICES.values()), *ELSEWHERE])]


def device(name: str | Device) -> Device:
    """The device of that name.

    Raises:
        ValueError: if there is no device of that name; the message lists those that there are.
        RuntimeError: if this machine lacks something that the device needs, with what to do.
    """
    for known in DEVICES.values():
        if known.name == str(name):
            return known
    if str(name) not in ELSEWHERE:
        raise ValueError(f"there is no device {str(name)!r}: there are {', '.join(names())}")
    getattr(import_module(ELSEWHERE[str(name)]), str(name))()
    return device(name)


def special(xp: Any) -> Any:
    """The special functions (erf, ...) that go with an array module."""
    return next((d.special for d in DEVICES.values() if d.xp is xp), None) or xp.special  # a module of text has its own


def device_of(array: Any) -> Device:
    """The device that an array lives on."""
    return DEVICES[type(array)]


def at_hand(x: Any) -> bool:
    """Whether the numbers of a Tensor or an array can be looked at without waiting for another device."""
    return DEVICES.get(type(getattr(x, "array", x)), cpu) is cpu


def one_device(op: Any, arrays: list[Any], trained: Sequence[Any], *, plain: bool) -> Device:
    """The one device that the arrays of a call are on; where all are `plain`, one of NumPy in front says the CPU.

    A number without axes on the CPU goes with any device: it takes its part as NumPy's scalar, which a GPU is handed
    with the call, unless the op writes into it.

    Raises:
        ValueError: if they are on several devices, or a number on the CPU has a gradient to be sent back to it.
    """
    first = next((type(a) for a in arrays if type(a) in DEVICES), np.ndarray)
    if first is np.ndarray and plain:
        return cpu
    written = set[int]().union(*(range(len(arrays))[i] if isinstance(i, slice) else [i] for i in op.overwritten))
    found: dict[str, Device] = {}
    for i, a in enumerate(arrays):
        if type(a) not in DEVICES:
            continue
        if type(a) is np.ndarray and not a.ndim and trained[i] is None:
            arrays[i] = a if i in written else a[()]
        else:
            found[DEVICES[type(a)].name] = DEVICES[type(a)]
    if len(found) > 1:
        raise ValueError(f"{op.name}: its arrays are on {' and '.join(found)}; bring them to one device, with .to()")
    return next(iter(found.values()), cpu)
