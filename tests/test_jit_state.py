"""A jitted step follows what changes around it between calls: shapes, modes, options, states, arrays, gradients."""

import gc
import weakref

import numpy as np
import pytest
from jit_steps import never_silently_wrong, numbers, parameter, same_as_eager

import tinygrad_ft as tg
from tinygrad_ft import nn, ops, optim
from tinygrad_ft.ops.update import clip_elements

F = nn.functional


class Net(nn.Module):
    """Two layers, with dropout between them."""

    def __init__(self, dropout=0.0, seed=0):
        rng = np.random.default_rng(seed)
        self.first, self.last = nn.Linear(4, 8, rng=rng), nn.Linear(8, 3, rng=rng)
        self.drop = nn.Dropout(dropout)

    def forward(self, x):
        return self.last(self.drop(self.first(x).tanh()))


def trained(between, n=8, kind=optim.SGD, dropout=0.0, at=(5,), **options):
    """A story of training Net, in which `between(model, optimizer)` comes before call 5."""

    def story(jit):
        model = Net(dropout)
        optimizer = kind(model.parameters(), **{"lr": 0.1, **options})

        def step(x, y):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            return loss

        jitted = jit(step)
        for i in range(n):
            if i in at:
                between(model, optimizer)
            y = np.random.default_rng(i).integers(0, 3, 6)
            yield jitted(numbers(6, 4, seed=i), y), *(p.array for p in model.parameters())

    return story


def option(name, value):
    def change(model, optimizer):
        optimizer.param_groups[0][name] = value

    return change


def load_model(model, optimizer):
    model.load_state_dict(Net(seed=7).state_dict())


def load_optimizer(model, optimizer):
    state = optimizer.state_dict()
    for entry in state["state"].values():
        for a in entry.values():
            a[...] = a * 2
    optimizer.load_state_dict(state)


def forget_state(model, optimizer):
    optimizer.state.clear()


def other_arrays(model, optimizer):
    for p in model.parameters():
        p.array = p.array * np.float32(0.5)


def by_columns(model, optimizer):
    for p in model.parameters():
        p.array = np.asfortranarray(p.array * np.float32(0.5))


def one_view(model, optimizer):
    model.first.weight.array = np.repeat(model.first.weight.array, 2, axis=1)[:, ::2]


def freeze(model, optimizer):
    model.first.weight.requires_grad_(False)


def thaw(model, optimizer):
    freeze(model, optimizer)
    model.first.weight.requires_grad_(True)


def other_layer(model, optimizer):
    model.last = nn.Linear(8, 3, rng=np.random.default_rng(5))


def other_weight(model, optimizer):
    model.last.weight = nn.Parameter(model.last.weight.array * np.float32(3))


def another_group(model, optimizer):
    weight = model.last.weight
    optimizer.param_groups[0]["params"] = [p for p in optimizer.param_groups[0]["params"] if p is not weight]
    optimizer.add_param_group({"params": [weight], "lr": 1.0})


def evaluate(model, optimizer):
    model.eval()


def hook(model, optimizer):
    model.last.weight.register_hook(lambda g: g * 3)


def stray_gradient(model, optimizer):
    model.first.weight.grad = tg.Tensor(np.asfortranarray(numbers(8, 4).array))


def no_dropout(model, optimizer):
    model.drop.p = 0.0


CHANGES = [
    load_model, load_optimizer, forget_state, other_arrays, by_columns, one_view, freeze, thaw, other_layer,
    other_weight, another_group, evaluate, hook, stray_gradient, no_dropout,
]  # fmt: skip


@pytest.mark.parametrize("kind", [{"momentum": 0.9}, {"kind": optim.AdamW, "lr": 0.01}], ids=["SGD", "AdamW"])
@pytest.mark.parametrize("change", CHANGES)
def test_training_goes_on_as_without_jit_when_something_changes_between_calls(change, kind):
    same_as_eager(trained(change, dropout=0.25 if change in (evaluate, no_dropout) else 0.0, **kind))


@pytest.mark.parametrize(
    "name, value", [("weight_decay", 0.1), ("momentum", 0.5), ("nesterov", True), ("lr", 0.01), ("lr", 2)]
)
def test_an_option_of_the_optimiser_that_changes_is_followed(name, value):
    same_as_eager(trained(option(name, value), momentum=0.9))


def test_a_rate_that_was_a_whole_number_can_become_a_fraction():
    same_as_eager(trained(option("lr", 0.25), lr=1))


