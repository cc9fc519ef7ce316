"""Is the eager engine as fast as PyTorch's? Run: python -m benchmarks.eager [--rounds N]

Three pieces of work: a chain of 1,000 multiply-adds on one element (overhead per op), a training step of the MLP
784-512-256-10 on 64 examples (matrix products), and a step of nanoGPT's smallest Transformer (both).
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks.common import Step, Work, compare, describe_machine

SIZES = (784, 512, 256, 10)
GPT = {"vocabulary": 65, "context": 64, "layers": 4, "heads": 4, "width": 128}
BATCH = 12


def _mlp_arrays() -> tuple[list[Any], Any, Any]:
    rng = np.random.default_rng(1)
    weights = [rng.standard_normal((o, i)) * (2 / i) ** 0.5 for i, o in pairwise(SIZES)]
    x, y = rng.standard_normal((64, SIZES[0])), rng.integers(0, 10, 64)
    return [w.astype(np.float32) for w in weights], x.astype(np.float32), y


def _gpt_arrays() -> tuple[dict[str, Any], Any, Any]:
    from tinygrad_ft.models import GPT as Model
    from tinygrad_ft.models import GPTConfig

    rng = np.random.default_rng(2)
    state = {name: t.array for name, t in Model(GPTConfig(**GPT), rng=rng).state_dict().items()}
    return state, *rng.integers(0, 65, (2, BATCH, GPT["context"]))


def _chain(framework: Any) -> Step:
    """A thousand multiply-adds and back."""

    def step() -> float:
        x, m, c = (framework.tensor([v], requires_grad=True) for v in (0.5, 0.999, 0.001))
        y = x
        for _ in range(1000):
            y = y * m + c
        y.backward()
        return x.grad.item()

    return step


def chain_ours() -> Step:
    """A thousand multiply-adds and back, in tinygrad_ft."""
    import tinygrad_ft as tg

    return _chain(tg)


def chain_torch() -> Step:
    """The same in PyTorch."""
    import torch

    return _chain(torch)


def _classifying(framework: Any, model: Any, optimizer: Any, inputs: Any, targets: Any) -> Step:
    """A training step of a classifier."""

    def step() -> float:
        optimizer.zero_grad()
        loss = framework.nn.functional.cross_entropy(model(inputs), targets)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def mlp_ours() -> Step:
    """A training step of the MLP in tinygrad_ft."""
    import tinygrad_ft as tg
    from tinygrad_ft.models import MLP, MLPConfig

    weights, x, y = _mlp_arrays()
    model = MLP(MLPConfig(SIZES))
    for p, w in zip([p for p in model.parameters() if p.ndim == 2], weights, strict=True):
        p.array[...] = w
    optimizer = tg.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    return _classifying(tg, model, optimizer, tg.tensor(x), tg.tensor(y))


def mlp_torch() -> Step:
    """The same in PyTorch."""
    import torch

    weights, x, y = _mlp_arrays()
    layers: list[Any] = []
    for w in weights:
        layers += [torch.nn.Linear(w.shape[1], w.shape[0]), torch.nn.ReLU()]
        layers[-2].weight.data = torch.tensor(w)
        layers[-2].bias.data.zero_()
    model = torch.nn.Sequential(*layers[:-1])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    return _classifying(torch, model, optimizer, torch.tensor(x), torch.tensor(y))


def gpt_ours() -> Step:
    """A training step of the smallest nanoGPT in tinygrad_ft: AdamW, gradients clipped to length 1."""
    import tinygrad_ft as tg
    from tinygrad_ft.models import GPT as Model
    from tinygrad_ft.models import GPTConfig
    from tinygrad_ft.models.gpt import loss_of

    state, ids, targets = _gpt_arrays()
    model = Model(GPTConfig(**GPT))
    model.load_state_dict(state)
    parameters = list(model.parameters())
    optimizer = tg.optim.AdamW(parameters, lr=1e-3, betas=(0.9, 0.99), weight_decay=0.1)

    def step() -> float:
        optimizer.zero_grad()
        loss = loss_of(model, ids, targets)
        loss.backward()
        tg.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        return loss.item()

    return step


def gpt_torch() -> Step:
    """The same in PyTorch, its fused attention included."""
    import torch
    from torch.nn import functional as F

    state, ids, targets = _gpt_arrays()
    w = {name: torch.tensor(a, requires_grad=True) for name, a in state.items()}
    width, heads, n = GPT["width"], GPT["heads"], GPT["context"]
    optimizer = torch.optim.AdamW(w.values(), lr=1e-3, betas=(0.9, 0.99), weight_decay=0.1)
    inputs, wanted = torch.tensor(ids), torch.tensor(targets).reshape(-1)

    def heads_of(z: Any) -> Any:
        return z.view(BATCH, n, heads, width // heads).transpose(1, 2)

    def step() -> float:
        optimizer.zero_grad()
        x = F.embedding(inputs, w["wte.weight"]) + w["wpe.weight"]
        for layer in range(GPT["layers"]):
            at = f"blocks.{layer}."
            h = F.layer_norm(x, (width,), w[at + "norm1.weight"])
            q, k, v = F.linear(h, w[at + "self_attn.in_proj_weight"]).split(width, 2)
            y = F.scaled_dot_product_attention(heads_of(q), heads_of(k), heads_of(v), is_causal=True)
            x = x + F.linear(y.transpose(1, 2).reshape(BATCH, n, width), w[at + "self_attn.out_proj.weight"])
            h = F.layer_norm(x, (width,), w[at + "norm2.weight"])
            x = x + F.linear(F.gelu(F.linear(h, w[at + "linear1.weight"])), w[at + "linear2.weight"])
        logits = F.linear(F.layer_norm(x, (width,), w["norm.weight"]), w["wte.weight"])
        loss = F.cross_entropy(logits.view(-1, GPT["vocabulary"]), wanted)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(w.values()), 1.0)
        optimizer.step()
        return loss.item()

    return step


WORKS = [
    Work("chain of 1,000 one-element multiply-adds", {"tinygrad_ft": chain_ours, "torch": chain_torch}, 1.0),
    Work("MLP 784-512-256-10, batch 64, SGD momentum", {"tinygrad_ft": mlp_ours, "torch": mlp_torch}, 1.0),
    Work("nano GPT step, batch 12, AdamW, clipped", {"tinygrad_ft": gpt_ours, "torch": gpt_torch}, 2.0),
]


def main() -> None:
    """Run all three and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=9, help="rounds of each, after one to warm up (default 9)")
    parser.add_argument("--seconds", type=float, default=0.5, help="length of a contender's turn (default 0.5)")
    arguments = parser.parse_args()
    print(describe_machine())
    for work in WORKS:
        compare(work, rounds=arguments.rounds, seconds=arguments.seconds)


if __name__ == "__main__":
    main()
