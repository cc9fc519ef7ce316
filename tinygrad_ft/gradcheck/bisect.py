"""Which op is to blame: every op that a function calls, checked by itself at the very arrays it was given there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from inspect import unwrap
from math import inf
from typing import Any, NamedTuple

import numpy as np

from tinygrad_ft.device import DEVICES
from tinygrad_ft.engine import Node, Op, Value
from tinygrad_ft.gradients import enable_grad, grad
from tinygrad_ft.tensor import Tensor
from tinygrad_ft.watch import Place, Watch, named, node_of, running_rule, user_place

ONE_BY_ONE = 200  # elements; of more, a wrong one is searched for by halving
STEPS = (1.0, 0.1, 10.0, 0.01)  # times the usual step: a rule that agrees at one of them is right


class Suspect(NamedTuple):
    """An op whose rule and whose own differences disagree, and by how much in the worst element that was found."""

    op: str
    rule: Place
    place: Place  # the line of the user's code that called it
    shapes: tuple[tuple[int, ...], ...]
    input: str
    element: tuple[int, ...]
    expected: float
    got: float
    error: str = ""  # what the rule raised, if it answered nothing at all

    def __str__(self) -> str:
        ratio = f", ratio {self.got / self.expected:.6g}" if self.expected else ""
        what = self.error or (
            f"d/d{self.input}, element {self.element}: the rule says {self.got:.9g}, "
            f"differences {self.expected:.9g}{ratio}"
        )
        shapes = " and ".join(map(str, self.shapes))
        return (
            f"{self.op} has a wrong rule: {what}\n  the rule: {self.rule}\n  called at {self.place}\n  inputs: {shapes}"
        )


class Bisection(NamedTuple):
    """What `bisect` found: the op to blame, or None; it is true if there is one. str() says it all."""

    suspect: Suspect | None
    checked: int  # calls of ops, up to the one to blame
    notes: tuple[str, ...]  # what else may be wrong

    def __bool__(self) -> bool:
        return self.suspect is not None

    def __str__(self) -> str:
        if self.suspect is not None:
            return str(self.suspect)
        return "\n  ".join(
            (
                f"each of the {self.checked} rules on the way agrees with the differences of its own op. "
                "What can still make the whole wrong:",
                *(
                    self.notes
                    or (
                        "a computation outside of the engine (NumPy on .numpy_copy(), .item(), float(x)), a function "
                        "that answers otherwise each time, an array changed in place before backward (detect_anomaly "
                        "tells), a kink, or a step that does not suit the function",
                    )
                ),
            )
        )


def bisect(f: Callable[..., Any], *inputs: Any) -> Bisection:
    """The first op that f calls, counted from its inputs, whose rule disagrees with differences of its own forward.

    For a function or Module that fails gradcheck. Each op is called by itself, in float64, at the arrays that it was
    given in f; ops of your own (`@tg.op`) and those called inside of rules are included, if a gradient goes through
    them. A rule at a kink may answer any slope between those on both sides.

    For second derivatives, pass a function that answers a gradient (create_graph=True). A fault in how the chain rule
    adds up what several users of a value send back is no op's own, and is not found.

    Args:
        inputs: Tensors, or arrays; floating-point arrays, and Tensors if none of them requires grad, become variables.
    Raises:
        TypeError: if f answers no Tensor.
    """
    given = [_variable(x, anyway=False) for x in inputs]
    if not any(isinstance(x, Value) and x.node is not None for x in given):
        given = [_variable(x, anyway=True) for x in inputs]
    with enable_grad(), _Recorder() as recorder:
        for i, x in enumerate(given):
            recorder.remember(f"input {i}", x)
        y = f(*given)
    ys = list(_tensors(y))
    if not ys:
        raise TypeError(f"bisect needs a function that answers a Tensor, or several: got {type(y).__name__}")
    reached = _leading_to([y.node for y in ys if y.node is not None])
    calls = sorted((call for call in recorder.calls if call.node in reached), key=lambda call: call.node.index)
    notes = [
        f"input {i} reaches the output by no way that is recorded"
        for i, x in enumerate(given)
        if isinstance(x, Value) and x.node is not None and x.node not in reached
    ]
    for n, call in enumerate(calls):
        found = check_locally(call)
        if isinstance(found, Suspect):
            return Bisection(found, n + 1, ())
        if found:
            notes.append(found)
    return Bisection(None, len(calls), (*recorder.notes, *notes))


class Call(NamedTuple):
    """One call of an op, as it was recorded."""

    op: Op
    inputs: tuple[Any, ...]
    params: dict[str, Any]
    node: Node
    place: Place


class _Recorder(Watch):
    """Notes every call that left a node, and where a value goes on without one."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.notes: list[str] = []
        self.tracked: dict[int, tuple[Any, str]] = {}  # arrays that have a node, and what made them

    def remember(self, name: str, x: Any) -> None:
        if isinstance(x, Value) and x.node is not None:
            self.tracked[id(x.array)] = x.array, name

    def call(self, op: Op, inputs: Sequence[Any], params: dict[str, Any]) -> Any:
        y, place = op(*inputs, **params), user_place()
        node = node_of(y)
        if node is not None and node.op is op:
            plain = tuple(x.array if isinstance(x, Value) else x for x in inputs)
            self.calls.append(Call(op, plain, params, node, place))
        if op.rule is not None and running_rule() is None:
            for name, x in named(op, inputs):
                if isinstance(x, Value) and x.node is not None:
                    self.remember(f"{name} of {op.name}", x)
                    if node is None:
                        self.notes.append(f"{op.name} left nothing to differentiate (no_grad?) at {place}")
                elif id(array := x.array if isinstance(x, Value) else x) in self.tracked:
                    source = self.tracked[id(array)][1]
                    self.notes.append(f"{op.name} was given {source} cut off from its graph (detach?) at {place}")
        for part in y if type(y) is tuple else (y,):
            self.remember(f"what {op.name} made", part)
        return y


