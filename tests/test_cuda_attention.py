"""Attention by tiles on the emulator: right, in bounds, coalesced, without spills; and where it is not taken."""

import re

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="kernels for GPUs need numba-cuda: pip install 'tinygrad-ft[emulator]'")

import tinygrad_ft as tg
from tinygrad_ft import autograd
from tinygrad_ft.cuda import report, toolkit
from tinygrad_ft.cuda.emulator import KernelFault, Program, run
from tinygrad_ft.cuda.launch import emulating, recorded
from tinygrad_ft.nn import functional as F
from tinygrad_ft.ops.attention import flash_attention, flash_attention_grad

EMULATOR = tg.device("emulator")
CAPABILITIES = [(9, 0), (12, 0)]  # the older and the newer of the two NVVMs
BOUND = 2e-6  # absolute; of gradients above 1 in proportion to the largest

# Queries, keys, numbers of q and k, numbers of v, causal: what is no multiple of a tile in every place.
RAGGED = {
    32: [
        (1, 1, 32, 32, True),
        (7, 7, 5, 5, True),
        (33, 75, 7, 5, False),
        (75, 33, 32, 30, True),
        (130, 75, 16, 9, True),
    ],
    64: [(75, 75, 64, 64, True), (33, 70, 36, 50, False)],
    128: [(40, 40, 128, 128, True), (20, 33, 70, 90, False)],
}
CASES = [(capability, *case) for capability in CAPABILITIES for w in (32, 64) for case in RAGGED[w]]
CASES += [((9, 0), *case) for case in RAGGED[128]]


def numbers(rng, *shape, dtype="float32"):
    return rng.standard_normal(shape).astype(dtype)


def on_emulator(*arrays):
    """Tensors of the emulator that want a gradient."""
    return [tg.tensor(a).to("emulator").requires_grad_() for a in arrays]


def host(x):
    return x.detach().to("cpu").numpy()


def exact(q, k, v, g, *, causal, scale):
    """y, lse, gq, gk and gv in float64, by NumPy alone."""
    q, k, v, g = (a.astype(np.float64) for a in (q, k, v, g))
    s = scale * q @ k.swapaxes(-1, -2)
    if causal:
        s = np.where(np.arange(s.shape[-1]) <= np.arange(s.shape[-2])[:, None], s, -np.inf)
    e = np.exp(s - s.max(-1, keepdims=True))
    total = e.sum(-1, keepdims=True)
    p = e / total
    y = p @ v
    gs = p * (g @ v.swapaxes(-1, -2) - (g * y).sum(-1, keepdims=True)) * scale
    return y, s.max(-1, keepdims=True) + np.log(total), gs @ k, gs.swapaxes(-1, -2) @ q, p.swapaxes(-1, -2) @ g


def by_kernels(q, k, v, g, *, causal, scale):
    """The same of the emulator, and the launches; it fails if they are not the three that there should be."""
    q, k, v = on_emulator(q, k, v)
    with recorded() as launches:
        y, lse = flash_attention(q, k, v, causal=causal, scale=scale)
        y.backward(tg.tensor(g).to("emulator"))
    assert [re.sub(r"_\d+$", "", one.kernel.name) for one in launches] == ["flash", "flash_grad_q", "flash_grad_kv"]
    return [host(x) for x in (y, lse, q.grad, k.grad, v.grad)], launches


def largest_error(got, true):
    """The largest difference; of gradients above 1 in proportion to the largest."""
    return max(
        abs(a - b).max() / (max(1.0, abs(b).max()) if i > 1 else 1.0)
        for i, (a, b) in enumerate(zip(got, true, strict=True))
    )


def drawn(rng, n, m, d, e, batch=(1, 2)):
    return [numbers(rng, *batch, *size) for size in ((n, d), (m, d), (m, e), (n, e))]


# ---------------------------------------------------------------- when the kernels are taken


def test_on_the_cpu_attention_keeps_its_weights_as_ever(rng, monkeypatch):
    monkeypatch.setattr(flash_attention, "forward", None)
    q = numbers(rng, 2, 3, 4)
    y, _ = tg.attention(q, q, q, None, causal=True, scale=0.5)
    np.testing.assert_array_equal(F.scaled_dot_product_attention(q, q, q, is_causal=True), y)


NOT_TAKEN = {
    "a mask": ({"attn_mask": np.tril(np.ones((3, 3), bool))}, "float32", 4),
    "dropout": ({"dropout_p": 0.5, "rng": 0}, "float32", 4),
    "float64": ({}, "float64", 4),
    "heads of 130 numbers": ({}, "float32", 130),
}


