"""Every op against a plain reference and against differences, driven by the registries: a new op needs a row here."""

import itertools
import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes
from references import REFERENCES, VALUES

import tinygrad_ft as tg
from tinygrad_ft import autograd, ops
from tinygrad_ft.chain_rule import expand, fit, sum_to
from tinygrad_ft.engine import OPS, Op, Value
from tinygrad_ft.gradcheck import SAMPLES, GradcheckError, Sample, check_op, gradcheck, gradgradcheck
from tinygrad_ft.nn import functional
from tinygrad_ft.ops.composed import COMPOSED, every
from tinygrad_ft.tensor import Tensor, tensor

EVERY = every()
DIFFERENTIABLE = [name for name in EVERY if name in COMPOSED or OPS[name].rule]
DIFFERENTIABLE.remove("cast")  # differences need float64 throughout, where it changes nothing: a test of its own below
ELEMENTWISE = [name for name, op in OPS.items() if op.elementwise]
FLOATS = {np.float16, np.float32, np.float64}


# ---------------------------------------------------------------- how an op is called on a sample


def mapped(f, x):
    """x with f applied to its floating-point arrays, also those inside tuples and dicts."""
    if isinstance(x, dict):
        return {name: mapped(f, part) for name, part in x.items()}
    if isinstance(x, tuple):
        return tuple(mapped(f, part) for part in x)
    return f(x) if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x


def samples_of(name, seed=0):
    make = SAMPLES.get(name) or VALUES.get(name)
    assert make, f"{name} has samples neither in gradcheck.SAMPLES nor in references.VALUES"
    return make(np.random.default_rng(seed))


def converted(sample, f):
    return Sample(mapped(f, sample.arrays), mapped(f, sample.params))


def in_dtype(sample, dtype):
    changed = converted(sample, lambda a: a.astype(dtype))
    return Sample(
        changed.arrays, {**changed.params, "dtype": np.dtype(dtype)} if "dtype" in sample.params else changed.params
    )


def variables(sample):
    """The arguments with Tensors that require grad for arrays of floats, and these Tensors."""
    found = []

    def variable(a):
        found.append(Tensor(a).requires_grad_())
        return found[-1]

    return mapped(variable, sample.arrays), found


def as_tuple(y):
    return tuple(y) if isinstance(y, tuple) else (y,)


def value(name, sample):
    """What the op answers for plain copies of the arrays: a tuple of arrays."""
    copies = tuple(np.array(a) if isinstance(a, np.ndarray) else a for a in sample.arrays)
    return as_tuple(EVERY[name](*copies, **sample.params))


def value_and_gradients(name, sample, seed=0, layout=lambda g: g):
    """Its outputs, and the gradients by all floating-point inputs of the outputs' sum with random weights."""
    args, xs = variables(sample)
    ys = as_tuple(EVERY[name](*args, **sample.params))
    rng = np.random.default_rng(seed)
    us = [layout(rng.standard_normal(y.shape).astype(y.dtype)) for y in ys if y.dtype.kind == "f"]
    gs = autograd.grad([y for y in ys if y.requires_grad], xs, us, allow_unused=True)
    return [y.array for y in ys], [None if g is None else g.array for g in gs]


def assert_close(got, expected, rtol, atol):
    assert len(got) == len(expected)
    for a, b in zip(got, expected, strict=True):
        assert (a is None) == (b is None)
        if b is not None:
            assert np.shape(a) == np.shape(b)
            np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


# ---------------------------------------------------------------- the registries are complete


def test_every_op_and_every_composed_function_has_a_reference_and_every_reference_an_op():
    assert set(REFERENCES) == set(EVERY)


def test_every_op_with_a_rule_and_every_composed_function_has_samples_and_every_sample_an_op():
    assert set(SAMPLES) == set(DIFFERENTIABLE)


def test_every_op_without_a_rule_has_inputs_for_its_value_alone():
    assert set(VALUES) == set(EVERY) - set(DIFFERENTIABLE)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_the_samples_of_an_elementwise_op_cover_no_axes_no_elements_and_broadcasting(name):
    shapes = [[np.shape(a) for a in sample.arrays] for sample in samples_of(name)]
    assert any(set(row) == {()} for row in shapes), "a sample of numbers without axes is missing"
    assert any(0 in np.broadcast_shapes(*row) for row in shapes), "a sample without elements is missing"
    arity = OPS[name].arity
    assert arity == 1 or any(len(set(row)) > 1 for row in shapes), "a sample that broadcasts is missing"


@pytest.mark.parametrize("name", ["sum", "mean", "amax", "amin", "max", "min", "logsumexp", "softmax", "log_softmax"])
def test_the_samples_of_a_reduction_cover_no_axes_no_elements_and_a_negative_axis(name):
    samples = samples_of(name)
    assert any(s.arrays[0].shape == () for s in samples)
    assert any(s.arrays[0].size == 0 for s in samples)
    assert any(s.params.get("axis") == -1 or s.params.get("axis") == (0, -1) for s in samples)


# ---------------------------------------------------------------- value and derivatives


@pytest.mark.parametrize("name", EVERY)
def test_the_value_is_that_of_the_plain_reference(name):
    for sample in samples_of(name):
        assert_close(value(name, sample), as_tuple(REFERENCES[name](*sample.arrays, **sample.params)), 1e-12, 1e-12)


@pytest.mark.parametrize("name", EVERY)
def test_a_tensor_gets_the_value_that_a_plain_array_gets(name):
    for sample in samples_of(name):
        with tg.use_kernels(**({name: "reference"} if name in COMPOSED else {})):  # whose kernels are for plain arrays
            plain = value(name, sample)
        args = mapped(lambda a: Tensor(a.copy()), sample.arrays)
        ys = as_tuple(EVERY[name](*args, **sample.params))
        if any(isinstance(x, Value) for a in args for x in (a if isinstance(a, tuple) else [a])):
            assert all(isinstance(y, Tensor) and isinstance(y.array, np.ndarray) for y in ys)
            assert_close([y.array for y in ys], plain, 0, 0)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_first_and_second_derivatives_agree_with_differences(name):
    assert check_op(name) == len(samples_of(name))


@pytest.mark.parametrize(
    "name", sorted(VALUES.keys() - {"cast", "pick", "sgd_update", "adam_update", "rmsprop_update"})
)
def test_an_op_without_a_rule_answers_with_a_constant(name):
    for sample in samples_of(name):
        args, _ = variables(sample)
        assert not any(isinstance(y, Value) and y.requires_grad for y in as_tuple(EVERY[name](*args, **sample.params)))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("to", FLOATS)
