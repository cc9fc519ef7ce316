"""Train a text CNN to tell two kinds of texts apart: films liked or not, meals praised or not."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_ft import data, nn, ops, storage
from tinygrad_ft.data.labelled import LabelledTexts, read_labelled
from tinygrad_ft.data.words import PADDING, WordTokenizer
from tinygrad_ft.gradients import no_grad
from tinygrad_ft.models import TextCNN, TextCNNConfig
from tinygrad_ft.models.text_cnn import loss_of
from tinygrad_ft.optim import Adam
from tinygrad_ft.tensor import tensor
from tinygrad_ft.train.callbacks import BestWeights
from tinygrad_ft.train.folder import load_model
from tinygrad_ft.train.metrics import classification_metrics
from tinygrad_ft.train.run import Running, carry_out
from tinygrad_ft.train.trainer import Record

Parts = tuple[LabelledTexts, LabelledTexts, LabelledTexts]
AT_ONCE = 256  # texts, where no gradient is wanted


@dataclass(frozen=True)
class Recipe:
    """How a text CNN is trained. The defaults are the chapter's, and a dropout of a half.

    Source: chapter B, section 7: 10,000 words, 500 to a text, 16 numbers a word, 128 patterns of 5 words, Adam.
    """

    unit: str = "words"
    vocabulary: int = 10_000
    length: int = 500
    width: int = 16
    channels: int = 128
    kernel: int = 5
    dropout: float = 0.5
    epochs: int = 10
    batch_size: int = 32
    lr: float = 1e-3


RECIPES = {"sst2": Recipe(), "waimai": Recipe(unit="characters", length=200)}


def sst2() -> Parts:
    """The Stanford Sentiment Treebank as two classes: 6,920 sentences on films to train on, 872 and 1,821 held out."""
    train, valid, test = (read_labelled(data.fetch(f"sst2_{part}.tsv")) for part in ("train", "dev", "test"))
    return train, valid, test


def waimai(seed: int) -> Parts:
    """Chinese reviews of meals that were delivered, 4,000 that praise and 7,987 that do not, dealt 8:1:1."""
    every = read_labelled(data.fetch("waimai_10k.csv"), text_column="review", label_column="label")
    return dealt(every, seed)


def dealt(every: LabelledTexts, seed: int) -> Parts:
    """The texts of one file dealt into eight, one and one tenths, by chance."""
    places = np.arange(len(every))
    parts = data.split(places, places, (0.8, 0.1, 0.1), rng=np.random.default_rng(seed))
    train, valid, test = (
        LabelledTexts(every.path, *([column[i] for i in part] for column in (every.texts, every.labels, every.lines)))
        for part, _ in parts
    )
    return train, valid, test


def train_text_cnn(
    parts: Parts,
    *,
    recipe: Recipe,
    seed: int,
    out: Path,
    source: str,
    running: Running = Running(),  # noqa: B008 (frozen)
    device: str = "cpu",
) -> dict[str, float]:
    """Train on the first part, evaluate on the second after each epoch, take the weights that were best there, and
    measure them on the third.

    Args:
        source: what the texts are, for the records.

    Returns:
        accuracy, precision, recall and f1 on the third part, from 0 to 1; they are in metrics.json too.

    Raises:
        ValueError: if a part has labels that the first has not, or that has not two of them.
        OSError: if the folder cannot be written.
        Diverged: if the loss is no longer finite.
    """
    train, valid, _ = parts
    classes = train.classes()
    if len(classes) != 2:
        raise ValueError(f"{train.path} has {len(classes)} labels: a text CNN tells two apart; use finetune for more")
    tokenizer = WordTokenizer.train(train.texts, vocabulary=recipe.vocabulary, unit=recipe.unit)
    (x, y), (held_x, held_y), (test_x, test_y) = (
        (encoded(tokenizer, part.texts, recipe.length, recipe.kernel), part.numbered(classes)) for part in parts
    )
    config = TextCNNConfig(tokenizer.vocab_size, recipe.width, recipe.channels, recipe.kernel, recipe.dropout)
    model = TextCNN(config, rng=np.random.default_rng(seed)).to(device)
    batches = data.Shuffled(x, y.astype(np.float32), batch_size=recipe.batch_size, seed=seed)

    def evaluate(last: bool) -> Record:
        logits = logits_of(model, held_x)
        loss = ops.binary_cross_entropy_with_logits(tensor(logits), tensor(held_y.astype(np.float32))).item()
        return {"val_loss": loss} | {f"val_{name}": value for name, value in _measures(logits, held_y).items()}

    def sample() -> str:
        with no_grad():
            chances = 1 / (1 + np.exp(-logits_of(model, held_x[:5])))
        lines = zip(chances, held_y, valid.texts, strict=False)
        return "\n".join(
            f"says {classes[int(p > 0.5)]} ({max(p, 1 - p):.0%}), is {classes[t]}: {text:.60}" for p, t, text in lines
        )

    carry_out(
        out,
        {
            "model": {"kind": "text-cnn", **config.to_dict()},
            "tokenizer": tokenizer.to_dict(),
            "classes": list(classes),
            "recipe": asdict(recipe),
            "seed": seed,
            "data": source,
            "sha256": hashlib.sha256(json.dumps([[p.texts, p.labels] for p in parts]).encode()).hexdigest(),
        },
        model,
        loss_of,
        Adam(model.parameters(), lr=recipe.lr),
        batches,
        steps=recipe.epochs * len(batches),
        schedule=lambda step: 1.0,
        evaluate=evaluate,
        evaluate_every=len(batches),
        running=running,
        unit="texts",
        sample=sample,
        callbacks=(BestWeights(),) if running.patience is None else (),  # with patience, carry_out takes them
    )
    with model.evaluating(), no_grad():
        measures = _measures(logits_of(model, test_x), test_y)
    storage.write_atomically(out / "metrics.json", json.dumps(measures, indent=2) + "\n")
    return measures


def encoded(tokenizer: WordTokenizer, texts: Sequence[str], length: int, kernel: int) -> np.ndarray[Any, Any]:
    """Ids (texts, n) from which a text CNN answers, and learns, as from (texts, length), with the smallest n that does.

    A pattern answers padding alike wherever it stands, and of equal answers one is as good as many: behind the longest
    text one pattern's width of padding is enough.
    """
    ids = tokenizer.encode(texts, length)
    longest = int((ids != PADDING).sum(1).max(initial=0))
    return ids[:, : longest + kernel]


def logits_of(model: nn.Module, ids: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Logits (texts,) of ids (texts, length), some hundreds of texts at once."""
    place = next(model.parameters()).device
    rows = (ids[start : start + AT_ONCE] for start in range(0, len(ids), AT_ONCE))
    found: np.ndarray[Any, Any] = np.concatenate([model(tensor(part).to(place)).cpu().array for part in rows])
    return found


