"""The text CNN: shapes, gradients, PyTorch's numbers, and that it learns from files on the command line."""

import json

import numpy as np
import pytest

import tinygrad_ft as tg
from tinygrad_ft import ops
from tinygrad_ft.cli import main
from tinygrad_ft.data import WordTokenizer
from tinygrad_ft.models import TextCNN, TextCNNConfig
from tinygrad_ft.models.text_cnn import loss_of
from tinygrad_ft.testing import assert_gradients
from tinygrad_ft.train import load_model
from tinygrad_ft.train.folder import read_metrics
from tinygrad_ft.train.sentiment import dealt, encoded, sst2, waimai

SMALL = TextCNNConfig(vocabulary=20, width=4, channels=6, kernel=3, dropout=0.0)


@pytest.fixture
def call(capsys):
    def called(*argv):
        code = main([str(word) for word in argv])
        return code, *capsys.readouterr()

    return called


@pytest.fixture
def reviews(tmp_path):
    """Labelled texts in which a word or two decides."""
    rng = np.random.default_rng(0)
    good, bad = (["good", "great", "fine", "lovely", "warm"], ["bad", "awful", "poor", "cold", "dull"])
    plain = ["the", "film", "was", "a", "story", "of", "one", "day", "and", "its", "people"]
    lines = ["text\tlabel"]
    for i in range(400):
        words = [*rng.choice(plain, 5), *rng.choice(good if i % 2 else bad, 2)]
        lines.append(" ".join(rng.permutation(words)) + f"\t{'yes' if i % 2 else 'no'}")
    path = tmp_path / "reviews.tsv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_logits_are_those_of_pytorch_with_the_same_weights(rng):
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    model = TextCNN(SMALL, rng=rng)
    model.conv.bias.array[...] = rng.standard_normal(6) * 0.1  # so that ReLU has something to cut off
    ids = rng.integers(0, 20, (5, 9))
    w = {name: torch.tensor(t.numpy_copy()) for name, t in model.state_dict().items()}
    x = F.conv1d(
        F.embedding(torch.tensor(ids), w["embedding.weight"]).transpose(1, 2), w["conv.weight"], w["conv.bias"]
    )
    theirs = F.linear(F.relu(x).amax(2), w["output.weight"], w["output.bias"]).squeeze(1)
    np.testing.assert_allclose(model(tg.tensor(ids)).array, theirs.numpy(), rtol=1e-5, atol=1e-6)


def test_padding_behind_the_longest_text_changes_neither_answers_nor_gradients(rng):
    tokenizer = WordTokenizer.train(["a b c d e f"])
    texts = ["a b c", "d e f a b", "c"]
    short, whole = encoded(tokenizer, texts, 40, SMALL.kernel), tokenizer.encode(texts, 40)
    assert short.shape == (3, 5 + SMALL.kernel)
    model = TextCNN(SMALL, rng=rng).to("float64")
    model.embedding.weight.array[0] *= 3  # so that padding gives some channels their largest answer

    def answered(ids):
        model.zero_grad()
        logits = model(tg.tensor(ids))
        ops.sum(logits * logits).backward()
        return [logits.array, *(p.grad.array for p in model.parameters())]

    for one, other in zip(answered(short), answered(whole), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14)
    fewer = answered(short[:, :-1])  # the planted fault: no pattern sees padding alone behind the longest text
    assert np.abs(fewer[0] - answered(whole)[0]).max() > 1e-3
    assert encoded(tokenizer, texts, 4, SMALL.kernel).shape == (3, 4)  # never longer than asked for


def test_its_gradients_are_right(rng):
    model = TextCNN(SMALL, rng=rng).to("float64")
    assert_gradients(model, tg.tensor(rng.integers(0, 20, (4, 8))), order=1)  # of second order it has jumps


def test_only_patterns_that_are_found_count(rng):
    model = TextCNN(SMALL, rng=rng)
    model.conv.bias.array[...] = -10.0
    model.output.bias.array[...] = 0.25
    assert model(tg.tensor(rng.integers(0, 20, (5, 9)))).array.tolist() == [0.25] * 5


def test_patterns_are_dropped_in_training_only(rng):
    model = TextCNN(TextCNNConfig(20, 4, 64, 3, dropout=0.5), rng=rng)
    model.conv.bias.array[...] = 1.0
    model.output.weight.array[...] = 1.0
    ids = tg.tensor(rng.integers(0, 20, (1, 9)))
    logits = [model(ids).item() for _ in range(400)]
    with model.evaluating():
        whole = model(ids).item()
        assert model(ids).item() == whole
    assert np.std(logits) > 0.05 * whole
    assert np.mean(logits) == pytest.approx(whole, rel=0.05)


