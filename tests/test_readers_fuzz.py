"""Ten thousand damaged files for each reader: each is read within its bounds, or refused in one line that names it."""

import json
import struct
import time

import numpy as np
import pytest
from safetensors.numpy import save
from test_formats import small_gguf

from tinygrad_ft import formats
from tinygrad_ft.formats import GGUF, read_safetensors

INPUTS, SLOWEST = 10_000, 5.0  # seconds for one input: hundreds of times what it takes on a busy machine
EXTREME = [0, 1, 2, 7, 8, 31, 255, 1 << 31, (1 << 31) - 1, 1 << 32, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]


def damaged(content, rng, numbers):
    """A copy in which something is other; `numbers` are the places of the integers that say how much there is."""
    content, ways = bytearray(content), rng.integers(1, 4)
    for _ in range(ways):
        way, size = rng.integers(7), len(content)
        at = int(rng.integers(size)) if size else 0
        if way == 0 and size:
            content[at] ^= 1 << int(rng.integers(8))
        elif way == 1:
            del content[at:]
        elif way == 2:
            content[at:at] = rng.bytes(int(rng.integers(1, 40)))
        elif way == 3:
            del content[at : at + int(rng.integers(1, 40))]
        elif way == 4 and size:
            other = int(rng.integers(size))
            content[at : at + 16] = content[other : other + 16]
        elif way == 5:
            place = int(rng.choice(numbers))
            content[place : place + 8] = struct.pack("<Q", int(rng.choice(np.array(EXTREME, np.uint64))))
        elif rng.random() < 0.1:
            content = bytearray(rng.bytes(int(rng.integers(0, 200))))
    return bytes(content)


def other_header(content, rng):
    """A safetensors file whose header was changed as JSON."""
    length = struct.unpack("<Q", content[:8])[0]
    header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    name = str(rng.choice(list(header)))
    numbers, lists = [-1, 0, 1 << 63, 1 << 200, 1e308], [[], [0], [0, 8], [8, 0], [1 << 62] * 3, [0, 1 << 62, 1 << 62]]
    nonsense = [None, True, *numbers, "F32", "BF16", "F64", *lists, {}]
    key = str(rng.choice(["dtype", "shape", "data_offsets", "more"]))
    if rng.random() < 0.2 or not isinstance(header[name], dict):
        header[name] = nonsense[rng.integers(len(nonsense))]
    else:
        header[name][key] = nonsense[rng.integers(len(nonsense))]
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def arrays_of_safetensors(path):
    return list(read_safetensors(path).values())


def arrays_of_gguf(path):
    found = GGUF(path)
    return [found.tensor(name) for name in found.names]


def lies_within(a, size):
    """Whether an array is its own, or lies in a map of the file's bytes, and in none longer than the file."""
    base = a
    while (below := getattr(base, "base", None)) is not None:
        below = below if isinstance(below, np.ndarray) else getattr(below, "base", None)  # as_strided's own object
        if not isinstance(below, np.ndarray):
            break
        base = below
    start, end = np.lib.array_utils.byte_bounds(a) if a.size else (0, 0)
    if base is a or a.size == 0:
        return True
    low, high = np.lib.array_utils.byte_bounds(base)
    return low <= start and end <= high and (base.flags.owndata or high - low <= size)


def survived(read, path, content):
    """Whether a file was read; raises if the reader does anything but read it within its bounds or refuse it."""
    path.write_bytes(content)
    started = time.monotonic()
    try:
        arrays = read(path)
    except ValueError as error:
        assert str(path) in str(error), error
        assert "\n" not in str(error), error
        return False
    finally:
        assert time.monotonic() - started < SLOWEST
    for a in arrays:
        assert isinstance(a, np.ndarray)
        assert lies_within(a, len(content))
        a.sum() if a.dtype.kind == "f" else a.any()  # every byte can be looked at
    return True


def the_safetensors(path):
    rng = np.random.default_rng(0)
    state = {"a.weight": rng.standard_normal((3, 4)).astype("f4"), "b": np.arange(5), "c": np.ones((2, 0), "f2")}
    return save(state, metadata={"format": "pt"}), [0, 0, 0, 8]


def the_gguf(path):
    small_gguf(path)
    content = path.read_bytes()
    return content, [8, 16, 24, *range(24, len(content) - 8, 4)]


READERS = {"safetensors": (the_safetensors, arrays_of_safetensors), "gguf": (the_gguf, arrays_of_gguf)}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")  # damaged numbers overflow
@pytest.mark.parametrize("name", READERS)
def test_ten_thousand_damaged_files_are_read_within_their_bounds_or_refused_in_one_line(tmp_path, name):
    make, read = READERS[name]
    whole, numbers = make(tmp_path / "whole")
    assert survived(read, tmp_path / "whole", whole)
    rng, read_all_the_same = np.random.default_rng(1), 0
    for i in range(INPUTS):
        if name == "safetensors" and i % 3 == 0:
            content = other_header(whole, rng)
        else:
            content = damaged(whole, rng, numbers)
        try:
            read_all_the_same += survived(read, tmp_path / "a", content)
        except BaseException:
            print(f"input {i}: {content!r}")
            raise
    assert 0.01 * INPUTS < read_all_the_same < 0.9 * INPUTS  # else the damage is too great, or too small, to tell much


@pytest.mark.parametrize("lost", ["the bounds of offsets", "the bounds of takes"])
def test_a_reader_that_lost_a_check_is_found_out(tmp_path, monkeypatch, lost):
    from tinygrad_ft.formats import gguf, safetensors

    def unchecked(path, name, d, room):
        return *d["data_offsets"], d["dtype"], tuple(d["shape"])

    def careless(self, count):
        self._at += count
        return self._whole[self._at - count : self._at]

    if lost == "the bounds of offsets":
        monkeypatch.setattr(safetensors, "_place", unchecked)
        monkeypatch.setattr(safetensors, "_require_gapless", lambda *_: None)
        make, read = READERS["safetensors"]
    else:
        monkeypatch.setattr(gguf.GGUF, "_take", careless)
        make, read = READERS["gguf"]
    whole, numbers = make(tmp_path / "whole")
    rng = np.random.default_rng(1)
    with pytest.raises(Exception):  # noqa: B017 (whatever it is, the harness must not let it pass)
        for i in range(2000):
            of_safetensors = read is arrays_of_safetensors and i % 3 == 0
            survived(read, tmp_path / "a", other_header(whole, rng) if of_safetensors else damaged(whole, rng, numbers))


def test_the_harness_knows_an_array_that_reaches_beyond_its_file():
    whole = np.zeros(64, np.uint8)
    assert lies_within(whole[8:16].view("f4"), 64)
    assert formats.GGUF is GGUF
    beyond = np.lib.stride_tricks.as_strided(whole[56:].view("f8"), (4,), (8,))
    assert not lies_within(beyond, 64)
