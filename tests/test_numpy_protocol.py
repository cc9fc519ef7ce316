"""NumPy's functions on Tensors: NumPy's own value, and the slope of NumPy's own function by differences."""

import operator

import numpy as np
import pytest

import tinygrad_ft as tg
from tinygrad_ft import ops
from tinygrad_ft.engine import OPS
from tinygrad_ft.numpy_functions import FUNCTIONS, METHODS, UFUNCS
from tinygrad_ft.ops.composed import COMPOSED
from tinygrad_ft.tensor import Tensor

RNG = np.random.default_rng(0)
U = RNG.uniform(0.2, 0.9, (2, 3))  # apart from each other and from every kink
V = RNG.uniform(1.2, 2.9, (2, 3))
CUBE = RNG.standard_normal((2, 3, 4))
SQUARE = RNG.standard_normal((3, 3)) + 3 * np.eye(3)
SPREAD = SQUARE @ SQUARE.T  # symmetric, positive definite
TALL = RNG.standard_normal((4, 3))
ROW, THREE = RNG.standard_normal(3), RNG.standard_normal((2, 3))
HOLES = np.where(U > 0.5, U, np.nan)
TRUTHS, OTHERS = U > 0.5, V > 2


def one(*arrays, **params):
    return [(arrays, params)]


def calls(*several):
    """Several calls: each a tuple of arguments, the last of which may be a dict of parameters."""
    return [(c[:-1], c[-1]) if c and isinstance(c[-1], dict) else (c, {}) for c in several]


ONE_NUMBER = "sin cos tan arcsin arccos arctan sinh cosh tanh arcsinh arctanh exp exp2 expm1 log log2 log10 log1p sqrt"
ONE_NUMBER += " square reciprocal negative positive absolute fabs sign degrees rad2deg radians deg2rad floor ceil trunc"
ONE_NUMBER += " rint isfinite isnan isinf"
TWO_NUMBERS = "add subtract multiply divide power remainder fmod arctan2 hypot maximum minimum fmax fmin copysign"
TWO_NUMBERS += " floor_divide logaddexp equal not_equal less less_equal greater greater_equal"
REDUCED = calls((CUBE,), (CUBE, 1), (CUBE, {"axis": (0, -1), "keepdims": True}), (CUBE, {"keepdims": True}))

