"""Planted faults: each is found, with its kind, thread and line of Python, and its twin without it runs clean."""

import ast
import inspect
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="kernels compile by numba-cuda: pip install 'tinygrad-ft[emulator]'")

import faulty_addresses
import faulty_kernels
from ptx_text import entry

from tinygrad_ft.cuda import emulator
from tinygrad_ft.cuda.emulator import KernelFault, Program, Written, run
from tinygrad_ft.cuda.emulator.faults import (
    ABSENT,
    BARRIER,
    ENDLESS,
    EXITED,
    MISALIGNED,
    OUT_OF_BOUNDS,
    RACE,
    READ_ONLY,
    TRAP,
    UNWRITTEN,
)

X = np.arange(64, dtype=np.float32)


def floats(*shape):
    return np.zeros(shape, np.float32)


class Planted(NamedTuple):
    """A fault: its kernel, kind, and who it is; how the kernel is launched, and what is passed to `launch`."""

    make: str
    kind: str
    thread: tuple[int, int, int] = (0, 0, 0)
    block: tuple[int, int, int] = (0, 0, 0)
    grid: int | tuple[int, ...] = 1
    threads: int | tuple[int, ...] = 64
    given: object = lambda: (X.copy(), floats(64))
    options: object = lambda faulty, arrays: {}


def output_unwritten(faulty, arrays):
    return {"written": Written([arrays[1]])}


def two_bytes_off(faulty):
    room = np.zeros(64 * 4 + 16, np.uint8)
    return room[2 if faulty else 4 :][:256].view(np.float32)


def read_only(array):
    array.flags.writeable = False
    return array


def two_rows(_):
    x = floats(65)
    return x[:64], x[1:]


FAULTS = [
    Planted("barrier_missing", RACE),
    Planted("second_barrier_missing", RACE, given=lambda: (np.arange(128, dtype=np.float32), floats(64))),
    Planted("one_cell_for_two", RACE, (1, 0, 0)),
    Planted("warp_barrier_missing", RACE, threads=32),
    Planted("warp_barrier_for_a_block", RACE),
    Planted("one_past_the_end", OUT_OF_BOUNDS, (63, 0, 0)),
    Planted("bound_forgotten", OUT_OF_BOUNDS, block=(1, 0, 0), grid=2),
    Planted("before_the_beginning", OUT_OF_BOUNDS),
    Planted("axes_swapped", OUT_OF_BOUNDS, (4, 0, 0), threads=(8, 4), given=lambda: (floats(7, 4), floats(4, 7))),
    Planted("atomic_past_the_end", OUT_OF_BOUNDS, (63, 0, 0)),
    Planted("one_too_many_at_once", OUT_OF_BOUNDS, (15, 0, 0), threads=16, given=lambda: (floats(63), floats(16))),
    Planted("shared_past_the_end", OUT_OF_BOUNDS, (63, 0, 0)),
    Planted(
        "dynamic_shared_too_small",
        OUT_OF_BOUNDS,
        (60, 0, 0),
        options=lambda faulty, _: {"shared": 240 if faulty else 256},
    ),
    Planted("shared_read_past_the_end", OUT_OF_BOUNDS, (63, 0, 0)),
    Planted("shared_atomic_past_the_end", OUT_OF_BOUNDS, (32, 0, 0)),
    Planted("local_written_past_the_end", OUT_OF_BOUNDS, (8, 0, 0)),
    Planted("local_past_the_end", OUT_OF_BOUNDS, (8, 0, 0)),
    Planted("constant_past_the_end", OUT_OF_BOUNDS, (8, 0, 0)),
    Planted("count_at_a_barrier_of_a_part", EXITED),
    Planted("barriers_in_two_branches", BARRIER, (16, 0, 0)),
    Planted("barrier_after_return", EXITED),
    Planted("barrier_for_one_warp", EXITED),
    Planted("shared_never_written", UNWRITTEN, (63, 0, 0)),
    Planted("output_read_first", UNWRITTEN, options=output_unwritten),
    Planted("sum_without_atomic", RACE),
    Planted("threads_write_one_cell", RACE, (1, 0, 0)),
    Planted("two_warps_write_one_cell", RACE, (32, 0, 0)),
    Planted("blocks_write_one_cell", RACE, block=(1, 0, 0), grid=2, given=lambda: (X.copy(), floats(128))),
    Planted("block_reads_of_another", RACE, (63, 0, 0), grid=2, given=lambda: (X.copy(), floats(128))),
    Planted("block_overwrites_what_another_reads", RACE, grid=2, given=lambda: (X.copy(), floats(128))),
    Planted("atomic_and_plain", RACE, (63, 0, 0)),
    Planted("shared_atomic_and_plain", RACE, (1, 0, 0)),
    Planted(
        "fence_missing",
        RACE,
        block=(7, 0, 0),
        grid=8,
        threads=1,
        given=lambda: (X.copy(), floats(9), np.zeros(1, np.uint32)),
    ),
    Planted("shuffle_of_a_part", ABSENT, threads=32),
    Planted("shuffle_from_nobody", ABSENT, (4, 0, 0), threads=20),
    Planted("vote_of_a_part", ABSENT),
    Planted("shuffle_from_outside_the_mask", ABSENT, threads=32),
    Planted("mask_without_itself", ABSENT, (16, 0, 0), threads=32),
    Planted("warp_barrier_of_a_part", ABSENT, threads=32),
    Planted("endless", ENDLESS, options=lambda faulty, _: {"step_limit": 20_000}),
    Planted("crooked", MISALIGNED, given=lambda: None),
    Planted("four_at_an_odd_place", MISALIGNED, (1, 0, 0), threads=16),
    Planted("write_to_input", READ_ONLY, given=lambda: (read_only(X.copy()), floats(64))),
    Planted("between_the_columns", OUT_OF_BOUNDS, given=lambda: (floats(64, 8)[:, :4], floats(64))),
    Planted("row_of_another", RACE, given=lambda: None),
]


