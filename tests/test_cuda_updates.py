"""An optimiser's step and the clipping of gradients on the emulator, against float64 on the CPU."""

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="CUDA kernels need numba-cuda: pip install 'tinygrad-ft[emulator]'")

from cuda_answers import CAPABILITIES, UNIT, assert_covered, assert_well_compiled, on_device, on_host, recorded, totals

from tinygrad_ft.cuda.compile import Kernel
from tinygrad_ft.cuda.emulator.faults import KernelFault
from tinygrad_ft.cuda.launch import emulating, launch
from tinygrad_ft.cuda.synchronisations import synchronisations
from tinygrad_ft.engine import OPS
from tinygrad_ft.kernels.cuda import adam_update, clip_to_length, grid

SHAPES = [(1000,), (), (3, 43), (1,), (20, 32)]
SGD = [
    (momentum, dampening, weight_decay, nesterov)
    for momentum, dampening, weight_decay, nesterov in [
        (0.9, 0.0, 0.0, False), (0.9, 0.0, 0.01, True), (0.9, 0.5, 0.0, False), (0.0, 0.0, 0.1, False),
    ]
]  # fmt: skip
ADAM = [(0, 0.0, False), (7, 0.1, True), (7, 0.1, False), (2000, 0.01, True)]


def drawn(shape, count, seed=0):
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.standard_normal(shape), np.float32) for _ in range(count)]


def assert_updated(name, arrays, numbers, params, roundings):
    """The op overwrites on the device what it overwrites in float64, up to so many roundings of what goes into it."""
    given = on_device(*arrays)
    wide = [a.astype(np.float64) if isinstance(a, np.ndarray) else a for a in arrays]
    size = 1.0 + max(np.max(np.abs(a)) for a in wide if a is not None)
    steps = [np.array(n) if isinstance(n, np.ndarray) else n for n in numbers]
    answer = OPS[name](*given, *numbers, **params)
    OPS[name].forward(np, *wide, *steps, **params)
    assert answer is given[0]
    for ours, theirs in zip((*given, *numbers), (*wide, *steps), strict=True):
        if ours is not None:
            assert np.max(np.abs(on_host(ours) - theirs)) <= roundings * UNIT * size


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_a_step_of_sgd_is_right_and_all_of_its_kernels_run(capability):
    with emulating(capability), recorded() as launches:
        for shape in SHAPES:
            for momentum, dampening, weight_decay, nesterov in SGD:
                p, g, m = drawn(shape, 3)
                options = {"momentum": momentum, "dampening": dampening, "weight_decay": weight_decay}
                arrays = (p, g, m if momentum else None)
                assert_updated("sgd_update", arrays, (0.1,), {**options, "nesterov": nesterov}, 8)
    assert len(launches) == len(SHAPES) * len(SGD)
    assert_covered(launches)
    assert_well_compiled(launches)
    assert totals(launches).keys() == {"sgd_plain", "sgd_momentum"}
    assert all(c.sectors_a_request <= 4.1 for c in totals(launches).values())


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_a_step_of_adam_is_right_counts_on_and_all_of_its_kernel_runs(capability):
    with emulating(capability), recorded() as launches:
        for shape in SHAPES:
            for step, weight_decay, decoupled in ADAM:
                p, g, m, v = drawn(shape, 4)
                options = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": weight_decay}
                count = np.array(step)
                # 1 - beta2 is a thousandth, so that the root of v is a hundredth and its quotient large
                arrays = (p, g, np.asarray(m * 0.1, np.float32), np.asarray(np.abs(v)))
                assert_updated("adam_update", arrays, (0.01, count), {**options, "decoupled": decoupled}, 8)
                assert count == step + 1
    assert len(launches) == len(SHAPES) * len(ADAM)
    assert_covered(launches)
    assert_well_compiled(launches)
    assert all(c.sectors_a_request <= 4.1 for c in totals(launches).values())


def test_a_step_with_a_wrong_sign_is_caught(monkeypatch):
    p, g, m, v = drawn((50,), 4)
    options = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.1, "decoupled": True}
    rate = adam_update.adam_step.arguments.index("rate")
    turned = lambda n, k, *a: grid.over(n, k, *a[:rate], -a[rate], *a[rate + 1 :])  # noqa: E731
    monkeypatch.setattr(adam_update, "over", turned)
    with pytest.raises(AssertionError):
        assert_updated("adam_update", (p, g, m, np.abs(v)), (0.01, np.array(3)), options, 8)


