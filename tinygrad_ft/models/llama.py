"""Llama: a causal Transformer with rotary positions, with the parameter names and the config.json of Hugging Face."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tinygrad_ft import nn, ops
from tinygrad_ft.models.generate import Cache, causal_attention, generate
from tinygrad_ft.ops.moving import beside

_SIZES = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "max_position_embeddings",
)
# Keys of config.json that change what is computed, and the only value that this model computes.
_FIXED = {"hidden_act": "silu", "pretraining_tp": 1}


@dataclass(frozen=True)
class LlamaConfig:
    """The shape of a Llama, by the keys of Hugging Face's config.json.

    `num_key_value_heads` keys and values are shared by groups of `num_attention_heads` queries (None: one for each);
    `head_dim` is how wide each is (None: hidden_size / num_attention_heads); `rope_theta` is the base of the rotations'
    wavelengths. `eos_token_id` names the tokens that end a text.
    """

    vocab_size: int = 32000
    hidden_size: int = 4096
    intermediate_size: int = 11008
    num_hidden_layers: int = 32
    num_attention_heads: int = 32
    num_key_value_heads: int | None = None
    head_dim: int | None = None
    max_position_embeddings: int = 2048
    rms_norm_eps: float = 1e-6
    rope_theta: float = 10000.0
    tie_word_embeddings: bool = False
    attention_bias: bool = False
    mlp_bias: bool = False
    attention_dropout: float = 0.0
    initializer_range: float = 0.02
    bos_token_id: int | None = None
    eos_token_id: int | tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.num_key_value_heads is None:
            object.__setattr__(self, "num_key_value_heads", self.num_attention_heads)
        if self.head_dim is None and _is_size(self.hidden_size) and _is_size(self.num_attention_heads):
            if self.hidden_size % self.num_attention_heads:
                raise ValueError(
                    "a Llama's hidden_size must be a multiple of its num_attention_heads: "
                    f"got {self.hidden_size} and {self.num_attention_heads}"
                )
            object.__setattr__(self, "head_dim", self.hidden_size // self.num_attention_heads)
        for name in _SIZES:
            if not _is_size(getattr(self, name)):
                raise ValueError(f"a Llama needs {name} of at least 1: got {getattr(self, name)!r}")
        if self.num_attention_heads % self.key_value_heads:
            raise ValueError(
                "a Llama's num_attention_heads must be a multiple of its num_key_value_heads: "
                f"got {self.num_attention_heads} and {self.num_key_value_heads}"
            )
        if self.width_of_head % 2:
            raise ValueError(f"a Llama's head_dim must be even, for pairs are rotated: got {self.head_dim}")
        for name in ("rms_norm_eps", "initializer_range", "attention_dropout"):
            if not isinstance(getattr(self, name), int | float) or not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"a Llama needs {name} from 0 to 1: got {getattr(self, name)!r}")
        if not isinstance(self.rope_theta, int | float) or not 0.0 < self.rope_theta < np.inf:
            raise ValueError(f"a Llama needs rope_theta above 0: got {self.rope_theta!r}")

    @property
    def key_value_heads(self) -> int:
        """`num_key_value_heads`, which is known by now."""
        return self.num_key_value_heads or self.num_attention_heads

    @property
    def width_of_head(self) -> int:
        """`head_dim`, which is known by now."""
        return self.head_dim or self.hidden_size // self.num_attention_heads

    @classmethod
    def from_hf(cls, config: dict[str, Any]) -> LlamaConfig:
        """From what a config.json of Hugging Face holds; its keys that change no number are passed over.

        Raises:
            ValueError: if it is of another model, needs what this Llama does not compute, or names impossible sizes.
        """
        if config.get("model_type", "llama") != "llama":
            raise ValueError(f"config.json describes a model of type {config['model_type']!r}, and not a 'llama'")
        for key, value in _FIXED.items():
            if config.get(key, value) != value:
                raise ValueError(f"config.json asks for {key} = {config[key]!r}: this Llama computes {value!r} only")
        found = {name: config[name] for name in cls.__dataclass_fields__ if config.get(name) is not None}
        rope = config.get("rope_parameters") or config.get("rope_scaling") or {}  # newer and older files
        if not isinstance(rope, dict):
            raise ValueError(f"config.json's rope_parameters must be a table: got {rope!r}")
        kind = rope.get("rope_type", rope.get("type", "default"))
        if kind != "default":
            raise ValueError(f"config.json asks for rotations of type {kind!r}: this Llama computes 'default' only")
        if "rope_theta" in rope:
            found["rope_theta"] = rope["rope_theta"]
        if isinstance(found.get("eos_token_id"), list):
            found["eos_token_id"] = tuple(found["eos_token_id"])
        return cls(**found)

    def to_dict(self) -> dict[str, Any]:
        """What config.json holds, as Hugging Face reads it."""
        return {"model_type": "llama", "hidden_act": "silu", **asdict(self)}


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and value >= 1


def rotations(like: Any, start: int, n: int, width: int, theta: float) -> tuple[Any, Any]:
    """(cosines, sines), each (n, width / 2), of positions start, start + 1, ...; of the dtype and device of `like`.

    Pair i of a head turns by position * theta^(-2 i / width).
    """
    angles = np.arange(start, start + n)[:, None] * theta ** (-np.arange(0, width, 2) / width)
    return beside(like, np.cos(angles).astype(like.dtype)), beside(like, np.sin(angles).astype(like.dtype))


def rotated(x: Any, cosines: Any, sines: Any) -> Any:
    """Each pair of numbers turned by its angle; number i of the first half of a head goes with i of the second.

    Shapes: x (batch, heads, n, width), cosines and sines (n, width / 2) -> the shape of x.
    Source: Su et al., "RoFormer", 2021, section 3.2.2, with the pairs as Hugging Face lays them.
    """
    half = x.shape[-1] // 2
    a, b = ops.split(x, (half, half), axis=-1)
    return ops.cat([a * cosines - b * sines, b * cosines + a * sines], -1)


class LlamaAttention(nn.Module):
    """Causal attention in which groups of queries share a key and a value, positions being rotations of q and k.

    Source: Ainslie et al., "GQA", 2023, section 2.2.
    """

    def __init__(self, config: LlamaConfig, layer: int, rng: Any = None):
        super().__init__()
        self.layer, self.rate, self.rng = layer, config.attention_dropout, rng
        self.heads, self.shared, self.width = config.num_attention_heads, config.key_value_heads, config.width_of_head
        bias, whole, fewer = config.attention_bias, self.heads * self.width, self.shared * self.width
        self.q_proj = nn.Linear(config.hidden_size, whole, bias, rng=rng)
        self.k_proj = nn.Linear(config.hidden_size, fewer, bias, rng=rng)
        self.v_proj = nn.Linear(config.hidden_size, fewer, bias, rng=rng)
        self.o_proj = nn.Linear(whole, config.hidden_size, bias, rng=rng)

    def forward(self, x: Any, cosines: Any, sines: Any, cache: Cache | None = None) -> Any:
        """x (batch, n, hidden_size) -> the same shape."""
        q, k, v = (self._apart(part(x)) for part in (self.q_proj, self.k_proj, self.v_proj))
        q, k = rotated(q, cosines, sines), rotated(k, cosines, sines)
        if cache is not None:
            k, v = cache.extended(self.layer, k, v)
        if self.shared < self.heads:
            k, v = (ops.repeat_interleave(part, self.heads // self.shared, 1) for part in (k, v))
        return self.o_proj(causal_attention(q, k, v, self.rate if self.training else 0.0, self.rng))

    def _apart(self, x: Any) -> Any:
        """(batch, n, heads * width) -> (batch, heads, n, width)."""
        return ops.permute(ops.reshape(x, (*x.shape[:2], -1, self.width)), axes=(0, 2, 1, 3))


class LlamaMLP(nn.Module):
    """down(silu(gate(x)) up(x)). Source: Shazeer, "GLU Variants Improve Transformer", 2020, section 2: SwiGLU."""

    def __init__(self, config: LlamaConfig, rng: Any = None):
        super().__init__()
        outer, inner, bias = config.hidden_size, config.intermediate_size, config.mlp_bias
        self.gate_proj = nn.Linear(outer, inner, bias, rng=rng)
        self.up_proj = nn.Linear(outer, inner, bias, rng=rng)
        self.down_proj = nn.Linear(inner, outer, bias, rng=rng)

    def forward(self, x: Any) -> Any:
        """x (..., hidden_size) -> the same shape."""
        return self.down_proj(nn.functional.silu(self.gate_proj(x)) * self.up_proj(x))


class LlamaDecoderLayer(nn.Module):
    """A pre-norm Transformer block: x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, config: LlamaConfig, layer: int, rng: Any = None):
        super().__init__()
        self.self_attn = LlamaAttention(config, layer, rng)
        self.mlp = LlamaMLP(config, rng)
        self.input_layernorm = nn.RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = nn.RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, x: Any, cosines: Any, sines: Any, cache: Cache | None = None) -> Any:
        """x (batch, n, hidden_size) -> the same shape."""
        x = x + self.self_attn(self.input_layernorm(x), cosines, sines, cache)
        return x + self.mlp(self.post_attention_layernorm(x))


