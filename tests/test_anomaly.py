"""detect_anomaly names the op that made NaN or Inf, and its line; and who changed a kept array. By planted faults."""

import dis
import gc
import threading
import warnings
import weakref
from types import SimpleNamespace

import numpy as np
import pytest

import tinygrad_ft as tg
from tinygrad_ft import engine, kept
from tinygrad_ft.autograd import detect_anomaly, grad
from tinygrad_ft.engine import OPS, Op, Value
from tinygrad_ft.gradcheck import SAMPLES
from tinygrad_ft.gradcheck.ops import leaves
from tinygrad_ft.nn import functional as F
from tinygrad_ft.ops.composed import every
from tinygrad_ft.watch import Place

INF = float("inf")


def leaf(*numbers):
    return tg.tensor(np.array(numbers), requires_grad=True)


def alarm(f, **options):
    """The message of the alarm that f raises."""
    with pytest.raises(RuntimeError) as caught, detect_anomaly(**options):
        f()
    return str(caught.value)


def line(f, offset):
    """How a message names a line of a test's inner function, counted from its def."""
    return f"{__file__}:{f.__code__.co_firstlineno + offset}, in {f.__name__}: "


@pytest.fixture(autouse=True)
def nothing_is_left_behind():
    yield
    assert engine.observer is None


# ---------------------------------------------------------------- forward


def test_the_log_of_a_negative_number_is_named_with_its_line_its_inputs_range_and_their_maker():
    def f():
        x = leaf(1.0, 2.0, 5.0)
        y = x - 1.5
        return tg.log(y).sum()

    said = alarm(f)
    assert said.startswith("log made NaN out of inputs without: 1 of 3 elements, the first at (0,), where x = -0.5\n")
    assert "called at " + line(f, 3) + "return tg.log(y).sum()" in said
    assert "x: (3,) float64, -0.5 .. 3.5, from sub at " + line(f, 2) + "y = x - 1.5" in said


@pytest.mark.parametrize(
    ("f", "starts"),
    [
        (lambda: leaf(0.0, 1.0) / leaf(0.0, 1.0), "div made NaN out of inputs without: 1 of 2 elements, the first at"),
        (
            lambda: leaf(1.0, 1.0) / leaf(1.0, 0.0),
            "div made Inf out of finite inputs: 1 of 2 elements, the first at (1",
        ),
        (
            lambda: tg.exp(leaf(1.0, 1000.0)),
            "exp made Inf out of finite inputs: 1 of 2 elements, the first at (1,), whe",
        ),
        (lambda: tg.log(leaf(0.0)[0]), "log made -Inf out of finite inputs: its only element, where x = 0"),
        (lambda: tg.exp(tg.tensor([1000.0])), "exp made Inf"),  # constants too
        (lambda: tg.exp(np.array([1000.0])), "exp made Inf"),  # and plain arrays
        (lambda: leaf(1e300) * 1e300, "mul made Inf out of finite inputs: 1 of 1 elements, the first at (0,), where a"),
        (lambda: leaf(1e300, 1e300) @ leaf(1e300, 1.0), "matmul made Inf out of finite inputs: its only element\n"),
        (lambda: leaf(INF, 1.0) - leaf(INF, 1.0), "sub made NaN out of inputs without: 1 of 2"),
        (lambda: leaf(INF, 1000.0).exp(), "exp made Inf out of finite inputs: 1 of 2 elements, the first at (1,)"),
        (lambda: tg.log(leaf(np.nan, -1.0)), "log made NaN out of inputs without: 1 of 2 elements, the first at (1,)"),
        (lambda: leaf(70000.0).half(), "cast made Inf out of finite inputs"),
    ],
)
def test_what_an_op_makes_out_of_sound_inputs_is_named(f, starts):
    assert alarm(f).startswith(starts)


def test_an_op_of_the_user_is_named_by_the_line_that_calls_it():
    def half_log(xp, x):
        return 0.5 * xp.log(x)

    op = tg.op(half_log)

    def f():
        return op(leaf(-1.0))

    said = alarm(f)
    assert said.startswith("half_log made NaN")
    assert line(f, 1) in said


