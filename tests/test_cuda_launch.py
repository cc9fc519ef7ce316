"""Launching: the flat arguments, what a GPU is started with (a double of CuPy notes it), and what is refused."""

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="launching kernels needs numba-cuda: pip install 'tinygrad-ft[emulator]'")

from cuda_kernels import copied, mirrored, scaled, turned

import tinygrad_ft as tg
from tinygrad_ft.cuda import compile as compiling
from tinygrad_ft.cuda import gpu
from tinygrad_ft.cuda.abi import flat
from tinygrad_ft.cuda.cards import LIMITS
from tinygrad_ft.cuda.compile import CompileError, Kernel
from tinygrad_ft.cuda.launch import emulating, launch, recorded
from tinygrad_ft.device import DEVICES, Device


class OnGpu:
    """What a launch looks at in a cupy.ndarray, over NumPy's memory."""

    def __init__(self, array, gpu=0):
        self.host, self.device = array, SimpleNamespace(id=gpu)
        self.data = SimpleNamespace(ptr=array.ctypes.data)

    def __getattr__(self, name):
        return getattr(self.host, name)


class Elsewhere(OnGpu):
    """An array of a second device."""


class CUDADriverError(RuntimeError):
    """As CuPy's."""


class Cupy:
    """A double of the module cupy, which notes what it was asked to load and to start."""

    def __init__(self, capability="90", current=0, stream=0):
        self.loaded, self.started, self.devices = [], [], [capability]
        self.current, self.stream, self.refuses = current, stream, False
        self.cuda = SimpleNamespace(
            Device=lambda: SimpleNamespace(id=self.current, compute_capability=self.devices[self.current]),
            get_current_stream=lambda: SimpleNamespace(ptr=self.stream),
            driver=SimpleNamespace(CUDADriverError=CUDADriverError),
        )

    def RawModule(self, *, path):
        self.loaded.append(path)
        return SimpleNamespace(get_function=lambda name: Function(self, path, name))


class Function:
    """What get_function answers."""

    def __init__(self, cupy, path, name):
        if cupy.refuses:
            raise CUDADriverError("CUDA_ERROR_UNSUPPORTED_PTX_VERSION")
        self.cupy, self.path, self.name = cupy, path, name

    def __call__(self, grid, block, args, *, shared_mem=0):
        self.cupy.started.append(
            SimpleNamespace(
                name=self.name,
                path=self.path,
                grid=grid,
                block=block,
                args=args,
                shared=shared_mem,
                stream=self.cupy.stream,
                allowed=getattr(self, "max_dynamic_shared_size_bytes", None),
            )
        )


@pytest.fixture
def cupy(monkeypatch):
    double = Cupy()
    monkeypatch.setitem(DEVICES, OnGpu, Device("cuda", double, "none"))
    monkeypatch.setattr(gpu, "_functions", {})
    monkeypatch.setattr(gpu, "_capabilities", {})
    return double


def vector(n=8, dtype=np.float32):
    return OnGpu(np.arange(n).astype(dtype))


# The flat arguments


def test_an_array_is_two_nulls_its_sizes_its_address_its_shape_and_its_strides():
    x = np.zeros((2, 3, 4), np.float32)
    words = flat([x], lambda array: 0x7F00_0000_0000)
    assert [int(word) for word in words] == [0, 0, 24, 4, 0x7F00_0000_0000, 2, 3, 4, 48, 16, 4]
    assert {word.itemsize for word in words} == {8}


def test_a_view_keeps_its_strides_and_an_array_without_axes_has_none():
    x = np.zeros((2, 3), np.float32)
    assert [int(word) for word in flat([x.T], lambda array: 16)][5:] == [3, 2, 4, 12]
    assert [int(word) for word in flat([np.zeros((), np.float16)], lambda array: 16)] == [0, 0, 1, 2, 16]


@pytest.mark.parametrize(
    ("given", "kind", "bits"),
    [
        (True, np.bool_, 1),
        (np.True_, np.bool_, 1),
        (-3, np.int64, 8),
        (0.5, np.float32, 4),
        (np.int32(7), np.int32, 4),
        (np.float16(0.5), np.float16, 2),
        (np.float64(0.5), np.float64, 8),
        (np.uint8(200), np.uint8, 1),
    ],
)
def test_a_scalar_has_the_width_that_its_kernel_is_compiled_for(given, kind, bits):
    (word,) = flat([given], lambda array: 0)
    assert type(word) is kind and word == given and word.itemsize == bits


