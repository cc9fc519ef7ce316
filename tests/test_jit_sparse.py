"""The gradient of a maximum over many places: a recorded step does without it, and learns what an eager one learns."""

import numpy as np
import pytest

import tinygrad_ft as tg
from tinygrad_ft.engine import OPS
from tinygrad_ft.nn import functional as F


def step_of(*, words=60, width=8, channels=16, kernel=5, stride=1, padding=0, batch=6, dtype="float32", pooled=None):
    """Parameters and a step that gives their gradients: a table, a convolution over words, the largest, a line."""
    rng = np.random.default_rng(3)
    arrays = (
        rng.standard_normal((50, width)),
        rng.standard_normal((channels, width, kernel)),
        rng.standard_normal(channels),
        rng.standard_normal((1, channels)),
    )
    parameters = [tg.tensor(a.astype(dtype), requires_grad=True) for a in arrays]
    ids = tg.tensor(rng.integers(0, 50, (batch, words)))
    pooled = pooled or (lambda z: F.relu(z.amax(2)))

    def step(ids):
        table, weight, bias, line = parameters
        for p in parameters:
            p.grad = None
        z = F.conv1d(F.embedding(ids, table).transpose(1, 2), weight, bias, stride=stride, padding=padding)
        loss = (F.linear(pooled(z), line) ** 2).mean()
        loss.backward()
        return loss, *(p.grad for p in parameters)

    return step, ids


def ops_of(jitted):
    return [line.op.name for programs in jitted.programs.values() for p, _ in programs for line in p.assembly.lines]


def assert_learns_the_same(step, ids, rtol):
    """Six calls; answers the ops of the program that replayed the later ones."""
    own = [t.detach().numpy() for t in step(ids)]
    jitted = tg.jit(step)
    for _ in range(6):
        for got, true in zip(jitted(ids), own, strict=True):
            np.testing.assert_allclose(got.detach().numpy(), true, rtol=rtol, atol=rtol * abs(true).max())
    return ops_of(jitted)


LONG = {"words": 700, "channels": 40}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [{}, {"stride": 2}, {"padding": 3}, {"kernel": 1}])
def test_a_step_with_a_maximum_over_words_learns_what_an_eager_one_learns(shape, dtype):
    ops = assert_learns_the_same(*step_of(dtype=dtype, **LONG | shape), rtol=1e-5 if dtype == "float32" else 1e-12)
    assert "extremum_grad" not in ops and "extremum_grad_outer" in ops


@pytest.mark.parametrize("shape", [{"width": 1}, {"channels": 1, "words": 9000}, {"stride": 7}, {"batch": 1}])
def test_whatever_the_shape_it_learns_the_same(shape):
    assert_learns_the_same(*step_of(**LONG | shape), rtol=1e-5)


def test_windows_that_overlap_are_added_up_at_once():
    ops = assert_learns_the_same(*step_of(**LONG), rtol=1e-5)
    assert "overlap_add" not in ops and "extremum_grad_matmul" in ops


@pytest.mark.parametrize(
    "pooled",
    [
        lambda z: F.relu(z).amax(2),  # many words share the maximum 0
        lambda z: tg.round(z).amax(2),
        lambda z: -z.amin(2),
        lambda z: z.amax(-1, keepdim=True).squeeze(-1),
        lambda z: (z * 0 + 1).amax(2) + z.amax(2),
    ],
    ids=["relu first", "rounded", "smallest", "kept axis", "all equal"],
)
def test_extrema_in_several_places_or_forms_learn_the_same(pooled):
    assert_learns_the_same(*step_of(pooled=pooled, **LONG), rtol=1e-5)


def test_nan_in_a_channel_stays_nan_there():
    def pooled(z):
        return tg.where(z > 4, z * np.nan, z).amax(2)

    with np.errstate(invalid="ignore"):
        assert_learns_the_same(*step_of(pooled=pooled, **LONG), rtol=1e-5)


def test_a_gradient_that_something_else_reads_is_written_down():
    step, ids = step_of(pooled=lambda z: z.amax(2) + (z**2).mean(2), **LONG)
    assert "extremum_grad" in assert_learns_the_same(step, ids, rtol=1e-5)


def test_a_small_gradient_is_written_down():
    assert "extremum_grad" in assert_learns_the_same(*step_of(words=30), rtol=1e-5)


def test_a_planted_wrong_place_is_caught(monkeypatch):
    places = OPS["extremum_places"]
    monkeypatch.setattr(places.kernels, "choice", "reference")
    own = places.forward

    def one_off(xp, x, y):
        return np.maximum(own(xp, x, y) - 1, 0)

    monkeypatch.setattr(places, "forward", one_off)
    monkeypatch.setattr(places.kernels, "forward", one_off)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        assert_learns_the_same(*step_of(**LONG), rtol=1e-5)
