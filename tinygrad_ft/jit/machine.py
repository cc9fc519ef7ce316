"""The machine that replays a step: one loop that walks a table of compiled functions, on each of a few threads.

Every function of the table has one signature, `function(block, thread, threads)`: `block` is the address of a row of
64-bit words (how many items there are, then addresses, lengths and numbers), and the function does the share of the
items that falls to its thread. After each row the threads meet at a barrier that spins, 0.2 us, so nothing need be
known of a program to run it on several cores. A row whose function is 0 is left to Python: the loop returns there.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any

import numba
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

SIGNATURE = types.void(types.intp, types.int64, types.int64)
PATIENCE = 2000  # turns of the spinning barrier, about 10 us, before a thread offers its core to others


def _pointer(builder: Any, address: Any, kind: Any) -> Any:
    return builder.inttoptr(address, kind.as_pointer())


def _reader(name: str, kind: Any, number: Any) -> Any:
    """What reads word i of a block as a number of this type."""

    def read(context: Any, block: Any, i: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            place = builder.gep(_pointer(builder, args[0], ir.IntType(64)), [args[1]])
            return builder.load(builder.bitcast(place, kind.as_pointer()))

        return number(types.intp, types.int64), generate

    read.__name__ = name
    return intrinsic(read)


def _memory(context: Any, address: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _pointer(builder, args[0], ir.IntType(8))

    return types.voidptr(types.int64), generate


def _call(context: Any, function: Any, block: Any, thread: Any, threads: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word = ir.IntType(64)
        kind = ir.FunctionType(ir.VoidType(), [word, word, word])
        builder.call(_pointer(builder, args[0], kind), args[1:])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64, types.int64), generate


def _give_way(context: Any, function: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.call(_pointer(builder, args[0], ir.FunctionType(ir.IntType(32), [])), [])
        return context.get_dummy_value()

    return types.void(types.int64), generate


def _arrived(context: Any, meeting: Any, more: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.atomic_rmw("add", _pointer(builder, args[0], ir.IntType(64)), args[1], "seq_cst")

    return types.int64(types.int64, types.int64), generate


def _seen(context: Any, place: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load_atomic(_pointer(builder, args[0], ir.IntType(64)), "seq_cst", 8)

    return types.int64(types.int64), generate


word: Any = _reader("word", ir.IntType(64), types.int64)
single: Any = _reader("single", ir.FloatType(), types.float32)
double: Any = _reader("double", ir.DoubleType(), types.float64)
memory: Any = intrinsic(_memory)
call: Any = intrinsic(_call)
give_way: Any = intrinsic(_give_way)
arrived: Any = intrinsic(_arrived)
seen: Any = intrinsic(_seen)


def yielding() -> int:
    """The address of what offers this thread's core to others."""
    if sys.platform == "win32":
        return ctypes.cast(ctypes.WinDLL("kernel32").SwitchToThread, ctypes.c_void_p).value or 0
    return ctypes.cast(ctypes.CDLL(None).sched_yield, ctypes.c_void_p).value or 0


@numba.njit(nogil=True, cache=True, error_model="numpy")
def walk_alone(functions: Any, blocks: Any) -> None:
    """Walk all rows on one thread; none may be Python's. Fewer arguments, so a tiny step is done 1 us sooner."""
    for i in range(functions.size):
        call(functions[i], blocks[i], 0, 1)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def walk(
    functions: Any, blocks: Any, start: int, thread: int, threads: int, meeting: Any, met: int, give: int
) -> tuple[int, int]:
    """Walk the rows from `start` on; answers (the row that Python has to do, or their number; barriers met so far).

    A row of Python's at `start` counts as done. `meeting` holds how many arrivals there have been in all, and, in its
    second word, whether the walk is broken off. Threads other than 0 pass Python's rows by waiting for thread 0.
    """
    place = meeting.ctypes.data
    i = start
    while i < functions.size:
        if functions[i] != 0:
            call(functions[i], blocks[i], thread, threads)
        elif thread == 0 and i != start:
            return i, met
        if threads > 1:
            met += 1
            arrived(place, 1)
            turns = 0
            while seen(place) < met * threads:
                turns += 1
                if turns > PATIENCE:
                    give_way(give)
            if seen(place + 8) != 0:
                return functions.size, met
        i += 1
    return i, met
