"""bisect names the first op with a wrong rule, and no right one: by faults planted at every place of a function."""

import re

import numpy as np
import pytest

import tinygrad_ft as tg
from tinygrad_ft.engine import OPS, Op
from tinygrad_ft.gradcheck import SAMPLES, bisect
from tinygrad_ft.gradcheck.bisect import ONE_BY_ONE
from tinygrad_ft.gradcheck.ops import leaves
from tinygrad_ft.ops.composed import every


@pytest.fixture
def plant(monkeypatch):
    """Give an op of the library another rule, until the test ends."""

    def put(name, rule):
        for attribute in ("rule", "keeps", "save", "shapes", "rule_params"):
            monkeypatch.setattr(OPS[name], attribute, getattr(OPS[name], attribute))
        OPS[name].vjp(rule)

    return put


def uniform(*shape, seed=0):
    return np.random.default_rng(seed).uniform(0.5, 1.5, shape)


def f(x, w):
    h = tg.tanh(x @ w)
    y = tg.exp(h) / (1.0 + h)
    return tg.log(y.sum(1)).mean()


def cube(xp, x):
    return x * x * x


# ---------------------------------------------------------------- faults are found


def test_a_right_function_has_no_suspect_and_the_answer_says_what_else_it_may_be():
    found = bisect(f, uniform(3, 4), uniform(4, 5))
    assert not found
    assert found.suspect is None
    assert found.checked == 8
    assert str(found).startswith("each of the 8 rules on the way agrees with the differences of its own op.")
    assert "outside of the engine" in str(found)


@pytest.mark.parametrize(
    ("op", "rule", "input", "ratio", "source"),
    [
        ("matmul", lambda g, a, b: (g @ b.T, -(a.T @ g)), "b", -1, "h = tg.tanh(x @ w)"),
        ("tanh", lambda g, y: g * (1.0 - y), "x", None, "h = tg.tanh(x @ w)"),
        ("exp", lambda g, y: g * y * 2.0, "x", 2, "y = tg.exp(h) / (1.0 + h)"),
        ("div", lambda g, a, b: (g / b, g * a / b / b), "b", -1, "y = tg.exp(h) / (1.0 + h)"),
        ("log", lambda g, x: g * x, "x", None, "return tg.log(y.sum(1)).mean()"),
        ("log", lambda g: g * float("nan"), "x", None, "return tg.log(y.sum(1)).mean()"),
        (
            "sum",
            lambda g, *, x_shape, axis, keepdims: 3.0 * tg.reshape(g, (*g.shape, 1)),
            "x",
            3,
            "return tg.log(y.sum(1)).mean()",
        ),
    ],
)
def test_a_fault_in_any_op_of_a_composite_is_named_with_rule_call_shapes_and_numbers(
    plant, op, rule, input, ratio, source
):
    plant(op, rule)
    found = bisect(f, uniform(3, 4), uniform(4, 5))
    suspect = found.suspect
    assert found
    assert (suspect.op, suspect.input) == (op, input)
    assert (suspect.rule.file, suspect.rule.line) == (__file__, rule.__code__.co_firstlineno)
    assert (suspect.place.file, suspect.place.function) == (__file__, "f")
    assert str(suspect.place).endswith(source)
    if ratio is not None:
        assert suspect.got / suspect.expected == pytest.approx(ratio, rel=1e-4)


def test_of_two_faults_the_one_nearer_to_the_inputs_is_named(plant):
    plant("log", lambda g, x: g * x)
    plant("tanh", lambda g, y: g * (1.0 - y))
    assert bisect(f, uniform(3, 4), uniform(4, 5)).suspect.op == "tanh"


