"""The engine: orders of derivatives, accumulation, graphs and their memory, hooks, kernels, and what errors say."""

import copy
import gc
import math
import pickle
import sys
import threading
import time
import timeit
import weakref

import numpy as np
import pytest

from tinygrad_ft import autograd, ops
from tinygrad_ft.engine import OPS, Op, Value, elementwise, op
from tinygrad_ft.kernel_choice import use_kernels
from tinygrad_ft.tensor import Tensor, tensor


def leaf(numbers):
    return tensor(numbers, dtype=np.float64, requires_grad=True)


def derivatives(f, x, order):
    """f, f', f'', ... at x, each by differentiating the last."""
    x = leaf(x)
    y = f(x)
    found = [y]
    for _ in range(order):
        (y,) = autograd.grad(y, x, create_graph=True)
        found.append(y)
    return [y.item() for y in found]


# ---------------------------------------------------------------- orders of derivatives


def test_three_derivatives_of_x_e_to_the_sin_x_are_those_of_the_closed_form():
    x = 0.7
    s, c, e = math.sin(x), math.cos(x), math.exp(math.sin(x))
    expected = [
        x * e,
        e * (1 + x * c),
        e * (2 * c + x * (c * c - s)),
        e * (3 * (c * c - s) + x * (c**3 - 3 * s * c - c)),
    ]
    np.testing.assert_allclose(derivatives(lambda x: x * ops.exp(ops.sin(x)), x, 3), expected, rtol=1e-12)


def test_derivatives_of_a_power_run_down_to_zero():
    assert derivatives(lambda x: x**3, 2.0, 4) == [8, 12, 12, 6, 0]


def test_the_sixth_derivative_of_sin_is_minus_sin():
    np.testing.assert_allclose(derivatives(ops.sin, 0.3, 6)[6], -math.sin(0.3), rtol=1e-12)


def test_a_gradient_penalty_is_differentiated_through_the_gradient():
    x = leaf([1.0, 2.0])
    (g,) = autograd.grad((x**3).sum(), x, create_graph=True)
    (g * g).sum().backward()  # sum of (3 x^2)^2, whose derivative is 36 x^3
    assert x.grad.tolist() == [36, 288]


# ---------------------------------------------------------------- backward and grad


def test_backward_accumulates_on_leaves():
    x = leaf([1.0, 2.0])
    for times in (1, 2, 3):
        (x * x).sum().backward()
        assert x.grad.tolist() == [2 * times, 4 * times]
    x.grad = None
    assert x.grad is None
    (x * x).sum().backward()
    assert x.grad.tolist() == [2, 4]


def test_a_value_used_by_two_branches_receives_both_cotangents_before_it_hands_on():
    x = leaf(2.0)
    y = x * x
    (y * 3 + ops.sin(y) + y * y).backward()
    np.testing.assert_allclose(x.grad.item(), (3 + math.cos(4) + 8) * 4, rtol=1e-15)


def test_a_second_pass_through_a_released_graph_is_refused_with_the_name_of_the_op_and_the_way_out():
    x = leaf(2.0)
    y = ops.exp(x)
    y.backward()
    with pytest.raises(RuntimeError, match=r"second time through exp.*retain_graph=True"):
        y.backward()
    assert x.grad.item() == math.exp(2.0)


def test_retain_graph_allows_another_pass_and_a_part_that_was_not_walked_is_not_released():
    x = leaf(2.0)
    y = ops.exp(x)
    y.backward(retain_graph=True)
    y.backward()
    np.testing.assert_allclose(x.grad.item(), 2 * math.exp(2.0))
    shared = x * x
    autograd.grad(ops.sin(shared), shared)
    np.testing.assert_allclose(autograd.grad(ops.cos(shared), x)[0].item(), -math.sin(4) * 4)


def test_create_graph_retains_the_graph():
    x = leaf(2.0)
    y = x**3
    autograd.grad(y, x, create_graph=True)
    assert autograd.grad(y, x)[0].item() == 12


def test_grad_touches_no_leaf():
    x = leaf([1.0, 2.0])
    (g,) = autograd.grad((x * x).sum(), x)
    assert g.tolist() == [2, 4] and x.grad is None and not g.requires_grad


def test_grad_weighs_outputs_by_grad_outputs_and_sums_over_several_outputs():
    x = leaf([1.0, 2.0])
    for seed in (np.array([10.0, 100.0]), tensor([10.0, 100.0])):
        assert autograd.grad(x * x, x, seed)[0].tolist() == [20, 400]
        assert autograd.grad(x * x, [x], [seed])[0].tolist() == [20, 400]
    assert autograd.grad([x * x, x.sum()], x, [np.array([10.0, 100.0]), None])[0].tolist() == [21, 401]
    with pytest.raises(ValueError, match="as many grad_outputs as outputs"):
        autograd.grad(x * x, x, [np.ones(2), np.ones(2)])
    with pytest.raises(ValueError, match=r"shape \(2,\)"):
        autograd.grad(x * x, x, np.ones(3))


def test_grad_outputs_may_be_differentiated_themselves():
    x, u = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    (g,) = autograd.grad(x * x, x, u, create_graph=True)
    assert autograd.grad(g.sum(), u)[0].tolist() == [2, 4]


