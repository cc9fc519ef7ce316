"""Where arrays live, and the array module that computes there.

An op never names NumPy: its forward is handed `xp`, the array module of the device that its arrays are on.
For ops a device joins by adding the type of its arrays to `DEVICES`; what makes arrays (`tensor`, `zeros`, `rand`)
and moves them (`Tensor.to`) knows the CPU only.
"""

from __future__ import annotations

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


def device(name: str | Device) -> Device:
    """The device of that name.

    Raises:
        ValueError: if no device of that name is known here; the message lists those that are.
    """
    known = {str(d): d for d in DEVICES.values()}
    if str(name) not in known:
        raise ValueError(f"device {str(name)!r} is not known here: known are {', '.join(known)}")
    return known[str(name)]


def special(xp: Any) -> Any:
    """The special functions (erf, ...) that go with an array module."""
    return next((d.special for d in DEVICES.values() if d.xp is xp), None) or xp.special  # a module of text has its own


def device_of(array: Any) -> Device:
    """The device that an array lives on."""
    return DEVICES[type(array)]
