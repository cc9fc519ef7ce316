"""RMSprop: each element's step divided by the size of its recent gradients."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import Any, ClassVar

from tinygrad_ft import ops
from tinygrad_ft.engine import Array
from tinygrad_ft.optim.optimizer import Group, Optimizer, State, zeros_like


class RMSprop(Optimizer):
    """p -= lr g / (sqrt(v) + eps), v = alpha v + (1 - alpha) g^2 from 0.

    Args:
        alpha: how much of v is kept.
        eps: keeps the division finite.
        weight_decay: adds weight_decay p to g.
        momentum: p -= lr m instead, where m = momentum m + g / (sqrt(v) + eps).
        centered: take the square of the running mean of g off v, so that the root is a standard deviation.
    Sources: Tieleman and Hinton, "Neural Networks for Machine Learning", 2012, lecture 6.5; Graves, "Generating
    Sequences with Recurrent Neural Networks", 2013, for momentum and the centred form.
    """

    below: ClassVar = {"lr": inf, "alpha": 1.0, "eps": inf, "weight_decay": inf, "momentum": inf}

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
    ):
        super().__init__(
            params,
            {
                "lr": lr,
                "alpha": alpha,
                "eps": eps,
                "weight_decay": weight_decay,
                "momentum": momentum,
                "centered": centered,
            },
        )

    def buffers(self, group: Group) -> set[str]:
        """The running mean v, m with momentum, and the running mean of g if centred."""
        optional = {"momentum_buffer": group["momentum"], "grad_avg": group["centered"]}
        return {"square_avg", *(name for name, wanted in optional.items() if wanted)}

    def update(self, p: Array, g: Array, lr: Any, state: State, group: Group) -> None:
        """One step of one parameter."""
        wanted = self.buffers(group)
        for name in wanted - state.keys():
            state[name] = zeros_like(p)
        v, m, mean = (state[name] if name in wanted else None for name in ("square_avg", "momentum_buffer", "grad_avg"))
        ops.rmsprop_update(
            p,
            g,
            v,
            m,
            mean,
            lr,
            alpha=group["alpha"],
            eps=group["eps"],
            weight_decay=group["weight_decay"],
            momentum=group["momentum"],
        )
