"""A text CNN from the command line: which texts it is measured on, what is kept, resumption, and wrong input."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import tinygrad_ft as tg
from tinygrad_ft.cli import main
from tinygrad_ft.data import WordTokenizer, read_labelled
from tinygrad_ft.train import load_model
from tinygrad_ft.train.folder import read_metrics
from tinygrad_ft.train.sentiment import is_text_cnn, measured_text_cnn, said_by_text_cnn

ROOT = Path(__file__).resolve().parents[1]
GOOD, BAD = ("good", "great", "fine", "lovely", "warm"), ("bad", "awful", "poor", "cold", "dull")
PLAIN = ("the", "film", "was", "a", "story", "of", "one", "day", "and", "its", "people")
QUICK = ("--length", 9, "--width", 8, "--epochs", 2, "--lr", 0.01)


@pytest.fixture
def call(capsys):
    """Run one command in this process: (exit code, standard output, standard error)."""

    def called(*argv):
        try:
            code = main([str(word) for word in argv])
        except SystemExit as end:  # argparse's way to leave
            code = end.code
        return code, *capsys.readouterr()

    return called


def rows(count, seed, turned=False):
    """Texts that two of their words decide: (text, yes or no), or the other way round."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(count):
        liked = bool(i % 2)
        words = [*rng.choice(PLAIN, 5), *rng.choice(GOOD if liked else BAD, 2)]
        made.append((" ".join(rng.permutation(words)), "yes" if liked != turned else "no"))
    return made


def write(path, rows, names=("text", "label")):
    """As the kind of file that its name says."""
    with path.open("w", encoding="utf-8", newline="") as file:
        if path.suffix == ".jsonl":
            file.writelines(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows)
        else:
            csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",").writerows([names, *rows])
    return path


@pytest.fixture
def parts(tmp_path):
    """The options that name three files."""
    files = {"train": rows(240, 0), "valid": rows(40, 1), "test": rows(40, 2)}
    named = [(f"--{part}", write(tmp_path / f"{part}.tsv", made)) for part, made in files.items()]
    return [word for option in named for word in option]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run's folder."""
    folder = tmp_path_factory.mktemp("trained")
    texts = write(folder / "texts.csv", rows(400, 0))
    argv = ["train", "text-cnn", "--train", texts, *QUICK, "--epochs", 6, "--out", folder / "run"]
    assert main([str(word) for word in argv]) == 0
    return folder / "run"


def failed(answer, *parts, code=1):
    """It ended with that code, and one line that says all this."""
    got, _, err = answer
    line = err.strip().splitlines()[-1]
    assert got == code
    assert "Traceback" not in err
    assert line.startswith("tinygrad-ft: ") if code == 1 else True
    assert "TINYGRAD_FT_TRACEBACK" not in line  # which is for faults of the program
    assert all(str(part) in line for part in parts), line


def measures_of(folder):
    return json.loads((folder / "metrics.json").read_text())


# --- a run -----------------------------------------------------------------------------------------------------------


def test_the_measures_are_those_of_the_test_file_and_of_no_other(call, parts, tmp_path):
    """A test file whose labels are turned round shows it: what was learned is wrong there, and there only."""
    for name, turned in (("straight", False), ("turned", True)):
        test = write(tmp_path / f"{name}.tsv", rows(40, 2, turned))
        code, said, _ = call(
            "train", "text-cnn", *parts[:4], "--test", test, *QUICK, "--epochs", 6, "--out", tmp_path / name
        )
        assert code == 0
        assert "240 texts to train on, 40 to evaluate, 40 to test" in said
    straight, turned = (measures_of(tmp_path / name)["accuracy"] for name in ("straight", "turned"))
    assert straight > 0.9
    assert turned == pytest.approx(1 - straight)
    assert f"accuracy {turned:.2%}, precision " in said
    records = [[r["val_loss"] for r in read_metrics(tmp_path / n / "metrics.jsonl") if "val_loss" in r]
               for n in ("straight", "turned")]  # fmt: skip
    assert records[0] == records[1]


