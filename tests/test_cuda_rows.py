"""Softmax, cross-entropy and norms, row by row: executed by the emulator, against float64 on the CPU."""

import inspect
from functools import partial

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="CUDA kernels need numba-cuda: pip install 'tinygrad-ft[emulator]'")

from cuda_answers import CAPABILITIES, assert_covered, assert_well_compiled, on_device, on_host, recorded, totals
from ptx_mutants import BARRIERS, executed, mutants, planted

import tinygrad_ft as tg
from tinygrad_ft.cuda.cases import CASES
from tinygrad_ft.cuda.emulator import KernelFault
from tinygrad_ft.cuda.launch import emulating
from tinygrad_ft.nn import functional as F
from tinygrad_ft.ops.composed import every

# A warp takes a row, or several do; whole rows and ragged ones; the end at each place of a thread's turns.
SHAPES = [
    (1, 1), (5, 2), (300, 33), (9, 45), (9, 64), (9, 100), (3, 2, 250), (7, 257), (2, 800), (2, 1301), (2, 2200),
    (2, 2701), (2, 3500), (2, 3901), (2, 4096),
]  # fmt: skip
ALL_WAYS = [(9, 45), (2, 2701), (2, 3901), (2, 4096)]  # weight and bias there and not, whose loops are apart in PTX
LONG = [(2, 5000), (1, 4999)]  # longer than what a block holds in its registers
HALF = [(4, 100), (3, 77), (2, 1301)]
SCALED = (0.0, 1e-6)  # what is as large as the numbers of a row are small
GRADIENT = (1e-6, 1e-6)

# op: the kernels of each version, and how far each answer may be from float64: a number, and a share of the largest
SOFTMAX = {"block": ["softmax_block"], "online": ["softmax_online"], "registers": ["softmax_registers"]}
NORM = {"block": ["layer_norm_block"], "registers": ["layer_norm_registers"]}
OPS = {
    "softmax": (SOFTMAX, [(1e-6, 0.0)]),
    "log_softmax": (SOFTMAX, [(1e-6, 1e-7)]),  # up to 20, where neighbours in float32 lie 2e-6 apart
    "softmax_grad": ({"block": ["softmax_grad_block"], "shuffles": ["softmax_grad_shuffles"]}, [(1e-6, 0.0)]),
    "summed_cross_entropy": ({"online": ["cross_entropy_online"]}, [(1e-6, 0.0), (1e-6, 0.0)]),
    "layer_norm_of_rows": (NORM, [(4e-6, 0.0), (4e-6, 0.0), SCALED]),
    "normalise": (NORM, [(4e-6, 0.0), SCALED]),
    "rms_norm_of_rows": ({"block": ["rms_norm_block"], "registers": ["rms_norm_registers"]}, [(4e-6, 0.0), SCALED]),
    "layer_norm_grad": (
        {v: [f"layer_norm_grad_{v}", "weight_grad_columns"] for v in ("block", "shuffles")}, [GRADIENT] * 3
    ),
    "rms_norm_grad": (
        {v: [f"rms_norm_grad_{v}", "weight_grad_columns"] for v in ("block", "shuffles")}, [GRADIENT] * 2
    ),
}  # fmt: skip
VERSIONS = [(op, version) for op, (versions, _) in OPS.items() for version in versions]
OPS_OF = {}  # by the kernel that is launched first
for name, which in VERSIONS:
    OPS_OF.setdefault(OPS[name][0][which][0], []).append((name, which))
every_version = pytest.mark.parametrize(("op", "version"), VERSIONS)


