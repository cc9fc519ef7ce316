"""Toy contenders of test_bench.py: in a file of their own, since each of their processes imports it."""

import os
import time

import numpy as np

from benchmarks.harness import NotAvailable, Running


def sleeping(seconds, loss=2.0):
    """A contender whose step sleeps and computes `loss`."""
    return Running(lambda: time.sleep(seconds), lambda _: [loss])


def hungry():
    """Its first step takes 80 MB."""
    held = []

    def step():
        if not held:
            held.append(np.ones(10_000_000))
        time.sleep(0.001)

    return Running(step, lambda _: [2.0])


def ending(how):
    """It agrees, and ends in its fifth step."""
    count = iter(range(4))

    def step():
        if next(count, None) is None:
            how()

    return Running(step, lambda _: [2.0])


def raising():
    raise RuntimeError("two\nlines")


def lacking():
    raise NotAvailable("no such thing yet")


def environment():
    """Its number says whether BLAS is told which kernel to take, its second how many processors it may use."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    return Running(lambda: None, lambda _: ["OPENBLAS_CORETYPE" in os.environ, processors])
