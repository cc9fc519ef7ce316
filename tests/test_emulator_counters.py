"""What the emulator counts is what a warp's addresses make on paper: sectors, bank ways, instructions, lines run."""

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="kernels compile by numba-cuda: pip install 'tinygrad-ft[emulator]'")

from ptx_text import entry

from tinygrad_ft.cuda import emulator
from tinygrad_ft.cuda.compile import cuda, float32
from tinygrad_ft.cuda.emulator import Program, run

RNG = np.random.default_rng(0)


def loads(space, kind, byte_of_lane, *, threads=32):
    """The counters of one load a lane, of so many bytes from the start on."""
    table, room = np.asarray(byte_of_lane, np.uint32), 160 * threads
    data = np.zeros(room, np.uint8)
    count = int(kind[1]) if kind[0] == "v" else 1
    bits = int(kind.rpartition(".")[2][1:])
    registers = f""".reg .b64 %x, %y; .reg .b32 %w; .reg .b{max(bits, 16)} %v<4>;
    .shared .align 16 .b8 tile[{room if space == "shared" else 16}];"""
    names = ", ".join(f"%v{n}" for n in range(count))
    target = f"{{{names}}}" if count > 1 else names
    fill = ""
    if space == "shared":  # which must be written before it is read
        fill = f"""mov.u64 %y, tile; mov.u32 %w, 0; mul.wide.u32 %x, %t0, 4; add.u64 %y, %y, %x;
        fill: st.volatile.shared.u32 [%y], 0; add.u64 %y, %y, {4 * threads}; add.u32 %w, %w, {4 * threads};
        setp.lt.u32 %q, %w, {room}; @%q bra fill; bar.sync 0;"""
        registers += ".reg .pred %q;"
    body = f"""{fill} mad.wide.u32 %x, %t0, 4, %p0; ld.const.u32 %w, [%x]; cvt.u64.u32 %x, %w;
    {"mov.u64 %y, tile;" if space == "shared" else "mov.u64 %y, %p1;"} add.u64 %x, %x, %y;
    ld.{space}.{kind} {target}, [%x];"""
    program = Program.parse(entry(body, 2, registers=registers))
    return run(program, 1, threads, [table, data])


def tallied(counters, space, kind):
    """Requests, units and the most of one, of the load that is meant."""
    (tally,) = counters.tallies.values()
    rows = [row for i, row in zip(tally.program.code, tally.requests, strict=True) if i.name == f"ld.{space}.{kind}"]
    return rows[0][:3].tolist()


LANE = np.arange(32)


@pytest.mark.parametrize(
    ("kind", "byte_of_lane", "requests", "sectors"),
    [
        ("b32", 4 * LANE, 1, 4),
        ("b32", 4 * LANE + 16, 1, 5),
        ("b32", 0 * LANE, 1, 1),
        ("b32", 32 * LANE, 1, 32),
        ("b32", 8 * LANE, 1, 8),
        ("b32", 4 * LANE[::-1], 1, 4),
        ("b8", LANE, 1, 1),
        ("b16", 2 * LANE, 1, 2),
        ("b64", 8 * LANE, 2, 8),
        ("v2.b32", 8 * LANE, 2, 8),
        ("v4.b32", 16 * LANE, 4, 16),
        ("v4.b32", 64 * LANE, 4, 32),
        ("v2.b64", 16 * LANE, 4, 16),
    ],
)
def test_sectors_are_the_32_byte_pieces_that_a_request_touches(kind, byte_of_lane, requests, sectors):
    assert tallied(loads("global", kind, byte_of_lane), "global", kind)[:2] == [requests, sectors]


@pytest.mark.parametrize(
    ("kind", "byte_of_lane", "requests", "ways"),
    [
        ("b32", 4 * LANE, 1, 1),
        ("b32", 0 * LANE, 1, 1),
        ("b32", 8 * LANE, 1, 2),
        ("b32", 128 * LANE, 1, 32),
        ("b32", 132 * LANE, 1, 1),
        ("b32", 64 * LANE, 1, 16),
        ("b16", 2 * LANE, 1, 1),
        ("b8", LANE, 1, 1),
        ("b64", 8 * LANE, 2, 2),
        ("b64", 128 * LANE, 2, 32),
        ("b64", 16 * LANE, 2, 4),
        ("v4.b32", 16 * LANE, 4, 4),
        ("v4.b32", 128 * LANE, 4, 32),
        ("v4.b32", 0 * LANE, 4, 4),
    ],
)
def test_ways_are_the_different_words_that_a_bank_is_asked_for(kind, byte_of_lane, requests, ways):
    assert tallied(loads("shared", kind, byte_of_lane), "shared", kind)[:2] == [requests, ways]


