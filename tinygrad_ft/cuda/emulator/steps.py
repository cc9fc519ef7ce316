"""The smallest steps: a function of some registers into another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Step = Callable[[list[Any], Any], None]  # of the register file, and of the machine


def one(f: Callable[..., Any], d: int, a: int) -> Step:
    """A step that puts f of one register into another."""

    def step(R: list[Any], m: Any) -> None:
        R[d] = f(R[a])

    return step


def two(f: Callable[..., Any], d: int, a: int, b: int) -> Step:
    """The same, of two."""

    def step(R: list[Any], m: Any) -> None:
        R[d] = f(R[a], R[b])

    return step


def three(f: Callable[..., Any], d: int, a: int, b: int, c: int) -> Step:
    """The same, of three."""

    def step(R: list[Any], m: Any) -> None:
        R[d] = f(R[a], R[b], R[c])

    return step


def many(f: Callable[..., Any], d: int, sources: list[int]) -> Step:
    """The same, of any number."""

    def step(R: list[Any], m: Any) -> None:
        R[d] = f(*[R[a] for a in sources])

    return step


def step_of(f: Callable[..., Any], d: int, sources: list[int]) -> Step:
    """A step that puts f of some registers into one."""
    if len(sources) > 3:
        return many(f, d, sources)
    return (one, two, three)[len(sources) - 1](f, d, *sources)


def copy(finish: Callable[[Any], Any] | None, d: int, a: int) -> Step:
    """A step that puts one register into another."""
    if finish is not None:
        return one(finish, d, a)

    def step(R: list[Any], m: Any) -> None:
        R[d] = R[a]

    return step
