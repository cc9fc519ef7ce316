"""Optimisers and schedules: each rule against itself written out for one number, and the laws they obey."""

import json
import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_ft import ops
from tinygrad_ft.optim import SGD, Adam, AdamW, Optimizer, RMSprop, lr_scheduler
from tinygrad_ft.optim.lr_scheduler import (
    CosineAnnealingLR,
    LambdaLR,
    LinearLR,
    LRScheduler,
    StepLR,
    linear,
    step_decay,
    warmup_cosine,
)
from tinygrad_ft.tensor import Tensor, tensor

# --- the rules, for one number in plain Python; each answers with a function from gradient to next parameter --------


def plain_sgd(p, lr, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False):
    m = None

    def step(g):
        nonlocal p, m
        g += weight_decay * p
        if momentum:
            m = g if m is None else momentum * m + (1 - dampening) * g
            g = g + momentum * m if nesterov else m
        p -= lr * g
        return p

    return step


def plain_adam(p, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, decoupled=False):
    (beta1, beta2), m, v, t = betas, 0.0, 0.0, 0

    def step(g):
        nonlocal p, m, v, t
        t += 1
        if decoupled:
            p -= lr * weight_decay * p
        else:
            g += weight_decay * p
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g * g
        p -= lr * (m / (1 - beta1**t)) / (math.sqrt(v / (1 - beta2**t)) + eps)
        return p

    return step


def plain_rmsprop(p, lr, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0, centered=False):
    v = mean = m = 0.0

    def step(g):
        nonlocal p, v, mean, m
        g += weight_decay * p
        v = alpha * v + (1 - alpha) * g * g
        mean = alpha * mean + (1 - alpha) * g
        m = momentum * m + g / (math.sqrt(v - mean**2 if centered else v) + eps)
        p -= lr * m
        return p

    return step


