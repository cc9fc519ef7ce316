"""The compile report, occupancy, the budget, and the figures of cards: each against its source."""

import itertools
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="the compile report needs numba-cuda: pip install 'tinygrad-ft[gpu-check]'")

from cuda_kernels import make_reversed, scaled, turned

from tinygrad_ft.cuda import budget, report, toolkit
from tinygrad_ft.cuda.cards import CARDS, LIMITS, WARP, card_named, nearest, occupancy
from tinygrad_ft.cuda.cases import CASES
from tinygrad_ft.cuda.check import compiled
from tinygrad_ft.cuda.compile import Kernel, cuda, float32
from tinygrad_ft.cuda.ptx import Compiled

X = np.zeros(64, np.float32)
GIVEN = {"version": "test", "moves": "", "why": ""}
THREE = [(8, 0), (9, 0), (12, 0)]


@pytest.fixture(autouse=True)
def with_ptxas():
    try:
        toolkit.tool("ptxas")
        toolkit.tool("nvdisasm")
    except toolkit.MissingToolkit as error:
        pytest.skip(str(error))


def use_of(kernel, *arguments, threads=64, shared=0):
    return report.Use(kernel, kernel.signature(*arguments), threads, shared)


def spilling(x, y):
    """More numbers at once than 24 registers hold."""
    i = cuda.grid(1)
    kept = cuda.local.array(40, float32)
    for k in range(40):
        kept[k] = x[i + k]
    for k in range(40):
        y[i + k] = kept[39 - k] * kept[k]


def indexing(x, y):
    """An array that registers cannot be, since its index is known only when it runs."""
    i = cuda.grid(1)
    kept = cuda.local.array(64, float32)
    for k in range(64):
        kept[k] = float32(0)
    for k in range(x.size):
        kept[int(x[k])] += x[i]
    y[i] = kept[int(x[i])]


def doubling(x, y):
    i = cuda.grid(1)
    y[i] = x[i] * 0.1


# What the tools say


@pytest.mark.parametrize("capability", THREE)
def test_the_report_of_a_small_kernel_is_what_its_source_says(capability):
    (row,) = report.report([use_of(turned, X, X)], [capability])
    figures = row.figures
    assert (figures.stack, figures.spills, figures.f64, figures.shared) == (0, 0, 0, 64 * 4)
    assert 8 <= figures.registers <= 32
    assert row.occupancy == occupancy(capability, figures.registers, 64 * 4, 64)
    counted = report.instructions(turned.ptx(turned.signature(X, X), capability))
    once = {"ldg": 1, "stg": 1, "lds": 1, "sts": 1, "bar": 1, "ffma": 0, "shfl": 0, "ldl": 0, "hmma": 0, "lds128": 0}
    assert {name: counted[name] for name in once} == once
    assert counted["all"] > 16


@pytest.mark.parametrize("capability", THREE)
def test_spills_a_stack_and_float64_are_seen(capability):
    planted = Kernel(spilling, registers=24, **GIVEN), Kernel(indexing, **GIVEN), Kernel(doubling, **GIVEN)
    spills, stack, wide = (row.figures for row in report.report([use_of(k, X, X) for k in planted], [capability]))
    assert spills.spill_stores > 0 and spills.spill_loads > 0 and spills.registers <= 24
    assert stack.stack > 0
    assert wide.f64 > 0 == spills.f64 == stack.f64


def test_what_ptxas_refuses_is_one_line_with_the_kernel_and_its_words(tmp_path):
    broken = Compiled(
        "turned", turned.ptx(turned.signature(X, X), (9, 0)).ptx.replace("bar.sync", "bar.sing"), (9, 0), tmp_path
    )
    with pytest.raises(RuntimeError, match=r"ptxas refuses kernel turned for sm_90: .*line \d+.*bar") as caught:
        report.figures(broken)
    assert "\n" not in str(caught.value)


def test_an_answer_of_the_tools_is_kept_and_a_broken_one_is_asked_for_again(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "cache_folder", lambda kind: tmp_path)
    compiled = turned.ptx(turned.signature(X, X), (9, 0))
    first, asked = report.figures(compiled), []
    monkeypatch.setattr(report, "_allotted", lambda text: asked.append(text) or first._asdict())
    assert report.figures(compiled) == first and asked == []
    (path,) = tmp_path.iterdir()
    path.write_text("{")
    assert report.figures(compiled) == first and asked == [compiled]


# How kernels are told apart


def test_the_label_says_name_constants_types_and_threads():
    assert use_of(turned, X, X).label == "turned threads=64 (2 float32 1d) x 64"
    assert use_of(scaled, X, X, 2.0, 8, threads=256).label == "scaled (2 float32 1d, float32, int64) x 256"


