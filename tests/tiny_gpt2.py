"""GPT-2s so small that a test trains them."""

import dataclasses

from tiny_llama import loosened

from tinygrad_ft.models import GPT2Config, GPT2LMHeadModel

TINY = GPT2Config(
    vocab_size=29, n_positions=16, n_embd=12, n_layer=2, n_head=3, bos_token_id=None, eos_token_id=None
)  # fmt: skip
PLAIN_GELU = dataclasses.replace(TINY, activation_function="gelu", n_inner=20, eos_token_id=(1, 2))


def tiny(config=TINY, kind=GPT2LMHeadModel, seed=0, spread=0.4):
    """With weights so large that attention looks somewhere and GELU bends; `spread` is their deviation."""
    return loosened(kind, config, seed, spread)
