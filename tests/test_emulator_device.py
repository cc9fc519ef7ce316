"""Getting to the device `emulator` and back, and what is said of arrays that are on two devices at once."""

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="the emulator needs numba-cuda: pip install 'tinygrad-ft[emulator]'")

from test_ops import EVERY, in_dtype, samples_of

import tinygrad_ft as tg
from tinygrad_ft.cuda import toolkit
from tinygrad_ft.cuda.synchronisations import synchronisations
from tinygrad_ft.device import DEVICES, names
from tinygrad_ft.nn import functional as F
from tinygrad_ft.tensor import Tensor

TOGETHER = {  # ops that take arrays of two devices, and why
    "repeat_interleave": "how often is asked of the host anyway",
    "meshgrid": "each coordinate is answered on its own device",
    "prelu": "a single weight that is not trained is a number",
}


@pytest.fixture
def x():
    return tg.tensor([[1.0, -2.0, 3.0], [0.5, 0.0, 4.0]]).to("emulator")


# ---------------------------------------------------------------- there and back


def test_the_device_of_that_name_has_an_array_module_of_its_own_and_is_always_the_same():
    emulator = tg.device("emulator")
    assert str(emulator) == emulator.name == "emulator" and tg.device(emulator) is emulator
    assert emulator.xp is not np and tg.device("cpu").xp is np
    assert "emulator" in names()


def test_a_device_that_does_not_exist_is_refused_with_those_that_do():
    with pytest.raises(ValueError, match=r"there is no device 'emulater': there are cpu, emulator, cuda"):
        tg.device("emulater")
    with pytest.raises(ValueError, match=r"'emulater' is neither a device \(cpu, emulator, cuda\) nor a dtype"):
        tg.ones(2).to("emulater")