KERNELS = vars(faulty_kernels) | vars(faulty_addresses)


def given(planted, faulty):
    if planted.make == "crooked":
        return two_bytes_off(faulty), floats(64)
    if planted.make == "row_of_another":
        return two_rows(faulty)
    return planted.given()


def start(planted, faulty, **options):
    arrays = given(planted, faulty)
    kernel = KERNELS[planted.make](faulty)
    options |= planted.options(faulty, arrays)
    return emulator.launch(kernel, planted.grid, planted.threads, *arrays, **options)


def marked_line(make):
    """The number of the line that ends in "# fault"."""
    lines, first = inspect.getsourcelines(KERNELS[make])
    (place,) = [n for n, line in enumerate(lines) if line.rstrip().endswith("# fault")]
    return first + place


IDS = [planted.make for planted in FAULTS]


def test_there_are_at_least_twenty_and_every_kernel_is_planted_somewhere():
    parts = [part for m in (faulty_kernels, faulty_addresses) for part in ast.parse(Path(m.__file__).read_text()).body]
    makers = [f.name for f in parts if isinstance(f, ast.FunctionDef)]
    assert sorted(makers) == sorted(IDS)
    assert len(IDS) >= 20


@pytest.mark.parametrize("capability", [(9, 0), (12, 0)], ids=["older dialect", "newer dialect"])
@pytest.mark.parametrize("planted", FAULTS, ids=IDS)
def test_a_planted_fault_is_found_with_kind_thread_and_line(planted, capability):
    with pytest.raises(KernelFault) as raised:
        start(planted, True, capability=capability)
    fault = raised.value
    assert (fault.kind, fault.block, fault.thread) == (planted.kind, planted.block, planted.thread)
    assert fault.source.file == inspect.getsourcefile(KERNELS[planted.make])
    lines, first = inspect.getsourcelines(KERNELS[planted.make])
    if planted.kind == ENDLESS:  # which of the loop's lines is when patience ends
        assert fault.source.line in range(first, first + len(lines))
    else:
        assert fault.source.line == marked_line(planted.make)
    told = str(fault)
    assert f"kernel kernel, block {planted.block}, thread {planted.thread}" in told
    assert fault.source.text in told and re.search(r"PTX line \d+: \S", told)


@pytest.mark.parametrize("planted", FAULTS, ids=IDS)
def test_its_twin_runs_clean(planted):
    start(planted, False)


def test_a_race_names_both_threads_and_both_lines():
    with pytest.raises(KernelFault) as raised:
        start(FAULTS[0], True)
    other = raised.value.other
    assert (other.did, other.thread) == ("written", (63, 0, 0))
    assert other.place.source.text == "s[t] = x[t]"
    assert "written by block (0, 0, 0) thread (63, 0, 0)" in str(raised.value)


def test_without_checks_a_race_passes_but_an_address_does_not():
    x, y = X.copy(), floats(64)
    made = emulator._kernel(faulty_kernels.barrier_missing(True))
    program = made.ptx(made.signature(x, y), (9, 0)).program
    run(program, 1, 64, [x, y], checks=False)
    with pytest.raises(KernelFault, match=OUT_OF_BOUNDS):
        run(program, 2, 64, [x, y[:32]], checks=False)


# What Numba's language cannot say, by hand.


def by_hand(body, *arrays, threads=32, registers="", head=""):
    return run(Program.parse(entry(body, len(arrays), registers=registers, head=head)), 1, threads, list(arrays))


