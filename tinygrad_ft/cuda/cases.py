"""Example calls of every kernel: what `kernels check`, `kernels build`, `doctor --gpu` and the tests run.

A row names an op of the library, one of its kernels, and a call. It is checked at the level of the op: the op runs on
arrays of the emulator (or of a GPU) under `use_kernels(op=version)`, and its answer is compared with the op's own
forward on the same inputs in float64 on NumPy. A row whose kernel does not run at all (its `when` refused) fails too.

A kernel's author adds rows for each registered kernel of the device "cuda", at least two: one whose shapes divide by
the kernel's tiles, one ragged. Together they should execute all of its PTX, and take less than a second each.

    Case("softmax", "online", normal((40, 300)), {"axis": -1}, 1e-6),
    Case("cross_entropy", "fused", lambda rng: (normal((40, 300))(rng)[0], rng.integers(0, 300, 40)), {}, 1e-6),
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

Rng = np.random.Generator


class Host(NamedTuple):
    """An input that stays on the host, as an optimiser's count of steps does."""

    array: Any


class Case(NamedTuple):
    """One call of an op that a kernel should take.

    Args:
        op: the op's name, as `tinygrad-ft ops` lists it.
        version: the registered kernel's name, as `use_kernels(op=version)` takes it; None for the one that is chosen.
        inputs: makes the op's positional arguments from a seeded generator: arrays of the dtypes that the kernel is to
            be given, `Host(array)` for one that stays on the host, or anything that is no array. `normal` makes the
            usual ones.
        params: the op's keyword arguments; arrays among them go to the device too.
        tolerance: the largest absolute difference to the answer in float64. What the op overwrites counts as answers.
    """

    op: str
    version: str | None
    inputs: Callable[[Rng], tuple[Any, ...]]
    params: Mapping[str, Any]
    tolerance: float


def normal(*shapes: tuple[int, ...], dtype: str = "float32") -> Callable[[Rng], tuple[Any, ...]]:
    """Arrays of these shapes, of numbers from the normal distribution."""
    return lambda rng: tuple(rng.standard_normal(shape).astype(dtype) for shape in shapes)


def _scaled(by: float, *shapes: tuple[int, ...]) -> Callable[[Rng], tuple[Any, ...]]:
    """The same, so many times as large."""
    return lambda rng: tuple(a * np.float32(by) for a in normal(*shapes)(rng))


def _then(make: Callable[[Rng], tuple[Any, ...]], *more: Any) -> Callable[[Rng], tuple[Any, ...]]:
    """What `make` makes, and more."""
    return lambda rng: (*make(rng), *more)


def _between(*shapes: tuple[int, ...], turned: bool = False) -> Callable[[Rng], tuple[Any, ...]]:
    """Arrays of these shapes, of numbers between -1 and 1; transposed ones of the reversed shapes, if `turned`."""

    def make(rng: Rng) -> tuple[Any, ...]:
        lengths = [shape[::-1] if turned else shape for shape in shapes]
        arrays = [rng.uniform(-1, 1, n).astype(np.float32) for n in lengths]
        return tuple(a.T if turned else a for a in arrays)

    return make


def _products(version: str, n: int, k: int, m: int) -> list[Case]:
    """Products of n x k and k x m numbers, whole and ragged, in rows and transposed; and linear layers."""
    return [
        Case("matmul", version, _between((n, k), (k, m)), {}, 1e-5),
        Case("matmul", version, _between((n + 3, k + 1), (k + 1, m + 5)), {}, 1e-5),
        Case("matmul", version, _between((n + 2, k + 1), (k + 1, m + 6), turned=True), {}, 1e-5),
        Case("linear", version, _between((n, k), (m, k), (m,)), {}, 1e-5),
        Case("linear", version, _between((n + 1, k + 1), (m + 7, k + 1), (m + 7,)), {}, 1e-5),
    ]


def _from_1000(shape: tuple[int, ...]) -> Callable[[Rng], tuple[Any, ...]]:
    """An array of numbers around 1000."""
    return lambda rng: (normal(shape)(rng)[0] + np.float32(1000.0),)


def _classes(rows: int, classes: int, apart: float = 1.0) -> Callable[[Rng], tuple[Any, ...]]:
    """Logits, targets, and the share of each row in the loss."""
    return lambda rng: (
        *_scaled(apart, (rows, classes))(rng),
        rng.integers(0, classes, rows),
        np.full(rows, 1.0 / rows, np.float32),
    )


