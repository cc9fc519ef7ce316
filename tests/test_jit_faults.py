"""A jitted step when things go wrong: exceptions, bad contents, threads, processes; and blinded checkers."""

import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
from jit_steps import Teller, never_silently_wrong, numbers, parameter, same_as_eager, told
from test_jit_safety import changing, training

import tinygrad_ft as tg
from tinygrad_ft import nn, optim
from tinygrad_ft.jit import JitError, assembly, fuse, guards, plan
from tinygrad_ft.jit import reach as reach_module
from tinygrad_ft.jit import record as record_module

F = nn.functional


# ---------------------------------------------------------------- exceptions


@pytest.mark.parametrize("at", [0, 1, 4])
@pytest.mark.parametrize("kind", [optim.SGD, optim.Adam])
def test_an_exception_leaves_parameters_and_what_the_optimiser_remembers_as_it_was_and_the_next_call_works(at, kind):
    w = parameter(2, 4)
    options = {"momentum": 0.9} if kind is optim.SGD else {}
    optimizer = kind([w], lr=0.1, **options)
    fails = []

    def step(x, k):
        optimizer.zero_grad()
        loss = ((w * x) ** 2).sum()
        loss.backward()
        optimizer.step()
        if fails:
            raise RuntimeError("after the update")
        return loss

    def everything():
        return [w.array.copy(), *(np.copy(a) for a in optimizer.state[w].values())]

    jitted = tg.jit(step)
    for i in range(at):
        jitted(numbers(2, 4, seed=i), 1)
    before, gradient = everything(), w.grad
    fails.append(True)
    with pytest.raises(RuntimeError, match="after the update"):
        jitted(numbers(2, 4, seed=9), 2)
    after = everything()
    if not at:  # the state was made on the way: as good as new
        assert not any(np.any(a) for a in after[1:])
        after = after[:1]
    assert all(np.array_equal(a, b) for a, b in zip(after, before, strict=True))
    assert w.grad is gradient
    fails.clear()
    jitted(numbers(2, 4, seed=9), 2)
    assert not np.array_equal(w.array, before[0])


def test_an_exception_leaves_a_schedule_as_it_was():
    optimizer = optim.SGD([parameter(3)], lr=0.1)
    schedule = optim.lr_scheduler.StepLR(optimizer, 1, 0.5)

    def step(x):
        schedule.step()
        raise RuntimeError("after the schedule")

    with pytest.raises(RuntimeError, match="after the schedule"):
        tg.jit(step)(numbers(3))
    assert schedule.last_epoch == 0 and optimizer.param_groups[0]["lr"] == 0.1


def test_a_refusal_after_the_step_ran_leaves_parameters_as_they_were():
    w = parameter(3)

    def step(x):
        w.grad = None
        (w * x * next(scales)).sum().backward()
        optimizer.step()

    optimizer, scales = optim.SGD([w], lr=0.1), iter(np.arange(1.0, 99.0).tolist())
    jitted = tg.jit(step)
    for i in range(5):
        before = w.array.copy()
        try:
            jitted(numbers(3, seed=i))
        except JitError:
            break
    else:
        pytest.fail("the constant was never noticed")
    assert np.array_equal(w.array, before)


def embedding_training(ids_of, threads=None):
    table = parameter(10, 4)
    optimizer = optim.SGD([table], lr=0.1)

    def step(ids):
        optimizer.zero_grad()
        loss = (F.embedding(ids_of(ids), table) ** 2).sum()
        loss.backward()
        optimizer.step()
        return loss

    return table, step


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    "ids_of",
    [lambda ids: ids, lambda ids: ids + 1, lambda ids: tg.maximum(ids, 0)],
    ids=["given", "computed", "clamped"],
)
@pytest.mark.parametrize("bad", [10, 1 << 40])
def test_an_id_out_of_range_at_a_replay_raises_and_the_next_good_call_works(ids_of, threads, bad):
    table, step = embedding_training(ids_of)
    twin, eager = embedding_training(ids_of)
    jitted = tg.jit(step, threads=threads)
    for i in range(8):
        ids = np.random.default_rng(i).integers(0, 9, (3, 5))
        if i == 5:
            before = table.array.copy()
            with pytest.raises(IndexError):
                jitted(np.where(ids == ids[0, 0], bad, ids))
            assert np.array_equal(table.array, before)
        np.testing.assert_allclose(jitted(ids).array, eager(ids).array, rtol=1e-5)
        np.testing.assert_allclose(table.array, twin.array, rtol=1e-5)


