"""The emulator runs what Numba makes of kernels: memory, functions, warps, branches, barriers, in both dialects."""

import ctypes
import math

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="kernels compile by numba-cuda: pip install 'tinygrad-ft[emulator]'")

import numba.cuda
from ptx_text import entry

from tinygrad_ft.cuda import emulator
from tinygrad_ft.cuda.compile import Kernel, cuda, float16, float32, float64, int32, uint32
from tinygrad_ft.cuda.emulator import KernelFault, Program, UnknownInstruction, Written, run
from tinygrad_ft.cuda.emulator.machine import LANES_AT_ONCE

BOTH = pytest.mark.parametrize("capability", [(9, 0), (12, 0)], ids=["sm_90", "sm_120"])
FULL = 0xFFFFFFFF
RNG = np.random.default_rng(0)


def by_hand(body, *arrays, grid=1, threads=32, registers="", head=""):
    return run(Program.parse(entry(body, len(arrays), registers=registers, head=head)), grid, threads, list(arrays))


# Entrances.


def doubled(x, y):
    i = cuda.grid(1)
    if i < y.size:
        y[i] = x[i] + x[i]


def test_a_jitted_kernel_a_function_and_one_of_ours_all_run():
    x = RNG.standard_normal(100).astype(np.float32)
    ours = Kernel(doubled, version="own", moves="all", why="a test")
    for kernel in (numba.cuda.jit(doubled), doubled, ours):
        y = np.zeros_like(x)
        counters = emulator.launch(kernel, 4, 32, x, y)
        assert np.array_equal(y, 2 * x)
        assert "thread instructions" in repr(counters)


def test_what_is_no_kernel_is_refused():
    with pytest.raises(TypeError, match="takes a kernel or a function, not int"):
        emulator.launch(3, 1, 1)


def test_a_text_without_or_with_two_kernels_needs_a_name():
    two = entry("", 1) + entry("", 1, name="other").partition(".address_size 64")[2]
    with pytest.raises(ValueError, match=r"holds the kernels \['by_hand', 'other'\]"):
        Program.parse(two)
    assert Program.parse(two, "other").name == "other"


def test_text_that_is_no_ptx_is_not_understood():
    with pytest.raises(UnknownInstruction, match="PTX line 1: 'hello"):
        Program.parse("hello there")


# Functions of math, which call others in float64.


def in_float32(x, y):
    i = cuda.grid(1)
    if i < x.size:
        v = x[i]
        y[0, i] = math.exp(v)
        y[1, i] = math.log(v)
        y[2, i] = math.tanh(v)
        y[3, i] = math.erf(v)
        y[4, i] = math.pow(v, v)
        y[5, i] = math.sin(v)
        y[6, i] = math.sqrt(v)
        y[7, i] = math.floor(v)
        y[8, i] = math.cos(v)
        y[9, i] = math.log1p(v)
        y[10, i] = math.expm1(v)
        y[11, i] = math.atan2(v, float32(2))
        y[12, i] = math.ceil(v)
        y[13, i] = math.fmod(v, float32(0.7))
        y[14, i] = math.lgamma(v)


REFERENCES = (
    np.exp, np.log, np.tanh, np.vectorize(math.erf), lambda v: v**v, np.sin, np.sqrt, np.floor, np.cos, np.log1p,
    np.expm1, lambda v: np.arctan2(v, 2.0), np.ceil, lambda v: np.fmod(v, np.float64(np.float32(0.7))),
    np.vectorize(math.lgamma),
)  # fmt: skip


@BOTH
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_functions_of_math_are_right_to_a_few_units_in_the_last_place(dtype, capability):
    x = np.concatenate([np.linspace(0.01, 30, 150), [1e-5, 1.0, 2.0, 1e5, 3e8]]).astype(dtype)
    x = x if dtype == np.float64 else x[:-2]
    y = np.zeros((len(REFERENCES), x.size), dtype)
    emulator.launch(in_float32, 5, 32, x, y, capability=capability)
    for n, f in enumerate(REFERENCES):
        with np.errstate(over="ignore"):
            want = f(x.astype(np.float64))
            finite = np.isfinite(want.astype(dtype))
        least = {5: 1e-3, 8: 1e-3, 14: 1.0}.get(n, 0.0)  # near a zero, units of the terms that cancel
        ulp = np.spacing(np.maximum(np.abs(want[finite]), least).astype(dtype))
        off = np.abs(y[n][finite] - want[finite]) / ulp
        assert off.max() < 8, (n, x[finite][off.argmax()], off.max())
        assert np.isinf(y[n][~finite]).all()