def test_grad_answers_for_several_inputs_and_for_the_same_one_twice():
    a, b = leaf(2.0), leaf(5.0)
    ga, gb, again = autograd.grad(a * a * b, [a, b, a])
    assert (ga.item(), gb.item(), again.item()) == (20, 4, 20)


def test_an_input_on_which_nothing_depends_is_refused_unless_allowed():
    a, b = leaf(2.0), leaf(5.0)
    with pytest.raises(RuntimeError, match=r"input 1.*allow_unused"):
        autograd.grad(a * a, [a, b])
    assert autograd.grad(a * a, [a, b], allow_unused=True)[1] is None
    with pytest.raises(RuntimeError, match="requires_grad=True"):
        autograd.grad(a * a, [tensor(1.0)])


def test_an_input_may_be_what_an_op_made_or_the_output_itself():
    x = leaf(3.0)
    y = x * x
    z = ops.exp(y)
    gy, gz, gx = autograd.grad(z, [y, z, x])
    assert gz.item() == 1 and gy.item() == math.exp(9.0) and gx.item() == math.exp(9.0) * 6


def test_backward_of_a_leaf_gives_it_its_seed():
    x = leaf([1.0, 2.0])
    x.backward(np.array([3.0, 4.0]))
    assert x.grad.tolist() == [3, 4]


def test_grad_walks_only_where_it_must():
    calls = []

    def identity(xp, x):
        return x.copy()

    op = Op(identity)
    op.vjp(lambda g: calls.append(1) or g)
    a, b = leaf(1.0), leaf(2.0)
    assert autograd.grad(op(a) * b, b)[0].item() == 1 and not calls
    assert autograd.grad(op(a) * b, a)[0].item() == 2 and len(calls) == 1


def least_seconds(call, times=3):
    """Of the processor: what else runs on the machine only ever adds."""
    return min(timeit.repeat(call, number=1, repeat=times, timer=time.process_time))


def test_grad_by_3000_inputs_takes_about_as_long_as_backward():
    leaves = [leaf(1.0) for _ in range(3000)]
    y = ops.cat([ops.reshape(x, (1,)) for x in leaves]).sum()
    backward = least_seconds(lambda: y.backward(retain_graph=True))
    assert least_seconds(lambda: autograd.grad(y, leaves, retain_graph=True)) < 4 * backward


def test_a_lazy_cotangent_runs_only_if_it_is_wanted():
    calls = []

    def product(xp, a, b):
        return a * b

    op = Op(product)
    op.vjp(lambda g, a, b: (lambda: calls.append("a") or g * b, lambda: calls.append("b") or g * a))
    op(leaf(2.0), tensor(3.0)).backward()
    assert calls == ["a"]


# ---------------------------------------------------------------- recording or not


def test_no_grad_leaves_nothing_behind_as_a_context_and_as_a_decorator():
    x = leaf(2.0)
    with autograd.no_grad():
        assert not (x * x).requires_grad
        with autograd.enable_grad():
            assert (x * x).requires_grad
        assert not (x * x).requires_grad
    assert (x * x).requires_grad

    @autograd.no_grad()
    def square(x):
        return x * x

    assert not square(x).requires_grad and not square(x).requires_grad
    assert (x * x).requires_grad


def test_no_grad_may_be_entered_again_also_within_itself_and_decorates_with_and_without_brackets():
    x, n = leaf(2.0), autograd.no_grad()
    for _ in range(2):
        with n:
            with n, autograd.enable_grad():
                assert (x * x).requires_grad
            assert not (x * x).requires_grad
        assert (x * x).requires_grad

    @autograd.no_grad
    def square(x, *, deeper):
        """Its own square."""
        return square(x, deeper=False) if deeper else x * x

    assert not square(x, deeper=True).requires_grad and square.__doc__ == "Its own square."
    with n:
        assert autograd.enable_grad(lambda x: x * x)(x).requires_grad
    assert (x * x).requires_grad


def test_a_gradient_asked_for_with_its_graph_is_differentiable_inside_no_grad_too():
    x = leaf([1.0, 2.0])
    y = (x**3).sum()
    with autograd.no_grad():
        (g,) = autograd.grad(y, x, create_graph=True)
        assert not (x * x).requires_grad
    assert autograd.grad(g.sum(), x)[0].tolist() == [6, 12]
    with autograd.no_grad():
        y.backward(create_graph=True)
    assert autograd.grad(x.grad.sum(), x)[0].tolist() == [6, 12]
    with autograd.no_grad():
        assert not autograd.grad(y, x)[0].requires_grad
    x.grad = None


def test_no_grad_ends_when_an_error_ends_it():
    with pytest.raises(ZeroDivisionError), autograd.no_grad():
        1 / 0  # noqa: B018
    assert (leaf(1.0) * 2).requires_grad


def test_every_thread_has_its_own_no_grad():
    found, inside, done = [], threading.Event(), threading.Event()

    def other():
        inside.wait(10)
        found.append((leaf(1.0) * 2).requires_grad)
        with autograd.no_grad():
            found.append((leaf(1.0) * 2).requires_grad)
        done.set()

    thread = threading.Thread(target=other)
    thread.start()
    with autograd.no_grad():
        inside.set()
        assert done.wait(10)
    thread.join()
    assert found == [True, False] and (leaf(1.0) * 2).requires_grad


