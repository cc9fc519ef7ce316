"""The device double: arrays of the device `emulator`, with NumPy inside, that refuse what CuPy refuses.

They wrap, since np.asarray takes the memory of any subclass of NumPy's without asking. Where the host would wait for a
GPU, or send it numbers, that is counted, see `synchronisations`; and each new kind of call is held against CuPy itself,
see `contract`. What CuPy leaves undefined (a[i] = v where an index comes twice) is refused too.
Source: "Differences between CuPy and NumPy", docs.cupy.dev/en/stable/user_guide/difference.html.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from tinygrad_ft.cuda import contract
from tinygrad_ft.cuda.contract import Refused
from tinygrad_ft.cuda.synchronisations import copied, waited

NUMBERS = "biufc"  # kinds of dtypes that CuPy has
PRIORITY = 100  # CuPy's: arrays of a larger one are asked first what a + b is


class Flags(NamedTuple):
    """How an array lies in memory, as far as CuPy tells."""

    c_contiguous: bool
    f_contiguous: bool
    owndata: bool


class DoubleArray:
    """An array that behaves as CuPy's do. `_memory` is NumPy's, in which kernels run."""

    __slots__ = ("_memory", "base")
    __array_priority__ = PRIORITY
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, memory: np.ndarray[Any, Any], base: DoubleArray | None = None):
        if memory.dtype.kind not in NUMBERS:
            raise Refused(f"CuPy has arrays of numbers and booleans only: got {memory.dtype}")
        self._memory, self.base = memory, base

    shape = property(lambda self: self._memory.shape)
    dtype = property(lambda self: self._memory.dtype)
    ndim = property(lambda self: self._memory.ndim)
    size = property(lambda self: self._memory.size)
    nbytes = property(lambda self: self._memory.nbytes)
    itemsize = property(lambda self: self._memory.itemsize)
    strides = property(lambda self: self._memory.strides)
    T = property(lambda self: wrapped(self._memory.T, [self]))
    mT = property(lambda self: wrapped(self._memory.mT, [self]))
    real = property(lambda self: wrapped(self._memory.real, [self]))
    imag = property(lambda self: wrapped(self._memory.imag, [self]))

    @property
    def flags(self) -> Flags:
        """How it lies in memory."""
        flags = self._memory.flags
        return Flags(flags.c_contiguous, flags.f_contiguous, self.base is None)

    def __len__(self) -> int:
        return len(self._memory)

    def __iter__(self) -> Iterator[DoubleArray]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        waited("repr")
        return repr(self._memory)

    __str__ = __repr__

    # where the host waits

    def get(self) -> np.ndarray[Any, Any]:
        """A copy on the host."""
        waited("get")
        return self._memory.copy()

    def item(self, *place: int) -> Any:
        """One element as a Python number."""
        waited("item")
        return self._memory.item(*place)

    def tolist(self) -> Any:
        """Nested lists of Python numbers."""
        waited("tolist")
        return self._memory.tolist()

    def __float__(self) -> float:
        waited("float")
        return float(self._memory)

    def __int__(self) -> int:
        waited("int")
        return int(self._memory)

    def __complex__(self) -> complex:
        waited("complex")
        return complex(self._memory)

    def __bool__(self) -> bool:
        waited("bool")
        return bool(self._memory)

    def __copy__(self) -> DoubleArray:
        return DoubleArray(self._memory.copy())

    def __deepcopy__(self, _: Any) -> DoubleArray:
        return DoubleArray(self._memory.copy())

    def __reduce__(self) -> Any:
        return _sent, (self.get(),)

    def set(self, host: np.ndarray[Any, Any]) -> None:
        """Overwrite it with numbers of the host."""
        if not isinstance(host, np.ndarray) or (host.shape, host.dtype) != (self.shape, self.dtype):
            raise Refused(f"set() takes a NumPy array of shape {self.shape} and dtype {self.dtype}")
        copied("set")
        self._memory[...] = host

    # NumPy's own functions

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise Refused("CuPy converts no array to NumPy's by itself: use .get(), or xp.asnumpy()")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **keywords: Any) -> Any:
        if any(_goes_first(x) for x in inputs):
            return NotImplemented
        path = f"cupy.{ufunc.__name__}" + ("" if method == "__call__" else f".{method}")
        if not contract.has(path):
            raise Refused(f"CuPy has no {path.removeprefix('cupy.')}")
        return called(path, getattr(ufunc, method), inputs, keywords)

    def __array_function__(self, function: Any, types: Any, arguments: Any, keywords: Any) -> Any:
        if any(getattr(kind, "__array_priority__", 0) > PRIORITY for kind in types):
            return NotImplemented
        path = f"cupy{function.__module__.removeprefix('numpy')}.{function.__name__}"
        if not contract.has(path):
            raise Refused(f"CuPy has no {path.removeprefix('cupy.')}")
        return called(path, function, arguments, keywords)

    # parts

    def __getitem__(self, key: Any) -> Any:
        parts = key if isinstance(key, tuple) else (key,)
        _check_indices(parts)
        if any(hasattr(part, "dtype") and part.dtype.kind == "b" for part in parts):
            waited("a boolean index")  # the answer's shape depends on its contents
        if all(isinstance(part, int | np.integer) for part in parts):  # a view even where a single number is left
            key = (*parts, ...)
        return called("operator.getitem", _part, (self, key), {})

    def __setitem__(self, key: Any, value: Any) -> None:
        parts = key if isinstance(key, tuple) else (key,)
        _check_indices(parts)
        if any(isinstance(part, DoubleArray) and part.dtype.kind != "b" for part in parts):
            times = np.zeros(self.shape, np.int64)
            np.add.at(times, unwrapped(key), 1)
            if times.max(initial=0) > 1:
                raise Refused("CuPy leaves undefined which number a[i] = v keeps where an index comes twice")
        called("operator.setitem", _put, (self, key, value), {})

    def __getattr__(self, name: str) -> Any:
        path = f"cupy.ndarray.{name}"
        method = None if name.startswith("_") else getattr(np.ndarray, name, None)
        if not callable(method) or not contract.has(path):
            raise AttributeError(f"CuPy's arrays have no {name}", name=name, obj=self)
        return lambda *arguments, **keywords: called(path, method, (self, *arguments), keywords)


def called(path: str, function: Callable[..., Any], arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    """What NumPy's function answers for the memory inside, as arrays of the double, if CuPy takes the call."""
    name = path.removeprefix("cupy.")
    doubles = _doubles(name, (*arguments, *keywords.values()))
    with np.errstate(all="ignore"):  # a GPU says nothing of such numbers
        answer = function(*unwrapped(arguments), **unwrapped(keywords))
    contract.hold(path, arguments, keywords)
    if name in WAITS or (name == "where" and len(arguments) == 1):
        waited(name)
    if isinstance(answer, int) and name in OF_ALL:
        answer = np.asarray(answer)
    return wrapped(answer, doubles)


