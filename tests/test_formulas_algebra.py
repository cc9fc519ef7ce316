"""Simplification never changes the value, and comes to an end: what is simplified stays as it is."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st
from mpmath import MPContext

from tinygrad_ft.explain import algebra, signs
from tinygrad_ft.explain.algebra import absolute, add, divide, multiply, negative, power
from tinygrad_ft.explain.expression import ONE, TWO, ZERO, E, Expression, plain_number, symbol
from tinygrad_ft.explain.matrix import matmul, total, transpose
from tinygrad_ft.explain.simplify import apply
from tinygrad_ft.explain.values import evaluate, simplified

mp = MPContext()
mp.dps = 50

X, Y, Z = symbol("x"), symbol("y"), symbol("z")
VALUES = {"x": mp.mpf("0.83"), "y": mp.mpf("1.37"), "z": mp.mpf("2.21")}
NUMBERS = [Fraction(n, d) for n in (-3, -2, -1, 0, 1, 2, 5) for d in (1, 2, 3)]
BY_HAND = {  # what each function means, in 50 digits
    "exp": mp.exp, "log": mp.log, "sin": mp.sin, "cos": mp.cos, "tanh": mp.tanh, "sqrt": mp.sqrt, "abs": abs,
    "square": lambda a: a * a, "reciprocal": lambda a: 1 / a, "sign": mp.sign, "expm1": lambda a: mp.exp(a) - 1,
    "log1p": lambda a: mp.log(1 + a), "add": lambda a, b: a + b, "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / b, "maximum": max, "minimum": min, "power": lambda a, b: a**b,
}  # fmt: skip
BUILT = {"add": add, "multiply": multiply, "divide": divide, "power": power}
ONE_BY_ONE = ["abs", "cos", "exp", "expm1", "log", "log1p", "reciprocal", "sign", "sin", "sqrt", "square", "tanh"]
TWO_BY_TWO = ["add", "divide", "maximum", "minimum", "multiply"]
POWERS = st.sampled_from([Fraction(2), Fraction(-1), Fraction(1, 2), Fraction(3), Fraction(-1, 2)])

# a tree is a name, a number, or a function's name and its trees
trees = st.recursive(
    st.sampled_from(sorted(VALUES)) | st.sampled_from(NUMBERS),
    lambda inner: (
        st.tuples(st.sampled_from(ONE_BY_ONE), inner)
        | st.tuples(st.sampled_from(TWO_BY_TWO), inner, inner)
        | st.tuples(st.just("power"), inner, POWERS)
    ),
    max_leaves=12,
)


class DoesNotCount(Exception):
    """A tree with a part that is not real, not finite, or 0 but for rounding."""


def counts(condition):
    if not condition:
        raise DoesNotCount


def value_of(tree):
    """By the meaning of each function; only trees count of which every part is real, finite and clearly not near 0."""
    if isinstance(tree, str | Fraction):
        return VALUES[tree] if isinstance(tree, str) else mp.mpf(tree.numerator) / tree.denominator
    name, *parts = tree
    values = [value_of(part) for part in parts]
    counts(not (name in ("divide", "reciprocal") and values[-1] == 0))
    counts(not (name in ("log", "power") and values[0] == 0) and not (name == "log1p" and values[0] == -1))
    y = BY_HAND[name](*values)
    counts(isinstance(y, mp.mpf) and (y == 0 or 1e-6 < abs(y) < 1e6))
    return y


def formula_of(tree):
    if isinstance(tree, str | Fraction):
        return symbol(tree) if isinstance(tree, str) else plain_number(tree)
    name, *parts = tree
    args = [formula_of(part) for part in parts]
    return BUILT[name](*args) if name in BUILT else apply(name, *args)


def value_of_formula(x):
    """In 50 digits."""
    args = [value_of_formula(a) for a in x.args]
    if x.head == "number":
        return mp.mpf(x.data.numerator) / x.data.denominator if isinstance(x.data, Fraction) else mp.mpf(x.data)
    leaf = {"symbol": VALUES, "constant": {"e": mp.e, "pi": mp.pi}}.get(x.head)
    if leaf:
        return leaf[x.data] * 1
    if x.head == "call":
        return BY_HAND[x.data](*args)
    return {"sum": sum, "product": mp.fprod, "power": lambda a: a[0] ** a[1]}[x.head](args)


@settings(max_examples=700, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(trees)
def test_what_is_simplified_has_the_value_of_what_was_typed(tree):
    try:
        check(tree)
    except DoesNotCount:
        reject()


def check(tree):
    value = value_of(tree)
    assert abs(value_of_formula(formula_of(tree)) - value) <= 1e-12 * max(1, abs(value))


@settings(max_examples=700, deadline=None)
@given(trees)
def test_simplifying_again_changes_nothing(tree):
    built = formula_of(tree)
    assert simplified(built) == built


@settings(max_examples=100, deadline=None)
@given(st.permutations([X, negative(Y), multiply(X, Y), power(Z, TWO), TWO, apply("sin", X)]))
def test_the_order_in_which_terms_come_does_not_matter(terms):
    assert signs.latex(add(*terms)) == signs.latex(add(*sorted(terms, key=lambda t: t.key)))
    assert multiply(*terms) == multiply(*sorted(terms, key=lambda t: t.key))


@pytest.mark.parametrize(
    ("built", "text"),
    [
        (add(X, ZERO), "x"),
        (multiply(X, ONE), "x"),
        (multiply(X, ZERO), "0"),
        (add(X, X), "2*x"),
        (add(multiply(TWO, X), multiply(plain_number(-2), X)), "0"),
        (multiply(X, X, power(X, plain_number(-1))), "x"),
        (multiply(plain_number(Fraction(1, 2)), X, TWO), "x"),
        (negative(add(X, negative(Y))), "y - x"),
        (multiply(add(X, negative(Y)), add(Y, negative(X))), "-(x - y)**2"),
        (power(multiply(plain_number(4), X), plain_number(0.5)), "2*sqrt(x)"),
        (multiply(power(E, X), power(E, Y)), "exp(x + y)"),
        (apply("log", power(E, X)), "x"),
        (apply("exp", apply("log", X)), "x"),
        (divide(divide(X, Y), divide(Z, Y)), "x/z"),
        (apply("cos", negative(X)), "cos(x)"),
        (apply("sin", negative(X)), "-sin(x)"),
        (add(multiply(power(E, X), add(X, Y)), negative(multiply(power(E, X), X))), "y*exp(x)"),
        (power(power(X, TWO), plain_number(0.5)), "abs(x)"),
        (plain_number(0.1 + 0.2), "0.30000000000000004"),
        (plain_number(1 / 3), "1/3"),
    ],
)
def test_the_usual_identities_are_used(built, text):
    assert signs.text(built) == text


ROWS, INNER, COLUMNS = 3, 4, 2
A, B, V, W = symbol("A", (3, 4)), symbol("B", (4, 2)), symbol("v", (4,)), symbol("w", (3,))
ARRAYS = {
    name: np.random.default_rng(i).uniform(0.5, 2, shape)
    for i, (name, shape) in enumerate({"A": (3, 4), "B": (4, 2), "v": (4,), "w": (3,)}.items())
}


@pytest.mark.parametrize(
    ("built", "by_numpy"),
    [
        (matmul(A, B, 3, 4, 2), lambda A, B, v, w: A @ B),
        (transpose(matmul(A, B, 3, 4, 2)), lambda A, B, v, w: (A @ B).T),
        (matmul(multiply(transpose(w := W), V), B, 3, 4, 2), lambda A, B, v, w: np.outer(w, v) @ B),
        (matmul(V, B, 1, 4, 2), lambda A, B, v, w: v @ B),
        (total(multiply(TWO, A), (3, 4), (-1,)), lambda A, B, v, w: 2 * A.sum(1, keepdims=True)),
        (total(A, (3, 4), (-2, -1)), lambda A, B, v, w: A.sum()),
        (total(V, (3, 4), (-2, -1)), lambda A, B, v, w: 3 * v.sum()),
        (total(ONE, (3, 4), (-2, -1)), lambda A, B, v, w: 12),
        (total(multiply(A, transpose(W)), (3, 4), (-2,)), lambda A, B, v, w: (A * w[:, None]).sum(0)),
        (add(A, transpose(W), V), lambda A, B, v, w: A + w[:, None] + v),
        (multiply(TWO, A, power(transpose(W), TWO), V), lambda A, B, v, w: 2 * A * w[:, None] ** 2 * v),
        (power(E, add(A, negative(transpose(W)))), lambda A, B, v, w: np.exp(A - w[:, None])),
        (divide(power(E, A), total(power(E, A), (3, 4), (-1,))),
         lambda A, B, v, w: np.exp(A) / np.exp(A).sum(1, keepdims=True)),
        (matmul(add(A, V), B, 3, 4, 2), lambda A, B, v, w: (A + v) @ B),
        (matmul(transpose(A), multiply(transpose(W), ONE), 4, 3, 1), lambda A, B, v, w: A.T @ w[:, None]),
    ],
)  # fmt: skip
def test_expressions_of_matrices_come_to_what_numpy_computes(built, by_numpy):
    found = evaluate(built, ARRAYS)
    assert np.allclose(found, by_numpy(**ARRAYS), 1e-13, 1e-13)
    assert simplified(built) == built


BELOW_X, BELOW_Y = ("add", "x", Fraction(-2)), ("add", "y", Fraction(-2))
MINUS_X, MINUS_Y = ("multiply", Fraction(-1), "x"), ("multiply", Fraction(-1), "y")


@pytest.mark.parametrize(
    ("name", "wrong", "tree"),
    [
        ("is_positive", lambda x: True, ("sqrt", ("multiply", BELOW_X, BELOW_Y))),  # sqrt(a) sqrt(b)
        ("absolute", lambda x: x, ("sqrt", ("square", BELOW_X))),
        ("is_integer", lambda x: True, ("sqrt", ("square", BELOW_X))),
        (
            "_signs",
            lambda made: ([negative(f) if f.head == "sum" else f for f in made], 1),
            ("multiply", "z", ("add", MINUS_X, MINUS_Y)),
        ),
        ("_multiplied_out", lambda parts: dict(list(parts.items())[:1]), ("add", "x", "y")),
    ],
)
def test_a_rule_of_simplification_that_is_wrong_is_noticed(monkeypatch, name, wrong, tree):
    check(tree)
    monkeypatch.setattr(algebra, name, wrong)
    with pytest.raises((AssertionError, TypeError)):
        check(tree)


def test_a_formula_that_nobody_could_read_is_refused():
    x = X
    with pytest.raises(ValueError, match="the formula has grown beyond"):
        for _ in range(40):
            x = power(add(x, apply("sin", x)), Y)


def test_an_absolute_value_times_the_sign_meets_its_like():
    product = multiply(absolute(X), apply("sign", X), power(X, plain_number(-2)))
    assert signs.text(product) == "1/x" and simplified(product) == product


def test_the_sum_of_all_of_a_softmax_of_rows_is_how_many_rows_there_are():
    rows = Expression("softmax", (A,), shape=(3, 4))
    columns = total(rows, (3, 4), (-2,))
    assert total(columns, (1, 4), (-1,)) == plain_number(3)