def test_the_folder_keeps_the_weights_of_the_best_evaluation(call, tmp_path):
    """Evaluated on labels that say the opposite, training can only spoil it: the first epoch's weights stay."""
    out, files = tmp_path / "run", {"train": rows(240, 0), "valid": rows(40, 1, turned=True), "test": rows(40, 2)}
    named = [(f"--{part}", write(tmp_path / f"{part}.csv", made)) for part, made in files.items()]
    argv = [word for option in named for word in option]
    assert call("train", "text-cnn", *argv, *QUICK, "--epochs", 4, "--out", out)[0] == 0
    model, config = load_model(out)
    valid = read_labelled(tmp_path / "valid.csv")
    ids = WordTokenizer.from_dict(config["tokenizer"]).encode(valid.texts, config["recipe"]["length"])
    sides = tg.tensor(valid.numbered(config["classes"]).astype(np.float32))
    losses = [r["val_loss"] for r in read_metrics(out / "metrics.jsonl") if "val_loss" in r]
    loss = tg.nn.functional.binary_cross_entropy_with_logits(model(tg.tensor(ids)), sides).item()
    assert losses[-1] > losses[0] + 0.5  # or the last weights would do as well
    assert loss <= losses[0] + 1e-6


def test_every_option_of_the_recipe_reaches_the_model_and_the_records(call, parts, tmp_path):
    out = tmp_path / "run"
    chosen = {
        "length": 8,
        "width": 3,
        "vocabulary": 20,
        "dropout": 0.25,
        "epochs": 1,
        "lr": 0.002,
        "unit": "characters",
    }
    argv = [word for name, value in chosen.items() for word in (f"--{name}", value)]
    code, _, _ = call("train", "text-cnn", *parts, *argv, "--batch-size", 16, "--seed", 5, "--out", out)
    assert code == 0
    model, config = load_model(out)
    assert {**config["recipe"], "batch_size": 16} == config["recipe"]
    assert chosen.items() <= config["recipe"].items()
    assert config["seed"] == 5
    assert config["tokenizer"]["type"] == "characters"
    assert len(config["tokenizer"]["units"]) == 18
    assert model.embedding.weight.shape == (20, 3)
    assert model.dropout.p == 0.25
    assert {r["lr"] for r in read_metrics(out / "metrics.jsonl")} == {0.002}
    assert max(r["step"] for r in read_metrics(out / "metrics.jsonl")) == 240 / 16


def test_the_same_texts_give_the_same_run_from_every_kind_of_file(call, tmp_path):
    for kind in ("tsv", "csv", "jsonl"):
        path = write(tmp_path / f"texts.{kind}", rows(60, 0))
        assert call("train", "text-cnn", "--train", path, *QUICK, "--epochs", 1, "--out", tmp_path / kind)[0] == 0
    weights = {(tmp_path / kind / "model.safetensors").read_bytes() for kind in ("tsv", "csv", "jsonl")}
    assert len(weights) == 1


