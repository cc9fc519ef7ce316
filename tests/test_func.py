"""Derivatives of functions, against closed forms."""

import math

import numpy as np
import pytest

from tinygrad_ft import autograd, ops
from tinygrad_ft.func import grad, hessian, jacfwd, jacrev, jvp, value_and_grad, vjp
from tinygrad_ft.tensor import Tensor, tensor


def numbers(*x):
    return tensor(x, dtype=np.float64)


def cubic(x):
    """x -> (x0^2 x1, 5 x0, sin x1), with its Jacobian below."""
    return ops.stack([x[0] * x[0] * x[1], x[0] * 5, ops.sin(x[1])])


def cubic_jacobian(a, b):
    return [[2 * a * b, a * a], [5, 0], [0, math.cos(b)]]


# ---------------------------------------------------------------- grad and value_and_grad


def test_grad_of_x_sin_x_is_that_of_the_closed_form():
    g = grad(lambda x: x * ops.sin(x))(numbers(0.7)[0])
    np.testing.assert_allclose(g.item(), math.sin(0.7) + 0.7 * math.cos(0.7), rtol=1e-14)


def test_grad_takes_python_numbers_arrays_and_tensors():
    f = grad(lambda x: (x * x).sum())
    assert f(3.0).item() == 6 and f(3.0).dtype == np.float32
    assert f(np.array([1.0, 2.0])).tolist() == [2, 4]
    assert f(numbers(1.0, 2.0)).tolist() == [2, 4]


def test_grad_keeps_the_name_and_the_docstring_of_its_function():
    assert grad(cubic).__name__ == "cubic" and "x0^2" in jacrev(cubic).__doc__


def test_value_and_grad_answers_the_value_first():
    y, g = value_and_grad(lambda x: x**3)(2.0)
    assert y.item() == 8 and g.item() == 12


def test_argnums_says_by_which_argument_a_tuple_asks_for_a_tuple():
    f = lambda a, b, c: a * b * b + c  # noqa: E731
    assert grad(f)(2.0, 3.0, 5.0).item() == 9
    assert grad(f, argnums=1)(2.0, 3.0, 5.0).item() == 12
    assert grad(f, argnums=-1)(2.0, 3.0, 5.0).item() == 1
    assert [g.item() for g in grad(f, argnums=(2, 0))(2.0, 3.0, 5.0)] == [1, 9]
    assert [g.item() for g in grad(f, argnums=(1,))(2.0, 3.0, 5.0)] == [12]
    y, gs = value_and_grad(f, argnums=(0, 1))(2.0, 3.0, 5.0)
    assert y.item() == 23 and [g.item() for g in gs] == [9, 12]


def test_an_argnum_that_names_no_argument_is_refused():
    f = lambda a, b: (a * b).sum()  # noqa: E731
    for derivative in (grad, value_and_grad, jacrev, jacfwd, hessian):
        for argnums in (2, -3):
            with pytest.raises(IndexError, match=f"argnums {argnums} is out of range: 2 positional arguments"):
                derivative(f, argnums)(2.0, 3.0)
        with pytest.raises(TypeError, match="positional arguments, and none was given"):
            derivative(f)()
    with pytest.raises(TypeError, match=r"pass x as f\(x\), not as f\(x=x\)"):
        grad(lambda x: x * x)(x=2.0)
    with pytest.raises(TypeError, match="which argument is meant: got 'a'"):
        grad(f, "a")(2.0, 3.0)
    with pytest.raises(ValueError, match="names an argument twice"):
        grad(f, (1, -1))(2.0, 3.0)


def test_jacobians_and_hessians_are_by_one_argument():
    for derivative in (jacrev, jacfwd, hessian):
        with pytest.raises(TypeError, match=r"by one argument: got argnums=\(0, 1\)"):
            derivative(lambda a, b: (a * b).sum(), (0, 1))


