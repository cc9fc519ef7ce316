"""The parser of expressions reads its own grammar and nothing else; whatever else comes is one clear ValueError."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_ft as tg
from tinygrad_ft.explain.formulas import formula
from tinygrad_ft.explain.parser import FUNCTIONS, ParseError, Tree, compute, parse, parse_values


def value(source, **values):
    tensors = {name: tg.tensor(np.asarray(v, np.float64)) for name, v in values.items()}
    return compute(parse(source), tensors, lambda c: tg.tensor(np.float64(c))).numpy_copy()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("1 + 2 * 3", 7), ("(1 + 2) * 3", 9), ("2 - 3 - 4", -5), ("2 ** 3 ** 2", 512), ("2^3", 8), ("-2 ** 2", -4),
        ("2 ** -1", 0.5), ("8 / 4 / 2", 1), ("--2", 2), ("1.5e1 + .5", 15.5), ("pi - pi", 0), ("log(e)", 1),
        ("max(2, 3) + min(2, 3)", 5), ("+3", 3), ("-3 * -2", 6), ("ln(1)", 0), ("2 * -3", -6), ("pow(2, 3)", 8),
    ],
)  # fmt: skip
def test_arithmetic_is_read_as_python_reads_it(source, expected):
    assert value(source) == pytest.approx(expected, abs=1e-12)


def test_matrices_transposes_and_axes_are_read():
    W, x = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([1.0, -1.0])
    assert np.array_equal(value("W.T @ x", W=W, x=x), W.T @ x)
    assert np.array_equal(value("sum(W, axis=0) + mean(W, axis=-1)", W=W), W.sum(0) + W.mean(1))
    assert np.allclose(value("layer_norm(x)", x=x), tg.layer_norm(tg.tensor(x), (2,)).numpy_copy())
    assert value("max(W)", W=W) == 4


def test_values_are_numbers_vectors_and_matrices():
    found = parse_values("x=2, v = [1, -2.5], W=[[1,2],[3,4e0]]")
    assert found == {"x": 2.0, "v": [1.0, -2.5], "W": [[1.0, 2.0], [3.0, 4.0]]}
    assert parse_values("") == {}


@pytest.mark.parametrize(
    ("source", "place", "words"),
    [
        ("x + * 2", 4, "'*' came"),
        ("(x + 1", 6, r"'\)' was expected, and the end came"),
        ("x y", 2, "an operator or the end"),
        ("sigmid(x)", 0, "did you mean sigmoid"),
        ("__import__('os')", 0, "no function"),
        ("x.real", 1, "an operator or the end"),
        ("x if x else y", 2, "an operator or the end"),
        ("[1, 2]", 0, "was expected"),
        ("exp(x, y)", 0, "takes 1 arguments: got 2"),
        ("exp(x, axis=0)", 7, "takes no such axis"),
        ("x ** 9999", 2, "a power of 9999"),
        ("1e999", 0, "more than a number can be"),
        ("(" * 100 + "x" + ")" * 100, 60, "60 deep"),
        ("+".join("x" * 500), 401, "more than 400 parts"),
        ("x" * 3000, 2000, "at most 2000"),
        ("π", 0, "no part of an expression"),
        ("", 0, "empty"),
        ("x = 2", 2, "an operator or the end"),
        ("lambda: 0", 6, "an operator or the end"),
    ],
)
def test_what_cannot_be_read_is_one_line_that_names_the_place(source, place, words):
    with pytest.raises(ParseError, match=words) as caught:
        parse(source)
    assert caught.value.place == place and "\n" not in str(caught.value)
    shown, pointer = caught.value.pointed().split("\n")
    assert pointer.strip() == "^" and len(shown) <= 100
    assert shown[pointer.index("^") :] == source[place : place + 100 - pointer.index("^")]


@pytest.mark.parametrize(
    "source", ["x", "x=", "x=1,x=2", "2=x", "pi=3", "x=[1,[2]]", "x=[[[1]]]", "x=[]", "x=y", "sin=1"]
)
def test_values_that_cannot_be_read_are_refused(source):
    with pytest.raises(ParseError):
        parse_values(source)


@pytest.mark.parametrize("source", ["x + y", "2 + x @ 2", "x.T @ W @ x @ 3", "softmax(x, axis=2)", "layer_norm(2)"])
def test_what_the_ops_refuse_is_a_value_error(source):
    with pytest.raises(ValueError):
        value(source, x=[1.0, 2.0], W=np.eye(3))


PIECES = [*"()+-*/@^,.=[]_ ", "**", ".T", "axis=", "x", "y", "W", "e", "pi", "1", "2.5", "1e9", "é", "'", "\\", "\n",
          "__class__", "eval", "import os", "lambda", *FUNCTIONS]  # fmt: skip


def test_ten_thousand_random_inputs_are_read_or_refused_as_value_errors():
    draw = random.Random(7)
    read = 0
    for _ in range(10_000):
        source = "".join(draw.choices(PIECES, k=draw.randrange(1, 12)))
        for reads in (parse, parse_values):
            try:
                tree = reads(source)
            except ValueError:
                continue
            read += 1
            assert isinstance(tree, Tree | dict)
    assert read > 100  # some of it is mathematics


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=40))
def test_any_text_is_read_or_refused_as_a_value_error(source):
    for reads in (parse, parse_values):
        try:
            reads(source)
        except ValueError as error:
            assert "\n" not in str(error)


SCALARS = [
    "x*exp(sin(y))",
    "x**y/(x + y)",
    "sigmoid(x)*tanh(y) - 3/x",
    "sqrt(x**2 + y**2)",
    "log(x)/y**2",
    "-(x - y)**3",
]


@pytest.mark.parametrize("source", SCALARS)
def test_the_text_of_a_formula_can_be_typed_in_again(source):
    def of(text):
        return formula(lambda x, y: compute(parse(text), {"x": x, "y": y}, _constant), "x", "y")

    from tinygrad_ft.explain.formulas import constant as _constant

    for made in (of(source), of(source).derivative("x"), of(source).derivative("y").derivative("x")):
        assert of(made.text).evaluate(x=0.7, y=1.9) == pytest.approx(made.evaluate(x=0.7, y=1.9), rel=1e-13)