def test_a_cast_passes_the_cotangent_back_in_the_dtype_it_came_from_also_for_a_second_derivative(dtype, to):
    x = Tensor(np.array([0.5, -3.0], dtype)).requires_grad_()
    y = ops.cast(x, dtype=np.dtype(to))
    assert y.dtype == to and y.tolist() == [0.5, -3]
    (g,) = autograd.grad(y * y, x, np.ones(2, to), create_graph=True)
    assert g.dtype == dtype and g.tolist() == [1, -6]
    (second,) = autograd.grad(g, x, np.ones(2, dtype))
    assert second.dtype == dtype and second.tolist() == [2, 2]


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_in_float32_the_dtype_stays_and_the_numbers_are_close_to_those_of_float64(name):
    for sample in samples_of(name):
        ys, gs = value_and_gradients(name, in_dtype(sample, np.float32))
        assert {a.dtype for a in [*ys, *gs] if a is not None and a.dtype.kind == "f"} <= {np.dtype(np.float32)}
        exact_ys, exact_gs = value_and_gradients(name, in_dtype(sample, np.float64))
        assert_close(ys, exact_ys, 2e-6, 2e-6)
        assert_close(gs, exact_gs, 1e-5, 1e-5)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_float16_stays_float16(name):
    for sample in samples_of(name):
        ys, gs = value_and_gradients(name, in_dtype(sample, np.float16))
        if name == "flash_attention":
            assert ys.pop().dtype == np.float32  # of lse, e^(s - lse) needs all the digits that float32 has
        assert {a.dtype for a in [*ys, *gs] if a is not None and a.dtype.kind == "f"} <= {np.dtype(np.float16)}


