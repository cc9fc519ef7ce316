"""Each integer, logic, shift, compare and select instruction against Python's own integers, over edge values."""

import numpy as np
import pytest

pytest.importorskip("numba", reason="the emulator's inner loops are compiled by Numba")

from ptx_text import answers

from tinygrad_ft.cuda.emulator import UnknownInstruction
from tinygrad_ft.cuda.emulator.operands import TYPES

RNG = np.random.default_rng(0)


def numbers(kind, count=640):
    """Edges, and numbers of all magnitudes."""
    t = TYPES[kind]
    bits = t.bits
    edges = [0, 1, 2, 3, 7, 8, 31, 32, 33, 255, 2**bits - 1, 2**bits - 2, 2 ** (bits - 1), 2 ** (bits - 1) - 1]
    edges += [1 << n for n in range(bits)]
    some = [int.from_bytes(RNG.bytes(8)) >> int(RNG.integers(64 - bits, 64)) for _ in range(count)]
    raw = np.array([n % 2**bits for n in edges + some][:count], f"u{t.bytes}")
    return RNG.permutation(raw).view(t.dtype)


def counts(limit, count=640):
    """Shift counts, some too large."""
    return RNG.choice([0, 1, 2, limit - 1, limit, limit + 1, 2**31, 2**32 - 1, *range(limit)], count).astype(np.uint32)


def signed(n, bits):
    n %= 2**bits
    return n - 2**bits if n >> (bits - 1) else n


def quotient(a, b):
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def clamp(n, bits):
    return max(-(2 ** (bits - 1)), min(2 ** (bits - 1) - 1, n))


def bfe(kind):
    t = TYPES[kind]

    def f(a, start, count):
        start, count = start & 255, count & 255
        bit = [a >> n & 1 for n in range(t.bits)]
        sign = 0 if t.kind == "u" or count == 0 else bit[min(start + count - 1, t.bits - 1)]
        taken = [bit[start + n] if n < count and start + n < t.bits else sign for n in range(t.bits)]
        return sum(b << n for n, b in enumerate(taken))

    return f


def bfi(bits):
    def f(a, b, start, count):
        start, count = start & 255, count & 255
        for n in range(count):
            if start + n < bits:
                b = b & ~(1 << start + n) | (a >> n & 1) << start + n
        return b

    return f


def bfind(bits, *, distance=False):
    def f(a):
        a = ~a if a < 0 else a
        return 2**32 - 1 if not a else bits - a.bit_length() if distance else a.bit_length() - 1

    return f


def lop3(table):
    def f(a, b, c):
        return sum((table >> (4 * (a >> n & 1) + 2 * (b >> n & 1) + (c >> n & 1)) & 1) << n for n in range(32))

    return f


def prmt(a, b, selector):
    source = [*(a % 2**32).to_bytes(4, "little"), *(b % 2**32).to_bytes(4, "little")]
    out = []
    for n in range(4):
        nibble = selector >> 4 * n & 15
        byte = source[nibble & 7]
        out.append((255 if byte >> 7 else 0) if nibble & 8 else byte)
    return int.from_bytes(bytes(out), "little")


def shf(left, wraps):
    def f(low, up, n):
        n = n % 32 if wraps else min(n, 32)
        both = up << 32 | low
        return (both << n) >> 32 if left else both >> n

    return f


def dp4a(a, b, c):
    return c + sum(signed(a >> n, 8) * signed(b >> n, 8) for n in (0, 8, 16, 24))


