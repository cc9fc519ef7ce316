"""The commands about GPU kernels: what they print, and how they end."""

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("numba_cuda", reason="kernels need numba-cuda: pip install 'tinygrad-ft[emulator]'")

from tinygrad_ft.cli import main
from tinygrad_ft.cuda import budget, cases, toolkit
from tinygrad_ft.cuda.cards import CAPABILITIES, CARDS
from tinygrad_ft.cuda.cases import Case, normal
from tinygrad_ft.cuda.compile import Kernel, cuda
from tinygrad_ft.cuda.launch import launch
from tinygrad_ft.dispatch import Kernel as OpKernel
from tinygrad_ft.ops.composed import every

ROOT = Path(__file__).resolve().parents[1]


def exponential_of_elements(x, y):
    i = cuda.grid(1)
    if i < x.size:
        y[i] = math.exp(x[i])


def exponential_by_columns(x, y):
    """The same, but neighbours in a warp are far apart in memory."""
    i = cuda.grid(1)
    rows = 64
    if i < x.size:
        j = i % rows * (x.size // rows) + i // rows
        y[j] = math.exp(x[j])


def planted_run(function, **options):
    kernel = Kernel(function, version="test", moves="reads x once, writes y once", why="planted", **options)

    def run(xp, x):
        y = xp.empty_like(x)
        launch(kernel, -(-x.size // 64), 64, x.reshape(-1), y.reshape(-1))
        return y

    run.__globals__[function.__name__ + "_kernel"] = kernel
    return run


@pytest.fixture
def call(capsys, monkeypatch):
    """Runs a command where exp has two planted kernels and each a case: (exit code, standard output, error)."""
    kernels = every()["exp"].kernels
    monkeypatch.setattr(kernels, "pending", {})
    found = [
        OpKernel("elements", lambda x: True, planted_run(exponential_of_elements)),
        OpKernel("columns", lambda x: True, planted_run(exponential_by_columns)),
    ]
    monkeypatch.setitem(kernels.by_device, "cuda", found)
    table = [Case("exp", "elements", normal((64, 32)), {}, 4e-6), Case("exp", "columns", normal((64, 32)), {}, 4e-6)]
    monkeypatch.setattr(cases, "CASES", table)

    def called(*words):
        try:
            code = main(["kernels", *map(str, words)])
        except SystemExit as end:  # argparse's way to leave
            code = end.code
        return code, *capsys.readouterr()

    return called


# list


def test_list_says_what_each_kernel_moves_and_why(call):
    code, out, err = call("list", "exp", "softmax")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert "8 bytes an element" in lines[lines.index("softmax, cpu, softmax_by_row") + 1]
    assert "exp, cuda, columns" in lines
    assert max(map(len, lines)) <= 100


def test_list_without_ops_is_a_line_for_each_op_and_device_with_its_versions(call):
    code, out, err = call("list")
    assert (code, err) == (0, "")
    rows = [tuple(re.split(r"  +", line)) for line in out.splitlines()]
    assert ("softmax", "cuda", "registers, online, block") in rows
    assert ("matmul", "cuda", "(register), (tiled), (naive)") in rows  # cuBLAS, if nothing is chosen
    assert ("matmul", "emulator", "register, tiled") in rows


def test_list_without_numba_cuda_says_that_the_kernels_of_cuda_are_missing(call, monkeypatch):
    monkeypatch.setattr(toolkit, "find_spec", lambda name: None)
    code, out, _ = call("list", "exp")
    assert code == 0 and out.splitlines()[-1].startswith("kernels of cuda are not listed; emulator: ")


def test_list_refuses_an_op_that_does_not_exist(call):
    code, out, err = call("list", "soft")
    assert (code, out) == (1, "") and "soft; `tinygrad-ft kernels list` names all" in err


# check


def test_check_runs_every_case_and_ends_well(call):
    code, out, err = call("check")
    assert (code, err) == (0, "")
    first, second, last = out.splitlines()
    assert first.startswith("ok    sm_90   exp elements (64x32): ") and second.startswith("ok    sm_90   exp columns")
    assert last == "2 of 2 cases are right"


def test_check_runs_on_every_capability_that_is_asked_for(call):
    code, out, _ = call("check", "exp", "--capability", "7.5", "12.0")
    assert code == 0 and [line.split()[1] for line in out.splitlines()[:-1]] == ["sm_75"] * 2 + ["sm_120"] * 2


def test_check_tells_a_wrong_case_and_ends_with_1(call, monkeypatch):
    monkeypatch.setattr(cases, "CASES", [*cases.CASES, Case("exp", "columns", normal((3, 5)), {}, 0.0)])
    code, out, _ = call("check")
    assert code == 1 and out.splitlines()[-1] == "2 of 3 cases are right"
    assert any(line.startswith("WRONG sm_90   exp columns (3x5): ") for line in out.splitlines())


def test_check_tells_which_kernels_its_cases_do_not_cover(call, monkeypatch):
    def half(x, y):
        i = cuda.grid(1)
        if x[0] > 1e9:
            for k in range(x.size):
                y[k] = math.tanh(x[k]) + math.log(x[i])
        else:
            y[i] = math.exp(x[i])

    monkeypatch.setitem(every()["exp"].kernels.by_device, "cuda", [OpKernel("half", lambda x: True, planted_run(half))])
    monkeypatch.setattr(cases, "CASES", [Case("exp", "half", normal((64,)), {}, 4e-6)])
    code, out, _ = call("check")
    assert code == 0 and "half: these cases run " in out and "% of its PTX lines" in out


def test_check_refuses_an_op_without_cases(call):
    code, _, err = call("check", "reshape")
    assert code == 1 and "no kernel to be found for: reshape" in err


# build


@pytest.fixture
def ptxas():
    try:
        toolkit.tool("ptxas")
        toolkit.tool("nvdisasm")
    except toolkit.MissingToolkit as error:
        pytest.skip(str(error))


def test_build_reports_every_kernel_for_every_capability(call, ptxas):
    code, out, err = call("build")
    assert (code, err) == (0, "")
    head, *lines = out.splitlines()
    assert head.split()[:4] == ["target", "registers", "stack", "spills"]
    targets = [f"sm_{major}{minor}" for major, minor in CAPABILITIES]
    assert [line.split()[0] for line in lines] == [
        "exponential_by_columns",
        *targets,
        "exponential_of_elements",
        *targets,
    ]


def test_build_answers_json_with_the_machines_instructions(call, ptxas):
    code, out, _ = call("build", "exp", "--capability", "9.0", "--sass", "--json")
    found = json.loads(out)
    assert code == 0 and [row["target"] for row in found] == ["sm_90", "sm_90"]
    assert all(row["stg"] == 1 and row["all"] > 20 and row["f64"] == 0 for row in found)


def test_build_writes_a_budget_that_holds_the_report(call, ptxas, tmp_path):
    code, _, _ = call("build", "--capability", "9.0", "--budget", tmp_path / "budget.json")
    allowed = budget.read(tmp_path / "budget.json")
    assert code == 0 and len(allowed) == 2 and all(set(lines) == {"sm_90"} for lines in allowed.values())


def test_build_without_ptxas_says_what_to_install(call, monkeypatch):
    monkeypatch.setattr(toolkit, "find_spec", lambda name: None if name == "nvidia" else object())
    monkeypatch.setenv("PATH", "")
    toolkit.tool.cache_clear()
    toolkit.version_of.cache_clear()
    code, _, err = call("build", "--capability", "9.0")
    assert code == 1 and "ptxas, which is not installed: pip install 'tinygrad-ft[gpu-check]'" in err


# profile


def test_profile_prints_counts_intensity_and_the_roof_with_its_source(call):
    code, out, err = call("profile", "exp", "--rows", 64, "--cols", 32, "--version", "elements", "--card", "h100")
    assert (code, err) == (0, "")
    rows = dict(line.strip().split("  ", 1) for line in out.splitlines() if line.startswith("  "))
    found = {name: value.strip() for name, value in rows.items()}
    assert found["32-byte sectors a request"] == "4.00"
    assert found["bytes of arrays, once each"] == found["bytes of sectors asked for"] == f"{2 * 64 * 32 * 4:,}"
    assert found["what binds"] == "memory" and found["source"] == CARDS["h100"].source
    assert "exponential_of_elements: grid (32, 1, 1), block (64, 1, 1)" in out


def test_profile_sees_neighbours_that_are_far_apart(call):
    words = ["profile", "exp", "--rows", "64", "--cols", "32", "--json", "--version"]
    near, far = (json.loads(call(*words, version)[1]) for version in ("elements", "columns"))
    assert near["exponential_of_elements"]["sectors_a_request"] == 4
    assert far["exponential_by_columns"]["sectors_a_request"] == 32
    assert near["exponential_of_elements"]["intensity"][0] > far["exponential_by_columns"]["intensity"][0]


def test_profile_without_a_size_runs_the_example_cases(call):
    code, out, _ = call("profile", "exp")
    assert code == 0 and "exponential_of_elements" in out and "exponential_by_columns" in out and "all together" in out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("profile exp --rows 3", 1, "--rows and --cols belong together"),
        ("profile exp --rows 3 --cols 4 --card voodoo", 1, "no card 'voodoo' in the table"),
        ("profile exp --rows 3 --cols 4 --version soft", 1, "exp has no kernel 'soft'"),
        ("profile exp --version soft", 1, "no example case of exp runs the kernel 'soft'"),
        ("profile reshape --rows 3 --cols 4", 1, "reshape cannot be sized"),
        ("profile exp --rows 0 --cols 4", 2, "needs 1 or more"),
        ("profile exp --rows 3 --cols 4 --capability 7.0", 2, "one of 7.5, 8.0"),
        ("check --capability ninety", 2, "one of 7.5, 8.0"),
        ("", 2, "WHAT"),
    ],
)
def test_bad_usage_is_one_clear_message(call, words, code, said):
    found, _, err = call(*words.split())
    assert found == code and said in err and "Traceback" not in err


def test_the_commands_of_the_issue_work_as_users_start_them():
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    order = [sys.executable, "-m", "tinygrad_ft", *["kernels", "profile", "softmax", "--rows", "128", "--cols", "1000"]]
    done = subprocess.run(order, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "32-byte sectors a request" in done.stdout and "what binds" in done.stdout
