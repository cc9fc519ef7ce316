"""Batches of token ids: every text once an epoch, few shapes, and a function of their number alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import tokenizer

from tinygrad_ft.finetune.batches import IGNORED, LENGTHS, Bucketed, Masked, NextTokens, blocks, buckets


def ragged(n, longest, seed=0):
    """Rows of which the first token is the text's number, and the labels these numbers too."""
    rng = np.random.default_rng(seed)
    return [[i, *rng.integers(1, 99, rng.integers(0, longest))] for i in range(n)], np.arange(n)


@given(n=st.integers(1, 300), size=st.integers(1, 40), longest=st.integers(1, 70), epoch=st.integers(0, 3))
def test_in_each_epoch_every_text_comes_once_whole_and_with_its_own_label(n, size, longest, epoch):
    rows, labels = ragged(n, longest)
    batches = Bucketed(rows, labels, batch_size=size, max_length=70, seed=1)
    seen = []
    for i in range(epoch * len(batches), (epoch + 1) * len(batches)):
        ids, mask, found = batches[i]
        assert ids.shape == mask.shape == (size, ids.shape[1]) and ids.shape[1] in batches.buckets
        assert mask.any(axis=1).all()
        for row, shown, label in zip(ids, mask, found, strict=True):
            if label == IGNORED:
                assert not row.any()
                continue
            assert row[: shown.sum()].tolist() == rows[label] and not row[shown.sum() :].any()
            assert shown[: shown.sum()].all()
            seen.append(label)
    assert sorted(seen) == list(range(n))


@given(i=st.integers(0, 40), j=st.integers(0, 40), seed=st.integers(0, 5))
def test_a_batch_is_a_function_of_its_number_alone(i, j, seed):
    rows, labels = ragged(23, 20)
    text = blocks(tokenizer(), ["the good film"] * 40, 6, special=True)
    for make in (
        lambda: Bucketed(rows, labels, batch_size=4, max_length=64, seed=seed),
        lambda: Masked(text, tokenizer(), batch_size=3, seed=seed),
        lambda: NextTokens(text, batch_size=3, seed=seed),
    ):
        fresh, used = make(), make()
        used[j], used[0]
        for a, b in zip(fresh[i], used[i], strict=True):
            np.testing.assert_array_equal(a, b)


def test_batches_that_depend_on_those_before_would_be_seen():
    """The planted fault: orders are drawn from one generator, as they are asked for."""

    class Drawing(Bucketed):
        drawn = np.random.default_rng(0)

        def _dealt(self, epoch):
            return super()._dealt(int(self.drawn.integers(1000)))

    fresh, used = (Drawing(*ragged(23, 20), batch_size=4, max_length=64) for _ in range(2))
    used[7], used[0]
    assert fresh[0][2].tolist() != used[0][2].tolist()


def test_epochs_and_seeds_differ_in_their_order():
    rows, labels = ragged(64, 20)
    batches = Bucketed(rows, labels, batch_size=4, max_length=64, seed=0)
    other = Bucketed(rows, labels, batch_size=4, max_length=64, seed=1)
    orders = [
        [tuple(b[i][2]) for i in part]
        for b, part in ((batches, range(16)), (batches, range(16, 32)), (other, range(16)))
    ]
    assert orders[0] != orders[1] and orders[0] != orders[2]


def test_little_is_padded_and_long_batches_come_at_any_time():
    rows, labels = ragged(1600, 60)
    batches = Bucketed(rows, labels, batch_size=16, max_length=64, seed=0)
    all_masks = [batches[i][1] for i in range(100)]
    share = sum(mask.sum() for mask in all_masks) / sum(mask.size for mask in all_masks)
    plain = [
        np.mean([len(rows[i]) for i in part]) / 64
        for part in np.random.default_rng(0).permutation(1600).reshape(100, 16)
    ]
    assert share > 0.8 > np.mean(plain)
    lengths = np.array([mask.shape[1] for mask in all_masks])
    assert 0.3 < (lengths[:50] > 32).mean() / (lengths > 32).mean() < 1.7
    assert set(lengths) <= set(LENGTHS)


@pytest.mark.parametrize(
    ("longest", "most", "expected"),
    [
        (5, 512, (8,)),
        (8, 512, (8,)),
        (9, 512, (8, 16)),
        (9, 9, (8, 9)),
        (60, 64, (8, 16, 32, 48, 64)),
        (600, 600, (*LENGTHS, 600)),
    ],
)
def test_buckets_are_few_and_none_is_longer_than_the_model_takes(longest, most, expected):
    assert buckets(longest, most) == expected