def cases():
    """Rows: instruction, types of operands, of the result, and what it should be."""
    for k, bits in ((k, b) for b in (16, 32, 64) for k in "su"):
        t = f"{k}{bits}"
        yield f"add.{t}", (t, t), t, lambda a, b: a + b
        yield f"sub.{t}", (t, t), t, lambda a, b: a - b
        yield f"mul.lo.{t}", (t, t), t, lambda a, b: a * b
        yield f"mul.hi.{t}", (t, t), t, lambda a, b, bits=bits: a * b >> bits
        yield f"mad.lo.{t}", (t, t, t), t, lambda a, b, c: a * b + c
        yield f"mad.hi.{t}", (t, t, t), t, lambda a, b, c, bits=bits: (a * b >> bits) + c
        yield f"div.{t}", (t, t), t, lambda a, b: quotient(a, b) if b else None
        yield f"rem.{t}", (t, t), t, lambda a, b: a - b * quotient(a, b) if b else None
        yield f"min.{t}", (t, t), t, min
        yield f"max.{t}", (t, t), t, max
        yield f"sad.{t}", (t, t, t), t, lambda a, b, c: c + abs(a - b)
        yield f"shr.{t}", (t, "u32"), t, lambda a, n: a >> min(n, 64)
        if k == "s":
            yield f"abs.{t}", (t,), t, abs
            yield f"neg.{t}", (t,), t, lambda a: -a
        if bits < 64:
            wide = f"{k}{2 * bits}"
            yield f"mul.wide.{t}", (t, t), wide, lambda a, b: a * b
            yield f"mad.wide.{t}", (t, t, wide), wide, lambda a, b, c: a * b + c
    for bits in (16, 32, 64):
        t, u = f"b{bits}", f"u{bits}"
        yield f"and.{t}", (u, u), u, lambda a, b: a & b
        yield f"or.{t}", (u, u), u, lambda a, b: a | b
        yield f"xor.{t}", (u, u), u, lambda a, b: a ^ b
        yield f"not.{t}", (u,), u, lambda a: ~a
        yield f"cnot.{t}", (u,), u, lambda a: int(a == 0)
        yield f"shl.{t}", (u, "u32"), u, lambda a, n: a << n if n < 64 else 0
        yield f"shr.{t}", (u, "u32"), u, lambda a, n: a >> n
    for bits in (32, 64):
        u, s = f"u{bits}", f"s{bits}"
        yield f"popc.b{bits}", (u,), "u32", lambda a: a.bit_count()
        yield f"clz.b{bits}", (u,), "u32", lambda a, bits=bits: bits - a.bit_length()
        yield f"brev.b{bits}", (u,), u, lambda a, bits=bits: int(f"{a:0{bits}b}"[::-1], 2)
        yield f"bfi.b{bits}", (u, u, "u32", "u32"), u, bfi(bits)
        for t in (u, s):
            yield f"bfe.{t}", (t, "u32", "u32"), t, bfe(t)
            yield f"bfind.{t}", (t,), "u32", bfind(bits)
            yield f"bfind.shiftamt.{t}", (t,), "u32", bfind(bits, distance=True)
    yield "add.sat.s32", ("s32", "s32"), "s32", lambda a, b: clamp(a + b, 32)
    yield "sub.sat.s32", ("s32", "s32"), "s32", lambda a, b: clamp(a - b, 32)
    yield "mad.hi.sat.s32", ("s32", "s32", "s32"), "s32", lambda a, b, c: clamp((a * b >> 32) + c, 32)
    yield "mul24.lo.s32", ("s32", "s32"), "s32", lambda a, b: signed(a, 24) * signed(b, 24)
    yield "mul24.hi.u32", ("u32", "u32"), "u32", lambda a, b: (a % 2**24) * (b % 2**24) >> 16
    yield "mad24.lo.u32", ("u32", "u32", "u32"), "u32", lambda a, b, c: (a % 2**24) * (b % 2**24) + c
    yield "prmt.b32", ("u32", "u32", "u32"), "u32", prmt
    yield "dp4a.s32.s32", ("s32", "s32", "s32"), "s32", dp4a
    for left in (True, False):
        for wraps in (True, False):
            name = f"shf.{'l' if left else 'r'}.{'wrap' if wraps else 'clamp'}.b32"
            yield name, ("u32", "u32", "u32"), "u32", shf(left, wraps)


CASES = {row[0]: row for row in cases()}
COUNTED = {"shl", "shr", "bfe", "bfi", "shf"}


def operands(name, types):
    found = [numbers(t) for t in types]
    if name.partition(".")[0] in COUNTED:
        for n in range(1 if name[:2] == "sh" else len(types) - 2, len(types)):
            if name[:3] != "shf" or n == 2:
                found[n] = counts(TYPES[types[0]].bits)
    return found


def wanted(f, arrays, result):
    """What Python makes of each lane, as bits; None where PTX leaves it open."""
    t = TYPES[result]
    return [None if (y := f(*map(int, row))) is None else y % 2**t.bits for row in zip(*arrays, strict=True)]


def differing(got, want, result):
    raw = got.view(f"u{TYPES[result].bytes}")
    return [n for n, (y, w) in enumerate(zip(raw.tolist(), want, strict=True)) if w is not None and y != w]


