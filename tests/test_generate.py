"""Writing token by token: with a cache as without one, up to the context and beyond, and where it ends."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_ft as tg
from tinygrad_ft import ops
from tinygrad_ft.models import GPT2Config, GPT2LMHeadModel, GPTConfig, LlamaConfig, LlamaForCausalLM
from tinygrad_ft.models import generate as writing
from tinygrad_ft.models.generate import Cache, causal_attention, generate

LLAMA = LlamaConfig(
    vocab_size=13,
    hidden_size=12,
    intermediate_size=10,
    num_hidden_layers=2,
    num_attention_heads=6,
    num_key_value_heads=3,
    head_dim=4,
    max_position_embeddings=9,
    tie_word_embeddings=True,
)
GPT2 = GPT2Config(vocab_size=13, n_positions=9, n_embd=12, n_layer=2, n_head=3)
CONFIGS = {LlamaForCausalLM: LLAMA, GPT2LMHeadModel: GPT2}
KINDS = list(CONFIGS)


def small(kind, seed=0):
    """With weights so large that what is written varies."""
    rng = np.random.default_rng(seed)
    model = kind(CONFIGS[kind], rng=rng)
    for p in model.parameters():
        p.array += rng.normal(0, 0.6, p.shape).astype(np.float32)
    return model.eval()


class Uncached(tg.nn.Module):
    """The same model without its cache."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, ids):
        return self.model(ids)


def write(model, prompt=(1, 2), tokens=5, seed=0, context=9, **options):
    return generate(model, prompt, tokens, rng=np.random.default_rng(seed), context=context, **options).tolist()


@pytest.mark.parametrize("kind", KINDS)
@given(prompt=st.lists(st.integers(0, 12), min_size=1, max_size=12), tokens=st.integers(0, 12), seed=st.integers(0, 9))
def test_with_a_cache_the_same_is_written_as_without(kind, prompt, tokens, seed):
    model = small(kind)
    for options in ({"temperature": 0}, {"temperature": 1.5, "top_k": 5}):
        cached = write(model, prompt, tokens, seed, **options)
        assert cached == write(Uncached(model), prompt, tokens, seed, **options)
        assert len(cached) == len(prompt) + tokens


def test_what_is_written_without_temperature_varies_with_the_prompt():
    for kind in KINDS:  # else the test above would compare constants
        assert len({tuple(write(small(kind), [i], 8, temperature=0)[1:]) for i in range(13)}) > 5
        assert max(len(set(write(small(kind), [i], 8, temperature=0))) for i in range(13)) > 3


@pytest.mark.parametrize("kind", KINDS)
def test_a_cache_that_is_not_renewed_beyond_the_context_is_refused_by_the_model(kind, monkeypatch):
    model = small(kind)
    kept = Cache()
    monkeypatch.setattr(type(model), "new_cache", lambda self: kept)
    with pytest.raises(ValueError, match=r"n from 1 to 0 after 9: got \(1, 0\)"):
        write(model, tokens=9)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("parts", [(9,), (1,) * 9, (4, 5), (3, 1, 2, 3), (1, 8)])
def test_tokens_given_in_parts_get_the_logits_that_they_get_at_once(kind, parts, rng):
    model, cache, at = small(kind), Cache(), 0
    ids = rng.integers(0, 13, (2, 9))
    whole = model(tg.tensor(ids)).array
    for n in parts:
        logits = model(tg.tensor(ids[:, at : at + n]), cache=cache).array
        at += n
        assert logits.shape == (2, 1, 13)
        assert cache.length == at
        np.testing.assert_allclose(logits[:, 0], whole[:, at - 1], atol=2e-5)


