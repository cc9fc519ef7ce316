"""Arguments and answers: arrays inside tuples, lists and dicts, taken out and put back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from tinygrad_ft.device import DEVICES
from tinygrad_ft.engine import Value
from tinygrad_ft.jit.roots import JitError


class Spot(NamedTuple):
    """Where an array stood: which one, its shape and dtype."""

    i: int
    shape: tuple[int, ...]
    dtype: Any


class Leaf:
    """A Tensor that keeps a gradient: the step is given this very one, and leaves its gradient there."""

    def __init__(self, tensor: Any):
        self.tensor = tensor

    def __hash__(self) -> int:
        return id(self.tensor)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Leaf) and other.tensor is self.tensor


def flattened(tree: Any, *, answers: bool = False) -> tuple[list[Any], Any]:
    """The arrays of a tree, and the tree with a Spot in the place of each: hashable, equal for what fits one program.

    Args:
        answers: it is what a step answers, where only Tensors make sense.
    """
    arrays: list[Any] = []
    return arrays, _walk(tree, arrays, answers)


def _walk(x: Any, arrays: list[Any], answers: bool) -> Any:
    if isinstance(x, Value):
        if x.node is None or answers:
            return _spot(x.array, arrays)
        if x.node.op is None:
            return Leaf(x)
        raise JitError(
            f"an argument of a jitted step was made by {x.node.op.name} and keeps its graph, which ends at the step: "
            "pass it with .detach(), or compute it inside"
        )
    kind = type(x)
    if kind is tuple or kind is list:
        return (kind, *[_walk(y, arrays, answers) for y in x])
    if kind is dict:
        return (dict, tuple(x), *[_walk(y, arrays, answers) for y in x.values()])
    if isinstance(x, tuple) and hasattr(x, "_fields"):
        return (kind, *[_walk(y, arrays, answers) for y in x])
    if x is None:
        return None
    if answers:
        raise JitError(
            f"a jitted step answers Tensors, or tuples, lists and dicts of them: got a {kind.__name__}, which would be "
            "the same after each replay. Return the Tensor, and take item() of it outside."
        )
    if isinstance(x, float):  # of NumPy's scalars, float64 is one too
        return _spot(np.array(float(x)), arrays)._replace(dtype=float)
    if isinstance(x, np.integer | np.bool_):
        return (int, int(x))
    if kind in DEVICES or isinstance(x, np.ndarray | np.floating):
        return _spot(np.asarray(x), arrays)
    try:
        hash(x)
    except TypeError:
        raise JitError(
            f"an argument of a jitted step is a {kind.__name__}: it takes Tensors, arrays, numbers, and tuples, lists "
            "and dicts of them"
        ) from None
    return (kind, x) if kind in (int, bool) else x


def _spot(a: Any, arrays: list[Any]) -> Spot:
    if type(a) is not np.ndarray:
        _refuse_device(arrays, a)
    arrays.append(a)
    return Spot(len(arrays) - 1, a.shape, a.dtype)


def _refuse_device(arrays: list[Any], a: Any) -> None:
    devices = sorted({str(DEVICES[type(x)]) for x in (*arrays, a)})
    if len(devices) > 1:
        raise JitError(f"the arguments are on {' and '.join(devices)}: bring them to one device, with .to()")
    raise JitError(f"a jitted step runs on the CPU so far, and this argument is on {devices[0]}: call .cpu()")


def _parts(structure: Any) -> Iterator[Any]:
    if type(structure) is tuple:
        for part in structure[1:]:
            yield from _parts(part)
    else:
        yield structure


def numbers_in(structure: Any) -> list[int]:
    """Which of the arrays were Python floats."""
    return [part.i for part in _parts(structure) if type(part) is Spot and part.dtype is float]


def objects_in(structure: Any) -> list[Any]:
    """What stands among the arguments beside Tensors, arrays and numbers."""
    return [x for x in _parts(structure) if type(x) not in (Spot, Leaf, int, bool, str, bytes, type(None))]


def rebuilt(structure: Any, tensors: list[Any]) -> Any:
    """The tree of that structure with these Tensors in it."""
    if type(structure) is Spot:
        return tensors[structure.i]
    if type(structure) is Leaf:
        return structure.tensor
    if type(structure) is not tuple:
        return structure
    kind, *rest = structure
    if kind is dict:
        keys, *values = rest
        return {k: rebuilt(v, tensors) for k, v in zip(keys, values, strict=True)}
    if kind in (int, bool):
        return rest[0]
    parts = [rebuilt(v, tensors) for v in rest]
    return kind(*parts) if hasattr(kind, "_fields") else kind(parts)
