"""What a launch needs before anything runs: sizes that a GPU takes, and the kernel's parameters."""

from __future__ import annotations

from operator import index
from typing import Any

import numpy as np

from tinygrad_ft.cuda.cards import LARGEST_GRID, LIMITS, LONGEST_BLOCK, STATIC_SHARED, THREADS_IN_A_BLOCK
from tinygrad_ft.cuda.emulator.decode import Code
from tinygrad_ft.cuda.emulator.faults import Index
from tinygrad_ft.cuda.emulator.program import Program


def largest_shared(target: str) -> int:
    """Bytes of shared memory that a block may have on that architecture; on an unknown one, the most of all."""
    known = {f"sm_{major}{minor}": limits.shared_of_a_block for (major, minor), limits in LIMITS.items()}
    return known.get(target, max(known.values()))


def sizes(program: Program, grid: Any, block: Any, dynamic: int) -> tuple[Index, Index]:
    """Grid and block, three numbers each.

    Raises:
        TypeError: if one is not of whole numbers.
        ValueError: if no GPU of the kernel's architecture runs them.
    """

    def three(what: str, given: Any) -> Index:
        try:
            numbers = tuple(map(index, given if isinstance(given, tuple | list) else (given,)))
        except TypeError:
            raise TypeError(
                f"kernel {program.name}: a {what} of {given!r}; it takes one to three whole numbers, such as "
                "-(-n // threads), which rounds up"
            ) from None
        if not 1 <= len(numbers) <= 3 or min(numbers) < 1:
            raise ValueError(f"kernel {program.name}: a {what} of {given}; it takes one to three numbers from 1")
        x, y, z = (*numbers, 1, 1)[:3]
        return x, y, z

    if not isinstance(dynamic, int) or dynamic < 0:
        raise ValueError(f"kernel {program.name}: dynamic shared memory is a number of bytes, not {dynamic!r}")
    blocks, threads = three("grid", grid), three("block", block)
    count = threads[0] * threads[1] * threads[2]
    if count > THREADS_IN_A_BLOCK or any(n > most for n, most in zip(threads, LONGEST_BLOCK, strict=True)):
        raise ValueError(
            f"kernel {program.name}: a block of {threads} is {count} threads; it has at most {THREADS_IN_A_BLOCK}, and "
            f"at most {LONGEST_BLOCK} along each axis: take smaller blocks and a larger grid"
        )
    if any(n > most for n, most in zip(blocks, LARGEST_GRID, strict=True)):
        raise ValueError(f"kernel {program.name}: a grid of {blocks} blocks; it has at most {LARGEST_GRID}")
    if program.shared > STATIC_SHARED:
        raise ValueError(
            f"kernel {program.name}: {program.shared} bytes of shared memory of a stated size, of which a block has at "
            f"most {STATIC_SHARED}: take smaller tiles, or memory whose size the launch gives, shared.array(0, ...)"
        )
    limit = largest_shared(program.target)
    if program.shared + dynamic > limit:
        raise ValueError(
            f"kernel {program.name}: {program.shared} + {dynamic} bytes of shared memory (static + dynamic); on "
            f"{program.target} a block has at most {limit}: take smaller tiles"
        )
    return blocks, threads


def params(program: Program, code: Code, words: list[Any]) -> list[tuple[int, Any]]:
    """What the registers of the kernel's parameters hold.

    Raises:
        ValueError: if the arguments are not what the kernel was compiled for.
    """
    if len(words) != len(program.params):
        raise ValueError(
            f"kernel {program.name} takes {len(program.params)} parameters, and the arguments make {len(words)}: an "
            "array makes 5 and 2 for each axis, a number 1. Are these the types that it was compiled for?"
        )
    for place, (param, word) in enumerate(zip(program.params, words, strict=True)):
        if param.type.bytes != word.dtype.itemsize or (param.type.kind == "f") > (word.dtype.kind == "f"):
            raise ValueError(
                f"kernel {program.name}: parameter {place} is .{param.type.name}, and the arguments give "
                f"{word.dtype}: these are not the types that it was compiled for"
            )
    # A narrower load takes the low bytes, as `ld.param.u32` of a length that the kernel keeps in 32 bits.
    return [(slot, np.atleast_1d(words[place]).view(code.dtypes[slot])[0]) for slot, place in code.params]
