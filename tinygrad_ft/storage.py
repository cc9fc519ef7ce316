"""Files: written whole or not at all, weights as safetensors. Nothing is ever unpickled."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from errno import EINVAL
from pathlib import Path
from threading import get_ident
from typing import Any

import numpy as np

from tinygrad_ft.formats import read_safetensors
from tinygrad_ft.tensor import Tensor


def write_atomically(path: str | os.PathLike[str], content: bytes | str) -> None:
    """Write a file so that at every moment either the old or the new one is there, whole, even if the power fails.

    Raises:
        OSError: if it cannot be written (no space, no permission, no folder, a device); the old file is untouched.
    """
    path = Path(path).resolve()  # through a symbolic link what it points to is replaced, not the link
    if path.exists() and not path.is_file():  # a rename would put a file in the place of /dev/null
        raise OSError(EINVAL, "is no regular file, so it cannot be written whole or not at all", str(path))
    data = content.encode() if isinstance(content, str) else content
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.{get_ident()}.unfinished")  # another one in each thread
    try:
        with open(unfinished, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except BaseException as error:
        with suppress(OSError):
            unfinished.unlink()
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, str(path)) from None  # the name that the caller knows
        raise
    sync_folder(path.parent)  # the rename itself must reach the disk


def sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    if hasattr(os, "O_DIRECTORY"):  # Windows cannot open a folder
        folder = os.open(path, os.O_RDONLY)
        try:
            os.fsync(folder)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from None
        finally:
            os.close(folder)


def save(state: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write named Tensors or arrays as a safetensors file, atomically.

    Raises:
        TypeError: if something in it is neither a Tensor nor an array, or its dtype has no place in such a file.
        OSError: if the file cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save as to_bytes

    arrays = {}
    for name, value in state.items():
        array = value.cpu().array if isinstance(value, Tensor) else value  # no copy: weights may be most of the memory
        if not isinstance(array, np.ndarray):
            raise TypeError(f"save takes named Tensors or arrays: {name!r} is {type(value).__name__}")
        arrays[name] = np.ascontiguousarray(array).reshape(array.shape)
    try:
        data = to_bytes(arrays)
    except SafetensorError as error:
        raise TypeError(f"save: {error}") from None
    write_atomically(path, data)


def load(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The named Tensors in a safetensors file, as constants.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not a whole safetensors file, with what is wrong.
    """
    return {name: Tensor(array.copy()) for name, array in read_safetensors(path).items()}


def read_json(path: str | os.PathLike[str]) -> Any:
    """What a JSON file holds.

    Raises:
        ValueError: if it is not JSON, with the place.
    """
    import json

    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # ValueError also of a number of thousands of digits
        raise ValueError(f"{path} is not JSON: {error}") from None
