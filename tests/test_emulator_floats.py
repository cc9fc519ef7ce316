"""Each floating-point instruction and conversion against exact fractions, rounded once, over edge values."""

import math
from fractions import Fraction

import numpy as np
import pytest

pytest.importorskip("numba", reason="the emulator's inner loops are compiled by Numba")

from ptx_text import answers, entry

from tinygrad_ft.cuda.emulator import Program, UnknownInstruction, run
from tinygrad_ft.cuda.emulator.operands import TYPES

RNG = np.random.default_rng(0)
BEYOND = {"f16": Fraction(2) ** 16, "f32": Fraction(2) ** 128, "f64": Fraction(2) ** 1024}  # what inf stands for
N = 400


def numbers(kind, count=N, *, finite=False):
    """Edges, any bits at all, and ordinary numbers."""
    dtype = TYPES[kind].dtype.type
    info = np.finfo(dtype)
    tiny, eps = float(info.smallest_subnormal), float(info.eps)
    edges = [0.0, -0.0, 1.0, -1.0, 0.5, 1.5, 2.5, -2.5, 3.0, tiny, -tiny, float(info.tiny), float(info.max)]
    edges += [-float(info.max), 1 + eps, 1 - eps / 2, float(info.tiny) - tiny, 1 / 3]
    edges += [] if finite else [math.inf, -math.inf, math.nan]
    bits = RNG.integers(0, 2 ** TYPES[kind].bits, count, dtype=np.uint64).astype(f"u{TYPES[kind].bytes}").view(dtype)
    usual = (RNG.standard_normal(count) * 2.0 ** RNG.integers(-8, 8, count)).astype(dtype)
    chosen = np.where(RNG.random(count) < 0.4, RNG.choice(np.array(edges, dtype), count), usual)
    bits = np.where(np.isfinite(bits), bits, usual) if finite else bits
    return np.where(RNG.random(count) < 0.3, bits, chosen).astype(dtype)


def value(x, kind):
    return Fraction(float(x)) if math.isfinite(x) else BEYOND[kind] * (1 if x > 0 else -1)


def rounded(exact, kind, mode="rn"):
    """The float of that kind nearest to a fraction, or next to it in a direction; NaN-free."""
    dtype = TYPES[kind].dtype.type
    try:
        with np.errstate(over="ignore"):
            near = dtype(float(exact))
    except OverflowError:
        near = dtype(math.inf if exact > 0 else -math.inf)
    with np.errstate(over="ignore"):
        around = [np.nextafter(near, dtype(-math.inf)), near, np.nextafter(near, dtype(math.inf))]
    if mode == "rz":
        mode = "rm" if exact > 0 else "rp"
    if mode == "rm":
        return max(x for x in around if x == -math.inf or (x != math.inf and value(x, kind) <= exact))
    if mode == "rp":
        return min(x for x in around if x == math.inf or (x != -math.inf and value(x, kind) >= exact))
    even = [int(x.view(f"u{dtype().itemsize}")) & 1 for x in around]
    return min(zip(around, even, strict=True), key=lambda p: (abs(value(p[0], kind) - exact), p[1]))[0]


def checked(got, arrays, f, kind, mode):
    """Lanes where the answer is not the exact one rounded; those with NaN or inf, or an exact zero, by IEEE rules."""
    wrong = []
    with np.errstate(all="ignore"):
        wide = f(*(a.astype(np.float64) for a in arrays))
    for n, row in enumerate(zip(*arrays, strict=True)):
        y = got[n]
        if not all(map(math.isfinite, row)):
            same = math.isnan(y) if math.isnan(wide[n]) else y == wide[n]
        elif (exact := f(*(Fraction(float(x)) for x in row))) == 0:
            same = y == 0
        else:
            same = y == rounded(exact, kind, mode)
        if not same:
            wrong.append((*row, y))
    return wrong


EXACT = {
    "add": (2, lambda a, b: a + b),
    "sub": (2, lambda a, b: a - b),
    "mul": (2, lambda a, b: a * b),
    "fma": (3, lambda a, b, c: a * b + c),
}