# Occupancy

PROGRAM = r"""
#include <stdio.h>
#include "cuda_occupancy.h"
int main(void) {
    int major, minor, registers, used, block, threads, shared, kept;
    while (scanf("%d %d %d %d %d %d %d %d", &major, &minor, &registers, &used, &block, &threads, &shared, &kept) == 8) {
        cudaOccDeviceProp card = {0};
        cudaOccFuncAttributes kernel = {0};
        cudaOccDeviceState state = {0};
        cudaOccResult result;
        card.computeMajor = major; card.computeMinor = minor; card.maxThreadsPerBlock = 1024;
        card.maxThreadsPerMultiprocessor = threads; card.regsPerBlock = card.regsPerMultiprocessor = 65536;
        card.warpSize = 32; card.sharedMemPerBlock = 49152; card.sharedMemPerMultiprocessor = shared; card.numSms = 1;
        card.sharedMemPerBlockOptin = shared - kept; card.reservedSharedMemPerBlock = kept;
        kernel.maxThreadsPerBlock = 1024; kernel.numRegs = registers; kernel.numBlockBarriers = 1;
        kernel.partitionedGCConfig = PARTITIONED_GC_OFF; kernel.shmemLimitConfig = FUNC_SHMEM_LIMIT_OPTIN;
        kernel.maxDynamicSharedSizeBytes = shared - kept;
        state.carveoutConfig = SHAREDMEM_CARVEOUT_MAX_SHARED;
        int error = cudaOccMaxActiveBlocksPerMultiprocessor(&result, &card, &kernel, &state, block, used);
        printf("%d\n", error ? -1 : result.activeBlocksPerMultiprocessor);
    }
    return 0;
}
"""


def test_occupancy_is_that_of_nvidias_own_header_for_thousands_of_kernels(tmp_path):
    headers = toolkit.tool("ptxas").parents[1] / "include"
    compiler = shutil.which("cc")
    if compiler is None or not (headers / "cuda_occupancy.h").exists():
        pytest.skip("needs a C compiler and cuda_occupancy.h, which nvidia-cuda-runtime brings")
    (tmp_path / "occupancy.c").write_text(PROGRAM)
    order = [compiler, tmp_path / "occupancy.c", "-I", headers, "-o", tmp_path / "occupancy"]
    subprocess.run(order, check=True)
    registers = (16, 24, 32, 33, 40, 48, 64, 72, 96, 104, 128, 160, 168, 255)
    shared = (0, 1, 128, 1000, 4096, 8320, 20000, 33000, 48 * 1024, 64 * 1024)
    blocks = (32, 64, 96, 100, 128, 192, 256, 384, 512, 768, 1000, 1024)
    grid = list(itertools.product(LIMITS, registers, shared, blocks))
    asked = "\n".join(
        f"{c[0]} {c[1]} {r} {s} {t} {LIMITS[c].threads} {LIMITS[c].shared} {LIMITS[c].reserved}" for c, r, s, t in grid
    )
    done = subprocess.run([tmp_path / "occupancy"], input=asked, capture_output=True, text=True, check=True)
    assert [occupancy(*kernel).blocks for kernel in grid] == [int(line) for line in done.stdout.split()]


@pytest.mark.parametrize(
    ("capability", "registers", "shared", "threads", "expected"),
    [  # as cuda_occupancy.h says, for machines without it
        ((8, 0), 32, 0, 128, (16, 1.0, "threads")),
        ((8, 0), 186, 8320, 256, (1, 0.125, "registers")),
        ((12, 0), 96, 8320, 256, (2, 1 / 3, "registers")),
        ((9, 0), 32, 100_000, 256, (2, 0.25, "shared memory")),
        ((7, 5), 16, 0, 32, (16, 0.5, "blocks")),
        ((9, 0), 255, 0, 1024, (0, 0.0, "registers")),
    ],
)
def test_occupancy_names_what_binds(capability, registers, shared, threads, expected):
    assert occupancy(capability, registers, shared, threads) == expected


# Cards


@pytest.mark.parametrize("card", CARDS.values(), ids=CARDS)
def test_the_peak_of_a_card_is_what_its_clock_and_multiprocessors_make(card):
    assert 2 * card.multiprocessors * card.lanes * card.clock == pytest.approx(card.flops, rel=0.01)
    assert card.capability in LIMITS and card.balance == card.flops / card.bandwidth
    assert "NVIDIA" in card.source


