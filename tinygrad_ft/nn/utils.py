"""What training does to gradients between backward() and step()."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf, isfinite
from typing import Any

import numpy as np

from tinygrad_ft.engine import Value
from tinygrad_ft.tensor import Tensor, tensor


def clip_grad_norm_(
    parameters: Any, max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> Tensor:
    """Scale all gradients down, in place, so that together they are no longer than max_norm; answers the length before.

    Args:
        parameters: a Tensor or several; those without a gradient are left out.
        norm_type: 2 for the Euclidean length, inf for the largest element.

    Raises:
        RuntimeError: if error_if_nonfinite and the length is NaN or infinite; nothing is scaled then.

    Source: Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks", 2013, section 3.2.
    """
    given: Iterable[Any] = [parameters] if isinstance(parameters, Value) else parameters
    grads = [p.grad.array for p in given if p.grad is not None]
    if norm_type == inf:
        total = float(np.max([abs(g).max(initial=0.0) for g in grads], initial=0.0))  # Python's max would lose a NaN
    elif norm_type == 2.0:  # a dot product reads each gradient once and makes no temporary
        total = sum(float(g @ g) for g in (_wide(g).ravel() for g in grads)) ** 0.5
    else:
        total = sum(float((abs(_wide(g)) ** norm_type).sum()) for g in grads) ** (1.0 / norm_type)
    if error_if_nonfinite and not isfinite(total):
        raise RuntimeError(f"the gradients' norm is {total}, so they cannot be clipped")
    scale = max_norm / (total + 1e-6)
    if scale < 1.0 or total != total:
        for g in grads:
            g *= scale
    return tensor(total, dtype=np.result_type(np.float32, *(g.dtype for g in grads)))


def _wide(g: Any) -> Any:
    """g in float32 at least: in float16 the square of 256 is infinite."""
    return g.astype(np.result_type(g.dtype, np.float32), copy=False)


def clip_grad_value_(parameters: Any, clip_value: float) -> None:
    """Hold every element of every gradient between -clip_value and clip_value, in place."""
    given: Iterable[Any] = [parameters] if isinstance(parameters, Value) else parameters
    for p in given:
        if p.grad is not None:
            p.grad.array.clip(-clip_value, clip_value, out=p.grad.array)
