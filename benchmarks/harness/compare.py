"""One piece of work: its contenders started, held against each other, and timed in turns.

In each round each contender runs for a fraction of a second; a round's figure is the median of its steps, and what is
compared is the figures of one round, which saw the same weather on a shared machine. Quoted is the median over rounds,
with the quartiles as spread.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from math import isclose
from statistics import median, quantiles
from typing import Any

from benchmarks.harness.contender import PEERS, Running, Work
from benchmarks.harness.process import same_for_all, serve
from benchmarks.harness.quiet import LIMIT, Patience

LONGEST_ANSWER = 900.0  # seconds; a contender that is silent for longer has hung


@dataclass
class Outcome:
    """What became of a contender: "measured", or why not, and its figures."""

    name: str
    target: float | None
    status: str = "measured"
    why: str = ""
    seconds: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    others: list[float] = field(default_factory=list)
    peak_bytes: int = 0
    libraries: list[str] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        """The median ratio to the baseline."""
        return median(self.ratios)

    @property
    def spread(self) -> tuple[float, float]:
        """Its quartiles."""
        if len(self.ratios) == 1:
            return self.ratios[0], self.ratios[0]
        low, _, high = quantiles(self.ratios, n=4, method="inclusive")
        return low, high

    @property
    def met(self) -> bool | None:
        """Was the target met; None if there is none."""
        return self.ratio <= self.target if self.ratios and self.target is not None else None


@dataclass
class Result:
    """What a comparison found. `quiet` is None where the machine does not tell what others use."""

    work: Work
    outcomes: list[Outcome]
    discarded: int = 0

    @property
    def loads(self) -> list[float]:
        """What others used during each burst that counts, in cores."""
        return [load for outcome in self.outcomes for load in outcome.others]

    @property
    def quiet(self) -> bool | None:
        """Was the machine quiet during every burst that counts?"""
        return max(self.loads) <= LIMIT if self.loads else None


class _Contender:
    """A contender's process, seen from outside."""

    def __init__(self, make: Callable[[], Running], checked_steps: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, make, checked_steps), daemon=True)
        with same_for_all():
            self.process.start()
        theirs.close()  # so that the end of the process is the end of the pipe

    def answer(self) -> Any:
        """What it sends next.

        Raises:
            RuntimeError: if it says that it failed, has ended, or has hung.
        """
        try:
            if not self.pipe.poll(LONGEST_ANSWER):
                raise RuntimeError(f"no answer in {LONGEST_ANSWER:.0f} seconds")
            answer = self.pipe.recv()
        except (EOFError, ConnectionError):
            self.process.join(10)
            raise RuntimeError(f"its process ended with code {self.process.exitcode}") from None
        if answer[0] == "failed":
            raise RuntimeError(answer[1])
        return answer

    def asked(self, question: Any) -> Any:
        """The answer to a question."""
        self.pipe.send(question)
        return self.answer()

    def end(self) -> None:
        """Let it go; one that does not go is killed."""
        self.pipe.close()
        self.process.join(2)
        if self.process.is_alive():
            self.process.kill()


def compare(work: Work, chosen: list[str], *, rounds: int, seconds: float, patience: float) -> Result:
    """Time the chosen contenders and the baseline; one that computes something else than the baseline is not timed.

    Args:
        rounds: how often each has its turn, after one to warm up.
        seconds: how long a turn is, one step at least.
        patience: the seconds to wait in all until the machine is quiet.

    Raises:
        RuntimeError: if the baseline itself cannot run: there is nothing to compare with then.
    """
    names = [name for name in work.contenders if name in chosen and name != work.baseline]
    outcomes = {name: Outcome(name, work.targets.get(name)) for name in (*names, work.baseline)}
    result = Result(work, list(outcomes.values()))
    running: dict[str, _Contender] = {}
    try:
        for name in (work.baseline, *names):  # all build their problems at once
            if name in PEERS and find_spec(name) is None:
                outcomes[name].status, outcomes[name].why = "not installed", f"pip install {name}"
            else:
                running[name] = _Contender(work.contenders[name], work.checked_steps)
        expected = _first(work.baseline, outcomes, running)
        if work.baseline not in running:
            baseline = outcomes[work.baseline]
            raise RuntimeError(f"{work.name}: the baseline {work.baseline} is {baseline.status}: {baseline.why}")
        for name in [name for name in names if name in running]:
            numbers = _first(name, outcomes, running)
            tolerance = work.loose.get(name, work.tolerance)
            if name in running and not _agree(numbers, expected, tolerance):
                outcomes[name].status = "refused"
                outcomes[name].why = f"computes {_few(numbers)}, {work.baseline} {_few(expected)}: nothing to compare"
                running.pop(name).end()
        result.discarded = _time(work, outcomes, running, rounds, seconds, Patience(patience))
    finally:
        for contender in running.values():
            contender.end()
    return result


def _first(name: str, outcomes: dict[str, Outcome], running: dict[str, _Contender]) -> list[float]:
    """The first numbers of a contender; one that has none is among the running ones no longer."""
    if name not in running:
        return []
    try:
        status, said = running[name].answer()
    except RuntimeError as error:
        status, said = "failed", str(error)
    if status == "ready":
        return list(said)
    outcomes[name].status, outcomes[name].why = status, said
    running.pop(name).end()
    return []


def _agree(numbers: list[float], expected: list[float], tolerance: float) -> bool:
    pairs = zip(numbers, expected, strict=False)
    return len(numbers) == len(expected) and all(isclose(a, b, rel_tol=tolerance, abs_tol=1e-12) for a, b in pairs)


def _few(numbers: list[float]) -> str:
    return ", ".join(f"{x:.6g}" for x in numbers[:6]) + (", ..." if len(numbers) > 6 else "")


def _time(
    work: Work,
    outcomes: dict[str, Outcome],
    running: dict[str, _Contender],
    rounds: int,
    seconds: float,
    patience: Patience,
) -> int:
    """Rounds of bursts, into the outcomes; the number of bursts that were discarded."""
    for n in range(rounds + 1):
        for name in [*running]:
            try:
                figure, others = patience.burst(lambda name=name: running[name].asked(seconds))  # type: ignore[misc]
            except (RuntimeError, OSError) as error:
                if name == work.baseline:
                    raise RuntimeError(f"{work.name}: the baseline {name} failed: {error}") from None
                outcomes[name].status, outcomes[name].why = "failed", str(error)
                outcomes[name].seconds.clear()
                running.pop(name).end()
                continue
            if n:  # the first round warms up caches, pools and clocks
                outcomes[name].seconds.append(figure)
                outcomes[name].others += [] if others is None else [others]
    for name, contender in running.items():
        outcome = outcomes[name]
        outcome.peak_bytes, outcome.libraries = contender.asked(None)
        outcome.ratios = [a / b for a, b in zip(outcome.seconds, outcomes[work.baseline].seconds, strict=True)]
    return patience.discarded