@pytest.mark.parametrize(
    ("op", "mode", "kind"),
    [(op, "rn", kind) for op in EXACT for kind in ("f16", "f32", "f64")]
    + [(op, mode, "f32") for op in EXACT for mode in ("rz", "rm", "rp")],
)
def test_arithmetic_is_rounded_once(op, mode, kind):
    count, f = EXACT[op]
    arrays = [numbers(kind) for _ in range(count)]
    letters = ", ".join("%" + letter for letter in "abc"[:count])
    got = answers(f"{op}.{mode}.{kind} %d, {letters};", [(kind, x) for x in arrays], kind)
    assert checked(got, arrays, f, kind, mode) == []


def test_a_sum_that_float64_cannot_hold_is_not_rounded_twice():
    x, y, z = (np.array([n], np.float32) for n in (2.0**-12 + 2.0**-35, 2.0**-12 - 2.0**-35, 1 + 2.0**-23))
    twice = np.float32(np.float64(x[0]) * np.float64(y[0]) + np.float64(z[0]))
    got = answers("fma.rn.f32 %d, %a, %b, %c;", [("f32", n) for n in (x, y, z)], "f32")
    assert got[0] == z[0] != twice  # 1 + 2^-23 + 2^-24 - 2^-70 is just below the tie


@pytest.mark.parametrize("kind", ["f16", "f32", "f64"])
def test_an_exact_zero_has_the_sign_of_ieee(kind):
    a = np.array([0.0, -0.0, 1.0, -0.0], TYPES[kind].dtype)
    b = np.array([0.0, -0.0, -1.0, 0.0], TYPES[kind].dtype)
    got = answers(f"add.rn.{kind} %d, %a, %b;", [(kind, a), (kind, b)], kind)
    assert np.signbit(got).tolist() == [False, True, False, False]
    if kind == "f32":
        down = answers("add.rm.f32 %d, %a, %b;", [(kind, a), (kind, b)], kind)
        assert np.signbit(down).tolist() == [False, True, True, True]


@pytest.mark.parametrize("kind", ["f32", "f64"])
def test_division_root_and_reciprocal_are_ieee(kind):
    a, b = numbers(kind), numbers(kind)
    with np.errstate(all="ignore"):
        wanted = {"div.rn": a / b, "sqrt.rn": np.sqrt(a), "rcp.rn": 1 / a}
    for name, want in wanted.items():
        letters = "%a, %b" if name == "div.rn" else "%a"
        got = answers(f"{name}.{kind} %d, {letters};", [(kind, a), (kind, b)], kind)
        assert np.array_equal(got, want, equal_nan=True), name


@pytest.mark.parametrize("kind", ["f16", "f32", "f64"])
@pytest.mark.parametrize("op", ["min", "max"])
def test_the_smaller_and_larger_pass_over_nan_and_know_minus_zero(op, kind):
    a, b = numbers(kind), numbers(kind)
    got = answers(f"{op}.{kind} %d, %a, %b;", [(kind, a), (kind, b)], kind)
    order = min if op == "min" else max
    for x, y, z in zip(a, b, got, strict=True):
        rest = [float(v) for v in (x, y) if not math.isnan(v)]
        want = order(rest, key=lambda v: (v, math.copysign(1, v))) if rest else math.nan
        assert (math.isnan(want) and math.isnan(z)) or (want == z and math.copysign(1, want) == math.copysign(1, z))
    spread = answers(f"{op}.NaN.{kind} %d, %a, %b;", [(kind, a), (kind, b)], kind)
    assert np.array_equal(np.isnan(spread), np.isnan(a) | np.isnan(b))


@pytest.mark.parametrize("kind", ["f32", "f64"])
def test_sign_instructions_change_nothing_else(kind):
    a, b = numbers(kind, finite=True), numbers(kind, finite=True)
    pairs = [(kind, a), (kind, b)]
    assert np.array_equal(answers(f"abs.{kind} %d, %a;", pairs, kind), np.abs(a))
    assert np.array_equal(answers(f"neg.{kind} %d, %a;", pairs, kind), -a)
    assert np.array_equal(answers(f"copysign.{kind} %d, %a, %b;", pairs, kind), np.copysign(b, a))


