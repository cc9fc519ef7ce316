"""The commands about GPU kernels: list them, run them on the emulator, compile them for every card, profile one."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

from tinygrad_ft.cli.running import at_least

LIST = """\
The kernel that runs is the first of its op and device that takes the arguments; use_kernels(op="version") chooses
another. Device `emulator` runs its own kernels, and then those of `cuda`.

example: tinygrad-ft kernels list softmax matmul
"""
CHECK = """\
Exit code: 0 if every answer is as near to float64 as its case demands, 1 if not.

example: tinygrad-ft kernels check softmax --capability 9.0 12.0
"""
BUILD = """\
Registers are those of a thread, stack and spills in bytes of a thread, shared memory in bytes of a block; occupancy is
the share of a multiprocessor's warps that can be there at once.

example: tinygrad-ft kernels build softmax --capability 8.0 9.0
"""
PROFILE = """\
Without --rows the op's example cases run.

example: tinygrad-ft kernels profile softmax --rows 128 --cols 1000 --card rtx4090
"""

WIDTH = 100  # columns
COVERED = 0.95  # of a kernel's PTX lines; below it `check` tells how many its cases run
COUNTS = (
    "instructions", "warp_instructions", "ffma", "global_requests", "sectors", "sectors_a_request", "shared_requests",
    "bank_ways", "worst_bank_ways", "atomics", "shuffles", "barriers", "branches", "divergent", "coverage",
)  # fmt: skip


def add_commands(commands: Any) -> None:
    """Add kernels."""
    kernels = commands.add_parser(
        "kernels",
        help="study GPU kernels without a GPU",
        epilog="example: tinygrad-ft kernels profile softmax --rows 128 --cols 1000",
    )
    what = kernels.add_subparsers(title="what to do", required=True, metavar="WHAT")

    def add(name: str, help: str, epilog: str, run: Callable[[argparse.Namespace], int]) -> Any:
        command = what.add_parser(name, help=help, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter)
        command.set_defaults(run=run)
        return command

    listing = add("list", "ops, devices and versions; of some ops, what each moves and why", LIST, _list)
    listing.add_argument("ops", nargs="*", metavar="OP", help="all about these (default: a line for every op)")

    check = add("check", "run every kernel's example cases on the emulator, against float64", CHECK, _check)
    check.add_argument("ops", nargs="*", metavar="OP", help="only these (default: all)")
    _add_capabilities(check, "9.0")
    check.add_argument(
        "--seed", type=at_least(0), default=0, metavar="S", help="another seed, other inputs (default 0)"
    )

    build = add("build", "compile every kernel for every compute capability, and report", BUILD, _build)
    build.add_argument("ops", nargs="*", metavar="OP", help="only these (default: all)")
    _add_capabilities(build, None)
    build.add_argument(
        "--sass", action="store_true", help="count the machine's instructions too, a second a kernel (default: not)"
    )
    build.add_argument("--json", action="store_true", help="answer in JSON (default: a table)")
    build.add_argument("--budget", type=Path, metavar="FILE", help="write the report as a budget for the tests")

    profile = add("profile", "what the emulator counts for one op, and which roof binds", PROFILE, _profile)
    profile.add_argument("op", metavar="OP", help="which op")
    profile.add_argument("--rows", type=at_least(1), metavar="M", help="rows, or length of the sequence")
    profile.add_argument("--cols", type=at_least(1), metavar="N", help="columns, or width of a head")
    profile.add_argument("--inner", type=at_least(1), metavar="K", help="inner length of a product, or rows of a table")
    profile.add_argument("--version", metavar="NAME", help="which kernel (default: the one that is chosen)")
    profile.add_argument("--card", metavar="CARD", default="rtx4090", help="whose roofs (default rtx4090)")
    profile.add_argument(
        "--capability", type=_capability, metavar="X.Y", help="of the GPU to compile for (default: that of the card)"
    )
    profile.add_argument("--json", action="store_true", help="answer in JSON (default: a table)")


def _add_capabilities(command: Any, default: str | None) -> None:
    said = default or "all that are known"
    command.add_argument(
        "--capability",
        nargs="+",
        type=_capability,
        metavar="X.Y",
        default=[_capability(default)] if default else None,
        help=f"of the GPUs to compile for (default {said})",
    )


def _capability(text: str) -> tuple[int, int]:
    from tinygrad_ft.cuda.cards import CAPABILITIES

    known = {f"{major}.{minor}": (major, minor) for major, minor in CAPABILITIES}
    if text not in known:
        raise argparse.ArgumentTypeError(f"one of {', '.join(known)}")
    return known[text]


def table(rows: Sequence[Sequence[Any]]) -> str:
    """Rows of cells, under each other: numbers to the right, words to the left."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    right = [all(_is_number(row[i]) for row in cells[1:]) for i in range(len(widths))]
    lines = (
        "  ".join(cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(row, widths, right, strict=True))
        for row in cells
    )
    return "\n".join(line.rstrip() for line in lines)


