"""Training: the loop, the folder that a run leaves, its picture, and the runs that the command line offers."""

import json
import math
import os
from contextlib import suppress
from itertools import count

import numpy as np
import pytest
from one_weight import one_weight

from tinygrad_ft import storage
from tinygrad_ft.models import GPT, MLP, GPTConfig, MLPConfig
from tinygrad_ft.train import (
    Callback,
    Diverged,
    Running,
    continue_text,
    language,
    load_model,
    train_mlp,
    train_transformer,
)
from tinygrad_ft.train.folder import RunFolder, read_metrics
from tinygrad_ft.train.plot import plot_loss, smoothed
from tinygrad_ft.train.run import Journal

TEXT = "the cat sat on the mat. the dog sat on the cat.\n" * 30
MINUTE = language.Recipe(context=8, layers=1, heads=1, width=8, batch_size=4, steps=12, peak=1e-2)
FILES = ["checkpoints", "config.json", "loss.png", "metrics.jsonl", "model.safetensors", "sample.txt"]


def image_of(path):
    """The pixels of a PNG file, which must be whole: the decoder checks lengths and sums."""
    from matplotlib.image import imread

    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    return imread(path)


def train(out, text=TEXT, *, seed=0, evaluations=2, jitted=True, **options):
    recipe = language.replace(MINUTE, **options)
    return train_transformer(
        text,
        recipe=recipe,
        seed=seed,
        out=out,
        source="a test",
        evaluations=evaluations,
        running=Running(jitted=jitted),
    )


def without_speed(path):
    return [{k: v for k, v in record.items() if not k.endswith("per_second")} for record in read_metrics(path)]


def test_a_recorded_training_is_the_training_without_recording(tmp_path):
    for jitted in (True, False):
        train(tmp_path / str(jitted), jitted=jitted, steps=30)
    recorded, eager = (
        [[r["train_loss"], r.get("val_loss", 0.0)] for r in read_metrics(tmp_path / str(jitted) / "metrics.jsonl")]
        for jitted in (True, False)
    )
    assert recorded == [pytest.approx(losses, rel=1e-5) for losses in eager]


# --- the picture -----------------------------------------------------------------------------------------------------


def records(n, evaluated=True):
    return [
        {"step": i, "train_loss": 4 / i, **({"val_loss": 5 / i} if evaluated and i % 3 == 0 else {})}
        for i in range(1, n + 1)
    ]


@pytest.mark.parametrize("n", [1, 2, 100])
def test_the_curve_is_a_whole_picture_with_something_on_it(tmp_path, n):
    plot_loss(records(n), tmp_path / "loss.png", title="runs")
    pixels = image_of(tmp_path / "loss.png")
    assert pixels.shape == (540, 960, 4)
    blue = (pixels[..., 2] > 0.6) & (pixels[..., 0] < 0.3)
    assert blue.sum() > (0 if n == 1 else 500)
    plot_loss(records(n, evaluated=False), tmp_path / "less.png", title="runs")
    assert not np.array_equal(image_of(tmp_path / "less.png"), pixels) or n < 3


@pytest.mark.parametrize("title", ["$x$", r"$\nonsense{$", "100 % & _a_^b", "你 好", ""])
def test_any_name_of_a_folder_can_be_a_title(tmp_path, title):
    plot_loss(records(3), tmp_path / "loss.png", title=title)
    image_of(tmp_path / "loss.png")


def test_without_a_step_there_is_no_picture(tmp_path):
    plot_loss([], tmp_path / "loss.png", title="runs")
    assert list(tmp_path.iterdir()) == []


def test_the_smoothed_curve_is_as_long_and_stays_within_the_values(rng):
    values = rng.standard_normal(500).tolist()
    smooth = smoothed(values)
    assert len(smooth) == 500
    assert np.std(smooth) < np.std(values) / 2
    assert min(values) <= min(smooth) and max(smooth) <= max(values)
    assert smoothed([2.5] * 300) == pytest.approx([2.5] * 300)
    line = np.linspace(3, 1, 400)
    np.testing.assert_allclose(smoothed(line.tolist())[10:-10], line[10:-10])  # neither late nor early
    assert smoothed([3.0]) == [3.0]