def test_another_seed_gives_another_run_and_the_same_seed_the_same(call, parts, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        call("train", "text-cnn", *parts, *QUICK, "--epochs", 1, "--seed", seed, "--out", tmp_path / name)
    a, b, c = ((tmp_path / name / "model.safetensors").read_bytes() for name in "abc")
    assert a == b != c


def test_chinese_reviews_are_read_by_their_characters(call, tmp_path, monkeypatch):
    praise, blame = "好吃快香赞", "难冷慢少贵"
    rng = np.random.default_rng(0)
    made = [(i % 2, "这家外卖" + "".join(rng.choice(list(praise if i % 2 else blame), 3))) for i in range(100)]
    path = write(tmp_path / "waimai_10k.csv", made, names=("label", "review"))
    monkeypatch.setattr("tinygrad_ft.data.fetch", lambda name: tmp_path / name)
    out = tmp_path / "run"
    code, said, _ = call("train", "text-cnn", "--data", "waimai", "--epochs", 1, "--out", out)
    assert code == 0
    assert "waimai: 80 texts to train on, 10 to evaluate, 10 to test" in said
    config = load_model(out)[1]
    assert set(config["tokenizer"]["units"]) == set("这家外卖" + praise + blame)
    assert config["recipe"]["length"] == 200
    assert read_labelled(path, text_column="review").classes() == tuple(config["classes"])


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX's")
def test_a_killed_command_is_resumed_to_the_same_files(call, parts, tmp_path):
    argv = ["train", "text-cnn", *parts, *QUICK, "--epochs", 15, "--checkpoint-every", 3]
    assert call(*argv, "--out", tmp_path / "whole")[0] == 0
    cut = tmp_path / "cut"
    command = [sys.executable, "-m", "tinygrad_ft", *map(str, argv), "--out", str(cut)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 120
        while len(list((cut / "checkpoints").glob("step-*"))) < 2:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert not (cut / "metrics.json").exists()
    assert call("train", "text-cnn", "--resume", cut)[0] == 0
    for name in ("model.safetensors", "sample.txt", "metrics.json"):
        assert (cut / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_texts_are_the_same_from_wherever_they_are_named_until_they_change(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "texts.tsv", rows(60, 0))
    assert call("train", "text-cnn", "--train", path.name, *QUICK, "--out", tmp_path / "run")[0] == 0
    assert call("train", "text-cnn", "--resume", tmp_path / "run")[0] == 0
    made = rows(60, 0)
    write(path, [*made[:-2], (made[-2][0], "yes"), (made[-1][0], "no")])
    code, _, said = call("train", "text-cnn", "--resume", tmp_path / "run")
    assert code == 1
    assert "was begun with another sha256" in said


# --- wrong input -----------------------------------------------------------------------------------------------------


def test_files_to_evaluate_and_test_come_together_and_with_one_to_train_on(call, parts, tmp_path):
    def trained(*more):
        return call("train", "text-cnn", *QUICK, "--out", tmp_path / "run", *more)

    failed(trained(*parts[:4]), "--valid and --test come together")
    failed(trained(*parts[:2], *parts[4:]), "--valid and --test come together")
    failed(trained(*parts[2:]), "--valid needs --train")
    failed(trained("--text-column", "review"), "--text-column needs --train")
    failed(trained("--label-column", "stars"), "--label-column needs --train")
    assert not (tmp_path / "run").exists()


def test_numbers_that_make_no_model_are_refused(call, parts, tmp_path):
    def trained(*more):
        return call("train", "text-cnn", *parts, "--epochs", 1, "--out", tmp_path / "run", *more)

    failed(trained("--dropout", 1), "dropout from 0 to below 1: got 1.0")
    failed(trained("--length", 4), "argument --length: needs 5 or more, got 4", code=2)
    failed(trained("--vocabulary", 2), "argument --vocabulary: needs 3 or more, got 2", code=2)
    failed(trained("--lr", "nan"), "argument --lr: needs 0 or more, got nan", code=2)
    failed(trained("--unit", "syllables"), "--unit", "syllables", code=2)
    assert not (tmp_path / "run").exists()


def test_too_few_texts_to_deal_are_refused(call, tmp_path):
    path = write(tmp_path / "few.tsv", rows(4, 0))
    failed(call("train", "text-cnn", "--train", path, *QUICK, "--out", tmp_path / "run"), "an example in every part")


def test_a_rate_far_too_large_is_told_and_earlier_weights_are_kept(call, parts, tmp_path):
    out = tmp_path / "run"
    failed(call("train", "text-cnn", *parts, *QUICK, "--lr", "1e30", "--out", out), "a smaller learning rate may help")
    assert all(np.isfinite(t.array).all() for t in load_model(out)[0].state_dict().values())
    assert not (out / "metrics.json").exists()


# --- a trained model is asked ----------------------------------------------------------------------------------------


def test_a_trained_model_says_the_class_of_a_text_and_how_sure_it_is(call, trained):
    code, said, _ = call("predict", "--model", trained, "a lovely warm story", "a dull cold day", "unheard")
    assert code == 0
    labels, chances, texts = zip(*(line.split("\t") for line in said.splitlines()), strict=True)
    assert labels[:2] == ("yes", "no")
    assert all(0.5 <= float(chance) <= 1 for chance in chances)
    assert min(map(float, chances[:2])) > float(chances[2])
    assert texts == ("a lovely warm story", "a dull cold day", "unheard")


def test_an_answer_does_not_depend_on_the_texts_beside_it(trained):
    texts = [text for text, _ in rows(300, 3)]
    together, alone = said_by_text_cnn(trained, texts), [said_by_text_cnn(trained, [text])[0] for text in texts[:5]]
    assert [label for _, label, _ in together[:5]] == [label for _, label, _ in alone]
    assert [p for *_, p in together[:5]] == pytest.approx([p for *_, p in alone], rel=1e-5)


def test_evaluate_prints_what_the_run_had_measured_and_other_numbers_for_turned_labels(call, parts, tmp_path):
    out = tmp_path / "run"
    assert call("train", "text-cnn", *parts, *QUICK, "--epochs", 6, "--out", out)[0] == 0
    code, said, _ = call("evaluate", "--model", out, "--data", tmp_path / "test.tsv")
    assert code == 0
    assert said.splitlines() == [
        f"{tmp_path / 'test.tsv'}: 40 texts",
        "  ".join(f"{name} {value:.4f}" for name, value in measures_of(out).items()),
    ]
    turned = write(tmp_path / "turned.tsv", rows(40, 2, turned=True))
    accuracy = measures_of(out)["accuracy"]
    assert f"accuracy {1 - accuracy:.4f}" in call("evaluate", "--model", out, "--data", turned)[1]
    other = write(tmp_path / "other.tsv", [*rows(40, 2), ("a film", "maybe")])
    failed(call("evaluate", "--model", out, "--data", other), f"{other}:42: the label 'maybe' is none of those trained")


def test_the_accuracy_is_the_share_of_texts_whose_likelier_class_is_right(call, parts, tmp_path):
    """Of a model that has hardly learned, whose chances lie about a half."""
    out = tmp_path / "run"
    assert call("train", "text-cnn", *parts, *QUICK, "--epochs", 1, "--lr", 0.006, "--out", out)[0] == 0
    made = rows(200, 4)
    said = said_by_text_cnn(out, [text for text, _ in made])
    assert max(p for *_, p in said) < 0.6
    assert {label for _, label, _ in said} == {"yes", "no"}
    right = np.mean([label == wanted for (_, label, _), (_, wanted) in zip(said, made, strict=True)])
    measures = measured_text_cnn(out, read_labelled(write(tmp_path / "more.tsv", made)))
    assert measures["accuracy"] == pytest.approx(right)


def test_an_empty_text_is_refused(call, trained):
    failed(call("predict", "--model", trained, "good", " "), "a text is empty")


def test_only_a_folder_of_a_text_cnn_is_taken_for_one(trained, tmp_path):
    assert is_text_cnn(trained)
    assert not is_text_cnn(tmp_path)
    (tmp_path / "config.json").write_text('{"model": "text-cnn"}')
    assert not is_text_cnn(tmp_path)


def changed(trained, tmp_path, change):
    """The trained folder with another config.json."""
    config = json.loads((trained / "config.json").read_text())
    change(config)
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").write_bytes((trained / "model.safetensors").read_bytes())
    return tmp_path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("tokenizer"), "no 'tokenizer'"),
        (lambda c: c["tokenizer"]["units"].pop(), "a tokenizer of "),
        (lambda c: c.pop("classes"), "no 'classes'"),
        (lambda c: c["classes"].pop(), "two classes"),
        (lambda c: c.pop("recipe"), "no 'recipe'"),
        (lambda c: c["recipe"].update(length="9"), "length"),
        (lambda c: c["model"].pop("kind") and c["model"].update(kind="text-cnn", kernel=7), "the weights do not fit"),
    ],
    ids=["no tokenizer", "a word less", "no classes", "one class", "no recipe", "no number", "another kernel"],
)
def test_a_damaged_config_is_refused_in_one_line(call, trained, tmp_path, change, message):
    failed(call("predict", "--model", changed(trained, tmp_path, change), "good"), tmp_path, message)