RULES = [
    (SGD, plain_sgd, {"lr": 0.1}),
    (SGD, plain_sgd, {"lr": 0.1, "weight_decay": 0.1}),
    (SGD, plain_sgd, {"lr": 0.1, "momentum": 0.9}),
    (SGD, plain_sgd, {"lr": 0.1, "momentum": 0.9, "dampening": 0.3}),
    (SGD, plain_sgd, {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    (SGD, plain_sgd, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    (SGD, plain_sgd, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    (Adam, plain_adam, {"lr": 0.1}),
    (Adam, plain_adam, {"lr": 0.1, "betas": (0.5, 0.8), "eps": 0.1}),
    (Adam, plain_adam, {"lr": 0.1, "betas": (0.0, 0.0)}),
    (Adam, plain_adam, {"lr": 0.1, "weight_decay": 0.3}),
    (AdamW, partial(plain_adam, decoupled=True), {"lr": 0.1, "weight_decay": 0.3}),
    (AdamW, partial(plain_adam, decoupled=True, weight_decay=0.01), {"lr": 0.1}),
    (RMSprop, plain_rmsprop, {"lr": 0.1}),
    (RMSprop, plain_rmsprop, {"lr": 0.1, "alpha": 0.5, "eps": 0.1, "weight_decay": 0.1}),
    (RMSprop, plain_rmsprop, {"lr": 0.1, "momentum": 0.9}),
    (RMSprop, plain_rmsprop, {"lr": 0.1, "centered": True}),
    (RMSprop, plain_rmsprop, {"lr": 0.1, "centered": True, "momentum": 0.9, "weight_decay": 0.1}),
]
OPTIMISERS = [SGD, partial(SGD, momentum=0.9), Adam, AdamW, RMSprop, partial(RMSprop, momentum=0.9, centered=True)]
GRADIENTS = [3.0, -1.0, 0.5, 0.0, -2.0, 4.0, 1e-3]


def leaf(*numbers, dtype=np.float64):
    return tensor(np.array(numbers, dtype), requires_grad=True)


def give(p, g):
    p.grad = Tensor(np.broadcast_to(np.asarray(g, p.dtype), p.shape).copy())


def quadratic(*params):
    """sum of i x^2 over all elements x of parameter i, counted from 1."""
    return sum(((i + 1) * p * p).sum() for i, p in enumerate(params))


def train(optimiser, params, steps):
    for _ in range(steps):
        optimiser.zero_grad()
        quadratic(*params).backward()
        optimiser.step()


def mismatch(optimiser_class, plain, options):
    """The largest difference between a class and a rule over the steps, from parameter 2."""
    p = leaf(2.0)
    optimiser, step, worst = optimiser_class([p], **options), plain(2.0, **options), 0.0
    for g in GRADIENTS:
        give(p, g)
        optimiser.step()
        worst = max(worst, abs(p.item() - step(g)))
    return worst


@pytest.mark.parametrize(("optimiser_class", "plain", "options"), RULES)
def test_each_step_is_the_rule_written_out(optimiser_class, plain, options):
    assert mismatch(optimiser_class, plain, options) < 1e-13


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(lambda m, v, b1, b2, t, eps: m / (math.sqrt(1 - b2**t) * (1 - b1**t)), id="no v in the step"),
        pytest.param(lambda m, v, b1, b2, t, eps: m / (math.sqrt(v) + eps), id="no correction of the start at 0"),
        pytest.param(
            lambda m, v, b1, b2, t, eps: (m / (1 - b1**t)) / math.sqrt(v / (1 - b2**t) + eps), id="eps under the root"
        ),
    ],
)
def test_a_wrong_adam_is_caught(wrong):
    def plain(p, lr, betas, eps):
        (b1, b2), m, v, t = betas, 0.0, 0.0, 0

        def step(g):
            nonlocal p, m, v, t
            t += 1
            m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
            p -= lr * wrong(m, v, b1, b2, t, eps)
            return p

        return step

    assert mismatch(Adam, plain, {"lr": 0.1, "betas": (0.9, 0.999), "eps": 1e-3}) > 1e-6


@pytest.mark.parametrize("damped", ["first gradient damped", "lr inside the momentum"])
def test_a_wrong_momentum_is_caught(damped):
    def plain(p, lr, momentum, dampening):
        m, inside = 0.0, damped == "lr inside the momentum"

        def step(g):
            nonlocal p, m
            m = momentum * m + (1 - dampening) * g * (lr if inside else 1)
            p -= m * (1 if inside else lr)
            return p

        return step

    assert mismatch(SGD, plain, {"lr": 0.1, "momentum": 0.9, "dampening": 0.3}) > 1e-3


# --- laws ------------------------------------------------------------------------------------------------------------


numbers = st.floats(-10, 10).filter(lambda x: x == 0 or abs(x) > 1e-3)


@given(p=numbers, gradients=st.lists(numbers, min_size=1, max_size=5))
def test_without_weight_decay_adamw_is_adam(p, gradients):
    a, b = leaf(p), leaf(p)
    first, second = Adam([a], lr=0.1), AdamW([b], lr=0.1, weight_decay=0.0)
    for g in gradients:
        give(a, g)
        give(b, g)
        first.step()
        second.step()
    assert a.item() == b.item()


@given(p=numbers, g=numbers, lr=st.floats(0, 1))
def test_sgd_without_options_is_one_subtraction(p, g, lr):
    x = leaf(p)
    give(x, g)
    SGD([x], lr=lr).step()
    assert x.item() == p - lr * g


@given(g=st.floats(-1e6, 1e6), lr=st.floats(1e-6, 1))
def test_the_first_step_of_adam_is_bounded_by_lr_whatever_the_gradient(g, lr):
    x = leaf(0.0)
    give(x, g)
    Adam([x], lr=lr).step()
    assert abs(x.item()) <= lr * (1 + 1e-12)
    assert x.item() * g <= 0


@given(scale=st.floats(1e-3, 1e3))
def test_the_scale_of_the_loss_does_not_matter_to_adam_and_rmsprop_without_eps(scale):
    for kind in (Adam, RMSprop):
        a, b = leaf(1.0, -2.0), leaf(1.0, -2.0)
        for p, factor in ((a, 1.0), (b, scale)):
            optimiser = kind([p], eps=0.0)
            for g in (1.0, -3.0, 2.0):
                give(p, factor * g)
                optimiser.step()
        assert np.allclose(a.array, b.array, rtol=1e-12, atol=0)


@pytest.mark.parametrize("make", OPTIMISERS)
def test_an_optimiser_descends_a_quadratic(make):
    params = [leaf(1.0, -2.0), leaf(0.5)]
    before = quadratic(*params).item()
    train(make(params, lr=0.01), params, 50)
    assert quadratic(*params).item() < before * 0.9


@pytest.mark.parametrize("make", OPTIMISERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0,)])
def test_parameters_and_states_keep_their_dtype_shape_and_memory(make, dtype, shape):
    p = tensor(np.ones(shape, dtype), requires_grad=True)
    array, optimiser = p.array, make([p], lr=np.float64(0.1), weight_decay=np.float64(0.1))
    for _ in range(3):
        p.grad = Tensor(np.ones(shape, np.float64))  # by hand, in another dtype than p
        optimiser.step()
    assert p.array is array
    assert (array.dtype, array.shape) == (dtype, shape)
    assert np.all(array < 1)
    for name, a in optimiser.state[p].items():
        assert a.dtype == (np.int64 if name == "step" else dtype)
        assert a.shape == (() if name == "step" else shape)


