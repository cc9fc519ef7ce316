"""Activations of nets, element by element, composed of a few: sigmoid, softplus, relu and gelu are in functions.py."""

from __future__ import annotations

from typing import Any

from tinygrad_ft.chain_rule import cast
from tinygrad_ft.engine import Array
from tinygrad_ft.ops.arithmetic import abs, clip
from tinygrad_ft.ops.comparison import logical_and, where
from tinygrad_ft.ops.composed import composed
from tinygrad_ft.ops.functions import expm1, sigmoid, softplus, tanh
from tinygrad_ft.ops.join import split
from tinygrad_ft.ops.reduce import softmax
from tinygrad_ft.ops.shape import axes_of, reshape

__all__ = ["celu", "hardshrink", "prelu", "selu", "threshold"]

# Klambauer et al., "Self-Normalizing Neural Networks", 2017, eq. 2: mean 0 and variance 1 last from layer to layer
SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805


@composed
def silu(x: Array) -> Array:
    """y = x sigmoid(x), also called swish."""
    return x * sigmoid(x)


@composed
def leaky_relu(x: Array, negative_slope: float = 0.01) -> Array:
    """y = x above 0, negative_slope x below."""
    return where(x > 0, x, x * negative_slope)


@composed
def elu(x: Array, alpha: float = 1.0) -> Array:
    """y = x above 0, alpha (e^x - 1) below."""
    return where(x > 0, x, alpha * expm1(clip(x, max=0.0)))


@composed
def celu(x: Array, alpha: float = 1.0) -> Array:
    """y = x above 0, alpha (e^(x / alpha) - 1) below: the slope has no jump at 0."""
    if alpha == 0:
        raise ZeroDivisionError("celu divides by alpha, which must not be 0: relu is what it comes to there")
    return where(x > 0, x, alpha * expm1(where(x > 0, 0.0, x) / alpha))


@composed
def selu(x: Array) -> Array:
    """y = scale elu(x, alpha), with the two constants that keep mean 0 and variance 1 from layer to layer."""
    return SELU_SCALE * elu(x, SELU_ALPHA)


@composed
def mish(x: Array) -> Array:
    """y = x tanh(softplus(x))."""
    return x * tanh(softplus(x))


@composed
def logsigmoid(x: Array) -> Array:
    """y = log(sigmoid(x)), which does not underflow."""
    return -softplus(-x)


@composed
def softsign(x: Array) -> Array:
    """y = x / (1 + |x|)."""
    return x / (1.0 + abs(x))


@composed
def tanhshrink(x: Array) -> Array:
    """y = x - tanh x."""
    return x - tanh(x)


@composed
def threshold(x: Array, threshold: float, value: float) -> Array:
    """y = x above the threshold, else value."""
    return where(x > threshold, x, value)


@composed
def hardtanh(x: Array, min_val: float = -1.0, max_val: float = 1.0) -> Array:
    """y = x held between the two; unlike clip's, the derivative is 0 on the bounds too, as PyTorch has it."""
    if min_val > max_val:
        raise ValueError(f"hardtanh needs min_val <= max_val: got {min_val} and {max_val}")
    return where(x <= min_val, min_val, where(x >= max_val, max_val, x))


@composed
def relu6(x: Array) -> Array:
    """y = x held between 0 and 6."""
    return hardtanh(x, 0.0, 6.0)


@composed
def hardsigmoid(x: Array) -> Array:
    """y = x / 6 + 1/2 held between 0 and 1."""
    return hardtanh(x / 6.0 + 0.5, 0.0, 1.0)


@composed
def hardswish(x: Array) -> Array:
    """y = x hardsigmoid(x)."""
    return x * hardsigmoid(x)


@composed
def hardshrink(x: Array, lambd: float = 0.5) -> Array:
    """y = x outside of -lambd to lambd, 0 inside."""
    return where(logical_and(x >= -lambd, x <= lambd), 0.0, x)


@composed
def softshrink(x: Array, lambd: float = 0.5) -> Array:
    """y = x moved by lambd towards 0, and 0 where it would pass it."""
    if lambd < 0:
        raise ValueError(f"softshrink needs lambd >= 0: got {lambd}")
    return x - clip(x, min=-lambd, max=lambd)


@composed
def prelu(x: Array, weight: Array) -> Array:
    """y = x above 0, weight x below.

    Shapes: weight () or (1,), or (channels,) with x (batch, channels, ...).
    """
    if weight.ndim > 1:
        raise ValueError(f"prelu needs one weight, or one a channel: got shape {tuple(weight.shape)}")
    n = weight.shape[0] if weight.ndim else 1
    if n > 1 and (x.ndim < 2 or x.shape[1] != n):
        raise ValueError(f"prelu needs a weight for each channel, axis 1 of x: got {n} for x {tuple(x.shape)}")
    slope = reshape(weight, (n,) + (1,) * (x.ndim - 2) if n > 1 else ())
    return where(x > 0, x, slope * x)


@composed
def glu(x: Array, axis: int = -1) -> Array:
    """y = a sigmoid(b), where a and b are the halves of x along `axis`."""
    if not x.ndim or x.shape[axes_of(axis, x.ndim)[0]] % 2:
        raise ValueError(f"glu halves an axis, whose length must be even: got axis {axis} of shape {tuple(x.shape)}")
    a, b = split(x, x.shape[axis] // 2, axis) if x.shape[axis] else (x, x)
    return a * sigmoid(b)


@composed
def softmin(x: Array, axis: int = -1, dtype: Any = None) -> Array:
    """y = e^-x / sum(e^-x) along `axis`, computed in `dtype` if one is given."""
    return softmax(-(x if dtype is None else cast(x, dtype=dtype)), axis=axis)
