"""Steps that the tests of `tg.jit` share: every op on its samples, and small trainings, jitted or not."""

import numpy as np
from test_ops import EVERY, as_tuple

import tinygrad_ft as tg
from tinygrad_ft import autograd
from tinygrad_ft.engine import Value
from tinygrad_ft.jit import JitError


def taken_out(tree, arrays):
    """The tree with a number in the place of each array, which goes to the end of `arrays`."""
    if isinstance(tree, dict):
        return {name: taken_out(part, arrays) for name, part in tree.items()}
    if isinstance(tree, tuple | list):
        return type(tree)(taken_out(part, arrays) for part in tree)
    if isinstance(tree, np.ndarray):
        arrays.append(tree)
        return ("array", len(arrays) - 1)
    return tree


def put_back(tree, tensors):
    """What `taken_out` was given, with these in the place of the arrays."""
    if isinstance(tree, dict):
        return {name: put_back(part, tensors) for name, part in tree.items()}
    if isinstance(tree, tuple) and len(tree) == 2 and tree[0] == "array":
        return tensors[tree[1]]
    if isinstance(tree, tuple | list):
        return type(tree)(put_back(part, tensors) for part in tree)
    return tree


class OpStep:
    """A step that calls one op on a sample and, where it has a derivative, takes its gradients."""

    def __init__(self, name, sample, dtype):
        self.name = name
        arrays, of_inputs = [], []
        self.tree = taken_out((sample.arrays, sample.params), arrays)
        taken_out(sample.arrays, of_inputs)
        self.arrays = [np.array(a, dtype if a.dtype.kind == "f" else a.dtype) for a in arrays]
        self.leaves = [
            tg.Tensor(a.copy()).requires_grad_(a.dtype.kind == "f" and i < len(of_inputs))
            for i, a in enumerate(self.arrays)
        ]

    @property
    def kind(self):
        """What has to be equal for two samples to be one program."""
        return str(self.tree), [(a.shape, a.dtype) for a in self.arrays]

    def answers(self, leaves):
        """What the op answers."""
        inputs, params = put_back(self.tree, leaves)
        return as_tuple(EVERY[self.name](*inputs, **params))

    def cotangents(self):
        """An array for each answer that has a gradient."""
        ys = self.answers(self.leaves)
        rng = np.random.default_rng(0)
        return [rng.standard_normal(y.shape).astype(y.dtype) for y in ys if isinstance(y, Value) and y.requires_grad]

    def __call__(self, leaves, us):
        ys = self.answers(leaves)
        with_graph = [y for y in ys if isinstance(y, Value) and y.requires_grad]
        xs = [x for x in leaves if x.requires_grad]
        gs = autograd.grad(with_graph, xs, us, allow_unused=True) if with_graph else ()
        return list(ys), [g for g in gs if g is not None]


# ---------------------------------------------------------------- stories: told twice, with jit and without


class Teller:
    """Stands for `tg.jit` in a story, and remembers the steps that it made."""

    def __init__(self, **options):
        self.options, self.made = options, []

    def __call__(self, step):
        self.made.append(tg.jit(step, **self.options))
        return self.made[-1]

    @property
    def replays(self):
        """Whether every step has been made a program."""
        return bool(self.made) and all(jitted.programs for jitted in self.made)


def told(story, jit):
    """What the story answers, call by call, as lists of arrays of its own."""
    tg.manual_seed(0)
    for answer in story(jit):
        yield [np.array(a.array if isinstance(a, Value) else a) for a in as_tuple(answer)]


def assert_same(got, expected, tolerance, where):
    assert len(got) == len(expected), where
    for a, b in zip(got, expected, strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape, f"{where}: {a.dtype} {a.shape} for {b.dtype} {b.shape}"
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance, err_msg=where)


def same_as_eager(story, tolerance=1e-5, **options):
    """The story has one ending, with jit and without; and with jit, its steps were replayed."""
    teller = Teller(**options)
    expected = list(told(story, lambda step: step))
    got = list(told(story, teller))
    for i, (a, b) in enumerate(zip(got, expected, strict=True)):
        assert_same(a, b, tolerance, f"answer {i} of {len(expected)}")
    assert teller.replays, "no call was replayed: nothing is proven"


def never_silently_wrong(story, tolerance=1e-5):
    """Each answer is eager's, up to a JitError if there is one; its message."""
    expected = list(told(story, lambda step: step))
    answers = told(story, Teller())
    for i, b in enumerate(expected):
        try:
            a = next(answers)
        except JitError as error:
            return str(error)
        assert_same(a, b, tolerance, f"answer {i} of {len(expected)}")
    return ""


def numbers(*shape, seed=0, dtype=np.float32):
    """A Tensor of normal numbers."""
    return tg.Tensor(np.random.default_rng(seed).standard_normal(shape).astype(dtype))


def parameter(*shape, seed=0, dtype=np.float32):
    """A leaf of normal numbers."""
    return numbers(*shape, seed=seed, dtype=dtype).requires_grad_()
