"""The arguments of a compiled kernel as a flat list of words: Numba's ABI, for the emulator and for CuPy alike.

An array becomes 0, 0, size, itemsize, address, shape..., strides... (two pointers that only the host uses, then what
the kernel reads), each of 64 bits; a scalar stays as it is typed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import numpy as np

NULL = np.uint64(0)
WIDTHS: dict[type, Any] = {bool: np.bool_, int: np.int64, float: np.float32}


def is_array(argument: Any) -> bool:
    """Whether a kernel takes it as an array; NumPy's scalars have a dtype too, and are none."""
    return type(argument) not in WIDTHS and hasattr(argument, "dtype") and not isinstance(argument, np.generic)


def typed(scalar: Any) -> np.generic:
    """A scalar with the width that the kernel is compiled for: bool, int as int64, float as float32.

    Raises:
        TypeError: for anything else that is not a number of NumPy.
        OverflowError: for an integer beyond 64 bits.
    """
    width = WIDTHS.get(type(scalar))
    if width is not None:
        try:
            return width(scalar)  # type: ignore[no-any-return]
        except OverflowError:
            raise OverflowError(f"a kernel's integers have 64 bits, too few for {scalar}") from None
    if isinstance(scalar, np.generic) and scalar.dtype.kind in "biuf":
        return scalar
    raise TypeError(f"a kernel takes arrays of its device and numbers, not {type(scalar).__name__}")


def flat(arguments: Iterable[Any], address: Callable[[Any], int]) -> list[np.generic]:
    """The words that a launch hands over, `address(array)` being where an array begins."""
    words: list[np.generic] = []
    for argument in arguments:
        if is_array(argument):
            before, after = _around(argument.size, argument.dtype.itemsize, argument.shape, argument.strides)
            words += before
            words.append(np.uint64(address(argument)))
            words += after
        else:
            words.append(typed(argument))
    return words


@lru_cache(4096)
def _around(
    size: int, itemsize: int, shape: tuple[int, ...], strides: tuple[int, ...]
) -> tuple[tuple[np.generic, ...], tuple[np.generic, ...]]:
    """The words before an array's address and after it."""
    return (NULL, NULL, np.int64(size), np.int64(itemsize)), tuple(map(np.int64, (*shape, *strides)))
