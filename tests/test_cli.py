"""The command line: what it prints, what it leaves, and how it fails: one clear line, no traceback, nothing lost."""

import argparse
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from tinygrad_ft import storage
from tinygrad_ft.cli import main, parser
from tinygrad_ft.engine import OPS
from tinygrad_ft.models import GPT
from tinygrad_ft.ops.composed import COMPOSED
from tinygrad_ft.train import language
from tinygrad_ft.train.folder import load_model, read_metrics
from tinygrad_ft.train.run import Journal

ROOT = Path(__file__).resolve().parents[1]
TEXT = "the cat sat on the mat. the dog sat on the cat.\n" * 30
FILES = ["checkpoints", "config.json", "loss.png", "metrics.jsonl", "model.safetensors", "sample.txt"]
MINUTE = language.Recipe(context=8, layers=1, heads=1, width=8, batch_size=4, steps=6)
posix = pytest.mark.skipif(os.name != "posix", reason="signals, limits and devices are those of POSIX")


@pytest.fixture
def call(capsys, monkeypatch):
    """Run one command in this process, the presets made minute: (exit code, standard output, standard error)."""
    for preset in language.RECIPES:
        monkeypatch.setitem(language.RECIPES, preset, MINUTE)

    def called(*argv):
        try:
            code = main([str(word) for word in argv])
        except SystemExit as end:  # argparse's way to leave
            code = end.code
        return code, *capsys.readouterr()

    return called


def start(*argv, **options):
    """The command as its users start it, in a process of its own."""
    plain = {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1", "PYTHONUNBUFFERED": ""}
    env = {**os.environ, **plain, **options.pop("env", {})}
    command = [sys.executable, "-m", "tinygrad_ft", *map(str, argv)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.Popen(command, text=True, encoding="utf-8", env=env, **pipes)


def run(*argv, **options):
    process = start(*argv, **options)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def assert_failed(result, *said, code=1):
    """The command ended with that code, and one line of its own on standard error says all of `said`."""
    assert result[0] == code
    assert "Traceback" not in result[1] + result[2]
    lines = [line for line in result[2].splitlines() if line.startswith("tinygrad-ft: ")]
    assert lines == result[2].splitlines()[-1:], result[2]
    assert lines
    for words in said:
        assert str(words) in lines[0]


def assert_failed_at_once(result, *said):
    """It failed so, and said nothing else."""
    assert_failed(result, *said)
    assert len(result[2].splitlines()) == 1
    assert result[2].count("\n") == 1


def test_a_failure_with_a_traceback_or_two_lines_would_be_seen():
    for err in ["", "Traceback ...\ntinygrad-ft: x\n", "tinygrad-ft: x\nmore\n", "tinygrad-ft: x\ntinygrad-ft: x\n"]:
        with pytest.raises(AssertionError):
            assert_failed((1, "", err), "x")
    assert_failed((1, "", "a bar\ntinygrad-ft: x\n"), "x")
    with pytest.raises(AssertionError):
        assert_failed_at_once((1, "", "a bar\ntinygrad-ft: x\n"), "x")


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """The folder of a small Transformer, trained once."""
    out = tmp_path_factory.mktemp("trained") / "run"
    language.train_transformer(TEXT, recipe=MINUTE, seed=0, out=out, source="a test", evaluations=1)
    return out


# --- help ------------------------------------------------------------------------------------------------------------


def commands(top, words=()):
    """Every command and subcommand: its words and its parser."""
    yield words, top
    for action in top._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield from commands(below, (*words, name))


EVERY = {" ".join(words) or "tinygrad-ft": words for words, _ in commands(parser())}


def test_all_commands_are_there():
    assert {"tinygrad-ft", "train", "train transformer", "train mlp", "sample", "ops", "gradcheck", "doctor"} <= set(
        EVERY
    )


@pytest.mark.parametrize("words", EVERY.values(), ids=EVERY)
def test_every_help_shows_an_example_that_the_program_takes(call, words):
    code, out, err = call(*words, "--help")
    assert (code, err) == (0, "")
    example = re.search(r"example: tinygrad-ft (.*)", " ".join(out.split()))[1]
    arguments = shlex.split(example)
    assert tuple(arguments[: len(words)]) == words
    assert callable(parser().parse_args(arguments).run)


def test_every_option_says_what_it_is_for_and_its_default():
    for words, command in commands(parser()):
        for action in command._actions:
            if action.option_strings and action.dest != "help":
                assert action.help, (words, action.dest)
                if action.default is not None and not action.required:
                    assert "default" in action.help, (words, action.dest)


# --- bad usage -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "",
        "nonsense",
        "train",
        "train cnn",
        "train transformer --steps 0",
        "train transformer --steps -5",
        "train transformer --steps many",
        "train transformer --steps 1.5",
        "train transformer --seed -1",
        "train transformer --preset huge",
        "train transformer --data nothing",
        "train transformer --text a --data shakespeare",
        "train mlp --data iris",
        "train mlp --steps 0",
        "sample",
        "sample --model x --temperature -1",
        "sample --model x --temperature nan",
        "sample --model x --top-k 0",
        "sample --model x --tokens -1",
        "sample --model x --seed -1",
        "gradcheck --seed -1",
        "gradcheck --order 3",
        "gradcheck softmax sotfmax",
        "gradcheck nowhere.py:f",
        "gradcheck --plot curve.png",
        "doctor --nonsense",
    ],
)
def test_bad_usage_is_told_on_the_last_line_and_ends_with_2(call, line):
    code, out, err = call(*line.split())
    assert (code, out) == (2, "")
    assert err.startswith("usage: ")
    assert "error: " in err.splitlines()[-1]