def test_a_kernel_that_calls_what_is_not_there_or_itself_is_refused():
    head = ".extern .func outside();\n"
    with pytest.raises(UnknownInstruction, match="outside is called at PTX line"):
        by_hand("call.uni outside;", np.zeros(1), head=head)
    head = ".func again()\n{\ncall.uni again;\nret;\n}\n"
    with pytest.raises(UnknownInstruction, match="again calls itself"):
        by_hand("call.uni again;", np.zeros(1), head=head)


def test_two_calls_of_one_function_do_not_share_its_registers_or_memory():
    head = """.func (.param .b32 result) twice(.param .b32 given)
    {
    .local .align 4 .b8 stack[8];
    .reg .b32 %r<3>;
    ld.param.u32 %r0, [given];
    setp_free:
    st.local.u32 [stack+4], %r0;
    ld.local.u32 %r1, [stack+4];
    add.u32 %r2, %r0, %r1;
    st.param.b32 [result+0], %r2;
    ret;
    }
    """
    call = """{{
    .param .b32 p; .param .b32 q;
    st.param.b32 [p+0], {0};
    call.uni (q), twice, (p);
    ld.param.b32 {1}, [q+0];
    }}
    """
    body = call.format("%t0", "%r0") + call.format("%r0", "%r1")
    out = np.zeros(32, np.uint32)
    by_hand(
        body + "mad.wide.u32 %x, %t0, 4, %p0; st.global.u32 [%x], %r1;",
        out,
        registers=".reg .b32 %r<2>; .reg .b64 %x;",
        head=head,
    )
    assert out.tolist() == [4 * n for n in range(32)]


def says_hello(x):
    t = cuda.threadIdx.x
    if t < 2:
        print("thread", t, "has", x[t], 100)


@BOTH
def test_print_prints(capability, capsys):
    emulator.launch(says_hello, 1, 4, np.array([1.5, 2.5, 3.5, 4.5], np.float32), capability=capability)
    assert capsys.readouterr().out == "thread 0 has 1.500000 100\nthread 1 has 2.500000 100\n"


# Memory.


def copied(x, y):
    i, j = cuda.grid(2)
    if i < x.shape[0] and j < x.shape[1]:
        y[i, j] = x[i, j]


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a,
        lambda a: a.T,
        lambda a: a[::2, 1:],
        lambda a: a[::-1, ::-1],
        lambda a: a[1:4, ::3],
        np.asfortranarray,
        lambda a: np.broadcast_to(a[:1], a.shape),
    ],
)
def test_any_view_is_a_legal_argument(view):
    x = view(np.arange(48, dtype=np.float32).reshape(6, 8))
    y = np.zeros((12, 16), np.float32)[::2, ::2][: x.shape[0], : x.shape[1]]
    if y.shape != x.shape:
        y = np.zeros(x.shape[::-1], np.float32).T
    emulator.launch(copied, (3, 3), (4, 4), x, y)
    assert np.array_equal(x, y)


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint8, np.int16, np.float16, np.int32, np.int64, np.float64])
def test_arrays_of_every_width_are_read_and_written(dtype):
    x = RNG.integers(0, 2, (5, 7)).astype(dtype)
    y = np.ones_like(x)
    emulator.launch(copied, (2, 2), (4, 4), x, y)
    assert np.array_equal(x, y)


def shifted_sum(x, y, n):
    i = cuda.grid(1)
    if i < n:
        y[i] = x[i] + x[i + 1]