CALLS = {
    **{
        getattr(np, name): calls((U,), (U - 0.95 if name in ("absolute", "floor") else U.T,))
        for name in ONE_NUMBER.split()
    },
    **{
        getattr(np, name): calls((U, V), (2.5, V), (V[0], U), (U, 0.5), (V, [0.4, 0.5, 0.6]))
        for name in TWO_NUMBERS.split()
    },
    np.arccosh: one(V),
    np.matmul: calls((U, SQUARE), (ROW, SQUARE), (SQUARE, ROW), (CUBE, CUBE.transpose(0, 2, 1)), (U, [1.0, 2.0, 3.0])),
    np.vecdot: calls((U, V), (CUBE, CUBE[0]), (CUBE, CUBE[..., :1], {"axis": 1})),
    np.logical_and: one(TRUTHS, OTHERS),
    np.logical_or: one(TRUTHS, OTHERS),
    np.logical_not: one(TRUTHS),
    np.bitwise_and: calls((TRUTHS, OTHERS), (np.arange(5), np.array(6))),
    np.bitwise_or: one(TRUTHS, OTHERS),
    np.invert: one(TRUTHS),
    # reductions and scans
    **{f: REDUCED for f in (np.sum, np.mean, np.prod, np.max, np.amax, np.min, np.amin, np.ptp)},
    **{f: [*REDUCED, *calls((CUBE, {"ddof": 1}), (CUBE, 1, {"correction": 1}))] for f in (np.std, np.var)},
    **{
        f: calls((HOLES,), (HOLES, 0), (HOLES, {"axis": 1, "keepdims": True}))
        for f in (np.nansum, np.nanmean, np.nanprod)
    },
    np.median: [*REDUCED, *calls((U, 0), (ROW,), (HOLES, 1))],
    np.cumsum: calls((CUBE,), (CUBE, 1), (CUBE, {"axis": -1})),
    np.cumprod: calls((CUBE,), (CUBE, 1)),
    np.diff: calls((CUBE,), (CUBE, 2, 1), (CUBE, {"axis": 0})),
    np.trapezoid: calls((CUBE,), (CUBE, None, 0.5), (CUBE, [0.0, 1.0, 4.0], {"axis": 1}), (CUBE[0], CUBE[1])),
    np.cov: calls(
        (THREE,), (THREE, {"rowvar": False}), (THREE, {"bias": True}), (THREE, {"ddof": 0, "fweights": [1, 2, 3]})
    ),
    np.corrcoef: calls((TALL,), (TALL, {"rowvar": False})),
    # element by element
    np.where: calls((TRUTHS, U, V), (TRUTHS, U, 0.0), (TRUTHS[0], 1.0, U)),
    np.clip: calls(
        (U, 0.3, 0.6), (U, None, 0.5), (U, V - 1.0, None), (U, {"min": 0.4}), (U, {"min": 0.3, "max": [0.5, 0.6, 0.7]})
    ),
    np.round: calls((CUBE,), (CUBE, 1)),
    np.around: one(CUBE, decimals=1),
    np.fix: one(CUBE),
    np.nan_to_num: calls(
        (HOLES,), (HOLES, {"nan": 2.0}), (np.array([np.inf, 1.0, -np.inf]), {"posinf": 5.0, "neginf": -5.0})
    ),
    np.sinc: one(CUBE),
    np.copy: one(U),
    np.zeros_like: calls((U,), (U, {"dtype": np.int64})),
    np.ones_like: calls((U,), (U, {"shape": (4,)})),
    np.empty_like: one(U[:, :0]),
    np.full_like: one(U, 7.0),
    # shapes
    np.reshape: calls((CUBE, (4, 6)), (CUBE, -1), (CUBE, {"shape": (3, -1)})),
    np.ravel: one(CUBE),
    np.transpose: calls((CUBE,), (CUBE, (1, 2, 0)), (CUBE, {"axes": [-1, 0, 1]})),
    np.matrix_transpose: one(CUBE),
    np.swapaxes: one(CUBE, 0, -1),
    np.moveaxis: calls((CUBE, 0, -1), (CUBE, (0, 1), (1, 2))),
    np.squeeze: calls((CUBE[:1, :, :1],), (CUBE[:1], 0), (CUBE[:1, :1], (0, 1))),
    np.expand_dims: calls((CUBE, 1), (CUBE, -1), (CUBE, (0, 2))),
    np.broadcast_to: calls((U, (4, 2, 3)), (ROW[:1], 5)),
    np.broadcast_arrays: one(U, ROW, 2.0),
    np.atleast_1d: calls((ROW,), (np.array(2.0),), (ROW, U)),
    np.atleast_2d: calls((ROW,), (U,), (CUBE,)),
    np.atleast_3d: calls((ROW,), (U,), (CUBE,), (np.array(1.0), U)),
    # joining, cutting, repeating, ordering
    np.concatenate: calls(([U, V],), ((U, V), 1), ([U, [[1.0, 2.0, 3.0]]],), ([U, ROW], None), ([U, U], {"axis": -1})),
    np.append: calls((U, V), (U, V, 0), (U, [1.0, 2.0])),
    np.stack: calls(([U, V],), ([U, V], -1), ([U, V], {"axis": 1})),
    np.hstack: calls(([U, V],), ([ROW, ROW],)),
    np.vstack: calls(([U, ROW],), ([ROW, ROW],)),
    np.dstack: one([U, V]),
    np.column_stack: one([ROW, SQUARE]),
    np.split: calls((CUBE, 2, 2), (CUBE, [1, 3], -1), (U, 2)),
    np.array_split: calls((CUBE, 3, 2), (CUBE, [1], {"axis": 1})),
    np.hsplit: calls((CUBE, 3), (ROW, 3)),
    np.vsplit: one(CUBE, 2),
    np.dsplit: one(CUBE, [1, 2]),
    np.tile: calls((U, 2), (U, (2, 1, 3)), (U, {"reps": [2]})),
    np.repeat: calls((U, 2), (U, 3, 1), (U, [1, 0, 2], {"axis": 1})),
    np.roll: calls((U, 2), (CUBE, (1, -1), (0, 2)), (U, 1, {"axis": 1})),
    np.flip: calls((U,), (CUBE, 1), (CUBE, (0, 2))),
    np.fliplr: one(U),
    np.flipud: one(U),
    np.rot90: calls((U,), (CUBE, 3, (1, 2))),
    np.pad: calls(
        (U, 1),
        (U, ((1, 0), (0, 2))),
        (U, (2, 1), {"constant_values": 5.0}),
        (U, 1, "reflect"),
        (U, ((0, 1), (3, 2)), "edge"),
        (U, ((1, 1), (0, 2)), {"mode": "wrap"}),
    ),
    np.meshgrid: calls((ROW, U[0, :2]), (ROW, U[0], [1.0, 2.0], {"indexing": "ij"})),
    np.sort: calls((CUBE,), (CUBE, 1), (CUBE, None), (CUBE, {"kind": "mergesort"})),
    np.argsort: calls((CUBE,), (CUBE, 0), (CUBE, None)),
    np.argmax: calls((CUBE,), (CUBE, 1), (CUBE, {"axis": 2, "keepdims": True})),
    np.argmin: calls((CUBE,), (CUBE, 1)),
    np.take: calls((U, 4), (U, [[0, 0], [5, 1]]), (CUBE, [2, 2, 0], 1), (CUBE, 1, {"axis": -1})),
    np.take_along_axis: calls(
        (U, np.array([[2, 0], [1, 1]]), 1), (U, np.array([[0, 0, 1]]), {"axis": 0}), (CUBE, np.zeros((2, 3, 1), int))
    ),
    np.tril: calls((U,), (SQUARE, {"k": 1})),
    np.triu: calls((U,), (CUBE, -1)),
    np.diag: calls((ROW,), (SQUARE, 1), (U, {"k": -1})),
    np.diagonal: calls((SQUARE,), (CUBE, 1, 0, 2)),
    np.trace: calls((SQUARE,), (CUBE, 1, 1, 2)),
    # products and linear algebra
    np.dot: calls(
        (SQUARE, TALL.T), (ROW, ROW), (U, ROW), (CUBE, TALL), (TALL, CUBE), (2.0, U), (SQUARE, [1.0, 2.0, 3.0])
    ),
    np.vdot: calls((U, V), (ROW, ROW)),
    np.inner: calls((ROW, ROW), (U, SQUARE), (CUBE, TALL.T)),
    np.outer: calls((ROW, ROW), (U, ROW)),
    np.kron: calls((U, SQUARE), (ROW, [1.0, 2.0])),
    np.cross: calls((ROW, U), (U.T, V.T, {"axis": 0})),
    np.tensordot: calls(
        (CUBE, CUBE, 3), (CUBE, TALL, 1), (CUBE, TALL, ([2], [0])), (CUBE, U, {"axes": ([0, 1], [0, 1])})
    ),
    np.einsum: calls(("ij,jk->ik", U, SQUARE), ("ii", SQUARE), ("...i,i", CUBE, TALL[:, 0], {"optimize": True})),
    np.linalg.matmul: one(U, SQUARE),
    np.linalg.multi_dot: one([U, SQUARE, TALL.T]),
    np.linalg.outer: one(ROW, [1.0, 2.0]),
    np.linalg.cross: one(U, V),
    np.linalg.tensordot: calls((CUBE, TALL, {"axes": 1}), (CUBE, CUBE[..., 0], {"axes": ((0, 1), (0, 1))})),
    np.linalg.vecdot: one(U, V),
    np.linalg.matrix_transpose: one(CUBE),
    np.linalg.diagonal: one(CUBE, offset=1),
    np.linalg.trace: one(CUBE, offset=-1),
    np.linalg.det: calls((SQUARE,), (np.stack([SQUARE, SPREAD]),)),
    np.linalg.slogdet: one(SQUARE),
    np.linalg.matrix_power: calls((SQUARE, 3), (SQUARE, -2)),
    np.linalg.inv: one(SQUARE),
    np.linalg.pinv: calls((TALL,), (SQUARE, 1e-3), (SPREAD, {"hermitian": True})),
    np.linalg.solve: calls((SQUARE, ROW), (SQUARE, TALL.T), (np.stack([SQUARE] * 3), SPREAD)),
    np.linalg.cholesky: calls((SPREAD,), (SPREAD, {"upper": True})),
    np.linalg.qr: calls((TALL,), (TALL, "r")),
    np.linalg.eigh: one(SPREAD),
    np.linalg.eigvalsh: calls((SPREAD,), (SPREAD, "U")),
    np.linalg.svd: calls((TALL, False), (TALL, {"compute_uv": False})),
    np.linalg.svdvals: one(TALL),
    np.linalg.norm: calls((U,), (CUBE,), (U, 1), (ROW, 3), (CUBE, 2, 1), (CUBE, "fro", (0, 2), True), (SQUARE, "nuc")),
    np.linalg.vector_norm: calls((CUBE,), (CUBE, {"axis": 1, "ord": 1, "keepdims": True})),
    np.linalg.matrix_norm: calls((CUBE,), (SQUARE, {"ord": 2, "keepdims": True})),
    # truths and places
    np.shape: one(CUBE),
    np.ndim: one(CUBE),
    np.size: calls((CUBE,), (CUBE, 1)),
    np.all: calls((TRUTHS,), (TRUTHS, 0)),
    np.any: calls((TRUTHS,), (TRUTHS, {"axis": 1})),
    np.allclose: one(U, U + 1e-9),
    np.isclose: one(U, U + 1e-9),
    np.array_equal: one(U, U),
    np.array_equiv: one(U, U[None]),
    np.argwhere: one(TRUTHS),
    np.nonzero: one(TRUTHS),
    np.count_nonzero: one(TRUTHS),
    np.searchsorted: one(np.sort(ROW), U),
    np.may_share_memory: one(U, V),
    np.shares_memory: one(U, V),
    np.result_type: one(U, np.float32),
}