def drawn(op, shape, *, rows=(True, True), dtype="float32", seed=0, shift=0.0):
    """What the op takes of rows of that shape; weight and bias are None where `rows` says so."""
    rng = np.random.default_rng(seed)
    g, x = (rng.standard_normal(shape) for _ in range(2))
    weight, bias = (rng.standard_normal(shape[-1]).astype(dtype) if there else None for there in rows)
    if op.endswith("softmax"):
        return (3 * x + shift).astype(dtype), {"axis": -1}
    x, g = (x + shift).astype(dtype), g.astype(dtype)
    if op == "softmax_grad":
        p = np.exp(2 * x.astype(np.float64))
        return g, (p / p.sum(-1, keepdims=True)).astype(dtype), {"axis": -1}
    if op == "summed_cross_entropy":
        x = x.reshape(-1, shape[-1])
        each = rng.uniform(0.5, 1.5, len(x)) / len(x)
        return x, rng.integers(0, shape[-1], len(x)), each.astype(dtype) if rows[0] else 1 / len(x), {}
    if not op.endswith("grad"):
        given = {"normalise": (x,), "rms_norm_of_rows": (x, weight)}.get(op, (x, weight, bias))
        return *given, {"axes": 1, "eps": 1e-5}
    centred = op == "layer_norm_grad"
    mean = x.mean(-1, keepdims=True) * centred
    r = (1 / np.sqrt(np.square(x - mean).mean(-1, keepdims=True) + 1e-5)).astype(dtype)
    return *((g, x, weight, mean, r) if centred else (g, x, weight, r)), {"axes": 1}


def parts(y):
    return y if isinstance(y, tuple) else (y,)


def answered(op, version, arrays, params):
    """The op's answers on the emulator by that version, and what was launched."""
    with tg.use_kernels(**{op: version}), recorded() as launches:
        return [on_host(y) for y in parts(every()[op](*on_device(*arrays), **params)) if y is not None], launches


def exact(op, arrays, params):
    """The same by the op's own forward in float64."""
    wide = [a.astype(np.float64) if getattr(a, "dtype", np.dtype(int)).kind == "f" else a for a in arrays]
    with tg.use_kernels(**{op: "reference"}), np.errstate(all="ignore"):
        return [y for y in parts(every()[op](*wide, **params)) if y is not None]


def assert_right(op, version, *given, dtype="float32", roundoff=0.0):
    """The kernels of that version ran, and every answer is as near to float64 as the table asks."""
    *arrays, params = given
    answers, launches = answered(op, version, arrays, params)
    assert [one.kernel.name for one in launches][: len(OPS[op][0][version])] == OPS[op][0][version]
    for y, true, (apart, share) in zip(answers, exact(op, arrays, params), OPS[op][1], strict=False):
        assert (y.dtype, y.shape) == (dtype, true.shape)
        assert np.array_equal(np.isnan(y), np.isnan(true)) and np.array_equal(np.isinf(y), np.isinf(true))
        there = np.isfinite(true)
        largest = np.abs(true[there]).max(initial=0.0)
        within = apart + share * largest + roundoff * np.abs(true[there])
        assert (np.abs(y[there] - true[there]) <= within).all(), (op, version, [np.shape(a) for a in arrays])
    assert len(answers) == len(exact(op, arrays, params))
    return launches


def weights_of(op):
    """With weight and bias, with one of them, with none; whatever of this the op knows."""
    if op == "layer_norm_of_rows":
        return [(True, True), (True, False), (False, True), (False, False)]
    return [(True,) * 2, (False,) * 2] if "norm_" in op or "entropy" in op else [(True,) * 2]


@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize("kernel", OPS_OF)
def test_every_version_is_right_for_ragged_rows_and_all_of_its_ptx_runs(kernel, capability):
    launches = []
    with emulating(capability):
        for op, version in OPS_OF[kernel]:
            for n, shape in enumerate(SHAPES if version == "registers" else SHAPES + LONG):
                all_ways = weights_of(op)
                for rows in all_ways if shape in ALL_WAYS else [all_ways[n % len(all_ways)]]:
                    launches += assert_right(op, version, *drawn(op, shape, rows=rows, seed=n))
    assert_covered([one for one in launches if one.kernel.name == kernel])
    assert_well_compiled(launches)


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_gradients_of_weights_are_added_up_in_one_part_or_several_and_all_of_the_ptx_runs(capability):
    launches = []
    with emulating(capability):
        for n, shape in enumerate([(300, 33), (64, 64), (65, 32), (9, 100), (3, 7)]):
            for op in ("layer_norm_grad", "rms_norm_grad"):
                launches += assert_right(op, "shuffles", *drawn(op, shape, seed=n))
    assert_covered([one for one in launches if one.kernel.name in ("weight_grad_columns", "sum_of_columns")])


