"""Each verdict where it is due, and no alarm where steps are hard to choose; what else than a Tensor can be checked."""

import numpy as np
import pytest

import tinygrad_ft as tg
from tinygrad_ft import nn
from tinygrad_ft.engine import Op
from tinygrad_ft.gradcheck import SAMPLES, FunctionError, GradcheckError, Verdict, examine, gradcheck


def variable(*numbers, dtype=np.float64):
    return tg.tensor(np.array(numbers, dtype), requires_grad=True)


def half(x):
    """x^2, of whose gradient half is cut off."""
    return x * x.detach()


# ---------------------------------------------------------------- no false alarms, and faults seen all the same


HARD = {
    "steep": (lambda x: tg.exp(50 * x), [1.0, 2.0, -3.0]),
    "very steep": (lambda x: tg.exp(x * x * 100), [1.0, -2.0]),
    "quick and small": (lambda x: tg.sin(x * 1e8) + x, [1e-8, 2e-8]),
    "small x, large offset": (lambda x: tg.sin(x) + 1e3, [1e-8, -3e-8]),
    "large x": (tg.sin, [1e8, 3e8]),
    "very large x": (lambda x: x * x * x, [1e30, -1e30]),
    "tiny gradient": (lambda x: x * x * 1e-30, [1.0, 2.0]),
    "zero": (lambda x: x * x * x, [0.0, 0.0]),
    "one far smaller": (lambda x: tg.log(x), [1e-9, 1.0, 3.0]),
    "near an end": (tg.asin, [1.0 - 1e-7, 0.0]),
    "near a kink": (tg.relu, [1e-6, -1e-6, 1e-9]),
    "a float32 part inside": (lambda x: tg.exp(x).float().double() * x, [1.0, 2.0, -4.0]),
    "constant": (lambda x: x * 0.0 + 5.0, [1.0, 2.0]),
    "sums that cancel": (lambda x: tg.softmax(x * 3.0, 0).sum(), [1.0, 2.0, 3.0]),
}


WIDE = {"steep", "very steep", "near an end", "quick and small", "very large x"}  # no value, or another, in float32


@pytest.mark.parametrize(
    ("name", "dtype"), [(name, dtype) for dtype in "df" for name in HARD if dtype == "d" or name not in WIDE]
)
def test_a_function_that_is_hard_to_difference_is_found_ok(name, dtype):
    f, numbers = HARD[name]
    assert examine(f, variable(*numbers, dtype=dtype)).ok


@pytest.mark.parametrize("name", [name for name in HARD if name not in {"constant", "zero", "sums that cancel"}])
def test_a_factor_of_two_in_it_is_found_wrong(name):
    f, numbers = HARD[name]

    def twice(x):
        y = f(x)
        return y + y - y.detach()

    assert examine(twice, variable(*numbers)).verdict == Verdict.WRONG


def test_float32_is_checked_and_its_faults_are_seen():
    x = variable(1.0, 2.0, -4.0, dtype=np.float32)
    assert examine(lambda x: tg.exp(x) * x, x).ok
    assert examine(half, x).verdict == Verdict.WRONG


# ---------------------------------------------------------------- kinks, ties, ends, jumps


@pytest.mark.parametrize(
    ("f", "numbers"),
    [
        (tg.relu, [1.0, 0.0, -1.0]),
        (tg.abs, [0.0, 2.0]),
        (lambda x: tg.amax(x), [1.0, 1.0, 0.5]),
        (lambda x: tg.maximum(x, 0.5), [0.5, 2.0]),
        (lambda x: tg.sort(x)[0], [1.0, 2.0, 1.0]),
        (tg.floor, [2.0, 1.5]),
        (tg.sqrt, [0.0, 1.0]),
        (lambda x: tg.sign(x) * tg.abs(x) ** 0.3, [0.0, 1.0]),
    ],
)
def test_a_kink_a_tie_a_jump_and_an_end_are_called_so(f, numbers):
    report = examine(f, variable(*numbers))
    assert report.verdict == Verdict.KINK and report.worst.detail and not report.ok
    with pytest.raises(GradcheckError, match="kink or tie here"):
        gradcheck(f, variable(*numbers))


def test_a_smooth_bend_is_no_kink_however_sharp():
    assert examine(lambda x: tg.sqrt(x * x + 1e-8), variable(0.0, 1e-4, -1.0)).ok


# ---------------------------------------------------------------- precision, chance, shapes


def test_what_differences_cannot_tell_is_called_limited_by_precision():
    def noisy(x):
        return (x + 100.0).half().double()  # the spacing of float16 there is 1/16

    assert examine(noisy, variable(1.0, 2.0)).verdict == Verdict.LIMITED