def test_local_memory_that_nobody_wrote_is_not_read():
    with pytest.raises(KernelFault) as raised:
        by_hand("ld.local.f32 %f0, [stack+4];", X, registers=".local .align 8 .b8 stack[16]; .reg .f32 %f<1>;")
    assert raised.value.kind == UNWRITTEN
    by_hand(
        "st.local.f32 [stack+4], 0f3F800000; ld.local.f32 %f0, [stack+4];",
        X,
        registers=".local .align 8 .b8 stack[16]; .reg .f32 %f<1>;",
    )


def test_a_product_of_matrices_needs_all_lanes_of_the_warp():
    body = """setp.lt.u32 %q, %t0, {}; @!%q bra end;
    mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {{%d0, %d1, %d2, %d3}}, {{%a, %a, %a, %a}}, {{%a, %a}},
    {{%d0, %d1, %d2, %d3}};
    end:"""
    registers = ".reg .pred %q; .reg .b32 %a; .reg .f32 %d<4>;"
    by_hand(body.format(32), X, registers=registers)
    with pytest.raises(KernelFault) as raised:
        by_hand(body.format(31), X, registers=registers)
    assert (raised.value.kind, raised.value.thread) == (ABSENT, (0, 0, 0))


def test_128_bits_need_an_address_that_is_a_multiple_of_16():
    body = "mad.wide.u32 %x, %t0, {}, %p0; ld.global.v4.f32 {{%f0, %f1, %f2, %f3}}, [%x];"
    registers = ".reg .b64 %x; .reg .f32 %f<4>;"
    by_hand(body.format(16), floats(128), registers=registers)
    with pytest.raises(KernelFault) as raised:
        by_hand(body.format(4), floats(128), registers=registers)
    assert (raised.value.kind, raised.value.thread) == (MISALIGNED, (1, 0, 0))


def test_a_trap_is_reported():
    with pytest.raises(KernelFault) as raised:
        by_hand("setp.eq.u32 %q, %t0, 7; @%q trap;", X, registers=".reg .pred %q;")
    assert (raised.value.kind, raised.value.thread, raised.value.line) == (TRAP, (7, 0, 0), 24)


def test_a_pointer_to_nowhere_is_out_of_bounds():
    with pytest.raises(KernelFault, match="bytes at address 0x40, near no array"):
        by_hand("mov.u64 %x, 64; st.global.u32 [%x], 1;", X, registers=".reg .b64 %x;")


def test_a_spin_lock_is_no_endless_loop():
    """Each thread of a warp takes a lock in turn: whoever holds it must get on while the others spin."""
    lock, total = np.zeros(1, np.uint32), np.zeros(1, np.uint32)
    body = """again:
    atom.global.cas.b32 %r0, [%p0], 0, 1;
    setp.ne.u32 %q, %r0, 0;
    @%q bra again;
    ld.volatile.global.u32 %r1, [%p1];
    add.u32 %r1, %r1, 1;
    st.volatile.global.u32 [%p1], %r1;
    membar.gl;
    atom.global.exch.b32 %r0, [%p0], 0;"""
    by_hand(body, lock, total, threads=3, registers=".reg .pred %q; .reg .b32 %r<2>;")
    assert total[0] == 3


def test_lanes_that_come_late_are_waited_for_at_a_shuffle():
    body = """setp.lt.u32 %q, %t0, 16;
    @!%q bra later;
    add.u32 %r0, %t0, 100;
    bra together;
    later:
    add.u32 %r0, %t0, 200;
    together:
    shfl.sync.bfly.b32 %r1|%q, %r0, 16, 31, -1;
    mad.wide.u32 %x, %t0, 4, %p0;
    st.global.u32 [%x], %r1;"""
    out = np.zeros(32, np.uint32)
    by_hand(body, out, registers=".reg .pred %q; .reg .b32 %r<2>; .reg .b64 %x;")
    assert out.tolist() == [216 + n for n in range(16)] + [100 + n for n in range(16)]


@pytest.mark.parametrize(
    ("grid", "threads", "shared", "words"),
    [
        (1, 1025, 0, "1025 threads"),
        (1, (32, 8, 8), 0, "2048 threads"),
        (1, (1, 1, 65), 0, "65"),
        (0, 32, 0, "grid of 0"),
        (1, 32, 1 << 18, "262144 bytes of shared memory"),
        ((1, 2, 3, 4), 32, 0, "one to three"),
    ],
)
def test_a_launch_that_no_gpu_takes_is_refused(grid, threads, shared, words):
    program = Program.parse(entry("", 1))
    with pytest.raises(ValueError, match=words):
        run(program, grid, threads, [X], shared=shared)


def test_arguments_that_do_not_fit_the_kernel_are_refused():
    program = Program.parse(entry("", 2))
    with pytest.raises(ValueError, match="takes 14 parameters, and the arguments make 7"):
        run(program, 1, 32, [X])
    with pytest.raises(ValueError, match=r"parameter 7 is \.u64, and the arguments give float32"):
        run(program, 1, 32, [X, *[1.0] * 7])
