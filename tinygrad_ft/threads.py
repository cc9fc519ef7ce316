"""The threads that share work: they live as long as the process, and sleep between pieces of work.

Waking one takes about 70 us. After a fork the child has none of them and starts its own. Two pieces of work never share
them at once: the second is done by its own thread alone.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence

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
    """One thread, which does the job that it is given whenever it is told to go, and keeps what the job raises."""

    def __init__(self) -> None:
        self.go, self.done = threading.Lock(), threading.Lock()
        self.go.acquire()
        self.job: Job = int
        self.error: BaseException | None = None
        threading.Thread(target=self._work, daemon=True, name="tinygrad_ft").start()

    def _work(self) -> None:
        while True:
            self.go.acquire()
            try:
                self.job()
            except BaseException as error:
                self.error = error
            self.done.release()


class Pool:
    """The workers, and the lock that one piece of work at a time holds."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.workers: list[Worker] = []

    def work_off(self, jobs: Sequence[Job], *, before: Job = int) -> bool:
        """Do the first job here and the others on workers, and wait for all.

        False if the workers are busy, when nothing is done. `before` is done first, once they are free.
        """
        if not self.lock.acquire(blocking=False):
            return False
        try:
            while len(self.workers) < len(jobs) - 1:
                self.workers.append(Worker())
            workers = self.workers[: len(jobs) - 1]
            before()
            for worker, job in zip(workers, jobs[1:], strict=True):
                worker.done.acquire()
                worker.job = job
                worker.go.release()
            try:
                jobs[0]()
            finally:
                errors = []
                for worker in workers:
                    worker.done.acquire()
                    worker.job = int  # lets go of arrays
                    errors.append(worker.error)
                    worker.error = None
                    worker.done.release()
            for error in filter(None, errors):
                raise error
        finally:
            self.lock.release()
        return True


pool = Pool()


def _forget_threads() -> None:
    pool.__init__()  # type: ignore[misc]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)
