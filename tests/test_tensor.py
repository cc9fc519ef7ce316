"""Tensors: what may become one, in which dtype, how they are copied, and what may be put into their grad."""

import copy
import pickle

import numpy as np
import pytest

import tinygrad_ft as tg
from tinygrad_ft import autograd, nn, optim
from tinygrad_ft.engine import Op

FLOATS = [np.float16, np.float32, np.float64]
DTYPES = [*FLOATS, np.int32, np.int64, np.bool_]


# ---------------------------------------------------------------- what may become a Tensor


class Named(np.ndarray):
    """A subclass of NumPy's array."""


def test_subclasses_of_arrays_and_single_numbers_become_plain_arrays_that_share_memory(tmp_path):
    mapped = np.memmap(tmp_path / "numbers", dtype=np.float32, mode="w+", shape=(2,))
    for array in (mapped, np.ones(2, np.float32).view(Named)):
        x = tg.Tensor(array)
        assert type(x.array) is np.ndarray and np.shares_memory(x.array, array)
        assert (x + 1).tolist() == [v + 1 for v in array.tolist()]
    assert (tg.Tensor(np.float64(2.0)) * 3).item() == 6
    assert nn.Parameter(mapped).requires_grad


@pytest.mark.parametrize("data", [[1.0, 2.0], (1.0,), 3.0, None, "1"])
def test_what_is_no_array_is_refused_with_the_name_of_the_function_that_takes_it(data):
    for kind in (tg.Tensor, nn.Parameter):
        with pytest.raises(TypeError, match=rf"{kind.__name__}\(\.\.\.\) takes an array: got .*tg\.tensor"):
            kind(data)


# ---------------------------------------------------------------- dtypes


@pytest.mark.parametrize("into", DTYPES)
@pytest.mark.parametrize("given", DTYPES)
def test_every_dtype_becomes_every_other(given, into):
    x = tg.tensor(np.array([0, 1, 3]).astype(given))
    y = x.to(into)
    assert y.dtype == into and y.tolist() == np.array([0, 1, 3]).astype(given).astype(into).tolist()
    assert tg.cast(x, dtype=into).dtype == into
    assert tg.cast(x.array, dtype=into).dtype == into


@pytest.mark.parametrize("into", FLOATS)
@pytest.mark.parametrize("given", FLOATS)
def test_a_gradient_comes_back_through_every_cast_in_the_dtype_of_its_leaf(given, into):
    x = tg.tensor([1.0, 2.0], dtype=given, requires_grad=True)
    y = x.to(into) * 3.0
    y.sum().backward()
    assert y.dtype == into and x.grad.dtype == given and x.grad.tolist() == [3, 3]


def test_an_op_of_a_user_that_takes_a_dtype_answers_in_it():
    def ramp(xp, x, *, dtype):
        return xp.arange(x.size).astype(dtype)

    assert Op(ramp)(tg.tensor([1.0, 2.0]), dtype=np.float64).dtype == np.float64


def test_other_ops_still_never_promote():
    x = tg.tensor([1.0, 2.0])
    assert (x * tg.tensor([1, 2])).dtype == np.float32 and (tg.tensor([1, 2]) / 2).dtype == np.float32


def test_gradcheck_passes_after_double_and_would_not_pass_a_wrong_gradient():
    x = tg.tensor([0.5, 1.5], requires_grad=True)
    assert autograd.gradcheck(lambda x: x * x, x.double())
    with pytest.raises(AssertionError):
        autograd.gradcheck(lambda x: x * x.detach(), x.double())


def test_a_model_becomes_float64_and_computes_and_trains_in_it():
    model = nn.Linear(3, 2).to(np.float64)
    assert {p.dtype for p in model.parameters()} == {np.dtype(np.float64)}
    model(tg.ones(4, 3).double()).sum().backward()
    assert model.weight.grad.dtype == np.float64
    assert model.to(np.float32).weight.dtype == np.float32


def test_what_is_neither_a_device_nor_a_dtype_is_called_so():
    with pytest.raises(ValueError, match=r"'foo' is neither a device \(cpu, emulator, cuda\) nor a dtype"):
        tg.tensor([1.0]).to("foo")


def test_random_numbers_stay_below_one_in_every_dtype():
    rng = tg.manual_seed(0)
    for dtype in FLOATS:
        x = tg.rand(100_000, dtype=dtype, rng=rng)
        assert x.dtype == dtype and x.array.min() >= 0 and x.array.max() < 1
        np.testing.assert_allclose(x.array.astype(np.float64).mean(), 0.5, atol=0.005)
    assert tg.rand(dtype=np.float16).shape == tg.rand().shape == ()
    assert np.float64(0.99999).astype(np.float16) == 1  # what rounding would do


