"""Calls of ops at a size that the caller chooses: what `kernels profile` and `doctor --gpu` measure.

Each is made from rows, cols and inner, which mean what fits the op: rows and classes, rows and features, the matrices
of a product (rows x inner times inner x cols), sequence length and width of a head.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tinygrad_ft.cuda.cases import Case, Host, Rng, normal


class Workload(NamedTuple):
    """How to call an op at a size, and the operations of float32 arithmetic that its mathematics asks for.

    A multiplication and an addition are two; e^x, a square root and the like count as one each.
    """

    inputs: Callable[[int, int, int], Callable[[Rng], tuple[Any, ...]]]
    params: dict[str, Any] | Callable[[int, int, int], dict[str, Any]]  # which may depend on the size
    flops: Callable[[int, int, int], float]
    inner: int = 64  # unless the caller chooses


def _rows(count: int) -> Callable[[int, int, int], Callable[[Rng], tuple[Any, ...]]]:
    return lambda rows, cols, inner: normal(*[(rows, cols)] * count)


def _chances(rows: int, cols: int, inner: int) -> Callable[[Rng], tuple[Any, ...]]:
    def make(rng: Rng) -> tuple[Any, ...]:
        p = np.exp(rng.standard_normal((rows, cols)))
        return (*normal((rows, cols))(rng), (p / p.sum(-1, keepdims=True)).astype(np.float32))

    return make


def _classes(rows: int, cols: int, inner: int) -> Callable[[Rng], tuple[Any, ...]]:
    def make(rng: Rng) -> tuple[Any, ...]:
        share = np.full(rows, 1.0 / rows, np.float32)
        return (*normal((rows, cols))(rng), rng.integers(0, cols, rows), share)

    return make


def _norm_grad(centred: bool) -> Callable[[int, int, int], Callable[[Rng], tuple[Any, ...]]]:
    def sized(rows: int, cols: int, inner: int) -> Callable[[Rng], tuple[Any, ...]]:
        def make(rng: Rng) -> tuple[Any, ...]:
            g, x, weight = normal((rows, cols), (rows, cols), (cols,))(rng)
            mean = x.mean(-1, keepdims=True) if centred else np.zeros((rows, 1), np.float32)
            r = (1.0 / np.sqrt(((x - mean) ** 2).mean(-1, keepdims=True) + 1e-5)).astype(np.float32)
            return (g, x, weight, mean, r) if centred else (g, x, weight, r)

        return make

    return sized


def _ids(after: Callable[[int, int, int], tuple[int, ...]], first: bool) -> Any:
    def sized(rows: int, cols: int, inner: int) -> Callable[[Rng], tuple[Any, ...]]:
        def make(rng: Rng) -> tuple[Any, ...]:
            ids, (array,) = rng.integers(0, inner, rows), normal(after(rows, cols, inner))(rng)
            return (ids, array) if first else (array, ids)

        return make

    return sized


def _adam(rows: int, cols: int, inner: int) -> Callable[[Rng], tuple[Any, ...]]:
    def make(rng: Rng) -> tuple[Any, ...]:
        p, g, m, v = normal(*[(rows, cols)] * 4)(rng)
        return p, g, m, v * v, 1e-3, Host(np.array(0.0))

    return make


def _attended(rows: int, cols: int, inner: int) -> Callable[[Rng], tuple[Any, ...]]:
    def make(rng: Rng) -> tuple[Any, ...]:
        from tinygrad_ft.ops.attention import flash_attention

        g, q, k, v = normal(*[(1, HEADS, rows, cols)] * 4)(rng)
        return g, q, k, v, *flash_attention(q, k, v, **CAUSAL)

    return make


ADAM = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.01, "decoupled": True}
SGD = {"momentum": 0.9, "dampening": 0.0, "weight_decay": 0.0, "nesterov": False}
HEADS = 8
CAUSAL = {"causal": True, "scale": 0.125}
WORKLOADS: dict[str, Workload] = {
    "softmax": Workload(_rows(1), {"axis": -1}, lambda m, n, k: 4 * m * n),
    "log_softmax": Workload(_rows(1), {"axis": -1}, lambda m, n, k: 4 * m * n),
    "softmax_grad": Workload(_chances, {"axis": -1}, lambda m, n, k: 4 * m * n),
    "summed_cross_entropy": Workload(_classes, {}, lambda m, n, k: 6 * m * n),
    "normalise": Workload(_rows(1), {"axes": 1}, lambda m, n, k: 6 * m * n),
    "layer_norm_of_rows": Workload(lambda m, n, k: normal((m, n), (n,), (n,)), {"axes": 1}, lambda m, n, k: 8 * m * n),
    "layer_norm_grad": Workload(_norm_grad(True), {"axes": 1}, lambda m, n, k: 14 * m * n),
    "rms_norm_of_rows": Workload(lambda m, n, k: normal((m, n), (n,)), {"axes": 1}, lambda m, n, k: 4 * m * n),
    "rms_norm_grad": Workload(_norm_grad(False), {"axes": 1}, lambda m, n, k: 10 * m * n),
    "gelu": Workload(_rows(1), {}, lambda m, n, k: 5 * m * n),
    "gelu_grad": Workload(_rows(2), {}, lambda m, n, k: 9 * m * n),
    "bias_gelu": Workload(lambda m, n, k: normal((m, n), (n,)), {}, lambda m, n, k: 6 * m * n),
    "bias_gelu_grad": Workload(lambda m, n, k: normal((m, n), (m, n), (n,)), {}, lambda m, n, k: 11 * m * n),
    "matmul": Workload(lambda m, n, k: normal((m, k), (k, n)), {}, lambda m, n, k: 2 * m * n * k),
    "linear": Workload(lambda m, n, k: normal((m, k), (n, k), (n,)), {}, lambda m, n, k: 2 * m * n * k),
    "embedding": Workload(_ids(lambda m, n, k: (k, n), True), {}, lambda m, n, k: 0),
    "sum_rows": Workload(_ids(lambda m, n, k: (m, n), False), lambda m, n, k: {"rows": k}, lambda m, n, k: m * n),
    "adam_update": Workload(_adam, ADAM, lambda m, n, k: 14 * m * n),
    "sgd_update": Workload(
        lambda m, n, k: lambda rng: (*normal(*[(m, n)] * 3)(rng), 0.1), SGD, lambda m, n, k: 4 * m * n
    ),
    "clip_to_length": Workload(  # by so little that each number is multiplied
        lambda m, n, k: lambda rng: (0.99 * (m * n) ** 0.5, *normal((m, n))(rng)),
        {"norm_type": 2.0},
        lambda m, n, k: 3 * m * n,
    ),
    "counted_dropout": Workload(
        lambda m, n, k: lambda rng: (*normal((m, n))(rng), 7), {"p": 0.1}, lambda m, n, k: m * n
    ),
    **{op: Workload(_rows(1), {"axis": -1}, lambda m, n, k: m * n) for op in ("sum", "mean", "amax", "amin")},
    "sum_to": Workload(_rows(1), lambda m, n, k: {"shape": (n,)}, lambda m, n, k: m * n),
    "exp": Workload(_rows(1), {}, lambda m, n, k: m * n),
    "add": Workload(_rows(2), {}, lambda m, n, k: m * n),
    "flash_attention": Workload(
        lambda m, n, k: normal(*[(1, HEADS, m, n)] * 3),
        CAUSAL,
        lambda m, n, k: 2.0 * HEADS * m * m * n,  # half of two products, since rows see only what comes before
    ),
    "flash_attention_grad": Workload(
        _attended,
        CAUSAL,
        lambda m, n, k: 5.0 * HEADS * m * m * n,  # half of five products, of which one computes the weights again
    ),
}


def workload(op: str, rows: int, cols: int, inner: int | None = None, version: str | None = None) -> tuple[Case, float]:
    """A call of an op at a size, by one kernel or the one that is chosen for it, and its operations.

    Raises:
        ValueError: if the op is not in the table; the message lists what is.
    """
    if op not in WORKLOADS:
        raise ValueError(f"{op} cannot be sized: {', '.join(WORKLOADS)} can; without --rows its example cases run")
    work = WORKLOADS[op]
    inner = inner or work.inner
    params = work.params(rows, cols, inner) if callable(work.params) else work.params
    return Case(op, version, work.inputs(rows, cols, inner), params, np.inf), work.flops(rows, cols, inner)
