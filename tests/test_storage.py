"""Files: whole or not at all, and weights that come back as they were."""

import errno
import json
import os
import struct
import subprocess
import sys
import threading
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinygrad_ft as tg
from tinygrad_ft import storage
from tinygrad_ft.storage import load, read_json, save, write_atomically

DTYPES = [
    "bool",
    "int8",
    "uint8",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
    "float16",
    "float32",
    "float64",
]
shapes = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
arrays = st.sampled_from(DTYPES).flatmap(lambda dtype: hnp.arrays(dtype, shapes))
layouts = st.sampled_from([lambda a: a, np.transpose, lambda a: a[..., ::-1] if a.ndim else a, np.asfortranarray])
names = st.text(min_size=1).filter(lambda name: name != "__metadata__")  # which the format keeps for itself


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()  # bytes: NaN payloads and -0.0 too


def written(array):
    """The bytes of a file that holds one array, called a."""
    from safetensors.numpy import save as to_bytes

    return to_bytes({"a": array})


@given(state=st.dictionaries(names, st.tuples(arrays, layouts), max_size=3))
def test_save_then_load_is_the_identity(tmp_path_factory, state):
    state = {name: layout(array) for name, (array, layout) in state.items()}
    path = tmp_path_factory.mktemp("state") / "state.safetensors"
    save(state, path)
    back = load(path)
    assert back.keys() == state.keys()
    assert all(same(back[name].array, state[name]) for name in state)


def test_a_lost_sign_or_shape_would_be_seen():
    assert not same(np.zeros(2), -np.zeros(2))
    assert not same(np.zeros(()), np.zeros(1))
    assert not same(np.zeros(1, "i4"), np.zeros(1, "f4"))


def test_tensors_come_back_as_constants_that_can_be_trained(tmp_path):
    save({"w": tg.ones(2, 3, requires_grad=True)}, tmp_path / "w.safetensors")
    w = load(tmp_path / "w.safetensors")["w"]
    assert not w.requires_grad
    w.requires_grad_()
    optimizer = tg.optim.SGD([w], lr=0.5)
    w.sum().backward()
    optimizer.step()  # writes into the array, so it must be writable
    assert w.tolist() == [[0.5] * 3] * 2


def test_numbers_in_another_byte_order_come_back_equal(tmp_path):
    save({"a": np.arange(3, dtype=">f4")}, tmp_path / "a.safetensors")
    assert load(tmp_path / "a.safetensors")["a"].tolist() == [0.0, 1.0, 2.0]


@pytest.mark.parametrize("value", [[1.0], 1.0, np.float32(1.0), "text", None, {}])
def test_what_is_no_array_is_refused_by_name_and_nothing_is_written(tmp_path, value):
    with pytest.raises(TypeError, match=f"'odd' is {type(value).__name__}"):
        save({"fine": np.ones(2), "odd": value}, tmp_path / "state.safetensors")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("array", [np.array(["text"]), np.array([None]), np.array([1j])])
def test_a_dtype_without_a_place_in_the_format_is_refused(tmp_path, array):
    with pytest.raises(TypeError, match="dtype"):
        save({"odd": array}, tmp_path / "state.safetensors")
    assert list(tmp_path.iterdir()) == []


# --- whole or not at all -------------------------------------------------------------------------------------------


def no_space(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def interrupted(*_):
    raise KeyboardInterrupt


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize(("failure", "kind"), [(no_space, OSError), (interrupted, KeyboardInterrupt)])
def test_a_failure_on_the_way_leaves_the_old_file_whole_and_nothing_beside_it(
    tmp_path, monkeypatch, call, failure, kind
):
    path = tmp_path / "file"
    write_atomically(path, "old")
    with monkeypatch.context() as patched:
        patched.setattr(os, call, failure)
        with pytest.raises(kind) as caught:
            write_atomically(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    if kind is OSError:
        assert (caught.value.errno, caught.value.filename) == (
            errno.ENOSPC,
            str(path),
        )  # not the unfinished file's name


def test_a_plain_write_would_have_lost_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_text("old")
    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OSError, match="space"), open(path, "w") as file:
        file.write("new")
        os.fsync(file.fileno())
    assert path.read_text() != "old"


def written_by_two_threads(path, monkeypatch):
    """What two threads raise that write one path, both at the same point of their way."""
    both, true, raised = threading.Barrier(2, timeout=30), os.fsync, []

    def fsync(file):
        if threading.current_thread() in writers:
            with suppress(threading.BrokenBarrierError):
                both.wait()
        true(file)

    def write(content):
        try:
            write_atomically(path, content)
        except OSError as error:
            both.abort()
            raised.append(error)

    writers = [threading.Thread(target=write, args=(letter * 9999,)) for letter in "ab"]
    monkeypatch.setattr(os, "fsync", fsync)
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    return raised


def test_two_threads_may_write_one_path(tmp_path, monkeypatch):
    assert written_by_two_threads(tmp_path / "file", monkeypatch) == []
    assert (tmp_path / "file").read_text() in ("a" * 9999, "b" * 9999)
    assert os.listdir(tmp_path) == ["file"]


def test_two_threads_that_share_an_unfinished_file_are_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "get_ident", lambda: 1)
    assert written_by_two_threads(tmp_path / "file", monkeypatch)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no resource limits")
