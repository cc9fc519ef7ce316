"""Images in another size: values between the pixels, and channels turned into pixels."""

from __future__ import annotations

from math import floor, prod
from typing import Any

import numpy as np

from tinygrad_ft.engine import Array
from tinygrad_ft.ops.arrange import repeat_interleave
from tinygrad_ft.ops.composed import composed
from tinygrad_ft.ops.index import index_select
from tinygrad_ft.ops.pooling import adapted, along, numbers_like
from tinygrad_ft.ops.shape import permute, reshape

__all__ = ["interpolate", "pixel_shuffle", "pixel_unshuffle"]

AXES = {"linear": 1, "bilinear": 2, "bicubic": 2, "trilinear": 3}
MODES = ("nearest", "nearest-exact", *AXES, "area")


@composed
def interpolate(
    input: Array, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
) -> Array:  # fmt: skip
    """x (n, channels, *size) brought to another size, or to floor(scale_factor times) its size.

    Pixels are squares unless align_corners: then they are points, of which the first and the last stay where they are.
    Modes: "nearest" (the pixel in which the new one's corner lies), "nearest-exact" (its centre), "linear", "bilinear"
    and "trilinear" (between the 2 nearest along each axis), "bicubic" (a cubic through 4), "area" (the mean of what the
    new pixel covers). A NaN or an infinity spreads along its row, except in "nearest".
    """
    n = input.ndim - 2
    if mode not in MODES or n not in (1, 2, 3) or AXES.get(mode, n) != n:
        known = ", ".join(map(repr, MODES))
        raise ValueError(f"interpolate: mode is one of {known}, for that many axes: got {mode!r}, {tuple(input.shape)}")
    if (size is None) == (scale_factor is None):
        raise ValueError("interpolate needs either size or scale_factor")
    if align_corners is not None and mode not in AXES:
        raise ValueError(f"interpolate: align_corners belongs to the linear and cubic modes, not to {mode!r}")
    given = scale_factor if size is None else size
    given = tuple(given) if isinstance(given, list | tuple) else (given,) * n
    old = tuple(input.shape[2:])
    sizes = tuple(floor(m * s) for m, s in zip(old, given, strict=False)) if size is None else given
    if len(given) != n or min(sizes) < 1 or 0 in input.shape[1:]:
        raise ValueError(f"interpolate needs {n} sizes of 1 or more: got {given} for {tuple(input.shape)}")
    if mode == "area":
        return adapted("interpolate", n, input, sizes)
    y = input
    for axis, (before, after, s) in enumerate(zip(old, sizes, given, strict=True), 2):
        step = before / after if size is not None or recompute_scale_factor else 1.0 / s
        times = round(1.0 / step)
        if mode in AXES:
            y = along(y, _weights(before, after, step, bool(align_corners), mode == "bicubic"), axis)
        elif after == times * before and abs(times * step - 1.0) < 1e-9:
            y = repeat_interleave(y, times, axis)
        else:  # PyTorch decides in float32 which pixel is meant
            at = np.arange(after, dtype=np.float32) + np.float32(0.5 if mode == "nearest-exact" else 0.0)
            at = np.minimum((at * np.float32(step)).astype(np.int64), before - 1)
            y = index_select(y, axis, numbers_like(y, numbers=at))
    return y


def _weights(before: int, after: int, step: float, corners: bool, cubic: bool) -> Any:
    """The matrix from old pixels to new ones: a row holds what each old one counts."""
    at = np.arange(after) * ((before - 1) / max(after - 1, 1)) if corners else (np.arange(after) + 0.5) * step - 0.5
    at = at if cubic else np.maximum(at, 0.0)
    left = np.floor(at).astype(np.int64)
    y = np.zeros((after, before))
    for i in range(-1, 3) if cubic else range(2):
        far = np.abs(at - left - i)
        w = 1.0 - far
        if cubic:  # Keys, "Cubic Convolution Interpolation", 1981, eq. 15, with a = -0.75
            w = np.where(far <= 1, (1.25 * far - 2.25) * far**2 + 1, -0.75 * (((far - 5) * far + 8) * far - 4))
        np.add.at(y, (np.arange(after), np.clip(left + i, 0, before - 1)), w)
    return y


@composed
def pixel_shuffle(input: Array, upscale_factor: int) -> Array:
    """Every r^2 channels become r x r pixels: (..., c r^2, h, w) -> (..., c, h r, w r), r the upscale_factor."""
    r, (*lead, c, h, w) = upscale_factor, _image(input, "pixel_shuffle", upscale_factor)
    if c % r**2:
        raise ValueError(f"pixel_shuffle needs a multiple of {r}^2 channels: got {tuple(input.shape)}")
    y = reshape(input, (prod(lead), c // r**2, r, r, h, w))
    return reshape(permute(y, (0, 1, 4, 2, 5, 3)), (*lead, c // r**2, h * r, w * r))


@composed
def pixel_unshuffle(input: Array, downscale_factor: int) -> Array:
    """Every r x r pixels become r^2 channels: (..., c, h r, w r) -> (..., c r^2, h, w), r the downscale_factor."""
    r, (*lead, c, h, w) = downscale_factor, _image(input, "pixel_unshuffle", downscale_factor)
    if h % r or w % r:
        raise ValueError(f"pixel_unshuffle needs a height and a width that divide by {r}: got {tuple(input.shape)}")
    y = reshape(input, (prod(lead), c, h // r, r, w // r, r))
    return reshape(permute(y, (0, 1, 3, 5, 2, 4)), (*lead, c * r**2, h // r, w // r))


def _image(x: Array, name: str, factor: int) -> tuple[int, ...]:
    if x.ndim < 3 or factor < 1:
        raise ValueError(
            f"{name} needs x (..., channels, height, width) and a factor of 1 or more: got {tuple(x.shape)}"
        )
    return tuple(x.shape)