@pytest.mark.parametrize("name", CASES)
def test_an_integer_instruction_computes_what_python_does(name):
    _, types, result, f = CASES[name]
    arrays = operands(name, types)
    letters = ", ".join(f"%{letter}" for letter in "abcefg"[: len(types)])
    got = answers(f"{name} %d, {letters};", list(zip(types, arrays, strict=True)), result)
    assert differing(got, wanted(f, arrays, result), result) == []


def test_a_wrong_reference_would_be_seen():
    a, b = numbers("s32"), numbers("s32")
    got = answers("add.s32 %d, %a, %b;", [("s32", a), ("s32", b)], "s32")
    assert differing(got, wanted(lambda x, y: x - y, (a, b), "s32"), "s32")


@pytest.mark.parametrize("table", [0x80, 0xFE, 0x96, 0xE8, 0xCA, 0x00, 0xFF, 0x1B])
def test_lop3_is_any_function_of_three_bits(table):
    arrays = [numbers("u32", 64) for _ in range(3)]
    got = answers(f"lop3.b32 %d, %a, %b, %c, {table};", [("u32", x) for x in arrays], "u32")
    assert differing(got, wanted(lop3(table), arrays, "u32"), "u32") == []


@pytest.mark.parametrize(
    ("first", "second", "f"),
    [
        ("add.cc.u32", "addc.u32", lambda a, b: a + b),
        ("sub.cc.u32", "subc.u32", lambda a, b: a - b),
    ],
)
def test_a_carry_passes_on_to_the_upper_half(first, second, f):
    a, b = numbers("u64"), numbers("u64")
    code = f"""mov.b64 {{%x0, %x1}}, %a; mov.b64 {{%x2, %x3}}, %b;
    {first} %x4, %x0, %x2; {second} %x5, %x1, %x3; mov.b64 %d, {{%x4, %x5}};"""
    got = answers(code, [("u64", a), ("u64", b)], "u64", registers=".reg .b32 %x<6>;")
    assert differing(got, wanted(f, (a, b), "u64"), "u64") == []


def test_a_product_of_64_bits_is_made_of_four_of_32_with_carries():
    a, b = numbers("u64"), numbers("u64")
    code = """mov.b64 {%x0, %x1}, %a; mov.b64 {%x2, %x3}, %b;
    mul.lo.u32 %y0, %x0, %x2; mul.hi.u32 %y1, %x0, %x2;
    mad.lo.cc.u32 %y1, %x0, %x3, %y1; madc.hi.u32 %y2, %x0, %x3, 0;
    mad.lo.cc.u32 %y1, %x1, %x2, %y1; madc.hi.cc.u32 %y2, %x1, %x2, %y2; madc.hi.u32 %y3, %x1, %x3, 0;
    mad.lo.cc.u32 %y2, %x1, %x3, %y2; addc.u32 %y3, %y3, 0;
    mov.b64 %d, {%y2, %y3};"""
    got = answers(code, [("u64", a), ("u64", b)], "u64", registers=".reg .b32 %x<4>; .reg .b32 %y<4>;")
    assert differing(got, wanted(lambda x, y: x * y >> 64, (a, b), "u64"), "u64") == []


ORDERS = {
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
}


@pytest.mark.parametrize("kind", ["s16", "u16", "s32", "u32", "s64", "u64"])
@pytest.mark.parametrize("order", ORDERS)
def test_a_comparison_goes_by_the_sign_of_the_type(order, kind):
    a, b = numbers(kind, 128), numbers(kind, 128)
    b = np.where(RNG.random(128) < 0.3, a, b)
    code = f"setp.{order}.{kind} %q, %a, %b; selp.u32 %d, 1, 0, %q;"
    got = answers(code, [(kind, a), (kind, b)], "u32", registers=".reg .pred %q;")
    assert differing(got, wanted(lambda x, y: int(ORDERS[order](x, y)), (a, b), "u32"), "u32") == []


@pytest.mark.parametrize(("name", "order"), [("lo", "lt"), ("ls", "le"), ("hi", "gt"), ("hs", "ge")])
def test_the_unsigned_comparisons_have_names_of_their_own(name, order):
    a, b = numbers("u32", 128), numbers("u32", 128)
    code = f"setp.{name}.u32 %q, %a, %b; selp.u32 %d, 1, 0, %q;"
    got = answers(code, [("u32", a), ("u32", b)], "u32", registers=".reg .pred %q;")
    assert differing(got, wanted(lambda x, y: int(ORDERS[order](x, y)), (a, b), "u32"), "u32") == []


