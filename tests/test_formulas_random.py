"""Random expressions of numbers, vectors and matrices: formulas and what the engine computes are the same."""

import random

import numpy as np
import pytest
from latex_reader import evaluate

import tinygrad_ft as tg
from tinygrad_ft import func
from tinygrad_ft.explain import abbreviated, formula, parse
from tinygrad_ft.explain.formulas import constant
from tinygrad_ft.explain.parser import compute
from tinygrad_ft.explain.values import simplified

draw = np.random.default_rng(1)
VALUES = {"x": np.float64(0.7), "y": np.float64(1.3), "v": draw.normal(size=3), "w": draw.normal(size=3)}
VALUES |= {"b": draw.normal(size=3), "A": draw.normal(size=(3, 3)), "X": draw.normal(size=(4, 3))}
BY_ONE = ["exp", "sin", "cos", "tanh", "sigmoid", "softplus", "relu", "abs", "square", "sqrt", "log", "atan", "erf"]
OF_ROWS = ["softmax", "log_softmax", "layer_norm", "exp", "tanh", "sin", "sigmoid"]
GRAMMAR = {  # a kind of array: its leaves, and how it is made of others
    "s": ("x y 2 0.5 3", ["({s} + {s})", "({s} - {s})", "({s} * {s})", "({s} / {s})", *(f + "({s})" for f in BY_ONE),
                          "({s})**2", "({s})**0.5", "maximum({s}, {s})", "sum({v})", "mean({v})", "dot({v}, {v})",
                          "logsumexp({v})", "sum({m})", "mean({m} * {m})"]),
    "v": ("v w b", ["({v} + {v})", "({v} - {v})", "({v} * {v})", *(f + "({v})" for f in OF_ROWS), "({q} @ {v})",
                    "({s} * {v})", "sum({m}, axis=0)", "({q}.T @ {v})", "({v} + {s})"]),
    "q": ("A", ["({q} @ {q})", "{q}.T", "({q} + {v})", "outer({v}, {v})", *(f + "({q})" for f in OF_ROWS)]),
    "m": ("X", ["({m} @ {q})", "({m} + {m})", "({m} * {m})", "({m} - {v})", *(f + "({m})" for f in OF_ROWS),
                "({s} * {m})"]),
}  # fmt: skip


def random_expression(dice, kind, depth):
    leaves, makers = GRAMMAR[kind]
    if depth == 0:
        return dice.choice(leaves.split())
    made = dice.choice(makers)
    while "{" in made:
        at = made.index("{")
        made = made[:at] + random_expression(dice, made[at + 1], depth - 1) + made[at + 3 :]
    return made


def expressions(count):
    """So many expressions whose values are finite and not large, with their names."""
    dice = random.Random(11)
    while count:
        source = random_expression(dice, dice.choice("svm"), dice.randrange(1, 5))
        if len(source) > 400 or not (names := parse(source).names()):
            continue
        value = of_numbers(source, names)(*(tg.tensor(VALUES[n]) for n in names)).numpy_copy()
        if np.isfinite(value).all() and np.abs(value).max() < 1e4:
            count -= 1
            yield source, names, value


def of_numbers(source, names):
    return lambda *xs: compute(parse(source), dict(zip(names, xs, strict=True)), lambda c: tg.tensor(np.float64(c)))


def of_symbols(source, names):
    tree = parse(source)
    return formula(
        lambda *xs: compute(tree, dict(zip(names, xs, strict=True)), constant),
        **{n: np.shape(VALUES[n]) for n in names},
    )


