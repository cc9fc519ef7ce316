"""The error of differences against their step, as a picture."""

from __future__ import annotations

import os
from io import BytesIO
from warnings import catch_warnings

import numpy as np

from tinygrad_ft.gradcheck.differences import Curve
from tinygrad_ft.gradcheck.verdict import Finding
from tinygrad_ft.storage import write_atomically


def plot_curve(curve: Curve, finding: Finding, path: str | os.PathLike[str], *, title: str) -> None:
    """Draw how far the slopes at each step are from the number that they were extrapolated to, into a PNG file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    expected = float(np.nan_to_num(finding.expected or 0.0))
    figure = Figure(figsize=(8, 4.5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for name, slopes, style in (
        ("central", curve.central, "o-"),
        ("to the right", curve.right, "--"),
        ("to the left", curve.left, ":"),
    ):
        off = np.abs(slopes - expected)
        shown = np.isfinite(off) & (off > 0)
        axes.plot(curve.steps[shown], off[shown], style, label=f"differences, {name}", markersize=4)
    if finding.got is not None and np.isfinite(finding.got) and finding.got != expected:
        axes.axhline(abs(finding.got - expected), color="tab:red", linewidth=1.2, label="the gradient under test")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("step h")
    axes.set_ylabel(f"distance from {expected:.6g}")
    where = "" if finding.element is None else f" at element {finding.element}"
    axes.set_title(f"{title}: output {finding.output} by {finding.input}{where}: {finding.verdict}", parse_math=False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    picture = BytesIO()
    with catch_warnings(action="ignore"):  # a name in Chinese becomes boxes, and an empty log axis is no news
        figure.savefig(picture, format="png")
    write_atomically(path, picture.getvalue())
