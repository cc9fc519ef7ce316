"""LoRA: what is trained, what is saved, and that merging changes no answer."""

import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_ft as tg
from tinygrad_ft import nn, ops
from tinygrad_ft.finetune.lora import LoRALinear, adapters, add_lora, load_lora, lora_state, merge_lora, save_lora
from tinygrad_ft.models import BertConfig, BertForSequenceClassification, BertModel, from_pretrained

TINY = BertConfig(
    vocab_size=31, hidden_size=12, num_hidden_layers=2, num_attention_heads=3, intermediate_size=20,
    max_position_embeddings=9, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
)  # fmt: skip
IDS = tg.tensor(np.arange(18).reshape(2, 9))


def tiny(seed=0):
    """With weights so large that attention looks somewhere."""
    rng = np.random.default_rng(seed)
    model = BertForSequenceClassification(TINY, rng=rng)
    for p in model.parameters():
        p.array += rng.normal(0, 0.3, p.shape).astype(np.float32)
    return model.eval()


def adapted(seed=0, rank=3, **options):
    """Adapters whose B is no longer 0, as after some training."""
    rng = np.random.default_rng(seed)
    model = add_lora(tiny(), rank, rng=rng, **options)
    for module in adapters(model).values():
        module.lora_B.array[...] = rng.normal(0, 0.3, module.lora_B.shape)
    return model


def test_new_adapters_change_no_answer():
    before = tiny()(IDS).numpy_copy()
    np.testing.assert_array_equal(add_lora(tiny())(IDS).numpy_copy(), before)


@given(
    inputs=st.integers(1, 6), outputs=st.integers(1, 6), alpha=st.floats(0.1, 64), seed=st.integers(0, 99),
    data=st.data(), transposed=st.booleans(),
)  # fmt: skip
def test_merged_answers_are_those_of_adapters(inputs, outputs, alpha, seed, data, transposed):
    rng = np.random.default_rng(seed)
    base = Conv1D(inputs, outputs, rng) if transposed else nn.Linear(inputs, outputs, rng=rng)
    layer = LoRALinear(base, data.draw(st.integers(1, min(inputs, outputs))), alpha, rng=rng)
    layer.lora_B.array[...] = rng.normal(0, 0.1 / alpha, layer.lora_B.shape)
    x = tg.tensor(rng.normal(0, 1, (2, 3, inputs)).astype(np.float32))
    expected = layer(x).numpy_copy()
    assert layer.merged() is base
    np.testing.assert_allclose(base(x).numpy_copy(), expected, atol=1e-5)


class Conv1D(nn.Module):
    """A dense layer as GPT-2's files have it: the matrix is (inputs, outputs)."""

    def __init__(self, inputs, outputs, rng):
        super().__init__()
        self.weight = nn.Parameter(rng.normal(0, 1, (inputs, outputs)).astype(np.float32))
        self.bias = nn.Parameter(np.zeros(outputs, np.float32))

    def forward(self, x):
        return x @ self.weight + self.bias


def test_a_merged_model_has_plain_modules_its_old_names_and_the_same_answers():
    model = adapted()
    before = model(IDS).numpy_copy()
    assert np.abs(before - tiny()(IDS).numpy_copy()).max() > 1e-3
    merged = merge_lora(model)
    assert merged is model and not adapters(model)
    assert list(model.state_dict()) == list(tiny().state_dict())
    np.testing.assert_allclose(model(IDS).numpy_copy(), before, atol=1e-5)


def test_merging_with_the_wrong_scale_would_be_seen():
    model = adapted()
    before = model(IDS).numpy_copy()
    for module in adapters(model).values():
        module.scale *= 1.01  # the planted fault
    assert np.abs(merge_lora(model)(IDS).numpy_copy() - before).max() > 1e-5


def test_only_adapters_and_the_named_head_get_gradients():
    model = adapted(also=("classifier.*",))
    ops.cross_entropy(model(IDS), tg.tensor(np.array([0, 1]))).backward()
    with_gradient = {name for name, p in model.named_parameters() if p.grad is not None}
    assert with_gradient == lora_state(model, ("classifier.*",)).keys()
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained == with_gradient
    assert all(np.abs(p.grad.numpy_copy()).max() > 0 for n, p in model.named_parameters() if n in with_gradient)


def test_names_of_the_state_are_those_of_the_adapted_modules():
    names = list(lora_state(add_lora(tiny())))
    place = "bert.encoder.layer.{}.attention.self.{}.lora_{}"
    assert sorted(names) == sorted(place.format(i, m, ab) for i in (0, 1) for m in ("query", "value") for ab in "AB")


def test_a_merged_module_stays_in_the_mode_of_its_model():
    model = adapted().train()
    assert merge_lora(model).bert.encoder.layer[0].attention.self.query.training


def test_adapters_drop_out_in_training_only():
    model = adapted(dropout=0.5)
    assert not np.array_equal(model.train()(IDS).numpy_copy(), model(IDS).numpy_copy())
    np.testing.assert_array_equal(model.eval()(IDS).numpy_copy(), model(IDS).numpy_copy())


