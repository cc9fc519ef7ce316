"""Products of a matrix that is mostly 0, as the gradient of a maximum is: only what is not 0 is multiplied."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_shares import assert_same_bits_however_divided, run_whole

from tinygrad_ft.engine import OPS
from tinygrad_ft.kernels.cpu.mostly_zero import mostly_zero

EXACT = {"float32": 1e-5, "float64": 1e-13}


def product(a, b, bias=None):
    """a b + bias by the shares of matmul or linear."""
    y = np.full((a.shape[0], b.shape[1]), np.nan, a.dtype)
    if bias is None:
        run_whole(OPS["matmul"].kernels.shares("cpu", y, [a, b], {}))
    else:
        run_whole(OPS["linear"].kernels.shares("cpu", y, [a, np.asfortranarray(b).T, bias], {}))
    return y


def sparse(rows, columns, share, seed, dtype="float32"):
    rng = np.random.default_rng(seed)
    return np.where(rng.random((rows, columns)) < share, rng.standard_normal((rows, columns)), 0.0).astype(dtype)


def is_few(a):
    """Whether the products of this a are seen as mostly 0."""
    rows, depth = a.shape
    flat, plain = (a, True) if a.flags.c_contiguous else (a.T, False)
    down, across = (depth, 1) if plain else (1, rows)
    return mostly_zero(flat.reshape(-1), 0, across, down, rows, depth)


@given(
    st.integers(1, 70), st.integers(150, 900), st.integers(1, 40), st.sampled_from([0.0, 0.002, 0.02, 0.3]),
    st.booleans(), st.sampled_from(["float32", "float64"]), st.integers(0, 2**31),
)  # fmt: skip
def test_the_product_is_right_whatever_share_of_a_is_zero(rows, depth, columns, share, turned, dtype, seed):
    a = sparse(depth, rows, share, seed, dtype).T if turned else sparse(rows, depth, share, seed, dtype)
    b = np.random.default_rng(seed).standard_normal((depth, columns)).astype(dtype)
    true = a.astype(np.float64) @ b
    np.testing.assert_allclose(product(a, b), true, rtol=0, atol=EXACT[dtype] * (1 + abs(true).max()))


@pytest.mark.parametrize("turned", [False, True])
def test_what_is_not_zero_alone_is_multiplied(turned):
    a = sparse(2048, 96, 0.002, 3) if turned else sparse(96, 2048, 0.002, 3)
    a = a.T if turned else a
    never = int(np.flatnonzero(~a.any(axis=0))[0])  # a row of b that only zeros meet
    b = np.random.default_rng(4).standard_normal((2048, 80)).astype(np.float32)
    b[never] = np.nan
    assert np.isfinite(product(a, b)).all()  # by BLAS it would all be NaN
    assert not np.isfinite(a @ b).any()


@pytest.mark.parametrize("share", [0.0, 0.002])
def test_the_bias_is_there_too(share):
    a, b = sparse(512, 256, share, 5), np.random.default_rng(6).standard_normal((256, 20)).astype(np.float32)
    bias = np.arange(20, dtype=np.float32)
    np.testing.assert_allclose(product(a, b, bias), a @ b + bias, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("share", [0.002, 0.5])
def test_the_bits_do_not_depend_on_who_does_which_part(share):
    a, b = sparse(640, 300, share, 7), np.random.default_rng(8).standard_normal((300, 33)).astype(np.float32)
    a[200:300] = np.random.default_rng(9).standard_normal((100, 300))  # and some that is dense

    def make():
        y = np.full((640, 33), np.nan, np.float32)
        return [y], OPS["matmul"].kernels.shares("cpu", y, [a, b], {})

    assert_same_bits_however_divided(make)


def test_a_matrix_half_of_zeros_or_of_zero_columns_is_left_to_blas():
    rng = np.random.default_rng(10)
    relu = np.maximum(rng.standard_normal((64, 512)), 0).astype(np.float32)
    striped = rng.standard_normal((64, 512)).astype(np.float32)
    striped[:, ::2] = 0
    lower = np.tril(rng.standard_normal((512, 512))).astype(np.float32)
    for dense in (relu, striped, lower, relu.T, striped.T):
        assert not is_few(dense)
    assert is_few(sparse(64, 512, 0.002, 11)) and is_few(sparse(512, 64, 0.002, 11).T)
