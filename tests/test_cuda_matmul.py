"""Matrix products by our own kernels: executed by the emulator, against float64 on the CPU, in every layout."""

import re

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="CUDA kernels need numba-cuda: pip install 'tinygrad-ft[emulator]'")

from cuda_answers import CAPABILITIES, assert_covered, on_device, on_host, recorded

import tinygrad_ft as tg
from tinygrad_ft.cuda import report, toolkit
from tinygrad_ft.cuda.compile import cuda, kernel
from tinygrad_ft.cuda.emulator.faults import KernelFault
from tinygrad_ft.cuda.emulator.machine import run
from tinygrad_ft.cuda.emulator.program import Program
from tinygrad_ft.cuda.intrinsics import ld4, st4
from tinygrad_ft.cuda.launch import emulating, launch, memory
from tinygrad_ft.engine import OPS
from tinygrad_ft.kernels.cuda.matmul import product

VERSIONS = ["naive", "tiled", "register"]

# Two operands, on the host or on the emulator: views of what `make(*shape)` answers.
LAYOUTS = {
    "ragged": lambda make: (make(33, 17), make(17, 29)),
    "one of each": lambda make: (make(1, 1), make(1, 1)),
    "fours": lambda make: (make(68, 64), make(64, 72)),
    "transposed": lambda make: (make(61, 35).T, make(29, 61).T),
    "left transposed": lambda make: (make(36, 20).T, make(36, 24)),
    "right transposed": lambda make: (make(20, 36), make(24, 36).T),
    "a batch": lambda make: (make(3, 5, 17), make(3, 17, 9)),
    "heads": lambda make: (make(2, 7, 3, 8).swapaxes(1, 2), make(2, 7, 3, 8).transpose(0, 2, 3, 1)),
    "a broadcast batch": lambda make: (make(2, 1, 5, 6), make(3, 6, 4)),
    "one b for all": lambda make: (make(2, 3, 5, 6), make(6, 4)),
    "single rows": lambda make: (make(7, 1, 12), make(12, 5)),
    "a row": lambda make: (make(12), make(12, 5)),
    "a column": lambda make: (make(5, 12), make(12)),
    "two vectors": lambda make: (make(70), make(70)),
    "a batch of columns": lambda make: (make(2, 3, 5, 6), make(6)),
    "a row with a batch": lambda make: (make(6), make(2, 6, 4)),
    "outer": lambda make: (make(65, 1), make(1, 70)),
    "strided": lambda make: (make(20, 30)[3:15:2, 1:22:3], make(9, 14)[1:8, ::2]),
    "off a boundary": lambda make: (make(40, 65)[1:, 1:], make(64, 70)),
    "on a boundary": lambda make: (make(40, 68)[1:, 4:], make(64, 70)),
}
# What the tile of 128 x 128 is for.
LARGE = {
    "interior": lambda make: (make(128, 24), make(24, 128)),
    "interior, transposed": lambda make: (make(24, 128).T, make(128, 24).T),
    "large, ragged": lambda make: (make(131, 19), make(19, 133)),
    "large, ragged, transposed": lambda make: (make(19, 131).T, make(133, 19).T),
    "large, ragged fours": lambda make: (make(132, 20), make(20, 140)),
}


def uniform(*shape, dtype=np.float32, seed=0):
    """Numbers between -1 and 1: of normal ones, NumPy's own float32 product of 200x64x150 is 1.3e-5 off."""
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(dtype)


def placed(layout, dtype=np.float32):
    """The operands of a layout on the host, and on the emulator with the same strides."""

    def made(*shape):
        return uniform(*shape, dtype=dtype, seed=shape)

    return layout(made), layout(lambda *shape: to_emulator(made(*shape)))


def to_emulator(array):
    return on_device(array)[0]


def exact(a, b):
    return np.matmul(a.astype(np.float64), b.astype(np.float64))


def multiplied(version, a, b):
    """A version's answer on the host, and what was launched."""
    with tg.use_kernels(matmul=version), recorded() as launches:
        return on_host(OPS["matmul"](a, b)), launches


def assert_right(version, layout, dtype=np.float32, tolerance=1e-5):
    """The one launch that computes the product of a layout, to the tolerance."""
    host, there = placed(layout, dtype)
    answer, (launched,) = multiplied(version, *there)
    assert launched.kernel.version == version
    assert answer.dtype == dtype
    np.testing.assert_allclose(answer, exact(*host), rtol=0, atol=tolerance, strict=False)
    return launched


# --- values --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize("version", VERSIONS)
def test_each_version_is_right_in_every_layout_and_all_of_its_ptx_runs(version, capability):
    layouts = LAYOUTS | (LARGE if version == "register" else {})
    with emulating(capability):
        launches = [assert_right(version, layout) for layout in layouts.values()]
        launches += [assert_linear_is_right(version, rows, 70) for rows in (33, 48)]
        if version == "register":
            launches += [assert_linear_is_right(version, rows, 140) for rows in (131, 140)]
    assert_covered(launches)
    assert all(".f64" not in one.compiled.ptx for one in launches)


