"""The command that trains a text CNN on reviews."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tinygrad_ft.cli.running import add_running, as_begun, at_least, running_of


def add_command(kinds: Any) -> None:
    """Add text-cnn to the models of `train`."""
    command = kinds.add_parser(
        "text-cnn",
        help="a convolution over words that tells two kinds of texts apart",
        epilog="example: tinygrad-ft train text-cnn --data sst2 --width 64 --out runs/films",
    )
    command.add_argument(
        "--data", choices=["sst2", "waimai"], default="sst2",
        help="English sentences on films (default), or Chinese reviews of meals; downloaded",
    )  # fmt: skip
    command.add_argument(
        "--train", type=Path, metavar="FILE", help="train on these labelled texts: .tsv, .csv, .jsonl (default: --data)"
    )
    command.add_argument("--valid", type=Path, metavar="FILE", help="evaluate on these (default: a tenth of --train)")
    command.add_argument(
        "--test", type=Path, metavar="FILE", help="measure with these at the end (default: another tenth of --train)"
    )
    command.add_argument("--text-column", metavar="NAME", help="of the texts (default: text or sentence)")
    command.add_argument("--label-column", metavar="NAME", help="of the labels (default: label)")
    command.add_argument(
        "--unit", choices=["words", "characters"], help="what a text consists of (default: the data's)"
    )
    command.add_argument("--vocabulary", type=at_least(3), metavar="N", help="how many words are known (default 10000)")
    command.add_argument(
        "--length", type=at_least(5), metavar="N", help="words of a text, cut or padded (default 500, of waimai 200)"
    )
    command.add_argument("--width", type=at_least(1), metavar="N", help="numbers in a word's vector (default 16)")
    command.add_argument("--dropout", type=at_least(0, float), metavar="P", help="before the output (default 0.5)")
    command.add_argument("--epochs", type=at_least(1), metavar="N", help="passes over the texts (default 10)")
    command.add_argument("--batch-size", type=at_least(1), metavar="N", help="texts in a batch (default 32)")
    command.add_argument("--lr", type=at_least(0, float), metavar="X", help="Adam's rate (default 1e-3)")
    add_running(command, "runs/text-cnn")
    command.set_defaults(run=_train_text_cnn)


def _train_text_cnn(arguments: argparse.Namespace) -> int:
    from dataclasses import replace

    from tinygrad_ft.train.sentiment import RECIPES, Recipe, train_text_cnn

    arguments = as_begun(arguments)
    recipe = Recipe() if arguments.train else RECIPES[arguments.data]
    chosen = {name: getattr(arguments, name) for name in Recipe.__dataclass_fields__ if hasattr(arguments, name)}
    recipe = replace(recipe, **{name: value for name, value in chosen.items() if value is not None})
    parts, source = _parts(arguments)
    train, valid, test = (f"{len(part):,}" for part in parts)
    print(f"{source}: {train} texts to train on, {valid} to evaluate, {test} to test; {recipe.epochs} epochs")
    measures = train_text_cnn(
        parts,
        recipe=recipe,
        seed=arguments.seed,
        out=arguments.out,
        source=source,
        running=running_of(arguments),
        device=arguments.device,
    )
    print("on the texts held out for the test: " + ", ".join(f"{name} {value:.2%}" for name, value in measures.items()))
    print(f"results in {arguments.out}: metrics.json, loss.png, sample.txt, metrics.jsonl, model.safetensors")
    print(f'next: tinygrad-ft predict --model {arguments.out} "a text of your own"')
    return 0


def _parts(arguments: argparse.Namespace) -> tuple[Any, str]:
    from tinygrad_ft.data.labelled import read_labelled
    from tinygrad_ft.train.sentiment import dealt, sst2, waimai

    if arguments.train is None:
        useless = [name for name in ("valid", "test", "text_column", "label_column") if getattr(arguments, name)]
        if useless:
            option = "--" + useless[0].replace("_", "-")
            raise ValueError(f"{option} needs --train, a file of yours: --data has parts and columns of its own")
        return (sst2() if arguments.data == "sst2" else waimai(arguments.seed)), arguments.data
    if (arguments.valid is None) != (arguments.test is None):
        raise ValueError("--valid and --test come together: or give neither, and two tenths of --train are held out")
    columns = {"text_column": arguments.text_column, "label_column": arguments.label_column}
    train = read_labelled(arguments.train, **columns)
    if arguments.valid is None:
        return dealt(train, arguments.seed), str(arguments.train.resolve())
    held_out = [read_labelled(path, **columns) for path in (arguments.valid, arguments.test)]
    return (train, *held_out), str(arguments.train.resolve())
