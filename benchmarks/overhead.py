"""What does an op cost beside its arithmetic? One formula on one element and on a million, and a thousand ops in a row.

The formula is ((a*b + c).tanh()).sum(), forward and backward.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from benchmarks.harness import Running, Work, alone, fingerprint
from benchmarks.harness.contender import EAGER, JIT
from benchmarks.harness.frameworks import three
from benchmarks.harness.peers import engine

CHAIN = 1000


def _arrays(shape: tuple[int, ...]) -> list[Any]:
    rng = np.random.default_rng(1)
    return [rng.standard_normal(shape).astype(np.float32) for _ in range(3)]


def formula(framework: Any, shape: tuple[int, ...]) -> Any:
    """The formula in PyTorch's language."""
    a, b, c = (framework.tensor(array, requires_grad=True) for array in _arrays(shape))

    def step() -> Any:
        a.grad = b.grad = c.grad = None
        y = ((a * b + c).tanh()).sum()
        y.backward()
        return y

    return step, (), lambda y: [y.item(), *fingerprint(*(x.grad.numpy() for x in (a, b, c)))]


def chain(framework: Any) -> Any:
    """A thousand multiply-adds and back, in PyTorch's language."""
    x, m, c = (framework.tensor([v], requires_grad=True) for v in (0.5, 0.999, 0.001))

    def step() -> Any:
        x.grad = m.grad = c.grad = None
        y = x
        for _ in range(CHAIN):
            y = y * m + c
        y.backward()
        return y

    return step, (), lambda y: [y.item(), x.grad.item(), m.grad.item(), c.grad.item()]


def _numbers(found: Any) -> list[float]:
    value, gradients = found
    return [float(np.asarray(value).sum()), *fingerprint(*gradients)]


def formula_of_peer(name: str, shape: tuple[int, ...]) -> Running:
    """The formula by one of the peers."""
    peer = engine(name)
    differentiate = peer.value_and_grad(lambda a, b, c: peer.sum(peer.tanh(a * b + c)))
    return Running(partial(differentiate, _arrays(shape)), _numbers)


def _peers(make: Any, *arguments: Any) -> dict[str, Any]:
    names = ("jax", "mygrad", "autograd", "tinygrad", "dezero", "pydynet")
    return {name: partial(make, name, *arguments) for name in names}


def chain_of_peer(name: str) -> Running:
    """A thousand multiply-adds and back by one of the peers."""
    peer = engine(name)

    def chained(x: Any, m: Any, c: Any) -> Any:
        y = x
        for _ in range(CHAIN):
            y = y * m + c
        return peer.sum(y)

    differentiate = peer.value_and_grad(chained)
    start = [np.array([v], np.float32) for v in (0.5, 0.999, 0.001)]

    def numbers(found: Any) -> list[float]:
        value, gradients = found
        return [float(np.asarray(x).sum()) for x in (value, *gradients)]

    return Running(partial(differentiate, start), numbers)


WORKS = [
    Work(
        "overhead.one",
        "((a*b + c).tanh()).sum() forward and backward, one element",
        three(formula, (1,)) | _peers(formula_of_peer, (1,)),
        {EAGER: 0.5, JIT: 0.06},
    ),
    Work(
        "overhead.million",
        "the same, 1000x1000 elements",
        three(formula, (1000, 1000)) | _peers(formula_of_peer, (1000, 1000)),
        {EAGER: 0.8, JIT: 0.3},
    ),
    Work(
        "overhead.chain",
        "a chain of 1,000 one-element multiply-adds, forward and backward",
        # In float32 a thousand roundings: summed in another order they differ by a little more.
        three(chain) | {name: make for name, make in _peers(chain_of_peer).items() if name != "tinygrad"},
        {EAGER: 0.5},
        tolerance=1e-3,
    ),
]


if __name__ == "__main__":
    raise SystemExit(alone("overhead"))
