"""The device double refuses what CuPy refuses, counts what a GPU would wait for, and asks CuPy about each new call."""

import copy
import math
import operator
import pickle

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="the emulator needs numba-cuda: pip install 'tinygrad-ft[emulator]'")

import tinygrad_ft as tg
from tinygrad_ft.cli import main
from tinygrad_ft.cuda import contract, double_special, state
from tinygrad_ft.cuda.cases import CASES
from tinygrad_ft.cuda.contract import Refused
from tinygrad_ft.cuda.synchronisations import synchronisations

REFUSALS = (TypeError, ValueError, AttributeError, NotImplementedError)


@pytest.fixture
def xp():
    return tg.device("emulator").xp


@pytest.fixture
def a(xp):
    return xp.asarray(np.array([3.0, 1.0, 2.0], np.float32))


@pytest.fixture
def cupy():
    """The real package, on a machine without a GPU."""
    if contract.cupy() is None:
        pytest.skip(state.contract().said)
    return contract.cupy()


@pytest.fixture
def without_cupy(monkeypatch):
    monkeypatch.setattr(contract, "find_spec", lambda name: None)
    monkeypatch.setattr(state, "find_spec", lambda name: None)
    contract.cupy.cache_clear()
    yield
    contract.cupy.cache_clear()


HOST = np.array([3.0, 1.0, 2.0], np.float32)
PLACES = np.array([0, 2])

# what: the call, with the array module and an array of three float32 of it. CuPy is asked the same.
REFUSED_BY_BOTH = {
    # NumPy asks for the numbers
    "np.asarray": lambda xp, a: np.asarray(a),
    "np.array of a list of arrays": lambda xp, a: np.array([a, a]),
    "a NumPy scalar of an array": lambda xp, a: np.float32(a),
    "memoryview": lambda xp, a: memoryview(a),
    "an array as the index of a list": lambda xp, a: [1, 2, 3][a[0]],
    "NumPy's block": lambda xp, a: np.block([a, a]),
    # an array of the host among those of the device
    "a @ host": lambda xp, a: a @ HOST,
    "stack of a and host": lambda xp, a: xp.stack([a, HOST]),
    "a[:] = host": lambda xp, a: operator.setitem(a, slice(None), HOST),
    "a[:] = a list": lambda xp, a: operator.setitem(a, slice(None), [1.0, 2.0, 3.0]),
    # functions, methods, attributes
    "errstate": lambda xp, a: xp.errstate(all="ignore"),
    "block": lambda xp, a: xp.block([a, a]),
    "vecdot": lambda xp, a: xp.vecdot(a, a),
    "insert": lambda xp, a: xp.insert(a, 0, 1.0),
    "linalg.multi_dot": lambda xp, a: xp.linalg.multi_dot([a, a]),
    "setflags": lambda xp, a: a.setflags(write=False),
    "a function that nobody has": lambda xp, a: xp.no_such_function(a),
    "NumPy's unstack": lambda xp, a: np.unstack(a),
    # methods of ufuncs
    "multiply.at": lambda xp, a: xp.multiply.at(a, 0, 2.0),
    "logaddexp.reduce": lambda xp, a: xp.logaddexp.reduce(a),
    "maximum.reduce": lambda xp, a: xp.maximum.reduce(a),
    "maximum.accumulate": lambda xp, a: xp.maximum.accumulate(a),
    # keywords
    "sum(initial=)": lambda xp, a: xp.sum(a, initial=0.0),
    "sum(where=)": lambda xp, a: xp.sum(a, where=True),
    "a.sum(initial=)": lambda xp, a: a.sum(initial=0.0),
    "a.max(where=)": lambda xp, a: a.max(where=True, initial=0.0),
    "std(mean=)": lambda xp, a: xp.std(a, mean=a),
    "a.astype(casting=)": lambda xp, a: a.astype(np.float64, casting="safe"),
    "clip(min=)": lambda xp, a: xp.clip(a, min=0.0),
    "argsort(stable=)": lambda xp, a: xp.argsort(a, stable=True),
    "exp(order=)": lambda xp, a: xp.exp(a, order="C"),
    "a keyword that nobody has": lambda xp, a: xp.sum(a, no_such_keyword=1),
    # dtypes
    "zeros of strings": lambda xp, a: xp.zeros(3, "U3"),
    "zeros of objects": lambda xp, a: xp.zeros(3, object),
    "zeros of float128": lambda xp, a: xp.zeros(3, np.longdouble),
    "zeros of records": lambda xp, a: xp.zeros(3, [("x", "f4")]),
    "a dtype that nobody has": lambda xp, a: xp.zeros(3, "f5"),
    "a.astype to strings": lambda xp, a: a.astype("U3"),
}

