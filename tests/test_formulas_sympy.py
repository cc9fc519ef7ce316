"""Forty expressions: the LaTeX of each and of its derivatives, computed by SymPy, is the engine's number to 1e-12."""

import re

import numpy as np
import pytest
import sympy
from latex_reader import evaluate
from sympy.parsing.latex import parse_latex

import tinygrad_ft as tg
from tinygrad_ft import func
from tinygrad_ft.explain import signs
from tinygrad_ft.explain.algebra import negative
from tinygrad_ft.explain.facts import split
from tinygrad_ft.explain.formulas import constant, formula
from tinygrad_ft.explain.parser import compute, parse

SCALARS = [
    "x**3 - 2*x + 1", "x*exp(sin(x))", "x**2*y**3", "1/(1 + x**2)", "exp(-x**2/2)", "log(1 + x**2)", "sqrt(x)*y",
    "sin(x)*cos(y)", "tanh(x*y)", "x**y", "(x + y)/(x - y)", "exp(x)*(x + y)", "sigmoid(x)", "softplus(x)*y",
    "log(x)/x", "sin(x)**2", "atan(x/y)", "(x**2 + y**2)**(3/2)", "x/sqrt(1 + y**2)", "exp(x*y)/y", "cosh(x) + tan(y)",
    "gelu(x)", "silu(x)", "relu(x - 1)*x", "abs(x - y)**3", "logaddexp(x, y)",
]  # fmt: skip
VECTORS = [
    "sum(v**2)", "dot(v, w)*sum(v)", "softmax(v)", "log_softmax(v)", "logsumexp(v)", "layer_norm(v)",
    "mean((v - w)**2)", "sin(v)*w", "sqrt(sum(v*v))",
]  # fmt: skip
MATRICES = [
    "sum((W @ v + b)**2)", "softmax(W @ v + b)", "sum(tanh(W @ v + b))", "mean((X @ W.T + b)**2)",
    "sum(log_softmax(X @ W.T)*Y)", "dot(v, A @ v)", "sum(X * X)", "sum(layer_norm(X @ A)*X)", "sum(sigmoid(W @ v)*b)",
    "sum(softmax(X)*X)", "logsumexp(A @ v)",
]  # fmt: skip
draw = np.random.default_rng(3)
SHAPES = {"x": (), "y": (), "v": (3,), "w": (3,), "b": (2,), "W": (2, 3), "X": (4, 3), "Y": (4, 2), "A": (3, 3)}
VALUES = {name: np.asarray(draw.uniform(0.3, 1.9, shape)) for name, shape in SHAPES.items()}
assert len(SCALARS + VECTORS + MATRICES) >= 40


def of(source):
    """The expression as a formula, and as a function of arrays, with the names that are in it."""
    tree = parse(source)
    names = tree.names()

    def f(make):
        return lambda *xs: compute(tree, dict(zip(names, xs, strict=True)), make)

    return formula(f(constant), **{n: SHAPES[n] for n in names}), f(lambda c: tg.tensor(np.float64(c))), names


def number(f, names, by):
    for name in by:
        f = func.jacrev(f, names.index(name))
    return f(*(tg.tensor(VALUES[n]) for n in names)).numpy_copy()


def agrees(latex, expected, values=VALUES):
    found = evaluate(latex, values, expected.shape)
    return bool(np.allclose(found, expected, rtol=1e-12, atol=1e-12))


def derivatives(source):
    """Every derivative up to the second order that has at most 2 axes: its names, formula and the engine's number."""
    y, f, names = of(source)
    yield (), y, number(f, names, ())
    for a in names:
        if len(y.shape) + len(SHAPES[a]) > 2:
            continue
        first = y.derivative(a)
        yield (a,), first, number(f, names, (a,))
        for b in names:
            if len(first.shape) + len(SHAPES[b]) <= 2 and not y.shape:
                yield (a, b), first.derivative(b), number(f, names, (a, b))


@pytest.mark.parametrize("source", SCALARS + VECTORS + MATRICES)
def test_the_latex_of_value_and_derivatives_computed_by_sympy_is_the_engines_number(source):
    for by, made, expected in derivatives(source):
        assert agrees(made.latex, expected), (by, made.latex)
        assert np.allclose(made.evaluate(**VALUES), expected, rtol=1e-12, atol=1e-12), by


@pytest.mark.parametrize("source", [s for s in VECTORS + MATRICES if of(s)[0].shape or "W" in s])
def test_what_a_rule_hands_on_is_the_engines_too(source):
    y, f, names = of(source)
    g = np.asarray(draw.uniform(0.5, 1.5, y.shape))
    for name in names:
        made = y.vjp(name, "g")
        pulled = func.vjp(f, *(tg.tensor(VALUES[n]) for n in names))[1](tg.tensor(g))
        pulled = pulled if isinstance(pulled, tuple) else (pulled,)
        expected = pulled[names.index(name)].numpy_copy()
        assert agrees(made.latex, expected, {**VALUES, "g": g}), made.latex


def by_lark(latex):
    """What SymPy's own reader of LaTeX may make of it: its grammar is ambiguous, products need a dot, e is a letter."""
    plain = latex.replace(r"\,", r"\cdot").replace(r"\left", "").replace(r"\right", "")
    read = parse_latex(plain, backend="lark")
    readings = read.children if hasattr(read, "children") else [read]
    return [r.subs(sympy.Symbol("e"), sympy.E) for r in readings if isinstance(r, sympy.Expr)]


UNKNOWN_TO_LARK = (r"\sigma", r"\tanh", r"\cosh", r"\sinh", r"\operatorname", r"\pi", r"\left[")