WAITS = {  # how much they answer, or whether they go on, depends on contents
    *("nonzero", "flatnonzero", "argwhere", "unique", "bincount", "compress", "extract", "ndarray.nonzero"),
    *("ndarray.compress", "intersect1d", "setdiff1d", "trim_zeros", "array2string", "array_repr", "array_str", "save"),
}
OF_ALL = {"allclose", "array_equal", "array_equiv", "count_nonzero"}  # 0-d arrays in CuPy


def unwrapped(x: Any) -> Any:
    """NumPy's arrays in the place of the double's."""
    if isinstance(x, DoubleArray):
        return x._memory
    if type(x) in (list, tuple):
        return type(x)(map(unwrapped, x))
    if type(x) is dict:
        return {name: unwrapped(part) for name, part in x.items()}
    return x


def wrapped(answer: Any, doubles: list[DoubleArray]) -> Any:
    """The double's arrays in the place of NumPy's arrays and scalars; `doubles` are those that were given."""
    if isinstance(answer, np.ndarray):
        for given in doubles:
            if answer is given._memory:
                return given
        for given in doubles:
            if answer.base is not None and (answer.base is given._memory or answer.base is given._memory.base):
                return DoubleArray(answer, given if given.base is None else given.base)
        return DoubleArray(answer)
    if isinstance(answer, np.generic):
        return DoubleArray(np.asarray(answer))
    if isinstance(answer, tuple) and hasattr(answer, "_fields"):
        return type(answer)(*(wrapped(part, doubles) for part in answer))
    if isinstance(answer, list | tuple):
        return type(answer)(wrapped(part, doubles) for part in answer)
    return answer


