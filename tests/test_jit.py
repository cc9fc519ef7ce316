"""A jitted step computes what the step computes: every op on its samples, and trainings from beginning to end."""

from itertools import pairwise

import numpy as np
import pytest
from jit_steps import OpStep, numbers, parameter, same_as_eager
from test_ops import EVERY, samples_of

import tinygrad_ft as tg
from tinygrad_ft import nn, optim
from tinygrad_ft.jit import JitError
from tinygrad_ft.models import GPT, GPTConfig

F = nn.functional

# ---------------------------------------------------------------- every op

# Functions whose Python code depends on what is in an array, and what they are then told.
LOOKS_AT_CONTENTS = {
    "cov": "by any",  # weights must not be negative
    "gaussian_nll_loss": "by any",  # nor variances
    "repeat_interleave": "by tolist",  # how often each element comes says how long the answer is
    "masked_select": "where a condition holds",  # how often it does says how long the answer is
    "scatter": "how many elements meet",  # where it multiplies
    "scatter_reduce": "how many elements meet",
    "adam_update": "writes into an argument",  # `step`, which is no leaf
    "counted_up": "writes into an argument",
    "numbers_like": "by numpy",  # makes constants of what it is given
}


def op_story(name, k, dtype):
    """Value and gradients of an op on sample k, with other numbers of the same kind at each call."""

    def story(jit):
        rows = [OpStep(name, samples_of(name, seed)[k], dtype) for seed in range(4)]
        first = rows[0]
        if any(row.kind != first.kind for row in rows):
            rows = [first] * 4
        step = jit(first)
        for row in rows:
            for x, a in zip(first.leaves, row.arrays, strict=True):
                x.array[...] = a
            us = [tg.Tensor(u) for u in first.cotangents()]
            ys, gs = step(first.leaves, us)
            yield *ys, *gs

    return story


def tolerance(dtype):
    return {"float32": 2e-5, "float64": 1e-11}[np.dtype(dtype).name]


@pytest.mark.parametrize("name", EVERY)
def test_value_and_gradients_of_an_op_are_those_without_jit(name, request):
    refusals = []
    thorough = request.config.getoption("--hypothesis-profile") == "nightly"  # all would take half an hour to compile
    samples = samples_of(name)
    for k in range(len(samples)) if thorough or name in LOOKS_AT_CONTENTS else (0,):
        sample = samples[k]
        if not OpStep(name, sample, np.float32).arrays:
            continue  # numbers alone: the same at each call
        for dtype in (np.float32, np.float64) if thorough else (np.float32,):
            try:
                same_as_eager(op_story(name, k, dtype), tolerance(dtype))
            except JitError as error:
                if LOOKS_AT_CONTENTS.get(name, "!") not in str(error):
                    raise
                refusals.append(error)
    assert bool(refusals) == (name in LOOKS_AT_CONTENTS)


# ---------------------------------------------------------------- models


def batches(shape, classes, n, dtype=np.float32):
    """Batches whose classes can be learnt: the sign of sums of the inputs."""
    rng = np.random.default_rng(1)
    for _ in range(n):
        x = rng.standard_normal(shape).astype(dtype)
        yield tg.Tensor(x), np.digitize(x.reshape(len(x), -1)[:, :3].sum(1), np.linspace(-1, 1, classes - 1))


def token_batches(vocabulary, shape, n):
    """Tokens that follow one another by a rule, and those that come next."""
    rng = np.random.default_rng(1)
    for _ in range(n):
        ids = (rng.integers(0, vocabulary, (shape[0], 1)) + 3 * np.arange(shape[1] + 1)) % vocabulary
        yield ids[:, :-1], ids[:, 1:]


def training(model_of, optimizer_of, data, loss_of=F.cross_entropy, clip=None, schedule=None, dtype=None):
    """A story of a whole training; answers each loss, and at the end the parameters."""

    def story(jit):
        model = model_of()
        if dtype:
            for p in model.parameters():
                p.array = p.array.astype(dtype)
                p.requires_grad_(False).requires_grad_(True)
        optimizer = optimizer_of(model.parameters())
        rates = schedule(optimizer) if schedule else None

        def step(x, y):
            optimizer.zero_grad()
            loss = loss_of(model(x), y)
            loss.backward()
            if clip:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            if rates:
                rates.step()
            return loss

        jitted = jit(step)
        for x, y in data():
            yield jitted(x, y)
        yield tuple(p.array for p in model.parameters())

    return story


def mlp(*widths):
    def make():
        rng = np.random.default_rng(0)
        layers = [nn.Linear(a, b, rng=rng) for a, b in pairwise(widths)]
        return nn.Sequential(*(part for layer in layers[:-1] for part in (layer, nn.ReLU())), layers[-1])

    return make


# Tolerances: float32 rounds at 6e-8, sums are added up in another order, and 200 steps with a rate of 0.1 or Adam's
# division by a small root multiply that; measured differences are below a tenth of what is allowed. In float64 the
# same trainings agree to 1e-9, so nothing but rounding is in it.
@pytest.mark.parametrize("dtype, allowed", [(np.float32, 2e-3), (np.float64, 1e-9)])
@pytest.mark.parametrize(
    "optimizer",
    [
        lambda ps: optim.SGD(ps, lr=0.1, momentum=0.9),
        lambda ps: optim.SGD(ps, lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-3),
        lambda ps: optim.Adam(ps, lr=1e-3),
        lambda ps: optim.AdamW(ps, lr=1e-3),
        lambda ps: optim.RMSprop(ps, lr=1e-3, momentum=0.9, centered=True),
    ],
    ids=["SGD", "Nesterov", "Adam", "AdamW", "RMSprop"],
)
def test_an_mlp_ends_where_it_does_without_jit(optimizer, dtype, allowed):
    data = lambda: batches((32, 20), 4, 200, dtype)  # noqa: E731
    same_as_eager(training(mlp(20, 32, 16, 4), optimizer, data, dtype=dtype), allowed)


