"""Adam, with weight decay in the gradient or decoupled from it."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import Any, ClassVar

import numpy as np

from tinygrad_ft import ops
from tinygrad_ft.engine import Array
from tinygrad_ft.optim.optimizer import Group, Optimizer, State, require, zeros_like


class Adam(Optimizer):
    """p -= lr mhat / (sqrt(vhat) + eps), with mhat = m / (1 - beta1^t) and vhat = v / (1 - beta2^t) in step t.

    m = beta1 m + (1 - beta1) g and v = beta2 v + (1 - beta2) g^2 start at 0; the divisions undo that start.

    Args:
        lr: about the largest change of an element in one step, whatever the scale of its gradient.
        betas: beta1 and beta2, how much of m and v is kept.
        eps: keeps the division finite, and bounds the step where gradients are smaller than it.
        weight_decay: adds weight_decay p to g, and so is divided by sqrt(vhat) as well; see AdamW.
    Source: Kingma and Ba, "Adam: A Method for Stochastic Optimization", 2015, algorithm 1.
    """

    below: ClassVar = {"lr": inf, "eps": inf, "weight_decay": inf}
    decoupled = False

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ):
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    def check(self, group: Group) -> None:
        """Means that keep everything, beta = 1, would never leave 0."""
        try:
            betas = [float(beta) for beta in group["betas"]]
        except (TypeError, ValueError):
            betas = []
        if len(betas) != 2:
            raise TypeError(f"{self._name} needs two numbers for betas: got {group['betas']!r}")
        for i, beta in enumerate(betas):
            require(self._name, f"betas[{i}]", beta, below=1.0)

    def buffers(self, group: Group) -> set[str]:
        """The running means m and v, and the number of steps."""
        return {"step", "exp_avg", "exp_avg_sq"}

    def update(self, p: Array, g: Array, lr: Any, state: State, group: Group) -> None:
        """One step of one parameter."""
        if not state:
            state.update(step=np.zeros((), np.int64), exp_avg=zeros_like(p), exp_avg_sq=zeros_like(p))
        beta1, beta2 = group["betas"]
        ops.adam_update(
            p,
            g,
            state["exp_avg"],
            state["exp_avg_sq"],
            lr,
            state["step"],
            beta1=beta1,
            beta2=beta2,
            eps=group["eps"],
            weight_decay=group["weight_decay"],
            decoupled=self.decoupled,
        )


class AdamW(Adam):
    """Adam with decoupled weight decay: each step begins with p *= 1 - lr weight_decay, and g is left as it is.

    Source: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019, algorithm 2, with lr for its schedule
    multiplier times alpha.
    """

    decoupled = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ):
        super().__init__(params, lr, betas, eps, weight_decay)
