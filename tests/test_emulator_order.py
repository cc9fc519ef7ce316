"""What orders two accesses and what does not: barriers, warps, fences with atomics, locks, flags, the last block."""

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="kernels compile by numba-cuda: pip install 'tinygrad-ft[emulator]'")

from ptx_text import entry

from tinygrad_ft.cuda import emulator
from tinygrad_ft.cuda.compile import cuda, float32, int32
from tinygrad_ft.cuda.emulator import KernelFault, Program, run
from tinygrad_ft.cuda.emulator.faults import ENDLESS, RACE

THREADS, BLOCKS = 64, 4
N = THREADS * BLOCKS


def in_a_warp(x, count, out):
    s = cuda.shared.array(THREADS, float32)
    t = cuda.threadIdx.x
    s[t] = x[t]
    cuda.syncwarp()
    out[cuda.grid(1)] = s[t ^ 1]


def across_warps(x, count, out):
    s = cuda.shared.array(THREADS, float32)
    t = cuda.threadIdx.x
    s[t] = x[t]
    cuda.syncwarp()
    out[cuda.grid(1)] = s[t ^ 32]


def shuffled(x, count, out):
    s = cuda.shared.array(THREADS, float32)
    t = cuda.threadIdx.x
    s[t] = x[t]
    out[cuda.grid(1)] = cuda.shfl_xor_sync(0xFFFFFFFF, t, 1) + s[t ^ 1]


def counted(x, count, out):
    s = cuda.shared.array(THREADS, float32)
    t = cuda.threadIdx.x
    s[t] = x[t]
    out[cuda.grid(1)] = cuda.syncthreads_count(int32(t > 3)) + s[THREADS - 1 - t]


def two_buffers(x, count, out):
    s = cuda.shared.array((2, THREADS), float32)
    t = cuda.threadIdx.x
    for n in range(4):
        s[n & 1, t] = x[t] + n
        cuda.syncthreads()
        out[cuda.grid(1)] += s[n & 1, THREADS - 1 - t]


def one_buffer(x, count, out):
    s = cuda.shared.array(THREADS, float32)
    t = cuda.threadIdx.x
    for n in range(4):
        s[t] = x[t] + n
        cuda.syncthreads()
        out[cuda.grid(1)] += s[THREADS - 1 - t]


def atomic_then_barrier(x, count, out):
    s = cuda.shared.array(1, int32)
    if cuda.threadIdx.x == 0:
        s[0] = 0
    cuda.syncthreads()
    cuda.atomic.add(s, 0, 1)
    cuda.syncthreads()
    out[cuda.grid(1)] = s[0]


def atomic_then_read(x, count, out):
    cuda.atomic.add(count, 0, 1)
    out[cuda.grid(1)] = count[0]


def same_value(x, count, out):
    out[0] = 1


def last_block(x, count, out):
    """Thread 0 sums what all blocks wrote, if its block is the last."""
    i = cuda.grid(1)
    out[i] = x[i]
    cuda.syncthreads()
    if cuda.threadIdx.x == 0:
        cuda.threadfence()
        if cuda.atomic.add(count, 0, 1) == cuda.gridDim.x - 1:
            total = float32(0)
            for k in range(N):
                total += out[k]
            x[0] = total


def last_block_all_fence(x, count, out):
    """All threads of the last block read, behind a barrier."""
    s = cuda.shared.array(1, int32)
    i, t = cuda.grid(1), cuda.threadIdx.x
    out[i] = x[i]
    cuda.threadfence()
    cuda.syncthreads()
    if t == 0:
        s[0] = cuda.atomic.add(count, 0, 1) == cuda.gridDim.x - 1
    cuda.syncthreads()
    if s[0]:
        for k in range(t, N, THREADS):
            x[k] = out[N - 1 - k]


def last_thread(x, count, out):
    i = cuda.grid(1)
    out[i] = x[i]
    cuda.threadfence()
    if cuda.atomic.add(count, 0, 1) == N - 1:
        for k in range(N):
            x[k] = out[k]


def last_block_without_fence(x, count, out):
    i = cuda.grid(1)
    out[i] = x[i]
    cuda.syncthreads()
    if cuda.threadIdx.x == 0 and cuda.atomic.add(count, 0, 1) == cuda.gridDim.x - 1:
        for k in range(N):
            x[k] = out[k]


def fence_ahead_of_the_others(x, count, out):
    """Thread 0 publishes, and no barrier says that the others have written."""
    i = cuda.grid(1)
    out[i] = x[i]
    if cuda.threadIdx.x == 0:
        cuda.threadfence()
        if cuda.atomic.add(count, 0, 1) == cuda.gridDim.x - 1:
            for k in range(N - THREADS):
                x[k] = out[k]


def others_of_the_block_do_not_wait(x, count, out):
    i = cuda.grid(1)
    out[i] = x[i]
    cuda.threadfence()
    cuda.syncthreads()
    if cuda.threadIdx.x == 0:
        cuda.atomic.add(count, 0, 1)
    x[i] = out[N - 1 - i]


def locked(x, count, out):
    waits = True
    while waits:
        if cuda.atomic.cas(count, 0, 0, 1) == 0:
            cuda.threadfence()
            out[0] += 1
            cuda.threadfence()
            cuda.atomic.exch(count, 0, 0)
            waits = False


