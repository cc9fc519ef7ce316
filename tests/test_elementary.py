"""The elementary functions of compiled loops: how far they are off, what they say at the ends, that they vectorise."""

import math
import re
from functools import cache

import numba
import numpy as np
import pytest
from test_kernels import vectors  # noqa: F401  a fixture

from tinygrad_ft.kernels.cpu import elementary

TRUE = {
    "exp_": np.exp,
    "tanh_": np.tanh,
    "sigmoid_": lambda x: np.where(x < 0, np.exp(x), 1) / (1 + np.exp(-abs(x))),
    "erf_": np.vectorize(math.erf, otypes=[np.float64]),
    "log_": np.log,
}
# how far off, relative to the true value; 1.1e-16 more for erf, whose true value here is a float64
OFF = {"exp_": (8.4e-8, 2.3e-16), "tanh_": (1.7e-7, 4.5e-16), "sigmoid_": (1.8e-7, 3e-16), "erf_": (1.8e-7, 3.4e-16),
       "log_": (8e-8, 1.5e-16)}  # fmt: skip
ENDS = {"exp_": (87, 708), "tanh_": (20, 40), "sigmoid_": (87, 700), "erf_": (5, 7)}
EXTREMES = [0.0, -0.0, np.inf, -np.inf, np.nan, 89, -104, 710, -746, 1e30, -1e30, 1.0, -1.0]

every_function = pytest.mark.parametrize("name", TRUE)
both = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@cache
def loop_of(f):
    """y = f(x), compiled as the kernels are."""

    def loop(x, y):
        for i in range(x.size):
            y[i] = f(x[i])

    return numba.njit(loop, fastmath={"contract"}, error_model="numpy")


def answer(f, x):
    y = np.empty_like(x)
    loop_of(f)(x, y)
    return y


def points(name, dtype):
    """Numbers over the whole range, and more of them where most digits may be lost."""
    rng = np.random.default_rng(0)
    if name == "log_":
        end = 87 if dtype == np.float32 else 700
        return np.concatenate([np.exp(rng.uniform(-end, end, 30_000)), rng.uniform(0.5, 2, 30_000)]).astype(dtype)
    end = ENDS[name][dtype == np.float64]
    x = [rng.uniform(-end, end, 15_000), rng.uniform(-1.5, 1.5, 15_000), np.exp(rng.uniform(-60, 0, 10_000))]
    return np.concatenate(x).astype(dtype)


def worst(f, name, dtype):
    """The largest error relative to the true value, which is computed in 80 bits where there are such."""
    x = points(name, dtype)
    with np.errstate(all="ignore"):
        true = TRUE[name](x.astype(np.longdouble))
        return float(np.max(abs(answer(f, x) - true) / abs(true), where=true != 0, initial=0))


@every_function
@both
def test_a_function_is_off_by_no_more_than_it_says(name, dtype):
    assert worst(getattr(elementary, name), name, dtype) < OFF[name][dtype == np.float64]


def test_a_slightly_wrong_function_is_seen():
    exp_ = elementary.exp_
    off_at = numba.njit(lambda x: exp_(x) * np.float32(1 + 3e-7))
    assert worst(off_at, "exp_", np.float32) > OFF["exp_"][0]


@every_function
@both
def test_a_function_answers_as_numpy_does_at_the_ends(name, dtype):
    x = np.array([*EXTREMES, np.finfo(dtype).smallest_subnormal, np.finfo(dtype).max], dtype)
    with np.errstate(all="ignore"):
        true = TRUE[name](x.astype(np.longdouble)).astype(dtype)
    np.testing.assert_allclose(answer(getattr(elementary, name), x), true, rtol=1e-6, atol=0)
    zero = np.array([-0.0, 0.0], dtype)
    if name in ("tanh_", "erf_"):
        np.testing.assert_array_equal(np.signbit(answer(getattr(elementary, name), zero)), [True, False])


@every_function
@both
def test_a_function_is_compiled_to_packed_instructions(name, dtype, vectors):  # noqa: F811
    loop = loop_of(getattr(elementary, name))
    answer(getattr(elementary, name), np.ones(1, dtype))
    (text,) = (
        text for kinds, text in loop.inspect_asm().items() if kinds[0].dtype == numba.from_dtype(np.dtype(dtype))
    )
    assert re.search(rf"\bvf?n?m(ul|add|sub)\d*p{'s' if dtype == np.float32 else 'd'}\b.*%[yz]mm", text)
    assert not re.search(r"\b(expf?|erff?|tanhf?|logf?)\b", text)
