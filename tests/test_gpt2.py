"""GPT-2: the numbers of Hugging Face's transformers, names and files of old and new, and what would differ."""

import json

import numpy as np
import pytest
from huggingface import distances, one_thread, theirs_from
from tiny_gpt2 import PLAIN_GELU, TINY, tiny
from tiny_llama import ids_of

import tinygrad_ft as tg
from tinygrad_ft import storage
from tinygrad_ft.models import GPT2Config, GPT2LMHeadModel, GPT2Model, from_pretrained, save_pretrained

# --- configuration ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [GPT2Config(), TINY, PLAIN_GELU])
def test_a_config_comes_back_equal_through_json(config):
    back = GPT2Config.from_hf(json.loads(json.dumps(config.to_dict())))
    assert back == config
    assert hash(back) == hash(config)
    assert config.max_position_embeddings == config.n_positions


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"vocab_size": 0}, "vocab_size of at least 1: got 0"),
        ({"n_layer": 1.5}, "n_layer of at least 1: got 1.5"),
        ({"n_inner": 0}, "n_inner of at least 1: got 0"),
        ({"n_head": 5}, "multiple of its n_head: got 768 and 5"),
        ({"activation_function": "relu"}, "activation_function is one of gelu_new, .*: got 'relu'"),
        ({"resid_pdrop": 1.5}, "resid_pdrop from 0 to 1: got 1.5"),
        ({"layer_norm_epsilon": None}, "layer_norm_epsilon from 0 to 1: got None"),
        ({"model_type": "gpt_neo"}, "of type 'gpt_neo', and not a 'gpt2'"),
        ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx = True"),
        ({"add_cross_attention": True}, "add_cross_attention = True"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings = False"),
    ],
)
def test_a_config_that_this_gpt2_cannot_be_is_refused(keys, message):
    with pytest.raises(ValueError, match=message):
        GPT2Config.from_hf(keys)


# --- names, how weights start, what is seen --------------------------------------------------------------------------


def test_a_state_has_hugging_faces_names_and_shapes():
    state = {name: tuple(t.shape) for name, t in tiny().state_dict().items()}
    assert state["transformer.wte.weight"] == (29, 12)
    assert state["transformer.h.0.attn.c_attn.weight"] == (12, 36)
    assert state["transformer.h.1.mlp.c_fc.weight"] == (12, 48)
    assert state["transformer.h.1.ln_1.bias"] == state["transformer.ln_f.weight"] == (12,)
    assert len(state) == 2 + 2 * 12 + 2


def test_weights_start_small_and_smaller_where_they_write_into_the_residual_stream(rng):
    model = GPT2Model(GPT2Config(300, 64, 64, 8, 4, initializer_range=0.03), rng=rng)
    for name, p in model.named_parameters():
        if p.ndim == 2:
            assert p.array.std() == pytest.approx(0.03 / (4 if "c_proj" in name else 1), rel=0.05), name
        else:
            assert (p.array == (1 if name.endswith("weight") else 0)).all(), name


def test_dropout_is_at_work_in_training_only(rng):
    model, ids = tiny(), tg.tensor(ids_of(rng, 2, 6))
    assert np.array_equal(model(ids).array, model(ids).array)
    model.train()
    assert not np.array_equal(model(ids).array, model(ids).array)


# --- transformers live -----------------------------------------------------------------------------------------------


@pytest.mark.reference
@pytest.mark.parametrize("kind", [GPT2LMHeadModel, GPT2Model])
@pytest.mark.parametrize("config", [TINY, PLAIN_GELU], ids=["gelu_new", "gelu"])
def test_answers_and_gradients_of_a_tiny_gpt2_are_those_of_transformers(tmp_path, rng, kind, config):
    ours = tiny(config, kind)
    save_pretrained(ours, tmp_path)
    answers, gradients = distances(ours, tmp_path, rng)
    assert answers < 1e-5
    assert gradients < 1e-5


def other_gelu(model):
    for block in model.transformer.h:
        block.mlp.approximate = "none"


def turned_weight(model):
    weight = model.transformer.h[0].attn.c_proj.weight
    weight.array[...] = weight.array.T.copy()


def heads_in_another_order(model):
    for block in model.transformer.h:
        block.attn.heads = 6


@pytest.mark.reference
@pytest.mark.parametrize("fault", [other_gelu, turned_weight, heads_in_another_order])
def test_transformers_notices_a_fault(tmp_path, rng, fault):
    ours = tiny()
    save_pretrained(ours, tmp_path)
    fault(ours)
    answers, gradients = distances(ours, tmp_path, rng)
    assert answers > 1e-4
    assert gradients > 1e-4


@pytest.mark.reference
def test_what_transformers_saves_is_loaded_and_the_other_way_round(tmp_path, rng):
    ours = tiny()
    save_pretrained(ours, tmp_path / "ours")
    with one_thread():
        theirs_from(tmp_path / "ours", "AutoModelForCausalLM").save_pretrained(tmp_path / "theirs")
    back = from_pretrained(tmp_path / "theirs")
    assert type(back) is GPT2LMHeadModel
    ids = tg.tensor(ids_of(rng, 2, 5))
    assert np.array_equal(back(ids).array, ours(ids).array)


# --- files of old ----------------------------------------------------------------------------------------------------


def test_a_file_without_prefix_and_with_masks_and_a_second_output_layer_is_loaded(tmp_path, rng):
    """As the first GPT-2 on the hub is."""
    ours = tiny()
    save_pretrained(ours, tmp_path)
    state = {name.removeprefix("transformer."): tg.tensor(t.numpy_copy()) for name, t in ours.state_dict().items()}
    state["lm_head.weight"] = state["wte.weight"]
    for i in range(2):
        state[f"h.{i}.attn.bias"] = tg.tensor(np.tril(np.ones((1, 1, 16, 16), np.float32)))
        state[f"h.{i}.attn.masked_bias"] = tg.tensor(np.float32(-1e4))
    storage.save(state, tmp_path / "model.safetensors")
    ids = tg.tensor(ids_of(rng, 2, 5))
    assert np.array_equal(GPT2LMHeadModel.from_pretrained(tmp_path)(ids).array, ours(ids).array)
    state["lm_head.weight"] = tg.tensor(state["wte.weight"].array + 1)
    storage.save(state, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="once more, with other numbers"):
        from_pretrained(tmp_path)