def test_threads_differentiate_at_the_same_time_without_mixing_up():
    found = {}

    def work(k):
        x = leaf(float(k))
        for _ in range(200):
            (x * x).backward()
        found[k] = x.grad.item()

    threads = [threading.Thread(target=work, args=(k,)) for k in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {k: 400.0 * k for k in range(1, 5)}


def test_detach_shares_the_numbers_and_cuts_the_gradient():
    x = leaf([1.0, 2.0])
    y = x * x
    assert not y.detach().requires_grad and np.shares_memory(y.array, y.detach().array)
    (y.detach() * x).sum().backward()
    assert x.grad.tolist() == [1, 4]


def test_clone_copies_the_numbers_and_passes_the_gradient_on():
    x = leaf([1.0, 2.0])
    y = x.clone()
    assert not np.shares_memory(x.array, y.array)
    y.sum().backward()
    assert x.grad.tolist() == [1, 1]


def test_requires_grad_can_be_set_on_leaves_of_floats_only():
    x = tensor([1.0])
    assert x.is_leaf and not x.requires_grad
    x.requires_grad = True
    assert x.requires_grad and x.is_leaf
    y = x * 2
    assert not y.is_leaf
    with pytest.raises(RuntimeError, match="detach"):
        y.requires_grad_(False)
    x.requires_grad_(False)
    assert not (x * 2).requires_grad
    with pytest.raises(TypeError, match="int64"):
        tensor([1], requires_grad=True)


# ---------------------------------------------------------------- hooks


def test_a_hook_sees_the_whole_cotangent_once():
    x, seen = leaf([1.0, 2.0]), []
    y = x * x
    y.register_hook(lambda g: seen.append(g.tolist()))
    (y * 3 + y * y).sum().backward()
    assert seen == [[5, 11]] and x.grad.tolist() == [10, 44]


def test_what_a_hook_returns_takes_the_place_of_the_cotangent_for_later_hooks_too():
    x, seen = leaf([1.0, 2.0]), []
    x.register_hook(lambda g: g * 10)
    x.register_hook(lambda g: seen.append(g.tolist()))
    (x * x).sum().backward()
    assert seen == [[20, 40]] and x.grad.tolist() == [20, 40]


def test_a_removed_hook_is_not_called():
    x, seen = leaf([1.0, 2.0]), []
    remove = x.register_hook(lambda g: seen.append(1))
    (x * x).sum().backward()
    remove()
    (x * x).sum().backward()
    assert seen == [1]


def test_a_function_registered_twice_is_removed_one_registration_at_a_time_and_removing_again_does_nothing():
    x, seen = leaf([1.0]), []

    def note(g):
        seen.append(g.item())
        return g * 2

    first, second = x.register_hook(note), x.register_hook(note)
    for remove in (first, first):
        remove()
        x.sum().backward()
    second()
    x.sum().backward()
    assert seen == [1, 1]


def test_a_hook_may_remove_itself():
    x, seen = leaf([1.0]), []
    remove = x.register_hook(lambda g: (seen.append(1), remove())[2:] or None)
    x.register_hook(lambda g: seen.append(2))
    for _ in range(2):
        x.sum().backward()
    assert seen == [1, 2, 2]


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("answer", [lambda g: g.sum(), lambda g: np.ones(3), lambda g: np.float32(1.0)])
def test_a_hook_that_returns_another_shape_is_refused(answer, create_graph):
    for make in (lambda x: x, lambda x: x * 1.0):
        x = leaf([1.0, 2.0])
        y = make(x)
        y.register_hook(answer)
        with pytest.raises(RuntimeError, match=r"what a hook returns must have the shape \(2,\) .* got \("):
            (y * y).sum().backward(create_graph=create_graph)


def test_a_hook_that_returns_no_array_is_refused():
    x = leaf([1.0])
    x.register_hook(lambda g: 2.0)
    with pytest.raises(TypeError, match="what a hook returns must be a Tensor or an array: got float"):
        x.sum().backward()


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int64])
def test_what_a_hook_returns_and_what_backward_is_given_is_brought_to_the_dtype_of_the_tensor(dtype, create_graph):
    x = tensor([1.0, 2.0], requires_grad=True)
    x.register_hook(lambda g: g.array.astype(dtype) * 2)
    for y in (x, x * 3):
        for gradient in (np.ones(2, dtype), tensor(np.ones(2, dtype))):
            y.backward(gradient, retain_graph=True, create_graph=create_graph)
            assert x.grad.dtype == np.float32
            assert autograd.grad(y, x, gradient, retain_graph=True)[0].dtype == np.float32
            x.grad = None


@pytest.mark.parametrize("create_graph", [False, True])
def test_hooks_work_on_numbers_without_axes_and_on_one_of_several_outputs(create_graph):
    x = leaf(3.0)
    y = x * x
    y.register_hook(lambda g: g * 2)
    (g,) = autograd.grad(y * y, x, create_graph=create_graph)
    assert g.item() == 2 * 4 * 27 and isinstance(g.array, np.ndarray)
    x = leaf([1.0, 2.0])
    first, _ = ops.split(x, (1, 1))
    first.register_hook(lambda g: g * 5)
    assert autograd.grad(first.sum(), x, create_graph=create_graph)[0].tolist() == [5, 0]


def test_retain_grad_keeps_the_gradient_of_what_an_op_made():
    x = leaf([1.0, 2.0])
    y = x * x
    y.retain_grad()
    assert y.grad is None
    (y * y).sum().backward()
    assert y.grad.tolist() == [2, 8] and x.grad.tolist() == [4, 32]
    z = x * x
    (z * z).sum().backward()
    assert z.grad is None


