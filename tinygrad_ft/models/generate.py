"""Writing token by token, and what a causal model keeps so that each token costs but one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from tinygrad_ft import ops
from tinygrad_ft.gradients import no_grad
from tinygrad_ft.ops.moving import beside
from tinygrad_ft.tensor import tensor


class Cache:
    """Keys and values of the tokens that a model has seen, layer by layer, so that later tokens can look at them."""

    def __init__(self) -> None:
        self.layers: list[tuple[Any, Any]] = []

    @property
    def length(self) -> int:
        """How many tokens were seen."""
        return self.layers[0][0].shape[2] if self.layers else 0

    def extended(self, layer: int, key: Any, value: Any) -> tuple[Any, Any]:
        """All keys and values of a layer, (batch, heads, tokens, width) each, these new ones at the end."""
        if layer == len(self.layers):
            self.layers.append((key, value))
        else:
            before = self.layers[layer]
            self.layers[layer] = ops.cat([before[0], key], 2), ops.cat([before[1], value], 2)
        return self.layers[layer]


def causal_attention(q: Any, k: Any, v: Any, rate: float = 0.0, rng: Any = None) -> Any:
    """Attention of the last n of m positions, each to itself and all before it, as (batch, n, heads * width).

    Shapes: q (batch, heads, n, width), k and v (batch, heads, m, width), n <= m.

    Args:
        rate: chance that a weight is dropped.
    """
    batch, heads, n, width = q.shape
    m = k.shape[2]
    mask = None if n in (1, m) else beside(q, np.tri(n, m, m - n, dtype=bool))
    y = ops.scaled_dot_product_attention(q, k, v, mask, rate, n == m, rng=rng)
    return ops.reshape(ops.permute(y, axes=(0, 2, 1, 3)), (batch, n, heads * width))


def generate(
    model: Any,
    prompt: Any,
    tokens: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    rng: np.random.Generator,
    context: int,
    stop: Iterable[int] = (),
) -> np.ndarray[Any, Any]:
    """The prompt and as many more tokens, each drawn from what the model expects next.

    A model with a method `new_cache` is given each token once, with its cache, until the context is full; from then on,
    as a model without always, the last `context` tokens anew for each.

    Args:
        model: ids (1, n) -> logits (1, n or 1, vocabulary), of which the last are asked for.
        prompt: token ids, at least one; only the last `context` of them are seen.
        temperature: logits are divided by it; 0 always takes the likeliest token.
        top_k: draw from the k likeliest only.
        context: how many tokens the model sees at most.
        stop: ids of tokens after which no more is written.

    Raises:
        ValueError: if the prompt is empty, a number is out of its range, or the model's answer is not finite.
    """
    if len(prompt) == 0:
        raise ValueError("generate needs a prompt of at least one token")
    if not temperature >= 0 or (top_k is not None and top_k < 1):
        raise ValueError(f"generate needs temperature >= 0 and top_k >= 1: got {temperature} and {top_k}")
    ids, place, last = np.asarray(prompt, dtype=np.int64), next(model.parameters()).device, set(stop)
    cache = model.new_cache() if hasattr(model, "new_cache") else None
    with model.evaluating(), no_grad():
        for _ in range(tokens):
            if cache is None:
                logits = model(tensor(ids[None, -context:]).to(place))
            else:
                if len(ids) > context:  # every token has another position now, so that nothing kept holds
                    cache = model.new_cache()
                seen = ids[-context:][cache.length :]
                logits = model(tensor(seen[None]).to(place), cache=cache)
            drawn = _drawn(logits[0, -1].cpu().array.astype(np.float64), temperature, top_k, rng)
            ids = np.append(ids, drawn)
            if drawn in last:
                break
    return ids


def _drawn(logits: Any, temperature: float, top_k: int | None, rng: np.random.Generator) -> int:
    if not np.isfinite(logits).all():
        raise ValueError("the model's logits are not finite, so nothing can be drawn: its weights have gone bad")
    if temperature == 0:
        return int(logits.argmax())
    with np.errstate(over="ignore"):  # a tiny temperature sends all but the likeliest to -inf, which is what it means
        z = (logits - logits.max()) / temperature
    if top_k is not None and top_k < len(logits):
        z = np.where(logits < np.sort(logits)[-top_k], -np.inf, z)
    return int(rng.choice(len(logits), p=ops.softmax(z)))
