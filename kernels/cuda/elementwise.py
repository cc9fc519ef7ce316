"""Elementwise ops on a GPU: the op's own forward, run on the source array module, writes the body of its kernel.

Replaces: every elementwise op that has a text. Moves each operand and the answer once; what is broadcast stays in the
cache. Lanes read neighbours, so that a request of a warp is four sectors, the fewest that hold its 128 bytes; wider
loads would need operands that begin at multiples of 16 bytes, as views do not.
Applies: float32 and booleans, fewer than 2^31 elements, each operand contiguous or broadcast from what is.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from math import prod
from typing import Any, NamedTuple

import numpy as np

from tinygrad_ft.engine import OPS, Op
from tinygrad_ft.kernels.cuda.generated import POWERS, Cuda, written_kernel
from tinygrad_ft.kernels.cuda.grid import LARGEST, over
from tinygrad_ft.source import NotWritable, Text

DEEPEST = 4  # axes, after neighbours that all operands share were merged
FLOAT, TRUTH = np.dtype(np.float32), np.dtype(bool)
TRUTHS, NUMBERS = (bool, np.bool_), (int, float, np.integer, np.floating)

Mask = tuple[bool, ...]  # for each axis of the answer, whether an operand has it


class Plan(NamedTuple):
    """How a call of an op runs: its kernel, the answer's shape and dtype, and the lengths of all axes but the first."""

    kernel: Any
    shape: tuple[int, ...]
    dtype: Any
    lengths: list[np.uint32]


def mask_of(shape: tuple[int, ...], strides: tuple[int, ...], itemsize: int, wanted: tuple[int, ...]) -> Mask | None:
    """Which axes of `wanted` an operand has, its other ones repeating it; None if what it repeats has gaps."""
    lead = len(wanted) - len(shape)
    step = itemsize
    for n, s in zip(reversed(shape), reversed(strides), strict=True):
        if n > 1 and s != 0:
            if s != step:
                return None
            step *= n
    return (False,) * lead + tuple(n > 1 and s != 0 for n, s in zip(shape, strides, strict=True))


def merged(shape: tuple[int, ...], masks: list[Mask]) -> tuple[list[int], list[Mask]]:
    """The axes, neighbours that every operand has or has not made one; and the masks of each operand for these."""
    extents, columns = [1], [(True,) * len(masks)]
    for n, *column in zip(shape, *masks, strict=True):
        if n == 1:
            continue
        if extents[-1] == 1:
            columns[-1] = tuple(column)
        elif tuple(column) != columns[-1]:
            extents.append(1)
            columns.append(tuple(column))
        extents[-1] *= n
    return extents, list(zip(*columns, strict=True))


def place(mask: Mask) -> str:
    """Where an operand has its number for element i of the answer, whose coordinates are j0, j1, ..."""
    if all(mask):
        return "i"
    first, *others = (axis for axis, has in enumerate(mask) if has)
    at = f"j{first}"
    for axis in others:
        at = f"({at} * n{axis} + j{axis})"
    return at


def kernel_text(heading: str, doc: str, operands: dict[int, Mask], body: list[str], y: str) -> str:
    """The kernel: each thread takes element i of the answer, and those a whole grid further on."""
    depth = len(next(iter(operands.values())))
    # max, or Numba plans for a division by 0
    before = [f"n{k} = max(n{k}, uint32(1))" for k in range(1, depth)]
    before += [f"x{k} = a{k}[uint32(0)]" for k, mask in operands.items() if not any(mask)]
    inside = ["j0 = i"] if depth > 1 else []
    for k in range(depth - 1, 0, -1):
        inside += [f"j{k} = uint32(j0 % n{k})", f"j0 = uint32(j0 // n{k})"]
    inside += [f"x{k} = a{k}[uint32({place(mask)})]" for k, mask in operands.items() if any(mask)]
    lines = [
        f"def {heading}:",
        f"    {doc!r}",
        "    i = uint32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)",
        "    step = uint32(cuda.blockDim.x * cuda.gridDim.x)",
        "    n = uint32(y.size)",
        *(f"    {line}" for line in before),
        "    while i < n:",
        *(f"        {line}" for line in (*inside, *body, f"y[i] = {y}", "i = uint32(i + step)")),
    ]
    return "\n".join(lines) + "\n"


@lru_cache(None)
def written(op: Op, kinds: tuple[Any, ...], params: tuple[tuple[str, Any], ...], masks: tuple[Mask, ...]) -> Any:
    """The kernel of an op for operands of those kinds, and whether it answers truths; None if it has no text.

    A kind is "x" for numbers, "b" for truths, "s" for one number that the launch hands over, and any other number
    itself. So are parameters.
    """
    source = Cuda()
    numbers = {k: f"s{k}" for k, kind in enumerate(kinds) if kind == "s"}
    operands = dict(zip((k for k, kind in enumerate(kinds) if kind in ("x", "b")), masks, strict=True))
    texts = [
        Text(source, f"x{k}", truth=kind == "b")
        if k in operands
        else Text(source, numbers[k])
        if k in numbers
        else kind
        for k, kind in enumerate(kinds)
    ]
    options = {name: Text(source, f"{name}_") if value == "s" else value for name, value in params}
    try:
        y = op.forward(source, *texts, **options)
        if not isinstance(y, Text):
            y = source.write(source.number(y))
    except (NotWritable, AttributeError, TypeError, ValueError):
        return None
    given = [x.name for x in options.values() if isinstance(x, Text)]
    words = [f"{kind}{_digits(operands[k])}" if k in operands else f"{kind}" for k, kind in enumerate(kinds)]
    words += [name if value == "s" else f"{value}" for name, value in params if value != op.defaults.get(name)]
    name = "_".join([op.name, *words]).replace("-", "m").replace(".", "p")
    arguments = [f"a{k}" for k in operands] + [*numbers.values(), *given, "y"]
    arguments += [f"n{k}" for k in range(1, len(masks[0]))]
    doc = (op.__doc__ or "").partition("\n")[0]
    text = kernel_text(f"{name}({', '.join(arguments)})", doc, operands, source.lines, y.name)
    told = {"moves": "reads each operand once, writes y once", "why": "one pass, 4 sectors a request"}
    return written_kernel(name, text, version="elementwise", **told), y.truth