def test_ftz_takes_and_gives_zero_for_denormal_numbers():
    a = np.array([1e-40, -1e-40, 1.2e-38, 1.0, 2e-38], np.float32)
    b = np.array([1.0, 1.0, 0.5, 1e-40, 0.25], np.float32)
    got = answers("mul.ftz.f32 %d, %a, %b;", [("f32", a), ("f32", b)], "f32")
    assert got.tolist() == [0.0, 0.0, 0.0, 0.0, 0.0]
    assert np.signbit(got).tolist() == [False, True, False, False, False]
    assert (answers("mul.f32 %d, %a, %b;", [("f32", a), ("f32", b)], "f32") != 0).all()


def test_saturation_is_into_0_to_1_and_nan_is_0():
    a = np.array([-1.0, 0.5, 2.0, math.nan, math.inf, -math.inf, -0.0], np.float32)
    got = answers("add.sat.f32 %d, %a, 0f00000000;", [("f32", a)], "f32")
    assert got.tolist() == [0.0, 0.5, 1.0, 0.0, 1.0, 0.0, 0.0]


@pytest.mark.parametrize("name", ["eq", "ne", "lt", "le", "gt", "ge"])
@pytest.mark.parametrize("kind", ["f16", "f32", "f64"])
def test_a_comparison_with_nan_is_false_and_with_u_true(name, kind):
    a, b = numbers(kind, 128), numbers(kind, 128)
    b = np.where(RNG.random(128) < 0.3, a, b)
    order = {"eq": "__eq__", "ne": "__ne__", "lt": "__lt__", "le": "__le__", "gt": "__gt__", "ge": "__ge__"}[name]
    plain = [bool(getattr(float(x), order)(float(y))) for x, y in zip(a, b, strict=True)]
    nan = np.isnan(a) | np.isnan(b)
    code = "setp.{}.{} %q, %a, %b; selp.u32 %d, 1, 0, %q;"
    for word, want in ((name, plain & ~nan), (name + "u", plain | nan), ("num", ~nan), ("nan", nan)):
        got = answers(code.format(word, kind), [(kind, a), (kind, b)], "u32", registers=".reg .pred %q;")
        assert got.tolist() == want.astype(int).tolist(), word


@pytest.mark.parametrize(
    ("test", "want"),
    [
        ("finite", np.isfinite),
        ("infinite", np.isinf),
        ("notanumber", np.isnan),
        ("number", lambda x: ~np.isnan(x)),
        ("subnormal", lambda x: (x != 0) & (np.abs(x) < np.finfo(np.float32).tiny)),
        ("normal", lambda x: np.isfinite(x) & (np.abs(x) >= np.finfo(np.float32).tiny)),
    ],
)
def test_testp_tells_the_kind_of_number(test, want):
    a = numbers("f32")
    code = f"testp.{test}.f32 %q, %a; selp.u32 %d, 1, 0, %q;"
    got = answers(code, [("f32", a)], "u32", registers=".reg .pred %q;")
    assert got.tolist() == want(a).astype(int).tolist()


APPROXIMATE = {
    "ex2.approx.f32": lambda x: 2.0**x if x < 200 else math.inf,
    "lg2.approx.f32": lambda x: math.log2(x) if x > 0 else -math.inf if x == 0 else math.nan,
    "sin.approx.f32": lambda x: math.sin(x) if math.isfinite(x) else math.nan,
    "cos.approx.f32": lambda x: math.cos(x) if math.isfinite(x) else math.nan,
    "tanh.approx.f32": math.tanh,
    "rsqrt.approx.f32": lambda x: 1 / math.sqrt(x) if x > 0 else math.copysign(math.inf, x) if x == 0 else math.nan,
    "rcp.approx.f32": lambda x: 1 / x if x else math.copysign(math.inf, x),
    "sqrt.approx.f32": lambda x: math.sqrt(x) if x >= 0 else math.nan,
}


@pytest.mark.parametrize("name", APPROXIMATE)
def test_an_approximation_is_as_good_as_float32_allows(name):
    a = numbers("f32")
    a[:8] = [0.0, -0.0, 1.0, -3.0, math.inf, -math.inf, math.nan, 8.0]
    got = answers(f"{name} %d, %a;", [("f32", a)], "f32")
    f = APPROXIMATE[name]
    with np.errstate(over="ignore"):
        want = np.array([math.nan if math.isnan(x) else f(float(x)) for x in a]).astype(np.float32)
    assert np.array_equal(np.isnan(got), np.isnan(want))
    ordinary = np.isfinite(want)
    assert np.array_equal(got[~ordinary], want[~ordinary], equal_nan=True)
    ulp = np.spacing(np.abs(want[ordinary]))
    assert (np.abs(got[ordinary].astype(float) - want[ordinary]) <= ulp).all()


