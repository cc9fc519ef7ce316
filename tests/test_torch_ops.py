"""Value and gradient of each op and composed function that PyTorch has too, on the samples of gradcheck, in float64."""

from functools import partial

import numpy as np
import pytest

import tinygrad_ft as tg
from tinygrad_ft import autograd, ops
from tinygrad_ft.engine import OPS
from tinygrad_ft.gradcheck import SAMPLES
from tinygrad_ft.ops.composed import COMPOSED
from tinygrad_ft.ops.index import HERE
from tinygrad_ft.tensor import Tensor

torch = pytest.importorskip("torch")
F = torch.nn.functional
pytestmark = pytest.mark.reference


def filled(key, indices):
    rest = iter(indices)
    return tuple(next(rest) if k is HERE else k for k in key)


def getitem(x, *indices, key):
    """As x[key]; torch slices in positive steps only, so a negative one becomes a list of places."""
    axis, places = 0, list(filled(key, indices))
    for i, k in enumerate(places):
        if isinstance(k, slice) and (k.step or 1) < 0:
            axis = i - len(places) + x.ndim
            places[i] = torch.tensor(range(*k.indices(x.shape[axis])))
    return x[tuple(places)]


def put(g, *indices, key, shape):
    y = torch.zeros(shape, dtype=g.dtype)
    place = torch.arange(y.numel()).reshape(shape)[filled(key, indices)]
    return y.reshape(-1).index_add(0, place.reshape(-1), g.reshape(-1)).reshape(shape)


def reduction(f):
    return lambda x, axis=None, keepdims=False, **params: f(x, dim=axis, keepdim=keepdims, **params)


def whole_or_along(f, dims):
    """For functions of torch that want their axes by name: all of them where ours says None."""
    return lambda x, axis=None, keepdims=False: f(x, dim=dims(x) if axis is None else axis, keepdim=keepdims)


def all_axes(x):
    return tuple(range(x.ndim))


TORCH = {
    **{name: getattr(torch, name) for name in ["add", "sub", "mul", "div", "pow", "maximum", "minimum", "where"]},
    **{name: getattr(torch, name) for name in ["neg", "exp", "log", "sqrt", "sin", "cos", "tanh", "sigmoid", "relu"]},
    **{name: getattr(torch, name) for name in ["erf", "abs", "sign", "clone"]},
    **{name: getattr(F, name) for name in ["softplus", "gelu", "mse_loss", "cross_entropy", "binary_cross_entropy"]},
    **{name: getattr(F, name) for name in ["linear", "scaled_dot_product_attention"]},
    "layer_norm": lambda x, shape, *rest: F.layer_norm(x, (shape,) if isinstance(shape, int) else shape, *rest),
    "clip": torch.clip,
    "sum": reduction(torch.sum),
    "mean": reduction(torch.mean),
    "var": reduction(torch.var),
    "std": reduction(torch.std),
    "amax": whole_or_along(torch.amax, all_axes),
    "amin": whole_or_along(torch.amin, all_axes),
    "max": reduction(torch.max),
    "min": reduction(torch.min),
    "logsumexp": whole_or_along(torch.logsumexp, all_axes),
    "softmax": lambda x, axis=-1: torch.softmax(x, axis),
    "log_softmax": lambda x, axis=-1: torch.log_softmax(x, axis),
    "expand": lambda x, shape: x.expand(shape),
    "broadcast_to": lambda x, shape: x.expand(shape),
    "sum_to": lambda x, shape: x.sum_to_size(shape),
    "reshape": lambda x, shape: x.reshape(shape),
    "permute": lambda x, axes: x.permute(axes),
    "transpose": lambda x, axis0=-2, axis1=-1: x.transpose(axis0, axis1),
    "squeeze": lambda x, *axis: x.squeeze(*axis),
    "unsqueeze": torch.unsqueeze,
    "flatten": torch.flatten,
    "getitem": getitem,
    "put": put,
    "gather": torch.gather,
    "take_along_axis": torch.take_along_dim,
    "put_along_axis": lambda g, index, axis, shape: torch.zeros(shape, dtype=g.dtype).scatter_add(axis, index, g),
    "concatenate": lambda *xs, axis=0: torch.cat(xs, axis),
    "cat": torch.cat,
    "stack": torch.stack,
    "split": torch.split,
    "stretches": lambda x, sizes, axis=0: torch.split(x, sizes, axis),
    "pad_constant": lambda x, widths, value=0.0: F.pad(x, [n for pair in reversed(widths) for n in pair], value=value),
    "pad": F.pad,
    "matmul": torch.matmul,
    "embedding": lambda ids, weight: F.embedding(ids, weight),
    "sum_rows": lambda g, ids, rows: torch.zeros(rows, g.shape[-1], dtype=g.dtype).index_add(
        0, ids.reshape(-1), g.reshape(-1, g.shape[-1])
    ),
    "bce_of_chances": lambda x, t: F.binary_cross_entropy(x, t, reduction="none"),
    "binary_cross_entropy_with_logits": F.binary_cross_entropy_with_logits,
}
WITHOUT_NAMESAKE = {
    "over",  # div, times and softmax_grad are halves of rules, told apart by what a zero cotangent meets
    "times",
    "softmax_grad",
    "gelu_slope",
    "normalise",  # inside layer_norm
    "attention",  # inside scaled_dot_product_attention
    "dropout",  # torch draws other numbers
    "summed_cross_entropy",  # inside cross_entropy
}
WITHOUT_A_GRADIENT_THERE = {  # arguments for which torch refuses one
    "cross_entropy": {2},
    "binary_cross_entropy": {2},
    "binary_cross_entropy_with_logits": {"pos_weight"},
}


