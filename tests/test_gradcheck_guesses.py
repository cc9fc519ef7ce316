"""Each guess, from a gradient written by hand with the fault that it names."""

import re

import numpy as np
import pytest

import tinygrad_ft as tg
from tinygrad_ft.gradcheck import Verdict, examine
from tinygrad_ft.gradcheck.case import Case
from tinygrad_ft.gradcheck.guess import LAST, LOOKS, guess, guess_shape

A, B, S = (np.random.default_rng(i).uniform(0.5, 2.0, shape) for i, shape in enumerate([(2, 3), (3, 4), (3, 3)]))
X = np.array([0.3, 0.7, -0.4, 0.9])
IDS = np.array([0, 2, 2, 1])


def softmax(x):
    e = np.exp(x)
    return e / e.sum()


# f, inputs, gradient, what the guess says
FAULTS = {
    "sign": (lambda x: float(np.sum(x**2)), [X], lambda x: -2 * x, r"^sign\?$"),
    "sign and factor": (lambda x: float(np.sum(x**2)), [X], lambda x: -6 * x, r"^sign, and ratio -3 everywhere"),
    "half": (lambda x: float(np.sum(x**2)), [X[:3]], lambda x: x, "the 2 of a square forgotten"),
    "twice": (lambda x: float(np.sum(x**2)), [X[:3]], lambda x: 4 * x, "a factor 2 too much"),
    "mean": (lambda x: float(np.mean(x**2)), [A], lambda x: 2 * x, "ratio 6 is the number of elements: mean"),
    "batch": (lambda x: float(np.sum(x.mean(0) ** 2)), [B], lambda x: np.ones((3, 1)) * 2 * x.mean(0),
              "ratio 3.*batch"),
    "constant": (lambda x: float(np.sum(np.log2(x))), [A], lambda x: 1 / x, "ratio 0.693 everywhere: a constant"),
    "missing": (lambda x: float(np.sum(x**2)), [X], lambda x: 0 * x, r"missing \(zero\)"),
    "none": (lambda x: float(np.sum(x**2)), [X], lambda x: None, r"missing \(zero\)"),
    "part missing": (lambda x: float(np.sum(x**2)), [X], lambda x: 2 * x * [1, 1, 0, 1], "zero here"),
    "nan": (lambda x: float(np.sum(x**2)), [X], lambda x: 2 * x * [1, np.nan, 1, 1], "division by zero"),
    "transposed": (lambda s: float(np.sum(s * S**2)), [S], lambda s: (S**2).T, "^transposed"),
    "reversed": (lambda x: float(x @ [1, 2, 3, 4]), [X], lambda x: np.array([4.0, 3, 2, 1]),
                 "reverse order along axis 0"),
    "permuted": (lambda x: float(x @ [1, 2, 3, 4]), [X], lambda x: np.array([2.0, 4, 1, 3]), "in the wrong order"),
    "mask": (lambda x: float(np.sum(np.maximum(x, 0))), [X], lambda x: np.ones(4), "a mask is missing"),
    "inverted": (lambda x: float(np.sum(np.maximum(x, 0))), [X], lambda x: (x < 0) * 1.0, "mask is inverted"),
    "off by x": (lambda x: float(np.sum(x**3)), [X], lambda x: 3 * x, r"factor of 1 / x \(input 0\)"),
    "off by sign": (lambda x: float(np.sum(x * abs(x))), [X], lambda x: 2 * x, r"sign of x"),
    "other factor": (lambda x, y: x * y, [A, A + 1], lambda x, y, g: (g * x, g * x),
                     "x .* where y .* belongs.*exchanged"),
    "input for output": (np.tanh, [X], lambda x, g: g * (1 - x * x), "where the output belongs, in 1 - t\\^2"),
    "other slope": (np.tanh, [X], lambda x, g: g * (1 - np.tanh(x)), r"is 1 - t, .* should be 1 - t\^2"),
    "matrix not turned": (lambda a, s: a @ s, [A, S], lambda a, s, g: (g @ s, a.T @ g), "transposed. s where its"),
    "exchanged": (lambda x, y: np.sin(x) * y, [A, A + 1], lambda x, y, g: (g * np.sin(x), g * y * np.cos(x)),
                  "swapped"),
    "not summed": (lambda a, b: a + b, [B, B[0]], lambda a, b, g: (g, g[0]),
                   "broadcast axis not summed. only the first"),
    "last copy": (lambda a, b: a * b, [B, B[0]], lambda a, b, g: (g * b, (g * a)[-1]), "not summed. only the last"),
    "forwards": (np.cumsum, [X], lambda x, g: np.cumsum(g), "backward along axis 0"),
    "by row": (lambda a, w: a**2 * w[:, None], [A, np.array([2.0, 5])], lambda a, w, g: (2 * g * a, (g * a * a).sum(1)),
               r"1 / w .* along axis 0"),
    "sum forgotten": (softmax, [X], lambda x, g: softmax(x) * g, "a sum or mean along axis 0"),
    "one place": (lambda x: float(np.sum(x**2)), [X], lambda x: 2 * x * [1, 1, 1.3, 1], "all others"),
    "complement": (lambda x: 1 / (1 + np.exp(-x)) + x * 0, [X],
                   lambda x, g: g - g * np.exp(-x) / (1 + np.exp(-x)) ** 2, "one minus"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_guessed(name):
    f, inputs, gradient, said = FAULTS[name]
    report = examine(f, inputs, gradient=gradient)
    assert report.verdict == Verdict.WRONG
    assert re.search(said, report.worst.guess), report.worst.guess


def test_a_gradient_that_was_assigned_where_it_should_accumulate_is_guessed():
    def assigned(w, ids, g):
        gw = np.zeros_like(w)
        gw[ids] = g
        return gw, None

    report = examine(lambda w, ids: w[ids], [B, IDS], gradient=assigned)
    assert "assigned where it should accumulate" in report.worst.guess and report.worst.element[0] == 2


def test_what_fits_no_pattern_is_guessed_to_lack_a_term():
    def f(x):
        return x * tg.exp(x).detach() + tg.exp(x) * x.detach() * 0.3 + tg.sin(x.detach() * 2)

    assert examine(f, tg.tensor(X, requires_grad=True)).worst.guess == LAST


@pytest.mark.parametrize(
    ("message", "got", "wanted", "said"),
    [
        ("", (3, 2), (2, 3), "transposed"),
        ("", (4, 3), (3,), "not summed"),
        ("", (1, 3), (3,), "an axis of length 1 too many or too few"),
        ("", (5, 5), (2, 3), "swapped"),
        ("", (3,), (2, 3), "an axis too many"),
        ("the rule of f answered shape (3, 2) for an input of shape (2, 3): it must", None, (), "transposed"),
        ("matmul needs", None, (), "its shapes do not fit"),
    ],
)
def test_a_wrong_shape_is_guessed_about(message, got, wanted, said):
    assert said in guess_shape(message, [("x", (2, 3)), ("w", (5, 5))], got, wanted)


def test_a_right_gradient_and_one_of_noise_find_no_pattern_but_the_last():
    rng = np.random.default_rng(0)
    e = rng.standard_normal((2, 3))
    case = Case(
        e, rng.standard_normal((2, 3)), np.ones((2, 3), bool), [("x", A)], 0, [e], 0, [A], [], True, lambda a: a
    )
    assert guess(case) == LAST and len(LOOKS) > 12
