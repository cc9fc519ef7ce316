"""The tokenizer out of a GGUF file: ids as transformers makes them, texts that come back, and what is refused."""

import numpy as np
import pytest
from huggingface import import_transformers
from hypothesis import given
from hypothesis import strategies as st
from tiny_llama import letters

from tinygrad_ft.data.gguf_tokenizer import gguf_tokenizer
from tinygrad_ft.formats import GGUF

# The texts of which /models/smollm2_hf_ref.npz in the data folder holds transformers' ids as ids0, ids1, ...
TEXTS = [
    "The capital of France is",
    "def fibonacci(n):",
    "Once upon a time",
    'In 2024, 3.14159 apples & "quotes"\n\tcafé 你好',
]


@pytest.fixture(scope="module")
def metadata(smollm2):
    return GGUF(smollm2).metadata


@pytest.fixture(scope="module")
def tokenizer(metadata):
    return gguf_tokenizer(metadata)


@pytest.fixture
def stored(data_folder):
    path = data_folder / "models" / "smollm2_hf_ref.npz"
    if not path.is_file():
        pytest.skip(f"there is no {path}, the stored outputs of transformers")
    with np.load(path) as file:
        return [file[f"ids{i}"].tolist() for i in range(len(TEXTS))]


def tokens_of(text, **changes):
    made = gguf_tokenizer(letters(**changes))
    return [made.tokenizer.id_to_token(i) for i in made.lists([text])[0]]


# --- as others tokenize ----------------------------------------------------------------------------------------------


def test_texts_get_the_ids_that_transformers_gave_them(tokenizer, stored):
    assert tokenizer.lists(TEXTS) == stored
    assert [tokenizer.decode(ids) for ids in stored] == TEXTS


@pytest.mark.reference
def test_a_thousand_lines_get_the_ids_that_transformers_gives_them(smollm2, tokenizer, data_folder):
    lines = (data_folder / "sst2_train.tsv").read_text(encoding="utf-8").splitlines()[:800]
    from tinygrad_ft.data import python_manual

    lines += [line for line in python_manual().splitlines() if line.strip()][:200]
    theirs = import_transformers().AutoTokenizer.from_pretrained(smollm2.parent, gguf_file=smollm2.name)
    assert len(lines) == 1000
    assert sum(any(c.isdigit() for c in line) for line in lines) > 500
    assert tokenizer.lists(lines) == theirs(lines)["input_ids"]
    assert (tokenizer.special["begin"], tokenizer.special["end"]) == (theirs.bos_token_id, theirs.eos_token_id)
    assert (tokenizer.special["pad"], tokenizer.special["unknown"]) == (theirs.pad_token_id, theirs.unk_token_id)


def test_special_tokens_are_one_token_each_and_stay_out_of_the_text(tokenizer):
    ids = tokenizer.lists(["<|im_start|>user\nHi<|im_end|>"])[0]
    assert (ids[0], ids[-1]) == (1, 2)
    assert tokenizer.decode(ids) == "user\nHi"
    assert tokenizer.vocab_size == 49152


# --- laws ------------------------------------------------------------------------------------------------------------


@given(text=st.text(max_size=40))
def test_every_text_comes_back(text):
    made = gguf_tokenizer(letters())
    assert made.decode(made.lists([text])[0]) == text


@given(text=st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs", "Cc", "Cn"]), max_size=40))
def test_texts_come_back_from_smollm2_too(tokenizer, text):
    assert tokenizer.decode(tokenizer.lists([text])[0]) == text


def test_pairs_are_merged_in_order_and_digits_stand_alone():
    assert tokens_of("abcab a 12") == ["abc", "ab", "Ġa", "Ġ", "1", "2"]


def test_gpt2_keeps_a_number_together():
    more = {"tokens": [*letters()["tokenizer.ggml.tokens"], "12"], "merges": ["1 2"]}
    more["token_type"] = [3, 3, *[1] * (len(more["tokens"]) - 2)]
    assert tokens_of("12", pre="gpt-2", **more) == ["12"]
    assert tokens_of("12", **more) == ["1", "2"]


def test_added_tokens_are_found_in_the_text_and_belong_to_it():
    assert tokens_of("a<new>b<end>") == ["a", "<new>", "b", "<end>"]
    made = gguf_tokenizer(letters())
    assert made.decode(made.lists(["a<new>b<end>"])[0]) == "a<new>b"


def test_a_text_begins_with_a_token_if_the_file_says_so():
    assert tokens_of("ab", add_bos_token=True) == ["<begin>", "ab"]
    assert tokens_of("ab", add_bos_token=False) == ["ab"]
    assert gguf_tokenizer(letters()).special == {"begin": 1, "end": 0}


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"model": "llama"},
            "of model 'llama' and splits as 'smollm': known here is 'gpt2' that splits as 'smollm' or",
        ),
        ({"model": None}, "of model None"),
        ({"pre": "llama-bpe"}, "splits as 'llama-bpe'"),
        ({"pre": None}, "splits as None"),
        ({"tokens": None}, "no list of tokens under tokenizer.ggml.tokens"),
        ({"tokens": [1, 2]}, "no list of tokens"),
        ({"merges": "a b"}, "no list of merges"),
        ({"token_type": ["3"]}, "no list of token_type"),
        ({"token_type": [3, 3]}, "262 tokens, 262 of them different, 2 types"),
        ({"merges": ["a b c"]}, "a merge 'a b c' of no tokens"),
        ({"merges": ["a b", "b a"]}, "a merge 'b a' of no tokens"),
        ({"merges": ["ab"]}, "a merge 'ab' of no tokens"),
        ({"bos_token_id": 262}, "bos token is 262, and it has 262 tokens"),
        ({"eos_token_id": -1}, "eos token is -1"),
        ({"bos_token_id": None, "add_bos_token": True}, "begin with a bos token, and it names none"),
    ],
)
def test_metadata_of_another_or_half_a_tokenizer_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        gguf_tokenizer(letters(**changes))


def test_a_token_that_comes_twice_is_refused():
    tokens = letters()["tokenizer.ggml.tokens"]
    with pytest.raises(ValueError, match="262 tokens, 261 of them different"):
        gguf_tokenizer(letters(tokens=[*tokens[:-1], tokens[0]]))


def test_without_the_library_the_message_says_what_to_install(monkeypatch):
    import sys

    given_ = letters()
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(RuntimeError, match=r"tinygrad-ft\[pretrained\]"):
        gguf_tokenizer(given_)


@pytest.mark.parametrize("fault", ["digits", "merges", "types"])
def test_the_stored_ids_notice_a_fault(metadata, stored, fault):
    changed = dict(metadata)
    if fault == "digits":
        # Digits are never merged in this file, so that splitting them changes nothing but where a merge is planted.
        changed["tokenizer.ggml.merges"] = ["2 0", *metadata["tokenizer.ggml.merges"][:-1]]
        tokens = list(metadata["tokenizer.ggml.tokens"])
        tokens[-1] = "20"
        changed |= {"tokenizer.ggml.tokens": tokens, "tokenizer.ggml.pre": "gpt-2"}
    elif fault == "merges":
        changed["tokenizer.ggml.merges"] = metadata["tokenizer.ggml.merges"][::-1]
    else:
        changed["tokenizer.ggml.token_type"] = [4] * len(metadata["tokenizer.ggml.tokens"])
    assert gguf_tokenizer(changed).lists(TEXTS) != stored
