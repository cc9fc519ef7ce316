"""Kernels as learners write them, by `cuda.jit` and with NumPy arrays: the right answer, or one message that helps."""

import linecache
import math
import warnings
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="kernels compile by numba-cuda: pip install 'tinygrad-ft[emulator]'")

from tinygrad_ft import tensor
from tinygrad_ft.cuda import emulator
from tinygrad_ft.cuda.compile import CompileError, cuda, float32, int32, uint64
from tinygrad_ft.cuda.emulator import KernelFault
from tinygrad_ft.cuda.emulator.faults import OUT_OF_BOUNDS, RACE

BOTH = pytest.mark.parametrize("capability", [(9, 0), (12, 0)], ids=["sm_90", "sm_120"])
RNG = np.random.default_rng(0)
TILE = 16
PADDED = TILE + 1
HERE = Path(__file__)


# Their kernels.


@cuda.jit
def axpy(a, x, y):
    for i in range(cuda.grid(1), x.shape[0], cuda.gridsize(1)):
        y[i] = a * x[i] + y[i]


@cuda.jit
def matmul(a, b, c):
    left = cuda.shared.array((TILE, TILE), float32)
    right = cuda.shared.array((TILE, TILE), float32)
    j, i = cuda.grid(2)
    x, y = cuda.threadIdx.x, cuda.threadIdx.y
    total = float32(0)
    for k in range(0, a.shape[1], TILE):
        left[y, x] = a[i, k + x] if i < a.shape[0] and k + x < a.shape[1] else 0
        right[y, x] = b[k + y, j] if k + y < b.shape[0] and j < b.shape[1] else 0
        cuda.syncthreads()
        for n in range(TILE):
            total += left[y, n] * right[n, x]
        cuda.syncthreads()
    if i < c.shape[0] and j < c.shape[1]:
        c[i, j] = total


@cuda.jit
def total(x, out):
    part = cuda.shared.array(128, float32)
    t, i = cuda.threadIdx.x, cuda.grid(1)
    part[t] = x[i] if i < x.size else 0
    cuda.syncthreads()
    half = cuda.blockDim.x // 2
    while half > 0:
        if t < half:
            part[t] += part[t + half]
        cuda.syncthreads()
        half //= 2
    if t == 0:
        cuda.atomic.add(out, 0, part[0])


@cuda.jit
def histogram(x, counts):
    part = cuda.shared.array(16, int32)
    t = cuda.threadIdx.x
    if t < 16:
        part[t] = 0
    cuda.syncthreads()
    for i in range(cuda.grid(1), x.size, cuda.gridsize(1)):
        cuda.atomic.add(part, x[i], 1)
    cuda.syncthreads()
    if t < 16:
        cuda.atomic.add(counts, t, part[t])


@cuda.jit
def prefix_sum(x, out):
    part = cuda.shared.array(0, float32)
    t = cuda.threadIdx.x
    part[t] = x[t]
    cuda.syncthreads()
    step = 1
    while step < x.size:
        before = part[t - step] if t >= step else float32(0)
        cuda.syncthreads()
        part[t] += before
        cuda.syncthreads()
        step *= 2
    out[t] = part[t]


@cuda.jit
def transposed(x, y):
    tile = cuda.shared.array((TILE, PADDED), float32)
    i, j = cuda.blockIdx.y * TILE + cuda.threadIdx.y, cuda.blockIdx.x * TILE + cuda.threadIdx.x
    if i < x.shape[0] and j < x.shape[1]:
        tile[cuda.threadIdx.y, cuda.threadIdx.x] = x[i, j]
    cuda.syncthreads()
    i, j = cuda.blockIdx.x * TILE + cuda.threadIdx.y, cuda.blockIdx.y * TILE + cuda.threadIdx.x
    if i < y.shape[0] and j < y.shape[1]:
        y[i, j] = tile[cuda.threadIdx.x, cuda.threadIdx.y]


@cuda.jit
def smoothed(u, v):
    i, j = cuda.grid(2)
    n, m = u.shape
    if 0 < i < n - 1 and 0 < j < m - 1:
        v[i, j] = 0.25 * (u[i - 1, j] + u[i + 1, j] + u[i, j - 1] + u[i, j + 1])


@cuda.jit(device=True)
def uniform(state):
    """The next state of a linear congruential generator, and a number from 0 to 1."""
    state = state * uint64(6364136223846793005) + uint64(1442695040888963407)
    return state, (state >> uint64(40)) / 16777216.0


@cuda.jit
def darts(hits, n, seed):
    i = cuda.grid(1)
    state = uint64(seed + i)
    count = 0
    for _ in range(n):
        state, x = uniform(state)
        state, y = uniform(state)
        if x * x + y * y <= 1:
            count += 1
    hits[i] = count


