"""Every kernel of every op and device, with what it moves and why it is there: what `kernels list` prints."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from functools import partial
from types import CodeType, FunctionType
from typing import Any, NamedTuple

from tinygrad_ft.ops.composed import every


class Entry(NamedTuple):
    """One kernel of one op: `version` is its name for use_kernels, `moves` and `why` what its author says of it.

    One that is `by_choice` runs only if use_kernels names it.
    """

    op: str
    device: str
    version: str
    name: str
    moves: str
    why: str
    by_choice: bool


def entries(ops: list[str] | None = None) -> list[Entry]:
    """All kernels of these ops, or of all; a kernel of several launches has an entry for each function launched."""
    return [
        entry
        for op, found in every().items()
        if found.kernels is not None and (ops is None or op in ops)
        for device, versions in _loaded(found.kernels).items()
        for version in versions
        for entry in _of(op, device, version)
    ]


def _loaded(kernels: Any) -> Any:
    kernels.load()
    return kernels.by_device


def _of(op: str, device: str, version: Any) -> Iterator[Entry]:
    run = version.run
    launched = list(launched_by(run))
    for kernel in launched:
        yield Entry(op, device, version.name, kernel.name, kernel.moves, kernel.why, version.by_choice)
    if not launched:
        plain = run.func if isinstance(run, partial) else run
        moves, why = told(inspect.getmodule(plain).__doc__ or "")
        yield Entry(op, device, version.name, version.name, moves, why, version.by_choice)


def launched_by(run: Callable[..., Any]) -> Iterator[Any]:
    """The CUDA kernels that a function names, or a function of the same folder that it calls, each once."""
    seen: set[int] = set()
    waiting: list[Any] = [run]
    while waiting:
        one = waiting.pop(0)
        one = one.func if isinstance(one, partial) else one
        if id(one) in seen:
            continue
        seen.add(id(one))
        if hasattr(one, "moves") and hasattr(one, "ptx"):
            yield one
        elif isinstance(one, FunctionType) and one.__module__.startswith("tinygrad_ft.kernels.cuda."):
            waiting += [one.__globals__[name] for name in _names(one.__code__) if name in one.__globals__]
        elif isinstance(one, dict | tuple | list):
            waiting += one.values() if isinstance(one, dict) else one


def _names(code: CodeType) -> list[str]:
    nested = [name for inner in code.co_consts if isinstance(inner, CodeType) for name in _names(inner)]
    return [*code.co_names, *nested]


def told(text: str) -> tuple[str, str]:
    """What a module of kernels says that they move, and its first sentence, which says what they are."""
    first, _, rest = " ".join(text.split()).partition(". ")
    sentences = re.split(r"(?<=[.;])\s+(?=[A-Z])", rest.partition("Applies:")[0])
    moves = next((sentence for sentence in sentences if "oves " in sentence), "")
    return moves.removeprefix("Moves ").rstrip(". "), first
