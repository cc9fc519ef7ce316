"""The example cases run all of every kernel's PTX, in both of its dialects, and notice nearly every mutant of it.

An op's kernels are those that its cases are the first to launch; whatever cases launch one are its checks, each at its
own tolerance. Some mutants of each kind are made, or a few of a long kernel, and all dropped barriers.

In the environment, TINYGRAD_FT_MUTANTS=all takes all mutants (and half an hour), and TINYGRAD_FT_CAPABILITY=12.0 the
newer dialect of PTX; pytest's -rP shows the table of each op and the mutants that live on.
"""

import os
import random
from functools import cache, partial
from typing import NamedTuple

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="kernels compile by numba-cuda: pip install 'tinygrad-ft[emulator]'")

from ptx_mutants import BARRIERS, CHANGES, Score, executed, mutants, score

from tinygrad_ft.cuda.cases import CASES
from tinygrad_ft.cuda.check import answers_on, expected, largest_difference
from tinygrad_ft.cuda.emulator import machine
from tinygrad_ft.cuda.emulator.counters import Counters
from tinygrad_ft.cuda.launch import emulating, recorded
from tinygrad_ft.cuda.ptx import Compiled
from tinygrad_ft.device import device

ALL = os.environ.get("TINYGRAD_FT_MUTANTS") == "all"
CAPABILITY = tuple(map(int, os.environ.get("TINYGRAD_FT_CAPABILITY", "9.0").split(".")))
LONG, FEW = 500, 9  # of a kernel with more instructions, of which a mutant takes a quarter of a second, so many mutants
OPS = list(dict.fromkeys(case.op for case in CASES))

COVERAGE, SHARE = 0.95, 0.85
# Where what lives on is no fault of the cases: a lower share, and the reason.
LOWER = {
    "embedding": 0.75,  # whether ids lie in the table: the reference takes no others, tests/test_cuda_gather.py tries
    "logaddexp": 0.75,  # NVVM's log1p for what no exponential answers, e.g. -0
}


class Subject(NamedTuple):
    """A kernel compiled for some types, the op whose cases launched it first, and what each of its cases counted."""

    op: str
    compiled: Compiled
    counted: dict[int, Counters]  # by the case's place in CASES

    def __str__(self):
        return self.compiled.name

    @property
    def counters(self):
        return sum(self.counted.values(), Counters())

    @property
    def step_limit(self):
        """More than any case takes."""
        return 2_000 + 2 * max(counters.warp_instructions for counters in self.counted.values())

    def mutants(self):
        lines, ptx = executed(self.counters), self.compiled.ptx
        kinds = [kind for kind in CHANGES if kind not in BARRIERS]
        found = mutants(ptx, lines, most=None if ALL else 3, kinds=kinds)
        if len(self.compiled.program.code) > LONG and not ALL:
            found = random.Random(str(self)).sample(found, FEW)
        return found + mutants(ptx, lines, kinds=BARRIERS)

    def checks(self, mutant, times=1.0):
        """Of each case that runs the mutant's line, whether its answer is right; the shortest case first."""
        ran = [(c.warp_instructions, n) for n, c in self.counted.items() if mutant.line in executed(c)]
        return [partial(right, n, times) for _, n in sorted(ran)]


@cache
def inputs_and_answers(n):
    given = CASES[n].inputs(np.random.default_rng(0))
    return given, expected(CASES[n], given)


def right(n, times=1.0, capability=CAPABILITY):
    """Whether a case's answer is within its tolerance, or so many times it. A fault is raised."""
    given, wanted = inputs_and_answers(n)
    with emulating(capability):
        answers = answers_on(device("emulator"), CASES[n], given)
    worst = max(largest_difference(a, b) for a, b in zip(answers, wanted, strict=True))
    return worst <= CASES[n].tolerance * times


@cache
def subjects(capability=CAPABILITY):
    """Every kernel that a case launches."""
    found = {}
    for n, case in enumerate(CASES):
        with recorded() as launches:
            assert right(n, capability=capability), f"{case.op} {case.version}: case {n} is wrong as it is"
        for one in launches:
            counted = found.setdefault(id(one.compiled), Subject(case.op, one.compiled, {})).counted
            counted[n] = counted.get(n, Counters()) + one.counters
    return list(found.values())


def of(op, capability=CAPABILITY):
    return [subject for subject in subjects(capability) if subject.op == op]


def missed(subject):
    """The PTX lines that no case ran, with their Python source."""
    program, lines = subject.compiled.program, {*subject.counters.missed}
    return "\n".join(f"  {i.line}: {i.text}   {program.source(i)}" for i in program.code if i.line in lines)


@pytest.mark.parametrize("capability", [(9, 0), (12, 0)], ids=["older dialect", "newer dialect"])
@pytest.mark.parametrize("op", OPS)
def test_the_cases_run_all_of_a_kernel(op, capability):
    for subject in of(op, capability):
        share = subject.counters.coverage
        assert share >= COVERAGE, f"{subject}: {share:.3f} of its PTX; no case runs\n{missed(subject)}"


@pytest.mark.parametrize("op", OPS)
def test_the_cases_notice_nearly_every_mutant_and_every_dropped_barrier(op):
    scores = {str(s): score(s.compiled, s.mutants(), s.checks, s.step_limit) for s in of(op)}
    told = "\n".join(f"{name}: {100 * one.share:.0f} %\n{one}" for name, one in scores.items())
    print(told)
    together = sum(scores.values(), Score())
    for kind in BARRIERS:
        assert together.noticed[kind] == together.total[kind], told
    assert not scores or together.share >= LOWER.get(op, SHARE), told


@pytest.fixture
def tiled():
    """A kernel with barriers, and a mutant of it without one."""
    (subject,) = [subject for subject in subjects() if str(subject) == "matmul_tiled"]
    return subject, mutants(subject.compiled.ptx, executed(subject.counters), kinds=BARRIERS)[:1]


def test_without_the_emulators_checks_and_at_any_tolerance_a_mutant_lives_on(tiled, monkeypatch):
    subject, found = tiled
    assert score(subject.compiled, found, subject.checks).share == 1.0
    monkeypatch.setattr(machine, "run", partial(machine.run, checks=False))
    assert score(subject.compiled, found, partial(subject.checks, times=np.inf)).share == 0.0


def test_what_no_case_runs_is_told_with_its_line_of_python(tiled):
    subject, _ = tiled
    shortest = min(subject.counted, key=lambda n: subject.counted[n].warp_instructions)
    alone = subject._replace(counted={shortest: subject.counted[shortest]})
    assert alone.counters.coverage < subject.counters.coverage == 1.0
    assert "matmul_tiled.py:" in missed(alone) and not missed(subject)