def test_a_rate_that_is_a_tensor_is_followed():
    class Own(optim.SGD):
        def __init__(self, params, lr):
            super().__init__(params, tg.tensor(lr))

    def change(model, optimizer):
        optimizer.param_groups[0]["lr"].array[...] = 0.01

    same_as_eager(trained(change, kind=Own))


def test_a_rate_that_becomes_a_tensor_is_followed():
    same_as_eager(trained(option("lr", tg.tensor(0.02))))


def test_a_rate_passed_as_an_argument_and_set_in_the_step_is_followed():
    def story(jit):
        w = parameter(3)
        optimizer = optim.SGD([w], lr=0.1)

        def step(x, rate):
            optimizer.param_groups[0]["lr"] = rate
            optimizer.zero_grad()
            (w * x).sum().backward()
            optimizer.step()

        jitted = jit(step)
        for i in range(6):
            jitted(numbers(3, seed=i), 0.1 * (i + 1))
            yield w.array

    never_silently_wrong(story)


@pytest.mark.parametrize("order", ["after", "before"])
@pytest.mark.parametrize("rounds", [1, 2])
def test_a_schedule_inside_the_step_goes_on_at_each_call(order, rounds):
    def story(jit):
        w = parameter(3)
        optimizer = optim.SGD([w], lr=0.1)
        schedule = optim.lr_scheduler.StepLR(optimizer, 1, 0.5)

        def step(x):
            for _ in range(rounds):
                optimizer.zero_grad()
                (w * x).sum().backward()
                if order == "before":
                    schedule.step()
                optimizer.step()
                if order == "after":
                    schedule.step()

        jitted = jit(step)
        for i in range(6):
            jitted(numbers(3, seed=i))
            yield w.array, np.array(optimizer.param_groups[0]["lr"])

    never_silently_wrong(story)


# ---------------------------------------------------------------- arguments


def test_other_shapes_dtypes_and_kinds_of_arguments_are_recorded_anew():
    def story(jit):
        step = jit(lambda x, k: x.exp() * k + x.sum())
        for shape, dtype, k in [
            ((3,), "f4", 2),
            ((2, 3), "f4", 2),
            ((3,), "f8", 2),
            ((0,), "f4", 2),
            ((3,), "f4", 3),
            ((3,), "f4", True),
            ((), "f4", 2),
        ]:
            for i in range(3):
                yield step(numbers(*shape, seed=i, dtype=dtype), k)

    same_as_eager(story)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int64])
@pytest.mark.parametrize("number", [float, np.float32, np.float64])
def test_a_number_among_the_arguments_changes_freely_and_promotes_as_it_does_without_jit(dtype, number):
    def story(jit):
        step = jit(lambda x, k: (x * k, k * x.sum()))
        for i in range(4):
            yield step(tg.Tensor(np.arange(3).astype(dtype)), number(0.1 * i))

    same_as_eager(story, 1e-14 if dtype is np.float64 else 1e-3 if dtype is np.float16 else 1e-6)


LAYOUTS = {
    "by columns": np.asfortranarray,
    "a view": lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    "backwards": lambda a: a[::-1],
    "read-only": lambda a: np.broadcast_to(a, a.shape),
    "off its alignment": lambda a: np.frombuffer(b"?" + a.tobytes(), a.dtype, offset=1).reshape(a.shape),
}


