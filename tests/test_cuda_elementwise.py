"""Generated kernels: every elementwise op whose forward has a text, and reductions, against float64 on the CPU."""

import itertools
import math

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="CUDA kernels need numba-cuda: pip install 'tinygrad-ft[emulator]'")

from cuda_answers import (
    CAPABILITIES,
    UNIT,
    assert_covered,
    assert_well_compiled,
    on_device,
    on_host,
    recorded,
    totals,
)

import tinygrad_ft as tg
from tinygrad_ft.cuda.emulator.faults import KernelFault
from tinygrad_ft.cuda.launch import emulating, launch
from tinygrad_ft.engine import OPS
from tinygrad_ft.kernels.cuda import elementwise, grid, reduce
from tinygrad_ft.kernels.cuda.generated import written_kernel

EXTREMES = np.array([0, -0.0, np.inf, -np.inf, np.nan, 1, -1, 100, -100, 1e30, -1e30, 1e-40, -1e-40, 13.1, 0.5, 2, -3])
EXTREMES = EXTREMES.astype(np.float32)
RAGGED = np.random.default_rng(0).standard_normal(700).astype(np.float32) * 3
NUMBERS = np.concatenate([EXTREMES, RAGGED])
PAIRS = [np.concatenate([x, RAGGED[:90]]) for x in zip(*itertools.product(EXTREMES, repeat=2), strict=True)]
PAIRS[1] = np.concatenate([PAIRS[1][: EXTREMES.size**2], RAGGED[90:180]])
BOOLS = [np.array(x) for x in zip(*itertools.product([True, False], repeat=2), strict=True)]

# What has no text, or a text that would need float64 or be less exact; these run their own forward with CuPy.
WITHOUT = {
    "sin", "cos", "tan", "log10", "fmod", "remainder", "whole_quotient", "erfinv", "lgamma", "polygamma_at", "share",
    "bitwise_and", "bitwise_or", "bitwise_not", "logical_and", "logical_or", "logical_not",
}  # fmt: skip
OF_BOOLEANS = {name for name in WITHOUT if name.startswith(("bitwise", "logical"))}  # they do have one for these

# Errors in units of rounding, relative. libdevice's functions are off by up to 4 (8 for powers); what the text of an op
# adds and divides comes on top. gelu and its slope lose digits where 1 + erf, or 1 + tanh, all but cancel: absolute.
EXACT = {
    "neg",
    "abs",
    "sign",
    "maximum",
    "minimum",
    "where",
    "clip",
    "relu",
    "floor",
    "ceil",
    "trunc",
    "round",
    "copysign",
}
UNITS = {name: 0 for name in EXACT | {"zeros_like", "ones_of"}} | {"pow": 16}
CANCELS = {"gelu": 8, "gelu_slope": 16, "bias_gelu": 8, "logaddexp": 8}

HEAVIEST = {
    "erfc",
    "logaddexp",
    "pow",
    "atan2",
    "gelu_slope",
    "acosh",
}  # of which ptxas is asked; the budget asks of all

CALLS = {
    "clip": [((NUMBERS,), {"min": low, "max": high}) for low, high in [(-0.5, 2), (None, 1.5), (0.0, None), (0, None)]],
    "gelu": [((NUMBERS,), {"approximate": name}) for name in ("none", "tanh")],
    "gelu_slope": [((NUMBERS,), {"approximate": name}) for name in ("none", "tanh")],
    "round": [((NUMBERS,), {"decimals": 0})],
    "where": [((PAIRS[0] > 0, *PAIRS), {}), ((PAIRS[0] > 0, PAIRS[1], 0.0), {}), ((BOOLS[0], *BOOLS), {})],
    "pow": [
        *(((PAIRS[0], p), {}) for p in (2, 3, 1, 0, -1, 0.5, 2.5, -2.0, 1.7, math.inf, math.nan, 1e9)),
        *(((x, PAIRS[1]), {}) for x in (2.0, 1.0, 0.0, -2.0, math.inf, math.nan, -1.0)),
        (tuple(PAIRS), {}),
    ],
}


BESIDE_NUMBERS = {"sub", "div", "lt", "maximum", "atan2"}  # that stand for all: an array and a number, in either order