METHOD_CALLS = {
    **{(f, "reduce"): REDUCED[1:3] for f in (np.add, np.multiply, np.logaddexp)},
    **{(f, "reduce"): REDUCED[1:2] for f in (np.maximum, np.minimum)},
    **{(f, "accumulate"): calls((U,), (U, 1)) for f in (np.add, np.multiply, np.logaddexp)},
}


def mapped(f, x):
    if isinstance(x, list | tuple):
        return (
            type(x)(mapped(f, part) for part in x) if type(x) in (list, tuple) else type(x)(*(mapped(f, p) for p in x))
        )
    return f(x) if isinstance(x, np.ndarray) else x


def as_tuple(y):
    return tuple(y) if isinstance(y, list | tuple) else (y,)


def checked(function, args, params, tolerance=1e-6):
    """Hold function(Tensors) against function(arrays): its values, then its gradient in a random direction."""
    leaves, plain = [], []

    def leaf(a):
        plain.append(a)
        leaves.append(Tensor(a.copy()))
        return leaves[-1].requires_grad_() if a.dtype.kind == "f" else leaves[-1]

    tensors = mapped(leaf, args)
    got, expected = as_tuple(function(*tensors, **params)), as_tuple(function(*args, **params))
    assert len(got) == len(expected)
    for y, a in zip(got, expected, strict=True):
        if isinstance(a, np.ndarray | np.generic):
            assert isinstance(y, Tensor)
            assert y.shape == np.shape(a) and y.dtype.kind == a.dtype.kind
            np.testing.assert_allclose(y.array, a, rtol=1e-12, atol=1e-12)
        else:
            assert y == a
    rng = np.random.default_rng(1)
    seeds = [rng.standard_normal(y.shape) if isinstance(y, Tensor) else None for y in got]
    slopes = [(y, w) for y, w in zip(got, seeds, strict=True) if isinstance(y, Tensor) and y.requires_grad]
    if not slopes:
        return False
    keep = [np.isfinite(y.array) for y, _ in slopes]
    total = sum((ops.where(k, y, 0.0) * w).sum() for (y, w), k in zip(slopes, keep, strict=True))
    total.backward()
    directions = [rng.standard_normal(a.shape) if a.dtype.kind == "f" else None for a in plain]

    def along(h):
        moved = iter([a if d is None else a + h * d for a, d in zip(plain, directions, strict=True)])
        ys = as_tuple(function(*mapped(lambda _: next(moved), args), **params))
        terms = [
            np.sum(np.where(np.isfinite(y), y, 0.0) * w)
            for y, w, t in zip(ys, seeds, got, strict=True)
            if isinstance(t, Tensor) and t.requires_grad
        ]
        return sum(terms)

    h = 1e-5
    by_differences = (along(h) - along(-h)) / (2 * h)
    by_rules = sum(
        float(np.nansum(np.where(np.isfinite(a), x.grad.array * d, 0.0)))
        for x, a, d in zip(leaves, plain, directions, strict=True)
        if d is not None and x.grad is not None
    )
    assert by_rules == pytest.approx(by_differences, rel=tolerance, abs=tolerance)
    return True