def mapped(f, x):
    """x with f applied to its arrays, also those inside tuples and dicts."""
    if isinstance(x, dict):
        return {name: mapped(f, part) for name, part in x.items()}
    if isinstance(x, tuple):
        return tuple(mapped(f, part) for part in x)
    return f(x) if isinstance(x, np.ndarray) else x


def as_tuple(y):
    return tuple(y) if isinstance(y, tuple | list) else (y,)


def test_every_op_with_samples_is_compared_or_declared_to_have_no_namesake():
    assert set(TORCH) | WITHOUT_NAMESAKE == set(SAMPLES)
    assert not set(TORCH) & WITHOUT_NAMESAKE


@pytest.mark.parametrize("name", TORCH)
def test_value_and_gradient_are_those_of_pytorch(name):
    compare(name, TORCH[name])


def compare(name, theirs):
    for sample in SAMPLES[name](np.random.default_rng(0)):
        xs, their_xs = [], []

        def own(a, xs=xs):
            if a.dtype.kind != "f":
                return a
            xs.append(Tensor(a).requires_grad_())
            return xs[-1]

        def other(a, place, xs=their_xs):
            a = torch.from_numpy(np.array(a))
            if not a.is_floating_point():
                return a
            xs.append(a.requires_grad_(place not in WITHOUT_A_GRADIENT_THERE.get(name, ())))
            return xs[-1]

        ys = as_tuple((OPS.get(name) or COMPOSED[name])(*mapped(own, sample.arrays), **mapped(own, sample.params)))
        their_args = [mapped(partial(other, place=i), a) for i, a in enumerate(sample.arrays)]
        their_params = {key: mapped(partial(other, place=key), a) for key, a in sample.params.items()}
        their_ys = as_tuple(theirs(*their_args, **their_params))
        assert len(ys) == len(their_ys)
        for y, z in zip(ys, their_ys, strict=True):
            assert y.shape == tuple(z.shape)
            np.testing.assert_allclose(y.array, z.detach().numpy(), rtol=1e-9, atol=1e-12)
        rng = np.random.default_rng(1)
        us = [rng.standard_normal(y.shape) for y in ys if y.requires_grad]
        gs = autograd.grad([y for y in ys if y.requires_grad], xs, us, allow_unused=True)
        wanted = [x for x in their_xs if x.requires_grad]
        their_gs = iter(
            torch.autograd.grad(
                [z for z in their_ys if z.requires_grad], wanted, [torch.from_numpy(u) for u in us], allow_unused=True
            )
        )
        for g, x in zip(gs, their_xs, strict=True):
            if x.requires_grad:
                h = next(their_gs)
                np.testing.assert_allclose(
                    np.zeros(x.shape) if g is None else g.array,
                    np.zeros(x.shape) if h is None else h.numpy(),
                    rtol=1e-9,
                    atol=1e-12,
                )


@pytest.mark.parametrize("fault", [lambda y: y * (1 + 1e-8), lambda y: y.detach() * 2 - y])
def test_a_value_or_a_gradient_that_is_off_is_caught(fault):
    with pytest.raises(AssertionError):
        compare("tanh", lambda x: fault(torch.tanh(x)))


