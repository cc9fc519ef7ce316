"""Accuracy, precision, recall, F1 and perplexity, against numbers counted by hand and counts of our own."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tinygrad_ft.train.metrics import classification_metrics, perplexity

pairs = st.integers(2, 4).flatmap(
    lambda classes: st.tuples(
        st.just(classes),
        st.lists(st.tuples(st.integers(0, classes - 1), st.integers(0, classes - 1)), min_size=1, max_size=30),
    )
)


def measured(said, labels, classes=2):
    return classification_metrics(np.array(said), np.array(labels), classes)


def ratio(a, b):
    return a / b if b else 0.0


def counted(said, labels, classes):
    """The same measures from counts, without scikit-learn."""
    rows = []
    for c in [1] if classes == 2 else range(classes):
        hits = sum(s == t == c for s, t in zip(said, labels, strict=True))
        rows.append((ratio(hits, said.count(c)), ratio(hits, labels.count(c)), said.count(c) + labels.count(c), hits))
    return {
        "accuracy": sum(s == t for s, t in zip(said, labels, strict=True)) / len(said),
        "precision": sum(p for p, _, _, _ in rows) / len(rows),
        "recall": sum(r for _, r, _, _ in rows) / len(rows),
        "f1": sum(ratio(2 * hits, n) for _, _, n, hits in rows) / len(rows),
    }


def test_measures_of_two_classes_are_those_counted_by_hand():
    """Found rightly 2, wrongly 1, missed 2, rightly left 3."""
    found = measured([1, 1, 1, 0, 0, 0, 0, 0], [1, 1, 0, 1, 1, 0, 0, 0])
    assert found == pytest.approx({"accuracy": 5 / 8, "precision": 2 / 3, "recall": 1 / 2, "f1": 4 / 7})


def test_of_three_classes_each_counts_alike():
    """Precisions 1, 1/2, 1; recalls 1/2, 1, 1; F1 2/3, 2/3, 1."""
    found = measured([0, 1, 1, 2], [0, 0, 1, 2], 3)
    assert found == pytest.approx({"accuracy": 3 / 4, "precision": 5 / 6, "recall": 5 / 6, "f1": 7 / 9})


@pytest.mark.parametrize(
    ("said", "labels"), [([0, 0], [1, 0]), ([1, 1], [0, 0]), ([0, 0], [0, 0])], ids=["none said", "none there", "none"]
)
def test_where_nothing_is_found_or_to_be_found_the_measure_is_0_without_a_warning(said, labels):
    found = measured(said, labels)
    assert (found["precision"], found["recall"], found["f1"]) == (0, 0, 0)


@given(pairs)
def test_measures_are_those_that_counts_give(given):
    classes, both = given
    said, labels = ([pair[i] for pair in both] for i in (0, 1))
    assert measured(said, labels, classes) == pytest.approx(counted(said, labels, classes), abs=1e-12)


def test_a_precision_that_is_really_the_recall_would_be_seen():
    said, labels = [1, 1, 1, 0], [1, 0, 0, 0]
    wrong = measured(labels, said)  # the two taken for each other, as sklearn's order of arguments invites to
    assert wrong["precision"] != counted(said, labels, 2)["precision"]
    assert wrong["recall"] != counted(said, labels, 2)["recall"]
    assert wrong["accuracy"] == counted(said, labels, 2)["accuracy"]


@given(pairs)
def test_the_order_of_the_examples_does_not_matter(given):
    classes, both = given
    forth, back = (np.array(order) for order in (both, both[::-1]))
    there, again = (classification_metrics(*order.T, classes) for order in (forth, back))
    assert there == pytest.approx(again, abs=1e-12)


@pytest.mark.parametrize(
    ("said", "labels", "message"),
    [
        ([0, 1], [0], r"as many answers as labels, in one row: got \(2,\) and \(1,\)"),
        ([], [], "as many answers as labels"),
        ([[0, 1]], [[0, 1]], "in one row"),
        ([0, 2], [0, 1], "labels from 0 to 1"),
        ([0, 1], [0, -1], "labels from 0 to 1"),
        ([0.5, 1.0], [0.0, 1.0], "whole numbers"),
    ],
)
def test_answers_that_do_not_fit_the_labels_are_refused(said, labels, message):
    with pytest.raises(ValueError, match=message):
        measured(said, labels)


# --- perplexity ------------------------------------------------------------------------------------------------------


@given(st.integers(1, 10**6))
def test_a_model_that_finds_n_tokens_equally_likely_has_perplexity_n(n):
    assert perplexity(math.log(n)) == pytest.approx(n)


@given(st.floats(0, 700), st.floats(1e-6, 5))
def test_more_nats_are_more_perplexity(nats, more):
    assume(nats + more > nats)
    assert perplexity(nats) < perplexity(nats + more)


def test_bits_taken_for_nats_would_be_seen():
    assert perplexity(math.log2(10)) != pytest.approx(10)


def test_a_loss_beyond_all_floats_has_infinite_perplexity_without_a_warning():
    assert perplexity(709.5) == pytest.approx(math.exp(709.5))
    assert perplexity(710.0) == math.inf
    assert perplexity(math.inf) == math.inf


def test_no_loss_has_no_perplexity():
    with pytest.raises(ValueError, match="needs a loss in nats: got nan"):
        perplexity(math.nan)
