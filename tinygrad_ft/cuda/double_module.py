"""The array module of the device `emulator`: stands where CuPy stands, with NumPy's functions behind CuPy's names."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from tinygrad_ft.cuda import contract
from tinygrad_ft.cuda.double import DoubleArray, called, unwrapped, wrapped
from tinygrad_ft.cuda.double_random import Random
from tinygrad_ft.cuda.synchronisations import copied, waited

FROM_HOST = {"array", "asarray", "asanyarray", "ascontiguousarray", "asfortranarray"}  # these alone take NumPy's arrays


class Function:
    """One function of the module; of a ufunc also `at`, `reduce` and so on, where CuPy has them."""

    def __init__(self, path: str, of_numpy: Any):
        self._path, self._of_numpy = path, of_numpy
        self.__name__, self.__doc__ = path.rpartition(".")[2], of_numpy.__doc__

    def __repr__(self) -> str:
        return f"<{self._path} of the device double>"

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """What NumPy's function answers, if CuPy takes the call."""
        return called(self._path, self._of_numpy, arguments, keywords)

    def __getattr__(self, name: str) -> Any:
        return _named(f"{self._path}.{name}", self._of_numpy, name)


class Moves(Function):
    """One of the functions that take arrays of the host, which are copied."""

    def __call__(self, x: Any, *arguments: Any, **keywords: Any) -> Any:
        """A copy on the device, if x is of the host."""
        if isinstance(x, DoubleArray) or (isinstance(x, list | tuple) and _holds_doubles(x)):
            return super().__call__(x, *arguments, **keywords)
        copied(self.__name__)
        copy = {**keywords, "copy": True} if self.__name__ == "array" else keywords
        contract.hold(self._path, (x, *arguments), keywords)
        return DoubleArray(np.array(self._of_numpy(x, *unwrapped(arguments), **unwrapped(copy))))


class Fresh(Function):
    """`empty` or `empty_like`: NaN, or the largest bytes, so that who forgets to write a number is found out."""

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """An array that holds no number yet."""
        made = super().__call__(*arguments, **keywords)
        made._memory.fill(np.nan if made.dtype.kind in "fc" else -1 if made.dtype.kind == "i" else ~made.dtype.type(0))
        return made


class Grid:
    """`ogrid` or `mgrid`."""

    def __init__(self, of_numpy: Any):
        self._of_numpy = of_numpy

    def __getitem__(self, key: Any) -> Any:
        return wrapped(self._of_numpy[key], [])


class Module:
    """CuPy, or a module in it: what NumPy and CuPy both have."""

    def __init__(self, path: str, of_numpy: ModuleType):
        self._path, self._of_numpy = path, of_numpy

    def __repr__(self) -> str:
        return f"<{self._path} of the device double>"

    def __getattr__(self, name: str) -> Any:
        found = _named(f"{self._path}.{name}", self._of_numpy, name)
        self.__dict__[name] = found
        return found


def _holds_doubles(x: Any) -> bool:
    return any(isinstance(part, DoubleArray) or (isinstance(part, list | tuple) and _holds_doubles(part)) for part in x)


def _named(path: str, owner: Any, name: str) -> Any:
    """What stands in the double under CuPy's `path`, as NumPy has it in `owner` under that name."""
    if name.startswith("_") or not hasattr(owner, name) or not contract.has(path):
        raise AttributeError(f"CuPy has no {path.partition('.')[2]}", name=name)
    found = getattr(owner, name)
    if isinstance(found, ModuleType):
        return Module(path, found)
    if name in ("ogrid", "mgrid"):
        return Grid(found)
    if isinstance(found, type) or not callable(found):
        return found
    if name in ("empty", "empty_like"):
        return Fresh(path, found)
    return (Moves if name in FROM_HOST else Function)(path, found)


def asnumpy(x: Any) -> np.ndarray[Any, Any]:
    """A copy on the host."""
    if not isinstance(x, DoubleArray):
        return np.asarray(x)
    waited("asnumpy")
    return x._memory.copy()


xp: Any = Module("cupy", np)
xp.ndarray, xp.asnumpy, xp.random = DoubleArray, asnumpy, Random()
