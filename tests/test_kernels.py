"""Every kernel against its op's own forward: the registry says which there are, and each needs a row in ROWS."""

import importlib
import math
import platform
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_ft as tg
from tinygrad_ft.dispatch import REFERENCE
from tinygrad_ft.engine import OPS
from tinygrad_ft.ops.composed import every
from tinygrad_ft.ops.index import HERE

EVERY = every()
for op in EVERY.values():
    if op.kernels:
        op.kernels.load()

KERNELS = {
    f"{name}-{kernel.name}": (op, kernel)
    for name, op in EVERY.items()
    if op.kernels
    for kernel in op.kernels.by_device.get("cpu", ())
}
DIVIDED = {name: op for name, op in EVERY.items() if op.kernels and op.kernels.divisions.get("cpu")}
PENDING, SHARED = (
    [row for row in getattr(importlib.import_module("tinygrad_ft.kernels"), name) if row[1] == "cpu"]
    for name in ("PENDING", "SHARED")
)
EXTREMES = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 100, -100, 1e30, -1e30, 1e-40, -1e-40, 13.1, -13.1, 9, -9])


class Row(NamedTuple):
    """What an op with a kernel is called with, `make()` giving an array, and how close the kernel has to come."""

    calls: Callable[[Callable[[], Any]], Sequence[tuple[tuple[Any, ...], dict[str, Any]]]]
    dtypes: tuple[str, ...]
    absolute: float = 0.0  # in float32, and in proportion in others; or 5 units of the largest of the answer or `scale`
    scale: float = 0.0  # of what nearly cancels: what goes into an update, a chance less 1
    infinities: str = "the same"  # or "not finite": an update of what is broken is broken, whichever way


def gelu_calls(make):
    return [((make(),), {"approximate": "none"})]


def values_calls(make):
    yield (make(),), {}


def one_number_like(x):
    """The first number of x in all its places, as the rule of a sum leaves a cotangent."""
    return np.lib.stride_tricks.as_strided(x.reshape(-1)[:1].copy(), x.shape, (0,) * x.ndim)


def slopes_calls(make):
    yield (make(), make()), {}
    yield (one_number_like(make()), make()), {}
    x = make()
    yield (np.repeat(make(), 2, axis=-1)[..., ::2], x), {}


def sgd_calls(make):
    for momentum, weight_decay, nesterov, dampening in [
        (0.9, 0.0, False, 0.0),
        (0.0, 0.1, False, 0.0),
        (0.9, 0.01, True, 0.0),
        (0.9, 0.01, False, 0.5),
        (0.9, 0.0, True, 0.5),
    ]:
        options = {"momentum": momentum, "weight_decay": weight_decay, "nesterov": nesterov, "dampening": dampening}
        yield (make(), make(), make(), 0.1), options
    for weight_decay, lr in [(0.0, 0.1), (0.1, np.array(0.125))]:
        options = {"momentum": 0.0, "weight_decay": weight_decay, "nesterov": False, "dampening": 0.0}
        yield (make(), make(), None, lr), options