def test_an_in_place_update_that_overflows_is_seen_though_its_input_is_then_infinite_too():
    p, g = np.array([1e308]), np.array([-1e308])
    options = {"momentum": 0.0, "dampening": 0.0, "weight_decay": 0.0, "nesterov": False}
    said = alarm(lambda: OPS["sgd_update"](p, g, None, 10.0, **options))
    assert said.startswith("sgd_update made Inf out of finite inputs")


def test_the_line_is_that_of_the_user_through_modules_and_numpy():
    def f():
        model = tg.nn.Sequential(tg.nn.Linear(2, 2), tg.nn.Tanh())
        return model(tg.tensor(np.full((1, 2), 3e38, np.float32)) * 2)

    def by_numpy():
        return np.exp(leaf(1000.0))

    assert line(f, 2) in alarm(f)
    assert line(by_numpy, 1) in alarm(by_numpy)


# ---------------------------------------------------------------- an infinity that is meant is no alarm


@pytest.mark.parametrize(
    "masked",
    [
        lambda x, m: tg.where(m, x, -INF),
        lambda x, m: tg.masked_fill(x, ~m, -INF),
        lambda x, m: x + np.where(m, 0.0, -INF),
        lambda x, m: x + tg.tensor(np.where(m, 0.0, -INF)),
    ],
)
@pytest.mark.parametrize(
    "then",
    [
        lambda s, m: tg.softmax(s, axis=-1),
        lambda s, m: tg.where(m, tg.log_softmax(s, axis=-1), 0.0),
        lambda s, m: tg.logsumexp(s, axis=-1),
        lambda s, m: tg.exp(s - tg.amax(s, axis=-1, keepdims=True)),
    ],
)
def test_masks_of_minus_infinity_are_no_alarm_forward_or_backward(masked, then, rng):
    m = np.tril(np.ones((4, 4), bool))
    x = tg.tensor(rng.standard_normal((4, 4)), requires_grad=True)
    with detect_anomaly():
        y = then(masked(x, m), m)
        (y * y).sum().backward()
    assert np.isfinite(x.grad.array).all()


def test_a_row_that_may_look_nowhere_is_an_alarm_where_softmax_divides_nothing_by_nothing():
    assert "made NaN" in alarm(lambda: tg.softmax(tg.where(np.zeros(3, bool), leaf(1.0, 2.0, 3.0), -INF), axis=-1))


def test_attention_with_a_causal_mask_is_no_alarm(rng):
    q, k, v = (tg.tensor(rng.standard_normal((2, 4, 3)), requires_grad=True) for _ in range(3))
    with detect_anomaly():
        F.scaled_dot_product_attention(q, k, v, is_causal=True).sum().backward()


def test_nan_and_inf_that_the_user_gave_are_told_as_such_where_a_rule_stumbles_over_them():
    def f():
        x, y = leaf(np.nan, 1.0), leaf(2.0, 3.0)
        (x * y).sum().backward()

    said = alarm(f)
    assert said.startswith("the rule of mul made NaN out of a finite cotangent, for its input b: 1 of 2")
    assert "a: (2,) float64, 1 .. 1 and 1 NaN, a leaf" in said


@pytest.mark.parametrize("name", SAMPLES)
def test_no_function_of_the_library_raises_an_alarm_on_its_samples(name):
    f = every()[name]
    for sample in SAMPLES[name](np.random.default_rng(0)):
        args = leaves(sample)
        xs = [x for a in args for x in (a if isinstance(a, tuple) else [a]) if isinstance(x, Value)]
        with detect_anomaly():
            y = f(*args, **sample.params)
            ys = [part for part in (y if isinstance(y, tuple | list) else [y]) if part.node is not None]
            gs = grad(ys, xs, [tg.ones_like(part) for part in ys], create_graph=True, allow_unused=True)
            gs = [g for g in gs if g is not None and g.node is not None]
            if gs:
                grad(gs, xs, [tg.ones_like(g) for g in gs], allow_unused=True)


# ---------------------------------------------------------------- backward