LAYOUTS = {
    "stored by columns": lambda a: np.array(a, order="F"),
    "every second element of a larger array": lambda a: np.repeat(a, 2, axis=-1)[..., ::2] if a.ndim else a,
    "read backwards": lambda a: np.flip(np.flip(a).copy()) if a.ndim else a,
    "cut out of the middle": lambda a: np.pad(a, 1)[(slice(1, -1),) * a.ndim] if a.ndim else a,
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_how_an_array_lies_in_memory_changes_neither_value_nor_gradient(name, layout):
    for sample in samples_of(name):
        ys, gs = value_and_gradients(name, sample)
        other_ys, other_gs = value_and_gradients(name, converted(sample, layout), layout=layout)
        assert_close(other_ys, ys, 1e-12, 1e-12)
        assert_close(other_gs, gs, 1e-12, 1e-12)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_the_layouts_keep_the_numbers(layout):
    a = np.arange(24.0).reshape(2, 3, 4)
    assert np.array_equal(layout(a), a)
    assert not layout(a).flags.c_contiguous


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_no_op_writes_into_its_inputs_or_into_the_cotangent(name):
    for sample in samples_of(name):
        before = converted(sample, np.copy)
        frozen = converted(sample, np.copy)
        mapped(lambda a: a.setflags(write=False), frozen.arrays)

        def freeze(g):
            g.setflags(write=False)
            return g

        value_and_gradients(name, frozen, layout=freeze)
        for a, b in zip(frozen.arrays, before.arrays, strict=True):
            if isinstance(a, np.ndarray):
                assert np.array_equal(a, b)


# ---------------------------------------------------------------- laws


def gradients_for(name, sample, us):
    args, xs = variables(sample)
    ys = [y for y in as_tuple(EVERY[name](*args, **sample.params)) if y.requires_grad]
    return [None if g is None else g.array for g in autograd.grad(ys, xs, us, allow_unused=True)]


@pytest.mark.parametrize("name", DIFFERENTIABLE)
@settings(max_examples=3)
@given(seed=st.integers(0, 2**31), a=st.floats(-3, 3), b=st.floats(-3, 3))
def test_a_rule_is_linear_in_the_cotangent(name, seed, a, b):
    rng = np.random.default_rng(seed)
    for sample in samples_of(name, seed):
        ys = [y for y in value(name, sample) if np.asarray(y).dtype.kind == "f"]
        us, vs = ([rng.standard_normal(np.shape(y)) for y in ys] for _ in range(2))
        gu, gv = gradients_for(name, sample, us), gradients_for(name, sample, vs)
        g = gradients_for(name, sample, [a * u + b * v for u, v in zip(us, vs, strict=True)])
        combined = [None if p is None else a * p + b * q for p, q in zip(gu, gv, strict=True)]
        assert_close(g, combined, 1e-9, 1e-9)


@given(mutually_broadcastable_shapes(num_shapes=2, max_dims=4, min_side=0, max_side=3), st.integers(0, 2**31))
def test_summing_is_the_adjoint_of_broadcasting(shapes, seed):
    rng = np.random.default_rng(seed)
    x, g = rng.standard_normal(shapes.input_shapes[0]), rng.standard_normal(shapes.result_shape)
    spread, summed = expand(x, shape=g.shape), sum_to(g, shape=x.shape)
    assert np.shape(spread) == g.shape and np.shape(summed) == x.shape
    assert math.isclose(np.sum(spread * g), np.sum(x * summed), rel_tol=1e-9, abs_tol=1e-9)
    assert np.array_equal(fit(g, x.shape, g.dtype), summed)


@given(mutually_broadcastable_shapes(num_shapes=2, max_dims=3, min_side=0, max_side=3), st.integers(0, 2**31))
def test_gradients_of_broadcast_inputs_have_the_inputs_shapes(shapes, seed):
    rng = np.random.default_rng(seed)
    a, b = (Tensor(rng.standard_normal(shape)).requires_grad_() for shape in shapes.input_shapes)
    (a * b).sum().backward()
    spread_a, spread_b = np.broadcast_arrays(a.array, b.array)
    np.testing.assert_allclose(a.grad.array, sum_to(spread_b, shape=a.shape), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(b.grad.array, sum_to(spread_a, shape=b.shape), rtol=1e-12, atol=1e-12)


@given(st.lists(st.integers(-3, 2), max_size=8), st.integers(0, 2**31))
def test_indexing_and_putting_back_are_adjoint_also_with_repeated_indices(indices, seed):
    rng = np.random.default_rng(seed)
    x = Tensor(rng.standard_normal((3, 2))).requires_grad_()
    g = rng.standard_normal((len(indices), 2))
    (gx,) = autograd.grad(x[indices], [x], [g])
    expected = np.zeros((3, 2))
    for i, row in zip(indices, g, strict=True):
        expected[i] += row
    np.testing.assert_allclose(gx.array, expected, rtol=1e-12, atol=1e-12)


# ---------------------------------------------------------------- dtypes

ARITHMETIC = ["add", "sub", "mul", "div", "pow", "maximum", "minimum"]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", ARITHMETIC)
@pytest.mark.parametrize("shape", [(), (3,)])
def test_python_numbers_never_promote(name, dtype, shape):
    for number, swapped in itertools.product([2, 2.5, True], [False, True]):
        x = Tensor(np.full(shape, 1.5, dtype)).requires_grad_()
        y = EVERY[name](number, x) if swapped else EVERY[name](x, number)
        assert y.dtype == dtype
        y.backward(np.ones(shape, dtype))
        assert x.grad.dtype == dtype and x.grad.shape == shape


@pytest.mark.parametrize("name", ARITHMETIC)
@pytest.mark.parametrize("shape", [(), (3,)])
def test_numpys_own_numbers_do_not_make_float64_of_float32(name, shape):
    x = Tensor(np.full(shape, 1.5, np.float32)).requires_grad_()
    for number in (np.float64(2.5), np.float32(2.5), np.int64(2)):
        for y in (EVERY[name](x, number), EVERY[name](number, x)):
            assert y.dtype == np.float32
            assert autograd.grad(y, x, np.ones(shape, np.float32))[0].dtype == np.float32


@pytest.mark.parametrize("name", ARITHMETIC)
@pytest.mark.parametrize("shape", [(), (3,)])
def test_float32_with_integers_stays_float32_and_integers_get_no_gradient(name, shape):
    x = Tensor(np.full(shape, 1.5, np.float32)).requires_grad_()
    n = Tensor(np.full(shape, 2))
    for y in (EVERY[name](x, n), EVERY[name](n, x)):
        assert y.dtype == np.float32
        (g,) = autograd.grad(y, x, np.ones(shape, np.float32))
        assert g.dtype == np.float32
    assert not n.requires_grad and n.grad is None


@pytest.mark.parametrize(
    "y",
    [
        lambda n: n.mean(),
        lambda n: n.mean(0),
        lambda n: n / 2,
        lambda n: n[0, 0] / 2,
        lambda n: n.sum() / 2,
        lambda n: ops.exp(n),
        lambda n: ops.var(n),
        lambda n: ops.layer_norm(n, 3),
        lambda n: ops.attention(n, n, n, None)[1],
    ],
)
def test_integers_become_float32_where_fractions_arise(y):
    assert y(tensor([[1, 2, 4], [3, 5, 6]])).dtype == np.float32


@pytest.mark.parametrize("name", ["add", "mul", "maximum", "where", "matmul", "sum", "amax", "cat", "reshape"])
def test_integers_and_booleans_carry_no_gradient(name):
    n = tensor([[1, 2], [3, 4]])
    calls = {
        "where": lambda: ops.where(n > 2, n, n),
        "sum": lambda: n.sum(),
        "amax": lambda: n.amax(),
        "cat": lambda: ops.cat([n, n]),
        "reshape": lambda: n.reshape(4),
    }
    y = calls.get(name, lambda: EVERY[name](n, n))()
    assert y.dtype.kind == "i" and not y.requires_grad
    with pytest.raises(TypeError, match="only floating-point"):
        (n > 2).requires_grad_()


@pytest.mark.parametrize("f", [ops.softmax, ops.log_softmax, ops.logsumexp, lambda n: ops.cross_entropy(n, tensor(0))])
def test_the_softmax_family_refuses_integers(f):
    with pytest.raises(TypeError, match="floating-point"):
        f(tensor([1, 2, 3]))


def test_a_float32_product_with_an_integer_tensor_is_float32_all_the_way():
    w = Tensor(np.ones((3, 2), np.float32)).requires_grad_()
    y = tensor([[1, 2, 3]]) @ w
    assert y.dtype == np.float32
    y.sum().backward()
    assert w.grad.dtype == np.float32 and w.grad.tolist() == [[1, 1], [2, 2], [3, 3]]


def test_a_seed_of_another_dtype_does_not_change_that_of_the_gradient():
    x = Tensor(np.ones(3, np.float32)).requires_grad_()
    (x * x).backward(np.ones(3))
    assert x.grad.dtype == np.float32


# ---------------------------------------------------------------- names and axes


@pytest.mark.parametrize("name", ["sum", "mean", "var", "std", "amax", "amin", "logsumexp"])
def test_pytorchs_dim_and_keepdim_mean_axis_and_keepdims(name, rng):
    x = Tensor(rng.standard_normal((2, 3, 4)))
    f = EVERY[name]
    assert np.array_equal(f(x, dim=1, keepdim=True).array, f(x, axis=1, keepdims=True).array)
    assert f(x, dim=(0, 2)).shape == (3,)
    assert f(x, 1, keepdim=True).shape == (2, 1, 4)
    assert getattr(x, name)(dim=-1).shape == (2, 3)


@pytest.mark.parametrize("name", ["max", "min", "argmax", "argmin", "softmax", "log_softmax"])
def test_pytorchs_dim_means_axis(name, rng):
    x = Tensor(rng.standard_normal((2, 3)))
    for a, b in zip(as_tuple(EVERY[name](x, dim=1)), as_tuple(EVERY[name](x, axis=1)), strict=True):
        assert np.array_equal(a.array, b.array)


def test_dim_works_where_elements_are_moved(rng):
    x = Tensor(rng.standard_normal((2, 3)))
    assert ops.cat([x, x], dim=1).shape == (2, 6)
    assert ops.stack([x, x], dim=-1).shape == (2, 3, 2)
    assert x.squeeze(dim=0).shape == (2, 3)
    assert x.unsqueeze(dim=1).shape == (2, 1, 3)
    assert x.gather(dim=1, index=np.zeros((2, 1), int)).shape == (2, 1)
    assert [part.shape for part in x.split((1, 2), dim=1)] == [(2, 1), (2, 2)]


def test_a_composed_function_refuses_one_parameter_under_two_names():
    with pytest.raises(TypeError, match="under two names: dim, axis"):
        tensor([[1.0, 2.0]]).var(dim=0, axis=1)


@pytest.mark.parametrize(
    "name", ["sum", "mean", "var", "amax", "amin", "max", "min", "argmax", "logsumexp", "softmax", "log_softmax"]
)
def test_a_negative_axis_counts_from_the_end(name, rng):
    x = Tensor(rng.standard_normal((2, 3, 4)))
    for axis in range(3):
        for a, b in zip(as_tuple(EVERY[name](x, axis=axis)), as_tuple(EVERY[name](x, axis=axis - 3)), strict=True):
            assert np.array_equal(a.array, b.array)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: x.sum(2),
        lambda x: x.mean(-3),
        lambda x: ops.softmax(x, axis=2),
        lambda x: ops.logsumexp(x, axis=5),
        lambda x: x.squeeze(4),
        lambda x: x.unsqueeze(4),
        lambda x: x.flatten(0, 4),
        lambda x: x.transpose(0, 2),
        lambda x: x.permute(2, 3),
        lambda x: ops.cat([x, x], axis=2),
        lambda x: x.split((1, 1), axis=2),
        lambda x: x.max(2),
        lambda x: x.gather(2, np.zeros((2, 2), int)),
    ],
)
def test_an_axis_that_does_not_exist_is_refused(call):
    with pytest.raises((IndexError, ValueError)):
        call(tensor([[1.0, 2.0], [3.0, 4.0]]))