def test_without_numba_cuda_the_device_says_what_to_install(monkeypatch):
    for kind in [kind for kind, device in DEVICES.items() if device.name == "emulator"]:
        monkeypatch.delitem(DEVICES, kind)
    monkeypatch.setattr(toolkit, "find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match=r"pip install 'tinygrad-ft\[emulator\]'"):
        tg.ones(2).to("emulator")


def test_to_moves_numbers_and_dtype_there_and_cpu_brings_them_back(x):
    for dtype in (np.float32, np.float16, np.float64, np.int64, np.uint8, np.bool_):
        host = np.arange(-2, 4).reshape(2, 3).astype(dtype)
        there = tg.tensor(host).to("emulator")
        assert there.device is tg.device("emulator") and there.dtype == dtype and there.shape == (2, 3)
        assert there.to("emulator") is there and there.to(device="emulator") is there
        back = there.cpu()
        assert back.device is tg.device("cpu") and back.dtype == dtype and np.array_equal(back.numpy(), host)
    both = x.to("emulator", np.float16)
    assert both.device is tg.device("emulator") and both.dtype == np.float16


def test_what_is_moved_is_a_copy(x):
    host = tg.ones(3)
    there = host.to("emulator")
    there += 1
    assert host.tolist() == [1, 1, 1] and there.cpu().tolist() == [2, 2, 2]
    back = there.cpu()
    back += 1
    assert there.cpu().tolist() == [2, 2, 2]


def test_a_tensor_there_can_be_read_but_not_taken_for_numpys(x):
    with pytest.raises(TypeError, match=r"this Tensor is on emulator: call \.cpu\(\)\.numpy\(\)"):
        x.numpy()
    with pytest.raises(TypeError, match="this Tensor is on emulator"):
        np.asarray(x)
    assert np.array_equal(x.numpy_copy(), x.cpu().numpy())
    assert x.tolist() == x.cpu().tolist() and x[0, 1].item() == -2.0 and float(x[0, 2]) == 3.0
    assert repr(x[0]) == "tensor([ 1., -2.,  3.], device=emulator)"


def test_the_gradient_of_a_move_comes_back_to_where_the_tensor_lives():
    leaf = tg.tensor([1.0, 2.0, 3.0], requires_grad=True)
    (leaf.to("emulator") * 2).sum().backward()
    assert leaf.grad.device is tg.device("cpu") and leaf.grad.tolist() == [2, 2, 2]
    there = tg.ones(3).to("emulator").requires_grad_()
    (there.cpu() * 3).sum().backward()
    assert there.grad.device is tg.device("emulator") and there.grad.tolist() == [3, 3, 3]


def test_a_model_moves_in_place_and_back_with_the_same_answers(rng):
    model = tg.nn.Sequential(tg.nn.Linear(3, 4, rng=rng), tg.nn.GELU(), tg.nn.LayerNorm(4))
    x = tg.tensor(rng.standard_normal((5, 3)).astype(np.float32))
    expected = model(x).detach().numpy()
    assert model.to("emulator") is model
    assert {str(p.device) for p in model.parameters()} == {"emulator"}
    y = model(x.to("emulator"))
    np.testing.assert_allclose(y.detach().cpu().numpy(), expected, rtol=1e-6, atol=1e-6)
    y.sum().backward()
    assert {str(p.grad.device) for p in model.parameters()} == {"emulator"}
    np.testing.assert_array_equal(model.to("cpu")(x).detach().numpy(), expected)


def test_only_what_leaves_the_device_waits_for_it_and_only_what_enters_is_copied():
    with synchronisations() as count:
        x = tg.ones(2, 3).to("emulator")
        y = (x @ x.T).exp().sum()
    assert int(count) == 0 and dict(count.copies) == {"asarray": 1}
    with synchronisations() as count:
        y.cpu()
    assert int(count) == 1 and not count.copies


# ---------------------------------------------------------------- two devices at once


def places(x, path=()):
    """Where in nested tuples arrays with axes and elements stand."""
    if isinstance(x, tuple):
        return [place for i, part in enumerate(x) for place in places(part, (*path, i))]
    return [path] if isinstance(x, np.ndarray) and x.ndim and x.size else []


def all_but(odd, x, path=()):
    """x with Tensors on the emulator, but for the one at that place, which stays on the CPU."""
    if isinstance(x, tuple):
        return tuple(all_but(odd, part, (*path, i)) for i, part in enumerate(x))
    return Tensor(x.copy()).to("cpu" if path == odd else "emulator") if isinstance(x, np.ndarray) else x


SEVERAL = [name for name in EVERY if any(len(places(sample.arrays)) > 1 for sample in samples_of(name))]


@pytest.mark.parametrize("name", [name for name in SEVERAL if name not in TOGETHER])
def test_an_op_of_arrays_on_two_devices_is_one_error_that_names_both(name):
    for sample in samples_of(name):
        sample = in_dtype(sample, np.float32)
        found = places(sample.arrays)
        for odd in found if len(found) > 1 else []:
            with pytest.raises(ValueError, match=r"are on (cpu and emulator|emulator and cpu).*\.to\(\)"):
                EVERY[name](*all_but(odd, sample.arrays), **sample.params)


@pytest.mark.parametrize("name", TOGETHER)
def test_an_op_that_takes_arrays_of_two_devices_answers_on_the_device_of_the_first(name):
    (sample,) = [s for s in samples_of(name) if len(places(s.arrays)) > 1][-1:]
    *_, odd = places(sample.arrays)
    y = EVERY[name](*all_but(odd, in_dtype(sample, np.float32).arrays), **sample.params)
    assert str((y[0] if isinstance(y, tuple) else y).device) == "emulator"


def test_operators_and_layers_name_both_devices_too(x):
    for mixed in [lambda: x + tg.ones(3), lambda: tg.ones(3) - x, lambda: x @ tg.ones(3, 2), lambda: x > tg.ones(3)]:
        with pytest.raises(ValueError, match=r"are on (cpu and emulator|emulator and cpu)"):
            mixed()
    with pytest.raises(ValueError, match="linear: its arrays are on emulator and cpu; bring them to one device"):
        tg.nn.Linear(3, 2)(x)
    with pytest.raises(ValueError, match="are on emulator and cpu"):
        F.cross_entropy(x, tg.tensor([0, 1]))


def test_an_array_of_numpy_beside_a_tensor_there_is_the_same_error(x):
    for mixed in (lambda: x * np.ones(3, np.float32), lambda: np.ones(3, np.float32) * x):
        with pytest.raises(ValueError, match=r"are on (cpu and emulator|emulator and cpu)"):
            mixed()


def test_a_number_of_the_host_goes_with_any_device_unless_a_gradient_has_to_come_back(x):
    half = tg.tensor(0.5)
    assert (x * half).tolist() == (x * 0.5).tolist() == (x * np.float32(0.5)).tolist()
    assert (x * half).device is x.device and (x * half).dtype == np.float32
    with pytest.raises(ValueError, match="mul: its arrays are on emulator and cpu"):
        x * half.requires_grad_()
