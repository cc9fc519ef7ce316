"""A gradient that somebody wrote by hand, as a subject."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_ft.engine import Value
from tinygrad_ft.gradcheck.subject import Array, Arrays, FunctionError, OfTensors, Place, Subject, name_of
from tinygrad_ft.tensor import Tensor


class HandWritten(Subject):
    """A function with a gradient written by hand, on plain arrays or on Tensors, whichever its inputs are."""

    def __init__(self, f: Callable[..., Any], given: list[Any], names: list[str], gradient: Callable[..., Any]):
        self.f, self.gradient, self.given = f, gradient, given
        self.engine: OfTensors | None = None
        if any(isinstance(x, Value) for x in given):
            self.engine = OfTensors(f, given, names)
            self.positions = self.engine.positions
        else:
            self.given = given = [np.asarray(x) if isinstance(x, int | float | list) else x for x in given]
            self.positions = [i for i, x in enumerate(given) if getattr(x, "dtype", np.dtype(int)).kind == "f"]
        arrays = [given[i].array if isinstance(given[i], Value) else given[i] for i in self.positions]
        super().__init__(
            name_of(f), [Place(names[i], np.asarray(a)) for i, a in zip(self.positions, arrays, strict=True)]
        )

    def _args(self, arrays: Arrays) -> list[Any]:
        args = [np.array(x) if isinstance(x, np.ndarray) else x for x in self.given]
        for i, a in zip(self.positions, arrays, strict=True):
            args[i] = Tensor(np.array(a)) if self.engine else np.array(a)
        return args

    def value(self, arrays: Arrays) -> list[Array]:
        """With copies, so that f may write into what it is given."""
        if self.engine:
            return self.engine.value(arrays)
        try:
            answer = self.f(*self._args(arrays))
        except Exception as error:
            raise FunctionError(f"{self.name} raised {type(error).__name__}: {error}") from error
        ys = [np.asarray(y) for y in (answer if isinstance(answer, tuple | list) else (answer,)) if y is not None]
        if not ys or any(y.dtype.kind not in "fiubc" for y in ys):
            raise TypeError(f"gradcheck needs {self.name} to answer a number or arrays: got {type(answer).__name__}")
        return [y for y in ys if y.dtype.kind in "fc"]

    def pull(self, arrays: Arrays, us: Arrays) -> list[Any]:
        """What the gradient by hand answers, in the order of the inputs.

        It is called as gradient(*inputs) if f answers one number, and as gradient(*inputs, *gs) with one g = dL/dy for
        each output if it answers arrays, or if that is what its signature takes.
        """
        args = self._args(arrays)
        if any(np.size(u) != 1 for u in us) or not _takes(self.gradient, len(args)):
            args += [Tensor(np.asarray(u)) if self.engine else np.array(u) for u in us]
        name = name_of(self.gradient)
        try:
            answer = self.gradient(*args)
        except Exception as error:
            raise FunctionError(f"the gradient {name} raised {type(error).__name__}: {error}") from error
        gs = list(answer) if isinstance(answer, tuple | list) else [answer]
        if len(gs) == len(self.given) != len(self.positions):
            gs = [gs[i] for i in self.positions]
        if len(gs) != len(self.positions):
            raise TypeError(
                f"the gradient {name} must answer one array for each of the {len(self.positions)} floating-point "
                f"inputs: got {len(gs)}"
            )
        return [None if g is None else np.asarray(g.array if isinstance(g, Value) else g) for g in gs]

    def rules(self, arrays: Arrays, us: Arrays) -> list[Any]:
        """The engine's own opinion."""
        return self.engine.pull(arrays, us) if self.engine else super().rules(arrays, us)

    def push(self, arrays: Arrays, vs: Arrays) -> list[Array]:
        """The engine's forward mode."""
        return self.engine.push(arrays, vs) if self.engine else super().push(arrays, vs)


def _takes(f: Any, count: int) -> bool:
    try:
        inspect.signature(f).bind(*range(count))
    except TypeError:
        return False
    except ValueError:  # a built-in that does not tell
        return True
    return True