@pytest.mark.parametrize(("params", "dtype", "width"), NOT_TAKEN.values(), ids=NOT_TAKEN)
def test_what_the_kernels_do_not_take_is_answered_by_ordinary_attention(rng, params, dtype, width):
    q = numbers(rng, 2, 3, width, dtype=dtype)
    there = {name: tg.tensor(x).to("emulator") if isinstance(x, np.ndarray) else x for name, x in params.items()}
    with recorded() as launches:
        y = F.scaled_dot_product_attention(*on_emulator(q, q, q), **there)
    assert not [one for one in launches if one.kernel.name.startswith("flash")]
    if "dropout_p" not in params:
        np.testing.assert_allclose(host(y), F.scaled_dot_product_attention(q, q, q, **params), rtol=1e-5, atol=1e-6)


def test_shapes_that_do_not_fit_are_refused_by_name(rng):
    q, k, v = on_emulator(numbers(rng, 2, 3, 4), numbers(rng, 2, 5, 4), numbers(rng, 2, 6, 4))
    with pytest.raises(ValueError, match="attention needs q"):
        F.scaled_dot_product_attention(q, k, v)
    with pytest.raises(ValueError):
        flash_attention(q, k, v)


# ---------------------------------------------------------------- what they answer


@pytest.mark.parametrize(("capability", "n", "m", "d", "e", "causal"), CASES)
def test_attention_and_its_gradients_are_those_of_float64(rng, capability, n, m, d, e, causal):
    arrays, how = drawn(rng, n, m, d, e), {"causal": causal, "scale": d**-0.5}
    with emulating(capability):
        got, _ = by_kernels(*arrays, **how)
    assert largest_error(got, exact(*arrays, **how)) <= BOUND


def test_a_gradient_that_lacks_its_mean_or_its_scale_is_seen(rng):
    arrays, how = drawn(rng, 7, 7, 5, 5), {"causal": True, "scale": 0.5}
    y, lse, gq, gk, gv = exact(*arrays, **how)
    assert largest_error((y, lse, gq * 2, gk, gv), (y, lse, gq, gk, gv)) > 1e3 * BOUND
    assert largest_error((y, lse, gq, gk, gv + 1e-5), (y, lse, gq, gk, gv)) > BOUND


def test_scores_too_large_for_e_to_the_s_are_no_matter(rng):
    q, k = (rng.integers(-6, 7, (1, 40, 5)).astype(np.float32) for _ in range(2))  # so that scores are exact
    v = numbers(rng, 1, 40, 5)
    y, lse = flash_attention(*on_emulator(q, k, v), causal=True, scale=4.0)
    true = exact(q, k, v, v, causal=True, scale=4.0)
    assert true[1].max() > 200.0
    assert abs(host(y) - true[0]).max() <= BOUND
    np.testing.assert_allclose(host(lse), true[1], rtol=2e-7)


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_row_that_sees_nan_or_infinity_is_what_the_op_makes_of_it(rng, which, special):
    arrays = [numbers(rng, 1, 7, 5) for _ in range(3)]
    arrays[which][0, 3, 2] = special
    y, _ = flash_attention(*on_emulator(*arrays), causal=True, scale=0.5)
    with np.errstate(invalid="ignore"):
        expected, _ = flash_attention.forward(np, *arrays, causal=True, scale=0.5)
    np.testing.assert_allclose(host(y), expected, rtol=0, atol=BOUND)


def test_a_row_whose_scores_are_all_minus_infinity_answers_0_and_gets_no_gradient():
    q, k = np.full((1, 2, 1), 1e30, np.float32), np.full((1, 2, 1), -1e30, np.float32)
    (y, lse, *gs), _ = by_kernels(q, k, np.ones_like(q), np.ones_like(q), causal=False, scale=1.0)
    np.testing.assert_array_equal(y, 0.0)
    np.testing.assert_array_equal(lse, np.inf)
    for g in gs:
        np.testing.assert_array_equal(g, 0.0)


def test_heads_that_lie_side_by_side_are_read_where_they_lie_and_answered_so(rng):
    """As a Transformer has them: one product gives q, k and v of all heads, and joining the heads copies nothing."""
    packed = numbers(rng, 2, 33, 3 * 4 * 8)
    xp = EMULATOR.xp
    there = xp.asarray(packed)
    parts = [there[..., i : i + 32].reshape(2, 33, 4, 8).transpose(0, 2, 1, 3) for i in (0, 32, 64)]
    g = xp.broadcast_to(xp.ones((2, 4, 1, 8), xp.float32), (2, 4, 33, 8))  # of a sum: one number, everywhere
    how = {"causal": True, "scale": 8**-0.5}
    with recorded() as launches:
        y, lse = flash_attention(*parts, **how)
        grads = flash_attention_grad(g, *parts, y, lse, **how)
    assert len(launches) == 3
    for answer in (y, *grads):
        assert answer.transpose(0, 2, 1, 3).flags.c_contiguous
    heads = [part.reshape(2, 33, 4, 8).swapaxes(1, 2) for part in np.split(packed, 3, axis=-1)]
    true = exact(*heads, np.ones((2, 4, 33, 8)), causal=True, scale=8**-0.5)
    assert largest_error([a.get() for a in (y, lse, *grads)], true) <= BOUND


@pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
def test_any_number_of_batch_axes_will_do(rng, batch):
    arrays = drawn(rng, 7, 9, 4, 4, batch)
    got, _ = by_kernels(*arrays, causal=False, scale=0.5)
    assert [a.shape for a in got] == [(*batch, *size) for size in ((7, 4), (7, 1), (7, 4), (9, 4), (9, 4))]
    assert largest_error(got, exact(*arrays, causal=False, scale=0.5)) <= BOUND


def test_float16_is_read_and_answered_and_counted_in_float32(rng):
    arrays = [a.astype(np.float16) for a in drawn(rng, 33, 40, 20, 24)]
    got, _ = by_kernels(*arrays, causal=True, scale=0.25)
    true = exact(*arrays, causal=True, scale=0.25)
    assert [a.dtype for a in got] == [np.float16, np.float32, *[np.float16] * 3]
    assert abs(got[1] - true[1]).max() <= BOUND
    for a, b in zip(got, true, strict=True):
        assert abs(a - b).max() <= max(1.0, abs(b).max()) * 2.0**-11 + BOUND  # half of a unit in the last place


def test_a_second_derivative_is_that_of_the_cpu(rng):
    """The rule's own derivative goes through lse as well, which only then has a cotangent."""
    arrays = drawn(rng, 7, 5, 4, 3, (2,))
    u = numbers(rng, *arrays[0].shape)

    def second(q, k, v, g, u):
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        (gq,) = autograd.grad(y, [q], [g], create_graph=True)
        return autograd.grad((gq * u).sum(), [q, k, v, g])

    got = second(*on_emulator(*arrays, u))
    true = second(*(tg.tensor(a.astype(np.float64)).requires_grad_() for a in (*arrays, u)))
    for a, b in zip(got, true, strict=True):
        np.testing.assert_allclose(host(a), b.numpy(), rtol=0, atol=BOUND * max(1.0, abs(b.numpy()).max()))


def test_lse_has_a_gradient_of_its_own(rng):
    arrays = drawn(rng, 7, 5, 4, 3, (2,))[:3]
    gradients = []
    for leaves in (on_emulator(*arrays), [tg.tensor(a.astype(np.float64)).requires_grad_() for a in arrays]):
        flash_attention(*leaves, scale=0.5)[1].sum().backward()
        gradients.append([host(leaf.grad) for leaf in leaves])
    for a, b in zip(*gradients, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=BOUND)


# ---------------------------------------------------------------- how they do it


def launches_of(width, capability):
    """All launches for the ragged shapes of one width."""
    launches = []
    with emulating(capability):
        for n, m, d, e, causal in RAGGED[width]:
            arrays = drawn(np.random.default_rng(0), n, m, d, e, (1,))
            launches += by_kernels(*arrays, causal=causal, scale=d**-0.5)[1]
    return launches


@pytest.mark.parametrize(
    ("width", "capability"), [(32, (9, 0)), (32, (12, 0)), (64, (9, 0)), (64, (12, 0)), (128, (9, 0))]
)
def test_the_ragged_shapes_run_all_of_the_code_and_every_request_is_coalesced(width, capability):
    by_kernel = {}
    for one in launches_of(width, capability):
        assert one.counters.sectors_a_request <= 5.0
        by_kernel.setdefault(one.kernel.name, []).append(one.counters)
    assert len(by_kernel) == 3
    for counters in by_kernel.values():
        assert sum(counters[1:], counters[0]).coverage >= 0.95
        assert max(one.bank_ways for one in counters) <= 1.3


@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize("width", [32, 64])
def test_nothing_spills_and_nothing_is_float64(width, capability):
    try:
        toolkit.tool("ptxas")
    except toolkit.MissingToolkit as missing:
        pytest.skip(str(missing))
    for row in report.report(report.uses(launches_of(width, capability)[:3]), [capability]):
        assert (row.figures.spills, row.figures.stack, row.figures.f64) == (0, 0, 0), row
        assert row.occupancy.share >= 0.33, row


def mutated(text, pattern):
    """The text without one match of the pattern, for each."""
    return [text[: found.start()] + text[found.end() :] for found in re.finditer(pattern, text)]


@pytest.mark.parametrize("which", [0, 1, 2])
def test_every_barrier_that_is_left_out_is_missed(which):
    one = launches_of(32, (9, 0))[9 + which]  # 75 queries and 33 keys: several tiles of both
    assert one.grid[0] > 1
    texts = mutated(one.compiled.ptx, r"bar(rier)?\.sync[^;]*;")
    assert len(texts) >= 4
    for text in texts:
        given = [x._memory.copy() if hasattr(x, "_memory") else x for x in one.args]
        with pytest.raises(KernelFault, match="race"):
            run(Program.parse(text), one.grid, one.block, given)
