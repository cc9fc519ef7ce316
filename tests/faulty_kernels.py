"""Kernels whose threads do not wait for each other as they must, each with its twin: `make(True)` and `make(False)`.

The line that must be named ends in "# fault". Import it only where numba-cuda is.
"""

from tinygrad_ft.cuda.compile import cuda, float32, int32, uint32

FULL = 0xFFFFFFFF


def barrier_missing(faulty):
    def kernel(x, y):
        s = cuda.shared.array(64, float32)
        t = cuda.threadIdx.x
        s[t] = x[t]
        if not faulty:
            cuda.syncthreads()
        y[t] = s[63 - t]  # fault

    return kernel


def second_barrier_missing(faulty):
    def kernel(x, y):
        s = cuda.shared.array(64, float32)
        t = cuda.threadIdx.x
        total = float32(0)
        for start in range(0, x.size, 64):
            s[t] = x[start + t]  # fault
            cuda.syncthreads()
            total += s[63 - t]
            if not faulty:
                cuda.syncthreads()
        y[t] = total

    return kernel


def one_cell_for_two(faulty):
    def kernel(x, y):
        s = cuda.shared.array(64, float32)
        t = cuda.threadIdx.x
        s[t // 2 if faulty else t] = x[t]  # fault
        cuda.syncthreads()
        y[t] = s[t // 2]

    return kernel


def warp_barrier_missing(faulty):
    def kernel(x, y):
        s = cuda.shared.array(32, float32)
        t = cuda.threadIdx.x
        s[t] = x[t]
        if not faulty:
            cuda.syncwarp()
        y[t] = s[31 - t]  # fault

    return kernel


def warp_barrier_for_a_block(faulty):
    def kernel(x, y):
        s = cuda.shared.array(64, float32)
        t = cuda.threadIdx.x
        s[t] = x[t]
        if faulty:
            cuda.syncwarp()
        else:
            cuda.syncthreads()
        y[t] = s[t ^ 32]  # fault

    return kernel


def barriers_in_two_branches(faulty):
    def kernel(x, y):
        t = cuda.threadIdx.x
        if not faulty:
            cuda.syncthreads()
        elif t < 16:
            y[t] = float32(2)
            cuda.syncthreads()
        else:
            cuda.syncthreads()  # fault
            y[t] = float32(1)

    return kernel


def barrier_after_return(faulty):
    def kernel(x, y):
        t = cuda.threadIdx.x
        if t >= 20 and faulty:
            return
        cuda.syncthreads()  # fault
        y[t] = x[t]

    return kernel


def barrier_for_one_warp(faulty):
    def kernel(x, y):
        t = cuda.threadIdx.x
        if t < 32 or not faulty:
            cuda.syncthreads()  # fault
        y[t] = x[t]

    return kernel


def sum_without_atomic(faulty):
    def kernel(x, y):
        t = cuda.threadIdx.x
        if faulty:
            y[0] += x[t]  # fault
        else:
            cuda.atomic.add(y, 0, x[t])

    return kernel


def blocks_write_one_cell(faulty):
    def kernel(x, y):
        i = cuda.grid(1)
        y[i % 64 if faulty else i] = x[i % 64]  # fault

    return kernel


def block_reads_of_another(faulty):
    def kernel(x, y):
        i = cuda.grid(1)
        y[i] = x[i % 64]
        cuda.syncthreads()
        y[i] = y[(i + 1) % y.size] if faulty else y[i]  # fault

    return kernel


def block_overwrites_what_another_reads(faulty):
    def kernel(x, y):
        i = cuda.grid(1)
        v = y[(i + 64) % y.size] if faulty else y[i]
        cuda.syncthreads()
        y[i] = v  # fault

    return kernel


def atomic_and_plain(faulty):
    def kernel(x, y):
        t = cuda.threadIdx.x
        cuda.atomic.add(y, 0, x[t])
        if not faulty:
            cuda.syncthreads()
        if t == 63:
            y[1] = y[0]  # fault

    return kernel


def shared_atomic_and_plain(faulty):
    def kernel(x, y):
        s = cuda.shared.array(1, int32)
        t = cuda.threadIdx.x
        if t == 0:
            s[0] = 0
        if not faulty:
            cuda.syncthreads()
        cuda.atomic.add(s, 0, 1)  # fault
        cuda.syncthreads()
        y[t] = float32(s[0])

    return kernel


def fence_missing(faulty):
    """The last block to finish adds up what the others wrote."""

    def kernel(x, y, counter):
        b = cuda.blockIdx.x
        y[b + 1] = x[b]
        if not faulty:
            cuda.threadfence()
        if cuda.atomic.add(counter, 0, uint32(1)) == cuda.gridDim.x - 1:
            total = float32(0)
            for k in range(cuda.gridDim.x):
                total += y[k + 1]  # fault
            y[0] = total

    return kernel


def shuffle_of_a_part(faulty):
    def kernel(x, y):
        t = cuda.threadIdx.x
        if t < 20 or not faulty:
            y[t] = cuda.shfl_xor_sync(FULL, x[t], 1)  # fault

    return kernel


def shuffle_from_nobody(faulty):
    def kernel(x, y):
        t = cuda.threadIdx.x
        y[t] = cuda.shfl_xor_sync(FULL, x[t], 16 if faulty else 1)  # fault

    return kernel


def vote_of_a_part(faulty):
    def kernel(x, y):
        t = cuda.threadIdx.x
        if t % 2 == 0 or not faulty:
            y[t] = float32(cuda.ballot_sync(FULL, x[t] > 3))  # fault

    return kernel


def mask_without_itself(faulty):
    def kernel(x, y):
        t = cuda.threadIdx.x
        y[t] = cuda.shfl_sync(0xFFFF if faulty else FULL, x[t], 0)  # fault

    return kernel


def warp_barrier_of_a_part(faulty):
    def kernel(x, y):
        t = cuda.threadIdx.x
        if t < 8 or not faulty:
            cuda.syncwarp()  # fault
            y[t] = x[t]

    return kernel


def endless(faulty):
    def kernel(x, y):
        t = cuda.threadIdx.x
        n = 0
        while x[t] >= float32(0):
            n += 1
            if n > 100 and not faulty:
                break  # fault
        y[t] = float32(n)

    return kernel


def row_of_another(faulty):
    """Aliases: y is the row of x behind the one that is read."""

    def kernel(x, y):
        t = cuda.threadIdx.x
        v = x[t]
        if not faulty:
            cuda.syncthreads()
        y[t] = v + float32(1)  # fault

    return kernel


def shuffle_from_outside_the_mask(faulty):
    def kernel(x, y):
        t = cuda.threadIdx.x
        if t < 16:
            y[t] = cuda.shfl_sync(0xFFFF, x[t], 20 if faulty else 3)  # fault

    return kernel


def count_at_a_barrier_of_a_part(faulty):
    def kernel(x, y):
        t = cuda.threadIdx.x
        if t < 40 or not faulty:
            y[t] = float32(cuda.syncthreads_count(int32(x[t] > 3)))  # fault

    return kernel


def two_warps_write_one_cell(faulty):
    def kernel(x, y):
        s = cuda.shared.array(64, float32)
        t = cuda.threadIdx.x
        s[t % 32 if faulty else t] = x[t]  # fault
        cuda.syncthreads()
        y[t] = s[t % 32]

    return kernel


def threads_write_one_cell(faulty):
    def kernel(x, y):
        t = cuda.threadIdx.x
        y[t // 2 if faulty else t] = x[t]  # fault

    return kernel
