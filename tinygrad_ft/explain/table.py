"""Numbers and tables as text and as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from tinygrad_ft.explain.record import on_cpu

SMALL = 8  # elements of an array that are shown one by one
FONT = "font-family:ui-monospace,monospace;font-size:12px;color:inherit"
STYLE = f"border-collapse:collapse;{FONT}"
CELL = "text-align:left;vertical-align:top;padding:3px 10px;border-bottom:1px solid #8888;white-space:pre"


def number(x: Any) -> str:
    """A number in few digits."""
    x = float(x)
    return f"{x:.0f}" if x == int(abs(x) < 1e6 and x) else f"{x:.4g}"


def shown(array: Any) -> str:
    """Small arrays whole; of large ones shape, mean and largest magnitude; of several outputs each."""
    if array is None:
        return "-"
    if isinstance(array, list | tuple):
        return "; ".join(shown(a) for a in array)
    a = on_cpu(array)
    if a.size <= SMALL and a.dtype.kind in "fiub":
        return _nested(a.tolist())
    if not a.size or a.dtype.kind not in "fiub":
        return f"{a.dtype} {tuple(a.shape)}"
    wide = a.astype(np.float64)
    with np.errstate(all="ignore"):
        return f"shape {tuple(a.shape)}, mean {wide.mean():.3g}, max |.| {np.abs(wide).max():.3g}"


def shape_text(shape: Any) -> str:
    """A shape, or the shapes of several outputs."""
    return " and ".join(str(tuple(s)) for s in shape) if isinstance(shape, list) else str(tuple(shape))


def _nested(x: Any) -> str:
    return "[" + ", ".join(_nested(part) for part in x) + "]" if isinstance(x, list) else number(x)


def text_table(head: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> str:
    """Columns under a ruled head; those numbered in `right` are set flush right."""
    cells = [list(head), *[[str(cell) for cell in row] for row in rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]

    def line(row: Sequence[str]) -> str:
        parts = [c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        return "  ".join(parts).rstrip()

    return "\n".join([line(cells[0]), "  ".join("-" * w for w in widths), *map(line, cells[1:])])


def html_table(head: Sequence[str], rows: Sequence[Sequence[str]], *, caption: str = "") -> str:
    """The same as an HTML table, in the colours of the page around it; every text is escaped."""
    top = "".join(f'<th style="{CELL}">{escape(cell)}</th>' for cell in head)
    body = "".join(
        "<tr>" + "".join(f'<td style="{CELL}">{escape(str(cell))}</td>' for cell in row) + "</tr>" for row in rows
    )
    # not a <caption>, which is set no wider than its table
    title = f'<div style="padding:4px 10px;{FONT}">{escape(caption)}</div>' if caption else ""
    return f'{title}<table style="{STYLE}"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>'
