"""One optimiser step in its parts, recorded by `jit` in such a way that every step that counts is a replay."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinygrad_ft import nn, ops
from tinygrad_ft.jit import jit
from tinygrad_ft.kernel_choice import load_kernels
from tinygrad_ft.optim import Optimizer
from tinygrad_ft.train.chance import random_state, set_random_state

Batch = Sequence[Any]
RECORDINGS = 3  # the first makes gradients and moments, the second and third find them, and agree


class Step:
    """The gradients of some batches, their length, and the optimiser's update.

    Three calls and not one, since between them Python looks at loss and length before anything is changed.

    Recorded and replayed steps differ in rounding. A run that is resumed in another process records at another step, so
    whatever would be recorded is `rehearsed` beforehand: run for recording, and then undone. All steps that count are
    replays then, and their bits do not depend on where a run was interrupted.
    """

    def __init__(
        self,
        model: nn.Module,
        loss_of: Callable[..., Any],
        optimizer: Optimizer,
        *,
        max_norm: float | None = None,
        jitted: bool = True,
    ):
        self.model, self.loss_of, self.optimizer = model, loss_of, optimizer
        self.max_norm, self.jitted = max_norm, jitted
        self._trained: tuple[bool, ...] = ()  # which parameters were when the parts were recorded
        self._record_anew()
        if jitted:
            load_kernels("cpu")  # one that arrived later would change the bits

    def gradients(self, batches: Sequence[Batch]) -> tuple[float, float | None]:
        """(loss, length): the mean of the batches' losses, and the gradients' length together if they are clipped."""
        if self.jitted:
            self._rehearse(batches)
        return self._gradients(batches)

    def update(self) -> None:
        """Take the step."""
        self._update_all()

    def recorded(self) -> list[Any]:
        """The parts of a step as `jit` made them; of each `program()` tells what was recorded."""
        return [self._begin, *([] if self.max_norm is None else [self._clip_all]), self._update_all]

    def _record_anew(self) -> None:
        """Let go of what was recorded: each program has memory of its own, and `jit` keeps a few of them only."""
        recorded: Any = jit if self.jitted else lambda part: part
        self._begin, self._add = recorded(self._begin_gradients), recorded(self._add_gradients)
        self._clip_all, self._update_all = recorded(self._clip), recorded(self._update)
        self._rehearsed: set[Any] = set()

    def _gradients(self, batches: Sequence[Batch]) -> tuple[float, float | None]:
        share = 1.0 / len(batches)
        losses = [(self._add if i else self._begin)(share, *batch).item() for i, batch in enumerate(batches)]
        return sum(losses) * share, None if self.max_norm is None else self._clip_all().item()

    def _begin_gradients(self, share: float, *batch: Any) -> Any:
        self.optimizer.zero_grad()
        return self._add_gradients(share, *batch)

    def _add_gradients(self, share: float, *batch: Any) -> Any:
        loss = self.loss_of(self.model, *batch)
        (loss * share).backward()
        return loss.detach()

    def _clip(self) -> Any:
        assert self.max_norm is not None
        return nn.utils.clip_grad_norm_([p for g in self.optimizer.param_groups for p in g["params"]], self.max_norm)

    def _update(self) -> None:
        self.optimizer.step()

    def _rehearse(self, batches: Sequence[Batch]) -> None:
        """Record what these batches need, if it is not recorded yet, and leave everything as it was."""
        trained = tuple(p.requires_grad for p in self.model.parameters())
        if trained != self._trained:
            self._record_anew()
            self._trained = trained
        modes = tuple(module.training for module in self.model.modules())
        kinds = [(i > 0, trained, modes, _kind(batch)) for i, batch in enumerate(batches)]
        new = [batch for kind, batch in zip(kinds, batches, strict=True) if kind not in self._rehearsed]
        if not new and trained in self._rehearsed:
            return
        first = trained not in self._rehearsed
        with as_it_was(self.model, self.optimizer if first else None), np.errstate(all="ignore"):
            for turn in range(RECORDINGS if first else 2):  # gradients are there by then
                self._gradients([[_rolled(a, turn) for a in batch] for batch in batches])
                if first:
                    self.update()
        self._rehearsed |= {trained, *kinds}


@contextmanager
def as_it_was(model: nn.Module, optimizer: Optimizer | None) -> Iterator[None]:
    """After this context buffers and random states are as before, in the same arrays.

    So are parameters and moments, if there is an optimiser, which will change them.
    """
    chance, moments = random_state(model), {} if optimizer is None else optimizer.state
    trained = [] if optimizer is None else [p for p in model.parameters() if p.requires_grad]
    arrays = [t.array for t in [*trained, *(b for _, b in model.named_buffers())]]
    arrays += [a for p in trained for a in moments.get(p, {}).values()]
    copies = [a.copy() for a in arrays]
    known = {p for p, state in moments.items() if state}
    try:
        yield
    finally:
        for array, copy in zip(arrays, copies, strict=True):
            array[...] = copy
        if optimizer is not None:
            for p in moments.keys() - known:
                optimizer.forget(p)
        set_random_state(model, chance)


def _kind(batch: Batch) -> Any:
    return tuple(None if a is None else (a.shape, a.dtype.str) for a in batch)


def _rolled(a: Any, turn: int) -> Any:
    """The same examples in another order: equal arguments twice would leave open whether something was baked in."""
    return a if a is None or not a.ndim else ops.roll(a, turn, 0)