@pytest.mark.parametrize("source", SCALARS)
def test_sympys_own_reader_of_latex_reads_the_same_number(source):
    for by, made, expected in derivatives(source):
        if any(sign in made.latex for sign in UNKNOWN_TO_LARK):
            continue
        readings = [r.subs({n: float(VALUES[n]) for n in "xy"}).evalf(30) for r in by_lark(made.latex)]
        found = [float(r) for r in readings if r.is_Float or r.is_Integer]
        assert np.isclose(found, expected, rtol=1e-12, atol=1e-12).any(), (by, made.latex, readings)


TOKENS = re.compile(r"\d+\.?\d*|\w+|\*\*|\S")
SAME = {"abs": sympy.Abs, "relu": lambda x: sympy.Max(x, 0), "sigmoid": lambda x: 1 / (1 + sympy.exp(-x)),
        "softplus": lambda x: sympy.log(1 + sympy.exp(x)), "silu": lambda x: x / (1 + sympy.exp(-x)),
        "gelu": lambda x: x * (1 + sympy.erf(x / sympy.sqrt(2))) / 2,
        "logaddexp": lambda a, b: sympy.log(sympy.exp(a) + sympy.exp(b))}  # fmt: skip


def length(text):
    """How long a formula is: the names, numbers, operators and brackets of its text in Python's signs."""
    return len(TOKENS.findall(text))


@pytest.mark.parametrize("source", SCALARS)
def test_a_first_derivative_is_at_most_half_again_as_long_as_sympys_own(source):
    x, y = sympy.symbols("x y", positive=True)
    theirs = sympy.sympify(source, {"x": x, "y": y, **SAME})
    made, _, names = of(source)
    for name in names:
        ours, own = made.derivative(name).text, sympy.diff(theirs, {"x": x, "y": y}[name])
        assert length(ours) <= 1.5 * length(sympy.sstr(own)), (name, ours, own)


def test_derivatives_of_matrix_expressions_are_no_longer_than_one_and_a_half_of_sympys():
    W, v, b, A = (sympy.MatrixSymbol(n, r, c) for n, r, c in [("W", 2, 3), ("v", 3, 1), ("b", 2, 1), ("A", 3, 3)])
    for source, theirs, name, by in [
        ("sum((W @ v + b)**2)", (W * v + b).T * (W * v + b), "W", W),
        ("sum((W @ v + b)**2)", (W * v + b).T * (W * v + b), "v", v),
        ("sum((W @ v + b)**2)", (W * v + b).T * (W * v + b), "b", b),
        ("dot(v, A @ v)", v.T * A * v, "v", v),
        ("dot(v, A @ v)", v.T * A * v, "A", A),
    ]:
        ours, own = of(source)[0].derivative(name).text, sympy.sstr(theirs.diff(by).doit())
        assert length(ours.replace("@", "*").replace(" ", "")) <= 1.5 * length(own), (ours, own)


@pytest.mark.parametrize(
    ("source", "by", "latex"),
    [
        ("sum((W @ v + b)**2)", "W", r"2 \, \left(W \, v + b\right) \, v^\top"),
        ("softmax(v)", "v", r"\operatorname{diag}\left(p\right) - p \, p^\top"),
        ("dot(v, A @ v)", "v", r"A \, v + A^\top \, v"),
        ("x*exp(sin(x))", "x", r"x \, e^{\sin\left(x\right)} \, \cos\left(x\right) + e^{\sin\left(x\right)}"),
        ("sigmoid(x)", "x", r"\sigma\left(x\right) \, \left(1 - \sigma\left(x\right)\right)"),
        ("tanh(x)", "x", r"1 - \tanh^{2}\left(x\right)"),
        ("logsumexp(v)", "v", r"p"),
    ],
)
def test_well_known_derivatives_are_printed_as_textbooks_print_them(source, by, latex):
    p = formula(lambda v: tg.softmax(v), v=(3,))
    assert of(source)[0].derivative(by).where(p=p).latex == latex


# ---------------------------------------------------------------- faults that the checks above notice


def test_a_wrong_rule_is_noticed(monkeypatch):
    monkeypatch.setattr(tg.ops.tanh, "rule", lambda g, y: g * (1.0 + y * y))
    made = of("tanh(x*y)")[0].derivative("x")
    monkeypatch.undo()
    assert not agrees(made.latex, number(of("tanh(x*y)")[1], ["x", "y"], ("x",)))


def test_a_dropped_sign_is_noticed(monkeypatch):
    monkeypatch.setattr(signs.Latex, "_sum", lambda self, x: (" + ".join(self.of(abs_of(t))[0] for t in x.args), 0))
    made, f, names = of("x**3 - 2*x + 1")
    assert not agrees(made.latex, number(f, names, ()))


def abs_of(term):
    return negative(term) if split(term)[0] < 0 else term


@pytest.mark.parametrize(
    ("source", "by"), [("exp(x)*(x + y)", "y"), ("sum((W @ v + b)**2)", "v"), ("x/(x - y)**3", "y")]
)
def test_a_lost_bracket_is_noticed(monkeypatch, source, by):
    made, f, names = of(source)
    monkeypatch.setattr(signs.Latex, "brackets", lambda self, text: text)
    try:
        noticed = not agrees(made.latex, number(f, names, ()))
        noticed = noticed or not agrees(made.derivative(by).latex, number(f, names, (by,)))
    except (AssertionError, sympy.matrices.exceptions.ShapeError, TypeError):
        noticed = True  # what is left does not even fit together
    assert noticed