def test_a_number_out_of_range_is_told_with_the_range(call):
    assert "--steps: needs 1 or more, got 0" in call("train", "mlp", "--steps", 0)[2]
    assert "--temperature: needs 0 or more, got -1" in call("sample", "--model", "x", "--temperature", -1)[2]


# --- training --------------------------------------------------------------------------------------------------------


def test_training_a_transformer_tells_what_it_does_and_where_the_results_lie(call, text, tmp_path):
    out_folder = tmp_path / "new" / "run"
    code, out, _ = call("train", "transformer", "--text", text, "--preset", "tiny", "--out", out_folder)
    assert code == 0
    assert f"training on {text}: 1,440 characters, {len(set(TEXT))} different\npreset tiny, 6 steps, seed 0\n" in out
    assert re.search(r"validation loss \d\.\d{4} nats a character after 6 steps", out)
    assert f"next: tinygrad-ft sample --model {out_folder}" in out
    assert sorted(path.name for path in out_folder.iterdir()) == FILES
    assert out.count("step ") >= 3  # evaluations with samples
    metrics = [json.loads(line) for line in (out_folder / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in metrics] == [1, 2, 3, 4, 5, 6]


def test_the_same_command_gives_the_same_metrics_apart_from_speed_and_another_seed_others(call, text, tmp_path):
    for name, seed in [("first", 5), ("again", 5), ("other", 6)]:
        code, *_ = call("train", "transformer", "--text", text, "--steps", 3, "--seed", seed, "--out", tmp_path / name)
        assert code == 0
    first, again, other = (
        [(r["train_loss"], r.get("val_loss")) for r in read_metrics(tmp_path / name / "metrics.jsonl")]
        for name in ("first", "again", "other")
    )
    assert first == again != other
    assert len(first) == 3


def test_the_python_manual_is_the_default_text(call, tmp_path, monkeypatch):
    from tinygrad_ft import data

    monkeypatch.setattr(data, "python_manual", lambda: TEXT)
    code, out, _ = call("train", "transformer", "--out", tmp_path)
    assert code == 0
    assert "training on python-manual: 1,440 characters" in out


def test_training_an_mlp_tells_its_accuracy(call, tmp_path):
    code, out, _ = call("train", "mlp", "--data", "moons", "--steps", 20, "--out", tmp_path)
    assert code == 0
    assert re.search(r"held-out accuracy \d+\.\d\d%, loss \d\.\d{4} nats after 20 steps", out)
    assert sorted(path.name for path in tmp_path.iterdir()) == FILES


def test_the_program_itself_trains_the_tiny_preset_and_samples_even_where_the_console_has_only_ascii(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("naïve café 你好\n" * 60, encoding="utf-8")
    ascii_only = {"PYTHONIOENCODING": "ascii"}
    arguments = ["--text", text, "--preset", "tiny", "--steps", 2, "--out", tmp_path / "run"]
    code, out, err = run("train", "transformer", *arguments, env=ascii_only)
    assert (code, "Traceback" in err) == (0, False), err
    assert "validation loss" in out
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == FILES
    code, out, err = run("sample", "--model", tmp_path / "run", "--prompt", "café", "--tokens", 20, env=ascii_only)
    assert (code, err) == (0, "")
    assert out.startswith("caf?") and len(out) == 4 + 20 + 1


# --- training: bad input ---------------------------------------------------------------------------------------------


def train(call, text, out, *more):
    return call("train", "transformer", "--text", text, "--preset", "tiny", "--out", out, *more)


def test_a_text_that_is_missing_a_folder_empty_binary_or_in_another_encoding_is_refused(call, tmp_path):
    (tmp_path / "folder").mkdir()
    for name, content, said in [
        ("missing", None, "no file"),
        ("folder", None, "is a folder"),
        ("empty", b"", "is empty"),
        ("binary", b"\x89PNG\r\n\x1a\n\0\0", "not UTF-8"),
        ("zeros", b"abc\0" * 500, "not UTF-8"),
        ("latin", "café".encode("latin-1") * 500, "not UTF-8"),
    ]:
        if content is not None:
            (tmp_path / name).write_bytes(content)
        assert_failed_at_once(train(call, tmp_path / name, tmp_path / "out"), tmp_path / name, said)
        assert not (tmp_path / "out").exists()


def test_a_text_shorter_than_its_context_is_refused_with_the_length_it_needs(call, tmp_path):
    text = tmp_path / "short.txt"
    text.write_text(TEXT[:80])
    assert_failed_at_once(train(call, text, tmp_path / "out"), "80 characters", "needs 81", "longer")
    assert not (tmp_path / "out").exists()
    text.write_text(TEXT[:81])
    assert train(call, text, tmp_path / "out", "--steps", 1)[0] == 0


def test_an_out_that_is_a_file_or_below_one_is_refused_and_the_file_kept(call, text, tmp_path):
    (tmp_path / "file").write_text("kept")
    assert_failed_at_once(train(call, text, tmp_path / "file"), tmp_path / "file", "is a file")
    assert_failed_at_once(train(call, text, tmp_path / "file" / "run"), tmp_path / "file", "Not a directory")
    assert_failed_at_once(call("train", "mlp", "--data", "moons", "--out", tmp_path / "file"), "is a file")
    assert (tmp_path / "file").read_text() == "kept"
    (tmp_path / "run" / "model.safetensors").mkdir(parents=True)
    assert_failed(train(call, text, tmp_path / "run"), "model.safetensors")


@posix
def test_an_out_that_may_not_be_written_is_refused(call, text, tmp_path, monkeypatch):
    def refuse(self, **_):
        raise PermissionError(13, "Permission denied", str(self))  # a mode would not stop a test that runs as root

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert_failed_at_once(train(call, text, tmp_path / "run"), f"{tmp_path / 'run'}: Permission denied")


@posix
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no device that is always full")
def test_a_full_disk_under_the_metrics_ends_the_run_with_its_name_and_keeps_the_weights(call, text, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.jsonl").symlink_to("/dev/full")
    assert_failed(train(call, text, tmp_path / "run"), tmp_path / "run" / "metrics.jsonl", "No space left on device")
    load_model(tmp_path / "run")


@posix
def test_a_disk_that_is_really_full_leaves_an_earlier_run_loadable_and_no_litter(text, tmp_path):
    def limit():  # to each file 100,000 bytes: the weights of the tiny preset have four times as many
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    out = tmp_path / "run"
    arguments = ["train", "transformer", "--text", text, "--preset", "tiny", "--steps", 1, "--out", out]
    assert run(*arguments)[0] == 0
    weights = (out / "model.safetensors").read_bytes()
    assert len(weights) > 300_000
    assert_failed(run(*arguments, preexec_fn=limit), out / "model.safetensors", "File too large")
    assert sorted(path.name for path in out.iterdir()) == FILES
    assert (out / "model.safetensors").read_bytes() == weights
    load_model(out)


def test_a_run_that_diverges_says_at_which_step_and_keeps_good_weights(call, text, tmp_path, monkeypatch):
    monkeypatch.setitem(language.RECIPES, "tiny", language.replace(MINUTE, peak=1e38))
    assert_failed(train(call, text, tmp_path / "run"), "at step ", "a smaller learning rate may help")
    model, _ = load_model(tmp_path / "run")
    assert all(np.isfinite(p.array).all() for p in model.parameters())


def test_too_little_memory_is_told_in_words(call, text, tmp_path, monkeypatch):
    def lacking(*_):
        raise MemoryError

    monkeypatch.setattr(Journal, "stepped", lacking)
    assert_failed(train(call, text, tmp_path / "run"), "not enough memory; a smaller preset")


# --- training: interrupted -------------------------------------------------------------------------------------------


def test_an_interruption_keeps_weights_metrics_and_a_picture_and_ends_with_130(call, text, tmp_path, monkeypatch):
    stepped, then = Journal.stepped, {}

    def interrupted(self, trainer, record):
        stepped(self, trainer, record)
        if record["step"] == 4:
            then.update({name: t.numpy_copy() for name, t in trainer.model.state_dict().items()})
            raise KeyboardInterrupt

    monkeypatch.setattr(Journal, "stepped", interrupted)
    assert_failed(train(call, text, tmp_path), "interrupted; what was written so far is kept", code=130)
    assert set(FILES) <= {path.name for path in tmp_path.iterdir()}
    assert len(read_metrics(tmp_path / "metrics.jsonl")) == 4
    kept = load_model(tmp_path)[0].state_dict()
    for name, array in then.items():
        np.testing.assert_array_equal(kept[name].array, array)


@posix
def test_control_c_keeps_weights_metrics_and_a_picture_and_ends_with_130(text, tmp_path):
    out = tmp_path / "run"
    process = start("train", "transformer", "--text", text, "--preset", "tiny", "--steps", 10**6, "--out", out)
    metrics = out / "metrics.jsonl"
    deadline = time.monotonic() + 60
    while not (metrics.exists() and metrics.read_text().count("\n") >= 5):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)
    assert_failed((process.returncode, *said), "interrupted", code=130)
    assert sorted(path.name for path in out.iterdir()) == FILES
    steps = [record["step"] for record in read_metrics(metrics)]
    assert steps == list(range(1, len(steps) + 1))
    assert len(steps) >= 5
    model, config = load_model(out)
    at_the_start = GPT(model.config, rng=np.random.default_rng(config["seed"]))
    assert all((p.array != q.array).any() for p, q in zip(model.parameters(), at_the_start.parameters(), strict=True))


def test_a_run_without_room_for_its_weights_leaves_an_earlier_run_as_it_was(call, text, trained, tmp_path, monkeypatch):
    folder = shutil.copytree(trained, tmp_path / "run")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert before

    def full(state, path):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("tinygrad_ft.storage.save", full)
    assert_failed(train(call, text, folder), "No space left on device")
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


# --- sampling --------------------------------------------------------------------------------------------------------


def sample(call, folder, *more):
    code, out, err = call("sample", "--model", folder, *more)
    assert (code, err) == (0, ""), err
    assert out.endswith("\n")
    return out[:-1]


def test_sampling_writes_as_many_characters_as_asked_for_after_the_prompt(call, trained):
    assert len(sample(call, trained)) == 500
    written = sample(call, trained, "--prompt", "the cat", "--tokens", 30)
    assert written.startswith("the cat") and len(written) == 37
    assert set(written) <= set(TEXT)
    assert sample(call, trained, "--prompt", "the", "--tokens", 0) == "the"


def test_sampling_follows_seed_temperature_and_top_k(call, trained):
    first, again, other = (sample(call, trained, "--tokens", 40, "--seed", seed) for seed in (1, 1, 2))
    assert first == again != other
    greedy = [sample(call, trained, "--tokens", 40, "--temperature", 0, "--seed", seed) for seed in (1, 2)]
    assert greedy[0] == greedy[1] == sample(call, trained, "--tokens", 40, "--top-k", 1)
    assert sample(call, trained, "--tokens", 40, "--temperature", 5) != sample(call, trained, "--tokens", 40)
    assert sample(call, trained, "--tokens", 40, "--top-k", 10**9) == sample(call, trained, "--tokens", 40)
    for temperature in ("1e-300", "1e300", "inf"):
        sample(call, trained, "--tokens", 5, "--temperature", temperature)


def test_a_prompt_may_be_longer_than_the_context(call, trained):
    assert sample(call, trained, "--prompt", "the cat sat on the mat", "--tokens", 5).startswith(
        "the cat sat on the mat"
    )


def test_a_prompt_with_a_character_the_model_never_saw_is_refused_by_name(call, trained):
    assert_failed_at_once(call("sample", "--model", trained, "--prompt", "the Cat"), "'C' (U+0043) at position 4")


def test_a_folder_that_holds_no_transformer_is_refused(call, tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    call("train", "mlp", "--data", "moons", "--steps", 1, "--out", tmp_path / "mlp")
    for name, said in [
        ("missing", "is not a folder"),
        ("file", "is not a folder"),
        ("empty", "has no config.json"),
        ("mlp", "mlp, which writes no text"),
    ]:
        assert_failed_at_once(call("sample", "--model", tmp_path / name), tmp_path / name, said)


@pytest.fixture
def damaged(trained, tmp_path):
    """Copies of the trained folder in which one file was changed."""

    def damage(name, change):
        folder = tmp_path / "damaged"
        folder.mkdir(exist_ok=True)
        for path in (path for path in trained.iterdir() if path.is_file()):
            (folder / path.name).write_bytes(path.read_bytes())
        (folder / name).write_bytes(change((folder / name).read_bytes()))
        return folder

    return damage


def config_with(**changes):
    return lambda raw: json.dumps({**json.loads(raw), **changes}).encode()


def weights_with(tmp_path, change):
    def changed(raw):
        (tmp_path / "weights").write_bytes(raw)
        storage.save(change({k: v.array for k, v in storage.load(tmp_path / "weights").items()}), tmp_path / "weights")
        return (tmp_path / "weights").read_bytes()

    return changed


def test_a_damaged_model_folder_is_refused_in_one_line(call, damaged, tmp_path):
    def renamed(state):
        return {f"model.{name}": array for name, array in state.items()}

    def transposed(state):
        return {name: array.T for name, array in state.items()}

    def complex_numbers(state):
        return {name: array.astype(np.complex64) for name, array in state.items()}

    def nan(state):
        return {name: array * np.float32(np.nan) for name, array in state.items()}

    for name, change, said in [
        ("config.json", lambda raw: raw[:-20], "config.json is not JSON"),
        ("config.json", lambda raw: b"\xff" + raw, "config.json is not JSON"),
        ("config.json", config_with(model={}), "does not describe a model"),
        ("config.json", config_with(model={"kind": "gpt", "vocabulary": 10, "width": -1}), "width of at least 1"),
        ("config.json", config_with(tokenizer=None), "tokenizer"),
        ("config.json", config_with(tokenizer={"type": "char", "characters": "ab"}), "2 characters"),
        ("model.safetensors", lambda raw: raw[:-1], "not a whole safetensors file"),
        ("model.safetensors", lambda raw: b"", "not a whole safetensors file"),
        ("model.safetensors", lambda raw: bytes([raw[0] ^ 64]) + raw[1:], "not a whole safetensors file"),
        ("model.safetensors", weights_with(tmp_path, renamed), "do not fit config.json"),
        ("model.safetensors", weights_with(tmp_path, transposed), "has shape"),
        ("model.safetensors", weights_with(tmp_path, complex_numbers), "complex64"),
        ("model.safetensors", weights_with(tmp_path, nan), "not finite"),
    ]:
        assert_failed_at_once(call("sample", "--model", damaged(name, change)), said)


# --- ops, doctor -----------------------------------------------------------------------------------------------------


def test_ops_lists_every_op_with_the_place_where_it_is_written(call):
    code, out, err = call("ops")
    assert (code, err) == (0, "")
    lines = {line.split()[0]: line.split() for line in out.splitlines()[:-1]}
    assert lines.keys() == OPS.keys() | COMPOSED.keys()
    for name, words in lines.items():
        path, _, number = words[1].rpartition(":")
        source = (ROOT / path).read_text(encoding="utf-8").splitlines()
        there = "\n".join(source[int(number) - 1 : int(number) + 3])  # a decorator may stand before it
        assert f"def {(COMPOSED.get(name) or OPS[name].forward).__name__}(" in there
    assert f"{len(OPS)} primitives" in out.splitlines()[-1]


def test_ops_shows_kernels_and_only_what_is_asked_for(call):
    code, out, _ = call("ops", "gelu", "softmax")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == ["gelu", "softmax"]
    assert re.search(r"kernels cpu: gelu_one_pass kernels/cpu/gelu\.py:\d+", out)


def test_ops_refuses_an_op_that_does_not_exist_by_name(call):
    assert_failed_at_once(call("ops", "softmax", "sotfmax"), "no such op: sotfmax", "tinygrad-ft ops")


def test_doctor_tells_what_is_here(call):
    code, out, err = call("doctor")
    assert (code, err) == (0, "")
    for name in ("numpy", "numba", "safetensors"):
        assert re.search(rf"{name} +{re.escape(metadata.version(name))}", out)
    assert "devices: cpu" in out
    assert out.endswith("all that is needed is here\n")


def test_doctor_tells_what_is_missing_and_how_to_get_it(call, monkeypatch):
    found = metadata.version
    lacking = {"torch"}

    def version(name):
        if name in lacking:
            raise metadata.PackageNotFoundError(name)
        return found(name)

    monkeypatch.setattr(metadata, "version", version)
    code, out, _ = call("doctor")
    assert code == 0  # only tests and benchmarks compare with PyTorch
    assert re.search(r"torch +missing .*pip install", out)
    lacking.add("tqdm")
    code, out, _ = call("doctor")
    assert code == 1
    assert "needed and missing: tqdm; run: pip install tqdm" in out


# --- the process -----------------------------------------------------------------------------------------------------


def test_the_exit_codes_are_those_of_the_process(tmp_path):
    assert run("ops", "exp")[0] == 0
    assert run("--steps")[0] == 2
    result = run("sample", "--model", tmp_path / "none")
    assert_failed_at_once(result, tmp_path / "none", "is not a folder")


@posix
def test_a_reader_that_goes_away_ends_the_program_silently():
    reader, writer = os.pipe()
    os.close(reader)
    process = start("ops", "exp", stdout=writer)
    os.close(writer)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (1, "")


@posix
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no device that is always full")
def test_a_full_disk_under_the_output_is_told():
    with open("/dev/full", "w") as full:
        code, _, err = run("ops", "exp", stdout=full)
    assert_failed_at_once((code, "", err), "No space left on device")


def test_the_traceback_is_shown_to_those_who_ask_for_it(call, monkeypatch, tmp_path):
    monkeypatch.setenv("TINYGRAD_FT_TRACEBACK", "1")
    with pytest.raises(FileNotFoundError):
        call("sample", "--model", tmp_path / "none")


def test_an_error_that_nobody_foresaw_is_one_line_that_tells_how_to_see_more(call, monkeypatch, tmp_path):
    def broken(*_, **__):
        raise LookupError("first line\nsecond line")

    monkeypatch.setattr("tinygrad_ft.train.load_model", broken)
    result = call("sample", "--model", tmp_path)
    assert_failed_at_once(result, "LookupError: first line second line", "TINYGRAD_FT_TRACEBACK=1")