def test_numpys_integers_are_axes_too():
    x = tensor([[1.0, 5.0], [7.0, 3.0]])
    assert x.sum(np.int64(0)).tolist() == [8, 8]
    assert ops.max(x, np.int64(1)).values.tolist() == [5, 7]


def test_max_answers_values_and_places_along_an_axis_one_number_without_and_maximum_for_two():
    x = tensor([[1.0, 5.0], [7.0, 3.0]], requires_grad=True)
    values, indices = x.max(1)
    assert values.tolist() == [5, 7] and indices.tolist() == [1, 0]
    assert x.max(0, keepdim=True).values.shape == (1, 2)
    assert x.max().item() == 7 and x.min().item() == 1
    assert ops.max(x, tensor([[2.0, 2.0], [2.0, 2.0]])).tolist() == [[2, 5], [7, 3]]


def test_gather_takes_an_index_that_is_shorter_along_the_other_axes():
    x = tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    y = ops.gather(x, 1, np.array([[1, 1, 0]]))
    assert y.tolist() == [[2, 2, 1]]
    y.sum().backward()
    assert x.grad.tolist() == [[1, 2], [0, 0]]


def test_indexing_follows_numpy(rng):
    a = rng.standard_normal((3, 4, 5))
    x = Tensor(a).requires_grad_()
    mask = a[..., 0] > 0
    keys = [
        0, -1, slice(None, None, -2), (..., 1), (None, 0), (slice(1), [0, 2]), ([0, 0, 2], slice(None), 1), [],
        mask, (mask, 0), np.array([[0, 1], [2, 2]]), (0, [1, 1], slice(2)), ([0, 1], [1, 1], [4, -5]),
    ]  # fmt: skip
    for key in keys:
        y = x[key]
        expected = a[key]
        assert np.array_equal(y.array, expected), key
        (g,) = autograd.grad(y, x, np.ones(y.shape))
        counted = np.zeros(a.shape)
        np.add.at(counted, key, 1.0)
        assert np.array_equal(g.array, counted), key
    assert np.array_equal(x[tensor([2, 0])].array, a[[2, 0]])
    assert np.array_equal(x[x.detach() > 0].array, a[a > 0])
    assert len(list(x)) == 3


def test_split_takes_one_size_or_a_sequence_of_sizes():
    x = tensor([[1.0, 2.0, 3.0, 4.0, 5.0]])
    assert [part.tolist() for part in x.split(2, 1)] == [[[1, 2]], [[3, 4]], [[5]]]
    assert [part.shape for part in x.split([4, 1], dim=-1)] == [(1, 4), (1, 1)]
    assert [part.shape for part in x.split(np.int64(7))] == [(1, 5)]
    assert [part.shape for part in x[:0].split(2)] == [(0, 5)]


def test_a_generator_of_tensors_is_stacked_and_joined():
    parts = [tensor([1.0, 2.0]), tensor([3.0, 4.0])]
    assert ops.stack(x for x in parts).tolist() == [[1, 2], [3, 4]]
    assert ops.cat(x for x in parts).tolist() == [1, 2, 3, 4]


# ---------------------------------------------------------------- one tensor used more than once


def test_cat_of_a_tensor_with_itself_gives_it_both_gradients():
    x = tensor([1.0, 2.0], requires_grad=True)
    (ops.cat([x, x]) * tensor([1.0, 2.0, 3.0, 4.0])).sum().backward()
    assert x.grad.tolist() == [4, 6]


def test_repeated_indices_accumulate():
    x = tensor([1.0, 2.0, 3.0], requires_grad=True)
    (x[[0, 0, 2]] * tensor([1.0, 10.0, 100.0])).sum().backward()
    assert x.grad.tolist() == [11, 0, 100]


@pytest.mark.parametrize("key", [((0, 0),), ((0, 0), (1, 1)), ([0, 0], 1)])
def test_repeated_indices_accumulate_also_from_sequences(key):
    x = tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    x[key].sum().backward()
    assert x.grad.tolist()[0][1] == 2.0


def test_repeated_ids_accumulate_in_an_embedding():
    weight = tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], requires_grad=True)
    y = ops.embedding(tensor([[2, 0], [2, 2]]), weight)
    (y * tensor([[[1.0], [2.0]], [[3.0], [4.0]]])).sum().backward()
    assert weight.grad.tolist() == [[2, 2], [0, 0], [8, 8]]


def test_a_tensor_times_itself_has_both_parts_of_the_product_rule():
    x = tensor([3.0], requires_grad=True)
    (x * x).backward()
    assert x.grad.tolist() == [6]


# ---------------------------------------------------------------- corners


def gradient_at(f, x, dtype=np.float64):
    """The gradient of the sum of f(x), and f(x), with NumPy's warnings as errors while the rules run."""
    x = Tensor(np.asarray(x, dtype)).requires_grad_()
    y = f(x)
    (g,) = autograd.grad(y.sum(), x)
    return g.array, y.array


@pytest.mark.parametrize("f", [ops.log, ops.sqrt, lambda x: 1 / x, lambda x: x**-1.5, lambda x: x**0.5])
def test_a_branch_that_where_leaves_out_brings_no_nan(f):
    x = tensor([0.0, 4.0], requires_grad=True)
    with np.errstate(divide="ignore"):  # the forward of the branch that is left out is infinite, and NumPy says so
        y = ops.where(x > 0, f(x), 0.0)
        y.sum().backward()
        assert x.grad.array[0] == 0
        expected = autograd.grad(f(x)[1], x)[0].array[1]
    assert x.grad.array[1] == expected


@pytest.mark.parametrize("f", [ops.exp, lambda x: 2.0**x, lambda x: x**3, lambda x: x / 1e-300])
def test_a_branch_whose_slope_overflows_brings_no_nan_where_it_is_left_out(f):
    with np.errstate(over="ignore"):
        g, _ = gradient_at(lambda x: ops.where(x < 2, f(x), 1.0), [1.0, 1e200])
        alone, _ = gradient_at(f, [1.0])
    assert g.tolist() == [alone[0], 0]


def test_a_product_with_an_infinite_factor_is_nan_where_the_cotangent_is_zero():
    with np.errstate(invalid="ignore"):
        g, _ = gradient_at(lambda x: ops.where(x < 0, x * np.inf, 1.0), [1.0])
    assert np.isnan(g[0])