def calls_of(name):
    op = OPS[name]
    if name in CALLS:
        return CALLS[name]
    if name in OF_BOOLEANS:
        return [(tuple(BOOLS[: op.arity]), op.defaults)]
    calls = [(tuple(PAIRS) if op.arity == 2 else (NUMBERS,), op.defaults)]
    if name in BESIDE_NUMBERS:  # the new NVVM writes a loop of its own for some numbers
        calls += [((PAIRS[0], p), {}) for p in (1.5, -2, math.nan)] + [((p, PAIRS[1]), {}) for p in (1.5, -2, math.nan)]
    return calls


def forward(name, arrays, params, dtype):
    with np.errstate(all="ignore"):
        wide = [a.astype(dtype) if isinstance(a, np.ndarray) and a.dtype.kind == "f" else a for a in arrays]
        return np.asarray(OPS[name].forward(np, *wide, **params))


def assert_right(name, y, arrays, params):
    """y is what the op answers in float64, or where float32 overflows on the way, in NumPy's float32."""
    wide, narrow = (forward(name, arrays, params, dtype) for dtype in (np.float64, np.float32))
    assert (y.dtype, y.shape) == (narrow.dtype, narrow.shape)
    if y.dtype == bool:
        np.testing.assert_array_equal(y, narrow)
        return
    with np.errstate(over="ignore", invalid="ignore"):
        expected = np.where(np.isfinite(narrow), wide, narrow).astype(np.float32).astype(np.float64)
        scale = np.maximum(np.abs(arrays[0]), 1.0) * CANCELS[name] * UNIT if name in CANCELS else 0.0
        allowed = scale + UNITS.get(name, 8) * UNIT * np.abs(expected) + 2e-45  # the last is one denormal number
        wrong = ~((np.abs(y - expected) <= allowed) | (y == expected) | (np.isnan(y) & np.isnan(expected)))
    assert not wrong.any(), (y[wrong][:5], expected[wrong][:5], [a[wrong][:5] for a in arrays if np.ndim(a)])


def generated(name):
    return next(k for k in OPS[name].kernels.by_device["cuda"] if k.name == "elementwise")


ELEMENTWISE = sorted(name for name, op in OPS.items() if op.elementwise)


@pytest.mark.parametrize("name", [n for n in ELEMENTWISE if n not in WITHOUT - OF_BOOLEANS])
def test_an_elementwise_op_is_right_on_both_architectures_and_all_of_its_kernels_run(name):
    for capability in CAPABILITIES:
        with emulating(capability), recorded() as launches, tg.use_kernels(**{name: "elementwise"}):
            for arrays, params in calls_of(name):
                before = len(launches)
                y = OPS[name](*on_device(*arrays), **params)
                assert len(launches) == before + 1, "no kernel took it"
                assert_right(name, on_host(y), arrays, params)
        assert_covered(launches)
        assert all(c.sectors_a_request <= 4.1 for c in totals(launches).values())
        if name in HEAVIEST:
            assert_well_compiled(launches)


@pytest.mark.parametrize("name", sorted(WITHOUT - OF_BOOLEANS - {"share"}))
def test_an_op_without_a_text_is_refused_and_so_is_every_op_in_another_dtype(name):
    x, op = np.ones(3, np.float32), OPS[name]
    params = {**op.defaults, **({"towards": "floor"} if name == "whole_quotient" else {})}
    assert not generated(name).when(*[x] * op.arity, **params)


def test_what_a_kernel_cannot_take_is_refused():
    add, x = generated("add"), np.ones((4, 6), np.float32)
    assert add.when(x, x) and add.when(x, x[0]) and add.when(x, 2) and add.when(True, x)
    for a, b in [
        (x.astype(np.float64), x),
        (x, x.astype(np.float16)),
        (x, x.astype(np.int32)),
        (x, np.float64(2)),
        (x.T, x.T),
        (x[:, ::2], x[:, ::2]),
        (x > 0, x > 0),  # NumPy's sum of booleans is a boolean
        (x[:0], x[:0]),
        (x, x[:, :5]),
        (x, None),
        (1.0, 2.0),
    ]:
        assert not add.when(a, b)
    assert not generated("where").when(x > 0, 1.0, 2.0)  # which is of float64
    assert not generated("share").when(x > 0, x > 0)


