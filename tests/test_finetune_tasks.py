"""Tasks: losses against what they stand for, measures against counting by hand, and reports that tell what happened."""

from dataclasses import replace
from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tiny_models import CONFIG, reviews, tokenizer

import tinygrad_ft as tg
from tinygrad_ft import nn, ops
from tinygrad_ft.finetune.batches import IGNORED
from tinygrad_ft.finetune.freeze import freeze
from tinygrad_ft.finetune.report import change_lines, changes, copied, cost_lines, costs
from tinygrad_ft.finetune.tasks import (
    bucketed,
    causal_lm,
    causal_loss,
    classification,
    classification_loss,
    logits_of,
    masked_lm,
    masked_loss,
    measured,
)
from tinygrad_ft.models import GPT, BertForMaskedLM, BertForSequenceClassification, GPTConfig
from tinygrad_ft.models.bert import mean_of_tokens
from tinygrad_ft.optim import AdamW


def classifier(**changes):
    return BertForSequenceClassification(replace(CONFIG, **changes), rng=np.random.default_rng(0)).eval()


def numbers(n, seed=0):
    texts, labels = reviews(n, seed)
    return texts, np.array([label == "pos" for label in labels]).astype(np.int64)


# --- classification --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pooling", ["pooler", "mean"])
def test_a_text_is_judged_alike_in_every_company_and_whatever_the_padding(pooling):
    model = classifier(classifier_pooling=pooling)
    texts, labels = numbers(11)
    together = logits_of(model, bucketed(tokenizer(), texts, labels, max_length=24, batch_size=4))
    for text, logits in zip(texts, together, strict=True):
        ids, _ = tokenizer().encode([text])
        np.testing.assert_allclose(model(tg.tensor(ids)).numpy_copy()[0], logits, atol=1e-5)


def test_mean_pooling_that_counted_padding_would_be_seen():
    hidden, mask = tg.tensor(np.ones((1, 4, 2), np.float32)), tg.tensor(np.array([[1, 1, 0, 0]]))
    np.testing.assert_array_equal(mean_of_tokens(hidden, mask).numpy_copy(), [[1, 1]])
    planted = ops.sum(hidden * ops.reshape((mask != 0).float(), (1, 4, 1)), axis=1) / 4
    assert planted.numpy_copy()[0, 0] == 0.5


