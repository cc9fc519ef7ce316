"""Notebooks held against what they store: outputs, pictures, and the solutions of their exercises, in one run.

`CheckedRun` is nbmake's run of one notebook with these checks after it; notebooks/conftest.py has nbmake use it.
"""

import ast
import base64
import io
import os
import re
from copy import deepcopy
from pathlib import Path

import nbformat
import numpy as np
from nbclient.client import CellExecutionError, CellTimeoutError, NotebookClient
from nbmake.nb_result import NotebookError, NotebookResult
from nbmake.nb_run import NotebookRun

INLINE = "module://matplotlib_inline.backend_inline"  # whatever backend the tests around it were told to use
RTOL, ATOL = 1e-3, 1e-6  # of numbers in outputs: another processor rounds otherwise
PICTURE = 0.04  # of white: how far two pictures may be apart in the mean, looked at from afar
NUMBER = re.compile(r"[-+]?(?:\d+\.\d*|\.?\d+)(?:e[-+]?\d+)?", re.I)
SOLUTION = re.compile(r"^```python\n(.*?)^```$", re.S | re.M)
SOLUTIONS = Path(__file__).resolve().parents[1] / "notebooks" / "solutions"


class CheckedRun(NotebookRun):
    """A run that fails also where an output is not the stored one, or a solution is not graded right."""

    def execute(self):
        stored = nbformat.read(str(self.filename), 4)
        try:
            run = with_solutions(stored, solutions_of(self.filename))
        except ValueError as error:
            return NotebookResult(stored, NotebookError(str(error), str(error), 0))
        try:
            client = NotebookClient(run, timeout=self.default_timeout, record_timing=False, coalesce_streams=True)
            client.execute(cwd=str(self.filename.parent), env={**os.environ, "MPLBACKEND": INLINE})
        except CellTimeoutError as error:
            return NotebookResult(run, NotebookError(str(error).splitlines()[0], str(error), 0))
        except CellExecutionError:
            return NotebookResult(run, self._get_error(run))
        run.cells = [cell for cell in run.cells if not cell.metadata.get("check")]
        said = "\n\n".join(differences(stored, run))
        return NotebookResult(run, NotebookError(said.splitlines()[0], said, 0) if said else None)


# --- solutions -------------------------------------------------------------------------------------------------------


def solutions_of(path):
    """The code of each solution to the exercises of a notebook, by its number: a translation's are the original's."""
    file = SOLUTIONS / f"{Path(path).name[:2]}.md"
    return SOLUTION.findall(file.read_text(encoding="utf-8")) if file.exists() else []


def tagged(notebook, tag):
    return [i for i, cell in enumerate(notebook.cells) if tag in cell.metadata.get("tags", [])]


def with_solutions(notebook, solutions):
    """The notebook to run: outputs empty, and after each grade two cells that grade the solution and undo it.

    Raises:
        ValueError: if exercises, grades and solutions do not go in pairs.
    """
    exercises, grades = tagged(notebook, "exercise"), tagged(notebook, "grade")
    if not len(exercises) == len(grades) == len(solutions):
        raise ValueError(f"{len(exercises)} exercises, {len(grades)} grades and {len(solutions)} solutions")
    ends = [*exercises[1:], len(notebook.cells)]
    if any(not a < b < c for a, b, c in zip(exercises, grades, ends, strict=False)):
        raise ValueError(f"exercises {exercises} and grades {grades} do not take turns")
    run = deepcopy(notebook)
    for cell in run.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    for exercise, grade, solution in reversed(list(zip(exercises, grades, solutions, strict=True))):
        proof = f"{solution}\n{demanding(run.cells[grade].source)}"
        for source in (run.cells[exercise].source, proof):
            run.cells.insert(grade + 1, nbformat.v4.new_code_cell(source, metadata={"check": True}))
    return run


def demanding(source):
    """The code of a grade, which ends with the grade itself, as code that demands it to be right."""
    tree = ast.parse(source)
    if not tree.body or not isinstance(tree.body[-1], ast.Expr):
        raise ValueError(f"a cell tagged grade ends with the expression that is the grade: got {source!r}")
    grade = ast.unparse(tree.body.pop().value)
    return f"{ast.unparse(tree)}\n_grade = {grade}\nassert _grade.right, f'the solution is graded: {{_grade}}'"


# --- outputs ---------------------------------------------------------------------------------------------------------


def differences(stored, fresh):
    """What is different, a text each, naming the cell, what it stores and what it answered now."""
    for i, (old, new) in enumerate(zip(stored.cells, fresh.cells, strict=True)):
        if old.cell_type != "code" or "varies" in old.metadata.get("tags", []):
            continue
        before, now = parts(old.outputs), parts(new.outputs)
        if [kind for kind, _ in before] != [kind for kind, _ in now]:
            yield f"cell {i} stores {[kind for kind, _ in before]}, and answered {[kind for kind, _ in now]}"
            continue
        for (kind, a), (_, b) in zip(before, now, strict=True):
            if not same(kind, a, b):
                shown = "" if kind.startswith("image/") else f":\n{a}\n--- and answered:\n{b}"
                yield f"cell {i} stores another {kind} than it answered{shown}"


def parts(outputs):
    """(kind, content) of each output, and of each form of it; what was printed in pieces is joined."""
    found = []
    for output in outputs:
        if output.output_type == "stream":
            if found and found[-1][0] == output.name:
                found[-1] = (output.name, found[-1][1] + output.text)
            else:
                found.append((output.name, output.text))
        else:
            found += sorted(output.get("data", {}).items()) or [(output.output_type, str(output))]
    return found


def same(kind, a, b):
    if kind == "image/png":
        return same_picture(a, b)
    return same_text(a if isinstance(a, str) else str(a), b if isinstance(b, str) else str(b))


def same_text(a, b):
    """Whether texts are equal but for spaces, and for numbers that are close."""
    # a line of a cell is named In[5]:2; the cells that grade solutions shift the first number
    a, b = (re.sub(r"\s+", " ", re.sub(r"In\[\d+\]", "In[]", text.strip())) for text in (a, b))
    if a == b:
        return True
    numbers = [np.array([float(n) for n in NUMBER.findall(text)]) for text in (a, b)]
    words = [
        re.sub(r"\s|-{2,}", "", NUMBER.sub("#", text)) for text in (a, b)
    ]  # and for lines drawn as wide as numbers
    return words[0] == words[1] and np.allclose(*numbers, rtol=RTOL, atol=ATOL)


def same_picture(a, b):
    from PIL import Image

    sizes, seen = [], []
    for data in (a, b):
        with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
            sizes.append(np.array(picture.size, float))
            grey = picture.convert("RGBA")
            paper = Image.new("RGBA", grey.size, "white")
            seen.append(np.asarray(Image.alpha_composite(paper, grey).convert("L").resize((64, 48)), float) / 255)
    return bool((abs(sizes[0] / sizes[1] - 1) < 0.1).all() and abs(seen[0] - seen[1]).mean() < PICTURE)
