"""Run benchmarks by name: a table for each piece of work, and a picture and a JSON of all of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import datetime
from importlib import import_module
from pathlib import Path

from benchmarks.harness.compare import Result, compare
from benchmarks.harness.contender import EAGER, JIT, PEERS, Work
from benchmarks.harness.report import as_json, machine, machine_lines, picture, table

NAMES = ("overhead", "mlp", "moons", "gpt", "text_cnn", "ops")


class BadName(ValueError):
    """The command line names a benchmark or a peer that there is not."""


def works_named(names: Sequence[str]) -> list[Work]:
    """The pieces of work of the benchmarks named FILE or FILE.WORK; of all, if none is.

    Raises:
        BadName: if there is no such benchmark; the message lists what there is.
    """
    known = {name: list(import_module(f"benchmarks.{name}").WORKS) for name in NAMES}
    every = [work for works in known.values() for work in works]
    for name in names:
        if name not in known and name not in {work.name for work in every}:
            listed = ", ".join([*NAMES, *(work.name for work in every)])
            raise BadName(f"no such benchmark: {name}; there are {listed}")
    return [work for work in every if not names or work.name in names or work.name.partition(".")[0] in names]


def contenders_named(against: Sequence[str], *, eager: bool, jit: bool) -> list[str]:
    """The contenders: ours, and the peers named.

    Raises:
        BadName: if there is no such peer.
    """
    if strangers := [name for name in against if name not in PEERS]:
        raise BadName(f"no such peer: {', '.join(strangers)}; there are {', '.join(PEERS)}")
    return [*([EAGER] if eager else []), *([JIT] if jit else []), *against]


def run(works: Sequence[Work], chosen: list[str], *, rounds: int, seconds: float, patience: float, out: Path) -> int:
    """Compare, print, and keep everything in `out`: 1 if a contender of ours failed or computes something else, or 0.

    The files are written anew after each piece of work, so that an interrupted run keeps what it found.

    Raises:
        OSError: if the folder cannot be written; before anything is measured.
        RuntimeError: if a baseline cannot run.
    """
    from tinygrad_ft.storage import write_atomically

    started = datetime.now().astimezone()
    known = machine(chosen)
    settings = {"rounds": rounds, "seconds": seconds, "patience": patience, "contenders": chosen}
    files = [out / f"{started:%Y-%m-%d-%H%M%S}.{suffix}" for suffix in ("json", "png")]
    results: list[Result] = []

    def keep() -> None:
        content = {
            "started": started.isoformat(timespec="seconds"),
            "machine": known,
            "settings": settings,
            "works": [as_json(result) for result in results],
        }
        write_atomically(files[0], json.dumps(content, indent=1) + "\n")

    out.mkdir(parents=True, exist_ok=True)
    keep()
    print(machine_lines(known))
    for n, work in enumerate(works, 1):
        if sys.stderr.isatty():
            print(f"[{n} of {len(works)}] {work.name} ...", end="\r", file=sys.stderr, flush=True)
        results.append(compare(work, chosen, rounds=rounds, seconds=seconds, patience=patience))
        print(table(results[-1]), flush=True)
        keep()
        write_atomically(files[1], picture(results, title=machine_lines(known)))
    print(f"kept in {files[0]} and {files[1].name}")
    ours = [outcome for result in results for outcome in result.outcomes if outcome.name in (EAGER, JIT)]
    return int(any(outcome.status in ("failed", "refused") for outcome in ours))


__all__ = ["NAMES", "BadName", "contenders_named", "run", "works_named"]
