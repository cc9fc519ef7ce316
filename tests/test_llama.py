"""Llama: the numbers of Hugging Face's transformers, stored and live, out of GGUF files too, and what would differ."""

import dataclasses
import json

import numpy as np
import pytest
from huggingface import distances, one_thread, theirs_from
from hypothesis import given
from hypothesis import strategies as st
from tiny_llama import FAULTS, SINGLE, TINY, UNTIED, ids_of, tiny

import tinygrad_ft as tg
from tinygrad_ft import ops
from tinygrad_ft.models import (
    LlamaConfig,
    LlamaForCausalLM,
    LlamaModel,
    from_pretrained,
    llama,
    save_pretrained,
)

# --- configuration ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [LlamaConfig(), TINY, UNTIED, SINGLE])
def test_a_config_comes_back_equal_through_json(config):
    back = LlamaConfig.from_hf(json.loads(json.dumps(config.to_dict())))
    assert back == config
    assert hash(back) == hash(config)


def test_a_config_without_them_has_a_key_for_each_head_and_heads_that_share_the_width():
    config = LlamaConfig.from_hf({"hidden_size": 24, "num_attention_heads": 3, "num_key_value_heads": None})
    assert (config.num_key_value_heads, config.head_dim) == (3, 8)


@pytest.mark.parametrize(
    "keys",
    [
        {"rope_theta": 7e5},
        {"rope_parameters": {"rope_theta": 7e5, "rope_type": "default"}},
        {"rope_theta": 7e5, "rope_scaling": None},
        {"rope_theta": 7e5, "rope_scaling": {"type": "default"}},
    ],
)
def test_older_and_newer_files_name_the_rotations_base(keys):
    assert LlamaConfig.from_hf(keys).rope_theta == 7e5


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"vocab_size": 0}, "vocab_size of at least 1: got 0"),
        ({"hidden_size": "12"}, "hidden_size of at least 1: got '12'"),
        ({"num_attention_heads": 0}, "num_attention_heads of at least 1: got 0"),
        ({"num_attention_heads": 5}, "multiple of its num_attention_heads: got 4096 and 5"),
        ({"num_key_value_heads": 5}, "multiple of its num_key_value_heads: got 32 and 5"),
        ({"num_key_value_heads": 0}, "num_key_value_heads of at least 1: got 0"),
        ({"head_dim": 3}, "head_dim must be even, .*: got 3"),
        ({"rms_norm_eps": "small"}, "rms_norm_eps from 0 to 1: got 'small'"),
        ({"rope_theta": 0}, "rope_theta above 0: got 0"),
        ({"hidden_act": "gelu"}, "hidden_act = 'gelu': this Llama computes 'silu' only"),
        ({"rope_scaling": {"rope_type": "llama3"}}, "rotations of type 'llama3'"),
        ({"rope_scaling": {"type": "linear"}}, "rotations of type 'linear'"),
        ({"rope_parameters": "default"}, "rope_parameters must be a table: got 'default'"),
        ({"model_type": "mistral"}, "of type 'mistral', and not a 'llama'"),
    ],
)
def test_a_config_that_this_llama_cannot_be_is_refused(keys, message):
    with pytest.raises(ValueError, match=message):
        LlamaConfig.from_hf(keys)


# --- how weights start, what is seen ---------------------------------------------------------------------------------


def test_weights_start_normal_biases_at_0_and_norms_at_1(rng):
    model = LlamaForCausalLM(dataclasses.replace(UNTIED, hidden_size=48, initializer_range=0.1), rng=rng)
    for name, p in model.named_parameters():
        if p.ndim == 2:
            assert p.array.std() == pytest.approx(0.1, rel=6 / np.sqrt(2 * p.array.size)), name
        else:
            assert (p.array == (1 if "norm" in name else 0)).all(), name


def test_a_new_llama_knows_nothing(rng):
    model = LlamaForCausalLM(TINY, rng=rng)
    ids = ids_of(rng, 8, 13)
    logits = model(tg.tensor(ids[:, :-1]))
    loss = ops.cross_entropy(ops.reshape(logits, (-1, 29)), tg.tensor(ids[:, 1:].reshape(-1)))
    assert loss.item() == pytest.approx(np.log(29), rel=0.02)


@given(shift=st.integers(0, 500), far=st.integers(0, 60), theta=st.sampled_from([500.0, 1e5]))
def test_rotated_vectors_fit_as_their_distance_says_wherever_they_stand(shift, far, theta):
    q, k = (tg.tensor(np.random.default_rng(i).normal(size=(1, 1, 1, 8))) for i in (0, 1))

    def fit(at, other):
        turned = [llama.rotated(x, *llama.rotations(x, start, 1, 8, theta)) for x, start in ((q, at), (k, other))]
        return ops.sum(turned[0] * turned[1]).item()

    assert fit(shift + far, shift) == pytest.approx(fit(far, 0), abs=1e-10)
    turned = llama.rotated(q, *llama.rotations(q, shift, 1, 8, theta)).array
    assert np.linalg.norm(turned) == pytest.approx(np.linalg.norm(q.array), abs=1e-12)


def test_the_output_layer_is_the_token_table_if_tied(rng):
    model = tiny()
    assert not any("lm_head" in name for name in model.state_dict())
    assert "lm_head.weight" in tiny(UNTIED).state_dict()
    model(tg.tensor([[0]])).sum().backward()
    assert (abs(model.model.embed_tokens.weight.grad.array).sum(1) > 0).all()


# --- transformers live -----------------------------------------------------------------------------------------------


@pytest.mark.reference
@pytest.mark.parametrize("kind", [LlamaForCausalLM, LlamaModel])
@pytest.mark.parametrize("config", [TINY, UNTIED, SINGLE], ids=["tied", "untied", "single"])
def test_answers_and_gradients_of_a_tiny_llama_are_those_of_transformers(tmp_path, rng, kind, config):
    ours = tiny(config, kind)
    save_pretrained(ours, tmp_path)
    answers, gradients = distances(ours, tmp_path, rng)
    assert answers < 1e-5
    assert gradients < 1e-5


@pytest.mark.reference
@pytest.mark.parametrize("fault", FAULTS)
def test_transformers_notices_a_fault(tmp_path, rng, monkeypatch, fault):
    ours = tiny()
    save_pretrained(ours, tmp_path)
    fault(monkeypatch)
    answers, gradients = distances(ours, tmp_path, rng)
    assert answers > 1e-3
    assert gradients > 1e-3


@pytest.mark.reference
@pytest.mark.parametrize("config", [TINY, UNTIED, SINGLE], ids=["tied", "untied", "single"])
def test_what_transformers_saves_is_loaded_and_the_other_way_round(tmp_path, rng, config):
    ours = tiny(config)
    save_pretrained(ours, tmp_path / "ours")
    with one_thread():
        theirs = theirs_from(tmp_path / "ours", "AutoModelForCausalLM")
        theirs.save_pretrained(tmp_path / "theirs")
    back = from_pretrained(tmp_path / "theirs")
    assert type(back) is LlamaForCausalLM
    assert dataclasses.replace(back.config, bos_token_id=None, eos_token_id=config.eos_token_id) == config
    ids = tg.tensor(ids_of(rng, 2, 5))
    assert np.array_equal(back(ids).array, ours(ids).array)
    assert (
        type(from_pretrained(tmp_path / "theirs", "LlamaModel")) is LlamaModel if config.tie_word_embeddings else True
    )