@every_version
def test_contiguous_rows_take_four_sectors_a_request(op, version):
    for name, counters in totals(assert_right(op, version, *drawn(op, (40, 1000)))).items():
        assert counters.sectors_a_request <= 4.1 and counters.bank_ways <= 1.0, name


@every_version
def test_rows_that_begin_at_no_multiple_of_sixteen_bytes_are_right(op, version):
    *arrays, params = drawn(op, (5, 128))
    moved = [a if np.ndim(a) < 2 else np.append(a[:0].ravel(), [0, *a.ravel()]).astype(a.dtype) for a in arrays]
    given = on_device(*moved)
    given = [a if np.ndim(b) < 2 else a[1:].reshape(b.shape) for a, b in zip(given, arrays, strict=True)]
    with tg.use_kernels(**{op: version}), recorded() as launches:
        answers = [on_host(y) for y in parts(every()[op](*given, **params))]
    assert launches[0].kernel.name == OPS[op][0][version][0]
    for y, expected in zip(answers, answered(op, version, arrays, params)[0], strict=True):
        np.testing.assert_allclose(y, expected, rtol=0, atol=1e-6 * max(1.0, np.abs(expected).max()))


@pytest.mark.parametrize("version", ["block", "registers"])
@pytest.mark.parametrize("op", ["layer_norm_of_rows", "normalise"])
def test_a_norm_of_rows_far_from_zero_keeps_its_digits(op, version):
    *arrays, params = drawn(op, (4, 300), shift=1000.0)
    y, *_ = answered(op, version, arrays, params)[0]
    np.testing.assert_allclose(y, exact(op, arrays, params)[0], rtol=0, atol=4e-6)


@pytest.mark.parametrize("version", SOFTMAX)
def test_a_softmax_of_numbers_whose_powers_are_infinite_is_right(version):
    for shift in (-1e4, 500.0, 3e38):
        assert_right("softmax", version, *drawn("softmax", (4, 300), shift=shift))


# Other numbers

TAKE_HALF = [(op, version) for op, version in VERSIONS if op not in ("layer_norm_grad", "rms_norm_grad")]


@pytest.mark.parametrize(("op", "version"), TAKE_HALF)
def test_float16_is_added_up_in_float32(op, version):
    for shape in HALF:
        assert_right(op, version, *drawn(op, shape, dtype="float16"), dtype="float16", roundoff=1.1 * 2.0**-11)


def odd_rows(shape):
    """Rows with NaN, with infinities, and of nothing else; one without."""
    x = np.random.default_rng(5).standard_normal(shape).astype(np.float32)
    x[0, 2], x[1, -1], x[2, 1], x[3], x[4], x[5, :-1] = np.nan, np.inf, -np.inf, -np.inf, np.inf, -np.inf
    x[6, ::2], x[7, 3] = np.finfo(np.float32).min, np.finfo(np.float32).max
    return x


@pytest.mark.parametrize("shape", [(9, 40), (9, 77), (9, 1101)])
@pytest.mark.parametrize(("op", "version"), [case for case in VERSIONS if case[0].endswith("softmax")])
def test_nan_and_infinity_make_a_row_what_the_op_says_and_no_other(op, version, shape):
    x = odd_rows(shape)
    (y,), _ = answered(op, version, (x,), {"axis": -1})
    assert np.isnan(y[[0, 1, 3, 4]]).all() and not np.isnan(y[[2, 5, 6, 7, 8]]).any()
    with np.errstate(all="ignore"):
        expected = every()[op](x.astype(np.float64), axis=-1)
    expected = np.where(expected < np.finfo(np.float32).min, -np.inf, expected)  # what float32 cannot hold
    assert np.array_equal(np.isinf(y), np.isinf(expected))
    finite = np.isfinite(expected)
    np.testing.assert_allclose(y[finite], expected[finite], rtol=2e-7, atol=1e-6)


