"""What a recording is made of: stretches of memory, views of them, and lines that read and write these."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple
from weakref import ref as weak
from zlib import crc32

import numpy as np

from tinygrad_ft.engine import Node
from tinygrad_ft.watch import Place

FRESH, ARGUMENT, HELD, GRADIENT, EACH_TIME = "made by an op", "an argument", "held", "a gradient", "made each time"


class JitError(RuntimeError):
    """A step that cannot be recorded, or is not the same twice. The step still runs without jit."""


class Ref(NamedTuple):
    """A view of a root: where it begins, in bytes, and how its elements lie."""

    root: int
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: np.dtype[Any]


class Root:
    """A stretch of memory that a step reads or writes.

    `kind` says where it comes from, `owner` the Tensor that holds it (or whose gradient it is), if one does. What an op
    made lives as long as the step itself holds it: `gone` is called when it is no more.
    """

    __slots__ = ("_array", "before", "dtype", "kind", "nbytes", "overwritten", "owner", "seen", "shape")

    def __init__(self, kind: str, array: Any, owner: Any = None, gone: Callable[[Any], object] | None = None):
        self.kind, self.owner, self.nbytes = kind, owner, array.nbytes
        self.shape, self.dtype = array.shape, array.dtype
        self._array: Callable[[], Any] = weak(array, gone) if kind is FRESH else lambda: array
        self.seen = checksum(flat(array))  # so that a change past all ops is noticed
        self.before: Any = None  # its numbers before an op first wrote into what was there before the step
        self.overwritten = False

    @property
    def array(self) -> Any:
        """The array that owns the memory; None if an op made it, and it is no more."""
        return self._array()

    def let_go(self) -> None:
        """Keep the array no longer."""
        self._array = lambda: None

    @property
    def bytes(self) -> Any:
        """The memory, which is still there."""
        return flat(self.array)

    def changed(self) -> bool:
        """Whether the numbers are others than those that were noted, if it is still there."""
        array = self.array
        return array is not None and checksum(flat(array)) != self.seen


class Line(NamedTuple):
    """One op and what it was called with: a Ref for each array, or the number that stood there."""

    op: Any
    inputs: tuple[Any, ...]
    params: dict[str, Any]
    outputs: tuple[Ref, ...]
    several: bool
    place: Place


class Leaf(NamedTuple):
    """A leaf that the step met, its node, and whether it had a gradient at that time."""

    tensor: Any
    node: Node
    had: bool


def flat(array: Any) -> Any:
    """The memory of an array that owns it, as bytes."""
    return array.ravel(order="K").view(np.uint8) if array.size else np.empty(0, np.uint8)


def dense(a: Any) -> bool:
    """Whether its elements fill a stretch of memory, in whatever order of axes."""
    extent = sum((n - 1) * s for n, s in zip(a.shape, a.strides, strict=True)) + a.itemsize
    return a.size == 0 or (extent == a.nbytes and min(a.strides, default=0) >= 0)


def checksum(of: Any) -> int:
    """A sum over the bytes in their order, cheap enough for every array of a step."""
    if of.size < 1 << 16:
        return crc32(of)
    whole = (
        of.size // 512 * 512
    )  # sums of rows and of columns of words, which a change of place changes too, are quicker
    words = of[:whole].view(np.uint64).reshape(-1, 64)
    return crc32(words.sum(axis=1), crc32(words.sum(axis=0), crc32(of[whole:])))


def owner_of(a: Any) -> Any:
    """The array that owns the memory of this one; itself, if that memory has gaps."""
    base = a
    while base.base is not None:  # between a strided view and its array stands an object of NumPy's
        below = base.base if type(base.base) is np.ndarray else getattr(base.base, "base", None)
        if type(below) is not np.ndarray:
            break
        base = below
    return base if dense(base) else a


def address(array: Any) -> int:
    """Where its first element lies."""
    return int(array.__array_interface__["data"][0])


def overwritten_by(op: Any, n: int) -> list[int]:
    """Which inputs an op writes into."""
    return [i for at in getattr(op, "overwritten", ()) for i in (range(n + 1)[at] if isinstance(at, slice) else [at])]
