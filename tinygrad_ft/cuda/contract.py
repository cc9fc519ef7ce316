"""What CuPy says of a call, without a GPU: each new kind of call is made once on the real package.

Its arrays lie at a made-up address, so that CuPy checks names, keywords and kinds of arguments and then stops where it
first needs the driver. Where CuPy is not installed, or finds a GPU (which would really run), nothing is replayed. What
CuPy refuses only once it has reached the GPU stands in `ATOMIC`.
"""

from __future__ import annotations

import warnings
from functools import cache, reduce
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

SOMEWHERE, ROOM = 0x7F0000000000, 1 << 40  # an address and bytes around it that nobody ever looks at
SIMPLE = {int, float, bool, complex}
WHOLE = ("int32", "int64", "uint32", "uint64")
ATOMIC = {  # the dtypes in which CuPy 14.2 can add or compare where an index comes twice
    "cupy.add.at": (*WHOLE, "float16", "float32", "float64"),
    "cupy.subtract.at": ("int32", "uint32"),
    **dict.fromkeys(["cupy.maximum.at", "cupy.minimum.at"], (*WHOLE, "float32", "float64")),
    **dict.fromkeys(["cupy.bitwise_and.at", "cupy.bitwise_or.at", "cupy.bitwise_xor.at"], WHOLE),
}

_said: dict[Any, str] = {}  # by kind of call: what CuPy refuses it with, empty if it does not


class Refused(TypeError):
    """A call that CuPy would refuse, with CuPy's reason."""


@cache
def cupy() -> Any:
    """The package, if it is installed and finds no GPU; None otherwise."""
    if find_spec("cupy") is None:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a toolkit that it does not find, and does not need here
        try:
            package = import_module("cupy")
        except ImportError:
            return None
    return None if package.cuda.is_available() else package


def has(path: str) -> bool:
    """Whether CuPy has something of this dotted name; true of all names where it cannot be asked."""
    if cupy() is None:
        return True
    try:
        _found(path)
    except (AttributeError, ImportError):
        return False
    return True


def hold(path: str, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
    """Make sure that CuPy accepts the call of what it has under `path`, with arguments of these kinds.

    Raises:
        Refused: if it does not.
    """
    name = path.partition(".")[2]
    if path in ATOMIC and arguments[0].dtype.name not in ATOMIC[path]:
        raise Refused(f"CuPy refuses {name} of {arguments[0].dtype}: it takes {', '.join(ATOMIC[path])}")
    if cupy() is None:
        return
    kind = (path, _kind(arguments), _kind(keywords))
    said = _said.get(kind)
    if said is None:
        said = _said[kind] = _replayed(path, _fake(arguments), _fake(keywords))
    if said:
        raise Refused(f"CuPy refuses {name}: {said}")


def _replayed(path: str, arguments: Any, keywords: Any) -> str:
    package = cupy()
    stops = package.cuda.runtime.CUDARuntimeError, package.cuda.driver.CUDADriverError, ImportError  # of cuBLAS and kin
    try:
        _found(path)(*arguments, **keywords)
    except stops:
        return ""
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def _found(path: str) -> Any:
    """What CuPy has under a name such as cupy.linalg.svd, cupyx.scipy.special.erf or operator.add."""
    for module in ("cupyx.scipy.special", "operator"):
        if path.startswith(f"{module}."):
            return getattr(import_module(module), path.removeprefix(f"{module}."))
    return reduce(getattr, path.split(".")[1:], cupy())


def _kind(x: Any) -> Any:
    """What of an argument decides whether CuPy takes it."""
    if hasattr(x, "_memory"):
        return x.ndim, x.dtype.str, x.flags.c_contiguous
    if isinstance(x, np.ndarray):
        return np.ndarray, x.ndim, x.dtype.str
    if isinstance(x, list | tuple):
        return (type(x), *[_kind(part) for part in x])
    if isinstance(x, dict):
        return tuple((name, _kind(part)) for name, part in sorted(x.items()))
    if isinstance(x, slice):
        return slice, _kind((x.start, x.stop, x.step))
    return type(x) if type(x) in SIMPLE else repr(x)


def _fake(x: Any) -> Any:
    """The argument with CuPy's arrays in the place of ours, of the same shapes and strides."""
    if hasattr(x, "_memory"):
        memory = cupy().cuda.UnownedMemory(SOMEWHERE, ROOM, None, 0)
        pointer = cupy().cuda.MemoryPointer(memory, ROOM // 2)
        return cupy().ndarray(x.shape, x.dtype, memptr=pointer, strides=x.strides)
    if hasattr(x, "_draws"):  # a generator; its state would lie on the GPU
        return cupy().random.Generator.__new__(cupy().random.Generator)
    if isinstance(x, list | tuple):
        parts = [_fake(part) for part in x]
        return parts if isinstance(x, list) else tuple(parts)
    if isinstance(x, dict):
        return {name: _fake(part) for name, part in x.items()}
    return x
