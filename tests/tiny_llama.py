"""Llamas so small that a test trains them, and the faults that their tests plant."""

import dataclasses

import numpy as np

from tinygrad_ft import ops
from tinygrad_ft.models import LlamaConfig, LlamaForCausalLM, llama

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


def tiny(config=TINY, kind=LlamaForCausalLM, seed=0, spread=0.4):
    """With weights so large that attention looks somewhere; `spread` is their deviation."""
    rng = np.random.default_rng(seed)
    model = kind(config, rng=rng)
    for p in model.parameters():
        p.array += rng.normal(0, spread, p.shape).astype(np.float32)
    return model.eval()


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
