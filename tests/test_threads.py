"""The threads that share work: each job is done, errors come back, and Ctrl-C at any point leaves a pool that works."""

import gc
import sys
import threading
import time
import weakref
from contextlib import suppress
from functools import partial
from itertools import count

import numpy as np
import pytest
from jit_steps import numbers

import tinygrad_ft as tg
from tinygrad_ft import threads
from tinygrad_ft.jit import crew
from tinygrad_ft.threads import Pool, Worker

PATIENCE = 30  # seconds, then something hangs


def alive():
    """How many threads of pools there are."""
    return sum(thread.name == "tinygrad_ft" for thread in threading.enumerate())


def settled(n):
    """Whether there are soon no more than n."""
    end = time.monotonic() + PATIENCE
    while alive() > n and time.monotonic() < end:
        time.sleep(0.001)
    return alive() <= n


class Meeting:
    """Work for three that wait for each other, as threads at a barrier do."""

    def __init__(self):
        self.barrier = threading.Barrier(3, timeout=PATIENCE)
        self.met = []

    def work_off(self, pool):
        """Whether the pool did it."""
        return pool.work_off([lambda i=i: self._meet(i) for i in range(3)], break_off=self.barrier.abort)

    def _meet(self, i):
        self.barrier.wait()
        self.met.append(i)


def works(pool):
    """Whether the pool does a whole piece of work."""
    meeting = Meeting()
    try:
        return meeting.work_off(pool) and sorted(meeting.met) == [0, 1, 2]
    except threading.BrokenBarrierError:
        return False


class CtrlC:
    """Raises KeyboardInterrupt after so many calls and ends of calls in this thread: where a real one can come."""

    def __init__(self, after):
        self.left = after

    def __enter__(self):
        sys.setprofile(self._count)
        return self

    def __exit__(self, *_):
        sys.setprofile(None)

    def _count(self, frame, event, what):
        ours = frame.f_code.co_filename == threads.__file__
        if ours and event in ("call", "c_return"):
            self.left -= 1
            if not self.left:
                raise KeyboardInterrupt


def interrupted_everywhere(make):
    """How often Ctrl-C could come; after each, the pool is to work, and to have no more threads than it needs."""
    before = alive()
    for after in count(1):
        pool = make()
        try:
            with CtrlC(after) as ctrl_c:
                Meeting().work_off(pool)
        except KeyboardInterrupt:
            assert ctrl_c.left == 0
        assert works(pool), f"Ctrl-C number {after} broke the pool"
        assert settled(before + 2), f"Ctrl-C number {after} left threads behind"
        dismissed(pool)
        if ctrl_c.left > 0:
            return after - 1
    raise AssertionError


def dismissed(pool):
    threads._end(pool.workers, int)


def used():
    pool = Pool()
    assert works(pool)
    return pool


@pytest.mark.parametrize("make, least", [(Pool, 15), (used, 10)], ids=["new", "used"])
def test_after_ctrl_c_at_any_point_a_pool_works_and_leaves_no_threads_behind(make, least):
    assert interrupted_everywhere(make) >= least, "hardly any place was tried"


class Keeps(Pool):
    """Has its workers back, come what may."""

    def _share_out(self, *work):
        try:
            super()._share_out(*work)
        except BaseException:
            self.workers = [Worker(), Worker()]
            raise


class Stays(Pool):
    """Is taken for good where a piece of work did not come to its end."""

    def _share_out(self, *work):
        try:
            super()._share_out(*work)
        except BaseException:
            self.owner = object()
            raise


@pytest.mark.parametrize("kind", [Keeps, Stays])
def test_a_pool_that_ctrl_c_breaks_is_noticed(kind, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "PATIENCE", 0.2)
    with pytest.raises(AssertionError, match="broke the pool"):
        interrupted_everywhere(kind)


def test_threads_that_are_left_behind_are_noticed(monkeypatch):
    made, end = [], threads._end
    monkeypatch.setattr(threads, "_end", lambda workers, break_off: (made.extend(workers), break_off()))
    monkeypatch.setattr(sys.modules[__name__], "PATIENCE", 1)
    with pytest.raises(AssertionError, match="left threads behind"):
        interrupted_everywhere(Pool)
    end(made, int)


def test_a_second_ctrl_c_is_put_off_until_the_workers_are_at_rest():
    pool, breaking_off = used(), iter([KeyboardInterrupt()])
    resting = threading.Event()

    def break_off():
        for interrupt in breaking_off:
            raise interrupt

    def slow():
        time.sleep(0.05)
        resting.set()

    def fails():
        raise ValueError("first")

    with pytest.raises(KeyboardInterrupt):
        pool.work_off([fails, slow], break_off=break_off)
    assert resting.is_set() and works(pool)
    dismissed(pool)


def failing(message):
    def job():
        raise ValueError(message)

    return job


@pytest.mark.parametrize("at", range(3))
def test_what_a_job_raises_comes_back_once_all_have_ended_and_the_pool_goes_on(at):
    pool, ended = Pool(), []
    jobs = [lambda: (time.sleep(0.01), ended.append(1))] * 3
    jobs[at] = failing(f"job {at}")
    with pytest.raises(ValueError, match=f"job {at}"):
        pool.work_off(jobs)
    assert len(ended) == (2 if at else len(ended))
    n = len(ended)
    time.sleep(0.03)
    assert len(ended) == n, "a job went on behind the back of its caller"
    assert works(pool)
    dismissed(pool)


def test_a_pool_at_work_does_nothing_else_meanwhile():
    pool, seen = Pool(), []
    assert pool.work_off([lambda: seen.append(pool.work_off([failing("within"), int])), int])
    assert seen == [False] and works(pool)
    dismissed(pool)


def test_a_worker_lets_go_of_its_job_and_of_what_it_raised():
    class Thing:
        pass

    def raises(thing):
        raise ValueError

    pool, gone = Pool(), []
    for job in (lambda thing: None, raises):
        thing = Thing()
        gone.append(weakref.ref(thing))
        with suppress(ValueError):
            pool.work_off([int, partial(job, thing)])
        del thing
    gc.collect()
    assert [ref() for ref in gone] == [None, None]
    dismissed(pool)


@pytest.mark.parametrize("where", ["start", "given"])
def test_ctrl_c_while_the_threads_of_a_step_are_started_or_given_work_leaves_it_replayable(where, monkeypatch):
    jitted = tg.jit(lambda x: (x @ x).tanh().sum(), threads=2)
    expected = [jitted(numbers(50, 50)).array for _ in range(4)].pop()
    monkeypatch.setattr(threads, "pool", pool := Pool())
    monkeypatch.setattr(crew, "pool", pool)
    true, interrupts = Worker.start, iter([KeyboardInterrupt()])

    class Interrupted:
        """The queue of jobs: Ctrl-C comes once one is in it."""

        def __init__(self, queue):
            self.get, self._put = queue.get, queue.put

        def put(self, job):
            self._put(job)
            for interrupt in interrupts:
                raise interrupt

    def start(self):
        if where == "given":
            self.given = Interrupted(self.given)
        true(self)
        if where == "start":
            for interrupt in interrupts:
                raise interrupt

    monkeypatch.setattr(Worker, "start", start)
    before = alive()
    with pytest.raises(KeyboardInterrupt):
        for _ in range(10):  # the first ones may be done alone
            jitted(numbers(50, 50))
    for _ in range(3):
        np.testing.assert_array_equal(jitted(numbers(50, 50)).array, expected)
    assert settled(before + 1)
    dismissed(pool)