CORNERS = {
    "where": lambda t, x: t.where(x > 0, x * 2, x * x),
    "maximum at a tie": lambda t, x: t.maximum(x, x.detach()),
    "minimum at a tie": lambda t, x: t.minimum(x, x.detach()),
    "relu": lambda t, x: t.relu(x),
    "abs": lambda t, x: t.abs(x),
    "sign": lambda t, x: t.sign(x),
    "clip": lambda t, x: t.clip(x, min=0.0, max=1.0),
    "x to the power 0": lambda t, x: x**0,
    "x squared": lambda t, x: x**2,
    "0 to the power x": lambda t, x: (x * 0.0).detach() ** (x + 5.0),
    "amax at a tie": lambda t, x: t.amax(x * 0.0, 0),
    "sigmoid": lambda t, x: t.sigmoid(x * 1000.0),
    "softmax": lambda t, x: t.softmax(x * 1000.0, 0),
    "logsumexp": lambda t, x: t.logsumexp(x * 1000.0, 0),
    "logsumexp at infinity": lambda t, x: t.logsumexp(t.where(x > 1, np.inf, x), 0),
    "maximum at NaN": lambda t, x: t.maximum(x, x.detach() * np.nan),
    "minimum at NaN": lambda t, x: t.minimum(x, x.detach() * np.nan),
    "std of equal numbers": lambda t, x: t.std(t.stack([x, x]), 0),
    "softmax of nothing but -infinity": lambda t, x: t.softmax(t.where(x < 9, -np.inf, x), 0),
    "pad": lambda t, x: (ops if t is ops else F).pad(x, (1, 2), "constant", 3.0),
    "split": lambda t, x: t.split(x, 4)[1],
    "gather": lambda t, x: t.gather(x, 0, (x.detach() > 0).long()),
}


@pytest.mark.parametrize("f", CORNERS.values(), ids=CORNERS)
def test_corners_are_those_of_pytorch(f):
    a = np.array([0.0, -0.0, 1.0, -1.0, 1.0, 2.0])
    x, z = Tensor(a).requires_grad_(), torch.tensor(a, requires_grad=True)
    y, w = f(ops, x), f(torch, z)
    np.testing.assert_allclose(y.array, w.detach().numpy(), rtol=1e-9)
    y.sum().backward()
    w.sum().backward()
    np.testing.assert_allclose(x.grad.array, z.grad.numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_cross_entropy_with_weights_smoothing_and_ignored_examples_is_that_of_pytorch(
    reduction, weighted, label_smoothing, rng
):
    logits, weight, target = rng.standard_normal((4, 3, 2)), rng.uniform(0.5, 2.0, 3), rng.integers(0, 3, (4, 2))
    target[0] = -100
    x, z = Tensor(logits).requires_grad_(), torch.tensor(logits, requires_grad=True)
    settings = {"reduction": reduction, "label_smoothing": label_smoothing}
    y = ops.cross_entropy(x, target, Tensor(weight) if weighted else None, **settings)
    w = F.cross_entropy(z, torch.tensor(target), torch.tensor(weight) if weighted else None, **settings)
    np.testing.assert_allclose(y.array, w.detach().numpy(), rtol=1e-9)
    y.sum().backward()
    w.sum().backward()
    np.testing.assert_allclose(x.grad.array, z.grad.numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "f",
    [
        lambda m, x: sum((part * part * part * part).sum() for part in m.linalg.eigh(x + x.mT)),
        lambda m, x: sum((part * part * part * part).sum() for part in m.linalg.svd(x[:, :2], full_matrices=False)),
        lambda m, x: (m.linalg.pinv(x + x.mT, hermitian=True) * x).sum(),
        lambda m, x: (m.cholesky_solve(x, m.linalg.cholesky(x @ x.mT)) * x).sum(),
    ],
    ids=["eigh", "svd", "pinv", "cholesky_solve"],
)
def test_whatever_sign_that_a_factor_is_free_to_have_functions_of_symmetric_matrices_agree_to_second_order(f):
    numbers = np.random.default_rng(0).standard_normal((4, 4))
    mine, theirs = tg.tensor(numbers, requires_grad=True), torch.tensor(numbers, requires_grad=True)
    (g,) = tg.autograd.grad(f(tg, mine), [mine], create_graph=True)
    (h,) = torch.autograd.grad(f(torch, theirs), [theirs], create_graph=True)
    np.testing.assert_allclose(g.array, h.detach().numpy(), rtol=1e-9, atol=1e-9)
    (g,), (h,) = tg.autograd.grad((g * g).sum(), [mine]), torch.autograd.grad((h * h).sum(), [theirs])
    np.testing.assert_allclose(g.array, h.numpy(), rtol=1e-8, atol=1e-8)
