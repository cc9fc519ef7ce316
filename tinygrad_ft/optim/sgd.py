"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import Any, ClassVar

from tinygrad_ft import ops
from tinygrad_ft.engine import Array
from tinygrad_ft.optim.optimizer import Group, Optimizer, State, zeros_like
from tinygrad_ft.tensor import Tensor


class SGD(Optimizer):
    """p -= lr g; with momentum p -= lr m, m = momentum m + (1 - dampening) g, from m = g in the first step.

    Args:
        lr: parameter units per unit of gradient.
        momentum: how much of the last step is kept; 0 keeps nothing in the state.
        dampening: how much of the gradient is left out of m.
        weight_decay: adds weight_decay p to g, the gradient of a penalty weight_decay |p|^2 / 2.
        nesterov: p -= lr (g + momentum m), which looks ahead; it needs a momentum and no dampening.
    Source: Sutskever et al., "On the importance of initialization and momentum in deep learning", 2013, in the form of
    torch.optim.SGD.
    """

    below: ClassVar = {"lr": inf, "momentum": inf, "weight_decay": inf, "dampening": inf}

    def __init__(
        self,
        params: Iterable[Any],
        lr: Any = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ):
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "dampening": dampening,
                "weight_decay": weight_decay,
                "nesterov": nesterov,
            },
        )

    def check(self, group: Group) -> None:
        """Nesterov's look ahead is along m, of which the gradient must be an undamped part."""
        if group["nesterov"] and (group["momentum"] == 0 or group["dampening"] != 0):
            raise ValueError(
                "SGD with nesterov=True needs a momentum above 0 and dampening 0: "
                f"got momentum {group['momentum']} and dampening {group['dampening']}"
            )

    def buffers(self, group: Group) -> set[str]:
        """The running sum m, with momentum."""
        return {"momentum_buffer"} if group["momentum"] else set()

    def forget(self, p: Tensor) -> None:
        """As others do; but with dampening the first m is not what zeros would make it."""
        if any(group["dampening"] for group in self.param_groups):
            self.state.pop(p, None)
        super().forget(p)

    def update(self, p: Array, g: Array, lr: Any, state: State, group: Group) -> None:
        """One step of one parameter."""
        m, dampening = None, group["dampening"]
        if group["momentum"]:
            m = state.get("momentum_buffer")
            if m is None:
                m = state["momentum_buffer"] = zeros_like(p)
                dampening = 0.0  # so that the first m is the gradient itself, as in PyTorch
        ops.sgd_update(
            p,
            g,
            m,
            lr,
            momentum=group["momentum"],
            dampening=dampening,
            weight_decay=group["weight_decay"],
            nesterov=group["nesterov"],
        )