def check_locally(call: Call) -> Suspect | str | None:
    """The op by itself: a Suspect if its rule is wrong here, a note if that cannot be told, None if it is right."""
    op, place = call.op, call.place
    which = [
        i
        for i, (x, parent) in enumerate(zip(call.inputs, call.node.parents, strict=False))
        if parent is not None and type(x) in DEVICES and x.dtype.kind == "f"
    ]
    plain = [
        np.array(x, np.float64, order="C") if getattr(x, "dtype", np.dtype(int)).kind == "f" else x for x in call.inputs
    ]
    shapes = tuple(np.shape(x) for x in plain[: len(call.node.parents)])
    names = [name for name, _ in named(op, call.node.parents)]
    suspect = Suspect(op.name, _rule_place(op), place, shapes, "", (), 0.0, 0.0)
    with np.errstate(all="ignore"):
        leaves = [Tensor(x.copy()).requires_grad_() if i in which else x for i, x in enumerate(plain)]
        ys = [y for y in _tensors(op(*leaves, **call.params)) if y.node is not None and y.dtype.kind == "f"]
        rng = np.random.default_rng(0)
        us = [Tensor(_signed(rng, y.shape).astype(y.dtype)) for y in ys]
        try:
            found = grad(ys, [leaves[i] for i in which], us, allow_unused=True)
        except Exception as error:  # a user's rule may raise anything
            return suspect._replace(error=f"it raised {type(error).__name__}: {error}")

        def outputs() -> list[Any]:
            y = op(*plain, **call.params)
            return [np.asarray(part) for part in (y if type(y) is tuple else (y,))]

        if any((a != b).any() for a, b in zip(outputs(), outputs(), strict=True)):
            return f"{op.name} answers otherwise each time, so its rule cannot be checked, at {place}"
        eps = max(float(np.finfo(y.dtype).eps) for y in ys)
        weights = [u.array for u in us]

        def value() -> tuple[float, float]:
            """L = sum of u y, and the size of what was summed, of which the last digit is lost."""
            terms = [u * y for u, y in zip(weights, (y for y in outputs() if y.dtype.kind == "f"), strict=True)]
            return sum(float(t.sum(dtype=np.float64)) for t in terms), sum(float(np.abs(t).sum()) for t in terms)

        for i, gx in zip(which, found, strict=True):
            g = np.zeros(plain[i].shape) if gx is None else np.asarray(gx.numpy_copy(), np.float64)
            worst = _Slopes(value, plain[i], g, eps).worst()
            if worst is not None:
                at, expected, got = worst
                where = tuple(int(k) for k in np.unravel_index(at, g.shape))
                return suspect._replace(input=names[i], element=where, expected=expected, got=got)
    return None