def test_what_it_says_in_full():
    op = tg.op(cube)

    @op.vjp
    def cube_rule(g, x):
        return g * 2.0 * x * x

    def g(x):
        return op(x + 1.0).sum()

    first = g.__code__.co_firstlineno
    number = r"-?\d+\.\d+"
    said = re.compile(
        r"cube has a wrong rule: d/dx, element \([01],\): "
        rf"the rule says {number}, differences {number}, ratio 0\.66666\d\n"
        rf"  the rule: {re.escape(__file__)}:{first - 4}, in cube_rule: @op\.vjp\n"
        rf"  called at {re.escape(__file__)}:{first + 1}, in g: return op\(x \+ 1\.0\)\.sum\(\)\n"
        r"  inputs: \(2,\)"
    )
    assert said.fullmatch(str(bisect(g, np.array([0.0, 1.0]))))


@pytest.mark.parametrize("size", [7, ONE_BY_ONE * 50])
def test_one_wrong_element_is_found_among_few_and_among_many(size):
    wrong = np.ones(size)
    wrong[size // 3] = 1.5
    op = Op(cube)
    op.vjp(lambda g, x: g * 3.0 * x * x * wrong)
    suspect = bisect(lambda x: op(x).sum(), uniform(size)).suspect
    assert suspect.element == (size // 3,)
    assert suspect.got / suspect.expected == pytest.approx(1.5, rel=1e-4)


def test_the_worst_element_of_several_wrong_ones_is_named():
    op = Op(cube)
    op.vjp(lambda g, x: g * 3.0 * x * x * np.array([1.0, 1.01, 1.5, 1.1]))
    assert bisect(lambda x: op(x).sum(), np.ones(4)).suspect.element == (2,)


def test_rules_that_raise_or_answer_wrong_shapes_are_to_blame_themselves():
    for rule, said in (
        (lambda g, x: 1 / 0, "it raised ZeroDivisionError: division by zero"),
        (lambda g, x: tg.reshape(g, (3, 2)), "it raised ValueError: the rule of cube answered shape (3, 2)"),
    ):
        op = Op(cube)
        op.vjp(rule)
        found = bisect(lambda x: op(x).sum(), uniform(2, 3))  # noqa: B023
        assert said in str(found)


def test_an_answer_of_several_parts_and_a_list_of_arrays_are_checked():
    def both(xp, *xs):
        return sum(xs), xs[0] * xs[1]

    right, wrong = Op(both), Op(both)
    right.vjp(lambda gs, xs: (gs[0] + gs[1] * xs[1], gs[0] + gs[1] * xs[0]))
    wrong.vjp(lambda gs, xs: (gs[0] + gs[1] * xs[1], gs[0] + gs[1] * xs[1]))
    assert not bisect(lambda a, b: right(a, b), uniform(3), uniform(3, seed=1))
    assert bisect(lambda a, b: wrong(a, b), uniform(3), uniform(3, seed=1)).suspect.input == "xs[1]"


def test_modules_are_searched_with_their_parameters_also_in_float32(plant):
    model = tg.nn.Sequential(tg.nn.Linear(4, 8), tg.nn.Tanh(), tg.nn.LayerNorm(8), tg.nn.Linear(8, 2))
    x = tg.randn(3, 4)
    found = bisect(model, x)
    assert not found
    assert found.checked >= 4
    plant("tanh", lambda g, y: g * (1.0 - y))
    found = bisect(model, x)
    assert found.suspect.op == "tanh"
    assert found.suspect.place.file == __file__  # the line that called the module or bisect: not one inside of nn


def test_an_op_inside_of_a_rule_is_found_by_the_function_that_differentiates(plant):
    def slope(x):
        (g,) = tg.autograd.grad(tg.tanh(x).sum(), [x], create_graph=True)
        return g.sum()

    assert not bisect(slope, uniform(3))
    plant("mul", lambda g, a, b: (g * b, g * b))
    assert bisect(slope, uniform(3)).suspect.op == "mul"


# ---------------------------------------------------------------- right ops are not blamed


@pytest.mark.parametrize("name", SAMPLES)
def test_no_op_of_the_library_is_blamed_on_its_samples(name):
    function = every()[name]
    checked = 0
    for sample in SAMPLES[name](np.random.default_rng(0)):
        args = leaves(sample)
        found = bisect(lambda: function(*args, **sample.params))  # noqa: B023
        assert not found, str(found)
        checked += found.checked
    assert checked


@pytest.mark.parametrize("x", [0.0, 1.0, -1.0])
def test_a_rule_at_a_kink_a_jump_or_an_edge_may_answer_a_slope_between_both_sides(x):
    for g in (tg.relu, tg.abs, tg.floor, tg.sign, lambda x: tg.clamp(x, -1.0, 1.0), lambda x: tg.sqrt(x * x)):
        with np.errstate(all="ignore"):
            assert not bisect(lambda x, g=g: g(x).sum(), np.array([x, 2.0]))
    op = Op(lambda xp, x: xp.abs(x))
    op.vjp(lambda g, x: g * 1.5)
    assert bisect(op, np.array([0.0]))  # but not one outside of them


def test_steep_functions_and_tiny_and_huge_inputs_raise_no_false_alarm():
    for x in (1e-5, 1e-3, 1.0, 1e4):
        assert not bisect(lambda x: (1.0 / x).sum(), np.array([x]))
        assert not bisect(lambda x: tg.log(x).sum(), np.array([x]))
    assert not bisect(lambda x: tg.exp(50.0 * x).sum(), np.array([1.0, -1.0]))


# ---------------------------------------------------------------- what else may be wrong


def test_a_value_that_goes_on_without_its_graph_is_pointed_out():
    def detached(x):
        y = tg.exp(x)
        return (y.detach() * x).sum()

    def unrecorded(x):
        with tg.no_grad():
            y = tg.exp(x)
        return (y * x).sum()

    line = detached.__code__.co_firstlineno + 2
    assert f"mul was given what exp made cut off from its graph (detach?) at {__file__}:{line}" in str(
        bisect(detached, uniform(3))
    )
    line = unrecorded.__code__.co_firstlineno + 2
    assert f"exp left nothing to differentiate (no_grad?) at {__file__}:{line}" in str(bisect(unrecorded, uniform(3)))


def test_an_input_that_goes_through_numpy_is_pointed_out():
    found = bisect(lambda x, y: (x * np.sin(y.numpy_copy())).sum(), uniform(3), uniform(3))
    assert "input 1 reaches the output by no way that is recorded" in str(found)


def test_an_op_that_answers_otherwise_each_time_cannot_be_checked_and_is_named():
    rng = np.random.default_rng(0)

    def noisy(xp, x):
        return x * rng.uniform()

    op = Op(noisy)
    op.vjp(lambda g: g)
    assert "noisy answers otherwise each time" in str(bisect(op, uniform(3)))


def test_its_arguments_are_left_as_they_were():
    x = tg.tensor(uniform(3), requires_grad=True)
    before, node = x.numpy_copy(), x.node
    bisect(lambda x: tg.exp(x).sum(), x)
    assert (x.array == before).all()
    assert x.node is node
    assert x.grad is None


def test_only_tensors_that_require_grad_are_variables_if_there_are_such():
    x, c = tg.tensor(uniform(3), requires_grad=True), tg.tensor(uniform(3))
    op = Op(lambda xp, a, b: a * b)
    op.vjp(lambda g, a, b: (g * b, None))  # right, as long as nobody asks for b's
    assert not bisect(op, x, c)
    assert bisect(op, c, c).suspect.input == "b"


def test_a_function_that_answers_no_tensor_is_refused():
    with pytest.raises(TypeError, match="bisect needs a function that answers a Tensor, or several: got float"):
        bisect(lambda x: float(x.sum().detach()), uniform(3))


def test_an_exception_inside_the_function_comes_through():
    with pytest.raises(KeyError):
        bisect(lambda x: {}["nothing"], uniform(3))
