"""Our values and gradients beside PyTorch's where definitions leave room: kinks, ties, zeros, infinities, repeats."""

import numpy as np
import pytest

import tinygrad_ft as tg

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.reference

SIX = [0.0, -0.0, 1.0, -1.0, 1.0, 2.0]
MATRIX = [[0.0, 2.0, -1.0], [3.0, 0.5, -2.0]]


def indices(t, *numbers):
    return t.tensor(np.array(numbers))


CORNERS = {
    "where": lambda t, x: t.where(x > 0, x * 2, x * x),
    "maximum at a tie": lambda t, x: t.maximum(x, x.detach()),
    "minimum at a tie": lambda t, x: t.minimum(x, x.detach()),
    "fmax at a tie": lambda t, x: t.fmax(x, x.detach()),
    "relu": lambda t, x: t.relu(x),
    "abs": lambda t, x: t.abs(x),
    "sign": lambda t, x: t.sign(x),
    "clip": lambda t, x: t.clip(x, min=0.0, max=1.0),
    "x to the power 0": lambda t, x: x**0,
    "x to the power of zeros": lambda t, x: x ** (x.detach() * 0.0),
    "x squared": lambda t, x: x**2,
    "0 to the power x": lambda t, x: (x * 0.0).detach() ** (x + 5.0),
    "amax at a tie": lambda t, x: t.amax(x * 0.0, 0),
    "amin at a tie": lambda t, x: t.amin(x, 0),
    "max along an axis at a tie": lambda t, x: t.max(x * 0.0, 0).values,
    "min along an axis at a tie": lambda t, x: t.min(x * 0.0, 0).values,
    "max of all at a tie": lambda t, x: t.max(x * 0.0),
    "sort of equals": lambda t, x: t.sort(x, stable=True).values * t.cumsum(x.detach() * 0.0 + 1.0, 0),
    "sort of equals downwards": lambda t, x: (
        t.sort(x, descending=True, stable=True).values * t.cumsum(x.detach() * 0.0 + 1.0, 0)
    ),
    "topk at a tie": lambda t, x: t.topk(x * 0.0, 2).values,
    "median at a tie": lambda t, x: t.median(x),
    "median along an axis at a tie": lambda t, x: t.median(x * 0.0, 0).values,
    "prod with two zeros": lambda t, x: t.prod(x),
    "prod with one zero": lambda t, x: t.prod(x[1:]),
    "cumprod with two zeros": lambda t, x: t.cumprod(x, 0),
    "norm at 0": lambda t, x: t.linalg.norm(x[:2]),
    "norm of order 1 at 0": lambda t, x: t.linalg.vector_norm(x, 1),
    "norm of the largest at a tie": lambda t, x: t.linalg.vector_norm(x[:5], float("inf")),
    "std of equal numbers": lambda t, x: t.std(t.stack([x, x]), 0),
    "sigmoid": lambda t, x: t.sigmoid(x * 1000.0),
    "softmax": lambda t, x: t.softmax(x * 1000.0, 0),
    "softmax of nothing but -infinity": lambda t, x: t.softmax(t.where(x < 9, -np.inf, x), 0),
    "logsumexp": lambda t, x: t.logsumexp(x * 1000.0, 0),
    "logsumexp at infinity": lambda t, x: t.logsumexp(t.where(x > 1, np.inf, x), 0),
    "maximum at NaN": lambda t, x: t.maximum(x, x.detach() * np.nan),
    "minimum at NaN": lambda t, x: t.minimum(x, x.detach() * np.nan),
    "sinc at 0": lambda t, x: t.sinc(x),
    "atan2 at the origin": lambda t, x: t.atan2(x, x),
    "pairwise_distance of a point from itself": lambda t, x: t.nn.functional.pairwise_distance(x, x * 1.0, eps=0.0),
    "normalize at 0": lambda t, x: t.nn.functional.normalize(x[:2], dim=0),
    "pad": lambda t, x: t.nn.functional.pad(x, (1, 2), "constant", 3.0),
    "split": lambda t, x: t.split(x, 4)[1],
    "gather": lambda t, x: t.gather(x, 0, (x.detach() > 0).long()),
    "gather one place often": lambda t, x: t.gather(x * x, 0, indices(t, 5, 5, 2, 5)),
    "an index with repeats": lambda t, x: (x * x)[indices(t, 5, 5, 2, 5)],
    "index_select with repeats": lambda t, x: t.index_select(x * x, 0, indices(t, 5, 5, 2, 5)),
    "take with repeats": lambda t, x: t.take(x * x, indices(t, 5, 5, 2, 5)),
    "index_add to one place": lambda t, x: t.index_add(x, 0, indices(t, 1, 1, 1, 1, 1, 1), x * x),
    "embedding of one id often": lambda t, x: t.nn.functional.embedding(indices(t, 1, 1, 0, 1), t.stack([x, x * x])),
    "scatter_add to one place": lambda t, x: t.scatter_add(x, 0, indices(t, 1, 1, 1, 1, 1, 1), x * x),
    "x end to end with itself": lambda t, x: t.cat([x, x]) * t.cat([x * x, x]),
    "x on top of itself": lambda t, x: t.stack([x, x]) * t.stack([x * x, x]),
}