# --- the folder ------------------------------------------------------------------------------------------------------


def run_folder(path, model, config=None):
    """A folder as a run leaves it."""
    kind = "gpt" if isinstance(model, GPT) else "mlp"
    folder = RunFolder(path, config or {"model": {"kind": kind, **model.config.to_dict()}}, model)
    folder.keep_weights(model)
    folder.close()
    return path


@pytest.mark.parametrize(
    "model", [GPT(GPTConfig(5, 4, 1, 1, 4, 0.1)), MLP(MLPConfig((3, 4, 2), "tanh"))], ids=["gpt", "mlp"]
)
def test_a_model_comes_back_from_its_folder_in_evaluation_mode(tmp_path, model):
    back, config = load_model(run_folder(tmp_path / "run", model))
    assert type(back) is type(model)
    assert back.config == model.config
    assert not back.training
    assert config["model"]["kind"] in ("gpt", "mlp")
    for a, b in zip(back.parameters(), model.parameters(), strict=True):
        np.testing.assert_array_equal(a.array, b.array)


def test_weights_in_float64_are_brought_to_ours(tmp_path):
    model = MLP(MLPConfig((2, 2)))
    run_folder(tmp_path, model)
    storage.save({k: v.array.astype(np.float64) for k, v in model.state_dict().items()}, tmp_path / "model.safetensors")
    assert {p.dtype for p in load_model(tmp_path)[0].parameters()} == {np.dtype(np.float32)}


def remove(name):
    return lambda folder: (folder / name).unlink()