def test_a_slope_that_is_infinite_is_named_with_the_line_of_the_forward_call():
    def f():
        x = leaf(4.0, 0.0)
        y = tg.sqrt(x)
        loss = (y * 3.0).sum()
        loss.backward()

    said = alarm(f)
    assert said.startswith(
        "the rule of sqrt made Inf out of a finite cotangent, for its input x: 1 of 2 elements, the "
    )
    assert "first at (1,)" in said
    assert "sqrt at " + line(f, 2) + "y = tg.sqrt(x)" in said
    assert "g: (2,) float64, 3 .. 3" in said
    assert "x: (2,) float64, 0 .. 4, a leaf" in said


def test_a_rule_that_answers_nan_is_named_also_where_its_answer_is_computed_late():
    def bad(rule):
        def double(xp, x):
            return 2.0 * x

        op = Op(double)
        op.vjp(rule)
        return op

    for rule in (lambda g: g * np.nan, lambda g: lambda: g * np.nan):
        for create_graph in (False, True):
            said = alarm(lambda: bad(rule)(leaf(1.0)).sum().backward(create_graph=create_graph))  # noqa: B023
            assert said.startswith("the rule of double made NaN out of a finite cotangent, for its input x")


def test_steps_inside_of_a_rule_are_not_held_to_account_only_what_it_answers():
    def same(xp, x):
        return x.copy()

    op = Op(same)
    op.vjp(lambda g: tg.where(g > 10.0, tg.exp(g * 1e6), g))
    x = leaf(1.0)
    with detect_anomaly():
        op(x).sum().backward()
    assert x.grad.tolist() == [1.0]


def test_second_derivatives_are_watched_and_the_rule_in_which_an_op_was_called_is_named():
    def f():
        x = leaf(0.0)
        y = x**1.5
        (g,) = grad(y.sum(), [x], create_graph=True)
        g.sum().backward()

    said = alarm(f)
    assert "made Inf out of a finite cotangent" in said.splitlines()[0]
    assert "in the rule of pow at " + line(f, 3) in said


def test_a_cotangent_that_no_rule_made_infinite_is_told_so():
    def by_seed():
        (leaf(1.0) * 2.0).backward(np.array([INF]))

    def by_hook():
        y = leaf(1.0) * 2.0
        y.register_hook(lambda g: g * np.nan)
        y.sum().backward()

    def by_sum():
        y = (x := leaf(0.5)) * 2.0
        with np.errstate(over="ignore"):
            grad([y * 1e308, y * 1e308], [x])

    for f in (by_seed, by_hook, by_sum):
        said = alarm(f)
        assert said.startswith("the cotangent that came back to mul at " + line(f, 1))
        assert "is not finite, and no rule made it so" in said


def test_a_forward_outside_is_said_to_be_outside():
    y = tg.sqrt(leaf(0.0))
    assert "sqrt, called before detect_anomaly was on" in alarm(lambda: y.sum().backward())


def test_outputs_of_which_there_are_several_are_watched_forward_and_backward():
    def both(xp, x):
        return xp.sqrt(x), xp.log(x)

    op = Op(both)
    op.vjp(lambda gs, x: gs[0] / (2.0 * tg.sqrt(x)))
    assert alarm(lambda: op(leaf(1.0, 0.0))).startswith("both made -Inf out of finite inputs: 1 of 2 elements")

    x = leaf(1.0, 0.0)
    with np.errstate(all="ignore"):
        root, _ = op(x)
    said = alarm(lambda: (root * 3.0).sum().backward())
    assert said.startswith("the rule of both made Inf out of a finite cotangent, for its input x: 1 of 2")
    assert "g: (2,) float64, 3 .. 3" in said


# ---------------------------------------------------------------- arrays changed in place