@pytest.mark.parametrize("version", VERSIONS)
def test_sums_of_halves_are_float32(version):
    for name in ("ragged", "right transposed", "on a boundary"):
        assert_right(version, LAYOUTS[name], np.float16, tolerance=8 * 2.0**-11)  # one rounding, of numbers below 16
    ones = on_device(np.ones((4, 3000), np.float16), np.ones((3000, 4), np.float16))
    answer, _ = multiplied(version, *ones)
    assert (answer == 3000).all()  # in float16, 2048 + 1 is 2048


@pytest.mark.parametrize("version", VERSIONS)
def test_what_lies_beyond_an_edge_is_not_multiplied(version):
    a, b = uniform(35, 21), uniform(21, 37)
    a[3, 4], b[20, 36], a[34, 20] = np.inf, np.inf, np.nan
    answer, _ = multiplied(version, *on_device(a, b))
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(np.isnan(answer), np.isnan(a @ b))
        np.testing.assert_array_equal(np.isinf(answer), np.isinf(a @ b))


def assert_linear_is_right(version, rows, columns, *, biased=True):
    """The one launch of a linear layer, whose sums start at the bias."""
    x, weight, bias = uniform(rows, 20), uniform(columns, 20, seed=1), uniform(columns, seed=2) * biased
    with tg.use_kernels(linear=version), recorded() as launches:
        answer = on_host(OPS["linear"](*on_device(x, weight, bias if biased else None)))
    assert [one.kernel.version for one in launches] == [version]
    np.testing.assert_allclose(answer, exact(x, weight.T) + bias, rtol=0, atol=1e-5)
    return launches[0]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_linear_layer_may_have_no_bias(version):
    assert_linear_is_right(version, 17, 21, biased=False)


def test_the_rule_multiplies_transposed_views_without_a_copy():
    a, b, g = uniform(60, 50), uniform(50, 70, seed=1), uniform(60, 70, seed=2)
    x, y = (tg.tensor(array).to("emulator").requires_grad_() for array in (a, b))
    product_of_both = x @ y
    with recorded() as launches:
        product_of_both.backward(tg.tensor(g).to("emulator"))
    assert [one.kernel.name for one in launches] == ["matmul_register_64"] * 2
    np.testing.assert_allclose(on_host(x.grad.array), exact(g, b.T), rtol=0, atol=1e-5)
    np.testing.assert_allclose(on_host(y.grad.array), exact(a.T, g), rtol=0, atol=1e-5)
    operands = [memory(one.args[place]) for one in launches for place in (0, 1)]
    for array in (x.array, y.array):
        assert any(np.shares_memory(memory(array), operand) for operand in operands)


@pytest.mark.parametrize("version", VERSIONS)
def test_gradients_are_those_of_the_cpu_whichever_version_multiplies(version):
    arrays = uniform(2, 5, 12), uniform(7, 12, seed=1), uniform(7, seed=2)

    def gradients(place):
        leaves = [tg.tensor(a).to(place).requires_grad_() for a in arrays]
        x, weight, bias = leaves
        y = tg.nn.functional.linear(x, weight, bias)
        (y @ y.swapaxes(-1, -2)).sum().backward()
        return [on_host(leaf.grad.array) for leaf in leaves]

    with tg.use_kernels(matmul=version, linear=version):
        there = gradients("emulator")
    for got, expected in zip(there, gradients("cpu"), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


# --- which kernel runs ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shapes", "name"),
    [
        (((47, 20), (20, 47)), "matmul_tiled"),
        (((300, 20), (20, 10)), "matmul_tiled"),
        (((48, 20), (20, 48)), "matmul_register_64"),
        (((127, 20), (20, 300)), "matmul_register_64"),
        (((128, 20), (20, 128)), "matmul_register_128"),
        (((4, 16, 20), (20, 64)), "matmul_register_64"),
    ],
)
def test_the_emulator_takes_the_tile_that_fits(shapes, name):
    with recorded() as launches:
        OPS["matmul"](*on_device(*map(np.ones, shapes, [np.float32] * 2)))
    assert [one.kernel.name for one in launches] == [name]


@pytest.mark.parametrize(
    "operands",
    [
        lambda a, b: (a[::-1], b),
        lambda a, b: (a.astype(np.float64), b.astype(np.float64)),
        lambda a, b: (a, b.astype(np.float16)),
        lambda a, b: (a[:0], b),
        lambda a, b: (a[:, :0], b[:0]),
        lambda a, b: (a.reshape(2, 2, 2, 1, 2).transpose(2, 1, 0, 3, 4), b.reshape(2, 2, 2, 2, 1)),
    ],
    ids=["a negative stride", "float64", "two dtypes", "no rows", "no depth", "three axes of a batch"],
)
def test_what_the_kernels_do_not_take_runs_the_ops_own_forward(operands):
    a, b = operands(uniform(4, 4), uniform(4, 4, seed=1))
    assert product(a, b) is None
    with recorded() as launches:
        answer = on_host(OPS["matmul"](*operands(*on_device(uniform(4, 4), uniform(4, 4, seed=1)))))
    assert launches == []
    np.testing.assert_allclose(answer, exact(a, b), rtol=0, atol=1e-2 if a.dtype != b.dtype else 1e-6)


