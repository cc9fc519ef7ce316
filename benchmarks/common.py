"""How every benchmark measures: contenders in processes of their own, taking turns, compared by ratio.

Each contender is a function that builds its problem and answers a step: a function without arguments that does the
work once and answers a number, by which the contenders are held against each other before anything is timed. In each
round each contender runs for a fraction of a second; a round's figure is the median of its steps, so that one round
of both sees the same weather on a shared machine. Quoted is the median over rounds, with the quartiles as spread.
"""

from __future__ import annotations

import multiprocessing
import os
import platform
from collections.abc import Callable
from math import isclose
from statistics import median, quantiles
from time import perf_counter
from typing import Any, NamedTuple

Step = Callable[[], float]


class Work(NamedTuple):
    """A piece of work: what it is called, who does it, and what our share of the rival's time may be."""

    name: str
    contenders: dict[str, Callable[[], Step]]
    target: float
    checked_steps: int = 3
    tolerance: float = 1e-4


def _serve(pipe: Any, make: Callable[[], Step], checked_steps: int) -> None:
    """A contender's process: answers its first numbers, then the median time of a step for every burst asked for."""
    step = make()
    pipe.send([float(step()) for _ in range(checked_steps)])
    while (seconds := pipe.recv()) is not None:
        times, until = [], perf_counter() + seconds
        while perf_counter() < until or not times:
            started = perf_counter()
            step()
            times.append(perf_counter() - started)
        pipe.send(median(times))
    pipe.send(blas_lines())


def blas_lines() -> list[str]:
    """The BLAS libraries loaded in this process, with the kernel that each chose."""
    from threadpoolctl import threadpool_info

    return [f"{p['internal_api']} {p.get('architecture', '')} {p['num_threads']} threads" for p in threadpool_info()]


def compare(work: Work, *, rounds: int, seconds: float) -> float:
    """Time the contenders of one piece of work in turns; prints a row each, answers our ratio to the last of them."""
    context = multiprocessing.get_context("spawn")
    pipes, processes, first = {}, [], {}
    for name, make in work.contenders.items():
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, make, work.checked_steps), daemon=True)
        process.start()
        pipes[name], first[name] = ours, ours.recv()
        processes.append(process)
    rival = list(work.contenders)[-1]
    for name, numbers in first.items():
        pairs = zip(numbers, first[rival], strict=True)
        if not all(isclose(a, b, rel_tol=work.tolerance) for a, b in pairs):
            raise AssertionError(f"{work.name}: {name} computes {numbers}, {rival} {first[rival]}: nothing to compare")
    times: dict[str, list[float]] = {name: [] for name in pipes}
    for n in range(rounds + 1):
        for name, pipe in pipes.items():
            pipe.send(seconds)
            taken = pipe.recv()
            if n:  # the first round warms up caches, pools and clocks
                times[name].append(taken)
    print(work.name)
    ratio = 0.0
    for name, pipe in pipes.items():
        pipe.send(None)
        ratios = [a / b for a, b in zip(times[name], times[rival], strict=True)]
        low, _, high = quantiles(ratios, n=4)
        row = (
            f"  {name:<12} {1e3 * median(times[name]):9.3f} ms   ratio {median(ratios):5.2f} ({low:.2f} to {high:.2f})"
        )
        print(f"{row}   {'; '.join(pipe.recv())}")
        ratio = ratio or median(ratios)
    print(f"  target {work.target:.2f}: {'met' if ratio <= work.target else 'MISSED'}")
    for process in processes:
        process.join()
    return ratio


def describe_machine() -> str:
    """The processor, the cores, and the versions that matter."""
    import numpy
    import torch

    try:
        with open("/proc/cpuinfo") as file:
            model = next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor()
    versions = f"Python {platform.python_version()}, NumPy {numpy.__version__}, PyTorch {torch.__version__}"
    load = f"load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return f"{model}, {os.cpu_count()} cores, {load}; {versions}"
