"""Answers that do not lie as their shape counts, and arrays that a replay borrows: all right, call after call."""

import numpy as np
import pytest

import tinygrad_ft as tg
from tinygrad_ft.engine import op
from tinygrad_ft.jit.assembly import Assembly
from tinygrad_ft.nn import functional as F

SHAPE = (6, 5, 40)
OF_PERMUTED = {
    "softmax": lambda x: tg.softmax(x, -1),
    "log_softmax": lambda x: tg.log_softmax(x, -1),
    "layer_norm": lambda x: F.layer_norm(x, (40,)),
    "rms_norm": lambda x: F.rms_norm(x, (40,)),
    "gelu": tg.gelu,
    "tanh": tg.tanh,
    "sigmoid": tg.sigmoid,
}


def there(of):
    return lambda x, g: of(x.permute(1, 0, 2))


def back(of):
    leaf = tg.tensor(np.random.default_rng(2).standard_normal(SHAPE, np.float32), requires_grad=True)
    return lambda x, g: tg.autograd.grad(of(leaf.permute(1, 0, 2)), [leaf], g.permute(1, 0, 2))[0]


def largest_differences(step):
    """Between a step and itself jitted, in four calls with other numbers each."""
    jitted, found = tg.jit(step), []
    for seed in range(4):
        x, g = (tg.tensor(a) for a in np.random.default_rng(seed).standard_normal((2, *SHAPE), np.float32))
        found.append(float(abs(jitted(x, g).array - step(x, g).array).max()))
    return found


@pytest.mark.parametrize("way", [there, back])
@pytest.mark.parametrize("name", OF_PERMUTED)
def test_what_is_computed_of_permuted_arrays_is_right_in_each_replay(name, way):
    assert max(largest_differences(way(OF_PERMUTED[name]))) < 1e-5


def test_an_answer_that_no_row_writes_is_seen(monkeypatch):
    def whatever_is_there(kernels, ys, line, arrays):
        return kernels.shares("cpu", tuple(ys) if line.several else ys[0], arrays, line.params)

    monkeypatch.setattr(Assembly, "_writing", staticmethod(whatever_is_there))
    found = largest_differences(there(OF_PERMUTED["rms_norm"]))
    assert not max(found) < 1e-5  # NaN too


@pytest.mark.parametrize("reduce", [tg.sum, tg.mean, tg.amax, tg.amin])
@pytest.mark.parametrize("axes", [(0, 1), (0, 2), (1, 3), (2,)])
def test_reductions_of_permuted_arrays_are_right_whichever_axes_alternate(reduce, axes):
    def step(x):
        return reduce(x.permute(0, 2, 1, 3), axes)

    jitted = tg.jit(step)
    for seed in range(4):
        x = tg.tensor(np.random.default_rng(seed).standard_normal((2, 3, 4, 5), np.float32))
        np.testing.assert_allclose(jitted(x).array, step(x).array, rtol=1e-6, atol=1e-6)


def test_a_large_argument_that_becomes_a_gradient_keeps_its_numbers():
    w = tg.tensor(np.ones((100, 100), np.float32), requires_grad=True)

    @tg.jit
    def step(x):
        w.grad = x
        return (x * 2.0).sum()

    for i in range(5):
        w.grad = None
        step(tg.tensor(np.full((100, 100), float(i), np.float32)))
        assert w.grad.array.min() == w.grad.array.max() == i


def test_large_answers_are_the_callers_own():
    step = tg.jit(lambda x: (x * 2.0, x + 1.0))
    held = [step(tg.tensor(np.full((100, 100), float(i), np.float32))) for i in range(6)]
    for i, (double, more) in enumerate(held):
        assert (double.array == 2 * i).all() and (more.array == i + 1).all()


def test_a_rule_is_told_the_shape_of_the_output_too():
    told = []

    @op
    def total(xp, x):
        return x.sum(axis=0)

    @total.vjp
    def rule(g, *, x_shape, y_shape):
        told.append((x_shape, y_shape))
        return np.broadcast_to(g, x_shape)

    total(tg.tensor(np.ones((3, 2), np.float32), requires_grad=True)).sum().backward()
    assert told == [((3, 2), (2,))]
