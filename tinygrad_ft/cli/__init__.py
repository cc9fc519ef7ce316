"""The command line: `tinygrad-ft COMMAND`. Exit code 0 on success, 1 on failure, 2 on bad usage, 130 on Ctrl-C."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence

from tinygrad_ft.cli import (
    bench,
    checking,
    conventions,
    doctor,
    evaluate,
    explain,
    finetune,
    gradcheck,
    jit,
    kernels,
    sample,
    sanity,
    study,
    training,
)


def parser() -> argparse.ArgumentParser:
    """What the command line accepts."""
    top = argparse.ArgumentParser(
        prog="tinygrad-ft",
        description="Reverse-mode autodiff and neural nets from scratch: train, sample, check gradients.",
        epilog="example: tinygrad-ft train transformer --data python-manual --steps 300 --out runs/first",
    )
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for room in (
        training,
        sample,
        finetune,
        evaluate,
        sanity,
        checking,
        gradcheck,
        conventions,
        explain,
        study,
        jit,
        kernels,
        doctor,
        bench,
    ):
        room.add_commands(commands)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; errors become one line on standard error, unless TINYGRAD_FT_TRACEBACK is set."""
    arguments = parser().parse_args(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a console that lacks a character must not end a training run
    try:
        code = int(arguments.run(arguments))
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        print("tinygrad-ft: interrupted; what was written so far is kept", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has gone, as `| head` does
        return 1
    except Exception as error:
        if os.environ.get("TINYGRAD_FT_TRACEBACK"):
            raise
        print(f"tinygrad-ft: {_one_line(error)}", file=sys.stderr)
        return 1
    finally:
        try:
            sys.stdout.flush()
        except OSError:  # what cannot be written was told above: Python, when it ends, shall not try again
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, MemoryError):
        return "not enough memory; a smaller preset or batch may fit"
    said = " ".join(str(error.args[0] if isinstance(error, KeyError) else error).split())
    expected = isinstance(error, OSError | ValueError | RuntimeError)
    return said if said and expected else f"{type(error).__name__}: {said} (set TINYGRAD_FT_TRACEBACK=1 to see where)"