def _digits(mask: Mask) -> str:
    """Which axes an operand has, if not all."""
    return "" if all(mask) else "".join("01"[has] for has in mask)


def seen(op: Op, k: int, x: Any) -> Any:
    """What of operand k decides how the op runs: an array's dtype and layout, the type of a number or a number itself.

    None for anything else.
    """
    if isinstance(x, TRUTHS):
        return bool(x)
    if isinstance(x, NUMBERS):
        return x if op.name == "pow" and k == 1 and type(x) in (int, float) and x in POWERS else type(x)
    return (x.dtype, x.shape, x.strides) if hasattr(x, "strides") else None


@lru_cache(4096)
def planned(op: Op, operands: tuple[Any, ...], params: tuple[tuple[str, Any], ...]) -> Plan | None:
    """How an op runs for operands of which that was `seen`; None if not here."""
    arrays = [a for a in operands if isinstance(a, tuple)]
    if not arrays or any(a is None or (isinstance(a, tuple) and a[0] not in (FLOAT, TRUTH)) for a in operands):
        return None
    try:
        shape = np.broadcast_shapes(*(a[1] for a in arrays))
    except ValueError:
        return None  # which the op's own forward says better
    masks = [mask_of(a[1], a[2], a[0].itemsize, shape) for a in arrays]
    if not 0 < prod(shape) < LARGEST or None in masks:
        return None
    lengths, apart = merged(shape, masks)  # type: ignore[arg-type]
    if len(lengths) > DEEPEST:
        return None
    kinds = tuple("xb"[a[0] == TRUTH] if isinstance(a, tuple) else "s" if isinstance(a, type) else a for a in operands)
    found = written(op, kinds, params, tuple(apart))
    whole = np.result_type(*(a[0] if isinstance(a, tuple) else a(1) if isinstance(a, type) else a for a in operands))
    if found is None or whole not in ((FLOAT, TRUTH) if found[1] else (FLOAT,)):
        return None  # numbers of booleans are not of float32, nor is what is compared with a float64
    return Plan(found[0], shape, TRUTH if found[1] else FLOAT, [np.uint32(n) for n in lengths[1:]])


def plan_of(op: Op, inputs: tuple[Any, ...], params: dict[str, Any]) -> Plan | None:
    """How an op runs for these inputs; None if not here."""
    if len({type(x) for x in inputs if hasattr(x, "strides") and not isinstance(x, NUMBERS + TRUTHS)}) != 1:
        return None
    told = tuple((name, "s" if type(value) is float else value) for name, value in params.items())
    return planned(op, tuple(seen(op, k, x) for k, x in enumerate(inputs)), told)


def core(x: Any) -> Any:
    """The numbers of an array that may repeat them, once each, in one row."""
    if not x.flags.c_contiguous:
        x = x[tuple(slice(1) if n > 1 and s == 0 else slice(None) for n, s in zip(x.shape, x.strides, strict=True))]
    return x.reshape(-1)


def applies(op: Op, *inputs: Any, **params: Any) -> bool:
    """Whether the op has a kernel for these inputs."""
    return plan_of(op, inputs, params) is not None


def run(op: Op, xp: Any, *inputs: Any, **params: Any) -> Any:
    """The answer of an op that applies."""
    plan = plan_of(op, inputs, params)
    assert plan is not None
    y = xp.empty(plan.shape, plan.dtype)
    numbers = [x for k, x in enumerate(inputs) if isinstance(seen(op, k, x), type)]
    numbers += [value for value in params.values() if type(value) is float]
    with np.errstate(over="ignore"):
        scalars = [np.float32(x) for x in numbers]
    arrays = [core(x) for x in inputs if not isinstance(x, NUMBERS + TRUTHS)]
    over(y.size, plan.kernel, *arrays, *scalars, y.reshape(-1), *plan.lengths)
    return y


def kernel_of(op: Op) -> Callable[..., Any]:
    """`run` for one op."""

    def elementwise(xp: Any, *inputs: Any, **params: Any) -> Any:
        """A thread an element."""
        return run(op, xp, *inputs, **params)

    return elementwise


def register() -> None:
    """A kernel for every elementwise op of the library."""
    for op in OPS.values():
        if op.elementwise:
            op.kernel("cuda", when=partial(applies, op))(kernel_of(op))
            assert op.kernels is not None
            found = op.kernels.by_device["cuda"]
            found.append(found.pop(0))  # a kernel written by hand comes first


register()
