"""Checks to make before a long run: each says in seconds what a wrong model or wrong data would show after hours.

Every check works on a copy of the model and leaves the caller's weights, buffers, gradients, and random states alone.
Source of the idea: Karpathy, "A Recipe for Training Neural Networks", 2019, steps 2 and 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import isfinite, log
from typing import Any

import numpy as np

from tinygrad_ft import nn
from tinygrad_ft.gradients import no_grad
from tinygrad_ft.optim import Adam
from tinygrad_ft.tensor import Tensor
from tinygrad_ft.train.findings import IGNORED, Batch, Finding, LossOf, array_of, copied, on_device, report
from tinygrad_ft.train.sight import evaluation_repeats, examples_apart, future_unseen

__all__ = [
    "Finding",
    "evaluation_repeats",
    "examples_apart",
    "future_unseen",
    "gradients_arrive",
    "initial_loss",
    "labels_fit",
    "one_batch_overfits",
    "report",
    "sanity",
]

ABOVE = 1.5  # nats over ln(classes) that a first loss may have: see initial_loss
SHARE = 0.2  # of its first loss, to which that of one batch must fall: see one_batch_overfits
RATES = (1e-3, 1e-2, 1e-4)  # Adam's usual rate; for nets of few weights; for pretrained ones
EXAMPLES = 8  # as many are learned by heart


def sanity(
    model: nn.Module,
    loss_of: LossOf,
    batch: Batch,
    classes: int | None = None,
    causal: bool = False,
    rates: Sequence[float] = RATES,
) -> list[Finding]:
    """All checks of this file that fit the model, in the order in which their faults are best mended.

    Args:
        model: called as model(*inputs), the inputs being all of the batch but its last; answers one array or several,
            one example a row in each.
        loss_of: loss_of(model, *batch) answers the loss in nats, one number, as the Trainer is given it.
        batch: arrays or Tensors, one example a row, the labels last; None stays None. A batch as training has it.
        classes: how many labels there are, if the loss is their cross-entropy.
        causal: whether output t of a row may depend on its inputs 0 to t only, and label t is the input after it.
        rates: of Adam, tried in turn where one batch is to be learned by heart.
    """
    labels = labels_fit(batch, classes, causal)
    findings = [labels]
    if labels.ok:
        findings += [
            initial_loss(model, loss_of, batch, classes),
            gradients_arrive(model, loss_of, batch),
            one_batch_overfits(model, loss_of, batch, rates=rates),
        ]
    else:
        unknown = "not measured, as the labels are wrong"
        findings += [replace(f, ok=None, measured=unknown) for f in (_INITIAL, _GRADIENTS, _OVERFITS)]
    findings += [examples_apart(model, batch), evaluation_repeats(model, batch)]
    return [*findings, future_unseen(model, batch)] if causal else findings


# --- the data --------------------------------------------------------------------------------------------------------

_LABELS = Finding(
    "labels and inputs fit", None, "",
    "as many labels as inputs, all finite, the labels of the loss, and more than one class",
    "look at what builds the batches, printing a few examples with their labels",
)  # fmt: skip


def labels_fit(batch: Batch, classes: int | None = None, causal: bool = False) -> Finding:
    """Inputs and labels agree in number and are finite; class labels are 0 to classes - 1, and more than one occurs.

    Of causal models label t has to be input t + 1, wherever both are there: labels that were not shifted, or twice.
    """
    arrays = [a for a in map(array_of, batch) if a is not None]
    labels, faults = arrays[-1], []
    if len({len(a) for a in arrays}) != 1:
        faults.append(f"arrays of {', '.join(str(len(a)) for a in arrays)} rows")
    if not all(np.isfinite(a).all() for a in arrays if a.dtype.kind == "f"):
        faults.append("numbers that are not finite")
    told = f"{len(labels)} rows"
    sides = classes == 2 and labels.dtype.kind == "f" and np.isin(labels, (0, 1)).all()  # as binary losses take them
    if labels.dtype.kind in "iu" or sides:
        known = np.unique(labels[labels != IGNORED])
        told += f", {len(known)} different labels"
        if len(known) < 2:
            faults.append(f"{len(known)} class only")
        elif classes is not None and (known[0] < 0 or known[-1] >= classes):
            faults.append(f"labels from {known[0]:g} to {known[-1]:g}, where {classes} classes end at {classes - 1}")
        if causal and labels.shape == arrays[0].shape and not faults:
            after, label = arrays[0][:, 1:], labels[:, :-1]
            if (shifted := (after == label)[label != IGNORED].mean()) != 1:
                same = (arrays[0] == labels).mean()
                faults.append(
                    f"labels that are the next input in {shifted:.0%} of places, the same input in {same:.0%}"
                )
    elif classes is not None:
        faults.append(f"labels of {labels.dtype}, where classes are numbered by integers")
    return replace(_LABELS, ok=not faults, measured="; ".join(faults) or told)


# --- the loss --------------------------------------------------------------------------------------------------------

_INITIAL = Finding(
    "initial loss", None, "", "about ln(classes)",
    "above: make the last layer's first weights smaller, standardise the inputs; below: the model has been trained "
    "before, or its inputs hold the answer",
)  # fmt: skip


def initial_loss(model: nn.Module, loss_of: LossOf, batch: Batch, classes: int | None) -> Finding:
    """The first loss is near ln(classes), which a model has that finds all classes equally likely.

    Allowed is from half of it to 1.5 nats above. Logits that are independent of the labels, with deviation s, make it
    ln(classes) + s^2 / 2 at most: 1.5 nats are s = 1.7, where usual starts have s from 0.3 to 1, and 2.6 for data with
    outliers in two classes. Below, a start may be lucky with two classes, but not as lucky as half.
    """
    if classes is None:
        return replace(_INITIAL, ok=None, measured="not measured, as the number of classes was not given")
    expected = log(classes)
    with copied(model) as m, m.evaluating(), no_grad():
        loss = float(loss_of(m, *on_device(m, batch)).item())
    return replace(
        _INITIAL,
        ok=expected / 2 <= loss <= expected + ABOVE,
        measured=f"{loss:.3f} nats, and ln({classes}) = {expected:.3f}",
        expected=f"{expected / 2:.3f} to {expected + ABOVE:.3f} nats, about ln({classes}) = {expected:.3f}",
    )


_OVERFITS = Finding(
    "one batch overfits", None, "", f"a few examples learned by heart: the loss falls below {SHARE:.0%} of the first",
    "look for a nonlinearity between the last layer and the loss, parts that pass no gradient, another loss than meant",
)  # fmt: skip


def one_batch_overfits(
    model: nn.Module,
    loss_of: LossOf,
    batch: Batch,
    *,
    share: float = SHARE,
    steps: int = 200,
    rates: Sequence[float] = RATES,
) -> Finding:
    """A few examples are learned by heart: their loss in evaluation falls below a share of the first.

    Trained are 8 examples of as many classes as they can show, 2 of token rows, by Adam, with each of the rates until
    one does it. A share of 0.2 is out of reach for a loss that gets softmax twice: that stays above 0.45 for two
    classes, and nearer to 1 for more.
    """
    few = _few(batch)
    with copied(model) as m:
        if loss_of(m.train(), *on_device(m, few)).node is None:
            return replace(_OVERFITS, ok=False, measured="the loss depends on no trainable parameter")
    tried = []
    for rate in rates:
        with copied(model) as m:
            tensors, optimizer = on_device(m, few), Adam((p for p in m.parameters() if p.requires_grad), lr=rate)
            first = last = _evaluated(m, loss_of, tensors)
            step = 0
            while step < steps and last > share * first:  # NaN ends it too
                step += 1
                optimizer.zero_grad()
                loss_of(m, *tensors).backward()
                optimizer.step()
                last = _evaluated(m, loss_of, tensors) if step % 5 == 0 else last
        tried.append(f"{first:.3f} to {last:.4f} in {step} steps of Adam with rate {rate:g}")
        if last <= share * first:
            return replace(_OVERFITS, ok=True, measured=tried[-1])
    return replace(_OVERFITS, ok=False, measured="; ".join(tried))


_GRADIENTS = Finding(
    "gradients reach all", None, "", "every trainable parameter has a finite gradient that is not all 0",
    "look between these parameters and the loss for detach, no_grad, plain NumPy, units that are never on; or freeze "
    "them with requires_grad_(False)",
)  # fmt: skip


def gradients_arrive(model: nn.Module, loss_of: LossOf, batch: Batch) -> Finding:
    """Every trainable parameter has a finite gradient other than 0 in one of the first three steps.

    Three, for a last layer or an adapter that begins at 0 lets nothing through until it has moved.
    """
    with copied(model) as m:
        m.train()
        tensors = on_device(m, batch)
        named = {name: p for name, p in m.named_parameters() if p.requires_grad}
        if not named:
            return replace(_GRADIENTS, ok=False, measured="no parameter is trainable")
        optimizer = Adam(named.values(), lr=1e-3)
        reached: set[str] = set()
        infinite: set[str] = set()
        for _ in range(3):
            m.zero_grad()
            loss = loss_of(m, *tensors)
            if loss.node is None:
                break
            loss.backward()
            sizes = {name: _size(p) for name, p in named.items()}
            infinite |= {name for name, size in sizes.items() if not isfinite(size)}
            reached |= {name for name, size in sizes.items() if size != 0}
            optimizer.step()
    faults = []
    if infinite:
        faults.append(f"not finite: {_listed(infinite, named)}")
    if missed := named.keys() - reached:
        faults.append(f"none or 0: {_listed(missed, named)}")
    told = f"all {len(named)} parameters have one"
    return replace(_GRADIENTS, ok=not faults, measured="; ".join(faults) or told)


# --- means -----------------------------------------------------------------------------------------------------------


def _few(batch: Batch) -> list[Any]:
    """A few rows of a batch, of as many classes as there can be."""
    arrays = [array_of(a) for a in batch]
    labels = arrays[-1]
    rows = np.arange(min(len(labels), EXAMPLES if labels.ndim == 1 else 2))
    if labels.ndim == 1:
        counted = np.flatnonzero(labels != IGNORED)
        firsts = counted[np.unique(labels[counted], return_index=True)[1]]
        rows = np.array(list(dict.fromkeys([*firsts, *counted]))[:EXAMPLES])
    return [None if a is None else a[rows] for a in arrays]


def _evaluated(model: nn.Module, loss_of: LossOf, tensors: Batch) -> float:
    with model.evaluating(), no_grad():
        return float(loss_of(model, *tensors).item())


def _size(p: Tensor) -> float:
    """The largest element of a gradient; 0 for none."""
    return 0.0 if p.grad is None or not p.numel() else float(np.abs(p.grad.cpu().array).max())


def _listed(names: set[str], order: Any, most: int = 5) -> str:
    shown = [name for name in order if name in names]
    return ", ".join(shown[:most]) + (f" and {len(shown) - most} more" if len(shown) > most else "")