@cuda.jit
def choices(out):
    i = cuda.grid(1)
    k = i % 6
    if k == 0:
        out[i] = i // 2
    elif k == 1:
        out[i] = i**2
    elif k == 2:
        out[i] = -i
    elif k == 3:
        for n in range(i):
            if n == 5:
                break
            if n % 2:
                continue
            out[i] += n
    elif k == 4:
        out[i] = i % -7
    else:
        out[i] = min(i, 9)


def chosen(i):
    return [i // 2, i**2, -i, sum(n for n in range(min(i, 5)) if not n % 2), i % -7, min(i, 9)][i % 6]


def hits(n, seed):
    state, count = seed, 0
    for _ in range(n):
        x, y = ((state := (state * 6364136223846793005 + 1442695040888963407) % 2**64) >> 40 for _ in "xy")
        count += (x / 2**24) ** 2 + (y / 2**24) ** 2 <= 1
    return count


@BOTH
def test_a_grid_stride_loop_takes_a_python_float_for_float64_as_numba_does(capability):
    x, y = RNG.random((2, 300))
    want = 0.1 * x + y
    emulator.launch(axpy, 2, 64, 0.1, x, y, capability=capability)
    assert np.allclose(y, want, rtol=1e-15)


@BOTH
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_tiled_matmul_of_any_shape_and_layout(order, capability):
    a, b = RNG.random((20, 37)).astype(np.float32, order=order), RNG.random((37, 30)).astype(np.float32, order=order)
    c = np.zeros((20, 30), np.float32)
    emulator.launch(matmul, (2, 2), (TILE, TILE), a, b, c, capability=capability)
    assert np.allclose(c, a @ b, rtol=1e-5)


@BOTH
def test_a_sum_a_histogram_and_a_prefix_sum(capability):
    x, out = RNG.random(1000).astype(np.float32), np.zeros(1, np.float32)
    emulator.launch(total, 8, 128, x, out, capability=capability)
    assert np.isclose(out[0], x.sum(), rtol=1e-5)
    kinds, counts = RNG.integers(0, 16, 1000).astype(np.uint8), np.zeros(16, np.int64)
    emulator.launch(histogram, 4, 64, kinds, counts, capability=capability)
    assert np.array_equal(counts, np.bincount(kinds, minlength=16))
    sums = np.zeros(128, np.float32)
    emulator.launch(prefix_sum, 1, 128, x[:128], sums, shared=512, capability=capability)
    assert np.allclose(sums, x[:128].cumsum(), rtol=1e-5)


@BOTH
def test_a_transpose_a_stencil_and_a_chain_of_choices(capability):
    x = RNG.random((40, 25)).astype(np.float32)
    y = np.zeros((25, 40), np.float32)
    emulator.launch(transposed, (2, 3), (TILE, TILE), x, y, capability=capability)
    assert np.array_equal(y, x.T)
    u = RNG.random((20, 33))
    v, want = u.copy(), u.copy()
    want[1:-1, 1:-1] = 0.25 * (u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:])
    emulator.launch(smoothed, (2, 3), (16, 16), u, v, capability=capability)
    assert np.allclose(v, want, rtol=1e-15)
    out = np.zeros(64, np.int64)
    emulator.launch(choices, 2, 32, out, capability=capability)
    assert out.tolist() == [chosen(i) for i in range(64)]


@BOTH
def test_a_function_of_ones_own_is_called_and_throws_darts_as_python_does(capability):
    found = np.zeros(64, np.int64)
    emulator.launch(darts, 2, 32, found, 50, 42, capability=capability)
    assert found.tolist() == [hits(50, 42 + i) for i in range(64)]


# Their mistakes.

X = np.arange(100, dtype=np.float32)


@cuda.jit
def doubled(x, y):
    i = cuda.grid(1)
    y[i] = 2 * x[i]  # no bound


@cuda.jit
def reversed_(x, y):
    part = cuda.shared.array(64, float32)
    t = cuda.threadIdx.x
    part[t] = x[t]
    y[t] = part[63 - t]  # no barrier


@cuda.jit
def summed(x, y):
    y[0] += x[cuda.grid(1)]  # no atomic


@cuda.jit
def in_open_shared_memory(x, y):
    part = cuda.shared.array(0, float32)
    part[cuda.threadIdx.x] = x[0]  # no size


@cuda.jit
def in_too_much_shared_memory(x, y):
    part = cuda.shared.array(13_000, float32)
    part[cuda.threadIdx.x] = x[0]
    y[0] = part[cuda.threadIdx.x]


def line(mark):
    return next(n for n, text in enumerate(HERE.read_text().splitlines(), 1) if text.endswith(f"# {mark}"))