def test_views_of_one_base_share_memory():
    base = np.arange(10, dtype=np.float32)
    emulator.launch(shifted_sum, 1, 1, base[:3], base[2:], 1)  # one thread: x[0] + x[1] goes to base[2]
    assert base[2] == 1.0
    with pytest.raises(KernelFault, match="race"):
        emulator.launch(shifted_sum, 1, 8, base[:9], base[1:], 8)


def test_memory_that_numpy_does_not_own_works_and_views_of_it_share():
    room = (ctypes.c_float * 8)(*range(8))
    one, two = np.frombuffer(room, np.float32), np.frombuffer(room, np.float32)
    with pytest.raises(KernelFault, match="race"):
        emulator.launch(shifted_sum, 1, 4, one, two[1:], 4)


def test_two_arrays_that_lie_side_by_side_are_not_one():
    base = np.arange(16, dtype=np.float32)
    with pytest.raises(KernelFault, match=r"byte 16, element 4, of x \(shape \(4,\), float32\) past its end"):
        emulator.launch(shifted_sum, 1, 4, base[:4], np.zeros(4, np.float32), 4)


def test_an_empty_array_and_numbers_are_arguments_too():
    emulator.launch(doubled, 1, 32, np.zeros(0, np.float32), np.zeros(0, np.float32))


def scaled(x, y, s, n, on):
    i = cuda.grid(1)
    if i < n and on:
        y[i] = x[i] * s


@BOTH
@pytest.mark.parametrize("s", [0.5, np.float32(0.5), np.float64(0.5), 3, np.int8(-3), np.uint16(7)])
def test_numbers_arrive_as_typed(s, capability):
    x, y = np.arange(8, dtype=np.float32), np.zeros(8, np.float32)
    emulator.launch(scaled, 1, 8, x, y, s, np.int32(6), True, capability=capability)
    assert y.tolist() == [*(x[:6] * float(s)).tolist(), 0.0, 0.0]
    emulator.launch(scaled, 1, 8, x, y, s, np.int32(8), False, capability=capability)
    assert y[6] == 0.0


TABLE = RNG.standard_normal((3, 5)).astype(np.float32)


def from_constants(x, y):
    c = cuda.const.array_like(TABLE)
    a = cuda.local.array(16, float32)
    s = cuda.shared.array(0, float64)
    t = cuda.threadIdx.x
    for k in range(16):
        a[(k * 5) % 16] = x[t] + float32(k)
    s[t] = float64(a[t % 16])
    cuda.syncthreads()
    y[t] = float32(s[(t + 1) % 32]) + c[t % 3, t % 5]


@BOTH
def test_constant_local_and_dynamic_shared_memory(capability):
    x, y = RNG.standard_normal(32).astype(np.float32), np.zeros(32, np.float32)
    emulator.launch(from_constants, 1, 32, x, y, shared=256, capability=capability)
    t = np.arange(32)
    order = np.zeros(16, int)
    order[np.arange(16) * 5 % 16] = np.arange(16)
    a = x + order[t % 16].astype(np.float32)
    assert np.array_equal(y, np.roll(a, -1) + TABLE[t % 3, t % 5])


def test_an_address_of_no_named_space_goes_where_it_points():
    out = np.zeros(32, np.uint32)
    body = """cvta.shared.u64 %x, words; mad.wide.u32 %x, %t0, 4, %x; st.u32 [%x], %t0;
    cvta.local.u64 %y, stack; ld.u32 %r0, [%x]; st.u32 [%y], %r0; ld.local.u32 %r1, [stack];
    mad.wide.u32 %z, %t0, 4, %p0; cvta.to.global.u64 %z, %z; st.u32 [%z], %r1;"""
    registers = ".reg .b64 %x, %y, %z; .reg .b32 %r<2>; .local .align 8 .b8 stack[8]; .shared .align 4 .b8 words[128];"
    by_hand(body, out, registers=registers)
    assert out.tolist() == [*range(32)]


def test_small_numbers_in_shared_memory_do_not_race_with_their_neighbours():
    out = np.zeros(32, np.uint8)
    body = """cvt.u16.u32 %h, %t0; mov.u64 %x, bytes; cvt.u64.u32 %y, %t0; add.u64 %x, %x, %y;
    st.shared.u8 [%x], %h; ld.shared.u8 %h, [%x]; add.u64 %y, %p0, %y; st.global.u8 [%y], %h;"""
    by_hand(body, out, registers=".reg .b64 %x, %y; .reg .b16 %h; .shared .align 4 .b8 bytes[32];")
    assert out.tolist() == [*range(32)]


