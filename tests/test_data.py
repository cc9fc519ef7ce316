"""Data: texts, the character tokenizer, downloads, small tables, batches."""

import functools
import hashlib
import http.server
import json
import os
import re
import subprocess
import sys
import threading
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tinygrad_ft import data
from tinygrad_ft.data.fetch import ENV, FILES

ROOT = Path(__file__).resolve().parents[1]
seeds = st.integers(0, 2**32 - 1)


# --- texts -------------------------------------------------------------------------------------------------------


def test_the_python_manual_is_there_without_a_network():
    manual = data.python_manual()
    assert len(manual) > 400_000
    assert manual.index('The "assert" statement') < manual.index('The "while" statement')  # topics in order
    assert manual == data.python_manual()


@given(text=st.text(min_size=1))
@example(text="\r\nkept\n")
@example(text="only the first \ufeff is a mark")
def test_a_text_file_is_read_as_it_was_written(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    for mark in (b"", b"\xef\xbb\xbf"):
        path.write_bytes(mark + text.encode())
        if "\0" in text:
            with pytest.raises(ValueError, match="not UTF-8 text"):
                data.read_text(path)
        elif mark or not text.startswith("\ufeff"):
            assert data.read_text(str(path)) == text


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"abc\0def", r"byte 3 is 0x00.*convert it to UTF-8"),
        (b"caf\xe9", r"byte 3 is 0xe9.*convert it to UTF-8"),
        (b"\xef\xbb\xbfcaf\xe9", r"byte 6 is 0xe9"),  # the byte order mark counts: the place in the file
        ("text".encode("utf-16"), r"byte 0 is 0xff"),
        ("你好".encode("gb18030"), r"byte 0 is 0xc4.*iconv -f GB18030"),
        (b"\x89PNG\r\n\x1a\n\0", r"byte 0 is 0x89"),
    ],
)
def test_a_file_that_is_no_text_is_refused_with_its_path_and_the_remedy(tmp_path, raw, error):
    path = tmp_path / "some file.txt"
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=error) as caught:
        data.read_text(path)
    assert str(path) in str(caught.value)
    assert type(caught.value) is ValueError  # one line, not the codec's own error


def test_a_missing_file_and_a_folder_are_refused_with_their_paths(tmp_path):
    with pytest.raises(FileNotFoundError, match=re.escape(str(tmp_path / "gone.txt"))):
        data.read_text(tmp_path / "gone.txt")
    with pytest.raises(IsADirectoryError, match=re.escape(str(tmp_path))):
        data.read_text(tmp_path)


def test_a_file_of_another_user_is_refused_with_its_path(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")  # chmod would not stop a test that runs as root

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(PermissionError, match=r"mine\.txt may not be read"):
        data.read_text(tmp_path / "mine.txt")


# --- tokenizer ---------------------------------------------------------------------------------------------------


@given(text=st.text(min_size=1))
@example(text="\r\n\0 A\U0001f600é你\U0010ffff")
def test_decode_undoes_encode(text):
    tokenizer = data.CharTokenizer.train(text)
    ids = tokenizer.encode(text)
    assert ids.dtype == np.int64 and ids.shape == (len(text),)
    assert set(ids.tolist()) == set(range(tokenizer.vocab_size))  # no number without a character
    assert tokenizer.decode(ids) == text
    assert tokenizer.decode(ids.tolist()) == text


def test_ids_are_places_in_the_sorted_alphabet():
    tokenizer = data.CharTokenizer.train("banana\n")
    assert tokenizer.characters == "\nabn"
    assert tokenizer.encode("nab\n").tolist() == [3, 1, 2, 0]
    assert tokenizer.encode("").shape == (0,)
    assert tokenizer.decode([]) == ""


@given(text=st.text(min_size=1))
def test_a_saved_tokenizer_comes_back_equal_through_json(text):
    tokenizer = data.CharTokenizer.train(text)
    assert data.CharTokenizer.from_dict(json.loads(json.dumps(tokenizer.to_dict()))) == tokenizer


@given(text=st.text(min_size=1), other=st.text(min_size=1))
def test_encode_refuses_exactly_the_texts_with_an_unknown_character(text, other):
    tokenizer = data.CharTokenizer.train(text)
    unknown = [place for place, character in enumerate(other) if character not in text]
    if unknown:
        with pytest.raises(ValueError, match=f"at position {unknown[0]}:"):
            tokenizer.encode(other)
    else:
        assert tokenizer.decode(tokenizer.encode(other)) == other


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("abc!", r"Cannot encode '!' \(U\+0021\) at position 3: this tokenizer knows 3 characters, 'abc'\."),
        ("aé", r"'é' \(U\+00E9\) at position 1"),  # beyond the largest known
        ("\udc80", r"'\\udc80' \(U\+DC80\) at position 0"),  # half of a pair, as a bad command line argument has it
    ],
)
def test_an_unknown_character_is_named_with_its_position_and_what_is_known(text, error):
    with pytest.raises(ValueError, match=error):
        data.CharTokenizer.train("cab").encode(text)


