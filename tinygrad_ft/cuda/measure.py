"""What a GPU achieves: every kernel's answers beside the CPU's, and its bytes and operations a second beside the peak.

Only for a machine with a GPU. Times are those between two events on CuPy's current stream, at sizes for which the GPU
takes longer than the host does to hand the next call over.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from tinygrad_ft.cuda import toolkit
from tinygrad_ft.cuda.cards import CARDS, LIMITS, Card, nearest
from tinygrad_ft.cuda.cases import CASES, Case
from tinygrad_ft.cuda.check import answers_on, checked, largest_difference, ready
from tinygrad_ft.cuda.launch import recorded
from tinygrad_ft.cuda.workloads import WORKLOADS, workload
from tinygrad_ft.device import Device, cpu
from tinygrad_ft.dispatch import REFERENCE
from tinygrad_ft.kernel_choice import use_kernels
from tinygrad_ft.ops.composed import every
from tinygrad_ft.storage import write_atomically

REPEATS = 20
SIZES = {
    "matmul": (2048, 2048, 2048),
    "linear": (2048, 2048, 2048),
    "flash_attention": (1024, 64, 64),
    "flash_attention_grad": (1024, 64, 64),
}
USUAL_SIZE = (8192, 4096, 8192)  # 128 MB an array, more than second caches hold

Elapsed = Callable[[Callable[[], Any]], float]


class Correct(NamedTuple):
    """One case on the GPU: its difference to the CPU in float32, and whether it is near enough to float64.

    `ulps` counts units in the last place of the largest number of the CPU's answer.
    """

    op: str
    version: str | None
    given: str
    ulps: float
    difference: float
    tolerance: float
    wrong: str


class Timed(NamedTuple):
    """One kernel at one size: bytes to be moved at least, operations to be done, and the time it took.

    `version` is "reference" for the op's own forward, as CuPy runs it: what the kernels are to be compared with.
    `wrong` says why there is no time.
    """

    op: str
    version: str
    size: tuple[int, int, int]
    seconds: float
    bytes: int
    flops: float
    wrong: str = ""

    @property
    def bandwidth(self) -> float:
        """Bytes a second."""
        return self.bytes / self.seconds

    @property
    def speed(self) -> float:
        """Operations a second."""
        return self.flops / self.seconds

    def beside(self, card: Card) -> str:
        """A line with both rates, and their shares of the card's peaks."""
        name = f"{self.op:<20} {self.version:<22}"
        if self.wrong:
            return f"{name} {self.wrong}"
        moved, done = self.bandwidth / card.bandwidth, self.speed / card.flops
        return (
            f"{name} {self.seconds * 1e6:9.1f} us  {self.bandwidth / 1e9:7.1f} GB/s {moved:4.0%}"
            f"  {self.speed / 1e12:6.2f} TFLOP/s {done:4.0%}"
        )


def correct(place: Device, *, seed: int = 0) -> Iterator[Correct]:
    """Every example case, one after the other."""
    for case in CASES:
        outcome = checked(case, place.name, seed=seed)
        ulps = np.inf if np.isinf(outcome.difference) else _ulps(place, case, seed)
        yield Correct(case.op, case.version, outcome.given, ulps, outcome.difference, case.tolerance, outcome.wrong)


def told(cases: Iterable[Correct], seen: list[Correct]) -> Iterator[str]:
    """A line for each kernel of each op, with the largest of its differences, and one for each case that is wrong.

    A line comes as soon as the next kernel begins. The cases are added to `seen`.
    """
    for (op, version), found in groupby(cases, lambda case: (case.op, case.version)):
        seen += (some := list(found))
        worst = max(some, key=lambda case: case.difference / (case.tolerance or 1.0))
        yield (
            f"{'WRONG' if any(case.wrong for case in some) else 'ok   '} {op:<20} {version or '':<22} "
            f"{len(some):2} {'case ' if len(some) == 1 else 'cases'} {max(case.ulps for case in some):7.1f} ulp "
            f"{worst.difference:8.1e} of {worst.tolerance:.1e}"
        )
        yield from (f"      {case.given}: {case.wrong}" for case in some if case.wrong)


