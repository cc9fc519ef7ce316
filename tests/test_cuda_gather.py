"""Rows taken from a table and added back to it on the emulator, against float64 on the CPU."""

import itertools

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="CUDA kernels need numba-cuda: pip install 'tinygrad-ft[emulator]'")

from cuda_answers import CAPABILITIES, UNIT, assert_covered, assert_well_compiled, on_device, on_host, recorded, totals

import tinygrad_ft as tg
from tinygrad_ft.cuda.compile import Kernel
from tinygrad_ft.cuda.emulator.faults import KernelFault
from tinygrad_ft.cuda.launch import emulating, launch
from tinygrad_ft.cuda.synchronisations import synchronisations
from tinygrad_ft.engine import OPS
from tinygrad_ft.kernels.cuda import gather

WIDTHS = (1, 3, 32, 70)
VERSIONS = ("atomic", "in_order")


def table_and_ids(rows, shape, width, dtype=np.int64):
    rng = np.random.default_rng(0)
    return rng.standard_normal((rows, width)).astype(np.float32), rng.integers(0, rows, shape).astype(dtype)


def summed(g, ids, rows):
    """Each row of g where it belongs, in float64, and the sum of their sizes; what is out of range is left out."""
    y, size = np.zeros((2, rows, g.shape[-1]))
    for place in np.ndindex(ids.shape):
        if 0 <= ids[place] < rows:
            y[ids[place]] += g[place]
            size[ids[place]] += np.abs(g[place])
    return y, size


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_rows_are_taken_and_added_and_all_of_the_kernels_run(capability):
    with emulating(capability), recorded() as launches:
        for dtype, width, shape in itertools.product((np.int32, np.int64), WIDTHS, [(5, 9), (1,), ()]):
            weight, ids = table_and_ids(11, shape, width, dtype)
            taken = OPS["embedding"](*on_device(ids, weight))
            np.testing.assert_array_equal(on_host(taken), weight[ids])
            g = np.random.default_rng(1).standard_normal((*shape, width)).astype(np.float32)
            expected, size = summed(g, ids, 11)
            for version in VERSIONS:
                with tg.use_kernels(sum_rows=version):
                    y = on_host(OPS["sum_rows"](*on_device(g, ids), rows=11))
                # a sum of n numbers in any order is off by (n - 1) roundings of their sizes at most
                assert np.all(np.abs(y - expected) <= max(ids.size - 1, 0) * UNIT * size)
    assert_covered(launches)
    assert_well_compiled(launches)
    assert set(totals(launches)) == {"take_rows", "add_rows_atomic", "add_rows_sorted"}


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_what_is_out_of_range_is_nan_where_it_is_taken_and_left_out_where_it_is_added(capability):
    weight, ids = table_and_ids(11, (5, 9), 7)
    ids[0, 0], ids[1, 1], ids[4, 8], ids[2, 2] = 11, -1, 2**40, -(2**62)
    inside = (ids >= 0) & (ids < 11)
    with emulating(capability):
        y = on_host(OPS["embedding"](*on_device(ids, weight)))
        np.testing.assert_array_equal(y[inside], weight[ids[inside]])
        assert np.isnan(y[~inside]).all()
        g = np.random.default_rng(1).standard_normal((5, 9, 7)).astype(np.float32)
        for version in VERSIONS:
            with tg.use_kernels(sum_rows=version):
                y = on_host(OPS["sum_rows"](*on_device(g, ids), rows=11))
            np.testing.assert_allclose(y, summed(g, ids, 11)[0], atol=45 * UNIT * 4)