SHAPES = [
    [(5, 7), (5, 7)],
    [(5, 7), (7,)],
    [(5, 1), (5, 7)],
    [(5, 7), (1,)],
    [(5, 7), ()],
    [(), ()],
    [(3, 1, 4), (2, 1)],
    [(4, 3, 2, 5), (4, 1, 2, 1)],
    [(1, 3, 1, 5), (2, 1, 4, 1)],
    [(300, 300), (300, 1)],
    [(1, 1, 6), (6,)],
]


@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_operands_broadcast_as_those_of_numpy_do(shapes, capability):
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(shape).astype(np.float32) for shape in shapes)
    with emulating(capability), recorded() as launches:
        y = OPS["sub"](*on_device(a, b))
    np.testing.assert_array_equal(on_host(y), a - b)
    assert_covered(launches)
    assert len(launches) == 1


@pytest.mark.parametrize("axes", [0, 1, 2, (0, 1), (0, 2), (1, 2), (0, 1, 2)])
def test_what_is_repeated_without_memory_is_read_where_it_lies(axes):
    rng = np.random.default_rng(0)
    core, x = rng.standard_normal((4, 5, 6)).astype(np.float32), rng.standard_normal((4, 5, 6)).astype(np.float32)
    core = core[tuple(slice(1) if i in np.atleast_1d(axes) else slice(None) for i in range(3))]
    (device_core,), (device_x,) = on_device(np.ascontiguousarray(core)), on_device(x)
    repeated = tg.device("emulator").xp.broadcast_to(device_core, (4, 5, 6))
    with recorded() as launches:
        y = OPS["mul"](device_x, repeated)
    assert len(launches) == 1
    np.testing.assert_array_equal(on_host(y), x * core)


def test_a_wrong_index_into_a_broadcast_operand_is_caught():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((5, 7)).astype(np.float32), rng.standard_normal(7).astype(np.float32)
    text = elementwise.kernel_text(
        "wrong(a0, a1, y, n1)", "", {0: (True, True), 1: (True, False)}, ["t = x0 - x1"], "t"
    )
    wrong = written_kernel("wrong", text, version="", moves="", why="")
    x, v = on_device(a, b)
    y = tg.device("emulator").xp.empty((5, 7), np.float32)
    launch(wrong, 1, 64, x.reshape(-1), v, y.reshape(-1), np.uint32(7))
    assert not np.array_equal(on_host(y), a - b)
    with pytest.raises(KernelFault, match="out of bounds"):
        launch(wrong, 1, 64, x.reshape(-1), v[:3], y.reshape(-1), np.uint32(7))


def test_one_kernel_serves_all_numbers_but_the_powers_that_are_products():
    (x,) = on_device(RAGGED)
    with recorded() as launches:
        OPS["mul"](x, 1.5), OPS["mul"](x, 2), OPS["mul"](x, np.float32(7))
        OPS["pow"](x, 2), OPS["pow"](x, 2.5), OPS["pow"](x, 7.0)
    assert [one.kernel.name for one in launches] == ["mul_x_s"] * 3 + ["pow_x_2", "pow_x_s", "pow_x_s"]


def test_a_grid_smaller_than_the_array_takes_all_of_it(monkeypatch):
    monkeypatch.setattr(grid, "BLOCKS", 2)
    x = np.arange(2000, dtype=np.float32)
    np.testing.assert_array_equal(on_host(OPS["add"](*on_device(x, x))), x + x)


def test_derivatives_on_the_device_are_those_of_the_cpu():
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(shape).astype(np.float32) for shape in [(6, 5), (5,)])
    grads = []
    for device in ("cpu", "emulator"):
        a, b = (tg.tensor(v).to(device).requires_grad_() for v in (x, w))
        loss = ((a * b + 0.5).tanh() * (a - b).sigmoid() / (b * b + 1.0)).exp().mean()
        loss.backward()
        grads.append([v.to("cpu").numpy() for v in (loss.detach(), a.grad, b.grad)])
    for ours, theirs in zip(*grads, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=16 * UNIT, atol=16 * UNIT)


# --- reductions ------------------------------------------------------------------------------------------------------