@pytest.mark.parametrize("make", OPTIMISERS)
def test_a_parameter_that_is_not_contiguous_is_updated_where_it_lies(make):
    whole = np.ones((3, 4))
    a, b = Tensor(whole[:, ::2].T).requires_grad_(), leaf(*np.ones(6))
    give(a, 2.0)
    give(b, 2.0)
    make([a, b], lr=0.1).step()
    assert np.array_equal(a.array.ravel(), b.array)
    assert np.all(whole[:, 1::2] == 1) and np.all(whole[:, ::2] != 1)


@pytest.mark.parametrize("make", OPTIMISERS)
def test_gradients_are_read_and_not_written(make):
    p = leaf(1.0, 2.0)
    optimiser = make([p], weight_decay=0.1)
    for _ in range(3):
        give(p, [3.0, 4.0])
        optimiser.step()
        assert p.grad.tolist() == [3.0, 4.0]


def test_the_momentum_does_not_share_the_memory_of_the_gradient():
    p = leaf(1.0)
    optimiser = SGD([p], momentum=0.9)
    give(p, 3.0)
    optimiser.step()
    p.grad.array[:] = 100.0
    assert optimiser.state[p]["momentum_buffer"].tolist() == [3.0]


@pytest.mark.parametrize("make", OPTIMISERS)
def test_a_step_leaves_no_graph_and_the_parameter_a_leaf(make):
    p = leaf(1.0)
    train(make([p]), [p], 2)
    assert p.is_leaf and p.requires_grad


# --- the base: groups, gradients that are missing, options that change ----------------------------------------------


def test_a_parameter_without_a_gradient_stays_and_keeps_no_state():
    used, unused, frozen = leaf(1.0), leaf(1.0), tensor([1.0])
    optimiser = AdamW([used, unused, frozen])
    train(optimiser, [used], 3)
    assert unused.tolist() == frozen.tolist() == [1.0]
    assert used.item() < 1
    assert list(optimiser.state) == [used]


def test_steps_are_counted_for_each_parameter():
    late, p = leaf(1.0), leaf(1.0)
    optimiser = Adam([late, p], lr=0.1)
    train(optimiser, [p], 4)
    give(late, 5.0)
    optimiser.step()
    assert (optimiser.state[late]["step"], optimiser.state[p]["step"]) == (1, 5)
    assert late.item() == pytest.approx(0.9)  # a first step, as long as lr


def test_a_gradient_of_zero_is_not_a_missing_one():
    p = leaf(1.0)
    optimiser = SGD([p], lr=1.0, momentum=0.5)
    give(p, 1.0)
    optimiser.step()
    optimiser.zero_grad()
    optimiser.step()
    assert p.item() == 0.0
    give(p, 0.0)
    optimiser.step()
    assert p.item() == -0.5


def test_zero_grad_forgets_gradients_or_sets_them_to_new_zeros():
    p, untouched = leaf(1.0, 2.0), leaf(1.0)
    optimiser = SGD([p, untouched])
    give(p, 3.0)
    before = p.grad
    optimiser.zero_grad(set_to_none=False)
    assert p.grad.tolist() == [0.0, 0.0] and untouched.grad is None
    assert before.tolist() == [3.0, 3.0]
    optimiser.zero_grad()
    assert p.grad is None


def test_zero_grad_cuts_a_gradient_off_its_graph():
    p = leaf(2.0)
    (p**3).sum().backward(create_graph=True)
    assert p.grad.requires_grad
    SGD([p]).zero_grad(set_to_none=False)
    assert not p.grad.requires_grad


def test_groups_have_their_own_options():
    a, b, c = leaf(1.0), leaf(1.0), leaf(1.0)
    optimiser = SGD([{"params": [a]}, {"params": b, "lr": 0.5}, {"params": (c,), "weight_decay": 1.0}], lr=0.1)
    for p in (a, b, c):
        give(p, 1.0)
    optimiser.step()
    assert [a.item(), b.item(), c.item()] == pytest.approx([0.9, 0.5, 0.8])


def test_groups_can_be_added_and_the_given_dict_stays_as_it_was():
    a, b = leaf(1.0), leaf(1.0)
    optimiser, group = SGD([a], lr=0.1), {"params": [b], "lr": 1.0, "name": "head"}
    optimiser.add_param_group(group)
    give(b, 1.0)
    optimiser.step()
    assert (a.item(), b.item()) == (1.0, 0.0)
    assert group == {"params": [b], "lr": 1.0, "name": "head"}


def test_the_rate_may_change_between_steps():
    p = leaf(0.0)
    optimiser = SGD([p], lr=1.0)
    for lr in (1.0, 0.25):
        optimiser.param_groups[0]["lr"] = lr
        give(p, 1.0)
        optimiser.step()
    assert p.item() == -1.25