def test_a_text_as_long_as_a_pattern_will_do_and_a_shorter_one_is_refused(rng):
    model = TextCNN(SMALL, rng=rng)
    assert model(tg.tensor(np.zeros((2, 3), np.int64))).shape == (2,)
    for shape in ((2, 2), (3,)):
        with pytest.raises(ValueError, match=r"n at least its kernel 3: got \("):
            model(tg.tensor(np.zeros(shape, np.int64)))


@pytest.mark.parametrize("options", [{"width": 0}, {"kernel": 2.5}, {"dropout": 1.0}, {"dropout": "half"}])
def test_a_config_that_makes_no_model_is_refused(options):
    with pytest.raises(ValueError, match=f"needs {next(iter(options))}"):
        TextCNNConfig(**options)


def test_the_loss_starts_at_that_of_knowing_nothing(rng):
    ids, sides = rng.integers(0, 20, (64, 12)), rng.integers(0, 2, 64).astype(np.float32)
    assert loss_of(TextCNN(SMALL, rng=rng), tg.tensor(ids), tg.tensor(sides)).item() == pytest.approx(
        np.log(2), abs=0.05
    )


def test_a_command_trains_on_a_file_and_answers_for_new_texts(call, reviews, tmp_path):
    out = tmp_path / "run"
    code, said, _ = call(
        "train", "text-cnn", "--train", reviews, "--length", 12, "--epochs", 8, "--lr", 5e-3, "--out", out
    )
    assert code == 0
    assert "320 texts to train on, 40 to evaluate, 40 to test" in said
    measures = json.loads((out / "metrics.json").read_text())
    assert set(measures) == {"accuracy", "precision", "recall", "f1"}
    assert measures["accuracy"] > 0.95
    records = [r for r in read_metrics(out / "metrics.jsonl") if "val_loss" in r]
    assert {"val_accuracy", "val_precision", "val_recall", "val_f1"} <= records[-1].keys()
    assert len(records) == 8
    model, config = load_model(out)
    assert isinstance(model, TextCNN)
    assert config["classes"] == ["no", "yes"]
    code, said, _ = call("predict", "--model", out, "a lovely warm story", "a dull cold day")
    assert [line.split("\t")[0] for line in said.splitlines()] == ["yes", "no"]


def test_labels_that_say_nothing_teach_nothing(call, reviews, tmp_path):
    header, *lines = reviews.read_text().splitlines()
    rng = np.random.default_rng(1)
    texts = [f"{line.split(chr(9))[0]}\t{rng.choice(['no', 'yes'])}" for line in lines]
    reviews.write_text("\n".join([header, *texts]) + "\n")
    call(
        "train", "text-cnn", "--train", reviews, "--length", 12, "--epochs", 8, "--lr", 5e-3, "--out", tmp_path / "run"
    )
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["accuracy"] < 0.8


def test_a_recorded_run_is_the_eager_run_to_rounding(call, reviews, tmp_path):
    for name, more in (("jit", []), ("eager", ["--eager"])):
        call("train", "text-cnn", "--train", reviews, "--length", 12, "--epochs", 1, "--out", tmp_path / name, *more)
    losses = [[r["train_loss"] for r in read_metrics(tmp_path / n / "metrics.jsonl")] for n in ("jit", "eager")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def failed(answer, *parts):
    code, _, err = answer
    line = err.strip().splitlines()[-1]
    assert code == 1
    assert line.startswith("tinygrad-ft: ")
    assert all(str(part) in line for part in parts), line


def test_files_that_will_not_do_are_refused_in_one_line(call, reviews, tmp_path):
    def trained(*more):
        return call("train", "text-cnn", "--length", 12, "--out", tmp_path / "run", *more)

    failed(trained("--train", tmp_path / "none.tsv"), "none.tsv")
    one = tmp_path / "one.tsv"
    one.write_text("text\tlabel\n" + "a good film\tyes\n" * 30)
    failed(trained("--train", one), "the one label 'yes' only")
    three = tmp_path / "three.tsv"
    three.write_text("text\tlabel\n" + "a film\tyes\nb film\tno\nc film\tmaybe\n" * 30)
    failed(trained("--train", three), "has 3 labels: a text CNN tells two apart")
    failed(trained("--train", reviews, "--valid", three, "--test", reviews), "maybe", "none of those trained on")
    failed(trained("--train", reviews, "--text-column", "review"), "review")
    assert not (tmp_path / "run").exists()


def test_the_real_reviews_are_dealt_without_loss_or_overlap(data_folder):
    every = [len(part) for part in sst2()]
    assert every == [6920, 872, 1821]
    train, valid, test = waimai(0)
    assert [len(part) for part in (train, valid, test)] == [9590, 1198, 1199]
    lines = [line for part in (train, valid, test) for line in part.lines]
    assert len(set(lines)) == 11987
    again = dealt(train, 0)
    assert sum(len(part) for part in again) == len(train)
    assert train.classes() == ("0", "1")
