"""Rows of the table: a loop and its arguments as the address of a compiled function and a block of words.

The function that unpacks a block is written as Python text for each loop and the types of its arguments, kept as a file
in the cache folder beside what Numba makes of it, and so compiled once on a machine. Generated loops bring their own
text and are kept in the same way.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from threading import RLock
from types import ModuleType
from typing import Any, NamedTuple
from warnings import catch_warnings, simplefilter

import numpy as np

from tinygrad_ft.cache import cache_folder as _folder
from tinygrad_ft.dispatch import Share
from tinygrad_ft.storage import write_atomically

NUMBERS = {"f": "single", "d": "double"}
HEADER = '''"""Written by tinygrad_ft.jit: {what}."""

import numpy as np
from numba import carray, cfunc
from numpy.lib.stride_tricks import as_strided

from tinygrad_ft.jit.machine import SIGNATURE, double, memory, single, word
from tinygrad_ft.kernels.cpu.vector import Wide
'''
ROW = """

@cfunc(SIGNATURE, nopython=True, cache=True, error_model="numpy", pipeline_class=Wide)
def row(block, thread, threads):
    items = word(block, 0)
    start, end = items * thread // threads, items * (thread + 1) // threads
    if start < end:
        loop({arguments}start, end)
"""


class Loop(NamedTuple):
    """A generated loop: its text, which defines a function `loop`."""

    text: str


class Row(NamedTuple):
    """One row of the table. `places` says which word of the block is the address of which argument."""

    function: int
    block: Any
    places: list[tuple[int, Any]]
    loop: Any


def row_of(share: Share) -> Row:
    """A share of work as a row."""
    kinds, words = [], [share.items]
    places: list[tuple[int, Any]] = []
    for a in share.arguments:
        if isinstance(a, np.ndarray):
            contiguous = a.flags.c_contiguous
            kinds.append(f"{a.dtype.char}{a.ndim}{'c' if contiguous else 's'}")
            places.append((len(words), a))
            words += [a.ctypes.data, *a.shape, *(() if contiguous else a.strides)]
        elif isinstance(a, np.float32 | np.float64):
            kinds.append(a.dtype.char)
            words.append(int(np.array([a, 0], a.dtype).view(np.int32 if a.dtype == np.float32 else np.int64)[0]))
        elif isinstance(a, float):
            kinds.append("d")
            words.append(int(np.float64(a).view(np.int64)))
        else:
            kinds.append("b" if isinstance(a, bool) else "l")
            words.append(int(a))
    return Row(entry(share.loop, tuple(kinds)), np.array(words, np.int64), places, share.loop)


_compiling = RLock()  # two threads that want the same row compile it once


def _unlock() -> None:
    global _compiling
    _compiling = RLock()  # in the child of a fork nobody is left who could release the old one


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock)


def entry(loop: Any, kinds: tuple[str, ...]) -> int:
    """The address of the function that unpacks a block of such arguments and does a thread's share of the loop."""
    with _compiling:
        return _entry(loop, kinds)


@cache
def _entry(loop: Any, kinds: tuple[str, ...]) -> int:
    arguments, lines, at = [], [], 1
    for i, kind in enumerate(kinds):
        if kind in NUMBERS:
            arguments.append(f"{NUMBERS[kind]}(block, {at}), ")
            at += 1
        elif kind in "lb":
            arguments.append(f"word(block, {at}){' != 0' if kind == 'b' else ''}, ")
            at += 1
        else:
            dtype, ndim, contiguous = np.dtype(kind[0]), int(kind[1:-1]), kind[-1] == "c"
            shape = "".join(f"word(block, {at + 1 + j}), " for j in range(ndim))
            whole = f"carray(memory(word(block, {at})), ({shape if contiguous else '1, ' * ndim}), np.{dtype.name})"
            if not contiguous:
                strides = "".join(f"word(block, {at + 1 + ndim + j}), " for j in range(ndim))
                whole = f"as_strided({whole}, ({shape}), ({strides}))"
            lines.append(f"        a{i} = {whole}\n")
            arguments.append(f"a{i}, ")
            at += 1 + ndim * (1 if contiguous else 2)
    body = ROW.format(arguments="".join(arguments)).replace("        loop(", "".join(lines) + "        loop(")
    if isinstance(loop, Loop):
        return compiled(HEADER.format(what="a fused loop and its row") + loop.text + body)
    f = loop.py_func
    text = HEADER.format(what=f"the row of {f.__name__}") + f"from {f.__module__} import {f.__name__} as loop\n" + body
    return compiled(text)


_bar: Any = None


@contextmanager
def told() -> Iterator[None]:
    """A context in which whoever sits at a terminal is told of compiling, if it takes longer than a second."""
    global _bar
    from tqdm import tqdm

    with tqdm(desc="compiling, once on this machine", unit=" loops", delay=1.0, leave=False, disable=None) as bar:
        _bar = bar
        try:
            yield
        finally:
            _bar = None


def compiled(text: str) -> int:
    """The address of the function `row` that the text defines, compiled unless the cache folder has it."""
    import numba
    from numba.core.errors import NumbaIRAssumptionWarning

    digest = hashlib.sha256(f"{numba.__version__} {_library()} {text}".encode()).hexdigest()[:24]
    path = cache_folder() / f"row_{digest}.py"
    if not path.exists():
        write_atomically(path, text)
        bar = _bar  # another thread may end its own in between
        if bar is not None:
            bar.update()
    module: Any = ModuleType(f"tinygrad_ft_{path.stem}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # Numba asks for it there
    with catch_warnings():
        simplefilter("ignore", NumbaIRAssumptionWarning)  # of its inlining, where one function is called twice
        exec(compile(text, str(path), "exec"), vars(module))  # our own text: nothing that a user gave is in it
    return int(module.row.address)


@cache
def _library() -> str:
    """A digest of the kernels' source: their loops are compiled into rows, and Numba looks at one file's date."""
    here = Path(__file__).resolve()
    files = [*(here.parents[1] / "kernels" / "cpu").glob("*.py"), here.with_name("machine.py"), here]
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(files))).hexdigest()


def cache_folder() -> Path:
    """Where compiled rows are kept."""
    return _folder("jit")
