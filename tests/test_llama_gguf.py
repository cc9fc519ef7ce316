"""Llamas out of GGUF files: SmolLM2 answers and writes as transformers did, and what is no Llama is refused."""

import dataclasses

import numpy as np
import pytest
from huggingface import as_torch, one_thread, theirs_from
from hypothesis import given
from hypothesis import strategies as st
from tiny_llama import FAULTS, SINGLE, TINY, UNTIED, backwards, ids_of, tiny, write_gguf

import tinygrad_ft as tg
from tinygrad_ft.models import LlamaForCausalLM, llama_gguf
from tinygrad_ft.models.llama_gguf import config_of, halves_apart, load_gguf, name_of

# --- tiny files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "config", [TINY, SINGLE, dataclasses.replace(UNTIED, mlp_bias=False)], ids=["tied", "single", "untied"]
)
def test_a_gguf_file_answers_as_the_model_that_it_was_made_of(tmp_path, rng, config):
    biased = config.attention_bias
    model = tiny(config)
    back = LlamaForCausalLM.from_gguf(write_gguf(tmp_path / "tiny.gguf", model))
    assert not back.training
    assert dataclasses.replace(back.config, eos_token_id=config.eos_token_id, rms_norm_eps=1e-5) == config
    assert back.config.attention_bias is biased
    ids = tg.tensor(ids_of(rng, 2, 9))
    np.testing.assert_allclose(back(ids).array, model(ids).array, atol=1e-5)


def test_queries_and_keys_left_as_the_file_has_them_answer_otherwise(tmp_path, rng, monkeypatch):
    path = write_gguf(tmp_path / "tiny.gguf", tiny())
    monkeypatch.setattr(llama_gguf, "halves_apart", lambda array, heads: array)
    ids = tg.tensor(ids_of(rng, 2, 9))
    assert abs(load_gguf(path)(ids).array - tiny()(ids).array).max() > 1e-2


@given(heads=st.integers(1, 4), half=st.integers(1, 5), columns=st.integers(0, 3))
def test_bringing_halves_apart_undoes_the_interleaving(heads, half, columns):
    shape = (heads * half * 2, columns) if columns else (heads * half * 2,)
    array = np.arange(np.prod(shape)).reshape(shape)
    mixed = array.reshape(heads, 2, half, *shape[1:]).swapaxes(1, 2).reshape(shape)
    assert np.array_equal(halves_apart(mixed, heads), array)


def test_names_that_no_llama_has_stay_as_they_are():
    assert name_of("blk.12.ffn_up.weight") == "model.layers.12.mlp.up_proj.weight"
    for name in ("rope_freqs.weight", "blk.0.attn_q_norm.weight", "output_norm", "blk"):
        assert name_of(name) == name


