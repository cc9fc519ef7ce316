"""The work of an op in shares: the same bits however threads divide it, and right again for new contents."""

from itertools import pairwise

import numpy as np
import pytest
from test_kernels import DIVIDED, ROWS, assert_agrees, normals, own_forward, parts

from tinygrad_ft.dispatch import Share

WITH_ROW = {name: op for name, op in DIVIDED.items() if name in ROWS}  # test_kernels.py fails where one has none
every_division = pytest.mark.parametrize("op", WITH_ROW.values(), ids=WITH_ROW)
LAYOUTS = [lambda x: x, lambda x: x[:4960].reshape(80, 62), lambda x: x[:4096].reshape(64, 8, 8)]
SIZE = 4099 + 900
CUTS = [(0.5,), (1 / 3, 2 / 3), (0.05, 0.9)]  # where the items are divided


def room_for(op, arrays, params):
    """What shares are to write into: the array that an update writes in place, else arrays that hold NaN as yet."""
    if op.name.endswith("_update"):
        return arrays[0]
    copies = [a.copy() if isinstance(a, np.ndarray) else a for a in arrays]
    own = own_forward(op)(np, *copies, **params)
    if not isinstance(own, tuple):
        own = np.asarray(own)
        return unwritten(own)
    return tuple(unwritten(y) for y in own)


def unwritten(y):
    return np.full(y.shape, np.nan if y.dtype.kind == "f" else -999, y.dtype)


def run_whole(shares):
    for loop, items, arguments, _ in shares:
        loop(*arguments, 0, items)


def run_in_parts(shares, cuts):
    """Each share in parts, the last part first: threads keep no order."""
    for loop, items, arguments, _ in shares:
        edges = [0, *(int(items * cut) for cut in cuts), items]
        for start, end in [*pairwise(edges)][::-1]:
            loop(*arguments, start, end)


def assert_same_bits_however_divided(make):
    """make() gives arrays and the shares that write them, the same each time."""
    arrays, shares = make()
    run_whole(shares)
    whole = [a.tobytes() for a in arrays]
    for cuts in CUTS:
        arrays, shares = make()
        run_in_parts(shares, cuts)
        assert [a.tobytes() for a in arrays] == whole


def calls(op, dtype, layout):
    return [*ROWS[op.name].calls(normals(SIZE, dtype, layout=layout))]


def divided(op, dtype, layout, which):
    """All arrays of that call of the op's row, and the shares that write them; None if there are none for this call."""
    arrays, params = calls(op, dtype, layout)[which]
    y = room_for(op, arrays, params)
    shares = op.kernels.shares("cpu", y, arrays, params)
    return shares and ([*parts(y), *(a for a in arrays if isinstance(a, np.ndarray))], shares)


@every_division
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_op_divided_among_threads_gives_the_same_bits_as_on_one(op, dtype):
    items = []
    for layout in LAYOUTS:
        for which in range(len(calls(op, dtype, layout))):
            made = divided(op, dtype, layout, which)
            if made:
                items += [share.items for share in made[1]]
                assert_same_bits_however_divided(lambda layout=layout, which=which: divided(op, dtype, layout, which))
    assert max(items) > 1, "nothing of this was divided: extend LAYOUTS"


def running_sum(x, y, start, end):
    s = 0.0
    for i in range(start, end):
        s += x[i]
        y[i] = s


def adding_up(x, y, start, end):
    y[0] += x[start:end].sum()


def from_its_neighbour(x, y, start, end):
    for i in range(start, end):
        y[i] = x[i] + (y[i - 1] if i else 0.0)


def one_by_one(x, y, start, end):
    y[start:end] = x[start:end] * 3


@pytest.mark.parametrize("loop", [running_sum, adding_up, from_its_neighbour])
def test_a_planted_loop_whose_items_depend_on_each_other_is_caught(loop):
    def make(loop=loop):
        x, y = normals(100)(), np.zeros(100, np.float32)
        return [x, y], [Share(loop, 100, (x, y))]

    assert_same_bits_however_divided(lambda: make(one_by_one))
    with pytest.raises(AssertionError):
        assert_same_bits_however_divided(make)


def in_shares(op):
    """What the shares of an op write, in the form of a kernel; where it has none, what the op answers."""

    def run(xp, *arrays, **params):
        y = room_for(op, arrays, params)
        shares = op.kernels.shares("cpu", y, arrays, params)
        if shares is None:
            return own_forward(op)(xp, *arrays, **params)
        run_whole(shares)
        return y

    return run