def test_an_integer_beyond_64_bits_and_what_is_no_number_are_refused():
    with pytest.raises(OverflowError, match="64 bits, too few for 9223372036854775808"):
        flat([2**63], lambda array: 0)
    for given in ("1", None, [1.0], 1j, np.complex64(1)):
        with pytest.raises(TypeError, match="arrays of its device and numbers"):
            flat([given], lambda array: 0)


def test_an_array_of_the_real_cupy_is_flattened_without_a_driver():
    real = pytest.importorskip("cupy", reason="needs CuPy: pip install 'tinygrad-ft[gpu-check]'")
    memory = real.cuda.UnownedMemory(0x7F00_0000_0000, 1 << 20, None, 0)
    x = real.ndarray((2, 3), np.float32, real.cuda.MemoryPointer(memory, 256))
    words = flat([x], gpu._address)
    assert [int(word) for word in words] == [0, 0, 6, 4, 0x7F00_0000_0100, 2, 3, 12, 4]


def test_the_real_cupy_has_what_the_double_has():
    real = pytest.importorskip("cupy", reason="needs CuPy: pip install 'tinygrad-ft[gpu-check]'")
    real.RawModule(path="kernel.ptx")
    with pytest.raises(TypeError):
        real.RawModule(file="kernel.ptx")
    assert issubclass(real.cuda.driver.CUDADriverError, RuntimeError)
    for owner, name in [
        (real.RawModule, "get_function"),
        (real.RawKernel, "max_dynamic_shared_size_bytes"),
        (real.cuda, "get_current_stream"),
        (real.cuda.Device, "compute_capability"),
        (real.ndarray, "device"),
    ]:
        assert hasattr(owner, name)


# On a GPU


def test_a_kernel_is_started_with_the_flat_arguments_that_its_ptx_asks_for(cupy):
    x, y = vector(), vector()
    cupy.stream = 0xABC
    launch(scaled, (2, 1), 4, x, y, 2.5, 8, shared=64)
    (started,) = cupy.started
    assert (started.name, started.grid, started.block, started.shared) == ("scaled", (2, 1, 1), (4, 1, 1), 64)
    assert started.stream == 0xABC
    assert started.args == tuple(flat((x, y, 2.5, 8), lambda array: array.host.ctypes.data))
    assert [type(word) for word in started.args[-2:]] == [np.float32, np.int64]
    compiled = scaled.ptx(scaled.signature(x, y, 2.5, 8), (9, 0))
    assert started.path == str(compiled.path) and ".entry scaled(" in compiled.path.read_text()
    assert compiled.parameters == tuple(word.itemsize for word in started.args)


def test_a_module_is_loaded_once_a_signature_however_often_it_is_started(cupy):
    for _ in range(3):
        launch(turned, 1, 64, vector(64), vector(64))
    launch(turned, 1, 64, vector(64, np.int32), vector(64))
    assert len(cupy.loaded) == 2 and len(cupy.started) == 4


@pytest.mark.parametrize(
    ("given", "target"), [("75", "sm_75"), ("87", "sm_86"), ("90", "sm_90"), ("103", "sm_100"), ("121", "sm_120")]
)
def test_the_ptx_is_for_the_capability_of_the_current_device_or_the_newest_below_it(cupy, given, target):
    cupy.devices = [given]
    launch(turned, 1, 64, vector(64), vector(64))
    with open(cupy.loaded[0], encoding="utf-8") as file:
        assert f".target {target}\n" in file.read()


def test_each_device_has_code_of_its_own_capability(cupy):
    cupy.devices = ["80", "120"]
    launch(turned, 1, 64, vector(64), vector(64))
    cupy.current = 1
    launch(turned, 1, 64, OnGpu(np.zeros(64, np.float32), 1), OnGpu(np.zeros(64, np.float32), 1))
    assert len(set(cupy.loaded)) == 2


def test_a_device_that_is_too_old_is_refused(cupy):
    cupy.devices = ["70"]
    with pytest.raises(ValueError, match=r"compute capability 7\.0 is too old: 7\.5"):
        launch(turned, 1, 64, vector(64), vector(64))


def test_more_shared_memory_than_every_device_gives_is_asked_for(cupy):
    launch(mirrored, 1, 8, vector(), vector(), shared=48 * 1024)
    launch(mirrored, 1, 8, vector(), vector(), shared=48 * 1024 + 4)
    assert [started.allowed for started in cupy.started] == [None, 48 * 1024 + 4]


