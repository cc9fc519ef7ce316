"""Products with the gradient of an extremum, of which nearly all is 0: such a gradient need not be written down.

A recorded step has them in the place of `extremum_grad` and the products that read it; `jit/sparse.py` puts them there.
Shapes: x (n, l, c) and its extrema y (n, c) over the middle axis, g = dL/dy (n, c); `places` as `extremum_places`
answers them.
"""

from __future__ import annotations

from typing import Any

from tinygrad_ft.engine import Array, op
from tinygrad_ft.ops.reduce import extremum_grad

__all__: list[str] = []


@op
def extremum_places(xp: Any, x: Array, y: Array) -> Array:
    """Where on the middle axis of x y first stands, or NaN: (n, c); p as -1 - p if it stands in several places."""
    attained = xp.logical_or(xp.equal(x, y[:, None]), xp.not_equal(x, x))
    first = xp.argmax(attained, axis=1)
    return xp.where(xp.sum(attained, axis=1) > 1, -1 - first, first)


@op
def extremum_grad_matmul(xp: Any, g: Array, x: Array, y: Array, places: Array, w: Array, *, apart: int) -> Array:
    """The gradient of y, as n l rows, times w (c, k): (n, (l - 1) apart + k), the l rows of k beginning `apart` apart.

    Where they overlap, they are added up, as the windows of a convolution are.
    """
    rows = xp.matmul(extremum_grad(g, x, y, axis=1), w)
    n, length, k = rows.shape
    z = xp.zeros((n, (length - 1) * apart + k), dtype=rows.dtype)
    for i in range(length):
        z[:, i * apart : i * apart + k] += rows[:, i]
    return z


@op
def extremum_grad_outer(xp: Any, g: Array, x: Array, y: Array, places: Array, a: Array) -> Array:
    """The gradient of y, as n l rows, transposed, times a (n l, k): (c, k)."""
    gx = extremum_grad(g, x, y, axis=1)
    return xp.matmul(xp.reshape(gx, (-1, gx.shape[-1])).T, a)
