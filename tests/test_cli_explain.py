"""`tinygrad-ft explain`: formulas with their numbers, and one clear line for what it cannot take."""

import pytest

from tinygrad_ft.cli import main


def explain(capsys, *arguments):
    code = main(["explain", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_a_scalar_is_explained_with_every_derivative_up_to_the_order(capsys):
    code, out, err = explain(capsys, "a*exp(sin(b))", "--at", "a=2,b=3", "--order", "2")
    assert (code, err) == (0, "")
    for line in (
        "y = a*exp(sin(b))", "    = 2.30312567303", "dy/da = exp(sin(b))", "dy/db = a*exp(sin(b))*cos(b)",
        "d^2y/da^2 = 0", "d^2y/da db = exp(sin(b))*cos(b)",
        r"    LaTeX: a \, e^{\sin\left(b\right)} \, \cos\left(b\right)",
    ):  # fmt: skip
        assert line in out.splitlines()


def test_matrices_are_explained_with_transposes_and_by_the_variable_asked_for(capsys):
    code, out, _ = explain(capsys, "sum((W@x+b)**2)", "--at", "W=[[1,2],[3,4]],x=[1,1],b=[0,1]", "--wrt", "W")
    assert code == 0 and "dy/dW = 2*(W @ x + b) @ x.T" in out and "[[ 6., 6.], [16., 16.]]" in out and "/db" not in out


def test_what_has_too_many_axes_is_told_by_what_its_rule_hands_on(capsys):
    code, out, _ = explain(capsys, "softmax(W @ x)", "--at", "W=[[1,2],[3,4]],x=[1,1]")
    assert code == 0
    assert "handed on to W, where g = dL/dy arrives = (p*(g - g.T @ p)) @ x.T\n    where p = softmax(W @ x)" in out
    assert "dy/dx = (diag(p) - p @ p.T) @ W\n    where p = softmax(W @ x)" in out


def test_latex_alone_is_ready_to_be_pasted(capsys):
    code, out, _ = explain(capsys, "x**2/y", "--at", "x=1,y=2", "--latex")
    assert code == 0
    assert out.splitlines() == [
        r"f: \frac{x^{2}}{y}", r"df/dx: \frac{2 \, x}{y}", r"df/dy: -\frac{x^{2}}{y^{2}}"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["x + * 2", "--at", "x=1"], "'*' came, at place 5"),
        (["x*y", "--at", "x=1"], "y has no value: give one, as in --at y=2"),
        (["x", "--at", "x=1,z=2"], "--at names z, which is not in the expression: it has x"),
        (["x", "--at", "x=1", "--wrt", "q"], "--wrt names 'q'"),
        (["x", "--at", "x=1", "--order", "9"], "--order is 1 to 6: got 9"),
        (["sigmid(x)", "--at", "x=1"], "did you mean sigmoid?"),
        (["x**9999", "--at", "x=1"], "a power of 9999 is more than 100"),
        (["W @ x", "--at", "W=[[1,2]],x=[1,2,3]"], "2 against 3"),
        (["x.__class__", "--at", "x=1"], "an operator or the end was expected"),
        (["x + y", "--at", "x=[1,2],y=[1,2,3]"], "broadcast"),
    ],
)
def test_bad_input_is_one_clear_line_and_exit_code_1(capsys, arguments, words):
    code, out, err = explain(capsys, *arguments)
    *before, line = err.splitlines()
    assert (code, out) == (1, "") and line.startswith("tinygrad-ft: ") and words in line
    assert before == [] or before[-1].strip() == "^"


def test_a_tie_where_the_engine_answers_otherwise_than_the_formula_is_told(capsys):
    code, out, _ = explain(capsys, "maximum(x, y)", "--at", "x=1,y=1")
    assert code == 0 and out.count("    = 0.5\n    the formula gives 1 here: it is of points off ties and kinks") == 2


def test_without_a_tie_nothing_is_told(capsys):
    code, out, _ = explain(capsys, "maximum(x, y)", "--at", "x=1,y=2", "--order", "2")
    assert code == 0 and "the formula gives" not in out