def test_what_nobody_wrote_stays_so_from_launch_to_launch():
    x, y, z = np.arange(8, dtype=np.float32), np.zeros(8, np.float32), np.zeros(8, np.float32)
    written = Written([y])
    emulator.launch(doubled, 1, 4, x, y[:4], written=written)
    emulator.launch(doubled, 1, 4, y[:4], z, written=written)
    with pytest.raises(KernelFault, match="nobody wrote"):
        emulator.launch(doubled, 1, 8, y, z, written=written)
    written.mark(y[4:])
    emulator.launch(doubled, 1, 8, y, z, written=written)
    assert z.tolist() == [0.0, 4.0, 8.0, 12.0, 0.0, 0.0, 0.0, 0.0]


# Atomics.

OPERATIONS = {
    "add": lambda old, a, b: old + a,
    "min": lambda old, a, b: min(old, a),
    "max": lambda old, a, b: max(old, a),
    "exch": lambda old, a, b: a,
    "cas": lambda old, a, b: b if old == a else old,
    "and": lambda old, a, b: old & a,
    "or": lambda old, a, b: old | a,
    "xor": lambda old, a, b: old ^ a,
    "inc": lambda old, a, b: 0 if old >= a else old + 1,
    "dec": lambda old, a, b: a if old == 0 or old > a else old - 1,
}
TYPES_OF = {
    "add": ["u32", "s32", "u64", "f32", "f64", "f16"],
    **{name: ["u32", "s32", "u64", "s64"] for name in ("min", "max")},
    **{name: ["b32", "b64"] for name in ("exch", "cas", "and", "or", "xor")},
    **{name: ["u32"] for name in ("inc", "dec")},
}
NUMPY = {"u": "u", "b": "u", "s": "i", "f": "f"}


@pytest.mark.parametrize("space", ["global", "shared"])
@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name, kinds in TYPES_OF.items() for kind in kinds])
def test_an_atomic_changes_memory_lane_by_lane_and_answers_what_was_there(name, kind, space):
    bits = int(kind[1:])
    dtype = np.dtype(f"{NUMPY[kind[0]]}{bits // 8}")
    cells = RNG.integers(0, 5, 4).astype(dtype)
    which = RNG.integers(0, 4, 64).astype(np.uint32)
    a, b = (RNG.integers(0, 6, 64).astype(dtype) for _ in range(2))
    if kind[0] == "s":
        a = a - 3
    old = np.zeros(64, dtype)
    size, register = bits // 8, {"f": "f"}.get(kind[0], "b")
    full_name, place = f"{space}.{name}{'.noftz' if kind == 'f16' else ''}.{kind}", "%y" if space == "global" else "%z"
    move = "b" if kind == "f16" else register
    operands = "%va, %vb" if name == "cas" else "%va"
    body = f"""mad.wide.u32 %x, %t0, 4, %p1; ld.global.u32 %w, [%x];
    mad.wide.u32 %x, %t0, {size}, %p2; ld.global.{move}{bits} %va, [%x];
    mad.wide.u32 %x, %t0, {size}, %p3; ld.global.{move}{bits} %vb, [%x];
    mad.wide.u32 %y, %w, {size}, %p0; mad.wide.u32 %z, %w, {size}, room;
    setp.lt.u32 %q, %t0, 4; @!%q bra ready;
    mad.wide.u32 %x, %t0, {size}, %p0; ld.global.{move}{bits} %old, [%x];
    mad.wide.u32 %x, %t0, {size}, room; st.shared.{move}{bits} [%x], %old;
    ready: bar.sync 0;
    atom.{full_name} %old, [{place}], {operands};
    mad.wide.u32 %x, %t0, {size}, %p4; st.global.{move}{bits} [%x], %old;
    bar.sync 0; @!%q bra done;
    mad.wide.u32 %x, %t0, {size}, room; ld.shared.{move}{bits} %old, [%x];
    mad.wide.u32 %x, %t0, {size}, %p5; st.global.{move}{bits} [%x], %old; done:"""
    in_shared = np.zeros(4, dtype)
    registers = f""".reg .b64 %x, %y, %z; .reg .b32 %w; .reg .{register}{bits} %va, %vb, %old; .reg .pred %q;
    .shared .align 8 .b8 room[32];"""
    want, answers = cells.tolist(), []
    for cell, va, vb in zip(which.tolist(), a.tolist(), b.tolist(), strict=True):
        answers.append(want[cell])
        want[cell] = OPERATIONS[name](want[cell], va, vb)
    by_hand(body, cells, which, a, b, old, in_shared, threads=64, registers=registers)
    got = cells if space == "global" else in_shared
    assert got.tolist() == np.array(want).astype(dtype).tolist()
    assert old.tolist() == np.array(answers).astype(dtype).tolist()


