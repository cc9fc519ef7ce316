"""The command that checks a model and its data before they are trained for long."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from typing import Any

from tinygrad_ft.cli import finetune, training

EXAMPLES = {
    "transformer": "transformer --data python-manual --preset tiny",
    "mlp": "mlp --data digits",
    "text-cnn": "text-cnn --data sst2",
    "finetune": "finetune --model minilm --train train.tsv --valid dev.tsv",
}


def add_commands(commands: Any) -> None:
    """Add sanity, with the options of the commands that train."""
    command = commands.add_parser(
        "sanity",
        help="check a model and its data in seconds, before a long run",
        epilog="example: tinygrad-ft sanity mlp --data digits",
    )
    kinds = command.add_subparsers(title="models", required=True, metavar="MODEL")
    training.add_models(kinds)
    finetune.add_commands(kinds)
    for name, kind in kinds.choices.items():
        trains = name if name == "finetune" else f"train {name}"
        kind.description = (
            f"Checks the very model and data that `tinygrad-ft {trains}` would train, given the same options, and "
            "writes nothing. Exit code 1 if a check fails."
        )
        kind.epilog = f"example: tinygrad-ft sanity {EXAMPLES[name]}"
        kind.set_defaults(begin=kind.get_default("run"), run=_sanity)


class _Checked(Exception):
    """Ends a run before its first step, with what was found."""

    def __init__(self, findings: Sequence[Any]):
        super().__init__()
        self.findings = findings


def _sanity(arguments: argparse.Namespace) -> int:
    from tinygrad_ft.train.sanity import report

    task, method = getattr(arguments, "task", None), getattr(arguments, "method", None)
    if task == "mlm" or method == "head":
        what = "--task mlm, whose loss looks at hidden places only" if task == "mlm" else "--method head, a regression"
        raise ValueError(f"sanity has no checks for {what}: check --task classification or clm, --method full or lora")
    knows = task == "clm" and not arguments.from_scratch
    options = {**vars(arguments), "run": arguments.begin, "inspect": partial(_inspect, knows=knows)}
    del options["begin"]
    try:
        arguments.begin(argparse.Namespace(**options))
    except _Checked as checked:
        print(report(checked.findings))
        return int(any(f.ok is False for f in checked.findings))
    raise RuntimeError("the command ended before it had a model to check")


def _inspect(model: Any, loss_of: Any, batches: Any, *, knows: bool) -> None:
    """Check a model on its first batch; one that knows its task already is asked for no first loss."""
    from tinygrad_ft.gradients import no_grad
    from tinygrad_ft.tensor import Tensor
    from tinygrad_ft.train.sanity import sanity

    batch, device = batches[0], next(model.parameters()).device
    with model.evaluating(), no_grad():
        logits = model(*(None if a is None else Tensor(a).to(device) for a in batch[:-1]))
    classes = 2 if logits.ndim == 1 else logits.shape[-1]  # one logit decides between two
    raise _Checked(sanity(model, loss_of, batch, None if knows else classes, causal=batch[-1].ndim > 1))
