"""Changed copies of images to train on: shifted, turned, mirrored, noisy; and batches in which they are always fresh.

Images are grey, (n, height, width) or (n, height * width); each is changed by a chance of its own. Shapes and dtypes
are kept: whole numbers are rounded and stay in the range of their dtype, floats stay in the range they had, except
under noise.

Sources: Simard, Steinkraus and Platt, "Best Practices for Convolutional Neural Networks Applied to Visual Document
Analysis", 2003 (shifts and turns); Bishop, "Training with Noise is Equivalent to Tikhonov Regularization", 1995.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from .sampling import drawn_for

CHANGES = 3  # the purpose of this file's chance, beside those of sampling
Images = npt.NDArray[Any]
Size = tuple[int, int]


def shift(
    images: Images, most: int, *, rng: np.random.Generator, size: Size | None = None, background: float = 0.0
) -> Images:
    """Each image moved by whole pixels, from -most to most down and across; what leaves the frame is lost.

    Args:
        size: (height, width), if the images are rows that are not squares.
        background: the grey level that comes in at the edges.

    Raises:
        ValueError: if `most` is negative, the images are no images, or rows do not have that size.
    """
    _require("shift", most >= 0, f"most of 0 or more: got {most}")
    stack = _as_stack(images, size)
    n, height, width = stack.shape
    padded = np.pad(stack, ((0, 0), (most, most), (most, most)), constant_values=background)
    down, across = rng.integers(0, 2 * most + 1, size=(2, n, 1, 1))
    rows, columns = np.arange(height)[:, None] + down, np.arange(width) + across
    moved: Images = padded[np.arange(n)[:, None, None], rows, columns]
    return moved.reshape(images.shape)


def flip(images: Images, chance: float, *, rng: np.random.Generator, size: Size | None = None) -> Images:
    """Each image mirrored left to right with that chance. Not for digits and letters: a mirrored 2 is none.

    Args and Raises: as of `shift`; the chance is from 0 to 1.
    """
    _require("flip", 0 <= chance <= 1, f"a chance from 0 to 1: got {chance}")
    stack = _as_stack(images, size)
    mirrored = rng.random(len(stack)) < chance
    flipped: Images = np.where(mirrored[:, None, None], stack[:, :, ::-1], stack)
    return flipped.reshape(images.shape)


def rotate(
    images: Images, degrees: float, *, rng: np.random.Generator, size: Size | None = None, background: float = 0.0
) -> Images:
    """Each image turned about its middle by an angle from -degrees to degrees, neighbouring pixels mixed linearly.

    Args and Raises: as of `shift`; degrees are 0 or more.
    """
    _require("rotate", degrees >= 0, f"degrees of 0 or more: got {degrees}")
    from scipy import ndimage

    stack = _as_stack(images, size)
    if degrees == 0:
        return images.copy()
    turned = [
        ndimage.rotate(image.astype(np.float64), angle, reshape=False, order=1, cval=background)
        for image, angle in zip(stack, rng.uniform(-degrees, degrees, len(stack)), strict=True)
    ]
    return _of_dtype(np.array(turned), images.dtype).reshape(images.shape)


def noise(images: Images, deviation: float, *, rng: np.random.Generator) -> Images:
    """Normal noise of that standard deviation, in grey levels, added to each pixel; floats may leave their range.

    Args:
        images: any shape.

    Raises:
        ValueError: if the deviation is negative.
    """
    _require("noise", deviation >= 0, f"a deviation of 0 or more: got {deviation}")
    if deviation == 0:
        return images.copy()
    return _of_dtype(images + deviation * rng.standard_normal(images.shape), images.dtype)


def augment_images(
    images: Images,
    *,
    rng: np.random.Generator,
    most: int = 1,
    degrees: float = 0.0,
    deviation: float = 0.0,
    chance: float = 0.0,
    size: Size | None = None,
    background: float = 0.0,
) -> Images:
    """Each image mirrored with `chance`, turned by `degrees`, shifted by `most` pixels, with noise of `deviation`.

    The usual values shift by one pixel and do nothing else.

    Args and Raises: as of `flip`, `rotate`, `shift` and `noise`.
    """
    images = flip(images, chance, rng=rng, size=size)
    images = rotate(images, degrees, rng=rng, size=size, background=background) if degrees else images
    images = shift(images, most, rng=rng, size=size, background=background)
    return noise(images, deviation, rng=rng)


class Augmented:
    """Batches whose first array is changed anew each time: `augmented[i]` is (change(x, rng=...), *others).

    The chance of batch i follows from the seed and i alone, so that a resumed run goes on with the same images.

    Args:
        batches: of `Shuffled` or its like; batches[i] is a tuple of arrays.
        change: change(x, rng=rng) answers an array of x's shape and dtype, such as `augment_images`, or a `partial` of
            it with other strengths.
    """

    def __init__(self, batches: Any, change: Callable[..., Images] = augment_images, *, seed: int):
        self.batches, self.change, self.seed = batches, change, seed

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, i: int) -> tuple[Images, ...]:
        x, *others = self.batches[i]
        return self.change(x, rng=drawn_for(self.seed, CHANGES, i)), *others


def _as_stack(images: Images, size: Size | None) -> Images:
    """The images as (n, height, width)."""
    if images.ndim == 3 and size in (None, images.shape[1:]):
        return images
    if images.ndim == 2:
        side = isqrt(images.shape[1])
        height, width = size or (side, side)
        if height * width == images.shape[1]:
            return images.reshape(len(images), height, width)
    raise ValueError(
        f"images are (n, height, width), or (n, height * width) with size=(height, width) if they are no squares: "
        f"got shape {images.shape} and size={size}"
    )


def _of_dtype(values: npt.NDArray[np.floating], dtype: np.dtype[Any]) -> Images:
    if dtype.kind in "iu":
        most = np.iinfo(dtype)
        values = np.rint(values).clip(most.min, most.max)
    changed: Images = values.astype(dtype)
    return changed


def _require(name: str, holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(f"{name} needs {what}")
