"""The command that shows what the engine is made of."""

from __future__ import annotations

import argparse
import inspect
from pathlib import Path
from typing import Any

from tinygrad_ft.engine import OPS
from tinygrad_ft.ops.composed import COMPOSED, Composed, every

PACKAGE = Path(__file__).resolve().parents[1]


def add_commands(commands: Any) -> None:
    """Add ops."""
    ops = commands.add_parser(
        "ops",
        help="list every op with file and line of its value, its rule and its kernels",
        epilog="example: tinygrad-ft ops softmax gelu",
    )
    ops.add_argument("names", nargs="*", metavar="OP", help="only these (default: all)")
    ops.set_defaults(run=_ops)


def _chosen(names: list[str], known: list[str]) -> list[str]:
    chosen = known if not names or names == ["all"] else names
    if strangers := [name for name in chosen if name not in known]:
        raise ValueError(f"no such op: {', '.join(strangers)}; `tinygrad-ft ops` lists them")
    return chosen


def _place(function: Any) -> str:
    """Where a function is written: file:line, the file as seen from beside the package."""
    function = inspect.unwrap(function)
    path = Path(inspect.getsourcefile(function) or "?").resolve()
    path = path.relative_to(PACKAGE.parent) if path.is_relative_to(PACKAGE.parent) else path
    return f"{path}:{inspect.getsourcelines(function)[1]}"


def _ops(arguments: argparse.Namespace) -> int:
    known = every()
    for name in _chosen(arguments.names, [*known]):
        op = known[name]
        kernels = _kernels(op.kernels)
        if isinstance(op, Composed):
            print(f"{name:<34} {_place(op):<28} composed {kernels}".rstrip())
            continue
        rule = _place(op.rule) if op.rule else "-"
        print(f"{name:<34} {_place(op.forward):<28} rule {rule:<28} {kernels}")
    if not arguments.names:
        derived = sum(op.rule is not None for op in OPS.values())
        print(f"{len(OPS)} primitives, {derived} with a derivative; {len(COMPOSED)} functions composed of them")
    return 0


def _kernels(kernels: Any) -> str:
    if kernels is None:
        return ""
    kernels.load()
    return "kernels " + ", ".join(
        f"{device}: {kernel.name} {_place(kernel.run)}"
        for device, found in sorted(kernels.by_device.items())
        for kernel in found
    )