def test_arrays_that_are_not_contiguous_or_not_float32_keep_the_forward():
    p, g, m, v = drawn((6, 6), 4)
    adam, sgd = (OPS[name].kernels.by_device["cuda"][0].when for name in ("adam_update", "sgd_update"))
    count = np.array(1)
    assert adam(p, g, m, v, 0.1, count) and sgd(p, g, m, 0.1) and sgd(p, g, None, 0.1)
    assert not adam(p.T, g, m, v, 0.1, count)
    assert not adam(p, g[:3], m, v, 0.1, count)
    assert not adam(p.astype(np.float64), g, m, v, 0.1, count)
    assert not sgd(p[:0], g[:0], None, 0.1)
    assert not sgd(p, g, m.astype(np.float16), 0.1)


# --- clipping --------------------------------------------------------------------------------------------------------

CLIPPED = [[(3, 4), (5000,), (1,)], [(4096,)], [(2, 2)] * 20, [(0, 3), (7,)], [(600_000,)], [(2047,), (2049,)]]


def clipped(shapes, most, seed=0):
    """The length and the gradients that the device leaves, and those of float64."""
    rng = np.random.default_rng(seed)
    gs = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
    given, wide = on_device(*gs), [g.astype(np.float64) for g in gs]
    length = OPS["clip_to_length"](most, *given, norm_type=2.0)
    expected = OPS["clip_to_length"].forward(np, most, *wide, norm_type=2.0)
    assert (length.shape, length.dtype) == ((), np.float32)
    return float(on_host(length)), [on_host(g) for g in given], float(expected), wide


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_gradients_are_scaled_down_together_and_all_of_the_kernels_run(capability):
    with emulating(capability), recorded() as launches:
        for shapes in CLIPPED:
            for most in (0.5, 1e4):
                length, gs, expected, wide = clipped(shapes, most)
                # squares are added 64 in a row, then in a tree, then a few in a row again; a root halves the error
                assert abs(length - expected) <= 64 * UNIT * expected
                for g, w in zip(gs, wide, strict=True):
                    np.testing.assert_allclose(g, w, rtol=72 * UNIT)
    assert_covered(launches)
    assert_well_compiled(launches)
    assert totals(launches).keys() == {"squares_of_parts", "length_and_scale", "scale_down"}


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_gradient_that_is_no_number_spoils_all_as_on_the_cpu(bad):
    gs = drawn((40,), 2)
    gs[1][7] = bad
    given, copies = on_device(*gs), [g.copy() for g in gs]
    with np.errstate(all="ignore"):
        expected = OPS["clip_to_length"].forward(np, 1.0, *copies, norm_type=2.0)
    length = OPS["clip_to_length"](1.0, *given, norm_type=2.0)
    np.testing.assert_array_equal(on_host(length), expected)
    for g, copy in zip(given, copies, strict=True):
        np.testing.assert_array_equal(on_host(g), copy)


def test_a_block_that_does_not_wait_for_its_warps_is_reported():
    def hasty(sums, length):
        shared = clip_to_length.cuda.shared.array(8, clip_to_length.float32)
        t = clip_to_length.uint32(clip_to_length.cuda.threadIdx.x)
        if t % 32 == 0:
            shared[t // 32] = sums[t]
        if t == 0:
            length[0] = shared[0] + shared[7]

    sums, length = on_device(np.ones(256, np.float32), np.zeros(1, np.float32))
    with pytest.raises(KernelFault):
        launch(Kernel(hasty, version="", moves="", why=""), 1, 256, sums, length)


def test_neither_a_step_nor_clipping_waits_for_the_device_and_looking_at_the_length_does():
    p, g, m, v = on_device(*drawn((40,), 4))
    options = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.1, "decoupled": True}
    with synchronisations() as count:
        length = OPS["clip_to_length"](1.0, g, m, norm_type=2.0)
        OPS["adam_update"](p, g, m, v, 0.01, np.array(3), **options)
        OPS["sgd_update"](p, g, m, 0.01, momentum=0.9, dampening=0.0, weight_decay=0.1, nesterov=True)
        assert int(count) == 0 and not count.copies
        float(length)
        assert int(count) == 1


def test_another_norm_keeps_the_forward():
    (g,) = drawn((6,), 1)
    applies = OPS["clip_to_length"].kernels.by_device["cuda"][0].when
    assert applies(1.0, g, norm_type=2.0)
    assert not applies(1.0, g, norm_type=np.inf)
    assert not applies(1.0, norm_type=2.0)
    assert not applies(1.0, g.astype(np.float64), norm_type=2.0)
