"""`tinygrad-ft study` opens JupyterLab at the notebooks, or says in one line what is missing."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import nbformat
import pytest
from nbformat.sign import NotebookNotary

from tinygrad_ft.cli import main, study


class JupyterLab:
    """In its place: remembers how it was started, is interrupted once, and ends with a code of its own."""

    started = None

    def __init__(self, command, cwd):
        JupyterLab.started, self.interrupts = (command, cwd), 1

    def wait(self):
        if self.interrupts:
            self.interrupts -= 1
            raise KeyboardInterrupt
        return 7


@pytest.fixture
def lab(monkeypatch, tmp_path):
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))
    monkeypatch.setattr(study, "find_spec", lambda name: object())
    monkeypatch.setattr(subprocess, "Popen", JupyterLab)
    JupyterLab.started = None
    return JupyterLab


def trusted(path):
    return NotebookNotary().check_signature(nbformat.read(path, 4))


def test_jupyterlab_opens_at_the_first_notebook_and_ends_when_it_wants_to(lab, capsys):
    assert main(["study", "--no-browser"]) == 7
    command, folder = lab.started
    assert command == [sys.executable, "-m", "jupyterlab", "01_chain_rule.ipynb", "--no-browser"]
    assert folder == Path(study.FOLDER)
    assert str(folder) in capsys.readouterr().out
    assert trusted(folder / "01_chain_rule.ipynb")


def test_notebooks_of_another_folder_are_opened_but_not_trusted(lab, tmp_path):
    notebook = nbformat.read(study.FOLDER / "01_chain_rule.ipynb", 4)
    notebook.cells[0].source = "# Somebody else's"
    nbformat.write(notebook, tmp_path / "1.ipynb")
    assert main(["study", "--folder", str(tmp_path)]) == 7
    assert lab.started[1] == tmp_path
    assert not trusted(tmp_path / "1.ipynb")


def test_what_is_missing_is_said_in_one_line(lab, tmp_path, capsys, monkeypatch):
    assert main(["study", "--folder", str(tmp_path)]) == 1
    assert "holds no notebooks" in capsys.readouterr().err
    monkeypatch.setattr(study, "find_spec", lambda name: None)
    assert main(["study"]) == 1
    assert capsys.readouterr().err == "tinygrad-ft: JupyterLab is not installed: pip install 'tinygrad-ft[study]'\n"
    monkeypatch.setattr(study, "FOLDER", tmp_path / "site-packages" / "notebooks")
    assert main(["study"]) == 1
    said = capsys.readouterr().err
    assert "come with the source" in said
    assert said.count("\n") == 1
    assert lab.started is None


@pytest.mark.skipif(find_spec("jupyterlab") is None, reason="JupyterLab is not installed")
def test_jupyterlab_takes_the_command(tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path))
    real, written = subprocess.Popen, tmp_path / "version"

    def only_checked(command, cwd):
        with written.open("w") as out:
            return real([*command, "--version"], cwd=cwd, stdout=out)

    monkeypatch.setattr(subprocess, "Popen", only_checked)
    assert main(["study", "--no-browser"]) == 0
    assert written.read_text().startswith("4.")