def test_hooks_and_retained_gradients_need_a_tensor_that_requires_grad():
    for call in (lambda x: x.register_hook(print), lambda x: x.retain_grad(), lambda x: setattr(x, "grad", x)):
        with pytest.raises(RuntimeError, match="does not require grad"):
            call(tensor([1.0]))
    with pytest.raises(ValueError, match="shape"):
        leaf([1.0]).grad = tensor([1.0, 2.0])


# ---------------------------------------------------------------- leaves own their gradients


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize(
    "f",
    [
        lambda a, b: a + b,
        lambda a, b: a + b.reshape(2, 2).reshape(4),
        lambda a, b: ops.cat([a[:2], b[2:]]),
        lambda a, b: ops.where(np.array([True, False, True, True]), a, b),
        lambda a, b: a.clone() + b.clone(),
    ],
)
def test_gradients_share_memory_neither_with_each_other_nor_with_the_seed_nor_with_what_is_kept(f, create_graph):
    a, b, seed = leaf([1.0, 2.0, 3.0, 4.0]), leaf([5.0, 6.0, 7.0, 8.0]), tensor(np.ones(4))
    y = f(a, b)
    y.backward(seed, create_graph=create_graph)
    for other in (b.grad, seed, a, b, y):
        assert not np.shares_memory(a.grad.array, other.array)
    for other in (a.grad, seed, a, b, y):
        assert not np.shares_memory(b.grad.array, other.array)
    before = b.grad.tolist()
    a.grad.array[...] = 100.0
    assert b.grad.tolist() == before and seed.tolist() == [1, 1, 1, 1]
    a.grad = b.grad = None


def test_gradients_share_no_memory_with_what_a_rule_keeps_or_a_hook_saw():
    x, seen = leaf([1.0, 2.0]), []
    x.register_hook(seen.append)
    y = ops.exp(x)
    y.backward(np.ones(2), retain_graph=True)
    x.grad.array[...] = 0.0
    assert seen[0].tolist() == y.tolist() == [math.exp(1.0), math.exp(2.0)]


def test_a_retained_gradient_and_that_of_the_leaf_below_it_are_separate():
    x = leaf([1.0, 2.0])
    y = x + 0.0
    y.retain_grad()
    y.sum().backward()
    assert not np.shares_memory(x.grad.array, y.grad.array)


@pytest.mark.parametrize("create_graph", [False, True])
def test_gradients_share_no_memory_with_what_a_hook_saw_on_the_way_to_the_leaf(create_graph):
    for between in (lambda z: z, lambda z: z.reshape(2, 1).reshape(2), lambda z: z + z.reshape(2, 1).reshape(2)):
        x, saved = leaf([1.0, 2.0]), []
        for hooked in (x + 1.0, between(x + 1.0)):
            hooked.register_hook(saved.append)
            (hooked * hooked).sum().backward(create_graph=create_graph)
            before = saved[-1].tolist()
            x.grad.array[...] = 0.0
            assert saved[-1].tolist() == before
            x.grad = None


def test_gradients_share_no_memory_with_what_a_hook_returned():
    x, replacement = leaf([1.0, 2.0]), np.ones(2)
    y = x + 0.0
    y.register_hook(lambda g: replacement)
    y.sum().backward()
    assert not np.shares_memory(x.grad.array, replacement)


@pytest.mark.parametrize("create_graph", [False, True])
def test_whoever_calls_grad_owns_what_it_answers(create_graph):
    a, b, seed = leaf([1.0, 2.0]), leaf([3.0, 4.0]), np.ones(2)
    for gs in (
        autograd.grad(((a + b) ** 2).sum(), [a, b, a], create_graph=create_graph),
        autograd.grad(a.sum() + b.sum(), [a, b], create_graph=create_graph),
        autograd.grad(a + b, [a, b], seed, create_graph=create_graph),
    ):
        for i, g in enumerate(gs):
            assert g.array.flags.writeable
            for other in (*(h.array for h in gs[:i]), seed):
                assert not np.shares_memory(g.array, other)


def test_a_fresh_gradient_is_handed_out_without_a_copy():
    made = []

    def same(xp, x):
        return x.copy()

    op = Op(same)
    op.vjp(lambda g: made.append(g * 2.0) or made[-1])
    x = leaf([1.0, 2.0])
    op(x).sum().backward()
    assert x.grad.array is made[0] and autograd.grad(op(x).sum(), x)[0].array is made[1]


# ---------------------------------------------------------------- memory


def test_a_chain_of_100_000_ops_is_differentiated_and_freed_without_recursion():
    x = leaf(1.0)
    y = x
    for _ in range(100_000):
        y = y + 1e-5
    y.backward()
    assert x.grad.item() == 1
    blocks = sys.getallocatedblocks()
    del y
    assert blocks - sys.getallocatedblocks() > 100_000


def test_a_chain_of_1000_ops_is_differentiated_twice():
    x = leaf(1.0)
    y = x
    for _ in range(1000):
        y = y * 1.001
    (g,) = autograd.grad(y * y, x, create_graph=True)
    np.testing.assert_allclose(autograd.grad(g, x)[0].item(), 2 * 1.001**2000, rtol=1e-10)