class _Llama(nn.Module):
    """What the models below share."""

    config: LlamaConfig

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str], **options: Any) -> Any:
        """The model that a folder with config.json and model.safetensors holds; see `pretrained.load_pretrained`."""
        from tinygrad_ft.models.pretrained import load_pretrained

        return load_pretrained(cls, folder, **options)

    def _start(self, rng: Any) -> None:
        """Weights normal with deviation `initializer_range`, biases 0."""
        for name, p in self.named_parameters():
            if p.ndim == 2:
                nn.init.normal_(p, std=self.config.initializer_range, rng=rng)
            elif name.endswith("bias"):
                nn.init.zeros_(p)


class LlamaModel(_Llama):
    """ids (batch, n) -> hidden states (batch, n, hidden_size); position i sees tokens 0 to i.

    Source: Touvron et al., "LLaMA", 2023, section 2.2.
    """

    def __init__(self, config: LlamaConfig, *, rng: Any = None):
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size, rng=rng)
        self.layers = nn.ModuleList(LlamaDecoderLayer(config, i, rng) for i in range(config.num_hidden_layers))
        self.norm = nn.RMSNorm(config.hidden_size, config.rms_norm_eps)
        self._start(rng)

    def forward(self, input_ids: Any, cache: Cache | None = None) -> Any:
        """input_ids (batch, n) integers -> (batch, n, hidden_size).

        Args:
            cache: keys and values of the tokens before these; those of these are added to it.

        Raises:
            ValueError: if n is 0, or more than `max_position_embeddings` with the tokens before.
        """
        shape, longest = tuple(input_ids.shape), self.config.max_position_embeddings
        start = cache.length if cache is not None else 0
        if len(shape) != 2 or not 1 <= shape[1] <= longest - start:
            after = f" after {start}" if start else ""
            raise ValueError(f"Llama needs input_ids (batch, n) with n from 1 to {longest - start}{after}: got {shape}")
        x = self.embed_tokens(input_ids)
        cosines, sines = rotations(x, start, shape[1], self.config.width_of_head, self.config.rope_theta)
        for layer in self.layers:
            x = layer(x, cosines, sines, cache)
        return self.norm(x)