def locked_twice(x, count, out):
    for _ in range(2):
        waits = True
        while waits:
            if cuda.atomic.cas(count, 0, 0, 1) == 0:
                cuda.threadfence()
                out[0] += 1
                cuda.threadfence()
                cuda.atomic.exch(count, 0, 0)
                waits = False


def locked_without_fence(x, count, out):
    waits = True
    while waits:
        if cuda.atomic.cas(count, 0, 0, 1) == 0:
            out[0] += 1
            cuda.atomic.exch(count, 0, 0)
            waits = False


def locked_by_blocks(x, count, out):
    t = cuda.threadIdx.x
    if t == 0:
        while cuda.atomic.cas(count, 0, 0, 1) != 0:
            pass
        cuda.threadfence()
    cuda.syncthreads()
    out[t] += 1
    cuda.threadfence()
    cuda.syncthreads()
    if t == 0:
        cuda.atomic.exch(count, 0, 0)


def flagged(x, count, out):
    i = cuda.grid(1)
    if i == 0:
        out[0] = 5
        cuda.threadfence()
        cuda.atomic.exch(count, 0, 1)
    elif i == N - 1:
        while cuda.atomic.add(count, 0, 0) == 0:
            pass
        out[1] = out[0]


ORDERED = (
    in_a_warp, counted, two_buffers, atomic_then_barrier, last_block, last_block_all_fence, last_thread, flagged,
)  # fmt: skip
UNORDERED = (
    across_warps, shuffled, one_buffer, atomic_then_read, same_value, last_block_without_fence,
    fence_ahead_of_the_others, others_of_the_block_do_not_wait, locked_without_fence,
)  # fmt: skip


def launched(kernel, blocks=BLOCKS, threads=THREADS):
    x, count, out = np.ones(N, np.float32), np.zeros(1, np.int32), np.zeros(N, np.float32)
    emulator.launch(kernel, blocks, threads, x, count, out)
    return out


@pytest.mark.parametrize("kernel", ORDERED, ids=lambda kernel: kernel.__name__)
def test_what_barriers_fences_and_atomics_order_is_no_race(kernel):
    launched(kernel)


@pytest.mark.parametrize(
    ("kernel", "total"), [(locked, 16), (locked_twice, 32), (locked_by_blocks, 2)], ids=["once", "twice", "by blocks"]
)
def test_a_lock_orders_what_is_done_under_it(kernel, total):
    assert launched(kernel, 2, 8)[0] == total


@pytest.mark.parametrize("kernel", UNORDERED, ids=lambda kernel: kernel.__name__)
def test_what_nothing_orders_is_a_race(kernel):
    with pytest.raises(KernelFault, match=r"^race") as caught:
        launched(kernel)
    assert caught.value.kind == RACE
    assert caught.value.source is not None


def test_a_race_between_threads_of_one_line_asks_for_an_atomic():
    with pytest.raises(KernelFault, match="or should it be an atomic"):
        launched(same_value)
    with pytest.raises(KernelFault) as caught:
        launched(one_buffer)
    assert "atomic" not in str(caught.value)


def test_a_block_that_waits_for_one_that_never_comes_is_endless_and_not_released():
    def waits(x, count, out):
        if cuda.threadIdx.x == 0:
            while cuda.atomic.add(count, 0, 0) == 0:
                pass
        cuda.syncthreads()

    with pytest.raises(KernelFault) as caught:
        emulator.launch(waits, 2, 64, np.ones(N), np.zeros(1, np.int32), np.ones(N), step_limit=100_000)
    assert caught.value.kind == ENDLESS


@pytest.mark.parametrize(("first", "kind"), [("st.global.u32 [%x], %t0;", RACE), ("", None)])
def test_a_load_past_the_coherent_caches_may_not_read_what_the_kernel_wrote(first, kind):
    body = f"""mad.wide.u32 %x, %t0, 4, %p0;
    {first}
    bar.sync 0;
    ld.global.nc.u32 %r0, [%x];
    st.global.u32 [%x], %r0;"""
    program = Program.parse(entry(body, 1, registers=".reg .b32 %r<1>; .reg .b64 %x;"))
    if kind is None:
        run(program, 1, 32, [np.zeros(32, np.uint32)])
        return
    with pytest.raises(KernelFault, match=r"a load with \.nc may read only what the kernel never writes") as caught:
        run(program, 1, 32, [np.zeros(32, np.uint32)])
    assert caught.value.kind == kind
    assert caught.value.thread == caught.value.other.thread == (0, 0, 0)


def test_a_block_passes_its_barrier_though_another_one_spins_until_it_has():
    body = """setp.eq.u32 %q, %block0, 0;
    @!%q bra spin;
    bar.sync 0;
    atom.global.exch.b32 %r0, [%p0], 1;
    bra done;
    spin:
    atom.global.add.u32 %r0, [%p0], 0;
    setp.eq.u32 %q, %r0, 0;
    @%q bra spin;
    done:"""
    flag = np.zeros(1, np.uint32)
    run(Program.parse(entry(body, 1, registers=".reg .pred %q; .reg .b32 %r<1>;")), 2, 32, [flag], step_limit=100_000)
    assert flag[0] == 1