@pytest.mark.parametrize("dtype", FLOATS)
def test_the_standard_deviation_of_equal_numbers_has_a_gradient_of_0(dtype):
    g, y = gradient_at(lambda x: x.std(1), [[2.0, 2.0], [1.0, 3.0]], dtype)
    assert y.tolist() == [0, dtype(math.sqrt(2))]
    np.testing.assert_allclose(g, [[0, 0], [-math.sqrt(0.5), math.sqrt(0.5)]], rtol=2 * np.finfo(dtype).eps)
    x = Tensor(np.array([2.0, 2.0], dtype)).requires_grad_()
    (g,) = autograd.grad(x.std(), x, create_graph=True)
    assert autograd.grad(g.sum(), x)[0].tolist() == [0, 0]


def test_the_slope_of_logit_is_infinite_at_both_ends():
    with np.errstate(all="ignore"):  # the values there are infinities of both signs
        assert gradient_at(ops.logit, [0.0, 0.5, 1.0])[0].tolist() == [np.inf, 4.0, np.inf]


def test_the_0_norm_counts_infinities_and_nan_too():
    assert ops.norm(tensor([np.inf, np.nan, 0.0]), 0).item() == 2.0


@pytest.mark.parametrize("seed", range(3))
def test_einsum_answers_the_same_by_a_plan_as_element_by_element(seed):
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((2, 41, 42)), rng.standard_normal((2, 42, 43))  # enough products for a plan
    np.testing.assert_allclose(ops.einsum("bij,bjk->bki", a, b), (a @ b).swapaxes(1, 2), rtol=0, atol=1e-12)


def test_fractions_of_integer_images_are_not_cut_off():
    x = tensor([[[1, 2, 4]]])
    assert functional.adaptive_avg_pool1d(x, 2).tolist() == [[[1.5, 3.0]]]
    assert functional.interpolate(x, size=2, mode="linear").tolist() == [[[1.25, 3.5]]]


@pytest.mark.parametrize("f", [ops.dropout, lambda x: ops.rms_norm(x, 4)])
def test_integers_become_float32_in_a_net(f):
    assert f(tensor([1, 2, 3, 4])).dtype == np.float32


def test_x_to_the_power_0_is_flat_also_at_0():
    for p in (0, 0.0, Tensor(np.zeros(3))):
        g, y = gradient_at(lambda x, p=p: x**p, [0.0, -2.0, 3.0])
        assert y.tolist() == [1, 1, 1] and g.tolist() == [0, 0, 0]


def test_0_to_a_power_has_the_derivatives_of_pytorch():
    g, _ = gradient_at(lambda x: x**2, [0.0])
    assert g.tolist() == [0]
    g, _ = gradient_at(lambda x: x**1, [0.0])
    assert g.tolist() == [1]
    g, _ = gradient_at(lambda p: Tensor(np.zeros(2)) ** p, [0.0, 2.0])
    assert g.tolist() == [0, 0]
    assert gradient_at(lambda x: x**3, [-2.0])[0].tolist() == [12]


def test_a_negative_number_to_a_whole_power_has_a_second_derivative():
    x = Tensor(np.array([-2.0])).requires_grad_()
    (g,) = autograd.grad(x**3, x, create_graph=True)
    (second,) = autograd.grad(g, x)
    assert second.tolist() == [-12]


@pytest.mark.parametrize("f", [ops.maximum, ops.minimum])
def test_a_tie_of_two_shares_the_gradient_in_halves(f):
    a, b = (tensor([1.0, 2.0], requires_grad=True) for _ in range(2))
    f(a, b).sum().backward()
    assert a.grad.tolist() == b.grad.tolist() == [0.5, 0.5]


@pytest.mark.parametrize("f", [ops.maximum, ops.minimum])
def test_where_one_of_two_is_nan_both_have_the_whole_gradient(f):
    a, b = tensor([math.nan, 1.0], requires_grad=True), tensor([1.0, math.nan], requires_grad=True)
    f(a, b).sum().backward()
    assert a.grad.tolist() == b.grad.tolist() == [1, 1]


@pytest.mark.parametrize("f", [ops.amax, ops.amin])
def test_where_some_of_many_are_nan_they_have_the_gradient(f):
    g, y = gradient_at(f, [math.nan, 1.0, math.nan])
    assert math.isnan(y) and g.tolist() == [0.5, 0, 0.5]


@pytest.mark.parametrize("f", [ops.amax, ops.amin, ops.max, ops.min])
def test_a_tie_of_many_shares_the_gradient_evenly(f):
    g, _ = gradient_at(f, [2.0, 2.0, 2.0, 2.0])
    assert g.tolist() == [0.25] * 4


@pytest.mark.parametrize(("f", "x"), [(ops.max, [1.0, 3.0, 3.0]), (ops.min, [3.0, 1.0, 1.0])])
def test_a_tie_along_an_axis_gives_the_gradient_to_the_place_that_was_answered(f, x):
    assert f(tensor(x), 0).indices.item() == 1
    assert gradient_at(lambda v: f(v, 0).values, x)[0].tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("f", "slope"),
    [
        (ops.relu, 0.0),
        (ops.abs, 0.0),
        (ops.sign, 0.0),
        (lambda x: ops.clip(x, min=0.0), 1.0),
        (lambda x: ops.clip(x, max=0.0), 1.0),
    ],
)
def test_the_slope_at_a_kink_is_the_declared_one(f, slope):
    assert gradient_at(f, [0.0])[0].tolist() == [slope]


@pytest.mark.parametrize("dtype", FLOATS)
def test_sigmoid_and_softplus_do_not_overflow(dtype):
    g, y = gradient_at(ops.sigmoid, [-1000.0, 1000.0, -np.inf, np.inf], dtype)
    assert y.tolist() == [0, 1, 0, 1] and g.tolist() == [0, 0, 0, 0]
    g, y = gradient_at(ops.softplus, [-1000.0, 1000.0], dtype)
    assert y.tolist() == [0, 1000] and g.tolist() == [0, 1]
    g, y = gradient_at(ops.tanh, [-1000.0, 1000.0], dtype)
    assert y.tolist() == [-1, 1] and g.tolist() == [0, 0]
    assert gradient_at(ops.gelu, [-1000.0, 1000.0], np.float64)[1].tolist() == [0, 1000]


@pytest.mark.parametrize("dtype", FLOATS)
def test_the_softmax_family_does_not_overflow(dtype):
    x = [-1000.0, 1000.0, 1000.0]
    g, y = gradient_at(lambda v: ops.softmax(v) * tensor([1.0, 2.0, 4.0], dtype=dtype), x, dtype)
    assert y.tolist() == [0, 1, 2] and g.tolist() == [0, -0.5, 0.5]
    g, y = gradient_at(ops.logsumexp, x, dtype)
    assert y.item() == dtype(1000 + math.log(2))
    # The rule is e^(x - y), as in PyTorch: the rounding of y, 1000 times that of 1, is in it.
    np.testing.assert_allclose(g, [0, 0.5, 0.5], rtol=1000 * np.finfo(dtype).eps)
    g, y = gradient_at(lambda v: ops.log_softmax(v)[0], x, dtype)
    assert y.item() == dtype(-2000 - math.log(2)) and g.tolist() == [1, -0.5, -0.5]
    g, y = gradient_at(lambda v: ops.cross_entropy(v, np.array(0)), x, dtype)
    assert y.item() == dtype(2000 + math.log(2)) and g.tolist() == [-1, 0.5, 0.5]


