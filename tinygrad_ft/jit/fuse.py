"""Fusion: neighbouring elementwise ops of one shape become one loop, whose body their own forwards write.

An op joins an earlier loop if all that it reads was there before that loop began, or is made in it. What is read in the
loop alone is never stored. Operands may be as large as the answer, one number, one row repeated, or one number a row.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from tinygrad_ft.dispatch import Share
from tinygrad_ft.jit.roots import Line, Ref
from tinygrad_ft.jit.table import Loop
from tinygrad_ft.source import NotWritable, Source, Text

PART = 4096  # elements: what a thread adds up at a time, in the cache of the first level
ADDING = Loop(
    """

def loop(parts, y, n, start, end):
    s = 0.0
    for i in range(parts.size):
        s += parts[i]
    y[0] = s / n
""".replace("def", "from tinygrad_ft.kernels.cpu.vector import compiled\n\n\n@compiled\ndef", 1)
)
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
TRUTH = np.dtype(bool)
WIDEST = 24  # operands of one loop: more would not fit into the registers of addresses, and compile slowly

IMPORTS = """
from math import inf, nan, sqrt

from tinygrad_ft.kernels.cpu.elementary import erf_, exp_, log_, tanh_
from tinygrad_ft.kernels.cpu.vector import compiled, total

F = np.{dtype}
"""


class Group:
    """A loop in the making: its lines, the shape they share and the order of its axes in memory, and the dtype."""

    def __init__(self, line: Line, dtype: Any):
        self.lines, self.dtype = [line], dtype
        self.sums: list[Line] = []  # of all numbers of one of its answers
        self.shape, self.order = line.outputs[0].shape, order_of(line.outputs[0])

    @property
    def made(self) -> set[Ref]:
        """What its lines make."""
        return {line.outputs[0] for line in self.lines}

    def operands(self) -> list[Ref]:
        """What it reads that it does not make."""
        made = self.made
        found: dict[Ref, None] = {}
        for line in self.lines:
            for x in line.inputs:
                if isinstance(x, Ref) and x not in made:
                    found[x] = None
        return list(found)


class Lie(NamedTuple):
    """How an operand lies against the answer: as "full", "one" number, one "row" repeated, or one a row ("column")."""

    how: str
    size: int  # how many numbers


def dtype_of(line: Line) -> Any:
    """The floating dtype in which a line can be written as text; None if it cannot."""
    if not getattr(line.op, "elementwise", False) or line.several or line.op.overwritten:
        return None
    refs = [x for x in (*line.inputs, *line.outputs) if isinstance(x, Ref)]
    floats = {ref.dtype for ref in refs if ref.dtype != TRUTH}
    if len(floats) != 1 or not floats <= set(FLOATS) or any(x is None for x in line.inputs):
        return None
    shape, order = line.outputs[0].shape, order_of(line.outputs[0])
    if prod(shape) == 0 or not all(lie(x, shape, order) for x in refs):
        return None
    dtype = floats.pop()
    try:
        _written(line, Source(dtype), {})
    except (NotWritable, AttributeError, TypeError, ValueError):
        return None
    return dtype


def constant(line: Line, dtype: Any) -> float | None:
    """The number that a line answers whatever its inputs are; None for any other line."""
    source = Source(dtype)
    _written(line, source, {})
    found = re.fullmatch(r"t0 = F\(([^()]*)\)", source.lines[0]) if len(source.lines) == 1 else None
    return float(found[1]) if found else None


def order_of(ref: Ref) -> tuple[int, ...]:
    """The axes from the longest way between neighbours to the shortest."""
    return tuple(sorted(range(len(ref.shape)), key=lambda i: (ref.shape[i] > 1, -ref.strides[i])))


def lie(ref: Ref, shape: tuple[int, ...], order: tuple[int, ...]) -> Lie | None:
    """How an operand lies against an answer of that shape, whose axes lie in that order; None if in no simple way."""
    missing = len(shape) - len(ref.shape)
    lengths = [1 if i < missing or ref.strides[i - missing] == 0 else ref.shape[i - missing] for i in order]
    strides = [0 if i < missing else ref.strides[i - missing] for i in order]
    wanted = [shape[i] for i in order]
    own = [k for k, n in enumerate(lengths) if n != 1]
    if not own:
        return Lie("one", 1)
    step = ref.dtype.itemsize
    for k in range(own[-1], own[0] - 1, -1):
        if lengths[k] != wanted[k] or (lengths[k] != 1 and strides[k] != step):
            return None
        step *= lengths[k]
    count = prod(lengths)
    if count == prod(wanted):
        return Lie("full", count)
    if all(n == 1 for n in wanted[own[-1] + 1 :]):
        return Lie("row", count)
    return Lie("column", count) if all(n == 1 for n in wanted[: own[0]]) else None


def _written(line: Line, source: Source, names: dict[Any, Any]) -> Any:
    """The line's forward, run on text; unknown operands get names as they come."""
    texts = [
        names.get(x, Text(source, f"v{i}", truth=x.dtype == TRUTH)) if isinstance(x, Ref) else x
        for i, x in enumerate(line.inputs)
    ]
    y = line.op.forward(source, *texts, **line.params)
    if not isinstance(y, Text):
        y = source.write(source.number(y))
    if y.truth != (line.outputs[0].dtype == TRUTH):
        raise NotWritable("numbers where truth values were expected")
    return y