# what CuPy would only refuse, or do against our wishes, once it had reached the GPU
REFUSED_BY_THE_DOUBLE = {
    "a + host": (lambda xp, a: a + HOST, "an array of NumPy, of shape"),
    "host + a": (lambda xp, a: HOST + a, "an array of NumPy, of shape"),
    "a += host": (lambda xp, a: operator.iadd(a, HOST), "an array of NumPy"),
    "exp of host": (lambda xp, a: xp.exp(HOST), "exp: an array of NumPy"),
    "sum of host": (lambda xp, a: xp.sum(HOST), "sum: an array of NumPy"),
    "NumPy's add of host": (lambda xp, a: np.add(HOST, a), "add: an array of NumPy"),
    "where of host": (lambda xp, a: xp.where(a > 0, a, HOST), "where: an array of NumPy"),
    "concatenate of host": (lambda xp, a: xp.concatenate([a, HOST]), "concatenate: an array of NumPy"),
    "an array of strings": (lambda xp, a: xp.asarray(["a"]), "arrays of numbers and booleans only: got <U1"),
    "a keyword of host": (lambda xp, a: xp.add(a, a, out=HOST.copy()), "add: an array of NumPy"),
    "take by host": (lambda xp, a: xp.take(a, PLACES), "take: an array of NumPy"),
    "a[host]": (lambda xp, a: a[PLACES], "an array of NumPy as an index"),
    "a[list]": (lambda xp, a: a[[0, 2]], "a list as an index"),
    "a[..., host]": (lambda xp, a: a[..., PLACES], "an array of NumPy as an index"),
    "a[host] = 1": (lambda xp, a: operator.setitem(a, PLACES, 1.0), "an array of NumPy as an index"),
    "a[mask of the host]": (lambda xp, a: a[HOST > 1], "an array of NumPy as an index"),
    "an index that comes twice": (
        lambda xp, a: operator.setitem(a, xp.asarray([1, 1]), xp.asarray([5.0, 6.0])),
        "undefined which number a.i. = v keeps",
    ),
    "add.at of int8": (lambda xp, a: xp.add.at(xp.zeros(3, np.int8), xp.zeros(1, int), 1), "add.at of int8"),
    "maximum.at of float16": (
        lambda xp, a: xp.maximum.at(xp.zeros(3, np.float16), xp.zeros(1, int), np.float16(1)),
        "maximum.at of float16: it takes int32",
    ),
    "a.set of a list": (lambda xp, a: a.set([1.0, 2.0, 3.0]), r"set\(\) takes a NumPy array of shape"),
}


def asked(cupy, call):
    """What the real package raises for the call: nothing if it goes on until it needs the driver."""
    stops = cupy.cuda.runtime.CUDARuntimeError, cupy.cuda.driver.CUDADriverError, ImportError
    try:
        call(cupy, contract._fake(tg.device("emulator").xp.zeros(3, np.float32)))
    except stops:
        return None
    except Exception as error:
        return error
    return None


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize("what", REFUSED_BY_BOTH)
def test_what_cupy_refuses_the_double_refuses(what, xp, a, cupy):
    assert isinstance(asked(cupy, REFUSED_BY_BOTH[what]), REFUSALS)
    with pytest.raises(REFUSALS):
        REFUSED_BY_BOTH[what](xp, a)


@pytest.mark.parametrize("what", REFUSED_BY_THE_DOUBLE)
def test_what_cupy_cannot_be_asked_without_a_gpu_the_double_refuses_by_its_own_rules(what, xp, a, request):
    call, words = REFUSED_BY_THE_DOUBLE[what]
    with pytest.raises(Refused, match=words):
        call(xp, a)
    assert np.array_equal(a.get(), HOST)
    if contract.cupy() is not None:
        assert not isinstance(asked(contract.cupy(), call), AttributeError)  # these calls do exist


def test_a_call_that_cupy_takes_is_not_held_to_be_refused(cupy):
    assert asked(cupy, lambda xp, a: xp.exp(a)) is None and asked(cupy, lambda xp, a: a.sum(axis=0)) is None


def test_numbers_of_numpy_and_python_go_with_arrays_of_the_device(xp, a):
    for y in (a * 2, 2 * a, a * np.float32(2), np.float32(2) * a, a * True + a, xp.multiply(a, 2.0)):
        assert isinstance(y, xp.ndarray) and y.dtype == np.float32 and y.get().tolist() == [6, 2, 4]