def test_an_array_changed_between_two_ops_is_named_with_the_line_that_kept_it_and_those_around_the_change():
    def f():
        x, w = leaf(1.0, 2.0), leaf(3.0, 4.0)
        y = x * w
        z = tg.sin(y)
        w.array += 1.0
        loss = z.sum()
        loss.backward()

    said = alarm(f).splitlines()
    assert said[0] == "b, which mul kept for backward, was changed in place before backward came to it"
    assert said[1] == "  kept by      mul at " + line(f, 2) + "y = x * w"
    assert said[2] == "  still so at  sin at " + line(f, 3) + "z = tg.sin(y)"
    assert said[3] == "  no longer at sum at " + line(f, 5) + "loss = z.sum()"
    assert said[4] == f"    between them, line {f.__code__.co_firstlineno + 4}: w.array += 1.0"
    assert "clone" in said[5]


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda x, y, z: x.array.fill(7.0), "x, which exp"),
        (lambda x, y, z: y.array.__setitem__(0, 0.0), "its output, which exp"),
        (lambda x, y, z: z.array[::-1].__imul__(2.0), "its output[0], which"),
    ],
)
def test_inputs_outputs_and_several_outputs_are_guarded(change, name, create_graph):
    def f():
        x = leaf(1.0, 2.0)
        kept_input = Op(lambda xp, x: xp.exp(x))
        kept_input.name = "exp"
        kept_input.vjp(lambda g, x: g * tg.exp(x))
        y = tg.exp(kept_input(x)) if name.startswith("x") else tg.exp(x)

        def both(xp, x):
            return x * 1.0, x * 2.0

        pair = Op(both)
        pair.vjp(lambda gs, y: gs[0] * y[0])
        z = pair(y)[0]
        change(x, y, z)
        z.sum().backward(create_graph=create_graph)

    assert alarm(f).startswith(name)


def test_a_change_that_only_backward_finds_is_placed_before_it():
    def f():
        x = leaf(*np.ones(1 << 18))  # 2 MB: too large to be looked at again at every call
        y = (x * x).sum()
        x.array[3] = 0.0
        z = y * 2.0
        z.backward()

    said = alarm(f)
    assert "no longer at backward of mul at " + line(f, 5) in said
    assert kept.LOOKED_AT_AGAIN < 1 << 21


def test_an_optimizer_step_between_two_backward_passes_is_named():
    def f():
        w = leaf(1.0, 2.0)
        step = tg.optim.SGD([w], lr=0.1)
        loss = (w * w).sum()
        loss.backward(retain_graph=True)
        step.step()
        loss.backward()

    said = alarm(f)
    assert "which mul kept for backward" in said
    assert "still so at  sgd_update at " + line(f, 5) in said


def test_training_as_it_should_be_is_no_alarm_over_several_steps():
    model = tg.nn.Sequential(tg.nn.Linear(3, 4), tg.nn.GELU(), tg.nn.LayerNorm(4), tg.nn.Linear(4, 2))
    step = tg.optim.AdamW(model.parameters(), lr=0.1)
    x, target = tg.randn(5, 3), tg.tensor([0, 1, 0, 1, 1])
    losses = []
    with detect_anomaly():
        for _ in range(4):
            loss = F.cross_entropy(model(x), target)
            step.zero_grad()
            loss.backward()
            step.step()
            losses.append(loss.item())
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    "harmless",
    [
        lambda x, y: None,
        lambda x, y: x.array.__iadd__(0.0),  # the same bytes
        lambda x, y: y.array.fill(0.0),  # which no rule keeps
    ],
)
def test_a_change_that_no_rule_would_notice_is_no_alarm(harmless):
    x = leaf(1.0, 2.0)
    with detect_anomaly():
        y = x * x
        harmless(x, y)
        y.sum().backward()
    assert x.grad.tolist() == [2.0, 4.0]


def test_a_change_after_backward_and_one_of_an_array_kept_again_since_are_no_alarm():
    x = leaf(1.0, 2.0)
    with detect_anomaly():
        (x * x).sum().backward()
        x.array += 1.0
        x.grad = None
        (x * x).sum().backward()
    assert x.grad.tolist() == [4.0, 6.0]


def test_without_check_nan_only_changes_in_place_are_looked_for():
    x = leaf(0.0, 1.0)
    with detect_anomaly(check_nan=False), np.errstate(all="ignore"):
        tg.log(tg.sqrt(x)).sum().backward()
    assert not np.isfinite(x.grad.array).all()

    def f():
        y = x * x
        x.array[0] = 5.0
        y.sum().backward()

    assert "changed in place" in alarm(f, check_nan=False)


