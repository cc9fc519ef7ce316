"""Lengths and angles: norms of vectors and matrices, distances, cosines."""

from __future__ import annotations

from math import inf
from typing import Any

import numpy as np

from tinygrad_ft.chain_rule import cast
from tinygrad_ft.engine import Array
from tinygrad_ft.ops.arithmetic import abs, clip
from tinygrad_ft.ops.composed import composed
from tinygrad_ft.ops.decompositions import svdvals
from tinygrad_ft.ops.products import einsum
from tinygrad_ft.ops.reduce import amax, amin, kept_shape, sum
from tinygrad_ft.ops.shape import Axis, axes_of, broadcast_to, movedim, reshape
from tinygrad_ft.ops.statistics import norm

__all__ = ["bilinear", "cosine_similarity", "normalize", "pairwise_distance"]


@composed
def vector_norm(x: Array, ord: float = 2, axis: Axis = None, keepdims: bool = False, *, dtype: Any = None) -> Array:
    """`norm` of all numbers along `axis`, however many axes that are."""
    if isinstance(ord, str):
        raise TypeError(f"vector_norm: ord is a number: got {ord!r}")
    x = x if dtype is None else cast(x, dtype=dtype)
    return norm(x, ord, None if axis == () else axis, keepdims)


@composed
def matrix_norm(
    A: Array, ord: Any = "fro", axis: Any = (-2, -1), keepdims: bool = False, *, dtype: Any = None
) -> Array:
    """The norm of matrices in two axes: "fro", the root of all squares; "nuc", the sum of singular values; 2 and -2,
    the largest and smallest of them; 1 and -1, of the columns' sums of absolute values; inf and -inf, of the rows'.
    """
    axes = axes_of(tuple(axis), A.ndim)
    if len(axes) != 2 or axes[0] == axes[1] or A.ndim < 2:
        raise ValueError(f"matrix_norm needs two different axes: got {axis} for {tuple(A.shape)}")
    x = A if dtype is None else cast(A, dtype=dtype)
    if ord == "fro":
        return norm(x, 2, axes, keepdims)
    x = movedim(x, axes, (-2, -1))
    if ord in ("nuc", 2, -2):
        s = svdvals(x)
        y = sum(s, axis=-1) if ord == "nuc" else (amax if ord > 0 else amin)(s, axis=-1)
    elif ord in (1, -1, inf, -inf):
        y = (amax if ord > 0 else amin)(sum(abs(x), axis=-2 if ord in (1, -1) else -1), axis=-1)
    else:
        raise ValueError(f"matrix_norm: ord is 'fro', 'nuc', 1, -1, 2, -2, inf or -inf: got {ord!r}")
    return reshape(y, kept_shape(A.shape, axes)) if keepdims else y


@composed
def linalg_norm(A: Array, ord: Any = None, axis: Any = None, keepdims: bool = False, *, dtype: Any = None) -> Array:
    """`matrix_norm` over two axes, `vector_norm` over one, or over all numbers if neither ord nor axis is given."""
    if ord is None:
        return vector_norm(A, 2, axis, keepdims, dtype=dtype)
    if axis is None and A.ndim not in (1, 2):
        raise ValueError(f"norm of order {ord} needs a vector, a matrix or axes: got {tuple(A.shape)}")
    if axis is None:
        axis = tuple(range(A.ndim))
    if isinstance(axis, int) or len(axis) == 1:
        return vector_norm(A, ord, axis, keepdims, dtype=dtype)
    return matrix_norm(A, ord, axis, keepdims, dtype=dtype)


@composed
def normalize(input: Array, p: float = 2.0, axis: Axis = 1, eps: float = 1e-12) -> Array:
    """x divided by its norm along `axis`, by eps if that is larger."""
    return input / clip(norm(input, p, axis, True), min=eps)


@composed
def pairwise_distance(x1: Array, x2: Array, p: float = 2.0, eps: float = 1e-6, keepdims: bool = False) -> Array:
    """The norm of x1 - x2 + eps over the last axis."""
    return norm(x1 - x2 + eps, p, -1, keepdims)


@composed
def cosine_similarity(x1: Array, x2: Array, axis: int = 1, eps: float = 1e-8) -> Array:
    """The cosine of the angle between x1 and x2 along `axis`, norms below eps counting as eps."""
    shape = np.broadcast_shapes(x1.shape, x2.shape)
    a, b = (x / clip(norm(x, 2, axis, True), min=eps) for x in (broadcast_to(x1, shape), broadcast_to(x2, shape)))
    return sum(a * b, axis=axis)


@composed
def bilinear(input1: Array, input2: Array, weight: Array, bias: Array = None) -> Array:
    """y_o = a^T W_o b + bias_o. Shapes: (..., n), (..., m), weight (outputs, n, m) -> (..., outputs)."""
    if tuple(weight.shape[1:]) != (input1.shape[-1], input2.shape[-1]) or input1.shape[:-1] != input2.shape[:-1]:
        raise ValueError(
            f"bilinear needs (..., n), (..., m) and weight (outputs, n, m): got {tuple(input1.shape)}, "
            f"{tuple(input2.shape)} and {tuple(weight.shape)}"
        )
    y = einsum("...i,oij,...j->...o", input1, weight, input2)
    return y if bias is None else y + bias