def test_padding_rows_count_for_nothing_in_the_loss():
    model = classifier()
    texts, labels = numbers(3)
    full = bucketed(tokenizer(), texts, labels, max_length=24, batch_size=3)[0]
    padded = bucketed(tokenizer(), texts, labels, max_length=24, batch_size=8)[0]
    assert (padded[2] == IGNORED).sum() == 5
    losses = [classification_loss(model, *map(tg.tensor, batch)).item() for batch in (full, padded)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


@given(
    logits=hnp.arrays(
        np.float32, st.tuples(st.integers(1, 20), st.integers(2, 4)), elements=st.floats(-5, 5, width=32)
    ),
    data=st.data(),
)
def test_measures_are_those_counted_by_hand(logits, data):
    n, classes = logits.shape
    labels = data.draw(hnp.arrays(np.int64, n, elements=st.integers(0, classes - 1)))
    found, said = measured(logits, labels), logits.argmax(1)
    assert found["accuracy"] == pytest.approx(np.mean(said == labels))
    scores = []
    for c in [1] if classes == 2 else range(classes):
        right = ((said == c) & (labels == c)).sum()
        precision, recall = (right / max(1, (each == c).sum()) for each in (said, labels))
        scores.append((precision, recall, 2 * precision * recall / (precision + recall) if right else 0.0))
    assert (found["precision"], found["recall"], found["f1"]) == pytest.approx(tuple(np.mean(scores, axis=0)))
    p = np.exp(logits.astype(np.float64))
    expected = -np.mean(np.log((p / p.sum(1, keepdims=True))[np.arange(n), labels]))
    assert found["loss"] == pytest.approx(expected, abs=1e-4)


def test_a_sample_says_what_it_thinks_of_the_first_texts():
    texts, labels = numbers(20)
    task = classification(
        tokenizer(), (texts, labels), (texts, labels), ("neg", "pos"), batch_size=4, max_length=16, seed=0
    )
    lines = task.sample(classifier()).splitlines()
    assert len(lines) == 5
    for line, text, label in zip(lines, texts, labels, strict=False):
        assert line.endswith(f"is {('neg', 'pos')[label]}: {text}") and line.startswith("says ")


def test_the_end_of_a_long_text_is_cut_off_but_not_its_special_tokens():
    words = tokenizer()
    rows = bucketed(words, ["the " * 50], np.array([0]), max_length=16, batch_size=1)[0][0]
    assert rows.shape == (1, 16)
    assert (rows[0, 0], rows[0, -1]) == (words.special["begin"], words.special["end"])


# --- running text ----------------------------------------------------------------------------------------------------


def test_the_loss_of_hidden_words_is_that_of_all_logits_at_their_places():
    model = BertForMaskedLM(CONFIG, rng=np.random.default_rng(0)).eval()
    task = masked_lm(tokenizer(), reviews(40)[0], reviews(20, 1)[0], batch_size=4, max_length=12, seed=0)
    ids, places, targets = map(tg.tensor, task.batches[0])
    logits = model(ids).numpy_copy().reshape(-1, CONFIG.vocab_size)[places.numpy_copy()]
    expected = ops.cross_entropy(tg.tensor(logits), targets, ignore_index=IGNORED).item()
    assert masked_loss(model, ids, places, targets).item() == pytest.approx(expected, abs=1e-5)


def test_a_model_that_knows_nothing_is_as_perplexed_as_there_are_words():
    model = BertForMaskedLM(CONFIG, rng=np.random.default_rng(0)).eval()
    for p in model.parameters():
        p.array[...] = 0
    task = masked_lm(tokenizer(), reviews(40)[0], reviews(20, 1)[0], batch_size=4, max_length=12, seed=0)
    found = task.evaluate(model)
    assert found == {
        "loss": pytest.approx(log(CONFIG.vocab_size)),
        "perplexity": pytest.approx(CONFIG.vocab_size, rel=1e-4),
    }
    assert task.evaluate(model) == found


class Bigrams(nn.Module):
    """Knows which token follows which, from counting."""

    def __init__(self, rows):
        super().__init__()
        counts = np.full((CONFIG.vocab_size, CONFIG.vocab_size), 1e-3)
        for row in rows:
            np.add.at(counts, (row[:-1], row[1:]), 1)
        self.logits = nn.Parameter(np.log(counts / counts.sum(1, keepdims=True)).astype(np.float32))

    def forward(self, ids):
        return ops.embedding(ids, self.logits)


def test_the_perplexity_of_the_next_token_is_that_of_counting():
    lines = ["the film is good .", "the plot is bad ."] * 30
    task = causal_lm(tokenizer(), lines, lines, batch_size=4, max_length=11, seed=0)
    assert task.evaluate(Bigrams([]))["perplexity"] == pytest.approx(CONFIG.vocab_size, rel=1e-3)
    inputs, targets = task.batches[0]
    known = Bigrams([np.array([a, b]) for a, b in zip(inputs.reshape(-1), targets.reshape(-1), strict=True)])
    # Of six tokens, the end included, two are a matter of chance, one in two, and the others are certain.
    assert task.evaluate(known)["perplexity"] == pytest.approx(2 ** (2 / 6), rel=0.05)


def test_the_loss_of_the_next_token_is_that_of_a_gpt():
    from tinygrad_ft.models.gpt import loss_of

    model = GPT(GPTConfig(31, 8, 1, 2, 8), rng=np.random.default_rng(0)).eval()
    ids = np.random.default_rng(1).integers(0, 31, (3, 9))
    inputs, targets = tg.tensor(ids[:, :-1]), tg.tensor(ids[:, 1:])
    assert causal_loss(model, inputs, targets).item() == pytest.approx(loss_of(model, inputs, targets).item(), abs=1e-5)


def test_a_validation_text_without_words_is_refused():
    task = masked_lm(tokenizer(), reviews(9)[0], ["[SEP] [SEP] [SEP]"] * 5, batch_size=4, max_length=4, seed=0)
    with pytest.raises(ValueError, match="no word to ask for"):
        task.evaluate(BertForMaskedLM(CONFIG, rng=np.random.default_rng(0)))


# --- reports ---------------------------------------------------------------------------------------------------------


def test_costs_are_counted():
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    freeze(model, "0.*")
    optimizer = AdamW(model.parameters())
    found = costs(model, optimizer)
    assert (found["parameters"], found["trained_parameters"]) == (26, 10)
    assert (found["weights_bytes"], found["gradients_bytes"], found["optimizer_bytes"]) == (104, 40, 0)
    ops.sum(model(tg.tensor(np.ones((1, 3), np.float32)))).backward()
    optimizer.step()
    assert costs(model, optimizer)["optimizer_bytes"] == 2 * 40 + 2 * 8  # two moments, and a count for each array
    assert cost_lines(found)[0] == "parameters 26, of which 10 are trained (38.462%)"


def test_changes_are_relative_lengths_and_what_stayed_is_named_as_such():
    model = nn.Linear(2, 2)
    model.weight.array[...] = [[3, 0], [0, 4]]
    model.bias.array[...] = 0
    before = copied(model)
    assert changes(model, before) == {"weight": 0.0, "bias": 0.0}
    assert change_lines(changes(model, before)) == ["0 of 2 parameter arrays changed; 2 are as they were, bit for bit"]
    model.weight.array[0, 0] = 4
    model.bias.array[1] = 2
    assert changes(model, before) == {"weight": pytest.approx(0.2), "bias": pytest.approx(2.0)}
    assert change_lines(changes(model, before), shown=1)[1] == "    bias: moved by 200.00% of its length"
