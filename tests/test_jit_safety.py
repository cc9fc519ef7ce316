"""A jitted step answers what the step does, or says why it cannot: hostile stories, told with jit and without."""

import types

import numpy as np
import pytest
from jit_steps import never_silently_wrong, numbers, parameter, same_as_eager, told

import tinygrad_ft as tg
from tinygrad_ft import nn, optim
from tinygrad_ft.jit import JitError
from tinygrad_ft.jit.roots import checksum

F = nn.functional


def refused(story, message):
    """The story ends with a JitError that says this."""
    with pytest.raises(JitError, match=message):
        list(told(story, tg.jit))


def calls(step, n=4, shape=(3,)):
    """So many calls with other numbers each."""
    return (step(numbers(*shape, seed=i)) for i in range(n))


# ---------------------------------------------------------------- what a step may not do


def test_a_branch_on_the_value_of_a_tensor_is_refused():
    refused(lambda jit: calls(jit(lambda x: x * 2 if x.sum() > 0 else x)), "asked for whether a Tensor is true.*where")


@pytest.mark.parametrize("look", [lambda x: x.sum().item(), lambda x: float(x[0]), lambda x: x.tolist(), np.asarray])
def test_looking_at_numbers_is_refused(look):
    refused(lambda jit: calls(jit(lambda x: (look(x), x)[1])), "a jitted step asked for the values? of a Tensor")


def test_answering_a_python_float_is_refused():
    refused(lambda jit: calls(jit(lambda x: 1.5)), "answers Tensors.*got a float")


def test_a_step_that_changes_a_global_is_refused_and_the_global_is_named():
    def story(jit):
        count = 0

        def step(x):
            nonlocal count
            count += 1
            return x * 2

        yield from calls(jit(step))

    refused(story, r"the step changes count \(from 0 to 1\)")


def test_an_enclosing_float_that_changes_after_the_recording_is_refused_and_named():
    def story(jit):
        scale = 2.0
        step = jit(lambda x: x * scale)
        yield from calls(step)
        scale = 3.0
        yield step(numbers(3))

    refused(story, "scale was 2.0 when the step was recorded, and is 3.0 now")


def test_a_number_that_is_another_in_every_call_is_refused_and_its_op_named():
    def story(jit):
        yield from calls(jit(lambda x: x * next(scales)), 6)

    scales = iter(map(float, range(100)))
    refused(story, "baked into the step: mul at .* was called with")


def module_with(**names):
    made = types.ModuleType("m")
    vars(made).update(names)
    return made


class Box:
    scale = 2.0


def changing(holder, put):
    """A story in which a step reads a number from `holder()`, which `put` changes after the recording."""

    def story(jit):
        box, read = holder()
        step = jit(lambda x: x * read(box))
        yield from calls(step)
        put(box, 3.0)
        yield step(numbers(3))
        put(box, 2.0)

    return story


def of_class(box, value):
    Box.scale = value