REDUCTIONS = {"sum": np.sum, "mean": np.mean, "amax": np.max, "amin": np.min}
REDUCED = [
    ((5, 7), None), ((5, 7), -1), ((5, 7), 0), ((3, 4, 5), 1), ((3, 4, 5), (0, 2)), ((1, 5), 0), ((2, 3000), 1),
    ((3000, 2), 0), ((300, 70), 0), ((70000,), 0), ((2100, 40), 1), ((), None), ((3, 1), 1), ((7, 3, 130), 1),
    ((2, 3, 2, 3, 2), (1, 3)),
]  # fmt: skip


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_reductions_over_any_axes_are_right_and_all_of_their_kernels_run(capability):
    rng = np.random.default_rng(0)
    with emulating(capability), recorded() as launches:
        for (shape, axis), name in itertools.product(REDUCED, REDUCTIONS):
            x = rng.standard_normal(shape).astype(np.float32)
            for keepdims in (False, True):
                y = on_host(OPS[name](*on_device(x), axis=axis, keepdims=keepdims))
                expected = REDUCTIONS[name](x.astype(np.float64), axis=axis, keepdims=keepdims)
                # at most 64 numbers are added one by one, in three passes; in a tree, which rounds less often, the rest
                size = np.abs(x.astype(np.float64)).mean(axis=axis, keepdims=keepdims)
                size = size * (x.size / expected.size if name == "sum" else 1.0)
                allowed = 80 * UNIT * size if name in ("sum", "mean") else 0.0
                assert y.shape == expected.shape
                assert np.all(np.abs(y - expected) <= allowed), (name, shape, axis)
    assert_covered(launches)
    assert_well_compiled(launches)
    assert set(totals(launches)) == {f"{n}_of_{m}" for n in reduce.COMBINE for m in ("rows", "columns")}


@pytest.mark.parametrize("axis", [0, 1])
def test_extrema_are_nan_where_there_is_one_and_infinite_where_all_are(axis):
    x = np.random.default_rng(0).standard_normal((40, 33)).astype(np.float32)
    x[1, 3], x[2, 4], x[3], x[:, 7], x[39, 32] = np.nan, -np.inf, -np.inf, np.inf, np.nan
    for name, f in (("amax", np.max), ("amin", np.min)):
        np.testing.assert_array_equal(on_host(OPS[name](*on_device(x), axis=axis)), f(x, axis=axis))


@pytest.mark.parametrize("shape", [(5, 6), (1, 5, 1), (6,), (4, 5, 6), (), (4, 1, 1), (1, 1, 6)])
def test_a_cotangent_is_summed_to_the_shape_that_was_broadcast(shape):
    x = np.random.default_rng(0).integers(-9, 9, (4, 5, 6)).astype(np.float32)  # whole numbers: sums are exact
    y = OPS["sum_to"](*on_device(x), shape=shape)
    np.testing.assert_array_equal(on_host(y), OPS["sum_to"].forward(np, x, shape=shape))


def test_long_sums_read_four_sectors_a_request_by_row_and_by_column():
    (x,) = on_device(np.ones((64, 1024), np.float32))
    for axis in (0, 1):
        with recorded() as launches:
            OPS["sum"](x, axis=axis)
        assert launches[0].counters.sectors_a_request <= 4.1


def test_a_sum_gives_the_same_number_each_time():
    (x,) = on_device(np.random.default_rng(0).standard_normal(5000).astype(np.float32))
    assert len({float(on_host(OPS["sum"](x))) for _ in range(3)}) == 1


def test_a_reduction_that_leaves_out_its_last_lane_is_caught():
    text = reduce.ROWS.format(name="short", start="F(0.0)", combined="s + v", divided="").replace(
        "(16, 8, 4, 2, 1)", "(16, 8, 4, 2)"
    )
    short = written_kernel("short_of_rows", text, version="", moves="", why="")
    x = np.random.default_rng(0).standard_normal((4, 100)).astype(np.float32)
    (given,), y = on_device(x), tg.device("emulator").xp.empty(4, np.float32)
    launch(short, 1, (32, 8), given.reshape(-1), y, *map(np.uint32, (100, 1, 1024)), np.float32(1))
    assert not np.allclose(on_host(y), x.sum(1), rtol=1e-3)
