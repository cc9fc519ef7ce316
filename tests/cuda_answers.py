"""What the tests of CUDA kernels share: arrays on the emulator, and one check of all that is asked of every kernel."""

import numpy as np

import tinygrad_ft as tg
from tinygrad_ft.cuda import report, toolkit
from tinygrad_ft.cuda.emulator.counters import Counters
from tinygrad_ft.cuda.launch import recorded

CAPABILITIES = [(9, 0), (12, 0)]  # NVVM's old dialect of PTX, and its new one
UNIT = 2.0**-24  # the rounding error of one float32 operation, relative


def on_device(*arrays):
    """Copies on the emulator; what is no array stays what it is."""
    xp = tg.device("emulator").xp
    return tuple(xp.asarray(a) if isinstance(a, np.ndarray) else a for a in arrays)


def on_host(y):
    return y.get() if hasattr(y, "get") else y


def totals(launches):
    """The counters of each kernel's launches together, by its name."""
    found = {}
    for one in launches:
        found[one.kernel.name] = found.get(one.kernel.name, Counters()) + one.counters
    return found


def assert_well_compiled(launches):
    """No float64, no spills, and at least 60 % occupancy, for the capability that was emulated."""
    assert all(".f64" not in one.compiled.ptx for one in launches)
    try:
        toolkit.tool("ptxas")
    except toolkit.MissingToolkit:
        return  # tests/test_cuda_report.py says what to install
    for row in report.report(report.uses(launches), {one.compiled.capability for one in launches}):
        assert (row.figures.spills, row.figures.stack) == (0, 0), row.use.label
        assert row.occupancy.share >= 0.6, row.use.label


def assert_covered(launches, least=0.95):
    """At least this share of each kernel's PTX ran."""
    missed = {name: (c.coverage, c.missed) for name, c in totals(launches).items() if c.coverage < least}
    assert missed == {}


__all__ = [
    "CAPABILITIES",
    "UNIT",
    "assert_covered",
    "assert_well_compiled",
    "on_device",
    "on_host",
    "recorded",
    "totals",
]
