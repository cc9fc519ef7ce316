"""tinygrad-ft finetune, evaluate and predict: whole runs of a tiny model, and every wrong input in one line."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from tiny_models import CONFIG, reviews, write_causal, write_model, write_reviews

import tinygrad_ft as tg
from tinygrad_ft import storage
from tinygrad_ft.cli import main
from tinygrad_ft.finetune.lora import load_lora
from tinygrad_ft.finetune.recipe import Recipe, warmup_linear
from tinygrad_ft.finetune.run import Telling
from tinygrad_ft.models import BertForMaskedLM, BertModel, from_pretrained


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """A folder with a pretrained model, and texts to learn from."""
    folder = tmp_path_factory.mktemp("given")
    (folder / "tiny").mkdir()
    write_model(folder / "tiny")
    for seed, (name, n) in enumerate({"train": 160, "valid": 48, "test": 48}.items()):
        write_reviews(folder / f"{name}.tsv", n, seed)
        (folder / f"{name}.txt").write_text("the film is good .\na very dull plot\n" * n, "utf-8")
    return folder


def command(given, out, *more, end="tsv"):
    parts = [f"--{part}={given / part}.{end}" for part in ("train", "valid", "test")]
    return ["finetune", f"--model={given / 'tiny'}", *parts, f"--out={out}", *map(str, more)]


FAST = ("--lr=0.01", "--freeze", "--pooling=mean", "--epochs=6")


@pytest.fixture(scope="module")
def full(given, tmp_path_factory):
    """A run that has learned the task."""
    out = tmp_path_factory.mktemp("runs") / "full"
    assert main(command(given, out, *FAST)) == 0
    return out


def numbers_in(text):
    return {name: float(value) for name, value in re.findall(r"(\w+) (\d\.\d{4})", text)}


def test_a_run_learns_and_leaves_its_folder_and_a_model_that_anyone_reads(given, full, capsys):
    told = storage.read_json(full / "report.json")
    assert told["test"]["accuracy"] > 0.9
    names = {
        "config.json",
        "metrics.jsonl",
        "model.safetensors",
        "loss.png",
        "sample.txt",
        "checkpoints",
        "model",
        "report.json",
    }
    assert {path.name for path in full.iterdir()} == names
    model = from_pretrained(full / "model")
    assert model.config.labels == ("neg", "pos") and type(model).__name__ == "BertForSequenceClassification"
    assert (full / "model/tokenizer.json").read_bytes() == (given / "tiny/tokenizer.json").read_bytes()
    steps = [json.loads(line)["step"] for line in (full / "metrics.jsonl").read_text().splitlines()]
    assert steps == list(range(1, 61))


def test_evaluate_prints_what_the_run_had_measured(given, full, capsys):
    assert main(["evaluate", f"--model={full}", f"--data={given / 'test.tsv'}"]) == 0
    said = capsys.readouterr().out
    assert "48 texts" in said
    assert numbers_in(said) == pytest.approx(storage.read_json(full / "report.json")["test"], abs=1e-4)


def test_predict_tells_the_classes_of_texts(full, capsys):
    assert main(["predict", f"--model={full / 'model'}", "the film is great", "a very dull plot"]) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [(label, text) for label, _, text in lines] == [("pos", "the film is great"), ("neg", "a very dull plot")]
    assert all(0.5 <= float(chance) <= 1 for _, chance, _ in lines)


def test_a_model_that_answers_nan_tells_nothing(full, tmp_path, capsys):
    folder = tmp_path / "model"
    shutil.copytree(full / "model", folder)
    weights = storage.load(folder / "model.safetensors")
    weights["classifier.bias"].array[0] = np.nan
    storage.save(weights, folder / "model.safetensors")
    assert main(["predict", f"--model={folder}", "the film is great"]) == 1
    said = capsys.readouterr()
    assert said.out == "" and "answers nan or inf: its weights are damaged" in said.err


def test_the_report_says_what_was_trained_what_moved_and_what_is_next(given, tmp_path, capsys):
    assert main(command(given, tmp_path / "out", "--epochs=1")) == 0
    said = capsys.readouterr().out
    found = re.search(r"parameters ([\d,]+), of which ([\d,]+) are trained", said)
    total, trained = (int(number.replace(",", "")) for number in found.groups())
    assert total - trained == sum(p.array.size for p in BertModel(CONFIG).embeddings.parameters())
    assert re.search(r"36 of 41 parameter arrays changed; 5 are as they were, bit for bit", said)
    assert f"next: tinygrad-ft evaluate --model {tmp_path / 'out'} --data {given / 'test.tsv'}" in said
    before, after = (from_pretrained(folder).bert.embeddings for folder in (given / "tiny", tmp_path / "out/model"))
    np.testing.assert_array_equal(before.word_embeddings.weight.array, after.word_embeddings.weight.array)


def test_adapters_are_saved_alone_and_merged_into_the_model(given, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(command(given, out, "--method=lora", "--lora-rank=4", "--epochs=6", "--lr=0.02", "--pooling=mean")) == 0
    assert re.search(r"adapters alone: 0.\d\d MiB", capsys.readouterr().out)
    merged = from_pretrained(out / "model")
    plain = from_pretrained(
        given / "tiny", "BertForSequenceClassification", new=("classifier.*",), ignore=("cls.*",),
        classifier_pooling="mean", labels=("neg", "pos"),
    )  # fmt: skip
    plain.eval()
    adapted = load_lora(plain, out / "adapters.safetensors")
    ids, mask = np.array([[2, 5, 18, 3, 0], [2, 7, 9, 22, 3]]), np.array([[1, 1, 1, 1, 0], [1] * 5])
    answers = [m(tg.tensor(ids), tg.tensor(mask)).numpy_copy() for m in (merged, adapted)]
    np.testing.assert_allclose(*answers, atol=1e-5)
    assert not any("lora" in name for name in merged.state_dict())


def test_a_head_is_learned_from_vectors_that_are_kept(given, tmp_path, capsys, monkeypatch):
    out = tmp_path / "out"
    assert main(command(given, out, "--method=head")) == 0
    first = storage.read_json(out / "report.json")
    assert first["test"]["accuracy"] > 0.55
    assert any(line.startswith("2 of 39 parameter arrays changed") for line in first["lines"])
    monkeypatch.setattr("tinygrad_ft.finetune.run.vectors_of", lambda *_: pytest.fail("the encoder ran once more"))
    assert main(command(given, out, "--method=head")) == 0
    capsys.readouterr()
    assert main(["evaluate", f"--model={out}", f"--data={given / 'test.tsv'}"]) == 0
    assert numbers_in(capsys.readouterr().out) == pytest.approx(first["test"], abs=1e-4)


def test_a_head_is_not_resumed_and_the_reason_is_told(given, tmp_path, capsys):
    assert main(command(given, tmp_path / "out", "--method=head")) == 0
    capsys.readouterr()
    assert main(["finetune", f"--resume={tmp_path / 'out'}"]) == 1
    assert "method head takes no steps" in capsys.readouterr().err


def test_a_head_that_was_learned_is_that_of_scikit_learn(given, tmp_path):
    from sklearn.linear_model import LogisticRegression

    from tinygrad_ft.finetune.asking import Finetuned
    from tinygrad_ft.finetune.head import vectors_of
    from tinygrad_ft.finetune.tasks import bucketed

    assert main(command(given, tmp_path / "out", "--method=head")) == 0
    found = Finetuned.read(str(tmp_path / "out"))
    texts, labels = reviews(160, 0)
    classes = np.array([label == "pos" for label in labels]).astype(np.int64)
    vectors = vectors_of(found.model, bucketed(found.tokenizer, texts, classes, max_length=24, batch_size=16))
    expected = LogisticRegression(max_iter=2000).fit(vectors, classes).predict_proba(vectors)[:, 1]
    np.testing.assert_allclose([c["pos"] for c in found.chances(texts)], expected, atol=1e-3)


@pytest.mark.parametrize("more", [(), ("--from-scratch",)], ids=["pretrained", "from scratch"])
def test_a_language_model_is_tuned_on_plain_text(given, tmp_path, capsys, more):
    out = tmp_path / "out"
    assert main(command(given, out, "--task=mlm", "--epochs=6", "--lr=0.01", "--max-length=16", *more, end="txt")) == 0
    said = capsys.readouterr().out
    model = from_pretrained(out / "model")
    assert isinstance(model, BertForMaskedLM)
    measured = float(re.search(r"test: .*perplexity (\S+)", said).group(1))
    assert measured < 10  # of 26 words
    assert main(["evaluate", f"--model={out}", f"--data={given / 'test.txt'}", "--max-length=16"]) == 0
    assert float(re.search(r"perplexity (\S+)", capsys.readouterr().out).group(1)) == pytest.approx(measured)


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_models_that_write_are_tuned_on_plain_text(given, tmp_path, capsys, kind, method):
    frozen = {"llama": "*embed_tokens*", "gpt2": "*wpe*"}[kind]
    more = (f"--model={write_causal(tmp_path, kind)}", "--lr=0.02", "--max-length=12", "--epochs=4", "--freeze", frozen)
    assert main(command(given, tmp_path / "out", "--task=clm", f"--method={method}", *more, end="txt")) == 0
    said = capsys.readouterr()
    measured = float(re.search(r"test: .*perplexity (\S+)", said.out).group(1))
    assert measured < {"full": 10, "lora": 18}[method]  # of 26 words; adapters leave the table of words as it is
    assert main(["evaluate", f"--model={tmp_path / 'out'}", f"--data={given / 'test.txt'}", "--max-length=12"]) == 0
    assert float(re.search(r"perplexity (\S+)", capsys.readouterr().out).group(1)) == pytest.approx(measured, rel=1e-3)


def test_weights_from_scratch_are_new_and_nothing_is_frozen(given, tmp_path):
    assert main(command(given, tmp_path / "out", "--from-scratch", "--epochs=1", "--lr=1e-9")) == 0
    theirs = from_pretrained(given / "tiny").bert.embeddings.word_embeddings.weight.numpy_copy()
    mine = from_pretrained(tmp_path / "out/model").bert.embeddings.word_embeddings.weight.numpy_copy()
    assert abs(np.corrcoef(theirs.ravel(), mine.ravel())[0, 1]) < 0.2
    assert "(100.000%)" in storage.read_json(tmp_path / "out/report.json")["lines"][0]


# --- resumption ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        ("--unfreeze-at", "3:bert.encoder.layer.1.*", "6:bert.encoder.layer.0.*", "--layerwise-decay=0.9"),
        ("--method=lora", "--lora-dropout=0.1"),
        ("--eager", "--accumulate=2", "--freeze", "bert.encoder.layer.0.*", "*embeddings*"),
    ],
    ids=["unfreezing", "lora", "accumulated"],
)
def test_a_run_that_was_broken_off_ends_with_the_same_bits(given, tmp_path, monkeypatch, options, capsys):
    """Dropout, the order of texts and what is unfrozen go on where they were."""
    (tmp_path / "tiny").mkdir()
    write_model(tmp_path / "tiny", replace(CONFIG, hidden_dropout_prob=0.2, attention_probs_dropout_prob=0.1))
    more = ("--epochs=2", "--lr=0.01", "--checkpoint-every=2", "--eval-steps=4", "--logging-steps=1", *options)
    more = (f"--model={tmp_path / 'tiny'}", *more)
    assert main(command(given, tmp_path / "whole", *more)) == 0

    def cut(telling, trainer, record):
        if trainer.step == 5:
            raise KeyboardInterrupt

    with monkeypatch.context() as power:
        power.setattr(Telling, "stepped", cut)
        assert main(command(given, tmp_path / "cut", *more)) == 130
    assert main(["finetune", f"--resume={tmp_path / 'cut'}"]) == 0
    whole, again = (storage.load(tmp_path / run / "model/model.safetensors") for run in ("whole", "cut"))
    for name, t in whole.items():
        np.testing.assert_array_equal(t.numpy_copy(), again[name].numpy_copy(), err_msg=name)


def test_texts_that_changed_since_are_not_gone_on_with(given, tmp_path, capsys):
    mine = tmp_path / "train.tsv"
    mine.write_bytes((given / "train.tsv").read_bytes())
    assert main(command(given, tmp_path / "out", "--epochs=1", f"--train={mine}")) == 0
    mine.write_text(mine.read_text("utf-8").replace("good", "fine"), "utf-8")
    assert main(["finetune", f"--resume={tmp_path / 'out'}"]) == 1
    assert "was begun with another data" in capsys.readouterr().err


# --- what is wrong, in one line --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--train={given}/no.tsv"], "there is no file .*no.tsv"),
        (["--train={given}/train.txt"], "train.txt is none of .tsv, .csv, .jsonl"),
        (["--train={tmp}/one.tsv"], "one.tsv has the one label 'pos' only"),
        (["--valid={tmp}/odd.tsv"], "odd.tsv:2: the label 'so so' is none of those trained on: 'neg', 'pos'"),
        (["--test={tmp}/latin.tsv"], "latin.tsv:1: not UTF-8 text"),
        (["--text-column=review"], "train.tsv:1: there is no column 'review'"),
        (["--model=gone"], "'gone' is neither a folder or file that exists nor a known model"),
        (["--model={given}"], "has no config.json: a pretrained model's folder has"),
        (["--model={tmp}/gpt3"], "holds a model of type 'gpt3': known here are bert"),
        (["--model={tmp}/bare"], "there is no .*model.safetensors"),
        (["--task=clm"], "which cannot do --task clm, but classification and mlm"),
        (["--freeze", "*embedings*"], "'.embedings.' is the name of no parameter .* near are embeddings"),
        (["--freeze", "*"], "nothing is left to train"),
        (["--unfreeze-at", "bert.*"], "takes STEP:PATTERN.* got"),
        (["--unfreeze-at", "3:nothing.*"], "'nothing..' is the name of no parameter"),
        (["--method=lora", "--lora-rank=99"], "takes a rank from 1 to 16: got 99"),
        (["--method=lora", "--lora-targets", "*.q_proj"], "'..q_proj' is the name of no module: there are"),
        (["--method=lora", "--from-scratch"], "are of method full"),
        (["--method=head", "--task=mlm"], "method head trains a classifier"),
        (["--lr=-1"], "lr and max_norm must be above 0"),
        (["--lr=nan"], "lr and max_norm must be above 0"),
        (["--lr=1e30"], "became (nan|inf)"),
        (["--warmup-steps=999"], "a run of 30 steps needs fewer of warm-up: got 999"),
        (["--layerwise-decay=0"], r"decay must be in \(0, 1\]"),
    ],
)
def test_bad_input_ends_in_one_line_and_exit_code_1(given, tmp_path, capsys, more, message):
    (tmp_path / "one.tsv").write_text("good film\tpos\nnice film\tpos\n", "utf-8")
    (tmp_path / "odd.tsv").write_text("good film\tpos\nnice film\tso so\n", "utf-8")
    (tmp_path / "latin.tsv").write_bytes(b"b\xeate\tpos\n")
    (tmp_path / "gpt3").mkdir()
    (tmp_path / "gpt3/config.json").write_text('{"model_type": "gpt3"}', "utf-8")
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare/config.json").write_bytes((given / "tiny/config.json").read_bytes())
    filled = [option.format(given=given, tmp=tmp_path) for option in more]
    assert main(command(given, tmp_path / "out", *filled)) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("tinygrad-ft: ")]
    assert len(lines) == 1 and re.search(message, lines[0]), lines


def test_missing_options_are_named(capsys):
    assert main(["finetune", "--model", "x"]) == 1
    assert (
        capsys.readouterr().err
        == "tinygrad-ft: finetune needs --train and --valid, or --resume DIR to go on with a run\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate", "--model={given}/tiny", "--data={given}/no.txt"], "there is no file"),
        (["evaluate", "--model={full}", "--data={tmp}/odd.tsv"], "odd.tsv:1: the label 'so so' is none"),
        (
            ["evaluate", "--model={tmp}/encoder", "--data={given}/test.tsv"],
            "a BertModel, which was trained for no task",
        ),
        (["predict", "--model={given}/tiny", "a film"], "a language model, which tells no classes apart"),
        (["predict", "--model={full}", " "], "a text is empty"),
    ],
)
def test_what_cannot_be_measured_or_asked_ends_in_one_line(given, full, tmp_path, capsys, arguments, message):
    (tmp_path / "odd.tsv").write_text("nice film\tso so\n", "utf-8")
    (tmp_path / "encoder").mkdir()
    write_model(tmp_path / "encoder", kind=BertModel)
    assert main([a.format(given=given, full=full, tmp=tmp_path) for a in arguments]) == 1
    said = capsys.readouterr().err
    assert re.search(message, said) and said.count("\n") == 1


# --- recipes ---------------------------------------------------------------------------------------------------------


def test_the_rate_climbs_to_its_peak_and_falls_to_nothing_in_straight_lines():
    rates = [warmup_linear(step, warmup_steps=4, total_steps=12) for step in range(13)]
    assert rates[4] == 1 and rates[12] == 0 and max(rates) == 1
    np.testing.assert_allclose(np.diff(rates[:5]), 0.2)
    np.testing.assert_allclose(np.diff(rates[4:]), -0.125)


def test_the_default_recipe_is_that_of_the_sst2_bar():
    recipe = Recipe()
    assert (recipe.epochs, recipe.batch_size, recipe.rate, recipe.max_norm) == (3, 16, 5e-5, 1.0)
    assert recipe.frozen == ("*embeddings*",) and recipe.warmup(1299) == 100
    assert Recipe(freeze=()).frozen == Recipe(from_scratch=True).frozen == Recipe(task="mlm").frozen == ()


@pytest.mark.parametrize("wrong", [{"task": "dream"}, {"method": "magic"}, {"epochs": 0}, {"eval_steps": 0}])
def test_impossible_recipes_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Recipe(**wrong)


def test_minilm_gets_a_head_for_ones_own_classes(minilm, given, tmp_path, capsys):
    few = tmp_path / "few.tsv"
    few.write_text("\n".join((given / "train.tsv").read_text("utf-8").splitlines()[:24]) + "\n", "utf-8")
    arguments = [f"--{part}={few}" for part in ("train", "valid")]
    assert main(["finetune", "--model=minilm", *arguments, "--method=head", f"--out={tmp_path / 'out'}"]) == 0
    assert main(["predict", f"--model={tmp_path / 'out'}", "a great film"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("pos\t")


@pytest.mark.reference
@pytest.mark.parametrize("method", ["full", "lora"])
def test_transformers_says_the_same_with_a_fine_tuned_model(given, tmp_path, method):
    from huggingface import one_thread, theirs_from

    assert main(command(given, tmp_path / "out", "--epochs=1", "--lr=0.01", f"--method={method}")) == 0
    ids, mask = np.array([[2, 5, 18, 3, 0], [2, 7, 9, 22, 3]]), np.array([[1, 1, 1, 1, 0], [1] * 5])
    mine = from_pretrained(tmp_path / "out/model")(tg.tensor(ids), tg.tensor(mask)).numpy_copy()
    with one_thread() as torch:
        theirs = theirs_from(tmp_path / "out/model", "AutoModelForSequenceClassification")
        logits = theirs(torch.tensor(ids), torch.tensor(mask)).logits.detach().numpy()
    assert theirs.config.id2label == {0: "neg", 1: "pos"}
    np.testing.assert_allclose(mine, logits, atol=1e-5)


@pytest.mark.reference
def test_transformers_misses_the_pooler_of_a_model_that_pools_by_the_mean(full):
    """So that nobody takes its answers for those of the model that was trained."""
    from huggingface import theirs_from

    with pytest.raises(AssertionError, match=r"pooler\.dense\.weight"):
        theirs_from(full / "model", "AutoModelForSequenceClassification")
