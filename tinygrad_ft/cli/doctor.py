"""The command that says what this machine has, what is missing, and how to get it."""

from __future__ import annotations

import argparse
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

# distribution, what it is for; all but the last are dependencies
NEEDED = [
    ("numpy", "arrays"),
    ("numba", "fast CPU kernels"),
    ("scipy", "erf"),
    ("safetensors", "weights"),
    ("matplotlib", "pictures"),
    ("tqdm", "progress bars"),
    ("pooch", "downloads"),
    ("scikit-learn", "data sets"),
    ("torch", "comparison with PyTorch, in tests and benchmarks only: pip install 'tinygrad-ft[reference]'"),
]


def add_commands(commands: Any) -> None:
    """Add doctor."""
    command = commands.add_parser(
        "doctor",
        help="say what this machine has, and what is missing",
        epilog="example: tinygrad-ft doctor --gpu --out gpu-report.json",
    )
    command.add_argument(
        "--gpu", action="store_true", help="check and time every kernel on the GPU, and write a report (default: no)"
    )
    command.add_argument(
        "--out", type=Path, default=Path("gpu-report.json"), help="where --gpu writes it (default gpu-report.json)"
    )
    command.set_defaults(run=_doctor)


def _doctor(arguments: argparse.Namespace) -> int:
    if arguments.gpu:
        return _examine_gpu(arguments.out)
    import numpy as np

    from tinygrad_ft import __version__
    from tinygrad_ft.cuda import state

    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    print(f"tinygrad_ft {__version__}, Python {platform.python_version()}, {machine}")
    missing = []
    for name, purpose in NEEDED:
        try:
            print(f"  {name:<14} {metadata.version(name):<14} {purpose.partition(': ')[0]}")
        except metadata.PackageNotFoundError:
            missing.append(name)
            print(f"  {name:<14} {'missing':<14} {purpose}")
    np.ones((64, 64)) @ np.ones((64, 64))  # so that BLAS is loaded, and can say which kernel it chose
    for line in _blas():
        print(line)
    emulator, gpu = state.emulator(), state.gpu()
    print("devices: cpu" + ", emulator" * emulator.ready + ", cuda" * gpu.ready)
    for said in (emulator.said, state.contract().said, state.tools().said, gpu.said):
        print(said)
    if lacking := [name for name in missing if name != "torch"]:
        print(f"needed and missing: {', '.join(lacking)}; run: pip install {' '.join(lacking)}")
        return 1
    print("all that is needed is here")
    return 0


def _blas() -> list[str]:
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return ["BLAS: unknown; pip install threadpoolctl to see"]
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    said = "BLAS: {internal_api} {version}, kernel {architecture}, {num_threads} threads"
    return [said.format_map({"version": "?", "architecture": "?", **pool}) for pool in pools]


def _examine_gpu(out: Path) -> int:
    """Every kernel on the GPU, beside the CPU and the card's peaks. 1 without a GPU, or if an answer is wrong."""
    from tinygrad_ft.cuda import state

    found = state.gpu()
    if not found.ready:
        print(found.said)
        return 1
    from tinygrad_ft.cuda import measure
    from tinygrad_ft.device import device

    place = device("cuda")
    card = measure.card_here(place.xp)
    print(f"{card.driver_name}: {card.flops / 1e12:.1f} TFLOP/s, {card.bandwidth / 1e9:.0f} GB/s")
    print(f"  by {card.source}")
    print("\nDifference to the CPU: the largest, in units of the last place of the largest number; and to float64")
    cases: list[measure.Correct] = []
    for line in measure.told(measure.correct(place), cases):
        print(line, flush=True)
    print("\nTime of a call, and its share of the card's peaks; reference is CuPy's own way to do the same")
    times = []
    for one in measure.timed(place, measure.seconds_between_events(place.xp)):
        times.append(one)
        print(one.beside(card), flush=True)
    measure.write(out, card, cases, times)
    print(f"written to {out}")
    return 1 if any(case.wrong for case in cases) else 0