def test_arrays_on_another_gpu_than_the_current_one_are_refused(cupy):
    cupy.devices = ["90", "90"]
    with pytest.raises(ValueError, match=r"kernel turned: y is on GPU 1, and the current one is GPU 0; .*Device\(1\)"):
        launch(turned, 1, 64, vector(64), OnGpu(np.zeros(64, np.float32), 1))
    assert cupy.started == []


class Numba:
    """A double of numba.cuda, which notes how its own launch is asked for, and whether it would wait for a stream."""

    def __init__(self, compile_ptx):
        self.compile_ptx, self.started = compile_ptx, []

    def external_stream(self, pointer):
        return "stream", pointer

    def jit(self, function, **options):
        from numba.cuda.core import config

        class Configured:
            def __getitem__(inner, configuration):
                def start(*arguments):
                    self.started.append((function, options, configuration, arguments, config.CUDA_ARRAY_INTERFACE_SYNC))

                return start

        return Configured()


def test_a_driver_that_refuses_the_ptx_is_served_by_numba_on_the_same_stream_without_waiting(cupy, monkeypatch):
    from numba.cuda.core import config

    double = Numba(compiling.cuda.compile_ptx)
    monkeypatch.setattr(compiling, "cuda", double)
    cupy.refuses, cupy.stream = True, 0xABC
    kernel = Kernel(scaled.function, version="test", moves="", why="", registers=32, fastmath=True)
    x, y = vector(), vector()
    with pytest.warns(RuntimeWarning, match="does not load the PTX of kernel scaled .*UNSUPPORTED_PTX_VERSION.*Numba"):
        launch(kernel, 2, 4, x, y, 2.5, 8, shared=16)
    launch(kernel, 2, 4, x, y, 2.5, 8)  # the warning comes once, and the driver is asked once
    assert len(cupy.loaded) == 1 and cupy.started == []
    function, options, configuration, arguments, waits = double.started[0]
    assert function is scaled.function and options == {"fastmath": True, "max_registers": 32}
    assert configuration == ((2, 1, 1), (4, 1, 1), ("stream", 0xABC), 16)
    assert arguments == (x, y, np.float32(2.5), np.int64(8)) and type(arguments[2]) is np.float32
    assert waits == 0 and config.CUDA_ARRAY_INTERFACE_SYNC == 1


# The log


def test_a_log_holds_the_launches_of_its_context_and_logs_can_be_nested(cupy):
    x, y = vector(64), vector(64)
    launch(turned, 1, 64, x, y)
    with recorded() as outer:
        launch(turned, 1, 64, x, y)
        with recorded() as inner:
            launch(scaled, 2, 4, x, y, 2.0, 8, shared=32)
    launch(turned, 1, 64, x, y)
    assert [noted.kernel.name for noted in outer] == ["turned", "scaled"]
    (noted,) = inner
    assert noted.kernel is scaled and noted.compiled.name == "scaled"
    assert (noted.grid, noted.block, noted.shared) == ((2, 1, 1), (4, 1, 1), 32)
    assert noted.args[0] is x and noted.args[2:] == (2.0, 8) and noted.counters is None


def test_a_launch_that_is_refused_is_not_in_the_log(cupy):
    with recorded() as log, pytest.raises(ValueError, match="no blocks"):
        launch(turned, 0, 64, vector(64), vector(64))
    assert log == []


# What is refused


@pytest.mark.parametrize(
    ("grid", "block", "kind", "said"),
    [
        (0, 64, ValueError, r"a grid of \(0, 1, 1\) has no blocks"),
        ((2, -1), 64, ValueError, "has no blocks"),
        (2**31, 64, ValueError, "too large"),
        ((1, 65536), 64, ValueError, r"\(1, 65536, 1\) blocks is too large: at most \(2147483647, 65535, 65535\)"),
        ((1, 1, 65536), 64, ValueError, "too large"),
        ((1, 1, 1, 1), 64, TypeError, "the grid is a number or a tuple of one to three"),
        (1.0, 64, TypeError, "the grid is a number"),
        ("1", 64, TypeError, "the grid is a number"),
        (1, 0, ValueError, r"a block of \(0, 1, 1\) has no threads"),
        (1, (32, 0), ValueError, "has no threads"),
        (1, 1025, ValueError, r"a block of \(1025, 1, 1\) is 1025 threads: at most 1024"),
        (1, (32, 33), ValueError, "is 1056 threads"),
        (1, (1, 1, 65), ValueError, r"at most \(1024, 1024, 64\) along each axis"),
        (1, (), TypeError, "the block is a number or a tuple"),
        (1, [32, 32], TypeError, "the block is a number or a tuple"),
    ],
)
def test_a_grid_or_block_that_no_launch_can_have_is_refused(cupy, grid, block, kind, said):
    with pytest.raises(kind, match=said) as caught:
        launch(turned, grid, block, vector(64), vector(64))
    assert str(caught.value).startswith("kernel turned: ") and "\n" not in str(caught.value)
    assert cupy.started == []