def write(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def model_config(**changes):
    config = {"kind": "mlp", "sizes": [3, 2], **changes}
    return write("config.json", json.dumps({"model": config}).encode())


def weights(**changes):
    state = {"layers.0.weight": np.ones((2, 3), np.float32), "layers.0.bias": np.ones(2, np.float32)} | changes
    return lambda folder: storage.save({k: v for k, v in state.items() if v is not None}, folder / "model.safetensors")


def cut_off(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-5])


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (remove("config.json"), FileNotFoundError, "it has no config.json"),
        (remove("model.safetensors"), FileNotFoundError, "it has no model.safetensors"),
        (write("config.json", b"{"), ValueError, "is not JSON"),
        (write("config.json", b"[]"), ValueError, "does not describe a model of ours"),
        (write("config.json", b"{}"), ValueError, "does not describe a model of ours: no 'model'"),
        (write("config.json", b'{"model": 3}'), ValueError, "does not describe a model of ours"),
        (model_config(kind="cnn"), ValueError, "does not describe a model of ours: no 'cnn'"),
        (model_config(kind=["mlp"]), ValueError, "does not describe a model of ours"),
        (model_config(sizes=[3]), ValueError, "two sizes or more"),
        (model_config(sizes=3), ValueError, "does not describe a model of ours"),
        (model_config(heads=3), ValueError, "heads"),
        (model_config(sizes=[3, 4]), ValueError, r"do not fit config.json: layers.0.weight has shape \(2, 3\)"),
        (write("model.safetensors", b""), ValueError, "is not a whole safetensors file"),
        (write("model.safetensors", b"PK\3\4" * 100), ValueError, "is not a whole safetensors file"),
        (cut_off, ValueError, "is not a whole safetensors file"),
        (weights(**{"layers.0.bias": None}), ValueError, r"do not fit config.json: .*missing \['layers.0.bias'\]"),
        (weights(extra=np.ones(1)), ValueError, r"unexpected \['extra'\]"),
        (weights(**{"layers.0.bias": np.ones(3)}), ValueError, r"layers.0.bias has shape \(3,\)"),
        (weights(**{"layers.0.bias": np.ones(2, np.complex64)}), ValueError, "layers.0.bias holds complex64"),
    ],
)
def test_a_damaged_folder_is_refused_with_its_path_and_what_is_wrong(tmp_path, damage, error, message):
    run_folder(tmp_path, MLP(MLPConfig((3, 2))))
    damage(tmp_path)
    with pytest.raises(error, match=message) as caught:
        load_model(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_folder_is_refused(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "none", tmp_path / "file" / "below"):
        with pytest.raises(FileNotFoundError, match="is not a folder"):
            load_model(path)


def test_metrics_of_which_the_last_line_was_cut_off_are_read_up_to_there(tmp_path):
    path = tmp_path / "metrics.jsonl"
    for text, steps in [
        ("", []),
        ('{"step": 1', []),
        ('{"step": 1}\n', [1]),
        ('{"step": 1}\n{"step": 2}\n{"st', [1, 2]),
    ]:
        path.write_text(text)
        assert [r["step"] for r in read_metrics(path)] == steps


def test_a_metric_is_on_the_disk_when_it_was_noted(tmp_path):
    folder = RunFolder(tmp_path / "a" / "b", {"model": "ключ"}, MLP(MLPConfig((2, 2))))
    folder.note({"step": 1, "train_loss": 0.5})
    assert read_metrics(tmp_path / "a" / "b" / "metrics.jsonl") == [{"step": 1, "train_loss": 0.5}]
    assert "ключ" in (tmp_path / "a" / "b" / "config.json").read_text(encoding="utf-8")
    folder.close()


def test_a_folder_that_cannot_be_is_refused(tmp_path):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(FileExistsError, match="is a file, where a folder"):
        RunFolder(tmp_path / "file", {}, MLP(MLPConfig((2, 2))))
    with pytest.raises(NotADirectoryError):
        RunFolder(tmp_path / "file" / "below", {}, MLP(MLPConfig((2, 2))))
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no device that is always full")
def test_what_ended_a_run_is_told_even_if_the_full_disk_spoils_the_picture_too(tmp_path):
    journal = Journal(tmp_path, {}, unit="examples", per_example=1, sample=None)

    class Breaks(Callback):
        def stepped(self, trainer, record):
            with suppress(OSError):
                journal.stepped(trainer, record)
            raise ZeroDivisionError

    def run(*callbacks):
        one_weight(callbacks=[*callbacks, journal])

    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"No space left on device.*metrics\.jsonl"):
        run()
    with pytest.raises(ZeroDivisionError):
        run(Breaks())


# --- the Transformer -------------------------------------------------------------------------------------------------


def test_a_run_leaves_config_metrics_weights_samples_and_a_picture(tmp_path):
    last = train(tmp_path / "run")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == FILES
    metrics = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert [r["step"] for r in metrics] == list(range(1, 13))
    for record in metrics:
        assert {"step", "train_loss", "lr", "tokens_per_second"} <= record.keys()
        assert record["tokens_per_second"] > 0
        assert all(math.isfinite(value) for value in record.values())
    assert [r["step"] for r in metrics if "val_loss" in r] == [6, 12]
    assert metrics[-1]["val_loss"] == last["val_loss"]
    model, config = load_model(tmp_path / "run")
    assert config["tokenizer"]["characters"] == "".join(sorted(set(TEXT)))
    assert (config["seed"], config["text"], config["recipe"]["steps"]) == (0, "a test", 12)
    assert model.config.vocabulary == len(set(TEXT))
    samples = (tmp_path / "run" / "sample.txt").read_text(encoding="utf-8")
    assert [line.split(":")[0] for line in samples.splitlines() if line.startswith("---")] == [
        "--- step 0",
        "--- step 6",
        "--- step 12",
    ]
    image_of(tmp_path / "run" / "loss.png")


def test_the_loss_falls_from_that_of_knowing_nothing(tmp_path):
    last = train(tmp_path, steps=150, peak=3e-2)
    metrics = read_metrics(tmp_path / "metrics.jsonl")
    assert metrics[0]["train_loss"] == pytest.approx(math.log(len(set(TEXT))), rel=0.05)
    assert last["val_loss"] < 1.5 < metrics[0]["train_loss"]


