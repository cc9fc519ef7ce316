"""Shares between arrays of any layout: views, transposes, gaps, and answers that are not contiguous; bad indices."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_kernels import DIVIDED, own_forward
from test_shares import around_stays, run_in_parts, run_whole

from tinygrad_ft.kernels.cpu.copy import copying
from tinygrad_ft.ops.index import HERE

RNG = np.random.default_rng(0)


def normal(*shape, dtype=np.float32):
    return RNG.standard_normal(shape).astype(dtype)


def turned(x):
    """The same numbers, laid out with the axes in reverse order."""
    return np.ascontiguousarray(x.T).T


def gappy(x):
    """The same numbers, every second one of each row of a larger array, read backwards along the first axis."""
    wide = np.zeros([2 * n for n in x.shape], x.dtype)
    view = wide[(..., *(slice(None, None, -2 if i == 0 else 2) for i in range(x.ndim)))]
    view[...] = x
    return view


LAYOUTS = {"contiguous": np.ascontiguousarray, "turned": turned, "gappy": gappy}
layouts = st.sampled_from([*LAYOUTS.values()])
shapes = st.lists(st.integers(1, 9), min_size=1, max_size=5) | st.lists(st.integers(60, 130), min_size=1, max_size=2)


def assert_copies(copy, x, y):
    before = y.base.copy() if y.base is not None else None
    copy(y, x)
    np.testing.assert_array_equal(y, x)
    if before is not None:
        y[...] = 0
        np.testing.assert_array_equal(y.base, before)  # nothing else was written


@given(shape=shapes, to=layouts, of=layouts, dtype=st.sampled_from(["f4", "f8", "i8", "?", "f2"]), order=st.randoms())
def test_a_copy_in_shares_goes_between_any_two_layouts(shape, to, of, dtype, order):
    axes = [*range(len(shape))]
    order.shuffle(axes)
    x = of((normal(*shape) * 3).astype(dtype)).transpose(axes)
    assert_copies(lambda y, x: run_in_parts(copying(y, x), (1 / 3, 0.9)), x, to(np.zeros(x.shape, dtype)))


def test_a_copy_that_forgets_the_last_or_writes_beyond_is_caught():
    def short(y, x):
        run_whole(copying(y[:-1], x[:-1]))

    def beyond(y, x):
        y.base[...] = 1
        run_whole(copying(y, x))

    for wrong in (short, beyond):
        with pytest.raises(AssertionError):
            assert_copies(wrong, normal(5, 3), gappy(np.zeros((5, 3), np.float32)))


TIED = RNG.integers(-2, 3, (6, 5, 4, 7)).astype(np.float32)

CALLS = {
    "matmul": [((normal(5, 7), normal(7, 3)), {}), ((normal(2, 3, 5, 7), normal(3, 7, 20)), {})],
    "linear": [((normal(30, 7), normal(20, 7), normal(20)), {}), ((normal(2, 3, 7), normal(90, 7), None), {})],
    "pad_constant": [((normal(3, 4),), {"widths": ((1, 0), (2, 3)), "value": 1.5})],
    "clone": [((normal(3, 4),), {})],
    "reshape": [((normal(3, 4, 5),), {"shape": (4, 15)})],
    "join": [((normal(3, 4), normal(2, 4)), {"axis": 0}), ((normal(3, 4), normal(3, 2)), {"axis": -1})],
    "put": [((normal(2, 3),), {"key": (slice(1, 5, 2), ..., slice(None)), "shape": (6, 3)})],
    "overlap_add": [((normal(2, 3, 4, 5),), {"size": (14,), "stride": (2,), "dilation": (3,)})],
    **{
        name: [((normal(6, 5, 40),), {"axis": axis, "keepdims": False}) for axis in (None, 0, 1, 2, (0, 2), (1, 2))]
        for name in ("sum", "mean", "amax", "amin")
    },
    "extremum_grad": [
        ((normal(*np.max(TIED, axis).shape), TIED, np.max(TIED, axis)), {"axis": axis})
        for axis in (0, 1, (2, 3), (0, 2), (1, 3), (1, 2, 3))
    ],
    "sum_rows": [
        ((normal(6, 5, 4, 3), RNG.integers(0, 7, (6, 5, 4))), {"rows": 8}),
        ((normal(40, 3), RNG.integers(0, 7, 40)), {"rows": 8}),
    ],
    "sum_to": [((normal(6, 5, 40),), {"shape": shape}) for shape in ((), (40,), (5, 1), (6, 1, 1))],
}


def assert_any_layout(name, shares_of, arrays, params):
    """Shares for arrays in each layout write what the op answers, into answers of each layout."""
    true = np.asarray(own_forward(DIVIDED[name])(np, *arrays, **params))
    done = 0
    for of, to in product(LAYOUTS.values(), LAYOUTS.values()):
        if to is gappy and name not in ("clone", "join"):
            continue  # an answer has no gaps but in memory that someone gave
        laid_out = [of(a) if isinstance(a, np.ndarray) else a for a in arrays]
        y = to(np.full(true.shape, np.nan, true.dtype)) if true.ndim else np.full((), np.nan, true.dtype)
        shares = shares_of(y, laid_out, params)
        if shares is not None:
            run_in_parts(shares, (0.4,))
            np.testing.assert_allclose(y, true, rtol=1e-5, atol=1e-5)
            done += 1
    assert done


@pytest.mark.parametrize("name", CALLS)
def test_shares_take_and_answer_arrays_of_other_layouts(name):
    for arrays, params in CALLS[name]:
        assert_any_layout(name, lambda *call, op=DIVIDED[name]: op.kernels.shares("cpu", *call), arrays, params)


def test_shares_that_take_any_memory_for_contiguous_are_caught():
    op = DIVIDED["sum"]

    def contiguous_only(y, arrays, params):
        (x,) = arrays
        flat = np.lib.stride_tricks.as_strided(x, x.shape, np.empty(x.shape, x.dtype).strides)
        return op.kernels.shares("cpu", y, [flat], params)

    with pytest.raises(AssertionError):
        assert_any_layout("sum", contiguous_only, *CALLS["sum"][1])


# --- an index that is out of range ---------------------------------------------------------------------------------

BAD = [np.array([9, 0, 8, -9]), np.array([2**62, -(2**62), 8, 1]), np.array([-(2**31), 2**31 - 1], np.int32)]


@pytest.mark.parametrize("index", BAD, ids=["by one", "far", "32 bits"])
def test_an_index_out_of_range_adds_nothing_outside(index):
    for name, params in [("put", {"key": (HERE,), "shape": (4, 8)}), ("sum_rows", {"rows": 4})]:
        g = np.ones((index.size, 8), np.float32)
        run = lambda y, name=name, g=g, params=params: run_whole(  # noqa: E731
            DIVIDED[name].kernels.shares("cpu", y, [g, index], params)
        )
        assert around_stays(run)


@pytest.mark.parametrize("index", BAD, ids=["by one", "far", "32 bits"])
def test_an_index_out_of_range_takes_nan(index):
    table = normal(8, 4)
    in_range = (index >= -8) & (index < 8)
    for name, arrays, params in [("getitem", [table, index], {"key": (HERE,)}), ("embedding", [index, table], {})]:
        good = in_range if name == "getitem" else in_range & (index >= 0)
        y = np.zeros((index.size, 4), np.float32)
        run_whole(DIVIDED[name].kernels.shares("cpu", y, arrays, params))
        np.testing.assert_array_equal(np.isnan(y).all(1), ~good)
        np.testing.assert_array_equal(y[good], table[index[good]])


# --- the largest of many ------------------------------------------------------------------------------------------


def assert_ties_share(run, axis):
    """run(g, x, y) of an x that lies turned, with ties, infinities and NaN: the bits of the op, laid out as x."""
    x = turned(np.tile(TIED, (1, 1, 8, 8)).transpose(0, 2, 1, 3))
    x[0, :, :2], x[1, 3], x[2, 0, 0, 0], x[2, 0, 0, 1], x[3] = np.nan, -np.inf, np.inf, np.nan, 0.0
    with np.errstate(invalid="ignore"):
        y = np.max(x, axis)
    g = normal(*y.shape)
    gx, own = run(g, x, y), own_forward(DIVIDED["extremum_grad"])(np, g, x, y, axis=axis)
    np.testing.assert_array_equal(gx, own)
    assert gx.dtype == own.dtype and gx.strides == x.strides


@pytest.mark.parametrize("axis", [0, 1, 3, (2, 3), (0, 2), (0, 1, 2)])
def test_ties_share_a_cotangent_evenly_and_nan_takes_it(axis):
    op = DIVIDED["extremum_grad"]
    assert_ties_share(lambda *arrays: op.kernels.by_device["cpu"][0].run(np, *arrays, axis=axis), axis)
    assert_ties_share(lambda *arrays: op(*arrays, axis=axis), axis)


def test_a_cotangent_that_all_who_tie_receive_whole_is_caught():
    def whole(g, x, y):
        gx = np.empty_like(x)
        gx[...] = np.where((x == y[..., None]) | (x != x), g[..., None], 0)
        return gx

    with pytest.raises(AssertionError):
        assert_ties_share(whole, 3)
