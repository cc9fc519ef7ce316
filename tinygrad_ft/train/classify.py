"""Train an MLP to tell the classes of a small data set apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
from tinygrad_ft.train.folder import RunFolder
from tinygrad_ft.train.loop import Record, fit
from tinygrad_ft.train.run import Run

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
    name: str, *, steps: int | None, seed: int, out: Path, jitted: bool = True, device: str = "cpu"
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
    folder = RunFolder(
        out,
        {
            "model": {"kind": "mlp", **config.to_dict()},
            "data": name,
            "recipe": {**described, "steps": steps},
            "seed": seed,
        },
        model,
    )

    def predicted() -> Any:
        with no_grad():
            return model(Tensor(held_x).to(device)).cpu()

    def evaluate(last: bool) -> Record:
        logits = predicted()
        right = (logits.array.argmax(1) == held_y).mean()
        return {"val_loss": ops.cross_entropy(logits, tensor(held_y)).item(), "val_accuracy": float(right)}

    def sample() -> str:
        chances = ops.softmax(predicted().array[:5])
        lines = zip(chances, held_y, strict=False)
        return "\n".join(f"says {recipe.classes[p.argmax()]} ({p.max():.0%}), is {recipe.classes[t]}" for p, t in lines)

    with Run(folder, model, steps=steps, unit="examples", per_example=1, sample=sample) as run:
        fit(
            model,
            _loss_of,
            _endless(x, y, recipe.batch_size, rng),
            SGD(model.parameters(), lr=recipe.peak, momentum=recipe.momentum),
            steps=steps,
            learning_rate=lambda step: warmup_cosine(step, peak=recipe.peak, warmup_steps=0, total_steps=steps),
            evaluate=evaluate,
            evaluate_every=max(1, steps // 5),
            journal=run,
            jitted=jitted,
        )
    return run.last


def _loss_of(model: nn.Module, x: Any, y: Any) -> Any:
    return ops.cross_entropy(model(x), y)


def _endless(x: Any, y: Any, batch_size: int, rng: np.random.Generator) -> Iterator[Table]:
    while True:
        yield from data.batches(x, y, batch_size=batch_size, rng=rng, drop_last=True)