def test_the_softmax_family_takes_minus_infinity_for_a_class_that_is_ruled_out():
    x = [-np.inf, 0.0, 0.0]
    g, y = gradient_at(lambda v: ops.softmax(v) * tensor([1.0, 2.0, 4.0]), x)
    assert y.tolist() == [0, 1, 2] and g.tolist() == [0, -0.5, 0.5]
    g, y = gradient_at(ops.logsumexp, x)
    assert y.item() == math.log(2) and g.tolist() == [0, 0.5, 0.5]
    g, y = gradient_at(lambda v: ops.log_softmax(v)[1], x)
    assert y.item() == -math.log(2) and g.tolist() == [0, 0.5, -0.5]
    g, y = gradient_at(lambda v: ops.cross_entropy(v, np.array(1)), x)
    assert y.item() == math.log(2) and g.tolist() == [0, -0.5, 0.5]


def test_logsumexp_of_nothing_is_minus_infinity_without_a_gradient_or_a_warning():
    g, y = gradient_at(ops.logsumexp, [-np.inf, -np.inf])
    assert y.item() == -np.inf and g.tolist() == [0, 0]
    assert ops.logsumexp(Tensor(np.zeros((0, 2))), axis=0).tolist() == [-np.inf, -np.inf]


def test_logsumexp_has_no_direction_at_infinity_and_a_slope_of_0_beside_it():
    g, y = gradient_at(ops.logsumexp, [np.inf, 1.0])
    assert y.item() == np.inf and np.isnan(g[0]) and g[1] == 0


def test_sums_in_float16_neither_overflow_nor_stop_growing_on_the_way():
    many = Tensor(np.ones((100_000, 2), np.float16))
    assert many.mean().item() == 1 and many.mean(0).tolist() == [1, 1]
    assert many[:5000].sum(0).tolist() == [5000, 5000]
    assert ops.softmax(many, axis=0).array[0, 0] == np.float16(1e-5)
    assert ops.log_softmax(many, axis=0).array[0, 0] == ops.cross_entropy(many.T, np.array([0, 0])).array * -1
    wide = Tensor(np.array([300.0, -300.0, 100.0, 5.0], np.float16))
    for f in (lambda x: ops.layer_norm(x, 4), ops.std, lambda x: ops.var(x * 0.25)):
        np.testing.assert_allclose(f(wide).array, f(wide.double()).array, rtol=1e-3)
        assert f(wide).dtype == np.float16


@pytest.mark.parametrize("dtype", FLOATS)
def test_binary_cross_entropy_at_certainty_is_100_with_a_finite_gradient(dtype):
    t = Tensor(np.array([1.0, 0.0, 0.0, 1.0], dtype)).requires_grad_()
    g, y = gradient_at(lambda v: ops.binary_cross_entropy(v, t, reduction="none"), [1.0, 0.0, 1.0, 0.0], dtype)
    assert y.tolist() == [0, 0, 100, 100]
    assert np.isfinite(g).all() and g[:2].tolist() == [0, 0] and g[2] == -g[3] > 1000
    ops.binary_cross_entropy(Tensor(np.array([1.0, 0.0, 1.0, 0.0], dtype)), t, reduction="sum").backward()
    assert t.grad.tolist() == [-100, 100, -100, 100]


def test_an_attention_row_that_may_look_nowhere_answers_0_and_has_gradients_of_0(rng):
    q, k, v = (Tensor(rng.standard_normal((2, 3))).requires_grad_() for _ in range(3))
    nowhere_then_everywhere = np.array([[False, False], [True, True]])
    for mask in (nowhere_then_everywhere, np.where(nowhere_then_everywhere, 0.0, -np.inf)):
        y = ops.scaled_dot_product_attention(q, k, v, mask)
        assert y.array[0].tolist() == [0, 0, 0] and (y.array[1] != 0).all()
        gs = autograd.grad(y, [q, k, v], np.ones(y.shape), create_graph=True)
        assert gs[0].array[0].tolist() == [0, 0, 0]
        assert all(np.isfinite(g.array).all() for g in gs)
        assert all(np.isfinite(g.array).all() for g in autograd.grad(gs[0].sum(), [k, v]))


def test_causal_attention_does_not_see_what_comes_later(rng):
    q, k, v = (Tensor(rng.standard_normal((3, 2))).requires_grad_() for _ in range(3))
    y = ops.scaled_dot_product_attention(q, k, v, is_causal=True)
    np.testing.assert_allclose(y.array[0], v.array[0], rtol=1e-12)
    _, gk, gv = autograd.grad(y[1].sum(), [q, k, v])
    assert gk.array[2].tolist() == [0, 0] and gv.array[2].tolist() == [0, 0]


def test_attention_takes_a_mask_that_broadcasts_and_gives_it_its_gradient(rng):
    q, k, v = (Tensor(rng.standard_normal((2, 3, 2))).requires_grad_() for _ in range(3))
    mask = Tensor(rng.standard_normal((1, 3))).requires_grad_()
    assert gradcheck(lambda *xs: ops.scaled_dot_product_attention(*xs), [q, k, v, mask])


def test_the_scale_of_attention_does_not_promote():
    q = Tensor(np.ones((2, 3), np.float32))
    assert ops.scaled_dot_product_attention(q, q, q, scale=1 / np.sqrt(3)).dtype == np.float32


def test_cross_entropy_leaves_ignored_examples_out_of_value_mean_and_gradient():
    x, target = [[0.0, math.log(3)], [5.0, -7.0]], np.array([0, -100])
    g, y = gradient_at(lambda v: ops.cross_entropy(v, target), x)
    np.testing.assert_allclose(y, math.log(4), rtol=1e-12)
    np.testing.assert_allclose(g, [[-0.75, 0.75], [0, 0]], rtol=1e-12)
    g, y = gradient_at(lambda v: ops.cross_entropy(v, np.array([0, 1]), ignore_index=1), x)
    np.testing.assert_allclose(y, math.log(4), rtol=1e-12)


@pytest.mark.parametrize("smoothing", [0.0, 0.5])
def test_cross_entropy_with_all_examples_ignored_is_nan_as_a_mean_and_0_as_a_sum(smoothing):
    x, target = Tensor(np.zeros((2, 3))).requires_grad_(), np.array([-100, -100])
    assert math.isnan(ops.cross_entropy(x, target, label_smoothing=smoothing).item())
    total = ops.cross_entropy(x, target, reduction="sum", label_smoothing=smoothing)
    assert total.item() == 0
    total.backward()
    assert not x.grad.array.any()


