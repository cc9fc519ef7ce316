"""tinygrad_ft.testing: an assertion that says what is wrong, and strategies that draw what they say they draw."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import find, given
from hypothesis import strategies as st

from tinygrad_ft import ops
from tinygrad_ft.engine import OPS
from tinygrad_ft.gradcheck import SAMPLES
from tinygrad_ft.tensor import Tensor
from tinygrad_ft.testing import (
    LAYOUTS,
    arrays,
    assert_gradients,
    broadcastable_shapes,
    calls,
    laid_out,
    shapes,
    tensors,
)

# ---------------------------------------------------------------- strategies


@given(arrays(layout="C"), st.sampled_from(LAYOUTS))
def test_a_layout_changes_no_value(x, layout):
    y = laid_out(x, layout)
    assert y.dtype == x.dtype and y.shape == x.shape and np.array_equal(x, y)
    assert not np.shares_memory(x, y)


def test_each_layout_is_the_one_that_it_says():
    x = np.arange(24.0).reshape(2, 3, 4)
    strides = {layout: laid_out(x, layout).strides for layout in (*LAYOUTS, "broadcast")}
    assert strides["C"] == (96, 32, 8)
    assert strides["Fortran"] == (8, 16, 48)
    assert strides["strided"] == (768, 128, 16)
    assert strides["negative"] == (-96, -32, -8)
    assert strides["transposed"] == (24, 8, 48)
    assert strides["broadcast"] == (96, 32, 0)
    assert np.array_equal(laid_out(x, "broadcast"), np.repeat(x[..., :1], 4, -1))


def test_a_layout_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match=r"knows the layouts C, Fortran.*got 'spiral'"):
        laid_out(np.zeros(3), "spiral")


@given(broadcastable_shapes(3))
def test_broadcastable_shapes_broadcast(drawn):
    assert len(drawn) == 3
    assert len(np.broadcast_shapes(*drawn)) <= 3


def test_shapes_without_axes_without_elements_and_that_stretch_are_among_those_drawn():
    assert find(shapes(), lambda shape: shape == ()) == ()
    assert 0 in find(shapes(), lambda shape: 0 in shape)
    a, b = find(broadcastable_shapes(2), lambda drawn: np.broadcast_shapes(*drawn) not in drawn)
    assert a != b


@given(arrays((2, 3), None, None))
def test_arrays_have_the_shape_asked_for_and_any_dtype_and_layout(x):
    assert x.shape == (2, 3) and x.dtype in (np.float32, np.float64)


@given(arrays(st.just((3,)), np.float32, elements=lambda rng, *shape: rng.uniform(2.0, 3.0, shape)))
def test_arrays_may_be_told_their_numbers(x):
    assert x.dtype == np.float32 and ((x >= 2.0) & (x <= 3.0)).all()


@given(tensors((2, 2), layout="Fortran"))
def test_tensors_require_grad_and_keep_the_layout(x):
    assert isinstance(x, Tensor) and x.requires_grad and x.array.flags.f_contiguous


@pytest.mark.parametrize("name", ["maximum", "cat", "cross_entropy", "clamp", "attention", "where"])
def test_calls_run_and_every_array_of_them_is_in_the_drawn_dtype(name):
    @given(calls(name))
    def holds(call):
        assert len({x.dtype for x in call.inputs}) <= 1
        y = call.function(*call.inputs)
        assert y is not None and name in repr(call)

    holds()


def test_calls_of_an_op_element_by_element_have_shapes_that_no_sample_has():
    known = {a.shape for sample in SAMPLES["mul"](np.random.default_rng(0)) for a in sample.arrays}
    call = find(calls("mul"), lambda call: not {x.shape for x in call.inputs} <= known)
    assert call.function(*call.inputs).shape == np.broadcast_shapes(*(x.shape for x in call.inputs))


def test_calls_of_what_has_no_samples_are_refused():
    with pytest.raises(KeyError, match="no samples of 'argmax'"):
        calls("argmax")


def test_hypothesis_is_imported_when_a_strategy_is_asked_for_and_not_before():
    program = (
        "import sys, tinygrad_ft.testing as t; assert 'hypothesis' not in sys.modules; t.shapes(); import hypothesis"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


# ---------------------------------------------------------------- the assertion


def test_right_gradients_pass(rng):
    assert_gradients(lambda a, b: ops.tanh(a @ b), rng.standard_normal((2, 3)), rng.standard_normal((3, 2)))
    assert_gradients(np.sin, rng.standard_normal(3), gradient=lambda x, g: g * np.cos(x))


def test_a_wrong_gradient_fails_with_the_report(rng, monkeypatch):
    monkeypatch.setattr(OPS["sin"], "rule", lambda g, x: g * -ops.cos(x))
    with pytest.raises(AssertionError, match="sign"):
        assert_gradients(ops.sin, rng.standard_normal((2, 3)))


@pytest.mark.parametrize("layout", [*LAYOUTS, "broadcast"])
def test_the_function_and_its_gradient_see_the_layout_of_the_inputs(rng, layout):
    x = laid_out(rng.standard_normal((2, 3, 4)), layout)
    seen = []

    def f(a):
        seen.append(getattr(a, "array", a).strides)
        return (a * a).sum()

    def gradient(a):
        seen.append(a.strides)
        return 2.0 * a

    assert_gradients(f, x)
    assert_gradients(f, x, gradient=gradient)
    assert {x.strides} == {*seen} if layout != "broadcast" else x.strides in seen
    assert_gradients(lambda a: (a * a).sum(), laid_out(x.astype(np.float32), layout))


def test_a_hand_written_gradient_may_be_wrong_too(rng):
    with pytest.raises(AssertionError, match="wrong"):
        assert_gradients(lambda x: np.sum(x**2), rng.standard_normal(3), gradient=lambda x: x)


def test_a_wrong_second_derivative_is_caught_at_order_2_alone(rng, monkeypatch):
    monkeypatch.setattr(OPS["exp"], "rule", lambda g, y: g * getattr(y, "array", y))
    assert_gradients(ops.exp, rng.standard_normal(3), order=1)
    with pytest.raises(AssertionError):
        assert_gradients(ops.exp, rng.standard_normal(3))
