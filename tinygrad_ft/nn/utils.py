"""What training does to gradients between backward() and step()."""

from __future__ import annotations

from math import isfinite
from typing import Any

from tinygrad_ft.device import device_of
from tinygrad_ft.engine import Value
from tinygrad_ft.notice import looks_at, uses
from tinygrad_ft.ops.update import clip_elements, clip_to_length, length
from tinygrad_ft.tensor import Tensor


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
    grads = _gradients(parameters)
    if error_if_nonfinite:
        looks_at("whether the gradients' norm is finite (error_if_nonfinite)")
        total = float(length(device_of(grads[0]).xp, grads, norm_type)) if grads else 0.0
        if not isfinite(total):
            raise RuntimeError(f"the gradients' norm is {total}, so they cannot be clipped")
    return Tensor(clip_to_length(max_norm, *grads, norm_type=float(norm_type)))


def clip_grad_value_(parameters: Any, clip_value: float) -> None:
    """Hold every element of every gradient between -clip_value and clip_value, in place."""
    for g in _gradients(parameters):
        clip_elements(g, clip_value=clip_value)


def _gradients(parameters: Any) -> list[Any]:
    given: list[Any] = [parameters] if isinstance(parameters, Value) else list(parameters)
    uses(given)  # those without a gradient too: they may get one
    return [p.grad.array for p in given if p.grad is not None]