@pytest.mark.parametrize("fault", ["positions", "mask", "order"])
def test_the_comparison_notices_a_fault_in_the_cache(fault, rng, monkeypatch):
    kind = LlamaForCausalLM
    if fault == "positions":  # every part begins at 0
        from tinygrad_ft.models import llama

        right = llama.rotations
        monkeypatch.setattr(llama, "rotations", lambda like, start, *more: right(like, 0, *more))
    elif fault == "mask":  # the queries taken for the first positions instead of the last
        monkeypatch.setattr(np, "tri", lambda n, m, k, dtype: np.arange(m) <= np.arange(n)[:, None])
    else:  # new ones before old ones
        right = ops.cat
        monkeypatch.setattr(
            writing.ops, "cat", lambda parts, axis: right(parts[::-1], axis) if axis == 2 else right(parts, axis)
        )
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        test_tokens_given_in_parts_get_the_logits_that_they_get_at_once(kind, (4, 5), rng)


def test_attention_of_the_last_positions_is_the_end_of_that_of_all(rng):
    q, k, v = (tg.tensor(rng.normal(size=(2, 3, 7, 4))) for _ in range(3))
    whole = causal_attention(q, k, v).array
    assert whole.shape == (2, 7, 12)
    for n in range(1, 8):
        part = causal_attention(q[:, :, 7 - n :], k, v).array
        np.testing.assert_allclose(part, whole[:, 7 - n :], atol=1e-14)


@pytest.mark.parametrize("kind", KINDS)
def test_a_cached_model_is_asked_for_each_token_once(kind, monkeypatch):
    model, seen = small(kind), []
    forward = type(model).forward
    monkeypatch.setattr(
        type(model), "forward", lambda self, ids, cache: seen.append(ids.shape[1]) or forward(self, ids, cache)
    )
    write(model, [1, 2, 3], 9, temperature=0)
    assert seen == [3, 1, 1, 1, 1, 1, 1, 9, 9]  # from the context's end on all of it


@pytest.mark.parametrize("kind", KINDS)
def test_writing_ends_after_a_token_that_ends_a_text(kind):
    model = small(kind)
    free = write(model, tokens=6, temperature=0)
    stop = free[4]
    first = free.index(stop, 2)
    assert write(model, tokens=6, temperature=0, stop=[stop, 99]) == free[: first + 1]
    assert write(model, tokens=6, temperature=0, stop=[99]) == free


@pytest.mark.parametrize("kind", KINDS)
def test_a_models_own_method_sees_all_of_its_context(kind):
    model = small(kind)
    options = {"temperature": 0.7, "top_k": 4}
    own = model.generate([1, 2], 12, rng=np.random.default_rng(3), **options).tolist()
    assert own == write(model, [1, 2], 12, 3, 9, **options)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompt": []}, "at least one token"),
        ({"temperature": -1}, "temperature >= 0 and top_k >= 1: got -1 and None"),
        ({"temperature": float("nan")}, "temperature >= 0"),
        ({"top_k": 0}, "top_k >= 1: got 1.0 and 0"),
    ],
)
def test_impossible_wishes_are_refused(kind, options, message):
    with pytest.raises(ValueError, match=message):
        write(small(kind), **options)


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_that_has_gone_bad_says_so_and_stays_in_its_mode(kind):
    model = small(kind).train()
    next(model.parameters()).array[:] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        write(model)
    assert model.training


@pytest.mark.parametrize("kind", KINDS)
def test_writing_leaves_no_graph_and_does_not_drop_out(kind):
    model = small(kind).train()
    assert write(model) == write(model.eval())
    assert all(p.grad is None for p in model.parameters())


def test_the_gpt_of_our_own_writes_by_the_same_function(monkeypatch):
    from tinygrad_ft.models import gpt

    model = gpt.GPT(GPTConfig(5, 4, 1, 1, 4))
    asked = {}
    monkeypatch.setattr(gpt, "generate", lambda *a, **options: asked.update(options) or np.array(a[1]))
    model.generate([1], 3, temperature=0.5, top_k=2, rng=np.random.default_rng(0))
    assert (asked["context"], asked["temperature"], asked["top_k"]) == (4, 0.5, 2)