class LlamaForCausalLM(_Llama):
    """ids (batch, n) -> logits (batch, n, vocab_size) of the token that follows each.

    The state has Hugging Face's names; with `tie_word_embeddings` the output layer is the token table again.
    """

    def __init__(self, config: LlamaConfig, *, rng: Any = None):
        super().__init__()
        self.config = config
        self.model = LlamaModel(config, rng=rng)
        self.lm_head = None
        if not config.tie_word_embeddings:
            self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False, rng=rng)
            nn.init.normal_(self.lm_head.weight, std=config.initializer_range, rng=rng)

    def forward(self, input_ids: Any, cache: Cache | None = None) -> Any:
        """LlamaModel's arguments -> logits (batch, n, vocab_size); with a cache those of the last token only."""
        hidden = self.model(input_ids, cache)
        if cache is not None:
            hidden = hidden[:, -1:]
        head = self.model.embed_tokens if self.lm_head is None else self.lm_head
        return ops.linear(hidden, head.weight, None)

    def new_cache(self) -> Cache:
        """What `generate` keeps of the tokens seen."""
        return Cache()

    def generate(self, prompt: Any, tokens: int, **options: Any) -> np.ndarray[Any, Any]:
        """The prompt and as many more tokens; see `models.generate.generate`, whose context is the model's own."""
        return generate(self, prompt, tokens, context=self.config.max_position_embeddings, **options)

    @classmethod
    def from_gguf(cls, path: str | os.PathLike[str]) -> LlamaForCausalLM:
        """The model that a GGUF file holds; see `llama_gguf.load_gguf`."""
        from tinygrad_ft.models.llama_gguf import load_gguf

        return load_gguf(path)
