"""The layers of convolutional nets beside PyTorch's: initial values, state, answers, gradients, training."""

import numpy as np
import pytest

import tinygrad_ft as tg
from tinygrad_ft import nn

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.reference

IMAGE, ROW = (2, 4, 6, 5), (2, 4, 7)
LAYERS = [
    ("Conv1d", (4, 6, 3), {"stride": 2, "padding": 1, "groups": 2}, ROW),
    ("Conv1d", (4, 6, 3), {"padding": "same", "dilation": 2, "bias": False}, ROW),
    ("Conv2d", (4, 6, (3, 2)), {"stride": (2, 1), "padding": (1, 0), "dilation": (1, 2), "groups": 2}, IMAGE),
    ("Conv2d", (4, 3, 1), {"bias": False}, IMAGE),
    ("ConvTranspose2d", (4, 6, 3, 2, 1, 1, 2), {}, IMAGE),
    ("ConvTranspose2d", (4, 6, (2, 3)), {"dilation": 2, "bias": False}, IMAGE),
    ("MaxPool2d", (3, 2, 1), {"ceil_mode": True}, IMAGE),
    ("AvgPool2d", ((3, 2),), {"padding": 1, "count_include_pad": False}, IMAGE),
    ("AdaptiveAvgPool2d", ((4, None),), {}, IMAGE),
    ("AdaptiveAvgPool2d", (1,), {}, IMAGE),
    ("Flatten", (), {}, IMAGE),
    ("BatchNorm1d", (4,), {}, (5, 4)),
    ("BatchNorm1d", (4,), {"momentum": None, "eps": 1e-2}, ROW),
    ("BatchNorm2d", (4,), {"momentum": 0.3}, IMAGE),
    ("BatchNorm2d", (4,), {"affine": False, "track_running_stats": False}, IMAGE),
    ("GroupNorm", (2, 4), {}, IMAGE),
    ("RMSNorm", (5,), {}, IMAGE),
    ("RMSNorm", ((6, 5),), {"eps": 1e-2, "elementwise_affine": False}, IMAGE),
]
NAMED = pytest.mark.parametrize(
    ("name", "args", "params", "shape"), LAYERS, ids=[f"{i}-{row[0]}" for i, row in enumerate(LAYERS)]
)


def both(name, args, params):
    """Our layer and PyTorch's, in float64, with the same random state."""
    ours, theirs = getattr(nn, name)(*args, **params).to("float64"), getattr(torch.nn, name)(*args, **params).double()
    torch.manual_seed(0)
    for p in theirs.parameters():
        torch.nn.init.normal_(p)
    loaded = ours.load_state_dict({k: v.detach().numpy() for k, v in theirs.state_dict().items()})
    assert loaded == ([], [])
    return ours, theirs


def assert_close(ours, theirs):
    theirs = theirs.detach().numpy()
    assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
    np.testing.assert_allclose(ours.array, theirs, rtol=1e-10, atol=1e-10)


def assert_same_state(ours, theirs):
    state = ours.state_dict()
    assert state.keys() == theirs.state_dict().keys()
    for key, t in theirs.state_dict().items():
        assert_close(state[key], t)


def assert_agree(ours, theirs, a, rng):
    """The same answer, gradients and state after it."""
    x, t = tg.tensor(a, requires_grad=True), torch.tensor(a, requires_grad=True)
    y, z = ours(x), theirs(t)
    assert_close(y, z)
    g = rng.standard_normal(y.shape)
    y.backward(tg.tensor(g))
    z.backward(torch.tensor(g))
    assert_close(x.grad, t.grad)
    for (key, p), (other, q) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        assert key == other
        assert_close(p.grad, q.grad)
    assert_same_state(ours, theirs)


@NAMED
def test_a_layer_answers_as_pytorchs_does_in_training_and_then_in_use(name, args, params, shape, rng):
    ours, theirs = both(name, args, params)
    for training in (True, True, False):
        ours.train(training)
        theirs.train(training)
        assert_agree(ours, theirs, rng.standard_normal(shape), rng)


