"""Train an MLP to tell the classes of a small data set apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_ft import data, nn, ops
from tinygrad_ft.gradients import no_grad
from tinygrad_ft.models import MLP, MLPConfig
from tinygrad_ft.optim import SGD
from tinygrad_ft.optim.lr_scheduler import warmup_cosine
from tinygrad_ft.tensor import Tensor, tensor
from tinygrad_ft.train.run import Running, carry_out
from tinygrad_ft.train.trainer import Record

Table = tuple[Any, Any]


@dataclass(frozen=True)
class Recipe:
    """A data set, the net for it, and how the net is trained: SGD with momentum, the rate falling along a cosine."""

    load: Callable[[np.random.Generator], Table]
    sizes: tuple[int, ...]
    classes: tuple[str, ...]
    steps: int = 1000
    batch_size: int = 64
    peak: float = 0.05
    momentum: float = 0.9
    standardise: bool = False


RECIPES = {
    # 784-512-256-10 is the chapters' SimpleNet; the 8x8 digits are enlarged to the 28x28 it was made for
    "digits": Recipe(lambda rng: data.digits28(), (784, 512, 256, 10), tuple("0123456789")),
    "breast-cancer": Recipe(
        lambda rng: data.breast_cancer(), (30, 32, 16, 2), ("malignant", "benign"), 500, standardise=True
    ),
    "moons": Recipe(
        lambda rng: data.moons(1000, noise=0.15, rng=rng), (2, 16, 16, 2), ("upper", "lower"), 800, peak=0.1
    ),
}


def train_mlp(
    name: str,
    *,
    steps: int | None,
    seed: int,
    out: Path,
    running: Running = Running(),  # noqa: B008 (frozen)
    device: str = "cpu",
) -> Record:
    """Train on four fifths of a data set on a device, hold out the rest, and leave everything in the folder `out`.

    Returns:
        The last record, with val_loss in nats and val_accuracy from 0 to 1 on the held-out fifth.

    Raises:
        OSError: if the folder cannot be written.
        Diverged: if the loss is no longer finite; the weights of the last evaluation are kept.
    """
    recipe, rng = RECIPES[name], np.random.default_rng(seed)
    steps = recipe.steps if steps is None else steps
    (x, y), (held_x, held_y) = data.split(*recipe.load(rng), rng=rng)
    described = {k: v for k, v in asdict(recipe).items() if k not in ("load", "sizes")}
    if recipe.standardise:  # who uses the model must do the same to what it is shown
        described["standardise"] = {"mean": x.mean(0).tolist(), "deviation": x.std(0).tolist()}
        x, held_x = data.standardise(x, held_x)
    config = MLPConfig(recipe.sizes)
    model = MLP(config, rng=rng).to(device)

    def predicted() -> Any:
        return model(Tensor(held_x).to(device)).cpu()

    def evaluate(last: bool) -> Record:
        logits = predicted()
        right = (logits.array.argmax(1) == held_y).mean()
        return {"val_loss": ops.cross_entropy(logits, tensor(held_y)).item(), "val_accuracy": float(right)}

    def sample() -> str:
        with no_grad():
            chances = ops.softmax(predicted().array[:5])
        lines = zip(chances, held_y, strict=False)
        return "\n".join(f"says {recipe.classes[p.argmax()]} ({p.max():.0%}), is {recipe.classes[t]}" for p, t in lines)

    return carry_out(
        out,
        {
            "model": {"kind": "mlp", **config.to_dict()},
            "data": name,
            "recipe": {**described, "steps": steps},
            "seed": seed,
        },
        model,
        loss_of,
        SGD(model.parameters(), lr=recipe.peak, momentum=recipe.momentum),
        data.Shuffled(x, y, batch_size=recipe.batch_size, seed=seed, drop_last=True),
        steps=steps,
        schedule=lambda step: warmup_cosine(step, peak=1.0, warmup_steps=0, total_steps=steps),
        evaluate=evaluate,
        evaluate_every=max(1, steps // 5),
        running=running,
        unit="examples",
        sample=sample,
    )


def loss_of(model: nn.Module, x: Any, y: Any) -> Any:
    """Mean cross-entropy of the classes, in nats."""
    return ops.cross_entropy(model(x), y)
