"""What kernels may use, as a file that people can read: the compile report, held to by the tests.

A kernel may use fewer registers, less stack, fewer spills and no more words of float64 than its line says, and fill a
multiprocessor no less. `tinygrad-ft kernels build --budget FILE` writes the file anew from the report.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tinygrad_ft.cuda import toolkit
from tinygrad_ft.cuda.report import Row
from tinygrad_ft.storage import read_json, write_atomically

Budget = Mapping[str, Mapping[str, Mapping[str, float]]]  # label -> "sm_90" -> what -> how much
AT_MOST = ("registers", "stack", "spills", "f64")
SMALLEST_LOSS = 0.005  # of occupancy, which the file holds with two digits


def line(row: Row) -> dict[str, float]:
    """What a row of the report says for the file."""
    told = row.as_dict()
    return {what: told[what] for what in (*AT_MOST, "occupancy")}


def broken(rows: Iterable[Row], budget: Budget) -> list[str]:
    """A sentence for each row that uses more than its budget, or has none."""
    said = []
    for row in rows:
        target = row.as_dict()["target"]
        allowed = budget.get(row.use.label, {}).get(target)
        if allowed is None:
            said.append(
                f"{row.use.label} has no budget for {target}: write one with tinygrad-ft kernels build --budget"
            )
            continue
        found = line(row)
        said += [
            f"{row.use.label} on {target}: {what} {found[what]}, and its budget is {allowed[what]}"
            for what in AT_MOST
            if found[what] > allowed[what]
        ]
        if row.occupancy.share < allowed["occupancy"] - SMALLEST_LOSS:
            share, bound = row.occupancy.share, row.occupancy.bound
            said.append(
                f"{row.use.label} on {target}: occupancy {share:.2f}, which {bound} allow, and its budget is "
                f"{allowed['occupancy']}"
            )
    return said


def write(rows: Iterable[Row], path: Path) -> None:
    """Write the file, one line for each kernel and capability."""
    by_label: dict[str, list[str]] = {}
    for row in rows:
        by_label.setdefault(row.use.label, []).append(f'  "{row.as_dict()["target"]}": {json.dumps(line(row))}')
    kernels = [f"{json.dumps(label)}: {{\n" + ",\n".join(lines) + "\n }" for label, lines in by_label.items()]
    made_with = {**toolkit.versions(), "ptxas": toolkit.version_of("ptxas")}
    text = f'{{\n "made with": {json.dumps(made_with)},\n ' + ",\n ".join(kernels) + "\n}\n"
    write_atomically(path, text)


def read(path: Path) -> dict[str, Any]:
    """What the file allows."""
    return {label: lines for label, lines in read_json(path).items() if label != "made with"}
