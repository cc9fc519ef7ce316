"""The command that fine-tunes a pretrained model."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tinygrad_ft.cli.running import add_running, as_begun, at_least, running_of


def add_commands(commands: Any) -> None:
    """Add finetune."""
    command = commands.add_parser(
        "finetune",
        help="fine-tune a pretrained model on your texts",
        epilog="example: tinygrad-ft finetune --model minilm --train train.tsv --valid dev.tsv --test test.tsv",
    )
    _add_files(command)
    command.add_argument(
        "--task", choices=["classification", "mlm", "clm"], default="classification",
        help="tell classes of texts apart (default), guess hidden words, or guess the next one",
    )  # fmt: skip
    command.add_argument(
        "--method", choices=["full", "head", "lora"], default="full",
        help="full: train all that is not frozen (default); lora: adapters and a new head; head: a logistic regression "
        "on the mean of the hidden states",
    )  # fmt: skip
    _add_recipe(command)
    _add_parts(command)
    command.add_argument(
        "--logging-steps", type=at_least(1), metavar="N", help="print the loss every N steps (default: never)"
    )
    add_running(command, "runs/finetune")
    command.set_defaults(run=_finetune)


def _add_files(command: argparse.ArgumentParser) -> None:
    command.add_argument("--model", metavar="FOLDER", help="a pretrained model's folder, or minilm (default: none)")
    for part, what in (("train", "to train on"), ("valid", "to evaluate on"), ("test", "to measure with at the end")):
        command.add_argument(
            f"--{part}", type=Path, metavar="FILE",
            help=f"texts {what}: .tsv, .csv or .jsonl; plain text for mlm and clm (default: none)",
        )  # fmt: skip
    command.add_argument("--text-column", metavar="NAME", help="default: text or sentence, else the first; or a number")
    command.add_argument("--label-column", metavar="NAME", help="default: label, else the second; or a number, from 1")


def _add_recipe(command: argparse.ArgumentParser) -> None:
    command.add_argument("--epochs", type=at_least(1), default=3, metavar="N", help="passes over the texts (default 3)")
    command.add_argument("--lr", type=float, metavar="X", help="largest rate (default 5e-5; of lora 1e-3)")
    command.add_argument(
        "--batch-size", type=at_least(1), default=16, metavar="N", help="texts in a batch (default 16)"
    )
    command.add_argument(
        "--max-length", type=at_least(3), default=128, metavar="N",
        help="tokens of a text, the rest is cut off; of a block for mlm and clm (default 128)",
    )  # fmt: skip
    command.add_argument(
        "--warmup-steps", type=at_least(0), metavar="N", help="until the rate is largest (default 100, or a tenth)"
    )
    command.add_argument(
        "--weight-decay", type=at_least(0, float), default=0.01, metavar="X", help="of matrices (default 0.01)"
    )
    command.add_argument(
        "--max-norm", type=at_least(0, float), default=1.0, metavar="X", help="longest gradient (default 1)"
    )
    command.add_argument("--eval-steps", type=at_least(1), metavar="N", help="between evaluations (default: an epoch)")


def _add_parts(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--freeze", nargs="*", metavar="PATTERN",
        help="parameters that are not trained, by name, as in a shell (default: '*embeddings*' of a pretrained "
        "classifier that is trained in full; give none to train all)",
    )  # fmt: skip
    command.add_argument(
        "--unfreeze-at", nargs="+", default=[], metavar="STEP:PATTERN",
        help="frozen until so many steps are taken, as '200:bert.encoder.layer.[0-2].*' (default: none)",
    )  # fmt: skip
    command.add_argument(
        "--layerwise-decay", type=float, default=1.0, metavar="X",
        help="each layer nearer the input has this part of the rate (default 1)",
    )  # fmt: skip
    command.add_argument(
        "--pooling", choices=["pooler", "mean"], default="pooler",
        help="what a classifier sees: the pooler's vector, as Hugging Face's BERT (default), or the mean of the hidden "
        "states, which their classifier does not know",
    )  # fmt: skip
    command.add_argument(
        "--from-scratch",
        action="store_true",
        help="begin with new weights: what is the pretraining worth? (default: no)",
    )
    command.add_argument("--lora-rank", type=at_least(1), default=8, metavar="R", help="of the adapters (default 8)")
    command.add_argument("--lora-alpha", type=float, default=16.0, metavar="A", help="they count A/R (default 16)")
    command.add_argument(
        "--lora-targets", nargs="+", metavar="PATTERN",
        help="modules that get adapters (default: those of queries and values, as '*.query' '*.value' of a BERT)",
    )  # fmt: skip
    command.add_argument("--lora-dropout", type=float, default=0.0, metavar="P", help="before adapters (default 0)")


def _finetune(arguments: argparse.Namespace) -> int:
    from tinygrad_ft.finetune.run import Files, finetune

    arguments = as_begun(arguments)
    lacking = [f"--{name}" for name in ("model", "train", "valid") if getattr(arguments, name) is None]
    if lacking:
        raise ValueError(f"finetune needs {' and '.join(lacking)}, or --resume DIR to go on with a run")
    recipe = _recipe(arguments)
    columns = arguments.text_column, arguments.label_column
    outcome = finetune(
        arguments.model,
        Files(arguments.train, arguments.valid, arguments.test, *columns),
        recipe,
        seed=arguments.seed,
        out=arguments.out,
        running=running_of(arguments),
        device=arguments.device,
        logging_steps=arguments.logging_steps,
    )
    print("\n".join(outcome.report))
    for what, measures in (("validation", outcome.valid), ("test", outcome.test)):
        if measures is not None:
            print(f"{what}: " + measured_line(measures))
    print(
        f"results in {arguments.out}: the model in {arguments.out / 'model'}, report.json, metrics.jsonl, config.json"
    )
    data = arguments.test or arguments.valid
    print(f"next: tinygrad-ft evaluate --model {arguments.out} --data {data}")
    return 0


def measured_line(measures: dict[str, float]) -> str:
    """Measures side by side."""
    return "  ".join(f"{name} {value:.4f}" for name, value in measures.items())


def _recipe(arguments: argparse.Namespace) -> Any:
    from tinygrad_ft.finetune.recipe import Recipe

    plan = []
    for given in arguments.unfreeze_at:
        step, _, pattern = given.partition(":")
        if not step.isdecimal() or not pattern:
            raise ValueError(f"--unfreeze-at takes STEP:PATTERN, as '200:bert.encoder.layer.0.*': got {given!r}")
        plan.append((int(step), pattern))
    return Recipe(
        task=arguments.task,
        method=arguments.method,
        epochs=arguments.epochs,
        lr=arguments.lr,
        batch_size=arguments.batch_size,
        max_length=arguments.max_length,
        warmup_steps=arguments.warmup_steps,
        weight_decay=arguments.weight_decay,
        max_norm=arguments.max_norm,
        eval_steps=arguments.eval_steps,
        freeze=None if arguments.freeze is None else tuple(arguments.freeze),
        unfreeze_at=tuple(plan),
        layerwise_decay=arguments.layerwise_decay,
        pooling=arguments.pooling,
        from_scratch=arguments.from_scratch,
        lora_rank=arguments.lora_rank,
        lora_alpha=arguments.lora_alpha,
        lora_targets=None if arguments.lora_targets is None else tuple(arguments.lora_targets),
        lora_dropout=arguments.lora_dropout,
    )
