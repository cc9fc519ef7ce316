"""BERT: the numbers of Hugging Face's transformers, stored and live, and what would make them differ."""

import dataclasses
import json

import numpy as np
import pytest
from huggingface import TINY_BERT as TINY
from huggingface import as_torch, import_transformers, one_thread, random_batch, relative, tensors, theirs_from
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_ft as tg
from tinygrad_ft import nn, ops
from tinygrad_ft.models import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    from_pretrained,
    save_pretrained,
)
from tinygrad_ft.optim import SGD


def tiny(kind=BertModel, seed=0, config=TINY, spread=0.5):
    """With weights so large that attention looks somewhere and GELU bends; `spread` is their deviation."""
    rng = np.random.default_rng(seed)
    model = kind(config, rng=rng)
    for p in model.parameters():
        p.array += rng.normal(0, spread, p.shape).astype(np.float32)
    return model


# --- configuration ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [BertConfig(), TINY, dataclasses.replace(TINY, classifier_dropout=0.3)])
def test_a_config_comes_back_equal_through_json(config):
    back = BertConfig.from_hf(json.loads(json.dumps(config.to_dict())))
    assert back == config
    assert hash(back) == hash(config)


def test_a_config_of_num_labels_names_them_as_transformers_does():
    assert BertConfig.from_hf({"num_labels": 3}).labels == ("LABEL_0", "LABEL_1", "LABEL_2")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"vocab_size": 0}, "vocab_size of at least 1: got 0"),
        ({"num_hidden_layers": 1.5}, "num_hidden_layers of at least 1: got 1.5"),
        ({"hidden_size": "12"}, "hidden_size of at least 1: got '12'"),
        ({"num_attention_heads": 5}, "multiple of its num_attention_heads: got 768 and 5"),
        ({"hidden_act": "silu"}, "hidden_act is one of gelu, .*: got 'silu'"),
        ({"layer_norm_eps": -1}, "layer_norm_eps from 0 to 1: got -1"),
        ({"hidden_dropout_prob": 1.5}, "hidden_dropout_prob from 0 to 1: got 1.5"),
        ({"id2label": {}}, "at least one label"),
        ({"id2label": {"1": "a", "3": "b"}}, r"name the classes 0, 1, ... : got {'1': 'a'"),
        ({"model_type": "roberta"}, "of type 'roberta', and not a 'bert'"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type = 'relative_key'"),
        ({"is_decoder": True}, "is_decoder = True"),
    ],
)
def test_a_config_that_this_bert_cannot_be_is_refused(keys, message):
    with pytest.raises(ValueError, match=message):
        BertConfig.from_hf(keys)


# --- how weights start, names and shapes -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [BertModel, BertForSequenceClassification, BertForMaskedLM])
def test_weights_start_normal_with_the_configs_deviation_and_biases_at_0(kind, rng):
    config = dataclasses.replace(TINY, hidden_size=48, initializer_range=0.1)
    for name, p in kind(config, rng=rng).named_parameters():
        if p.ndim == 2:
            assert p.array.std() == pytest.approx(0.1, rel=6 / np.sqrt(2 * p.array.size)), name
        else:
            assert (p.array == (1 if name.endswith("LayerNorm.weight") else 0)).all(), name


def test_a_state_has_hugging_faces_names(minilm):
    from safetensors import safe_open

    with safe_open(minilm / "model.safetensors", "np") as file:
        names = set(file.keys()) - {"embeddings.position_ids"}
    config = BertConfig.from_hf(json.loads((minilm / "config.json").read_text()))
    model = BertModel(dataclasses.replace(config, vocab_size=3))  # the names do not depend on it, the seconds do
    assert set(model.state_dict()) == names


