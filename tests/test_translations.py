"""Translations say the same as their originals: the same cells, code, formulas and links; only words differ."""

import ast
import io
import re
import tokenize
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
TRANSLATED = sorted((FOLDER / "zh").glob("[0-9]*.ipynb"))
FORMULA = re.compile(r"\$\$.+?\$\$|\$[^$\n]+(?:\n[^$\n]+)?\$", re.S)
LINK = re.compile(r"\]\(([^)]+)\)")
NUMBER = re.compile(r"\d+(?:\.\d+)?")
CHINESE = re.compile(r"[\u4e00-\u9fff]")


def kept(source):
    """Code without comments, and with every text that is shown to readers made empty: what must not be translated."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node.value = ""
        elif isinstance(node, ast.JoinedStr):
            node.values = [part for part in node.values if isinstance(part, ast.FormattedValue)]
    return ast.dump(tree)


def comments(source):
    return sum(t.type == tokenize.COMMENT for t in tokenize.generate_tokens(io.StringIO(source).readline))


def formulas(source):
    return sorted(re.sub(r"\\text\{[^}]*\}|\s", "", found) for found in FORMULA.findall(source))


def links(source):
    return [re.sub(r"^(?:\.\./)?(?:zh/)?", "", link) for link in LINK.findall(source)]


def numbers(source):
    """The numbers of prose, where languages may turn their order round."""
    return sorted(NUMBER.findall(LINK.sub("", FORMULA.sub("", source))))


def answers(cell):
    """The numbers that a cell answers, in their order: texts around them are translated."""
    forms = [form for output in cell.outputs for form in (output, *output.get("data", {}).items())]
    texts = [form.get("text", "") if isinstance(form, dict) else form[1] for form in forms if "image/png" not in form]
    return NUMBER.findall(" ".join(texts))


def differences(original, translation):
    if [c.cell_type for c in original.cells] != [c.cell_type for c in translation.cells]:
        yield f"{len(original.cells)} cells were translated into {len(translation.cells)}, or into others"
        return
    for i, (a, b) in enumerate(zip(original.cells, translation.cells, strict=True)):
        if a.metadata.get("tags", []) != b.metadata.get("tags", []):
            yield f"cell {i} has other tags"
        if a.cell_type == "code":
            if kept(a.source) != kept(b.source):
                yield f"cell {i} has other code"
            elif comments(a.source) != comments(b.source):
                yield f"cell {i} has a comment more or less"
            elif answers(a) != answers(b):
                yield f"cell {i} stores other numbers"
        elif formulas(a.source) != formulas(b.source):
            yield f"cell {i} has other formulas: {set(formulas(a.source)) ^ set(formulas(b.source))}"
        elif numbers(a.source) != numbers(b.source):
            yield f"cell {i} has other numbers: {set(numbers(a.source)) ^ set(numbers(b.source))}"
        elif links(a.source) != links(b.source):
            yield f"cell {i} has other links"
        elif a.source.count("<details>") != b.source.count("<details>"):
            yield f"cell {i} has other hints"


def test_the_map_and_three_notebooks_are_translated():
    assert [path.name[:2] for path in TRANSLATED] == ["01", "02", "14"]
    assert (FOLDER / "zh" / "README.md").exists()


@pytest.mark.parametrize("path", TRANSLATED, ids=lambda path: path.name)
def test_a_translation_has_the_structure_of_its_original(path):
    original, translation = (nbformat.read(p, 4) for p in (FOLDER / path.name, path))
    assert list(differences(original, translation)) == []
    prose = [cell.source for cell in translation.cells if cell.cell_type == "markdown"]
    assert all(CHINESE.search(text) for text in prose)


def test_the_translated_map_names_every_notebook_in_the_same_order():
    maps = [(FOLDER / name).read_text(encoding="utf-8") for name in ("README.md", "zh/README.md")]
    rows = [re.findall(r"^\| \[(\d\d) · .+?\]\((?:\.\./)?(\w+\.ipynb)\)", text, re.M) for text in maps]
    assert len(rows[0]) == 15
    assert rows[0] == rows[1]


# --- what would be seen ----------------------------------------------------------------------------------------------

CODE = "x = 1  # one\nprint(f'half: {x / 2}')"
PROSE = "Of 7 numbers, the half of $x$ is $x / 2$, see [02](02_b.ipynb).\n\n<details>a</details>"


def notebook(code=CODE, prose=PROSE, tags=(), printed="half: 0.5"):
    cells = [new_markdown_cell(prose), new_code_cell(code)]
    cells[1].outputs = [new_output("stream", text=printed)]
    cells[1].metadata["tags"] = list(tags)
    return new_notebook(cells=cells)


def test_words_may_differ():
    code = "x = 1  # 一\nprint(f'一半: {x / 2}')"
    prose = "7 个数里，$x / 2$ 是 $x$ 的一半，见 [02](../02_b.ipynb)。\n\n<details>啊</details>"
    assert list(differences(notebook(), notebook(code, prose, printed="一半：0.5"))) == []


@pytest.mark.parametrize(
    ("translation", "said"),
    [
        (notebook(code=CODE.replace("2", "3")), "cell 1 has other code"),
        (notebook(code=CODE.replace("  # one", "")), "a comment more or less"),
        (notebook(prose=PROSE.replace("x / 2", "2 / x")), "cell 0 has other formulas"),
        (notebook(prose=PROSE.replace("7", "8")), "cell 0 has other numbers"),
        (notebook(printed="half: 0.50"), "cell 1 stores other numbers"),
        (notebook(prose=PROSE.replace("02_b", "03_b")), "cell 0 has other links"),
        (notebook(prose=PROSE.replace("<details>", "")), "cell 0 has other hints"),
        (notebook(tags=["exercise"]), "cell 1 has other tags"),
        (new_notebook(cells=notebook().cells[:1]), "2 cells were translated into 1"),
    ],
)
def test_everything_else_may_not(translation, said):
    assert any(said in text for text in differences(notebook(), translation))
