"""What we answer where mathematics leaves a choice, and what PyTorch does there: kinks, ties, 0**0, NaN, nothing.

    for c in conventions():
        print(c.name, c.ours, c.pytorch, c.why)

The answers are stated in `conventions_table.py`; `answer` computes them anew, with our library or with PyTorch itself.
"""

from __future__ import annotations

from math import inf, isclose, isnan, nan
from typing import Any, NamedTuple

import numpy as np

from tinygrad_ft.gradcheck.conventions_table import TABLE

REFUSED = "refused"  # an answer too: an error
NAMES = {"inf": inf, "nan": nan, REFUSED: REFUSED, "None": None, "float32": "float32", "float64": "float64"}


class Convention(NamedTuple):
    """One answer: of an expression at a point, its value ("value") or its gradient ("d/dx")."""

    topic: str
    name: str
    expression: str
    point: dict[str, Any]
    of: str
    ours: Any
    pytorch: Any
    why: str

    @property
    def differs(self) -> bool:
        """Whether PyTorch answers otherwise."""
        return not same(self.ours, self.pytorch)


def conventions(table: str = TABLE) -> list[Convention]:
    """The rows of the table, in its order."""
    found, topic = [], ""
    for line in table.replace("\n    ", " ").strip().splitlines():
        if line.startswith("# "):
            topic = line[2:]
            continue
        name, expression, point, of, ours, *more = (part.strip() for part in line.split(" |"))
        theirs, why = [*more, "same", ""][:2] if len(more) != 1 else [more[0], ""]
        numbers = _number(ours)
        found.append(
            Convention(
                topic, name, expression, eval(f"dict({point})", dict(NAMES)), of, numbers,
                numbers if theirs == "same" else _number(theirs), why,
            )
        )  # fmt: skip
    return found


def _number(text: str) -> Any:
    return eval(text, dict(NAMES))


def answer(c: Convention, library: Any) -> Any:
    """What a library with PyTorch's names answers now: numbers in lists, the name of a dtype, or "refused"."""
    names = {**vars(library), **NAMES, "F": library.nn.functional, "linalg": library.linalg}
    names |= {"float32": library.float32, "float64": library.float64}
    try:
        with np.errstate(all="ignore"):  # infinities and NaN are what is asked about
            xs = {name: _tensor(library, numbers) for name, numbers in c.point.items()}
            y = eval(c.expression, names, xs)
            if c.of == "value":
                return _plain(y)
            y.sum().backward()
            return _plain(xs[c.of.removeprefix("d/d")].grad)
    except (ArithmeticError, IndexError, RuntimeError, TypeError, ValueError):
        return REFUSED


def _tensor(library: Any, numbers: Any) -> Any:
    if np.asarray(numbers).dtype.kind != "f":
        return library.tensor(numbers)
    return library.tensor(numbers, dtype=library.float64).requires_grad_()


def _plain(y: Any) -> Any:
    if isinstance(y, tuple | list):
        return [_plain(part) for part in y]
    if hasattr(y, "tolist"):
        return y.tolist()
    return y if isinstance(y, bool | int | float | None) else str(y).removeprefix("torch.")


def same(a: Any, b: Any) -> bool:
    """Whether two answers are equal: structure and kind exactly, floats to 1e-9, NaN as itself."""
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        return isclose(a, b, rel_tol=1e-9, abs_tol=1e-12) or (isnan(a) and isnan(b))
    return bool(a == b)