@pytest.mark.parametrize("size", [4, 100], ids=["small", "large"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_arguments_may_lie_in_memory_as_they_like(layout, size):
    def story(jit):
        step = jit(lambda x: (x.T @ x, x.exp()))
        for i in range(4):
            yield step(tg.Tensor(LAYOUTS[layout](numbers(size, size, seed=i).array)))

    same_as_eager(story, 1e-4)


@pytest.mark.parametrize("size", [4, 100], ids=["small", "large"])
def test_arguments_are_neither_written_nor_kept(size):
    def step(x):
        y = x * 2
        clip_elements(y, clip_value=0.5)
        return y, x

    jitted = tg.jit(step)
    for i in range(5):
        x = numbers(size, size, seed=i)
        before = x.array.copy()
        _, same = jitted(x)
        assert np.array_equal(x.array, before)
        same.array[...] = 7
        assert np.array_equal(x.array, before)
        gone = weakref.ref(x.array)
        del x, same
        gc.collect()
        assert gone() is None, f"call {i} keeps its argument"


def test_results_that_someone_holds_stay_what_they_were():
    jitted = tg.jit(lambda x: (x * 2, (x * 2).sum()))
    held = [jitted(numbers(4, seed=i)) for i in range(6)]
    for i, (y, total) in enumerate(held):
        np.testing.assert_allclose(y.array, numbers(4, seed=i).array * 2)
        np.testing.assert_allclose(total.array, numbers(4, seed=i).array.sum() * 2, rtol=1e-5)


# ---------------------------------------------------------------- gradients


@pytest.mark.parametrize(
    "take",
    [lambda g: g, lambda g: g.array, lambda g: g.array[1:], lambda g: g.detach(), lambda g: memoryview(g.array)],
    ids=["tensor", "array", "view", "detached", "memory"],
)
def test_a_gradient_held_from_outside_stays_what_it_was(take):
    w = parameter(2, 4)

    def step(x):
        w.grad = None
        (w * x).sum().backward()

    jitted = tg.jit(step)
    held = []
    for i in range(6):
        jitted(numbers(2, 4, seed=i))
        held.append(take(w.grad))
    for i, g in enumerate(held):
        g = np.array(g.array if isinstance(g, tg.Tensor) else g)
        np.testing.assert_allclose(g, numbers(2, 4, seed=i).array[-len(g) :], rtol=1e-6)


def accumulated(loss, shape=(3, 4), leaf=parameter):
    """A story in which three calls add up a gradient, and another jitted step uses it."""

    def story(jit):
        w = leaf(*shape)
        optimizer = optim.SGD([w], lr=0.1, momentum=0.9)

        def add(x):
            y = loss(w, x)
            y.backward()
            return y

        def apply():
            optimizer.step()
            optimizer.zero_grad()

        jitted_add, jitted_apply = jit(add), jit(apply)
        for i in range(15):
            y = jitted_add(numbers(*shape, seed=i))
            yield y, w.grad.array.copy(), w.array
            if i % 3 == 2:
                jitted_apply()

    return story


LOSSES = {
    "product": lambda w, x: (w * x).sum(),
    "matmul": lambda w, x: ((x @ w.T) ** 2).sum(),
    "transposed": lambda w, x: ((x.T @ w).tanh()).sum(),
    "linear": lambda w, x: (F.linear(x, w) ** 2).sum(),
    "sum": lambda w, x: w.sum() * 1.0,
    "sum alone": lambda w, x: w.sum(),
    "twice": lambda w, x: (w + w * x).sum(),
    "view": lambda w, x: (w.T * x.T).sum() + w[0].sum(),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_add_up_over_calls_and_another_jitted_step_uses_them(loss):
    same_as_eager(accumulated(LOSSES[loss]))


def test_gradients_add_up_on_a_parameter_that_lies_by_columns():
    def leaf(*shape):
        return tg.Tensor(np.asfortranarray(numbers(*shape).array)).requires_grad_()

    same_as_eager(accumulated(LOSSES["matmul"], leaf=leaf))


GRADIENTS = {
    "replaced": lambda w, x: setattr(w, "grad", w.grad * 2),
    "set to a constant": lambda w, x: setattr(w, "grad", tg.ones(3)),
    "set to an argument": lambda w, x: setattr(w, "grad", x),
    "set to zeros": lambda w, x: setattr(w, "grad", tg.zeros(3)),
    "clipped": lambda w, x: nn.utils.clip_grad_norm_([w], 0.5),
    "clipped by elements": lambda w, x: nn.utils.clip_grad_value_([w], 0.5),
    "forgotten": lambda w, x: setattr(w, "grad", None),
    "added again": lambda w, x: (w * 3).sum().backward(),
    "given": lambda w, x: w.backward(x),
}


@pytest.mark.parametrize("what", GRADIENTS)
def test_a_gradient_that_the_step_changes_is_what_it_leaves_behind(what):
    def story(jit):
        w = parameter(3)

        def step(x):
            w.grad = None
            (w * w * x).sum().backward()
            GRADIENTS[what](w, x)

        jitted = jit(step)
        for i in range(6):
            jitted(numbers(3, seed=i))
            yield np.zeros(1) if w.grad is None else w.grad.array
            if w.grad is not None:
                w.grad.array[...] = 9  # the caller may write there

    never_silently_wrong(story)


def test_a_recording_lets_go_of_the_gradients_that_it_found():
    w = tg.tensor(np.ones(3, np.float32), requires_grad=True)

    @tg.jit
    def step(x):
        w.grad = None
        ops.sum(w * x).backward()

    found = []
    for i in range(4):
        step(tg.tensor(np.full(3, i, np.float32)))
        assert w.grad.array.tolist() == [i] * 3
        found.append(weakref.ref(w.grad.array))
    assert found[0]() is None and found[1]() is None  # those of the two recordings
    assert found[3]() is not None  # or the references would say nothing