@pytest.mark.reference
@pytest.mark.parametrize("kind", [BertModel, BertForSequenceClassification, BertForMaskedLM])
def test_each_model_has_the_names_and_shapes_that_transformers_gives_it(kind):
    transformers = import_transformers()
    config = transformers.BertConfig(**TINY.to_dict())
    theirs = {name: tuple(p.shape) for name, p in getattr(transformers, kind.__name__)(config).named_parameters()}
    assert {name: p.shape for name, p in kind(TINY).named_parameters()} == theirs


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ({"input_ids": np.zeros(4, int)}, r"input_ids \(batch, n\) with n from 1 to 9: got \(4,\)"),
        ({"input_ids": np.zeros((2, 0), int)}, r"got \(2, 0\)"),
        ({"input_ids": np.zeros((2, 10), int)}, r"got \(2, 10\)"),
        ({"input_ids": np.zeros((2, 4), int), "attention_mask": np.ones((2, 5), int)}, r"attention_mask .*\(2, 5\)"),
        ({"input_ids": np.zeros((2, 4), int), "token_type_ids": np.ones((1, 4), int)}, r"token_type_ids .*\(1, 4\)"),
    ],
)
def test_inputs_of_other_shapes_are_refused(given_, message):
    with pytest.raises(ValueError, match=message):
        tiny()(**{name: tg.tensor(a) for name, a in given_.items()})


def test_an_id_beyond_the_vocabulary_is_refused():
    with pytest.raises(IndexError):
        tiny()(tg.tensor([[31]]))


# --- the stored reference --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def loaded(minilm):
    return from_pretrained(minilm)


@pytest.fixture
def stored(data_folder):
    path = data_folder / "models" / "minilm_hf_ref.npz"
    if not path.is_file():
        pytest.skip(f"there is no {path}, the stored outputs of transformers")
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


def distance_to_stored(model, stored, mask=True):
    """The largest differences (hidden states of real tokens, pooled) to what transformers answered."""
    ids, seen = tensors(stored["input_ids"], stored["attention_mask"])
    with tg.no_grad():
        hidden, pooled = model(ids, seen if mask else None)
    real = stored["attention_mask"].astype(bool)
    apart = np.abs(hidden.array - stored["last_hidden_state"])[real].max()
    return apart, np.abs(pooled.array - stored["pooler_output"]).max()


def test_minilm_answers_what_transformers_answered(loaded, stored):
    hidden, pooled = distance_to_stored(loaded, stored)
    assert hidden < 1e-5
    assert pooled < 1e-5


def swapped(model):
    attention = model.encoder.layer[3].attention.self
    attention.query.weight, attention.key.weight = attention.key.weight, attention.query.weight


def tanh_gelu(model):
    for layer in model.encoder.layer:
        layer.intermediate.approximate = "tanh"


def larger_eps(model):
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = 1e-5


def unscaled(model):
    for layer in model.encoder.layer:
        layer.attention.self.query.weight.array *= np.float32(1.001)


@pytest.mark.parametrize("fault", [swapped, tanh_gelu, larger_eps, unscaled])
def test_the_stored_answers_notice_a_fault(minilm, stored, fault):
    model = from_pretrained(minilm)
    fault(model)
    assert max(distance_to_stored(model, stored)) > 1e-5


def test_the_stored_answers_notice_a_forgotten_mask(loaded, stored):
    assert max(distance_to_stored(loaded, stored, mask=False)) > 1e-3


# --- transformers live -----------------------------------------------------------------------------------------------


@pytest.mark.reference
def test_minilm_answers_what_transformers_answers(minilm, loaded, rng):
    with one_thread() as torch, torch.no_grad():
        theirs = theirs_from(minilm)
        ids, mask = random_batch(rng, 30522, 4, 40)
        kinds = rng.integers(0, 2, ids.shape)
        t_ids, t_mask, t_kinds = as_torch(ids, mask, kinds)
        answer = theirs(input_ids=t_ids, attention_mask=t_mask, token_type_ids=t_kinds)
    with tg.no_grad():
        hidden, pooled = loaded(*tensors(ids, mask, kinds))
    real = mask.astype(bool)
    assert np.abs(hidden.array - answer.last_hidden_state.numpy())[real].max() < 1e-5
    assert np.abs(pooled.array - answer.pooler_output.numpy()).max() < 1e-5