def test_every_row_of_the_tables_has_calls_here():
    assert set(CALLS) == {*UFUNCS, *FUNCTIONS}
    assert set(METHOD_CALLS) == set(METHODS)


def called(function):
    return f"{function.__module__}.{function.__name__}"


@pytest.mark.parametrize("function", CALLS, ids=called)
def test_a_tensor_gets_numpys_value_and_the_slope_of_numpys_function(function):
    for args, params in CALLS[function]:
        checked(function, args, params)


@pytest.mark.parametrize(("function", "method"), METHOD_CALLS, ids=str)
def test_a_method_of_a_ufunc_does_too(function, method):
    for args, params in METHOD_CALLS[function, method]:
        assert checked(getattr(function, method), args, params)


def test_the_outer_form_of_any_ufunc_that_has_an_op_does_too():
    for function in (np.add, np.subtract, np.power, np.maximum):
        assert checked(function.outer, (U, V[0]), {})


WITHOUT_SLOPE = "isfinite isnan isinf equal not_equal less less_equal greater greater_equal logical_and logical_or"
WITHOUT_SLOPE += (
    " logical_not bitwise_and bitwise_or invert zeros_like ones_like empty_like full_like argsort argmax argmin"
)
WITHOUT_SLOPE += " shape ndim size all any allclose isclose array_equal array_equiv argwhere nonzero count_nonzero"
WITHOUT_SLOPE += " searchsorted may_share_memory shares_memory result_type"


