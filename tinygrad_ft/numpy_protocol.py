"""NumPy's functions on Tensors: `np.sin(t)`, `np.sum(t, axis=0)`, `np.linalg.inv(t)` and `array * t` are ops.

The two methods by which NumPy asks; the tables in `numpy_functions.py` say which op answers. A function or parameter
without a counterpart raises a TypeError: nothing becomes a constant behind the user's back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import signature
from typing import Any

import numpy as np

from tinygrad_ft import ops
from tinygrad_ft.device import DEVICES
from tinygrad_ft.engine import Value
from tinygrad_ft.numpy_functions import FUNCTIONS, METHODS, UFUNCS, as_array


def array_ufunc(self: Value, ufunc: np.ufunc, method: str, *inputs: Any, **params: Any) -> Any:
    """What NumPy asks of a Tensor among the inputs of a ufunc: the op of that name on all of them."""
    row = UFUNCS.get(ufunc) if method in ("__call__", "outer") else METHODS.get((ufunc, method))
    name = f"np.{ufunc.__name__}" + f".{method}" * (method != "__call__")
    if row is None:
        known = ", ".join(f"{u.__name__}.{m}" for u, m in METHODS)
        raise _without_counterpart(name, "" if method == "__call__" else f" (but {known} can)")
    if params:
        params = _asked(params)
        if params and method in ("__call__", "outer") and ufunc is not np.vecdot:
            raise TypeError(f"{name} of a Tensor takes no {', '.join(params)}: it answers with a new Tensor of its own")
    arrays = [x if isinstance(x, int | float) else as_array(x) for x in inputs]
    if method == "outer":
        arrays[0] = ops.reshape(as_array(arrays[0]), (*np.shape(arrays[0]), *(1,) * np.ndim(arrays[1])))
    return _called(name, row, arrays, params) if params else row(*arrays)


def array_function(self: Value, function: Any, types: Sequence[type], args: Any, params: Any) -> Any:
    """What NumPy asks of a Tensor among the inputs of any other function."""
    if not all(issubclass(kind, (Value, np.ndarray, *DEVICES)) for kind in types):
        return NotImplemented
    name = f"{function.__module__.replace('numpy', 'np')}.{function.__name__}"
    if function not in FUNCTIONS:
        raise _without_counterpart(name)
    return _called(name, FUNCTIONS[function], args, _asked(params))


def _called(name: str, row: Callable[..., Any], args: Sequence[Any], params: dict[str, Any]) -> Any:
    taken = signature(row)
    try:
        taken.bind(*args, **params)
    except TypeError as error:
        raise TypeError(f"{name} of a Tensor takes {str(taken).replace(', /', '')}: {error}") from None
    return row(*args, **params)


ASKS_NOTHING = {"out": None, "dtype": None, "where": True, "order": "C", "copy": True, "casting": "same_kind"}


def _asked(params: dict[str, Any]) -> dict[str, Any]:
    """The parameters without those that say what holds anyway, as out=None does."""
    return {
        k: v
        for k, v in params.items()
        if not (k in ASKS_NOTHING and type(v) is type(ASKS_NOTHING[k]) and v == ASKS_NOTHING[k])
    }


def _without_counterpart(name: str, known: str = "") -> TypeError:
    bare = name.removeprefix("np.")
    ours = f"call tg.{bare}, or" if bare in ops.__all__ else "for a constant"
    return TypeError(f"{name} cannot take a Tensor{known}: {ours} give it t.detach().numpy()")