@pytest.mark.parametrize("jacobian", [jacrev, jacfwd])
def test_a_jacobian_by_an_argument_counted_from_the_end_is_that_counted_from_the_start(jacobian):
    f = lambda a, b: a * b * b  # noqa: E731
    a, b = numbers(2.0, 3.0), numbers(5.0, 7.0)
    for i in (0, 1):
        assert jacobian(f, i - 2)(a, b).tolist() == jacobian(f, i)(a, b).tolist()
        assert jacobian(f, np.int64(i))(a, b).tolist() == jacobian(f, i)(a, b).tolist()
    assert hessian(lambda a, b: f(a, b).sum(), -1)(a, b).tolist() == [[4, 0], [0, 6]]


def test_what_else_a_function_answers_keeps_no_graph_however_it_is_nested():
    def f(x):
        y = x * x
        return y.sum(), {"y": y, "parts": [y, (y, 2)], "largest": y.max(0)}

    x = numbers(1.0, 2.0)
    for aux in (grad(f, has_aux=True)(x)[1], value_and_grad(f, has_aux=True)(x)[0][1]):
        assert not aux["y"].requires_grad and aux["y"].tolist() == [1, 4]
        assert not aux["parts"][0].requires_grad and not aux["parts"][1][0].requires_grad
        assert aux["parts"][1][1] == 2 and aux["largest"].values.item() == 4 and not aux["largest"].values.requires_grad
    w = tensor([3.0], requires_grad=True)
    _, aux = grad(lambda x: ((x * w).sum(), [x * w]), has_aux=True)(tensor([2.0]))
    assert aux[0].requires_grad  # w may be asked for its gradient


def test_has_aux_hands_on_what_else_the_function_answers():
    f = lambda x: (x * x, {"twice": 2, "x": x})  # noqa: E731
    g, aux = grad(f, has_aux=True)(3.0)
    assert g.item() == 6 and aux["twice"] == 2
    (y, aux), g = value_and_grad(f, has_aux=True)(3.0)
    assert y.item() == 9 and g.item() == 6 and aux["x"].item() == 3
    g, aux = grad(lambda x: (x * x, x * 5), has_aux=True)(3.0)
    assert aux.item() == 15 and not aux.requires_grad


def test_keywords_are_handed_on():
    assert grad(lambda x, *, power: x**power)(2.0, power=3).item() == 12


def test_the_gradient_of_a_function_that_ignores_its_argument_is_zero():
    assert grad(lambda x: numbers(1.0).sum())(numbers(1.0, 2.0)).tolist() == [0, 0]
    assert [g.tolist() for g in grad(lambda a, b: (a * a).sum(), argnums=(0, 1))(numbers(1.0), numbers(2.0))] == [
        [2],
        [0],
    ]


def test_a_function_whose_value_is_not_one_number_is_refused():
    for f in (lambda x: x * x, lambda x: None, lambda x: 3.0):
        with pytest.raises(ValueError, match="one number as its value"):
            grad(f)(numbers(1.0, 2.0))


def test_integers_are_refused():
    with pytest.raises(TypeError, match="only floating-point"):
        grad(lambda x: x * x)(3)


# ---------------------------------------------------------------- nesting


def test_nested_gradients_are_not_confused():
    assert grad(lambda x: x * grad(lambda y: x * y)(x))(3.0).item() == 6
    assert grad(lambda x: x * grad(lambda y: x + y)(1.0))(3.0).item() == 1
    assert grad(lambda x: grad(lambda y: x * x * y * y)(2.0))(3.0).item() == 24  # d/dx of 4 x^2


def test_gradients_nest_to_the_third_order():
    third = grad(grad(grad(lambda x: x**5)))
    assert third(2.0).item() == 60 * 4
    assert [grad(grad(ops.exp))(0.0).item(), grad(grad(grad(ops.sin)))(0.0).item()] == [1, -1]


