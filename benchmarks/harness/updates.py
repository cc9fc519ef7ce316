"""Optimisers for peers that have none, or none of the form that is needed: in place, so that the peer is not slowed.

Each has also a form without side effects, `new`, for peers that compile a step.
"""

from __future__ import annotations

from typing import Any

import numpy as np


class Momentum:
    """v = momentum v + g; p -= lr v."""

    state = 1  # arrays kept for each parameter

    def __init__(self, lr: float, momentum: float) -> None:
        self.lr, self.momentum = lr, momentum
        self.kept: list[Any] = []

    def __call__(self, parameters: list[Any], gradients: list[Any]) -> None:
        """Update the parameters."""
        if not self.momentum:
            for p, g in zip(parameters, gradients, strict=True):
                p -= self.lr * g
            return
        self.kept = self.kept or [np.zeros_like(p) for p in parameters]
        for p, g, v in zip(parameters, gradients, self.kept, strict=True):
            v *= self.momentum
            v += g
            p -= self.lr * v

    def new(self, xp: Any, p: Any, g: Any, kept: Any, t: Any) -> tuple[Any, Any]:
        """(p, what is kept for it) after step t."""
        v = self.momentum * kept[0] + g
        return p - self.lr * v, (v,)

    def clipped(self, xp: Any, gradients: Any) -> Any:
        """The gradients as they are."""
        return gradients


class Adam:
    """Adam; with decay, AdamW's for matrices alone; with max_norm, all gradients are first brought down to it."""

    state = 2

    def __init__(self, lr: float, betas: tuple[float, float] = (0.9, 0.999), decay: float = 0.0, max_norm: float = 0.0):
        self.lr, self.betas, self.decay, self.max_norm = lr, betas, decay, max_norm
        self.kept: list[tuple[Any, Any, Any]] = []
        self.t = 0

    def __call__(self, parameters: list[Any], gradients: list[Any]) -> None:
        """Update the parameters."""
        self.t += 1
        self.kept = self.kept or [(np.zeros_like(p), np.zeros_like(p), np.empty_like(p)) for p in parameters]
        if self.max_norm:
            norm = sum(float(np.vdot(g, g)) for g in gradients) ** 0.5
            gradients = [g * np.float32(min(1.0, self.max_norm / (norm + 1e-6))) for g in gradients]
        (b1, b2), t = self.betas, self.t
        rate, second = self.lr / (1 - b1**t), (1 - b2**t) ** -0.5
        for p, g, (m, v, u) in zip(parameters, gradients, self.kept, strict=True):
            if self.decay and p.ndim > 1:
                p *= 1 - self.lr * self.decay
            m *= b1
            m += np.multiply(g, 1 - b1, out=u)
            v *= b2
            v += np.multiply(np.multiply(g, g, out=u), 1 - b2, out=u)
            np.sqrt(v, out=u)
            u *= second
            u += 1e-8
            p -= np.multiply(np.divide(m, u, out=u), rate, out=u)

    def clipped(self, xp: Any, gradients: Any) -> Any:
        """The gradients, brought down to max_norm."""
        if not self.max_norm:
            return gradients
        norm = xp.sqrt(sum(xp.vdot(g, g) for g in gradients))
        scale = xp.minimum(1.0, self.max_norm / (norm + 1e-6))
        return [g * scale for g in gradients]

    def new(self, xp: Any, p: Any, g: Any, kept: Any, t: Any) -> tuple[Any, Any]:
        """(p, what is kept for it) after step t."""
        b1, b2 = self.betas
        m, v = b1 * kept[0] + (1 - b1) * g, b2 * kept[1] + (1 - b2) * g * g
        p = p * (1 - self.lr * self.decay) if self.decay and p.ndim > 1 else p
        return p - self.lr / (1 - b1**t) * m / (xp.sqrt(v / (1 - b2**t)) + 1e-8), (m, v)
