"""Penalties in the loss: their values and gradients by hand, under jit too, and how they differ from AdamW's decay."""

import numpy as np
import pytest

import tinygrad_ft as tg
from tinygrad_ft import nn, ops
from tinygrad_ft.tensor import Tensor
from tinygrad_ft.train import Trainer
from tinygrad_ft.train.penalty import penalised

X = np.array([[1.0, -2.0], [0.5, 3.0]], np.float32)
WEIGHT = np.array([[2.0, -0.5], [0.0, 4.0]], np.float32)


def linear():
    model = nn.Sequential(nn.Linear(2, 2))
    model.load_state_dict({"0.weight": WEIGHT, "0.bias": np.ones(2, np.float32)})
    return model


def mean_of(model, x):
    return ops.mean(model(x))


def gradients(loss_of):
    model = linear()
    loss = loss_of(model, Tensor(X))
    loss.backward()
    return loss.item(), model[0].weight.grad.array, model[0].bias.grad.array


@pytest.mark.parametrize(("l1", "l2"), [(0.25, 0.0), (0.0, 0.5), (0.25, 0.5), (0.0, 0.0)])
def test_the_penalty_adds_to_loss_and_gradient_what_paper_and_pencil_say(l1, l2):
    plain, at_weight, at_bias = gradients(mean_of)
    loss, weight, bias = gradients(penalised(mean_of, l1, l2))
    assert loss == pytest.approx(plain + l1 * 6.5 + l2 * 20.25)
    assert np.allclose(weight - at_weight, l1 * np.sign(WEIGHT) + 2 * l2 * WEIGHT)
    assert (bias == at_bias).all()


def test_the_names_choose_what_is_penalised_and_frozen_parameters_are_left_out():
    _, _, at_bias = gradients(mean_of)
    _, _, bias = gradients(penalised(mean_of, l2=0.5, names="*bias"))
    assert np.allclose(bias - at_bias, 2 * 0.5 * 1.0)
    model = linear()
    model[0].weight.requires_grad_(False)
    assert penalised(mean_of, l2=1.0, names="*")(model, Tensor(X)).item() == pytest.approx(
        mean_of(model, Tensor(X)).item() + 2.0  # the two biases of 1
    )


def test_a_name_that_nothing_has_is_refused_with_the_names_there_are():
    with pytest.raises(ValueError, match=r"'\*kernel\*': the model has 0\.weight, 0\.bias"):
        penalised(mean_of, l2=1.0, names="*kernel*")(linear(), Tensor(X))


@pytest.mark.parametrize("factor", [-1.0, float("nan"), float("inf")])
def test_a_factor_that_is_no_penalty_is_refused(factor):
    with pytest.raises(ValueError, match="l1 to be 0 or more, and finite"):
        penalised(mean_of, l1=factor)


class Same:
    def __getitem__(self, i):
        return (X * (1 + i % 3),)


def trained(loss_of, optimizer, jitted):
    model = linear()
    Trainer(model, loss_of, optimizer(model.parameters()), Same(), steps=6, jitted=jitted).run()
    return model[0].weight.array.copy()


def test_a_jitted_training_with_a_penalty_is_the_eager_one_to_rounding():
    loss_of = penalised(mean_of, l1=0.01, l2=0.1)
    eager, jitted = (trained(loss_of, lambda ps: tg.optim.SGD(ps, lr=0.1), jitted) for jitted in (False, True))
    np.testing.assert_allclose(jitted, eager, rtol=1e-6, atol=0)  # 8 units in the last place after 6 steps
    plain = trained(mean_of, lambda ps: tg.optim.SGD(ps, lr=0.1), True)
    assert not np.allclose(jitted, plain, rtol=1e-3)


def test_l2_in_the_loss_is_weight_decay_for_sgd_but_not_what_adamw_does():
    def sgd(decay):
        return lambda ps: tg.optim.SGD(ps, lr=0.1, weight_decay=decay)

    def adam(decay):
        return lambda ps: tg.optim.AdamW(ps, lr=0.1, weight_decay=decay)

    only_weights = penalised(mean_of, l2=0.1)
    assert np.allclose(trained(only_weights, sgd(0.0), False), trained(mean_of, sgd(0.2), False), atol=1e-6)
    assert not np.allclose(trained(only_weights, adam(0.0), False), trained(mean_of, adam(0.2), False), atol=1e-2)
