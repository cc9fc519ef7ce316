"""How fast is a training step of a text CNN? A table of 10,000 words, one convolution, the largest of each channel.

Embedding 10000x16, 128 kernels of 5 words, global max pool, ReLU, one output, binary cross-entropy; 32 texts of 500
words, Adam. Source of the shape: Kim, "Convolutional neural networks for sentence classification", 2014.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from benchmarks.harness import Running, Work, alone
from benchmarks.harness.contender import EAGER, JIT
from benchmarks.harness.frameworks import three, training
from benchmarks.harness.peers import engine
from benchmarks.harness.updates import Adam

WORDS, WIDTH, CHANNELS, KERNEL = 10_000, 16, 128, 5
BATCH, LENGTH = 32, 500


def _arrays() -> list[Any]:
    """Table, convolution (outputs, inputs, kernel) and its bias, output layer (1, channels) and its bias."""
    rng = np.random.default_rng(12)
    arrays = [
        rng.standard_normal((WORDS, WIDTH)) * 0.1,
        rng.standard_normal((CHANNELS, WIDTH, KERNEL)) * (2 / (WIDTH * KERNEL)) ** 0.5,
        np.zeros(CHANNELS),
        rng.standard_normal((1, CHANNELS)) * 0.1,
        np.zeros(1),
    ]
    return [a.astype(np.float32) for a in arrays]


def _batch() -> tuple[Any, Any]:
    rng = np.random.default_rng(13)
    ids = rng.integers(0, WORDS, (BATCH, LENGTH))
    return ids, rng.integers(0, 2, (BATCH, 1)).astype(np.float32)


def classifier(framework: Any) -> Any:
    """A training step in PyTorch's language."""
    F = framework.nn.functional
    parameters = [framework.tensor(a, requires_grad=True) for a in _arrays()]

    def loss_of(parameters: Any, ids: Any, sides: Any) -> Any:
        table, kernels, shift, weight, bias = parameters
        x = F.embedding(ids, table).transpose(1, 2)
        h = F.relu(F.conv1d(x, kernels, shift).amax(2))
        return F.binary_cross_entropy_with_logits(F.linear(h, weight, bias), sides)

    return training(parameters, loss_of, framework.optim.Adam(parameters, lr=1e-3), map(framework.tensor, _batch()))


def of_peer(name: str) -> Running:
    """A training step by one of the peers."""
    peer = engine(name)
    ids, sides = _batch()

    def loss_of(table: Any, kernels: Any, shift: Any, weight: Any, bias: Any) -> Any:
        h = peer.relu(peer.max(peer.conv1d(table[ids], kernels) + shift, axis=1))
        z = peer.matmul(h, weight.T) + bias
        softplus = peer.maximum(z, 0.0) + peer.log1p(peer.exp(-peer.absolute(z)))
        return peer.mean(softplus - z * sides)

    return peer.training(loss_of, _arrays(), Adam(1e-3))


WORKS = [
    Work(
        "text_cnn",
        "embedding 10000x16, conv 128x5, 32 texts of 500 words, Adam",
        three(classifier) | {name: partial(of_peer, name) for name in ("jax", "mygrad", "autograd")},
        {EAGER: 0.8, JIT: 0.15},
    )
]


if __name__ == "__main__":
    raise SystemExit(alone("text_cnn"))