def test_moons_end_where_they_do_without_jit():
    def hinge(y, t):
        return F.relu(1 - y.squeeze(-1) * (2 * t - 1)).mean()

    data = lambda: ((x, t.astype(np.float32)) for x, t in batches((100, 2), 2, 200))  # noqa: E731
    same_as_eager(training(mlp(2, 16, 16, 1), lambda ps: optim.SGD(ps, lr=0.1), data, hinge), 2e-3)


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_a_gpt_ends_where_it_does_without_jit(dropout):
    def model():
        return GPT(GPTConfig(17, context=8, layers=2, heads=2, width=16, dropout=dropout), rng=np.random.default_rng(0))

    def loss(logits, y):
        return F.cross_entropy(logits.reshape((-1, 17)), y.reshape(-1))

    def optimizer(ps):
        return optim.AdamW(ps, lr=1e-3)

    def warm(optimizer):
        return optim.lr_scheduler.LinearLR(optimizer, total_iters=50)

    data = lambda: token_batches(17, (4, 8), 60)  # noqa: E731
    same_as_eager(training(model, optimizer, data, loss, clip=1.0, schedule=warm), 5e-3)


class TextCNN(nn.Module):
    def __init__(self):
        rng = np.random.default_rng(0)
        self.table = nn.Embedding(30, 8, rng=rng)
        self.conv = nn.Conv1d(8, 12, 3, rng=rng)
        self.last = nn.Linear(12, 3, rng=rng)

    def forward(self, ids):
        h = F.relu(self.conv(self.table(ids).transpose(1, 2)))
        return self.last(tg.amax(h, -1))


def test_a_text_cnn_ends_where_it_does_without_jit():
    def data():
        return ((x, y[:, 0] % 3) for x, y in token_batches(30, (6, 20), 100))

    same_as_eager(training(TextCNN, lambda ps: optim.Adam(ps, lr=1e-3), data), 5e-3)


class ImageNet(nn.Module):
    def __init__(self, dropout):
        rng = np.random.default_rng(0)
        self.conv, self.norm = nn.Conv2d(2, 4, 3, padding=1, rng=rng), nn.BatchNorm2d(4)
        self.last, self.drop = nn.Linear(16, 3, rng=rng), nn.Dropout(dropout)

    def forward(self, x):
        h = F.max_pool2d(F.relu(self.norm(self.conv(x))), 3)
        return self.last(self.drop(h.flatten(1)))


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_a_cnn_with_batch_norm_ends_where_it_does_without_jit_running_means_and_all(dropout):
    models = []

    def model():
        models.append(ImageNet(dropout))
        return models[-1]

    data = lambda: batches((8, 2, 6, 6), 3, 60)  # noqa: E731
    same_as_eager(training(model, lambda ps: optim.SGD(ps, lr=0.05, momentum=0.9), data), 5e-3)
    eager, jitted = models
    for name, a in eager.state_dict().items():
        np.testing.assert_allclose(jitted.state_dict()[name].array, a.array, rtol=5e-3, atol=5e-3, err_msg=name)


class RNN(nn.Module):
    def __init__(self):
        rng = np.random.default_rng(0)
        self.enter, self.stay, self.last = (nn.Linear(a, b, rng=rng) for a, b in ((3, 8), (8, 8), (8, 3)))

    def forward(self, x):
        h = tg.zeros(x.shape[0], 8)
        for t in range(x.shape[1]):
            h = (self.enter(x[:, t]) + self.stay(h)).tanh()
        return self.last(h)


def test_an_rnn_ends_where_it_does_without_jit():
    data = lambda: batches((10, 6, 3), 3, 200)  # noqa: E731
    same_as_eager(training(RNN, lambda ps: optim.SGD(ps, lr=0.1), data, clip=1.0), 2e-3)


def test_a_forward_pass_alone_in_no_grad_answers_what_it_does_without_jit():
    def story(jit):
        model = mlp(20, 32, 4)()
        step = jit(lambda x: {"logits": model(x), "both": [F.softmax(model(x), -1), None]})
        with tg.no_grad():
            for x, _ in batches((8, 20), 4, 5):
                y = step(x)
                yield y["logits"], y["both"][0]

    same_as_eager(story)


def test_gradients_of_functions_inside_a_step_are_those_without_jit():
    def story(jit):
        w = parameter(4, 4)
        of_w = tg.func.grad(lambda w, x: ((x @ w).tanh() ** 2).sum())
        of_x = tg.func.value_and_grad(lambda x: (x * x.sin()).sum())

        def step(x):
            value, gx = of_x(x)
            return value, gx, of_w(w.detach(), x)

        jitted = jit(step)
        for i in range(5):
            yield jitted(numbers(3, 4, seed=i))

    same_as_eager(story)


@pytest.mark.parametrize("way", ["func", "autograd"])
def test_second_derivatives_inside_a_step_are_those_without_jit(way):
    def story(jit):
        w = parameter(4)

        def penalty(x):
            if way == "func":
                return tg.func.grad(lambda v: (tg.func.grad(lambda u: ((u * x).tanh() ** 3).sum())(v) ** 2).sum())(x)
            y = ((w * x).tanh() ** 2).sum()
            (g,) = tg.autograd.grad(y, w, create_graph=True)
            w.grad = None
            (y + (g * g).sum()).backward()
            return w.grad

        jitted = jit(penalty)
        for i in range(5):
            yield jitted(numbers(4, seed=i))

    same_as_eager(story)