def test_evaluation_sees_every_text_once():
    rows, labels = ragged(23, 20)
    seen = []
    for numbers, (ids, _, found) in Bucketed(rows, labels, batch_size=4, max_length=64).in_order_of_length():
        np.testing.assert_array_equal(found[: len(numbers)], numbers)
        assert (found[len(numbers) :] == IGNORED).all() and len(ids) == 4
        seen += numbers.tolist()
    assert sorted(seen) == list(range(23))


@pytest.mark.parametrize(
    ("rows", "labels", "size", "message"),
    [
        ([], [], 2, "a token or more"),
        ([[1], []], [0, 1], 2, "a token or more"),
        ([[1]], [0, 1], 2, "1 texts, 2 labels and 2"),
        ([[1]], [0], 0, "batch_size >= 1"),
        ([[1] * 9], [0], 1, "9 tokens, and a batch at most 8"),
    ],
)
def test_impossible_batches_are_refused(rows, labels, size, message):
    with pytest.raises(ValueError, match=message):
        Bucketed(rows, np.array(labels), batch_size=size, max_length=8)


# --- running text ----------------------------------------------------------------------------------------------------


def test_blocks_are_the_text_in_rows_with_an_end_after_each_line():
    words = tokenizer()
    lines = ["the good film", "a bad film ."] * 5
    end = words.special["end"]
    plain = blocks(words, lines, 7, special=False)
    expected = [i for row in words.lists(lines, special=False) for i in (*row, end)]
    assert plain.reshape(-1).tolist() == expected[: plain.size] and len(expected) - plain.size < 7
    assert blocks(words, lines, 7, special=True)[0, 0] == words.special["begin"]
    with pytest.raises(ValueError, match="the text has 8 tokens, and a block 9"):
        blocks(words, ["a bad film . the bad film"], 9, special=False)


def test_targets_are_one_token_further():
    rows = np.arange(40).reshape(5, 8)
    inputs, targets = NextTokens(rows, batch_size=2, seed=0)[3]
    assert inputs.shape == targets.shape == (2, 7)
    np.testing.assert_array_equal(targets, inputs + 1)


def masked(size=16, length=32, n=64, **options):
    words = tokenizer()
    rng = np.random.default_rng(0)
    special = sorted(set(words.special.values()))
    rows = rng.choice([i for i in range(words.vocab_size) if i not in special], (n, length))
    rows[:, 0] = words.special["begin"]
    return rows, words, Masked(rows, words, batch_size=size, seed=0, **options)


def test_of_fifteen_percent_of_the_words_eight_tenths_are_hidden_one_is_another_and_one_stays():
    _, words, batches = masked()
    kinds = np.zeros(3)
    for i in range(60):
        ids, places, targets = batches[i]
        assert places.shape == targets.shape == (round(0.15 * 16 * 32),)
        assert len(set(places)) == len(places)
        found = ids.reshape(-1)[places]
        hidden, same = found == words.special["mask"], found == targets
        kinds += hidden.sum(), (~hidden & ~same).sum(), same.sum()
    hidden, other, same = kinds / kinds.sum()
    # Of the random words one in vocab_size is the word itself, and one the mask.
    assert hidden == pytest.approx(0.8, abs=0.02) and other == pytest.approx(0.1, abs=0.03)
    assert same == pytest.approx(0.1, abs=0.03)


def test_targets_are_what_was_there_special_tokens_are_not_chosen_and_nothing_else_changes():
    rows, words, batches = masked(size=64)
    for i in range(5):
        ids, places, targets = batches[i]
        chosen = np.zeros(ids.size, bool)
        chosen[places] = True
        restored = ids.reshape(-1).copy()
        restored[places] = targets
        restored = restored.reshape(rows.shape)
        assert sorted(map(tuple, restored)) == sorted(map(tuple, rows))
        assert not np.isin(targets, list(words.special.values())).any()


def test_a_batch_with_too_few_words_asks_for_those_only():
    words = tokenizer()
    rows = np.full((2, 8), words.special["begin"])
    rows[0, 3] = 9
    ids, places, targets = Masked(rows, words, batch_size=2, seed=0, share=0.5)[0]
    assert sorted(targets.tolist()) == [IGNORED] * 7 + [9]
    assert ids.shape == (2, 8) and places.shape == (8,)


def test_words_are_not_hidden_without_a_mask_token():
    words = tokenizer()
    del words.special["mask"]
    with pytest.raises(ValueError, match=r"no mask token.*--task clm"):
        Masked(np.ones((2, 8), np.int64), words, batch_size=2, seed=0)
