"""GPT: a stack of causal Transformer blocks that predicts the next token of a text."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tinygrad_ft import nn, ops
from tinygrad_ft.models.generate import generate
from tinygrad_ft.tensor import Tensor, tensor


@dataclass(frozen=True)
class GPTConfig:
    """The shape of a GPT. `context` is how many tokens it sees at once, `width` how long a token's vector is."""

    vocabulary: int
    context: int = 64
    layers: int = 4
    heads: int = 4
    width: int = 128
    dropout: float = 0.0
    bias: bool = False

    def __post_init__(self) -> None:
        for name in ("vocabulary", "context", "layers", "heads", "width"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise ValueError(f"a GPT needs {name} of at least 1: got {getattr(self, name)!r}")
        if self.width % self.heads:
            raise ValueError(f"a GPT's width must be a multiple of its heads: got {self.width} and {self.heads}")

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)


class GPT(nn.Module):
    """ids (batch, n) -> logits (batch, n, vocabulary), n <= context; position i sees tokens 0 to i.

    Positions are learned, blocks are pre-norm, and the output layer is the token table again (weights tied).
    Weights start normal with deviation 0.02, those that write into the residual stream smaller by sqrt(2 layers), so
    that its variance at the end does not depend on depth.
    Sources: Radford et al., "Language Models are Unsupervised Multitask Learners", 2019, section 2.3; Press and
    Wolf, "Using the Output Embedding to Improve Language Models", 2017.
    """

    def __init__(self, config: GPTConfig, *, rng: np.random.Generator | None = None):
        super().__init__()
        self.config = config
        self.wte = nn.Embedding(config.vocabulary, config.width, rng=rng)
        self.wpe = nn.Embedding(config.context, config.width, rng=rng)
        self.drop = nn.Dropout(config.dropout, rng=rng)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                config.width, config.heads, 4 * config.width, config.dropout, bias=config.bias, rng=rng
            )
            for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(config.width, bias=config.bias)
        for name, p in self.named_parameters():
            if p.ndim == 2:
                residual = name.endswith(("out_proj.weight", "linear2.weight"))
                nn.init.normal_(p, std=0.02 * (2 * config.layers) ** -0.5 if residual else 0.02, rng=rng)
            elif name.endswith("bias"):
                nn.init.zeros_(p)

    def forward(self, ids: Any) -> Any:
        """ids (batch, n) integers -> logits (batch, n, vocabulary).

        Raises:
            ValueError: if n is 0 or more than the context.
        """
        n = ids.shape[-1]
        if ids.ndim != 2 or not 1 <= n <= self.config.context:
            raise ValueError(
                f"GPT needs ids (batch, n) with n from 1 to its context {self.config.context}: got {ids.shape}"
            )
        x = self.drop(self.wte(ids) + self.wpe.weight[:n])
        for block in self.blocks:
            x = block(x, is_causal=True)
        return ops.linear(self.norm(x), self.wte.weight, None)

    def generate(
        self,
        prompt: Any,
        tokens: int,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        rng: np.random.Generator,
    ) -> np.ndarray[Any, Any]:
        """The prompt and as many more tokens, each drawn from what the model expects next; see `models.generate`.

        Args:
            prompt: token ids, at least one; only the last `context` of them are seen.
            temperature: logits are divided by it; 0 always takes the likeliest token.
            top_k: draw from the k likeliest only.

        Raises:
            ValueError: if the prompt is empty, a number is out of its range, or the model's answer is not finite.
        """
        context = self.config.context
        return generate(self, prompt, tokens, temperature=temperature, top_k=top_k, rng=rng, context=context)


def loss_of(model: GPT, ids: Any, targets: Any) -> Any:
    """Mean cross-entropy of the next token, in nats."""
    place = model.wte.weight.device
    ids, targets = ((t if isinstance(t, Tensor) else tensor(t)).to(place) for t in (ids, targets))
    logits = model(ids)
    return ops.cross_entropy(ops.reshape(logits, (-1, model.config.vocabulary)), ops.reshape(targets, (-1,)))
