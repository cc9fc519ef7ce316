"""Splits into training, validation and test parts: nothing lost, nothing twice, sizes and class shares kept."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_ft import data

THREE = (0.8, 0.1, 0.1)
seeds = st.integers(0, 2**32 - 1)
labelled = st.lists(st.integers(0, 4), min_size=10, max_size=200).map(np.array)


def dealt(y, fractions, seed, **options):
    return data.split(np.arange(len(y)), y, fractions, rng=np.random.default_rng(seed), **options)


@given(y=labelled, fractions=st.sampled_from([THREE, (0.5, 0.5), (1.0,)]), seed=seeds, stratify=st.booleans())
def test_parts_are_disjoint_complete_and_of_the_right_sizes_stratified_or_not(y, fractions, seed, stratify):
    parts = dealt(y, fractions, seed, stratify=stratify)
    assert sorted(np.concatenate([x for x, _ in parts])) == list(range(len(y)))
    for (x, labels), fraction in zip(parts, fractions, strict=True):
        assert abs(len(x) - fraction * len(y)) <= 1
        assert (labels == y[x]).all()


@given(y=labelled, fractions=st.sampled_from([THREE, (0.5, 0.5), (1 / 3,) * 3]), seed=seeds)
def test_a_stratified_split_keeps_the_share_of_every_class_in_every_part(y, fractions, seed):
    classes, sizes = np.unique(y, return_counts=True)
    for (_, labels), fraction in zip(dealt(y, fractions, seed, stratify=True), fractions, strict=True):
        for kind, size in zip(classes, sizes, strict=True):
            assert abs((labels == kind).sum() - fraction * size) <= 1 + len(classes) * size / len(y)


def test_ten_classes_of_ten_are_dealt_eight_one_and_one():
    for _, labels in (parts := dealt(np.repeat(np.arange(10), 10), THREE, 0, stratify=True)):
        assert len(set(np.bincount(labels, minlength=10))) == 1
    assert [len(x) for x, _ in parts] == [80, 10, 10]


def test_without_stratify_a_rare_class_may_be_missing_from_a_part():
    """The fault that stratify is for: were both splits alike, the tests above would prove nothing."""
    y = (np.arange(100) >= 90).astype(int)
    plain = [min((labels == 1).sum() for _, labels in dealt(y, THREE, seed)) for seed in range(20)]
    kept = [min((labels == 1).sum() for _, labels in dealt(y, THREE, seed, stratify=True)) for seed in range(20)]
    assert min(plain) == 0
    assert set(kept) == {1}


@given(y=labelled, seed=seeds)
def test_a_seed_decides_the_split_and_another_gives_another(y, seed):
    first, again = (dealt(y, THREE, seed, stratify=True) for _ in range(2))
    assert all((a == b).all() for one, two in zip(first, again, strict=True) for a, b in zip(one, two, strict=True))


def test_a_stratified_split_shuffles_which_examples_and_in_which_order():
    y = np.arange(1000) % 2
    (one, _), _ = dealt(y, (0.8, 0.2), 0, stratify=True)
    (two, _), _ = dealt(y, (0.8, 0.2), 1, stratify=True)
    assert abs(one.mean() - 499.5) < 30
    assert set(one) != set(two)
    assert (y[one][1:] == y[one][:-1]).mean() < 0.6  # the classes take turns by chance, neither in blocks ...
    assert (y[one][1:] == y[one][:-1]).mean() > 0.4  # ... nor one by one


def test_labels_may_be_words():
    parts = dealt(np.array(["cat"] * 10 + ["dog"] * 10), (0.5, 0.5), 0, stratify=True)
    assert [sorted(labels) for _, labels in parts] == [["cat"] * 5 + ["dog"] * 5] * 2


def test_stratify_needs_one_label_for_each_example():
    with pytest.raises(ValueError, match=r"y \(n,\): got shape \(10, 2\)"):
        dealt(np.zeros((10, 2)), THREE, 0, stratify=True)
