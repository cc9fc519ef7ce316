"""Checks of who sees whom: examples one another, outputs the inputs after them, evaluation the generator."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tinygrad_ft import nn, ops
from tinygrad_ft.gradients import grad, no_grad
from tinygrad_ft.nn.normalisation import BatchNorm
from tinygrad_ft.tensor import Tensor
from tinygrad_ft.train.chance import random_state, set_random_state
from tinygrad_ft.train.findings import Batch, Finding, array_of, copied, on_device

EXAMPLES = 8  # as many take part

_APART = Finding(
    "examples stay apart", None, "", "the outputs of an example are the same bits whatever the others are",
    "look for a sum, mean, softmax, reshape or transpose over axis 0, the examples",
)  # fmt: skip


def examples_apart(model: nn.Module, batch: Batch) -> Finding:
    """Nothing of one example gets into the outputs of another: neither values nor gradients, by a single bit.

    Each of some examples is replaced by another, and the rest must keep their outputs; of inputs that are no integers,
    the gradient of each example's outputs must be 0 at all others. Where batch norm mixes in training, it is told.
    """
    inputs = [None if a is None else a[:EXAMPLES] for a in map(array_of, batch[:-1])]
    with copied(model) as m, m.evaluating():
        outputs = _outputs(m, inputs)
        n = len(next(a for a in inputs if a is not None))
        if odd := [o.shape for o in outputs if o.shape[:1] != (n,)]:
            return replace(_APART, ok=False, measured=f"an output of shape {odd[0]} for {n} examples, not one a row")
        if not (pairs := list(_others(inputs))):
            return replace(_APART, ok=None, measured="not measured, as the examples are all the same")
        seen = _mixed(m, inputs, pairs) or _mixed_gradients(m, inputs)
    if seen:
        return replace(_APART, ok=False, measured=f"{seen}, in evaluation")
    with copied(model) as m:
        m.train()
        seen = _mixed(m, inputs, pairs)
    names = [name for name, module in model.named_modules() if isinstance(module, BatchNorm)]
    if not seen:
        return replace(_APART, ok=True, measured=f"{len(pairs)} were replaced, and changed no other")
    told = f"{seen}, in training" + (
        f", as batch norm makes it: {', '.join(names)}; none in evaluation" if names else ""
    )
    return replace(_APART, ok=bool(names), measured=told)


_FUTURE = Finding(
    "no view of the future", None, "", "the outputs before a token are the same bits whatever it and later ones are",
    "look for a missing or wrong mask in attention, an axis that is reversed, statistics over the positions",
)  # fmt: skip


def future_unseen(model: nn.Module, batch: Batch) -> Finding:
    """Outputs 0 to t - 1 stay the same when the inputs from t on are others, for some t from 1 to the last."""
    inputs = [None if a is None else a[:2] for a in map(array_of, batch[:-1])]
    tokens = inputs[0]
    if tokens is None or tokens.ndim < 2 or tokens.shape[1] < 2:
        return replace(_FUTURE, ok=None, measured="not measured, as the first input has no positions, (n, length, ...)")
    known = np.unique(tokens)
    if len(known) < 2:
        return replace(_FUTURE, ok=None, measured="not measured, as all tokens are the same")
    other = known[(np.searchsorted(known, tokens) + 1) % len(known)]
    length = tokens.shape[1]
    cuts = np.unique(np.linspace(1, length - 1, EXAMPLES).round().astype(int))
    with copied(model) as m, m.evaluating():
        before = _outputs(m, inputs)
        if odd := [o.shape for o in before if o.shape[1:2] != (length,)]:
            return replace(_FUTURE, ok=False, measured=f"an output of shape {odd[0]} for {length} tokens a row")
        for t in cuts:
            changed = np.where((np.arange(length) < t).reshape(1, -1, *[1] * (tokens.ndim - 2)), tokens, other)
            for old, new in zip(before, _outputs(m, [changed, *inputs[1:]]), strict=True):
                if not np.array_equal(old[:, :t], new[:, :t], equal_nan=True):
                    at = int(np.flatnonzero((old[:, :t] != new[:, :t]).any(axis=(0, *range(2, old.ndim))))[0])
                    return replace(_FUTURE, ok=False, measured=f"output {at} depends on token {t} or later ones")
    return replace(_FUTURE, ok=True, measured=f"checked before {len(cuts)} of {length} tokens")


_REPEATS = Finding(
    "evaluation repeats", None, "", "two evaluations have the same bits; where there is dropout, two trainings differ",
    "pass self.training to what draws at random, and call super().__init__() before modules are assigned",
)  # fmt: skip


def evaluation_repeats(model: nn.Module, batch: Batch) -> Finding:
    """Two evaluations are bit-equal, so that nothing is dropped in use; and dropout, where there is some, drops."""
    inputs = [None if a is None else a[:EXAMPLES] for a in map(array_of, batch[:-1])]
    dropping = [name for name, m in model.named_modules() if isinstance(m, nn.Dropout) and 0 < m.p < 1]
    with copied(model) as m:
        m.eval()
        used = _same(*(_outputs(m, inputs, anew=True) for _ in range(2)))
        m.train()
        trained = _same(*(_outputs(m, inputs, anew=True) for _ in range(2)))
    if not used:
        return replace(_REPEATS, ok=False, measured="two evaluations differ")
    if dropping and trained:
        return replace(_REPEATS, ok=False, measured=f"dropout drops nothing in training: {', '.join(dropping)}")
    told = ", two trainings differ" if dropping else ", and there is no dropout"
    return replace(_REPEATS, ok=True, measured=f"two evaluations are equal{told}")


# --- means -----------------------------------------------------------------------------------------------------------


def _called(model: nn.Module, tensors: Batch) -> list[Any]:
    """What the model answers, as a list of Tensors."""
    waiting, found = [model(*tensors)], []
    while waiting:
        answer = waiting.pop(0)
        if isinstance(answer, Tensor):
            found.append(answer)
        elif answer is not None:
            waiting += answer.values() if isinstance(answer, dict) else list(answer)
    return found


def _outputs(model: nn.Module, inputs: Batch, anew: bool = False) -> list[Any]:
    """What a model answers, as arrays; unless `anew` with the same draws each time, so that only inputs matter."""
    chance = random_state(model)
    with no_grad():
        outputs = [t.cpu().numpy_copy() for t in _called(model, on_device(model, inputs))]
    if not anew:
        set_random_state(model, chance)
    return outputs


def _same(ones: Sequence[Any], others: Sequence[Any]) -> bool:
    return all(np.array_equal(a, b, equal_nan=True) for a, b in zip(ones, others, strict=True))


def _others(inputs: Batch) -> Iterator[tuple[int, int]]:
    """For each example that has one, the next example that differs from it."""
    arrays = [a for a in inputs if a is not None]
    n = len(arrays[0])
    for j in range(n):
        for k in ((j + 1 + i) % n for i in range(n - 1)):
            if any(not np.array_equal(a[j], a[k], equal_nan=a.dtype.kind == "f") for a in arrays):
                yield j, k
                break


def _mixed(model: nn.Module, inputs: Batch, pairs: Sequence[tuple[int, int]]) -> str:
    """Whose outputs change when another example is replaced, as a sentence; empty for none."""
    before = _outputs(model, inputs)
    for j, k in pairs:
        changed = [None if a is None else a.copy() for a in inputs]
        for a in changed:
            if a is not None:
                a[j] = a[k]
        for old, new in zip(before, _outputs(model, changed), strict=True):
            for i in range(len(old)):
                if i != j and not np.array_equal(old[i], new[i], equal_nan=True):
                    return f"the outputs of example {i} depend on the inputs of example {j}"
    return ""


def _mixed_gradients(model: nn.Module, inputs: Batch) -> str:
    """The same for gradients at inputs that have some."""
    tensors = on_device(model, inputs)
    floats = [t.requires_grad_() for t in tensors if t is not None and t.dtype.kind == "f"]
    outputs = [o for o in _called(model, tensors) if o.node is not None] if floats else []
    for o in outputs:
        weights = np.cos(np.arange(o.numel())).reshape(o.shape).astype(o.dtype)  # a plain sum may be constant
        for i in range(len(o)):
            at = grad(ops.sum(o[i] * Tensor(weights[i]).to(o.device)), floats, retain_graph=True, allow_unused=True)
            for g in (g.cpu().array for g in at if g is not None):
                if touched := [j for j in range(len(g)) if j != i and g[j].any()]:
                    return f"the outputs of example {i} have a gradient at the inputs of example {touched[0]}"
    return ""