@pytest.mark.parametrize("bits", [16, 32, 64])
def test_untyped_comparison_is_right_between_registers_of_either_sign(bits):
    a = np.array([-1, 1, -1, 0], f"i{bits // 8}")
    b = np.array([-1, 1, 1, 0], f"i{bits // 8}")
    code = f"""add.s{bits} %x, %a, 0; max.u{bits} %y, %b, 0;
    setp.eq.b{bits} %q, %x, %y; selp.u32 %d, 1, 0, %q;"""
    got = answers(
        code, [(f"s{bits}", a), (f"u{bits}", b)], "u32", registers=f".reg .pred %q; .reg .b{bits} %x; .reg .b{bits} %y;"
    )
    assert got.tolist() == [1, 1, 0, 1]


@pytest.mark.parametrize(
    ("op", "f"), [("and", lambda p, q: p & q), ("or", lambda p, q: p | q), ("xor", lambda p, q: p ^ q)]
)
def test_a_comparison_combines_with_a_predicate_and_gives_its_opposite_too(op, f):
    a, b, c = (RNG.integers(0, 3, 64).astype(np.int32) for _ in range(3))
    code = f"""setp.gt.s32 %r, %c, 0;
    setp.lt.{op}.s32 %q|%p, %a, %b, !%r; selp.u32 %d, 1, 0, %q; selp.u32 %e, 2, 0, %p; or.b32 %d, %d, %e;"""
    got = answers(code, [("s32", x) for x in (a, b, c)], "u32", registers=".reg .pred %p, %q, %r; .reg .b32 %e;")
    less, other = (a < b).astype(int), (c <= 0).astype(int)
    assert got.tolist() == (f(less, other) + 2 * f(1 - less, other)).tolist()


def test_set_answers_all_ones_and_slct_goes_by_the_sign():
    a, b, c = (numbers("s32", 64) for _ in range(3))
    got = answers("set.le.u32.s32 %d, %a, %b;", [("s32", a), ("s32", b)], "u32")
    assert got.tolist() == np.where(a <= b, 2**32 - 1, 0).tolist()
    got = answers("slct.s32.s32 %d, %a, %b, %c;", [("s32", a), ("s32", b), ("s32", c)], "s32")
    assert got.tolist() == np.where(c >= 0, a, b).tolist()


@pytest.mark.parametrize(
    ("to", "source"),
    [(t, s) for t in ("s8", "u8", "s16", "u32", "s64", "u64") for s in ("s8", "u8", "s16", "u16", "s32", "u32", "s64")],
)
@pytest.mark.parametrize("saturated", [False, True])
def test_an_integer_becomes_one_of_another_size(to, source, saturated):
    a = numbers(source, 256)
    t = TYPES[to]
    low, high = np.iinfo(t.dtype).min, np.iinfo(t.dtype).max
    got = answers(f"cvt{'.sat' if saturated else ''}.{to}.{source} %d, %a;", [(source, a)], to)
    assert differing(got, wanted(lambda x: max(low, min(high, x)) if saturated else x, (a,), to), to) == []


@pytest.mark.parametrize(
    "text",
    [
        "add.rn.s32 %d, %a, %b;",
        "frobnicate.s32 %d, %a, %b;",
        "shl.wrap.b32 %d, %a, %b;",
        "add.bf16 %d, %a, %b;",
        "setp.lo.s32 %q, %a, %b;",
        "mul.s32 %d, %a, %b;",
        "add.s32 %d, %a;",
        "add.s64 %d, %a, %b;",
        "mov.u32 %d, %clock;",
        "min.xorsign.abs.f32 %d, %a, %b;",
        "add.sat.u32 %d, %a, %b;",
        "mad.lo.sat.s32 %d, %a, %b, %a;",
        "dp4a.relu.s32.s32 %d, %a, %b, %a;",
        "dp4a.s16.s32 %d, %a, %b, %a;",
        "cvt.rzi.s32.s32 %d, %a;",
        "cvt.ftz.s32.s32 %d, %a;",
        "activemask.sync.b32 %d;",
        "ret.sync;",
    ],
)
def test_what_is_not_known_is_named_and_never_guessed(text):
    a = np.ones(4, np.int32)
    with pytest.raises(UnknownInstruction, match=r"PTX line \d+") as error:
        answers(text, [("s32", a), ("s32", a)], "s32", registers=".reg .pred %q;")
    assert text.rstrip(";") in str(error.value)