def test_the_largest_grid_and_block_are_accepted(cupy):
    launch(turned, (2**31 - 1, 65535, 65535), (16, 1, 64), vector(64), vector(64))
    launch(turned, (np.int64(2),), np.int32(1024), vector(64), vector(64))
    assert cupy.started[1].block == (1024, 1, 1)


@pytest.mark.parametrize("capability", LIMITS)
def test_more_shared_memory_than_a_block_can_have_is_refused_with_both_figures(cupy, capability):
    cupy.devices = ["".join(map(str, capability))]
    most = LIMITS[capability].shared_of_a_block
    launch(turned, 1, 64, vector(64), vector(64), shared=most - 256)
    with pytest.raises(ValueError, match=rf"256 \+ {most - 255} bytes of shared memory.*at most {most}"):
        launch(turned, 1, 64, vector(64), vector(64), shared=most - 255)


@pytest.mark.parametrize("shared", [-1, 2.5, "8", None])
def test_shared_memory_that_is_no_number_of_bytes_is_refused(cupy, shared):
    with pytest.raises(ValueError, match="dynamic shared memory is a number of bytes"):
        launch(turned, 1, 64, vector(64), vector(64), shared=shared)


def test_arrays_of_the_host_are_refused_by_name(cupy):
    with pytest.raises(TypeError, match="kernel turned: y is an array of the host"):
        launch(turned, 1, 64, vector(64), np.zeros(64, np.float32))
    with pytest.raises(TypeError, match="x is an array of the host"):
        launch(turned, 1, 64, np.zeros(64, np.float32), vector(64))


def test_arrays_of_two_devices_are_refused_with_both_names(cupy, monkeypatch):
    monkeypatch.setitem(DEVICES, Elsewhere, Device("emulator", None, "none"))
    with pytest.raises(ValueError, match="kernel turned: x is on cuda, and y is on emulator"):
        launch(turned, 1, 64, vector(64), Elsewhere(np.zeros(64, np.float32)))


def test_a_tensor_in_the_place_of_its_array_is_refused(cupy):
    with pytest.raises(TypeError, match=r"y is a tinygrad_ft\.tensor\.Tensor, not an array of"):
        launch(turned, 1, 64, vector(64), tg.zeros(64))


@pytest.mark.parametrize(
    ("arguments", "kind", "said"),
    [
        (lambda x: (x,), TypeError, r"takes 2 arguments \(x, y\), not 1"),
        (lambda x: (x, x, x), TypeError, "takes 2 arguments"),
        (lambda x: (x, [1.0]), TypeError, "argument y: .*not list"),
        (lambda x: (x, OnGpu(np.zeros(128, np.float32)[::2])), ValueError, "needs y contiguous"),
        (lambda x: (x, 3.0), CompileError, "kernel turned does not compile for .*float32"),
        (lambda x: (), TypeError, "no array among the arguments"),
        (lambda x: (1, 2), TypeError, "no array among the arguments"),
    ],
)
def test_arguments_that_the_kernel_cannot_take_are_refused(cupy, arguments, kind, said):
    with pytest.raises(kind, match=said):
        launch(turned, 1, 64, *arguments(vector(64)))
    assert cupy.started == []


def test_a_strided_array_goes_where_the_kernel_takes_any_layout(cupy):
    x = OnGpu(np.zeros((3, 2), np.float32).T)
    launch(copied, 2, 3, x, OnGpu(np.zeros((2, 3), np.float32)))
    assert [int(word) for word in cupy.started[0].args[5:9]] == [2, 3, 4, 8]


def test_an_unknown_capability_cannot_be_emulated():
    with pytest.raises(ValueError, match=r"7\.0 is too old"), emulating((7, 0)):
        pass
