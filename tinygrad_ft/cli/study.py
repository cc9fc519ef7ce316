"""The command that opens the notebooks in JupyterLab."""

from __future__ import annotations

import argparse
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"  # of a checkout


def add_commands(commands: Any) -> None:
    """Add study."""
    study = commands.add_parser(
        "study",
        help="open the notebooks in JupyterLab, at the first one",
        description="Opens the notebooks in JupyterLab. Those of this checkout are signed as trusted first, so that "
        "JupyterLab shows their pictures and runs the buttons that they store; those of another folder are not.",
        epilog="example: tinygrad-ft study --no-browser",
    )
    study.add_argument("--folder", type=Path, help="where the notebooks lie (default: those of this checkout)")
    study.add_argument("--no-browser", action="store_true", help="only print the address (default: open a browser)")
    study.set_defaults(run=_study)


def _study(arguments: argparse.Namespace) -> int:
    folder = (arguments.folder or FOLDER).resolve()
    found = sorted(folder.rglob("[0-9]*.ipynb"))
    if not found and arguments.folder:
        raise ValueError(f"{folder} holds no notebooks: --folder is the folder notebooks/ of a checkout")
    if not found:
        raise ValueError(
            "the notebooks come with the source, not with the installed package: get a checkout, then run "
            "tinygrad-ft study --folder CHECKOUT/notebooks"
        )
    if find_spec("jupyterlab") is None:
        raise ValueError("JupyterLab is not installed: pip install 'tinygrad-ft[study]'")
    if not arguments.folder:
        _trust(found)
    print(f"{len(found)} notebooks in {folder}; Ctrl-C twice ends JupyterLab", flush=True)
    command = [sys.executable, "-m", "jupyterlab", found[0].name, *(["--no-browser"] if arguments.no_browser else [])]
    process = subprocess.Popen(command, cwd=folder)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:  # JupyterLab got it too, asks whether to stop, and ends by itself
            continue


def _trust(notebooks: list[Path]) -> None:
    """Sign as the user would by `jupyter trust`; the files stay as they are."""
    read, notary = import_module("nbformat").read, import_module("nbformat.sign").NotebookNotary()
    for path in notebooks:
        notary.sign(read(path, 4))
