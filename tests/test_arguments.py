"""How functions take arguments: under PyTorch's names too, and in one clear line if they refuse them."""

import numpy as np
import pytest

import tinygrad_ft as tg

F = tg.nn.functional
x, y = tg.tensor([[1.0, -5.0, 7.0]]), tg.tensor([[2.0, 3.0, -2.0]])
whole = tg.tensor([[0, 2, 1]])


@pytest.mark.parametrize(
    ("named", "placed"),
    [
        (lambda: tg.exp(input=x), lambda: tg.exp(x)),
        (lambda: tg.maximum(x, other=y), lambda: tg.maximum(x, y)),
        (lambda: tg.maximum(other=y, input=x), lambda: tg.maximum(x, y)),
        (lambda: tg.where(x > 0, input=x, other=y), lambda: tg.where(x > 0, x, y)),
        (lambda: tg.where(condition=x > 0, input=x, other=y), lambda: tg.where(x > 0, x, y)),
        (lambda: tg.sum(input=x, dim=1, keepdim=True), lambda: tg.sum(x, 1, True)),
        (lambda: tg.add(x, other=y), lambda: x + y),
        (lambda: tg.div(input=x, other=y), lambda: x / y),
        (lambda: tg.fmod(x, other=y), lambda: tg.fmod(x, y)),
        (lambda: tg.fmax(x, other=y), lambda: tg.fmax(x, y)),
        (lambda: tg.square(input=x), lambda: tg.square(x)),
        (lambda: tg.gather(input=x, dim=1, index=whole), lambda: tg.gather(x, 1, whole)),
        (lambda: tg.transpose(x, dim0=0, dim1=1), lambda: x.T),
        (lambda: F.embedding(input=whole, weight=tg.eye(3)), lambda: F.embedding(whole, tg.eye(3))),
        (lambda: tg.linear(x, weight=tg.eye(3), bias=None), lambda: x),
        (lambda: x.var(False), lambda: x.var(unbiased=False)),
        (lambda: tg.std_mean(x, True)[1], lambda: x.mean()),
        (lambda: 5.0 % x, lambda: tg.remainder(5.0, x)),
        (lambda: x // y, lambda: tg.floor(x / y)),
        (lambda: 5.0 // x, lambda: tg.floor(5.0 / x)),
        (lambda: +x, lambda: x),
        (lambda: x.reshape(shape=(3,)), lambda: x.reshape(3)),
        (lambda: x.permute(dims=(1, 0)), lambda: x.T),
        (lambda: tg.permute(x, dims=(1, 0)), lambda: x.T),
        (lambda: x.flip(dims=[1]), lambda: x.flip(1)),
        (lambda: x.tile(dims=(2, 1)), lambda: x.tile(2, 1)),
        (lambda: x.scatter(1, whole, value=2.0), lambda: x.scatter(1, whole, 2.0)),
        (lambda: tg.lerp(x, end=y, weight=0.5), lambda: tg.lerp(x, y, 0.5)),
        (lambda: tg.addcmul(x, tensor1=x, tensor2=y), lambda: x + x * y),
        (lambda: tg.addcdiv(x, tensor1=x, tensor2=y), lambda: x + x / y),
        (lambda: x.where(x > 0, y), lambda: tg.where(x > 0, x, y)),
        (lambda: F.linear(input=x, weight=tg.eye(3)), lambda: x),
        (lambda: F.softmax(input=x, dim=1), lambda: tg.softmax(x, 1)),
        (lambda: F.log_softmax(input=x, dim=1), lambda: tg.log_softmax(x, 1)),
        (lambda: F.softplus(input=x), lambda: tg.softplus(x)),
        (lambda: x.clip(y), lambda: tg.clamp(x, y)),
    ],
)
def test_arguments_may_be_given_under_the_names_that_pytorch_has_for_them(named, placed):
    assert named().tolist() == placed().tolist()


def test_the_bounds_of_clip_have_a_derivative_where_they_hold():
    bound = tg.tensor([2.0, 2.0, 2.0], requires_grad=True)
    tg.clip(x, bound).sum().backward()
    assert bound.grad.tolist() == [1.0, 1.0, 0.0]


def test_an_attribute_that_an_array_lacks_is_reported_as_it_is():
    @tg.engine.op
    def wrong(xp, a):
        return a.shapes

    with pytest.raises(AttributeError, match="has no attribute 'shapes'"):
        wrong(x)


def test_add_and_sub_take_a_factor_and_div_rounds():
    assert tg.add(x, y, alpha=2).tolist() == [[5.0, 1.0, 3.0]]
    assert x.sub(y, alpha=2).tolist() == [[-3.0, -11.0, 11.0]]
    assert x.div(y, rounding_mode="floor").tolist() == [[0.0, -2.0, -4.0]]
    assert x.div(y, rounding_mode="trunc").tolist() == [[0.0, -1.0, -3.0]]
    assert tg.div(whole, 2, rounding_mode="floor").dtype == tg.div(whole, 2, rounding_mode="trunc").dtype == np.int64


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: tg.exp(input=x, other=x), TypeError, "exp was given the same array twice: input, other"),
        (lambda: tg.maximum(x), TypeError, r"maximum\(a, b\) was given 1 arrays"),
        (lambda: tg.maximum(x, third=y), TypeError, r"maximum\(a, b\) was given 1 arrays and \['third'\]"),
        (lambda: tg.fmax(x, b=y, other=y), TypeError, "fmax was given one parameter under two names: b, other"),
        (lambda: tg.add(x, y, beta=2), TypeError, "beta"),
        (lambda: tg.div(x, y, rounding_mode="up"), ValueError, "None, 'floor' or 'trunc': got 'up'"),
        (lambda: tg.max(2, 3), TypeError, "max needs an array: got int"),
        (lambda: tg.min(2, [3]), TypeError, "min needs an array: got int"),
        (lambda: tg.max(x, (0, 1)), TypeError, r"max goes along one axis, amax along several: got \(0, 1\)"),
        (lambda: x.min(axis=[0, 1]), TypeError, "min goes along one axis, amin along several"),
        (lambda: tg.sum([1.0, 2.0]), TypeError, r"sum needs an array: got list; tg.tensor\(...\) makes one"),
        (lambda: tg.var(2.0), TypeError, "var needs an array: got float"),
        (lambda: tg.stack([1.0, 2.0]), TypeError, "stack needs an array: got float"),
        (lambda: tg.gather(x, 1, [[0]]), TypeError, "gather needs an array: got list"),
        (lambda: tg.scatter(x, 1, whole), TypeError, "scatter needs either src or value"),
        (lambda: tg.repeat_interleave(x, 1.5), ValueError, "needs one integer >= 0, .* got 1.5"),
        (lambda: tg.einsum("ij,jk->ik", x, tg.eye(2)), ValueError, r"'j' in 'ij,jk->ik', differ in length: \[3, 2\]"),
        (lambda: F.glu(x, 2), IndexError, "axis 2 does not exist in an array of 2 axes"),
        (lambda: tg.cat([x, None]), TypeError, "cat needs arrays: got NoneType"),
        (lambda: tg.roll(tg.tensor(1.0), 0, 0), IndexError, "roll along 0 needs an array with axes"),
        (lambda: tg.narrow(x, 1, tg.tensor(True), 1), TypeError, "only an integer Tensor can be an index"),
        (lambda: tg.narrow(x, 1, 2, 2), IndexError, r"2 places from 2 on do not lie within axis 1 of \(1, 3\)"),
        (lambda: tg.narrow(x, 1, -4, 1), IndexError, r"1 places from -4 on do not lie"),
        (lambda: tg.narrow(x, 1, 1, -1), IndexError, r"-1 places from 1 on do not lie"),
        (lambda: tg.masked_fill(x, x > 0, 1j), ValueError, "one real number to fill in: got 1j"),
        (lambda: tg.masked_fill(x, x > 0, y), ValueError, r"got shape \(1, 3\)"),
        (lambda: tg.index_fill(x, 1, whole[0], y), ValueError, r"index_fill needs one real number .* shape \(1, 3\)"),
        (lambda: tg.scatter(x, 1, whole, y.double()), TypeError, "dtype of x, float32: got float64"),
        (lambda: tg.scatter_add(x, 1, whole, y.double()), TypeError, "dtype of x, float32: got float64"),
        (lambda: tg.dot(x[0], y[0, :2]), ValueError, "dot needs vectors of one length: got 3 and 2 numbers"),
        (lambda: tg.transpose(x, dim0=0, dim1=2), IndexError, "axes 0 and 2 do not both exist"),
    ],
)
def test_what_is_refused_is_refused_in_one_clear_line(call, error, words):
    with pytest.raises(error, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)
