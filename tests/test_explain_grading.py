"""Exercises are graded by differences, and what is wrong with an answer is said in a teacher's words."""

import numpy as np
import pytest

import tinygrad_ft as tg

rng = np.random.default_rng(0)
A, B, S = rng.normal(size=(3, 4)), rng.normal(size=(4, 2)), rng.normal(size=(3, 3))
b = rng.normal(size=4)
row = rng.normal(size=4)


def matmul(a, b):
    return a @ b


def add(x, b):
    return x + b


def turned(s):
    return s.T * 1.0


RIGHT = {
    "matmul": (matmul, lambda g, a, b: (g @ b.T, a.T @ g), (A, B)),
    "a list": (matmul, lambda g, a, b: [g @ b.T, a.T @ g], (A, B)),
    "broadcast": (add, lambda g, x, b: (g, g.sum(0)), (A, b)),
    "one number": (lambda x: tg.sin(x * x), lambda g, x: g * np.cos(x * x) * 2 * x, (1.3,)),
    "float32": (lambda x: tg.exp(x), lambda g, x: g * np.exp(x), (row.astype(np.float32),)),
    "an index": (lambda x, i: x[i], lambda g, x, i: (np.add.reduce(np.eye(4)[i] * g[:, None]), None), (row, [0, 0, 2])),
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_rule_is_right(name):
    f, rule, inputs = RIGHT[name]
    got = tg.explain.grade(f, rule, *inputs)
    assert got.right and str(got).startswith("right"), got


WRONG = {
    "transposed, by shape": (
        matmul,
        lambda g, a, b: (g @ b.T, g.T @ a),
        (A, B),
        "dL/db",
        "is your answer the transpose",
    ),
    "transposed": (turned, lambda g, s: g, (S,), "dL/ds", "is your answer the transpose"),
    "not summed": (add, lambda g, x, b: (g, g), (A, b), "dL/db", "broadcast axis not summed"),
    "sign": (lambda x: tg.exp(x), lambda g, x: -g * np.exp(x), (A,), "dL/dx", "sign turned"),
    "half": (lambda x: (x * x).sum(), lambda g, x: g * x, (A,), "dL/dx", "the 2 of a square forgotten"),
    "mean": (lambda x: x.mean(), lambda g, x: g * np.ones_like(x), (A,), "dL/dx", "mean against sum"),
    "a name that is not there": (lambda x: x * x, lambda g, x: x.wrong, (A,), "AttributeError", "wrong"),
    "no return": (lambda x: x * x, lambda g, x: None, (A,), "return", ""),
    "an answer too few": (add, lambda g, x, b: g, (A, b), "2 floating-point inputs", "got 1"),
    "a word": (lambda x: x * x, lambda g, x: "2x", (A,), "'2x'", ""),
    "g forgotten": (lambda x: x * x, lambda g, x: 2 * x, (A,), "dL/dx", ""),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_rule_is_told_what_is_wrong(name):
    f, rule, inputs, where, why = WRONG[name]
    got = tg.explain.grade(f, rule, *inputs)
    assert not got.right and str(got).startswith("not yet: ") and where in str(got) and why in str(got), got
    assert "\n" not in str(got)


def test_at_a_kink_no_rule_is_judged():
    got = tg.explain.grade(lambda x: tg.relu(x), lambda g, x: g * (x > 0), np.array([0.0, 1.0]))
    assert not got.right and str(got).startswith("not judged here: "), got


def test_an_error_of_the_exercise_itself_is_raised():
    with pytest.raises(ValueError, match="matmul"):
        tg.explain.grade(matmul, lambda g, a, b: (g, g), A, A)


@pytest.mark.parametrize(
    ("yours", "right", "said"),
    [
        (3, 3.0, "right"),
        ([1.0, 2.0], tg.tensor([1.0, 2.0]), "right"),
        (0.0, 0.0, "right"),
        (3, 4, "not yet: 3 is too small"),
        (0.1, 0.0, "not yet: 0.1 is too large"),
        (2, 4, "not yet: your answer is 0.5 times the right one"),
        (-4, 4, "not yet: the sign is turned"),
        (A.T, A, "not yet: your answer is the transpose"),
        (S.T, S, "not yet: your answer is the transpose"),
        (0.3 * S, S, "not yet: your answer is 0.3 times the right one everywhere"),
        (A, S, "not yet: your answer has shape (3, 4), not (3, 3)"),
        ([1, 3], [1, 2], "not yet: 1 of 2 numbers are wrong, most of all the one at (1,): 3"),
        (None, 3, "not yet: there is no answer"),
        (..., 3, "not yet: there is no answer"),
        ("x", 3, "not yet: a number or an array is asked for: got 'x'"),
        (np.nan, 3, "not yet: nan is no answer"),
        (np.inf, np.inf, "right"),
        ([np.inf, 5.0], [np.inf, 2.0], "not yet: your answer is 2.5 times the right one everywhere"),
    ],
)
def test_a_predicted_value_is_right_or_told_what_is_wrong(yours, right, said):
    assert str(tg.explain.grade_value(yours, right)) == said


def test_an_estimate_may_be_as_far_off_as_it_says():
    assert tg.explain.grade_value(2.7, np.e, rtol=0.02).right
    assert not tg.explain.grade_value(2.7, np.e).right