def test_a_class_that_is_ignored_in_a_later_batch_only_is_ignored():
    def story(jit):
        w = parameter(4, 3)

        def step(x, y):
            w.grad = None
            loss = F.cross_entropy(x @ w, y, ignore_index=-100)
            loss.backward()
            return loss, w.grad

        jitted = jit(step)
        for i in range(8):
            y = np.random.default_rng(i).integers(0, 3, 6)
            if i in (4, 6):
                y[:2] = -100
            yield jitted(numbers(6, 4, seed=i), y)

    same_as_eager(story)


@pytest.mark.parametrize("last", [[1, 2, 3], [1, -1, -1], [-1, -1, -1]])
@pytest.mark.parametrize(
    "select", [lambda x: x[x > 0], lambda x: tg.masked_select(x, x > 0)], ids=["index", "function"]
)
def test_an_answer_whose_shape_depends_on_numbers_is_noticed(select, last):
    def story(jit):
        step = jit(select)
        for x in ([1, 2, -1], [3, 2, -1], [3, 2, -7], last):
            yield step(tg.tensor([float(v) for v in x]))

    never_silently_wrong(story)


# ---------------------------------------------------------------- randomness, mixing


def dropped(jit):
    step = jit(lambda x: (F.dropout(x, 0.5), F.dropout(x, 0.25) + tg.randn(3, 4)))
    for _ in range(6):
        yield step(tg.ones(3, 4))


def test_masks_differ_from_call_to_call_and_are_those_without_jit_for_the_same_seed():
    same_as_eager(dropped)
    masks = [row[0].tobytes() for row in told(dropped, tg.jit)]
    assert len(set(masks)) == len(masks)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_same_seed_gives_the_same_bits(threads):
    first, again = ([a.tobytes() for row in told(training(), Teller(threads=threads)) for a in row] for _ in range(2))
    assert first == again


def test_two_jitted_steps_and_an_eager_one_take_turns():
    def story(jit):
        w = parameter(3)
        optimizer = optim.Adam([w], lr=0.1)

        def step(x, power):
            optimizer.zero_grad()
            ((w * x) ** power).sum().backward()
            optimizer.step()
            return w * 1

        one, two = jit(lambda x: step(x, 2)), jit(lambda x: step(x, 3))
        for i in range(18):
            yield (one, two, lambda x: step(x, 4))[i % 3](numbers(3, seed=i)), w.array

    same_as_eager(story)


def product(x):
    return (x @ x).tanh().sum()


def test_threads_of_python_may_call_one_step():
    jitted = tg.jit(product, threads=2)
    expected = [product(numbers(50, 50, seed=i)).array for i in range(20)]
    got = {}

    def run(k):
        for i in range(20):
            got[k, i] = jitted(numbers(50, 50, seed=i)).array

    workers = [threading.Thread(target=run, args=(k,)) for k in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert len(got) == 80
    for (_, i), y in got.items():
        np.testing.assert_allclose(y, expected[i], rtol=1e-4, atol=1e-3)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_step_replayed_on_two_threads_goes_on_after_a_fork():
    jitted = tg.jit(product, threads=2)
    expected = [jitted(numbers(50, 50, seed=1)).array for _ in range(4)].pop()
    child = os.fork()
    if not child:
        signal.alarm(20)  # ends a child that hangs
        os._exit(int(not np.array_equal(jitted(numbers(50, 50, seed=1)).array, expected)))
    assert os.waitpid(child, 0)[1] == 0
    np.testing.assert_array_equal(jitted(numbers(50, 50, seed=1)).array, expected)


SPAWNED = """
import multiprocessing, sys
sys.path[:0] = {path!r}
from test_jit_faults import spawned
if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    with context.Pool(2) as pool:
        print(pool.map(spawned, [1, 1]))
"""


def spawned(seed):
    jitted = tg.jit(product, threads=2)
    return [float(jitted(numbers(50, 50, seed=seed)).array) for _ in range(4)][-1]


def test_processes_that_are_spawned_replay_too(tmp_path):
    script = tmp_path / "spawned.py"
    script.write_text(SPAWNED.format(path=[os.path.dirname(__file__)]))
    run = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=300, check=True)
    a, b = eval(run.stdout)
    assert a == b


