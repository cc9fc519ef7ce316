"""Checks before a long run: healthy models pass all of them, and each planted fault is caught by exactly its check."""

from dataclasses import replace
from math import log

import numpy as np
import pytest
from tiny_models import CONFIG, write_causal, write_model, write_reviews

import tinygrad_ft as tg
from tinygrad_ft import nn, ops
from tinygrad_ft.cli import main
from tinygrad_ft.models import GPT, MLP, GPTConfig, MLPConfig, TextCNN, TextCNNConfig, text_cnn
from tinygrad_ft.models.gpt import loss_of as next_token_loss
from tinygrad_ft.ops.random import generator
from tinygrad_ft.train import Callback, language, run
from tinygrad_ft.train import sanity as checks
from tinygrad_ft.train.sanity import Finding, labels_fit, report, sanity

CLASSES, FEATURES, WORDS, LENGTH = 4, 6, 11, 8
X = np.random.default_rng(0).standard_normal((24, FEATURES)).astype(np.float32)
Y = np.arange(24) % CLASSES
TOKENS = np.random.default_rng(1).integers(0, WORDS, (6, LENGTH + 1))
TOKENS[0] = np.arange(LENGTH + 1)  # so that the first rows show many
SENTENCES = np.random.default_rng(2).integers(0, WORDS, (24, LENGTH))
LABELS, INITIAL, GRADIENTS, OVERFITS, APART, REPEATS, FUTURE = (
    "labels and inputs fit",
    "initial loss",
    "gradients reach all",
    "one batch overfits",
    "examples stay apart",
    "evaluation repeats",
    "no view of the future",
)


def rng():
    return np.random.default_rng(3)


def loss_of(model, *batch):
    return ops.cross_entropy(model(*batch[:-1]), batch[-1])


class Net(nn.Module):
    """A healthy classifier of X, which the faults below are planted in."""

    def __init__(self, wide=32, **options):
        super().__init__()
        self.body, self.head = nn.Linear(FEATURES, wide, rng=rng()), nn.Linear(wide, CLASSES, rng=rng())
        self.drop = nn.Dropout(options.get("dropout", 0.0))

    def hidden(self, x):
        return ops.relu(self.body(x))

    def forward(self, x):
        return self.head(self.drop(self.hidden(x)))