def test_all_that_have_a_slope_keep_it():
    constant = {f for f in CALLS if not any(checked(f, args, params) for args, params in CALLS[f])}
    assert constant == {getattr(np, name) for name in WITHOUT_SLOPE.split()}


@pytest.mark.parametrize(
    ("function", "wrong"),
    [
        (np.sin, ops.cos),
        (np.exp, lambda x: x.detach() + ops.exp(x) - x.detach() * 1.1),
        (np.multiply, lambda a, b: ops.mul(a, b) * 1.0 if isinstance(b, Tensor) else ops.mul(getattr(a, "array", a),
            b)),
        (np.std, lambda a, axis=None, *, ddof=0, keepdims=False, correction=None: ops.std(a, axis, keepdims=keepdims)),
        (np.linalg.inv, lambda a: Tensor(np.linalg.inv(a.array)) + 0.0 * a),
    ],
)  # fmt: skip
def test_a_wrong_row_is_seen(function, wrong, monkeypatch):
    table = UFUNCS if function in UFUNCS else FUNCTIONS
    monkeypatch.setitem(table, function, wrong)
    with pytest.raises((AssertionError, TypeError)):
        test_a_tensor_gets_numpys_value_and_the_slope_of_numpys_function(function)


# ---------------------------------------------------------------- operators