class Interrupt(BaseException):
    pass


@pytest.mark.parametrize("threads", [1, 2])
def test_an_interrupt_in_a_row_of_python_does_not_hang_the_next_call(threads):
    calls = []

    @tg.op
    def disturbed(xp, x):
        calls.append(x)
        if len(calls) == 5:
            raise Interrupt
        return x * 1

    jitted = tg.jit(lambda x: (disturbed(x @ x) @ x).sum(), threads=threads)
    expected = [jitted(numbers(40, 40)).array for _ in range(4)].pop()
    with pytest.raises(Interrupt):
        jitted(numbers(40, 40))
    for _ in range(3):
        np.testing.assert_allclose(jitted(numbers(40, 40)).array, expected, rtol=1e-5)


# ---------------------------------------------------------------- planted faults: the tests above can fail


def wrong(story=None):
    with pytest.raises(AssertionError):
        same_as_eager(story or training())


def test_a_plan_that_loses_an_update_is_caught(monkeypatch):
    true = plan.needed
    monkeypatch.setattr(assembly, "needed", lambda *args: [x for x in true(*args) if x.op.name != "sgd_update"])
    wrong()


def test_a_source_that_writes_minus_for_plus_is_caught(monkeypatch):
    true = fuse.Source

    class Minus(true):
        def _infix(self, sign, kind, *, truth):
            return super()._infix("-" if sign == "+" else sign, kind, truth=truth)

    monkeypatch.setattr(fuse, "Source", Minus)
    wrong(lambda jit: ((jit(lambda x: x * 2 + x.exp()))(x) for x in [numbers(3)] * 4))


def test_an_arena_in_which_arrays_overlap_is_caught(monkeypatch):
    def overlapping(self, lives):
        self.places = dict.fromkeys(lives, 0)
        self.size = max((size for _, _, size in lives.values()), default=0)

    monkeypatch.setattr(plan.Arena, "place", overlapping)
    wrong(lambda jit: ((jit(lambda x: ((x @ x) @ (x @ x.T)).sum()))(x) for x in [numbers(9, 9)] * 4))


def test_guards_that_see_nothing_are_caught(monkeypatch):
    monkeypatch.setattr(guards, "held_by", lambda thing, called, words: iter(()))
    with pytest.raises(AssertionError):
        never_silently_wrong(changing(lambda: ({"a": 2.0}, lambda b: b["a"]), lambda b, v: b.__setitem__("a", v)))


def test_a_comparison_that_finds_nothing_is_caught(monkeypatch):
    monkeypatch.setattr(sys.modules["tinygrad_ft.jit.jit"], "difference", lambda a, b: None)
    scales = iter(np.arange(1.0, 99.0).tolist())
    with pytest.raises(AssertionError):
        never_silently_wrong(lambda jit: ((jit(lambda x: x * next(scales)))(x) for x in [numbers(3)] * 4))


def test_a_recorder_that_does_not_look_for_writes_past_all_ops_is_caught(monkeypatch):
    monkeypatch.setattr(record_module.Recorder, "check_untouched", lambda self: None)
    monkeypatch.setattr(reach_module, "_refuse_users", lambda: None)
    with pytest.raises(AssertionError):
        never_silently_wrong(training(lambda w: w.array.__imul__(0.5), before=False))
