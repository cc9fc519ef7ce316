"""The commands about recorded steps: show what a preset's step became, and compile everything ahead."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from time import perf_counter
from typing import Any

PRESETS = ("nano", "tiny", "digits", "breast-cancer", "moons")


def add_commands(commands: Any) -> None:
    """Add jit and warmup."""
    jit = commands.add_parser("jit", help="look at recorded steps", epilog="example: tinygrad-ft jit show nano")
    show = jit.add_subparsers(title="what to do", required=True, metavar="WHAT").add_parser(
        "show",
        help="the rows, memory and generated loops of a preset's training step",
        epilog="example: tinygrad-ft jit show nano",
    )
    show.add_argument("preset", choices=PRESETS, help="whose step")
    show.set_defaults(run=_show)
    warmup = commands.add_parser(
        "warmup",
        help="compile the kernels that the presets use, so that no first run has to wait for it",
        epilog="example: tinygrad-ft warmup",
    )
    warmup.set_defaults(run=_warm_up)


def _show(arguments: argparse.Namespace) -> int:
    for part in _recorded(arguments.preset):
        print(part.program(), end="\n\n")
    return 0


def _warm_up(arguments: argparse.Namespace) -> int:
    from tinygrad_ft.jit.table import cache_folder

    started = perf_counter()
    for preset in PRESETS:
        before = perf_counter()
        _recorded(preset)
        print(f"{preset:<14} ready after {perf_counter() - before:.1f} s")
    print(f"compiled code is kept in {cache_folder()}; {perf_counter() - started:.1f} s in all")
    return 0


def _recorded(preset: str) -> list[Any]:
    """The parts of a preset's training step, recorded on a batch of random numbers."""
    import numpy as np

    from tinygrad_ft.tensor import Tensor
    from tinygrad_ft.train.step import Step

    rng = np.random.default_rng(0)
    model, loss_of, optimizer, max_norm, batch = (_language if preset in ("nano", "tiny") else _classes)(preset, rng)
    step = Step(model, loss_of, optimizer, max_norm=max_norm)
    step.gradients([[Tensor(a) for a in batch]])
    return step.recorded()


def _language(preset: str, rng: Any) -> tuple[Any, Callable[..., Any], Any, float | None, Any]:
    from tinygrad_ft.models import GPT, GPTConfig
    from tinygrad_ft.models.gpt import loss_of
    from tinygrad_ft.optim import AdamW
    from tinygrad_ft.train.language import RECIPES

    recipe = RECIPES[preset]
    model = GPT(GPTConfig(65, recipe.context, recipe.layers, recipe.heads, recipe.width), rng=rng)
    optimizer = AdamW(model.parameters(), lr=recipe.peak, betas=recipe.betas, weight_decay=recipe.weight_decay)
    batch = rng.integers(0, 65, (2, recipe.batch_size, recipe.context))
    return model, loss_of, optimizer, recipe.max_norm, batch


def _classes(preset: str, rng: Any) -> tuple[Any, Callable[..., Any], Any, float | None, Any]:
    import numpy as np

    from tinygrad_ft import ops
    from tinygrad_ft.models import MLP, MLPConfig
    from tinygrad_ft.optim import SGD
    from tinygrad_ft.train.classify import RECIPES

    recipe = RECIPES[preset]
    model = MLP(MLPConfig(recipe.sizes), rng=rng)
    x = rng.standard_normal((recipe.batch_size, recipe.sizes[0])).astype(np.float32)
    batch = x, rng.integers(0, recipe.sizes[-1], recipe.batch_size)

    def loss_of(model: Any, x: Any, y: Any) -> Any:
        return ops.cross_entropy(model(x), y)

    return model, loss_of, SGD(model.parameters(), lr=recipe.peak, momentum=recipe.momentum), None, batch
