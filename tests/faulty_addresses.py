"""Kernels that go where they must not in memory, each with its twin: `make(True)` and `make(False)`.

The line that must be named ends in "# fault". Import it only where numba-cuda is.
"""

import numpy as np

from tinygrad_ft.cuda.compile import cuda, float32, int32
from tinygrad_ft.cuda.intrinsics import ld4, st4

TABLE = np.arange(8, dtype=np.float32)


def one_past_the_end(faulty):
    def kernel(x, y):
        t = cuda.threadIdx.x
        y[t] = x[t + 1] if faulty or t + 1 < x.size else float32(0)  # fault

    return kernel


def bound_forgotten(faulty):
    def kernel(x, y):
        i = cuda.grid(1)
        if faulty or i < y.size:
            y[i] = float32(1)  # fault

    return kernel


def before_the_beginning(faulty):
    def kernel(x, y):
        t = cuda.threadIdx.x
        if t > 0 or faulty:
            y[t] = x[t - 1 - x.size]  # fault

    return kernel


def axes_swapped(faulty):
    def kernel(x, y):
        i, j = cuda.grid(2)
        if i < x.shape[0] and j < x.shape[1]:
            if faulty:
                y[i, j] = x[i, j]  # fault
            else:
                y[j, i] = x[i, j]

    return kernel


def atomic_past_the_end(faulty):
    def kernel(x, y):
        t = cuda.threadIdx.x
        cuda.atomic.add(y, t + (1 if faulty else 0), x[t])  # fault

    return kernel


def one_too_many_at_once(faulty):
    """Loads of 16 bytes, of which only the last one's end is outside."""

    def kernel(x, y):
        t = cuda.threadIdx.x
        a, b, c, d = ld4(x, 4 * t if faulty or 4 * t + 4 <= x.size else 0)  # fault
        y[t] = a + b + c + d

    return kernel


def shared_past_the_end(faulty):
    def kernel(x, y):
        s = cuda.shared.array(64, float32)
        t = cuda.threadIdx.x
        s[t + (1 if faulty else 0)] = x[t]  # fault
        cuda.syncthreads()
        y[t] = s[t]

    return kernel


def dynamic_shared_too_small(faulty):
    def kernel(x, y):
        s = cuda.shared.array(0, float32)
        t = cuda.threadIdx.x
        s[t] = x[t]  # fault
        cuda.syncthreads()
        y[t] = s[63 - t]

    return kernel


def shared_read_past_the_end(faulty):
    def kernel(x, y):
        s = cuda.shared.array(64, float32)
        t = cuda.threadIdx.x
        s[t] = x[t]
        cuda.syncthreads()
        y[t] = s[t + 1 if faulty else 63 - t]  # fault

    return kernel


def shared_atomic_past_the_end(faulty):
    def kernel(x, y):
        counts = cuda.shared.array(64, int32)
        t = cuda.threadIdx.x
        counts[t] = 0
        cuda.syncthreads()
        cuda.atomic.add(counts, 2 * t if faulty else t, 1)  # fault
        cuda.syncthreads()
        y[t] = float32(counts[t])

    return kernel


def local_past_the_end(faulty):
    def kernel(x, y):
        a = cuda.local.array(8, float32)
        t = cuda.threadIdx.x
        for k in range(8):
            a[k] = x[k]
        y[t] = a[(t if faulty else t % 8)]  # fault

    return kernel


def local_written_past_the_end(faulty):
    def kernel(x, y):
        a = cuda.local.array(8, float32)
        t = cuda.threadIdx.x
        for k in range(8):
            a[k] = x[k]
        a[(t if faulty else t % 8)] = float32(0)  # fault
        y[t] = a[(t + 1) % 8]

    return kernel


def constant_past_the_end(faulty):
    def kernel(x, y):
        table = cuda.const.array_like(TABLE)
        t = cuda.threadIdx.x
        y[t] = table[t if faulty else t % 8]  # fault

    return kernel


def shared_never_written(faulty):
    def kernel(x, y):
        s = cuda.shared.array(64, float32)
        t = cuda.threadIdx.x
        if t < 63 or not faulty:
            s[t] = x[t]
        cuda.syncthreads()
        y[t] = s[t]  # fault

    return kernel


def output_read_first(faulty):
    def kernel(x, y):
        t = cuda.threadIdx.x
        y[t] = x[t] + y[t] if faulty else x[t]  # fault

    return kernel


def crooked(faulty):
    def kernel(x, y):
        t = cuda.threadIdx.x
        y[t] = x[t]  # fault

    return kernel


def four_at_an_odd_place(faulty):
    def kernel(x, y):
        t = cuda.threadIdx.x
        st4(y, t if faulty else 4 * t, x[t], x[t], x[t], x[t])  # fault

    return kernel


def write_to_input(faulty):
    def kernel(x, y):
        t = cuda.threadIdx.x
        if faulty:
            x[t] = float32(0)  # fault
        y[t] = x[t]

    return kernel


def between_the_columns(faulty):
    def kernel(x, y):
        t = cuda.threadIdx.x
        y[t] = x[t, 4 if faulty else 3]  # fault

    return kernel