def test_grad_works_inside_no_grad():
    with autograd.no_grad():
        assert grad(lambda x: x * x)(3.0).item() == 6
        assert grad(grad(lambda x: x**3))(3.0).item() == 18
        assert hessian(lambda x: (x**3).sum())(numbers(1.0)).tolist() == [[6]]


# ---------------------------------------------------------------- vjp, jvp, Jacobians


def test_vjp_answers_the_value_and_pulls_cotangents_back():
    y, pull = vjp(cubic, numbers(2.0, 3.0))
    np.testing.assert_allclose(y.array, [12, 10, math.sin(3)], rtol=1e-14)
    for u in np.eye(3), np.array([[1.0, 2.0, 3.0]]):
        for row in u:  # and the graph is there for the second pull
            np.testing.assert_allclose(pull(row).array, row @ np.array(cubic_jacobian(2, 3)), rtol=1e-14)


def test_vjp_takes_several_arguments_and_several_values():
    (s, p), pull = vjp(lambda a, b: (a + b, a * b), 2.0, 3.0)
    assert (s.item(), p.item()) == (5, 6)
    assert [g.item() for g in pull(1.0, 10.0)] == [31, 21]


def test_jvp_answers_the_value_and_how_it_moves():
    y, tangent = jvp(cubic, (numbers(2.0, 3.0),), (numbers(1.0, 10.0),))
    np.testing.assert_allclose(y.array, [12, 10, math.sin(3)], rtol=1e-14)
    np.testing.assert_allclose(tangent.array, np.array(cubic_jacobian(2, 3)) @ [1, 10], rtol=1e-14)
    y, tangent = jvp(lambda a, b: a * b, (2.0, 3.0), (1.0, 10.0))
    assert (y.item(), tangent.item()) == (6, 23)


def test_jvp_of_a_function_with_several_values_answers_a_tangent_for_each():
    f = lambda a, b: (a * b, a.sum(), numbers(1.0, 1.0))  # noqa: E731
    values, tangents = jvp(f, (numbers(2.0, 3.0), numbers(5.0, 7.0)), (numbers(1.0, 1.0), numbers(0.0, 10.0)))
    assert [y.tolist() for y in values] == [[10, 21], 5, [1, 1]]
    assert [t.tolist() for t in tangents] == [[5, 37], 2, [0, 0]]
    assert not any(r.requires_grad for r in (*values, *tangents))


def test_jvp_of_linear_and_constant_functions_is_right():
    assert jvp(lambda x: x * 3, (numbers(1.0, 2.0),), (numbers(1.0, 10.0),))[1].tolist() == [3, 30]
    assert jvp(lambda x: numbers(1.0, 2.0), (numbers(1.0, 2.0),), (numbers(1.0, 10.0),))[1].tolist() == [0, 0]
    with pytest.raises(ValueError, match="tangent for each primal"):
        jvp(lambda a, b: a, (1.0, 2.0), (1.0,))


@pytest.mark.parametrize("jacobian", [jacrev, jacfwd])
def test_both_jacobians_are_that_of_the_closed_form(jacobian):
    j = jacobian(cubic)(numbers(2.0, 3.0))
    np.testing.assert_allclose(j.array, cubic_jacobian(2, 3), rtol=1e-14)
    assert j.dtype == np.float64


@pytest.mark.parametrize("jacobian", [jacrev, jacfwd])
def test_a_jacobian_has_the_shape_of_the_value_then_that_of_the_argument(jacobian, rng):
    a, x = Tensor(rng.standard_normal((2, 3))), Tensor(rng.standard_normal((3, 4)))
    j = jacobian(lambda x: a @ x)(x)
    assert np.array_equal(j.array, np.einsum("ik,jl->ijkl", a.array, np.eye(4)).transpose(0, 1, 2, 3))
    assert jacobian(ops.matmul, argnums=1)(a, x).tolist() == j.tolist()
    assert jacobian(lambda x: x.sum())(x).tolist() == np.ones((3, 4)).tolist()
    assert jacobian(lambda x: x * numbers(1.0, 2.0))(numbers(3.0)[0]).tolist() == [1, 2]
    assert jacobian(lambda x: x[:0])(numbers(1.0, 2.0)).shape == (0, 2)
    assert jacobian(lambda x: x.sum())(Tensor(np.zeros((0, 2)))).shape == (0, 2)