def distance_of_gradients(ours, folder, rng):
    """The largest relative difference of a parameter's gradient, of the same random weighting of what both answer."""
    ids, mask = random_batch(rng, TINY.vocab_size, 3, 7)
    kinds = rng.integers(0, 2, ids.shape)
    with one_thread() as torch:
        theirs = theirs_from(folder, type(ours).__name__).double()
        t_ids, t_mask, t_kinds = as_torch(ids, mask, kinds)
        answers = theirs(input_ids=t_ids, attention_mask=t_mask, token_type_ids=t_kinds).to_tuple()
        mine = ours.to(np.float64)(*tensors(ids, mask, kinds))
        mine = mine if isinstance(mine, tuple) else (mine,)
        # Padding is no answer, so it has weight 0.
        gs = [rng.normal(size=a.shape) * (mask[..., None] if a.ndim == 3 else 1) for a in mine]
        sum(ops.sum(a * tg.tensor(g)) for a, g in zip(mine, gs, strict=True)).backward()
        sum((a * torch.from_numpy(g)).sum() for a, g in zip(answers, gs, strict=True)).backward()
        grads = {name: p.grad.numpy() for name, p in theirs.named_parameters()}
    apart = {name: np.abs(p.grad.array - grads[name]).max() for name, p in ours.named_parameters()}
    # A key's bias moves all scores of a query alike, so that its gradient is 0 but for rounding.
    return max(d if name.endswith("key.bias") else d / np.abs(grads[name]).max() for name, d in apart.items())


@pytest.mark.reference
@pytest.mark.parametrize("kind", [BertModel, BertForSequenceClassification, BertForMaskedLM])
@pytest.mark.parametrize("act", ["gelu", "gelu_new"])
def test_gradients_of_a_tiny_bert_are_those_of_transformers(tmp_path, rng, kind, act):
    ours = tiny(kind, config=dataclasses.replace(TINY, hidden_act=act)).eval()
    save_pretrained(ours, tmp_path)
    assert distance_of_gradients(ours, tmp_path, rng) <= 1e-5


@pytest.mark.reference
def test_gradients_notice_the_other_gelu(tmp_path, rng):
    ours = tiny().eval()
    save_pretrained(ours, tmp_path)
    tanh_gelu(ours)
    assert distance_of_gradients(ours, tmp_path, rng) > 1e-5


# --- masks, segments, jit, training ----------------------------------------------------------------------------------


@given(seed=st.integers(0, 2**16), extra=st.integers(1, 4), filler=st.integers(0, 30), boolean=st.booleans())
def test_padding_changes_no_real_tokens_answer(seed, extra, filler, boolean):
    rng = np.random.default_rng(seed)
    model = tiny().eval()
    ids = rng.integers(0, 31, (2, 5))
    padded = np.concatenate([ids, np.full((2, extra), filler)], axis=1)
    mask = np.arange(5 + extra) < np.full((2, 1), 5)
    with tg.no_grad():
        hidden, pooled = model(tg.tensor(ids))
        seen = tg.tensor(mask if boolean else mask.astype(np.int64))
        longer, pooled_longer = model(tg.tensor(padded), seen)
    np.testing.assert_allclose(longer.array[:, :5], hidden.array, rtol=0, atol=1e-5)
    np.testing.assert_allclose(pooled_longer.array, pooled.array, rtol=0, atol=1e-5)


def test_padding_that_no_mask_hides_does_change_the_answer(rng):
    model = tiny().eval()
    ids = rng.integers(0, 31, (2, 5))
    with tg.no_grad():
        hidden, _ = model(tg.tensor(ids))
        longer, _ = model(tg.tensor(np.pad(ids, ((0, 0), (0, 2)))))
    assert relative(longer.array[:, :5], hidden.array) > 1e-2


