"""Small kernels that the tests of compiling, launching and reporting share; import it only where numba-cuda is."""

from tinygrad_ft.cuda.compile import cuda, device, float32, kernel, uint32


@kernel(version="plain", moves="reads x once, writes y once", why="the simplest there is")
def scaled(x, y, s, n):
    """y = s x, for the first n."""
    i = uint32(cuda.grid(1))
    if i < n:
        y[i] = x[i] * s


@device
def doubled(v):
    return v + v


def make_reversed(threads):
    """A kernel that turns each block's part of x around, by way of shared memory."""

    @kernel(version="shared", moves="reads x once, writes y once", why="both ends coalesced")
    def turned(x, y):
        part = cuda.shared.array(threads, float32)
        t = cuda.threadIdx.x
        start = cuda.blockIdx.x * threads
        part[t] = doubled(x[start + t])
        cuda.syncthreads()
        y[start + t] = part[threads - 1 - t]

    return turned


turned = make_reversed(64)


@kernel(version="dynamic", moves="reads x once, writes y once", why="as long as the launch says")
def mirrored(x, y):
    """y is x turned around, in one block, whose shared memory the launch gives."""
    part = cuda.shared.array(0, float32)
    t = cuda.threadIdx.x
    part[t] = x[t]
    cuda.syncthreads()
    y[t] = part[x.size - 1 - t]


@kernel(version="any layout", moves="reads x once, writes y once", why="takes x as it lies", strided=("x",))
def copied(x, y):
    """y = x for matrices, x strided or not."""
    row, column = cuda.blockIdx.x, cuda.threadIdx.x
    y[row, column] = x[row, column]
