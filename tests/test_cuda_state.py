"""What a machine is told of itself: what is installed, what is not, and how to get it; and which card it has."""

import sys
from types import SimpleNamespace

import pytest

from tinygrad_ft.cli import main
from tinygrad_ft.cuda import state, toolkit
from tinygrad_ft.cuda.cards import CARDS, LIMITS

DRIVERLESS = "cudaErrorInsufficientDriver: CUDA driver version is insufficient"


def fake_cupy(*names, error=None):
    """A module cupy whose driver knows these GPUs, or fails."""

    def count():
        if error:
            raise RuntimeError(error)
        return len(names)

    properties = [{"name": name.encode()} for name in names]
    runtime = SimpleNamespace(getDeviceCount=count, getDeviceProperties=lambda i: properties[i])
    return SimpleNamespace(cuda=SimpleNamespace(runtime=runtime))


@pytest.fixture
def cupy(monkeypatch):
    """Puts a double in the place of the module cupy."""

    def put(double):
        monkeypatch.setattr(state, "find_spec", lambda name: object() if double else None)
        monkeypatch.setattr(toolkit, "find_spec", lambda name: object())
        if double:
            monkeypatch.setitem(sys.modules, "cupy", double)

    return put


def test_without_numba_cuda_the_emulator_says_what_to_install(monkeypatch):
    monkeypatch.setattr(toolkit, "find_spec", lambda name: None)
    found = state.emulator()
    assert (
        not found.ready and found.said.startswith("emulator: ") and "pip install 'tinygrad-ft[emulator]'" in found.said
    )


def test_without_ptxas_the_compile_report_says_what_to_install(monkeypatch):
    monkeypatch.setattr(toolkit, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", "")
    toolkit.tool.cache_clear()
    toolkit.version_of.cache_clear()
    found = state.tools()
    assert not found.ready and "pip install 'tinygrad-ft[gpu-check]'" in found.said


def test_without_cupy_cuda_says_what_to_install(cupy):
    cupy(None)
    found = state.gpu()
    assert not found.ready and "'tinygrad-ft[cuda13]', or [cuda12]" in found.said


def test_with_cupy_but_no_compiler_cuda_says_what_to_install(cupy, monkeypatch):
    cupy(fake_cupy("NVIDIA GeForce RTX 4090"))
    monkeypatch.setattr(toolkit, "find_spec", lambda name: None)
    found = state.gpu()
    assert not found.ready and found.said.startswith("cuda: ") and "numba-cuda" in found.said


def test_with_cupy_but_no_driver_cuda_says_what_the_driver_said(cupy):
    cupy(fake_cupy(error=DRIVERLESS))
    assert state.gpu() == (False, f"cuda: no GPU can be used here: {DRIVERLESS}")


def test_with_a_driver_that_finds_nothing_cuda_is_not_ready(cupy):
    cupy(fake_cupy())
    assert state.gpu() == (False, "cuda: no GPU can be used here: the driver finds none")


def test_with_gpus_cuda_names_them(cupy, monkeypatch):
    monkeypatch.setattr(toolkit, "versions", lambda: {"numba-cuda": "0.30.4"})
    cupy(fake_cupy("NVIDIA GeForce RTX 4090", "Tesla T4"))
    assert state.gpu() == (True, "cuda: ready (NVIDIA GeForce RTX 4090, Tesla T4)")


def test_doctor_says_all_three_in_a_line_each(capsys, monkeypatch):
    for name in ("emulator", "tools", "gpu"):
        monkeypatch.setattr(state, name, lambda name=name: state.State(True, f"{name}: as planted"))
    main(["doctor"])
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.endswith("as planted")] == [
        "emulator: as planted",
        "tools: as planted",
        "gpu: as planted",
    ]


def test_doctor_for_the_gpu_without_one_says_so_in_one_line_and_fails(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(state, "gpu", lambda: state.State(False, "cuda: no GPU can be used here: none"))
    monkeypatch.chdir(tmp_path)
    assert main(["doctor", "--gpu"]) == 1
    assert capsys.readouterr().out == "cuda: no GPU can be used here: none\n"
    assert list(tmp_path.iterdir()) == []


# Which card it is


def device(name, **attributes):
    """A module cupy with one device of that name and these attributes, of compute capability 8.6."""
    one = SimpleNamespace(id=0, compute_capability="86", attributes=attributes)
    double = fake_cupy(name)
    double.cuda.Device = lambda: one
    return double


@pytest.mark.parametrize("card", CARDS.values(), ids=CARDS)
def test_a_card_of_the_table_is_known_by_the_name_that_its_driver_gives(card):
    pytest.importorskip("numba_cuda", reason="measuring needs numba-cuda: pip install 'tinygrad-ft[emulator]'")
    from tinygrad_ft.cuda.measure import card_here

    assert card_here(device(card.driver_name)) is card


def test_another_card_has_the_peaks_that_its_own_attributes_make():
    pytest.importorskip("numba_cuda", reason="measuring needs numba-cuda: pip install 'tinygrad-ft[emulator]'")
    from tinygrad_ft.cuda.measure import card_here

    # of a GeForce RTX 3060: 28 multiprocessors, 1777 MHz, 192 bits at 7501 MHz, twice a clock
    told = {"MultiProcessorCount": 28, "ClockRate": 1777000, "MemoryClockRate": 7501000, "GlobalMemoryBusWidth": 192}
    card = card_here(device("NVIDIA GeForce RTX 3060", **told))
    assert card.flops == pytest.approx(12.7e12, rel=0.01) and card.bandwidth == pytest.approx(360e9, rel=0.01)
    assert card.capability == (8, 6) and card.capability in LIMITS and card.source == "the driver"
