"""GPT-2, with the parameter names and the config.json of Hugging Face."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tinygrad_ft import nn, ops
from tinygrad_ft.models.generate import Cache, causal_attention, generate

_ACTIVATIONS: dict[str, str] = {"gelu_new": "tanh", "gelu_pytorch_tanh": "tanh", "gelu": "none"}  # to ops.gelu's word
_SIZES = ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head")
_CHANCES = ("resid_pdrop", "embd_pdrop", "attn_pdrop")
# Keys of config.json that change what is computed, and the only value that this model computes.
_FIXED = {
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "add_cross_attention": False,
    "tie_word_embeddings": True,
}


@dataclass(frozen=True)
class GPT2Config:
    """The shape of a GPT-2, by the keys of Hugging Face's config.json; n_inner None means 4 n_embd."""

    vocab_size: int = 50257
    n_positions: int = 1024
    n_embd: int = 768
    n_layer: int = 12
    n_head: int = 12
    n_inner: int | None = None
    activation_function: str = "gelu_new"
    resid_pdrop: float = 0.1
    embd_pdrop: float = 0.1
    attn_pdrop: float = 0.1
    layer_norm_epsilon: float = 1e-5
    initializer_range: float = 0.02
    bos_token_id: int | None = 50256
    eos_token_id: int | tuple[int, ...] | None = 50256

    def __post_init__(self) -> None:
        for name in (*_SIZES, *(() if self.n_inner is None else ("n_inner",))):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise ValueError(f"a GPT-2 needs {name} of at least 1: got {getattr(self, name)!r}")
        if self.n_embd % self.n_head:
            raise ValueError(f"a GPT-2's n_embd must be a multiple of its n_head: got {self.n_embd} and {self.n_head}")
        if self.activation_function not in _ACTIVATIONS:
            known = ", ".join(_ACTIVATIONS)
            raise ValueError(f"a GPT-2's activation_function is one of {known}: got {self.activation_function!r}")
        for name in ("layer_norm_epsilon", "initializer_range", *_CHANCES):
            if not isinstance(getattr(self, name), int | float) or not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"a GPT-2 needs {name} from 0 to 1: got {getattr(self, name)!r}")

    @property
    def max_position_embeddings(self) -> int:
        """`n_positions`, by the name that other models give it."""
        return self.n_positions

    @classmethod
    def from_hf(cls, config: dict[str, Any]) -> GPT2Config:
        """From what a config.json of Hugging Face holds; its keys that change no number are passed over.

        Raises:
            ValueError: if it is of another model, needs what this GPT-2 does not compute, or names impossible sizes.
        """
        if config.get("model_type", "gpt2") != "gpt2":
            raise ValueError(f"config.json describes a model of type {config['model_type']!r}, and not a 'gpt2'")
        for key, value in _FIXED.items():
            if config.get(key, value) != value:
                raise ValueError(f"config.json asks for {key} = {config[key]!r}: this GPT-2 computes {value!r} only")
        found = {name: config[name] for name in cls.__dataclass_fields__ if name in config}
        if isinstance(found.get("eos_token_id"), list):
            found["eos_token_id"] = tuple(found["eos_token_id"])
        return cls(**found)

    def to_dict(self) -> dict[str, Any]:
        """What config.json holds, as Hugging Face reads it."""
        return {"model_type": "gpt2", **asdict(self)}


