"""Example cases, their verdicts, what is counted and compiled of them: on the emulator, with planted faults beside."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="kernels need numba-cuda: pip install 'tinygrad-ft[emulator]'")

from cuda_kernels import copied, make_reversed, mirrored, scaled, turned

from tinygrad_ft.cuda import catalogue, measure, profile
from tinygrad_ft.cuda.cards import CARDS
from tinygrad_ft.cuda.cases import CASES, Case, normal
from tinygrad_ft.cuda.check import checked, compiled, largest_difference
from tinygrad_ft.cuda.compile import Kernel, cuda
from tinygrad_ft.cuda.emulator import KernelFault
from tinygrad_ft.cuda.launch import compiled_only, emulating, launch, recorded
from tinygrad_ft.cuda.workloads import WORKLOADS, workload
from tinygrad_ft.device import device
from tinygrad_ft.dispatch import Kernel as OpKernel
from tinygrad_ft.ops.composed import every

GIVEN = {"version": "test", "moves": "reads x, writes y", "why": "planted"}
EXP = Case("exp", "planted", normal((64,)), {}, 1e-6)


@pytest.fixture
def xp():
    return device("emulator").xp


@pytest.fixture
def planted(monkeypatch):
    """Puts one kernel of exp in the place of all others; `run(xp, x)`."""

    def put(run, name="planted"):
        kernel = OpKernel(name, lambda x: True, run)
        monkeypatch.setitem(every()["exp"].kernels.by_device, "cuda", [kernel])
        monkeypatch.setattr(every()["exp"].kernels, "pending", {})

    return put


def by(kernel, block=64):
    """A run that launches a kernel (x, y) over 64 numbers."""

    def run(xp, x):
        y = xp.empty_like(x)
        launch(kernel, x.size // block, block, x.reshape(-1), y.reshape(-1))
        return y

    return run


def exponential(x, y):
    import math

    i = cuda.grid(1)
    y[i] = math.exp(x[i])


def one_too_far(x, y):
    i = cuda.grid(1)
    y[i] = x[i + 1]


def of(text):
    """A kernel (x, y) whose loop body is that text."""
    names = {"cuda": cuda, "math": __import__("math")}
    exec(f"def f(x, y):\n    i = cuda.grid(1)\n    {text}\n", names)
    return Kernel(names["f"], **GIVEN)


# Launches on the emulator


def test_a_kernel_runs_on_the_emulator_in_place(xp):
    x, y = xp.asarray(np.arange(128, dtype=np.float32)), xp.zeros(128, np.float32)
    with recorded() as log:
        launch(turned, 2, 64, x, y)
    assert np.array_equal(y.get().reshape(2, 64), 2 * np.arange(128.0).reshape(2, 64)[:, ::-1])
    assert log[0].counters.barriers == 128 and log[0].compiled.capability == (9, 0)


def test_dynamic_shared_memory_and_strided_arrays_reach_the_kernel(xp):
    x, y = xp.asarray(np.arange(8, dtype=np.float32)), xp.zeros(8, np.float32)
    launch(mirrored, 1, 8, x, y, shared=32)
    assert y.get().tolist() == [7, 6, 5, 4, 3, 2, 1, 0]
    table, copy = xp.asarray(np.arange(6, dtype=np.float32).reshape(2, 3)), xp.zeros((3, 2), np.float32)
    launch(copied, 3, 2, table.T, copy)
    assert np.array_equal(copy.get(), np.arange(6).reshape(2, 3).T)


@pytest.mark.parametrize("capability", [(7, 5), (12, 0)])
def test_the_emulator_stands_for_the_capability_that_is_asked_for(xp, capability):
    x, y = xp.ones(64, np.float32), xp.zeros(64, np.float32)
    with emulating(capability), recorded() as log:
        launch(turned, 1, 64, x, y)
    assert log[0].compiled.capability == capability and float(y.sum()) == 128.0


def test_an_array_of_the_host_beside_one_of_the_emulator_is_refused(xp):
    with pytest.raises(TypeError, match="kernel turned: y is an array of the host"):
        launch(turned, 1, 64, xp.zeros(64, np.float32), np.zeros(64, np.float32))


def test_a_fault_names_kernel_thread_argument_and_line_of_python(xp):
    x, y = xp.zeros(8, np.float32), xp.zeros(4, np.float32)
    with pytest.raises(KernelFault, match=r"kernel scaled, block \(0, 0, 0\), thread \(4, 0, 0\)") as caught:
        launch(scaled, 1, 8, x, y, 2.0, 8)
    assert caught.value.source.text == "y[i] = x[i] * s" and re.search(r"\by\b", caught.value.detail)


def test_only_compiled_launches_are_noted_and_leave_the_arrays_alone(xp):
    x, y = xp.ones(64, np.float32), xp.zeros(64, np.float32)
    with recorded() as log, compiled_only():
        launch(turned, 1, 64, x, y)
    assert log[0].counters is None and float(y.sum()) == 0.0
    launch(turned, 1, 64, x, y)
    assert float(y.sum()) == 128.0


# Verdicts


def test_a_right_kernel_passes_and_says_how_far_it_is_from_float64(planted):
    planted(by(of("y[i] = math.exp(x[i])")))
    outcome = checked(EXP)
    assert outcome.fine and 0 < outcome.difference < 1e-6 and len(outcome.launches) == 1
    assert str(outcome).startswith("exp planted (64): ") and "of 1.0e-06, launches: 1" in str(outcome)


@pytest.mark.parametrize(
    ("run", "said"),
    [
        (by(of("y[i] = math.exp(x[i]) * 1.00001")), r"differs by \d.*e-0\d from float64, more than 1\.0e-06"),
        (by(of("y[i] = math.exp(x[i]) if i < 63 else x[i] / 0")), "differs by (inf|nan|.*e)"),
        (by(of("y[i] = x[i + 1]")), "KernelFault: out of bounds"),
        (by(of("y[0] = x[i]")), "KernelFault: race"),
        (by(of("y[i] = x")), "CompileError: kernel f does not compile"),
        (lambda xp, x: xp.exp(x), "no kernel was launched: planted refuses"),
        (lambda xp, x: launch(turned, 0, 64, x, x), "ValueError: kernel turned: a grid of"),
        (lambda xp, x: by(of("y[i] = math.exp(x[i])"))(xp, x)[:32], "differs by inf"),
    ],
)
def test_a_wrong_kernel_is_told_with_the_reason(planted, run, said):
    planted(run)
    outcome = checked(EXP)
    assert not outcome.fine and re.search(said, outcome.wrong), outcome.wrong


def test_what_an_op_overwrites_is_compared_too(monkeypatch):
    def half_done(xp, p, g, m, lr, **params):
        p -= 0.1 * g
        launch(turned, 1, 64, p, xp.empty_like(p))
        return p

    def whole(xp, p, g, m, lr, **params):
        m += g
        return half_done(xp, p, g, m, lr)

    params = {"momentum": 1.0, "dampening": 0.0, "weight_decay": 0.0, "nesterov": False}
    case = Case(
        "sgd_update", "planted", lambda rng: (*normal((64,), (64,))(rng), np.zeros(64, np.float32), 0.1), params, 1e-6
    )
    kernels = every()["sgd_update"].kernels
    monkeypatch.setattr(kernels, "pending", {})
    for run, fine in (half_done, False), (whole, True):
        monkeypatch.setitem(kernels.by_device, "cuda", [OpKernel("planted", lambda *a, **k: True, run)])
        assert checked(case).fine is fine


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([1.0, 2.0], [1.0, 2.5], 0.5),
        ([np.inf, np.nan], [np.inf, np.nan], 0.0),
        ([np.nan], [1.0], np.inf),
        ([1.0], [np.inf], np.inf),
        ([-np.inf], [np.inf], np.inf),
        ([1.0], [1.0, 2.0], np.inf),
        ([], [], 0.0),
        ([1, 3], [1, 2], 1.0),
    ],
)
def test_the_largest_difference_counts_what_is_not_finite_and_other_shapes(a, b, expected):
    assert largest_difference(np.array(a), np.array(b)) == expected


def test_an_input_of_the_host_stays_there_and_the_others_move(monkeypatch):
    seen = []

    def run(xp, p, g, m, v, lr, step, **params):
        seen.extend(map(type, (p, step)))
        return p

    kernels = every()["adam_update"].kernels
    monkeypatch.setattr(kernels, "pending", {})
    monkeypatch.setitem(kernels.by_device, "cuda", [OpKernel("planted", lambda *a, **k: True, run)])
    case, _ = workload("adam_update", 2, 3, version="planted")
    assert "no kernel was launched" in checked(case).wrong
    assert seen == [type(device("emulator").xp.zeros(1)), np.ndarray]


# The table of cases


@pytest.fixture(scope="module")
def registered():
    return {(entry.op, entry.version) for entry in catalogue.entries() if entry.device in ("cuda", "emulator")}


def test_every_kernel_has_an_example_case_and_every_case_a_kernel(registered):
    if not registered:
        pytest.skip("no kernel is registered")
    generated = {(op, version) for op, version in registered if version == "elementwise"}  # one text for many ops
    assert {(case.op, case.version) for case in CASES} <= registered
    assert registered - generated - {(case.op, case.version) for case in CASES} == set()


def test_cases_compile_without_running(planted):
    planted(by(of("y[i] = math.exp(x[i])")))
    launches = compiled([EXP, EXP])
    assert [noted.kernel.name for noted in launches] == ["f", "f"] and launches[0].counters is None


# What is counted


def test_operations_and_bytes_of_a_launch_are_those_of_its_source(xp):
    x, y = xp.ones(64, np.float32), xp.zeros(64, np.float32)
    with recorded() as log:
        launch(scaled, 1, 64, x, y, 2.0, 64)
    roofs = profile.roofs(log, CARDS["rtx4090"])
    assert roofs.operations == 64  # one product each
    assert roofs.bytes_at_least == roofs.bytes_at_most == 2 * 64 * 4
    assert roofs.intensity == (0.125, 0.125) and roofs.binds == "memory"
    assert roofs.highest == pytest.approx(0.125 * CARDS["rtx4090"].bandwidth)


def test_a_fused_multiply_add_is_two_operations(xp):
    fused = of("y[i] = x[i] * x[i] + x[i]")
    x, y = xp.ones(64, np.float32), xp.zeros(64, np.float32)
    with recorded() as log:
        launch(fused, 1, 64, x, y)
    assert log[0].counters.ffma == 64 and profile.operations(log[0].counters) == 128


@pytest.mark.parametrize(
    ("operations", "least", "most", "binds"),
    [
        (10, 100, 100, "memory"),
        (10**6, 100, 100, "arithmetic"),
        (81_000, 100, 10_000, "memory, unless caches serve most sectors; then arithmetic"),
    ],
)
def test_the_roof_that_binds_follows_from_the_intensity(operations, least, most, binds):
    assert profile.Roofs(operations, least, most, CARDS["rtx4090"]).binds == binds


def test_launches_of_one_kernel_are_counted_together(xp):
    x, y = xp.ones(64, np.float32), xp.zeros(64, np.float32)
    with recorded() as log:
        launch(turned, 1, 64, x, y)
        launch(make_reversed(32), 2, 32, x, y)
        launch(scaled, 1, 64, x, y, 2.0, 64)
    found = profile.by_kernel(log)
    assert {name: len(launches) for name, launches in found.items()} == {"turned": 2, "scaled": 1}
    assert profile.counted(found["turned"]).barriers == 128


# Calls of a chosen size


@pytest.mark.parametrize("op", WORKLOADS)
def test_a_workload_has_the_shape_that_is_asked_for(op):
    case, flops = workload(op, 6, 10)
    inputs = [x for x in case.inputs(np.random.default_rng(0)) if isinstance(x, np.ndarray)]
    assert any(6 in x.shape for x in inputs) and flops >= 0
    assert workload(op, 12, 10)[1] >= 2 * flops


def test_an_op_that_cannot_be_sized_is_refused_with_those_that_can():
    with pytest.raises(ValueError, match="reshape cannot be sized: softmax, "):
        workload("reshape", 6, 10)


# On a GPU, with the emulator in its place and a clock that stands still


def a_microsecond(call):
    """Of a clock that stands still: the call is made, and took that long."""
    call()
    return 1e-6


def test_a_kernel_is_timed_with_its_bytes_and_its_operations_beside_the_ops_own_forward(planted, monkeypatch):
    planted(by(of("y[i] = math.exp(x[i])")))
    monkeypatch.setattr(measure, "WORKLOADS", {"exp": WORKLOADS["exp"]})
    monkeypatch.setattr(measure, "USUAL_SIZE", (8, 16, 1))
    calls = []
    found = list(measure.timed(device("emulator"), lambda call: calls.append(call()) or 1e-6))
    assert found == [("exp", name, (8, 16, 1), 1e-6, 2 * 128 * 4, 128, "") for name in ("planted", "reference")]
    assert len(calls) == 2 * measure.REPEATS
    assert found[0].bandwidth == pytest.approx(1.024e9) and found[0].speed == pytest.approx(1.28e8)
    assert "1.0 GB/s   0%" in found[0].beside(CARDS["rtx4090"])


@pytest.mark.parametrize(
    ("run", "said"),
    [
        (by(of("y[i] = x[i + 1]")), "KernelFault: out of bounds"),
        (lambda xp, x: xp.exp(x), "ValueError: no kernel was launched: it is not for this size"),
    ],
)
def test_a_kernel_that_cannot_be_timed_is_told_and_the_others_are_timed(planted, monkeypatch, run, said, tmp_path):
    planted(run)
    monkeypatch.setattr(measure, "WORKLOADS", {"exp": WORKLOADS["exp"]})
    monkeypatch.setattr(measure, "USUAL_SIZE", (8, 16, 1))
    wrong, reference = measure.timed(device("emulator"), a_microsecond)
    assert wrong.wrong.startswith(said) and wrong.beside(CARDS["t4"]).split(maxsplit=2)[2] == wrong.wrong
    assert (reference.version, reference.wrong) == ("reference", "")
    measure.write(tmp_path / "report.json", CARDS["t4"], [], [wrong, reference])
    told = json.loads((tmp_path / "report.json").read_text())["times"]
    assert [one["seconds"] for one in told] == [None, 1e-6] and "bytes_per_second" not in told[0]


def test_every_kernel_is_timed_but_for_those_that_are_made_of_one_text(registered, monkeypatch):
    monkeypatch.setattr(measure, "USUAL_SIZE", (16, measure.USUAL_SIZE[1], 16))
    monkeypatch.setattr(measure, "SIZES", {op: (64, 64, 64) for op in measure.SIZES})
    with compiled_only():
        found = list(measure.timed(device("emulator"), a_microsecond))
    assert [(one.op, one.version, one.wrong) for one in found if one.wrong] == []
    texts = {(op, version) for op, version in registered if version != "elementwise"}
    assert texts <= {(one.op, one.version) for one in found}
    assert max(len(one.beside(CARDS["rtx4090"])) for one in found) <= 100


def test_cases_are_held_against_the_cpu_in_units_of_the_last_place(planted, monkeypatch, tmp_path):
    monkeypatch.setattr(measure, "CASES", [EXP, EXP._replace(tolerance=1e-5)])
    planted(by(of("y[i] = math.exp(x[i])")))
    right = list(measure.correct(device("emulator")))
    assert all(not case.wrong and case.ulps <= 2 for case in right)
    planted(by(of("y[i] = math.exp(x[i]) * 1.001")))
    wrong = list(measure.correct(device("emulator")))
    assert all(case.wrong and case.ulps > 1000 for case in wrong)
    measure.write(tmp_path / "report.json", CARDS["t4"], [*right, *wrong], [])
    told = json.loads((tmp_path / "report.json").read_text())
    assert told["card"]["name"] == "t4" and told["times"] == [] and "numba-cuda" in told["made with"]
    assert [bool(case["wrong"]) for case in told["cases"]] == [False, False, True, True]


def test_cases_of_one_kernel_are_told_in_one_line_and_those_that_are_wrong_in_one_more():
    right = measure.Correct("exp", "planted", "64", 1.5, 2e-7, 1e-6, "")
    wrong = right._replace(given="7", ulps=np.inf, difference=np.inf, wrong="KernelFault: race")
    other = right._replace(op="flash_attention_grad", version="with_bias_grad_one_pass")
    seen = []
    lines = list(measure.told([right, wrong, other], seen))
    assert [" ".join(line.split()) for line in lines] == [
        "WRONG exp planted 2 cases inf ulp inf of 1.0e-06",
        "7: KernelFault: race",
        "ok flash_attention_grad with_bias_grad_one_pass 1 case 1.5 ulp 2.0e-07 of 1.0e-06",
    ]
    assert seen == [right, wrong, other] and max(map(len, lines)) <= 100


@pytest.mark.parametrize(
    ("a", "b", "units"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0.0),
        ([np.nextafter(np.float32(2), np.float32(3))], [2.0], 1.0),
        ([2.0 + 2.0**-22, 1e-20], [2.0, 0.0], 1.0),
        ([np.inf, np.nan, 1.0], [np.inf, np.nan, 1.0], 0.0),
        ([np.nan], [1.0], np.inf),
    ],
)
def test_units_are_those_of_the_last_place_of_the_largest_number(a, b, units):
    assert measure._apart(np.array(a, np.float32), np.array(b, np.float32)) == units


def test_seconds_are_those_between_two_events_while_the_gpu_is_still_at_work():
    noted = []

    class Event:
        def record(self):
            noted.append("record")

        def synchronize(self):
            noted.append("wait")

    double = SimpleNamespace(cuda=SimpleNamespace(Event=Event, get_elapsed_time=lambda a, b: 2.5))
    assert measure.seconds_between_events(double)(lambda: noted.append("call")) == 2.5e-3
    assert noted == ["call", "record", "call", "record", "wait"]


# The catalogue


def test_an_entry_names_the_kernels_that_an_op_launches_with_what_they_move(planted):
    kernel = of("y[i] = x[i]")
    names = {"launched": kernel, "launch": launch, "__name__": "tinygrad_ft.kernels.cuda.planted"}
    exec("def helper(xp, x):\n    launch(launched, 1, 1, x)\ndef run(xp, x):\n    return helper(xp, x)", names)
    planted(names["run"])
    (entry,) = [e for e in catalogue.entries(["exp"]) if e.device == "cuda"]
    assert entry == ("exp", "cuda", "planted", "f", "reads x, writes y", "planted", False)


def test_a_kernel_of_the_cpu_is_told_by_the_text_of_its_file():
    (entry,) = [e for e in catalogue.entries(["softmax"]) if e.device == "cpu"]
    assert entry.version == "softmax_by_row" and entry.moves.startswith("8 bytes an element in float32")
    assert entry.why.startswith("Softmax, its logarithm")
