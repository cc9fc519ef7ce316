"""Optimisers and schedulers against PyTorch's own, step by step in float64."""

import numpy as np
import pytest

from tinygrad_ft import optim
from tinygrad_ft.tensor import tensor

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.reference

STEPS = 20

OPTIONS = [
    ("SGD", {}),
    ("SGD", {"lr": 0.05}),
    ("SGD", {"lr": 0.05, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.05, "momentum": 0.9}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "dampening": 0.4}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "dampening": 0.4, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
    ("SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    *[
        (name, options)
        for name in ("Adam", "AdamW")
        for options in (
            {},
            {"lr": 0.05},
            {"lr": 0.05, "betas": (0.5, 0.7)},
            {"lr": 0.05, "eps": 0.1},
            {"lr": 0.05, "weight_decay": 0.0},
            {"lr": 0.05, "weight_decay": 0.3},
        )
    ],
    ("RMSprop", {}),
    ("RMSprop", {"lr": 0.05, "alpha": 0.7}),
    ("RMSprop", {"lr": 0.05, "eps": 0.1}),
    ("RMSprop", {"lr": 0.05, "weight_decay": 0.3}),
    ("RMSprop", {"lr": 0.05, "momentum": 0.9}),
    ("RMSprop", {"lr": 0.05, "centered": True}),
    ("RMSprop", {"lr": 0.05, "centered": True, "momentum": 0.9, "weight_decay": 0.3}),
]

SCHEDULERS = [
    ("LambdaLR", {"lr_lambda": lambda epoch: 0.95**epoch}),
    ("LambdaLR", {"lr_lambda": [lambda epoch: 1 / (epoch + 1), lambda epoch: epoch / 10]}),
    ("StepLR", {"step_size": 3}),
    ("StepLR", {"step_size": 4, "gamma": 0.5}),
    ("LinearLR", {}),
    ("LinearLR", {"start_factor": 1.0, "end_factor": 0.1, "total_iters": 12}),
    ("CosineAnnealingLR", {"T_max": 20}),
    ("CosineAnnealingLR", {"T_max": 7, "eta_min": 0.001}),
]


def net(x, w1, b1, w2):
    """A small net with a square loss, in the operations that both libraries have."""
    return ((((x @ w1 + b1).tanh()) @ w2) ** 2).mean()


def same_start(rng, dtype=np.float64):
    x, start = rng.standard_normal((8, 3)), [rng.standard_normal(shape) for shape in [(3, 5), (5,), (5, 1)]]
    ours = [tensor(a.astype(dtype), requires_grad=True) for a in start]
    theirs = [torch.tensor(a.astype(dtype), requires_grad=True) for a in start]
    return (tensor(x.astype(dtype)), torch.tensor(x.astype(dtype))), ours, theirs


def grouped(params, **options):
    """The weights in one group and the bias in another with a rate of its own."""
    return [{"params": [params[0], params[2]]}, {"params": [params[1]], **options}]


def compare(ours, theirs, tolerance):
    """Relative to the largest element: one near 0 is what is left of a sum, with the rounding of its terms."""
    for p, q in zip(ours, theirs, strict=True):
        expected = q.detach().numpy()
        np.testing.assert_allclose(p.array, expected, rtol=0, atol=tolerance * np.abs(expected).max())


@pytest.mark.parametrize(("name", "options"), OPTIONS)
def test_twenty_steps_are_pytorchs(name, options, rng):
    (x, xt), ours, theirs = same_start(rng)
    mine, other = getattr(optim, name)(ours, **options), getattr(torch.optim, name)(theirs, **options)
    for _ in range(STEPS):
        for data, params, optimiser in ((x, ours, mine), (xt, theirs, other)):
            optimiser.zero_grad()
            net(data, *params).backward()
            optimiser.step()
        compare(ours, theirs, 1e-12)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop"])
def test_two_groups_and_a_parameter_that_is_sometimes_unused_are_pytorchs(name, rng):
    (x, xt), ours, theirs = same_start(rng)
    mine = getattr(optim, name)(grouped(ours, lr=0.2, weight_decay=0.1), lr=0.02)
    other = getattr(torch.optim, name)(grouped(theirs, lr=0.2, weight_decay=0.1), lr=0.02)
    for step in range(STEPS):
        for data, params, optimiser in ((x, ours, mine), (xt, theirs, other)):
            optimiser.zero_grad()
            net(data, *params).backward()
            if step % 3 == 0:
                params[1].grad = None
            optimiser.step()
    compare(ours, theirs, 1e-12)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop"])
def test_in_float32_the_steps_are_pytorchs_to_its_rounding(name, rng):
    (x, xt), ours, theirs = same_start(rng, np.float32)
    mine, other = getattr(optim, name)(ours, lr=0.01), getattr(torch.optim, name)(theirs, lr=0.01)
    for _ in range(STEPS):
        for data, params, optimiser in ((x, ours, mine), (xt, theirs, other)):
            optimiser.zero_grad()
            net(data, *params).backward()
            optimiser.step()
    for p, q in zip(ours, theirs, strict=True):
        assert p.dtype == np.float32
        np.testing.assert_allclose(p.array, q.detach().numpy(), rtol=1e-4, atol=1e-5)


def test_a_difference_in_one_option_is_caught(rng):
    (x, xt), ours, theirs = same_start(rng)
    mine, other = optim.Adam(ours, lr=0.05), torch.optim.Adam(theirs, lr=0.05, eps=2e-8)
    for data, params, optimiser in ((x, ours, mine), (xt, theirs, other)):
        net(data, *params).backward()
        optimiser.step()
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        compare(ours, theirs, 1e-12)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop"])
def test_arguments_by_position_and_defaults_are_pytorchs(name):
    p, q = tensor(np.ones(1), requires_grad=True), torch.ones(1, requires_grad=True)
    options = getattr(optim, name)([p]).defaults
    other = getattr(torch.optim, name)([q]).defaults
    assert options == {option: other[option] for option in options}
    by_position = {"SGD": (0.1, 0.9, 0.0, 0.3, True), "RMSprop": (0.1, 0.9, 1e-3, 0.2, 0.8, True)}
    given = by_position.get(name, (0.1, (0.8, 0.9), 1e-3, 0.2))
    options = getattr(optim, name)([p], *given).defaults
    other = getattr(torch.optim, name)([q], *given).defaults
    assert options == {option: other[option] for option in options}
    assert set(given) <= set(options.values())


@pytest.mark.parametrize(("name", "options"), SCHEDULERS)
def test_a_schedule_is_pytorchs_step_by_step(name, options, rng):
    _, ours, theirs = same_start(rng)
    mine, other = optim.SGD(grouped(ours, lr=0.3), lr=0.1), torch.optim.SGD(grouped(theirs, lr=0.3), lr=0.1)
    schedule = getattr(optim.lr_scheduler, name)(mine, **options)
    expected = getattr(torch.optim.lr_scheduler, name)(other, **options)
    for _ in range(2 * STEPS):
        # PyTorch goes from each rate to the next, so its rounding adds up: near a rate of 0 only the absolute counts.
        assert schedule.get_last_lr() == pytest.approx(expected.get_last_lr(), rel=1e-12, abs=1e-15)
        assert [g["lr"] for g in mine.param_groups] == schedule.get_last_lr()
        other.step()
        expected.step()
        schedule.step()
