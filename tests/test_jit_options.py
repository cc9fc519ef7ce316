"""Options of modules that never stay as they are: who has too many recordings is told what kept changing."""

import pytest
from jit_steps import numbers, same_as_eager
from test_jit_safety import calls, refused

from tinygrad_ft import nn
from tinygrad_ft.jit import guards


class Scale(nn.Module):
    scale = 1.0

    def forward(self, x):
        return x * self.scale


def kept_changing(kinds, every):
    """A story in which an option of a module, or the arguments, are others every few calls."""

    def story(jit):
        model = Scale()
        step = jit(lambda x: model(x))
        for i in range(70):
            if kinds == "options":
                model.scale = float(i // every)
            yield step(numbers(3 + (i // every if kinds == "arguments" else 0)))

    return story


@pytest.mark.parametrize(
    "kinds, every, said",
    [
        ("options", 3, "recorded in 16 states of its modules.*what kept changing is scale of Scale"),
        ("options", 1, r"baked into the step: mul at .*\(scale of Scale changed in between\)"),
        ("arguments", 3, "recorded for 16 kinds of arguments"),
        ("arguments", 1, "called with 64 kinds of arguments, each once"),
    ],
)
def test_who_has_too_many_programs_is_told_what_kept_changing(kinds, every, said):
    refused(kept_changing(kinds, every), said)


def test_a_step_that_differs_in_each_call_because_of_an_option_is_told_of_it():
    class Repeated(nn.Module):
        def __init__(self):
            self.times = 0

        def forward(self, x):
            for _ in range(self.times):
                x = x * 2
            return x

    def story(jit):
        model = Repeated()
        step = jit(lambda x: model(x) + 1)
        for model.times in range(9):
            yield step(numbers(3))

    refused(story, r"something else in each of 4 calls.*\(times of Repeated changed in between\)")


def test_a_module_without_attributes_that_gets_one_is_recorded_anew():
    def story(jit):
        model = Scale()
        step = jit(lambda x: model(x))
        yield from calls(step)
        model.scale = 3.0
        yield from calls(step)

    same_as_eager(story)


def test_options_that_hide_what_changed_are_caught(monkeypatch):
    monkeypatch.setattr(guards.Options, "changed", lambda self: [])
    with pytest.raises(AssertionError, match="scale of Scale"):
        refused(kept_changing("options", 3), "what kept changing is scale of Scale")