@pytest.mark.parametrize("make", OPTIMISERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_rate_held_in_a_tensor_is_read_at_each_step(make, dtype):
    a, b = leaf(1.0, dtype=dtype), leaf(1.0, dtype=dtype)
    rate = tensor(np.array(0.5))
    held, plain = make([a], lr=rate), make([b], lr=0.5)
    for lr in (0.5, 0.125):
        rate.array[...] = plain.param_groups[0]["lr"] = lr
        for p, optimiser in ((a, held), (b, plain)):
            give(p, 2.0)
            optimiser.step()
    assert a.item() == b.item()
    assert a.dtype == dtype
    assert held.state_dict()["param_groups"][0]["lr"] == 0.125


def test_every_write_goes_through_an_op(monkeypatch):
    seen = []
    for name in ("sgd_update", "adam_update", "rmsprop_update"):
        op = getattr(ops, name)
        monkeypatch.setattr(
            ops, name, lambda *arrays, _op=op, **params: seen.append(_op.name) or _op(*arrays, **params)
        )
    for make in (SGD, Adam, AdamW, RMSprop):
        p = leaf(1.0)
        optimiser = make([p])
        give(p, 1.0)
        optimiser.step()
    assert seen == ["sgd_update", "adam_update", "adam_update", "rmsprop_update"]


def test_an_optimiser_of_ones_own_needs_only_its_update():
    class SignSGD(Optimizer):
        def __init__(self, params, lr):
            super().__init__(params, {"lr": lr})

        def update(self, p, g, lr, state, group):
            p -= lr * np.sign(g)

    p = leaf(1.0, 1.0)
    optimiser = SignSGD([p], lr=0.25)
    give(p, [7.0, -0.1])
    optimiser.step()
    assert p.tolist() == [0.75, 1.25]
    optimiser.load_state_dict(optimiser.state_dict())
    with pytest.raises(NotImplementedError):
        Optimizer([p], {"lr": 1.0}).step()


made = leaf(1.0) * 2.0
twice = leaf(1.0)


@pytest.mark.parametrize(
    ("build", "error", "says"),
    [
        (lambda: SGD([]), ValueError, "SGD got no parameters"),
        (lambda: Adam(iter(())), ValueError, "Adam got no parameters: was a generator used up"),
        (lambda: SGD([{"params": []}]), ValueError, "SGD got no parameters"),
        (lambda: SGD(leaf(1.0)), TypeError, "list of Tensors or of groups, in a fixed order: got a Tensor"),
        (lambda: SGD({"params": [leaf(1.0)]}), TypeError, "got a dict"),
        (lambda: SGD({leaf(1.0)}), TypeError, "got a set"),
        (lambda: SGD([np.ones(2)]), TypeError, "parameter 0 is a ndarray"),
        (lambda: SGD([leaf(1.0), ("w", leaf(1.0))]), TypeError, "parameter 1 is a tuple"),
        (lambda: SGD([leaf(1.0), {"params": [leaf(1.0)]}]), TypeError, "parameter 1 is a dict"),
        (lambda: SGD([{"params": [leaf(1.0)]}, leaf(1.0)]), TypeError, "a group of parameters is a dict.*got a Tensor"),
        (lambda: SGD([{"lr": 0.1}]), TypeError, "a group of parameters is a dict"),
        (lambda: SGD([made]), ValueError, "updates leaves, and parameter 0 was made by mul: pass"),
        (lambda: SGD([twice, twice]), ValueError, "parameter 1 twice in a step"),
        (lambda: SGD([{"params": [twice]}, {"params": [leaf(1.0), twice]}]), ValueError, "parameter 1 twice"),
        (lambda: SGD([{"params": [leaf(1.0)], "weigth_decay": 1}]), ValueError, "SGD has no option weigth_decay: it"),
        (lambda: SGD([leaf(1.0)], lr=-0.1), ValueError, "SGD needs lr to be finite and at least 0: got -0.1"),
        (lambda: SGD([{"params": [leaf(1.0)], "lr": -0.1}]), ValueError, "lr to be finite and at least 0"),
        (lambda: SGD([leaf(1.0)], lr=math.nan), ValueError, "got nan"),
        (lambda: SGD([leaf(1.0)], lr=math.inf), ValueError, "got inf"),
        (lambda: SGD([leaf(1.0)], lr="0.1"), TypeError, "SGD needs a number for lr: got a str"),
        (lambda: SGD([leaf(1.0)], lr=tensor([0.1])), TypeError, "a number for lr: got a Tensor"),
        (lambda: SGD([leaf(1.0)], lr=tensor(-0.1)), ValueError, "at least 0: got -0.1"),
        (lambda: SGD([leaf(1.0)], momentum=-1), ValueError, "momentum to be finite"),
        (lambda: SGD([leaf(1.0)], dampening=-1), ValueError, "dampening to be finite"),
        (lambda: SGD([leaf(1.0)], weight_decay=-1), ValueError, "weight_decay to be finite"),
        (lambda: SGD([leaf(1.0)], weight_decay=tensor(0.1)), TypeError, "weight_decay: got a Tensor"),
        (lambda: SGD([leaf(1.0)], nesterov=True), ValueError, "nesterov=True needs a momentum above 0"),
        (lambda: SGD([leaf(1.0)], momentum=0.9, dampening=0.1, nesterov=True), ValueError, "and dampening 0.1"),
        (lambda: Adam([leaf(1.0)], betas=(1.0, 0.9)), ValueError, r"betas\[0\] to be at least 0 and below 1: got 1.0"),
        (lambda: Adam([leaf(1.0)], betas=(0.9, -0.1)), ValueError, r"betas\[1\] to be at least 0 and below 1"),
        (lambda: Adam([leaf(1.0)], betas=0.9), TypeError, "Adam needs two numbers for betas: got 0.9"),
        (lambda: Adam([leaf(1.0)], betas=(0.9,)), TypeError, "two numbers for betas"),
        (lambda: Adam([leaf(1.0)], betas="no"), TypeError, "two numbers for betas"),
        (lambda: AdamW([leaf(1.0)], eps=-1e-8), ValueError, "AdamW needs eps"),
        (lambda: AdamW([leaf(1.0)], weight_decay=-1), ValueError, "AdamW needs weight_decay"),
        (lambda: RMSprop([leaf(1.0)], alpha=1.0), ValueError, "RMSprop needs alpha to be at least 0 and below 1"),
        (lambda: RMSprop([leaf(1.0)], momentum=-1), ValueError, "RMSprop needs momentum"),
        (lambda: RMSprop([leaf(1.0)], eps=None), TypeError, "a number for eps: got a NoneType"),
    ],
)
def test_a_bad_argument_is_refused_with_what_is_needed(build, error, says):
    with pytest.raises(error, match=says):
        build()


def test_a_group_that_was_refused_is_not_kept():
    optimiser = SGD([leaf(1.0)])
    with pytest.raises(ValueError):
        optimiser.add_param_group({"params": [leaf(1.0)], "lr": -1.0})
    assert len(optimiser.param_groups) == 1


# --- saving and loading ---------------------------------------------------------------------------------------------


def two_groups(make, dtype=np.float32):
    params = [leaf(1.0, -2.0, dtype=dtype), leaf(0.5, dtype=dtype), leaf(3.0, dtype=dtype)]
    return params, make([{"params": params[:2]}, {"params": params[2:], "lr": 0.05}], lr=0.01)


@pytest.mark.parametrize("make", OPTIMISERS)
@pytest.mark.parametrize("steps", [0, 1, 5])
@pytest.mark.parametrize("through_json", [False, True])
def test_saved_and_loaded_a_run_goes_on_as_if_uninterrupted(make, steps, through_json):
    (params, optimiser), (others, fresh) = two_groups(make), two_groups(make)
    train(optimiser, params[:2], steps)  # so that the last one has no state
    optimiser.param_groups[1]["lr"] = 0.02
    saved = optimiser.state_dict()
    if through_json:
        saved = json.loads(json.dumps(saved, default=lambda a: a.tolist()))
    for p, q in zip(params, others, strict=True):
        q.array[...] = p.array
    train(optimiser, params, 5)
    fresh.load_state_dict(saved)
    train(fresh, others, 5)
    for p, q in zip(params, others, strict=True):
        assert np.array_equal(p.array, q.array)
        assert q.dtype == np.float32


def test_a_state_that_is_not_loaded_would_be_noticed():
    (params, optimiser), (others, fresh) = two_groups(Adam), two_groups(Adam)
    train(optimiser, params, 5)
    for p, q in zip(params, others, strict=True):
        q.array[...] = p.array
    train(optimiser, params, 1)
    train(fresh, others, 1)
    assert not np.array_equal(params[0].array, others[0].array)


def test_a_state_dict_is_numbers_and_arrays_by_position_and_does_not_change_with_the_next_step():
    params, optimiser = two_groups(AdamW)
    train(optimiser, params, 2)
    saved = optimiser.state_dict()
    m = saved["state"][0]["exp_avg"].copy()
    train(optimiser, params, 1)
    assert saved["state"].keys() == {0, 1, 2}
    assert saved["state"][0].keys() == {"step", "exp_avg", "exp_avg_sq"}
    assert saved["state"][0]["step"] == 2
    assert np.array_equal(saved["state"][0]["exp_avg"], m)
    assert [group["params"] for group in saved["param_groups"]] == [[0, 1], [2]]
    assert saved["param_groups"][1] == {
        "lr": 0.05, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01, "params": [2],
    }  # fmt: skip


def test_what_is_loaded_is_a_copy_in_the_dtype_of_the_parameter():
    params, optimiser = two_groups(AdamW, np.float64)
    train(optimiser, params, 2)
    saved, (others, fresh) = optimiser.state_dict(), two_groups(AdamW)
    fresh.load_state_dict(saved)
    saved["state"][0]["exp_avg"][:] = 100.0
    assert fresh.state[others[0]]["exp_avg"].dtype == np.float32
    assert fresh.state[others[0]]["exp_avg"].max() < 100


def test_a_rate_held_in_a_tensor_is_loaded_into_that_tensor():
    rate = tensor(0.5)
    optimiser = SGD([leaf(1.0)], lr=rate)
    optimiser.load_state_dict(SGD([leaf(1.0)], lr=0.25).state_dict())
    assert rate.item() == 0.25
    assert optimiser.param_groups[0]["lr"] is rate


def test_loading_brings_what_a_momentum_switched_on_later_needs():
    p = leaf(1.0)
    optimiser = SGD([p], lr=0.1)
    train(optimiser, [p], 2)
    optimiser.param_groups[0]["momentum"] = 0.9
    train(optimiser, [p], 2)
    q = leaf(p.item())
    fresh = SGD([q], lr=0.1)
    fresh.load_state_dict(optimiser.state_dict())
    train(optimiser, [p], 2)
    train(fresh, [q], 2)
    assert p.item() == q.item()


def broken(change):
    params, optimiser = two_groups(AdamW)
    train(optimiser, params, 1)
    saved = optimiser.state_dict()
    change(saved)
    return saved


@pytest.mark.parametrize(
    ("saved", "says"),
    [
        ({}, '"state" and "param_groups"'),
        (two_groups(SGD)[1].state_dict(), "not of AdamW: it has no betas, eps"),
        (AdamW([leaf(1.0)]).state_dict(), r"groups of \[1\] parameters, and here they are of \[2, 1\]"),
        (broken(lambda s: s["param_groups"][0].update(params=[0])), r"groups of \[1, 1\]"),
        (broken(lambda s: s["param_groups"][0].update(amsgrad=True)), "AdamW has no option amsgrad"),
        (broken(lambda s: s["param_groups"][1].update(lr=-1.0)), "lr to be finite and at least 0"),
        (broken(lambda s: s["state"].update({7: {}})), r"parameters \[0, 1, 2, 7\], and here are 3"),
        (broken(lambda s: s["state"][1].pop("exp_avg")), "parameter 1 has no exp_avg"),
        (broken(lambda s: s["state"][0].update(exp_avg=np.ones(3))), r"exp_avg of parameter 0 has shape \(3,\)"),
        (broken(lambda s: s["state"][0].update(step=[1, 2])), r"step of parameter 0 has shape \(2,\)"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_whole(saved, says):
    params, optimiser = two_groups(AdamW)
    train(optimiser, params, 2)
    before = optimiser.state_dict()
    with pytest.raises(ValueError, match=says):
        optimiser.load_state_dict(saved)
    after = optimiser.state_dict()
    assert after["param_groups"] == before["param_groups"]
    assert all(np.array_equal(after["state"][i][name], a) for i, s in before["state"].items() for name, a in s.items())


# --- schedules as functions -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "rate"),
    [
        (0, 0.25),
        (1, 0.5),
        (2, 0.75),
        (3, 1.0),
        (5, 0.1 + 0.9 * (1 + math.cos(math.pi / 4)) / 2),
        (7, 0.55),
        (11, 0.1),
        (12, 0.1),
        (10**9, 0.1),
    ],
)
def test_the_rate_climbs_peaks_and_falls_along_a_cosine(step, rate):
    assert warmup_cosine(step, peak=1.0, warmup_steps=3, total_steps=11, final=0.1) == pytest.approx(rate, rel=1e-14)


@given(
    step=st.integers(0, 200),
    warmup=st.integers(0, 50),
    descent=st.integers(1, 100),
    peak=st.floats(0, 1),
    part=st.floats(0, 1),
)
def test_the_rate_stays_between_final_and_peak_once_warm_and_never_rises_again(step, warmup, descent, peak, part):
    def rate(at):
        return warmup_cosine(at, peak=peak, warmup_steps=warmup, total_steps=warmup + descent, final=peak * part)

    assert 0 <= rate(step) <= peak * (1 + 1e-15)
    assert rate(warmup) == pytest.approx(peak)
    if step < warmup:
        assert rate(step) <= rate(step + 1)
    else:
        assert rate(step + 1) <= rate(step)
        assert rate(step) >= peak * part * (1 - 1e-15)


def test_without_a_warm_up_the_rate_starts_at_the_peak():
    assert warmup_cosine(0, peak=3e-4, warmup_steps=0, total_steps=1) == 3e-4
    assert warmup_cosine(1, peak=3e-4, warmup_steps=0, total_steps=1) == 0.0


def test_a_line_goes_from_start_to_final_and_stays():
    rates = [linear(step, start=1.0, final=0.2, total_steps=4) for step in range(6)]
    assert rates == pytest.approx([1.0, 0.8, 0.6, 0.4, 0.2, 0.2])
    assert rates[0] == 1.0 and rates[4] == 0.2


def test_a_line_may_go_from_the_whole_rate_to_none():
    rates = rates_of(LinearLR(SGD([leaf(1.0)], lr=0.5), 1.0, 0.0, total_iters=2), 3)
    assert rates == [[0.5], [0.25], [0.0], [0.0]]


def test_steps_fall_by_a_factor_at_each_multiple():
    rates = [step_decay(step, start=1.0, step_size=2, gamma=0.5) for step in range(6)]
    assert rates == [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (
            lambda: warmup_cosine(-1, peak=1, warmup_steps=0, total_steps=1),
            "step must be finite and at least 0: got -1",
        ),
        (lambda: warmup_cosine(0, peak=1, warmup_steps=-1, total_steps=1), "warmup_steps must be finite"),
        (lambda: warmup_cosine(0, peak=1, warmup_steps=5, total_steps=5), "below total_steps: got 5 and 5"),
        (lambda: warmup_cosine(0, peak=1, warmup_steps=0, total_steps=0), "below total_steps"),
        (lambda: warmup_cosine(0, peak=-1, warmup_steps=0, total_steps=1), "peak must be finite and at least final"),
        (lambda: warmup_cosine(0, peak=1, warmup_steps=0, total_steps=1, final=2), "peak must be finite and at least"),
        (lambda: warmup_cosine(0, peak=1, warmup_steps=0, total_steps=1, final=-1), "final must be finite"),
        (lambda: warmup_cosine(0, peak=math.nan, warmup_steps=0, total_steps=1), "peak must be finite"),
        (lambda: warmup_cosine(0, peak=math.inf, warmup_steps=0, total_steps=1), "peak must be finite"),
        (lambda: linear(-1, start=1, final=0, total_steps=1), "step must be finite"),
        (lambda: linear(0, start=1, final=0, total_steps=0), "total_steps must be above 0: got 0"),
        (lambda: linear(0, start=-1, final=0, total_steps=1), "start must be finite"),
        (lambda: step_decay(0, start=1, step_size=0), "step_size must be above 0"),
        (lambda: step_decay(0, start=1, step_size=1, gamma=-1), "gamma must be finite"),
        (lambda: step_decay(0, start=1, step_size=1, gamma=math.inf), "gamma must be finite"),
        (lambda: StepLR(SGD([leaf(1.0)]), 0), "step_size must be above 0"),
        (lambda: LinearLR(SGD([leaf(1.0)]), start_factor=0.0), "0 < start_factor <= 1"),
        (lambda: LinearLR(SGD([leaf(1.0)]), end_factor=1.5), "end_factor <= 1: got 0.33"),
        (lambda: LinearLR(SGD([leaf(1.0)]), total_iters=0), "total_steps must be above 0"),
        (lambda: CosineAnnealingLR(SGD([leaf(1.0)]), 0), "T_max must be above 0"),
        (lambda: CosineAnnealingLR(SGD([leaf(1.0)]), 5, eta_min=-1), "eta_min must be finite"),
        (lambda: LambdaLR(SGD([leaf(1.0)]), [float, float]), "one for each of 1 groups"),
        (lambda: LambdaLR(SGD([leaf(1.0)]), [0.5]), "LambdaLR needs one function"),
        (
            lambda: LambdaLR(SGD([leaf(1.0)]), lambda epoch: -1.0),
            "LambdaLR needs each rate to be finite and at least 0",
        ),
        (lambda: StepLR(SGD([leaf(1.0)]), 5, last_epoch=3), "last_epoch 3 resumes a schedule, and group 0"),
    ],
)
def test_a_schedule_without_sense_is_refused(call, says):
    with pytest.raises(ValueError, match=says):
        call()


# --- schedules that write into an optimiser -------------------------------------------------------------------------

SCHEDULES = {
    "LambdaLR": lambda optimiser, **options: LambdaLR(optimiser, lambda epoch: 0.9**epoch, **options),
    "StepLR": lambda optimiser, **options: StepLR(optimiser, 3, gamma=0.5, **options),
    "LinearLR": lambda optimiser, **options: LinearLR(optimiser, 0.25, 0.75, total_iters=4, **options),
    "CosineAnnealingLR": lambda optimiser, **options: CosineAnnealingLR(optimiser, 5, eta_min=0.01, **options),
}


def rates_of(schedule, steps):
    rates = [schedule.get_last_lr()]
    for _ in range(steps):
        schedule.step()
        rates.append(schedule.get_last_lr())
    return rates


def test_the_classes_set_the_rates_of_their_formulas():
    for name, formula in {
        "LambdaLR": lambda t: 0.5 * 0.9**t,
        "StepLR": lambda t: 0.5 * 0.5 ** (t // 3),
        "LinearLR": lambda t: 0.5 * (0.25 + 0.5 * min(t, 4) / 4),
        "CosineAnnealingLR": lambda t: 0.01 + 0.49 * (1 + math.cos(math.pi * t / 5)) / 2,
    }.items():
        rates = rates_of(SCHEDULES[name](SGD([leaf(1.0)], lr=0.5)), 12)
        assert [rate for (rate,) in rates] == pytest.approx([formula(t) for t in range(13)], rel=1e-14), name


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_writes_into_each_group_and_says_what_it_wrote(name):
    _, optimiser = two_groups(SGD)
    schedule = SCHEDULES[name](optimiser)
    for rates in rates_of(schedule, 7):
        assert rates[1] == pytest.approx(5 * rates[0]) or name == "CosineAnnealingLR"
    assert schedule.get_last_lr() == [group["lr"] for group in optimiser.param_groups]
    assert [group["initial_lr"] for group in optimiser.param_groups] == [0.01, 0.05]


def test_each_group_may_have_its_own_function():
    _, optimiser = two_groups(SGD)
    schedule = LambdaLR(optimiser, [lambda epoch: 1.0, lambda epoch: 0.1 * epoch])
    schedule.step()
    assert schedule.get_last_lr() == pytest.approx([0.01, 0.005])


def test_a_schedule_writes_into_a_rate_held_in_a_tensor():
    rate = tensor(0.5)
    schedule = StepLR(SGD([leaf(1.0)], lr=rate), 1)
    schedule.step()
    assert rate.item() == pytest.approx(0.05)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("taken", [0, 3, 6])
def test_saved_and_loaded_a_schedule_goes_on(name, taken):
    _, optimiser = two_groups(SGD)
    schedule = SCHEDULES[name](optimiser)
    rates_of(schedule, taken)
    saved = json.loads(json.dumps([schedule.state_dict(), optimiser.state_dict()]))
    _, fresh = two_groups(SGD)
    resumed = SCHEDULES[name](fresh)
    resumed.load_state_dict(saved[0])
    fresh.load_state_dict(saved[1])
    assert [group["lr"] for group in fresh.param_groups] == schedule.get_last_lr()
    assert rates_of(resumed, 6) == rates_of(schedule, 6)


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_can_be_begun_in_the_middle(name):
    _, optimiser = two_groups(SGD)
    whole = rates_of(SCHEDULES[name](optimiser), 8)
    assert rates_of(SCHEDULES[name](optimiser, last_epoch=3), 4) == whole[4:]


def test_a_saved_schedule_is_a_copy():
    schedule = StepLR(SGD([leaf(1.0)], lr=1.0), 1)
    saved = schedule.state_dict()
    saved["base_lrs"][0] = schedule.get_last_lr()[0] = 7.0
    schedule.step()
    assert schedule.get_last_lr() == pytest.approx([0.1])


def test_a_saved_schedule_of_another_kind_or_size_is_refused():
    _, optimiser = two_groups(SGD)
    schedule = StepLR(optimiser, 3)
    with pytest.raises(ValueError, match=r"the saved schedule has .*T_max.* and StepLR .*gamma"):
        schedule.load_state_dict(CosineAnnealingLR(optimiser, 3).state_dict())
    with pytest.raises(ValueError, match="has 1 groups, not 2"):
        schedule.load_state_dict(StepLR(SGD([leaf(1.0)]), 3).state_dict())


def test_a_group_added_behind_a_schedules_back_is_refused():
    optimiser = SGD([leaf(1.0)])
    schedule = StepLR(optimiser, 1)
    optimiser.add_param_group({"params": [leaf(1.0)]})
    with pytest.raises(ValueError, match="2 groups, and 1 when the schedule began"):
        schedule.step()


def test_a_schedule_needs_an_optimiser_and_a_formula():
    with pytest.raises(TypeError, match="StepLR needs an Optimizer: got a list"):
        StepLR([leaf(1.0)], 1)
    with pytest.raises(TypeError, match="LambdaLR needs an Optimizer"):
        LambdaLR(None, float)
    with pytest.raises(NotImplementedError):
        LRScheduler(SGD([leaf(1.0)]))


def test_the_names_are_where_pytorch_has_them():
    assert {name for name in dir(lr_scheduler) if name.endswith("LR")} == {
        "LambdaLR", "StepLR", "LinearLR", "CosineAnnealingLR",
    }  # fmt: skip
