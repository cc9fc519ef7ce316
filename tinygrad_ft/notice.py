"""What the library tells whoever records a step, of things that ops alone do not show; nobody else hears of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinygrad_ft import engine


def each_time(make: Callable[[], Any]) -> Any:
    """What `make` answers, of numbers that change from call to call: drawn at random, or set by someone outside.

    A recorded step calls it again at each replay. Recorded or not, arrays stay arrays; a number becomes an array there.
    """
    return make() if engine.observer is None else engine.observer.each_time(make)


def effect(f: Callable[[], None]) -> None:
    """Do what Python does in each step beside ops; a recorded step does it at each replay."""
    if engine.observer is None:
        f()
    else:
        engine.observer.effect(f)


def constant(array: Any) -> Any:
    """The array, of which is said that Python made it of numbers and shapes, without looking at other arrays."""
    if engine.observer is not None:
        engine.observer.constant(array)
    return array


def uses(thing: Any) -> None:
    """Say that a module, an optimiser or a list of leaves is at work, on whose options or gradients ops will depend."""
    if engine.observer is not None:
        engine.observer.uses(thing)


def looks_at(what: str) -> None:
    """Say that Python code is about to look at the contents of an array, where a recording has to stop."""
    if engine.observer is not None:
        engine.observer.looks_at(what)