@NAMED
def test_a_layer_starts_in_the_state_of_pytorchs_or_within_the_same_bounds(name, args, params, shape):
    ours, theirs = (getattr(home, name)(*args, **params) for home in (nn, torch.nn))
    state = ours.state_dict()
    assert state.keys() == theirs.state_dict().keys()
    for key, t in theirs.state_dict().items():
        mine, t = state[key].array, t.numpy()
        assert mine.shape == t.shape and mine.dtype == t.dtype
        if name.startswith("Conv"):
            bound = np.prod(theirs.weight.shape[1:]) ** -0.5
            assert np.abs(mine).max() <= bound and np.abs(t).max() <= bound
            assert mine.size < 40 or np.abs(mine).max() > 0.8 * bound
        else:
            assert np.array_equal(mine, t)


def test_a_small_net_trains_as_pytorchs_does(rng):
    def net(home):
        return home.Sequential(
            home.Conv2d(1, 4, 3, padding=1),
            home.BatchNorm2d(4),
            home.ReLU(),
            home.MaxPool2d(2),
            home.Conv2d(4, 6, 3, stride=2),
            home.GroupNorm(2, 6),
            home.GELU(),
            home.AdaptiveAvgPool2d(1),
            home.Flatten(),
            home.Linear(6, 3),
        )

    theirs = net(torch.nn).double()
    ours = net(nn).to("float64")
    ours.load_state_dict({k: v.detach().numpy() for k, v in theirs.state_dict().items()})
    step, their_step = tg.optim.SGD(ours.parameters(), lr=0.1), torch.optim.SGD(theirs.parameters(), lr=0.1)
    for _ in range(10):
        x, labels = rng.standard_normal((8, 1, 12, 12)), rng.integers(0, 3, 8)
        loss = nn.functional.cross_entropy(ours(tg.tensor(x)), tg.tensor(labels))
        their_loss = torch.nn.functional.cross_entropy(theirs(torch.tensor(x)), torch.tensor(labels))
        assert loss.item() == pytest.approx(their_loss.item(), rel=1e-9)
        for optimiser, total in ((step, loss), (their_step, their_loss)):
            optimiser.zero_grad()
            total.backward()
            optimiser.step()
    assert_same_state(ours.eval(), theirs)


def test_a_layer_that_differs_is_seen(rng):
    ours, theirs = both("Conv2d", (4, 6, 3), {})
    ours.padding = 1
    with pytest.raises(AssertionError):
        assert_agree(ours, theirs, rng.standard_normal(IMAGE), rng)


def test_a_running_mean_that_differs_is_seen(rng):
    ours, theirs = both("BatchNorm2d", (4,), {})
    ours.momentum = 0.1001
    with pytest.raises(AssertionError):
        assert_agree(ours, theirs, rng.standard_normal(IMAGE), rng)


def derivatives(functional, grad, a, eps):
    """Value of RMS norm, its first derivatives by x and weight and their second ones, summed by random weights."""
    x, w, *ways = a
    y = functional.rms_norm(x, (x.shape[-1],), w, eps)
    loss = (y * ways[0]).sum()
    plain = grad(loss, (x, w), retain_graph=True)  # by a kernel, as a graph of the derivative is not wanted
    first = grad(loss, (x, w), create_graph=True)
    return [y, *plain, *first, *grad((first[0] * ways[1]).sum() + (first[1] * ways[2]).sum(), (x, w))]


def assert_rms_norm_agrees(dtype, eps, our_eps, tolerance, rng):
    arrays = [rng.standard_normal(s).astype(dtype) for s in [(130, 48), (48,), (130, 48), (130, 48), (48,)]]
    ours = derivatives(nn.functional, tg.autograd.grad, [tg.tensor(a, requires_grad=True) for a in arrays], our_eps)
    leaves = [torch.tensor(a, requires_grad=True) for a in arrays]
    theirs = derivatives(torch.nn.functional, torch.autograd.grad, leaves, eps)
    for mine, other in zip(ours, theirs, strict=True):
        other = other.numpy(force=True)
        assert mine.array.dtype == other.dtype
        np.testing.assert_allclose(mine.array, other, rtol=0, atol=tolerance * abs(other).max())


@pytest.mark.parametrize("eps", [None, 1e-2])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 2e-6), (np.float64, 1e-13)])
def test_rms_norm_of_many_rows_agrees_with_pytorchs_and_another_eps_is_seen(dtype, eps, tolerance, rng):
    assert_rms_norm_agrees(dtype, eps, eps, tolerance, rng)
    with pytest.raises(AssertionError):
        assert_rms_norm_agrees(dtype, eps, 1.1e-2, tolerance, rng)
