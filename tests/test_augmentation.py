"""Augmentation: what each change keeps, that seeds reproduce it, and that strength 0 changes nothing."""

from collections import Counter
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinygrad_ft import data
from tinygrad_ft.data.augment_images import flip, noise, rotate, shift
from tinygrad_ft.data.augment_text import UNITS, delete, replace, swap

seeds = st.integers(0, 2**32 - 1)
shares = st.floats(0, 1)
units = st.sampled_from(sorted(UNITS))
texts = st.text(max_size=40) | st.lists(st.sampled_from(["a", "good", "bad", "film", "\n"]), max_size=20).map(" ".join)
WORDS = {"good": ["fine", "great"], "bad": ["poor"], "film": []}


def seeded(seed):
    return np.random.default_rng(seed)


def parts(text, unit):
    return text.split() if unit == "words" else list(text)


def in_order(some, all_of_them):
    """Whether `some` is what is left of a list after leaving out."""
    rest = iter(all_of_them)
    return all(part in rest for part in some)


# --- texts -----------------------------------------------------------------------------------------------------------


@given(text=texts, share=shares, unit=units, seed=seeds)
def test_swaps_keep_every_word_or_character(text, share, unit, seed):
    swapped = swap(text, share, rng=seeded(seed), unit=unit)
    assert Counter(parts(swapped, unit)) == Counter(parts(text, unit))


@given(text=texts, share=shares, unit=units, seed=seeds)
def test_deletion_leaves_a_part_in_the_old_order_and_never_nothing(text, share, unit, seed):
    left = delete(text, share, rng=seeded(seed), unit=unit)
    assert in_order(parts(left, unit), parts(text, unit))
    assert bool(left.strip()) == bool(text.strip())


@given(text=texts, seed=seeds)
def test_replacement_changes_known_words_only_and_into_their_synonyms(text, seed):
    before, after = text.split(), replace(text, 1.0, WORDS, rng=seeded(seed)).split()
    for old, new in zip(before, after, strict=True):
        assert new in WORDS.get(old.lower(), ()) or (new == old and not WORDS.get(old.lower()))


@given(text=texts, unit=units, seed=seeds)
def test_share_0_changes_nothing(text, unit, seed):
    for change in (swap, delete, data.augment_text):
        assert change(text, 0.0, rng=seeded(seed), unit=unit) == text
    assert replace(text, 0.0, WORDS, rng=seeded(seed)) == text


@given(text=texts, share=shares, unit=units, seed=seeds)
def test_a_seed_decides_how_a_text_is_changed(text, share, unit, seed):
    assert len({data.augment_text(text, share, rng=seeded(seed), unit=unit) for _ in range(3)}) == 1


def test_the_strength_is_the_share_of_the_words_that_are_changed():
    text = " ".join(map(str, range(1000)))
    assert 0.05 < 1 - len(delete(text, 0.1, rng=seeded(0)).split()) / 1000 < 0.15
    moved = sum(a != b for a, b in zip(text.split(), swap(text, 0.1, rng=seeded(0)).split(), strict=True))
    assert 150 < moved <= 200  # 100 swaps of two each, few of them meeting
    assert replace("good " * 10, 0.3, WORDS, rng=seeded(0)).split().count("good") == 7


def test_characters_change_places_with_their_neighbours():
    assert {swap("abc", 0.1, rng=seeded(seed), unit="characters") for seed in range(20)} == {"bac", "acb"}


def test_all_three_ways_occur_and_short_texts_are_changed_too():
    seen = {data.augment_text("one good film", 0.1, rng=seeded(seed), synonyms=WORDS) for seed in range(200)}
    assert {"one fine film", "one great film", "good one film", "good film", "one good"} <= seen


