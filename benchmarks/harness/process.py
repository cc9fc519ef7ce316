"""A contender's process: it computes its first numbers, then a burst of steps whenever it is asked."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from statistics import median
from time import perf_counter
from typing import Any

from benchmarks.harness.contender import THREADS, NotAvailable, Running
from benchmarks.harness.quiet import Watch

# What would choose another BLAS kernel than the machine's best, or another number of threads, for some of them.
SWAYING = (
    "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS",
)  # fmt: skip


@contextmanager
def same_for_all() -> Iterator[None]:
    """Processes started inside find none of the variables that sway them, and THREADS processors."""
    taken = {name: os.environ.pop(name) for name in SWAYING if name in os.environ}
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    try:
        if allowed:
            os.sched_setaffinity(0, sorted(allowed)[:THREADS])
        yield
    finally:
        os.environ.update(taken)
        if allowed:
            os.sched_setaffinity(0, allowed)


def serve(pipe: Any, make: Callable[[], Running], checked_steps: int) -> None:
    """Send ("ready", the first numbers), then (median seconds of a step, what others used) for every length received.

    In the end, when None is received, send (peak bytes over what was there before the first step, libraries).
    What goes wrong is sent as ("not available" or "failed", why), and is the end.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer, and it ends its children
    try:
        contender = make()
        before = _resident_from_here()
        pipe.send(("ready", [float(x) for _ in range(checked_steps) for x in contender.numbers(contender.step())]))
        while (seconds := pipe.recv()) is not None:
            pipe.send(_burst(contender.step, seconds))
        pipe.send((max(0, _peak() - before), libraries()))
    except NotAvailable as reason:
        pipe.send(("not available", str(reason)))
    except (EOFError, ConnectionError):  # the parent is gone, or has let go of this one
        return
    except Exception as error:
        pipe.send(("failed", f"{type(error).__name__}: {' '.join(str(error).split())}"))


def _burst(step: Callable[[], Any], seconds: float) -> tuple[float, float | None]:
    """The median of the steps of so many seconds, one at least."""
    times, watch, until = [], Watch(), perf_counter() + seconds
    while perf_counter() < until or not times:
        started = perf_counter()
        step()
        times.append(perf_counter() - started)
    return median(times), watch.others()


def _resident_from_here() -> int:
    """The bytes this process holds; the peak is counted anew from here, where the system can."""
    with suppress(OSError), open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    return _status("VmRSS") or _peak()


def _peak() -> int:
    """The most bytes this process held; Linux's ru_maxrss would count what the parent held when it started this one."""
    if (known := _status("VmHWM")) is not None:
        return known
    try:
        import resource
    except ImportError:  # Windows
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _status(field: str) -> int | None:
    with suppress(OSError), open("/proc/self/status") as file:
        for line in file:
            if line.startswith(field):
                return 1024 * int(line.split()[1])
    return None


def libraries() -> list[str]:
    """The BLAS and thread libraries loaded in this process, the kernel that each chose, and its threads."""
    lines = []
    if torch := sys.modules.get("torch"):
        capability = torch.backends.cpu.get_cpu_capability()
        lines.append(f"torch {capability} {torch.get_num_threads()} threads")
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return [*lines, "BLAS unknown: pip install threadpoolctl"]
    for pool in threadpool_info():
        words = (pool["internal_api"], pool.get("architecture"), f"{pool['num_threads']} threads")
        lines.append(" ".join(filter(None, words)))
    return sorted(set(lines))