@pytest.mark.parametrize(
    ("kernel", "blocks", "mark", "kind", "thread", "words"),
    [
        (
            doubled,
            2,
            "no bound",
            OUT_OF_BOUNDS,
            (36, 0, 0),
            r"element 100, of x \(shape \(100,\), float32\) past its end",
        ),
        (reversed_, 1, "no barrier", RACE, (0, 0, 0), r"is a syncthreads\(\) missing\?"),
        (summed, 1, "no atomic", RACE, (0, 0, 0), "or should it be an atomic"),
        (in_open_shared_memory, 1, "no size", OUT_OF_BOUNDS, (0, 0, 0), "of a size that the launch gives: shared="),
    ],
    ids=["no bound", "no barrier", "no atomic", "no size"],
)
def test_a_mistake_is_told_with_thread_and_line(kernel, blocks, mark, kind, thread, words):
    with pytest.raises(KernelFault, match=words) as caught:
        emulator.launch(kernel, blocks, 64, X, np.zeros_like(X))
    assert (caught.value.kind, caught.value.thread) == (kind, thread)
    assert caught.value.source.line == line(mark)


@pytest.mark.parametrize(
    ("grid", "block", "given", "error", "words"),
    [
        (100 / 64, 64, (X, X), TypeError, r"a grid of 1\.5625; it takes one to three whole numbers"),
        (2, 64.0, (X, X), TypeError, r"a block of 64\.0; it takes one to three whole numbers"),
        (2, "64", (X, X), TypeError, "a block of '64'; it takes"),
        (None, 64, (X, X), TypeError, "a grid of None; it takes"),
        ((1, 70_000), 64, (X, X), ValueError, r"a grid of \(1, 70000, 1\) blocks; it has at most \(2147483647, 65535"),
        (2, 64, (X,), TypeError, r"takes 2 arguments \(x, y\), not 1"),
        (2, 64, (X, [1.0, 2.0]), TypeError, "argument y: .* not list"),
        (2, 64, (X, 3.0), CompileError, r"getitem|setitem"),
        (2, 64, (X, X.astype(complex)), TypeError, "argument y: .* not complex128"),
        (2, 64, (X, X.astype(">f4")), TypeError, "argument y: .* not >f4"),
        (2, 64, (X, tensor(X)), TypeError, r"argument y: emulator.launch takes NumPy arrays, not tinygrad_ft\."),
    ],
)
def test_a_wrong_launch_is_one_message(grid, block, given, error, words):
    with pytest.raises(error, match=words) as caught:
        emulator.launch(doubled, grid, block, *given)
    assert "doubled" in str(caught.value)


def test_more_shared_memory_than_a_kernel_may_state_is_refused_though_the_launch_may_give_it():
    with pytest.raises(ValueError, match="52000 bytes of shared memory of a stated size, of which a block has at most"):
        emulator.launch(in_too_much_shared_memory, 1, 32, X, X)
    emulator.launch(prefix_sum, 1, 100, X, np.zeros_like(X), shared=52_000)


def test_a_kernel_with_its_sizes_is_not_a_kernel():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        configured = doubled[1, 32]
    with pytest.raises(TypeError, match=r"launch\(kernel, grid, block, ...\) takes a kernel or a function, not"):
        emulator.launch(configured, 1, 32, X, X)


def test_neither_a_lambda_nor_wrong_bytes_nor_a_gpu_that_is_too_old_passes():
    with pytest.raises(TypeError, match="not a lambda: write it with def"):
        emulator.launch(lambda x: None, 1, 1, X)
    with pytest.raises(ValueError, match="a number of bytes, not -4"):
        emulator.launch(prefix_sum, 1, 1, X, X, shared=-4)
    with pytest.raises(ValueError, match=r"capability 3\.5 is too old"):
        emulator.launch(prefix_sum, 1, 1, X, X, capability=(3, 5))


def test_a_fault_in_what_was_typed_shows_the_line():
    text = "def typed(x):\n    i = cuda.grid(1)\n    x[i + 1] = 1\n"
    name = "<ipython-input-3>"
    linecache.cache[name] = len(text), None, text.splitlines(keepends=True), name
    names = {"cuda": cuda}
    exec(compile(text, name, "exec"), names)
    with pytest.raises(KernelFault, match=r"at <ipython-input-3>:3: x\[i \+ 1\] = 1\n"):
        emulator.launch(names["typed"], 1, X.size, X.copy())


def test_numbers_given_as_numpys_have_the_width_that_they_have():
    y = np.zeros(1)

    def third(v, y):
        y[0] = v / 3

    emulator.launch(third, 1, 1, np.float32(0.1), y)
    assert y[0] == pytest.approx(float(np.float32(0.1)) / 3, rel=1e-15)
    emulator.launch(third, 1, 1, 0.1, y)
    assert y[0] == 0.1 / 3
    assert not math.isclose(float(np.float32(0.1)) / 3, 0.1 / 3, rel_tol=1e-12)