@given(given_texts=st.lists(texts, min_size=1, max_size=5), copies=st.integers(0, 3), seed=seeds)
def test_copies_have_the_label_of_their_text_and_the_texts_stay(given_texts, copies, seed):
    n = len(given_texts)
    longer, labels = data.augment_texts(given_texts, np.arange(n), copies, rng=seeded(seed), synonyms=WORDS)
    assert longer[:n] == given_texts
    assert (labels == np.tile(np.arange(n), copies + 1)).all()
    for text, label in zip(longer, labels, strict=True):
        fresh = set(text.split()) - set(given_texts[label].split())
        assert fresh <= {"fine", "great", "poor"}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda r: swap("a b", 1.5, rng=r), "from 0 to 1: got 1.5"),
        (lambda r: delete("a b", float("nan"), rng=r), "from 0 to 1: got nan"),
        (lambda r: delete("a b", 0.1, rng=r, unit="lines"), "words, characters: got 'lines'"),
        (lambda r: data.augment_text("a", rng=r, unit="characters", synonyms=WORDS), "synonyms are of words"),
        (lambda r: data.augment_texts(["a"], np.zeros(2), rng=r), "got 1 texts, 2 labels"),
        (lambda r: data.augment_texts(["a"], np.zeros(1), -1, rng=r), "copies=-1"),
    ],
)
def test_a_change_of_text_that_makes_no_sense_is_refused(wrong, said, rng):
    with pytest.raises(ValueError, match=said):
        wrong(rng)


# --- images ----------------------------------------------------------------------------------------------------------

CHANGES = {
    "shift": partial(shift, most=2),
    "flip": partial(flip, chance=0.5),
    "rotate": partial(rotate, degrees=20.0),
    "noise": partial(noise, deviation=0.3),
    "all": partial(data.augment_images, most=1, degrees=10.0, deviation=0.1, chance=0.5),
}
NOTHING = {"most": 0, "chance": 0.0, "degrees": 0.0, "deviation": 0.0}
shapes = st.tuples(st.integers(0, 4), st.integers(1, 6), st.integers(1, 6)) | st.tuples(
    st.integers(0, 4), st.sampled_from([1, 9, 16])
)
dtypes = st.sampled_from(["float32", "float64", "uint8", "int16"])


@st.composite
def pictures(draw):
    return seeded(draw(seeds)).uniform(0, 200, draw(shapes)).astype(draw(dtypes))


@pytest.mark.parametrize("name", CHANGES)
@given(images=pictures(), seed=seeds)
def test_every_change_keeps_shape_and_dtype_and_its_argument_and_follows_the_seed(name, images, seed):
    before = images.copy()
    changed, again = (CHANGES[name](images, rng=seeded(seed)) for _ in range(2))
    assert (changed.shape, changed.dtype) == (images.shape, images.dtype)
    assert (changed == again).all()
    assert (images == before).all()
    assert not np.shares_memory(changed, images)
    if name in ("shift", "flip", "rotate"):  # nothing brighter or darker than the image and its background
        assert changed.size == 0 or (changed.min() >= 0 and changed.max() <= images.max() * (1 + 1e-6))


@given(images=pictures(), seed=seeds)
def test_strength_0_changes_no_pixel(images, seed):
    assert (data.augment_images(images, rng=seeded(seed), **NOTHING) == images).all()
    assert (rotate(images, 0.0, rng=seeded(seed)) == images).all()


@given(image=hnp.arrays("float32", (1, 5, 4), elements=st.floats(1, 9, width=32)), seed=seeds)
def test_a_shift_is_one_of_the_possible_moves_with_the_background_let_in(image, seed):
    moves = []
    for down in (-1, 0, 1):
        for across in (-1, 0, 1):
            moved = np.full((7, 6), -1.0, np.float32)
            moved[1 + down : 6 + down, 1 + across : 5 + across] = image[0]
            moves.append(moved[1:6, 1:5])
    shifted = shift(image, 1, rng=seeded(seed), background=-1.0)[0]
    assert any((shifted == moved).all() for moved in moves)


def test_every_image_has_its_own_shift_and_all_shifts_occur():
    one = np.zeros((900, 5, 5), np.float32)
    one[:, 2, 2] = 1
    places = Counter(np.flatnonzero(a)[0] for a in shift(one, 1, rng=seeded(0)))
    assert set(places) == {6, 7, 8, 11, 12, 13, 16, 17, 18}
    assert min(places.values()) > 60  # 100 expected