def test_no_segments_given_means_the_first_everywhere(rng):
    model = tiny().eval()
    ids = tg.tensor(rng.integers(0, 31, (2, 5)))
    with tg.no_grad():
        first = model(ids, None, tg.tensor(np.zeros((2, 5), int)))[0].array
        second = model(ids, None, tg.tensor(np.ones((2, 5), int)))[0].array
        assert np.array_equal(model(ids)[0].array, first)
    assert relative(second, first) > 1e-2


def test_the_padding_tokens_row_gets_no_gradient_where_the_mask_hides_it(rng):
    model = tiny(BertForSequenceClassification).eval()
    ids, mask = random_batch(rng, 31, 3, 6)
    assert (ids == 0).any()
    ops.sum(model(*tensors(ids, mask))).backward()
    assert not model.bert.embeddings.word_embeddings.weight.grad.array[0].any()


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_a_step_under_jit_is_the_step_without(dropout, rng):
    config = dataclasses.replace(TINY, hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout)
    batches = [(*random_batch(rng, 31, 4, 6), rng.integers(0, 3, 4)) for _ in range(5)]
    ends = []
    for wrap in (lambda f: f, tg.jit):
        chance = np.random.default_rng(5)
        model = BertForSequenceClassification(config, rng=chance).train()
        optimizer = SGD(model.parameters(), lr=0.1)

        def step(ids, mask, labels, model=model, optimizer=optimizer):
            loss = ops.cross_entropy(model(ids, mask), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss

        step = wrap(step)
        ends.append([float(step(*tensors(*batch)).array) for batch in batches])
    np.testing.assert_allclose(ends[0], ends[1], rtol=1e-5)


def test_dropout_drops_in_training_only(rng):
    model = tiny(BertForSequenceClassification)
    ids = tg.tensor(rng.integers(0, 31, (2, 5)))
    with tg.no_grad():
        assert not np.array_equal(model(ids).array, model(ids).array)
        model.eval()
        assert np.array_equal(model(ids).array, model(ids).array)


def test_a_classifier_drops_what_its_own_rate_says_or_else_the_hidden_layers(rng):
    config = dataclasses.replace(
        TINY, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, classifier_dropout=1.0
    )
    model = tiny(BertForSequenceClassification, config=config)
    ids = tg.tensor(rng.integers(0, 31, (2, 5)))
    assert np.array_equal(model(ids).array, np.broadcast_to(model.classifier.bias.array, (2, 3)))
    inherited = dataclasses.replace(TINY, hidden_dropout_prob=0.25)
    assert BertForSequenceClassification(inherited).dropout.p == 0.25


def test_a_tiny_bert_learns_which_of_two_words_a_text_has(rng):
    model = BertForSequenceClassification(
        dataclasses.replace(TINY, labels=("no", "yes"), hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0),
        rng=rng,
    )
    ids = rng.integers(3, 31, (32, 6))
    labels = np.arange(32) % 2
    ids[np.arange(32), rng.integers(1, 6, 32)] = 1 + labels
    optimizer = tg.optim.Adam(model.parameters(), lr=1e-2)

    @tg.jit
    def step(ids, labels):
        loss = ops.cross_entropy(model(ids), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    found = [float(step(*tensors(ids, labels)).array) for _ in range(80)]
    assert found[0] > 0.5
    assert found[-1] < 0.1


def test_the_masked_language_models_output_layer_is_the_word_table(rng):
    model = tiny(BertForMaskedLM)
    assert "cls.predictions.decoder.weight" not in model.state_dict()
    before = model.eval()(tg.tensor([[3, 4]])).array
    model.bert.embeddings.word_embeddings.weight.array[7] = 0.0
    after = model(tg.tensor([[3, 4]])).array
    assert np.array_equal(after[..., 7], np.full((1, 2), model.cls.predictions.bias.array[7]))
    assert np.array_equal(np.delete(after, 7, -1), np.delete(before, 7, -1))