def test_a_gradient_that_lost_its_digits_in_float32_alone_is_limited_by_precision():
    def cancelling(x):
        return (x + 1e5) * (x + 1e5) - x * 2e5 - 1e10

    report = examine(cancelling, variable(0.3, dtype=np.float32))
    assert report.verdict == Verdict.LIMITED and "float64" in report.worst.detail
    assert examine(cancelling, variable(0.3)).ok


def test_a_function_that_differs_from_call_to_call_is_not_deterministic():
    rng = np.random.default_rng(0)
    report = examine(lambda x: x * rng.random(), variable(1.0, 2.0))
    assert report.verdict == Verdict.NOT_DETERMINISTIC and "dropout" in report.worst.guess
    module = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5))
    x = tg.tensor(np.ones((2, 3), np.float32))
    assert examine(module, x).verdict == Verdict.NOT_DETERMINISTIC
    assert examine(module.eval(), x).ok


def test_a_gradient_that_differs_from_call_to_call_is_not_deterministic():
    rng = np.random.default_rng(0)
    report = examine(lambda x: float(x @ x), np.ones(3), gradient=lambda x: 2 * x + rng.random(3))
    assert report.verdict == Verdict.NOT_DETERMINISTIC and "gradient" in report.worst.detail


@pytest.mark.parametrize(
    ("gradient", "guess"),
    [
        (lambda a, b, g: ((g @ b.T).T, a.T @ g), "transposed"),
        (lambda a, b, g: (np.stack([g @ b.T, g @ b.T]), a.T @ g), "not summed"),
        (lambda a, b, g: (a.T @ g, a.T @ g), "swapped"),
        (lambda a, b, g: ((g @ b.T).sum(0), a.T @ g), "an axis too many"),
    ],
)
def test_a_gradient_of_the_wrong_shape_is_called_so_with_a_guess(gradient, guess):
    report = examine(lambda a, b: a @ b, [np.ones((2, 3)), np.ones((3, 5))], gradient=gradient)
    assert report.verdict == Verdict.WRONG_SHAPE and guess in report.worst.guess and report.worst.input == "a"


def test_a_rule_whose_shapes_do_not_fit_is_of_the_wrong_shape():
    def double(xp, x):
        return 2.0 * x

    op = Op(double)
    op.vjp(lambda g: g.T)
    report = examine(op, variable([1.0, 2.0, 3.0], [4.0, 5.0, 6.0]))
    assert report.verdict == Verdict.WRONG_SHAPE and "transposed" in report.worst.guess


# ---------------------------------------------------------------- modules, plain functions, gradients by hand


def test_the_parameters_of_a_module_are_checked_under_their_names():
    module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    report = examine(module, tg.tensor(np.ones((2, 3), np.float32)))
    assert report.ok and {f.input for f in report.findings} == set(module.state_dict())


def test_a_wrong_parameter_of_a_module_is_named_and_the_module_is_left_as_it_was():
    class Wrong(nn.Module):
        def __init__(self):
            self.scale, self.shift = nn.Parameter(np.full(3, 2.0)), nn.Parameter(np.ones(3))
            self.register_buffer("seen", tg.tensor(np.zeros(())))

        def forward(self, x):
            self.seen.array[...] += 1
            return x * self.scale * self.scale.detach() + self.shift

    module = Wrong()
    before = module.scale
    report = examine(module, tg.tensor(np.ones(3)))
    assert report.verdict == Verdict.WRONG and report.worst.input == "scale"
    assert module.scale is before and module.seen.tolist() == 0
    assert "seen" in " ".join(report.notes)


def test_a_plain_function_is_held_against_the_gradient_written_for_it():
    def loss(w, b):
        return float(((x @ w + b - t) ** 2).mean())

    def gradient(w, b):
        off = 2 * (x @ w + b - t) / len(t)
        return x.T @ off, off.sum()

    rng = np.random.default_rng(0)
    x, t = rng.standard_normal((5, 3)), rng.standard_normal(5)
    w, b = rng.standard_normal(3), 0.5
    assert gradcheck(loss, [w, b], gradient=gradient)
    report = examine(loss, [w, b], gradient=lambda w, b: (5 * gradient(w, b)[0], gradient(w, b)[1]))
    assert report.worst.input == "w" and "mean against sum" in report.worst.guess
    assert report.worst.ratio == pytest.approx(5)


