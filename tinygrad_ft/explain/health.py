"""The health of gradients in training: dead ReLUs, layers that vanish or explode, and updates against weights."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import numpy as np

from tinygrad_ft.engine import Op, Value
from tinygrad_ft.explain.record import on_cpu
from tinygrad_ft.explain.table import html_table, text_table
from tinygrad_ft.storage import write_atomically
from tinygrad_ft.watch import Watch

VANISHING, EXPLODING = 1e-3, 1e3  # a gradient's size an element, against the median over the parameters
STILL, WILD = 1e-6, 1e-1  # an update's size against its weights'; about 1e-3 is usual
DEAD = 0.5  # of a ReLU's units
RECTIFIERS = ("relu",)
HEAD = ("parameter", "gradient rms", "weight rms", "update / weight", "verdict")
UNITS = ("ReLU", "units", "dead", "verdict")


@dataclass
class Units:
    """The units of one ReLU: which of them ever let something through, over all that was watched."""

    alive: np.ndarray[Any, Any]

    @property
    def dead(self) -> float:
        """The part of the units that were 0 for every example."""
        return float(np.mean(~self.alive))


@dataclass
class Series:
    """What was measured of one parameter, a number a step: root mean squares, and the ratio of update to weight."""

    gradient: list[float] = field(default_factory=list)
    weight: list[float] = field(default_factory=list)
    ratio: list[float] = field(default_factory=list)


class Health(Watch):
    """A context to train in, which looks at gradients, weights and ReLUs; `print` it, or draw its `picture`.

        with tg.explain.Health(model) as health:
            for x, y in batches:
                optimizer.zero_grad()
                loss_of(model, x, y).backward()
                optimizer.step()
                health.step()

    ReLUs are known by the order in which they run in a step, their units by the last axis (of images: by the second).
    A step made by `tg.jit` shows its gradients and updates, but not its ReLUs, which run in no op call.

    Args:
        model: a Module, of which only `named_parameters` is asked.
    """

    def __init__(self, model: Any):
        self.model = model
        self.series: dict[str, Series] = {}
        self.units: list[Units] = []
        self._seen = 0  # ReLUs since the last step
        self._before = {name: np.array(on_cpu(p.array)) for name, p in model.named_parameters()}

    def call(self, op: Op, inputs: Sequence[Any], params: dict[str, Any]) -> Any:
        """The op's answer; of a ReLU it is noted which units are not 0."""
        y = op(*inputs, **params)
        if op.name in RECTIFIERS and isinstance(y, Value) and y.ndim:
            self._note(on_cpu(y.array) > 0)
        return y

    def _note(self, positive: np.ndarray[Any, Any]) -> None:
        axis = 1 if positive.ndim == 4 else positive.ndim - 1
        alive = np.asarray(positive.any(axis=tuple(i for i in range(positive.ndim) if i != axis)))
        if self._seen == len(self.units):
            self.units.append(Units(alive))
        elif self.units[self._seen].alive.shape == alive.shape:
            self.units[self._seen].alive |= alive
        self._seen += 1

    def step(self) -> None:
        """Measure: after the optimiser's step, before gradients are set to zero."""
        self._seen = 0
        for name, p in self.model.named_parameters():
            now = np.array(on_cpu(p.array))
            before = self._before.get(name, now)
            series = self.series.setdefault(name, Series())
            weight = _rms(before)
            series.gradient.append(_rms(on_cpu(p.grad.array)) if p.grad is not None else 0.0)
            series.weight.append(weight)
            series.ratio.append(_rms(now - before) / weight if weight else 0.0)
            self._before[name] = now

    def verdicts(self) -> dict[str, str]:
        """Of each parameter what is wrong with it, by the medians over the steps; "" for what is well."""
        sizes = {name: _middle(s.gradient) for name, s in self.series.items()}
        typical = _middle([g for g in sizes.values() if np.isfinite(g) and g > 0])
        return {name: _verdict(sizes[name], typical, s) for name, s in self.series.items()}

    def rows(self) -> list[list[str]]:
        """A row a parameter: name, gradient, weight and ratio (medians over the steps), verdict."""
        verdicts = self.verdicts()
        return [
            [name, f"{_middle(s.gradient):.2e}", f"{_middle(s.weight):.2e}", f"{_middle(s.ratio):.1e}", verdicts[name]]
            for name, s in self.series.items()
        ]

    def unit_rows(self) -> list[list[str]]:
        """A row a ReLU: its number in the order of running, units, the part of them that is dead, verdict."""
        return [
            [str(i), str(u.alive.size), f"{u.dead:.0%}", "mostly dead" if u.dead > DEAD else ""]
            for i, u in enumerate(self.units, 1)
        ]

    def __repr__(self) -> str:
        text = text_table(HEAD, self.rows(), right=(1, 2, 3))
        return text + ("\n\n" + text_table(UNITS, self.unit_rows(), right=(1, 2)) if self.units else "")

    def _repr_html_(self) -> str:
        return html_table(HEAD, self.rows()) + (html_table(UNITS, self.unit_rows()) if self.units else "")

    def picture(self, path: str | os.PathLike[str]) -> None:
        """Draw gradients by layer, ratios of update to weight by step, and dead units into a PNG file.

        Raises:
            ValueError: if no step was measured.
        """
        if not self.series:
            raise ValueError("nothing to draw: call step() of Health after each step of the optimiser")
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        names = list(self.series)
        tall = max(3.2, 0.22 * len(names) + 1)
        figure = Figure(figsize=(13, min(tall, 40)), dpi=110, layout="constrained")
        FigureCanvasAgg(figure)
        layers, updates, dead = figure.subplots(1, 3)
        places = range(len(names))
        sizes = [_middle(s.gradient) for s in self.series.values()]
        bars = [g if np.isfinite(g) else 0.0 for g in sizes]
        layers.barh(places, bars, color=["0.25" if v else "0.7" for v in self.verdicts().values()])
        if any(bars):
            layers.set_xscale("log")
        layers.set_yticks(places, names, fontsize=7, parse_math=False)
        layers.invert_yaxis()
        layers.set_xlabel("root mean square of the gradient")
        layers.set_title("gradients by layer; dark: not well")
        for name, style in zip(names, _styles(len(names)), strict=True):
            updates.plot(np.maximum(self.series[name].ratio, 1e-12), color=style, linewidth=0.9)
        updates.axhspan(STILL, WILD, color="0.93", zorder=0)
        updates.set_yscale("log")
        updates.set_xlabel("steps")
        updates.set_ylabel("size of update / size of weights")
        updates.set_title("updates; first layers dark, band: usual")
        dead.bar(range(1, len(self.units) + 1), [100 * u.dead for u in self.units], color="0.4")
        dead.set_ylim(0, 100)
        dead.set_xlabel("ReLU, in the order of running")
        dead.set_ylabel("dead units (%)")
        dead.set_title("units that were 0 for every example")
        for axes in (layers, updates, dead):
            axes.spines[["top", "right"]].set_visible(False)
        drawn = BytesIO()
        figure.savefig(drawn, format="png")
        write_atomically(path, drawn.getvalue())


def _verdict(size: float, typical: float, series: Series) -> str:
    if not np.isfinite(size) or not all(np.isfinite(series.gradient)):
        return "gradient is not finite"
    if size == 0:
        return "no gradient"
    ratio = _middle(series.ratio)
    if size < VANISHING * typical:
        return "vanishing gradient"
    if size > EXPLODING * typical:
        return "exploding gradient"
    if ratio > WILD:
        return "updates too large"
    return "hardly moves" if 0 < ratio < STILL else ""


def _styles(count: int) -> list[str]:
    """Greys from dark, for the first layer, to light."""
    return [f"{0.1 + 0.65 * i / max(count - 1, 1):.2f}" for i in range(count)]


def _rms(a: np.ndarray[Any, Any]) -> float:
    with np.errstate(all="ignore"):
        return float(np.sqrt(np.mean(np.square(a, dtype=np.float64)))) if a.size else 0.0


def _middle(numbers: Sequence[float]) -> float:
    return float(np.median(numbers)) if numbers else 0.0
