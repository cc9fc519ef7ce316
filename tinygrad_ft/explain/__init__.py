"""The engine explains itself: formulas, derivations, paths, graphs, with this call's numbers and shapes."""

from __future__ import annotations

from importlib import import_module
from typing import Any

# name -> the module that has it: each comes when it is first named
HOMES = {
    "Abbreviated": "abbreviate",
    "Formulated": "formulas",
    "ParseError": "parser",
    "abbreviated": "abbreviate",
    "formula": "formulas",
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