def test_flips_mirror_left_to_right_as_often_as_the_chance_says():
    images = np.tile(np.arange(6.0).reshape(1, 2, 3), (1000, 1, 1))
    flipped = flip(images, 0.3, rng=seeded(0))
    mirrored = (flipped == images[:, :, ::-1]).all(axis=(1, 2))
    assert (mirrored | (flipped == images).all(axis=(1, 2))).all()
    assert 0.25 < mirrored.mean() < 0.35


def test_a_turn_moves_a_pixel_by_its_angle_and_keeps_the_middle():
    image = np.zeros((1, 9, 9))
    image[0, 4, 4], image[0, 4, 8] = 1, 1

    class Largest:
        def uniform(self, low, high, n):
            return np.full(n, high)

    turned = rotate(image, 90.0, rng=Largest())[0]
    assert turned[4, 4] == pytest.approx(1)
    assert max(turned[0, 4], turned[8, 4]) == pytest.approx(1)
    assert turned.sum() == pytest.approx(2)


def test_noise_has_its_deviation_and_whole_numbers_stay_in_their_range():
    assert noise(np.zeros((100, 100)), 0.3, rng=seeded(0)).std() == pytest.approx(0.3, rel=0.05)
    loud = noise(np.full((1, 100, 100), 250, np.uint8), 50.0, rng=seeded(0))
    assert loud.max() == 255
    assert 0.4 < (loud == 255).mean() < 0.6  # cut off, not wrapped around to 0


def test_rows_are_the_images_that_their_size_says():
    images = np.arange(24.0).reshape(2, 3, 4)
    rows = data.augment_images(images.reshape(2, 12), rng=seeded(1), size=(3, 4), chance=0.5)
    assert (rows == data.augment_images(images, rng=seeded(1), chance=0.5).reshape(2, 12)).all()


def test_augmented_batches_are_fresh_each_time_and_functions_of_their_number():
    x, y = seeded(0).random((20, 64), np.float32), np.arange(20)
    plain = data.Shuffled(x, y, batch_size=5, seed=0)
    batches = data.Augmented(plain, partial(data.augment_images, most=2), seed=1)
    assert len(batches) == 4
    ahead = batches[7][0]
    assert (data.Augmented(plain, partial(data.augment_images, most=2), seed=1)[7][0] == ahead).all()
    assert not (data.Augmented(plain, partial(data.augment_images, most=2), seed=2)[7][0] == ahead).all()
    assert (batches[3][1] == plain[3][1]).all()
    assert not (batches[3][0] == plain[3][0]).all()
    whole = data.Augmented(data.Shuffled(x, y, batch_size=20, seed=0), seed=1)
    in_order_of_y = [batch[0][np.argsort(batch[1])] for batch in (whole[0], whole[1])]
    assert not (in_order_of_y[0] == in_order_of_y[1]).all()  # another epoch, other changes


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda r: shift(np.zeros((1, 4)), -1, rng=r), "most of 0 or more: got -1"),
        (lambda r: flip(np.zeros((1, 4)), 1.5, rng=r), "from 0 to 1: got 1.5"),
        (lambda r: rotate(np.zeros((1, 4)), -5.0, rng=r), "degrees of 0 or more"),
        (lambda r: noise(np.zeros((1, 4)), -0.1, rng=r), "deviation of 0 or more"),
        (lambda r: shift(np.zeros((1, 12)), 1, rng=r), r"shape \(1, 12\) and size=None"),
        (lambda r: shift(np.zeros((1, 2, 3)), 1, rng=r, size=(3, 2)), r"size=\(3, 2\)"),
        (lambda r: shift(np.zeros(4), 1, rng=r), r"got shape \(4,\)"),
    ],
)
def test_a_change_of_images_that_makes_no_sense_is_refused(wrong, said, rng):
    with pytest.raises(ValueError, match=said):
        wrong(rng)