def _doubles(name: str, given: Any) -> list[DoubleArray]:
    """The double's arrays among the arguments of a call; an array of the host among them is refused."""
    found: list[DoubleArray] = []
    for x in given:
        if isinstance(x, DoubleArray):
            found.append(x)
        elif isinstance(x, np.ndarray):
            raise Refused(f"{name}: an array of NumPy, of shape {x.shape}, among CuPy's: move it with xp.asarray first")
        elif isinstance(x, list | tuple):
            found += _doubles(name, x)
    return found


def _check_indices(parts: tuple[Any, ...]) -> None:
    for part in parts:
        if isinstance(part, np.ndarray | list):
            kind = "an array of NumPy" if isinstance(part, np.ndarray) else "a list"
            raise Refused(f"{kind} as an index would be copied to the GPU at each use: move it with xp.asarray first")


def _part(memory: Any, key: Any) -> Any:
    return memory[key]


def _put(memory: Any, key: Any, value: Any) -> None:
    if isinstance(value, list | tuple):
        raise Refused("CuPy stores arrays and numbers, no lists")
    memory[key] = value


def _sent(host: np.ndarray[Any, Any]) -> DoubleArray:
    """A copy on the device."""
    copied("asarray")
    return DoubleArray(host.copy())


def _goes_first(other: Any) -> bool:
    """Whether Python shall ask the other operand instead, as CuPy lets it."""
    return not isinstance(other, DoubleArray) and getattr(other, "__array_priority__", 0) > PRIORITY


def _operator(name: str, reflected: bool = False) -> Callable[..., Any]:
    function = getattr(np, UFUNCS.get(name, name))

    def apply(self: DoubleArray, other: Any) -> Any:
        if _goes_first(other):
            return NotImplemented
        pair = (other, self) if reflected else (self, other)
        return called(f"operator.{SPELLED.get(name, name)}", function, pair, {})

    return apply


def _in_place(name: str) -> Callable[..., Any]:
    function = getattr(np, UFUNCS.get(name, name))

    def apply(self: DoubleArray, other: Any) -> Any:
        called(f"operator.i{name}", lambda a, b: function(a, b, out=a, casting="same_kind"), (self, other), {})
        return self

    return apply


def _unary(name: str, function: Any) -> Callable[..., Any]:
    return lambda self: called(f"operator.{name}", function, (self,), {})


ARITHMETIC = ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor", "lshift", "rshift"]
UFUNCS = {
    **{"sub": "subtract", "mul": "multiply", "truediv": "true_divide", "floordiv": "floor_divide", "pow": "power"},
    **{"and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor", "lshift": "left_shift", "rshift": "right_shift"},
    **{"lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal", "eq": "equal", "ne": "not_equal"},
}
SPELLED = {"and": "and_", "or": "or_"}  # in the module operator
for _name in [*ARITHMETIC, "matmul"]:
    setattr(DoubleArray, f"__{_name}__", _operator(_name))
    setattr(DoubleArray, f"__r{_name}__", _operator(_name, reflected=True))
for _name in ARITHMETIC:
    setattr(DoubleArray, f"__i{_name}__", _in_place(_name))
for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    setattr(DoubleArray, f"__{_name}__", _operator(_name))
for _name, _ufunc in (("neg", np.negative), ("pos", np.positive), ("abs", np.abs), ("invert", np.invert)):
    setattr(DoubleArray, f"__{_name}__", _unary(_name, _ufunc))