def is_text_cnn(folder: Path) -> bool:
    """Whether a folder holds what `train_text_cnn` leaves."""
    config = storage.read_json(folder / "config.json") if (folder / "config.json").is_file() else None
    model = config.get("model") if isinstance(config, dict) else None
    return isinstance(model, dict) and model.get("kind") == "text-cnn"


def said_by_text_cnn(folder: Path, texts: Sequence[str]) -> list[tuple[str, str, float]]:
    """(text, its likelier class, the chance of that) for each text, by the model in a run's folder.

    Raises:
        OSError: if the folder lacks a file.
        ValueError: if the files in the folder do not fit each other, or a text is empty.
    """
    if not all(text.strip() for text in texts):
        raise ValueError("a text is empty: give one that has words")
    logits, classes = _asked(folder, texts)
    chances = 1 / (1 + np.exp(-logits.astype(np.float64)))
    return [(t, classes[int(p > 0.5)], float(max(p, 1 - p))) for t, p in zip(texts, chances, strict=True)]


def measured_text_cnn(folder: Path, labelled: LabelledTexts) -> dict[str, float]:
    """accuracy, precision, recall and f1 on other texts, from 0 to 1, of the model in a run's folder.

    Raises:
        OSError, ValueError: as `said_by_text_cnn`; ValueError also if a label is none of those trained on.
    """
    logits, classes = _asked(folder, labelled.texts)
    return _measures(logits, labelled.numbered(classes))


def _measures(logits: np.ndarray[Any, Any], sides: np.ndarray[Any, Any]) -> dict[str, float]:
    return classification_metrics((logits > 0).astype(np.int64), sides, 2)


def _asked(folder: Path, texts: Sequence[str]) -> tuple[np.ndarray[Any, Any], list[str]]:
    """Logits (texts,) by the model in a run's folder, and its two classes."""
    model, config = load_model(folder)
    assert isinstance(model, TextCNN)
    tokenizer, classes, length = _described(folder, config, model.config)
    with no_grad():
        return logits_of(model, encoded(tokenizer, texts, length, model.config.kernel)), classes


def _described(folder: Path, config: dict[str, Any], sizes: TextCNNConfig) -> tuple[WordTokenizer, list[str], int]:
    """What else a run's config says that its model needs: how texts become ids, and what the two answers mean."""
    try:
        tokenizer = WordTokenizer.from_dict(config["tokenizer"])
        classes, length = config["classes"], config["recipe"]["length"]
    except KeyError as error:
        raise ValueError(f"{folder / 'config.json'} does not describe a text CNN of ours: no {error}") from None
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{folder / 'config.json'} does not describe a text CNN of ours: {error}") from None
    if tokenizer.vocab_size != sizes.vocabulary:
        raise ValueError(f"{folder}: a tokenizer of {tokenizer.vocab_size} for a model of {sizes.vocabulary}")
    if not isinstance(classes, list) or len(classes) != 2 or not isinstance(length, int) or length < sizes.kernel:
        raise ValueError(
            f"{folder / 'config.json'} does not describe a text CNN of ours: it needs two classes and a length of "
            f"{sizes.kernel} or more, got {classes!r:.60} and {length!r:.20}"
        )
    return tokenizer, classes, length