def training_step(weights, x):
    y = ops.relu(ops.linear(x, *weights[:2]))
    y = ops.layer_norm(y, 16, weights[2])
    loss = ops.cross_entropy(ops.linear(y, weights[3], None), np.array([0, 1, 2, 3]))
    loss.backward()
    for w in weights:
        w.array -= 0.01 * w.grad.array
        w.grad = None


def memory_growth(step, steps=200, rounds=15):
    """How many blocks of memory a step leaves behind, without the garbage collector: on average, in the best round.

    The free lists of Python and NumPy fill up for some hundred steps, that of tuples for 2,000; a leak goes on in every
    round.
    """
    gc.collect()
    gc.disable()
    least = math.inf
    try:
        for _ in range(rounds):
            before = sys.getallocatedblocks()
            for _ in range(steps):
                step()
            least = min(least, (sys.getallocatedblocks() - before) / steps)
            if least < 0.1:
                break
    finally:
        gc.enable()
    return least


@pytest.fixture
def weights(rng):
    shapes = [(16, 8), (16,), (16,), (4, 16)]
    return [Tensor(rng.standard_normal(shape)).requires_grad_() for shape in shapes]


def test_200_training_steps_without_the_garbage_collector_leave_memory_flat(weights, rng):
    x = Tensor(rng.standard_normal((4, 8)))
    assert memory_growth(lambda: training_step(weights, x)) < 0.1  # one array that was kept would be a block a step


def test_second_derivatives_by_grad_without_the_garbage_collector_leave_memory_flat():
    x = leaf([1.0, 2.0])

    def step():
        (g,) = autograd.grad((ops.exp(x) * x).sum(), x, create_graph=True)
        autograd.grad((g * g).sum(), x)

    assert memory_growth(step) < 0.1


def test_a_step_that_forgets_something_each_time_is_seen_to_grow(weights, rng):
    x, leak = Tensor(rng.standard_normal((4, 8))), []

    def step():
        training_step(weights, x)
        leak.append(weights[1].array + 1.0)

    assert memory_growth(step) >= 1


def test_a_forward_only_loop_keeps_nothing_alive():
    w, seen = leaf(np.ones((4, 4))), []
    y = tensor(np.ones(4))
    with autograd.no_grad():
        for _ in range(10):
            y = ops.tanh(w @ y)
            seen.append(weakref.ref(y))
    assert [ref() for ref in seen[:-1]] == [None] * 9 and seen[-1]() is y


def test_a_graph_dies_with_its_last_tensor_by_reference_counting_alone():
    gc.disable()
    try:
        x = leaf([1.0, 2.0])
        y = ops.softmax(ops.exp(x) * x)
        kept = weakref.ref(y.node.parents[0].kept[0] if y.node.kept == () else y.array)
        del y
        assert kept() is None
    finally:
        gc.enable()


def test_a_rule_that_names_no_array_keeps_none():
    x = leaf(np.ones(1000))
    y = (x + 1.0).sum()
    node = y.node
    assert node.kept == () and node.parents[0].kept == ()
    assert ops.exp(x).node.kept[0].shape == (1000,)


def test_backward_releases_what_the_rules_kept():
    x = leaf(np.ones(3))
    middle = ops.exp(x)
    y = (middle * middle).sum()
    array = weakref.ref(middle.array)
    y.backward()
    del middle
    assert array() is None and y.requires_grad


# ---------------------------------------------------------------- arrays and numbers beside Tensors


def test_an_array_and_a_tensor_make_a_tensor_on_either_side():
    a, x = np.array([[2.0, 3.0]]), leaf([[5.0, 7.0]])
    for y, expected in [
        (a * x, [[10, 21]]), (x * a, [[10, 21]]), (a + x, [[7, 10]]), (a - x, [[-3, -4]]), (x - a, [[3, 4]]),
        (a / x, [[0.4, 3 / 7]]), (a @ x.T, [[31]]), (x @ a.T, [[31]]), (a**x, [[32, 2187]]),
    ]:  # fmt: skip
        assert type(y) is Tensor and y.requires_grad and y.tolist() == expected
    for y in (a < x, a == x, a != x, a >= x):
        assert type(y) is Tensor and y.dtype == bool
    assert (a < x).tolist() == [[True, True]]


def test_numbers_on_either_side_work_and_keep_the_dtype():
    x = tensor([2.0], requires_grad=True)
    for number in (3, 3.0, np.float64(3.0), np.float32(3.0), np.int64(3)):
        for y, expected in [
            (number + x, 5), (number - x, 1), (number * x, 6), (number / x, 1.5), (number**x, 9), (x**number, 8),
            (x - number, -1), (x / number, np.float32(2 / 3)),
        ]:  # fmt: skip
            assert type(y) is Tensor and y.dtype == np.float32 and y.tolist() == [expected]
    assert (-x).tolist() == [-2] and abs(-x).tolist() == [2]


def test_numbers_without_axes_stay_arrays_and_keep_their_node():
    x = leaf(2.0)
    for y in (x * x, ops.exp(x), x.sum(), x.mean(), x.max(), leaf([1.0, 2.0])[0], leaf([1.0]) @ leaf([2.0])):
        assert type(y.array) is np.ndarray and y.array.shape == () and y.requires_grad


