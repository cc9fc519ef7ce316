"""What gradcheck and gradgradcheck answer: for right gradients, for wrong ones, for calls that make no sense."""

import numpy as np
import pytest

from tinygrad_ft import autograd, ops
from tinygrad_ft.autograd import gradcheck, gradgradcheck
from tinygrad_ft.engine import Op, Value
from tinygrad_ft.gradcheck import FunctionError, GradcheckError
from tinygrad_ft.tensor import Tensor, tensor


def leaf(*shape, seed=0):
    return Tensor(np.random.default_rng(seed).uniform(0.5, 2.0, shape)).requires_grad_()


def square_with(rule):
    def square(xp, x):
        return x * x

    op = Op(square)
    op.vjp(rule)
    return op


def wrong_at(place, factor):
    """x^2 with a gradient that is right but for one element."""
    skew = np.ones((2, 3))
    skew[place] = factor
    return square_with(lambda g, x: g * 2.0 * x * skew)


right = square_with(lambda g, x: g * 2.0 * x)
right_once = square_with(lambda g, x: g * 2.0 * (x.array if isinstance(x, Value) else x))


# ---------------------------------------------------------------- right gradients pass


@pytest.mark.parametrize("check", [gradcheck, gradgradcheck])
@pytest.mark.parametrize(
    "f",
    [
        right,
        lambda x: x * x,
        lambda x: ops.exp(ops.sin(x)).sum(),
        lambda x: (x * 2, ops.log(x)),
        lambda x: [x.sum(), x.mean(0)],
        lambda x: x.max(1),
        lambda x: ops.sign(x),
        lambda x: x * 3.0,
        lambda x: ops.normalise(x),
    ],
)
def test_right_gradients_pass(check, f):
    assert check(f, leaf(2, 3)) is True


def test_several_inputs_are_checked_where_they_require_grad_and_others_are_left_alone():
    a, b, c = leaf(2, 3), leaf(3, seed=1), tensor([1.0, 2.0, 3.0])
    before = [a.tolist(), b.tolist(), c.tolist()]
    assert gradcheck(lambda a, b, c, n: a * b * c * n, [a, b, c, 5])
    assert gradgradcheck(lambda a, b, c, n: a * b * c * n, [a, b, c, 5])
    assert [a.tolist(), b.tolist(), c.tolist()] == before and a.grad is None


def test_a_tensor_given_twice_is_checked_in_each_of_its_places():
    x = leaf(2)
    assert gradcheck(lambda a, b: a * b * b, [x, x]) and gradgradcheck(lambda a, b: a * b * b, [x, x])
    assert gradgradcheck(lambda a: a * a, x, x)
    with pytest.raises(GradcheckError, match="output 0, input b"):
        gradcheck(lambda a, b: a * square_with(lambda g, x: g * x)(b), [x, x])


def test_numbers_without_axes_and_arrays_without_elements_pass():
    assert gradcheck(lambda x: x * x, leaf()) and gradgradcheck(lambda x: x * x, leaf())
    assert gradcheck(lambda x: x * x, leaf(0, 3)) and gradgradcheck(lambda x: x * x, leaf(0, 3))


def test_an_input_that_the_function_ignores_passes_with_a_gradient_of_zero():
    assert gradcheck(lambda a, b: a * a, [leaf(2), leaf(2)]) and gradgradcheck(lambda a, b: a * a, [leaf(2), leaf(2)])


def test_outputs_of_integers_and_booleans_are_left_out():
    assert gradcheck(lambda x: (x * x, x > 1, x.argmax()), leaf(2, 3))


def test_grad_outputs_may_be_given():
    assert gradgradcheck(lambda x: x**3, leaf(2), [leaf(2, seed=3)])


def test_an_input_that_is_stored_by_columns_passes():
    assert gradcheck(lambda x: x * x * x, Tensor(np.asfortranarray(np.full((2, 3), 2.0))).requires_grad_())


# ---------------------------------------------------------------- wrong gradients are caught


@pytest.mark.parametrize("place", [(0, 0), (0, 2), (1, 1)])
def test_the_element_of_a_wrong_gradient_is_named_with_both_numbers_and_their_ratio(place):
    with pytest.raises(GradcheckError) as caught:
        gradcheck(wrong_at(place, 1.01), leaf(2, 3))
    message = str(caught.value)
    assert "output 0, input x" in message and f"element {place}" in message and "ratio 1.01" in message


