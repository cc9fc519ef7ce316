"""safetensors and GGUF: what others write is read to the bit, and each kind of damage is named."""

import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from tinygrad_ft.formats import GGUF, read_metadata, read_safetensors

gguf = pytest.importorskip("gguf")

DTYPES = ["?", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"]


# --- safetensors -----------------------------------------------------------------------------------------------------


@given(data=st.data())
def test_what_the_library_writes_is_read_to_the_bit(tmp_path_factory, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    shapes = data.draw(st.lists(st.lists(st.integers(0, 4), max_size=3), max_size=5))
    state = {f"t{i}": (rng.standard_normal(shape) * 9).astype(rng.choice(DTYPES)) for i, shape in enumerate(shapes)}
    state = {name: np.asarray(a) for name, a in state.items()}
    path = tmp_path_factory.mktemp("written") / "a.safetensors"
    path.write_bytes(save(state, metadata={"by": "us"}))
    found = read_safetensors(path)
    assert found.keys() == state.keys()
    for name, a in state.items():
        assert (found[name].dtype, found[name].shape) == (a.dtype, a.shape)
        np.testing.assert_array_equal(found[name], a)
    assert read_metadata(path) == {"by": "us"}


def test_arrays_are_the_file_itself_and_cannot_be_written(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(save({"a": np.arange(6.0)}))
    a = read_safetensors(path)["a"]
    assert not a.flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        a[0] = 1


def test_bfloat16_becomes_float32_without_loss(tmp_path):
    a = np.array([1.0, -2.5, 3e38, 1e-40, np.inf, 0.1], np.float32)
    a = (a.view(np.uint32) & 0xFFFF0000).view(np.float32)  # what bfloat16 can hold
    path = tmp_path / "a.safetensors"
    header = json.dumps({"a": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + (a.view(np.uint32) >> 16).astype("<u2").tobytes())
    found = read_safetensors(path)["a"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, a.reshape(2, 3))


def described(dtype="F32", shape=(2,), begin=0, end=8, **more):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end], **more}


def file_of(header, data=bytes(8), length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


GOOD = {"a": described()}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it has 0 bytes"),
        (b"\1\0\0", "it has 3 bytes"),
        (file_of(GOOD)[:20], r"its header would have \d+ bytes, and 12 are left"),
        (file_of(GOOD, length=1 << 63), "at most 100000000 are allowed"),
        (file_of(GOOD, length=99_999_999), r"its header would have 99999999 bytes, and \d+ are left"),
        (file_of(b"{"), "its header is not JSON"),
        (file_of(b"\xff\xfe"), "its header is not JSON"),
        (file_of(b"[" * 50_000), "its header is not JSON"),
        (file_of(b"[]"), "not a JSON object"),
        (file_of(b" " + json.dumps(GOOD).encode()), "not a JSON object from its first byte on"),
        (file_of(b'{"a": 1, "a": 2}'), "a name comes twice"),
        (file_of({"__metadata__": {"a": 1}, **GOOD}), "__metadata__ is not an object of texts"),
        (file_of({"__metadata__": []}), "__metadata__ is not an object of texts"),
        (file_of({"a": 3}), "'a' is not described by"),
        (file_of({"a": described(more=1)}), "'a' is not described by"),
        (file_of({"a": described("F31")}), "unknown dtype 'F31'"),
        (file_of({"a": described(["F32"])}), "unknown dtype"),
        (file_of({"a": described(shape=[-2])}), r"the shape \[-2\]"),
        (file_of({"a": described(shape=[2.0])}), r"the shape \[2.0\]"),
        (file_of({"a": described(shape=[True, 2])}), "the shape"),
        (file_of({"a": described(shape=[1] * 40 + [2])}), "the shape"),
        (file_of({"a": described(shape=[1 << 62, 4])}), "needs 73786976294838206464 bytes and has 8"),
        (file_of({"a": described(shape=[0, 1 << 70], end=0)}, b""), "the shape"),
        (file_of({"a": described(end=16)}), "would lie at"),
        (file_of({"a": described(begin=8, end=0)}), "would lie at"),
        (file_of({"a": described(begin=-8, end=0)}), "would lie at"),
        (file_of({"a": described(shape=[3])}), "needs 12 bytes and has 8"),
        (file_of({"a": described(shape=[1], begin=4)}), "'a' begins at byte 4 of the tensors, where 0 was expected"),
        (file_of({"a": described(), "b": described()}), "'b' begins at byte 0 of the tensors, where 8 was expected"),
        (file_of({"a": described()}, bytes(9)), "its tensors end after 8 bytes, and 9 are there"),
        (file_of({}), "its tensors end after 0 bytes, and 8 are there"),
    ],
)
def test_each_kind_of_damage_of_a_safetensors_file_is_named_in_one_line(tmp_path, content, message):
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_safetensors(path)
    assert str(caught.value).startswith(f"{path} is not a whole safetensors file: ")
    assert "\n" not in str(caught.value)


def test_numbers_of_a_type_that_numpy_does_not_have_are_refused_by_its_name(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(file_of({"a": described("F8_E4M3", [8])}))
    with pytest.raises(ValueError, match="numbers of type F8_E4M3, which NumPy does not have"):
        read_safetensors(path)


# --- GGUF ------------------------------------------------------------------------------------------------------------


def small_gguf(path, rng=None):
    """A file with every kind of value and some kinds of tensors, by the format's own library; answers its tensors."""
    rng = rng or np.random.default_rng(0)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_uint32("a.count", 7)
    writer.add_int8("a.small", -3)
    writer.add_uint64("a.large", 1 << 60)
    writer.add_float32("a.eps", 0.5)
    writer.add_float64("a.double", 0.1)
    writer.add_bool("a.flag", True)
    writer.add_string("a.name", "größer")
    writer.add_array("a.tokens", ["the", "cat", "ü"])
    writer.add_array("a.scores", [0.5, -1.0])
    writer.add_array("a.types", [1, 2, 3])
    tensors = {
        "plain": rng.standard_normal((3, 5)).astype(np.float32),
        "half": rng.standard_normal((2, 2)).astype(np.float16),
        "row": rng.standard_normal(7).astype(np.float32),
    }
    for name, a in tensors.items():
        writer.add_tensor(name, a)
    blocks = rng.standard_normal((4, 64)).astype(np.float32)
    for kind in ("Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"):
        of = getattr(gguf.GGMLQuantizationType, kind)
        packed = gguf.quants.quantize(blocks, of)
        tensors[kind] = gguf.quants.dequantize(packed, of)
        writer.add_tensor(kind, packed, raw_dtype=of)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return tensors


def test_what_the_formats_library_writes_is_read_to_the_bit(tmp_path):
    tensors = small_gguf(tmp_path / "a.gguf")
    found = GGUF(tmp_path / "a.gguf")
    assert found.names == list(tensors)
    for name, a in tensors.items():
        assert found.tensor(name).dtype == (np.float16 if name == "half" else np.float32)
        np.testing.assert_array_equal(found.tensor(name), a)
    assert {name: value for name, value in found.metadata.items() if name.startswith("a.")} == {
        "a.count": 7, "a.small": -3, "a.large": 1 << 60, "a.eps": 0.5, "a.double": 0.1, "a.flag": True,
        "a.name": "größer", "a.tokens": ["the", "cat", "ü"], "a.scores": [0.5, -1.0], "a.types": [1, 2, 3],
    }  # fmt: skip
    assert found.metadata["general.architecture"] == "llama"


def test_a_real_model_is_read_as_the_formats_library_reads_it(smollm2):
    found, theirs = GGUF(smollm2), gguf.GGUFReader(smollm2)
    assert found.names == [t.name for t in theirs.tensors]
    values = {name: field.contents() for name, field in theirs.fields.items() if not name.startswith("GGUF.")}
    assert found.metadata == values
    kinds = {}
    for t in theirs.tensors:
        kinds.setdefault(t.tensor_type, t)
    assert {kind.name for kind in kinds} == {"F32", "Q4_1", "Q8_0"}
    for kind, t in kinds.items():
        np.testing.assert_array_equal(found.tensor(t.name), gguf.quants.dequantize(t.data, kind))


@pytest.mark.parametrize(("numbers", "size"), [(32, 35), (64, 34)])
def test_blocks_of_other_sizes_than_the_table_says_would_be_seen(tmp_path, monkeypatch, numbers, size):
    from tinygrad_ft.formats import gguf as room

    tensors = small_gguf(tmp_path / "a.gguf")
    monkeypatch.setitem(room.BLOCKS, 8, ("Q8_0", numbers, size))
    with pytest.raises((ValueError, AssertionError)):
        np.testing.assert_array_equal(GGUF(tmp_path / "a.gguf").tensor("Q8_0"), tensors["Q8_0"])


@pytest.mark.parametrize(
    ("at", "new", "message"),
    [
        (0, b"GGML", "does not begin with GGUF"),
        (4, struct.pack("<I", 1), "its version is 1"),
        (4, struct.pack(">I", 3), "its version is 50331648"),
        (8, struct.pack("<Q", 1 << 62), f"{1 << 62} tensors would begin at byte 24"),
        (16, struct.pack("<Q", 1 << 63), f"{1 << 63} values would begin at byte 24"),
        (24, struct.pack("<Q", (1 << 64) - 1), r"18446744073709551615 bytes are needed at byte 32"),
    ],
)
def test_each_kind_of_damage_of_a_gguf_file_is_named_in_one_line(tmp_path, at, new, message):
    path = tmp_path / "a.gguf"
    small_gguf(path)
    content = bytearray(path.read_bytes())
    content[at : at + len(new)] = new
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        GGUF(path)
    assert str(caught.value).startswith(f"{path} is not a whole GGUF file: ")
    assert "\n" not in str(caught.value)


def test_a_gguf_file_that_was_cut_off_anywhere_is_refused(tmp_path):
    path = tmp_path / "a.gguf"
    small_gguf(path)
    content = path.read_bytes()
    for end in range(0, len(content) - 32, 7):  # the last bytes are padding
        path.write_bytes(content[:end])
        with pytest.raises(ValueError, match="is not a whole GGUF file"):
            GGUF(path)


def test_an_unknown_kind_of_blocks_is_refused_by_its_number(tmp_path, monkeypatch):
    from tinygrad_ft.formats import gguf as room

    small_gguf(tmp_path / "a.gguf")
    monkeypatch.delitem(room.BLOCKS, 8)
    with pytest.raises(ValueError, match="'Q8_0' is of ggml's type 8, which cannot be read here"):
        GGUF(tmp_path / "a.gguf")


def test_blocks_without_the_library_that_knows_them_are_refused_with_the_way_to_get_it(tmp_path, monkeypatch):
    import sys

    small_gguf(tmp_path / "a.gguf")
    found = GGUF(tmp_path / "a.gguf")
    monkeypatch.setitem(sys.modules, "gguf", None)
    assert found.tensor("plain").shape == (3, 5)
    with pytest.raises(ValueError, match=r"Q8_0 blocks, which the package gguf reads: pip install"):
        found.tensor("Q8_0")


def test_a_tensor_that_is_not_there_is_a_key_error(tmp_path):
    small_gguf(tmp_path / "a.gguf")
    with pytest.raises(KeyError, match="none"):
        GGUF(tmp_path / "a.gguf").tensor("none")