def test_powers_of_two_are_exact():
    a = np.arange(-149, 128, dtype=np.float32)
    assert np.array_equal(
        answers("ex2.approx.f32 %d, %a;", [("f32", a)], "f32"), np.ldexp(np.float32(1), a.astype(int))
    )


def test_approximate_division_by_a_huge_number_is_0():
    a, b = np.array([1.0, -3.0, math.inf, 8.0], np.float32), np.array([2.0**127, 3e38, 2.0**127, 2.0], np.float32)
    got = answers("div.approx.f32 %d, %a, %b;", [("f32", a), ("f32", b)], "f32")
    assert got[:2].tolist() == [0.0, 0.0] and np.isnan(got[2]) and got[3] == 4.0
    assert answers("div.full.f32 %d, %a, %b;", [("f32", a), ("f32", b)], "f32")[0] != 0


def test_the_reciprocal_that_is_refined_has_only_upper_bits():
    a = numbers("f64", finite=True)
    got = answers("rcp.approx.ftz.f64 %d, %a;", [("f64", a)], "f64")
    assert (got.view(np.uint64) & 0xFFFFFFFF == 0).all()
    usual = (np.abs(a) > 1e-300) & (np.abs(a) < 1e300)
    assert np.allclose(got[usual], 1 / a[usual], rtol=2.0**-18)


@pytest.mark.parametrize(("packed", "kind", "bits"), [("f16x2", "f16", "b32"), ("f32x2", "f32", "b64")])
def test_two_numbers_in_a_register_are_computed_side_by_side(packed, kind, bits):
    halves = [numbers(kind, 2 * N) for _ in range(3)]
    whole = [h.view(TYPES[bits].dtype) for h in halves]
    got = answers(f"fma.rn.{packed} %d, %a, %b, %c;", [(bits, w) for w in whole], bits)
    alone = answers(f"fma.rn.{kind} %d, %a, %b, %c;", [(kind, h) for h in halves], kind)
    assert np.array_equal(got.view(alone.dtype), alone, equal_nan=True)


INTEGER = {"rni": round, "rzi": math.trunc, "rmi": math.floor, "rpi": math.ceil}


@pytest.mark.parametrize("to", ["s8", "u8", "s16", "u16", "s32", "u32", "s64", "u64"])
@pytest.mark.parametrize("source", ["f16", "f32", "f64"])
@pytest.mark.parametrize("mode", INTEGER)
def test_a_float_becomes_an_integer_within_its_bounds(to, source, mode):
    a = numbers(source, 200)
    a[:7] = [2.5, 3.5, -2.5, 127.5, -128.5, 60000.0, math.nan]
    info = np.iinfo(TYPES[to].dtype)

    def want(x):
        if math.isnan(x):  # PTX ISA, "cvt", on NaN
            return 0 if source != "f64" and TYPES[to].bits < 64 else int(info.min) or int(info.max) // 2 + 1
        whole = INTEGER[mode](float(x)) if math.isfinite(x) else (2**70 if x > 0 else -(2**70))
        return max(int(info.min), min(int(info.max), whole))

    got = answers(f"cvt.{mode}.{to}.{source} %d, %a;", [(source, a)], to)
    assert got.tolist() == [want(x) for x in a]


