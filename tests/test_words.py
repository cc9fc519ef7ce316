"""The tokenizer of words: which it knows, in which order, and that rows of ids say what the texts said."""

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_ft.data.words import BETWEEN_WORDS, PADDING, UNITS, UNKNOWN, WordTokenizer, split_into

texts = st.lists(st.text(st.sampled_from("aAbéßñ 猫狗,.!'\t\n\u3000"), max_size=12), min_size=1, max_size=8)
units = st.sampled_from(UNITS)


def trained(texts, unit, **options):
    """The tokenizer of texts with a word in front that no text has, so that there always is one."""
    return WordTokenizer.train(["z", *texts], unit=unit, **options)


# --- what a unit is --------------------------------------------------------------------------------------------------


def test_words_are_in_lower_case_and_end_at_space_and_punctuation_but_keep_their_apostrophe():
    assert split_into("A GOOD film,isn't it?\tYes: 10/10!", "words") == [
        *("a", "good", "film", "isn't", "it", "yes", "10", "10")
    ]  # fmt: skip
    assert split_into("x-ray_y", "words") == ["x", "ray", "y"]


def test_characters_stand_as_they_are_without_white_space():
    assert split_into("好吃, A\u3000a\n", "characters") == ["好", "吃", ",", "A", "a"]


@given(texts=texts)
def test_no_word_is_empty_or_has_a_separator_in_it(texts):
    for text in texts:
        for word in split_into(text, "words"):
            assert word and not any(c.isspace() or ord(c) in BETWEEN_WORDS for c in word)


# --- which are known -------------------------------------------------------------------------------------------------


def test_the_most_frequent_words_come_first_and_ties_in_the_order_of_the_text():
    tokenizer = WordTokenizer.train(["d c b a", "c b", "c"], vocabulary=5)
    assert tokenizer.units == ("c", "b", "d")
    assert tokenizer.vocab_size == 5
    assert tokenizer.encode(["a b c d"], 4).tolist() == [[UNKNOWN, 3, 2, 4]]


@given(texts=texts, unit=units, vocabulary=st.integers(3, 12))
def test_no_unknown_unit_is_more_frequent_than_a_known_one(texts, unit, vocabulary):
    tokenizer = trained(texts, unit, vocabulary=vocabulary)
    counts = Counter(part for text in ["z", *texts] for part in split_into(text, unit))
    frequencies = [counts[part] for part in tokenizer.units]
    assert frequencies == sorted(frequencies, reverse=True)
    assert len(frequencies) == min(vocabulary - 2, len(counts))
    assert all(counts[part] <= frequencies[-1] for part in counts.keys() - set(tokenizer.units))


@given(texts=texts, unit=units, vocabulary=st.integers(3, 12))
def test_a_smaller_vocabulary_is_the_beginning_of_a_larger_one(texts, unit, vocabulary):
    small, large = (trained(texts, unit, vocabulary=n) for n in (vocabulary, vocabulary + 3))
    assert large.units[: len(small.units)] == small.units


# --- rows of ids -----------------------------------------------------------------------------------------------------


@given(texts=texts, unit=units, length=st.integers(1, 15))
def test_a_row_says_the_text_up_to_its_length_with_padding_behind(texts, unit, length):
    tokenizer = trained(texts, unit)
    ids = tokenizer.encode(texts, length)
    assert ids.shape == (len(texts), length)
    assert ids.dtype == np.int64
    for row, text in zip(ids, texts, strict=True):
        parts = split_into(text, unit)[:length]
        assert [tokenizer.units[i - 2] for i in row[: len(parts)]] == parts
        assert (row[len(parts) :] == PADDING).all()


@given(texts=texts, unit=units, vocabulary=st.integers(3, 6))
def test_each_unit_has_a_number_of_its_own_whatever_stands_around_it(texts, unit, vocabulary):
    tokenizer = trained(texts, unit, vocabulary=vocabulary)
    for text in texts:
        parts = split_into(text, unit)
        alone = [int(tokenizer.encode([part], 1)[0, 0]) for part in parts]
        assert tokenizer.encode([text], max(1, len(parts)))[0, : len(parts)].tolist() == alone
        assert all(0 < i < tokenizer.vocab_size for i in alone)


def test_padding_and_unknown_words_are_told_apart():
    tokenizer = WordTokenizer.train(["good film"])
    assert tokenizer.encode(["good unheard", ""], 3).tolist() == [[2, UNKNOWN, PADDING], [PADDING] * 3]


def test_no_texts_give_no_rows():
    assert WordTokenizer.train(["a"]).encode([], 4).shape == (0, 4)


# --- kept and read ---------------------------------------------------------------------------------------------------


@given(texts=texts, unit=units)
def test_a_tokenizer_comes_back_equal_through_json(texts, unit):
    tokenizer = trained(texts, unit)
    back = WordTokenizer.from_dict(json.loads(json.dumps(tokenizer.to_dict())))
    assert back == tokenizer
    assert (back.encode(texts, 5) == tokenizer.encode(texts, 5)).all()


@pytest.mark.parametrize(
    "saved",
    [
        {},
        {"type": "char", "characters": "ab"},
        {"type": "words"},
        {"type": "words", "units": "ab"},
        {"type": "words", "units": ["a", 1]},
        {"type": ["words"], "units": ["a"]},
    ],
)
def test_another_thing_than_a_saved_tokenizer_is_refused(saved):
    with pytest.raises(ValueError, match=r"^A saved word tokenizer needs 'type'.*to_dict\(\)\.$"):
        WordTokenizer.from_dict(saved)


def test_a_saved_tokenizer_with_a_word_twice_is_refused():
    with pytest.raises(ValueError, match="each once: got 2, 1 different"):
        WordTokenizer.from_dict({"type": "words", "units": ["a", "a"]})


@pytest.mark.parametrize(
    ("texts", "options", "message"),
    [
        (["a"], {"vocabulary": 2}, "needs 3 numbers at least, two are padding and unknown: got 2"),
        (["a"], {"unit": "syllables"}, "one of words, characters: got 'syllables'"),
        ([], {}, "have no words to learn"),
        (["...", " "], {}, "have no words to learn"),
        ([" \n"], {"unit": "characters"}, "have no characters to learn"),
        ("a film", {}, "needs texts, a list of them: got one text"),
    ],
)
def test_what_gives_no_tokenizer_is_refused(texts, options, message):
    with pytest.raises(ValueError, match=message):
        WordTokenizer.train(texts, **options)


@pytest.mark.parametrize(
    ("texts", "length", "message"),
    [(["a"], 0, "a length of at least 1: got 0"), ("a film", 3, "needs texts, a list of them: got one text")],
)
def test_what_cannot_be_encoded_is_refused(texts, length, message):
    with pytest.raises(ValueError, match=message):
        WordTokenizer.train(["a"]).encode(texts, length)