def test_cards_are_found_as_they_are_written_on_the_box_and_strangers_are_refused():
    assert card_named("RTX 4090") is card_named("rtx-4090") is CARDS["rtx4090"]
    with pytest.raises(ValueError, match=r"no card 'voodoo' in the table: it has t4, a100"):
        card_named("voodoo")


def test_limits_are_whole_warps_and_every_capability_has_the_nearest_below():
    assert all(limits.threads % WARP == 0 for limits in LIMITS.values())
    assert [nearest(c) for c in [(7, 5), (8, 7), (9, 0), (10, 3), (12, 1)]] == [
        (7, 5),
        (8, 6),
        (9, 0),
        (10, 0),
        (12, 0),
    ]


# The budget


@pytest.fixture
def rows():
    return report.report([use_of(turned, X, X), use_of(make_reversed(32), X, X, threads=32)], [(9, 0)])


def test_a_budget_written_from_a_report_holds_that_report(rows, tmp_path):
    budget.write(rows, tmp_path / "budget.json")
    assert budget.broken(rows, budget.read(tmp_path / "budget.json")) == []
    lines = (tmp_path / "budget.json").read_text().splitlines()
    assert any('"sm_90": {"registers": ' in line for line in lines)
    assert json.loads("\n".join(lines))["made with"]["numba-cuda"] == toolkit.versions()["numba-cuda"]


@pytest.mark.parametrize(
    ("what", "change", "said"),
    [
        ("registers", -1, r"registers \d+, and its budget is \d+"),
        ("stack", -1, "stack 0, and its budget is -1"),
        ("spills", -1, "spills 0"),
        ("f64", -1, "f64 0"),
        ("occupancy", 0.02, r"occupancy 1\.00, which threads allow, and its budget is 1\.02"),
    ],
)
def test_a_report_that_uses_more_than_its_budget_is_said(rows, what, change, said):
    allowed = {row.use.label: {"sm_90": budget.line(row)} for row in rows}
    allowed[rows[0].use.label]["sm_90"][what] += change
    (sentence,) = budget.broken(rows, allowed)
    assert sentence.startswith(f"{rows[0].use.label} on sm_90: ")
    assert re.search(said, sentence)


def test_a_report_that_uses_less_than_its_budget_is_welcome(rows):
    allowed = {row.use.label: {"sm_90": {**budget.line(row), "registers": 255, "occupancy": 0.1}} for row in rows}
    assert budget.broken(rows, allowed) == []


def test_a_kernel_or_capability_without_a_budget_is_said(rows):
    allowed = {rows[0].use.label: {"sm_80": budget.line(rows[0])}}
    assert [sentence.partition(" has no budget for sm_90")[0] for sentence in budget.broken(rows, allowed)] == [
        row.use.label for row in rows
    ]


# Every kernel against the file that is checked in

BUDGET = Path(__file__).with_name("cuda_budget.json")
ROWS = ("softmax", "cross_entropy", "layer_norm", "rms_norm")
MATMULS = ("matmul_register",)

# Kernels that may use local memory, and why
MAY_SPILL: dict[str, str] = {}


@pytest.fixture(scope="module")
def every_use():
    """Every kernel as its example cases launch it; nothing runs."""
    return report.uses(compiled(CASES))


@pytest.mark.parametrize("capability", LIMITS, ids=str)
def test_every_kernel_compiles_and_keeps_its_budget(every_use, capability):
    assert budget.broken(report.report(every_use, [capability]), budget.read(BUDGET)) == []


def test_the_budget_names_no_kernel_that_is_gone(every_use):
    assert budget.read(BUDGET).keys() == {use.label for use in every_use}


def test_the_budget_allows_no_spills_no_stack_and_no_float64_outside_the_list():
    allowed = budget.read(BUDGET)
    assert len(allowed) > 30 and all(set(lines) == {f"sm_{a}{b}" for a, b in LIMITS} for lines in allowed.values())
    broken = {
        label
        for label, lines in allowed.items()
        if any(line["spills"] or line["stack"] or line["f64"] for line in lines.values())
    }
    assert broken == set(MAY_SPILL)


@pytest.mark.parametrize(
    ("names", "targets", "least"),
    [(ROWS, [f"sm_{a}{b}" for a, b in LIMITS], 0.60), (MATMULS, ["sm_80", "sm_90"], 0.25)],
    ids=["kernels of rows", "the best matrix product"],
)
def test_the_budget_demands_an_occupancy(names, targets, least):
    lines = {label: lines for label, lines in budget.read(BUDGET).items() if label.startswith(names)}
    assert len(lines) >= len(names)
    low = {label: [t for t in targets if lines[label][t]["occupancy"] < least] for label in lines}
    assert {label: found for label, found in low.items() if found} == {}
