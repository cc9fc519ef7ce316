"""How fast is a training step that is mostly matrix products? The MLP 784-512-256-10, as for MNIST."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks.harness import Running, Work, alone
from benchmarks.harness.contender import EAGER, JIT
from benchmarks.harness.frameworks import three, training
from benchmarks.harness.peers import engine
from benchmarks.harness.updates import Adam, Momentum

SIZES = (784, 512, 256, 10)
SGD, ADAM = "sgd", "adam"
BATCH = {SGD: 64, ADAM: 512}


def arrays(sizes: tuple[int, ...], seed: int) -> list[Any]:
    """Weights (outputs, inputs) as He et al. propose, and biases of 0, in turn."""
    rng = np.random.default_rng(seed)
    found = []
    for inputs, outputs in pairwise(sizes):
        weight = rng.standard_normal((outputs, inputs)) * (2 / inputs) ** 0.5
        found += [weight.astype(np.float32), np.zeros(outputs, np.float32)]
    return found


def _batch(how: str) -> tuple[Any, Any]:
    rng = np.random.default_rng(3)
    x = rng.standard_normal((BATCH[how], SIZES[0])).astype(np.float32)
    return x, rng.integers(0, SIZES[-1], BATCH[how])


def layers(framework: Any, parameters: list[Any]) -> Any:
    """The MLP with those weights and biases, in PyTorch's language."""
    nn, modules = framework.nn, []
    for weight, bias in zip(parameters[::2], parameters[1::2], strict=True):
        linear = nn.Linear(weight.shape[1], weight.shape[0])
        linear.load_state_dict({"weight": framework.tensor(weight), "bias": framework.tensor(bias)})
        modules += [linear, nn.ReLU()]
    return nn.Sequential(*modules[:-1])


def classifier(framework: Any, how: str) -> Any:
    """A training step in PyTorch's language."""
    model = layers(framework, arrays(SIZES, 2))
    optim = framework.optim
    if how == SGD:
        optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    else:
        optimizer = optim.Adam(model.parameters(), lr=1e-3)

    def loss_of(model: Any, x: Any, y: Any) -> Any:
        return framework.nn.functional.cross_entropy(model(x), y)

    return training(model, loss_of, optimizer, map(framework.tensor, _batch(how)))


def hidden(peer: Any, x: Any, parameters: Any) -> Any:
    """The MLP by one of the peers."""
    for n, (weight, bias) in enumerate(zip(parameters[::2], parameters[1::2], strict=True)):
        x = peer.matmul(x if n == 0 else peer.relu(x), weight.T) + bias
    return x


def classifier_of_peer(name: str, how: str) -> Running:
    """A training step by one of the peers."""
    peer = engine(name)
    x, y = _batch(how)
    x = peer.constant(x)
    update = Momentum(0.01, 0.9) if how == SGD else Adam(1e-3)
    return peer.training(lambda *p: peer.cross_entropy(hidden(peer, x, p), y), arrays(SIZES, 2), update)


def _contenders(how: str) -> dict[str, Any]:
    names = ("jax", "mygrad", "autograd", "tinygrad", "dezero", "pydynet")
    return three(classifier, how) | {name: partial(classifier_of_peer, name, how) for name in names}


WORKS = [
    Work("mlp.sgd", "784-512-256-10, batch 64, SGD with momentum", _contenders(SGD), {EAGER: 0.8, JIT: 0.5}),
    Work("mlp.adam", "784-512-256-10, batch 512, Adam", _contenders(ADAM), {EAGER: 0.9, JIT: 0.5}),
]


if __name__ == "__main__":
    raise SystemExit(alone("mlp"))
