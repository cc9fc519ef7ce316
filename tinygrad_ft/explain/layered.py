"""Where to draw the boxes of a graph without cycles: in layers, so that every arrow points down and few cross.

Source: Sugiyama, Tagawa and Toda, "Methods for Visual Understanding of Hierarchical System Structures", 1981: layers,
stand-ins for long arrows, order by barycentre, then places.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

SWEEPS = 8
GAP = 24.0  # between neighbours
DROP = 40.0  # between layers
LANE = 10.0  # the width of a long arrow that passes a layer
MOST_LANES = 20_000


@dataclass
class Layout:
    """The middle of each box, the points that each arrow passes between its ends, and the size of all, in pixels."""

    places: list[tuple[float, float]]
    routes: dict[tuple[int, int], list[tuple[float, float]]]
    width: float
    height: float


def layers_of(count: int, arrows: Iterable[tuple[int, int]]) -> list[int]:
    """The layer of each box: the longest way to it; a box without arrows into it stands right above its first user.

    Arrows go from smaller to larger numbers.
    """
    above: list[list[int]] = [[] for _ in range(count)]
    below: list[list[int]] = [[] for _ in range(count)]
    for a, b in arrows:
        above[b].append(a)
        below[a].append(b)
    layer = [0] * count
    for i in range(count):
        layer[i] = max((layer[a] + 1 for a in above[i]), default=0)
    for i in range(count):
        if not above[i] and below[i]:
            layer[i] = min(layer[b] for b in below[i]) - 1
    return layer


def layout(sizes: Sequence[tuple[float, float]], arrows: Sequence[tuple[int, int]]) -> Layout:
    """Places for boxes of these (width, height) and routes for arrows from smaller to larger numbers."""
    count = len(sizes)
    layer = layers_of(count, arrows)
    widths = [w for w, _ in sizes]
    links: list[tuple[int, int]] = []
    lanes: dict[tuple[int, int], list[int]] = {}
    spans = sum(layer[b] - layer[a] - 1 for a, b in arrows)
    for a, b in arrows:
        chain = [a]
        if spans <= MOST_LANES:  # beyond that, long arrows go straight
            for level in range(layer[a] + 1, layer[b]):
                chain.append(len(layer))
                layer.append(level)
                widths.append(LANE)
        chain.append(b)
        lanes[a, b] = chain[1:-1]
        links += pairwise(chain)
    rows: list[list[int]] = [[] for _ in range(max(layer, default=-1) + 1)]
    for i, level in enumerate(layer):
        rows[level].append(i)
    up: list[list[int]] = [[] for _ in layer]
    down: list[list[int]] = [[] for _ in layer]
    for a, b in links:
        up[b].append(a)
        down[a].append(b)
    _order(rows, up, down)
    x = _columns(rows, up, down, widths)
    y = 0.0
    bands: list[tuple[float, float]] = []  # top and bottom of each layer
    for row in rows:
        tall = max((sizes[i][1] for i in row if i < count), default=0.0)
        bands.append((y, y + tall))
        y += tall + DROP
    places = [(x[i], sum(bands[layer[i]]) / 2) for i in range(count)]
    # upright through a layer, and aside only between layers: so no arrow runs behind a box
    routes = {
        (a, b): [
            (x[a], bands[layer[a]][1]),
            *((x[i], end) for i in chain for end in bands[layer[i]]),
            (x[b], bands[layer[b]][0]),
        ]
        for (a, b), chain in lanes.items()
    }
    right = max((x[i] + widths[i] / 2 for i in range(len(layer))), default=0.0)
    return Layout(places, routes, right, max(y - DROP, 0.0))


def _order(rows: list[list[int]], up: list[list[int]], down: list[list[int]]) -> None:
    """Sort each layer by the mean position of its neighbours in the layer before, downwards and upwards in turn."""
    position: dict[int, float] = {}
    for row in rows:
        position.update((i, float(k)) for k, i in enumerate(row))
    for sweep in range(SWEEPS):
        near = up if sweep % 2 == 0 else down
        for row in rows if sweep % 2 == 0 else reversed(rows):
            mean = {i: sum(position[n] for n in near[i]) / len(near[i]) if near[i] else position[i] for i in row}
            row.sort(key=lambda i: mean[i])
            position.update((i, float(k)) for k, i in enumerate(row))


def _columns(
    rows: list[list[int]], up: list[list[int]], down: list[list[int]], widths: Sequence[float]
) -> dict[int, float]:
    """The middle of each box: near its neighbours' mean, in the order of its layer, without overlap."""
    x: dict[int, float] = {}
    for row in rows:
        at = 0.0
        for i in row:
            x[i] = at + widths[i] / 2
            at += widths[i] + GAP
    for sweep in range(SWEEPS):
        near = up if sweep % 2 == 0 else down
        for row in rows if sweep % 2 == 0 else reversed(rows):
            wish = [sum(x[n] for n in near[i]) / len(near[i]) if near[i] else x[i] for i in row]
            for i, place in zip(row, _spaced(row, wish, widths), strict=True):
                x[i] = place
    left = min((x[i] - widths[i] / 2 for i in x), default=0.0)
    return {i: place - left for i, place in x.items()}


def _spaced(row: list[int], wish: list[float], widths: Sequence[float]) -> list[float]:
    """The places nearest to the wishes (least squares) that keep order and gaps: what collides shares its mean."""
    offset = [0.0]
    for a, b in pairwise(row):
        offset.append(offset[-1] + (widths[a] + widths[b]) / 2 + GAP)
    blocks: list[tuple[float, int]] = []  # (mean of wish - offset, members)
    for w, o in zip(wish, offset, strict=True):
        mean, members = w - o, 1
        while blocks and blocks[-1][0] > mean:
            other, n = blocks.pop()
            mean, members = (mean * members + other * n) / (members + n), members + n
        blocks.append((mean, members))
    starts = [mean for mean, members in blocks for _ in range(members)]
    return [s + o for s, o in zip(starts, offset, strict=True)]
