"""The options that all commands share which train: where, from which seed, with which checkpoints, and resumption."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tinygrad_ft.device import names


def at_least(least: float, kind: type = int) -> Any:
    """A type for argparse: a number no smaller than that."""

    def number(text: str) -> Any:
        value = kind(text)
        if not value >= least:
            raise argparse.ArgumentTypeError(f"needs {least} or more, got {text}")
        return value

    number.__name__ = kind.__name__
    return number


def add_running(command: argparse.ArgumentParser, out: str) -> None:
    """Add them to a command, whose results go to the folder `out` unless the user says otherwise."""
    command.add_argument("--seed", type=at_least(0), default=0, metavar="S", help="starts all randomness (default 0)")
    command.add_argument(
        "--eager", action="store_true", help="run op by op (default: the step is recorded and replayed)"
    )
    command.add_argument(
        "--device",
        choices=names(),
        default="cpu",
        help="where to train (default cpu); another than the CPU runs eagerly",
    )
    command.add_argument(
        "--accumulate", type=at_least(1), default=1, metavar="N", help="batches for the gradient of a step (default 1)"
    )
    command.add_argument(
        "--early-stopping", type=at_least(1), metavar="N",
        help="stop after N evaluations without a better val_loss, and take the best weights",
    )  # fmt: skip
    command.add_argument(
        "--checkpoint-every", type=at_least(1), metavar="N", help="steps between checkpoints (default: each evaluation)"
    )
    command.add_argument(
        "--keep", type=at_least(1), default=2, metavar="K", help="how many checkpoints stay (default 2)"
    )
    command.add_argument("--tensorboard", action="store_true", help="write event files for TensorBoard (default: no)")
    place = command.add_mutually_exclusive_group()
    place.add_argument(
        "--out", type=Path, default=Path(out), metavar="DIR", help=f"folder for the results (default {out})"
    )
    place.add_argument(
        "--resume", type=Path, metavar="DIR",
        help="go on with the run in this folder from its last checkpoint, with the options that it was begun with",
    )  # fmt: skip


def as_begun(arguments: argparse.Namespace) -> argparse.Namespace:
    """The arguments of this call or, with --resume, those that the run was begun with.

    Raises:
        FileNotFoundError: if the folder has no run.
        ValueError: if the run is of another command.
    """
    if arguments.resume is None:
        return arguments
    from tinygrad_ft import storage

    path = arguments.resume / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"{arguments.resume} has no run to go on with: it has no config.json")
    saved = storage.read_json(path)
    begun = saved.get("arguments") if isinstance(saved, dict) else None
    kind = arguments.run.__name__.strip("_")
    if not isinstance(begun, dict) or begun.get("command") != kind:
        known = begun.get("command") if isinstance(begun, dict) else "no command of ours"
        raise ValueError(f"{arguments.resume} is a run of {known}, not of {kind}: resume it with the command it had")
    values = {name: Path(value["path"]) if isinstance(value, dict) else value for name, value in begun.items()}
    return argparse.Namespace(**{**vars(arguments), **values, "out": arguments.resume, "resume": arguments.resume})


def to_begin_with(arguments: argparse.Namespace) -> dict[str, Any]:
    """The arguments as config.json keeps them, for `as_begun`."""
    kept: dict[str, Any] = {"command": arguments.run.__name__.strip("_")}
    for name, value in vars(arguments).items():
        if name not in ("run", "out", "resume", "inspect"):
            kept[name] = {"path": str(value.resolve())} if isinstance(value, Path) else value
    return kept


def running_of(arguments: argparse.Namespace) -> Any:
    """How the run is to be carried out: a `train.Running`."""
    from tinygrad_ft.train import Running

    return Running(
        checkpoint_every=arguments.checkpoint_every,
        keep=arguments.keep,
        resume=arguments.resume is not None,
        accumulate=arguments.accumulate,
        patience=arguments.early_stopping,
        tensorboard=arguments.tensorboard,
        jitted=not arguments.eager,
        arguments=to_begin_with(arguments),
        inspect=getattr(arguments, "inspect", None),
    )