class _Slopes:
    """dL/dx by differences, against what a rule answered for x. L's value goes by x, which is changed and put back."""

    def __init__(self, value: Callable[[], tuple[float, float]], x: Any, g: Any, eps: float):
        self.value, self.x, self.g, self.eps = value, x.reshape(-1), g.reshape(-1), eps
        self.here, self.size = value()
        self.v = _signed(np.random.default_rng(1), self.g.shape)  # a direction, for many elements at once

    def worst(self) -> tuple[int, float, float] | None:
        """The element that is most wrong, the slope there and what the rule says it is; None if all are right."""
        places = np.arange(self.g.size)
        if places.size > ONE_BY_ONE:
            places = self._halved(places)
        most = (0.0, 0, 0.0, 0.0)
        for i in places:
            off, expected, got = self._off(places[places == i])
            if off > most[0]:
                most = off, int(i), expected, got
        return most[1:] if most[0] > 0 else None

    def _halved(self, among: Any) -> Any:
        """Down to one element that is wrong, always on into the half that is worse; none if all agree together."""
        while self._off(among)[0] > 0:
            if among.size == 1:
                return among
            among = max(np.array_split(among, 2), key=lambda half: self._off(half)[0])
        return among[:0]

    def _off(self, at: Any) -> tuple[float, float, float]:
        """How far beyond tolerance the two slopes along v at these places are apart; the slopes themselves."""
        v = self.v[at] if at.size > 1 else np.ones(1)
        x, got = self.x[at], float((self.g[at] * v).sum())
        least, slopes = (inf, 0.0, got), {}
        for factor in STEPS:
            h = factor * self.eps ** (1 / 3) * max(1.0, float(np.abs(x).max()))
            self.x[at] = x + h * v
            above = self.value()[0]
            self.x[at] = x - h * v
            below = self.value()[0]
            self.x[at] = x
            if not np.isfinite((above, below)).all():
                return -1.0, 0.0, got  # at the edge of where the op is defined, there is nothing to compare with
            low, high = sorted(((above - self.here) / h, (self.here - below) / h))
            expected, noise = (low + high) / 2, 10 * self.eps * self.size / h
            scale = max(abs(got), abs(expected))
            if factor != STEPS[0] and noise > 0.01 * scale:
                continue
            off = max(low - got, got - high) - noise - 10 * self.eps ** (1 / 3) * scale
            if off <= 0:
                return off, expected, got
            slopes[factor] = expected
            if off < least[0]:
                least = off, expected, got
        if abs(slopes.get(STEPS[-1], 0.0)) > 5.0 * abs(slopes[STEPS[0]]):
            return -1.0, 0.0, got  # at a jump, or where the slope is infinite, differences have no limit
        return least


def _signed(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """Numbers of about 1 and of either sign: in a sum of many that are of one sign, a single wrong one would drown."""
    return rng.uniform(0.5, 1.5, shape) * rng.choice([-1.0, 1.0], shape)


def _variable(x: Any, *, anyway: bool) -> Any:
    """A leaf of its own for an array, and for a Tensor that requires grad, or for any."""
    array = x.array if isinstance(x, Value) else x
    if type(array) not in DEVICES or array.dtype.kind != "f":
        return x
    wanted = anyway or not isinstance(x, Value) or x.node is not None
    return Tensor(array).requires_grad_() if wanted else x


def _tensors(y: Any) -> Iterable[Any]:
    parts = y.values() if isinstance(y, dict) else y if isinstance(y, tuple | list) else (y,)
    return [part for part in parts if isinstance(part, Value)]


def _leading_to(roots: Sequence[Node]) -> set[Node]:
    found, queue = set(roots), list(roots)
    while queue:
        fresh = [p for p in queue.pop().parents if p is not None and p not in found]
        found.update(fresh)
        queue += fresh
    return found


def _rule_place(op: Op) -> Place:
    code = getattr(unwrap(op.rule), "__code__", None) if op.rule is not None else None
    return Place("?", 0, op.name) if code is None else Place(code.co_filename, code.co_firstlineno, code.co_name)
