"""Convolutions: windows of x, and one matrix product of the kernels with all of them.

`windows` is a view, and `overlap_add` puts windows back where they came from and adds up; each is the other's adjoint.
In between the columns lie as (channels, kernel, n, places), so that what is copied is copied in long rows; or as
(n, places, kernel, channels) where the channels of x lie side by side, as those of words do. y then lies like x.
"""

from __future__ import annotations

from itertools import product
from math import prod
from numbers import Integral
from typing import Any

from tinygrad_ft.engine import Array, op
from tinygrad_ft.ops.arrange import pad_constant
from tinygrad_ft.ops.composed import composed
from tinygrad_ft.ops.index import getitem
from tinygrad_ft.ops.linalg import linear, matmul
from tinygrad_ft.ops.shape import Shape, permute, reshape, transpose

__all__ = ["conv1d", "conv2d", "conv_transpose1d", "conv_transpose2d"]


@op
def windows(xp: Any, x: Array, *, kernel: Shape, stride: Shape, dilation: Shape) -> Array:
    """y[k.., ..., o..] = x[..., o stride + k dilation]: in front where in a window, at the end which window; a view.

    Shapes: x (..., *size) -> y (*kernel, ..., *places), as many windows as fit along each of the last axes.
    """
    lead = x.ndim - len(kernel)
    ends = [n - (k - 1) * d for n, k, d in zip(x.shape[lead:], kernel, dilation, strict=True)]
    shape = (*kernel, *x.shape[:lead], *((n - 1) // s + 1 for n, s in zip(ends, stride, strict=True)))
    last = x.strides[lead:]
    in_window, between = ([m * n for m, n in zip(steps, last, strict=True)] for steps in (dilation, stride))
    return xp.lib.stride_tricks.as_strided(x, shape, (*in_window, *x.strides[:lead], *between))


@windows.vjp
def windows_vjp(g: Array, *, kernel: Shape, stride: Shape, dilation: Shape, x_shape: Shape) -> Array:
    """An element that lies in several windows receives the cotangents of all."""
    return overlap_add(g, size=tuple(x_shape[len(x_shape) - len(kernel) :]), stride=stride, dilation=dilation)


@op
def overlap_add(xp: Any, w: Array, *, size: Shape, stride: Shape, dilation: Shape) -> Array:
    """Zeros with every window added where it was cut out; the adjoint of windows.

    Shapes: w (*kernel, ..., *places) -> y (..., *size). If the axis before the places is contiguous in w, it is in y.
    """
    n = len(size)
    if w.shape[:n] == (1,) * n and w.shape[w.ndim - n :] == size:  # windows of one place, one at each: w itself
        return w[(0,) * n]
    y = added_up_in(xp.zeros, w, size)
    for at in product(*map(range, w.shape[:n])):
        steps = zip(at, w.shape[w.ndim - n :], stride, dilation, strict=True)
        y[(..., *(slice(k * d, k * d + (o - 1) * s + 1, s) for k, o, s, d in steps))] += w[at]
    return y


def added_up_in(make: Any, w: Array, size: Shape) -> Array:
    """What `make` answers for the shape of the answer of overlap_add, its axes lying as those of w do."""
    n, lead = len(size), w.ndim - len(size) - 1
    if lead >= n and side_by_side(w, lead):
        y = make((*w.shape[n:lead], *size, w.shape[lead]), dtype=w.dtype)
        return y.transpose((*range(lead - n), y.ndim - 1, *range(lead - n, y.ndim - 1)))
    return make((*w.shape[n : w.ndim - n], *size), dtype=w.dtype)


def side_by_side(x: Array, axis: int) -> bool:
    """Whether the elements along an axis are neighbours in memory."""
    a: Any = getattr(x, "array", x)
    return bool(a.shape[axis] > 1 and a.strides[axis] == a.itemsize)


@overlap_add.vjp
def overlap_add_vjp(h: Array, *, size: Shape, stride: Shape, dilation: Shape, w_shape: Shape) -> Array:
    """The windows; what lies behind the last of them received nothing."""
    n = len(size)
    kernel, places = tuple(w_shape[:n]), w_shape[len(w_shape) - n :]
    used = tuple(slice(span(k, d) + (o - 1) * s) for k, o, s, d in zip(kernel, places, stride, dilation, strict=True))
    return windows(getitem(h, key=(..., *used)), kernel=kernel, stride=stride, dilation=dilation)


def span(kernel: int, dilation: int) -> int:
    """How many places a window reaches over."""
    return (kernel - 1) * dilation + 1


def numbers(name: str, what: str, given: Any, n: int, least: int) -> Shape:
    """One number for each of n axes, which may be given as one for all."""
    found = (given,) if isinstance(given, Integral) else tuple(given)
    found = found * n if len(found) == 1 else found
    if len(found) != n or any(not isinstance(v, Integral) or v < least for v in found):
        raise ValueError(f"{name} needs {what} of {least} or more, one number or {n}: got {given}")
    return tuple(int(v) for v in found)


def batch(name: str, x: Array, n: int) -> Array:
    """x (channels, *size) as a batch of one; x (batch, channels, *size) as it is."""
    if x.ndim not in (n + 1, n + 2):
        axes = ", ".join(["length", "height, width", "depth, height, width"][n - 1 : n])
        raise ValueError(f"{name} needs x (batch, channels, {axes}), the batch may be left out: got {tuple(x.shape)}")
    return x if x.ndim == n + 2 else reshape(x, (1, *x.shape))


def bordered(x: Array, borders: list[tuple[int, int]], value: float = 0.0) -> Array:
    """x with (before, after) more places along its last axes."""
    if not any(map(any, borders)):
        return x
    return pad_constant(x, widths=((0, 0),) * (x.ndim - len(borders)) + tuple(borders), value=value)


def _channels_last(n: int) -> tuple[int, ...]:
    """The order of the axes (batch, channels, *size) that puts channels at the end."""
    return (0, *range(2, n + 2), 1)


def _channels_second(n: int) -> tuple[int, ...]:
    return (0, n + 1, *range(1, n + 1))


def _checked(name: str, n: int, x: Array, weight: Array, bias: Array, groups: int, transposed: bool) -> tuple[int, int]:
    """How many channels go in and come out."""
    if weight.ndim != n + 2 or 0 in weight.shape[2:]:
        sides = "inputs, outputs / groups" if transposed else "outputs, inputs / groups"
        raise ValueError(f"{name} needs weight ({sides}, *kernel) for {n} axes: got {tuple(weight.shape)}")
    first, second = weight.shape[:2]
    if not isinstance(groups, Integral) or groups < 1 or first % groups:
        raise ValueError(f"{name}: {first} channels, the first axis of weight, do not divide into {groups} groups")
    inputs, outputs = (first, second * groups) if transposed else (second * groups, first)
    if x.shape[1] != inputs:
        raise ValueError(
            f"{name} in {groups} groups with weight {tuple(weight.shape)} needs x of {inputs} channels: "
            f"got {x.shape[1]}"
        )
    if bias is not None and tuple(bias.shape) != (outputs,):
        raise ValueError(f"{name} needs bias ({outputs},): got {tuple(bias.shape)}")
    dtypes = {str(a.dtype) for a in (x, weight, bias) if a is not None}
    if len(dtypes) > 1:
        raise TypeError(f"{name} needs x, weight and bias of one dtype: got {', '.join(sorted(dtypes))}")
    return inputs, outputs


def _convolved(
    name: str, n: int, input: Array, weight: Array, bias: Array, stride: Any, padding: Any, dilation: Any, groups: int
) -> Array:
    x = batch(name, input, n)
    inputs, outputs = _checked(name, n, x, weight, bias, groups, False)
    stride, dilation = numbers(name, "stride", stride, n, 1), numbers(name, "dilation", dilation, n, 1)
    kernel = tuple(weight.shape[2:])
    spans = [span(k, d) for k, d in zip(kernel, dilation, strict=True)]
    if isinstance(padding, str):
        if padding not in ("same", "valid") or (padding == "same" and stride != (1,) * n):
            raise ValueError(
                f"{name}: padding is 'same' (with stride 1), 'valid' or numbers: got {padding!r}, {stride}"
            )
        borders = [((m - 1) // 2, m // 2) if padding == "same" else (0, 0) for m in spans]
    else:
        borders = [(p, p) for p in numbers(name, "padding", padding, n, 0)]
    side = groups == 1 and side_by_side(x, 1)
    if side and any(map(any, borders)):
        padded = pad_constant(permute(x, _channels_last(n)), widths=((0, 0), *borders, (0, 0)), value=0.0)
        x = permute(padded, _channels_second(n))
    else:
        x = bordered(x, borders)
    if any(size < m for size, m in zip(x.shape[2:], spans, strict=True)):
        raise ValueError(f"{name}: windows over {tuple(spans)} places do not fit into {tuple(x.shape[2:])}, padded")

    w = windows(x, kernel=kernel, stride=stride, dilation=dilation)
    examples, places = x.shape[0], tuple(w.shape[n + 2 :])
    if side:
        columns = permute(w, (n, *range(n + 2, 2 * n + 2), *range(n), n + 1))
        rows, depth = examples * prod(places), inputs * prod(kernel)
        of_outputs = reshape(permute(weight, _channels_last(n)), (outputs, depth))
        y = linear(reshape(columns, (rows, depth)), of_outputs, bias)
        y = permute(reshape(y, (examples, *places, outputs)), _channels_second(n))
        return y if x.ndim == input.ndim else reshape(y, y.shape[1:])
    columns = permute(w, (n + 1, *range(n + 1), *range(n + 2, 2 * n + 2)))
    depth = inputs // groups * prod(kernel)
    y = matmul(
        reshape(weight, (groups, outputs // groups, depth)),
        reshape(columns, (groups, depth, examples * prod(places))),
    )
    y = reshape(y, (outputs, examples * prod(places)))
    y = y if bias is None else y + reshape(bias, (outputs, 1))
    y = permute(reshape(y, (outputs, examples, *places)), (1, 0, *range(2, n + 2)))
    return y if x.ndim == input.ndim else reshape(y, y.shape[1:])


def _convolved_back(
    name: str, n: int, input: Array, weight: Array, bias: Array, stride: Any, padding: Any, more: Any, groups: int,
    dilation: Any,
) -> Array:  # fmt: skip
    x = batch(name, input, n)
    inputs, outputs = _checked(name, n, x, weight, bias, groups, True)
    stride, dilation = numbers(name, "stride", stride, n, 1), numbers(name, "dilation", dilation, n, 1)
    padding, more = numbers(name, "padding", padding, n, 0), numbers(name, "output_padding", more, n, 0)
    if any(m >= max(s, d) for m, s, d in zip(more, stride, dilation, strict=True)):
        raise ValueError(f"{name} needs output_padding below stride or dilation: got {more}, {stride} and {dilation}")
    kernel, places = tuple(weight.shape[2:]), tuple(x.shape[2:])
    steps = zip(places, kernel, stride, dilation, more, strict=True)
    size = tuple((o - 1) * s + span(k, d) + m for o, k, s, d, m in steps)
    if any(m <= 2 * p for m, p in zip(size, padding, strict=True)):
        raise ValueError(f"{name}: padding {padding} leaves nothing of the size {size}")

    depth, columns = outputs // groups * prod(kernel), x.shape[0] * prod(places)
    rows = reshape(permute(x, (1, 0, *range(2, n + 2))), (groups, inputs // groups, columns))
    w = matmul(transpose(reshape(weight, (groups, inputs // groups, depth)), 1, 2), rows)
    w = reshape(w, (outputs, *kernel, x.shape[0], *places))
    w = permute(w, (*range(1, n + 2), 0, *range(n + 2, 2 * n + 2)))
    y = overlap_add(w, size=size, stride=stride, dilation=dilation)
    if any(padding):
        y = getitem(y, key=(..., *(slice(p, m - p) for m, p in zip(size, padding, strict=True))))
    y = y if bias is None else y + reshape(bias, (outputs, *(1,) * n))
    return y if x.ndim == input.ndim else reshape(y, y.shape[1:])


@composed
def conv1d(
    input: Array, weight: Array, bias: Array = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
    groups: int = 1,
) -> Array:  # fmt: skip
    """y[n, o, i] = bias[o] + sum_ck weight[o, c, k] x[n, c, i stride + k dilation - padding], 0 where x ends.

    Shapes: x (n, inputs, length) or (inputs, length), weight (outputs, inputs / groups, kernel), bias (outputs,) or
    None. `padding` may be "same" (y as long as x) or "valid" (0). In groups, each share of outputs sees its share of
    inputs.
    """
    return _convolved("conv1d", 1, input, weight, bias, stride, padding, dilation, groups)


@composed
def conv2d(
    input: Array, weight: Array, bias: Array = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
    groups: int = 1,
) -> Array:  # fmt: skip
    """conv1d over two axes: x (n, inputs, height, width), weight (outputs, inputs / groups, rows, columns)."""
    return _convolved("conv2d", 2, input, weight, bias, stride, padding, dilation, groups)


@composed
def conv_transpose1d(
    input: Array, weight: Array, bias: Array = None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0,
    groups: int = 1, dilation: Any = 1,
) -> Array:  # fmt: skip
    """The adjoint of conv1d in x: every x[n, c, i] adds x weight[c, o, k] to y[n, o, i stride + k dilation - padding].

    Shapes: x (n, inputs, length) or (inputs, length), weight (inputs, outputs / groups, kernel), bias (outputs,) or
    None. y is `output_padding` longer at its end than the windows reach.
    """
    return _convolved_back(
        "conv_transpose1d", 1, input, weight, bias, stride, padding, output_padding, groups, dilation
    )


@composed
def conv_transpose2d(
    input: Array, weight: Array, bias: Array = None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0,
    groups: int = 1, dilation: Any = 1,
) -> Array:  # fmt: skip
    """conv_transpose1d over two axes: x (n, inputs, height, width), weight (inputs, outputs / groups, *kernel)."""
    return _convolved_back(
        "conv_transpose2d", 2, input, weight, bias, stride, padding, output_padding, groups, dilation
    )
