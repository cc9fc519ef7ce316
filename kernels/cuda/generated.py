"""The language of the kernels that are written by the program: its words, and the array module that writes it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_ft.cuda.compile import cuda, float32, uint32
from tinygrad_ft.cuda.written import kernel_of
from tinygrad_ft.source import NotWritable, Source, Text

POWERS = (-1, 0, 0.5, 1, 2, 3)  # that the text writes as products and roots

# Functions of libdevice by NumPy's names. Not sin, cos and tan, which compute in float64 for large arguments, nor
# log10, which misses the whole numbers: 36.000004 for 1e36.
OF_ONE = {
    "exp": math.exp, "tanh": math.tanh, "log": math.log, "erf": math.erf, "sqrt": math.sqrt, "expm1": math.expm1,
    "log1p": math.log1p, "log2": math.log2, "arcsin": math.asin, "arccos": math.acos,
    "arctan": math.atan, "sinh": math.sinh, "cosh": math.cosh, "arcsinh": math.asinh, "arccosh": math.acosh,
    "arctanh": math.atanh, "floor": math.floor, "ceil": math.ceil, "trunc": math.trunc, "erfc": math.erfc,
}  # fmt: skip
OF_TWO = {"arctan2": math.atan2, "hypot": math.hypot, "copysign": math.copysign}
WORDS = {
    "cuda": cuda,
    "uint32": uint32,
    "F": float32,
    "inf": np.float32(np.inf),  # Python's would make a float64 of what it meets
    "nan": np.float32(np.nan),
    "sqrt": math.sqrt,
    "pow_": math.pow,
    "round_": cuda.libdevice.rintf,
    "__name__": __name__,
    **{f"{name}_": function for name, function in (OF_ONE | OF_TWO).items()},
}


def written_kernel(name: str, text: str, **told: Any) -> Any:
    """The kernel that a text defines under that name; `told` is what `cuda.compile.kernel` asks for."""
    return kernel_of(name, text, WORDS, **told)


class Cuda(Source):
    """The array module, with the functions of libdevice."""

    log1p: Any
    expm1: Any

    def __init__(self) -> None:
        super().__init__(np.float32)
        for name in OF_ONE:
            setattr(self, name, self._call(f"{name}_"))
        for name in OF_TWO:
            setattr(self, name, self._call_of_two(f"{name}_"))

    def _call_of_two(self, function: str) -> Callable[[Any, Any], Text]:
        return lambda a, b: self.write(f"{function}({self.number(a)}, {self.number(b)})")

    def power(self, x: Any, p: Any) -> Text:
        """x^p, as a product or a root where it is one."""
        if isinstance(p, int | float) and p in POWERS:
            return super().power(x, p)
        return self.write(f"pow_({self.number(x)}, {self.number(p)})")

    def round(self, x: Any, decimals: int = 0) -> Text:
        """The nearest whole number, of two the even one."""
        if decimals:
            raise NotWritable("digits after the point")
        return self.write(f"round_({self.number(x)})")

    def logaddexp(self, a: Any, b: Any) -> Text:
        """ln(e^a + e^b), by way of the larger, so that neither can overflow; equal ones may both be infinite."""
        x, y = self.number(a), self.number(b)
        small = self.write(f"log1p_(exp_(-abs({x} - {y})))").name
        return self.write(f"{x} + F({math.log(2.0)!r}) if {x} == {y} else ({x} if {x} > {y} else {y}) + {small}")
