"""Llamas so small that a test trains them, their files and tokenizer, and the faults that their tests plant."""

import dataclasses

import numpy as np
import pytest

from tinygrad_ft import ops
from tinygrad_ft.models import LlamaConfig, LlamaForCausalLM, llama, llama_gguf

TINY = LlamaConfig(
    vocab_size=29,
    hidden_size=12,
    intermediate_size=20,
    num_hidden_layers=2,
    num_attention_heads=6,
    num_key_value_heads=3,
    head_dim=4,
    max_position_embeddings=16,
    rms_norm_eps=1e-5,
    rope_theta=500.0,
    tie_word_embeddings=True,
)
UNTIED = dataclasses.replace(TINY, tie_word_embeddings=False, attention_bias=True, mlp_bias=True)
SINGLE = dataclasses.replace(TINY, num_key_value_heads=1, head_dim=6, eos_token_id=(1, 2))


def loosened(kind, config, seed, spread):
    rng = np.random.default_rng(seed)
    model = kind(config, rng=rng)
    for p in model.parameters():
        p.array += rng.normal(0, spread, p.shape).astype(np.float32)
    return model.eval()


def tiny(config=TINY, kind=LlamaForCausalLM, seed=0, spread=0.4):
    """With weights so large that attention looks somewhere; `spread` is their deviation."""
    return loosened(kind, config, seed, spread)


def ids_of(rng, *shape):
    return rng.integers(0, TINY.vocab_size, shape)


def interleaved(monkeypatch):
    def turned(x, cosines, sines):
        pairs = ops.reshape(x, (*x.shape[:-1], -1, 2))
        a, b = pairs[..., 0], pairs[..., 1]
        return ops.reshape(ops.stack([a * cosines - b * sines, b * cosines + a * sines], -1), x.shape)

    monkeypatch.setattr(llama, "rotated", turned)


def wrong_order_of_shared_heads(monkeypatch):
    monkeypatch.setattr(ops, "repeat_interleave", lambda x, times, axis: ops.cat([x] * times, axis))


def backwards(monkeypatch):
    right = llama.rotated
    monkeypatch.setattr(llama, "rotated", lambda x, cosines, sines: right(x, cosines, -sines))


def no_gate(monkeypatch):
    monkeypatch.setattr(llama.nn.functional, "silu", ops.gelu)


FAULTS = [interleaved, wrong_order_of_shared_heads, no_gate]


def write_gguf(path, model, *, changes=None, drop=(), more=(), tokenizer=None):
    """A file as llama.cpp's converter makes it: its names, rotated pairs as neighbours, and a tokenizer's metadata."""
    gguf = pytest.importorskip("gguf")
    config = model.config
    writer = gguf.GGUFWriter(path, "llama")
    numbers = {
        "vocab_size": config.vocab_size,
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "block_count": config.num_hidden_layers,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.key_length": config.head_dim,
        "rope.dimension_count": config.head_dim,
    } | (changes or {})
    for name, value in numbers.items():
        if isinstance(value, str):
            writer.add_string(f"llama.{name}", value)
        elif value is not None:
            writer.add_uint32(f"llama.{name}", value)
    writer.add_float32("llama.rope.freq_base", config.rope_theta)
    writer.add_float32("llama.attention.layer_norm_rms_epsilon", config.rms_norm_eps)
    for name, value in (tokenizer or {}).items():
        kind = {int: writer.add_uint32, str: writer.add_string, list: writer.add_array, bool: writer.add_bool}
        kind[type(value)](name, value)
    names = {ours: theirs for theirs, ours in llama_gguf.NAMES.items()}
    for i in range(config.num_hidden_layers):
        names |= {f"model.layers.{i}.{ours}": f"blk.{i}.{theirs}" for theirs, ours in llama_gguf.NAMES_IN_BLOCK.items()}
    for name, tensor in model.state_dict().items():
        stem, _, ending = name.rpartition(".")
        array = tensor.numpy_copy()
        heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(stem[-6:])
        if heads:
            array = array.reshape(heads, 2, -1, *array.shape[1:]).swapaxes(1, 2).reshape(array.shape)
        if names[stem] not in drop:
            writer.add_tensor(f"{names[stem]}.{ending}", np.ascontiguousarray(array))
    for name in more:
        writer.add_tensor(name, np.ones(4, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def letters(**changes):
    """The metadata of a tokenizer with all 256 bytes, the merges ab, abc and " a", and two special tokens."""
    from tokenizers.pre_tokenizers import ByteLevel

    tokens = ["<end>", "<begin>", *sorted(ByteLevel.alphabet()), "ab", "abc", "Ġa", "<new>"]
    found = {
        "model": "gpt2",
        "pre": "smollm",
        "tokens": tokens,
        "token_type": [3, 3, *[1] * (len(tokens) - 3), 4],
        "merges": ["a b", "ab c", "Ġ a"],
        "bos_token_id": 1,
        "eos_token_id": 0,
    }
    return {f"tokenizer.ggml.{name}": value for name, value in (found | changes).items() if value is not None}
