"""GPT-2: the numbers of Hugging Face's transformers, names and files of old and new, and what would differ."""

import dataclasses
import json

import numpy as np
import pytest
from huggingface import as_torch, one_thread, tensors, theirs_from

import tinygrad_ft as tg
from tinygrad_ft import ops, storage
from tinygrad_ft.models import GPT2Config, GPT2LMHeadModel, GPT2Model, from_pretrained, save_pretrained

TINY = GPT2Config(
    vocab_size=29, n_positions=16, n_embd=12, n_layer=2, n_head=3, bos_token_id=None, eos_token_id=None
)  # fmt: skip
PLAIN_GELU = dataclasses.replace(TINY, activation_function="gelu", n_inner=20, eos_token_id=(1, 2))


def tiny(config=TINY, kind=GPT2LMHeadModel, seed=0, spread=0.4):
    """With weights so large that attention looks somewhere and GELU bends; `spread` is their deviation."""
    rng = np.random.default_rng(seed)
    model = kind(config, rng=rng)
    for p in model.parameters():
        p.array += rng.normal(0, spread, p.shape).astype(np.float32)
    return model.eval()


def ids_of(rng, *shape):
    return rng.integers(0, TINY.vocab_size, shape)


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


@pytest.mark.parametrize("shape", [(4,), (2, 0), (2, 17), (1, 2, 3)])
def test_inputs_of_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"input_ids \(batch, n\) with n from 1 to 16: got"):
        tiny()(tg.tensor(np.zeros(shape, int)))


def test_an_id_beyond_the_vocabulary_is_refused():
    with pytest.raises(IndexError):
        tiny()(tg.tensor([[29]]))


def test_changing_a_token_changes_no_logits_before_it(rng):
    model, ids = tiny(), ids_of(rng, 2, 6)
    before = model(tg.tensor(ids)).array
    for t in range(6):
        changed = ids.copy()
        changed[:, t] = (changed[:, t] + 1) % 29
        after = model(tg.tensor(changed)).array
        np.testing.assert_array_equal(after[:, :t], before[:, :t])
        assert (abs(after[:, t:] - before[:, t:]).max((0, 2)) > 0).all()


def test_a_look_into_the_future_would_be_seen(rng, monkeypatch):
    right = ops.scaled_dot_product_attention
    monkeypatch.setattr(ops, "scaled_dot_product_attention", lambda q, k, v, mask, rate, causal, rng: right(q, k, v))
    with pytest.raises(AssertionError):
        test_changing_a_token_changes_no_logits_before_it(rng)


def test_dropout_is_at_work_in_training_only(rng):
    model, ids = tiny(), tg.tensor(ids_of(rng, 2, 6))
    assert np.array_equal(model(ids).array, model(ids).array)
    model.train()
    assert not np.array_equal(model(ids).array, model(ids).array)


def test_a_tiny_gpt2_learns_under_the_jit(rng):
    still = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    model = GPT2LMHeadModel(dataclasses.replace(TINY, **still), rng=rng).train()
    ids = np.tile([[3, 1, 4, 1, 5, 9, 2, 6]], (2, 1))
    optimizer = tg.optim.AdamW(model.parameters(), lr=1e-2)

    @tg.jit
    def step(ids, targets):
        optimizer.zero_grad()
        loss = ops.cross_entropy(ops.reshape(model(ids), (-1, 29)), ops.reshape(targets, (-1,)))
        loss.backward()
        optimizer.step()
        return loss

    found = [float(step(*tensors(ids[:, :-1], ids[:, 1:])).array) for _ in range(80)]
    assert found[0] > 3
    assert found[-1] < 0.05
    assert model.generate([3], 7, temperature=0, rng=rng).tolist() == [3, 1, 4, 1, 5, 9, 2, 6]


# --- transformers live -----------------------------------------------------------------------------------------------


def distances(ours, folder, rng):
    """The largest relative differences to transformers: of the answers, and of a parameter's gradient."""
    ids = ids_of(rng, 3, 7)
    with one_thread() as torch:
        theirs = theirs_from(folder, type(ours).__name__).double()
        answer = theirs(*as_torch(ids))[0]
        mine = ours.to(np.float64)(*tensors(ids))
        g = rng.normal(size=answer.shape)
        (answer * torch.from_numpy(g)).sum().backward()
        ops.sum(mine * tg.tensor(g)).backward()
        grads = {name: p.grad.numpy() for name, p in theirs.named_parameters()}
        answer = answer.detach().numpy()
    assert grads.keys() == dict(ours.named_parameters()).keys()
    apart = [abs(p.grad.array - grads[name]).max() / abs(grads[name]).max() for name, p in ours.named_parameters()]
    return np.abs(mine.array - answer).max() / np.abs(answer).max(), max(apart)


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
