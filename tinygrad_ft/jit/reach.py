"""Arrays out of reach: while a step is recorded, its own Python code may not touch the .array of a Tensor.

What it computed there would be seen by no op, and a replay would not compute it again.
"""

from __future__ import annotations

import sys
from threading import Lock
from typing import Any

from tinygrad_ft import engine
from tinygrad_ft.engine import Value
from tinygrad_ft.notice import looks_at
from tinygrad_ft.watch import ours

_guards = 0  # recordings that are going on, in all threads
_guarding = Lock()


def guard_arrays() -> None:
    """From now on a user's code that reads or writes the .array of a Tensor while it is recorded is told not to."""
    global _guards
    with _guarding:
        _guards += 1
        slot: Any = vars(Value)["array"]

        def read(t: Any) -> Any:
            _refuse_users()
            return slot.__get__(t)

        def write(t: Any, array: Any) -> None:
            _refuse_users()
            slot.__set__(t, array)

        kind: Any = engine.Tensor
        kind.array = property(read, write)


def release_arrays() -> None:
    """Undo `guard_arrays`."""
    global _guards
    with _guarding:
        _guards -= 1
        if not _guards:
            kind: Any = engine.Tensor
            del kind.array  # the slot of Value comes to light again


def _refuse_users() -> None:
    """Raise if the code that touches an array is neither ours nor NumPy's, and is being recorded in this thread."""
    if not ours(sys._getframe(2).f_code.co_filename):
        looks_at("the .array of a Tensor")