def test_an_ignored_example_may_have_an_infinite_loss():
    x = [[-np.inf, 1.0], [0.0, 0.0]]
    for smoothing in (0.0, 0.1):
        g, y = gradient_at(lambda v, s=smoothing: ops.cross_entropy(v, np.array([-100, 0]), label_smoothing=s), x)
        np.testing.assert_allclose(y, math.log(2), rtol=1e-12)
        assert g[0].tolist() == [0, 0]


def test_documented_nan_comes_without_a_warning():
    nothing = Tensor(np.zeros((0, 3))).requires_grad_()
    ruled_out = Tensor(np.full((2, 3), -np.inf)).requires_grad_()
    for y in (
        nothing.mean(),
        nothing.mean(0),
        tensor([1.0]).var(),
        tensor([1.0]).std(),
        tensor([1.0, 2.0]).var(correction=2),
        ruled_out.softmax(1),
        ruled_out.log_softmax(1),
        ops.cross_entropy(nothing, np.zeros(0, int)),
        ops.cross_entropy(ruled_out, np.zeros(2, int)),
        ops.cross_entropy(tensor([[1.0, 2.0]]), np.array([0]), tensor([0.0, 1.0])),
    ):
        assert np.isnan(y.array).all()
        if y.requires_grad:
            autograd.grad(y.sum(), [nothing, ruled_out], allow_unused=True)


@pytest.mark.parametrize("target", [[2], [-1], [-100, 0, 1]])
def test_a_target_that_is_no_class_is_refused(target):
    with pytest.raises((IndexError, ValueError), match="cross_entropy"):
        ops.cross_entropy(tensor([[0.0, 1.0]]), np.array(target))


@pytest.mark.parametrize(
    ("target", "weight", "message"),
    [
        (np.array([True, True]), None, "integer classes or .* got bool"),
        ([1, 1], None, "targets in a Tensor or an array: got list"),
        (np.array([1, 1]), [1.0, 2.0], "weight in a Tensor or an array: got list"),
    ],
)
def test_cross_entropy_refuses_targets_that_are_no_integers_and_lists(target, weight, message):
    with pytest.raises(TypeError, match=message):
        ops.cross_entropy(tensor([[1.0, 5.0], [1.0, 5.0]]), target, weight)


def test_an_embedding_refuses_ids_in_a_list_and_a_weight_that_is_no_table():
    with pytest.raises(TypeError, match="array of integer ids: got list"):
        ops.embedding([0, 1], tensor([[1.0], [2.0]]))
    for weight in (tensor([1.0, 2.0]), tensor([[[1.0]], [[2.0]]]), [[1.0]]):
        with pytest.raises(ValueError, match=r"weight \(rows, width\)"):
            ops.embedding(tensor([0]), weight)


def test_an_id_that_is_no_row_is_refused():
    for ids in ([3], [-1]):
        with pytest.raises(IndexError, match="rows 0 to 2"):
            ops.embedding(np.array(ids), np.zeros((3, 2)))
    with pytest.raises(TypeError, match="integer"):
        ops.embedding(np.zeros(1), np.zeros((3, 2)))


def test_binary_cross_entropy_is_finite_at_certainty():
    g, y = gradient_at(
        lambda v: ops.binary_cross_entropy(v, Tensor(np.array([1.0, 0.0, 0.0, 1.0])), reduction="none"),
        [1.0, 0.0, 1.0, 0.0],
    )
    assert y.tolist() == [0, 0, 100, 100]
    assert np.isfinite(g).all() and g[:2].tolist() == [0, 0]
    with pytest.raises(ValueError, match="from 0 to 1"):
        ops.binary_cross_entropy(tensor([1.5]), tensor([1.0]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_binary_cross_entropy_with_logits_does_not_overflow(dtype):
    t = Tensor(np.array([0.0, 1.0], dtype))
    f = lambda v: ops.binary_cross_entropy_with_logits(v, t, reduction="none", pos_weight=Tensor(np.array(2.0, dtype)))  # noqa: E731
    g, y = gradient_at(f, [1000.0, -1000.0], dtype)
    assert y.tolist() == [1000, 2000] and g.tolist() == [1, -2]


def test_mse_loss_warns_when_shapes_differ():
    with pytest.warns(UserWarning, match="broadcast"):
        ops.mse_loss(tensor([1.0, 2.0]), tensor([[1.0], [2.0]]))


@pytest.mark.parametrize("loss", [ops.mse_loss, ops.binary_cross_entropy, ops.cross_entropy])
def test_an_unknown_reduction_is_refused(loss):
    x = tensor([[0.5, 0.5]])
    with pytest.raises(ValueError, match="reduction is"):
        loss(x, x, reduction="avg")


def test_the_extremum_of_nothing_is_refused():
    for f in (ops.amax, ops.amin, ops.argmax, ops.argmin):
        with pytest.raises(ValueError, match="no elements"):
            f(np.zeros((0, 2)), axis=0)


def test_dropout_keeps_the_mean_drops_its_share_and_passes_gradients_through_what_it_kept():
    x = Tensor(np.ones((200, 500), np.float32)).requires_grad_()
    y = ops.dropout(x, 0.3, rng=np.random.default_rng(0))
    dropped = (y.array == 0).mean()
    assert abs(dropped - 0.3) < 5 * math.sqrt(0.3 * 0.7 / x.numel())
    assert set(np.unique(y.array)) == {np.float32(0), np.float32(1 / 0.7)} and y.dtype == np.float32
    y.sum().backward()
    assert np.array_equal(x.grad.array, y.array)
    assert not ops.dropout(x, 1.0).array.any()
    with pytest.raises(ValueError, match="from 0 to 1"):
        ops.dropout(x, 1.5)


def test_a_chance_of_numpy_does_not_make_float64_of_float32():
    assert ops.dropout(tensor([1.0, 2.0]), np.float64(0.5)).dtype == np.float32


def test_dropout_draws_from_the_processs_generator_which_a_seed_starts_anew():
    x = Tensor(np.ones(100))
    draws = [(ops.manual_seed(seed), ops.dropout(x).tolist())[1] for seed in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: ops.reshape(x, (5,)), ValueError, r"reshape cannot bring \(2, 3\)"),
        (lambda x: x.permute(0, 0), ValueError, "each of the 2 axes"),
        (lambda x: ops.broadcast_to(x, (2, 4)), ValueError, "only lengths of 1"),
        (lambda x: x.expand(3), ValueError, "only lengths of 1"),
        (lambda x: ops.cat([x, x.T]), ValueError, r"shapes that agree .* \(2, 3\), \(3, 2\)"),
        (lambda x: ops.cat([]), ValueError, "at least one"),
        (lambda x: ops.stack([x, x.T]), ValueError, "equal shapes"),
        (lambda x: ops.cat([x, x], axis=3), IndexError, "axis 3 does not exist in an array of 2"),
        (lambda x: x.sum(1.5), TypeError, "an axis is an integer, .* got 1.5"),
        (lambda x: x.sum((0, 1.5)), TypeError, r"an axis is an integer, .* got \(0, 1.5\)"),
        (lambda x: x.split((1, 1), axis=1), ValueError, "add up to 2"),
        (lambda x: x.split((4, -1), axis=1), ValueError, "sizes of 0 or more"),
        (lambda x: x.split(0), ValueError, "a size above 0"),
        (lambda x: ops.pad(x, (1,)), ValueError, "pair of widths"),
        (lambda x: ops.pad(x, (1, 1), "mirror"), ValueError, "mode is 'constant', .* got 'mirror'"),
        (lambda x: ops.clip(x), ValueError, "needs min or max"),
        (lambda x: ops.gelu(x, approximate="erf"), ValueError, "'none' or 'tanh'"),
        (lambda x: ops.flatten(x, 1, 0), ValueError, "comes after"),
        (lambda x: ops.linear(x, x.T), TypeError, "linear"),
        (lambda x: ops.linear(x, x.T, None), ValueError, r"weight \(outputs, inputs\)"),
        (lambda x: ops.linear(x, x, tensor([1.0, 2.0, 3.0])), ValueError, r"bias \(outputs,\)"),
        (lambda x: ops.layer_norm(x, 2), ValueError, "last lengths"),
        (lambda x: ops.scaled_dot_product_attention(x, x.T, x), ValueError, "attention needs q"),
        (lambda x: x @ tensor(2.0), ValueError, "arrays with axes"),
        (lambda x: x @ x, ValueError, "pass its transpose"),
        (lambda x: ops.matmul(np.ones((2, 2, 3)), np.ones((3, 3, 2))), ValueError, "before the last two"),
        (lambda x: x[0.5], IndexError, "only integers"),
        (lambda x: x[tensor([0.5])], IndexError, "integers or booleans"),
        (lambda x: ops.mse_loss(x, x, reduction="all"), ValueError, "reduction"),
    ],
)
def test_a_call_that_makes_no_sense_is_refused_with_what_came_and_what_was_needed(call, error, message):
    with pytest.raises(error, match=message):
        call(tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]))