def width_of(refs: Sequence[Ref], shape: tuple[int, ...], order: tuple[int, ...]) -> int | None:
    """How long a row of the loop is, so that all operands fit; None if they do not fit together."""
    total = prod(shape)
    lies = [a for ref in refs if (a := lie(ref, shape, order))]
    widths = {a.size if a.how == "row" else total // a.size for a in lies if a.how in ("row", "column")}
    return None if len(widths) > 1 else widths.pop() if widths else total


def sums_up(line: Line, group: Group) -> bool:
    """Whether a line adds up, or averages, all of what a group makes, in which all operands lie alike."""
    if line.op.name not in ("sum", "mean") or line.inputs[0] not in group.made:
        return False
    axis, ndim = line.params["axis"], len(group.shape)
    axes = range(ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
    flat = width_of(group.operands(), group.shape, group.order) == prod(group.shape)
    return flat and line.inputs[0].dtype == group.dtype and {a % max(ndim, 1) for a in axes} == set(range(ndim))


class Body:
    """The text of a group's loop: what stands before it, in each row, and for each element; and its arguments."""

    def __init__(self, group: Group, stored: list[Ref]):
        operands = group.operands()
        width = width_of(operands, group.shape, group.order)
        assert width is not None
        self.rows, self.width = prod(group.shape) // width, width
        self.laid = [(ref, a) for ref in operands if (a := lie(ref, group.shape, group.order))]
        self.names, self.before, self.inside = [], [], []  # type: ignore[var-annotated]
        self.loads, self.stores = [], []  # type: ignore[var-annotated]
        self.source = Source(group.dtype)
        made = self._write(group)
        for i, ref in enumerate(stored):
            self.names.append(f"y{i}")
            self.inside.append((f"s{i}", f"y{i}", True))
            self.stores.append(f"s{i}[j] = {made[ref].name}")
        self.laid += [(ref, Lie("full", prod(group.shape))) for ref in stored]
        self.summed = [made[line.inputs[0]].name for line in group.sums]

    def _write(self, group: Group) -> dict[Any, Any]:
        made: dict[Any, Any] = {}
        for i, (ref, (how, _)) in enumerate(self.laid):
            self.names.append(f"a{i}")
            if how == "one":
                self.before.append(f"x{i} = a{i}[0]")
            elif how == "column" and self.rows > 1:
                self.inside.append((f"x{i}", f"a{i}", True))
            else:
                self.inside.append((f"r{i}", f"a{i}", how == "full" or self.rows == 1))
                self.loads.append(f"x{i} = r{i}[j]")
            made[ref] = Text(self.source, f"x{i}", truth=ref.dtype == TRUTH)
        for line in group.lines:
            made[line.outputs[0]] = _written(line, self.source, made)
        return made

    def text(self, dtype: Any) -> str:
        """The function, in one of three forms: rows, one long row of which each thread takes a stretch, or parts."""
        sums = [f"p{i}" for i in range(len(self.summed))]
        lines = [*self.before]
        each = [*self.loads, *self.source.lines, *self.stores]
        if sums:
            lines += [f"w{i} = np.empty({PART}, np.{dtype.name})" for i in range(len(sums))]
            each += [f"w{i}[j] = {name}" for i, name in enumerate(self.summed)]
            inner = [f"{r} = {a}[i * {PART} : (i + 1) * {PART}]" for r, a, _ in self.inside]
            after = [f"p{i}[i] = total(w{i}[:size])" for i in range(len(sums))]
            size = f"size = min({PART}, {self.width} - i * {PART})"
            lines += _loop("i in range(start, end)", [*inner, size, *_loop("j in range(size)", each), *after])
        elif self.rows == 1:
            lines += [f"{r} = {a}[start:end]" for r, a, _ in self.inside]
            lines += _loop("j in range(s0.size)", each)
        else:
            inner = [f"{r} = {a}[i]" if by_row else f"{r} = {a}" for r, a, by_row in self.inside]
            lines += _loop("i in range(start, end)", [*inner, *_loop("j in range(s0.size)", each)])
        heading = f"def loop({', '.join([*self.names, *sums])}, start, end):"
        body = "".join(f"    {line}\n" for line in lines)
        return f"{IMPORTS.format(dtype=dtype.name)}\n\n@compiled\n{heading}\n{body}"


def _loop(head: str, body: list[str]) -> list[str]:
    return [f"for {head}:", *(f"    {line}" for line in body)]


def shares_of(group: Group, stored: list[Ref], view: Any) -> list[Share]:
    """The loop over the arrays that `view` gives for its operands; then what adds up the sums of its parts."""
    body = Body(group, stored)
    rows, width = body.rows, body.width
    arguments = []
    for ref, (how, size) in body.laid:
        a = view(ref)
        flat = as_strided(a, (size,), (a.itemsize,))  # its numbers, in the order in which they lie
        arguments.append(flat.reshape(rows, width) if how == "full" and rows > 1 else flat)
    loop = Loop(body.text(group.dtype))
    if not group.sums:
        return [Share(loop, width if rows == 1 else rows, tuple(arguments))]
    parts = [np.empty(-(-width // PART)) for _ in group.sums]
    shares = [Share(loop, parts[0].size, (*arguments, *parts))]
    for line, part in zip(group.sums, parts, strict=True):
        y = as_strided(view(line.outputs[0]), (1,), (group.dtype.itemsize,))
        shares.append(Share(ADDING, 1, (part, y, float(width if line.op.name == "mean" else 1))))
    return shares