def _ulps(place: Device, case: Case, seed: int) -> float:
    inputs = case.inputs(np.random.default_rng(seed))
    theirs = answers_on(place, case, inputs)
    ours = answers_on(cpu, case._replace(version=None), inputs)
    return max((_apart(a, b) for a, b in zip(theirs, ours, strict=True)), default=0.0)


def _apart(a: np.ndarray, b: np.ndarray) -> float:
    """The largest difference in units of the last place of b's largest number; of integers, how many differ."""
    if b.size == 0 or b.dtype.kind != "f":
        return float(np.sum(a != b))
    unit = np.spacing(np.abs(b[np.isfinite(b)]).max(initial=0))
    return float(largest_difference(a, b) / unit)


def timed(place: Device, elapsed: Elapsed) -> Iterator[Timed]:
    """Every kernel of every op that can be sized, one after the other, and the op's own forward after them.

    `elapsed(call)` is how many seconds a call takes on the device.
    """
    for op in WORKLOADS:
        kernels = every()[op].kernels
        if kernels is None:
            continue
        kernels.load("cuda")
        size = SIZES.get(op, USUAL_SIZE)
        for version in [kernel.name for kernel in kernels.by_device.get("cuda", ())] + [REFERENCE]:
            case, flops = workload(op, *size, version=version)
            seconds, moved, wrong = np.inf, 0, ""
            try:
                with use_kernels(**{op: version}):
                    seconds, moved = _time(place, case, elapsed)
            except Exception as error:  # the driver's, or of memory: the other kernels are still to be measured
                wrong = f"{type(error).__name__}: {' '.join(str(error).split())}"
            yield Timed(op, version, size, seconds, moved, flops, wrong)


def _time(place: Device, case: Case, elapsed: Elapsed) -> tuple[float, int]:
    """The median of a call's seconds, after one that compiles; and the bytes of what goes in and what comes out."""
    inputs = case.inputs(np.random.default_rng(0))
    call = ready(place, case, inputs)
    with recorded() as launches:
        moved = sum(x.nbytes for x in [*inputs, *call()] if hasattr(x, "nbytes"))
    if not launches and case.version != REFERENCE:
        raise ValueError("no kernel was launched: it is not for this size")
    return median(elapsed(call) for _ in range(REPEATS)), moved


def seconds_between_events(cupy: Any) -> Elapsed:
    """Times a call on CuPy's current stream.

    A call before it keeps the GPU at work while the host hands over what is timed, so the host's share is not in it.
    """

    def elapsed(call: Callable[[], Any]) -> float:
        start, end = cupy.cuda.Event(), cupy.cuda.Event()
        call()
        start.record()
        call()
        end.record()
        end.synchronize()
        return float(cupy.cuda.get_elapsed_time(start, end)) / 1e3  # milliseconds

    return elapsed


def card_here(cupy: Any) -> Card:
    """The current GPU: of the table if its name is there, or else with the peaks that its own attributes make."""
    device = cupy.cuda.Device()
    name = cupy.cuda.runtime.getDeviceProperties(device.id)["name"].decode()
    for card in CARDS.values():
        if card.driver_name == name:
            return card
    told, digits = device.attributes, device.compute_capability
    capability = nearest((int(digits[:-1]), int(digits[-1])))
    several, clock = told["MultiProcessorCount"], told["ClockRate"] * 1e3  # of kHz
    bandwidth = 2 * told["MemoryClockRate"] * 1e3 * told["GlobalMemoryBusWidth"] / 8  # two transfers a clock
    flops = 2 * several * LIMITS[capability].lanes * clock
    return Card(name, capability, name, several, clock, flops, bandwidth, "the driver")


def write(path: Path, card: Card, cases: Iterable[Correct], times: Iterable[Timed]) -> None:
    """The report as JSON, in which null stands for what has no number."""
    rates = [
        {**one._asdict(), "bytes_per_second": one.bandwidth, "flops_per_second": one.speed}
        if not one.wrong
        else {**one._asdict(), "seconds": None}
        for one in times
    ]
    compared = [{**c._asdict(), "ulps": _finite(c.ulps), "difference": _finite(c.difference)} for c in cases]
    report = {"card": card._asdict(), "made with": toolkit.versions(), "cases": compared, "times": rates}
    write_atomically(path, json.dumps(report, indent=1, allow_nan=False) + "\n")


def _finite(number: float) -> float | None:
    return number if np.isfinite(number) else None