def close(a, b):
    return np.allclose(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # what is not finite is drawn again
def test_formulas_of_random_expressions_come_to_the_engines_numbers():
    checked = 0
    for source, names, value in expressions(150):
        y, name = of_symbols(source, names), names[checked % len(names)]
        assert close(y.evaluate(**VALUES), value), source
        f, tensors = of_numbers(source, names), [tg.tensor(VALUES[n]) for n in names]
        g = np.random.default_rng(checked).normal(size=value.shape)
        pulled = func.vjp(f, *tensors)[1](tg.tensor(g))
        expected = (pulled if isinstance(pulled, tuple) else (pulled,))[names.index(name)].numpy_copy()
        checked += 1
        if not np.isfinite(expected).all() or np.abs(expected).max() > 1e4:
            continue
        made, values = y.vjp(name), {**VALUES, "g": g}
        assert close(made.evaluate(**values), expected), (source, name, made.text)
        assert simplified(made.expression) == made.expression, (source, name)
        if len(made.latex) < 400:
            assert close(evaluate(made.latex, values, made.shape), expected), (source, name, made.latex)
        if len(value.shape) == 1 and np.ndim(VALUES[name]) < 2:
            jacobian = func.jacrev(f, names.index(name))(*tensors).numpy_copy()
            assert close(y.derivative(name).evaluate(**VALUES), jacobian), (source, name)
        short = abbreviated(made)
        for letter, part in short.parts.items():
            values[letter] = part.evaluate(**values)
        assert close(short.formula.evaluate(**values), expected), (source, name, short)


def test_a_layer_norm_is_told_in_steps():
    jacobian = formula(lambda v: tg.layer_norm(v, (3,)), v=(3,)).derivative("v")
    short = abbreviated(jacobian)
    assert short.formula.text == "(1/sqrt(s))*(I - (1/(3*s))*u @ u.T - (1/3)*ones @ ones.T)"
    assert {n: p.text for n, p in short.parts.items()} == {"u": "v - mean(v)", "s": "mean(u**2) + 1e-05"}


def test_a_wrong_rule_is_noticed(monkeypatch):
    monkeypatch.setattr(tg.ops.softmax, "rule", lambda g, y, *, axis: y * g)
    with pytest.raises(AssertionError):
        source, names = "softmax(A @ v)", ["A", "v"]
        made = of_symbols(source, names).vjp("v")
        monkeypatch.undo()
        expected = func.vjp(of_numbers(source, names), *(tg.tensor(VALUES[n]) for n in names))[1](
            tg.tensor(VALUES["w"])
        )
        assert close(made.evaluate(**VALUES, g=VALUES["w"]), expected[1].numpy_copy())


@pytest.mark.parametrize(
    ("f", "words"),
    [
        (lambda v: tg.cumsum(v, 0), "no formula is written for cumsum"),
        (lambda v: v[0], "an index"),
        (lambda v: v if v.sum() > 0 else -v, "a formula is not a number"),
        (lambda v: v * np.ones(3), "name an array, as one more argument"),
        (lambda v: np.ones(3) @ v, "name an array, as one more argument"),
        (lambda v: "v", "got str"),
    ],
)
def test_what_no_formula_is_written_for_is_refused_in_one_line(f, words):
    with pytest.raises(ValueError, match=words) as caught:
        formula(f, v=(3,))
    assert "\n" not in str(caught.value)


def test_formulas_are_arrays_only_while_a_derivation_runs():
    from tinygrad_ft.device import names

    before = names()
    made = formula(lambda x: tg.sin(x), "x")
    assert names() == before and made.derivative("x").text == "cos(x)" and names() == before


def test_a_name_that_is_not_there_and_an_order_that_is_none_are_refused():
    made = formula(lambda x, v: (x * v).sum(), "x", v=(3,))
    with pytest.raises(KeyError, match="there are x, v"):
        made.derivative("z")
    with pytest.raises(ValueError, match="1 or more"):
        made.derivative("x", 0)
    with pytest.raises(ValueError, match="v has no value"):
        made.evaluate(x=1.0)
    with pytest.raises(ValueError, match="v has shape"):
        made.evaluate(x=1.0, v=[1.0, 2.0])
    with pytest.raises(ValueError, match="more than 2 axes"):
        formula(lambda W: W * 2, W=(2, 3)).derivative("W")


def test_derivatives_of_a_number_by_several_variables_may_be_taken_in_any_order():
    made = formula(lambda x, y: tg.exp(x * y) / y, "x", "y")
    assert made.derivative("x").derivative("y").text == made.derivative("y").derivative("x").text
    assert made.derivative("x", 3).text == "y**2*exp(x*y)"


def test_the_engines_own_attention_explains_itself():
    made = formula(lambda Q, K, V: tg.nn.functional.scaled_dot_product_attention(Q, K, V), Q=(4, 3), K=(5, 3), V=(5, 2))
    assert made.text == "softmax((1/sqrt(3))*Q @ K.T) @ V"
    p = formula(lambda Q, K: tg.softmax(Q @ K.T / 3**0.5), Q=(4, 3), K=(5, 3))
    assert made.vjp("V").where(P=p).text == "P.T @ g"
    assert made.vjp("Q").where(P=p).text == "(1/sqrt(3))*(P*(g @ V.T - ((P*(g @ V.T)) @ ones) @ ones.T)) @ K"
    arrays = {n: draw.normal(size=s) for n, s in {"Q": (4, 3), "K": (5, 3), "V": (5, 2), "g": (4, 2)}.items()}
    *tensors, g = map(tg.tensor, arrays.values())
    expected = func.vjp(tg.nn.functional.scaled_dot_product_attention, *tensors)[1](g)
    for name, numbers in zip("QKV", expected, strict=True):
        assert close(made.vjp(name).evaluate(**arrays), numbers.numpy_copy())
        assert close(evaluate(made.vjp(name).latex, arrays, arrays[name].shape), numbers.numpy_copy())


def test_what_an_op_writes_in_place_is_in_the_formula():
    def in_place(xp, x):
        y = x * 2.0
        y += x
        xp.exp(y, out=y)
        return y

    triple = tg.op(in_place)
    assert formula(lambda x: triple(x), "x").text == "exp(3*x)"
