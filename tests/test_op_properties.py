"""For every op with samples: gradients are right on drawn calls, and nothing right is called wrong.

A hundred examples for each one of the profile's, spread over the ops: 100,000 with --hypothesis-profile=nightly.
"""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from tinygrad_ft import ops
from tinygrad_ft.engine import OPS
from tinygrad_ft.gradcheck import SAMPLES, Verdict
from tinygrad_ft.testing import assert_gradients, calls

UNDECIDED = [Verdict.KINK, Verdict.LIMITED]  # of drawn numbers some lie on a kink, or where float32 loses its digits
PER_OP = -(-100 * settings.default.max_examples // len(SAMPLES))


def check(name, examples, **options):
    """Raise for the smallest drawn call whose gradients are not right."""

    @settings(max_examples=examples, suppress_health_check=[HealthCheck.too_slow], **options)
    @given(calls(name))
    def gradients_are_right(call):
        assert_gradients(call.function, *call.inputs, directions=1, accept=UNDECIDED)

    gradients_are_right()


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_gradients_are_right_on_drawn_calls(name):
    check(name, PER_OP)


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("tanh", lambda g, y: g * (1.0 - y)),
        ("mul", lambda g, a, b: (g * a, g * b)),
        ("exp", lambda g, y: g * getattr(y, "array", y)),
    ],
)
def test_a_wrong_rule_is_seen_in_a_few_calls(name, rule, monkeypatch):
    monkeypatch.setattr(OPS[name], "rule", rule)
    with pytest.raises(AssertionError):
        check(name, 20, derandomize=True, database=None)


@pytest.mark.parametrize(
    ("layout", "has_it"),
    [
        ("Fortran", lambda x: x.flags.f_contiguous and not x.flags.c_contiguous),
        ("negative", lambda x: min(x.strides, default=0) < 0),
        ("strided", lambda x: x.ndim and x.strides[-1] == 2 * x.itemsize),
    ],
)
def test_a_fault_in_one_layout_alone_is_seen(layout, has_it, monkeypatch):
    def rule(g, x):
        return g * ops.cos(x) * (1.5 if has_it(getattr(x, "array", x)) else 1.0)

    monkeypatch.setattr(OPS["sin"], "rule", rule)
    assert_gradients(ops.sin, np.ones((2, 3)))
    with pytest.raises(AssertionError):
        check("sin", 400, derandomize=True, database=None)