CORNERS_OF_A_MATRIX = {
    "permute by negative axes": lambda t, x: x.permute(-1, -2) * t.permute(x * x, (-1, 0)),
    "transpose by negative axes": lambda t, x: t.transpose(x, -1, -2) * t.transpose(x * x, -2, -1),
    "movedim by negative axes": lambda t, x: t.movedim(x * x, -1, -2) * t.movedim(x, 0, -1),
    "unsqueeze at a negative axis": lambda t, x: t.unsqueeze(x, -1) * t.unsqueeze(x, -2)[:, :, :1],
    "diagonal of a wide matrix": lambda t, x: t.diag(x * x),
    "diagonal of a tall matrix": lambda t, x: t.diag(t.transpose(x * x, 0, 1)),
    "diagonal beside that of a wide matrix": lambda t, x: t.diag(x * x, 1),
    "diagonal below that of a wide matrix": lambda t, x: t.diag(x * x, -1),
    "where with a row and a column": lambda t, x: t.where(x[:1] > 0, x[:, :1], x[0] * x[0]),
    "where with a number": lambda t, x: t.where(x > 0, x * x, 3.0),
    "where with a condition of one number": lambda t, x: t.where(x[0, 0] == 0, x * x, x[0]),
    "prod along an axis with a zero": lambda t, x: t.prod(x, 1),
    "max along an axis at a tie": lambda t, x: t.max(x * x.detach() * 0.0, 1).values,
    "median along an axis": lambda t, x: t.median(x, 1).values,
    "sum over negative axes": lambda t, x: t.sum(x * x, (-1, 0)),
    "pinv that keeps what is above atol": lambda t, x: t.linalg.pinv(x, atol=1.0),
    "pinv that leaves out what is below atol": lambda t, x: t.linalg.pinv(x, atol=3.0),
    "pinv that leaves out what is below atol or rtol": lambda t, x: t.linalg.pinv(x, atol=1e-3, rtol=0.9),
    "pinv by one atol a matrix": lambda t, x: t.linalg.pinv(t.stack([x, x]), atol=t.tensor(np.array([1.0, 3.0]))),
    "pinv of zeros with an atol": lambda t, x: t.linalg.pinv(x * 0.0, atol=1.0),
}

CASES = {
    **{name: (f, SIX) for name, f in CORNERS.items()},
    **{f"matrix: {name}": (f, MATRIX) for name, f in CORNERS_OF_A_MATRIX.items()},
}


def value_and_gradient(t, f, numbers):
    x = t.tensor(np.array(numbers))
    x.requires_grad_()
    y = f(t, x)
    weights = np.arange(1.0, 1.0 + y.numel()).reshape(tuple(y.shape))
    (y * t.tensor(weights)).sum().backward()
    return np.asarray(y.detach()), np.asarray(x.grad.detach())


@pytest.mark.parametrize(("f", "numbers"), CASES.values(), ids=CASES)
def test_corners_are_those_of_pytorch(f, numbers):
    for mine, theirs in zip(value_and_gradient(tg, f, numbers), value_and_gradient(torch, f, numbers), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-12)


CLEANER = {
    "log where it is not asked for": lambda t, x: t.where(x > 0, t.log(x), 0.0),
    "sqrt where it is not asked for": lambda t, x: t.where(x > 0, t.sqrt(x), 0.0),
    "a root where it is not asked for": lambda t, x: t.where(x > 0, x**0.5, 0.0),
    "a quotient where it is not asked for": lambda t, x: t.where(x != 0, 1.0 / x, 0.0),
    "acos where it is not asked for": lambda t, x: t.where(x < 1, t.acos(x), 0.0),
    "an overflow where it is not asked for": lambda t, x: t.where(x < 0, x * x, t.exp(x * 1000.0) * 0.0),
    "hypot at the origin": lambda t, x: t.hypot(x, x),
    "xlogy of 0 and 0": lambda t, x: t.xlogy(x.detach() * 0.0, x * x),
    "logsumexp of nothing but -infinity": lambda t, x: t.logsumexp(x - np.inf, 0),
}


@pytest.mark.parametrize("f", CLEANER.values(), ids=CLEANER)
def test_where_pytorch_has_nan_for_a_gradient_that_nobody_asks_for_ours_is_0(f):
    with np.errstate(all="ignore"):
        y, g = value_and_gradient(tg, f, SIX)
    z, h = value_and_gradient(torch, f, SIX)
    np.testing.assert_allclose(y, z, rtol=1e-9)
    assert np.isnan(h).any()
    np.testing.assert_allclose(g, np.where(np.isnan(h), 0.0, h), rtol=1e-9)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_cross_entropy_with_weights_smoothing_and_ignored_examples_is_that_of_pytorch(
    reduction, weighted, label_smoothing, rng
):
    logits, weight, target = rng.standard_normal((4, 3, 2)), rng.uniform(0.5, 2.0, 3), rng.integers(0, 3, (4, 2))
    target[0] = -100

    def loss(t, x):
        return t.nn.functional.cross_entropy(
            x,
            t.tensor(target),
            t.tensor(weight) if weighted else None,
            reduction=reduction,
            label_smoothing=label_smoothing,
        )

    test_corners_are_those_of_pytorch(loss, logits)


@pytest.mark.parametrize("fault", [lambda y: y * (1 + 1e-8), lambda y: y.detach() * 2 - y])
def test_a_value_or_a_gradient_that_is_off_is_caught(fault):
    with pytest.raises(AssertionError):
        test_corners_are_those_of_pytorch(lambda t, x: t.tanh(x) if t is tg else fault(t.tanh(x)), [0.5, 2.0])
