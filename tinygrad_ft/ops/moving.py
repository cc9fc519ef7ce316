"""From one device to another: the one op whose answer lives elsewhere than its input, and what Python makes."""

from __future__ import annotations

from typing import Any

from tinygrad_ft.device import cpu, device, device_of
from tinygrad_ft.engine import Array, Value, op
from tinygrad_ft.notice import constant

__all__: list[str] = []


@op
def moved(xp: Any, x: Array, *, source: str, target: str) -> Array:
    """A copy of x, which is on the device `source`, on the device `target`, by way of the CPU."""
    host = x.copy() if source == cpu.name else x.get()
    return host if target == cpu.name else device(target).xp.asarray(host)


@moved.vjp
def moved_vjp(g: Array, *, source: str, target: str) -> Array:
    """dy = dx, sent back to where x is."""
    return moved(g, source=target, target=source)


def beside(x: Array, made: Any) -> Any:
    """A NumPy array that Python made of numbers and shapes, on the device of x; a GPU is sent it at each call."""
    place = device_of(x.array if isinstance(x, Value) else x)
    return constant(made) if place is cpu else place.xp.asarray(made)
