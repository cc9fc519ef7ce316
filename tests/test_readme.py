"""What README.md shows is true: its Python runs, and its command lines are ones that the program takes."""

import argparse
import os
import re
import shlex
from pathlib import Path

import pytest

README = Path(__file__).resolve().parents[1] / "README.md"
PLACEHOLDER = re.compile(r"[<>$]|\.\.\.|…")


def blocks(text, language):
    """The fenced blocks of one language, each with the number of lines above it."""
    for match in re.finditer(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        yield text.count("\n", 0, match.start(1)), match[1]


def run(text):
    """Run every block of Python, in order and in one namespace; how many there were."""
    namespace = {"__name__": "__main__"}
    count = 0
    for above, code in blocks(text, "python"):
        exec(compile("\n" * above + code, README, "exec"), namespace)  # so that a traceback names the README's line
        count += 1
    return count


def commands(text):
    """The arguments of every `tinygrad-ft ...` line of the bash blocks that a reader could paste as it stands."""
    for _, block in blocks(text, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words and os.path.basename(words[0]) == "tinygrad-ft" and not any(map(PLACEHOLDER.search, words)):
                yield words[1:]


def refused(parser, arguments):
    try:
        parser.parse_args(arguments)
    except SystemExit as end:
        return end.code != 0  # --help ends with 0
    return False


def test_every_python_block_of_the_readme_runs(tmp_path, monkeypatch):
    pytest.importorskip("numba_cuda", reason="it shows the emulator, too: pip install 'tinygrad_ft[emulator]'")
    monkeypatch.chdir(tmp_path)
    assert run(README.read_text(encoding="utf-8")) > 0


def test_a_broken_block_is_caught_at_its_line():
    with pytest.raises(AssertionError) as caught:
        run("# Title\n```python\nx = 1\n```\ntext\n```python\n\nassert x == 2\n```\n")
    assert caught.traceback[-1].lineno + 1 == 8


def test_every_command_line_of_the_readme_is_one_that_the_program_takes():
    from tinygrad_ft.cli import parser

    lines = list(commands(README.read_text(encoding="utf-8")))
    assert lines
    assert [line for line in lines if refused(parser(), line)] == []


def test_a_misspelt_command_line_is_caught():
    parser = argparse.ArgumentParser()
    parser.add_subparsers(required=True).add_parser("train").add_argument("--steps")
    text = "```bash\n.venv/bin/tinygrad-ft trian --steps 3 # so\ntinygrad-ft train \\\n  --steps 3\nmake\n```\n"
    assert list(commands(text)) == [["trian", "--steps", "3"], ["train", "--steps", "3"]]
    assert [refused(parser, line) for line in commands(text)] == [True, False]


def test_a_line_with_a_placeholder_is_left_alone():
    assert list(commands("```bash\ntinygrad-ft sample <run>\ntinygrad-ft train ...\n```\n")) == []
