"""A digest of all that decides what a function compiles to: its code, and whatever that refers to."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

LEAVES = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis))


class NotFixed(Exception):
    """The function refers to something whose meaning cannot be written down, so what it compiles to cannot be kept."""


def digest(*parts: Any) -> str:
    """24 hexadecimal digits that differ wherever one of the parts does.

    Raises:
        NotFixed: if a part cannot be told from another one in a later process.
    """
    sha = hashlib.sha256()
    seen: set[int] = set()
    for part in parts:
        for word in _words(part, seen):
            sha.update(word.encode())
            sha.update(b"\0")
    return sha.hexdigest()[:24]


def _words(part: Any, seen: set[int]) -> Iterator[str]:
    yield type(part).__name__
    if isinstance(part, LEAVES):
        yield repr(part)
    elif isinstance(part, np.generic | np.ndarray):
        yield f"{part.dtype} {part.shape} {part.tobytes().hex()}"
    elif isinstance(part, tuple | list):
        yield str(len(part))
        for item in part:
            yield from _words(item, seen)
    elif isinstance(part, frozenset):
        yield repr(sorted(map(repr, part)))
    elif isinstance(part, type):
        yield f"{part.__module__}.{part.__qualname__}"
    elif isinstance(part, CodeType):
        yield from _code(part, seen)
    elif isinstance(part, ModuleType):
        yield part.__name__
        if _ours(part.__name__):
            yield _text(part)
    elif isinstance(part, BuiltinFunctionType | np.ufunc):
        yield f"{getattr(part, '__module__', '')}.{part.__name__}"
    else:
        function = _function(part)
        if function is None:
            if not type(part).__module__.startswith(("numba.", "numba_cuda.", "llvmlite.")):
                raise NotFixed(f"{type(part).__name__} {part!r}"[:200])
            yield str(part)  # a type of Numba's, or a stub such as cuda.syncthreads: its name is its meaning
        elif id(function) not in seen:
            seen.add(id(function))
            yield from _of_function(function, seen)


def _ours(module: str) -> bool:
    """Whether a module's text may change while the versions of the installed packages stay."""
    return module.partition(".")[0] not in ("numba", "numba_cuda", "math", "operator", "numpy", "llvmlite", "builtins")


def _text(module: ModuleType) -> str:
    file = getattr(module, "__file__", None)
    if file is None or not file.endswith(".py"):
        raise NotFixed(f"module {module.__name__}, which has no source file")
    return Path(file).read_text(encoding="utf-8")


def _function(part: Any) -> FunctionType | None:
    """The Python function in what Numba or a decorator made of one."""
    for name in ("py_func", "_defn", "function", "__wrapped__"):  # a dispatcher, an intrinsic, a Kernel of ours
        inner = getattr(part, name, None)
        if isinstance(inner, FunctionType):
            return inner
    return part if isinstance(part, FunctionType) else None


def _of_function(function: FunctionType, seen: set[int]) -> Iterator[str]:
    if not _ours(function.__module__ or ""):
        yield f"{function.__module__}.{function.__qualname__}"
        return
    yield from _code(function.__code__, seen)
    yield from _words(function.__defaults__ or (), seen)
    cells = function.__closure__ or ()
    for name, cell in zip(function.__code__.co_freevars, cells, strict=True):
        yield name
        yield from _words(_held(cell), seen)
    for name in sorted(_names(function.__code__)):
        if name in function.__globals__:
            yield name
            yield from _words(function.__globals__[name], seen)


def _held(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # a function that refers to itself before it has a name
        raise NotFixed("a variable that has no value yet") from None


def _names(code: CodeType) -> set[str]:
    inner = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return set(code.co_names).union(*map(_names, inner))


def _code(code: CodeType, seen: set[int]) -> Iterator[str]:
    """The file and lines belong to it: the PTX names them, and the emulator shows them."""
    yield f"{code.co_name} {code.co_filename} {code.co_firstlineno} {code.co_linetable.hex()} {code.co_code.hex()}"
    yield repr((code.co_names, code.co_varnames, code.co_freevars, code.co_argcount))
    yield from _words(code.co_consts, seen)
