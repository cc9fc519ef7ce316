"""The curve of a run, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from itertools import accumulate
from pathlib import Path
from warnings import catch_warnings

from tinygrad_ft.storage import write_atomically


def plot_loss(records: Sequence[dict[str, float]], path: Path, *, title: str) -> None:
    """Draw training and validation loss by step into a PNG file; nothing is drawn if no step was taken."""
    if not records:
        return
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    steps = [r["step"] for r in records]
    losses = [r["train_loss"] for r in records]
    evaluated = [r for r in records if "val_loss" in r]
    figure = Figure(figsize=(8, 4.5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot(steps, losses, color="0.8", linewidth=0.8, label="training, each step")
    axes.plot(steps, smoothed(losses), color="tab:blue", linewidth=1.8, label="training, smoothed")
    axes.plot(
        [r["step"] for r in evaluated],
        [r["val_loss"] for r in evaluated],
        "o--",
        color="black",
        markersize=4,
        label="validation",
    )
    if evaluated:
        last = evaluated[-1]
        axes.annotate(
            f"{last['val_loss']:.3f}",
            (last["step"], last["val_loss"]),
            textcoords="offset points",
            xytext=(6, -4),
            ha="left",
        )
    axes.set_xlabel("optimiser steps")
    axes.set_ylabel("cross-entropy (nats)")
    axes.set_title(title, parse_math=False)  # a folder's name may have dollars in it
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    picture = BytesIO()
    with catch_warnings(action="ignore"):  # a folder's name in Chinese becomes boxes, which is no reason to speak up
        figure.savefig(picture, format="png")
    write_atomically(path, picture.getvalue())


def smoothed(losses: Sequence[float]) -> list[float]:
    """The mean of each value and its neighbours, a fortieth of the curve wide: it neither lags nor leads."""
    reach = len(losses) // 80
    sums = [0.0, *accumulate(losses)]
    spans = ((max(0, i - reach), min(len(losses), i + reach + 1)) for i in range(len(losses)))
    return [(sums[end] - sums[start]) / (end - start) for start, end in spans]
