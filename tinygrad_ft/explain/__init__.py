"""The engine explains itself: formulas, derivations, paths, graphs, with this call's numbers and shapes."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

# name -> the module that has it: each comes when it is first named
HOMES = {
    "Abbreviated": "abbreviate",
    "Explanation": "explanation",
    "Formulated": "formulas",
    "Grade": "grading",
    "Health": "health",
    "ParseError": "parser",
    "abbreviated": "abbreviate",
    "cost_of": "cost",
    "explain": "explanation",
    "formula": "formulas",
    "grade": "grading",
    "grade_value": "grading",
    "parse": "parser",
    "parse_values": "parser",
}

__all__ = sorted(HOMES)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "HOMES"]


class _Room(ModuleType):
    """This module itself, which can be called: `tg.explain(loss)` is `explain(loss)`."""

    def __call__(self, y: Any, model: Any = None, *, gradient: Any = None) -> Any:
        """See `explanation.explain`."""
        return __getattr__("explain")(y, model, gradient=gradient)


sys.modules[__name__].__class__ = _Room
