"""The commands that measure a fine-tuned model, and ask it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tinygrad_ft.cli.running import at_least


def add_commands(commands: Any) -> None:
    """Add evaluate and predict."""
    evaluate = commands.add_parser(
        "evaluate",
        help="measure a fine-tuned model on other texts",
        epilog="example: tinygrad-ft evaluate --model runs/finetune --data test.tsv",
    )
    _add_model(evaluate)
    evaluate.add_argument(
        "--data", type=Path, required=True, metavar="FILE",
        help="labelled texts as for finetune; a plain text for a language model",
    )  # fmt: skip
    evaluate.add_argument("--text-column", metavar="NAME", help="as for finetune (default: text)")
    evaluate.add_argument("--label-column", metavar="NAME", help="as for finetune (default: label)")
    evaluate.set_defaults(run=_evaluate)
    predict = commands.add_parser(
        "predict",
        help="ask a fine-tuned classifier of a text",
        epilog="example: tinygrad-ft predict --model runs/finetune 'a film of rare beauty'",
    )
    _add_model(predict)
    predict.add_argument("texts", nargs="+", metavar="TEXT", help="what it shall tell the class of")
    predict.set_defaults(run=_predict)


def _add_model(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--model", required=True, metavar="DIR", help="folder that `finetune` wrote, or another classifier's"
    )
    command.add_argument(
        "--max-length", type=at_least(3), default=128, metavar="N", help="tokens of a text (default 128)"
    )
    command.add_argument("--batch-size", type=at_least(1), default=16, metavar="N", help="at a time (default 16)")


def _evaluate(arguments: argparse.Namespace) -> int:
    from tinygrad_ft.cli.finetune import measured_line
    from tinygrad_ft.data import read_labelled
    from tinygrad_ft.finetune.asking import Finetuned
    from tinygrad_ft.train.sentiment import is_text_cnn, measured_text_cnn

    columns = {"text_column": arguments.text_column, "label_column": arguments.label_column}
    if is_text_cnn(Path(arguments.model)):
        labelled = read_labelled(arguments.data, **columns)
        measures = measured_text_cnn(Path(arguments.model), labelled)
        print(f"{arguments.data}: {len(labelled):,} texts")
        print(measured_line(measures))
        return 0
    found = Finetuned.read(arguments.model, max_length=arguments.max_length, batch_size=arguments.batch_size)
    measures, count = found.measure(arguments.data, **columns)
    print(f"{arguments.data}: {count}")
    print(measured_line(measures))
    return 0


def _predict(arguments: argparse.Namespace) -> int:
    from tinygrad_ft.finetune.asking import Finetuned
    from tinygrad_ft.train.sentiment import is_text_cnn, said_by_text_cnn

    if is_text_cnn(Path(arguments.model)):
        for text, label, chance in said_by_text_cnn(Path(arguments.model), arguments.texts):
            print(f"{label}\t{chance:.4f}\t{text}")
        return 0
    found = Finetuned.read(arguments.model, max_length=arguments.max_length, batch_size=arguments.batch_size)
    for text, chances in zip(arguments.texts, found.chances(arguments.texts), strict=True):
        best = max(chances, key=lambda label: chances[label])
        print(f"{best}\t{chances[best]:.4f}\t{text}")
    return 0
