"""The notebooks are complete, and what checks them sees a changed output, a wrong solution, a missing one."""

import base64
import io
import re
from pathlib import Path

import nbformat
import notebook_check
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from notebook_check import SOLUTIONS, CheckedRun, differences, same_picture, same_text, solutions_of, tagged

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").rglob("[0-9]*.ipynb"))
each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: str(path.relative_to(ROOT / "notebooks")))


def read(path):
    return nbformat.read(path, 4)


# --- every notebook --------------------------------------------------------------------------------------------------


def test_there_are_fifteen_and_the_map_names_each():
    names = [path.name for path in NOTEBOOKS if path.parent.name == "notebooks"]
    assert [name[:2] for name in names] == [f"{i:02d}" for i in range(1, 16)]
    listed = re.findall(r"\]\((\d\d_\w+\.ipynb)\)", (ROOT / "notebooks" / "README.md").read_text(encoding="utf-8"))
    assert listed == names


@each
def test_a_notebook_asks_first_and_stores_what_it_answers(path):
    cells = read(path).cells
    assert cells[0].cell_type == "markdown"
    assert re.match(rf"# {path.name[:2]} · .+\n\n\*\*(Question|问题)", cells[0].source)
    code = [cell for cell in cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert not [o for o in outputs if o.output_type == "error" or o.get("name") == "stderr"]
    assert any("image/png" in o.get("data", {}) or "svg" in str(o.get("data", "")) for o in outputs)
    assert path.stat().st_size < 600_000


@each
def test_each_exercise_has_a_grade_a_hint_and_a_solution(path):
    notebook = read(path)
    exercises, grades = tagged(notebook, "exercise"), tagged(notebook, "grade")
    assert len(exercises) >= 2
    notebook_check.with_solutions(notebook, solutions_of(path))
    assert sum("<details>" in c.source for c in notebook.cells if c.cell_type == "markdown") >= len(exercises)
    said = [str(notebook.cells[i].outputs[-1].data["text/plain"]) for i in grades]
    assert all(text.startswith("not ") for text in said), "an exercise starts solved"
    text = (SOLUTIONS / f"{path.name[:2]}.md").read_text(encoding="utf-8")
    assert len(re.findall(r"^## Exercise \d+", text, re.M)) == len(exercises)


# --- what the checks see ---------------------------------------------------------------------------------------------


def notebook_of(*sources, tags=None):
    cells = [new_code_cell(source) for source in sources]
    for i, tag in (tags or {}).items():
        cells[i].metadata["tags"] = [tag]
    return new_notebook(
        cells=cells,
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )


def checked(tmp_path, notebook, solutions="", monkeypatch=None):
    (tmp_path / "solutions").mkdir(exist_ok=True)
    (tmp_path / "solutions" / "99.md").write_text(solutions)
    if monkeypatch:
        monkeypatch.setattr(notebook_check, "SOLUTIONS", tmp_path / "solutions")
    path = tmp_path / "99_made_up.ipynb"
    nbformat.write(notebook, path)
    return CheckedRun(path, default_timeout=60).execute()


PLANTED = [  # what is stored, and what the check says
    ("1.0\n", None),
    ("1.00004\n", None),
    ("1.1\n", "cell 0 stores another stdout"),
    ("-1.0\n", "cell 0 stores another stdout"),
    ("a 1.0\n", "cell 0 stores another stdout"),
    (None, "cell 0 stores [], and answered ['stdout']"),
]


@pytest.mark.slow
def test_a_fresh_run_is_held_against_the_stored_outputs(tmp_path):
    for text, said in PLANTED:
        notebook = notebook_of("print(1.0)", "2 + 2")
        if text:
            notebook.cells[0].outputs = [new_output("stream", name="stdout", text=text)]
        notebook.cells[1].outputs = [new_output("execute_result", {"text/plain": "4"}, execution_count=2)]
        error = checked(tmp_path, notebook).error
        assert (error is None) if said is None else error.summary.startswith(said), (text, error)


@pytest.mark.slow
def test_a_notebook_that_raises_is_found(tmp_path):
    assert "ZeroDivisionError" in checked(tmp_path, notebook_of("1 / 0")).error.summary


EXERCISE = ("import tinygrad_ft as tg", "answer = 3", "tg.explain.grade_value(answer, 4.0)", "print(answer)")
TAGS = {1: "exercise", 2: "grade"}


def exercise():
    notebook = notebook_of(*EXERCISE, tags=TAGS)
    notebook.cells[2].outputs = [
        new_output("execute_result", {"text/plain": "not yet: 3 is too small"}, execution_count=3)
    ]
    notebook.cells[3].outputs = [new_output("stream", name="stdout", text="3\n")]  # the solution leaves no trace
    return notebook


@pytest.mark.slow
def test_a_solution_must_be_graded_right_and_leaves_no_trace(tmp_path, monkeypatch):
    right, wrong = "```python\nanswer = 4\n```\n", "```python\nanswer = 5\n```\n"
    assert checked(tmp_path, exercise(), right, monkeypatch).error is None
    assert "the solution is graded: not yet: 5 is too large" in checked(tmp_path, exercise(), wrong).error.trace


@pytest.mark.parametrize("solutions", ["", "```python\nanswer = 4\n```\n" * 2])
def test_a_missing_solution_and_one_too_many_are_found(tmp_path, monkeypatch, solutions):
    said = checked(tmp_path, exercise(), solutions, monkeypatch).error.summary
    assert re.match(r"1 exercises, 1 grades and [02] solutions", said)


def test_exercises_without_their_grade_are_found():
    one = ["answer = 4"]
    with pytest.raises(ValueError, match="1 exercises, 0 grades"):
        notebook_check.with_solutions(notebook_of(*EXERCISE, tags={1: "exercise"}), one)
    with pytest.raises(ValueError, match="do not take turns"):
        notebook_check.with_solutions(notebook_of(*EXERCISE, tags={2: "exercise", 1: "grade"}), one)
    with pytest.raises(ValueError, match="ends with the expression"):
        notebook_check.with_solutions(notebook_of("answer = 3", "g = 4", tags={0: "exercise", 1: "grade"}), one)


def test_a_cell_tagged_as_varying_is_left_alone_and_others_are_not():
    old, new = notebook_of("x"), notebook_of("x")
    for notebook, text in ((old, "1"), (new, "2")):
        notebook.cells[0].outputs = [new_output("stream", name="stdout", text=text)]
    assert len(list(differences(old, new))) == 1
    old.cells[0].metadata["tags"] = ["varies"]
    assert not list(differences(old, new))


@pytest.mark.parametrize(
    ("a", "b", "equal"),
    [
        ("loss 0.1234", "loss 0.12341", True),
        ("loss 0.1234", "loss 0.1334", False),
        ("off by 2.2e-16", "off by 0.0e+00", True),
        ("off by 2e-3", "off by 0", False),
        ("x    y\n---  ---\n1.5  2", "x       y\n------  ---\n1.5001  2", True),
        ("at In[5]:2", "at In[9]:2", True),
        ("at In[5]:2", "at In[5]:3", False),
        ("1 2", "1 2 3", False),
        ("nan", "1.0", False),
        ("right", "wrong", False),
    ],
)
def test_texts_are_equal_but_for_close_numbers_and_spaces(a, b, equal):
    assert same_text(a, b) is equal


def picture(array):
    from PIL import Image

    written = io.BytesIO()
    Image.fromarray((255 * array).astype(np.uint8)).save(written, "PNG")
    return base64.b64encode(written.getvalue()).decode()


def test_pictures_are_equal_but_for_details(rng):
    white = np.ones((120, 160))
    drawn, shifted, other = white.copy(), white.copy(), white.copy()
    drawn[20:100, 40:44], shifted[20:100, 41:45], other[20:100, 40:80] = 0, 0, 0
    assert same_picture(picture(drawn), picture(shifted))
    assert not same_picture(picture(drawn), picture(other))
    assert not same_picture(picture(drawn), picture(np.ones((60, 160))))


def test_cells_that_only_explain_are_not_compared():
    a, b = (new_notebook(cells=[new_markdown_cell(text)]) for text in "ab")
    assert not list(differences(a, b))
