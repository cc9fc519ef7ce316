"""tinygrad_ft: reverse-mode autodiff and neural nets from scratch, with their own CPU and GPU kernels.

    import tinygrad_ft as tg
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    (x * x).sum().backward()
    x.grad                                             # tensor([2., 4.])

`engine.py` is the page to read first.
"""

from importlib import import_module
from typing import Any

from tinygrad_ft import autograd, func, linalg, nn, ops, optim
from tinygrad_ft.autograd import enable_grad, no_grad
from tinygrad_ft.creation import (
    arange,
    bool_,
    eye,
    float16,
    float32,
    float64,
    full,
    int64,
    ones,
    ones_like,
    rand,
    randint,
    randn,
    zeros,
    zeros_like,
)
from tinygrad_ft.device import device
from tinygrad_ft.engine import elementwise, op
from tinygrad_ft.jit import jit
from tinygrad_ft.kernel_choice import use_kernels
from tinygrad_ft.ops import *  # noqa: F403 (every public op, as ops.__all__ lists them)
from tinygrad_ft.storage import load, save
from tinygrad_ft.tensor import Tensor, tensor

__version__ = "0.1.0"

__all__ = [
    *ops.__all__,
    "Tensor",
    "arange",
    "autograd",
    "bool_",
    "device",
    "elementwise",
    "enable_grad",
    "eye",
    "float16",
    "float32",
    "float64",
    "full",
    "func",
    "int64",
    "jit",
    "linalg",
    "load",
    "nn",
    "no_grad",
    "ones",
    "ones_like",
    "op",
    "ops",
    "optim",
    "rand",
    "randint",
    "randn",
    "save",
    "tensor",
    "use_kernels",
    "zeros",
    "zeros_like",
]


def __getattr__(name: str) -> Any:
    """`explain` comes when it is first named: nobody else pays for its import."""
    if name != "explain":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module("tinygrad_ft.explain")