def test_what_is_noted_keeps_no_array_alive_longer_than_the_graph_does():
    with detect_anomaly():
        x = leaf(1.0, 2.0)
        y = tg.exp(x * 2.0)
        inner = weakref.ref(y.array)
        z = (y * y).sum()
        del y
        assert inner() is not None
        z.backward()
        gc.collect()
        assert inner() is None
        del x, z
        assert not kept._here.histories


# ---------------------------------------------------------------- on and off


def test_where_it_is_off_an_op_only_looks_whether_it_is():
    for f in (Op.__call__, engine.Node.pull):
        steps = [step for step in dis.get_instructions(f) if step.opname != "CACHE"]
        look, use = (i for i, step in enumerate(steps) if step.argval == "observer")
        jumps = [i for i, step in enumerate(steps) if "JUMP" in step.opname and i > look]
        assert jumps[0] - look <= 3  # name, None, is: then on to the op itself
        assert jumps[0] < use


def test_where_it_is_off_nothing_is_noted_and_nothing_raised():
    x = leaf(0.0, 1.0)
    with np.errstate(all="ignore"):
        y = tg.log(x)
        assert not hasattr(y.node, "trace")
        x.array[0] = 3.0
        y.sum().backward()


def test_it_may_be_nested_and_the_inner_one_ends_alone():
    with detect_anomaly() as outer:
        with detect_anomaly(check_nan=False), np.errstate(all="ignore"):
            tg.log(leaf(-1.0))
        with outer, pytest.raises(RuntimeError, match="log made NaN"):
            tg.log(leaf(-1.0))
        with pytest.raises(RuntimeError, match="log made NaN"):
            tg.log(leaf(-1.0))
    with np.errstate(all="ignore"):
        tg.log(leaf(-1.0))


def test_an_exception_of_any_kind_leaves_it_as_it_was():
    def explode(xp, x):
        raise KeyError("boom")

    op = Op(explode)
    for _ in range(2):
        with detect_anomaly():
            with pytest.raises(KeyError):
                op(leaf(1.0))
            with pytest.raises(RuntimeError, match="exp made Inf"):  # ops are watched again after each
                tg.exp(leaf(1000.0))
            y = tg.sqrt(leaf(0.0)).sum()
            with pytest.raises(RuntimeError, match="rule of sqrt"):
                y.backward()
            with pytest.raises(RuntimeError, match="exp made Inf"):
                tg.exp(leaf(1000.0))
    with pytest.raises(ZeroDivisionError), detect_anomaly():
        raise ZeroDivisionError
    assert engine.observer is None


def test_it_acts_in_its_own_thread_only():
    inside, done, said = threading.Event(), threading.Event(), []

    def other():
        inside.wait()
        with np.errstate(all="ignore"):
            said.append(tg.log(leaf(-1.0)).item())
        done.set()

    thread = threading.Thread(target=other)
    thread.start()
    with detect_anomaly():
        inside.set()
        done.wait()
    thread.join()
    assert len(said) == 1
    assert np.isnan(said[0])


def test_numbers_are_the_same_with_it_and_without():
    def run():
        x = leaf(0.3, 0.7, 2.0)
        y = (tg.softmax(x * x, axis=0) * tg.log(x)).sum()
        return y.item(), *grad(y, [x])[0].tolist()

    with detect_anomaly():
        watched = run()
    assert watched == run()


def test_the_warnings_of_numpy_give_way_to_the_error():
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        alarm(lambda: tg.log(leaf(-1.0)))
    assert not seen


def test_a_line_of_a_notebook_is_named_by_its_cell(monkeypatch):
    compiler = pytest.importorskip("IPython.core.compilerop").CachingCompiler()
    file = compiler.cache("y = tg.log(x)\n", 5)
    plainly = Place(__file__, 1, "<module>")
    assert str(Place(file, 1, "<module>")) == f"{file}:1: y = tg.log(x)"
    monkeypatch.setattr("IPython.get_ipython", lambda: SimpleNamespace(compile=compiler))
    assert str(Place(file, 1, "<module>")) == "In[5]:1: y = tg.log(x)"
    assert str(plainly).startswith(f"{__file__}:1: ")
