"""The command that compares our speed with that of others; the benchmarks themselves come with a checkout only."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]


def add_commands(commands: Any) -> None:
    """Add bench."""
    command = commands.add_parser(
        "bench",
        help="compare our speed with PyTorch's, and others', on this machine (from a checkout)",
        epilog="example: tinygrad-ft bench mlp gpt.nano --against torch,jax --rounds 9",
    )
    command.add_argument("names", nargs="*", metavar="NAME", help="a benchmark, or one work of it (default: all)")
    command.add_argument(
        "--against",
        default="torch",
        metavar="PEERS",
        help="torch, jax, mygrad, autograd, tinygrad, dezero, pydynet, with commas (default torch, which always runs)",
    )
    command.add_argument("--rounds", type=int, default=9, help="turns of each, after one to warm up (default 9)")
    command.add_argument("--seconds", type=float, default=0.4, help="length of a turn (default 0.4)")
    command.add_argument(
        "--patience", type=float, default=60.0, help="seconds to wait, for each work, for a quiet machine (default 60)"
    )
    command.add_argument(
        "--out", type=Path, default=Path("bench-results"), help="folder for JSON and picture (default bench-results)"
    )
    ways = command.add_mutually_exclusive_group()
    ways.add_argument(
        "--eager", dest="ways", action="store_const", const="eager", help="ours without jit only (default: both)"
    )
    ways.add_argument(
        "--jit", dest="ways", action="store_const", const="jit", help="ours with jit only (default: both)"
    )
    ways.add_argument("--both", dest="ways", action="store_const", const="both", help="ours with and without (default)")
    command.set_defaults(run=_bench, ways="both")


def _bench(arguments: argparse.Namespace) -> int:
    runner = _runner()
    against = [name for name in arguments.against.split(",") if name]
    try:
        if arguments.rounds < 1 or not arguments.seconds > 0 or not arguments.patience >= 0:
            raise runner.BadName("bench needs --rounds >= 1, --seconds > 0 and --patience >= 0")
        works = runner.works_named(arguments.names)
        chosen = runner.contenders_named(against, eager=arguments.ways != "jit", jit=arguments.ways != "eager")
    except runner.BadName as error:
        print(f"tinygrad-ft: {error}", file=sys.stderr)
        return 2
    if find_spec("torch") is None:
        raise RuntimeError("bench compares with PyTorch, which is not installed: pip install -e '.[reference]'")
    return int(
        runner.run(
            works,
            chosen,
            rounds=arguments.rounds,
            seconds=arguments.seconds,
            patience=arguments.patience,
            out=arguments.out,
        )
    )


def _runner() -> Any:
    """benchmarks/harness/run.py of the checkout that this package lies in.

    Raises:
        RuntimeError: if it lies in none.
    """
    if not (CHECKOUT / "benchmarks" / "harness").is_dir():
        raise RuntimeError(
            "bench needs the folder benchmarks/, which only a checkout has: run it in one, after "
            "pip install -e '.[reference]' there"
        )
    if str(CHECKOUT) not in sys.path:
        sys.path.insert(0, str(CHECKOUT))
    return import_module("benchmarks.harness.run")
