"""tinygrad, its step recorded by TinyJit, as its users write it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.harness.contender import Running
from benchmarks.harness.peers import Differentiated, Engine, Loss


class TinyGrad(Engine):
    """tinygrad on the CPU."""

    def __init__(self) -> None:
        import tinygrad

        self.xp, self._tensor, self._jit = tinygrad.Tensor, tinygrad.Tensor, tinygrad.TinyJit

    def constant(self, array: Any) -> Any:
        return self._tensor(array)

    def relu(self, x: Any) -> Any:
        return x.relu()

    def cross_entropy(self, logits: Any, targets: Any) -> Any:
        return logits.sparse_categorical_crossentropy(self._tensor(targets))

    def _leaves(self, parameters: Sequence[Any]) -> list[Any]:
        return [self._tensor(p).realize() for p in parameters]

    def value_and_grad(self, loss_of: Loss) -> Differentiated:
        kept: list[Any] = []

        @self._jit
        def run(*leaves: Any) -> Any:
            loss = loss_of(*leaves)
            return loss.realize(*(gradients := loss.gradient(*leaves))), gradients

        def differentiated(parameters: Sequence[Any]) -> tuple[Any, list[Any]]:
            if not kept:
                kept.extend(self._leaves(parameters))
            loss, gradients = run(*kept)
            return loss.numpy(), [g.numpy() for g in gradients]

        return differentiated

    def training(self, loss_of: Loss, parameters: list[Any], update: Any) -> Running:
        leaves = self._leaves(parameters)
        kept = [tuple(self._tensor(np.zeros_like(p)).realize() for _ in range(update.state)) for p in parameters]
        count = self._tensor([1.0]).realize()

        @self._jit
        def run() -> Any:
            loss = loss_of(*leaves)
            gradients = loss.gradient(*leaves)
            changed = []
            for leaf, g, old in zip(leaves, gradients, kept, strict=True):
                p, state = update.new(self._tensor, leaf, g, old, count)
                changed += [(leaf, p), *zip(old, state, strict=True)]
            loss.realize(*(new for _, new in changed))  # all of it from the old parameters
            for held, new in changed:
                held.assign(new.detach()).realize()
            count.assign(count + 1.0).realize()
            return loss

        return Running(lambda: run().numpy(), lambda loss: [float(loss)])
