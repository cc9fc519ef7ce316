"""The whole op suite on the device `emulator`: kernels run from their PTX, everything else as CuPy would take it."""

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="the emulator needs numba-cuda: pip install 'tinygrad-ft[emulator]'")

from references.nn import counted_dropout
from test_ops import EVERY, as_tuple, assert_close, in_dtype, samples_of

from tinygrad_ft import autograd
from tinygrad_ft.chain_rule import sum_to
from tinygrad_ft.cuda import contract, state
from tinygrad_ft.cuda.contract import Refused
from tinygrad_ft.cuda.launch import recorded
from tinygrad_ft.cuda.synchronisations import synchronisations
from tinygrad_ft.dispatch import Kernel
from tinygrad_ft.engine import OPS, Op
from tinygrad_ft.gradcheck import Sample
from tinygrad_ft.tensor import Tensor

# how close values and gradients are to the CPU's: as close as test_ops.py holds the CPU's float32 to its float64
NEAR = {np.float32: (2e-6, 1e-5), np.float64: (1e-13, 1e-13)}
OWN_DRAWS = "dropout"  # on a device it draws where it is used, so its mask is another
# ops whose numbers without axes, the rate, the count, the bound, optimisers keep on the host
NUMBERS_OF_THE_HOST = {"sgd_update", "adam_update", "rmsprop_update", "clip_to_length"}
WAITING = {  # op: why the host has to wait for the device there
    "getitem": "a boolean index says how many elements there are",
    "masked_select": "the same",
    "repeat_interleave": "the counts say how long the answer is",
    "scatter": "products go turn by turn, as often as one place is written to",
    "scatter_reduce": "the same, and so do extrema",
}
MORE = {"softmax": Sample((np.linspace(-2.0, 3.0, 15).reshape(3, 5),), {"axis": -1})}  # whose kernels are for rows
WITHOUT_TEXT = {"sin", "cos", "tan", "share"}  # ops that `kernels/cuda/elementwise.py` leaves to CuPy


class Answers:
    """What an op answers for a sample on one device: outputs, inputs afterwards, gradients; and what it took."""

    def __init__(self, op, name, sample, device):
        self.wanting, self.inputs = [], []
        least = 1 if name in NUMBERS_OF_THE_HOST else 0  # axes of what goes to the device

        def placed(x):
            if isinstance(x, dict):
                return {key: placed(part) for key, part in x.items()}
            if isinstance(x, tuple):
                return tuple(map(placed, x))
            if not isinstance(x, np.ndarray) or x.ndim < least:
                return np.copy(x) if isinstance(x, np.ndarray) else x
            self.inputs.append(Tensor(x.copy()).to(device))
            if x.dtype.kind == "f" and not least:
                self.wanting.append(self.inputs[-1].requires_grad_())
            return self.inputs[-1]

        arguments = placed(sample.arrays)
        params = sample.params if name in OPS else placed(sample.params)  # an op's own parameters are no arrays
        with recorded() as self.launches, synchronisations() as count:
            self.outputs = as_tuple(op(*arguments, **params))
            tracked = [y for y in self.outputs if isinstance(y, Tensor) and y.requires_grad]
            rng = np.random.default_rng(0)
            weights = [Tensor(rng.standard_normal(y.shape).astype(y.dtype)).to(device) for y in tracked]
            self.gradients = autograd.grad(tracked, self.wanting, weights, allow_unused=True) if tracked else ()
        self.waits = dict(count.waits)


def on_host(found):
    return [x.numpy_copy() if isinstance(x, Tensor) else x for x in found]


def assert_same(op, name, sample, dtype, device="emulator"):
    """A device's answers, if they are the CPU's."""
    sample = in_dtype(sample, dtype)
    expected, got = (Answers(op, name, sample, place) for place in ("cpu", device))
    assert {str(y.device) for y in (*got.outputs, *got.gradients) if isinstance(y, Tensor)} <= {device}
    for part, bound in zip(("outputs", "inputs", "gradients"), (NEAR[dtype][0], *NEAR[dtype]), strict=True):
        xs, ys = getattr(got, part), getattr(expected, part)
        assert [(type(x), getattr(x, "dtype", None)) for x in xs] == [(type(y), getattr(y, "dtype", None)) for y in ys]
        assert_close(on_host(xs), on_host(ys), bound, bound)
    return got