def test_an_op_answers_plain_arrays_with_plain_arrays():
    assert type(ops.exp(np.ones(3))) is np.ndarray
    assert isinstance(ops.split(np.ones(3), (1, 2))[1], np.ndarray)


def test_tensor_copies_its_data_and_takes_float32_for_python_numbers():
    a = np.ones(3)
    x = tensor(a)
    a[0] = 7
    assert x.tolist() == [1, 1, 1] and x.dtype == np.float64
    assert tensor([1.0]).dtype == tensor(2.0).dtype == np.float32
    assert tensor([1]).dtype == np.int64 and tensor([True]).dtype == bool
    assert tensor([1], dtype=np.float64).dtype == np.float64
    with pytest.raises(TypeError, match="complex"):
        tensor([1j])


def test_casting_passes_gradients_back_in_the_dtype_they_belong_to():
    x = tensor([1.0, 2.0], requires_grad=True)
    (x.double() * 3.0).sum().backward()
    assert x.grad.dtype == np.float32 and x.grad.tolist() == [3, 3]
    assert x.to(np.float32) is x and x.half().dtype == np.float16
    assert x.long().tolist() == [1, 2] and not x.long().requires_grad


def test_a_tensor_converts_to_numpy_and_python_where_that_loses_no_gradient():
    x = tensor([[1.5]])
    assert float(x) == 1.5 and int(x) == 1 and bool(x) and x.item() == 1.5 and f"{x:.2f}" == "1.50"
    assert np.asarray(x).tolist() == [[1.5]] and np.shares_memory(x.numpy(), x.array)
    assert [1, 2, 3][tensor(1)] == 2
    with pytest.raises(RuntimeError, match="detach"):
        leaf([1.0]).numpy()


def test_the_text_of_a_tensor_says_what_it_is():
    assert repr(tensor([1.0, 2.0])) == "tensor([1., 2.])"
    assert repr(leaf([1.0])) == "tensor([1.], dtype=float64, requires_grad=True)"
    assert repr(tensor(2.0, requires_grad=True) * 2) == "tensor(4., made by mul)"


# ---------------------------------------------------------------- ops of several outputs


def several(name):
    """An op of several outputs at a random point: a function from its input to all of them."""
    rng = np.random.default_rng(0)
    k, v = (Tensor(rng.standard_normal((3, 3))) for _ in range(2))
    calls = {
        "split": lambda x: ops.split(x, (1, 2), axis=1),
        "normalise": lambda x: ops.normalise(x),
        "attention": lambda x: ops.attention(x, k, v, None, causal=True),
        "summed_cross_entropy": lambda x: OPS["summed_cross_entropy"](x, np.array([0, 2, 1]), 0.5),
    }
    return calls[name], leaf(rng.standard_normal((3, 3)))


SEVERAL = ["split", "normalise", "attention", "summed_cross_entropy"]


def differences(f, x, h=1e-6):
    g = np.zeros(x.shape)
    for place in np.ndindex(x.shape):
        above, below = x.array.copy(), x.array.copy()
        above[place] += h
        below[place] -= h
        g[place] = (f(Tensor(above)).item() - f(Tensor(below)).item()) / (2 * h)
    return g


