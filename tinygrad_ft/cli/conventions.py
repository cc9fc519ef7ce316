"""The command that prints our conventions: one page, with what PyTorch does beside it."""

from __future__ import annotations

import argparse
import json
from math import isfinite
from typing import Any


def add_commands(commands: Any) -> None:
    """Add conventions."""
    shown = commands.add_parser(
        "conventions",
        help="what we answer at kinks, ties, 0**0, NaN, ..., and what PyTorch does there",
        epilog="example: tinygrad-ft conventions norm --different",
    )
    shown.add_argument("words", nargs="*", metavar="WORD", help="only what mentions one of these (default: all)")
    shown.add_argument("--different", action="store_true", help="only where PyTorch differs (default: all)")
    shown.add_argument("--json", action="store_true", help="a list of objects, inf and nan as strings (default: text)")
    shown.set_defaults(run=_conventions)


def _conventions(arguments: argparse.Namespace) -> int:
    from tinygrad_ft.gradcheck.conventions import conventions

    chosen = [
        c
        for c in conventions()
        if (c.differs or not arguments.different)
        and (not arguments.words or any(word in f"{c.topic} {c.name} {c.expression}" for word in arguments.words))
    ]
    if not chosen:
        raise ValueError(f"no convention speaks of {' or '.join(arguments.words)}; `tinygrad-ft conventions` lists all")
    if arguments.json:
        rows = [{**c._asdict(), "differs": c.differs} for c in chosen]
        print(json.dumps(_finite(rows), indent=1, allow_nan=False))
        return 0
    topic = ""
    for c in chosen:
        if c.topic != topic:
            topic = c.topic
            print(f"\n{topic}")
        point = ", ".join(f"{name} = {_short(numbers)}" for name, numbers in c.point.items())
        what = c.expression if c.of == "value" else f"{c.of} {c.expression}"
        print(f"  {c.name}: {what}{' at ' if point else ''}{point} is {_short(c.ours)}")
        if c.differs:
            print(f"      PyTorch: {_short(c.pytorch)}")
        if c.why:
            print(f"      {c.why}")
    print(f"\n{len(chosen)} conventions; PyTorch differs in {sum(c.differs for c in chosen)}")
    return 0


def _short(numbers: Any) -> str:
    if isinstance(numbers, list) and len(numbers) > 8:
        return f"[{_short(numbers[0])}, ... {len(numbers)} of them]"
    if isinstance(numbers, list):
        return f"[{', '.join(map(_short, numbers))}]"
    return f"{numbers:g}" if isinstance(numbers, float) else str(numbers)


def _finite(x: Any) -> Any:
    """JSON has no inf and no nan: they become strings."""
    if isinstance(x, dict):
        return {name: _finite(part) for name, part in x.items()}
    if isinstance(x, list):
        return [_finite(part) for part in x]
    return str(x) if isinstance(x, float) and not isfinite(x) else x
