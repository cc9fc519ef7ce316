"""A graph as Mermaid text, which JupyterLab and GitHub draw."""

from __future__ import annotations

from typing import Any

from tinygrad_ft.explain.graph import Drawing

BRACKETS = {"leaf": ("([", "])"), "op": ("[", "]"), "result": ("[[", "]]"), "fold": ("[/", "/]")}
ESCAPES = {"#": "#35;", "&": "#amp;", '"': "#quot;", "<": "#lt;", ">": "#gt;", "`": "#96;", "\\": "#92;", "\n": " "}


class Mermaid(str):
    """Mermaid text; a notebook draws it."""

    __slots__ = ()

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/vnd.mermaid": str(self), "text/plain": str(self)}


def mermaid(drawn: Drawing) -> Mermaid:
    """A flowchart from the leaves down to the result.

    Leaves are rounded, ops are boxes, folded modules are slanted, the result has double sides.
    """
    lines = ["flowchart TD"]
    for i, box in enumerate(drawn.boxes):
        left, right = BRACKETS[box.kind]
        lines.append(f'    n{i}{left}"{"<br/>".join(map(escaped, box.lines))}"{right}')
    for (a, b), count in drawn.arrows.items():
        lines.append(f"    n{a} -->|x{count}| n{b}" if count > 1 else f"    n{a} --> n{b}")
    return Mermaid("\n".join(lines) + "\n")


def escaped(text: str) -> str:
    """Text as a quoted label may hold it."""
    return "".join(ESCAPES.get(letter, letter) for letter in text)
