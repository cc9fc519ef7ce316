"""For tests: an assertion about gradients, and hypothesis strategies for what an array can look like.

Hypothesis is imported when a strategy is asked for; the extra `dev` installs it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tinygrad_ft.engine import OPS, Op, Value
from tinygrad_ft.gradcheck.check import examine
from tinygrad_ft.gradcheck.ops import refilled
from tinygrad_ft.gradcheck.report import GradcheckError
from tinygrad_ft.gradcheck.samples import SAMPLES, Sample, activations, elementwise
from tinygrad_ft.gradcheck.verdict import Verdict
from tinygrad_ft.ops.composed import every
from tinygrad_ft.tensor import Tensor

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

__all__ = [
    "LAYOUTS", "Call", "arrays", "assert_gradients", "broadcastable_shapes", "calls", "laid_out", "shapes", "tensors",
]  # fmt: skip

Shape = tuple[int, ...]
LAYOUTS = ("C", "Fortran", "strided", "negative", "transposed")
FLOATS = (np.float64, np.float32)
ELEMENTWISE = {*elementwise.SAMPLES, *activations.SAMPLES} - {"prelu", "glu", "softmin"}


def assert_gradients(
    f: Callable[..., Any],
    *inputs: Any,
    gradient: Callable[..., Any] | None = None,
    order: int | None = None,
    accept: Collection[str] = (),
    **options: Any,
) -> None:
    """Fail, with the whole report, unless the gradients of f at these inputs agree with differences.

    Args:
        inputs: Tensors, or floating-point arrays and numbers, which f is then given as Tensors; the rest as it is.
        gradient: one that was written by hand, of a function of Tensors or of plain arrays: see `gradcheck.examine`.
        order: 2 checks second derivatives too; None: 2, and 1 for a gradient by hand.
        accept: verdicts that shall pass besides "ok", as "kink or tie here" and "limited by precision".
        options: rtol, atol, seed, directions, names and eps of `gradcheck.examine`.
    Raises:
        GradcheckError: an AssertionError; its `report` has every number.
    """
    given = inputs if gradient is not None else tuple(map(variable, inputs))
    order = order or (2 if gradient is None else 1)
    if any(_strided(x) for x in given) and not hasattr(f, "named_parameters"):
        f, gradient = _on(f, given), gradient and _on(gradient, given)
    report = examine(f, given, gradient=gradient, order=order, **options)
    if report.verdict not in {Verdict.OK, *accept}:
        raise GradcheckError(str(report), report)


def _strided(x: Any) -> bool:
    a = getattr(x, "array", x)
    return isinstance(a, np.ndarray) and not a.flags.c_contiguous


def _on(f: Callable[..., Any], models: tuple[Any, ...]) -> Callable[..., Any]:
    """f on arrays laid out as those of `models`: the check works on copies, which are not."""

    def on_layouts(*xs: Any) -> Any:
        laid = [_as(x, model) if _strided(model) else x for x, model in zip(xs, models, strict=False)]
        return f(*laid, *xs[len(models) :])

    on_layouts.__name__ = f.name if isinstance(f, Op) else getattr(f, "__name__", type(f).__name__)
    with suppress(TypeError, ValueError):  # of a built-in that does not tell
        names = inspect.signature(f.forward if isinstance(f, Op) else f)
        without_xp = list(names.parameters.values())[isinstance(f, Op) :]
        on_layouts.__signature__ = names.replace(parameters=without_xp)  # type: ignore[attr-defined]
    return on_layouts


def _as(x: Any, model: Any) -> Any:
    """The same numbers, and the same node of a Tensor, with the strides of another."""
    if isinstance(x, Value):
        return Tensor(_as(x.array, model), x.node)
    a = getattr(model, "array", model)
    once = tuple(slice(1) if s == 0 else slice(None) for s in a.strides)
    if (x != x[once]).any():  # an element was moved alone: what was one number in memory is several now
        return x
    part, strides = x[once], [s * x.itemsize // a.itemsize for s in a.strides]
    reach = [s * (n - 1) for s, n in zip(strides, part.shape, strict=True)]
    room = np.zeros(sum(map(abs, reach)) + x.itemsize, np.uint8)
    start = -sum(r for r in reach if r < 0)
    return np.broadcast_to(_filled(np.ndarray(part.shape, x.dtype, room, start, strides), part), x.shape)


def variable(x: Any) -> Any:
    """A floating-point number or array as a Tensor that requires grad; anything else as it is, a Tensor too."""
    if isinstance(x, float) or (isinstance(x, np.ndarray | np.generic) and x.dtype.kind == "f"):
        return Tensor(np.asarray(x)).requires_grad_()
    return x


def laid_out(x: Any, layout: str) -> Any:
    """An array equal to x, whose elements lie in memory in another order or with gaps.

    Args:
        layout: "C", rows one after the other; "Fortran", columns; "strided", every second place along each axis;
            "negative", from the end backwards; "transposed", the last axis outermost; "broadcast", x[..., :1] repeated
            with a stride of 0: the only one that changes values.
    """
    x = np.asarray(x)
    if layout == "Fortran":
        return x.copy(order="F")
    if layout == "strided":
        wide = np.zeros(tuple(2 * n for n in x.shape), x.dtype)
        return _filled(wide[(*(slice(None, None, 2),) * x.ndim, ...)], x)
    if layout == "negative":
        return _filled(np.empty(x.shape, x.dtype)[(*(slice(None, None, -1),) * x.ndim, ...)], x)
    if layout == "transposed" and x.ndim:
        return np.moveaxis(np.moveaxis(x, -1, 0).copy(), 0, -1)
    if layout == "broadcast" and x.ndim:
        return np.broadcast_to(x[..., :1], x.shape)
    if layout not in (*LAYOUTS, "broadcast"):
        raise ValueError(f"laid_out knows the layouts {', '.join(LAYOUTS)} and broadcast: got {layout!r}")
    return x.copy()


def _filled(place: Any, x: Any) -> Any:
    place[...] = x
    return place


def shapes(*, max_dims: int = 3, min_side: int = 0, max_side: int = 4) -> SearchStrategy[Shape]:
    """Shapes of few elements, () and those with a length of 0 among them."""
    from hypothesis import strategies as st

    return st.lists(st.integers(min_side, max_side), max_size=max_dims).map(tuple)


def broadcastable_shapes(
    n: int, *, max_dims: int = 3, min_side: int = 0, max_side: int = 4
) -> SearchStrategy[tuple[Shape, ...]]:
    """n shapes that broadcast together: axes of length 1, and axes that only some of them have."""
    from hypothesis import strategies as st

    def parts_of(whole: Shape) -> SearchStrategy[tuple[Shape, ...]]:
        axes = [st.sampled_from((length, 1)) for length in whole]
        part = st.tuples(st.integers(0, len(whole)), st.tuples(*axes)).map(lambda drawn: drawn[1][drawn[0] :])
        return st.tuples(*([part] * n))

    return shapes(max_dims=max_dims, min_side=min_side, max_side=max_side).flatmap(parts_of)


def arrays(
    shape: Any = None, dtype: Any = np.float64, layout: Any = None, *, elements: Callable[..., Any] | None = None
) -> SearchStrategy[Any]:
    """Arrays of that shape, dtype and layout, of any if None; the numbers are normal, none nearer to 0 than 0.1.

    Args:
        shape, dtype, layout: one, or a strategy for it.
        elements: a function of (rng, *shape) that draws the numbers.
    """
    from hypothesis import strategies as st

    from tinygrad_ft.gradcheck.samples.base import normal

    def build(shape: Shape, dtype: Any, layout: str, seed: int) -> Any:
        x = (elements or normal)(np.random.default_rng(seed), *shape)
        return laid_out(np.asarray(x).astype(dtype), layout)

    return st.builds(
        build,
        shapes() if shape is None else _strategy(shape),
        st.sampled_from(FLOATS) if dtype is None else _strategy(dtype),
        st.sampled_from((*LAYOUTS, "broadcast")) if layout is None else _strategy(layout),
        st.integers(0, 2**32 - 1),
    )


def _strategy(x: Any) -> SearchStrategy[Any]:
    from hypothesis import strategies as st

    return x if isinstance(x, st.SearchStrategy) else st.just(x)


def tensors(
    shape: Any = None, dtype: Any = np.float64, layout: Any = None, *, requires_grad: bool = True
) -> SearchStrategy[Tensor]:
    """Tensors on such arrays."""
    return arrays(shape, dtype, layout).map(lambda x: Tensor(x).requires_grad_(requires_grad))


class Call(NamedTuple):
    """A call of an op: a function of the floating-point arrays alone, those arrays as Tensors, and where it is from."""

    function: Callable[..., Any]
    inputs: tuple[Tensor, ...]
    description: str

    def __repr__(self) -> str:
        return self.description


def calls(op_name: str) -> SearchStrategy[Call]:
    """Calls of one of the library's ops on arrays such as its samples have: other numbers, dtypes and layouts.

    An op element by element is also called on other shapes, which broadcast, with numbers of the same domain, and on
    arrays with a stride of 0.
    """
    from hypothesis import strategies as st

    if op_name not in SAMPLES:
        raise KeyError(f"no samples of {op_name!r}: calls are drawn from them; see gradcheck/samples/")
    counts = len(SAMPLES[op_name](np.random.default_rng(0)))

    @st.composite
    def drawn(draw: Any) -> Call:
        seed, which = draw(st.integers(0, 2**32 - 1)), draw(st.integers(0, counts - 1))
        dtype = np.dtype(draw(st.sampled_from(FLOATS)))
        sample = SAMPLES[op_name](np.random.default_rng(seed))[which]
        given = [a for a in _flat(sample.arrays) if isinstance(a, np.ndarray)]
        free, new = _elementwise(op_name, sample), None
        if free and draw(st.booleans()):
            new = draw(broadcastable_shapes(len(given)))
        layouts = [draw(st.sampled_from((*LAYOUTS, "broadcast") if free else LAYOUTS)) for _ in given]
        description = (
            f"{op_name}: sample {which} of seed {seed}, {dtype}, {'/'.join(layouts)}, shapes {new or 'its own'}"
        )
        return _call(op_name, sample, dtype, layouts, new, seed, description)

    return drawn()


def _elementwise(name: str, sample: Sample) -> bool:
    """Whether arrays of other shapes, and of equal numbers, may stand in for those of this sample."""
    known = name in ELEMENTWISE or (name in OPS and OPS[name].elementwise)
    return (
        known
        and all(a.size for a in sample.arrays if isinstance(a, np.ndarray))
        and not any(isinstance(p, np.ndarray) for p in sample.params.values())
    )


def _flat(args: Any) -> Iterator[Any]:
    for a in args:
        yield from _flat(a) if isinstance(a, tuple) else (a,)


def _call(name: str, sample: Sample, dtype: Any, layouts: list[str], new: Any, seed: int, description: str) -> Call:
    rng, nth = np.random.default_rng(seed), iter(range(len(layouts)))
    inputs: list[Tensor] = []

    def altered(a: Any) -> Any:
        if isinstance(a, tuple):
            return tuple(map(altered, a))
        if not isinstance(a, np.ndarray):
            return a
        i = next(nth)
        x = a if new is None else rng.choice(a.ravel(), new[i])
        x = laid_out(x.astype(dtype) if a.dtype.kind == "f" else x, layouts[i])
        if a.dtype.kind != "f":
            return x
        inputs.append(Tensor(x).requires_grad_())
        return inputs[-1]

    arguments = altered(sample.arrays)
    params = {
        key: p.astype(dtype) if isinstance(p, np.ndarray) and p.dtype.kind == "f" else p
        for key, p in sample.params.items()
    }

    def function(*xs: Any) -> Any:
        return every()[name](*refilled(arguments, iter(xs)), **params)

    return Call(function, tuple(inputs), description)
