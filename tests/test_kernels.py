"""Every kernel against its op's own forward: the registry says which there are, so a new one is held to this too."""

import importlib
import math
import platform
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_ft as tg
from tinygrad_ft.dispatch import REFERENCE
from tinygrad_ft.engine import OPS

for op in OPS.values():
    if op.kernels:
        op.kernels.load()

KERNELS = {
    f"{name}-{kernel.name}": (OPS[name], kernel)
    for name, op in OPS.items()
    if op.kernels
    for kernel in op.kernels.by_device.get("cpu", ())
}
every_kernel = pytest.mark.parametrize(("op", "kernel"), KERNELS.values(), ids=KERNELS)
# float32's own forwards are off by as much where they cancel, as 1 + erf(x) does: both are held to float64
CLOSE = {"rtol": 3e-7, "atol": 6e-7}
EXTREMES = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 100, -100, 1e30, -1e30, 1e-40, -1e-40, 13.1, -13.1, 9, -9])


def arguments(op, x, **params):
    """What the op is called with when each of its inputs is x."""
    return [x] * len(op.inputs), {**op.defaults, **params}


def computed(op, run, x):
    arrays, params = arguments(op, x)
    before = [a.copy() for a in arrays]
    with np.errstate(all="ignore"):
        y = run(np, *arrays, **params)
    for a, b in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(a, b)  # an op never writes into its inputs
    return y


def assert_agrees(op, run, x):
    """The kernel answers in the dtype and shape of the forward, with the forward's numbers as float64 has them."""
    y, own = computed(op, run, x), computed(op, op.forward, x)
    assert (y.dtype, y.shape) == (own.dtype, own.shape)
    np.testing.assert_allclose(y, computed(op, op.forward, x.astype(np.float64)), **CLOSE)


def applies(op, kernel, x, **params):
    arrays, params = arguments(op, x, **params)
    return kernel.when(*arrays, **params)


def threshold(op, kernel):
    """The fewest elements of a float32 array that the kernel takes, found by halving."""
    low, high = 0, 1 << 24
    assert applies(op, kernel, np.zeros(high, np.float32)), "this kernel takes no float32 array: extend the test"
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if applies(op, kernel, np.zeros(middle, np.float32)) else (middle, high)
    return high


def test_there_are_kernels_to_be_tested_and_each_announced_op_has_one():
    pending = importlib.import_module("tinygrad_ft.kernels").PENDING
    assert {name for name, _, _, _ in pending} == {key.partition("-")[0] for key in KERNELS}


def test_a_kernel_is_imported_where_it_begins_to_apply():
    for name, _, _, elements in importlib.import_module("tinygrad_ft.kernels").PENDING:
        kernels = [kernel for op, kernel in KERNELS.values() if op is OPS[name]]
        assert min(threshold(OPS[name], kernel) for kernel in kernels) == elements


@every_kernel
@given(beyond=st.integers(0, 67), scale=st.sampled_from([0.1, 1.0, 10.0]), seed=st.integers(0, 2**32 - 1))
def test_a_kernel_agrees_with_its_op_on_all_ragged_sizes(op, kernel, beyond, scale, seed):
    size = threshold(op, kernel) + beyond
    x = (scale * np.random.default_rng(seed).standard_normal(size)).astype(np.float32)
    assert_agrees(op, kernel.run, x)
    if size % 4 == 0:
        assert_agrees(op, kernel.run, x.reshape(2, -1, 2))


@every_kernel
def test_a_kernel_agrees_with_its_op_over_a_fine_grid(op, kernel):
    assert_agrees(op, kernel.run, np.linspace(-20, 20, 200_003).astype(np.float32))


@every_kernel
@pytest.mark.parametrize("offset", range(0, 17, 4))
def test_a_kernel_agrees_with_its_op_on_infinities_nan_and_denormals_in_every_lane(op, kernel, offset):
    x = np.concatenate([np.zeros(offset), np.tile(EXTREMES, threshold(op, kernel))])
    x = x[: threshold(op, kernel) + 19].astype(np.float32)  # the last ones are left to the loop's scalar rest
    assert_agrees(op, kernel.run, x)


