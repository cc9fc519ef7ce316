"""safetensors: a JSON header that says where each tensor lies, then the bytes of all of them.

Source: the format's description in the README of github.com/huggingface/safetensors.
"""

from __future__ import annotations

import json
import os
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

LONGEST_HEADER = 100_000_000  # bytes: the format's own bound
MOST_AXES = 32
LARGEST = 1 << 58  # numbers in an array: NumPy counts their bytes in 63 bits

DTYPES = {
    "BOOL": "?", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4", "U64": "<u8",
    "I64": "<i8", "F16": "<f2", "BF16": "<u2", "F32": "<f4", "F64": "<f8", "C64": "<c8",
}  # fmt: skip
OF_OTHERS = {"F8_E4M3", "F8_E5M2", "F8_E8M0", "F4", "F6_E2M3", "F6_E3M2"}  # which NumPy does not have


def read_safetensors(path: str | os.PathLike[str]) -> dict[str, np.ndarray[Any, Any]]:
    """The named arrays in a file, mapped into memory: read-only, and read from the disk where they are looked at.

    bfloat16 becomes float32, in memory of its own; an empty array is no part of the map.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it is not a whole safetensors file, or a tensor would lie outside it, with what is wrong.
    """
    path = Path(path)
    size = path.stat().st_size
    header, start = _header(path, size)
    header.pop("__metadata__", None)
    places = {name: _place(path, name, described, size - start) for name, described in header.items()}
    _require_gapless(path, places, size - start)
    whole = np.memmap(path, np.uint8, mode="r") if size else np.empty(0, np.uint8)
    return {
        name: _array(whole[start + begin : start + end], dtype, shape)
        for name, (begin, end, dtype, shape) in places.items()
    }


def read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """The file's own words about itself: its header's `__metadata__`, names and texts; empty if there are none.

    Raises:
        As `read_safetensors` does of the header.
    """
    path = Path(path)
    header, _ = _header(path, path.stat().st_size)
    found: dict[str, str] = header.get("__metadata__", {})
    return found


def _header(path: Path, size: int) -> tuple[dict[str, Any], int]:
    """The header, and where it ends."""
    with open(path, "rb") as file:
        first = file.read(8)
        if len(first) < 8:
            raise _not_whole(path, f"it has {size} bytes, and the length of its header alone takes 8")
        length = int.from_bytes(first, "little")
        if length > LONGEST_HEADER:
            raise _not_whole(path, f"its header would have {length} bytes, and at most {LONGEST_HEADER} are allowed")
        if length > size - 8:
            raise _not_whole(path, f"its header would have {length} bytes, and {size - 8} are left")
        text = file.read(length)
    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=_without_repetition)
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        said = "it is nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split())
        raise _not_whole(path, f"its header is not JSON: {said}") from None
    if not isinstance(header, dict) or text[:1] != b"{":  # the format allows white space after the object only
        raise _not_whole(path, "its header is not a JSON object from its first byte on")
    metadata = header.get("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise _not_whole(path, "its __metadata__ is not an object of texts")
    return header, 8 + length


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name comes twice")
    return found


def _place(path: Path, name: str, described: Any, room: int) -> tuple[int, int, str, tuple[int, ...]]:
    """Where a tensor begins and ends, its dtype and shape, all of which fit together and into the file."""
    if not isinstance(described, dict) or described.keys() != {"dtype", "shape", "data_offsets"}:
        raise _not_whole(path, f"{name!r:.80} is not described by dtype, shape and data_offsets")
    dtype, shape, offsets = described["dtype"], described["shape"], described["data_offsets"]
    if isinstance(dtype, str) and dtype in OF_OTHERS:
        raise ValueError(f"{path} holds numbers of type {dtype}, which NumPy does not have")
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise _not_whole(path, f"{name!r:.80} has an unknown dtype {dtype!r:.40}")
    if not _are_counts(shape) or len(shape) > MOST_AXES:
        raise _not_whole(path, f"{name!r:.80} has the shape {shape!r:.80}")
    if not _are_counts(offsets) or len(offsets) != 2 or not offsets[0] <= offsets[1] <= room:
        raise _not_whole(path, f"{name!r:.80} would lie at {offsets!r:.80} of {room} bytes")
    needed = prod(shape) * np.dtype(DTYPES[dtype]).itemsize
    if offsets[1] - offsets[0] != needed:
        raise _not_whole(path, f"{name!r:.80} needs {needed} bytes and has {offsets[1] - offsets[0]}")
    if prod(n for n in shape if n) > LARGEST:  # beside a 0 anything fits, but NumPy counts it
        raise _not_whole(path, f"{name!r:.80} has the shape {shape!r:.80}")
    return offsets[0], offsets[1], dtype, tuple(shape)


def _are_counts(numbers: Any) -> bool:
    return isinstance(numbers, list) and all(type(n) is int and n >= 0 for n in numbers)


def _require_gapless(path: Path, places: dict[str, tuple[int, int, str, tuple[int, ...]]], room: int) -> None:
    """Tensors stand one after the other and fill the file: nothing is hidden in it, and none shares another's bytes."""
    at = 0
    for begin, end, name in sorted((begin, end, name) for name, (begin, end, _, _) in places.items()):
        if begin != at:
            raise _not_whole(path, f"{name!r:.80} begins at byte {begin} of the tensors, where {at} was expected")
        at = end
    if at != room:
        raise _not_whole(path, f"its tensors end after {at} bytes, and {room} are there")


def _array(raw: Any, dtype: str, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    if not raw.size:
        return np.empty(shape, np.float32 if dtype == "BF16" else DTYPES[dtype])
    numbers = raw.view(np.ndarray).view(DTYPES[dtype]).reshape(shape)
    if dtype == "BF16":  # the upper half of a float32
        wide: np.ndarray[Any, Any] = (numbers.astype(np.uint32) << 16).view(np.float32)
        return wide
    return numbers  # type: ignore[no-any-return]


def _not_whole(path: Path, why: str) -> ValueError:
    return ValueError(f"{path} is not a whole safetensors file: {why}; it may have been cut off: get it again")