OPERATORS = [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow, operator.mod]


@pytest.mark.parametrize("other", [np.array([1.5, 2.5, 0.5]), np.float64(2.5), np.array(1.5), np.float32(2.0)])
@pytest.mark.parametrize("f", OPERATORS, ids=lambda f: f.__name__)
def test_an_array_and_a_tensor_in_either_order_make_a_tensor(f, other):
    a = V[0]
    t = Tensor(a.copy()).requires_grad_()
    for y, expected in ((f(other, t), f(other, a)), (f(t, other), f(a, other))):
        assert isinstance(y, Tensor) and y.requires_grad
        np.testing.assert_allclose(y.array, expected, rtol=1e-12)


def test_comparisons_and_matmul_of_an_array_with_a_tensor_make_tensors():
    a, t = np.array([1.0, 2.0, 3.0]), tg.tensor([3.0, 2.0, 1.0], requires_grad=True)
    for f in (operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne):
        assert isinstance(f(a, t), Tensor) and f(a, t).tolist() == f(a, t.detach().numpy()).tolist()
    y = np.eye(3) @ t
    y.backward(np.ones(3))
    assert isinstance(y, Tensor) and t.grad.tolist() == [1, 1, 1]
    assert (np.array([True, False, True]) & (t > 1.5)).tolist() == [True, False, False]


@pytest.mark.parametrize("number", [np.float64(2.0), np.float32(2.0), np.int64(2)])
def test_numpys_numbers_do_not_promote_on_the_left_either(number):
    t = tg.tensor([1.0, 2.0], requires_grad=True)
    for y in (number * t, number + t, number - t, number / t, number**t, np.multiply(number, t)):
        assert isinstance(y, Tensor) and y.dtype == np.float32 and y.requires_grad


def test_second_derivatives_go_through_numpys_names():
    x = tg.tensor([0.3, 0.7], dtype=tg.float64, requires_grad=True)
    (g,) = tg.autograd.grad(np.sum(np.sin(x) * x), x, create_graph=True)
    (h,) = tg.autograd.grad(np.sum(g), x)
    np.testing.assert_allclose(h.array, 2 * np.cos(x.array) - x.array * np.sin(x.array), rtol=1e-12)


def test_asarray_is_as_before():
    t = tg.tensor([1.0, 2.0])
    assert type(np.asarray(t)) is np.ndarray
    with pytest.raises(RuntimeError, match="detach"):
        np.asarray(t.requires_grad_())


def test_an_array_of_numpys_own_kind_is_still_numpys():
    assert type(np.sin(U)) is np.ndarray


# ---------------------------------------------------------------- what has no counterpart


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda t: np.sin(t, out=np.zeros(2)), "np.sin of a Tensor takes no out"),
        (lambda t: np.add(t, t, where=np.array([True, False])), "np.add of a Tensor takes no where"),
        (
            lambda t: np.sum(t, dtype=np.float64),
            r"np.sum of a Tensor takes \(a, axis=None, \*, keepdims=False\): .*dtype",
        ),
        (lambda t: np.sum(t, 0, np.float64), "np.sum of a Tensor takes"),
        (lambda t: np.concatenate([t, t], out=np.zeros(4)), "np.concatenate of a Tensor takes .*out"),
        (lambda t: np.cbrt(t), "np.cbrt cannot take a Tensor: for a constant"),
        (lambda t: np.percentile(t, 3), r"np.percentile cannot take a Tensor: .*t.detach\(\).numpy\(\)"),
        (lambda t: np.linalg.eig(t), "np.linalg.eig cannot take a Tensor"),
        (lambda t: np.where(t > 1), r"np.where of a Tensor takes \(condition, x, y\)"),
        (lambda t: np.add.at(t, [0], 1.0), r"np.add.at cannot take a Tensor \(but add.reduce"),
        (lambda t: np.subtract.reduce(t), "np.subtract.reduce cannot take a Tensor"),
        (lambda t: np.add.reduce(t, initial=3.0), "np.add.reduce of a Tensor takes .*initial"),
        (lambda t: np.modf(t), "np.modf cannot take a Tensor"),
    ],
)
@pytest.mark.parametrize("requires_grad", [True, False])
def test_what_has_no_counterpart_is_refused_and_never_becomes_a_constant(call, said, requires_grad):
    with pytest.raises(TypeError, match=said) as caught:
        call(tg.tensor([1.0, 2.0], requires_grad=requires_grad))
    assert "\n" not in str(caught.value)