@every_kernel
def test_a_planted_wrong_kernel_is_caught(op, kernel):
    x = np.linspace(-5, 5, threshold(op, kernel) + 3).astype(np.float32)

    def off_in_the_last(xp, *arrays, **params):
        y = kernel.run(xp, *arrays, **params).copy()
        y.reshape(-1)[-1] += 1e-4
        return y

    def wider(xp, *arrays, **params):
        return kernel.run(xp, *arrays, **params).astype(np.float64)

    def never_nan(xp, *arrays, **params):
        return np.nan_to_num(kernel.run(xp, *arrays, **params))

    assert_agrees(op, kernel.run, x)
    for wrong, inputs in [(off_in_the_last, x), (wider, x), (never_nan, np.append(x, np.float32(np.nan)))]:
        with pytest.raises(AssertionError):
            assert_agrees(op, wrong, inputs)


@every_kernel
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int64"])
@pytest.mark.parametrize(
    "layout",
    [lambda x: x, lambda x: x[::2], lambda x: x[::-1], lambda x: x.reshape(4, -1).T, lambda x: x[:8]],
    ids=["whole", "every second", "reversed", "transposed", "few"],
)
def test_an_op_answers_alike_whichever_kernel_applies(op, kernel, dtype, layout):
    values = np.random.default_rng(0).standard_normal(4 * threshold(op, kernel)) * 3
    x = layout(values.astype(dtype))
    arrays, params = arguments(op, x)
    with tg.use_kernels(**{op.name: kernel.name}):
        y = op(*map(tg.Tensor, arrays), **params).array
    with tg.use_kernels(**{op.name: REFERENCE}):
        own = op(*map(tg.Tensor, arrays), **params).array
    assert (y.dtype, y.shape) == (own.dtype, own.shape)
    np.testing.assert_allclose(y, own, **CLOSE)
    if applies(op, kernel, x):
        assert_agrees(op, kernel.run, x)


@every_kernel
def test_python_numbers_and_numpy_scalars_go_to_the_op_itself(op, kernel):
    for number in (0.5, 1, np.float32(0.5), np.array(0.5, np.float32)):
        arrays, params = arguments(op, number)
        np.testing.assert_array_equal(op(*arrays, **params), op.forward(np, *arrays, **params))


def test_a_parameter_that_a_kernel_does_not_know_goes_to_the_op_itself():
    x = np.linspace(-3, 3, 10_000).astype(np.float32)
    y = tg.nn.functional.gelu(tg.tensor(x), approximate="tanh").array
    np.testing.assert_array_equal(y, OPS["gelu"].forward(np, x, approximate="tanh"))


def test_gradients_through_a_kernel_are_those_of_the_op():
    x = np.linspace(-4, 4, 5000).astype(np.float32)
    gradients = []
    for choice in (None, REFERENCE):
        leaf = tg.tensor(x, requires_grad=True)
        with tg.use_kernels(gelu=choice, gelu_slope=choice):
            tg.nn.functional.gelu(leaf).sum().backward()
        gradients.append(leaf.grad.array)
    assert not np.array_equal(*gradients)  # two ways of computing them
    np.testing.assert_allclose(*gradients, rtol=1e-6, atol=1e-6)


# --- choosing ------------------------------------------------------------------------------------------------------


@pytest.fixture
def spied(monkeypatch):
    """gelu with a kernel that only says which one ran."""
    kernels = OPS["gelu"].kernels
    ran = []

    def spy(xp, x, **params):
        ran.append("spy")
        return x

    monkeypatch.setattr(kernels, "by_device", {**kernels.by_device})
    kernels.by_device["cpu"] = [*kernels.by_device["cpu"]]
    kernels.register("cpu", lambda x, **_: x.size >= 4096)(spy)
    return ran


def run_gelu(size=5000):
    return tg.nn.functional.gelu(tg.zeros(size))


def test_the_newest_kernel_runs_unless_another_is_chosen(spied):
    run_gelu()
    assert spied == ["spy"]
    with tg.use_kernels(gelu="gelu_one_pass"):
        run_gelu()
    with tg.use_kernels(gelu="reference"):
        run_gelu()
    assert spied == ["spy"]
    run_gelu()
    assert spied == ["spy"] * 2