# ---------------------------------------------------------------- copies


def deep(x):
    return copy.deepcopy(x)


def pickled(x):
    return pickle.loads(pickle.dumps(x))


@pytest.mark.parametrize("copied", [deep, pickled])
def test_a_copied_leaf_is_another_leaf_of_the_same_kind_with_numbers_and_gradient_of_its_own(copied):
    for x in (tg.tensor([1.0, 2.0], requires_grad=True), nn.Parameter(tg.ones(2)), tg.tensor([1, 2])):
        if x.requires_grad:
            (x * x).sum().backward()
        y = copied(x)
        assert type(y) is type(x) and y.dtype == x.dtype and y.requires_grad == x.requires_grad
        assert y.tolist() == x.tolist() and not np.shares_memory(x.array, y.array)
        if not x.requires_grad:
            continue
        assert y.grad.tolist() == x.grad.tolist() and not np.shares_memory(x.grad.array, y.grad.array)
        before = x.grad.tolist()
        (x * y).sum().backward()
        assert x.grad.tolist() == (np.array(before) + y.array).tolist()
        assert y.grad.tolist() == (np.array(before) + x.array).tolist()


@pytest.mark.parametrize("copied", [deep, pickled])
def test_a_copied_leaf_without_a_gradient_gets_its_first(copied):
    x = copied(tg.tensor([1.0, 2.0], requires_grad=True))
    assert x.grad is None
    (x * x).sum().backward()
    assert x.grad.tolist() == [2, 4]


@pytest.mark.parametrize("copied", [deep, pickled])
def test_frozen_parameters_and_their_own_attributes_are_copied(copied):
    p = nn.Parameter(tg.ones(2), requires_grad=False)
    p.group = "bias"
    assert not copied(p).requires_grad and copied(p).group == "bias"


@pytest.mark.parametrize("copied", [deep, pickled])
def test_a_copy_of_a_tensor_that_an_op_made_is_refused_with_the_way_out(copied):
    with pytest.raises(RuntimeError, match=r"made by mul.*\.detach\(\)"):
        copied(tg.tensor(1.0, requires_grad=True) * 2)
    assert copied((tg.tensor(1.0, requires_grad=True) * 2).detach()).item() == 2


@pytest.mark.parametrize("copied", [deep, pickled])
def test_a_model_and_its_averaged_copy_work_in_one_graph(copied):
    tg.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)), tg.ones(5, 3)
    average = copied(model)
    assert [n for n, _ in average.named_parameters()] == [n for n, _ in model.named_parameters()]
    optimiser = optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        optimiser.zero_grad()
        ((model(x) - 1.0) ** 2).mean().backward()
        optimiser.step()
    for p, q in zip(average.parameters(), model.parameters(), strict=True):
        p.array[...] = 0.9 * p.array + 0.1 * q.array
    assert all(p.grad is None for p in average.parameters())
    model.zero_grad()
    (model(x) * average(x)).sum().backward()
    for mine, theirs in ((model, average), (average, model)):
        expected = theirs(x).detach().array.sum(0)
        np.testing.assert_allclose(mine[1].bias.grad.array, expected, rtol=1e-5)


def test_parameters_that_are_shared_stay_shared_in_the_copy():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    twin = copy.deepcopy(model)
    assert twin[1].weight is twin[0].weight and twin[0].weight is not model[0].weight


# ---------------------------------------------------------------- grad, set by hand


def test_a_gradient_set_by_hand_is_a_tensor_of_the_leafs_shape_and_dtype():
    p = tg.tensor([1.0, 2.0], requires_grad=True)
    for g in (np.ones(2), np.ones(2, np.int64), tg.tensor([1, 1]), tg.ones(2)):
        p.grad = g
        assert isinstance(p.grad, tg.Tensor) and p.grad.dtype == np.float32 and p.grad.tolist() == [1, 1]
    optim.SGD([p], lr=1.0).step()
    assert p.tolist() == [0, 1]
    with pytest.raises(ValueError, match=r"grad must have the shape \(2,\) of the Tensor: got \(3,\)"):
        p.grad = np.ones(3)
    with pytest.raises(TypeError, match="grad must be a Tensor or an array: got list"):
        p.grad = [1.0, 1.0]


def test_forgetting_the_gradient_of_what_an_op_made_does_not_make_it_keep_one():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    y = x * x
    y.grad = None
    with pytest.raises(RuntimeError, match="does not retain its grad"):
        y.grad = np.ones(2)
    y.sum().backward()
    assert y.grad is None and x.grad.tolist() == [2, 4]
    z = x * x
    z.retain_grad()
    z.grad = None
    z.sum().backward()
    assert z.grad.tolist() == [1, 1]
