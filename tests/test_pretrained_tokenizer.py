"""The pretrained tokenizer: ids as transformers makes them, padding and masks, and what is refused."""

import json

import numpy as np
import pytest
from huggingface import import_transformers
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_ft as tg
from tinygrad_ft.data.pretrained_tokenizer import PretrainedTokenizer
from tinygrad_ft.models import from_pretrained


@pytest.fixture(scope="module")
def tokenizer(minilm):
    return PretrainedTokenizer.from_file(minilm)


@pytest.fixture
def reviews(data_folder):
    """The first 1000 texts of SST-2."""
    lines = (data_folder / "sst2_train.tsv").read_text(encoding="utf-8").splitlines()[:1000]
    return [line.rsplit("\t", 1)[0] for line in lines]


def small(*, special=True):
    """Whole words, of which it knows five, with [CLS] and [SEP] around if `special`."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c", "d", "e"]
    built = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    built.add_special_tokens(words[:5])
    built.pre_tokenizer = pre_tokenizers.Whitespace()
    if special:
        built.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
    return built


# --- as others tokenize ----------------------------------------------------------------------------------------------


@pytest.mark.reference
@pytest.mark.parametrize("max_length", [None, 16])
def test_a_thousand_reviews_get_the_ids_that_transformers_gives_them(minilm, tokenizer, reviews, max_length):
    theirs = import_transformers().AutoTokenizer.from_pretrained(minilm, local_files_only=True)
    assert len(reviews) == 1000
    made = theirs(reviews, padding=True, truncation=max_length is not None, max_length=max_length, return_tensors="np")
    ids, mask = tokenizer.encode(reviews, max_length)
    assert np.array_equal(ids, made["input_ids"])
    assert np.array_equal(mask, made["attention_mask"])
    assert tokenizer.special == {
        "pad": theirs.pad_token_id,
        "begin": theirs.cls_token_id,
        "end": theirs.sep_token_id,
        "mask": theirs.mask_token_id,
        "unknown": theirs.unk_token_id,
    }


def test_a_thousand_reviews_get_the_ids_that_the_library_gives_each_alone(minilm, tokenizer, reviews):
    from tokenizers import Tokenizer

    alone = Tokenizer.from_file(str(minilm / "tokenizer.json"))
    alone.no_padding()
    alone.no_truncation()
    assert tokenizer.lists(reviews) == [alone.encode(text).ids for text in reviews]


def test_the_padding_and_truncation_built_into_a_file_are_off(minilm):
    tokenizer = PretrainedTokenizer.from_file(minilm)  # one that was never asked before
    built_in = json.loads((minilm / "tokenizer.json").read_text())
    assert built_in["padding"]["strategy"] == {"Fixed": 128}
    assert built_in["truncation"]["max_length"] == 128
    ids, mask = tokenizer.encode(["hello", "word " * 200])
    assert ids.shape == mask.shape == (2, 202)
    assert tokenizer.lengths(["hello", "word " * 200]).tolist() == [3, 202]


def test_a_batch_answers_as_its_texts_do_alone(minilm, tokenizer):
    texts = ["a fine film", "dull", "it is , in the end , neither one thing nor the other"]
    model = from_pretrained(minilm)
    tokenizer.check_fits(model.config.vocab_size)
    with tg.no_grad():
        together = model(*(tg.tensor(a) for a in tokenizer.encode(texts)))[1].array
        alone = [model(*(tg.tensor(a) for a in tokenizer.encode([text])))[1].array[0] for text in texts]
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-5)


# --- laws ------------------------------------------------------------------------------------------------------------

TEXTS = st.lists(st.text(st.sampled_from("abcde xyz"), max_size=20), max_size=6)


@given(texts=TEXTS, max_length=st.none() | st.integers(3, 8), special=st.booleans())
def test_ids_and_mask_are_the_lists_padded_at_the_end(texts, max_length, special):
    tokenizer = PretrainedTokenizer(small(), {"pad": 4})
    rows = tokenizer.lists(texts, max_length, special=special)
    ids, mask = tokenizer.encode(texts, max_length, special=special)
    assert ids.dtype == mask.dtype == np.int64
    assert ids.shape == mask.shape == (len(texts), max((len(row) for row in rows), default=0))
    for row, of_row, seen in zip(rows, ids, mask, strict=True):
        assert of_row[seen.astype(bool)].tolist() == row
        assert (of_row[~seen.astype(bool)] == 4).all()
        assert (np.diff(seen) <= 0).all()
        assert max_length is None or len(row) <= max_length
        assert not special or (row[0], row[-1]) == (2, 3)
    if special:
        assert tokenizer.lengths(texts, max_length).tolist() == mask.sum(1).tolist()


@given(texts=TEXTS)
def test_a_call_with_a_length_leaves_no_trace_on_the_next(texts):
    tokenizer = PretrainedTokenizer(small())
    before = tokenizer.lists(texts)
    tokenizer.encode(texts, 3)
    assert tokenizer.lists(texts) == before


@given(words=st.lists(st.sampled_from("abcde"), max_size=9))
def test_decoding_gives_the_known_words_back(words):
    tokenizer = PretrainedTokenizer(small())
    ids, _ = tokenizer.encode([" ".join(words)])
    assert tokenizer.decode(ids[0]).split() == words


def test_special_ids_are_found_by_name_and_may_be_given():
    assert PretrainedTokenizer(small()).special == {"pad": 0, "unknown": 1, "begin": 2, "end": 3, "mask": 4}
    assert PretrainedTokenizer(small(), {"end": 9}).special["end"] == 9


# --- what is refused -------------------------------------------------------------------------------------------------


def test_a_tokenizer_larger_than_the_models_vocabulary_is_refused():
    tokenizer = PretrainedTokenizer(small())
    assert tokenizer.vocab_size == 10
    tokenizer.check_fits(10)
    tokenizer.check_fits(16)  # models round their vocabulary up
    with pytest.raises(ValueError, match=r"ids up to 9, and the model's vocabulary 9 words: .* another model"):
        tokenizer.check_fits(9)


def test_tokens_that_were_added_count():
    built = small()
    built.add_tokens(["new"])
    with pytest.raises(ValueError, match="ids up to 10, and the model's vocabulary 10 words"):
        PretrainedTokenizer(built).check_fits(10)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("one text", r"the one text 'one text', to be given as \[text\]"),
        (["a", 3], "number 1 is int"),
        ([None], "number 0 is NoneType"),
        ([["a"]], "number 0 is list"),
    ],
)
def test_what_is_no_list_of_texts_is_refused(texts, message):
    with pytest.raises(TypeError, match=message):
        PretrainedTokenizer(small()).encode(texts)


def test_half_a_character_is_refused():
    with pytest.raises(ValueError, match="text number 1 holds half of a character"):
        PretrainedTokenizer(small()).encode(["a", "b \ud800"])


@pytest.mark.parametrize(("special", "max_length"), [(True, 2), (True, 0), (True, -1), (False, 0)])
def test_a_length_without_room_for_text_is_refused(special, max_length):
    tokenizer = PretrainedTokenizer(small(special=special))
    with pytest.raises(ValueError, match=f"more than the {2 * special} special tokens: got {max_length}"):
        tokenizer.encode(["a b"], max_length)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"tokenizer.json"):
        PretrainedTokenizer.from_file(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{}", b'{"version": "1.0", "model": {"type": "None"}}', b"\xff\xfe"])
def test_a_file_that_is_no_tokenizer_is_refused(tmp_path, content):
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"tokenizer.json is not a tokenizer"):
        PretrainedTokenizer.from_file(tmp_path)


def test_a_truncated_file_is_refused(tmp_path):
    text = small().to_str()
    (tmp_path / "t.json").write_text(text)
    assert PretrainedTokenizer.from_file(tmp_path / "t.json").vocab_size == 10
    (tmp_path / "t.json").write_text(text[: len(text) // 2])
    with pytest.raises(ValueError, match=r"t.json is not a tokenizer"):
        PretrainedTokenizer.from_file(tmp_path / "t.json")


def test_without_the_library_the_message_says_what_to_install(tmp_path, monkeypatch):
    import sys

    (tmp_path / "tokenizer.json").write_text("{}")
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(RuntimeError, match=r"tinygrad-ft\[pretrained\]"):
        PretrainedTokenizer.from_file(tmp_path)


def test_importing_the_data_room_imports_no_tokenizer():
    import subprocess
    import sys

    program = "import sys, tinygrad_ft.data; print({'tokenizers', 'pooch', 'gguf'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
