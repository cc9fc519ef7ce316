"""How fast is a training step of a GPT? nanoGPT's smallest, and one of 6 layers and 10.6 million weights.

No biases, the token table is the output layer too, GELU by the error function, AdamW with decay of the matrices,
gradients clipped to length 1: as in nanoGPT (Karpathy, 2022), train.py.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from benchmarks.harness import Running, Work, alone
from benchmarks.harness.contender import EAGER, JIT
from benchmarks.harness.frameworks import ours, torch, training
from benchmarks.harness.peers import engine
from benchmarks.harness.updates import Adam

VOCABULARY = 65
NANO = {"context": 64, "layers": 4, "heads": 4, "width": 128}
SIX = {"context": 256, "layers": 6, "heads": 6, "width": 384}
Sizes = dict[str, int]


def _state(sizes: Sizes) -> dict[str, Any]:
    """The weights to begin with, under the names of our model."""
    from tinygrad_ft.models import GPT, GPTConfig

    model = GPT(GPTConfig(VOCABULARY, **sizes), rng=np.random.default_rng(2))
    return {name: t.numpy() for name, t in model.state_dict().items()}


def _batch(sizes: Sizes, batch: int) -> tuple[Any, Any]:
    """ids (batch, context) and targets (batch * context,)."""
    ids, targets = np.random.default_rng(8).integers(0, VOCABULARY, (2, batch, sizes["context"]))
    return ids, targets.reshape(-1)


def _optimizer(framework: Any, parameters: list[Any]) -> Any:
    matrices, others = [p for p in parameters if p.ndim > 1], [p for p in parameters if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    return framework.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.99))


def _trained(framework: Any, forward: Any, parameters: list[Any], sizes: Sizes, batch: int) -> Any:
    def loss_of(forward: Any, ids: Any, targets: Any) -> Any:
        return framework.nn.functional.cross_entropy(forward(ids).reshape((-1, VOCABULARY)), targets)

    def clip() -> None:
        framework.nn.utils.clip_grad_norm_(parameters, 1.0)

    inputs = map(framework.tensor, _batch(sizes, batch))
    return training(forward, loss_of, _optimizer(framework, parameters), inputs, clip)


def model(tg: Any, sizes: Sizes, batch: int) -> Any:
    """Our model, as `tinygrad-ft train` trains it."""
    from tinygrad_ft.models import GPT, GPTConfig

    gpt = GPT(GPTConfig(VOCABULARY, **sizes))
    gpt.load_state_dict({name: tg.tensor(a) for name, a in _state(sizes).items()})
    return _trained(tg, gpt, list(gpt.parameters()), sizes, batch)


def functions(torch: Any, sizes: Sizes, batch: int) -> Any:
    """The same of PyTorch's functions, its fused attention included."""
    F = torch.nn.functional
    w = {name: torch.tensor(a, requires_grad=True) for name, a in _state(sizes).items()}
    n, width, heads = sizes["context"], sizes["width"], sizes["heads"]

    def heads_of(z: Any) -> Any:
        return z.view(batch, n, heads, width // heads).transpose(1, 2)

    def forward(ids: Any) -> Any:
        x = F.embedding(ids, w["wte.weight"]) + w["wpe.weight"]
        for layer in range(sizes["layers"]):
            at = f"blocks.{layer}."
            h = F.layer_norm(x, (width,), w[at + "norm1.weight"])
            q, k, v = F.linear(h, w[at + "self_attn.in_proj_weight"]).split(width, 2)
            y = F.scaled_dot_product_attention(heads_of(q), heads_of(k), heads_of(v), is_causal=True)
            x = x + F.linear(y.transpose(1, 2).reshape(batch, n, width), w[at + "self_attn.out_proj.weight"])
            h = F.layer_norm(x, (width,), w[at + "norm2.weight"])
            x = x + F.linear(F.gelu(F.linear(h, w[at + "linear1.weight"])), w[at + "linear2.weight"])
        return F.linear(F.layer_norm(x, (width,), w["norm.weight"]), w["wte.weight"])

    return _trained(torch, forward, list(w.values()), sizes, batch)


def of_peer(name: str, sizes: Sizes, batch: int) -> Running:
    """The same by one of the peers."""
    peer = engine(name)
    state = _state(sizes)
    names = list(state)
    ids, targets = _batch(sizes, batch)
    n, width, heads = sizes["context"], sizes["width"], sizes["heads"]
    length = width // heads
    later = np.triu(np.full((n, n), -1e9, np.float32), 1)

    def linear(x: Any, weight: Any) -> Any:
        return peer.matmul(x, weight.T)

    def loss_of(*parameters: Any) -> Any:
        w = dict(zip(names, parameters, strict=True))
        x = w["wte.weight"][ids] + w["wpe.weight"]
        for layer in range(sizes["layers"]):
            at = f"blocks.{layer}."
            h = linear(peer.layer_norm(x, w[at + "norm1.weight"]), w[at + "self_attn.in_proj_weight"])
            split = peer.reshape(h, (batch, n, 3, heads, length))
            q, k, v = (peer.transpose(split[:, :, i], (0, 2, 1, 3)) for i in range(3))
            scores = peer.matmul(q, peer.swapaxes(k, 2, 3)) * length**-0.5 + later
            y = peer.transpose(peer.matmul(peer.softmax(scores), v), (0, 2, 1, 3))
            x = x + linear(peer.reshape(y, (batch, n, width)), w[at + "self_attn.out_proj.weight"])
            h = linear(peer.layer_norm(x, w[at + "norm2.weight"]), w[at + "linear1.weight"])
            x = x + linear(peer.gelu(h), w[at + "linear2.weight"])
        logits = linear(peer.layer_norm(x, w["norm.weight"]), w["wte.weight"])
        return peer.cross_entropy(peer.reshape(logits, (-1, VOCABULARY)), targets)

    update = Adam(1e-3, (0.9, 0.99), decay=0.1, max_norm=1.0)
    return peer.training(loss_of, [np.array(a) for a in state.values()], update)


def _work(name: str, title: str, sizes: Sizes, batch: int, eager: float, jit: float) -> Work:
    peers = {peer: partial(of_peer, peer, sizes, batch) for peer in ("jax", "mygrad", "autograd")}
    contenders = ours(model, sizes, batch) | torch(functions, sizes, batch) | peers
    # MyGrad has no error function: its GELU is the one by tanh.
    return Work(f"gpt.{name}", title, contenders, {EAGER: eager, JIT: jit}, loose={"mygrad": 1e-3})


WORKS = [
    _work("nano", "4 layers, 4 heads, width 128, context 64, batch 12, AdamW, clipped", NANO, 12, 1.0, 0.4),
    _work("six", "6 layers, 6 heads, width 384, context 256, batch 16, AdamW, clipped", SIX, 16, 1.0, 0.65),
]


if __name__ == "__main__":
    raise SystemExit(alone("gpt"))