@pytest.mark.parametrize("ready", [True, False], ids=["into adapters", "into a plain model"])
def test_saved_adapters_come_back_with_all_answers(tmp_path, ready):
    model = adapted(also=("classifier.*",))
    model.classifier.weight.array[...] += 1
    save_lora(model, tmp_path / "a.safetensors", also=("classifier.*",))
    other = adapted(seed=5, also=("classifier.*",)) if ready else tiny()
    assert load_lora(other, tmp_path / "a.safetensors") is other
    np.testing.assert_array_equal(other(IDS).numpy_copy(), model(IDS).numpy_copy())
    assert not other.bert.pooler.dense.weight.requires_grad
    assert other.classifier.weight.requires_grad


WIDER = BertForSequenceClassification(
    BertConfig(**{**{name: getattr(TINY, name) for name in TINY.__dataclass_fields__}, "hidden_size": 15})
)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: adapted(rank=2), r"has 4 adapters of rank 3 and alpha 16, and the model 4 of rank 2 and alpha 16"),
        (lambda: adapted(alpha=8.0), r"alpha 16, and the model 4 of rank 3 and alpha 8"),
        (lambda: adapted(targets=("*.key",)), r"has 4 adapters .* and the model 2"),
        (lambda: WIDER, r"lora_A of shape \(3, 12\), and the model \(3, 15\): it is for another model"),
        (lambda: nn.Linear(3, 3), r"adapts bert.encoder.* which Linear has not: it is for another model"),
    ],
)
def test_adapters_of_something_else_are_refused_in_one_line_and_nothing_changes(tmp_path, model, message):
    save_lora(adapted(), tmp_path / "a.safetensors")
    model = model()
    before = {name: t.numpy_copy() for name, t in model.state_dict().items()}
    with pytest.raises(ValueError, match=message) as caught:
        load_lora(model, tmp_path / "a.safetensors")
    assert "\n" not in str(caught.value)
    assert before.keys() == model.state_dict().keys()
    assert all(np.array_equal(before[name], t.numpy_copy()) for name, t in model.state_dict().items())


@pytest.mark.parametrize("described", [None, "{", "[" * 100_000, "[]", "{}", "alpha", "targets"])
def test_adapters_that_are_not_described_are_refused(tmp_path, described):
    from safetensors import safe_open
    from safetensors.numpy import load_file, save_file

    path, changed = tmp_path / "a.safetensors", tmp_path / "changed.safetensors"
    save_lora(adapted(), path)
    with safe_open(path, "np") as file:
        metadata = file.metadata()
    right = json.loads(metadata.pop("lora"))
    text = json.dumps({**right, described: None}) if described in right else described
    save_file(load_file(path), changed, metadata=metadata if text is None else {**metadata, "lora": text})
    with pytest.raises(ValueError, match="does not say the rank, alpha, targets, dropout, also of its adapters"):
        load_lora(tiny(), changed)


def test_files_without_adapters_are_refused(tmp_path):
    tg.storage.save(tiny().state_dict(), tmp_path / "model.safetensors")
    (tmp_path / "half.safetensors").write_bytes(b"\x08")
    with pytest.raises(ValueError, match="holds no adapters of ours"):
        load_lora(tiny(), tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        load_lora(tiny(), tmp_path / "half.safetensors")
    with pytest.raises(FileNotFoundError, match="save_lora has written"):
        load_lora(tiny(), tmp_path / "no.safetensors")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 0}, "takes a rank from 1 to 12: got 0"),
        ({"rank": 13}, "takes a rank from 1 to 12: got 13"),
        ({"alpha": 0.0}, "alpha to be finite and above 0"),
        ({"targets": ("*.querry",)}, re.escape("'*.querry' is the name of no module: there are *.classifier, *.dense")),
        ({"targets": ("*.LayerNorm",)}, "got LayerNorm"),
        ({"targets": ("*.word_embeddings",)}, "got Embedding"),
        ({"dropout": 1.5}, "from 0 to 1"),
    ],
)
def test_impossible_adapters_are_refused_and_nothing_changes(options, message):
    model = tiny()
    with pytest.raises(ValueError, match=message):
        add_lora(model, **options)
    assert not adapters(model) and all(p.requires_grad for p in model.parameters())


def test_adapters_are_not_put_beside_adapters():
    with pytest.raises(ValueError, match="has adapters already"):
        add_lora(adapted())


def test_a_model_without_adapters_has_no_state_of_them():
    with pytest.raises(ValueError, match="has no adapters"):
        lora_state(tiny())


def test_adapters_of_minilm_take_less_than_two_megabytes(minilm, tmp_path):
    model = from_pretrained(minilm)
    assert isinstance(model, BertModel)
    whole = sum(p.array.nbytes for p in model.parameters())
    save_lora(add_lora(model), tmp_path / "a.safetensors")
    size = (tmp_path / "a.safetensors").stat().st_size
    assert whole > 90e6 and size < 2e6
