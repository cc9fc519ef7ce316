"""Steps that are no plain functions, and functions that the library was given: what they read is guarded too."""

import functools

import pytest
from jit_steps import never_silently_wrong, numbers, parameter, same_as_eager
from test_jit_safety import calls, refused

import tinygrad_ft as tg

shared = [2.0]


@pytest.fixture(autouse=True)
def _as_it_was():
    """A story that ends with an error leaves its number changed."""
    shared[0] = 2.0


# ---------------------------------------------------------------- a step that is no plain function


class Step:
    scale = 2.0

    def __init__(self):
        self.factors = {"a": 1.0}

    def __call__(self, x):
        return x * (self.scale * self.factors["a"])

    def method(self, x):
        return self(x)


class SmallStep:
    __slots__ = ("scale",)

    def __init__(self):
        self.scale = 2.0

    def __call__(self, x):
        return x * self.scale


def keyword_step():
    return functools.partial(lambda x, scale: x * scale, scale=2.0)


STEPS = [
    (keyword_step, lambda step: step.keywords.update(scale=3.0), r"partial.keywords\['scale'\]"),
    (Step, lambda step: step.factors.update(a=3.0), r"Step.factors\['a'\]"),
    (Step, lambda step: setattr(step, "scale", 3.0), "how many attributes Step has"),
    (SmallStep, lambda step: setattr(step, "scale", 3.0), "SmallStep.scale"),
    (lambda: Step().method, lambda step: step.__self__.factors.update(a=3.0), r"Step.factors\['a'\]"),
    (lambda: functools.partial(Step().method), lambda step: step.func.__self__.factors.update(a=3.0), r"Step.factors"),
]


@pytest.mark.parametrize("make, change, called", STEPS)
def test_a_step_that_is_an_object_or_a_partial_is_guarded_in_the_same_way(make, change, called):
    def story(jit):
        step = make()
        jitted = jit(step)
        yield from calls(jitted)
        change(step)
        yield jitted(numbers(3))

    refused(story, f"^{called}.* was .* when the step was recorded, and is .* now")


# ---------------------------------------------------------------- functions that the library was given


@tg.elementwise
def fused(xp, x):
    return x * shared[0]


@fused.vjp
def _(g):
    return g * 2


@tg.op
def with_rule(xp, x):
    return x * 2


@with_rule.vjp
def _(g):
    return g * shared[0]


def hooked(w):
    w.register_hook(lambda g: g * shared[0])
    return lambda x: x


@pytest.mark.parametrize("of", [lambda w: fused, lambda w: with_rule, hooked])
def test_what_functions_read_that_the_library_was_given_is_guarded_too(of):
    def story(jit):
        w = parameter(3)
        f = of(w)

        def step(x):
            w.grad = None
            y = f(w * x)
            y.sum().backward()
            return y, w.grad

        jitted = jit(step)
        yield from calls(jitted)
        shared[0] = 3.0
        yield jitted(numbers(3))
        shared[0] = 2.0

    assert never_silently_wrong(story).startswith("shared[0] was 2.0 when the step was recorded, and is 3.0 now")


def test_what_a_jitted_step_within_another_reads_is_guarded_too():
    def story(jit):
        inner = jit(lambda x: x * shared[0])
        outer = jit(lambda x: inner(x) + 1)
        yield from calls(outer)
        shared[0] = 3.0
        yield outer(numbers(3))
        shared[0] = 2.0

    refused(story, r"shared\[0\] was 2.0 when the step was recorded, and is 3.0 now")


def test_what_a_forward_reads_that_python_runs_at_each_replay_is_followed():
    @tg.op
    def own(xp, x):
        return x * factor[0]

    def story(jit):
        factor[0] = 2.0
        step = jit(lambda x: own(x) + 1)
        yield from calls(step)
        factor[0] = 3.0
        yield step(numbers(3))

    factor = [2.0]
    same_as_eager(story)