def _is_number(cell: str) -> bool:
    return cell[:1].isdigit() or cell[:1] == "-"


def _list(arguments: argparse.Namespace) -> int:
    from tinygrad_ft.cuda import state
    from tinygrad_ft.cuda.catalogue import entries
    from tinygrad_ft.ops.composed import every

    _refuse_strangers(arguments.ops, list(every()))
    if arguments.ops:
        for entry in entries(arguments.ops):
            what = "; ".join(text for text in (entry.moves, entry.why) if text)
            name = "" if entry.name == entry.version else f" ({entry.name})"
            chosen = ", only if chosen" if entry.by_choice else ""
            print(f"{entry.op}, {entry.device}, {entry.version}{name}{chosen}")
            print(fill(what, WIDTH, initial_indent="    ", subsequent_indent="    "))
    else:
        versions: dict[tuple[str, str], dict[str, None]] = {}
        for entry in entries():
            name = f"({entry.version})" if entry.by_choice else entry.version
            versions.setdefault((entry.op, entry.device), {})[name] = None
        print(table([("op", "device", "versions: the first that applies runs; (only if chosen)"), *_told(versions)]))
        print("\n`tinygrad-ft kernels list OP` says what each moves, and why it is there")
    if not (found := state.emulator()).ready:
        print(f"kernels of cuda are not listed; {found.said}")
    return 0


def _told(versions: dict[tuple[str, str], dict[str, None]]) -> list[tuple[str, str, str]]:
    return [(op, device, ", ".join(names)) for (op, device), names in sorted(versions.items())]


def _refuse_strangers(ops: list[str], known: list[str]) -> None:
    if strangers := [op for op in ops if op not in known]:
        raise ValueError(f"no kernel to be found for: {', '.join(strangers)}; `tinygrad-ft kernels list` names all")


def _cases(ops: list[str]) -> list[Any]:
    from tinygrad_ft.cuda.cases import CASES

    _refuse_strangers(ops, [case.op for case in CASES])
    return [case for case in CASES if not ops or case.op in ops]


def _check(arguments: argparse.Namespace) -> int:
    from tinygrad_ft.cuda import profile, state
    from tinygrad_ft.cuda.check import checked
    from tinygrad_ft.cuda.launch import emulating

    outcomes = []
    for capability in arguments.capability:
        for case in _cases(arguments.ops):
            with emulating(capability):
                outcomes.append(checked(case, seed=arguments.seed))
            told = "ok   " if outcomes[-1].fine else "WRONG"
            print(f"{told} sm_{capability[0]}{capability[1]:<3} {outcomes[-1]}")
    launches = [noted for outcome in outcomes for noted in outcome.launches if noted.counters]
    for name, of_one in profile.by_kernel(launches).items():
        coverage = profile.counted(of_one).coverage
        if coverage < COVERED:
            print(f"{name}: these cases run {coverage:.0%} of its PTX lines")
    wrong = sum(not outcome.fine for outcome in outcomes)
    if not (found := state.contract()).ready:
        print(found.said)
    print(f"{len(outcomes) - wrong} of {len(outcomes)} cases are right")
    return 1 if wrong else 0


