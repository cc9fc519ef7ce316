"""The threads that share work: they live as long as the process, and sleep between pieces of work.

Waking one takes about 70 us. After a fork the child has none of them and starts its own. Two pieces of work never share
them at once: the second is done by its own thread alone.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from time import sleep

Job = Callable[[], object]


def usable_threads() -> int:
    """How many threads to work on: TINYGRAD_FT_THREADS, else as many as this process has cores.

    Raises:
        ValueError: if TINYGRAD_FT_THREADS is no number of at least 1.
    """
    given = os.environ.get("TINYGRAD_FT_THREADS", "")
    if given:
        if not given.isdigit() or int(given) < 1:
            raise ValueError(f"TINYGRAD_FT_THREADS must be a number of threads of at least 1: got {given!r}")
        return int(given)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Worker:
    """One thread, which does one job after another, and answers what each raised; None for a job ends it."""

    def __init__(self) -> None:
        self.given: SimpleQueue[Job | None] = SimpleQueue()
        self.done: SimpleQueue[BaseException | None] = SimpleQueue()
        self.running = False

    def start(self) -> None:
        """Begin to wait for jobs."""
        threading.Thread(target=self._work, daemon=True, name="tinygrad_ft").start()
        self.running = True

    def _work(self) -> None:
        while (job := self.given.get()) is not None:
            raised = None
            try:
                job()
            except BaseException as error:
                raised = error
            del job  # lets go of arrays
            self.done.put(raised)
            del raised
        self.running = False


class Pool:
    """The workers, which do one piece of work at a time: that of `owner`, if there is one.

    Ctrl-C comes after any call that Python makes. So what is claimed is claimed, and given back, without one; and the
    workers of a piece of work that did not come to its end are ended, so that the next one makes itself others.
    """

    owner: object = None

    def __init__(self) -> None:
        self.workers: list[Worker] = []

    def work_off(self, jobs: Sequence[Job], *, before: Job = int, break_off: Job = int) -> bool:
        """Do the first job here and the others on workers, and wait for all.

        False if the workers are busy, when nothing is done.

        Args:
            before: is done first, once they are free.
            break_off: if the first job raises, or Ctrl-C comes, makes the others end soon.
        """
        me = object()
        try:
            if vars(self).setdefault("owner", me) is not me:
                return False
            self._share_out(jobs, before, break_off)
        finally:
            if self.owner is me:
                del self.owner
        return True

    def _share_out(self, jobs: Sequence[Job], before: Job, break_off: Job) -> None:
        workers, self.workers = self.workers, []
        try:
            while len(workers) < len(jobs) - 1:
                workers.append(Worker())
                workers[-1].start()
            at_work = workers[: len(jobs) - 1]
            before()
            for worker, job in zip(at_work, jobs[1:], strict=True):
                worker.given.put(job)
            jobs[0]()
            errors = [worker.done.get() for worker in at_work]
            self.workers = workers
        except BaseException:
            _end(workers, break_off)
            raise
        for error in filter(None, errors):
            raise error


def _end(workers: list[Worker], break_off: Job) -> None:
    """End workers, and wait for what they are at: Ctrl-C is put off until then."""
    interrupt = None
    while True:
        try:
            break_off()
            for worker in workers:
                worker.given.put(None)
            while any([worker.running for worker in workers]):
                sleep(1e-4)
            break
        except KeyboardInterrupt as error:
            interrupt = error
    if interrupt is not None:
        raise interrupt


pool = Pool()


def _forget_threads() -> None:
    vars(pool).clear()
    pool.__init__()  # type: ignore[misc]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)