class Conv1D(nn.Module):
    """y = x W + b, under the name that GPT-2 gave it: the weight is (inputs, outputs), and not as nn.Linear's."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.weight = nn.Parameter(np.zeros((inputs, outputs), np.float32))
        self.bias = nn.Parameter(np.zeros(outputs, np.float32))

    def forward(self, x: Any) -> Any:
        """x (..., inputs) -> (..., outputs)."""
        return ops.matmul(x, self.weight) + self.bias


class GPT2Attention(nn.Module):
    """Causal attention, its three projections in one."""

    def __init__(self, config: GPT2Config, layer: int, rng: Any = None):
        super().__init__()
        self.layer, self.heads, self.rate, self.rng = layer, config.n_head, config.attn_pdrop, rng
        self.c_attn = Conv1D(config.n_embd, 3 * config.n_embd)
        self.c_proj = Conv1D(config.n_embd, config.n_embd)
        self.resid_dropout = nn.Dropout(config.resid_pdrop, rng=rng)

    def forward(self, x: Any, cache: Cache | None = None) -> Any:
        """x (batch, n, n_embd) -> the same shape."""
        batch, n, width = x.shape
        q, k, v = (
            ops.permute(ops.reshape(part, (batch, n, self.heads, -1)), axes=(0, 2, 1, 3))
            for part in ops.split(self.c_attn(x), (width,) * 3, axis=-1)
        )
        if cache is not None:
            k, v = cache.extended(self.layer, k, v)
        y = causal_attention(q, k, v, self.rate if self.training else 0.0, self.rng)
        return self.resid_dropout(self.c_proj(y))


class GPT2MLP(nn.Module):
    """c_proj(gelu(c_fc(x)))."""

    def __init__(self, config: GPT2Config, rng: Any = None):
        super().__init__()
        inner = config.n_inner or 4 * config.n_embd
        self.approximate = _ACTIVATIONS[config.activation_function]
        self.c_fc = Conv1D(config.n_embd, inner)
        self.c_proj = Conv1D(inner, config.n_embd)
        self.dropout = nn.Dropout(config.resid_pdrop, rng=rng)

    def forward(self, x: Any) -> Any:
        """x (..., n_embd) -> the same shape."""
        return self.dropout(self.c_proj(ops.gelu(self.c_fc(x), approximate=self.approximate)))


class GPT2Block(nn.Module):
    """A pre-norm Transformer block: x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, config: GPT2Config, layer: int, rng: Any = None):
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd, config.layer_norm_epsilon)
        self.attn = GPT2Attention(config, layer, rng)
        self.ln_2 = nn.LayerNorm(config.n_embd, config.layer_norm_epsilon)
        self.mlp = GPT2MLP(config, rng)

    def forward(self, x: Any, cache: Cache | None = None) -> Any:
        """x (batch, n, n_embd) -> the same shape."""
        x = x + self.attn(self.ln_1(x), cache)
        return x + self.mlp(self.ln_2(x))


class _GPT2(nn.Module):
    """What the models below share."""

    config: GPT2Config

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str], **options: Any) -> Any:
        """The model that a folder with config.json and model.safetensors holds; see `pretrained.load_pretrained`."""
        from tinygrad_ft.models.pretrained import load_pretrained

        return load_pretrained(cls, folder, **options)


class GPT2Model(_GPT2):
    """ids (batch, n) -> hidden states (batch, n, n_embd); position i sees tokens 0 to i.

    Weights start as our GPT's do, see there: those that write into the residual stream smaller.
    Source: Radford et al., "Language Models are Unsupervised Multitask Learners", 2019, section 2.3.
    """

    def __init__(self, config: GPT2Config, *, rng: Any = None):
        super().__init__()
        self.config = config
        self.wte = nn.Embedding(config.vocab_size, config.n_embd, rng=rng)
        self.wpe = nn.Embedding(config.n_positions, config.n_embd, rng=rng)
        self.drop = nn.Dropout(config.embd_pdrop, rng=rng)
        self.h = nn.ModuleList(GPT2Block(config, i, rng) for i in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.n_embd, config.layer_norm_epsilon)
        for name, p in self.named_parameters():
            if p.ndim == 2:
                smaller = (2 * config.n_layer) ** -0.5 if name.endswith("c_proj.weight") else 1.0
                nn.init.normal_(p, std=config.initializer_range * smaller, rng=rng)

    def forward(self, input_ids: Any, cache: Cache | None = None) -> Any:
        """input_ids (batch, n) integers -> (batch, n, n_embd).

        Args:
            cache: keys and values of the tokens before these; those of these are added to it.

        Raises:
            ValueError: if n is 0, or more than `n_positions` with the tokens before.
        """
        shape, start = tuple(input_ids.shape), cache.length if cache is not None else 0
        room = self.config.n_positions - start
        if len(shape) != 2 or not 1 <= shape[1] <= room:
            after = f" after {start}" if start else ""
            raise ValueError(f"GPT-2 needs input_ids (batch, n) with n from 1 to {room}{after}: got {shape}")
        x = self.drop(self.wte(input_ids) + self.wpe.weight[start : start + shape[1]])
        for block in self.h:
            x = block(x, cache)
        return self.ln_f(x)


class GPT2LMHeadModel(_GPT2):
    """ids (batch, n) -> logits (batch, n, vocab_size) of the token that follows each (weights tied)."""

    def __init__(self, config: GPT2Config, *, rng: Any = None):
        super().__init__()
        self.config = config
        self.transformer = GPT2Model(config, rng=rng)

    def forward(self, input_ids: Any, cache: Cache | None = None) -> Any:
        """GPT2Model's arguments -> logits (batch, n, vocab_size); with a cache those of the last token only."""
        hidden = self.transformer(input_ids, cache)
        if cache is not None:
            hidden = hidden[:, -1:]
        return ops.linear(hidden, self.transformer.wte.weight, None)

    def new_cache(self) -> Cache:
        """What `generate` keeps of the tokens seen."""
        return Cache()

    def generate(self, prompt: Any, tokens: int, **options: Any) -> np.ndarray[Any, Any]:
        """The prompt and as many more tokens; see `models.generate.generate`, whose context is the model's own."""
        return generate(self, prompt, tokens, context=self.config.n_positions, **options)
