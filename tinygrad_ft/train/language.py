"""Train a mini-Transformer on a text, character by character."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_ft.data import CharTokenizer, TokenSnippets, token_windows
from tinygrad_ft.gradients import no_grad
from tinygrad_ft.models import GPT, GPTConfig
from tinygrad_ft.models.gpt import loss_of
from tinygrad_ft.optim import AdamW
from tinygrad_ft.optim.lr_scheduler import warmup_cosine
from tinygrad_ft.train.run import Running, carry_out
from tinygrad_ft.train.trainer import Record


@dataclass(frozen=True)
class Recipe:
    """How a GPT is trained. The defaults are nanoGPT's for a CPU: 4 layers, 4 heads, 128 wide, context 64, batch 12.

    Source: nanoGPT (Karpathy, 2022), README, "I only have a macbook", and its config/train_shakespeare_char.py.
    """

    context: int = 64
    layers: int = 4
    heads: int = 4
    width: int = 128
    batch_size: int = 12
    steps: int = 2000
    peak: float = 1e-3
    final: float = 1e-4
    warmup_steps: int = 100
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.1
    max_norm: float = 1.0


RECIPES = {"nano": Recipe(), "tiny": Recipe(context=32, layers=2, heads=2, width=64, batch_size=16, steps=1000)}


def train_transformer(
    text: str,
    *,
    recipe: Recipe,
    seed: int,
    out: Path,
    source: str,
    evaluations: int = 8,
    running: Running = Running(),  # noqa: B008 (frozen)
    device: str = "cpu",
) -> Record:
    """Train on the first nine tenths of a text, evaluate on the last, and leave everything in the folder `out`.

    Args:
        source: what the text is, for the records.
        evaluations: how often on the way the model is evaluated and shows a sample.
        running: checkpoints, resumption, recording; see there.
        device: the name of the device to train on.

    Returns:
        The last record, its val_loss over all of the validation part, in nats a character.

    Raises:
        ValueError: if the text is too short to be cut into training and validation parts of one context each.
        OSError: if the folder cannot be written.
        Diverged: if the loss is no longer finite; the weights of the last evaluation are kept.
    """
    recipe = replace(recipe, warmup_steps=min(recipe.warmup_steps, recipe.steps // 10))
    tokenizer = CharTokenizer.train(text)
    tokens = tokenizer.encode(text)
    cut = int(0.9 * len(tokens))
    training, validation = tokens[:cut], tokens[cut:]
    least = 10 * recipe.context + 1
    if len(validation) <= recipe.context:
        raise ValueError(
            f"the text has {len(text)} characters, but a context of {recipe.context} needs {least}: give a longer one"
        )
    rng = np.random.default_rng(seed)
    config = GPTConfig(tokenizer.vocab_size, recipe.context, recipe.layers, recipe.heads, recipe.width)
    model = GPT(config, rng=rng).to(device)
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    optimizer = AdamW(
        [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}],
        lr=recipe.peak,
        betas=recipe.betas,
    )
    prompt = tokenizer.encode(_beginning(tokenizer))

    def sample() -> str:
        ids = model.generate(prompt, 200, temperature=0.8, rng=np.random.default_rng(seed))
        return tokenizer.decode(ids[len(prompt) :])

    windows = list(token_windows(validation, context=recipe.context, batch_size=recipe.batch_size))
    few = windows[:: -(-len(windows) // 20)]
    return carry_out(
        out,
        {
            "model": {"kind": "gpt", **config.to_dict()},
            "tokenizer": tokenizer.to_dict(),
            "recipe": asdict(recipe),
            "seed": seed,
            "text": source,
            "sha256": hashlib.sha256(text.encode()).hexdigest(),
        },
        model,
        loss_of,
        optimizer,
        TokenSnippets(training, context=recipe.context, batch_size=recipe.batch_size, seed=seed),
        steps=recipe.steps,
        schedule=lambda step: (
            warmup_cosine(
                step, peak=recipe.peak, warmup_steps=recipe.warmup_steps, total_steps=recipe.steps, final=recipe.final
            )
            / recipe.peak
        ),
        evaluate=lambda last: {"val_loss": mean_loss(model, windows if last else few)},
        evaluate_every=max(1, recipe.steps // evaluations),
        running=running,
        unit="tokens",
        per_example=recipe.context,
        max_norm=recipe.max_norm,
        sample=sample,
    )


def mean_loss(model: GPT, windows: Sequence[tuple[Any, Any]]) -> float:
    """Cross-entropy of the next token over those windows, each token counting alike, in nats."""
    with no_grad():
        total = sum(loss_of(model, ids, targets).item() * targets.size for ids, targets in windows)
    return float(total / sum(targets.size for _, targets in windows))


def continue_text(
    model: GPT, config: dict[str, Any], prompt: str, *, tokens: int, temperature: float, top_k: int | None, seed: int
) -> str:
    """The prompt and what a trained model writes after it.

    Raises:
        ValueError: if the prompt has a character that the model has never seen; the message names it. If the config has
            no tokenizer, or one that knows more or fewer characters than the model.
    """
    saved = config.get("tokenizer")
    tokenizer = CharTokenizer.from_dict(saved if isinstance(saved, dict) else {"type": saved})
    if tokenizer.vocab_size != model.config.vocabulary:
        raise ValueError(f"a tokenizer of {tokenizer.vocab_size} characters for a model of {model.config.vocabulary}")
    ids = tokenizer.encode(prompt or _beginning(tokenizer))
    written = model.generate(ids, tokens, temperature=temperature, top_k=top_k, rng=np.random.default_rng(seed))
    return tokenizer.decode(written if prompt else written[1:])


def _beginning(tokenizer: CharTokenizer) -> str:
    """What text is written after if nothing else is asked for: a new line, if the model has seen one."""
    return "\n" if "\n" in tokenizer.characters else tokenizer.characters[0]


__all__ = ["RECIPES", "Recipe", "continue_text", "mean_loss", "train_transformer"]
