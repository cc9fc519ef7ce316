"""Contenders whose library speaks PyTorch's language: ours, eager and jitted, and PyTorch itself."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.harness.contender import EAGER, JIT, THREADS, TORCH, NotAvailable, Running, loss_alone

# build(framework, ...) answers (step, its inputs, the numbers of its answer), from tinygrad_ft or torch
Build = Callable[..., tuple[Callable[..., Any], tuple[Any, ...], Callable[[Any], Any]]]
Contenders = dict[str, Callable[[], Running]]


def three(build: Build, *arguments: Any) -> Contenders:
    """The three contenders of one text that both libraries understand."""
    return ours(build, *arguments) | torch(build, *arguments)


def ours(build: Build, *arguments: Any) -> Contenders:
    """Our two contenders."""
    return {name: partial(_ready, name, build, arguments) for name in (EAGER, JIT)}


def torch(build: Build, *arguments: Any) -> Contenders:
    """PyTorch, eager."""
    return {TORCH: partial(_ready, TORCH, build, arguments)}


def _ready(name: str, build: Build, arguments: tuple[Any, ...]) -> Running:
    if name == TORCH:
        import torch as framework

        framework.set_num_threads(THREADS)
        step, inputs, numbers = build(framework, *arguments)
        return Running(partial(step, *inputs), numbers)
    import numba

    import tinygrad_ft as tg

    numba.njit(lambda x: x + 1)(1)  # its compiler, 70 MB, loads with its first use: no more the step's than torch is
    step, inputs, numbers = build(tg, *arguments)
    if name == JIT:
        if not callable(getattr(tg, "jit", None)):
            raise NotAvailable("this tinygrad_ft has no jit")
        step = tg.jit(step)
    return Running(partial(step, *inputs), numbers)


def training(model: Any, loss_of: Callable[..., Any], optimizer: Any, inputs: Any, clip: Any = None) -> Any:
    """What a build answers for a training step: the loss of the inputs, back, clip(), update."""

    def step(*inputs: Any) -> Any:
        optimizer.zero_grad()
        loss = loss_of(model, *inputs)
        loss.backward()
        if clip is not None:
            clip()
        optimizer.step()
        return loss

    return step, tuple(inputs), loss_alone