def _build(arguments: argparse.Namespace) -> int:
    from tinygrad_ft.cuda import budget
    from tinygrad_ft.cuda.cards import CAPABILITIES
    from tinygrad_ft.cuda.check import compiled
    from tinygrad_ft.cuda.report import instructions, report, uses

    rows = report(uses(compiled(_cases(arguments.ops))), arguments.capability or CAPABILITIES)
    counts = [instructions(row.text) if arguments.sass else {} for row in rows]
    if arguments.budget:
        budget.write(rows, arguments.budget)
    if arguments.json:
        print(json.dumps([{**row.as_dict(), **count} for row, count in zip(rows, counts, strict=True)], indent=1))
        return 0
    told = [{**row.as_dict(), **count} for row, count in zip(rows, counts, strict=True)]
    lines = table([[*told[0]][1:], *([*one.values()][1:] for one in told)]).splitlines() if told else [""]
    print(f"  {lines[0]}")
    before = ""
    for one, text in zip(told, lines[1:], strict=True):
        if one["kernel"] != before:
            before = one["kernel"]
            print(before)
        print(f"  {text}")
    return 0


def _profile(arguments: argparse.Namespace) -> int:
    from tinygrad_ft.cuda import profile
    from tinygrad_ft.cuda.cards import card_named
    from tinygrad_ft.cuda.launch import emulating

    card = card_named(arguments.card)
    with emulating(arguments.capability or card.capability):
        outcomes = [_run(case) for case in _sized(arguments)]
    launches = [noted for outcome in outcomes for noted in outcome.launches]
    kernels = profile.by_kernel(launches)
    if arguments.json:
        found = {name: _counts(of_one, card) for name, of_one in kernels.items()}
        print(json.dumps(found, indent=1))
        return 0
    for outcome in outcomes:
        print(f"{outcome.case.op} ({outcome.given})")
    for name, of_one in kernels.items():
        first, times = of_one[0], len(of_one)
        print(f"\n{name}: grid {first.grid}, block {first.block}{f', and {times - 1} more' if times > 1 else ''}")
        print(_lines([*profile.counted(of_one).rows, *profile.roofs(of_one, card).rows, *_allotted(first)]))
    if len(kernels) > 1:
        print("\nall together")
        print(_lines(profile.roofs(launches, card).rows))
    return 0


def _lines(rows: Sequence[tuple[str, str]]) -> str:
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"  {name:{width}}  {value}" for name, value in rows)


def _sized(arguments: argparse.Namespace) -> list[Any]:
    """What to run: the op at the size that was asked for, or its example cases."""
    from tinygrad_ft.cuda.workloads import workload

    if arguments.rows is None and arguments.cols is None and arguments.inner is None:
        found = [case for case in _cases([arguments.op]) if arguments.version in (None, case.version)]
        if not found:
            raise ValueError(f"no example case of {arguments.op} runs the kernel {arguments.version!r}")
        return found
    if arguments.rows is None or arguments.cols is None:
        raise ValueError("--rows and --cols belong together")
    return [workload(arguments.op, arguments.rows, arguments.cols, arguments.inner, arguments.version)[0]]


def _run(case: Any) -> Any:
    from tinygrad_ft.cuda.check import checked

    outcome = checked(case)
    if outcome.wrong:
        raise RuntimeError(str(outcome))
    return outcome


def _allotted(noted: Any) -> list[tuple[str, str]]:
    """What ptxas gave the kernel and how many of its warps fit, if ptxas is here."""
    from tinygrad_ft.cuda.report import report, uses
    from tinygrad_ft.cuda.toolkit import MissingToolkit

    try:
        (row,) = report(uses([noted]), [noted.compiled.capability])
    except MissingToolkit as error:
        return [("registers", str(error))]
    figures, found = row.figures, row.occupancy
    return [
        ("registers a thread", f"{figures.registers}, spills {figures.spills} bytes, stack {figures.stack} bytes"),
        ("occupancy", f"{found.share:.0%}: {found.blocks} blocks of a multiprocessor, which {found.bound} allow"),
    ]


def _counts(launches: Any, card: Any) -> dict[str, Any]:
    from tinygrad_ft.cuda import profile

    total, roofs = profile.counted(launches), profile.roofs(launches, card)
    return {
        "launches": len(launches),
        "grid": launches[0].grid,
        "block": launches[0].block,
        **{name: getattr(total, name) for name in COUNTS},
        "kinds": dict(total.kinds),
        "operations": roofs.operations,
        "bytes": [roofs.bytes_at_least, roofs.bytes_at_most],
        "intensity": roofs.intensity,
        "card": card._asdict(),
        "binds": roofs.binds,
    }