def test_where_no_axis_is_left_an_array_stays_an_array(xp, a):
    for y in (
        a[1],
        a.sum(),
        xp.max(a),
        a @ a,
        xp.argmax(a),
        xp.allclose(a, a),
        xp.count_nonzero(a),
        xp.array_equal(a, a),
    ):
        assert isinstance(y, xp.ndarray) and y.shape == ()
    place = a[1]
    place += 7  # a view, as in CuPy
    assert a.get().tolist() == [3, 8, 2]


def test_views_share_memory_and_know_whose_it_is(xp, a):
    rows = a.reshape(3, 1)
    rows[0, 0] = 9.0
    assert a.get().tolist() == [9, 1, 2] and rows.base is a and rows.T.base is a and a.base is None
    assert a.flags.owndata and not rows.flags.owndata and rows.copy().base is None


def test_numpys_functions_on_arrays_of_the_device_answer_there(xp, a):
    for y in (np.exp(a), np.sum(a, axis=0), np.stack([a, a]), np.add.reduce(a), np.linalg.norm(a)):
        assert isinstance(y, xp.ndarray)


def test_the_special_functions_are_those_that_cupyx_has_too(a, cupy):
    np.testing.assert_allclose(double_special.erf(a).get(), [math.erf(x) for x in HOST], rtol=1e-6)
    with pytest.raises(AttributeError, match=r"cupyx\.scipy\.special has no airy"):
        _ = double_special.airy


# ---------------------------------------------------------------- random numbers


def test_a_generator_has_the_methods_that_cupys_has_too(xp, cupy):
    rng = xp.random.default_rng(0)
    methods = {name for name in dir(np.random.Generator) if not name.startswith("_")} - {"bit_generator"}
    has = {name for name in methods if hasattr(rng, name)}
    assert has == {name for name in methods if hasattr(cupy.random.Generator, name)}
    assert {"random", "standard_normal", "integers"} <= has and not {"normal", "permutation", "choice"} & has
    with pytest.raises(AttributeError, match="CuPy's generators have no normal"):
        rng.normal(0.0, 1.0)


def test_a_generator_draws_on_the_device_and_refuses_what_cupys_refuses(xp, cupy):
    rng = xp.random.default_rng(0)
    for y in (
        rng.random((2, 3)),
        rng.random(dtype=np.float32),
        rng.integers(0, 5),
        xp.random.rand(),
        xp.random.randn(2),
    ):
        assert isinstance(y, xp.ndarray)
    with pytest.raises(TypeError, match="no_such_keyword"):
        rng.random(3, no_such_keyword=1)
    with pytest.raises(Refused, match="a seed on the device"):
        xp.random.default_rng(xp.zeros(1, int))
    for name in ("Philox", "RandomState", "no_such_function"):
        with pytest.raises(AttributeError, match=name):
            getattr(xp.random, name)


def test_what_cupys_generator_refuses_of_a_method_that_it_has_is_refused(xp, cupy, monkeypatch):
    real = cupy.random.Generator

    class Older(real):
        def random(self, size=None):
            return super().random(size)

    monkeypatch.setattr(cupy.random, "Generator", Older)
    monkeypatch.setattr(contract, "_said", {})
    xp.random.default_rng(0).random(3)
    with pytest.raises(Refused, match=r"random\.Generator\.random: .*dtype"):
        xp.random.default_rng(0).random(3, dtype=np.float32)


# ---------------------------------------------------------------- synchronisations

