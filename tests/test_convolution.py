"""Convolutions, pooling and their layers where registries and samples do not look: ties, laws, state, errors."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_ft import autograd, nn, ops
from tinygrad_ft.ops.convolution import overlap_add, windows
from tinygrad_ft.tensor import Tensor, tensor


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(0, 5), st.integers(0, 2**31))
def test_adding_up_windows_is_the_adjoint_of_cutting_them_out(kernel, stride, dilation, more, seed):
    rng, how = np.random.default_rng(seed), {"stride": (stride,), "dilation": (dilation,)}
    x = rng.standard_normal((2, (kernel - 1) * dilation + 1 + more))
    w = windows(x, kernel=(kernel,), **how)
    g = rng.standard_normal(w.shape)
    back = overlap_add(g, size=x.shape[1:], **how)
    np.testing.assert_allclose(np.sum(w * g), np.sum(x * back), rtol=1e-9, atol=1e-9)


@given(st.integers(1, 3), st.integers(1, 3), st.integers(0, 2), st.integers(1, 2), st.integers(0, 2**31))
def test_channels_side_by_side_are_convolved_and_differentiated_as_others_and_stay_side_by_side(k, s, p, d, seed):
    rng, params = np.random.default_rng(seed), {"stride": s, "padding": p, "dilation": d}
    last = rng.standard_normal((2, 6, 7, 3))
    weight, bias = Tensor(rng.standard_normal((4, 3, k, k))), Tensor(rng.standard_normal(4))
    answers = []
    for array in (np.moveaxis(last, -1, 1), np.ascontiguousarray(np.moveaxis(last, -1, 1))):
        leaves = [t.detach().requires_grad_() for t in (Tensor(array), weight, bias)]
        y = ops.conv2d(*leaves, **params)
        answers.append([y, *autograd.grad(y, leaves, np.cos(y.array))])
    assert answers[0][0].array.transpose(0, 2, 3, 1).flags.c_contiguous
    for one, other in zip(*answers, strict=True):
        np.testing.assert_allclose(one.array, other.array, rtol=1e-9, atol=1e-9)


@given(st.integers(1, 3), st.integers(1, 3), st.integers(0, 2), st.integers(1, 2), st.integers(0, 2**31))
def test_a_transposed_convolution_is_the_adjoint_of_the_convolution(kernel, stride, padding, groups, seed):
    rng, params = np.random.default_rng(seed), {"stride": stride, "padding": padding, "groups": groups}
    x, weight = rng.standard_normal((2, 2, 6, 7)), rng.standard_normal((4, 2 // groups, kernel, kernel))
    y = ops.conv2d(x, weight, **params)
    g = rng.standard_normal(y.shape)
    more = tuple((n + 2 * padding - kernel) % stride for n in x.shape[2:])
    back = ops.conv_transpose2d(g, weight, output_padding=more, **params)
    assert back.shape == x.shape
    np.testing.assert_allclose(np.sum(y * g), np.sum(x * back), rtol=1e-9, atol=1e-9)


def test_windows_are_a_view():
    x = np.zeros((3, 8))
    assert np.shares_memory(windows(x, kernel=(2,), stride=(2,), dilation=(1,)), x)


def test_of_equal_numbers_in_a_window_the_first_gets_the_derivative_of_max_pooling():
    x = tensor([[[3.0, 3.0, 1.0, 3.0, 3.0]]], requires_grad=True)
    y, places = ops.max_pool1d(x, 3, 1, return_indices=True)
    assert y.tolist() == [[[3, 3, 3]]] and places.tolist() == [[[0, 1, 3]]]
    y.backward(np.array([[[1.0, 10.0, 100.0]]]))
    assert x.grad.tolist() == [[[1, 10, 0, 100, 0]]]


def test_a_window_of_minus_infinity_and_one_with_nan_are_pooled():
    x = tensor([[[-np.inf, -np.inf, 1.0, np.nan, 2.0, 0.0]]], requires_grad=True)
    y, places = ops.max_pool1d(x, 2, return_indices=True)
    assert np.array_equal(y.array, [[[-np.inf, np.nan, 2]]], equal_nan=True) and places.tolist() == [[[0, 3, 4]]]
    (g,) = autograd.grad(y, x, np.ones(y.shape))
    assert g.tolist() == [[[1, 0, 0, 1, 1, 0]]]


def test_batch_norm_moves_the_running_arrays_in_place_in_training_only(rng):
    x = Tensor(rng.standard_normal((4, 2, 3)))
    mean, var = Tensor(np.zeros(2)), Tensor(np.ones(2))
    arrays = mean.array, var.array
    ops.batch_norm(x, mean, var)
    assert mean.tolist() == [0, 0] and var.tolist() == [1, 1]
    ops.batch_norm(x, mean, var, training=True, momentum=0.25)
    assert mean.array is arrays[0] and var.array is arrays[1]
    np.testing.assert_allclose(mean.array, x.array.mean((0, 2)) / 4, rtol=1e-12)
    np.testing.assert_allclose(var.array, 0.75 + x.array.var((0, 2), ddof=1) / 4, rtol=1e-12)


def test_instance_norm_moves_the_running_arrays_by_the_average_example(rng):
    x, mean, var = rng.standard_normal((4, 2, 3)), np.zeros(2), np.ones(2)
    ops.instance_norm(x, mean, var, momentum=0.25)
    np.testing.assert_allclose(mean, x.mean((0, 2)) / 4, rtol=1e-12)
    np.testing.assert_allclose(var, 0.75 + x.var(2, ddof=1).mean(0) / 4, rtol=1e-12)


def test_a_batch_norm_in_float32_keeps_its_buffers_in_float32_and_counts_its_batches(rng):
    layer = nn.BatchNorm1d(2, momentum=None)
    batches = rng.standard_normal((3, 5, 2)).astype(np.float32)
    for batch in batches:
        assert layer(Tensor(batch)).dtype == np.float32
    assert layer.num_batches_tracked.item() == 3 and layer.running_mean.dtype == np.float32
    np.testing.assert_allclose(layer.running_mean.array, batches.mean((0, 1)), rtol=1e-5, atol=1e-6)
    again = nn.BatchNorm1d(2, momentum=None)
    again.load_state_dict(layer.state_dict())
    assert np.array_equal(again.eval()(Tensor(batches[0])).array, layer.eval()(Tensor(batches[0])).array)


def test_a_larger_image_of_whole_pixels_repeats_each_and_a_nan_stays_where_it_is():
    x = np.array([[[1.0, np.nan, 3.0]]])
    assert np.array_equal(ops.interpolate(x, scale_factor=2), np.repeat(x, 2, 2), equal_nan=True)
    assert np.array_equal(ops.interpolate(x, 4), x[:, :, [0, 0, 1, 2]], equal_nan=True)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: ops.conv2d(x, np.ones((2, 3, 3, 3))), r"needs x of 3 channels: got 2"),
        (lambda x: ops.conv2d(x, np.ones((2, 2, 6, 1))), r"do not fit into \(4, 5\), padded"),
        (
            lambda x: ops.conv2d(x, np.ones((2, 2, 1))),
            r"needs weight \(outputs, inputs / groups, \*kernel\) for 2 axes",
        ),
        (lambda x: ops.conv2d(x, np.ones((2, 2, 1, 1)), np.ones(3)), r"needs bias \(2,\): got \(3,\)"),
        (lambda x: ops.conv2d(x, np.ones((2, 2, 1, 1)), stride=2, padding="same"), r"'same' \(with stride 1\)"),
        (lambda x: ops.conv2d(x, np.ones((2, 2, 1, 1)), padding=(1, 1, 1)), "padding of 0 or more, one number or 2"),
        (lambda x: ops.conv2d(x, np.ones((3, 1, 1, 1)), groups=2), "do not divide into 2 groups"),
        (lambda x: ops.conv1d(x, np.ones((2, 2, 1))), r"needs x \(batch, channels, length\)"),
        (lambda x: ops.conv_transpose2d(x, np.ones((2, 1, 2, 2)), output_padding=1), "output_padding below stride"),
        (lambda x: ops.conv_transpose2d(x, np.ones((2, 1, 1, 1)), padding=2), "leaves nothing"),
        (lambda x: ops.max_pool2d(x, 5), r"windows of \(5, 5\) do not fit"),
        (lambda x: ops.max_pool2d(x, 2, padding=2), "at most half a window of 2: got 2"),
        (lambda x: ops.avg_pool2d(x, 2, divisor_override=0), "divisor other than 0"),
        (lambda x: ops.adaptive_avg_pool2d(x, (1, 2, 3)), r"one number, or 2: got \(1, 2, 3\)"),
        (lambda x: ops.adaptive_avg_pool2d(x, -1), "output_size of 0 or more"),
        (lambda x: ops.interpolate(x, 2, mode="linear"), "mode is one of"),
        (lambda x: ops.interpolate(x), "either size or scale_factor"),
        (lambda x: ops.interpolate(x, 2, align_corners=True), "align_corners belongs to"),
        (lambda x: ops.interpolate(x, (2, 2, 2)), "2 sizes of 1 or more"),
        (lambda x: ops.pixel_shuffle(x, 2), r"multiple of 2\^2 channels"),
        (lambda x: ops.pixel_unshuffle(x, 2), "divide by 2"),
        (lambda x: ops.batch_norm(x, None, None), "needs running_mean and running_var"),
        (lambda x: ops.batch_norm(x[:, :, :1, :1], None, None, training=True), "2 values a channel"),
        (lambda x: ops.instance_norm(x[:, :, :1, :1]), "2 values a channel"),
        (lambda x: ops.instance_norm(x, weight=np.ones(3)), r"needs weight \(2,\): got \(3,\)"),
        (lambda x: nn.Conv2d(3, 4, 1, groups=2), "do not divide into 2 groups"),
        (lambda x: nn.GroupNorm(3, 4), "do not divide into 3 groups"),
        (lambda x: nn.BatchNorm1d(2)(tensor(x)), "2 or 3 axes"),
    ],
)
def test_a_call_that_makes_no_sense_is_refused_with_what_came_and_what_was_needed(call, message):
    with pytest.raises(ValueError, match=message):
        call(np.ones((1, 2, 4, 5)))


def test_dtypes_that_differ_and_integers_are_refused():
    with pytest.raises(TypeError, match="one dtype: got float32, float64"):
        ops.conv1d(np.ones((1, 2, 3)), np.ones((1, 2, 3), np.float32))
    with pytest.raises(TypeError, match=r"call .float\(\) first"):
        ops.max_pool1d(np.ones((1, 2, 3), int), 2)