USES = {
    "only the first": lambda ys: (ys[0] ** 3).sum(),
    "only the second": lambda ys: (ys[1] ** 3).sum(),
    "both": lambda ys: (ys[0] ** 3).sum() + (ys[1] ** 2).sum(),
    "the first twice": lambda ys: (ys[0] ** 3).sum() + ops.exp(ys[0]).sum(),
    "both twice": lambda ys: (ys[0] ** 3).sum() + (ys[1] ** 2).sum() * ys[0].sum() + ops.sin(ys[1]).sum(),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
@pytest.mark.parametrize("name", SEVERAL)
def test_an_op_of_several_outputs_has_right_first_and_second_derivatives_however_they_are_used(name, use):
    op, x = several(name)
    f = lambda x: use(op(x))  # noqa: E731
    (plain,) = autograd.grad(f(x), x)
    (g,) = autograd.grad(f(x), x, create_graph=True)
    np.testing.assert_allclose(plain.array, differences(f, x), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(g.array, plain.array, rtol=1e-12, atol=1e-12)

    def squared_gradient(x):
        x = x if x.requires_grad else x.clone().requires_grad_()
        (g,) = autograd.grad(f(x), x, create_graph=True)
        return (g * g).sum()

    (second,) = autograd.grad(squared_gradient(x), x)
    np.testing.assert_allclose(second.array, differences(squared_gradient, x), rtol=1e-4, atol=1e-5)


def test_a_variadic_op_hands_each_input_its_own_part_also_in_the_second_derivative():
    a, b = leaf([1.0, 2.0]), leaf([3.0])
    (ga, gb) = autograd.grad((ops.cat([a, b, a]) ** 3).sum(), [a, b], create_graph=True)
    assert ga.tolist() == [6, 24] and gb.tolist() == [27]
    assert autograd.grad(ga.sum() + gb.sum(), [a, b])[0].tolist() == [12, 24]


def test_a_rule_of_a_variadic_op_may_keep_all_its_inputs():
    def product_of_all(xp, *xs):
        y = xs[0]
        for x in xs[1:]:
            y = y * x
        return y

    op = Op(product_of_all)

    @op.vjp
    def product_vjp(g, xs, y):
        return tuple(g * y / x for x in xs)

    a, b, c = leaf(2.0), leaf(3.0), leaf(5.0)
    gs = autograd.grad(op(a, b, c), [a, b, c], create_graph=True)
    assert [g.item() for g in gs] == [15, 10, 6]
    np.testing.assert_allclose(autograd.grad(gs[0], b)[0].item(), 5.0)


# ---------------------------------------------------------------- kernels


@pytest.fixture
def doubling():
    """A scratch op with two kernels, and the list of who ran."""
    ran = []

    def doubled(xp, x, *, twice=True):
        ran.append("forward")
        return x * 2

    op = Op(doubled)
    op.vjp(lambda g: g * 2)

    @op.kernel("cpu")
    def always(xp, x, *, twice=True):
        ran.append("always")
        return x * 2

    @op.kernel("cpu", when=lambda x, twice=True: x.size >= 3 and twice)
    def large(xp, x, *, twice=True):
        ran.append("large")
        return x * 2

    @op.kernel("elsewhere")
    def foreign(xp, x, *, twice=True):
        ran.append("foreign")
        return x * 2

    return op, ran


def test_the_newest_kernel_whose_condition_holds_runs_and_gradients_flow_through_it(doubling):
    op, ran = doubling
    x = leaf([1.0, 2.0, 3.0])
    op(x).sum().backward()
    assert x.grad.tolist() == [2, 2, 2]
    op(leaf([1.0]))
    op(x, twice=False)
    op(np.ones(3))
    assert ran == ["large", "always", "always", "large"]


def test_a_kernel_can_be_chosen_by_name_and_the_ops_own_forward_as_reference(doubling):
    op, ran = doubling
    x = leaf([1.0, 2.0, 3.0])
    assert op.kernels.names() == ["reference", "always", "foreign", "large"]
    for choice in ("always", "reference", None):
        op.kernels.choice = choice
        op(x)
    assert ran == ["always", "forward", "large"]
    op.kernels.choice = "large"  # does not apply to one element, so that the op's own forward serves
    op(leaf([1.0]))
    assert ran[-1] == "forward"


def test_an_op_without_a_kernel_for_the_device_runs_its_own_forward():
    ran = []

    def same(xp, x):
        ran.append("forward")
        return x

    op = Op(same)
    op.kernel("elsewhere")(lambda xp, x: x)
    op(leaf([1.0]))
    assert ran == ["forward"]


def test_use_kernels_chooses_by_name_and_goes_back_at_the_end_of_its_context(doubling, monkeypatch):
    op, ran = doubling
    monkeypatch.setitem(OPS, "doubled", op)
    x = leaf([1.0, 2.0, 3.0])
    with use_kernels(doubled="reference"):
        op(x)
    op(x)
    use_kernels(doubled="always")
    op(x)
    assert ran == ["forward", "large", "always"]
    with pytest.raises(ValueError, match="known are reference, always"):
        use_kernels(doubled="fastest")
    with pytest.raises(ValueError, match="no op"):
        use_kernels(halved=None)


# ---------------------------------------------------------------- what errors say


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: x + tensor([1.0, 2.0]), ValueError, r"add needs shapes that broadcast: got \(2, 3\) and \(2,\)"),
        (lambda x: x * np.ones((3, 3)), ValueError, r"mul needs shapes that broadcast: got \(2, 3\) and \(3, 3\)"),
        (lambda x: x @ x, ValueError, r"matmul needs .* got a \(2, 3\) and b \(2, 3\), so 3 against 2"),
        (lambda x: ops.exp(x, x), TypeError, r"exp\(x\) was given 2 arrays"),
        (lambda x: ops.add(x), TypeError, r"add\(a, b\) was given 1 arrays"),
        (lambda x: ops.sum(x, axes=0), TypeError, r"sum\(x, axis=None, keepdims=False\).*axes"),
        (lambda x: ops.reshape(x), TypeError, "reshape.*shape"),
        (lambda x: tensor([1, 2], requires_grad=True), TypeError, "only floating-point.*int64.*float"),
        (lambda x: x.item(), ValueError, r"one element.*\(2, 3\)"),
        (lambda x: float(x), ValueError, "one element"),
        (lambda x: bool(x), ValueError, r"neither true nor false.*\.all\(\) or \.any\(\)"),
        (lambda x: bool(x > 0), ValueError, "neither true nor false"),
        (lambda x: x.__setitem__(0, 1.0), TypeError, r"cannot be written into.*where\(\), cat\(\) or stack\(\)"),
        (lambda x: [0, 1][x[0, 0]], TypeError, "only an integer Tensor"),
        (lambda x: len(x.sum()), TypeError, "without axes"),
        (lambda x: (x * x).backward(), RuntimeError, r"shape \(2, 3\).*\.sum\(\) or \.mean\(\)"),
        (lambda x: tensor(1.0).backward(), RuntimeError, "nothing that requires grad"),
        (lambda x: x.detach().sum().backward(), RuntimeError, "nothing that requires grad"),
        (lambda x: autograd.grad(3.0 * tensor(2.0), x), RuntimeError, "nothing that requires grad"),
        (lambda x: (x * x).backward(np.ones(3)), ValueError, r"shape \(2, 3\) .* got \(3,\)"),
        (lambda x: x.sum().backward(1.0), TypeError, "gradient must be a Tensor or an array: got float"),
        (lambda x: x.to("gpu"), ValueError, r"'gpu' is neither a device \(cpu, emulator, cuda\) nor a dtype"),
    ],
)  # fmt: skip
def test_an_error_says_what_came_and_what_was_needed(call, error, message):
    with pytest.raises(error, match=message):
        call(leaf(np.ones((2, 3))))