def test_a_row_that_is_not_guarded_is_reported(monkeypatch):
    weight, ids = on_device(*table_and_ids(4, (6,), 8))
    y = tg.device("emulator").xp.empty((6, 8), np.float32)
    launch(gather.take_rows, 1, 64, ids, weight, y)

    def unguarded(ids, weight, y):
        i = gather.uint32(gather.cuda.threadIdx.x)
        if i < gather.uint32(y.size):
            y[i // 8, i % 8] = weight[ids[i // 8], i % 8]

    bad = Kernel(unguarded, version="", moves="", why="")
    launch(bad, 1, 64, ids, weight, y)
    (ids,) = on_device(np.array([0, 1, 2, 3, 4, 0]))
    with pytest.raises(KernelFault, match=r"out of bounds"):
        launch(bad, 1, 64, ids, weight, y)


def test_adding_without_atomics_is_reported_as_a_race():
    def careless(g, ids, y):
        i = gather.uint32(gather.cuda.threadIdx.x)
        y[ids[i]] += g[i]

    g, ids, y = on_device(np.ones(64, np.float32), np.arange(64) % 7, np.zeros(7, np.float32))
    with pytest.raises(KernelFault, match="race"):
        launch(Kernel(careless, version="", moves="", why=""), 1, 64, g, ids, y)


def test_in_order_is_the_default_and_gives_the_same_numbers_each_time():
    _, ids = table_and_ids(5, (300,), 1)
    g = (np.random.default_rng(1).standard_normal((300, 40)) * 10.0 ** np.arange(300)[::-1, None] ** 0.5).astype(
        np.float32
    )
    given = on_device(g, ids)
    with recorded() as launches:
        ys = [on_host(OPS["sum_rows"](*given, rows=5)) for _ in range(3)]
    assert {one.kernel.name for one in launches} == {"add_rows_sorted"}
    for y in ys[1:]:
        np.testing.assert_array_equal(y, ys[0])
    in_this_order = np.zeros((5, 40), np.float32)
    for row, i in zip(g, ids, strict=True):
        in_this_order[i] += row
    np.testing.assert_array_equal(ys[0], in_this_order)


def test_a_cotangent_of_any_layout_is_taken():
    _, ids = table_and_ids(5, (20,), 1)
    g = np.random.default_rng(1).standard_normal((6, 20)).astype(np.float32)
    (turned,) = on_device(g)
    for version in VERSIONS:
        with tg.use_kernels(sum_rows=version), recorded() as launches:
            y = on_host(OPS["sum_rows"](turned.T, *on_device(ids), rows=5))
        assert len(launches) == 1
        np.testing.assert_allclose(y, summed(g.T, ids, 5)[0], atol=20 * UNIT * 4)


def test_wide_rows_are_read_four_sectors_a_request():
    weight, ids = table_and_ids(50, (64,), 256)
    with recorded() as launches:
        OPS["embedding"](*on_device(ids, weight))
    assert launches[0].counters.sectors_a_request <= 4.1


def test_taking_and_adding_rows_do_not_wait_for_the_device():
    weight, ids = table_and_ids(11, (5, 9), 7)
    given = on_device(ids, weight)
    with synchronisations() as count:
        g = OPS["embedding"](*given)
        for version in VERSIONS:
            with tg.use_kernels(sum_rows=version):
                OPS["sum_rows"](g, given[0], rows=11)
    assert int(count) == 0 and not count.copies


def test_what_the_kernels_cannot_take_is_refused():
    weight, ids = table_and_ids(5, (20,), 4)
    takes, adds = (OPS[name].kernels.by_device["cuda"][0].when for name in ("embedding", "sum_rows"))
    assert takes(ids, weight) and adds(weight[ids], ids, rows=5)
    assert not takes(ids, weight.astype(np.float64))
    assert not takes(ids.astype(np.int16), weight)
    assert not takes(ids, weight.T)
    assert not takes(ids[:0], weight)
    assert not takes(ids[::2], weight)
    assert not adds(weight[ids], ids[:5], rows=5)
    assert not adds(weight[ids].astype(np.float16), ids, rows=5)


def test_an_embedding_learns_on_the_device_what_it_learns_on_the_cpu():
    rng = np.random.default_rng(0)
    table, ids = rng.standard_normal((7, 5)).astype(np.float32), rng.integers(0, 7, (4, 6))
    grads = []
    for device in ("cpu", "emulator"):
        weight = tg.tensor(table).to(device).requires_grad_()
        (tg.nn.functional.embedding(tg.tensor(ids).to(device), weight) ** 2).sum().backward()
        grads.append(weight.grad.to("cpu").numpy())
    np.testing.assert_allclose(*grads, rtol=24 * UNIT)