@pytest.mark.parametrize("shape", [(9, 40), (9, 1101)])
@pytest.mark.parametrize(("op", "version"), [case for case in VERSIONS if case[0] in NORM or "norm" in case[0]])
def test_nan_and_infinity_spoil_the_norm_of_their_row_and_no_other(op, version, shape):
    arrays, params = drawn(op, shape)[:-1], drawn(op, shape)[-1]
    x = arrays[1 if op.endswith("grad") else 0]
    x[0, 2], x[1, -1], x[4] = np.nan, np.inf, -np.inf
    (y, *_), _ = answered(op, version, arrays, params)
    clean = [2, 3, 5, 6, 7, 8]
    assert np.isfinite(y[clean]).all() and np.isnan(y[[0, 4]]).all() and not np.isfinite(y[1]).all()
    np.testing.assert_allclose(y[clean], exact(op, arrays, params)[0][clean], rtol=1e-6, atol=4e-6)


def test_a_row_without_a_share_counts_for_nothing_even_if_its_loss_is_infinite():
    x = np.zeros((3, 50), np.float32)
    x[1, 7] = -np.inf
    arrays = x, np.array([1, 7, 2]), np.array([0.5, 0.0, 0.5], np.float32)
    (loss, slope), _ = answered("summed_cross_entropy", "online", arrays, {})
    assert abs(loss - np.log(50)) <= 1e-6 and not slope[1].any()
    arrays[2][1] = 0.5
    assert answered("summed_cross_entropy", "online", arrays, {})[0][0] == np.inf


def test_targets_count_from_the_end_too():
    x, target, share, params = drawn("summed_cross_entropy", (6, 33))
    for a, b in zip(
        answered("summed_cross_entropy", "online", (x, target - 33, share), params)[0],
        answered("summed_cross_entropy", "online", (x, target, share), params)[0],
        strict=True,
    ):
        assert np.array_equal(a, b)


@every_version
def test_what_the_kernels_do_not_take_is_left_to_the_forward(op, version):
    *arrays, params = drawn(op, (8, 12))
    first = 1 if op.endswith("grad") else 0
    for change in (
        lambda x: x.astype(np.float64),
        lambda x: np.ascontiguousarray(x.T).T,
        lambda x: x[:0],
        *([lambda x: np.resize(x, (1, 4097))] if version == "registers" else []),
    ):
        kernel = next(k for k in every()[op].kernels.by_device["cuda"] if k.name == version)
        taken = on_device(*arrays)
        assert kernel.when(*taken, **params)
        (changed,) = on_device(change(arrays[first]))
        assert not kernel.when(*taken[:first], changed, *taken[first + 1 :], **params)


# Backward

RNG = np.random.default_rng(3)
X = RNG.standard_normal((6, 5, 20)).astype(np.float32)
TARGET = RNG.integers(0, 20, 30)
COTANGENT = RNG.standard_normal(X.shape).astype(np.float32)
SCALE, SHIFT, CLASSES = (RNG.uniform(0.5, 1.5, 20).astype(np.float32) for _ in range(3))
CALLS = {
    "softmax": (lambda x: F.softmax(x, -1), [X], {"softmax", "softmax_grad"}),
    "log_softmax": (lambda x: F.log_softmax(x, -1), [X], {"softmax"}),
    "cross_entropy": (lambda x, t: F.cross_entropy(x.reshape(30, 20), t), [X, TARGET], {"cross_entropy"}),
    "cross_entropy of weighted classes": (
        lambda x, t, w: F.cross_entropy(x.reshape(30, 20), t, w, ignore_index=3),
        [X, TARGET, CLASSES],
        {"cross_entropy"},
    ),
    "layer_norm": (lambda x, w, b: F.layer_norm(x, (20,), w, b), [X, SCALE, SHIFT], {"layer_norm", "layer_norm_grad"}),
    "layer_norm over two axes": (lambda x: F.layer_norm(x, (5, 20)), [X], {"layer_norm", "layer_norm_grad"}),
    "rms_norm": (lambda x, w: F.rms_norm(x, (20,), w), [X, SCALE], {"rms_norm", "rms_norm_grad"}),
    "group_norm": (lambda x: F.group_norm(x.reshape(6, 10, 10), 5), [X], {"layer_norm"}),
}