WAITING = {
    "float": lambda xp, a: float(a[0]),
    "int": lambda xp, a: int(a[0]),
    "complex": lambda xp, a: complex(a[0]),
    "bool": lambda xp, a: bool(a[0] > 1),
    "item": lambda xp, a: a.item(0),
    "tolist": lambda xp, a: a.tolist(),
    "get": lambda xp, a: a.get(),
    "asnumpy": lambda xp, a: xp.asnumpy(a),
    "repr": lambda xp, a: f"{a}",
    "a boolean index": lambda xp, a: a[a > 1],
    "where": lambda xp, a: xp.where(a > 1),
    "nonzero": lambda xp, a: xp.nonzero(a),
    "ndarray.nonzero": lambda xp, a: a.nonzero(),
    "unique": lambda xp, a: xp.unique(a),
    "bincount": lambda xp, a: xp.bincount(a.astype(int)),
}
COPYING = {
    "asarray": lambda xp, a: xp.asarray(HOST),
    "array": lambda xp, a: xp.array([1.0, 2.0]),
    "set": lambda xp, a: a.set(HOST),
}
NEITHER = {
    "arithmetic": lambda xp, a: xp.exp(a * 2 + 1) @ a,
    "reductions": lambda xp, a: (a.sum(), xp.argmax(a), xp.allclose(a, a)),
    "views and copies": lambda xp, a: (a[1:], a[0], a.reshape(3, 1).T, a.copy(), copy.copy(a), xp.asarray(a)),
    "a choice by a mask": lambda xp, a: xp.where(a > 1, a, 0.0),
    "storing by a mask": lambda xp, a: operator.setitem(a, a > 1, 0.0),
    "new arrays": lambda xp, a: (xp.zeros(3), xp.arange(4), xp.empty_like(a), xp.full((2, 2), 7.0)),
    "shape, dtype, length": lambda xp, a: (a.shape, a.dtype, len(a), a.flags, xp.result_type(a, a)),
    "random numbers": lambda xp, a: xp.random.default_rng(0).random(3),
}


@pytest.mark.parametrize("what", WAITING)
def test_where_the_host_waits_for_the_device_is_counted(what, xp, a):
    with synchronisations() as count:
        WAITING[what](xp, a)
    assert dict(count.waits) == {what: 1} and int(count) == 1 and not count.copies


@pytest.mark.parametrize("what", COPYING)
def test_where_numbers_go_to_the_device_is_counted(what, xp, a):
    with synchronisations() as count:
        COPYING[what](xp, a)
    assert dict(count.copies) == {what: 1} and int(count) == 0


@pytest.mark.parametrize("what", NEITHER)
def test_what_stays_on_the_device_is_not_counted(what, xp, a):
    with synchronisations() as count:
        NEITHER[what](xp, a)
    assert int(count) == 0 and not count.copies


def test_counts_can_lie_in_one_another_and_end_with_their_context(a):
    with synchronisations() as outer:
        a.item(0)
        with synchronisations() as inner:
            a.item(1)
        a.item(2)
    a.item(0)
    assert (int(outer), int(inner)) == (3, 1) and repr(inner) == "waits {'item': 1}, copies {}"


def test_a_pickled_array_is_fetched_and_sent_again(a):
    with synchronisations() as count:
        again = pickle.loads(pickle.dumps(a))
    assert dict(count.waits) == {"get": 1} and dict(count.copies) == {"asarray": 1}
    assert np.array_equal(again.get(), HOST) and type(again) is type(a)


def test_a_number_of_several_elements_is_refused_as_it_is_by_numpy(a):
    with pytest.raises(TypeError):
        float(a)
    with pytest.raises(ValueError, match="truth value"):
        bool(a)


# ---------------------------------------------------------------- the contract


@pytest.fixture
def replays(cupy, monkeypatch):
    """The calls that were replayed on CuPy from here on, all of them new."""
    seen, replayed = [], contract._replayed
    monkeypatch.setattr(contract, "_said", {})
    monkeypatch.setattr(contract, "_replayed", lambda path, *rest: (seen.append(path), replayed(path, *rest))[1])
    return seen


def test_each_new_kind_of_call_is_replayed_once(xp, replays):
    for shape in ((2, 3), (4, 5)):  # lengths are nothing new
        xp.sum(xp.zeros(shape, np.float32), axis=1)
    assert replays.count("cupy.sum") == 1


@pytest.mark.parametrize(
    "other",
    [
        lambda xp, x: xp.sum(x.astype(np.float64), axis=1),
        lambda xp, x: xp.sum(x.reshape(2, 3, 1), axis=1),
        lambda xp, x: xp.sum(x.T, axis=1),
        lambda xp, x: xp.sum(x, axis=(1,)),
        lambda xp, x: xp.sum(x, 1),
        lambda xp, x: xp.sum(x, axis=1, keepdims=True),
        lambda xp, x: xp.sum(x, axis=1, dtype=np.float64),
    ],
    ids=["dtype", "axes", "layout", "type of a keyword", "place", "keyword", "value that is no number"],
)
def test_a_call_that_differs_in_what_cupy_looks_at_is_new(other, xp, replays):
    x = xp.zeros((2, 3), np.float32)
    xp.sum(x, axis=1)
    other(xp, x)
    assert replays.count("cupy.sum") == 2