def test_a_long_alphabet_is_only_glimpsed_in_an_error():
    tokenizer = data.CharTokenizer.train("".join(map(chr, range(0x4E00, 0x5E00))))
    with pytest.raises(ValueError, match=r"knows 4096 characters, '一.*'\.\.\.") as caught:
        tokenizer.encode("a")
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("ids", "error"),
    [
        ([0, 3], r"in 0\.\.2, got 3"),
        ([0, -1], r"in 0\.\.2, got -1"),  # NumPy would count it from the end
        ([0.0, 1.0], "float64"),
        ([[0, 1]], r"shape \(1, 2\)"),
        (1, r"shape \(\)"),
    ],
)
def test_decode_refuses_what_are_no_ids(ids, error):
    with pytest.raises(ValueError, match=error):
        data.CharTokenizer.train("abc").decode(ids)


@pytest.mark.parametrize(
    ("characters", "error"),
    [("", "at least one character"), ("ba", "in code point order"), ("aa", "once"), ("a\ud800", "surrogate")],
)
def test_an_alphabet_that_cannot_be_undone_is_refused(characters, error):
    with pytest.raises(ValueError, match=error):
        data.CharTokenizer(characters)


@pytest.mark.parametrize(
    "saved", [{}, {"type": "bpe", "characters": "a"}, {"type": "char"}, {"type": "char", "characters": ["a"]}]
)
def test_a_description_of_another_tokenizer_is_refused(saved):
    with pytest.raises(ValueError, match="saved character tokenizer needs"):
        data.CharTokenizer.from_dict(saved)


# --- fetch -------------------------------------------------------------------------------------------------------


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        """Nothing: the tests look at stderr."""


@pytest.fixture
def web(tmp_path, monkeypatch):
    """A web server on this machine with one file, small.txt, and a registry that knows it; the cache is empty."""
    served, cache = tmp_path / "served", tmp_path / "cache"
    served.mkdir()
    (served / "small.txt").write_bytes(b"right")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=served))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}/small.txt"
    monkeypatch.setitem(FILES, "small.txt", (hashlib.sha256(b"right").hexdigest(), url))
    monkeypatch.setenv(ENV, str(cache))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield served
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def offline(monkeypatch):
    """No connection to anywhere, as requests reports it."""
    import requests

    def fail(url, **kwargs):
        raise requests.exceptions.ConnectionError(f"Max retries exceeded with url: {url}")

    monkeypatch.setattr(requests, "get", fail)


def test_a_file_is_downloaded_once_and_silently(web, tmp_path, capfd):
    path = data.fetch("small.txt")
    assert path == tmp_path / "cache" / "small.txt"
    assert path.read_bytes() == b"right"
    (web / "small.txt").unlink()
    assert data.fetch("small.txt") == path
    assert capfd.readouterr() == ("", "")


