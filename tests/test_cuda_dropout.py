"""Dropout on the emulator: its random numbers against the published ones, its masks, and their statistics."""

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="CUDA kernels need numba-cuda: pip install 'tinygrad-ft[emulator]'")

from cuda_answers import CAPABILITIES, UNIT, assert_covered, assert_well_compiled, on_device, on_host, recorded, totals
from references.nn import counted_dropout as by_the_book
from references.nn import philox as of_python

import tinygrad_ft as tg
from tinygrad_ft.cuda.compile import cuda, kernel, uint32
from tinygrad_ft.cuda.launch import emulating, launch
from tinygrad_ft.cuda.synchronisations import synchronisations
from tinygrad_ft.engine import OPS
from tinygrad_ft.kernels.cuda import dropout, grid
from tinygrad_ft.ops.random import philox as of_arrays

dropped = OPS["counted_dropout"]

# Random123's tests/kat_vectors, philox 4x32 10: counter, key, answer
KNOWN = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def words(text):
    return tuple(int(word, 16) for word in text.split())


@kernel(version="test", moves="", why="")
def drawn(y, low, high):
    """The four words of each counter."""
    i = uint32(cuda.grid(1))
    a, b, c, d = dropout.philox(i, low, high)
    y[i, 0], y[i, 1], y[i, 2], y[i, 3] = a, b, c, d


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN)
def test_the_reference_draws_the_published_numbers(counter, key, answer):
    assert of_python(words(counter), words(key)) == words(answer)


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_kernel_and_arrays_draw_the_published_number_and_what_the_reference_draws(capability):
    y = tg.device("emulator").xp.empty((64, 4), np.uint32)
    for key in [(0, 0), (0xFFFFFFFF, 0xFFFFFFFF), (0xA4093822, 0x299F31D0), (7, 5)]:
        with emulating(capability):
            launch(drawn, 1, 64, y, *map(np.uint32, key))
        expected = np.array([of_python((i, 0, 0, 0), key) for i in range(64)], np.uint32)
        np.testing.assert_array_equal(on_host(y), expected)
        counters = np.arange(64, dtype=np.uint64)
        np.testing.assert_array_equal(np.transpose(of_arrays(np, counters, key[0] + (key[1] << 32))), expected)
        if key == (0, 0):
            assert tuple(on_host(y)[0].tolist()) == words(KNOWN[0][2])


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_dropout_is_right_for_any_size_and_all_of_its_kernel_runs(capability):
    with emulating(capability), recorded() as launches:
        for shape in [(), (1,), (31,), (127,), (128,), (129,), (3, 5, 7), (20, 33)]:
            for p in (0.1, 0.5, 1.0):
                x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
                y = on_host(dropped(*on_device(x), (7 << 40) + 5, p=p))
                np.testing.assert_allclose(y, by_the_book(x, (7 << 40) + 5, p), rtol=2 * UNIT)
        dropped(*on_device(np.ones(40_000, np.float32)), 3, p=0.5)
    assert_covered(launches)
    assert_well_compiled(launches)
    assert totals(launches)["dropout_counted"].sectors_a_request <= 4.1


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_kept_are_as_many_as_chance_has_it_and_the_mean_stays(p):
    n = 100_000
    y = on_host(dropped(*on_device(np.ones(n, np.float32)), 1, p=p))
    kept = y != 0
    assert abs(kept.mean() - (1 - p)) < 4 * np.sqrt(
        p * (1 - p) / n
    )  # of normal chance once in 16,000; the seed is fixed
    assert abs(y.mean() - 1) < 4 * np.sqrt(p / (1 - p) / n)
    assert abs(y.var() - p / (1 - p)) < 0.05 * p / (1 - p)
    # neighbours, in the row and in the words of a counter, know nothing of each other
    for apart in (1, 2, 32, 128):
        together = np.corrcoef(kept[:-apart], kept[apart:])[0, 1]
        assert abs(together) < 4 / np.sqrt(n)


