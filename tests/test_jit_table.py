"""Rows of the table: compiled once however many threads want them, and their words read as the numbers they are."""

import contextlib
import os
import signal
import threading
import time

import numba
import numpy as np
import pytest

from tinygrad_ft.jit import machine, table


def wanted_by(n, loop, monkeypatch):
    """How often a row is compiled that so many threads want at once, and what they are answered."""
    compiled, answers = [], []

    def slowly(text):
        compiled.append(text)
        time.sleep(0.05)
        return len(compiled)

    monkeypatch.setattr(table, "compiled", slowly)
    threads = [threading.Thread(target=lambda: answers.append(table.entry(loop, ("l",)))) for _ in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return len(compiled), answers


def test_a_row_that_two_threads_want_at_once_is_compiled_once(monkeypatch):
    assert wanted_by(3, table.Loop("one"), monkeypatch) == (1, [1, 1, 1])


def test_rows_that_are_compiled_twice_are_noticed(monkeypatch):
    monkeypatch.setattr(table, "_compiling", contextlib.nullcontext())
    assert wanted_by(3, table.Loop("another"), monkeypatch)[0] > 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_compiles_though_a_thread_of_its_parent_did_when_it_forked(monkeypatch):
    monkeypatch.setattr(table, "compiled", lambda text: 7)
    compiling, over = threading.Event(), threading.Event()

    def hold():
        with table._compiling:
            compiling.set()
            over.wait(30)

    holder = threading.Thread(target=hold)
    holder.start()
    assert compiling.wait(30)
    child = os.fork()
    if not child:
        signal.alarm(20)  # ends a child that hangs
        os._exit(int(table.entry(table.Loop("of a child"), ("l",)) != 7))
    assert os.waitpid(child, 0)[1] == 0
    over.set()
    holder.join(30)


def test_what_is_told_of_compiling_ends_with_it_even_by_an_error():
    with pytest.raises(ZeroDivisionError), table.told():
        assert table._bar is not None
        raise ZeroDivisionError
    assert table._bar is None


def test_words_of_a_block_are_read_as_the_numbers_they_are():
    @numba.njit
    def read(block):
        return machine.word(block, 0), machine.single(block, 1), machine.double(block, 2)

    block = np.zeros(3, np.int64)
    block[0], block.view(np.float32)[2], block.view(np.float64)[2] = -(2**62) - 1, 0.1, 0.1
    assert read(block.ctypes.data) == (-(2**62) - 1, np.float32(0.1), 0.1)
