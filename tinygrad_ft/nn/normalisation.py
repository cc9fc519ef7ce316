"""The layers that bring features to mean 0 and variance 1, beside LayerNorm."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ft import ops
from tinygrad_ft.nn.module import Module, Parameter
from tinygrad_ft.ops.update import counted_up
from tinygrad_ft.tensor import Tensor


class BatchNorm(Module):
    """Each channel brought to mean 0 and variance 1, then scaled by weight and shifted by bias.

    In training by the batch's own mean and variance, which also move running_mean and running_var by `momentum` of the
    way (None: so that these are the averages of all batches so far); in evaluation by those two. Without
    track_running_stats always by the batch's own. All are (num_features,); num_batches_tracked is one integer.
    """

    takes: tuple[int, ...]

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
        track_running_stats: bool = True,
    ):  # fmt: skip
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        self.weight = Parameter(np.ones(num_features, np.float32)) if affine else None
        self.bias = Parameter(np.zeros(num_features, np.float32)) if affine else None
        self.running_mean = self.running_var = self.num_batches_tracked = None
        if track_running_stats:
            self.register_buffer("running_mean", Tensor(np.zeros(num_features, np.float32)))
            self.register_buffer("running_var", Tensor(np.ones(num_features, np.float32)))
            self.register_buffer("num_batches_tracked", Tensor(np.zeros((), np.int64)))

    def forward(self, x: Any) -> Any:
        """x (n, num_features, ...) -> the same shape."""
        if x.ndim not in self.takes or x.shape[1] != self.num_features:
            axes = " or ".join(map(str, self.takes))
            raise ValueError(
                f"{type(self).__name__} needs x (n, {self.num_features}, ...) of {axes} axes: got {tuple(x.shape)}"
            )
        running: Any = self.running_mean, self.running_var
        share = self.momentum
        if self.training and self.num_batches_tracked is not None:
            counted_up(self.num_batches_tracked)
            share = 1.0 / self.num_batches_tracked.item() if share is None else share
        own = self.training or not self.track_running_stats
        return ops.batch_norm(x, *running, self.weight, self.bias, own, share or 0.0, self.eps)

    def extra_repr(self) -> str:
        """Its sizes."""
        how = f"affine={self.affine}, track_running_stats={self.track_running_stats}"
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, {how}"


class BatchNorm1d(BatchNorm):
    """BatchNorm of x (n, num_features) or (n, num_features, length)."""

    takes = (2, 3)


class BatchNorm2d(BatchNorm):
    """BatchNorm of x (n, num_features, height, width)."""

    takes = (4,)


class GroupNorm(Module):
    """Each group of channels brought to mean 0 and variance 1, then scaled and shifted channel by channel."""

    def __init__(self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True):
        super().__init__()
        if num_groups < 1 or num_channels % num_groups:
            raise ValueError(f"GroupNorm: {num_channels} channels do not divide into {num_groups} groups")
        self.num_groups, self.num_channels, self.eps, self.affine = num_groups, num_channels, eps, affine
        self.weight = Parameter(np.ones(num_channels, np.float32)) if affine else None
        self.bias = Parameter(np.zeros(num_channels, np.float32)) if affine else None

    def forward(self, x: Any) -> Any:
        """x (n, num_channels, ...) -> the same shape."""
        return ops.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """Its sizes."""
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}"


class RMSNorm(Module):
    """Each vector of the last axes divided by the root of its mean square, then scaled by weight."""

    def __init__(
        self, normalized_shape: int | tuple[int, ...], eps: float | None = None, elementwise_affine: bool = True
    ):
        super().__init__()
        self.normalized_shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.eps = eps
        self.weight = Parameter(np.ones(self.normalized_shape, np.float32)) if elementwise_affine else None

    def forward(self, x: Any) -> Any:
        """x (..., *normalized_shape) -> the same shape."""
        return ops.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        """Its sizes."""
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.weight is not None}"
