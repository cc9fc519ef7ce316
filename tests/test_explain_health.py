"""Gradient health: each illness, planted in a model, is found, and a healthy model is left in peace."""

import numpy as np
import pytest

import tinygrad_ft as tg


def trained(model, *, rate=0.05, steps=5, scale=1.0):
    """Health of a few steps of SGD on made-up numbers."""
    rng = np.random.default_rng(0)
    x = tg.tensor(rng.normal(size=(32, 8)).astype(np.float32))
    y = tg.tensor(rng.normal(size=(32, 1)).astype(np.float32))
    optimizer = tg.optim.SGD(model.parameters(), lr=rate)
    with tg.explain.Health(model) as health:
        for _ in range(steps):
            optimizer.zero_grad()
            (((model(x) - y) ** 2).mean() * scale).backward()
            optimizer.step()
            health.step()
    return health


def network(activation, depth=3):
    inner = [part for _ in range(depth) for part in (tg.nn.Linear(8, 8), activation())]
    return tg.nn.Sequential(*inner, tg.nn.Linear(8, 1))


def drawn(model, seed):
    """The model with weights of a known seed, of the size that keeps activations as large as they come."""
    rng = np.random.default_rng(seed)
    for _, p in model.named_parameters():
        p.array[...] = rng.normal(size=p.shape) * (1.3 / p.shape[-1]) ** 0.5
    return model


def test_a_healthy_model_is_left_in_peace():
    health = trained(drawn(network(tg.nn.Tanh), 1), rate=0.01)
    assert set(health.verdicts().values()) == {""}
    assert all(len(s.gradient) == 5 for s in health.series.values())


def test_ratios_are_those_of_the_update_that_was_made():
    model = drawn(network(tg.nn.Tanh, 1), 2)
    before = {name: p.array.copy() for name, p in model.named_parameters()}
    health = trained(model, rate=0.01, steps=1)
    for name, p in model.named_parameters():
        ratio = np.linalg.norm(p.array - before[name]) / np.linalg.norm(before[name])
        assert health.series[name].ratio == [pytest.approx(ratio, rel=1e-5)]
        assert health.series[name].gradient == [pytest.approx(float(np.sqrt((p.grad.array**2).mean())), rel=1e-5)]


def test_dead_relus_are_found_unit_by_unit():
    model = drawn(network(tg.nn.ReLU, 2), 3)
    model[2].bias.array[:6] = -100.0
    health = trained(model, rate=0.0)
    assert health.units[1].dead >= 6 / 8
    assert health.units[0].dead < 0.5
    assert health.unit_rows()[1][3] == "mostly dead"
    assert "mostly dead" in repr(health)


def test_a_unit_that_lives_for_one_example_is_not_dead():
    model = tg.nn.Sequential(tg.nn.ReLU())
    with tg.explain.Health(model) as health:
        model(tg.tensor([[1.0, -1.0, -1.0], [-1.0, -1.0, -1.0]]))
        health.step()
        model(tg.tensor([[-1.0, 2.0, -1.0]]))
        health.step()
    assert list(health.units[0].alive) == [True, True, False]


def test_vanishing_first_layers_are_found():
    model = drawn(network(tg.nn.Sigmoid, 12), 4)
    verdicts = trained(model).verdicts()
    assert verdicts["0.weight"] == "vanishing gradient"
    assert verdicts["24.weight"] != "vanishing gradient"


def test_exploding_first_layers_are_found():
    model = tg.nn.Sequential(*[tg.nn.Linear(8, 8) for _ in range(7)])
    for name, p in model.named_parameters():
        p.array[...] = 20 * np.eye(8) if name.endswith("weight") else 0.0
    health = tg.explain.Health(model)
    model(tg.zeros(4, 8)).sum().backward()
    health.step()
    verdicts = health.verdicts()
    assert verdicts["0.bias"] == "exploding gradient"
    assert verdicts["3.bias"] == ""
    assert verdicts["6.bias"] == "vanishing gradient"  # beside those


def test_updates_that_are_too_large_or_too_small_are_found():
    assert "updates too large" in trained(drawn(network(tg.nn.Tanh), 5), rate=5.0, steps=1).verdicts().values()
    assert "hardly moves" in trained(drawn(network(tg.nn.Tanh), 5), rate=1e-6).verdicts().values()


def test_gradients_that_are_not_finite_or_not_there_are_said_so():
    model = drawn(network(tg.nn.Tanh, 1), 6)
    health = tg.explain.Health(model)
    model(tg.ones(2, 8)).sum().backward()
    model[0].weight.grad.array[0, 0] = np.nan
    model[0].bias.grad = None
    health.step()
    assert health.verdicts()["0.weight"] == "gradient is not finite"
    assert health.verdicts()["0.bias"] == "no gradient"


def test_the_picture_is_a_png(tmp_path):
    health = trained(drawn(network(tg.nn.ReLU), 7))
    health.picture(tmp_path / "health.png")
    assert (tmp_path / "health.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match=r"call step\(\) of Health"):
        tg.explain.Health(network(tg.nn.ReLU)).picture(tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()
    assert "<table" in health._repr_html_()
