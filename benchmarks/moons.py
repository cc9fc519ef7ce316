"""How fast is a step of a net so small that only overhead is left? micrograd's demo: 2-16-16-1, two moons, 100 points.

The loss is the demo's: mean(relu(1 - y f(x))), and a ten-thousandth of the sum of all squared parameters.
Source: micrograd (Karpathy, 2020), demo.ipynb; there the rate falls from 1.0, here it stays 0.1.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from benchmarks.harness import Running, Work, alone
from benchmarks.harness.contender import EAGER, JIT
from benchmarks.harness.frameworks import three, training
from benchmarks.harness.peers import engine
from benchmarks.harness.updates import Momentum
from benchmarks.mlp import arrays, hidden, layers

SIZES = (2, 16, 16, 1)
POINTS = 100


def _moons() -> tuple[Any, Any]:
    """Points (100, 2) and their sides (100, 1), -1 or 1."""
    rng = np.random.default_rng(5)
    t = rng.random(POINTS // 2) * np.pi
    upper, lower = np.c_[np.cos(t), np.sin(t)], np.c_[1 - np.cos(t), 0.5 - np.sin(t)]
    x = np.concatenate([upper, lower]) + 0.1 * rng.standard_normal((POINTS, 2))
    return x.astype(np.float32), np.repeat([-1.0, 1.0], POINTS // 2).astype(np.float32)[:, None]


def separating(framework: Any) -> Any:
    """A training step in PyTorch's language."""
    model = layers(framework, arrays(SIZES, 2))
    parameters = list(model.parameters())

    def loss_of(model: Any, x: Any, y: Any) -> Any:
        loss = (1.0 - y * model(x)).relu().mean()
        return loss + 1e-4 * sum((p * p).sum() for p in parameters)

    return training(model, loss_of, framework.optim.SGD(parameters, lr=0.1), map(framework.tensor, _moons()))


def separating_of_peer(name: str) -> Running:
    """A training step by one of the peers."""
    peer = engine(name)
    x, y = map(peer.constant, _moons())

    def loss_of(*p: Any) -> Any:
        margins = peer.relu(1.0 - y * hidden(peer, x, p))
        return peer.sum(margins) * (1.0 / POINTS) + sum(peer.sum(q * q) for q in p) * 1e-4

    return peer.training(loss_of, arrays(SIZES, 2), Momentum(0.1, 0.0))


PEERS = ("jax", "mygrad", "autograd", "tinygrad", "dezero", "pydynet")
WORKS = [
    Work(
        "moons",
        "2-16-16-1, 100 points, SGD",
        three(separating) | {name: partial(separating_of_peer, name) for name in PEERS},
        {EAGER: 0.6, JIT: 0.05},
    )
]


if __name__ == "__main__":
    raise SystemExit(alone("moons"))