def _chances(*shape: int) -> Callable[[Rng], tuple[Any, ...]]:
    """A cotangent, and rows that add up to 1."""

    def make(rng: Rng) -> tuple[Any, ...]:
        p = np.exp(rng.standard_normal(shape))
        return (*normal(shape)(rng), (p / p.sum(-1, keepdims=True)).astype(np.float32))

    return make


def _with_rows(shape: tuple[int, int], *wanted: bool) -> Callable[[Rng], tuple[Any, ...]]:
    """An array, and a row for each of those that are wanted, None for the others."""
    return lambda rng: (*normal(shape)(rng), *(normal(shape[1:])(rng)[0] if row else None for row in wanted))


def _normed(rows: int, width: int, *, centred: bool, weighted: bool) -> Callable[[Rng], tuple[Any, ...]]:
    """What the gradient of a norm takes: a cotangent, x, weight or None, the mean if there is one, 1 / deviation."""

    def make(rng: Rng) -> tuple[Any, ...]:
        g, x, weight = *normal((rows, width))(rng), *_with_rows((rows, width), weighted)(rng)
        mean = x.mean(-1, keepdims=True) * np.float32(centred)
        r = (1.0 / np.sqrt(((x - mean) ** 2).mean(-1, keepdims=True) + 1e-5)).astype(np.float32)
        return (g, x, weight, mean, r) if centred else (g, x, weight, r)

    return make


def _attention(n: int, m: int, d: int, e: int, *, causal: bool) -> list[Case]:
    """Attention of one head, and its gradient: n queries and m keys of d numbers, m values of e."""
    how = {"causal": causal, "scale": d**-0.5}
    heads = (1, 1, n, d), (1, 1, m, d), (1, 1, m, e)

    def attended(rng: Rng) -> tuple[Any, ...]:
        from tinygrad_ft.ops.attention import flash_attention

        g, q, k, v = normal((1, 1, n, e), *heads)(rng)
        y, lse = flash_attention(*(a.astype(np.float64) for a in (q, k, v)), **how)
        return g, q, k, v, y.astype(np.float32), lse.astype(np.float32)

    return [
        Case("flash_attention", "flash", normal(*heads), how, 2e-6),
        Case("flash_attention_grad", "flash", attended, how, 4e-6),
    ]


def _far_apart(n: int, m: int, d: int) -> Callable[[Rng], tuple[Any, ...]]:
    """Attention of one head whose scores are whole numbers, hundreds apart: they need the largest subtracted."""
    return lambda rng: (
        *(rng.integers(-8, 9, (1, 1, rows, d)).astype(np.float32) for rows in (n, m)),
        *normal((1, 1, m, d))(rng),
    )


def _ids(rows: int, of: int, *shape: int) -> Callable[[Rng], tuple[Any, ...]]:
    """Ids, and an array."""
    return lambda rng: (rng.integers(0, of, rows), *normal(shape)(rng))


def _moments(*shape: int) -> Callable[[Rng], tuple[Any, ...]]:
    """Parameters, gradients, both moments, the rate, the count of steps."""

    def make(rng: Rng) -> tuple[Any, ...]:
        p, g, m, v = normal(shape, shape, shape, shape)(rng)
        return p, g, m, v * v, 1e-3, Host(np.array(4.0))

    return make


ADAM = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.01, "decoupled": True}
L2 = {"norm_type": 2.0}
SGD = {"momentum": 0.9, "dampening": 0.0, "weight_decay": 0.01, "nesterov": True}

# Of powers and logarithms.
CORNERS = np.array([0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 3.0, -3.0, np.inf, -np.inf, np.nan], np.float32)

# What philox answers for counter 0 and key 7: as the threshold, words that are neither above nor below it.
WORDS = (4099963437, 3221879260, 490388034, 367897730)

# A warp takes a row, or several, or a block, and each thread four numbers a turn: side by side in rows of a multiple of
# four, else as far apart as there are threads. Rows end at each of a turn's places, in a thread's first turn and later.
WHOLE_ROWS = [(16, 128), (9, 100), (2, 4096)]
RAGGED_ROWS = [(9, 45), (9, 77), (9, 109), (2, 1101), (2, 1301), (2, 1601), (2, 3901)]
ENDS_IN_REGISTERS = [
    *WHOLE_ROWS, (2, 1100), (2, 2200), (2, 3300), *RAGGED_ROWS[:3], *((2, n) for n in range(1101, 4096, 256))
]  # fmt: skip
FAR_APART = [(40, 77), (9, 100), (12, 1101), (40, 3901)]
ROWS_OF_SOFTMAX = {
    "block": WHOLE_ROWS + RAGGED_ROWS,
    "online": WHOLE_ROWS + RAGGED_ROWS,
    "registers": ENDS_IN_REGISTERS,
}