PLACES = {
    "a list": (lambda: ([2.0], lambda b: b[0]), lambda b, v: b.__setitem__(0, v)),
    "a dict": (lambda: ({"a": 2.0}, lambda b: b["a"]), lambda b, v: b.__setitem__("a", v)),
    "a dict of numbers": (lambda: ({0: 2.0}, lambda b: b[0]), lambda b, v: b.__setitem__(0, v)),
    "nested dicts": (lambda: ({"a": {"b": 2.0}}, lambda b: b["a"]["b"]), lambda b, v: b["a"].__setitem__("b", v)),
    "an object": (lambda: (Box(), lambda b: b.scale), lambda b, v: setattr(b, "scale", v)),
    "a class": (lambda: (Box, lambda b: b.scale), of_class),
    "a namespace": (lambda: (types.SimpleNamespace(s=2.0), lambda b: b.s), lambda b, v: setattr(b, "s", v)),
    "a NumPy array": (lambda: (np.full(3, 2, np.float32), lambda b: b), lambda b, v: b.fill(v)),
    "a number of a NumPy array": (lambda: (np.full(3, 2.0), lambda b: float(b[0])), lambda b, v: b.fill(v)),
    "a module of Python": (
        lambda: (module_with(s=2.0), lambda b: b.s),
        lambda b, v: setattr(b, "s", v),
    ),
    "an attribute of a model": (
        lambda: (nn.Linear(1, 1), lambda b: vars(b).get("s", 2.0)),
        lambda b, v: setattr(b, "s", v),
    ),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_number_that_changes_where_the_step_reads_it_is_noticed(place):
    never_silently_wrong(changing(*PLACES[place]))


def test_an_object_argument_whose_attribute_changes_is_noticed():
    def story(jit):
        box = Box()
        step = jit(lambda x, b: x * b.scale)
        for value in (2.0, 2.0, 2.0, 3.0):
            box.scale = value
            yield step(numbers(3), box)

    never_silently_wrong(story)


def test_a_list_argument_of_another_length_is_recorded_anew():
    def story(jit):
        step = jit(lambda xs: sum(xs[1:], xs[0]))
        for n in (2, 2, 2, 3, 3, 3, 2):
            yield step([numbers(3, seed=i + n) for i in range(n)])

    same_as_eager(story)


def test_what_is_appended_to_a_list_in_the_step_is_noticed():
    def story(jit):
        seen = []
        step = jit(lambda x: (seen.append(1), x * 2)[1])
        for i in range(5):
            yield step(numbers(3, seed=i)), np.array(len(seen))

    never_silently_wrong(story)


def test_a_module_that_counts_its_calls_is_noticed():
    class Counting(nn.Module):
        def __init__(self):
            self.calls = 0

        def forward(self, x):
            self.calls += 1
            return x * 2

    def story(jit):
        model = Counting()
        step = jit(lambda x: model(x))
        for i in range(5):
            yield step(numbers(3, seed=i)), np.array(model.calls)

    never_silently_wrong(story)


# ---------------------------------------------------------------- arrays behind the back of the ops


def training(change=lambda w: None, before=True):
    """A story of plain gradient descent whose step also does something to its parameter."""

    def story(jit):
        w = parameter(2, 4)
        optimizer = optim.SGD([w], lr=0.1)

        def step(x):
            if before:
                change(w)
            optimizer.zero_grad()
            loss = ((w * x) ** 2).sum()
            loss.backward()
            optimizer.step()
            if not before:
                change(w)
            return loss

        jitted = jit(step)
        for i in range(5):
            yield jitted(numbers(2, 4, seed=i)), w.array

    return story


def halve(w):
    w.array[...] *= 0.5


def flip(w):
    w.array[...] = w.array[::-1].copy()


def assign(w):
    w.array = w.array * np.float32(0.5)


def clear_some(w):
    if w.grad is not None:
        w.grad.array[0] = 0


def test_a_training_step_that_does_nothing_of_the_kind_is_replayed():
    same_as_eager(training())


@pytest.mark.parametrize("before", [True, False], ids=["at its beginning", "at its end"])
@pytest.mark.parametrize("change", [halve, flip, assign, clear_some])
def test_writing_into_an_array_past_all_ops_is_noticed(change, before):
    assert never_silently_wrong(training(change, before))


@pytest.mark.parametrize("first", ["equal", "other"])
@pytest.mark.parametrize(
    "constant",
    [
        lambda x, w: np.abs(x.array),
        lambda x, w: float(np.abs(x.array).max()),
        lambda x, w: tg.tensor(float(np.abs(x.array).max())),
        lambda x, w: np.abs(w.array),
        lambda x, w: float(np.abs(w.array).max()),
    ],
    ids=["array of x", "number of x", "tensor of x", "array of w", "number of w"],
)
@pytest.mark.parametrize(
    "use",
    [lambda x, c: x * c, lambda x, c: tg.tensor(c) if not isinstance(c, tg.Tensor) else c],
    ids=["in an op", "answered"],
)
def test_a_constant_that_numpy_makes_of_an_array_in_the_step_is_noticed(first, constant, use):
    def story(jit):
        w = numbers(3, seed=9)
        step = jit(lambda x: use(x, constant(x, w)))
        for i in range(3):
            yield step(numbers(3, seed=0 if first == "equal" else i))
        w.array[...] *= 3
        yield step(numbers(3, seed=0))
        for i in range(3):
            yield step(numbers(3, seed=20 + i))

    never_silently_wrong(story)


def test_a_float_among_the_arguments_stays_one_through_arithmetic_with_numbers():
    def story(jit):
        step = jit(lambda x, f: x * ((1 - f) / 2))
        for i, f in enumerate((0.5, 0.5, 0.5, 0.9)):
            yield step(numbers(3, seed=i), f)

    same_as_eager(story)


steps_taken = 0  # what a loop may call its counter, while the step calls a method of that name


def test_a_global_that_only_has_the_name_of_a_method_may_change():
    global steps_taken
    counter = types.SimpleNamespace(steps_taken=lambda x: x * 2)
    step = tg.jit(lambda x: counter.steps_taken(x))
    for steps_taken in range(5):  # noqa: B007
        step(numbers(3))


def test_a_tensor_that_another_takes_the_place_of_is_noticed():
    def story(jit):
        w = numbers(3)
        step = jit(lambda x: x * w)
        yield from calls(step)
        w = numbers(3, seed=9)
        yield step(numbers(3))

    refused(story, "w is another Tensor than when the step was recorded")


def test_elements_that_are_not_there_are_not_taken_in_a_replay_either():
    table = tg.Tensor(np.ones((4, 3), np.float32))
    step = tg.jit(lambda ids: table[ids])
    for _ in range(3):
        step(tg.tensor([0, 3]))
    with pytest.raises(IndexError, match="out of bounds"):
        step(tg.tensor([0, 4]))
    assert step(tg.tensor([-1, 3])).shape == (2, 3)


@pytest.mark.parametrize("threads", [0, -1, 1.5])
def test_a_number_of_threads_is_at_least_1(threads):
    with pytest.raises(ValueError, match="at least 1"):
        tg.jit(lambda x: x, threads=threads)


@pytest.mark.parametrize("size", [0, 7, 1 << 16, (1 << 17) + 13])
def test_a_checksum_sees_every_change_of_a_byte_and_of_the_order(size):
    rng = np.random.default_rng(4)
    of = rng.integers(0, 256, size).astype(np.uint8)
    same, known = of.copy(), checksum(of)
    for _ in range(200 if size else 0):
        i, j = rng.integers(0, size, 2)
        changed = same.copy()
        changed[i] ^= np.uint8(1 << rng.integers(8))
        assert checksum(changed) != known
        changed = same.copy()
        changed[[i, j]] = changed[[j, i]]
        assert (checksum(changed) != known) == (same[i] != same[j])
    for apart in (512, 8, 4096):  # rows exchanged, words exchanged
        changed = np.roll(same, apart)
        assert (checksum(changed) != known) == bool((changed != same).any())
    assert checksum(same) == known