def test_a_download_with_a_wrong_hash_is_refused_and_not_kept(web, tmp_path):
    (web / "small.txt").write_bytes(b"wrong")
    with pytest.raises(ValueError, match=r"small\.txt at http://127.* is not the file that was needed.*") as caught:
        data.fetch("small.txt")
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_wrong_file_in_the_users_folder_is_refused_and_not_replaced(web, tmp_path):
    (tmp_path / "cache").mkdir()
    mine = tmp_path / "cache" / "small.txt"
    mine.write_bytes(b"mine")
    with pytest.raises(ValueError, match=re.escape(f"small.txt at {mine} is not the file") + ".*Delete it") as caught:
        data.fetch("small.txt")
    assert "\n" not in str(caught.value)
    assert mine.read_bytes() == b"mine"


def test_without_a_network_the_error_says_where_to_put_the_file(web, offline):
    with pytest.raises(OSError, match=r"Cannot download small\.txt \(ConnectionError\)\. Get http://127") as caught:
        data.fetch("small.txt")
    assert "put it into the folder named by TINYGRAD_FT_DATA" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_the_server_does_not_have_is_reported_like_no_network(web):
    (web / "small.txt").unlink()
    with pytest.raises(OSError, match=r"Cannot download small\.txt \(HTTPError\)\. Get http://127"):
        data.fetch("small.txt")


def test_a_read_only_folder_with_the_right_file_needs_no_network_and_is_not_written_to(web, offline, tmp_path):
    folder = tmp_path / "cache"
    folder.mkdir()
    (folder / "small.txt").write_bytes(b"right")
    folder.chmod(0o555)
    before = folder.stat().st_mtime_ns  # root may write into a read-only folder, but not without a trace
    try:
        assert data.fetch("small.txt") == folder / "small.txt"
        assert folder.stat().st_mtime_ns == before
    finally:
        folder.chmod(0o755)


def test_a_cache_that_cannot_be_made_is_one_clear_error(web, tmp_path):
    (tmp_path / "cache").write_text("a file where a folder was needed")
    with pytest.raises(OSError, match=r"Cannot read or write .*small\.txt \(Not a directory\)\. Get http://127"):
        data.fetch("small.txt")


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"no data file 'nmes\.txt'.*names\.txt.*tinyshakespeare\.txt"):
        data.fetch("nmes.txt")


def test_every_registered_file_has_a_whole_hash_and_a_fixed_url():
    for name, (sha256, url) in FILES.items():
        assert re.fullmatch("[0-9a-f]{64}", sha256), name
        pinned = re.match(r"https://raw\.githubusercontent\.com/[^/]+/[^/]+/[0-9a-f]{40}/", url)
        assert pinned or url == f"https://ossci-datasets.s3.amazonaws.com/mnist/{name}"
        assert name.split(".")[-1] == url.split(".")[-1]
    for column in zip(*FILES.values(), strict=True):
        assert len(set(column)) == len(FILES)  # no line copied and half changed


@pytest.mark.parametrize("name", sorted(FILES))
def test_every_registered_file_is_taken_from_the_users_folder(data_folder, offline, name):
    assert data.fetch(name) == Path(os.path.abspath(data_folder)) / name


def test_tiny_shakespeare_goes_through_the_tokenizer_unchanged(data_folder, offline):
    text = data.shakespeare()
    tokenizer = data.CharTokenizer.train(text)
    assert (len(text), tokenizer.vocab_size) == (1_115_394, 65)
    assert text.startswith("First Citizen:\n")
    assert tokenizer.decode(tokenizer.encode(text)) == text


# --- tables ------------------------------------------------------------------------------------------------------


