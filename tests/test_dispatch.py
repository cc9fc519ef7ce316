"""Which modules of kernels are imported, when, and what happens where the tools of a device are not installed."""

import sys

import pytest

from tinygrad_ft.dispatch import REFERENCE, Kernels

MODULE = """
import test_dispatch
test_dispatch.WAITING["{device}"].register("{device}", lambda *arrays, **params: True)(
    type("{name}", (), {{}})
)
"""
WAITING = {}


@pytest.fixture
def kernels(tmp_path, monkeypatch):
    """Kernels of one op: "quick" waits in a module for the CPU, "wide" for cuda, another device's tools are missing."""
    found = Kernels(lambda xp, x: x)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "test_dispatch", sys.modules[__name__])
    for device, name in ("cpu", "quick"), ("cuda", "wide"):
        (tmp_path / f"kernels_of_{device}.py").write_text(MODULE.format(device=device, name=name))
        monkeypatch.setitem(WAITING, device, found)
        found.pending[device] = (f"kernels_of_{device}", 1)
    found.pending["distant"] = ("no_such_module", 1)
    yield found
    for device in WAITING:
        sys.modules.pop(f"kernels_of_{device}", None)


def imported():
    return {device for device in ("cpu", "cuda") if f"kernels_of_{device}" in sys.modules}


def test_asking_for_one_device_imports_its_module_only(kernels):
    assert kernels.division("cpu", [], {}) is None
    assert imported() == {"cpu"}
    kernels.load("cuda")
    assert imported() == {"cpu", "cuda"}


def test_a_name_is_looked_for_on_the_cpu_before_other_devices_are_imported(kernels):
    assert kernels.has(REFERENCE) and imported() == set()
    assert kernels.has("quick") and imported() == {"cpu"}
    assert kernels.has("wide") and imported() == {"cpu", "cuda"}
    assert not kernels.has("slow")


def test_a_device_whose_tools_are_missing_is_left_out_of_all_and_refused_by_name(kernels):
    assert kernels.names() == [REFERENCE, "quick", "wide"]
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        kernels.load("distant")
    assert "distant" in kernels.pending  # so that the next call says it again


def test_a_module_of_the_cpu_that_cannot_be_imported_is_an_error(kernels):
    kernels.pending["cpu"] = ("no_such_module", 1)
    with pytest.raises(ModuleNotFoundError):
        kernels.names()
