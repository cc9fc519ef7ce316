"""GELU with a bias and without, and its slope: executed by the emulator, against float64 on the CPU."""

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="CUDA kernels need numba-cuda: pip install 'tinygrad-ft[emulator]'")

from cuda_answers import CAPABILITIES, assert_covered, assert_well_compiled, on_device, on_host, recorded
from scipy.special import erfc

import tinygrad_ft as tg
from tinygrad_ft.cuda.launch import emulating
from tinygrad_ft.ops.composed import every

EXTREMES = np.array(
    [0, -0.0, np.inf, -np.inf, np.nan, 1e30, -1e30, 1e-40, 13.1, -13.1, -9, -5, 5, 100, -100], np.float32
)
RAGGED = np.random.default_rng(0).standard_normal(1009).astype(np.float32) * 3
NUMBERS = np.concatenate([EXTREMES, RAGGED])  # 1024
COTANGENT = np.random.default_rng(1).standard_normal(1024).astype(np.float32)
BIAS = np.random.default_rng(2).standard_normal(64).astype(np.float32)
ROWS = NUMBERS.reshape(16, 64)
CALLS = {
    "gelu": [(NUMBERS,), (RAGGED,), (RAGGED[:1].reshape(()),)],
    "gelu_grad": [(COTANGENT, NUMBERS), (RAGGED, RAGGED)],
    "bias_gelu": [(ROWS, BIAS), (RAGGED[:1000].reshape(10, 4, 25), BIAS[:25]), (RAGGED[:1000], RAGGED[:1000])],
    "bias_gelu_grad": [(COTANGENT.reshape(16, 64), ROWS, BIAS), (*[RAGGED[:990].reshape(-1, 33)] * 2, BIAS[:33])],
}


def chance(x):
    return 0.5 * erfc(-x * np.sqrt(0.5))


def slope(x):
    return chance(x) + x * np.exp(-0.5 * x * x) / np.sqrt(2 * np.pi)


EXACT = {
    "gelu": lambda x: x * chance(x),
    "gelu_grad": lambda g, x: g * slope(x),
    "bias_gelu": lambda x, bias: (x + bias) * chance(x + bias),
    "bias_gelu_grad": lambda g, x, bias: g * slope(x + bias),
}


def exact(name, arrays):
    with np.errstate(all="ignore"):
        return EXACT[name](*(a.astype(np.float64) for a in arrays))


def answered(name, *arrays, version=None):
    """An op's answer on the emulator, and the kernels that were launched."""
    with tg.use_kernels(**{name: version}), recorded() as launches:
        return on_host(every()[name](*arrays, **({"approximate": "none"} if name == "gelu" else {}))), launches


@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize("name", CALLS)
def test_a_pass_is_right_and_all_of_its_ptx_runs(name, capability):
    launches = []
    with emulating(capability):
        for arrays in CALLS[name]:
            answer, launched = answered(name, *on_device(*arrays))
            assert len(launched) == 1
            expected = exact(name, arrays)
            scale = np.abs(expected[np.isfinite(expected)]).max()
            np.testing.assert_allclose(answer, expected, rtol=2e-6, atol=4e-8 * scale)
            launches += launched
    assert_covered(launches)
    assert_well_compiled(launches)
    assert all(one.counters.sectors_a_request <= 4.5 for one in launches if one.counters.global_requests > 90)