def all_atomics(x, y, n, old):
    i = cuda.grid(1)
    k = i % 4
    cuda.atomic.add(x, k, y[i])
    cuda.atomic.max(x, k + 4, y[i])
    cuda.atomic.min(x, k + 8, y[i])
    old[i] = cuda.atomic.add(n, 0, uint32(1))
    cuda.atomic.cas(n, 1, uint32(0), uint32(i + 1))
    cuda.atomic.or_(n, 2, uint32(1) << uint32(k))


@BOTH
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.int64])
def test_the_atomics_of_numba_run_in_both_dialects(dtype, capability):
    x, y = np.zeros(12, dtype), RNG.integers(-9, 9, 256).astype(dtype)
    n, old = np.zeros(3, np.uint32), np.zeros(256, np.uint32)
    emulator.launch(all_atomics, 4, 64, x, y, n, old, capability=capability)
    by_cell = y.reshape(-1, 4)
    assert x.tolist() == [
        *by_cell.sum(0).tolist(), *np.maximum(by_cell.max(0), 0).tolist(), *np.minimum(by_cell.min(0), 0).tolist()
    ]  # fmt: skip
    assert n.tolist() == [256, 1, 15]
    assert sorted(old.tolist()) == [*range(256)]


def test_two_halves_are_added_at_once():
    cells = np.array([1.5, -2.0], np.float16).view(np.uint32)
    body = "red.global.add.noftz.f16x2 [%p0], 0x3C004000;"  # 2.0 in the lower half, 1.0 in the upper
    by_hand(body, cells, threads=8)
    assert cells.view(np.float16).tolist() == [17.5, 6.0]


# Warps.


def reference_shuffle(mode, lane, b, c):
    segment, clamp = c >> 8 & 31, c & 31
    low, top = lane & segment, lane & segment | clamp & ~segment
    at = {"up": lane - b, "down": lane + b, "bfly": lane ^ b, "idx": low | b & ~segment}[mode]
    inside = at >= top if mode == "up" else at <= top
    return (at if inside else lane), inside


