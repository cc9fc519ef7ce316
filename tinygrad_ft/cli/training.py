"""The commands that train models."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from tinygrad_ft.cli import text_cnn
from tinygrad_ft.cli.running import add_running, as_begun, at_least, running_of


def add_commands(commands: Any) -> None:
    """Add train."""
    train = commands.add_parser(
        "train", help="train a model from scratch", epilog="example: tinygrad-ft train transformer --steps 300"
    )
    kinds = train.add_subparsers(title="models", required=True, metavar="MODEL")
    add_models(kinds)


def add_models(kinds: Any) -> None:
    """Add the models that can be trained from scratch, each a command with its options."""
    _add_transformer(kinds)
    _add_mlp(kinds)
    text_cnn.add_command(kinds)


def _add_transformer(kinds: Any) -> None:
    command = kinds.add_parser(
        "transformer",
        help="a mini-Transformer that learns to write, character by character",
        epilog="example: tinygrad-ft train transformer --text my.txt --preset nano --steps 2000 --out runs/mine",
    )
    source = command.add_mutually_exclusive_group()
    source.add_argument("--text", type=Path, metavar="FILE", help="train on this UTF-8 text")
    source.add_argument(
        "--data", choices=["python-manual", "shakespeare"], default="python-manual",
        help="train on the Python language reference, part of every Python (default), or tiny Shakespeare (downloaded)",
    )  # fmt: skip
    command.add_argument(
        "--preset", choices=["nano", "tiny"], default="nano",
        help="nano: 4 layers, 4 heads, 128 wide, context 64 (default); tiny: 2, 2, 64, 32",
    )  # fmt: skip
    command.add_argument("--steps", type=at_least(1), metavar="N", help="optimiser steps (default: the preset's)")
    add_running(command, "runs/transformer")
    command.set_defaults(run=_train_transformer)


def _add_mlp(kinds: Any) -> None:
    command = kinds.add_parser(
        "mlp",
        help="a multi-layer perceptron that tells classes apart",
        epilog="example: tinygrad-ft train mlp --data digits",
    )
    command.add_argument(
        "--data", choices=["digits", "breast-cancer", "moons"], default="digits",
        help="8x8 digits enlarged to 28x28 (default), tumour measurements, or two interleaved half circles",
    )  # fmt: skip
    command.add_argument("--steps", type=at_least(1), metavar="N", help="optimiser steps (default: the data set's)")
    add_running(command, "runs/mlp")
    command.set_defaults(run=_train_mlp)


def _train_transformer(arguments: argparse.Namespace) -> int:
    from tinygrad_ft import data
    from tinygrad_ft.train.language import RECIPES, train_transformer

    arguments = as_begun(arguments)
    if arguments.text:
        text, source = data.read_text(arguments.text), str(arguments.text.resolve())
    else:
        text = data.shakespeare() if arguments.data == "shakespeare" else data.python_manual()
        source = arguments.data
    recipe = RECIPES[arguments.preset]
    recipe = replace(recipe, steps=arguments.steps or recipe.steps)
    print(f"training on {source}: {len(text):,} characters, {len(set(text))} different")
    print(f"preset {arguments.preset}, {recipe.steps} steps, seed {arguments.seed}")
    last = train_transformer(
        text,
        recipe=recipe,
        seed=arguments.seed,
        out=arguments.out,
        source=source,
        running=running_of(arguments),
        device=arguments.device,
    )
    print(f"validation loss {last['val_loss']:.4f} nats a character after {last['step']} steps")
    print(
        f"results in {arguments.out}: loss.png, sample.txt, metrics.jsonl, config.json, model.safetensors, checkpoints"
    )
    print(f"next: tinygrad-ft sample --model {arguments.out}")
    return 0


def _train_mlp(arguments: argparse.Namespace) -> int:
    from tinygrad_ft.train.classify import train_mlp

    arguments = as_begun(arguments)
    last = train_mlp(
        arguments.data,
        steps=arguments.steps,
        seed=arguments.seed,
        out=arguments.out,
        running=running_of(arguments),
        device=arguments.device,
    )
    print(f"held-out accuracy {last['val_accuracy']:.2%}, loss {last['val_loss']:.4f} nats after {last['step']} steps")
    print(
        f"results in {arguments.out}: loss.png, sample.txt, metrics.jsonl, config.json, model.safetensors, checkpoints"
    )
    return 0