def double_with(rule, *, inputs=1):
    """Scratch ops, x -> 2 x and (a, b) -> a + b, with that rule."""

    def double(xp, x):
        return x * 2

    def total(xp, a, b):
        return a + b

    op = Op(double if inputs == 1 else total)
    op.vjp(rule)
    return op


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize(
    ("inputs", "rule", "error", "message"),
    [
        (1, lambda g: 2.0, TypeError, "the rule of double must answer Tensors or arrays: got float"),
        (1, lambda g: lambda: 2.0, TypeError, "the rule of double must answer Tensors or arrays: got float"),
        (1, lambda g: [g], TypeError, "the rule of double must answer Tensors or arrays: got list"),
        (1, lambda g: (g, g), ValueError, "the rule of double must answer one gradient an input.* got 2 for 1"),
        (2, lambda g: g, ValueError, "the rule of total must answer one gradient an input.* got 1 for 2"),
        (2, lambda g: (g, g, g), ValueError, "the rule of total must answer one gradient an input.* got 3 for 2"),
        (1, lambda g: g[0], ValueError, r"rule of double answered shape \(2,\) for an input of shape \(2, 2\)"),
        (1, lambda g: g[:, :, None], ValueError, r"rule of double answered shape \(2, 2, 1\) for .* \(2, 2\)"),
        (1, lambda g: g[:, [0, 1, 0]], ValueError, r"rule of double answered shape \(2, 3\) for .* \(2, 2\)"),
    ],
)
def test_a_wrong_answer_of_a_rule_is_refused_with_the_name_of_the_op(inputs, rule, error, message, create_graph):
    op, x = double_with(rule, inputs=inputs), leaf([[1.0, 2.0], [3.0, 4.0]])
    with pytest.raises(error, match=message):
        op(*[x] * inputs).sum().backward(create_graph=create_graph)


def test_a_rule_that_forgets_along_which_axis_it_was_summed_is_refused_though_its_answer_broadcasts():
    def rows(xp, x):
        return x.sum(-1)

    op, x = Op(rows), leaf([[1.0, 2.0], [3.0, 4.0]])
    op.vjp(lambda g: g)
    with pytest.raises(ValueError, match=r"rule of rows answered shape \(2,\) for an input of shape \(2, 2\)"):
        (op(x) * np.array([1.0, 10.0])).sum().backward()
    op.vjp(lambda g: g[:, None])
    (op(x) * np.array([1.0, 10.0])).sum().backward()
    assert x.grad.tolist() == [[1, 1], [10, 10]]


def test_one_number_is_spread_and_what_was_broadcast_is_summed():
    x = leaf([[1.0, 2.0]])
    double_with(lambda g: g.sum())(x).sum().backward()
    assert x.grad.tolist() == [[2, 2]]
    x.grad = None
    double_with(lambda g: g + np.zeros((3, 4, 2)))(x).sum().backward()
    assert x.grad.tolist() == [[12, 12]]


def test_a_broadcasting_assignment_with_an_operator_makes_a_new_tensor():
    x = leaf([1.0])
    y = x
    y += 1.0
    assert x.tolist() == [1] and y.tolist() == [2] and y.requires_grad


def test_every_op_says_in_a_line_what_it_computes():
    assert [name for name, op in OPS.items() if not op.__doc__] == []
    assert all(isinstance(op, Op) and name == op.name for name, op in OPS.items())
    assert issubclass(Tensor, Value)


@pytest.mark.parametrize("call", [lambda x: ops.sum(x, 0, axis=1), lambda x: ops.sum(x, dim=0, axis=1)])
def test_a_parameter_given_twice_is_refused(call):
    with pytest.raises(TypeError, match=r"sum was given the same parameter twice: .*axis"):
        call(tensor([[1.0, 2.0]]))
    assert ops.sum(tensor([[1.0, 2.0]]), 1).tolist() == ops.sum(tensor([[1.0, 2.0]]), dim=1).tolist() == [3.0]


def test_the_gradient_of_what_was_broadcast_counts_past_2048_in_float16():
    b = tensor(np.zeros(2, np.float16)).requires_grad_()
    (tensor(np.zeros((5000, 2), np.float16)) + b).backward(tensor(np.ones((5000, 2), np.float16)))
    assert b.grad.tolist() == [5000, 5000] and b.grad.dtype == np.float16


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda f: pickle.loads(pickle.dumps(f))])
@pytest.mark.parametrize("f", [ops.exp, ops.div, ops.prod, ops.matmul])
def test_a_copy_of_an_op_is_the_op_itself(copied, f):
    assert copied(f) is f


def test_an_op_without_inputs_and_an_elementwise_one_of_two_outputs_go_the_general_way():
    @op
    def answer(xp, *, n=3):
        return xp.full(2, n)

    @elementwise
    def frexp(xp, x):
        return xp.frexp(x)

    assert answer().tolist() == [3, 3]
    mantissa, exponent = frexp(tensor([1.0, 8.0]))
    assert mantissa.tolist() == [0.5, 0.5] and exponent.tolist() == [1, 4]
