"""How a model is fine-tuned: a recipe, and what follows from it for the model, the optimiser and the rate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Any

from tinygrad_ft.finetune.freeze import ProgressiveUnfreezing, freeze, layerwise_groups
from tinygrad_ft.finetune.lora import add_lora, usual_targets
from tinygrad_ft.optim import AdamW

TASKS, METHODS = ("classification", "mlm", "clm"), ("full", "head", "lora")
RATES = {"full": 5e-5, "head": 5e-5, "lora": 1e-3}  # adapters begin at 0 and are few: they take larger steps
FROZEN = ("*embeddings*",)  # most of a small BERT's parameters, and fine-tuning hardly needs them
HEADS = {"classification": ("classifier.*",), "mlm": (), "clm": ()}


@dataclass(frozen=True)
class Recipe:
    """What a run does. The defaults are for a small BERT and some thousand texts: AdamW, warm-up, then linearly to 0.

    Args:
        method: "full" trains all that is not frozen, "lora" adapters and a new head, "head" a logistic regression.
        lr: the rate of the head; None means that of the method in RATES.
        max_length: of longer texts the end is cut off; running text is cut into blocks of it.
        warmup_steps: None means 100, or a tenth of the steps if that is less.
        freeze: patterns of names that get no gradient; None means FROZEN for a pretrained classifier that is trained in
            full, and nothing otherwise.
        unfreeze_at: (step, pattern): what is frozen until so many steps are taken.
        layerwise_decay: each layer nearer the input has the rate of the next one times this.
        pooling: what a classifier sees: "pooler" as Hugging Face's BERT, or "mean".
        lora_targets: patterns of the names of modules that get adapters; None means those of queries and values.

    Raises:
        ValueError: if a number or a word is none of those possible.

    Sources: Devlin et al., "BERT", 2019, appendix A.3; Mosbach et al., "On the Stability of Fine-tuning BERT", 2021.
    """

    task: str = "classification"
    method: str = "full"
    epochs: int = 3
    lr: float | None = None
    batch_size: int = 16
    max_length: int = 128
    warmup_steps: int | None = None
    weight_decay: float = 0.01
    max_norm: float = 1.0
    eval_steps: int | None = None
    freeze: tuple[str, ...] | None = None
    unfreeze_at: tuple[tuple[int, str], ...] = ()
    layerwise_decay: float = 1.0
    pooling: str = "pooler"
    from_scratch: bool = False
    lora_rank: int = 8
    lora_alpha: float = 16.0
    lora_targets: tuple[str, ...] | None = None
    lora_dropout: float = 0.0

    def __post_init__(self) -> None:
        for name, value, known in (("task", self.task, TASKS), ("method", self.method, METHODS)):
            if value not in known:
                raise ValueError(f"{name} is one of {', '.join(known)}: got {value!r}")
        for name in ("epochs", "batch_size", "max_length", "eval_steps"):
            count = getattr(self, name)
            if count is not None and count < 1:
                raise ValueError(f"{name} must be at least 1: got {count}")
        if not (0 < self.rate < inf and 0 <= self.weight_decay < inf and self.max_norm > 0):
            raise ValueError(
                "lr and max_norm must be above 0 and weight_decay at least 0: "
                f"got {self.rate}, {self.max_norm} and {self.weight_decay}"
            )
        if self.method == "head" and (self.task != "classification" or self.from_scratch):
            raise ValueError("method head trains a classifier on a pretrained encoder: take method full")
        if self.method == "lora" and (self.from_scratch or self.unfreeze_at or self.layerwise_decay < 1):
            raise ValueError(
                "method lora trains adapters of a pretrained model, all of them at one rate: from_scratch, unfreeze_at "
                "and layerwise_decay are of method full"
            )

    @property
    def rate(self) -> float:
        """The rate that the head is trained at."""
        return RATES[self.method] if self.lr is None else self.lr

    @property
    def frozen(self) -> tuple[str, ...]:
        """Patterns of what gets no gradient."""
        if self.freeze is not None:
            return self.freeze
        usual = self.task == "classification" and self.method == "full" and not self.from_scratch
        return FROZEN if usual else ()

    def warmup(self, steps: int) -> int:
        """Steps until the rate is at its peak.

        Raises:
            ValueError: if they are not fewer than the steps.
        """
        if self.warmup_steps is None:
            return min(100, steps // 10)
        if not 0 <= self.warmup_steps < steps:
            raise ValueError(f"a run of {steps} steps needs fewer of warm-up: got {self.warmup_steps}")
        return self.warmup_steps


def warmup_linear(step: int, *, warmup_steps: int, total_steps: int) -> float:
    """What the rate is multiplied by at `step`, counted from 0: up to 1 in a straight line, then down to 0 in another.

    It is 1 at step warmup_steps, and would be 0 at step total_steps, which is none of the run.
    """
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    return max(0.0, (total_steps - step) / (total_steps - warmup_steps))


def prepared(model: Any, recipe: Recipe, rng: Any) -> tuple[Any, AdamW, list[ProgressiveUnfreezing]]:
    """The model with adapters or frozen parts, its optimiser, and the callbacks that unfreeze some on the way.

    Raises:
        ValueError: if a pattern is the name of nothing, or nothing is left to train.
    """
    if recipe.method == "lora":
        add_lora(
            model,
            recipe.lora_rank,
            recipe.lora_alpha,
            recipe.lora_targets or usual_targets(model),
            recipe.lora_dropout,
            also=HEADS[recipe.task],
            rng=rng,
        )
    if recipe.frozen:
        freeze(model, *recipe.frozen)
    plan: dict[int, list[str]] = {}
    for step, pattern in recipe.unfreeze_at:
        plan.setdefault(step, []).append(pattern)
    for step, patterns in plan.items():
        if step > 0:
            freeze(model, *patterns)
    if not any(p.requires_grad for p in model.parameters()):
        raise ValueError("nothing is left to train from the first step: freeze or unfreeze less")
    groups = layerwise_groups(model, recipe.rate, recipe.layerwise_decay, recipe.weight_decay)
    return model, AdamW(groups, lr=recipe.rate), [ProgressiveUnfreezing(plan)] if plan else []


def schedule(recipe: Recipe, steps: int) -> Callable[[int], float]:
    """The rate's factor by step."""
    warmup = recipe.warmup(steps)
    return lambda step: warmup_linear(step, warmup_steps=warmup, total_steps=steps)


__all__ = ["Recipe", "prepared", "schedule", "warmup_linear"]
