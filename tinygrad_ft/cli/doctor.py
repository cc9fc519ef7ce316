"""The command that says what this machine has, what is missing, and how to get it."""

from __future__ import annotations

import argparse
import os
import platform
from importlib import metadata
from typing import Any

from tinygrad_ft.device import DEVICES

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
        "doctor", help="say what this machine has, and what is missing", epilog="example: tinygrad-ft doctor"
    )
    command.set_defaults(run=_doctor)


def _doctor(arguments: argparse.Namespace) -> int:
    import numpy as np

    from tinygrad_ft import __version__

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
    print(f"devices: {', '.join(map(str, DEVICES.values()))}")
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