def test_the_loss_that_is_told_last_is_of_the_saved_weights_on_all_of_the_validation_part(tmp_path, monkeypatch):
    text, mean_loss, sizes = TEXT * 10, language.mean_loss, []
    monkeypatch.setattr(
        language, "mean_loss", lambda model, windows: sizes.append(len(windows)) or mean_loss(model, windows)
    )
    last = train(tmp_path, text)
    model, config = load_model(tmp_path)
    tokenizer = language.CharTokenizer.from_dict(config["tokenizer"])
    held = tokenizer.encode(text)[int(0.9 * len(text)) :]
    windows = list(language.token_windows(held, context=8, batch_size=4))
    assert mean_loss(model, windows) == last["val_loss"]
    assert sizes[-1] == len(windows) > 20
    assert sizes[:-1] == [15, 15]  # on the way every third will do


def test_the_same_seed_gives_the_same_run_and_another_a_different_one(tmp_path):
    for name, seed in [("first", 3), ("again", 3), ("other", 4)]:
        train(tmp_path / name, seed=seed)
    first, again, other = (without_speed(tmp_path / name / "metrics.jsonl") for name in ("first", "again", "other"))
    assert first == again
    assert all(a["train_loss"] != b["train_loss"] for a, b in zip(first, other, strict=True))
    for name in ("model.safetensors", "sample.txt", "config.json"):
        contents = [(tmp_path / run / name).read_bytes() for run in ("first", "again", "other")]
        assert contents[0] == contents[1] != contents[2], name


def test_the_rate_climbs_and_falls_as_the_recipe_says(tmp_path):
    train(tmp_path, steps=20, warmup_steps=100)  # more warm-up than steps: a tenth of them instead
    rates = [r["lr"] for r in read_metrics(tmp_path / "metrics.jsonl")]
    assert rates[:3] == pytest.approx([1e-2 / 3, 2e-2 / 3, 1e-2])
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert MINUTE.final < rates[-1] < 3 * MINUTE.final + 1e-3


@pytest.mark.parametrize("context", [8, 31, 32, 64])
def test_a_text_just_long_enough_is_trained_on_and_one_character_less_refused_by_number(tmp_path, context):
    least = 10 * context + 1
    text = (TEXT * 2)[:least]
    train(tmp_path / "run", text, context=context, steps=1)
    message = f"has {least - 1} characters, but a context of {context} needs {least}"
    with pytest.raises(ValueError, match=message):
        train(tmp_path / "short", text[:-1], context=context, steps=1)
    assert not (tmp_path / "short").exists()  # nothing was begun


@pytest.mark.parametrize("text", ["a" * 200, "ab" * 100, "слово и дело, 你好 🙂\r\n" * 20, "\0\t\n" * 100])
def test_any_text_can_be_trained_on_and_sampled_from(tmp_path, text):
    train(tmp_path, text, steps=2)
    model, config = load_model(tmp_path)
    for prompt in ("", text[:3]):
        written = continue_text(model, config, prompt, tokens=20, temperature=1.0, top_k=None, seed=0)
        assert set(written) <= set(text)
        assert len(written) == 20 + len(prompt)
        assert written.startswith(prompt)


def test_a_prompt_with_an_unknown_character_is_refused_by_name(tmp_path):
    train(tmp_path, steps=1)
    model, config = load_model(tmp_path)
    options = {"tokens": 3, "temperature": 1.0, "top_k": None, "seed": 0}
    with pytest.raises(ValueError, match=r"'X' \(U\+0058\) at position 4"):
        continue_text(model, config, "the X", **options)
    for tokenizer in (None, [], {"type": "char", "characters": "ab"}, {"type": "bpe"}):
        with pytest.raises(ValueError, match="tokenizer"):
            continue_text(model, {**config, "tokenizer": tokenizer}, "", **options)
    with pytest.raises(ValueError, match="tokenizer"):
        continue_text(model, {}, "", **options)


