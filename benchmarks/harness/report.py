"""What a comparison says: rows of a table, a picture, and a JSON that keeps every round."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib import metadata
from io import BytesIO
from statistics import median
from typing import Any

from benchmarks.harness.compare import Outcome, Result
from benchmarks.harness.contender import EAGER, JIT, PEERS, THREADS, TORCH
from benchmarks.harness.quiet import LIMIT

COLOURS = {EAGER: "tab:blue", JIT: "tab:orange"}


def machine(chosen: Sequence[str]) -> dict[str, Any]:
    """The processor, what of it is used, and the versions that matter to the chosen contenders."""
    try:
        with open("/proc/cpuinfo") as file:
            model = next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    versions = {"Python": platform.python_version()}
    for name in ("numpy", "numba", *(peer for peer in PEERS if peer in (TORCH, *chosen))):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    cores = os.cpu_count() or 1
    return {"processor": model, "cores": cores, "used_cores": min(THREADS, cores), "versions": versions}


def machine_lines(known: dict[str, Any]) -> str:
    """The machine, in two lines."""
    versions = ", ".join(f"{name} {version}" for name, version in known["versions"].items())
    return f"{known['processor']}, {known['cores']} cores, {known['used_cores']} of them used\n{versions}"


def table(result: Result) -> str:
    """A row for each contender, and whether the machine was quiet: where it was not, a verdict is in doubt."""
    width = max(len(outcome.name) for outcome in result.outcomes)
    rows = [f"{result.work.name}: {result.work.title}"]
    doubt = "?" if result.quiet is False else ""
    rows += [f"  {outcome.name:<{width}}  {_row(outcome, doubt)}" for outcome in result.outcomes]
    return "\n".join([*rows, f"  {_weather(result)}"])


def _row(outcome: Outcome, doubt: str) -> str:
    if outcome.status != "measured":
        return f"{outcome.status}: {outcome.why}"
    low, high = outcome.spread
    verdict = {True: "met", False: "MISSED", None: ""}[outcome.met]
    target = "" if outcome.target is None else f"target {outcome.target:g} {verdict}{doubt}"
    figures = f"{1e3 * median(outcome.seconds):10.3f} ms  ratio {outcome.ratio:6.3f} ({low:.3f} to {high:.3f})"
    memory = f"+{outcome.peak_bytes / 1e6:.1f} MB"
    return f"{figures}  {target:<19}  {memory:>10}  {'; '.join(outcome.libraries)}"


def _weather(result: Result) -> str:
    discarded = f"; {result.discarded} bursts discarded" if result.discarded else ""
    if result.quiet is None:
        return "this system does not tell what other processes use: whether the machine was quiet is unknown"
    if result.quiet:
        return f"quiet: other processes used {max(result.loads):.2f} of a core at most{discarded}"
    loud = [load for load in result.loads if load > LIMIT]
    used = f"{median(loud):.2f} of a core (median; {max(loud):.2f} at most)"
    return f"NOT QUIET: in {len(loud)} of {len(result.loads)} bursts other processes used {used}{discarded}"


def as_json(result: Result) -> dict[str, Any]:
    """All that was found, every round of it; seconds, bytes and cores."""
    contenders = []
    for outcome in result.outcomes:
        row: dict[str, Any] = {"name": outcome.name, "status": outcome.status, "target": outcome.target}
        if outcome.status == "measured":
            row |= {
                "median_seconds": median(outcome.seconds),
                "ratio": outcome.ratio,
                "ratio_quartiles": list(outcome.spread),
                "met": outcome.met,
                "peak_bytes_over_start": outcome.peak_bytes,
                "libraries": outcome.libraries,
                "seconds": outcome.seconds,
                "ratios": outcome.ratios,
                "cores_used_by_others": outcome.others,
            }
        else:
            row["why"] = outcome.why
        contenders.append(row)
    return {
        "name": result.work.name,
        "title": result.work.title,
        "baseline": result.work.baseline,
        "quiet": result.quiet,
        "discarded_bursts": result.discarded,
        "contenders": contenders,
    }


def picture(results: Sequence[Result], *, title: str) -> bytes:
    """A PNG: a bar for each contender's ratio to the baseline, quartiles as whiskers, targets as black marks."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    places, ticks, place = [], [], 0.0
    for result in results:
        measured = [o for o in result.outcomes if o.ratios and o.name != result.work.baseline]
        for n, outcome in enumerate(measured):
            places.append((place + n, outcome))
        if measured:
            label = result.work.name + ("\n(not quiet)" if result.quiet is False else "")
            ticks.append((place + (len(measured) - 1) / 2, label))
            place += len(measured) + 1
    figure = Figure(figsize=(9, 1.6 + 0.24 * place), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_xscale("log")
    axes.axvline(1.0, color="0.5", linewidth=1)
    for y, outcome in places:
        low, high = outcome.spread
        axes.barh(y, outcome.ratio, height=0.8, color=COLOURS.get(outcome.name, "0.75"))
        axes.plot([low, high], [y, y], color="0.25", linewidth=1.2)
        if outcome.target is not None:
            axes.plot([outcome.target] * 2, [y - 0.45, y + 0.45], color="black", linewidth=2.2)
        axes.annotate(
            f" {outcome.name.removeprefix('tinygrad_ft ')} {outcome.ratio:.2g}",
            (max(outcome.ratio, high, outcome.target or 0.0), y),
            va="center",
            fontsize=7,
        )
    axes.set_yticks([y for y, _ in ticks], [label for _, label in ticks])
    axes.invert_yaxis()
    axes.margins(x=0.15)
    baselines = " or ".join(sorted({result.work.baseline for result in results}))
    axes.set_xlabel(f"time, as a multiple of {baselines}'s (less is better); black: target, thin line: quartiles")
    axes.set_title(title, fontsize=9, parse_math=False)
    axes.spines[["top", "right"]].set_visible(False)
    data = BytesIO()
    figure.savefig(data, format="png")
    return data.getvalue()
