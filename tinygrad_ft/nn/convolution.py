"""The layers of convolutional nets: convolutions and pooling."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from tinygrad_ft import ops
from tinygrad_ft.nn import init
from tinygrad_ft.nn.module import Module, Parameter
from tinygrad_ft.ops.convolution import numbers
from tinygrad_ft.ops.random import Rng


class Conv(Module):
    """What convolutions have in common: a kernel, how it is moved, and initial values.

    Weights and bias start uniform within 1 / sqrt(the second axis of weight times the places of the kernel), as
    PyTorch's do.
    """

    axes: int
    transposed = False

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0,
        dilation: Any = 1, groups: int = 1, bias: bool = True, *, rng: Rng = None,
    ):  # fmt: skip
        super().__init__()
        name = type(self).__name__
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(f"{name}: {in_channels} and {out_channels} channels do not divide into {groups} groups")
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = numbers(name, "kernel_size", kernel_size, self.axes, 1)
        self.stride, self.padding, self.dilation = stride, padding, dilation
        first, second = (in_channels, out_channels) if self.transposed else (out_channels, in_channels)
        shape = (first, second // groups, *self.kernel_size)
        bound = prod(shape[1:]) ** -0.5 if prod(shape[1:]) else 0.0
        self.weight = Parameter(np.empty(shape, np.float32))
        init.uniform_(self.weight, -bound, bound, rng)
        self.bias = Parameter(np.empty(out_channels, np.float32)) if bias else None
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound, rng)

    def extra_repr(self) -> str:
        """Its sizes."""
        how = f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding!r}"
        more = f"dilation={self.dilation}, groups={self.groups}, bias={self.bias is not None}"
        return f"{self.in_channels}, {self.out_channels}, {how}, {more}"


class Conv1d(Conv):
    """A kernel moved along x, a product at each place; see ops.conv1d.

    Shapes: x (n, in_channels, length) -> y (n, out_channels, places), n may be left out; weight
    (out_channels, in_channels / groups, kernel_size), bias (out_channels,).
    """

    axes = 1

    def forward(self, x: Any) -> Any:
        """x (n, in_channels, length) -> (n, out_channels, places)."""
        return ops.conv1d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class Conv2d(Conv):
    """A kernel moved over an image, a product at each place; see ops.conv2d.

    Shapes: x (n, in_channels, height, width) -> y (n, out_channels, rows, columns), n may be left out; weight
    (out_channels, in_channels / groups, *kernel_size), bias (out_channels,).
    """

    axes = 2

    def forward(self, x: Any) -> Any:
        """x (n, in_channels, height, width) -> (n, out_channels, rows, columns)."""
        return ops.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class ConvTranspose2d(Conv):
    """The adjoint of a Conv2d: each pixel puts a multiple of the kernel into a larger image; see ops.conv_transpose2d.

    Shapes: x (n, in_channels, height, width) -> y (n, out_channels, rows, columns), n may be left out; weight
    (in_channels, out_channels / groups, *kernel_size), bias (out_channels,).
    """

    axes, transposed = 2, True

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0,
        output_padding: Any = 0, groups: int = 1, bias: bool = True, dilation: Any = 1, *, rng: Rng = None,
    ):  # fmt: skip
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, rng=rng)
        self.output_padding = output_padding

    def forward(self, x: Any) -> Any:
        """x (n, in_channels, height, width) -> (n, out_channels, rows, columns)."""
        moved = self.stride, self.padding, self.output_padding, self.groups, self.dilation
        return ops.conv_transpose2d(x, self.weight, self.bias, *moved)


class MaxPool2d(Module):
    """The largest in each window of an image; see ops.max_pool2d."""

    def __init__(
        self, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, return_indices: bool = False,
        ceil_mode: bool = False,
    ):  # fmt: skip
        super().__init__()
        self.kernel_size, self.stride, self.padding, self.dilation = kernel_size, stride, padding, dilation
        self.return_indices, self.ceil_mode = return_indices, ceil_mode

    def forward(self, x: Any) -> Any:
        """x (n, channels, height, width) -> (n, channels, rows, columns)."""
        moved = self.kernel_size, self.stride, self.padding, self.dilation
        return ops.max_pool2d(x, *moved, self.ceil_mode, self.return_indices)

    def extra_repr(self) -> str:
        """Its sizes."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool2d(Module):
    """The mean of each window of an image; see ops.avg_pool2d."""

    def __init__(
        self, kernel_size: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False,
        count_include_pad: bool = True, divisor_override: int | None = None,
    ):  # fmt: skip
        super().__init__()
        self.kernel_size, self.stride, self.padding, self.ceil_mode = kernel_size, stride, padding, ceil_mode
        self.count_include_pad, self.divisor_override = count_include_pad, divisor_override

    def forward(self, x: Any) -> Any:
        """x (n, channels, height, width) -> (n, channels, rows, columns)."""
        moved = self.kernel_size, self.stride, self.padding, self.ceil_mode
        return ops.avg_pool2d(x, *moved, self.count_include_pad, self.divisor_override)

    def extra_repr(self) -> str:
        """Its sizes."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AdaptiveAvgPool2d(Module):
    """The means of as many stretches of an image's rows and columns as output_size says."""

    def __init__(self, output_size: Any):
        super().__init__()
        self.output_size = output_size

    def forward(self, x: Any) -> Any:
        """x (n, channels, height, width) -> (n, channels, *output_size)."""
        return ops.adaptive_avg_pool2d(x, self.output_size)

    def extra_repr(self) -> str:
        """Its size."""
        return f"output_size={self.output_size}"


class Flatten(Module):
    """The axes from start_dim to end_dim joined into one: all but the batch unless told."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1):
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Any) -> Any:
        """x (n, ...) -> (n, elements)."""
        return ops.flatten(x, self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        """Its axes."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"