def test_numbers_do_not_depend_on_the_grid(monkeypatch):
    (x,) = on_device(np.ones(5000, np.float32))
    expected = on_host(dropped(x, 9, p=0.5))
    for threads, blocks in [(32, 1), (64, 3), (1024, 2)]:
        monkeypatch.setattr(grid, "THREADS", threads)
        monkeypatch.setattr(grid, "BLOCKS", blocks)
        with recorded() as launches:
            np.testing.assert_array_equal(on_host(dropped(x, 9, p=0.5)), expected)
        assert (launches[0].grid[0], launches[0].block[0]) == (blocks, threads)


def test_a_number_that_depends_on_the_thread_and_not_the_place_is_caught():
    x = np.ones(5000, np.float32)
    (given,) = on_device(x)
    expected, y = by_the_book(x, 9, 0.5), tg.device("emulator").xp.empty(5000, np.float32)

    def by_thread(x, y, low, high, least):
        t = uint32(cuda.threadIdx.x)
        for i in range(t, x.size, 64):
            y[i] = x[i] * dropout.float32(2) if dropout.philox(t, low, high)[0] >= least else dropout.float32(0)

    launch(kernel(version="", moves="", why="")(by_thread), 1, 64, given, y, *map(np.uint32, (9, 0, 1 << 31)))
    assert not np.array_equal(on_host(y), expected)


def test_forward_and_backward_keep_the_same_and_two_calls_do_not():
    x = tg.ones(300).to("emulator").requires_grad_()
    rng = np.random.default_rng(5)
    y, z = (tg.nn.functional.dropout(x, 0.4, rng=rng) for _ in range(2))
    kept = [a.detach().to("cpu").numpy() != 0 for a in (y, z)]
    assert not np.array_equal(*kept)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.to("cpu").numpy(), y.detach().to("cpu").numpy())


def test_a_mask_needs_no_numbers_of_the_host_but_the_seed_and_nobody_waits():
    x = tg.ones(300).to("emulator")
    with synchronisations() as count, recorded() as launches:
        tg.nn.functional.dropout(x, 0.5)
    assert int(count) == 0 and not count.copies and len(launches) == 1


def test_a_seed_gives_the_same_masks_again():
    x = tg.ones(300).to("emulator")
    masks = []
    for seed in (3, 3, 4):
        tg.manual_seed(seed)
        masks.append([tg.nn.functional.dropout(x, 0.5).to("cpu").numpy() for _ in range(2)])
    np.testing.assert_array_equal(masks[0], masks[1])
    assert not np.array_equal(masks[0], masks[2])


def test_what_the_kernel_does_not_take_keeps_the_forward_with_the_same_mask():
    applies = dropped.kernels.by_device["cuda"][0].when
    x = np.random.default_rng(0).standard_normal((20, 33)).astype(np.float32)
    assert applies(x, 3, p=0.5)
    assert not applies(x.T, 3, p=0.5) and not applies(x.astype(np.float16), 3, p=0.5) and not applies(x[:0], 3, p=0.5)
    (given,) = on_device(x)
    turned = on_host(dropped(given.T, 3, p=0.5))
    np.testing.assert_allclose(turned, by_the_book(np.ascontiguousarray(x.T), 3, 0.5), rtol=2 * UNIT)


def test_a_derivative_of_any_order_draws_the_same_numbers():
    x = tg.tensor(np.random.default_rng(0).standard_normal(200).astype(np.float32)).to("emulator").requires_grad_()
    y = dropped(x * x, 11, p=0.5)
    (first,) = tg.autograd.grad(y.sum(), [x], create_graph=True)
    (second,) = tg.autograd.grad(first.sum(), [x])
    mask = by_the_book(np.ones(200), 11, 0.5)
    np.testing.assert_allclose(second.to("cpu").numpy(), 2 * mask, rtol=4 * UNIT)