def adam_calls(make):
    for step, weight_decay, decoupled, lr in [
        (0, 0.0, False, 0.1),
        (7, 0.1, True, 0.1),
        (7, 0.1, False, 0.1),
        (2000, 0.1, True, np.array(0.125)),  # which float16 can hold
    ]:
        options = {"beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "weight_decay": weight_decay, "decoupled": decoupled}
        yield (make(), make(), make(), abs(make()), lr, np.array(step)), options


def cross_entropy_calls(make):
    for rows_of in (1, 8):
        x = make()
        if x.ndim == 1:
            x = x.reshape((1, -1) if x.size % rows_of else (-1, x.size if rows_of == 1 else rows_of))
        x = x.reshape(-1, x.shape[-1])
        rows, classes = x.shape
        target = np.arange(rows) * 5 % classes
        yield (x, target, 1.0), {}
        yield (x.copy(), target, np.linspace(0, 1, rows).astype(x.dtype)), {}
        yield (x.copy(), target.astype(np.int32) - classes, np.array(0.5, x.dtype)), {}  # counted from the end


def quietly(forward, *arrays, **params):
    with np.errstate(all="ignore"):
        return forward(np, *arrays, **params)


def rows_of(x):
    """x, or if it has one axis only, one row of it."""
    return x.reshape(1, -1) if x.ndim == 1 else x


def softmax_calls(make):
    yield (make(),), {"axis": -1}
    x = rows_of(make())
    yield (x,), {"axis": x.ndim - 1}


def softmax_grad_calls(make):
    g, x = make(), make()
    yield (g, quietly(OPS["softmax"].forward, x, axis=-1)), {"axis": -1}


def layer_norm_calls(make):
    for weight, bias in [(True, True), (True, False), (False, False)]:
        x = make()
        x = x.reshape(len(x), -1) if x.ndim > 1 else x  # rows of 2 are all but equal to their mean now and then
        w, b = (make()[..., :1].reshape(-1)[:1].repeat(x.shape[-1]) if some else None for some in (weight, bias))
        yield (x, w, b), {"axes": 1, "eps": 1e-5}


def layer_norm_grad_calls(make):
    for x, w, _ in (call[0] for call in layer_norm_calls(make)):
        _, m, r = quietly(OPS["layer_norm_of_rows"].forward, x, None, None, axes=1, eps=1e-5)
        yield (make().reshape(x.shape), x, w, m, r), {"axes": 1}


def rms_norm_calls(make):
    for (x, w, _), params in layer_norm_calls(make):
        yield (x, w), params


def rms_norm_grad_calls(make):
    for (x, w), params in rms_norm_calls(make):
        _, r = quietly(OPS["rms_norm_of_rows"].forward, x, None, **params)
        yield (make().reshape(x.shape), x, w, r), {"axes": 1}


def heads_of(x):
    """x, or what fits of it, as (1, 2 heads, rows, 4 numbers each); a tenth of x where that keeps what it is like."""
    if x.flags.c_contiguous and x.dtype.isnative:
        x = x * x.dtype.type(0.1)  # products of hundreds round by more than what is left of them
    if x.ndim > 1:
        return x[(None,) * (4 - x.ndim)]
    return x[: x.size // 8 * 8].reshape(1, 2, -1, 4)[:, :, :100]


def attention_calls(make):
    for causal in (True, False):
        yield (heads_of(make()), heads_of(make()), heads_of(make()), None), {"causal": causal, "scale": 0.5}


def attention_grad_calls(make):
    for (q, k, v, _), params in attention_calls(make):
        _, p = quietly(OPS["attention"].forward, q, k, v, None, **params)
        yield (heads_of(make()), q, k, v, p), params


def in_rows_of_8(x):
    """x with two axes at least, and no row so long that its products with others fill the memory."""
    return x[: x.size // 8 * 8].reshape(-1, 8) if x.ndim == 1 else x


def matmul_calls(make):
    for wide in (False, True):
        a, b = in_rows_of_8(make()), in_rows_of_8(make())
        yield (a.swapaxes(-1, -2), b) if wide else (a, b.swapaxes(-1, -2)), {}
    a, b = in_rows_of_8(make()), in_rows_of_8(make())
    square = b[..., : b.shape[-1], :] if b.shape[-2] >= b.shape[-1] else b.swapaxes(-1, -2)
    yield (a, square), {}
    yield (in_rows_of_8(make()), square.reshape(-1, square.shape[-1])[: a.shape[-1], 0]), {}


def linear_calls(make):
    for few, with_bias in [(False, True), (True, False), (True, True)]:
        x, w = in_rows_of_8(make()), in_rows_of_8(make())
        w = w.reshape(-1, w.shape[-1])
        yield (x[..., :1, :] if few else x, w, make().reshape(-1)[: len(w)] if with_bias else None), {}


def embedding_calls(make):
    table = rows_of(make())
    table = table.reshape(-1, table.shape[-1])
    yield (np.arange(24).reshape(4, 6) * 7 % len(table), table), {}


def sum_rows_calls(make):
    for step, kind, turned in [(7, np.int64, False), (1, np.int32, False), (5, np.int64, True)]:
        g = rows_of(make())
        g = g.T.copy() if g.flags.c_contiguous and len(g) == 1 else g  # many rows of one number
        g = g.swapaxes(-1, -2) if turned else g
        n = g[..., 0].size
        ids = np.arange(n, dtype=kind).reshape(g.shape[:-1]) * kind(step) % kind(n // 3 + 1)
        yield (g, ids), {"rows": n // 3 + 2}


def getitem_calls(make):
    for here in [(HERE,), (HERE, slice(None))]:
        x = rows_of(make())
        yield (x, (np.arange(3 * len(x)) * 5 % (2 * len(x)) - len(x)).reshape(3, -1)), {"key": here}


def put_calls(make):
    for here in [(HERE,), (HERE, slice(None))]:
        g = rows_of(make())
        rows = len(g) // 2 + 1
        index = (np.arange(len(g)) * 7 % (2 * rows) - rows).astype(np.int32)
        yield (g, index), {"key": here, "shape": (rows, *g.shape[1:])}


def clone_calls(make):
    yield (make(),), {}
    yield (make().T,), {}


def reshape_calls(make):
    yield (make().T,), {"shape": (-1,)}
    yield (make()[..., ::-1],), {"shape": (1, -1, 1)}


def join_calls(make):
    yield (make(), make(), make()), {"axis": 0}
    yield (make(), make().T.T[..., 1:]), {"axis": -1}


def pad_calls(make):
    x = make()
    yield (x,), {"widths": ((2, 3),) * x.ndim, "value": -1.5}


def reduce_calls(make):
    for keepdims in (False, True):
        for axis in (None, -1, 0, 1, (0, -1)):
            x = make()
            if axis is None or axis == -1 or x.ndim > 1:
                yield (x,), {"axis": axis, "keepdims": keepdims}
        yield (np.stack((make(), make(), make(), make())).reshape(2, 2, -1),), {"axis": 1, "keepdims": keepdims}


def extremum_calls(make):
    for keepdims in (False, True):
        yield (in_rows_of_8(make()),), {"axis": -1, "keepdims": keepdims}
    yield from (call for call in reduce_calls(make) if call[0][0].ndim > 1)


def sum_to_calls(make):
    yield (make(),), {"shape": ()}
    for first in (0, 1):
        x = rows_of(make())
        yield (x,), {"shape": x.shape[1:] if first else (*x.shape[:-1], 1)}


def extremum_grad_calls(make):
    for axis in (-1, None, (0, -1)):
        x = make()
        if axis != (0, -1) or x.ndim > 2:
            y = np.asarray(quietly(OPS["amax"].forward, x, axis=axis))
            yield (np.resize(make(), y.shape), x, y), {"axis": axis}
    for axis in (-1, 0):  # pairs in rows, pairs in columns
        x = np.stack((make(), make()), axis=axis)
        y = quietly(OPS["amax"].forward, x, axis=axis)
        yield (y.copy(), x, y), {"axis": axis}


def places_calls(make):
    for x in (make(), np.round(make())):  # most extrema in one place, and in several
        x = np.resize(x, (3, max(x.size // 100, 2), 37))
        yield (x, x.max(axis=1)), {}


def extremum_matmul_calls(make):
    for (x, y), _ in places_calls(make):
        places = OPS["extremum_places"].forward(np, x, y)
        for apart in (5, 2):
            g = np.resize(make(), y.shape)
            g[0, 0] = 0
            yield (g, x, y, places, np.resize(make(), (37, 5))), {"apart": apart}


def extremum_outer_calls(make):
    for (g, x, y, places, _), params in extremum_matmul_calls(make):
        if params["apart"] == 5:
            yield (g, x, y, places, np.resize(make(), (x.shape[0] * x.shape[1], 5))), {}


def windows_of(x, axes, width):
    """Parameters of windows over the last axes of x, overlapping ones and others."""
    kernel = (2,) * (axes - 1) + (min(width, x.shape[-1]),)
    return {"kernel": kernel, "stride": (1,) * (axes - 1) + (2,), "dilation": (1,) * axes}


def max_calls(make):
    for axes, width in [(1, 3), (1, 10**9), (2, 2), (2, 300)]:
        x = make() if axes == 1 else in_rows_of_8(make())
        if x.shape[-axes] > 1:
            yield (x,), windows_of(x, axes, width)


def max_grad_calls(make):
    for (x,), params in max_calls(make):
        y = quietly(OPS["max_of_windows"].forward, x, **params)
        yield (make().reshape(-1)[: y.size].reshape(y.shape), x, y), params


def overlap_calls(make):
    w = rows_of(make())
    places, between = w.shape[-1], (w.shape[0] - 1) * 2
    for stride in (1, 2):
        yield (w,), {"size": (between + (places - 1) * stride + 2,), "stride": (stride,), "dilation": (2,)}


# SciPy's erf in float32 makes gelu's own forward as wrong as 4.5e-7 for x around -5, the kernel is so by 4.0e-7
def clip_calls(make):
    for most, count in [(0.5, 3), (np.array(2.0), 1), (1e9, 2)]:
        yield (most, *(make() for _ in range(count))), {"norm_type": 2.0}


ROWS = {
    "clip_to_length": Row(clip_calls, ("float16", "float32", "float64"), scale=20.0),
    "gelu": Row(gelu_calls, ("float16", "float32", "float64", "int64"), absolute=6e-7),
    "gelu_grad": Row(slopes_calls, ("float16", "float32", "float64"), absolute=6e-6),
    "sigmoid": Row(values_calls, ("float16", "float32", "float64", "int64")),
    **dict.fromkeys(("tanh_grad", "sigmoid_grad"), Row(slopes_calls, ("float16", "float32", "float64"))),
    "summed_cross_entropy": Row(
        cross_entropy_calls, ("float16", "float32", "float64"), scale=1.0, infinities="not finite"
    ),
    "softmax": Row(softmax_calls, ("float16", "float32", "float64")),
    "log_softmax": Row(softmax_calls, ("float16", "float32", "float64")),
    "softmax_grad": Row(softmax_grad_calls, ("float16", "float32", "float64"), scale=1.0),
    "layer_norm_of_rows": Row(layer_norm_calls, ("float16", "float32", "float64"), scale=1.0),
    "layer_norm_grad": Row(
        layer_norm_grad_calls, ("float16", "float32", "float64"), scale=20.0, infinities="not finite"
    ),
    "rms_norm_of_rows": Row(rms_norm_calls, ("float16", "float32", "float64"), scale=1.0),
    "rms_norm_grad": Row(rms_norm_grad_calls, ("float16", "float32", "float64"), scale=20.0, infinities="not finite"),
    "attention": Row(attention_calls, ("float16", "float32", "float64"), scale=4.0),
    "attention_grad": Row(attention_grad_calls, ("float16", "float32", "float64"), scale=4.0),
    "matmul": Row(matmul_calls, ("float16", "float32", "float64"), scale=100.0),
    "linear": Row(linear_calls, ("float16", "float32", "float64"), scale=100.0),
    "embedding": Row(embedding_calls, ("float16", "float32", "float64")),
    "sum_rows": Row(sum_rows_calls, ("float16", "float32", "float64"), scale=20.0),
    "getitem": Row(getitem_calls, ("float16", "float32", "float64")),
    "put": Row(put_calls, ("float16", "float32", "float64"), scale=20.0),
    "clone": Row(clone_calls, ("float16", "float32", "float64", "int64")),
    "reshape": Row(reshape_calls, ("float16", "float32", "float64", "int64")),
    "join": Row(join_calls, ("float16", "float32", "float64", "int64")),
    "pad_constant": Row(pad_calls, ("float16", "float32", "float64")),
    **dict.fromkeys(("sum", "mean"), Row(reduce_calls, ("float16", "float32", "float64"), scale=100.0)),
    **dict.fromkeys(("amax", "amin"), Row(extremum_calls, ("float16", "float32", "float64"))),
    "extremum_grad": Row(extremum_grad_calls, ("float16", "float32", "float64")),
    "extremum_places": Row(places_calls, ("float16", "float32", "float64")),
    "extremum_grad_matmul": Row(extremum_matmul_calls, ("float16", "float32", "float64"), scale=20.0),
    "extremum_grad_outer": Row(extremum_outer_calls, ("float16", "float32", "float64"), scale=20.0),
    "sum_to": Row(sum_to_calls, ("float16", "float32", "float64"), scale=100.0),
    "overlap_add": Row(overlap_calls, ("float16", "float32", "float64"), scale=20.0),
    "max_of_windows": Row(max_calls, ("float16", "float32", "float64")),
    "max_of_windows_grad": Row(max_grad_calls, ("float16", "float32", "float64"), scale=20.0),
    "sgd_update": Row(sgd_calls, ("float16", "float32", "float64"), scale=1.0, infinities="not finite"),
    "adam_update": Row(adam_calls, ("float16", "float32", "float64"), scale=1.0, infinities="not finite"),
}
ANY_LAYOUT = {"overlap_add", "sum_rows", "extremum_grad"}
every_kernel = pytest.mark.parametrize(("op", "kernel"), KERNELS.values(), ids=KERNELS)


def normals(size, dtype="float32", seed=0, layout=lambda x: x):
    """A function that makes arrays of normal numbers, the same ones each time it is made."""
    rng = np.random.default_rng(seed)
    return lambda: layout((2 * rng.standard_normal(size)).astype(dtype))


def outcome(run, arrays, params):
    """What a call answers, as a list of arrays, and then what it leaves in those that it was given."""
    with np.errstate(all="ignore"):
        return [*parts(run(*arrays, **params)), *arrays]


def parts(y):
    return y if isinstance(y, tuple) else (y,)


def assert_agrees(op, run, maker, exact=np.float64):
    """For each call of the op's row: the answer and the arrays it leaves are those of the op's own forward.

    The kinds must be those that the forward gives of the same arrays, the numbers those it gives in dtype `exact`.
    """
    row = ROWS[op.name]
    for got, own, true in zip(
        (outcome(run, (np, *arrays), params) for arrays, params in row.calls(maker())),
        (outcome(own_forward(op), (np, *arrays), params) for arrays, params in row.calls(maker())),
        (
            outcome(own_forward(op), (np, *(a.astype(exact) if is_float(a) else a for a in arrays)), params)
            for arrays, params in row.calls(maker())
        ),
        strict=True,
    ):
        assert len(got) == len(own)
        for y, z, t in zip(got, own, true, strict=True):
            if isinstance(z, np.ndarray):
                assert (y.dtype, y.shape) == (z.dtype, z.shape)
                assert_close(y, t, row, own=z)


def own_forward(op):
    """What an op computes without kernels, in the form of a kernel."""
    return op.forward if op.name in OPS else lambda xp, *arrays, **params: op.f(*arrays, **params)


def called(op):
    """The op itself as its users call it, in the form of a kernel."""
    return lambda xp, *arrays, **params: op(*arrays, **params)


def is_float(a):
    return isinstance(a, np.ndarray) and a.dtype.kind == "f"


def assert_close(y, true, row, own=None):
    """y is true to a few roundings; or, where large numbers cancel, at least as true as `own`, the op's own forward."""
    least = 0.0
    if own is not None and own.dtype.kind == "f":
        finite = np.isfinite(own) & np.isfinite(true)
        least = abs(own[finite] - true[finite]).max(initial=0.0)
    if row.infinities == "not finite":
        np.testing.assert_array_equal(np.isfinite(y), np.isfinite(true))
        y, true = y[np.isfinite(y)], true[np.isfinite(true)]
    largest = abs(true[np.isfinite(true)]).max(initial=row.scale)
    unit = np.finfo(y.dtype).eps if y.dtype.kind == "f" else 0.0
    if row.absolute:
        np.testing.assert_allclose(y, true, rtol=5 * unit, atol=row.absolute * unit / np.finfo(np.float32).eps)
    else:
        np.testing.assert_allclose(y, true, rtol=0, atol=max(5 * unit * largest, least))


def applies(op, kernel, maker):
    return all(kernel.when(*arrays, **params) for arrays, params in ROWS[op.name].calls(maker))


def threshold(op, kernel):
    """The fewest elements of float32 arrays that the kernel takes, found by halving."""
    low, high = 0, 1 << 20
    assert applies(op, kernel, normals(high)), "this kernel takes no float32 array: extend the test"
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if applies(op, kernel, normals(middle)) else (middle, high)
    return high


SMALLEST = {key: threshold(op, kernel) for key, (op, kernel) in KERNELS.items() if op.name in ROWS}


def smallest(op, kernel):
    return SMALLEST[f"{op.name}-{kernel.name}"]


def test_each_announced_op_has_a_kernel_and_each_kernel_a_row_here():
    announced = {name for name, *_ in PENDING} | {name for name, *_ in SHARED}
    assert announced == {op.name for op, _ in KERNELS.values()} | DIVIDED.keys() == set(ROWS)


def test_a_kernel_is_not_imported_for_arrays_that_it_does_not_take():
    for name, _, _, elements in PENDING:
        assert min(size for key, size in SMALLEST.items() if key.startswith(f"{name}-")) <= elements


@every_kernel
@given(beyond=st.integers(0, 67), seed=st.integers(0, 2**32 - 1))
def test_a_kernel_agrees_with_its_op_on_all_ragged_sizes(op, kernel, beyond, seed):
    for size in (smallest(op, kernel) + beyond, 4096 + beyond):
        assert_agrees(op, kernel.run, lambda size=size: normals(size, seed=seed))
    if size % 4 == 0 and op.name != "summed_cross_entropy":  # whose rows are rows
        assert_agrees(op, kernel.run, lambda: normals(size, seed=seed, layout=lambda x: x.reshape(2, -1, 2)))


@every_kernel
def test_a_kernel_agrees_with_its_op_over_a_fine_grid(op, kernel):
    for end in (0.5, 20):
        assert_agrees(op, kernel.run, lambda end=end: lambda: np.linspace(-end, end, 100_003).astype(np.float32))


@every_kernel
@pytest.mark.parametrize("offset", range(0, 17, 4))
def test_a_kernel_agrees_with_its_op_on_infinities_nan_and_denormals_in_every_lane(op, kernel, offset):
    size = max(smallest(op, kernel), 64) + 19  # the last ones are left to the loop's scalar rest
    extremes = np.concatenate([np.zeros(offset), np.tile(EXTREMES, size)])[:size].astype(np.float32)

    def maker():
        # parameters are finite, their gradients may be not
        mild = iter([normals(size)()] if op.name.endswith("_update") else [])
        return lambda: next(mild, extremes).copy()

    with tg.use_kernels(**{op.name: kernel.name}):  # where it says that it does not apply, the op's own forward runs
        assert_agrees(op, called(op), maker, exact=np.float32)


@pytest.mark.parametrize("special", [np.inf, -np.inf, np.nan, 3e38, -3e38])
@pytest.mark.parametrize(
    "share", [0.25, np.array([0.0, 0.5, 0.0, 0.5], np.float32)], ids=["a number", "some of them 0"]
)
def test_cross_entropy_of_one_strange_logit_is_that_of_the_op(special, share):
    op = OPS["summed_cross_entropy"]
    x, target = normals(32)().reshape(4, 8), np.array([3, 0, 7, 1])
    x[0, 3] = x[1, 3] = special  # the wanted class of row 0, another in row 1
    with np.errstate(all="ignore"):
        own = op.forward(np, x, target, share)
        for y, z in zip(op(x, target, share), own, strict=True):
            np.testing.assert_array_equal(np.isfinite(y), np.isfinite(z))
            np.testing.assert_allclose(y[np.isfinite(y)], z[np.isfinite(z)], rtol=1e-5, atol=1e-6)


@every_kernel
def test_a_planted_wrong_kernel_is_caught(op, kernel):
    size = max(smallest(op, kernel), 64) + 3

    def off_in_the_last(xp, *arrays, **params):
        y = kernel.run(xp, *arrays, **params)
        parts(y)[-1].reshape(-1)[-1] += 1e-4
        return y

    def wider(xp, *arrays, **params):
        return tuple(part.astype(np.float64) for part in parts(kernel.run(xp, *arrays, **params)))

    def writing(xp, *arrays, **params):
        y = kernel.run(xp, *arrays, **params)
        arrays[2 if op.name.endswith("_update") else 0].reshape(-1)[-1] += 1e-4  # the first moment, or the input
        return y

    def never_nan(xp, *arrays, **params):
        return tuple(np.nan_to_num(part, copy=False) for part in parts(kernel.run(xp, *arrays, **params)))

    assert_agrees(op, kernel.run, lambda: normals(size))
    for wrong in (off_in_the_last, wider, writing):
        with pytest.raises(AssertionError):
            assert_agrees(op, wrong, lambda: normals(size))
    with pytest.raises(AssertionError):
        assert_agrees(op, never_nan, lambda: normals(size, layout=lambda x: np.where(x > 4, np.float32(np.nan), x)))


@every_kernel
@pytest.mark.parametrize(
    "layout",
    [lambda x: x, lambda x: x[::2], lambda x: x[::-1], lambda x: x.reshape(4, -1).T, lambda x: x[:8]],
    ids=["whole", "every second", "reversed", "transposed", "few"],
)
def test_an_op_answers_alike_whichever_kernel_applies(op, kernel, layout):
    for dtype in ROWS[op.name].dtypes:
        for choice in (kernel.name, REFERENCE):
            with tg.use_kernels(**{op.name: choice}):
                assert_agrees(
                    op,
                    called(op),
                    lambda dtype=dtype: normals(4 * max(smallest(op, kernel), 64), dtype, layout=layout),
                    exact=dtype,
                )


@every_kernel
def test_a_kernel_takes_no_dtype_that_it_was_not_made_for(op, kernel):
    size = max(smallest(op, kernel), 64)
    assert applies(op, kernel, normals(size))
    assert not applies(op, kernel, normals(size, "float16"))
    assert not applies(op, kernel, normals(size, ">f4"))
    assert op.name in ANY_LAYOUT or not applies(op, kernel, normals(2 * size, layout=lambda x: x[::2]))
    if op.name.endswith("_update"):
        mixed = iter([np.zeros(size, np.float32), np.zeros(size, np.float64)])
        assert not applies(op, kernel, lambda: next(mixed, np.zeros(size, np.float32)))


@pytest.mark.parametrize(
    "op", [op for op, _ in KERNELS.values() if op.name in OPS and op.elementwise], ids=lambda op: op.name
)
def test_python_numbers_and_numpy_scalars_go_to_the_op_itself(op):
    for number in (0.5, 1, np.float32(0.5), np.array(0.5, np.float32)):
        arrays = [number] * len(op.inputs)
        np.testing.assert_array_equal(op(*arrays), op.forward(np, *arrays, **op.defaults))


def test_a_parameter_that_a_kernel_does_not_know_goes_to_the_op_itself():
    x = np.linspace(-3, 3, 10_000).astype(np.float32)
    y = tg.nn.functional.gelu(tg.tensor(x), approximate="tanh").array
    np.testing.assert_array_equal(y, OPS["gelu"].forward(np, x, approximate="tanh"))


def test_gradients_through_a_kernel_are_those_of_the_op():
    x = np.linspace(-4, 4, 5000).astype(np.float32)
    gradients = []
    for choice in (None, REFERENCE):
        leaf = tg.tensor(x, requires_grad=True)
        with tg.use_kernels(gelu=choice, gelu_grad=choice):
            tg.nn.functional.gelu(leaf).sum().backward()
        gradients.append(leaf.grad.array)
    assert not np.array_equal(*gradients)  # two ways of computing them
    np.testing.assert_allclose(*gradients, rtol=1e-6, atol=1e-6)


WEIGHTS = np.linspace(-3, 5, 1 << 16).astype(np.float32).reshape(256, 256)


@pytest.mark.parametrize("name", ["tanh", "sigmoid"])
@pytest.mark.parametrize(
    "loss",
    [lambda y, w: y.sum(), lambda y, w: (y * w).sum(), lambda y, w: (y.T * w.T).sum()],
    ids=["one number", "numbers", "transposed"],
)
def test_a_rule_that_asks_for_a_kernel_answers_as_that_of_small_arrays_does(name, loss):
    x = np.linspace(-4, 4, 1 << 16).astype(np.float32).reshape(256, 256)

    def gradient(rows):
        leaf = tg.tensor(x[rows], requires_grad=True)
        loss(OPS[name](leaf), WEIGHTS[rows]).backward()
        return leaf.grad.array

    whole, parts = gradient(slice(None)), np.concatenate([gradient(slice(i, i + 16)) for i in range(0, 256, 16)])
    assert not np.array_equal(whole, parts)  # two ways of computing them
    np.testing.assert_allclose(whole, parts, rtol=1e-6, atol=1e-6)


# x times the normal distribution's chance below x, computed with 60 digits
GELU = {
    -36.5: -2.0238248852723182e-290,
    -30.25: -7.891136864367313e-200,
    -20.7: -3.5849333895708573e-94,
    -10.3: -3.628757031294205e-24,
    -5.1: -8.661163776452767e-07,
    -2.6: -0.012119088861668749,
    -1.4: -0.11305932292727948,
    -0.3: -0.1146265733433142,
    0.3: 0.1853734266566858,
    1.4: 1.2869406770727205,
    5.1: 5.099999133883622,
}


def assert_gelu_is_right(run):
    x = np.array([*GELU])
    np.testing.assert_allclose(run(np.resize(x, 5000))[: x.size], [*GELU.values()], rtol=2e-15)


def test_gelu_of_float64_keeps_its_digits_where_the_chance_is_small():
    # SciPy's ndtr, which keeps them too, is off by 1.6e-13 at -30; 1 + erf, as the op itself has it, has lost them
    assert_gelu_is_right(lambda x: OPS["gelu"](x, approximate="none"))
    with pytest.raises(AssertionError):
        assert_gelu_is_right(lambda x: OPS["gelu"].forward(np, x, approximate="none"))


# --- choosing ------------------------------------------------------------------------------------------------------


@pytest.fixture
def spied(monkeypatch):
    """gelu with a kernel that only says which one ran."""
    kernels = OPS["gelu"].kernels
    ran = []

    def spy(xp, x, **params):
        ran.append("spy")
        return x

    monkeypatch.setattr(kernels, "by_device", {**kernels.by_device})
    kernels.by_device["cpu"] = [*kernels.by_device["cpu"]]
    kernels.register("cpu", lambda x, **_: x.size >= 4096)(spy)
    return ran


def run_gelu(size=5000):
    return tg.nn.functional.gelu(tg.zeros(size))


def test_the_newest_kernel_runs_unless_another_is_chosen(spied):
    run_gelu()
    assert spied == ["spy"]
    with tg.use_kernels(gelu="gelu_one_pass"):
        run_gelu()
    with tg.use_kernels(gelu="reference"):
        run_gelu()
    assert spied == ["spy"]
    run_gelu()
    assert spied == ["spy"] * 2


def test_a_choice_as_a_context_ends_with_it_also_by_an_error_and_nested(spied):
    with tg.use_kernels(gelu="reference"):
        with pytest.raises(ZeroDivisionError), tg.use_kernels(gelu="spy"):
            1 / 0  # noqa: B018
        run_gelu()
        with tg.use_kernels(gelu=None):
            run_gelu()
        run_gelu()
    assert spied == ["spy"]
    assert OPS["gelu"].kernels.choice is None


def test_a_choice_without_a_context_holds_until_the_next(spied):
    tg.use_kernels(gelu="reference")
    try:
        run_gelu()
        assert spied == []
    finally:
        tg.use_kernels(gelu=None)
    run_gelu()
    assert spied == ["spy"]


def test_a_chosen_kernel_that_does_not_apply_leaves_the_call_to_the_op(spied):
    with tg.use_kernels(gelu="spy"):
        assert run_gelu(3).tolist() == [0.0] * 3
    assert spied == []


@pytest.fixture
def refusing(monkeypatch):
    """sigmoid, which fails where it looks for a kernel."""
    op = OPS["sigmoid"]

    def choose(device, arrays, params):
        raise AssertionError("asked for a kernel")

    monkeypatch.setattr(op, "least", op.least)
    monkeypatch.setattr(op.kernels, "by_device", {"cpu": [*op.kernels.by_device["cpu"]]})
    monkeypatch.setattr(op.kernels, "choose", choose)
    return op


@pytest.mark.parametrize("shape", [(), (1,), (127, 128)])
def test_a_call_of_an_array_too_small_for_any_kernel_does_not_ask_for_one(refusing, shape):
    x = np.full(shape, 0.5, np.float32)
    leaf = tg.tensor(x, requires_grad=True)
    np.testing.assert_array_equal(leaf.sigmoid().array, refusing.forward(np, x))
    np.testing.assert_array_equal(refusing(x), refusing.forward(np, x))


def test_a_call_of_an_array_large_enough_for_a_kernel_asks_for_one(refusing):
    with pytest.raises(AssertionError, match="asked for a kernel"):
        tg.zeros(128, 128).sigmoid()


def test_a_kernel_that_names_no_size_is_asked_for_one_number_too(refusing):
    refusing.kernel("cpu")(lambda xp, x: x)
    with pytest.raises(AssertionError, match="asked for a kernel"):
        tg.zeros(1).sigmoid()


def test_a_kernel_takes_no_fewer_elements_than_it_says(refusing, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(refusing, "least", refusing.least)
    monkeypatch.setattr(refusing.kernels, "by_device", {})
    refusing.kernel("cpu", elements=3)(lambda xp, x: x + 10)
    assert refusing(np.zeros(3)).tolist() == [10.0] * 3
    assert refusing(np.zeros(2)).tolist() == [0.5] * 2
    assert refusing(0.0) == 0.5


def test_an_op_without_kernels_takes_its_own_forward_as_a_choice():
    with tg.use_kernels(add="reference", gelu=None):
        assert (tg.ones(2) + 1).tolist() == [2.0, 2.0]


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"gleu": "reference"}, r"no op 'gleu'.*tinygrad-ft ops"),
        ({"gelu": "fast"}, r"gelu has no kernel 'fast': known are reference, .*gelu_one_pass"),
        ({"add": "fast"}, r"add has no kernel 'fast': known are reference"),
        ({"gelu": "reference", "gleu": None}, r"no op 'gleu'"),
    ],
)
def test_a_wrong_choice_is_refused_with_what_there_is_and_changes_nothing(choice, message):
    with pytest.raises(ValueError, match=message):
        tg.use_kernels(**choice)
    assert OPS["gelu"].kernels.choice is None


# --- the machine code ----------------------------------------------------------------------------------------------


def loops():
    """The compiled loops of the modules that the kernels are in."""
    from numba.core.dispatcher import Dispatcher

    modules = {kernel.run.__module__ for _, kernel in KERNELS.values()} | {"tinygrad_ft.kernels.cpu.row_weights"}
    for module in sorted(modules):
        for name, value in vars(importlib.import_module(module)).items():
            own = isinstance(value, Dispatcher) and value.py_func.__module__ == module
            if own and name not in OF_ONE_ITEM and value.targetoptions["inline"] != "always":
                yield pytest.param(value, id=f"{module.rpartition('.')[2]}.{name}")


# What other loops or recorded steps call, and has met no types when these come from the cache on disk.
NESTED = {
    "sgd_stretch": "void(float32[::1], float32[::1], float64[::1], float64[::1], int64, int64)",
    "_weights": "void(float32[:,::1], int64, int64, float32, int64)",
    "extremum_of": "float64(float32[::1], float32)",
    "overlapping_windows_side_by_side": (
        "void(float32[::1], float32[:,:,:,::1], int64[::1], int64[::1], int64[::1], int64, int64)"
    ),
}
OF_ONE_ITEM = {"advance", "add_losses", "taken_rows"}  # nothing to be gained, or only a copy


def assembly(loop, options, signature):
    """The assembly of a loop, compiled anew: what comes from the cache on disk has none."""
    import numba

    fresh = numba.jit(loop, **options)
    fresh.compile(signature)
    return "\n".join(fresh.inspect_asm().values())


def packed(text):
    """Whether 4 to 16 numbers are computed with at once, and no C function is called on single ones."""
    several = re.search(r"\bv(add|mul|max|cmp\w*|fn?m(add|sub)\d+)p[sd]\b.*%[yz]mm", text)
    return bool(several) and not re.search(r"\b(expf?|erff?|tanhf?)\b", text)


def has_avx():
    from llvmlite import binding

    return platform.machine() in ("x86_64", "AMD64") and bool(binding.get_host_cpu_features().get("avx"))


@pytest.fixture
def vectors():
    if not has_avx():
        pytest.skip("the names of packed instructions are those of x86 with AVX")


@pytest.mark.parametrize("loop", [*loops()])
def test_a_kernels_loop_is_compiled_to_packed_instructions(loop, vectors):
    for op, kernel in KERNELS.values():  # so that every loop has met its argument types
        assert_agrees(op, kernel.run, lambda: normals(4096))
    signature = loop.signatures[0] if loop.signatures else NESTED[loop.py_func.__name__]
    assert packed(assembly(loop.py_func, loop.targetoptions, signature))


def test_our_compiler_takes_the_widest_registers_and_numbas_own_half_of_them(vectors):
    from llvmlite.binding import get_host_cpu_features

    from tinygrad_ft.kernels.cpu.vector import Wide

    if not get_host_cpu_features().get("avx512f"):
        pytest.skip("this processor has no registers of 512 bits")
    loop = importlib.import_module("tinygrad_ft.kernels.cpu.gelu").gelu_stretch
    signature = "void(float32[::1], float32[::1], int64, int64)"
    assert assembly(loop.py_func, {**loop.targetoptions, "pipeline_class": Wide}, signature).count("%zmm") > 50
    assert assembly(loop.py_func, loop.targetoptions, signature).count("%zmm") < 10


def test_a_loop_that_is_not_vectorised_is_seen(vectors):
    def calling(x, y):
        for i in range(x.size):
            y[i] = x[i] * math.exp(x[i])

    def waiting(x, y):
        for i in range(1, x.size):
            y[i] = x[i] * y[i - 1]

    options = {"fastmath": {"contract"}, "error_model": "numpy", "nopython": True}
    for loop in (calling, waiting):
        assert not packed(assembly(loop, options, "void(float32[::1], float32[::1])"))


def test_the_error_model_that_vector_py_warns_of_is_seen(vectors):
    loop = importlib.import_module("tinygrad_ft.kernels.cpu.gelu").gelu_stretch
    options = {**loop.targetoptions, "error_model": "python"}  # a division may raise then, which is a branch
    assert not packed(assembly(loop.py_func, options, "void(float32[::1], float32[::1], int64, int64)"))


# --- what a review found -------------------------------------------------------------------------------------------


def heads(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize(
    "shapes",
    [
        [(1, 2, 8, 4), (1, 2, 8, 4), (1, 2, 5, 4)],
        [(1, 2, 8, 6), (1, 2, 8, 4), (1, 2, 8, 4)],
        [(1, 2, 8, 4), (1, 2, 8, 6), (1, 2, 8, 4)],
    ],
    ids=["values", "queries", "keys"],
)
def test_attention_of_shapes_that_do_not_fit_is_refused_with_a_kernel_too(shapes):
    with tg.use_kernels(attention="attention_by_head"), pytest.raises(ValueError):
        tg.attention(*(heads(*shape) for shape in shapes), None)


def test_attention_reads_rows_that_lie_between_other_fields():
    a = np.zeros((1, 2, 8), dtype=[("q", "f8", (4,)), ("t", "f4")])
    a["q"] = heads(1, 2, 8, 4)
    y, _ = tg.attention(a["q"], a["q"], a["q"], None)
    np.testing.assert_allclose(y, OPS["attention"].forward(np, *[a["q"].copy()] * 3, None)[0], rtol=1e-12)


@pytest.mark.parametrize("width", [41, 61, 100])
def test_layer_norm_of_equal_numbers_is_zero(width):
    for number in (1e3, 1e4, 1e5, 1e6, 101325):
        assert (tg.layer_norm(np.full((200, width), number, np.float32), width) == 0).all()


def test_layer_norm_of_halves_takes_on_a_wider_weight_and_keeps_its_digits():
    x = (100 + heads(64, 64)).astype(np.float16)
    assert tg.layer_norm(x, 64, np.ones(64, np.float32)).dtype == np.float32
    leaf, weights = tg.tensor(x, requires_grad=True), heads(64, 64, seed=1)
    (tg.layer_norm(leaf, 64).float() * weights).sum().backward()
    wide = tg.tensor(x.astype(np.float64), requires_grad=True)
    (tg.layer_norm(wide, 64) * weights).sum().backward()
    np.testing.assert_allclose(leaf.grad.array, wide.grad.array, atol=0.01)


@pytest.mark.parametrize(
    ("name", "arrays", "params"),
    [
        ("layer_norm_of_rows", [(64, 64), (3,), None], {}),
        ("layer_norm_of_rows", [(64, 64), (64,), (65,)], {}),
        ("layer_norm_of_rows", [(64, 64), None, None], {"axes": 3}),
        ("layer_norm_grad", [(64, 64), (64, 64), (64,), (64, 1), (32, 1)], {"axes": 1}),
        ("layer_norm_grad", [(64, 64), (64, 64), (3,), (64, 1), (64, 1)], {"axes": 1}),
        ("rms_norm_of_rows", [(64, 64), (3,)], {}),
        ("rms_norm_of_rows", [(64, 64), None], {"axes": 3}),
        ("rms_norm_grad", [(64, 64), (64, 64), (3,), (64, 1)], {"axes": 1}),
        ("rms_norm_grad", [(64, 64), (64, 64), (64,), (128, 1)], {"axes": 1}),
    ],
)
def test_a_norm_of_shapes_that_do_not_fit_is_refused_with_a_kernel_too(name, arrays, params):
    with pytest.raises(ValueError):
        EVERY[name](*(None if shape is None else heads(*shape) for shape in arrays), **params)


def test_rms_norm_of_halves_is_as_exact_as_float16_and_takes_on_a_wider_weight():
    x, weights = (300 * heads(64, 64)).astype(np.float16), heads(64, 64, seed=1)  # whose squares float16 cannot hold
    assert tg.rms_norm(x, 64, np.ones(64, np.float32)).dtype == np.float32
    leaf, wide = tg.tensor(x, requires_grad=True), tg.tensor(x.astype(np.float64), requires_grad=True)
    y, true = tg.rms_norm(leaf, 64), tg.rms_norm(wide, 64)
    assert y.dtype == np.float16
    np.testing.assert_allclose(y.array, true.array, rtol=1e-3, atol=1e-7)
    (y.float() * weights).sum().backward()
    (true * weights).sum().backward()
    np.testing.assert_allclose(leaf.grad.array, wide.grad.array, rtol=2e-3, atol=1e-5)