def test_shapes_that_do_not_fit_are_refused_as_on_the_cpu():
    with pytest.raises(ValueError, match="matmul needs the last axis of a to match"):
        OPS["matmul"](*on_device(uniform(3, 4), uniform(5, 6)))
    with pytest.raises(ValueError, match="broadcast"):
        OPS["matmul"](*on_device(uniform(2, 3, 4), uniform(3, 4, 6)))


# --- cost ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize("layout", ["plain", "right transposed", "left transposed", "both transposed"])
def test_the_best_version_takes_1_6_instructions_a_product_and_1_6_ways_a_request(layout, capability):
    a = uniform(64, 256).T if layout in ("left transposed", "both transposed") else uniform(256, 64)
    b = uniform(128, 64).T if layout in ("right transposed", "both transposed") else uniform(64, 128)
    with emulating(capability):
        _, (launched,) = multiplied(
            "register", *(to_emulator(x.T).T if x.strides[0] < x.strides[1] else to_emulator(x) for x in (a, b))
        )
    counted = launched.counters
    assert counted.ffma == 256 * 64 * 128
    assert counted.instructions <= 1.6 * counted.ffma
    assert counted.bank_ways <= 1.6
    assert counted.sectors_a_request <= 4
    assert {name for name in counted.accesses if "global" in name} == {"ld.global.128", "st.global.128"}


def test_the_best_version_keeps_its_squares_in_registers():
    try:
        toolkit.tool("ptxas")
    except toolkit.MissingToolkit as missing:
        pytest.skip(str(missing))
    launches = [assert_right("register", LARGE["interior"]), assert_right("register", LAYOUTS["fours"])]
    for row in report.report(report.uses(launches), [(8, 0), (9, 0), (12, 0)]):
        assert (row.figures.spills, row.figures.stack) == (0, 0)
        assert row.figures.registers <= 128
        assert row.occupancy.share >= 0.25


def test_each_version_asks_less_of_memory_than_the_one_before_it():
    a, b = on_device(uniform(128, 64), uniform(64, 128))
    counted = [multiplied(version, a, b)[1][0].counters for version in VERSIONS]
    assert counted[0].bytes > 8 * counted[1].bytes
    assert counted[1].bytes > 4 * counted[2].bytes
    assert counted[0].instructions > counted[1].instructions > 3 * counted[2].instructions


# --- planted faults ------------------------------------------------------------------------------------------------


def launched_ptx(version, change):
    """Run a version's PTX with a change on the arguments of a ragged product."""
    launched = assert_right(version, LAYOUTS["ragged"])
    arguments = [memory(x) if hasattr(x, "flags") and not isinstance(x, np.generic) else x for x in launched.args]
    text = change(launched.compiled.ptx)
    assert text != launched.compiled.ptx
    run(Program.parse(text), launched.grid, launched.block, arguments)


@pytest.mark.parametrize("version", ["tiled", "register"])
def test_a_missing_barrier_is_a_race(version):
    with pytest.raises(KernelFault, match="race"):
        launched_ptx(version, lambda ptx: re.sub(r"bar\.sync\s+0;", "", ptx))


@pytest.mark.parametrize("version", VERSIONS)
def test_a_product_that_is_told_of_more_rows_than_there_are_reads_out_of_bounds(version):
    launched = assert_right(version, LAYOUTS["ragged"])
    arguments = list(launched.args)
    arguments[4] = np.int32(arguments[4] + 1)  # rows
    with pytest.raises(KernelFault, match="out of bounds"):
        launch(launched.kernel, launched.grid, launched.block, *arguments)


# --- four at once --------------------------------------------------------------------------------------------------


@kernel(version="fours", moves="reads x once, writes y once", why="16 bytes a thread")
def turned_fours(x, y, start):
    """y = x, each four turned around; x from `start` on."""
    i = cuda.grid(1) * 4
    if i < y.size:
        v0, v1, v2, v3 = ld4(x, start + i)
        st4(y, i, v3, v2, v1, v0)


@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_four_neighbours_are_one_load_and_one_store(dtype, capability):
    x = np.arange(80, dtype=dtype)
    given, y = on_device(x, np.zeros(72, dtype))
    with emulating(capability), recorded() as launches:
        launch(turned_fours, 1, 32, given, y, 4)
    np.testing.assert_array_equal(on_host(y), x[4:76].reshape(-1, 4)[:, ::-1].reshape(-1))
    bits = 32 * x.itemsize
    assert launches[0].counters.accesses == {f"ld.global.{bits}": 18, f"st.global.{bits}": 18}


def test_four_neighbours_off_their_boundary_are_reported():
    given, y = on_device(np.zeros(80, np.float32), np.zeros(72, np.float32))
    with pytest.raises(KernelFault, match="misaligned"):
        launch(turned_fours, 1, 32, given, y, 2)
