"""Learning rates that change: as plain functions of the step, and as PyTorch's classes, which write into an optimiser.

`optimizer.param_groups[0]["lr"] = warmup_cosine(step, ...)` before each step is all that a training loop needs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import cos, inf, pi
from typing import Any

from tinygrad_ft.notice import effect
from tinygrad_ft.optim.optimizer import Optimizer, require, set_lr


def warmup_cosine(step: int, *, peak: float, warmup_steps: int, total_steps: int, final: float = 0.0) -> float:
    """Learning rate at `step`: a straight line up to `peak`, then half a cosine down to `final`.

    Args:
        step: optimiser steps already taken, from 0.
        peak: the largest rate, in units of parameter per unit of gradient.
        warmup_steps: steps spent climbing, in equal parts of peak / (warmup_steps + 1); 0 starts at the peak.
        total_steps: the step at which the rate reaches `final`; it stays there.
    Raises:
        ValueError: if warmup_steps >= total_steps, which leaves no step for the descent; if something is negative, or
            `final` above `peak`.
    Sources: Loshchilov and Hutter, "SGDR", 2017, one cycle without restarts; nanoGPT for the warm-up.
    """
    _at_least_zero(step=step, warmup_steps=warmup_steps, final=final)
    if warmup_steps >= total_steps:
        raise ValueError(f"warmup_steps must be below total_steps: got {warmup_steps} and {total_steps}")
    if not final <= peak < inf:
        raise ValueError(f"peak must be finite and at least final: got {peak} and {final}")
    if step < warmup_steps:
        return peak * (step + 1) / (warmup_steps + 1)
    return _cosine(min(1.0, (step - warmup_steps) / (total_steps - warmup_steps)), peak, final)


def linear(step: int, *, start: float, final: float, total_steps: int) -> float:
    """Learning rate at `step`: a straight line from `start` at step 0 to `final` at total_steps; it stays there.

    Raises:
        ValueError: if total_steps is not positive, or something is negative.
    """
    _at_least_zero(step=step, start=start, final=final)
    _positive(total_steps=total_steps)
    done = min(1.0, step / total_steps)
    return start * (1.0 - done) + final * done


def step_decay(step: int, *, start: float, step_size: int, gamma: float = 0.1) -> float:
    """Learning rate at `step`: `start`, multiplied by `gamma` once every `step_size` steps.

    Raises:
        ValueError: if step_size is not positive, or something is negative.
    """
    _at_least_zero(step=step, start=start, gamma=gamma)
    _positive(step_size=step_size)
    return start * gamma ** (step // step_size)


class LRScheduler:
    """Sets the rate of each group of an optimiser, from its initial rate and the number of calls of step().

    PyTorch multiplies the rate that it finds, so that several schedulers compose; here the rate is computed afresh, so
    that rounding does not add up, and a change of it by anyone else lasts until the next step().

    Args:
        last_epoch: how often step() was called before, less one. From 0 on, groups must hold their "initial_lr".
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1):
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(self).__name__} needs an Optimizer: got a {type(optimizer).__name__}")
        self.optimizer = optimizer
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch != -1 and "initial_lr" not in group:
                raise ValueError(
                    f"last_epoch {last_epoch} resumes a schedule, and group {i} does not hold its initial_lr: "
                    "call load_state_dict of the optimiser first"
                )
            group.setdefault("initial_lr", float(group["lr"]))
        self.base_lrs: list[float] = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self.step()

    def rate(self, epoch: int, base_lr: float, group: int) -> float:
        """The rate of the group of that number, whose initial rate was base_lr, after `epoch` calls of step()."""
        raise NotImplementedError

    def step(self) -> None:
        """Go on by one epoch, or by one step of the optimiser if that is the unit: call it after optimizer.step()."""
        effect(self._go_on)

    def _go_on(self) -> None:
        groups = self.optimizer.param_groups
        if len(groups) != len(self.base_lrs):
            raise ValueError(f"{len(groups)} groups, and {len(self.base_lrs)} when the schedule began: make a new one")
        rates = [float(self.rate(self.last_epoch + 1, base, i)) for i, base in enumerate(self.base_lrs)]
        for rate in rates:
            require(type(self).__name__, "each rate", rate, below=inf)
        for group, rate in zip(groups, rates, strict=True):
            set_lr(group, rate)
        self.last_epoch += 1
        self._last_lr = rates

    def get_last_lr(self) -> list[float]:
        """The rates that the last step() set, one a group."""
        return list(self._last_lr)

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimiser and functions, as numbers and lists."""
        return {
            name: list(value) if isinstance(value, list) else value
            for name, value in vars(self).items()
            if name not in ("optimizer", "lr_lambdas")
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what state_dict() answered; the present rate is the optimiser's to load.

        Raises:
            ValueError: if it is of another class of scheduler, or of an optimiser with other groups.
        """
        known = self.state_dict()
        if state_dict.keys() != known.keys():
            raise ValueError(f"the saved schedule has {sorted(state_dict)}, and {type(self).__name__} {sorted(known)}")
        if len(state_dict["base_lrs"]) != len(self.base_lrs):
            raise ValueError(f"the saved schedule has {len(state_dict['base_lrs'])} groups, not {len(self.base_lrs)}")
        vars(self).update(state_dict)