@pytest.mark.reference
def test_transformers_reads_the_same_from_our_gguf_file(tmp_path, rng):
    write_gguf(tmp_path / "tiny.gguf", tiny())
    with one_thread() as torch, torch.no_grad():
        theirs = theirs_from(tmp_path, "LlamaForCausalLM", gguf_file="tiny.gguf")
        ids = ids_of(rng, 2, 9)
        answer = theirs(*as_torch(ids)).logits.numpy()
    assert abs(load_gguf(tmp_path / "tiny.gguf")(tg.tensor(ids)).array - answer).max() < 1e-5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"drop": ["blk.1.ffn_up"]},
            "of 2 layers: missing model.layers.1.mlp.up_proj.weight; unexpected nothing",
        ),
        ({"more": ["rope_freqs.weight"]}, "missing nothing; unexpected rope_freqs.weight"),
        ({"changes": {"block_count": 1}}, "Llama of 1 layers: missing nothing; unexpected model.layers.1.input"),
        ({"changes": {"embedding_length": 24}}, r"token_embd.weight has shape \(29, 12\), .* ask for \(29, 24\)"),
        (
            {"changes": {"embedding_length": 1 << 31}},
            "embedding_length = 2147483648, and has 20 tensors",
        ),
        ({"changes": {"vocab_size": 30, "feed_forward_length": 99}}, "vocab_size = 30, llama.feed_forward_length = 99"),
        ({"changes": {"attention.key_length": 8, "rope.dimension_count": 8}}, "key_length = 48, .* at most 29 rows"),
        ({"changes": {"block_count": 1 << 31}}, "block_count = 2147483648, and has 20 tensors of at most 29 rows"),
        ({"changes": {"embedding_length": None}}, "lack llama.embedding_length"),
        ({"changes": {"attention.head_count_kv": 4}}, "multiple of its num_key_value_heads: got 6 and 4"),
        ({"changes": {"rope.dimension_count": 2}}, "rotates 2 of 4 numbers"),
        ({"changes": {"rope.scaling.type": "yarn"}}, "rotations of type 'yarn'"),
    ],
)
def test_a_gguf_file_that_does_not_hold_such_a_llama_is_refused(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        load_gguf(write_gguf(tmp_path / "x.gguf", tiny(), **options))


def test_another_architecture_and_another_format_are_refused(tmp_path):
    with pytest.raises(ValueError, match="architecture 'qwen2': known here is 'llama'"):
        config_of({"general.architecture": "qwen2"}, tied=True)
    (tmp_path / "x.gguf").write_bytes(b"no model")
    with pytest.raises(ValueError, match="does not begin with GGUF"):
        load_gguf(tmp_path / "x.gguf")


# --- SmolLM2: what transformers answered -----------------------------------------------------------------------------

# Greedily, by transformers 5.23.0 and torch 2.13.0 from the same GGUF file, after ids0, ids1 and ids2 of the stored
# reference. The likeliest token was nowhere less than 0.13 ahead of the second.
WRITTEN = [
    [7042, 30, 198, 198, 504, 2988, 314, 42, 216, 34, 32, 33, 40, 29, 32, 33, 29, 34, 34, 216],
    [472, 585, 304, 1758, 216, 32, 42, 448, 1003, 216, 33, 472, 1003, 304, 1672, 3987, 46477, 24, 94, 731],
    [28, 260, 2240, 282, 23324, 27108, 436, 253, 15114, 39228, 28, 351, 25854, 41658, 284, 14055, 9018, 30, 1249, 347],
]


@pytest.fixture(scope="module")
def loaded(smollm2):
    return LlamaForCausalLM.from_gguf(smollm2)


@pytest.fixture
def stored(data_folder):
    path = data_folder / "models" / "smollm2_hf_ref.npz"
    if not path.is_file():
        pytest.skip(f"there is no {path}, the stored outputs of transformers")
    with np.load(path) as file:
        return [(file[f"ids{i}"], file[f"logits{i}"]) for i in range(4)]


def distance_to_stored(model, stored):
    with tg.no_grad():
        return max(abs(model(tg.tensor(ids[None])).array[0, -1] - logits).max() for ids, logits in stored)


def test_smollm2_answers_what_transformers_answered(loaded, stored):
    assert loaded.config.vocab_size == 49152
    assert sum(p.numel() for p in loaded.parameters()) == 134_515_008
    assert distance_to_stored(loaded, stored) < 1e-3


def test_smollm2_writes_what_transformers_wrote(loaded, stored, rng):
    for (ids, _), written in zip(stored, WRITTEN, strict=False):
        assert loaded.generate(ids, 20, temperature=0, rng=rng).tolist() == [*ids, *written]


@pytest.mark.parametrize("fault", [*FAULTS, backwards])
def test_the_stored_answers_notice_a_fault(loaded, stored, monkeypatch, fault):
    fault(monkeypatch)
    assert distance_to_stored(loaded, stored[:1]) > 0.1


@pytest.mark.parametrize("change", [{"rope_theta": 10000.0}, {"rms_norm_eps": 1e-6}])
def test_the_stored_answers_notice_another_number_in_the_metadata(loaded, stored, change):
    config = loaded.config
    norms = [m for m in loaded.modules() if type(m).__name__ == "RMSNorm"]
    try:
        loaded.model.config = dataclasses.replace(config, **change)
        for norm in norms:
            norm.eps = loaded.model.config.rms_norm_eps
        assert distance_to_stored(loaded, stored[3:]) > 1e-3
    finally:
        loaded.model.config = config
        for norm in norms:
            norm.eps = config.rms_norm_eps