def test_a_run_that_diverges_keeps_the_last_good_weights(tmp_path, monkeypatch):
    calls = count(1)
    loss_of = language.loss_of

    def sometimes_nan(model, ids, targets):
        loss = loss_of(model, ids, targets)
        return loss * math.nan if model.training and next(calls) == 9 else loss

    monkeypatch.setattr(language, "loss_of", sometimes_nan)
    with pytest.raises(Diverged, match="the loss became nan at step 9"):
        train(tmp_path, jitted=False)  # the loss counts its calls, which a recorded step would not
    assert [r["step"] for r in read_metrics(tmp_path / "metrics.jsonl")] == list(range(1, 9))
    assert [r["val_loss"] for r in read_metrics(tmp_path / "metrics.jsonl") if "val_loss" in r]
    model, _ = load_model(tmp_path)  # of step 6
    assert all(np.isfinite(p.array).all() for p in model.parameters())
    image_of(tmp_path / "loss.png")


@pytest.mark.parametrize("steps", [1, 2, 12])
def test_a_rate_beyond_all_measure_never_leaves_broken_weights(tmp_path, steps):
    with pytest.raises(Diverged, match=r"became (nan|inf) at step \d+; a smaller learning rate"):
        train(tmp_path, steps=steps, peak=1e38, warmup_steps=0)
    model, _ = load_model(tmp_path)
    assert all(np.isfinite(p.array).all() for p in model.parameters())


def test_a_disk_that_fills_up_on_the_way_leaves_weights_metrics_and_no_litter(tmp_path, monkeypatch):
    calls = count(1)
    fsync = os.fsync

    def full(handle):
        if next(calls) > 24:  # the folder, two evaluations and a checkpoint went well
            raise OSError(28, "No space left on device")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        train(tmp_path, evaluations=6)
    monkeypatch.undo()
    assert caught.value.filename.startswith(str(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == [name for name in FILES if name != "loss.png"]
    load_model(tmp_path)
    assert read_metrics(tmp_path / "metrics.jsonl")
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-000000002"]


def test_an_earlier_run_in_the_folder_is_replaced(tmp_path):
    train(tmp_path, steps=6)
    train(tmp_path, TEXT.upper(), steps=3)
    assert len(read_metrics(tmp_path / "metrics.jsonl")) == 3
    assert load_model(tmp_path)[1]["tokenizer"]["characters"].isupper()


# --- the MLP ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "accuracy"),
    [("digits", 0.97), ("breast-cancer", 0.94), ("moons", 0.98)],
)
def test_the_default_recipe_reaches_its_accuracy_on_what_it_has_not_seen(tmp_path, name, accuracy):
    last = train_mlp(name, steps=None, seed=0, out=tmp_path)
    assert last["val_accuracy"] >= accuracy
    assert sorted(path.name for path in tmp_path.iterdir()) == FILES
    metrics = read_metrics(tmp_path / "metrics.jsonl")
    assert len(metrics) == last["step"]
    assert metrics[-1]["val_accuracy"] == last["val_accuracy"]
    assert metrics[0]["train_loss"] > 5 * np.mean([r["train_loss"] for r in metrics[-20:]])
    assert all(r["examples_per_second"] > 0 for r in metrics)
    model, config = load_model(tmp_path)
    assert isinstance(model, MLP)
    assert config["data"] == name
    assert "says" in (tmp_path / "sample.txt").read_text()


def test_an_mlp_that_learns_nothing_would_be_seen(tmp_path):
    assert train_mlp("moons", steps=1, seed=0, out=tmp_path)["val_accuracy"] < 0.94


def test_an_mlp_trained_from_the_same_seed_is_the_same(tmp_path):
    for name, seed in [("first", 1), ("again", 1), ("other", 2)]:
        train_mlp("moons", steps=5, seed=seed, out=tmp_path / name)
    first, again, other = (without_speed(tmp_path / name / "metrics.jsonl") for name in ("first", "again", "other"))
    assert first == again != other