@pytest.mark.parametrize("name", [name for name in EVERY if name != OWN_DRAWS])
def test_on_the_emulator_an_op_and_its_gradients_are_those_of_the_cpu(name):
    waits, launches = {}, []
    for dtype in NEAR:
        for sample in [*samples_of(name), *([MORE[name]] if name in MORE else [])]:
            got = assert_same(EVERY[name], name, sample, dtype)
            waits |= got.waits
            if dtype is np.float32:
                launches += got.launches
            else:  # kernels are for float32; truths alone may pass through one
                arrays = [a for one in got.launches for a in one.args if hasattr(a, "flags") and a.ndim]
                assert all(a.dtype == bool for a in arrays)
    assert bool(waits) == (name in WAITING), waits
    if name in OPS and OPS[name].kernels and OPS[name].kernels.by_device.keys() & {"cuda", "emulator"}:
        assert bool(launches) == (name not in WITHOUT_TEXT)


def test_dropout_on_the_emulator_is_counted_dropout_and_so_is_its_gradient():
    for sample in samples_of(OWN_DRAWS):
        got = Answers(EVERY[OWN_DRAWS], OWN_DRAWS, in_dtype(sample, np.float32), "emulator")
        x, *more = sample.arrays
        if "rng" not in sample.params:
            assert got.outputs[0] is got.inputs[0]
            continue
        seed = int(sample.params["rng"].integers(1 << 63))
        expected = counted_dropout(x, seed, p=more[0])
        slope = counted_dropout(np.random.default_rng(0).standard_normal(x.shape), seed, p=more[0])
        assert_close(on_host([*got.outputs, *got.inputs, *got.gradients]), [expected, x, slope], 1e-6, 1e-6)


# ---------------------------------------------------------------- planted faults, which the check above has to catch


def test_a_kernel_with_a_wrong_answer_is_caught(monkeypatch):
    kernels = OPS["exp"].kernels
    kernels.load("cuda")
    wrong = Kernel("wrong", lambda x: x.dtype == np.float32, lambda xp, x: xp.exp(x) + np.float32(1e-4))
    monkeypatch.setitem(kernels.by_device, "cuda", [wrong])
    with pytest.raises(AssertionError, match="Mismatched elements"):
        assert_same(OPS["exp"], "exp", samples_of("exp")[0], np.float32)


def test_a_rule_that_is_wrong_on_the_device_alone_is_caught():
    doubled = Op(lambda xp, x: x + x)

    @doubled.vjp
    def slope(g):
        return g * (2 if isinstance(getattr(g, "array", g), np.ndarray) else 3)

    with pytest.raises(AssertionError, match="Mismatched elements"):
        assert_same(doubled, "planted", samples_of("exp")[0], np.float64)


NUMPYS_OWN = {
    "a keyword that CuPy lacks": lambda xp, x: xp.sum(x, initial=0.0),
    "a method of a ufunc that CuPy lacks": lambda xp, x: xp.logaddexp.reduce(x.reshape(-1)),
    "a conversion": lambda xp, x: np.asarray(x) + 1,
    "an array of the host": lambda xp, x: x + np.ones(x.shape, x.dtype),
    "an index of the host": lambda xp, x: x.reshape(-1)[np.arange(x.size)],
}


@pytest.mark.parametrize("what", NUMPYS_OWN)
def test_an_op_that_only_numpy_can_run_is_caught(what):
    if "lacks" in what and contract.cupy() is None:
        pytest.skip(state.contract().said)
    planted, sample = Op(NUMPYS_OWN[what]), samples_of("exp")[0]
    Answers(planted, "planted", sample, "cpu")
    with pytest.raises((Refused, AttributeError)):
        Answers(planted, "planted", sample, "emulator")


def test_a_gradient_that_waits_for_the_device_is_counted():
    waiting = Op(lambda xp, x: x * 2)

    @waiting.vjp
    def slope(g):
        return g * (2 + 0 * float(sum_to(g, shape=())))

    assert Answers(waiting, "planted", samples_of("exp")[0], "emulator").waits == {"float": 1}
