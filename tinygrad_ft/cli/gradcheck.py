"""The command that holds gradients against differences: of the library's ops, and of functions in users' files."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any, NamedTuple

from tinygrad_ft.cli.running import at_least
from tinygrad_ft.ops.composed import every

EPILOG = """\
A function in a file is checked on inputs that stand beside it:

    f_inputs = (x, y)          an array, a tuple of them, or a function without arguments that answers that;
                               `inputs`, if there is no f_inputs
    def f_gradient(x, y): ...  if it is there: the gradient to check, one array for each input, by hand in NumPy or not.
                               It is also given dL/df, after the inputs, if f answers arrays. Without it, f is given
                               Tensors and its gradient is the engine's.

Exit code: 0 if every gradient agrees, 1 if one does not, 2 on bad usage.

example: tinygrad-ft gradcheck softmax matmul
"""


def add_commands(commands: Any) -> None:
    """Add gradcheck."""
    check = commands.add_parser(
        "gradcheck",
        help="hold first and second derivatives of ops, or of your own functions, against differences",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=EPILOG,
    )
    check.add_argument(
        "targets", nargs="*", metavar="OP | all | FILE.py:FUNCTION", help="what to check (default: all ops)"
    )
    check.add_argument("--json", action="store_true", help="answer in JSON, with every number (default: a table)")
    check.add_argument(
        "--order", type=int, choices=(1, 2), help="1: first derivatives only (default 2, and 1 for a gradient by hand)"
    )
    check.add_argument(
        "--seed", type=at_least(0), default=0, metavar="S", help="another seed, other inputs (default 0)"
    )
    check.add_argument(
        "--plot", metavar="FILE", help="draw the error against the step, for one target, into a PNG file"
    )
    check.set_defaults(run=_gradcheck, refuse=check.error)


class Line(NamedTuple):
    """What is said about one target: the gravest of its reports, of how many, and what else helps."""

    name: str
    report: Any
    samples: int
    hint: str = ""

    def __str__(self) -> str:
        said = f"{self.report.verdict:<22} {self.name:<34} {self.samples or ''}".rstrip()
        if self.report.ok:
            return said
        below = [*str(self.report).splitlines()[1:], *(["", *self.hint.splitlines()] if self.hint else [])]
        return "\n".join([said, *(f"    {row}".rstrip() for row in below)])

    def as_dict(self) -> dict[str, Any]:
        """The same, ready for JSON."""
        return {**self.report.as_dict(), "name": self.name, "samples": self.samples, "bisect": self.hint}


def _gradcheck(arguments: argparse.Namespace) -> int:
    from tinygrad_ft.gradcheck import SAMPLES

    named = arguments.targets or ["all"]
    if arguments.plot and (len(named) > 1 or named == ["all"]):
        arguments.refuse("--plot draws one curve: name one op or one function")
    known = [*every()]
    targets = [target for name in named for target in (known if name == "all" else [name])]
    for target in targets:
        _refuse_unknown(target, known, arguments.refuse)
    flat = [target for target in targets if target in known and target not in SAMPLES]
    begun, lines = time.perf_counter(), []
    if not arguments.json:
        print(f"{'verdict':<22} {'function':<34} samples")
    for target in targets:
        if target in flat:
            continue
        lines.append(_of_op(target, arguments) if target in known else _of_file(target, arguments))
        if not arguments.json:
            print(lines[-1], flush=True)
        if arguments.plot:
            lines[-1].report.plot(arguments.plot)
    seconds = time.perf_counter() - begun
    bad = [line.name for line in lines if not line.report.ok]
    if arguments.json:
        checked = [line.as_dict() for line in lines]
        print(
            json.dumps(
                {"ok": not bad, "seconds": round(seconds, 3), "checked": checked, "not checked": flat}, allow_nan=False
            )
        )
        return 1 if bad else 0
    if flat:
        print(f"without a derivative: {', '.join(flat)}")
    said = f"{len(bad)} not ok: {', '.join(bad)}" if bad else "all ok"
    samples = sum(line.samples for line in lines)
    print(f"functions: {len(lines)}, samples: {samples}, seconds: {seconds:.1f}; {said}")
    return 1 if bad else 0


def _refuse_unknown(target: str, known: list[str], refuse: Any) -> None:
    if target in known:
        return
    path, _, function = target.rpartition(":")
    if not path.endswith(".py") or not function.isidentifier():
        hint = (
            "name a function in it, as FILE.py:FUNCTION" if target.endswith(".py") else "`tinygrad-ft ops` lists them"
        )
        refuse(f"no such op: {target}; {hint}")
    if not Path(path).is_file():
        refuse(f"{path}: no such file")


def _of_op(name: str, arguments: argparse.Namespace) -> Line:
    from tinygrad_ft.gradcheck import examine_op

    reports = examine_op(name, seed=arguments.seed, order=arguments.order or 2)
    return Line(name, max(reports, key=lambda report: report.verdict.severity), len(reports))


def _of_file(target: str, arguments: argparse.Namespace) -> Line:
    from tinygrad_ft.cli.user_function import load
    from tinygrad_ft.gradcheck import bisect, examine

    path, _, name = target.rpartition(":")
    function, inputs, gradient = load(Path(path), name)
    order = arguments.order or (2 if gradient is None else 1)
    report = examine(function, inputs, gradient=gradient, order=order, seed=arguments.seed)
    to_blame = report.verdict == "wrong" and gradient is None
    return Line(target, report, 0, str(bisect(function, *inputs)) if to_blame else "")
