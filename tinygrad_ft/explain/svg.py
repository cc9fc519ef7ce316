"""A graph as one self-contained SVG picture, in the text colour of the page around it."""

from __future__ import annotations

import os
from html import escape, unescape
from urllib.parse import quote

from tinygrad_ft.explain.graph import Box, Drawing
from tinygrad_ft.explain.layered import layout
from tinygrad_ft.storage import write_atomically

LETTER, LINE, MARGIN = 7.0, 16.0, 12.0
LONGEST = 46  # letters of a line
PLAIN = " =:/;,()[]{}@!*'|.-+"  # what an attribute's data URI may hold as it is
BOLD = ' font-weight="bold"'
# form, not colour, tells the kinds apart: it survives greyscale and a dark page
FORMS = {
    "leaf": 'rx="14" stroke-width="2.2" fill="currentColor" fill-opacity=".10"',
    "op": 'rx="3" stroke-width="1" fill="currentColor" fill-opacity=".02"',
    "result": 'rx="3" stroke-width="3.4" fill="currentColor" fill-opacity=".18"',
    "fold": 'rx="3" stroke-width="1.4" stroke-dasharray="6 3" fill="currentColor" fill-opacity=".06"',
}
# a file of its own has no page around it: it brings paper and ink, by day and by night
ALONE = (
    "<style>svg{color:#1a1a1a;background:#ffffff}"
    "@media (prefers-color-scheme:dark){svg{color:#e8e8e8;background:#111418}}</style>"
)


class Picture(str):
    """SVG text, in the text colour of the page that it is put into."""

    __slots__ = ()

    def alone(self) -> str:
        """The text of a file that stands alone, dark or light as its reader is."""
        opening = self.index(">") + 1
        return self[:opening] + ALONE + self[opening:] + "\n"

    def _repr_html_(self) -> str:
        # an image: JupyterLab strips SVG elements from a notebook that its reader did not run, images it leaves
        source = quote(self.alone(), safe=PLAIN)
        image = f'<img alt="{escape(self.caption)}" style="max-width:none" src="data:image/svg+xml,{source}">'
        return f'<div style="overflow:auto;max-height:640px">{image}</div>'

    @property
    def caption(self) -> str:
        """What the picture is of."""
        return unescape(self[self.index("<title>") + 7 : self.index("</title>")])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it as a file that stands alone."""
        write_atomically(path, self.alone())


def svg(drawn: Drawing, *, prefix: str = "n") -> Picture:
    """The picture; box i has the id `prefix` + i, so that a page's script can find it."""
    texts = [[_cut(line) for line in box.lines] for box in drawn.boxes]
    sizes = [(max(map(len, t)) * LETTER + 20, len(t) * LINE + 12) for t in texts]
    found = layout(sizes, list(drawn.arrows))
    width, height = found.width + 2 * MARGIN, found.height + 2 * MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="{-MARGIN:.0f} {-MARGIN:.0f} {width:.0f} {height:.0f}" role="img" '
        'font-family="ui-monospace,Menlo,Consolas,monospace" font-size="11.5" stroke-linejoin="round">',
        f"<title>The graph of {escape(drawn.boxes[-1].lines[0]) if drawn.boxes else 'nothing'}</title>",
        f'<defs><marker id="{prefix}tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto"><path d="M0 0L8 4L0 8z" fill="currentColor"/></marker></defs>',
        '<g fill="none" stroke="currentColor" stroke-opacity=".65">',
    ]
    for (a, b), count in drawn.arrows.items():
        points = [_edge(found.places[a], sizes[a], 1), *found.routes[a, b], _edge(found.places[b], sizes[b], -1)]
        weight = f' stroke-width="{min(1 + 0.4 * (count - 1), 3):.1f}"' if count > 1 else ""
        parts.append(f'<path d="{_curve(points)}"{weight} marker-end="url(#{prefix}tip)"/>')
    parts.append("</g>")
    for i, (box, lines) in enumerate(zip(drawn.boxes, texts, strict=True)):
        parts.append(_drawn(box, lines, found.places[i], sizes[i], f"{prefix}{i}"))
    parts.append("</svg>")
    return Picture("\n".join(parts))


def _cut(line: str) -> str:
    return line if len(line) <= LONGEST else line[: LONGEST - 3] + "..."


def _edge(place: tuple[float, float], size: tuple[float, float], side: int) -> tuple[float, float]:
    return place[0], place[1] + side * size[1] / 2


def _curve(points: list[tuple[float, float]]) -> str:
    """A smooth line through the points, upright at each."""
    (x, y), *rest = points
    text = f"M{x:.1f} {y:.1f}"
    for px, py in rest:
        if (px, py) == (x, y):  # a piece of no length would leave the tip of the arrow without a direction
            continue
        middle = (y + py) / 2
        text += f"C{x:.1f} {middle:.1f} {px:.1f} {middle:.1f} {px:.1f} {py:.1f}"
        x, y = px, py
    return text


def _drawn(box: Box, lines: list[str], place: tuple[float, float], size: tuple[float, float], name: str) -> str:
    (x, y), (w, h) = place, size
    left, top = x - w / 2, y - h / 2
    text = "".join(
        f'<text x="{left + 10:.1f}" y="{top + 17 + LINE * k:.1f}"{BOLD if k == 0 else ""}>{escape(line)}</text>'
        for k, line in enumerate(lines)
    )
    full = escape("\n".join(box.lines))
    return (
        f'<g id="{name}" class="box {box.kind}" fill="currentColor"><title>{full}</title><rect x="{left:.1f}" '
        f'y="{top:.1f}" width="{w:.1f}" height="{h:.1f}" stroke="currentColor" {FORMS[box.kind]}/>{text}</g>'
    )