# ---------------------------------------------------------------- planted faults: a wrong rule is caught


def scratch_op(rule):
    """y = x^3 b with that rule, outside of the registry."""

    def cube_times(xp, x, b):
        return x * x * x * b

    op = Op(cube_times, elementwise=True)
    op.vjp(rule)
    return op


def right(g, x, b):
    return g * 3.0 * x * x * b, g * x * x * x


def wrong_factor(g, x, b):
    return g * 2.0 * x * x * b, g * x * x * x


def wrong_sign(g, x, b):
    return g * 3.0 * x * x * b, -g * x * x * x


def wrong_order(g, x, b):
    return g * x * x * x, g * 3.0 * x * x * b


def unsummed(g, x, b):
    return g * 3.0 * x * x * b, ops.expand((g * x * x * x)[0], shape=g.shape) * 1.0


def no_gradient(g, x, b):
    return None, g * x * x * x


def right_once_only(g, x, b):
    """The first derivative is right; x and b come in as constants, so the second lacks their part."""
    x, b = (Tensor(a.array) if isinstance(a, Value) else a for a in (x, b))
    return g * 3.0 * x * x * b, g * x * x * x


@pytest.fixture
def x_and_b(rng):
    return [Tensor(rng.uniform(0.5, 2.0, shape)).requires_grad_() for shape in [(3, 2), (2,)]]


def test_a_right_rule_passes_both_checks(x_and_b):
    assert gradcheck(scratch_op(right), x_and_b) and gradgradcheck(scratch_op(right), x_and_b)


@pytest.mark.parametrize("rule", [wrong_factor, wrong_sign, wrong_order, unsummed, no_gradient])
def test_a_wrong_rule_is_caught_by_gradcheck(rule, x_and_b):
    with pytest.raises(GradcheckError):
        gradcheck(scratch_op(rule), x_and_b)


def test_a_rule_of_which_only_the_second_derivative_is_wrong_is_caught_by_gradgradcheck_alone(x_and_b):
    op = scratch_op(right_once_only)
    assert gradcheck(op, x_and_b)
    with pytest.raises(GradcheckError):
        gradgradcheck(op, x_and_b)


@pytest.mark.parametrize("name", ["exp", "mul", "softmax", "linear", "summed_cross_entropy"])
def test_check_op_catches_a_rule_of_the_library_that_is_off_by_a_thousandth_and_a_half(name, monkeypatch):
    rule = OPS[name].rule

    def skewed(*args, **params):
        gs = rule(*args, **params)
        now = lambda g: g() if callable(g) else g  # noqa: E731
        gs = tuple(None if now(g) is None else now(g) * 1.0015 for g in (gs if isinstance(gs, tuple) else (gs,)))
        return gs

    monkeypatch.setattr(OPS[name], "rule", skewed)
    with pytest.raises(GradcheckError):
        check_op(name)


def test_a_reference_that_differs_from_the_op_is_caught(monkeypatch):
    monkeypatch.setitem(REFERENCES, "exp", lambda x: np.exp(x) * (1 + 1e-9))
    with pytest.raises(AssertionError):
        test_the_value_is_that_of_the_plain_reference("exp")


def test_a_rule_that_is_not_linear_in_the_cotangent_is_caught(monkeypatch):
    monkeypatch.setattr(OPS["exp"], "rule", lambda g, y: g * g * y)
    with warnings.catch_warnings(), pytest.raises(AssertionError):
        test_a_rule_is_linear_in_the_cotangent.hypothesis.inner_test("exp", 0, 2.0, 1.0)


def test_a_value_that_forgets_its_strides_is_caught(monkeypatch):
    def blind(xp, x):
        return xp.exp(x.ravel("K")).reshape(x.shape)

    monkeypatch.setattr(OPS["exp"], "forward", blind)
    with pytest.raises(AssertionError):
        test_how_an_array_lies_in_memory_changes_neither_value_nor_gradient("exp", LAYOUTS["stored by columns"])


def test_an_op_that_writes_into_its_input_is_caught(monkeypatch):
    monkeypatch.setattr(OPS["exp"], "forward", lambda xp, x: xp.exp(x, out=x))
    with pytest.raises(ValueError, match="read-only"):
        test_no_op_writes_into_its_inputs_or_into_the_cotangent("exp")