@pytest.mark.parametrize("kind", ["b32", "b64", "v4.b32"])
@pytest.mark.parametrize("space", ["global", "shared"])
def test_random_addresses_make_what_counting_by_hand_does(space, kind):
    size = {"b32": 4, "b64": 8, "v4.b32": 16}[kind]
    lanes = 32 * 4 // size if size > 4 else 32
    address = RNG.integers(0, 2048 // size, 80) * size
    requests = units = worst = 0
    for warp in range(0, 80, 32):
        for first in range(warp, min(warp + 32, 80), lanes):
            mine = address[first : min(first + lanes, warp + 32, 80)]
            if space == "global":
                cost = len({a // 32 for a in mine})
            else:
                words = {a // 4 + n for a in mine for n in range(max(size // 4, 1))}
                cost = max(np.bincount([w % 32 for w in words]))
            requests, units, worst = requests + 1, units + cost, max(worst, cost)
    assert tallied(loads(space, kind, address, threads=80), space, kind) == [requests, units, worst]


def column_sum(x, y):
    s = cuda.shared.array((32, 32), float32)
    t = cuda.threadIdx.x
    for k in range(32):
        s[k, t] = x[k, t]
    cuda.syncthreads()
    total = float32(0)
    for k in range(32):
        total = cuda.fma(s[t, k], x[k, t], total)
    y[t] = total


def padded_sum(x, y):
    s = cuda.shared.array((32, 33), float32)
    t = cuda.threadIdx.x
    for k in range(32):
        s[k, t] = x[k, t]
    cuda.syncthreads()
    total = float32(0)
    for k in range(32):
        total = cuda.fma(s[t, k], x[k, t], total)
    y[t] = total


def test_a_column_of_an_unpadded_tile_costs_32_ways_and_padding_cures_it():
    x, y = RNG.standard_normal((32, 32)).astype(np.float32), np.zeros(32, np.float32)
    worse = emulator.launch(column_sum, 1, 32, x, y)
    assert worse.worst_bank_ways == 32 and worse.bank_ways == (32 + 1) / 2
    line = worse.memory_lines[0]
    assert (line.space, line.worst) == ("shared", 32) and "s[t, k]" in line.source.text
    better = emulator.launch(padded_sum, 1, 32, x, y)
    assert better.bank_ways == better.worst_bank_ways == 1
    assert worse.ffma == better.ffma == 32 * 32
    assert worse.barriers == 32 and worse.sectors_a_request == 4.0
    assert worse.bytes == 4 * (2 * 32 * 32 + 32)


def test_two_launches_add_up():
    x, y = np.zeros((32, 32), np.float32), np.zeros(32, np.float32)
    one, two = emulator.launch(padded_sum, 1, 32, x, y), emulator.launch(padded_sum, 1, 32, x, y)
    both = one + two
    assert both.instructions == 2 * one.instructions and both.ffma == 2 * one.ffma
    assert both.shared_requests == 2 * one.shared_requests and both.worst_bank_ways == one.worst_bank_ways
    assert both.coverage == one.coverage == 1.0
    assert one.instructions == two.instructions  # the sum is a third, and changes neither
    other = emulator.launch(column_sum, 1, 32, x, y)
    assert (one + other).instructions == one.instructions + other.instructions


def test_instructions_are_counted_by_thread_by_warp_and_by_kind():
    body = """setp.lt.u32 %q, %t0, 40; @%q bra few;
    add.f32 %f0, %f0, %f0; add.f32 %f0, %f0, %f0;
    few: fma.rn.f32 %f0, %f0, %f0, %f0; cvt.rn.f32.u32 %f0, %t0;"""
    program = Program.parse(entry(body, 1, registers=".reg .pred %q; .reg .f32 %f<1>;"))
    counters = run(program, 1, 64, [np.zeros(1, np.float32)])
    common = 64 * (1 + 4 + 1 + 1 + 2 + 1)  # ld.param, moves and mad, setp, bra, fma and cvt, ret
    assert counters.instructions == common + 2 * 24
    assert counters.warp_instructions == common // 32 + 2
    assert counters.kinds["float32"] == 2 * 24 + 64 and counters.kinds["convert"] == 64
    assert counters.mnemonics["add.f32"] == 48 and counters.ffma == 64
    assert (counters.branches, counters.divergent) == (2, 1)  # the second warp parts, the first goes on together


def test_two_products_in_a_register_are_two_multiply_adds():
    program = Program.parse(entry("fma.rn.f32x2 %y, %y, %y, %y;", 1, registers=".reg .b64 %y;"))
    assert run(program, 1, 32, [np.zeros(1)]).ffma == 64


def seldom(x, y):
    i = cuda.grid(1)
    if i < x.size:
        v = x[i]
        while v > float32(100):
            v = v * float32(0.5) - float32(3)
        y[i] = v


def test_lines_that_no_lane_ran_are_named():
    x, y = np.zeros(64, np.float32), np.zeros(64, np.float32)
    some = emulator.launch(seldom, 1, 64, x, y, capability=(12, 0))
    x[5] = 2000
    full = emulator.launch(seldom, 1, 64, x, y, capability=(12, 0))
    assert full.coverage == 1.0 and full.missed == []
    (tally,) = some.tallies.values()
    texts = {i.line: i.text for i in tally.program.code}
    assert any(texts[line].startswith("fma") for line in some.missed) and some.coverage < 1.0


def test_the_table_tells_what_matters():
    x, y = np.zeros((32, 32), np.float32), np.zeros(32, np.float32)
    told = repr(emulator.launch(column_sum, 1, 32, x, y))
    for words in (
        "counted in column_sum",
        "FFMA",
        "sectors a request  4.00",
        "bank ways a request        16.50, at most 32",
    ):
        assert words in told
    assert len(told.splitlines()) < 25