# By file of kernels/cuda/.
CASES: list[Case] = [
    # gelu
    Case("gelu", "one_pass", normal((16, 256)), {}, 2e-6),
    Case("gelu", "one_pass", _scaled(5.0, (7, 111)), {}, 2e-6),
    Case("gelu_grad", "grad_one_pass", normal((16, 256), (16, 256)), {}, 4e-6),
    Case("gelu_grad", "grad_one_pass", _scaled(3.0, (7, 111), (7, 111)), {}, 4e-6),
    Case("bias_gelu", "with_bias_one_pass", normal((64, 256), (256,)), {}, 2e-6),
    Case("bias_gelu", "with_bias_one_pass", _scaled(5.0, (7, 111), (111,)), {}, 2e-6),
    Case("bias_gelu_grad", "with_bias_grad_one_pass", normal((64, 256), (64, 256), (256,)), {}, 4e-6),
    Case("bias_gelu_grad", "with_bias_grad_one_pass", _scaled(3.0, (7, 111), (7, 111), (111,)), {}, 4e-6),
    # matmul, linear
    *_products("naive", 32, 46, 32),
    *_products("tiled", 32, 32, 32),
    *_products("register", 64, 32, 64),
    *_products("register", 128, 16, 128),
    Case("matmul", "naive", _between((2, 3, 5, 9), (3, 9, 6)), {}, 1e-5),
    *(Case("matmul", "naive", _between((5, k), (k, 6)), {}, 1e-5) for k in (1, 4)),
    Case("matmul", "tiled", _between((2, 3, 17, 9), (3, 9, 21)), {}, 1e-5),
    Case("matmul", "tiled", _between((5, 1), (1, 6)), {}, 1e-5),
    Case("matmul", "register", _between((2, 3, 50, 9), (3, 9, 51)), {}, 1e-5),
    Case("matmul", "register", _between((68, 9), (9, 60)), {}, 1e-5),
    *(Case("linear", "register", _between((5, 9), (m, 9), (m,)), {}, 1e-5) for m in (68, 69, 70)),
    *(Case("linear", "register", _between((128, 9), (m, 9), (m,)), {}, 1e-5) for m in (132, 133, 134)),
    *(
        Case("matmul", "register", _between((n, 9), (9, m)), {}, 1e-5)  # the last row and column of each of its places
        for n, m in [(132, 140), (193, 197), (194, 198), (195, 199), (196, 196)]
    ),
    # softmax, log_softmax, softmax_grad
    *(
        Case(op, version, _scaled(3.0, shape), {"axis": -1}, tolerance)
        for op, tolerance in (("softmax", 2e-7), ("log_softmax", 4e-6))  # the logarithms are up to 20
        for version, shapes in ROWS_OF_SOFTMAX.items()
        for shape in shapes
    ),
    *(
        Case("softmax", version, _scaled(3e3, shape), {"axis": -1}, 2e-7)  # these need the largest subtracted
        for version in ROWS_OF_SOFTMAX
        for shape in FAR_APART
    ),
    *(
        Case("softmax_grad", version, _chances(*shape), {"axis": -1}, 2e-7)
        for version in ("block", "shuffles")
        for shape in WHOLE_ROWS + RAGGED_ROWS
    ),
    # summed_cross_entropy
    *(Case("summed_cross_entropy", "online", _classes(*shape), {}, 1e-6) for shape in WHOLE_ROWS + RAGGED_ROWS),
    # of losses of about 10,000, which float32 holds to 5e-4
    *(Case("summed_cross_entropy", "online", _classes(*shape, apart=3e3), {}, 1e-3) for shape in FAR_APART),
    Case("summed_cross_entropy", "online", lambda rng: (*_classes(4, 200)(rng)[:2], 0.25), {}, 1e-6),
    # layer_norm, rms_norm, normalise
    *(
        Case("layer_norm_of_rows", "block", _with_rows(shape, weight, bias), {"axes": 1}, 4e-6)
        for shape in WHOLE_ROWS + RAGGED_ROWS
        for weight in (True, False)
        for bias in (True, False)
    ),
    *(Case("layer_norm_of_rows", "registers", _with_rows(s, True, True), {"axes": 1}, 4e-6) for s in ENDS_IN_REGISTERS),
    *(
        Case("layer_norm_of_rows", "registers", _with_rows((9, 77), weight, not weight), {"axes": 1}, 4e-6)
        for weight in (True, False)
    ),
    *(
        Case("rms_norm_of_rows", "block", _with_rows(shape, weight), {"axes": 1}, 4e-6)
        for shape in WHOLE_ROWS + RAGGED_ROWS
        for weight in (True, False)
    ),
    *(Case("rms_norm_of_rows", "registers", _with_rows(s, True), {"axes": 1}, 4e-6) for s in ENDS_IN_REGISTERS),
    *(Case("rms_norm_of_rows", "registers", _with_rows(s, False), {"axes": 1}, 4e-6) for s in ENDS_IN_REGISTERS),
    *(
        Case("normalise", version, _from_1000(shape), {"axes": 1}, 4e-6)  # whose mean is rounded
        for version in ("block", "registers")
        for shape in WHOLE_ROWS + RAGGED_ROWS
    ),
    # layer_norm_grad, rms_norm_grad; the last rows are enough for the gradients of weight and bias to have parts
    *(
        Case(op, version, _normed(*shape, centred=op == "layer_norm_grad", weighted=weighted), {"axes": 1}, 8e-6)
        for op in ("layer_norm_grad", "rms_norm_grad")
        for version in ("block", "shuffles")
        for weighted in (True, False)
        for shape in (*WHOLE_ROWS, *RAGGED_ROWS, (130, 40))
    ),
    # gather
    Case("embedding", "elements", _ids(64, 10, 10, 32), {}, 0.0),
    Case("embedding", "elements", _ids(7, 3, 3, 5), {}, 0.0),
    Case("sum_rows", "in_order", lambda rng: (*normal((64, 32))(rng), rng.integers(0, 10, 64)), {"rows": 10}, 2e-6),
    Case("sum_rows", "in_order", lambda rng: (*normal((33, 7))(rng), rng.integers(0, 3, 33)), {"rows": 4}, 2e-6),
    Case("sum_rows", "atomic", lambda rng: (*normal((64, 32))(rng), rng.integers(0, 10, 64)), {"rows": 10}, 2e-6),
    Case("sum_rows", "atomic", lambda rng: (*normal((33, 7))(rng), rng.integers(0, 3, 33)), {"rows": 4}, 2e-6),
    # dropout
    Case("counted_dropout", "counted", lambda rng: (*normal((16, 256))(rng), 12345), {"p": 0.1}, 1e-6),
    Case("counted_dropout", "counted", lambda rng: (*normal((7, 111))(rng), 1 << 40), {"p": 0.5}, 1e-6),
    *(
        Case("counted_dropout", "counted", _then(normal((n,)), 7), {"p": word / (1 << 32)}, 1e-6)
        for n, word in zip((17, 40, 70, 99), WORDS, strict=True)  # the end is at each of a thread's four places
    ),
    # adam_update, sgd_update, clip_to_length
    Case("adam_update", "fused", _moments(16, 256), ADAM, 1e-6),
    Case("adam_update", "fused", _moments(777), ADAM | {"decoupled": False, "eps": 0.1}, 1e-6),
    Case("sgd_update", "fused", lambda rng: (*normal((16, 256), (16, 256), (16, 256))(rng), 0.1), SGD, 1e-6),
    Case("sgd_update", "fused", lambda rng: (*normal((777,), (777,), (777,))(rng), 0.1), SGD, 1e-6),
    Case("sgd_update", "fused", lambda rng: (*normal((777,), (777,))(rng), None, 0.1), SGD | {"momentum": 0.0}, 1e-6),
    Case("sgd_update", "fused", lambda rng: (*normal((512,), (512,))(rng), None, 0.1), SGD | {"momentum": 0.0}, 1e-6),
    Case("clip_to_length", "on_the_gpu", lambda rng: (1.0, *normal((33, 65), (300,), (7,))(rng)), L2, 1e-5),
    Case("clip_to_length", "on_the_gpu", lambda rng: (99.0, *normal((33, 65), (7,))(rng)), L2, 1e-5),
    Case("clip_to_length", "on_the_gpu", lambda rng: (1e-6, *_scaled(1e-6, (7,), (2048,))(rng)), L2, 1e-11),
    Case("clip_to_length", "on_the_gpu", lambda rng: (99.0, *_scaled(0.01, (530, 1000))(rng)), L2, 1e-5),  # 259 parts
    # reduce
    Case("sum", "sum_in_parts", normal((16, 1024)), {"axis": -1}, 2e-5),
    Case("sum", "sum_in_parts", normal((7, 33, 65)), {"axis": (0, 2)}, 2e-5),
    Case("sum", "sum_in_parts", normal((9, 20)), {"axis": -1}, 2e-5),
    Case("mean", "mean_in_parts", normal((16, 1024)), {"axis": -1}, 2e-7),
    Case("mean", "mean_in_parts", normal((77, 65)), {"axis": 0}, 2e-7),
    Case("amax", "amax_in_parts", normal((7, 300)), {"axis": -1}, 0.0),
    Case("amax", "amax_in_parts", normal((9, 20)), {"axis": -1}, 0.0),
    Case("amax", "amax_in_parts", normal((128, 32)), {"axis": 0}, 0.0),
    Case("amin", "amin_in_parts", normal((32, 128)), {"axis": -1}, 0.0),
    Case("amin", "amin_in_parts", normal((9, 20)), {"axis": -1}, 0.0),
    Case("amin", "amin_in_parts", normal((300, 7)), {"axis": 0}, 0.0),
    Case("sum_to", "sum_to_in_parts", normal((64, 64, 16)), {"shape": (64, 16)}, 2e-5),
    Case("sum_to", "sum_to_in_parts", normal((7, 33, 65)), {"shape": (33, 1)}, 2e-5),
    # elementwise
    Case("exp", "elementwise", normal((16, 256)), {}, 4e-6),
    Case("exp", "elementwise", normal((777,)), {}, 4e-6),
    *(Case("add", "elementwise", normal((n, 32), (32,)), {}, 1e-6) for n in (7, 8)),
    Case("where", "elementwise", lambda rng: (rng.random((7, 32)) > 0.5, *normal((7, 32), (7, 1))(rng)), {}, 0.0),
    Case("where", "elementwise", lambda rng: (rng.random((8, 32)) > 0.5, *normal((8, 32), (8, 1))(rng)), {}, 0.0),
    *(Case("sub", "elementwise", normal((4, n, 2, 8), (4, 1, 2, 1)), {}, 1e-6) for n in (3, 4)),
    *(Case("erfc", "elementwise", _scaled(5.0, (n,)), {}, 1e-6) for n in (777, 512)),
    Case("logaddexp", "elementwise", normal((777,), (777,)), {}, 2e-6),
    Case("logaddexp", "elementwise", _then(normal(), *[np.resize(CORNERS, 512)] * 2), {}, 2e-6),  # equal numbers
    Case("pow", "elementwise", lambda rng: (np.abs(normal((777,))(rng)[0]), 2.5), {}, 2e-5),
    Case("pow", "elementwise", lambda rng: (rng.uniform(0.9, 1.1, 512).astype(np.float32), 60.0), {}, 6e-5),
    Case("pow", "elementwise", lambda _: (np.array([1e-40, 1e-38, 3e38, 7.0], np.float32), 0.05), {}, 1e-5),
    *(Case("pow", "elementwise", _then(normal(), CORNERS, p), {}, 1e-4) for p in (5.0, -4.0, 0.4, np.inf)),
    # attention, attention_grad
    *_attention(75, 75, 32, 32, causal=True),
    *_attention(33, 75, 7, 5, causal=False),
    *_attention(75, 75, 64, 64, causal=True),
    *_attention(33, 70, 36, 50, causal=False),
    *_attention(40, 40, 128, 128, causal=True),
    *_attention(20, 33, 70, 90, causal=False),
    *(
        case
        for width in (32, 64, 128)  # tiles that end in other places
        for n, m in ((5, 35), (10, 50), (28, 60))
        for case in _attention(n, m, width, width - n, causal=n == 28)
    ),
    *(
        Case("flash_attention", "flash", _far_apart(40, 70, width), {"causal": False, "scale": 0.5}, 2e-5)
        for width in (32, 64, 128)
    ),
]