def test_digits_are_grey_levels_of_ten_classes():
    x, y = data.digits()
    assert (x.shape, x.dtype, y.shape, y.dtype) == ((1797, 64), np.float32, (1797,), np.int64)
    assert (x.min(), x.max()) == (0, 1)
    assert np.bincount(y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_large_digits_are_the_small_ones_in_blocks_with_a_border():
    (x, y), (large, same) = data.digits(), data.digits28()
    assert (large.shape, large.dtype) == ((1797, 784), np.float32)
    pixels = large.reshape(-1, 28, 28)
    assert np.array_equal(pixels[:, 2:26, 2:26], np.kron(x.reshape(-1, 8, 8), np.ones((1, 3, 3))))
    assert np.allclose(large.sum(axis=1), 9 * x.sum(axis=1))  # nothing is left for the border
    assert np.array_equal(y, same)


def test_breast_cancer_has_two_classes_and_raw_measures():
    x, y = data.breast_cancer()
    assert (x.shape, x.dtype, y.dtype) == ((569, 30), np.float32, np.int64)
    assert np.bincount(y).tolist() == [212, 357]
    assert x.max() == 4254


@given(n=st.integers(2, 50), seed=seeds)
def test_moons_without_noise_are_two_half_circles(n, seed):
    x, y = data.moons(n, noise=0.0, rng=np.random.default_rng(seed))
    assert (x.shape, x.dtype, y.dtype) == ((n, 2), np.float32, np.int64)
    centre = np.where(y[:, None] == 0, [0.0, 0.0], [1.0, 0.5])
    assert np.allclose(np.hypot(*(x - centre).T), 1, atol=1e-6)
    assert (x[y == 0, 1] >= -1e-6).all() and (x[y == 1, 1] <= 0.5 + 1e-6).all()
    assert abs((y == 0).sum() - (y == 1).sum()) <= 1


def test_moons_noise_has_the_given_deviation_and_comes_from_the_rng(rng):
    exact, _ = data.moons(10_000, noise=0.0, rng=rng)
    noisy, _ = data.moons(10_000, noise=0.3, rng=np.random.default_rng(1))
    again, _ = data.moons(10_000, noise=0.3, rng=np.random.default_rng(1))
    assert np.allclose(np.cov((noisy - exact).T), 0.3**2 * np.eye(2), atol=0.005)  # each coordinate on its own
    assert np.array_equal(noisy, again)


@pytest.mark.parametrize(("n", "noise"), [(1, 0.1), (0, 0.1), (10, -0.1), (10, float("nan"))])
def test_moons_that_cannot_be_drawn_are_refused(rng, n, noise):
    with pytest.raises(ValueError, match="n >= 2 and noise >= 0"):
        data.moons(n, noise=noise, rng=rng)


def test_standardised_training_data_have_mean_0_and_deviation_1():
    x, _ = data.breast_cancer()
    train, test = data.standardise(x[:400], x[400:])
    assert train.dtype == test.dtype == np.float32
    assert np.abs(train.mean(axis=0)).max() < 1e-5
    assert np.abs(train.std(axis=0) - 1).max() < 1e-5
    # The test part is measured with the ruler of the training part, not with its own.
    assert np.allclose(test, (x[400:] - x[:400].mean(axis=0)) / x[:400].std(axis=0), atol=1e-3)
    assert np.abs(test.mean(axis=0)).max() > 0.1


@given(value=st.floats(-1e6, 1e6, width=32), n=st.integers(1, 50))
def test_a_constant_column_is_shifted_to_zero_and_not_blown_up(value, n):
    constant = np.full((n, 1), value, dtype=np.float32)
    train, other = data.standardise(constant, constant + np.float32(1))
    assert np.abs(train).max() < 1e-6
    assert np.allclose(other, (constant + np.float32(1)).astype(np.float64) - constant, atol=1e-6)


@pytest.mark.parametrize("shapes", [[(0, 3)], [(4, 3), (4, 2)], [(4,)], [(4, 3), (3,)], [(4, 3, 1)]])
def test_tables_that_cannot_be_standardised_are_refused(shapes):
    with pytest.raises(ValueError, match=re.escape(", ".join(map(str, shapes)))):
        data.standardise(*map(np.zeros, shapes))


@given(
    n=st.integers(20, 200),
    fractions=st.sampled_from([(1.0,), (0.8, 0.2), (0.8, 0.1, 0.1), (1 / 3, 1 / 3, 1 / 3), (0.1,) * 10]),
    seed=seeds,
)
def test_a_split_deals_every_example_into_one_part_of_the_right_size(n, fractions, seed):
    parts = data.split(np.arange(n), np.arange(n) * 2, fractions, rng=np.random.default_rng(seed))
    assert sorted(np.concatenate([x for x, _ in parts])) == list(range(n))
    assert len(parts) == len(fractions)
    for (x, y), fraction in zip(parts, fractions, strict=True):
        assert np.array_equal(y, 2 * x)  # an example keeps its label
        assert abs(len(x) - fraction * n) <= 1


def test_a_split_shuffles(rng):
    (train, _), _ = data.split(np.arange(1000), np.arange(1000), rng=rng)
    assert abs(train.mean() - 499.5) < 30  # the first 800 in order would have 399.5


@pytest.mark.parametrize(
    ("sizes", "fractions", "error"),
    [
        ((10, 9), (0.8, 0.2), "10 x and 9 y"),
        ((10, 10), (0.8, 0.1), r"\(0\.8, 0\.1\), which sum to 0\.9"),
        ((10, 10), (80, 20), "sum to 100"),
        ((10, 10), (), "sum to 0"),
        ((10, 10), (float("nan"), 1.0), "sum to nan"),
        ((2, 2), (0.8, 0.2), r"got 2 examples.*parts of \[2, 0\]"),
        ((10, 10), (1.0, 0.0), r"parts of \[10, 0\]"),
        ((10, 10), (1.5, -0.5), r"parts of \[15, -5\]"),
        ((0, 0), (1.0,), r"parts of \[0\]"),
    ],
)
def test_a_split_that_cannot_be_dealt_is_refused(rng, sizes, fractions, error):
    x, y = map(np.zeros, sizes)
    with pytest.raises(ValueError, match=error):
        data.split(x, y, fractions, rng=rng)


# --- batches of examples -----------------------------------------------------------------------------------------


def is_one_epoch(parts, n):
    """Whether the x of all batches together are 0..n-1, each once."""
    return sorted(np.concatenate([x for x, _ in parts]).tolist()) == list(range(n))


@given(n=st.integers(1, 50), batch_size=st.integers(1, 60), seed=st.none() | seeds)
def test_the_batches_of_an_epoch_are_the_data_each_once(n, batch_size, seed):
    rng = None if seed is None else np.random.default_rng(seed)
    parts = list(data.batches(np.arange(n), np.arange(n) * 2, batch_size=batch_size, rng=rng))
    assert is_one_epoch(parts, n)
    assert all(np.array_equal(y, 2 * x) for x, y in parts)
    assert [len(x) for x, _ in parts[:-1]] == [batch_size] * (len(parts) - 1)
    assert 1 <= len(parts[-1][0]) <= batch_size
    if rng is None:
        assert np.array_equal(np.concatenate([x for x, _ in parts]), np.arange(n))


def test_an_epoch_drawn_with_replacement_is_caught(rng):
    drawn = rng.integers(0, 50, size=(5, 10))
    assert not is_one_epoch(zip(drawn, drawn, strict=True), 50)


@given(n=st.integers(1, 50), batch_size=st.integers(1, 50), seed=seeds)
def test_drop_last_keeps_only_whole_batches(n, batch_size, seed):
    if n < batch_size:
        return
    rng = np.random.default_rng(seed)
    parts = list(data.batches(np.arange(n), np.arange(n), batch_size=batch_size, rng=rng, drop_last=True))
    assert [len(x) for x, _ in parts] == [batch_size] * (n // batch_size)
    assert len(np.unique(np.concatenate([x for x, _ in parts]))) == n - n % batch_size


def test_each_epoch_is_shuffled_anew_and_repeatable():
    n = np.arange(100)

    def epoch(rng):
        return np.concatenate([x for x, _ in data.batches(n, n, batch_size=7, rng=rng)])

    rng, same = np.random.default_rng(0), np.random.default_rng(0)
    first, second = epoch(rng), epoch(rng)
    assert not np.array_equal(first, n) and not np.array_equal(first, second)
    assert np.array_equal(first, epoch(same)) and np.array_equal(second, epoch(same))


@pytest.mark.parametrize(
    ("sizes", "arguments", "error"),
    [
        ((5, 4), {"batch_size": 2}, "5 x and 4 y"),
        ((5, 5), {"batch_size": 0}, "batch_size needs to be at least 1: got 0"),
        ((0, 0), {"batch_size": 2}, "at least 1 examples.*got 0"),
        ((5, 5), {"batch_size": 6, "drop_last": True}, "at least 6 examples.*got 5"),
    ],
)
def test_an_epoch_without_a_batch_is_refused_at_the_call(sizes, arguments, error):
    x, y = map(np.zeros, sizes)
    with pytest.raises(ValueError, match=error):
        data.batches(x, y, **arguments)


# --- batches of tokens -------------------------------------------------------------------------------------------

# A text whose token i is i shows where each snippet was taken from.


def are_shifted(inputs, targets):
    """Whether each row of inputs counts up by one, and each target is the token after its input."""
    return np.array_equal(targets, inputs + 1) and np.array_equal(inputs - inputs[:, :1], targets - targets[:, :1])


def cover_once(windows, n, context):
    """Whether the inputs of all windows are 0, 1, 2, ... in order, up to a remainder shorter than a window."""
    seen = np.concatenate([inputs.ravel() for inputs, _ in windows])
    return np.array_equal(seen, np.arange(len(seen))) and 0 <= n - 1 - len(seen) < context


@given(context=st.integers(1, 20), extra=st.integers(1, 30), batch_size=st.integers(1, 8), seed=seeds)
def test_targets_are_the_inputs_one_token_further_on(context, extra, batch_size, seed):
    tokens = np.arange(context + extra)
    stream = data.TokenSnippets(tokens, context=context, batch_size=batch_size, seed=seed)
    for inputs, targets in islice(stream, 3):
        assert inputs.shape == targets.shape == (batch_size, context)
        assert inputs.dtype == targets.dtype == np.int64
        assert are_shifted(inputs, targets)
        assert np.array_equal(inputs, inputs[:, :1] + np.arange(context))  # a snippet is one piece of the text


def test_targets_that_are_not_shifted_are_caught():
    inputs = np.arange(6).reshape(2, 3)
    assert are_shifted(inputs, inputs + 1)
    assert not are_shifted(inputs, inputs)
    assert not are_shifted(inputs, inputs + 2)


@pytest.mark.parametrize("extra", [1, 2, 5])
def test_starts_are_uniform_from_the_first_to_the_last_possible(extra):
    context = 4
    snippets = data.TokenSnippets(np.arange(context + extra), context=context, batch_size=1000, seed=0)
    counts = np.bincount(snippets[0][0][:, 0], minlength=extra)
    assert len(counts) == extra  # 0 .. len(tokens) - context - 1, so that the last target is the last token
    assert np.abs(counts - 1000 / extra).max() < 5 * np.sqrt(1000 / extra)


def test_the_same_seed_gives_the_same_snippets_in_whatever_order_they_are_asked_for():
    def draw(seed, order=range(10)):
        snippets = data.TokenSnippets(np.arange(99), context=5, batch_size=4, seed=seed)
        return np.array([snippets[i] for i in order])

    assert np.array_equal(draw(3)[::-1], draw(3, reversed(range(10))))

    assert np.array_equal(draw(3), draw(3))
    assert not np.array_equal(draw(3), draw(4))
    assert len(np.unique(draw(3)[:, 0, :, 0])) > 10  # a new draw each time


@given(context=st.integers(1, 12), extra=st.integers(1, 100), batch_size=st.integers(1, 8))
def test_windows_cover_the_text_once_without_overlap(context, extra, batch_size):
    n = context + extra
    windows = list(data.token_windows(np.arange(n), context=context, batch_size=batch_size))
    assert cover_once(windows, n, context)
    assert all(are_shifted(*window) for window in windows)
    assert {len(inputs) for inputs, _ in windows[:-1]} <= {batch_size}
    assert 1 <= len(windows[-1][0]) <= batch_size
    assert all(a.dtype == np.int64 and a.shape[1] == context for window in windows for a in window)


def test_windows_that_overlap_or_leave_a_gap_or_stop_early_are_caught():
    def windows(starts):
        return [(np.arange(start, start + 3)[None], None) for start in starts]

    assert cover_once(windows([0, 3, 6]), 11, 3)
    assert not cover_once(windows([0, 2, 5]), 11, 3)
    assert not cover_once(windows([0, 4, 7]), 11, 3)
    assert not cover_once(windows([0, 3]), 11, 3)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
def test_tokens_of_a_small_integer_type_come_out_as_int64(dtype):
    tokens = np.arange(20).astype(dtype)
    for inputs, targets in (
        data.TokenSnippets(tokens, context=4, batch_size=3, seed=0)[5],
        next(data.token_windows(tokens, context=4, batch_size=3)),
    ):
        assert inputs.dtype == targets.dtype == np.int64
        assert are_shifted(inputs, targets)


@pytest.mark.parametrize(
    ("tokens", "sizes", "error"),
    [
        (np.arange(8), {"context": 8}, r"context \+ 1 = 9 tokens: got 8\. Give a longer text or a smaller context"),
        (np.arange(0), {"context": 1}, "= 2 tokens: got 0"),
        (np.arange(8), {"context": 0}, "context needs to be at least 1: got 0"),
        (np.arange(8), {"batch_size": 0}, "batch_size needs to be at least 1: got 0"),
        (np.arange(8).reshape(2, 4), {}, r"one row of integers: got shape \(2, 4\)"),
        (np.arange(8.0), {}, "float64.*Encode the text"),
    ],
)
def test_a_text_without_a_window_is_refused_at_the_call(tokens, sizes, error):
    sizes = {"context": 2, "batch_size": 2} | sizes
    with pytest.raises(ValueError, match=error):
        data.TokenSnippets(tokens, **sizes, seed=0)
    with pytest.raises(ValueError, match=error):
        data.token_windows(tokens, **sizes)


def test_the_shortest_text_has_one_window():
    tokens = np.arange(9)
    assert len(list(data.token_windows(tokens, context=8, batch_size=4))) == 1
    assert data.TokenSnippets(tokens, context=8, batch_size=4, seed=0)[0][0].tolist() == [list(range(8))] * 4


# --- batches by number -------------------------------------------------------------------------------------------


@given(n=st.integers(1, 40), batch_size=st.integers(1, 9), seed=seeds, drop_last=st.booleans())
def test_every_epoch_has_every_example_once_in_an_order_of_its_own(n, batch_size, seed, drop_last):
    if drop_last and n < batch_size:
        batch_size = n
    shuffled = data.Shuffled(np.arange(n), -np.arange(n), batch_size=batch_size, seed=seed, drop_last=drop_last)
    epochs = [[shuffled[e * len(shuffled) + i] for i in range(len(shuffled))] for e in range(3)]
    for epoch in epochs:
        xs, ys = (np.concatenate(parts) for parts in zip(*epoch, strict=True))
        assert np.array_equal(xs, -ys)
        assert len(set(xs.tolist())) == len(xs) == (n - n % batch_size if drop_last else n)
    if n > 20 and batch_size < 4:
        assert not all(np.array_equal(a[0], b[0]) for a, b in zip(epochs[0], epochs[1], strict=True))


def test_a_batch_depends_on_its_number_and_not_on_those_asked_for_before():
    a, b = (data.Shuffled(np.arange(50), batch_size=7, seed=2) for _ in range(2))
    forwards = [a[i][0] for i in range(30)]
    backwards = [b[i][0] for i in reversed(range(30))][::-1]
    assert all(map(np.array_equal, forwards, backwards))


@pytest.mark.parametrize(
    ("arrays", "sizes", "error"),
    [
        ((np.arange(3), np.arange(4)), {}, r"a row for each example: got lengths \[3, 4\]"),
        ((np.arange(3),), {"batch_size": 4, "drop_last": True}, "at least 4 examples.*got 3"),
        ((np.arange(0),), {}, "at least 1 examples.*got 0"),
        ((np.arange(3),), {"batch_size": 0}, "batch_size needs to be at least 1: got 0"),
    ],
)
def test_examples_that_make_no_batch_are_refused_at_once(arrays, sizes, error):
    with pytest.raises(ValueError, match=error):
        data.Shuffled(*arrays, seed=0, **({"batch_size": 2} | sizes))


# --- the room ----------------------------------------------------------------------------------------------------


def test_importing_the_room_brings_neither_scikit_learn_nor_pooch():
    program = "import sys, tinygrad_ft.data; print({'sklearn', 'pooch', 'requests', 'scipy'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout.strip(), done.returncode) == ("set()", 0), done.stderr
