"""The checks of the emulator, on a GPU: `pytest -m gpu`. Where there is none they are skipped, in one line."""

import numpy as np
import pytest

from tinygrad_ft.cuda import state

if not (found := state.gpu()).ready:
    pytest.skip(found.said, allow_module_level=True)

from test_cuda_training import BOUND, losses, mlp, transformer
from test_emulator_ops import EVERY, OWN_DRAWS, assert_same, samples_of

from tinygrad_ft.cuda.cases import CASES
from tinygrad_ft.cuda.check import checked

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("number", range(len(CASES)), ids=lambda i: f"{i}-{CASES[i].op}-{CASES[i].version}")
def test_every_case_of_every_kernel_is_as_near_to_float64_as_on_the_emulator(number):
    outcome = checked(CASES[number], "cuda")
    assert outcome.fine, str(outcome)


@pytest.mark.parametrize("name", [name for name in EVERY if name != OWN_DRAWS])
def test_an_op_and_its_gradients_are_those_of_the_cpu(name):
    for sample in samples_of(name):
        assert_same(EVERY[name], name, sample, np.float32, device="cuda")


@pytest.mark.parametrize("make", [mlp, transformer])
def test_twenty_steps_go_as_on_the_cpu(make):
    np.testing.assert_allclose(losses(make, "cuda")[0], losses(make, "cpu")[0], rtol=0, atol=10 * BOUND)