def test_a_plain_function_of_arrays_gives_its_gradient_the_cotangent():
    a, b = np.ones((2, 3)), np.arange(12.0).reshape(3, 4)
    assert gradcheck(lambda a, b: a @ b, [a, b], gradient=lambda a, b, g: (g @ b.T, a.T @ g))
    assert not gradcheck(
        lambda a, b: a @ b, [a, b], gradient=lambda a, b, g: (g @ b.T, -a.T @ g), raise_exception=False
    )
    assert gradcheck(lambda a: (a * 2, a @ a.T), a, gradient=lambda a, g, h: 2 * g + (h + h.T) @ a)


def test_a_gradient_by_hand_of_a_function_of_tensors_is_held_against_differences_too():
    x = variable(1.0, 2.0)
    assert gradcheck(lambda x: (x**2).sum(), x, gradient=lambda x: 2 * x)
    assert examine(lambda x: (x**2).sum(), x, gradient=lambda x: -2 * x).worst.guess == "sign?"


# ---------------------------------------------------------------- random directions


def test_many_elements_are_checked_along_directions_and_a_single_wrong_one_is_found():
    skew = np.ones((300, 200))

    def square(xp, x):
        return x * x

    op = Op(square)
    op.vjp(lambda g, x: g * 2.0 * x * skew)
    x = variable(*np.random.default_rng(0).uniform(0.5, 2.0, (300, 200)))
    right = examine(op, x)
    assert right.ok and "directions" in right.worst.checked
    skew[123, 45] = 2.0
    wrong = examine(op, x)
    assert wrong.verdict == Verdict.WRONG and wrong.worst.element == (123, 45)
    assert wrong.worst.ratio == pytest.approx(2)


def test_directions_narrow_down_to_the_parameter_and_the_element():
    x, w = variable(*np.ones(4)), variable(1.0, 2.0, 3.0, 4.0)
    report = examine(lambda x, w: (x * x + half(w)).sum(), [x, w], directions=2)
    assert {f.input: f.verdict for f in report.findings} == {"x": Verdict.OK, "w": Verdict.WRONG}
    assert report.worst.element is not None and "0.5" in report.worst.guess


def test_a_kink_is_seen_along_directions_too():
    assert examine(tg.relu, variable(1.0, 0.0, -1.0), directions=1).verdict == Verdict.KINK


# ---------------------------------------------------------------- second order


def test_second_order_is_examined_too_and_its_faults_are_named():
    def once(x):
        return op(x)

    def cube(xp, x):
        return x**3

    op = Op(cube)
    op.vjp(lambda g, x: g * 3.0 * (getattr(x, "array", x)) ** 2)
    x = variable(1.0, 2.0)
    assert examine(once, x).ok
    report = examine(once, x, order=2)
    assert report.verdict == Verdict.WRONG and report.worst.order == 2
    assert (report.worst.output, report.worst.input) == ("dL/dx", "x")
    assert examine(lambda x: x**3, x, order=2).ok


# ---------------------------------------------------------------- calls that make no sense


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: examine(3, variable(1.0)), TypeError, "a function, an op or a module: got int"),
        (lambda: examine(tg.exp, variable(1.0), order=3), ValueError, "order=3"),
        (lambda: examine(tg.exp, variable(1.0), names=["a", "b"]), ValueError, "name for each input"),
        (lambda: examine(np.sum, np.array([1, 2]), gradient=np.ones_like), TypeError, r"int64.*astype\(float\)"),
        (
            lambda: examine(tg.log, variable(-1.0)),
            ValueError,
            r"finite value.*output 0 of log is nan at element \(0,\)",
        ),
        (lambda: examine(lambda x: "y", np.ones(2), gradient=lambda x: x), TypeError, "a number or arrays: got str"),
        (lambda: examine(np.sum, np.ones(2), gradient=lambda x: (x, x)), TypeError, "one array for each.*got 2"),
        (lambda: examine(np.sum, np.ones(2), gradient=lambda x: x, order=2), ValueError, "second order needs"),
        (lambda: examine(np.sum, np.ones(2), gradient=lambda x: 1 / 0), FunctionError, "gradient.*ZeroDivisionError"),
        (lambda: examine(lambda x: x.sum(), tg.ones(2), gradient=lambda x: x), ValueError, "requires_grad=True"),
    ],
)
def test_a_call_that_makes_no_sense_gets_one_clear_line(call, error, message):
    with np.errstate(all="ignore"), pytest.raises(error, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_a_straight_line_in_coarse_grains_is_no_flat_one():
    x = SAMPLES["group_norm"](np.random.default_rng(909))[1].arrays[0]  # in float32 its gradient is all but rounding
    x = tg.tensor(x.astype(np.float32), requires_grad=True)
    report = examine(lambda x: tg.ops.group_norm(x, 1), x, order=2, directions=1)
    assert report.verdict == Verdict.LIMITED
    found = report.worst
    assert found.expected == pytest.approx(found.got, rel=0.2)