@pytest.mark.parametrize(
    "text",
    [
        "cvt.f32.f64 %f0, %g0;",
        "cvt.rni.f16.f32 %h0, %f0;",
        "cvt.rn.f64.f32 %g0, %f0;",
        "cvt.rzi.rn.s32.f32 %r0, %f0;",
        "cvt.s32.f32 %r0, %f0;",
        "cvt.rn.f32.f32 %f0, %f1;",
        "cvt.rn.relu.f16.f32 %h0, %f0;",
        "setp.lt.ftz.f16 %q, %h0, %h1;",
        "add.rz.f64 %g0, %g1, %g2;",
        "add.ftz.f64 %g0, %g1, %g2;",
        "div.f32 %f0, %f1, %f2;",
        "fma.rn.relu.f16 %h0, %h1, %h2, %h3;",
        "sqrt.rz.f32 %f0, %f1;",
        "ld.global.v2.f32 %f0, [%p0];",
        "st.global.f32 [%p0], {%f0, %f1};",
    ],
)
def test_a_modifier_that_changes_the_answer_is_never_passed_over(text):
    names = {"f": "f32", "g": "f64", "h": "b16", "r": "b32"}
    registers = " ".join(f".reg .{kind} %{name}<4>;" for name, kind in names.items())
    program = Program.parse(entry(text, 1, registers=f".reg .pred %q; {registers}"))
    with pytest.raises(UnknownInstruction, match=r"PTX line \d+") as error:
        run(program, 1, 1, [np.zeros(8, np.float32)])
    assert text.rstrip(";") in str(error.value)


@pytest.mark.parametrize("mode", ["rn", "rz", "rm", "rp"])
@pytest.mark.parametrize(
    ("to", "source"),
    [("f32", s) for s in ("s8", "u16", "s32", "u32", "s64", "u64")] + [("f64", "s64"), ("f64", "u64"), ("f16", "s32")],
)
def test_an_integer_becomes_a_float_rounded_once(to, source, mode):
    t = TYPES[source]
    a = RNG.integers(0, 2**t.bits, 200, dtype=np.uint64).astype(f"u{t.bytes}").view(t.dtype)
    a[:4] = [0, 1, np.iinfo(t.dtype).max, np.iinfo(t.dtype).min]
    got = answers(f"cvt.{mode}.{to}.{source} %d, %a;", [(source, a)], to)
    assert got.tolist() == [float(rounded(Fraction(int(x)), to, mode)) if x else 0.0 for x in a]


@pytest.mark.parametrize("mode", ["rn", "rz", "rm", "rp"])
@pytest.mark.parametrize(("to", "source"), [("f32", "f64"), ("f16", "f32"), ("f16", "f64")])
def test_a_wide_float_becomes_a_narrow_one_rounded_once(to, source, mode):
    a = numbers(source, finite=True)
    got = answers(f"cvt.{mode}.{to}.{source} %d, %a;", [(source, a)], to)
    want = [float(rounded(Fraction(float(x)), to, mode)) if x else 0.0 for x in a]
    assert got.tolist() == want


def test_a_float_becomes_a_wider_one_unchanged_and_a_whole_one_by_its_rule():
    a = numbers("f32", finite=True)
    assert np.array_equal(answers("cvt.f64.f32 %d, %a;", [("f32", a)], "f64"), a.astype(np.float64))
    for mode, f in (("rni", np.rint), ("rzi", np.trunc), ("rmi", np.floor), ("rpi", np.ceil)):
        assert np.array_equal(answers(f"cvt.{mode}.f32.f32 %d, %a;", [("f32", a)], "f32"), f(a))
    clipped = answers("cvt.sat.f32.f32 %d, %a;", [("f32", a)], "f32")
    assert np.array_equal(clipped, np.clip(a, 0, 1))


def test_the_formats_of_tensor_cores_keep_the_upper_bits():
    a = numbers("f32", finite=True)
    tf32 = answers("cvt.rna.tf32.f32 %d, %a;", [("f32", a)], "b32")
    assert (tf32 & 0x1FFF == 0).all()
    usual = (np.abs(a) > 1e-30) & (np.abs(a) < 1e30)
    assert np.allclose(tf32.view(np.float32)[usual], a[usual], rtol=2.0**-11)
    bf16 = answers("cvt.rn.bf16.f32 %d, %a;", [("f32", a)], "b16")
    back = answers("cvt.f32.bf16 %d, %a;", [("b16", bf16)], "f32")
    assert np.allclose(back[usual], a[usual], rtol=2.0**-8)
    two = answers("cvt.rn.f16x2.f32 %d, %a, %b;", [("f32", a), ("f32", a[::-1].copy())], "b32").view(np.float16)
    with np.errstate(over="ignore"):
        assert np.array_equal(two[1::2], a.astype(np.float16))
        assert np.array_equal(two[::2], a[::-1].astype(np.float16))
