"""Inputs on which each op is checked: away from kinks, ties and ends of domains, where differences mean nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from tinygrad_ft.engine import OPS, Value
from tinygrad_ft.gradcheck.check import gradcheck, gradgradcheck
from tinygrad_ft.ops.composed import COMPOSED
from tinygrad_ft.ops.shape import HERE
from tinygrad_ft.tensor import Tensor

Rng = np.random.Generator


class Sample(NamedTuple):
    """One call of an op: plain arrays (float64, or integers and booleans), and parameters."""

    arrays: tuple[Any, ...]
    params: dict[str, Any] = {}  # noqa: RUF012 (never written to)


def normal(rng: Rng, *shape: int) -> Any:
    """Numbers around 0, none nearer to it than 0.1, all different."""
    x = rng.standard_normal(shape)
    return np.asarray(x + np.where(x < 0, -0.1, 0.1))


def positive(rng: Rng, *shape: int) -> Any:
    """Numbers from 0.5 to 2."""
    return np.asarray(rng.uniform(0.5, 2.0, shape))


def unit(rng: Rng, *shape: int) -> Any:
    """Numbers from 0.1 to 0.9."""
    return np.asarray(rng.uniform(0.1, 0.9, shape))


def _unary(domain: Any = normal, **params: Any) -> Callable[[Rng], list[Sample]]:
    return lambda rng: [Sample((domain(rng, *shape),), params) for shape in [(3, 4), (), (0, 2)]]


def _binary(a: Any = normal, b: Any = normal) -> Callable[[Rng], list[Sample]]:
    pairs = [((3, 4), (3, 4)), ((2, 3), (3,)), ((2, 1), (1, 3)), ((), (2,)), ((), ()), ((0, 2), (2,))]
    return lambda rng: [Sample((a(rng, *left), b(rng, *right))) for left, right in pairs]


def _of(*calls: Callable[[Rng], Sample]) -> Callable[[Rng], list[Sample]]:
    return lambda rng: [call(rng) for call in calls]


def _axes(domain: Any = normal, whole: bool = True, empty: bool = True, **params: Any) -> Callable[[Rng], list[Sample]]:
    def samples(rng: Rng) -> list[Sample]:
        found = [
            Sample((domain(rng, 3, 4),), {**params, "axis": 0}),
            Sample((domain(rng, 2, 3, 4),), {**params, "axis": 1}),
            Sample((domain(rng),), {**params, "axis": -1}),
        ]
        if whole:
            found.append(Sample((domain(rng, 2, 3),), dict(params)))
            found.append(Sample((domain(rng, 2, 3, 4),), {**params, "axis": (0, -1), "keepdims": True}))
        if empty:
            found.append(Sample((domain(rng, 0, 3),), {**params, "axis": 1}))
        return found

    return samples


_C, _W = (4, 3), (5, 3)
SAMPLES: dict[str, Callable[[Rng], list[Sample]]] = {
    "add": _binary(),
    "sub": _binary(),
    "mul": _binary(),
    "div": _binary(b=positive),
    "over": _binary(b=positive),
    "times": _binary(),
    "pow": lambda rng: [
        *_binary(positive)(rng),
        *(Sample((normal(rng, 3), p)) for p in (0, 1, 2, 3, -1, -2)),
        *(Sample((positive(rng, 3), p)) for p in (0.5, 2.5)),
    ],
    **{
        name: _unary()
        for name in [
            "neg",
            "exp",
            "sin",
            "cos",
            "tanh",
            "sigmoid",
            "softplus",
            "relu",
            "erf",
            "gelu_slope",
            "abs",
            "sign",
            "clone",
        ]
    },
    **{name: _unary(positive) for name in ["log", "sqrt"]},
    "gelu": lambda rng: [*_unary()(rng), *_unary(approximate="tanh")(rng)],
    "maximum": _binary(),
    "minimum": _binary(),
    "clip": lambda rng: [
        *_unary(min=-0.05, max=0.77)(rng),
        Sample((normal(rng, 4),), {"min": 0.0}),
        Sample((normal(rng, 4),), {"max": 0.0}),
    ],
    "where": _of(
        lambda rng: Sample((rng.random((3, 4)) < 0.5, normal(rng, 3, 4), normal(rng, 4))),
        lambda rng: Sample((rng.random((3, 1)) < 0.5, normal(rng, 4), normal(rng))),
        lambda rng: Sample((np.array(True), normal(rng), normal(rng))),
        lambda rng: Sample((np.zeros((0, 2), bool), normal(rng, 2), normal(rng))),
    ),
    "cast": _unary(dtype=np.dtype(np.float64)),
    "sum": _axes(),
    "mean": _axes(),
    "var": _of(
        lambda rng: Sample((normal(rng, 3, 4),), {"axis": 0}),
        lambda rng: Sample((normal(rng, 2, 3),), {"correction": 0}),
        lambda rng: Sample((normal(rng),), {"correction": 0}),
        lambda rng: Sample((normal(rng, 2, 3, 2),), {"axis": (0, 2), "keepdims": True}),
    ),
    "std": lambda rng: [Sample((normal(rng, 3, 4),), {"axis": 0}), Sample((normal(rng, 5),))],
    "amax": _axes(),
    "amin": _axes(),
    "max": _axes(whole=False),
    "min": _axes(whole=False),
    "logsumexp": _axes(),
    "softmax": _axes(whole=False),
    "log_softmax": _axes(whole=False),
    "softmax_grad": _of(
        lambda rng: Sample((normal(rng, 3, 4), unit(rng, 3, 4)), {"axis": 0}),
        lambda rng: Sample((normal(rng), unit(rng))),
    ),
    "expand": _of(
        lambda rng: Sample((normal(rng, 3, 1),), {"shape": (2, 3, 4)}),
        lambda rng: Sample((normal(rng),), {"shape": (0, 2)}),
    ),
    "broadcast_to": _of(lambda rng: Sample((normal(rng, 3, 1), (2, -1, 4))), lambda rng: Sample((normal(rng), (2,)))),
    "sum_to": _of(
        lambda rng: Sample((normal(rng, 2, 3, 4),), {"shape": (3, 1)}),
        lambda rng: Sample((normal(rng, 2, 3),), {"shape": ()}),
    ),
    "reshape": _of(
        lambda rng: Sample((normal(rng, 2, 6),), {"shape": (3, -1)}),
        lambda rng: Sample((normal(rng),), {"shape": (1, 1)}),
        lambda rng: Sample((normal(rng, 0, 3),), {"shape": (3, 0)}),
    ),
    "permute": _of(
        lambda rng: Sample((normal(rng, 2, 3, 4),), {"axes": (2, 0, 1)}),
        lambda rng: Sample((normal(rng, 2, 3, 4),), {"axes": (-2, -1, 0)}),
        lambda rng: Sample((normal(rng),), {"axes": ()}),
    ),
    "transpose": _of(lambda rng: Sample((normal(rng, 2, 3, 4),)), lambda rng: Sample((normal(rng, 2, 3), 0, -1))),
    "squeeze": _of(lambda rng: Sample((normal(rng, 1, 3, 1),)), lambda rng: Sample((normal(rng, 1, 3, 1), -1))),
    "unsqueeze": _of(lambda rng: Sample((normal(rng, 2, 3), 1)), lambda rng: Sample((normal(rng), -1))),
    "flatten": _of(lambda rng: Sample((normal(rng, 2, 3, 4), 1)), lambda rng: Sample((normal(rng),))),
    "getitem": _of(
        lambda rng: Sample((normal(rng, 4, 5),), {"key": (slice(None, None, 2), 1)}),
        lambda rng: Sample((normal(rng, 4, 5),), {"key": (Ellipsis, None, slice(3, 0, -1))}),
        lambda rng: Sample((normal(rng, 4, 5), np.array([0, 0, 3])), {"key": (HERE,)}),
        lambda rng: Sample((normal(rng, 4, 5), np.array([[0], [-1]]), np.array([1, 1])), {"key": (HERE, HERE)}),
        lambda rng: Sample((normal(rng, 3, 2), np.array([True, False, True])), {"key": (HERE,)}),
        lambda rng: Sample((normal(rng),), {"key": ()}),
    ),
    "put": _of(
        lambda rng: Sample((normal(rng, 2),), {"key": (slice(None, None, 2), 1), "shape": (4, 5)}),
        lambda rng: Sample((normal(rng, 3, 2), np.array([0, 0, 3])), {"key": (HERE,), "shape": (4, 2)}),
    ),
    "gather": _of(
        lambda rng: Sample((normal(rng, 3, 4), np.array([[0, 0], [3, 1], [2, 2]])), {"axis": 1}),
        lambda rng: Sample((normal(rng, 3, 4), np.array([[0, 1, 2, 2]])), {"axis": 0}),
    ),
    "scatter_add": _of(
        lambda rng: Sample((normal(rng, 3, 2), np.array([[0, 0], [3, 1], [2, 2]])), {"axis": 1, "shape": (3, 4)})
    ),
    "concatenate": _of(
        lambda rng: Sample((normal(rng, 2, 3), normal(rng, 2, 1)), {"axis": -1}),
        lambda rng: Sample((normal(rng, 2), normal(rng, 0), normal(rng, 3))),
    ),
    "cat": _of(lambda rng: Sample(((normal(rng, 2, 3), normal(rng, 1, 3)),))),
    "stack": _of(
        lambda rng: Sample(((normal(rng, 2, 3), normal(rng, 2, 3)), 1)),
        lambda rng: Sample(((normal(rng), normal(rng)),)),
    ),
    "split": _of(
        lambda rng: Sample((normal(rng, 2, 6),), {"sizes": (1, 2, 3), "axis": -1}),
        lambda rng: Sample((normal(rng, 3, 2),), {"sizes": (0, 3)}),
    ),
    "pad_constant": _of(lambda rng: Sample((normal(rng, 2, 3),), {"widths": ((1, 0), (2, 1)), "value": 0.5})),
    "pad": _of(
        lambda rng: Sample((normal(rng, 2, 3), (1, 2))), lambda rng: Sample((normal(rng, 0, 3), (0, 1, 2, 0), 7.0))
    ),
    "matmul": _of(
        *(
            lambda rng, a=a, b=b: Sample((normal(rng, *a), normal(rng, *b)))
            for a, b in [
                ((2, 3), (3, 4)),
                ((3,), (3,)),
                ((3,), (3, 2)),
                ((2, 3), (3,)),
                ((2, 2, 3), (3, 2)),
                ((2, 1, 2, 3), (3, 3, 2)),
                ((3,), (2, 3, 2)),
                ((2, 2, 3), (3,)),
                ((0, 3), (3, 2)),
                ((2, 0), (0, 3)),
            ]
        )
    ),
    "linear": _of(
        lambda rng: Sample((normal(rng, *_C), normal(rng, *_W), normal(rng, 5))),
        lambda rng: Sample((normal(rng, 2, *_C), normal(rng, *_W), None)),
        lambda rng: Sample((normal(rng, 3), normal(rng, *_W), normal(rng, 5))),
        lambda rng: Sample((normal(rng, 0, 3), normal(rng, *_W), normal(rng, 5))),
    ),
    "embedding": _of(
        lambda rng: Sample((np.array([[0, 2], [2, 2]]), normal(rng, 4, 3))),
        lambda rng: Sample((np.array(1), normal(rng, 4, 3))),
        lambda rng: Sample((np.zeros((0, 2), int), normal(rng, 4, 3))),
    ),
    "sum_rows": _of(
        lambda rng: Sample((normal(rng, 2, 2, 3), np.array([[0, 2], [2, 2]])), {"rows": 4}),
        lambda rng: Sample((normal(rng, 0, 3), np.zeros(0, int)), {"rows": 2}),
    ),
    "normalise": _of(
        lambda rng: Sample((normal(rng, 3, 4),)),
        lambda rng: Sample((normal(rng, 2, 3, 2),), {"axes": 2, "eps": 1e-2}),
        lambda rng: Sample((normal(rng, 0, 4),)),
    ),
    "layer_norm": _of(
        lambda rng: Sample((normal(rng, 3, 4), 4, normal(rng, 4), normal(rng, 4))),
        lambda rng: Sample((normal(rng, 2, 2, 3), (2, 3), normal(rng, 2, 3))),
        lambda rng: Sample((normal(rng, 3, 4), (4,))),
    ),
    "attention": _of(
        lambda rng: Sample(
            (normal(rng, 2, 3, 4), normal(rng, 2, 3, 4), normal(rng, 2, 3, 2), None), {"causal": True, "scale": 0.5}
        ),
        lambda rng: Sample((normal(rng, 3, 2), normal(rng, 4, 2), normal(rng, 4, 2), normal(rng, 3, 4))),
        lambda rng: Sample((normal(rng, 0, 2), normal(rng, 4, 2), normal(rng, 4, 2), None)),
    ),
    "scaled_dot_product_attention": _of(
        lambda rng: Sample((normal(rng, 2, 3, 4), normal(rng, 2, 3, 4), normal(rng, 2, 3, 4)), {"is_causal": True}),
        lambda rng: Sample((normal(rng, 3, 2), normal(rng, 4, 2), normal(rng, 4, 2), rng.random((3, 4)) < 0.7)),
    ),
    "dropout": _of(
        lambda rng: Sample((normal(rng, 3, 4),), {"training": False}), lambda rng: Sample((normal(rng),), {"p": 0.0})
    ),
    "cross_entropy_rows": _of(lambda rng: Sample((normal(rng, *_C), np.array([0, 2, 2, 1])))),
    "less_onehot": _of(lambda rng: Sample((normal(rng, *_C), np.array([0, 2, 2, 1])))),
    "cross_entropy": _of(
        lambda rng: Sample((normal(rng, *_C), np.array([0, 2, -100, 1]))),
        lambda rng: Sample((normal(rng, 3), np.array(1))),
        lambda rng: Sample(
            (normal(rng, 2, 3, 2), np.array([[0, 2], [1, 1]]), positive(rng, 3)), {"label_smoothing": 0.1}
        ),
        lambda rng: Sample((normal(rng, *_C), unit(rng, *_C)), {"reduction": "sum"}),
        lambda rng: Sample((normal(rng, *_C), np.array([0, 2, 2, 1])), {"reduction": "none"}),
    ),
    "mse_loss": _of(
        lambda rng: Sample((normal(rng, 3, 2), normal(rng, 3, 2))),
        lambda rng: Sample((normal(rng), normal(rng)), {"reduction": "sum"}),
    ),
    "bce_of_chances": _of(lambda rng: Sample((unit(rng, 3, 2), unit(rng, 3, 2)))),
    "binary_cross_entropy": _of(
        lambda rng: Sample((unit(rng, 3, 2), unit(rng, 3, 2))),
        lambda rng: Sample((unit(rng), unit(rng), positive(rng)), {"reduction": "sum"}),
    ),
    "binary_cross_entropy_with_logits": _of(
        lambda rng: Sample((normal(rng, 3, 2), unit(rng, 3, 2))),
        lambda rng: Sample((normal(rng, 3, 2), unit(rng, 3, 2)), {"pos_weight": positive(rng, 2), "reduction": "none"}),
    ),
}


def leaves(sample: Sample) -> tuple[Any, ...]:
    """The sample's floating-point arrays as Tensors that require grad, also those in a sequence; the rest as it is."""

    def leaf(a: Any) -> Any:
        if isinstance(a, tuple) and any(isinstance(part, np.ndarray) for part in a):
            return tuple(map(leaf, a))
        return Tensor(np.asarray(a)).requires_grad_() if getattr(a, "dtype", np.dtype(int)).kind == "f" else a

    return tuple(map(leaf, sample.arrays))


def _refilled(args: Any, leaves: Iterator[Any]) -> Any:
    """The arguments with other leaves in the places of theirs."""
    if isinstance(args, tuple):
        return tuple(_refilled(a, leaves) for a in args)
    return next(leaves) if isinstance(args, Value) else args


def check_op(name: str, *, seed: int = 0) -> int:
    """Check first and second derivatives of an op or a composed function on its samples; answers how many there were.

    Raises:
        GradcheckError: where the chain rule and the differences disagree.
        KeyError: if there are no samples of that name: ops without a derivative have none.
    """
    f = OPS.get(name) or COMPOSED[name]
    samples = SAMPLES[name](np.random.default_rng(seed))
    for sample in samples:
        args = leaves(sample)
        flat = [x for a in args for x in (a if isinstance(a, tuple) else [a]) if isinstance(x, Value)]

        def of_leaves(*xs: Any, args: Any = args, params: Any = sample.params) -> Any:
            return f(*_refilled(args, iter(xs)), **params)

        gradcheck(of_leaves, flat)
        gradgradcheck(of_leaves, flat)
    return len(samples)
