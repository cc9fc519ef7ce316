"""What a model is fine-tuned for: batches, the loss of one, and how well the model does on other texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_ft import nn, ops
from tinygrad_ft.data import PretrainedTokenizer
from tinygrad_ft.finetune.batches import IGNORED, Bucketed, Ids, Masked, NextTokens, blocks
from tinygrad_ft.gradients import no_grad
from tinygrad_ft.tensor import Tensor, tensor
from tinygrad_ft.train.metrics import classification_metrics, perplexity

Measures = dict[str, float]
SHOWN = 5  # texts in a sample


@dataclass(frozen=True)
class Task:
    """A task with its texts.

    Args:
        batches: of the training texts, by number; len() is an epoch's.
        loss_of: loss_of(model, *batch), one number.
        evaluate: measures of a model on the validation texts: loss, and accuracy or perplexity.
        sample: a text that shows what the model makes of some of them, or None.
    """

    batches: Any
    loss_of: Callable[..., Any]
    evaluate: Callable[[nn.Module], Measures]
    sample: Callable[[nn.Module], str] | None = None


# --- classes of texts ------------------------------------------------------------------------------------------------


def classification(
    tokenizer: PretrainedTokenizer,
    train: tuple[Sequence[str], Ids],
    valid: tuple[Sequence[str], Ids],
    classes: Sequence[str],
    *,
    batch_size: int,
    max_length: int,
    seed: int,
) -> Task:
    """Which of the classes a text is of; `train` and `valid` are texts with the numbers of their classes."""
    options: dict[str, Any] = {"max_length": max_length, "batch_size": batch_size}
    held = bucketed(tokenizer, *valid, **options)
    texts = valid[0]

    def sample(model: nn.Module) -> str:
        few = bucketed(tokenizer, texts[:SHOWN], valid[1][:SHOWN], max_length=max_length, batch_size=SHOWN)
        with no_grad():
            chances = ops.softmax(logits_of(model, few))
        lines = zip(chances, valid[1], texts, strict=False)
        return "\n".join(f"says {classes[p.argmax()]} ({p.max():.0%}), is {classes[y]}: {text}" for p, y, text in lines)

    return Task(
        bucketed(tokenizer, *train, seed=seed, **options),
        classification_loss,
        lambda model: measured(logits_of(model, held), valid[1]),
        sample,
    )


def bucketed(
    tokenizer: PretrainedTokenizer,
    texts: Sequence[str],
    labels: Ids,
    *,
    max_length: int,
    batch_size: int,
    seed: int = 0,
) -> Bucketed:
    """Texts as batches; of longer ones the end is cut off."""
    rows = tokenizer.lists(texts, max_length)
    pad = tokenizer.special.get("pad", 0)
    return Bucketed(rows, labels, batch_size=batch_size, max_length=max_length, seed=seed, pad=pad)


def classification_loss(model: nn.Module, ids: Any, mask: Any, labels: Any) -> Any:
    """Mean cross-entropy of the classes, in nats, of rows that have one."""
    return ops.cross_entropy(model(ids, mask), labels, ignore_index=IGNORED)


def logits_of(model: nn.Module, texts: Bucketed) -> np.ndarray[Any, np.dtype[np.float32]]:
    """What a model in evaluation mode says of each text: (texts, classes)."""
    device = next(model.parameters()).device
    found: list[tuple[Ids, Any]] = []
    with no_grad():
        for numbers, (ids, mask, _) in texts.in_order_of_length():
            logits = model(Tensor(ids).to(device), Tensor(mask).to(device))
            found.append((numbers, logits.cpu().numpy_copy()[: len(numbers)]))
    answer = np.empty((len(texts.rows), found[0][1].shape[1]), np.float32)
    for numbers, logits in found:
        answer[numbers] = logits
    return answer


def measured(logits: np.ndarray[Any, Any], labels: Ids) -> Measures:
    """loss in nats, and accuracy, precision, recall and f1 from 0 to 1.

    Of two classes the second is the one that is looked for; of more, each counts alike (macro averages). Where nothing
    is found or nothing was to be found, precision or recall is 0.
    """
    said = classification_metrics(logits.argmax(1), labels, logits.shape[1])
    return {"loss": ops.cross_entropy(tensor(logits), tensor(labels)).item()} | said


# --- running text ----------------------------------------------------------------------------------------------------


def masked_lm(
    tokenizer: PretrainedTokenizer,
    train: Sequence[str],
    valid: Sequence[str],
    *,
    batch_size: int,
    max_length: int,
    seed: int,
) -> Task:
    """Which words are hidden in running text; the lines are laid end to end and cut into blocks of max_length."""
    rows, held = (blocks(tokenizer, lines, max_length, special=True) for lines in (train, valid))
    fixed = Masked(held, tokenizer, batch_size=batch_size, seed=0)  # the same words in each evaluation
    return Task(
        Masked(rows, tokenizer, batch_size=batch_size, seed=seed),
        masked_loss,
        lambda model: _perplexity(model, masked_loss, fixed),
    )


def masked_loss(model: Any, ids: Any, places: Any, targets: Any) -> Any:
    """Mean cross-entropy of the hidden words, in nats, of a BertForMaskedLM; the head sees their places only.

    Shapes: ids (batch, n), places and targets (chosen,), as `batches.Masked` answers them.
    """
    hidden, _ = model.bert(ids)
    chosen = ops.embedding(places, ops.reshape(hidden, (-1, hidden.shape[-1])))
    logits = model.cls(chosen, model.bert.embeddings.word_embeddings.weight)
    return ops.cross_entropy(logits, targets, ignore_index=IGNORED)


def causal_lm(
    tokenizer: PretrainedTokenizer,
    train: Sequence[str],
    valid: Sequence[str],
    *,
    batch_size: int,
    max_length: int,
    seed: int,
) -> Task:
    """Which token comes next in running text, cut into blocks of max_length + 1."""
    rows, held = (blocks(tokenizer, lines, max_length + 1, special=False) for lines in (train, valid))
    fixed = NextTokens(held, batch_size=batch_size, seed=0)
    return Task(
        NextTokens(rows, batch_size=batch_size, seed=seed),
        causal_loss,
        lambda model: _perplexity(model, causal_loss, fixed),
    )


def causal_loss(model: nn.Module, ids: Any, targets: Any) -> Any:
    """Mean cross-entropy of the next token, in nats, of a model that answers logits (batch, n, vocabulary)."""
    logits = model(ids)
    return ops.cross_entropy(ops.reshape(logits, (-1, logits.shape[-1])), ops.reshape(targets, (-1,)))


def _perplexity(model: nn.Module, loss_of: Callable[..., Any], batches: Any) -> Measures:
    """Over one epoch, each target counting alike."""
    device = next(model.parameters()).device
    total = count = 0.0
    with no_grad():
        for i in range(len(batches)):
            batch = batches[i]
            targets = int((batch[-1] != IGNORED).sum())
            if targets:
                total += loss_of(model, *(Tensor(a).to(device) for a in batch)).item() * targets
                count += targets
    if not count:
        raise ValueError("the validation text has no word to ask for: give more of it")
    return {"loss": total / count, "perplexity": perplexity(total / count)}