def test_a_disk_that_is_really_full_leaves_the_old_file_whole(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    program = (
        "import resource, sys\n"
        "from tinygrad_ft.storage import write_atomically\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10000, 10000))\n"
        "write_atomically(sys.argv[1], bytes(20000))"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True)
    assert done.stderr.splitlines()[-1].startswith(f"OSError: [Errno {errno.EFBIG}]")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_path_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("kept")
    for path, error in [
        (tmp_path / "no" / "x", FileNotFoundError),
        (tmp_path / "file" / "x", NotADirectoryError),
        (tmp_path, OSError),
    ]:
        with pytest.raises(error) as caught:
            write_atomically(path, "new")
        assert caught.value.filename == str(path)
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_device_is_not_replaced_by_a_file(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="no regular file"):
        write_atomically(pipe, "new")
    assert pipe.is_fifo()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no file modes")
def test_a_new_file_has_the_mode_that_the_user_asks_for(tmp_path):
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "file", "new")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


# --- damaged files -------------------------------------------------------------------------------------------------


@given(cut=st.floats(0, 1, exclude_max=True))
def test_a_file_that_was_cut_off_is_refused_with_its_path(tmp_path_factory, cut):
    whole = written(np.arange(6.0).reshape(2, 3))
    path = tmp_path_factory.mktemp("cut") / "a.safetensors"
    path.write_bytes(whole[: int(cut * len(whole))])
    with pytest.raises(ValueError, match="is not a whole safetensors file") as caught:
        load(path)
    assert str(path) in str(caught.value)


@given(data=st.data())
def test_a_flipped_byte_in_the_header_is_refused_or_read_and_never_crashes(tmp_path_factory, data):
    whole = bytearray(written(np.arange(6.0).reshape(2, 3)))
    header = 8 + struct.unpack("<Q", whole[:8])[0]
    place = data.draw(st.integers(0, header - 1))
    whole[place] ^= data.draw(st.integers(1, 255))
    path = tmp_path_factory.mktemp("flipped") / "a.safetensors"
    path.write_bytes(whole)
    try:
        state = load(path)
    except ValueError as error:
        assert str(path) in str(error)
    else:  # the flip made another name, dtype or shape, or white space
        assert sum(a.array.nbytes for a in state.values()) == 48


@pytest.mark.parametrize("place", [0, 7, 8])
def test_a_broken_length_or_first_brace_is_always_refused(tmp_path, place):
    whole = bytearray(written(np.ones(2)))
    whole[place] ^= 0x55
    (tmp_path / "a").write_bytes(whole)
    with pytest.raises(ValueError, match="is not a whole safetensors file"):
        load(tmp_path / "a")


def test_numbers_that_numpy_does_not_have_are_refused_by_their_type(tmp_path):
    header = json.dumps({"a": {"dtype": "F8_E4M3", "shape": [4], "data_offsets": [0, 4]}}).encode()
    (tmp_path / "a").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    with pytest.raises(ValueError, match="type F8_E4M3, which NumPy does not have"):
        load(tmp_path / "a")


def test_no_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none")
    with pytest.raises(OSError, match=r"directory|denied"):
        load(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"{'a': 1}", b"\xff\xfe"])
def test_what_is_no_json_is_refused_with_its_path(tmp_path, content):
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"config\.json is not JSON") as caught:
        read_json(path)
    assert type(caught.value) is ValueError


def test_json_is_read_as_utf_8(tmp_path):
    (tmp_path / "a.json").write_bytes('{"ключ": [1, 2.5, null]}'.encode())
    assert read_json(tmp_path / "a.json") == {"ключ": [1, 2.5, None]}