def gradients(f, arrays, place):
    """The answer of f on that device, and the gradients of what is float, brought to the host."""
    given = [tg.tensor(a).to(place) for a in arrays]
    given = [x.requires_grad_() if x.dtype == np.float32 else x for x in given]
    y = f(*given)
    g = tg.tensor(COTANGENT.reshape(y.shape) if y.ndim else np.float32(1.5)).to(place)
    y.backward(g)
    return [y.detach().cpu().numpy(), *(x.grad.cpu().numpy() for x in given if x.grad is not None)]


@pytest.mark.parametrize("name", CALLS)
def test_values_and_gradients_are_those_of_the_cpu(name):
    f, arrays, kernels = CALLS[name]
    with recorded() as launches:
        found = gradients(f, arrays, "emulator")
    launched = {one.kernel.name for one in launches}
    assert all(any(one.startswith(f"{kernel}_") for one in launched) for kernel in kernels), launched
    expected = gradients(f, arrays, "cpu")
    assert len(found) == len(expected)
    for y, true in zip(found, expected, strict=True):
        np.testing.assert_allclose(y, true, rtol=0, atol=1e-6 * max(1.0, np.abs(true).max()))


# What the checks above are worth


def changed_argument(monkeypatch, op, version, argument, change):
    """From now on the version's first kernel is given a changed argument."""
    kernel = next(k for k in every()[op].kernels.by_device["cuda"] if k.name == version)
    names = kernel.run.__globals__
    if op.endswith("log_softmax") or op == "normalise":
        raise AssertionError("plant it in the op whose kernels these are")
    module = inspect.getmodule(kernel.run)
    for launcher in ("by_rows", "by_blocks"):
        if launcher in names:
            monkeypatch.setattr(module, launcher, partial(_changed, names[launcher], argument, change))


def _changed(right, argument, change, kernel, rows, *given, **how):
    given = list(given)
    place = kernel.arguments.index(argument) - len(kernel.arguments)
    given[place] = change(given[place])
    right(kernel, rows, *given, **how)


FAULTS = [
    ("softmax", "block", "n", lambda n: n - 1),
    ("softmax", "online", "logarithm", lambda logarithm: not logarithm),
    ("softmax", "registers", "x", lambda x: x * np.float32(1.0001)),
    ("softmax_grad", "shuffles", "g", lambda g: g * np.float32(1.001)),
    ("softmax_grad", "block", "p", lambda p: p[::-1].copy()),
    ("summed_cross_entropy", "online", "target", lambda target: (target + 1) % 33),
    ("summed_cross_entropy", "online", "each", lambda each: False),
    ("layer_norm_of_rows", "registers", "eps", lambda eps: np.float32(0)),
    ("layer_norm_of_rows", "block", "moved", lambda moved: False),
    ("rms_norm_of_rows", "registers", "scaled", lambda scaled: False),
    ("rms_norm_of_rows", "block", "eps", lambda eps: np.float32(1e-6)),
    ("layer_norm_grad", "shuffles", "mean", lambda mean: mean + np.float32(1e-4)),
    ("layer_norm_grad", "block", "scaled", lambda scaled: False),
    ("rms_norm_grad", "shuffles", "r", lambda r: r * np.float32(1.00001)),
]


@pytest.mark.parametrize(("op", "version", "argument", "change"), FAULTS)
def test_a_kernel_that_does_something_else_is_noticed(op, version, argument, change, monkeypatch):
    given = drawn(op, (9, 33))
    assert_right(op, version, *given)
    changed_argument(monkeypatch, op, version, argument, change)
    with pytest.raises(AssertionError):
        assert_right(op, version, *given)


@every_version
def test_a_row_of_a_block_without_one_of_its_barriers_is_noticed(op, version):
    given = drawn(op, (2, 1301))
    one = assert_right(op, version, *given)[0]
    found = mutants(one.compiled.ptx, executed(one.counters), kinds=BARRIERS, most=3)
    assert found
    for mutant in found:
        with planted(one.compiled, mutant), pytest.raises((AssertionError, KernelFault)):
            assert_right(op, version, *given)


def test_an_example_case_stands_for_every_version():
    assert {(case.op, case.version) for case in CASES} >= set(VERSIONS)
