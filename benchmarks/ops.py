"""How fast are single ops that read more than they compute? Forward and backward of five, each small and large."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.harness import Work, alone, fingerprint
from benchmarks.harness.contender import EAGER
from benchmarks.harness.frameworks import three

SMALL, LARGE = (768, 128), (4096, 1024)


def _normal(seed: int, shape: tuple[int, ...], count: int) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape, np.float32) for _ in range(count)]


def _there_and_back(of: Any, leaves: list[Any], g: Any = None) -> Any:
    """The step of an op: its value, and the gradients of its leaves when the value's is g."""

    def step() -> Any:
        for x in leaves:
            x.grad = None
        y = of(*leaves)
        y.backward(g)
        return y

    return step, (), lambda y: fingerprint(y.detach().numpy(), *(x.grad.numpy() for x in leaves))


def by_row(framework: Any, name: str, shape: tuple[int, ...]) -> Any:
    """softmax, layer_norm (with scale and shift) or gelu of an array."""
    F = framework.nn.functional
    x, g = _normal(9, shape, 2)
    leaves = [framework.tensor(x, requires_grad=True)]
    if name == "layer_norm":
        weight, bias = np.ones(shape[-1], np.float32), np.zeros(shape[-1], np.float32)
        leaves += [framework.tensor(a, requires_grad=True) for a in (weight, bias)]
    of = {
        "softmax": lambda x: F.softmax(x, -1),
        "layer_norm": lambda x, weight, bias: F.layer_norm(x, shape[-1:], weight, bias),
        "gelu": F.gelu,
    }[name]
    return _there_and_back(of, leaves, framework.tensor(g))


def attention(framework: Any, shape: tuple[int, ...]) -> Any:
    """Causal attention of q, k and v (batch, heads, length, width)."""
    q, k, v, g = _normal(11, shape, 4)
    of = framework.nn.functional.scaled_dot_product_attention
    leaves = [framework.tensor(a, requires_grad=True) for a in (q, k, v)]
    return _there_and_back(lambda q, k, v: of(q, k, v, is_causal=True), leaves, framework.tensor(g))


def cross_entropy(framework: Any, shape: tuple[int, ...]) -> Any:
    """Mean cross-entropy of logits (rows, classes)."""
    (x,) = _normal(10, shape, 1)
    targets = framework.tensor(np.random.default_rng(10).integers(0, shape[1], shape[0]))
    leaves = [framework.tensor(x, requires_grad=True)]
    return _there_and_back(lambda x: framework.nn.functional.cross_entropy(x, targets), leaves)


def _work(name: str, build: Any, arguments: tuple[Any, ...], target: float) -> Work:
    shape = "x".join(map(str, arguments[-1]))
    title = f"{name.rpartition('_')[0].replace('_', ' ')} {shape}, forward and backward"
    return Work(f"ops.{name}", title, three(build, *arguments), {EAGER: target}, checked_steps=1)


WORKS = [
    *(_work(f"{name}_small", by_row, (name, SMALL), 0.9) for name in ("softmax", "layer_norm", "gelu")),
    *(_work(f"{name}_large", by_row, (name, LARGE), 1.0) for name in ("softmax", "layer_norm", "gelu")),
    _work("attention_small", attention, ((12, 4, 64, 32),), 0.6),
    _work("attention_large", attention, ((8, 8, 512, 64),), 0.6),
    _work("cross_entropy_large", cross_entropy, ((4096, 32000),), 0.3),
]


if __name__ == "__main__":
    raise SystemExit(alone("ops"))