def test_a_choice_as_a_context_ends_with_it_also_by_an_error_and_nested(spied):
    with tg.use_kernels(gelu="reference"):
        with pytest.raises(ZeroDivisionError), tg.use_kernels(gelu="spy"):
            1 / 0  # noqa: B018
        run_gelu()
        with tg.use_kernels(gelu=None):
            run_gelu()
        run_gelu()
    assert spied == ["spy"]
    assert OPS["gelu"].kernels.choice is None


def test_a_choice_without_a_context_holds_until_the_next(spied):
    tg.use_kernels(gelu="reference")
    try:
        run_gelu()
        assert spied == []
    finally:
        tg.use_kernels(gelu=None)
    run_gelu()
    assert spied == ["spy"]


def test_a_chosen_kernel_that_does_not_apply_leaves_the_call_to_the_op(spied):
    with tg.use_kernels(gelu="spy"):
        assert run_gelu(3).tolist() == [0.0] * 3
    assert spied == []


def test_an_op_without_kernels_takes_its_own_forward_as_a_choice():
    with tg.use_kernels(add="reference", gelu=None):
        assert (tg.ones(2) + 1).tolist() == [2.0, 2.0]


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"gleu": "reference"}, r"no op 'gleu'.*tinygrad-ft ops"),
        ({"gelu": "fast"}, r"gelu has no kernel 'fast': known are reference, gelu_one_pass"),
        ({"add": "fast"}, r"add has no kernel 'fast': known are reference$"),
        ({"gelu": "reference", "gleu": None}, r"no op 'gleu'"),
    ],
)
def test_a_wrong_choice_is_refused_with_what_there_is_and_changes_nothing(choice, message):
    with pytest.raises(ValueError, match=message):
        tg.use_kernels(**choice)
    assert OPS["gelu"].kernels.choice is None


# --- the machine code ----------------------------------------------------------------------------------------------


def loops():
    """The compiled loops of the modules that the kernels are in."""
    from numba.core.dispatcher import Dispatcher

    modules = {kernel.run.__module__ for _, kernel in KERNELS.values()}
    for module in sorted(modules):
        for name, value in vars(importlib.import_module(module)).items():
            if isinstance(value, Dispatcher) and value.py_func.__module__ == module:
                yield pytest.param(value, id=f"{module.rpartition('.')[2]}.{name}")


def assembly(loop, options, signature):
    """The assembly of a loop, compiled anew: what comes from the cache on disk has none."""
    import numba

    fresh = numba.jit(loop, **options)
    fresh.compile(signature)
    return "\n".join(fresh.inspect_asm().values())


def packed(text):
    """Whether there are multiplications of 8 or 16 numbers at once, and no calls of C functions on single ones."""
    multiplies = any("mulps" in line and ("%ymm" in line or "%zmm" in line) for line in text.splitlines())
    return multiplies and not re.search(r"\b(expf?|erff?|tanhf?|logf?)\b", text)


def has_avx():
    from llvmlite import binding

    return platform.machine() in ("x86_64", "AMD64") and bool(binding.get_host_cpu_features().get("avx"))


@pytest.fixture
def vectors():
    if not has_avx():
        pytest.skip("the names of packed instructions are those of x86 with AVX")


@pytest.mark.parametrize("loop", [*loops()])
def test_a_kernels_loop_is_compiled_to_packed_instructions(loop, vectors):
    for op, kernel in KERNELS.values():  # so that every loop has met its argument types
        kernel.run(np, *arguments(op, np.zeros(4096, np.float32))[0], **op.defaults)
    assert packed(assembly(loop.py_func, loop.targetoptions, loop.signatures[0]))


def test_a_loop_that_is_not_vectorised_is_seen(vectors):
    def calling(x, y):
        for i in range(x.size):
            y[i] = x[i] * math.exp(x[i])

    def waiting(x, y):
        for i in range(1, x.size):
            y[i] = x[i] * y[i - 1]

    options = {"fastmath": {"contract"}, "error_model": "numpy", "nopython": True}
    for loop in (calling, waiting):
        assert not packed(assembly(loop, options, "void(float32[::1], float32[::1])"))


@pytest.mark.parametrize("loop", [*loops()])
def test_the_error_model_that_vector_py_warns_of_is_seen(loop, vectors):
    options = {**loop.targetoptions, "error_model": "python"}  # a division may raise then, which is a branch
    assert not packed(assembly(loop.py_func, options, "void(float32[::1], float32[::1])"))