class LambdaLR(LRScheduler):
    """The initial rate times lr_lambda(epoch); a list gives a function for each group. They are not saved."""

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ):
        groups = len(getattr(optimizer, "param_groups", ()))
        self.lr_lambdas = [lr_lambda] * groups if callable(lr_lambda) else list(lr_lambda)
        if len(self.lr_lambdas) != groups or not all(callable(f) for f in self.lr_lambdas):
            raise ValueError(f"LambdaLR needs one function, or one for each of {groups} groups: got {lr_lambda!r}")
        super().__init__(optimizer, last_epoch)

    def rate(self, epoch: int, base_lr: float, group: int) -> float:
        """See the class."""
        return base_lr * self.lr_lambdas[group](epoch)


class StepLR(LRScheduler):
    """The initial rate, times gamma once every step_size epochs."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1):
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, last_epoch)

    def rate(self, epoch: int, base_lr: float, group: int) -> float:
        """See `step_decay`."""
        return step_decay(epoch, start=base_lr, step_size=self.step_size, gamma=self.gamma)


class LinearLR(LRScheduler):
    """The initial rate times a factor that goes from start_factor to end_factor in total_iters epochs, and stays."""

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ):
        if not (0 < start_factor <= 1 and 0 <= end_factor <= 1):
            raise ValueError(
                f"LinearLR needs 0 < start_factor <= 1 and 0 <= end_factor <= 1: got {start_factor} and {end_factor}"
            )
        self.start_factor, self.end_factor, self.total_iters = start_factor, end_factor, total_iters
        super().__init__(optimizer, last_epoch)

    def rate(self, epoch: int, base_lr: float, group: int) -> float:
        """See `linear`."""
        start, final = base_lr * self.start_factor, base_lr * self.end_factor
        return linear(epoch, start=start, final=final, total_steps=self.total_iters)


class CosineAnnealingLR(LRScheduler):
    """From the initial rate down to eta_min in T_max epochs along half a cosine, and up again along the next.

    Source: Loshchilov and Hutter, "SGDR", 2017, without its restarts.
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1):
        _positive(T_max=T_max)
        _at_least_zero(eta_min=eta_min)
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    def rate(self, epoch: int, base_lr: float, group: int) -> float:
        """See the class."""
        return _cosine(epoch / self.T_max, base_lr, self.eta_min)


def _cosine(done: float, start: float, final: float) -> float:
    """Half a cosine from `start` to `final` as `done` goes from 0 to 1."""
    return final + 0.5 * (start - final) * (1.0 + cos(pi * done))


def _at_least_zero(**numbers: float) -> None:
    for name, value in numbers.items():
        if not 0 <= value < inf:
            raise ValueError(f"{name} must be finite and at least 0: got {value}")


def _positive(**numbers: float) -> None:
    for name, value in numbers.items():
        if not value > 0:
            raise ValueError(f"{name} must be above 0: got {value}")