@pytest.mark.parametrize("mode", ["up", "down", "bfly", "idx"])
@pytest.mark.parametrize("width", [32, 16, 8, 4])
def test_a_shuffle_reads_the_lane_that_the_manual_says(mode, width):
    clamp = (32 - width) << 8 | (0 if mode == "up" else 31)
    out, inside = np.zeros(64, np.uint32), np.zeros(64, np.uint32)
    for b in (0, 1, 3, width - 1, 17):
        body = f"""shfl.sync.{mode}.b32 %r0|%q, %t0, {b}, {clamp}, -1; selp.u32 %r1, 1, 0, %q;
        mad.wide.u32 %x, %t0, 4, %p0; st.global.u32 [%x], %r0;
        mad.wide.u32 %x, %t0, 4, %p1; st.global.u32 [%x], %r1;"""
        by_hand(body, out, inside, threads=64, registers=".reg .pred %q; .reg .b32 %r<2>; .reg .b64 %x;")
        want = [reference_shuffle(mode, n % 32, b & 31, clamp) for n in range(64)]
        assert out.tolist() == [n // 32 * 32 + at for n, (at, _) in enumerate(want)]
        assert inside.tolist() == [int(there) for _, there in want]


def votes(x, y):
    t = cuda.threadIdx.x
    p = x[t] > 0
    y[t, 0] = cuda.all_sync(FULL, p)
    y[t, 1] = cuda.any_sync(FULL, p)
    y[t, 2] = cuda.eq_sync(FULL, p)
    y[t, 3] = cuda.ballot_sync(FULL, p)
    y[t, 4] = cuda.match_any_sync(FULL, x[t])
    y[t, 5] = cuda.match_all_sync(FULL, x[t])[1]
    y[t, 6] = cuda.lanemask_lt()
    y[t, 7] = cuda.laneid
    y[t, 8] = cuda.activemask()


@BOTH
def test_votes_and_matches_count_the_lanes_of_each_warp(capability):
    x = RNG.integers(-1, 3, 96).astype(np.int32)
    x[32:64], x[64:] = 2, -5
    y = np.zeros((96, 9), np.int64)
    emulator.launch(votes, 1, 96, x, y, capability=capability)
    for w in range(3):
        mine, p = x[32 * w : 32 * w + 32], x[32 * w : 32 * w + 32] > 0
        for lane in range(32):
            want = [p.all(), p.any(), p.all() or not p.any(), sum(1 << n for n in range(32) if p[n])]
            want += [sum(1 << n for n in range(32) if mine[n] == mine[lane]), (mine == mine[0]).all()]
            want += [(1 << lane) - 1, lane, FULL]
            assert (y[32 * w + lane] & FULL).tolist() == [int(n) for n in want]


@pytest.mark.parametrize(
    ("name", "f"),
    [("add.u32", np.sum), ("min.s32", np.min), ("max.u32", np.max), ("and.b32", np.bitwise_and.reduce),
     ("or.b32", np.bitwise_or.reduce), ("xor.b32", np.bitwise_xor.reduce)],
)  # fmt: skip
def test_a_reduction_over_a_warp(name, f):
    x = RNG.integers(0, 1000, 64).astype(np.uint32)
    out = np.zeros(64, np.uint32)
    body = f"""mad.wide.u32 %x, %t0, 4, %p0; ld.global.u32 %r0, [%x]; redux.sync.{name} %r1, %r0, -1;
    mad.wide.u32 %x, %t0, 4, %p1; st.global.u32 [%x], %r1;"""
    by_hand(body, x, out, threads=64, registers=".reg .b32 %r<2>; .reg .b64 %x;")
    assert out.tolist() == [int(f(x[:32]))] * 32 + [int(f(x[32:]))] * 32


def test_two_parts_of_a_warp_shuffle_under_masks_of_their_own():
    body = """setp.lt.u32 %q, %t0, 16; @%q bra low;
    shfl.sync.bfly.b32 %r0, %t0, 1, 31, 0xFFFF0000; bra done;
    low: shfl.sync.bfly.b32 %r0, %t0, 2, 31, 0x0000FFFF; done:
    mad.wide.u32 %x, %t0, 4, %p0; st.global.u32 [%x], %r0;"""
    out = np.zeros(32, np.uint32)
    by_hand(body, out, registers=".reg .pred %q; .reg .b32 %r<2>; .reg .b64 %x;")
    assert out.tolist() == [n ^ 2 for n in range(16)] + [n ^ 1 for n in range(16, 32)]


FRAGMENTS = {  # of mma.sync: type, k, registers of A and of B, numbers in a register
    "m16n8k8.tf32": ("tf32", 8, 4, 2, 1),
    "m16n8k4.tf32": ("tf32", 4, 2, 1, 1),
    "m16n8k8.f16": ("f16", 8, 2, 1, 2),
    "m16n8k16.f16": ("f16", 16, 4, 2, 2),
    "m16n8k16.bf16": ("bf16", 16, 4, 2, 2),
}


@pytest.mark.parametrize("name", FRAGMENTS)
def test_a_warp_multiplies_small_matrices(name):
    kind, k, a_count, b_count, each = FRAGMENTS[name]
    a, b = (RNG.integers(-4, 5, shape).astype(np.float32) for shape in ((16, k), (k, 8)))
    c = RNG.standard_normal((16, 8)).astype(np.float32)
    bits = {"tf32": lambda x: x.view(np.uint32), "bf16": lambda x: (x.view(np.uint32) >> 16).astype(np.uint16)}
    raw = bits.get(kind, lambda x: x.astype(np.float16).view(np.uint16))
    registers_of = {"a": np.zeros((32, a_count, each), raw(a).dtype), "b": np.zeros((32, b_count, each), raw(a).dtype)}
    for lane in range(32):
        group, inner = lane >> 2, lane & 3
        for n in range(a_count):
            for h in range(each):
                row, column = group + 8 * (n % 2), each * inner + h + 4 * each * (n // 2)
                registers_of["a"][lane, n, h] = raw(a)[row, column]
        for n in range(b_count):
            for h in range(each):
                registers_of["b"][lane, n, h] = raw(b)[each * inner + h + 4 * each * n, group]
    a_in, b_in = (np.ascontiguousarray(registers_of[x]).view(np.uint32).reshape(32, -1) for x in "ab")
    c_in = np.stack([c[(np.arange(32) >> 2) + 8 * (n >> 1), 2 * (np.arange(32) & 3) + (n & 1)] for n in range(4)], 1)
    c_in, d = np.ascontiguousarray(c_in).ravel(), np.zeros(128, np.float32)
    loads = ""
    for p, (letter, count) in enumerate((("a", a_count), ("b", b_count), ("c", 4))):
        loads += f"mad.wide.u32 %x, %t0, {4 * count}, %p{p};\n"
        loads += "".join(f"ld.global.b32 %{letter}{n}, [%x+{4 * n}];\n" for n in range(count))
    lists = {letter: ", ".join(f"%{letter}{n}" for n in range(count)) for letter, count in (
        ("a", a_count), ("b", b_count), ("c", 4), ("d", 4))}  # fmt: skip
    body = f"""{loads}
    mma.sync.aligned.{name.partition(".")[0]}.row.col.f32.{kind}.{kind}.f32
    {{{lists["d"]}}}, {{{lists["a"]}}}, {{{lists["b"]}}}, {{{lists["c"]}}};
    mad.wide.u32 %x, %t0, 16, %p3; st.global.v4.f32 [%x], {{{lists["d"]}}};"""
    registers = ".reg .b64 %x; .reg .b32 %a<4>, %b<4>; .reg .f32 %c<4>, %d<4>;"
    by_hand(body, a_in.ravel().copy(), b_in.ravel().copy(), c_in, d, registers=registers)
    got = np.zeros((16, 8), np.float32)
    for lane in range(32):
        for n in range(4):
            got[(lane >> 2) + 8 * (n >> 1), 2 * (lane & 3) + (n & 1)] = d[4 * lane + n]
    assert np.array_equal(got, (a.astype(np.float64) @ b + c).astype(np.float32))


# Ways through the code.


def collatz(x, y):
    i = cuda.grid(1)
    if i < x.size:
        n, steps = x[i], 0
        while n > 1:
            if n % 2 == 0:
                n = n // 2
            else:
                n = 3 * n + 1
                if steps > 100:
                    steps += 1
            steps += 1
        y[i] = steps


@BOTH
def test_lanes_part_and_meet_again_in_nested_branches_and_loops(capability):
    x, y = np.arange(1, 301, dtype=np.int64), np.zeros(300, np.int64)
    counters = emulator.launch(collatz, 5, 64, x, y, capability=capability)

    def steps(n):
        count = 0
        while n > 1:
            odd = n % 2
            n = 3 * n + 1 if odd else n // 2
            count += 2 if odd and count > 100 else 1
        return count

    assert y.tolist() == [steps(n) for n in x.tolist()]
    assert counters.divergent > 0


def prefix_sum(x, y):
    s = cuda.shared.array(256, int32)
    t = cuda.threadIdx.x
    s[t] = x[cuda.blockIdx.x * 256 + t]
    cuda.syncthreads()
    step = 1
    while step < 256:
        v = s[t - step] if t >= step else int32(0)
        cuda.syncthreads()
        s[t] += v
        cuda.syncthreads()
        step *= 2
    y[cuda.blockIdx.x * 256 + t] = s[t]


@BOTH
def test_barriers_in_a_loop_hold_all_blocks_together(capability):
    blocks = LANES_AT_ONCE // 256 + 3  # more than run at once
    x = RNG.integers(-9, 9, 256 * blocks).astype(np.int32)
    y = np.zeros_like(x)
    emulator.launch(prefix_sum, blocks, 256, x, y, capability=capability)
    assert np.array_equal(y, x.reshape(-1, 256).cumsum(axis=1).ravel())


def test_blocks_that_do_not_run_at_once_race_all_the_same():
    blocks = 2 * LANES_AT_ONCE // 256

    def first_and_last(x):
        b = cuda.blockIdx.x
        if cuda.threadIdx.x == 0 and (b == 0 or b == cuda.gridDim.x - 1):
            x[0] = float32(b)

    with pytest.raises(KernelFault, match="the blocks are different") as raised:
        emulator.launch(first_and_last, blocks, 256, np.zeros(1, np.float32))
    assert raised.value.block == (blocks - 1, 0, 0) and raised.value.other.block == (0, 0, 0)


def where_am_i(out):
    x, y, z = cuda.grid(3)
    k = (z * 6 + y) * 8 + x
    out[k, 0], out[k, 1], out[k, 2] = cuda.threadIdx.x, cuda.threadIdx.y, cuda.threadIdx.z
    out[k, 3], out[k, 4], out[k, 5] = cuda.blockIdx.x, cuda.blockIdx.y, cuda.blockIdx.z
    out[k, 6], out[k, 7], out[k, 8] = cuda.blockDim.x, cuda.gridDim.y, cuda.gridDim.z


def test_every_thread_knows_its_place_in_three_axes():
    out = np.full((8 * 6 * 4, 9), -1, np.int32)
    emulator.launch(where_am_i, (2, 3, 4), (4, 2, 1), out)
    z, y, x = np.unravel_index(np.arange(8 * 6 * 4), (4, 6, 8))
    want = np.stack([x % 4, y % 2, z * 0, x // 4, y // 2, z, x * 0 + 4, x * 0 + 3, x * 0 + 4], axis=1)
    assert np.array_equal(out, want)


def counted(x, y):
    t = cuda.threadIdx.x
    y[t] = cuda.syncthreads_count(x[t]) + 1000 * cuda.syncthreads_and(x[t]) + 2000 * cuda.syncthreads_or(x[t])


def test_a_barrier_counts_over_its_block():
    x, y = (np.arange(64) % 3 == 0).astype(np.int32), np.zeros(64, np.int32)
    emulator.launch(counted, 1, 64, x, y)
    assert y.tolist() == [int(x.sum()) + 2000] * 64


def test_a_guarded_instruction_runs_for_its_lanes_alone():
    out = np.zeros(32, np.uint32)
    body = """setp.gt.u32 %q, %t0, 9; mov.u32 %r0, 5; @%q mov.u32 %r0, 7; @!%q add.u32 %r0, %r0, %t0;
    mad.wide.u32 %x, %t0, 4, %p0; @%q st.global.u32 [%x], %r0; @!%q st.global.u32 [%x], %r0;"""
    by_hand(body, out, registers=".reg .pred %q; .reg .b32 %r<1>; .reg .b64 %x;")
    assert out.tolist() == [5 + n for n in range(10)] + [7] * 22


def halves(x, y):
    i = cuda.grid(1)
    if i < x.size:
        v = float32(x[i])
        y[i] = float16(v * v + float32(1))


@BOTH
def test_float16_arrays_are_read_and_written_with_one_rounding(capability):
    x = RNG.standard_normal(100).astype(np.float16)
    y = np.zeros_like(x)
    emulator.launch(halves, 4, 32, x, y, capability=capability)
    wide = x.astype(np.float64)
    assert np.array_equal(y, (wide * wide + 1).astype(np.float32).astype(np.float16))
