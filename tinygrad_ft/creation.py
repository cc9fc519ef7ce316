"""New Tensors: filled, counted, or drawn at random. Default dtype float32."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ft.notice import constant, each_time
from tinygrad_ft.operations import one_tuple
from tinygrad_ft.ops.random import generator
from tinygrad_ft.tensor import Tensor

float16, float32, float64 = np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64)
int64, bool_ = np.dtype(np.int64), np.dtype(np.bool_)


def _made(array: Any, requires_grad: bool) -> Tensor:
    return Tensor(array).requires_grad_(requires_grad)  # type: ignore[no-any-return]


def zeros(*shape: Any, dtype: Any = float32, requires_grad: bool = False) -> Tensor:
    """Zeros."""
    return _made(constant(np.zeros(one_tuple(shape), dtype)), requires_grad)


def ones(*shape: Any, dtype: Any = float32, requires_grad: bool = False) -> Tensor:
    """Ones."""
    return _made(constant(np.ones(one_tuple(shape), dtype)), requires_grad)


def full(shape: Any, value: Any, *, dtype: Any = float32, requires_grad: bool = False) -> Tensor:
    """One value everywhere."""
    return _made(constant(np.full(shape, value, dtype)), requires_grad)


def zeros_like(x: Any, *, requires_grad: bool = False) -> Tensor:
    """Zeros in the shape and dtype of x."""
    return _made(constant(np.zeros(x.shape, x.dtype)), requires_grad)


def ones_like(x: Any, *, requires_grad: bool = False) -> Tensor:
    """Ones in the shape and dtype of x."""
    return _made(constant(np.ones(x.shape, x.dtype)), requires_grad)


def arange(*bounds: float, dtype: Any = None) -> Tensor:
    """Numbers from start (0) up to but without end, by step (1): integers if all three are, else float32."""
    whole = all(isinstance(b, int | np.integer) for b in bounds)
    return Tensor(constant(np.arange(*bounds, dtype=dtype or (np.int64 if whole else np.float32))))


def eye(n: int, m: int | None = None, *, dtype: Any = float32) -> Tensor:
    """The identity matrix, n rows and m columns."""
    return Tensor(constant(np.eye(n, m, dtype=dtype)))


def rand(
    *shape: Any, dtype: Any = float32, requires_grad: bool = False, rng: np.random.Generator | None = None
) -> Tensor:
    """Uniform from 0 up to but without 1, drawn in that dtype: rounded to it afterwards, the largest could become 1."""
    shape = one_tuple(shape)
    if dtype == float16:  # NumPy draws none: the multiples of 2^-11 below 1 are those that its 11 bits can all hold
        return _made(
            each_time(lambda: np.asarray(generator(rng).integers(0, 2048, shape) / 2048).astype(float16)), requires_grad
        )
    return _made(each_time(lambda: np.asarray(generator(rng).random(shape, dtype))), requires_grad)


def randn(
    *shape: Any, dtype: Any = float32, requires_grad: bool = False, rng: np.random.Generator | None = None
) -> Tensor:
    """Normal with mean 0 and variance 1."""
    shape = one_tuple(shape)
    return _made(each_time(lambda: np.asarray(generator(rng).standard_normal(shape)).astype(dtype)), requires_grad)


def randint(low: int, high: int, shape: Any, *, rng: np.random.Generator | None = None) -> Tensor:
    """Integers from low up to but without high, each as likely."""
    return Tensor(each_time(lambda: np.asarray(generator(rng).integers(low, high, shape))))