def test_a_function_of_scipy_is_refused_with_the_name_of_ours():
    special = pytest.importorskip("scipy.special")
    with pytest.raises(TypeError, match=r"erf cannot take a Tensor: call tg.erf, or"):
        special.erf(tg.tensor([1.0]))


def test_adding_to_an_array_in_place_is_refused():
    a = np.ones(2)
    with pytest.raises(TypeError, match="takes no out:"):
        a += tg.tensor([1.0, 2.0])
    assert a.tolist() == [1, 1]


def test_parameters_that_say_what_holds_anyway_are_taken():
    t = tg.tensor([1.0, 2.0], requires_grad=True)
    assert np.sum(t, axis=0, out=None, dtype=None).item() == 3
    assert np.reshape(t, (2, 1), order="C").shape == (2, 1)
    with pytest.raises(TypeError, match="order"):
        np.reshape(t, (2, 1), order="F")


def test_another_librarys_arrays_are_left_to_it():
    class Foreign:
        def __array_function__(self, function, types, args, kwargs):
            return "theirs"

    assert np.concatenate([tg.tensor([1.0]), Foreign()]) == "theirs"


# ---------------------------------------------------------------- NumPy's names

NAMES = "absolute negative multiply subtract divide true_divide power mod fix arcsin arccos arctan arctan2 arcsinh"
NAMES += (
    " arccosh arctanh degrees radians greater greater_equal less less_equal not_equal swapaxes moveaxis expand_dims"
)
NAMES += " concatenate concat"


@pytest.mark.parametrize("name", NAMES.split())
def test_numpys_names_are_the_ops_and_do_not_count_as_others(name):
    alias = getattr(tg, name)
    assert name in tg.__all__ and name not in OPS and name not in COMPOSED
    assert any(alias is f for f in [*OPS.values(), *COMPOSED.values()])
    arrays = (
        ([U, V],)
        if name.startswith("conc")
        else (CUBE, 0, 1)
        if name.endswith("axes") or name == "moveaxis"
        else (V, U)
    )
    arrays = (CUBE, 1) if name == "expand_dims" else arrays
    theirs = getattr(np, name)
    arrays = arrays[: theirs.nin] if isinstance(theirs, np.ufunc) else (U,) if name == "fix" else arrays
    arrays = (U,) if name in ("arcsin", "arccos", "arctanh") else arrays
    np.testing.assert_allclose(alias(*mapped(Tensor, arrays)).array, theirs(*arrays), rtol=1e-12)


def test_and_or_not_work_on_the_bits_of_integers_and_on_truths():
    n, m = tg.tensor([6, 1]), tg.tensor([3, 2])
    assert (n & m).tolist() == [2, 0] and (n | 3).tolist() == [7, 3] and (~n).tolist() == [-7, -2]
    b = tg.tensor([True, False])
    assert (b & True).tolist() == [True, False] and (b | ~b).tolist() == [True, True]
    with pytest.raises(TypeError):
        tg.tensor([1.0]) & b


def test_tensors_have_those_names_as_methods_that_pytorchs_have():
    t = Tensor(U)
    others = {"power", "mod", "degrees", "radians", "expand_dims", "concatenate", "concat"}
    for name in set(NAMES.split()) - others:
        f = getattr(t, name)
        assert getattr(f, "__func__", None) is getattr(ops, name) or f.__name__ == getattr(ops, name).__name__