class Convolutions(nn.Module):
    """Of several widths over words, the largest of each over the positions."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(WORDS, 8, rng=rng())
        self.convolutions = nn.ModuleList(nn.Conv1d(8, 8, k, rng=rng()) for k in (2, 3))
        self.drop, self.head = nn.Dropout(0.5, rng=rng()), nn.Linear(16, CLASSES, rng=rng())

    def forward(self, ids):
        x = ops.transpose(self.embedding(ids), 1, 2)
        found = [ops.amax(ops.relu(conv(x)), 2) for conv in self.convolutions]
        return self.head(self.drop(ops.concatenate(found, axis=1)))


def gpt(**options):
    return GPT(GPTConfig(WORDS, LENGTH, 2, 2, 16, **options), rng=rng())


def tabular(model, **options):
    return sanity(model, loss_of, (X, Y), CLASSES, **options)


def textual(model, **options):
    return sanity(model, next_token_loss, (TOKENS[:, :-1], TOKENS[:, 1:]), WORDS, causal=True, **options)


def failed(findings):
    return [f.name for f in findings if f.ok is False]


# --- healthy models --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_a_healthy_mlp_passes_every_check(seed):
    model = MLP(MLPConfig((FEATURES, 32, CLASSES), dropout=0.2), rng=np.random.default_rng(seed))
    findings = tabular(model)
    assert [f.name for f in findings if f.ok] == [LABELS, INITIAL, GRADIENTS, OVERFITS, APART, REPEATS]


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_a_healthy_gpt_passes_every_check_and_that_of_the_future(dropout):
    findings = textual(gpt(dropout=dropout))
    assert [f.name for f in findings if f.ok] == [LABELS, INITIAL, GRADIENTS, OVERFITS, APART, REPEATS, FUTURE]


def test_a_healthy_convolutional_net_of_words_passes_every_check():
    assert all(f.ok for f in sanity(Convolutions(), loss_of, (SENTENCES, Y), CLASSES))


def test_batch_norm_passes_and_that_it_mixes_in_training_is_told():
    model = nn.Sequential(nn.Linear(FEATURES, 16, rng=rng()), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, CLASSES))
    findings = tabular(model)
    assert failed(findings) == []
    (apart,) = (f for f in findings if f.name == APART)
    assert "in training, as batch norm makes it: 1; none in evaluation" in apart.measured


def test_an_adapter_and_a_head_that_begin_at_0_pass():
    """Nothing passes them in the first step: that is how LoRA and new heads are made to begin."""

    class Adapted(Net):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(FEATURES, 2, bias=False), nn.Linear(2, 32, bias=False)
            nn.init.zeros_(self.b.weight)
            nn.init.zeros_(self.head.weight)
            self.body.requires_grad_(False)

        def hidden(self, x):
            return ops.relu(self.body(x) + self.b(self.a(x)))

    assert failed(tabular(Adapted())) == []


def test_the_text_cnn_with_its_two_sides_as_floats_passes_every_check():
    model, sides = TextCNN(TextCNNConfig(WORDS, kernel=3), rng=rng()), (Y % 2).astype(np.float32)
    assert all(f.ok for f in sanity(model, text_cnn.loss_of, (SENTENCES, sides), classes=2))
    assert failed(sanity(model, text_cnn.loss_of, (SENTENCES, 0 * sides), classes=2)) == [LABELS]


# --- planted faults --------------------------------------------------------------------------------------------------


class Centred(Net):
    def hidden(self, x):
        h = super().hidden(x)
        return h - ops.mean(h, axis=0)


class SoftmaxOverExamples(Net):
    def forward(self, x):
        return super().forward(x) + ops.softmax(super().forward(x), axis=0)


class FaintlyMixed(Net):
    def forward(self, x):
        return super().forward(x) + 1e-30 * ops.sum(x)  # too little for any output to change


class Shuffles(Net):
    def forward(self, x):
        return super().forward(ops.flip(x, 0))


class Flat(Net):
    def forward(self, x):
        return ops.reshape(super().forward(x), (-1,))


class MixedInTraining(Net):
    def hidden(self, x):
        h = super().hidden(x)
        return h - ops.mean(h, axis=0) if self.training else h


class ForgetsEvaluation(Net):
    def forward(self, x):
        return self.head(ops.dropout(self.hidden(x), 0.1, True))


class Off(nn.Dropout):
    def forward(self, x):
        return ops.dropout(x, self.p, False)


class NeverDrops(Net):
    def __init__(self):
        super().__init__()
        self.drop = Off(0.5)


class Detached(Net):
    def hidden(self, x):
        return super().hidden(x).detach()


class Unused(Net):
    def __init__(self):
        super().__init__()
        self.spare = nn.Linear(2, 2)


class NeverOn(Net):
    """Behind a unit that is never on nothing moves; the rest learns all the same."""

    def __init__(self):
        super().__init__()
        self.dead = nn.Linear(FEATURES, CLASSES)

    def forward(self, x):
        return super().forward(x) + ops.relu(self.dead(x) - 1e6)


class SoftmaxTwice(Net):
    def forward(self, x):
        return ops.softmax(super().forward(x), axis=1)


class TooFaint(Net):
    def hidden(self, x):
        return super().hidden(x * 1e-6)


class Loud(Net):
    def __init__(self):
        super().__init__()
        nn.init.normal_(self.head.weight, std=10.0, rng=rng())


def trained_before():
    model = Net()
    optimizer = tg.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(300):
        optimizer.zero_grad()
        loss_of(model, tg.tensor(X), tg.tensor(Y)).backward()
        optimizer.step()
    return model


@pytest.mark.parametrize(
    ("make", "check", "said"),
    [
        (Centred, APART, "outputs of example 1 depend on the inputs of example 0, in evaluation"),
        (SoftmaxOverExamples, APART, "depend on the inputs of example 0, in evaluation"),
        (FaintlyMixed, APART, "outputs of example 0 have a gradient at the inputs of example 1, in evaluation"),
        (Shuffles, APART, "outputs of example 7 depend on the inputs of example 0"),
        (MixedInTraining, APART, "depend on the inputs of example 0, in training"),
        (ForgetsEvaluation, REPEATS, "two evaluations differ"),
        (NeverDrops, REPEATS, "drops nothing in training: drop"),
        (Detached, GRADIENTS, "none or 0: body.weight, body.bias"),
        (Unused, GRADIENTS, "none or 0: spare.weight, spare.bias"),
        (NeverOn, GRADIENTS, "none or 0: dead.weight, dead.bias"),
        (SoftmaxTwice, OVERFITS, "in 200 steps of Adam with rate"),
        (TooFaint, OVERFITS, "in 200 steps"),
        (Loud, INITIAL, f"and ln(4) = {log(4):.3f}"),
        (trained_before, INITIAL, f"and ln(4) = {log(4):.3f}"),
    ],
)
def test_a_fault_in_a_classifier_is_caught_by_its_check_and_by_no_other(make, check, said):
    findings = tabular(make())
    if make is Shuffles:  # whose labels are another's, which is learned by heart as well
        assert APART in failed(findings)
    else:
        assert failed(findings) == [check]
    (finding,) = (f for f in findings if f.name == check)
    assert said in finding.measured


def test_batch_norm_that_keeps_no_statistics_mixes_in_use_and_is_caught():
    model = nn.Sequential(
        nn.Linear(FEATURES, 32), nn.BatchNorm1d(32, track_running_stats=False), nn.Linear(32, CLASSES)
    )
    assert failed(tabular(model)) == [APART]


def test_outputs_that_are_not_one_row_an_example_are_told():
    def reshaped(model, x, y):
        return ops.cross_entropy(ops.reshape(model(x), (-1, CLASSES)), y)

    findings = sanity(Flat(), reshaped, (X, Y), CLASSES)
    assert failed(findings) == [APART]
    assert "an output of shape (32,) for 8 examples" in next(f for f in findings if f.name == APART).measured


class SeesTheFuture(GPT):
    def forward(self, ids):
        x = self.wte(ids) + self.wpe.weight[: ids.shape[-1]]
        for block in self.blocks:
            x = block(x)
        return ops.linear(self.norm(x), self.wte.weight, None)


class SeesTheNext(GPT):
    def forward(self, ids):
        logits = super().forward(ids)
        return logits + 0.01 * ops.roll(logits, -1, 1)


class SeesTheMean(GPT):
    def forward(self, ids):
        logits = super().forward(ids)
        return logits - ops.mean(logits, axis=1, keepdims=True)


class AttendsOverExamples(GPT):
    def forward(self, ids):
        x = self.wte(ids) + self.wpe.weight[: ids.shape[-1]]
        for block in self.blocks:
            x = ops.transpose(block(ops.transpose(x, 0, 1)), 0, 1)
        return ops.linear(self.norm(x), self.wte.weight, None)


@pytest.mark.parametrize(
    ("kind", "check", "said"),
    [
        (SeesTheFuture, FUTURE, "output 0 depends on token 1 or later ones"),
        (SeesTheNext, FUTURE, "output 0 depends on token 1 or later ones"),
        (SeesTheMean, FUTURE, "output 0 depends on token 1 or later ones"),
        (AttendsOverExamples, APART, "depend on the inputs of example 0, in evaluation"),
    ],
)
def test_a_fault_in_a_language_model_is_caught_by_its_check_and_by_no_other(kind, check, said):
    findings = textual(kind(GPTConfig(WORDS, LENGTH, 2, 2, 16), rng=rng()))
    assert failed(findings) == [check]
    (finding,) = (f for f in findings if f.name == check)
    assert said in finding.measured


def test_a_gradient_that_is_not_finite_is_told_with_its_parameter():
    class Root(Net):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(np.zeros(1, np.float32))

        def forward(self, x):
            return super().forward(x) + ops.sqrt(self.scale)  # whose derivative at 0 is infinite

    findings = tabular(Root())
    (gradients,) = (f for f in findings if f.name == GRADIENTS)
    assert gradients.ok is False
    assert "not finite: " in gradients.measured
    assert "scale" in gradients.measured


def test_a_model_with_nothing_to_train_is_told():
    findings = tabular(Net().requires_grad_(False))
    assert failed(findings) == [GRADIENTS, OVERFITS]


# --- labels ----------------------------------------------------------------------------------------------------------

WHOLE = X.copy()
SPOILT = X.copy()
SPOILT[3, 2] = np.nan


@pytest.mark.parametrize(
    ("batch", "said"),
    [
        ((X, Y + 1), "labels from 1 to 4, where 4 classes end at 3"),
        ((X, Y - 1), "labels from -1 to 2"),
        ((X, Y[:-1]), "arrays of 24, 23 rows"),
        ((X, Y * 0), "1 class only"),
        ((SPOILT, Y), "not finite"),
        ((X, Y.astype(np.float32)), "labels of float32"),
    ],
)
def test_wrong_labels_are_caught_by_their_check_and_the_loss_is_then_not_measured(batch, said):
    findings = sanity(Net(), loss_of, batch, CLASSES)
    assert failed(findings) == [LABELS]
    assert said in findings[0].measured
    assert [f.name for f in findings if f.ok is None] == [INITIAL, GRADIENTS, OVERFITS]


@pytest.mark.parametrize(("targets", "share"), [(TOKENS[:, :-1], "100%"), (np.roll(TOKENS, -2, 1)[:, :-1], "0%")])
def test_tokens_that_were_not_shifted_by_one_are_caught(targets, share):
    findings = sanity(gpt(), next_token_loss, (TOKENS[:, :-1], targets), WORDS, causal=True)
    assert failed(findings) == [LABELS]
    assert "labels that are the next input in" in findings[0].measured
    assert ("same input in 100%" in findings[0].measured) == (share == "100%")


def test_labels_that_are_to_be_ignored_and_labels_of_regression_are_no_fault():
    labels = np.where(np.arange(24) < 4, -100, Y)
    assert failed(sanity(Net(), loss_of, (X, labels), CLASSES)) == []
    shifted = np.where(np.arange(LENGTH) < 3, -100, TOKENS[:, 1:])
    assert labels_fit((TOKENS[:, :-1], shifted), WORDS, causal=True).ok

    def squares(model, x, y):
        return ops.mean((model(x)[:, 0] - y) ** 2)

    findings = sanity(Net(), squares, (X, X[:, 0] ** 2))
    assert failed(findings) == []
    assert [f.name for f in findings if f.ok is None] == [INITIAL]


# --- manners ---------------------------------------------------------------------------------------------------------


def everything(model, arrays):
    """All that a check must leave alone, as something to compare."""
    generators = [generator(), *(m.rng for m in model.modules() if getattr(m, "rng", None))]
    return (
        [a.tobytes() for a in arrays],
        {name: t.array.tobytes() for name, t in model.state_dict().items()},
        {name: None if p.grad is None else p.grad.array.tobytes() for name, p in model.named_parameters()},
        [id(p.array) for p in model.parameters()],
        [m.training for m in model.modules()],
        [repr(g.bit_generator.state) for g in generators],
    )


@pytest.mark.parametrize("training", [True, False])
def test_nothing_of_the_callers_changes(training):
    model = nn.Sequential(
        nn.Linear(FEATURES, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Dropout(0.3, rng=rng()), nn.Linear(8, CLASSES)
    )
    loss_of(model, tg.tensor(X), tg.tensor(Y)).backward()
    model.train(training)
    before = everything(model, (X, Y))
    first = tabular(model)
    assert everything(model, (X, Y)) == before
    assert tabular(model) == first
    words = gpt(dropout=0.1)
    before = everything(words, (TOKENS,))
    textual(words)
    assert everything(words, (TOKENS,)) == before


def test_a_model_that_answers_several_arrays_and_takes_none_for_an_input_is_checked():
    class Two(Net):
        def forward(self, x, mask):
            h = self.hidden(x)
            return {"logits": self.head(h), "hidden": (h, None)}

    findings = sanity(Two(), lambda m, x, mask, y: ops.cross_entropy(m(x, mask)["logits"], y), (X, None, Y), CLASSES)
    assert failed(findings) == []
    assert all(f.ok for f in findings)


def test_examples_that_are_all_the_same_leave_open_whether_they_are_mixed():
    same = np.ones_like(X)
    findings = sanity(Centred(), loss_of, (same, Y), CLASSES)
    (apart,) = (f for f in findings if f.name == APART)
    assert apart.ok is None
    assert "all the same" in apart.measured


def test_the_report_says_below_a_failure_what_was_expected_and_what_to_do():
    findings = [
        Finding("first", True, "1", "one", "nothing"),
        Finding("second one", False, "3", "two", "subtract 1"),
        Finding("third", None, "not measured", "three", "measure"),
    ]
    assert report(findings).splitlines() == [
        "ok      first       1",
        "FAILED  second one  3",
        "        expected    two",
        "        what to do  subtract 1",
        "open    third       not measured",
        "3 checks: 1 ok, 1 failed, 1 open",
    ]


# --- the command -----------------------------------------------------------------------------------------------------

TEXT = "the cat sat on the mat. the dog sat on the cat.\n" * 30


@pytest.fixture
def call(capsys, monkeypatch, tmp_path):
    """Run `tinygrad-ft sanity ...` with small models, and see that it writes nothing."""
    small = replace(language.RECIPES["tiny"], context=8, layers=1, heads=1, width=16)
    monkeypatch.setitem(language.RECIPES, "nano", small)
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    out = tmp_path / "run"

    def called(*words):
        code = main(["sanity", *map(str, words), "--out", str(out)])
        assert not out.exists()
        return code, *capsys.readouterr()

    return called


@pytest.mark.parametrize("data", ["moons", "breast-cancer"])
def test_the_command_checks_the_net_and_the_data_that_train_would_take(call, data):
    code, out, err = call("mlp", "--data", data)
    assert (code, err) == (0, "")
    assert out.endswith("6 checks: 6 ok\n")
    assert "64 rows, 2 different labels" in out


def test_the_command_checks_a_transformer_on_a_text_of_ones_own(call, tmp_path):
    code, out, err = call("transformer", "--text", tmp_path / "text.txt")
    assert (code, err) == (0, "")
    assert "no view of the future  checked before 7 of 8 tokens" in out
    assert out.endswith("7 checks: 7 ok\n")


def test_the_command_checks_the_model_and_the_first_batch_of_the_training_itself(monkeypatch, tmp_path):
    seen = []

    def noted(model, loss_of, batch, *others, **options):
        seen.append(({n: t.array.copy() for n, t in model.state_dict().items()}, batch))
        return []

    monkeypatch.setattr(checks, "sanity", noted)
    monkeypatch.setattr(checks, "report", lambda findings: "")
    assert main(["sanity", "mlp", "--data", "moons", "--seed", "5"]) == 0
    ((state, batch),) = seen

    class Stop(Callback):
        def started(self, trainer):
            assert all((t.array == state[n]).all() for n, t in trainer.model.state_dict().items())
            assert all((a == b).all() for a, b in zip(trainer.batches[0], batch, strict=True))
            seen.append("the training")
            trainer.stop("seen")

    monkeypatch.setattr(run, "Interruption", Stop)
    assert main(["train", "mlp", "--data", "moons", "--seed", "5", "--out", str(tmp_path / "out")]) == 0
    assert seen[1:] == ["the training"]


@pytest.mark.parametrize("words", [("mlp", "--data", "moons"), ("transformer", "--preset", "nano")])
def test_a_fault_is_told_by_the_command_and_its_exit_code(call, monkeypatch, words, tmp_path):
    loud, start = nn.Linear.forward, nn.LayerNorm.forward
    monkeypatch.setattr(nn.Linear, "forward", lambda self, x: loud(self, x) * 20)
    monkeypatch.setattr(nn.LayerNorm, "forward", lambda self, x: start(self, x) * 200)
    code, out, _ = call(*words, *(["--text", tmp_path / "text.txt"] if words[0] == "transformer" else []))
    assert code == 1
    assert "FAILED  initial loss" in out
    assert "what to do" in out


@pytest.fixture
def files(tmp_path):
    """The words that name some reviews to fine-tune on."""
    names = [f"--{part}={write_reviews(tmp_path / f'{part}.tsv', 40)}" for part in ("train", "valid")]
    return [*names, "--max-length", "16"]


@pytest.mark.parametrize("words", [(), ("--method", "lora", "--pooling", "mean")], ids=["full", "lora"])
def test_the_command_checks_a_fine_tuning_with_what_is_frozen_and_adapted(call, files, tmp_path, words):
    tiny = replace(CONFIG, hidden_dropout_prob=0.1)
    code, out, err = call("finetune", "--model", write_model(tmp_path, tiny), *files, *words)
    assert (code, err) == (0, "")
    assert "16 rows, 2 different labels" in out
    assert "two trainings differ" in out
    assert out.endswith("6 checks: 6 ok\n")


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_a_pretrained_language_model_is_checked_but_for_its_first_loss(call, files, tmp_path, kind):
    code, out, err = call("finetune", "--model", write_causal(tmp_path, kind), "--task", "clm", *files)
    assert err == ""
    assert "open    initial loss           not measured" in out
    assert "ok      no view of the future" in out
    assert (code, out.splitlines()[-1]) == (0, "7 checks: 6 ok, 1 open")


@pytest.mark.parametrize("words", [("--task", "mlm"), ("--method", "head")])
def test_what_the_command_cannot_check_it_refuses_in_one_line(call, words):
    code, out, err = call("finetune", "--model", "minilm", "--train", "a.tsv", "--valid", "b.tsv", *words)
    assert (code, out) == (1, "")
    assert err.startswith("tinygrad-ft: sanity has no checks for " + " ".join(words))
    assert err.count("\n") == 1


def test_wrong_files_are_told_as_in_a_training(call, tmp_path):
    code, _, err = call("transformer", "--text", tmp_path / "none.txt")
    assert code == 1
    assert "none.txt" in err
    assert err.count("\n") == 1