def test_every_way_to_call_is_replayed(xp, a, replays):
    _ = a + a, a.sum(), xp.exp(a), np.log(a), xp.linalg.inv(xp.eye(2)), a[1:], double_special.erf(a), xp.asarray(HOST)
    a += 1
    a[0] = 1.0
    xp.add.at(a, xp.zeros(1, int), 1.0)
    xp.random.default_rng(0).random(3)
    assert set(replays) >= {
        *("operator.add", "cupy.ndarray.sum", "cupy.exp", "cupy.log", "cupy.linalg.inv", "operator.getitem"),
        *("cupyx.scipy.special.erf", "operator.iadd", "operator.setitem", "cupy.add.at", "cupy.asarray"),
        "cupy.random.Generator.random",
    }


def test_a_planted_keyword_dtype_or_function_that_cupy_lacks_fails_with_its_words(a, cupy):
    with pytest.raises(Refused, match=r"CuPy refuses sum: TypeError: .*unexpected keyword argument 'planted'"):
        contract.hold("cupy.sum", (a,), {"planted": 1})
    with pytest.raises(Refused, match=r"CuPy refuses zeros: .*planted"):
        contract.hold("cupy.zeros", (3,), {"dtype": "planted"})
    with pytest.raises(Refused, match=r"CuPy refuses planted: AttributeError: .*planted"):
        contract.hold("cupy.planted", (a,), {})
    assert contract.has("cupy.linalg.svd") and not contract.has("cupy.linalg.planted")


def test_a_refusal_is_remembered(a, replays):
    for _ in range(2):
        with pytest.raises(Refused):
            contract.hold("cupy.sum", (a,), {"planted": 1})
    assert replays == ["cupy.sum"]


def test_what_cupy_gains_or_loses_changes_what_is_refused(xp, a, cupy, monkeypatch):
    """So it is CuPy that is asked, and no list of ours."""
    monkeypatch.setattr(contract, "_said", {})
    monkeypatch.setattr(cupy, "sum", lambda a, axis=None, initial=0.0: a)
    assert float(xp.sum(a, initial=1.0)) == 7.0
    with pytest.raises(Refused, match=r"CuPy refuses sum: TypeError: .*'keepdims'"):
        xp.sum(a, keepdims=True)
    monkeypatch.delattr(cupy, "hypot")
    with pytest.raises(Refused, match="CuPy has no hypot"):
        np.hypot(a, a)


# ---------------------------------------------------------------- without CuPy


def test_without_cupy_the_double_works_and_keeps_its_own_rules(without_cupy, xp, a):
    assert contract.cupy() is None
    assert xp.sum(xp.exp(a * 0)).get() == 3 and xp.random.default_rng(0).random(3).shape == (3,)
    assert xp.sum(a, initial=1.0).get() == 7  # which CuPy would refuse
    for call, words in REFUSED_BY_THE_DOUBLE.values():
        with pytest.raises(Refused, match=words):
            call(xp, a)
    with pytest.raises(Refused, match=r"CuPy converts no array to NumPy's by itself: use \.get\(\)"):
        np.asarray(a)
    with synchronisations() as count:
        float(a[0])
    assert int(count) == 1


def test_without_cupy_doctor_and_check_say_that_nothing_is_replayed(without_cupy, capsys, monkeypatch):
    monkeypatch.setattr("tinygrad_ft.cuda.cases.CASES", [next(case for case in CASES if case.op == "sub")])
    assert main(["doctor"]) == 0
    said = (
        "device double: refuses by its own rules alone, for CuPy is not installed: pip install 'tinygrad-ft[gpu-check]'"
    )
    assert said in capsys.readouterr().out.splitlines()
    assert main(["kernels", "check", "sub"]) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == [said, "1 of 1 cases are right"]


def test_with_cupy_doctor_says_on_which_version_and_check_says_nothing(cupy, capsys, monkeypatch):
    monkeypatch.setattr("tinygrad_ft.cuda.cases.CASES", [next(case for case in CASES if case.op == "sub")])
    assert main(["doctor"]) == 0
    assert f"replayed on CuPy {cupy.__version__}" in capsys.readouterr().out
    assert main(["kernels", "check", "sub"]) == 0
    assert "device double" not in capsys.readouterr().out


def test_where_cupy_finds_a_gpu_or_cannot_be_imported_nothing_is_replayed(cupy, monkeypatch):
    monkeypatch.setattr(cupy.cuda, "is_available", lambda: True)
    contract.cupy.cache_clear()
    try:
        assert contract.cupy() is None and not state.contract().ready
        assert "has a GPU here or cannot be imported" in state.contract().said
    finally:
        monkeypatch.undo()
        contract.cupy.cache_clear()
    assert contract.cupy() is cupy