def test_the_hessian_is_that_of_the_closed_form():
    h = hessian(lambda x: x[0] ** 3 * x[1] + ops.exp(x[1]))(numbers(2.0, 0.5))
    np.testing.assert_allclose(h.array, [[12 * 0.5, 12], [12, math.exp(0.5)]], rtol=1e-14)


def test_the_hessian_of_logsumexp_is_the_covariance_of_softmax(rng):
    x = Tensor(rng.standard_normal(4))
    p = ops.softmax(x).array
    np.testing.assert_allclose(hessian(ops.logsumexp)(x).array, np.diag(p) - np.outer(p, p), rtol=1e-12, atol=1e-14)


def test_a_hessian_by_a_later_argument_and_of_a_matrix_has_the_right_shape(rng):
    x = Tensor(rng.standard_normal((2, 3)))
    h = hessian(lambda a, x: (a * x * x).sum(), argnums=1)(5.0, x)
    assert h.shape == (2, 3, 2, 3)
    np.testing.assert_allclose(h.array.reshape(6, 6), 10 * np.eye(6))


def test_forward_and_reverse_products_are_adjoint(rng):
    x, v, u = (Tensor(rng.standard_normal(n)) for n in (2, 2, 3))
    forward = jvp(cubic, (x,), (v,))[1]
    backward = vjp(cubic, x)[1](u)
    np.testing.assert_allclose((forward.array * u.array).sum(), (backward.array * v.array).sum(), rtol=1e-12)


# ---------------------------------------------------------------- what the results are


def test_results_at_the_top_level_require_no_grad():
    x = numbers(2.0, 3.0)
    y, pull = vjp(cubic, x)
    value, g = value_and_grad(lambda x: (x * x).sum())(x)
    moved = jvp(cubic, (x,), (x,))
    results = [
        y,
        pull(np.ones(3)),
        value,
        g,
        *moved,
        jacrev(cubic)(x),
        jacfwd(cubic)(x),
        hessian(lambda x: (x**3).sum())(x),
    ]
    assert not any(r.requires_grad for r in results)
    assert not x.requires_grad and x.grad is None


@pytest.mark.parametrize(
    ("derivative", "expected"),
    [
        (lambda x: grad(lambda v: (v**3).sum())(x).sum(), [12, 18]),
        (lambda x: value_and_grad(lambda v: (v**3).sum())(x)[0], [12, 27]),
        (lambda x: vjp(lambda v: v**3, x)[1](np.ones(2)).sum(), [12, 18]),
        (lambda x: jvp(lambda v: v**3, (x,), (np.ones(2),))[1].sum(), [12, 18]),
        (lambda x: jacrev(lambda v: v**3)(x).sum(), [12, 18]),
        (lambda x: jacfwd(lambda v: v**3)(x).sum(), [12, 18]),
        (lambda x: hessian(lambda v: (v**3).sum())(x).sum(), [6, 6]),
    ],
)
def test_a_result_under_an_outer_graph_is_differentiable_by_the_outer_variable(derivative, expected):
    x = tensor([2.0, 3.0], dtype=np.float64, requires_grad=True)
    derivative(x).backward()
    np.testing.assert_allclose(x.grad.array, expected, rtol=1e-14)


def test_a_captured_variable_gets_its_gradient_through_the_derivative():
    w = tensor([5.0], dtype=np.float64, requires_grad=True)
    grad(lambda x: (w * x * x).sum())(numbers(3.0)).sum().backward()
    assert w.grad.tolist() == [6]
