"""GGUF, the format of llama.cpp: typed metadata, then tensors, most of them in blocks of few bits a number.

Source: the format's description, docs/gguf.md of github.com/ggml-org/ggml, versions 2 and 3, little-endian.
"""

from __future__ import annotations

import os
import struct
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

NUMBERS = {0: "B", 1: "b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 10: "<Q", 11: "<q", 12: "<d"}
FLAG, TEXT, ARRAY = 7, 8, 9
MOST_AXES, DEEPEST = 4, 4
LARGEST = 1 << 58  # numbers in an array: NumPy counts their bytes in 63 bits
PLAIN = {0: "<f4", 1: "<f2", 24: "i1", 25: "<i2", 26: "<i4", 27: "<i8", 28: "<f8"}  # ggml's types that NumPy has too
BFLOAT16 = 30

# ggml's number of a type: its name, how many numbers a block has, and how many bytes
BLOCKS = {
    2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22), 7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34),
    10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110), 12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
}  # fmt: skip


class GGUF:
    """A file of version 2 or 3, mapped into memory.

    Attributes:
        metadata: names and values: numbers, flags, texts, lists of these.
        names: of the tensors, in the order of the file.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it is not a whole GGUF file, or a tensor would lie outside it, with what is wrong.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        size = self.path.stat().st_size
        self._whole: Any = np.memmap(self.path, np.uint8, mode="r").view(np.ndarray) if size else np.empty(0, np.uint8)
        self._at = 0
        if bytes(self._take(4)) != b"GGUF":
            raise self._not_whole("it does not begin with GGUF")
        version = self._number("<I")
        if version not in (2, 3):
            raise self._not_whole(f"its version is {version}, and 2 and 3 can be read")
        tensors, values = self._number("<Q"), self._number("<Q")
        self._require_room(tensors, 24, "tensors")
        self._require_room(values, 12, "values")
        self.metadata: dict[str, Any] = {}
        for _ in range(values):
            name = self._text()
            if name in self.metadata:
                raise self._not_whole(f"{name!r:.80} comes twice")
            self.metadata[name] = self._value(self._number("<I"), 0)
        described = [(self._text(), self._shape(), self._number("<I"), self._number("<Q")) for _ in range(tensors)]
        self._places = self._placed(described)

    @property
    def names(self) -> list[str]:
        """Of the tensors, in the order of the file."""
        return list(self._places)

    def shape(self, name: str) -> tuple[int, ...]:
        """Of a tensor, without reading it; KeyError if there is none of that name."""
        return tuple(self._places[name][3])

    def tensor(self, name: str) -> np.ndarray[Any, Any]:
        """A tensor as numbers: what is stored in blocks becomes float32; plain numbers stay as they are, and mapped.

        Raises:
            KeyError: if there is none of that name.
            ValueError: if the package `gguf`, which knows the blocks, is not installed.
        """
        begin, end, kind, shape = self._places[name]
        raw = self._whole[begin:end]
        if not raw.size:
            return np.empty(shape, PLAIN.get(kind, np.float32))
        if kind in PLAIN:
            plain: np.ndarray[Any, Any] = np.frombuffer(raw, PLAIN[kind]).reshape(shape)
            return plain
        if kind == BFLOAT16:
            wide: np.ndarray[Any, Any] = (raw.view("<u2").astype(np.uint32) << 16).view(np.float32).reshape(shape)
            return wide
        try:
            from gguf import GGMLQuantizationType
            from gguf.quants import dequantize
        except ImportError:
            raise ValueError(
                f"{self.path} holds {BLOCKS[kind][0]} blocks, which the package gguf reads: "
                "pip install 'tinygrad-ft[pretrained]'"
            ) from None
        rows = raw.reshape(*shape[:-1], shape[-1] // BLOCKS[kind][1] * BLOCKS[kind][2])
        numbers: np.ndarray[Any, Any] = dequantize(rows, GGMLQuantizationType(kind))
        return numbers.astype(np.float32, copy=False)

    # reading, always within what is left

    def _take(self, count: int) -> Any:
        if count > self._whole.size - self._at:
            left = self._whole.size - self._at
            raise self._not_whole(f"{count} bytes are needed at byte {self._at}, and {left} are left")
        self._at += count
        return self._whole[self._at - count : self._at]

    def _number(self, form: str) -> Any:
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _text(self) -> str:
        raw = bytes(self._take(self._number("<Q")))
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            raise self._not_whole(f"the text before byte {self._at} is not UTF-8") from None

    def _value(self, kind: int, depth: int) -> Any:
        if kind in NUMBERS:
            return self._number(NUMBERS[kind])
        if kind == FLAG:
            return self._number("B") != 0
        if kind == TEXT:
            return self._text()
        if kind != ARRAY or depth == DEEPEST:
            raise self._not_whole(f"the value before byte {self._at} is of type {kind}, {depth} lists deep")
        of, count = self._number("<I"), self._number("<Q")
        if of in NUMBERS:
            form = np.dtype(NUMBERS[of])
            self._require_room(count, form.itemsize, "numbers")
            return self._take(count * form.itemsize).view(form).tolist()
        self._require_room(count, {FLAG: 1, TEXT: 8}.get(of, 12), "elements")
        return [self._value(of, depth + 1) for _ in range(count)]

    def _shape(self) -> tuple[int, ...]:
        axes = self._number("<I")
        if axes > MOST_AXES:
            raise self._not_whole(f"a tensor would have {axes} axes, and at most {MOST_AXES} are allowed")
        return tuple(self._number("<Q") for _ in range(axes))[::-1]  # the file has the innermost axis first

    def _require_room(self, count: int, least: int, what: str) -> None:
        left = self._whole.size - self._at
        if count > left // least:
            raise self._not_whole(f"{count} {what} would begin at byte {self._at}, and {left} bytes are left")

    def _placed(self, described: list[tuple[str, tuple[int, ...], int, int]]) -> dict[str, Any]:
        """Where each tensor begins and ends, its type and shape."""
        alignment = self.metadata.get("general.alignment", 32)
        if type(alignment) is not int or not 1 <= alignment <= 1 << 20:
            raise self._not_whole(f"its alignment is {alignment!r:.40}")
        start, size = -(-self._at // alignment) * alignment, self._whole.size
        places: dict[str, Any] = {}
        for name, shape, kind, offset in described:
            if name in places:
                raise self._not_whole(f"{name!r:.80} comes twice")
            begin, needed = start + offset, self._bytes(name, shape, kind)
            if needed and (offset % alignment or begin + needed > size):
                raise self._not_whole(f"{name!r:.80} would lie at {begin} to {begin + needed} of {size} bytes")
            places[name] = (begin, begin + needed, kind, shape) if needed else (0, 0, kind, shape)
        return places

    def _bytes(self, name: str, shape: tuple[int, ...], kind: int) -> int:
        count = prod(shape)
        if count > self._whole.size * 32 or prod(n for n in shape if n) > LARGEST:  # a number has a bit at least
            raise self._not_whole(f"{name!r:.80} has the shape {shape}")
        if kind in PLAIN:
            return count * np.dtype(PLAIN[kind]).itemsize
        if kind == BFLOAT16:
            return 2 * count
        if kind not in BLOCKS:
            raise ValueError(f"{self.path}: {name!r:.80} is of ggml's type {kind}, which cannot be read here")
        _, numbers, length = BLOCKS[kind]
        if not shape or shape[-1] % numbers:
            raise self._not_whole(f"{name!r:.80} has rows of {shape[-1:]} numbers, and its blocks have {numbers}")
        return count // numbers * length

    def _not_whole(self, why: str) -> ValueError:
        return ValueError(f"{self.path} is not a whole GGUF file: {why}; it may have been cut off: get it again")
