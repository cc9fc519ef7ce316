"""What multiplies the gradient of an extremum, or sums it up: done without that gradient, which is 0 nearly everywhere.

Of the maximum over the places of a convolution one place in hundreds has a gradient. Where all that reads it are
products, whose other factor has few columns, and sums, `ops/extremum_products.py` stands in their place.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np

from tinygrad_ft.engine import OPS
from tinygrad_ft.jit.record import Recorder
from tinygrad_ft.jit.roots import FRESH, Line, Ref, Root

LARGE = 1 << 15  # elements of the gradient, of fewer of which the products are quick anyhow
FEW = 32  # elements over which each extremum is taken: of fewer, products of all of them are as quick


class Extremum(NamedTuple):
    """An `extremum_grad` seen as one over the middle axis of x (n, l, c)."""

    g: Ref
    x: Ref
    y: Ref
    gx: Ref

    @property
    def rows(self) -> int:
        """How many rows of c the gradient has."""
        return int(self.gx.shape[0] * self.gx.shape[1])

    @property
    def columns(self) -> int:
        """How many there are in a row, c."""
        return int(self.gx.shape[2])


def without_extremum_gradients(lines: Sequence[Line], record: Recorder, kept: set[int]) -> list[Line]:
    """The lines, with every gradient of an extremum left out that its readers can do without."""
    instead: dict[int, Line] = {}
    for at, line in enumerate(lines):
        seen = _seen(line, record) if line.op.name == "extremum_grad" else None
        if seen is None or seen.gx.root in kept:
            continue
        readers = [i for i, other in enumerate(lines) if any(_of(x, seen.gx.root) for x in other.inputs)]
        finding, root = _finding(line, seen, record)
        without = [_without(lines[i], seen, finding.outputs[0]) for i in readers]
        if all(without):
            record.roots.append(root)
            instead |= {at: finding} | {i: new for i, new in zip(readers, without, strict=True) if new}
    return _overlapping([instead.get(at, line) for at, line in enumerate(lines)], kept)


def _overlapping(lines: Sequence[Line], kept: set[int]) -> list[Line]:
    """The lines; where the rows of such a product are windows that are added up next, they are added up at once."""
    found = list(lines)
    for line in lines:
        if line.op.name == "extremum_grad_matmul" and line.outputs[0].root not in kept:
            readers = [i for i, other in enumerate(found) if any(_of(x, line.outputs[0].root) for x in other.inputs)]
            added = _added_up(line, found[readers[0]]) if len(readers) == 1 else None
            if added:
                found[readers[0]] = added
                found.remove(line)
    return found


def _added_up(product: Line, line: Line) -> Line | None:
    """The product whose rows overlap, for an `overlap_add` of windows of places whose channels are neighbours."""
    w, y = line.inputs[0], line.outputs[0]
    if line.op.name != "overlap_add" or len(line.params["size"]) != 1 or line.params["dilation"] != (1,) or w.offset:
        return None
    size, (n, long), k = w.dtype.itemsize, product.outputs[0].shape, product.params["apart"]
    if len(w.shape) != 4 or len(y.shape) != 3 or w.shape[1] != n or w.shape[0] * w.shape[2] != k:
        return None
    c, rows, apart = w.shape[2], w.shape[3], line.params["stride"][0] * w.shape[2]
    lies = w.strides == (c * size, long * size, size, k * size)
    out = _lying(y, (0, 2, 1), (n, (rows - 1) * apart + k))
    if not lies or out is None or y.shape[1] != c or prod(out.shape) != prod(y.shape):
        return None
    return product._replace(params={"apart": apart}, outputs=(out,))


def _of(x: Any, root: int) -> bool:
    return isinstance(x, Ref) and x.root == root


def _finding(line: Line, seen: Extremum, record: Recorder) -> tuple[Line, Root]:
    """The line that finds where the extrema stand, and the root that it writes, which is the next of the record."""
    made = np.empty(seen.y.shape, np.int64)
    ref = Ref(len(record.roots), 0, made.shape, made.strides, made.dtype)
    return Line(OPS["extremum_places"], (seen.x, seen.y), {}, (ref,), False, line.place), Root(FRESH, made)


def _seen(line: Line, record: Recorder) -> Extremum | None:
    """The line as one over a middle axis, if its arrays lie so and nobody writes into them."""
    g, x, y = line.inputs
    gx, axis = line.outputs[0], line.params["axis"]
    axes = axis if isinstance(axis, tuple) else (axis,)
    if not all(isinstance(a, Ref) for a in (g, x, y)) or len(axes) != 1 or axes[0] is None:
        return None
    if any(record.roots[a.root].overwritten for a in (g, x, y, gx)) or record.roots[gx.root].kind is not FRESH:
        return None
    n = len(x.shape)
    order = sorted(range(n), key=lambda i: -x.strides[i])
    at = order.index(axes[0] % n)
    lengths = [x.shape[i] for i in order]
    shape = (prod(lengths[:at]), lengths[at], prod(lengths[at + 1 :]))
    if prod(shape) < LARGE or shape[1] < FEW or gx.strides != x.strides:
        return None
    others = [i for i in order if i != axes[0] % n]
    of_rows = (shape[0], shape[2])
    three, whole = _lying(x, order, shape), _lying(gx, order, shape)
    of_g, of_y = (
        _lying(_without_axis(g, axes[0] % n, n), others, of_rows),
        _lying(_without_axis(y, axes[0] % n, n), others, of_rows),
    )
    if three is None or whole is None or of_g is None or of_y is None or whole.offset:
        return None
    return Extremum(of_g, three, of_y, whole)


def _without_axis(ref: Ref, axis: int, n: int) -> Ref:
    """Extrema of an array of n axes, without the axis over which they were taken, in places of the other axes."""
    if len(ref.shape) == n:
        return ref
    shape, strides = list(ref.shape), list(ref.strides)
    shape.insert(axis, 1)
    strides.insert(axis, 0)
    return ref._replace(shape=tuple(shape), strides=tuple(strides))


def _lying(ref: Ref, order: Sequence[int], shape: tuple[int, ...]) -> Ref | None:
    """The same memory in that shape, if its axes in that order follow each other without a gap."""
    step = ref.dtype.itemsize
    for i in reversed(order):
        if ref.shape[i] != 1 and ref.strides[i] != step:
            return None
        step *= ref.shape[i]
    return _contiguous(ref, shape)


def _contiguous(ref: Ref, shape: tuple[int, ...]) -> Ref:
    strides = tuple(ref.dtype.itemsize * prod(shape[i + 1 :]) for i in range(len(shape)))
    return ref._replace(shape=shape, strides=strides)


def _without(line: Line, seen: Extremum, places: Ref) -> Line | None:
    """What a reader of the gradient does without it; None if that is not known."""
    of = (seen.g, seen.x, seen.y, places)
    size, rows, columns = seen.gx.dtype.itemsize, seen.rows, seen.columns
    y = line.outputs[0]
    e, b = line.inputs if line.op.name == "matmul" else (line.inputs[0], None)
    lies = (e.shape, e.strides) if _of(e, seen.gx.root) and e.offset == 0 else None
    if lies == ((rows, columns), (columns * size, size)):
        if line.op.name == "sum_to" and y == _contiguous(y, (columns,)):
            return Line(OPS["sum"], (seen.g,), {"axis": (0,), "keepdims": False}, (y,), False, line.place)
        if _is_matrix(b, columns, seen) and y == _contiguous(y, (rows, b.shape[1])):
            out = _contiguous(y, (seen.gx.shape[0], seen.gx.shape[1] * b.shape[1]))
            params = {"apart": b.shape[1]}
            return Line(OPS["extremum_grad_matmul"], (*of, b), params, (out,), False, line.place)
    turned = lies == ((columns, rows), (size, columns * size)) and _is_matrix(b, rows, seen)
    if turned and y == _contiguous(y, (columns, b.shape[1])):
        return Line(OPS["extremum_grad_outer"], (*of, b), {}, (y,), False, line.place)
    return None


def _is_matrix(b: Any, rows: int, seen: Extremum) -> bool:
    """Whether the other factor of a product has so many rows, lies as they do, and is not the gradient itself."""
    plain = isinstance(b, Ref) and len(b.shape) == 2 and b.shape[0] == rows and b == _contiguous(b, b.shape)
    return plain and b.root != seen.gx.root