def test_the_input_and_the_output_of_a_wrong_gradient_are_named():
    with pytest.raises(GradcheckError, match=r"output 1, input b, element \(1, 2\)"):
        gradcheck(lambda a, n, b: (a * b, wrong_at((1, 2), -1.0)(b)), [leaf(2, 3), 7, leaf(2, 3)])


def test_nan_in_a_gradient_is_caught():
    with pytest.raises(GradcheckError, match=r"element \(1, 0\).*nan"):
        gradcheck(wrong_at((1, 0), np.nan), leaf(2, 3))


def test_a_gradient_that_was_cut_off_is_caught():
    for f in (lambda x: x.detach() * 2.0, lambda x: (x * x, x.detach() ** 2), lambda x: x * x + x.detach()):
        with pytest.raises(GradcheckError):
            gradcheck(f, leaf(2))
    assert gradcheck(lambda x: (x * x, x.detach() * 0.0), leaf(2))  # a constant may be cut off


def test_errors_of_two_outputs_do_not_cancel():
    too_large, too_small = (square_with(rule) for rule in (lambda g, x: g * 2.5 * x, lambda g, x: g * 1.5 * x))
    assert gradcheck(lambda x: right(x) + right(x), leaf(2))
    with pytest.raises(GradcheckError, match=r"output [01]"):
        gradcheck(lambda x: (too_large(x), too_small(x)), leaf(2))


def test_a_wrong_second_derivative_is_caught_by_gradgradcheck_alone():
    assert gradcheck(right_once, leaf(2, 3))
    with pytest.raises(GradcheckError, match="input x, element"):
        gradgradcheck(right_once, leaf(2, 3))


def test_a_disagreement_within_the_tolerance_passes_and_one_beyond_it_does_not():
    assert gradcheck(wrong_at((0, 0), 1.0005), leaf(2, 3))
    assert not gradcheck(wrong_at((0, 0), 1.002), leaf(2, 3), raise_exception=False)
    assert not gradcheck(wrong_at((0, 0), 1.0005), leaf(2, 3), rtol=1e-5, atol=1e-8, raise_exception=False)


def test_without_raise_exception_the_answer_is_false():
    assert gradcheck(wrong_at((0, 0), 2.0), leaf(2, 3), raise_exception=False) is False
    assert gradgradcheck(right_once, leaf(2, 3), raise_exception=False) is False
    assert gradcheck(right, leaf(2, 3), raise_exception=False) is True


# ---------------------------------------------------------------- calls that make no sense


@pytest.mark.parametrize("check", [gradcheck, gradgradcheck])
def test_float32_is_welcome_and_faults_are_seen_in_it(check):
    x = tensor([1.0, 2.0], requires_grad=True)
    assert check(lambda x: x * x * x, x)
    with pytest.raises(GradcheckError):
        check(lambda x: x * x * x.detach(), x)


@pytest.mark.parametrize("check", [gradcheck, gradgradcheck])
def test_inputs_of_which_none_requires_grad_are_refused_with_the_way_out(check):
    for inputs in (tensor([1.0]), [tensor([1.0]), 3], []):
        with pytest.raises(ValueError, match="requires_grad=True"):
            check(lambda *xs: tensor([1.0]), inputs)


@pytest.mark.parametrize("check", [gradcheck, gradgradcheck])
@pytest.mark.parametrize(
    ("answer", "kind"), [(None, "NoneType"), (2.0, "float"), ((), "tuple"), (np.ones(2), "ndarray")]
)
def test_a_function_that_answers_no_tensor_is_refused(check, answer, kind):
    with pytest.raises(TypeError, match=f"answers a Tensor, or a tuple of them: got {kind}"):
        check(lambda x: answer, leaf(2))


def test_an_error_inside_the_function_is_told_with_its_name_and_chained():
    def quotient(x):
        return 1 / 0

    with pytest.raises(FunctionError, match="quotient raised ZeroDivisionError") as caught:
        gradcheck(quotient, leaf(2), raise_exception=False)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_the_public_names_stand_where_pytorch_has_them():
    assert autograd.gradcheck is gradcheck and autograd.gradgradcheck is gradgradcheck
    assert issubclass(GradcheckError, AssertionError)