def replayed(op, seen=lambda a: a):
    """The same, from shares that were made and run when the arrays held something else; `seen` is what they get."""

    def run(xp, *arrays, **params):
        y = room_for(op, arrays, params)
        changing = [a for a in arrays if isinstance(a, np.ndarray)]
        contents = [a.copy() for a in changing]
        for a in changing:
            a[...] = 1.5 if a.dtype.kind == "f" else 0
        shown = [seen(a) if isinstance(a, np.ndarray) and a.dtype.kind == "f" else a for a in arrays]
        shares = op.kernels.shares("cpu", y, shown, params)
        run_whole(shares or ())
        for a, content in zip(changing, contents, strict=True):
            a[...] = content
        if shares is None:
            return own_forward(op)(xp, *arrays, **params)
        run_whole(shares)
        return y

    return run


@every_division
@pytest.mark.parametrize("layout", LAYOUTS, ids=["1 axis", "2 axes", "3 axes"])
def test_shares_write_what_the_op_answers(op, layout):
    assert_agrees(op, in_shares(op), lambda: normals(SIZE, layout=layout))
    assert_agrees(op, in_shares(op), lambda: normals(SIZE, "float64", layout=layout))


@every_division
@pytest.mark.parametrize("layout", LAYOUTS, ids=["1 axis", "2 axes", "3 axes"])
def test_the_same_shares_write_what_the_op_answers_to_new_contents_of_the_same_arrays(op, layout):
    assert_agrees(op, replayed(op), lambda: normals(SIZE, layout=layout))


@every_division
def test_shares_that_hold_on_to_old_contents_are_caught(op):
    with pytest.raises(AssertionError):
        assert_agrees(op, replayed(op, seen=np.copy), lambda: normals(SIZE))


# --- what is not finite: a recorded step has no op to fall back on -----------------------------------------------


def strange_attention(run, where, special, causal):
    """What attention answers where one number of q, k or v is special, or a whole row of k gives -inf."""
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((1, 2, 40, 8)).astype(np.float32) for _ in range(3)]
    if where < 3:
        arrays[where][0, 1, 5, 3] = special
    else:
        arrays[0] = abs(arrays[0])
        arrays[1][0, 1] = -np.inf
    with np.errstate(all="ignore"):
        return run(np, *arrays, None, causal=causal, scale=0.3)


def assert_as_the_op(run, *case):
    for y, own in zip(
        strange_attention(run, *case), strange_attention(DIVIDED["attention"].forward, *case), strict=True
    ):
        np.testing.assert_allclose(y, own, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("special", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("where", range(4), ids=["q", "k", "v", "a head that may look nowhere"])
def test_attention_in_shares_makes_of_infinities_and_nan_what_the_op_does(where, special, causal):
    assert_as_the_op(in_shares(DIVIDED["attention"]), where, special, causal)


def test_attention_that_hides_nan_is_caught():
    def hiding(*arrays, **params):
        return tuple(np.nan_to_num(y) for y in DIVIDED["attention"].forward(*arrays, **params))

    with pytest.raises(AssertionError):
        assert_as_the_op(hiding, 2, np.nan, False)


# --- a target that is no class -------------------------------------------------------------------------------------


def around_stays(run):
    """Whether run(slope) leaves the memory before and after slope alone."""
    memory = np.full(96, 7.0, np.float32)
    run(memory[32:64].reshape(4, 8))
    return (memory[:32] == 7).all() and (memory[64:] == 7).all()


@pytest.mark.parametrize("target", [[8, 0, 0, 1000], [-9, 1, 2, -40], [2**62, -(2**62), 0, 0]])
def test_a_target_that_is_no_class_writes_nothing_outside(target):
    op, x, loss = DIVIDED["summed_cross_entropy"], normals(32)().reshape(4, 8), np.empty((), np.float32)

    def run(slope):
        run_whole(op.kernels.shares("cpu", (loss, slope), (x, np.array(target), 1.0), {}))
        assert np.isfinite(slope).all() and np.isfinite(loss)

    assert around_stays(run)


def test_a_planted_write_outside_is_seen():
    def run(slope):
        slope.base.reshape(-1)[64] = 0

    assert not around_stays(run)
