"""A Llama out of a GGUF file, whose names and whose order of rotated pairs are llama.cpp's."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from tinygrad_ft.formats.gguf import GGUF
from tinygrad_ft.models.llama import LlamaConfig, LlamaForCausalLM

# llama.cpp's names of a file's tensors and of a block's, and Hugging Face's.
NAMES = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
NAMES_IN_BLOCK = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


class _Blank(np.random.Generator):
    """Draws 0 for weights that the file's replace at once: drawing 135 million would take longer than reading them."""

    def normal(self, *_: Any, **__: Any) -> Any:
        return 0.0

    uniform = normal


def load_gguf(path: str | os.PathLike[str] | GGUF) -> LlamaForCausalLM:
    """The model in a GGUF file, what is quantised there as float32, in evaluation mode.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it is no GGUF file, not of a Llama, or its tensors are not those of its metadata.
    """
    file = path if isinstance(path, GGUF) else GGUF(path)
    names = {name_of(name): name for name in file.names}
    config = config_of(
        file.metadata, tied="lm_head.weight" not in names, biased="model.layers.0.self_attn.q_proj.bias" in names
    )
    _require_sizes(file, config)
    model = LlamaForCausalLM(config, rng=_Blank(np.random.PCG64()))
    own = model.state_dict()
    missing, unexpected = sorted(own.keys() - names.keys()), sorted(names.keys() - own.keys())
    if missing or unexpected:
        raise ValueError(
            f"{file.path} does not hold a Llama of {config.num_hidden_layers} layers: "
            f"missing {', '.join(missing[:8]) or 'nothing'}; unexpected {', '.join(unexpected[:8]) or 'nothing'}"
        )
    for name, tensor in own.items():
        array = file.tensor(names[name])
        if array.shape != tuple(tensor.shape):
            raise ValueError(
                f"{file.path}: {names[name]} has shape {array.shape}, and its metadata ask for {tuple(tensor.shape)}"
            )
        if ".q_proj." in name:
            array = halves_apart(array, config.num_attention_heads)
        elif ".k_proj." in name:
            array = halves_apart(array, config.key_value_heads)
        tensor.array[...] = array
    model.eval()
    return model


def _require_sizes(file: GGUF, config: LlamaConfig) -> None:
    """Before room is made for them: no size is more than the file's tensors have, which are not larger than the file.

    Raises:
        ValueError: if one is.
    """
    most = max((n for name in file.names for n in file.shape(name)), default=0)
    widths = {
        "vocab_size": config.vocab_size,
        "embedding_length": config.hidden_size,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count times key_length": config.num_attention_heads * config.width_of_head,
    }
    wrong = {name: n for name, n in widths.items() if n > most}
    if config.num_hidden_layers > len(file.names):
        wrong["block_count"] = config.num_hidden_layers
    if wrong:
        asked = ", ".join(f"llama.{name} = {n}" for name, n in wrong.items())
        raise ValueError(f"{file.path} asks for {asked}, and has {len(file.names)} tensors of at most {most} rows")


def name_of(name: str) -> str:
    """Hugging Face's name of a tensor that llama.cpp calls `name`; the same name if there is none."""
    stem, _, ending = name.rpartition(".")
    if stem in NAMES:
        return f"{NAMES[stem]}.{ending}"
    block, _, part = stem.removeprefix("blk.").partition(".")
    if stem.startswith("blk.") and part in NAMES_IN_BLOCK:
        return f"model.layers.{block}.{NAMES_IN_BLOCK[part]}.{ending}"
    return name


def halves_apart(array: Any, heads: int) -> np.ndarray[Any, Any]:
    """Rows in which each head's rotated pairs are neighbours, brought to Hugging Face's order: first halves first.

    Shapes: (heads * width, ...) -> the same shape.
    """
    pairs = array.reshape(heads, -1, 2, *array.shape[1:])
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(array.shape)


def config_of(metadata: dict[str, Any], *, tied: bool, biased: bool = False) -> LlamaConfig:
    """The configuration that a file's metadata describe.

    Args:
        tied: whether the file has no output layer of its own.
        biased: whether attention has biases.

    Raises:
        ValueError: if they are of another architecture, lack a size, or ask for what our Llama does not compute.
    """
    architecture = metadata.get("general.architecture")
    if architecture != "llama":
        raise ValueError(f"the GGUF file holds a model of architecture {architecture!r}: known here is 'llama'")

    def asked(name: str, *default: Any) -> Any:
        value = metadata.get(f"llama.{name}", *default)
        if value is None and not default:
            raise ValueError(f"the GGUF file's metadata lack llama.{name}: it may have been cut off; get it again")
        return value

    scaling = asked("rope.scaling.type", "none")
    if scaling != "none":
        raise ValueError(f"the GGUF file asks for rotations of type {scaling!r}: this Llama computes plain ones only")
    heads, hidden = asked("attention.head_count"), asked("embedding_length")
    width = asked("attention.key_length", None)
    config = LlamaConfig(
        vocab_size=asked("vocab_size", len(metadata.get("tokenizer.ggml.tokens", ()))),
        hidden_size=hidden,
        intermediate_size=asked("feed_forward_length"),
        num_hidden_layers=asked("block_count"),
        num_attention_heads=heads,
        num_key_value_heads=asked("attention.head_count_kv", heads),
        head_dim=width,
        max_position_embeddings=asked("context_length"),
        rms_norm_eps=asked("attention.layer_norm_rms_epsilon"),
        rope_theta=asked("rope.freq_base", 10000.0),
        tie_word_embeddings=tied,
        attention_bias=biased,
        bos_token_id=metadata.get("tokenizer.ggml.bos_token_id"),
        eos_token_id=metadata.get("tokenizer.ggml.eos_token_id"),
    )
    turned = asked("rope.dimension_count", config.width_of_head)
    if turned != config.width_of_head:
        raise ValueError(f"the GGUF file rotates {turned} of {config.width_of_head} numbers: this Llama rotates all")
    return config
