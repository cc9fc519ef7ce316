"""Training from the command line: killed and resumed, stopped early, accumulated, with event files for TensorBoard."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tinygrad_ft.cli import main
from tinygrad_ft.train.folder import read_metrics

ROOT = Path(__file__).resolve().parents[1]
posix = pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX's")


@pytest.fixture
def call(capsys):
    """Run one command in this process: (exit code, standard output, standard error)."""

    def called(*argv):
        code = main([str(word) for word in argv])
        return code, *capsys.readouterr()

    return called


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("the cat sat on the mat. the dog sat on the cat.\n" * 100)
    return path


def losses(folder):
    return [(r["step"], r["train_loss"], r.get("val_loss")) for r in read_metrics(folder / "metrics.jsonl")]


def started(*argv):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tinygrad_ft", *map(str, argv)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def wait_for(condition, process):
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)


@posix
@pytest.mark.parametrize("kind", ["mlp", "transformer"])
def test_a_killed_command_is_resumed_to_the_same_files(call, text, tmp_path, kind):
    arguments = {
        "mlp": ["train", "mlp", "--data", "moons", "--steps", 600, "--checkpoint-every", 20, "--accumulate", 2],
        "transformer": ["train", "transformer", "--text", text, "--preset", "tiny", "--steps", 120],
    }[kind]
    arguments = [*arguments, "--early-stopping", 100]
    assert call(*arguments, "--out", tmp_path / "whole")[0] == 0
    cut = tmp_path / "cut"
    with started(*arguments, "--out", cut) as process:
        wait_for(lambda: len(list((cut / "checkpoints").glob("step-*"))) >= 2, process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    code, said, _ = call("train", kind, "--resume", cut)
    assert code == 0
    assert f"results in {cut}" in said
    assert losses(cut) == losses(tmp_path / "whole")
    for name in ("model.safetensors", "sample.txt"):
        assert (cut / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert (cut / "loss.png").stat().st_size > 10_000


def test_a_text_is_the_same_from_wherever_it_is_named_until_it_changes(call, text, tmp_path, monkeypatch):
    monkeypatch.chdir(text.parent)
    arguments = ["train", "transformer", "--text", text.name, "--preset", "tiny", "--steps", 4]
    assert call(*arguments, "--out", tmp_path / "run")[0] == 0
    assert call("train", "transformer", "--resume", tmp_path / "run")[0] == 0
    text.write_text(text.read_text().replace("dog", "god"))
    failed(call("train", "transformer", "--resume", tmp_path / "run"), "was begun with another sha256")


def test_a_finished_run_that_is_resumed_stays_as_it_is(call, tmp_path):
    call("train", "mlp", "--data", "moons", "--steps", 6, "--out", tmp_path)
    before = (tmp_path / "model.safetensors").read_bytes(), losses(tmp_path)
    assert call("train", "mlp", "--resume", tmp_path)[0] == 0
    assert ((tmp_path / "model.safetensors").read_bytes(), losses(tmp_path)) == before


def failed(answer, *parts):
    code, _, err = answer
    line = err.strip().splitlines()[-1]
    assert code == 1
    assert line.startswith("tinygrad-ft: ")
    assert all(str(part) in line for part in parts), line
    assert "Traceback" not in err


def test_what_cannot_be_resumed_is_told_in_one_line(call, text, tmp_path):
    failed(call("train", "mlp", "--resume", tmp_path / "none"), tmp_path / "none", "has no config.json")
    run = tmp_path / "run"
    call("train", "transformer", "--text", text, "--preset", "tiny", "--steps", 3, "--out", run)
    failed(call("train", "mlp", "--resume", run), run, "is a run of train_transformer, not of train_mlp")
    text.write_text(text.read_text().replace("dog", "cow"))
    failed(call("train", "transformer", "--resume", run), run, "was begun with another", "have changed since")
    text.unlink()
    failed(call("train", "transformer", "--resume", run), "no file", text)


def test_a_run_without_a_checkpoint_begins_anew_only_if_told_so(call, tmp_path):
    call("train", "mlp", "--data", "moons", "--steps", 2, "--out", tmp_path)
    for path in (tmp_path / "checkpoints").iterdir():
        for part in path.iterdir():
            part.unlink()
        path.rmdir()
    failed(call("train", "mlp", "--resume", tmp_path), "has no checkpoint to go on from")


@pytest.mark.parametrize("part", ["model.safetensors", "optimizer.safetensors", "state.json"])
def test_a_checkpoint_with_a_flipped_bit_ends_the_command_and_leaves_the_one_before(call, tmp_path, part):
    call("train", "mlp", "--data", "moons", "--steps", 10, "--out", tmp_path)
    before, last = sorted((tmp_path / "checkpoints").iterdir())
    content = bytearray((last / part).read_bytes())
    content[len(content) // 2] ^= 4
    (last / part).write_bytes(content)
    kept = {path: path.read_bytes() for path in before.iterdir()}
    failed(call("train", "mlp", "--resume", tmp_path), last / part)
    assert {path: path.read_bytes() for path in before.iterdir()} == kept
    for path in last.iterdir():
        path.unlink()
    last.rmdir()
    assert call("train", "mlp", "--resume", tmp_path)[0] == 0


def test_early_stopping_ends_the_command_and_keeps_the_best_weights(call, tmp_path):
    arguments = ["train", "mlp", "--data", "breast-cancer", "--steps", 3000, "--early-stopping", 1]
    code, said, _ = call(*arguments, "--out", tmp_path)
    assert code == 0
    records = read_metrics(tmp_path / "metrics.jsonl")
    assert len(records) < 3000
    assert "stopped: val_loss has not improved in 1 evaluations" in said
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["arguments"]["early_stopping"] == 1


def test_event_files_hold_every_step(call, tmp_path):
    pytest.importorskip("tensorboardX")
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.record_writer import masked_crc32c

    call("train", "mlp", "--data", "moons", "--steps", 5, "--tensorboard", "--out", tmp_path)
    (path,) = (tmp_path / "tensorboard").iterdir()
    content, found, at = path.read_bytes(), {}, 0
    while at < len(content):  # TFRecord: length, its checksum, data, its checksum
        length = int.from_bytes(content[at : at + 8], "little")
        body = content[at + 12 : at + 12 + length]
        assert int.from_bytes(content[at + 12 + length : at + 16 + length], "little") == masked_crc32c(body)
        event = Event.FromString(body)
        for value in event.summary.value:
            found.setdefault(value.tag, []).append((event.step, value.simple_value))
        at += 16 + length
    metrics = read_metrics(tmp_path / "metrics.jsonl")
    assert found["train/loss"] == [(r["step"], pytest.approx(r["train_loss"])) for r in metrics]
    assert {"val/loss", "val/accuracy", "lr"} <= found.keys()


def test_event_files_without_their_library_are_refused_with_the_way_to_get_it(call, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    answer = call("train", "mlp", "--data", "moons", "--steps", 1, "--tensorboard", "--out", tmp_path / "run")
    failed(answer, "need tensorboardX: pip install 'tinygrad-ft[tensorboard]'")
    assert not (tmp_path / "run").exists()
