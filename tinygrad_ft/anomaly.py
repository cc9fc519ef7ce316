"""`detect_anomaly`: which op was the first to make NaN or Inf, forward or backward, of what, and called where."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tinygrad_ft.device import DEVICES, device_of
from tinygrad_ft.engine import RELEASED, Array, Node, Op, Value, pick
from tinygrad_ft.kept import Moment, Trace, look_again
from tinygrad_ft.watch import Watch, inside_rule, named, node_of, running_rule, user_place


class detect_anomaly(Watch):  # a function to its users, as in PyTorch
    """A context in which the first op that makes NaN or Inf is an error, and so is a kept array that was changed.

    Forward, an op is to blame for a NaN if no argument held one, and for an Inf if all arguments were finite; in an
    elementwise op, each element is held against its own. So -inf that you put in on purpose (`where(mask, x, -inf)`,
    `masked_fill`, a mask of -inf that is added) is no alarm, nor is an Inf that comes of it; exp(1000), log(0) and
    inf - inf are. Backward, a rule must answer finite numbers: a gradient of Inf is never on purpose.

    An array kept for backward is noted with a checksum. Each op call looks again at the newest of them, 1 MB in all
    (an array counts as 4 KB at least), so that the error can say between which two lines it was changed; larger ones
    are looked at only when they are kept and when backward comes to them.

    Args:
        check_nan: whether NaN and Inf are looked for; else only changes in place are.
    Raises:
        RuntimeError: from the op call or the backward pass concerned.
    Run both forward and backward inside it, where NumPy's own warnings from ops and rules are silent. It may be nested,
    and acts in its own thread. Every op in it costs several passes over its arrays: it is no mode to train in.
    """

    def __init__(self, check_nan: bool = True):
        self.check_nan = check_nan

    def call(self, op: Op, inputs: Sequence[Any], params: dict[str, Any]) -> Any:
        """The op's answer, if it is sound. What it leaves behind is noted on its node."""
        rule = running_rule()
        moment = Moment(op.name, user_place(), None if rule is None or rule.op is None else rule.op.name)
        look_again(moment)
        given = []
        if self.check_nan:
            given = [Given(name, x) for name, x in named(op, inputs) if isinstance(x, Value | float) or _is_array(x)]
            with np.errstate(all="ignore"):
                y = op(*inputs, **params)
                if rule is None:  # what a rule answers is held against its cotangent, not each step on the way
                    for part in y if type(y) is tuple else (y,):
                        _blame_call(op, moment, part, given, params)
        else:
            y = op(*inputs, **params)
        node = node_of(y)
        if node is not None and node.op is op:
            for x in given:
                x.array = None  # what is told later keeps nothing alive
            node.trace = Trace(moment, node, given)
        return y

    def pull(self, node: Node, g: Array, graph: bool) -> Sequence[Array]:
        """What the rule answers, if that is finite, and if what it goes by is what was kept."""
        trace = _trace(node)
        if trace is not None and node.kept is not RELEASED:
            trace.hold_against(node)
        if not self.check_nan:
            return node.pull(g, graph)
        gs = [Given("g", part) for part in (g if type(g) is list else [g]) if part is not None]
        for given in gs:
            if not given.finite:
                raise _error(
                    f"the cotangent that came back to {_called(node)} is not finite, and no rule made it so",
                    [given],
                    "Look at the gradient that backward() was given, at hooks, and at sums of several cotangents.",
                )
            given.array = None
        with np.errstate(all="ignore"):
            answers = node.pull(g, graph)
        return [self._sound(node, i, gx, gs) for i, gx in enumerate(answers)]

    def _sound(self, node: Node, i: int, gx: Any, gs: list[Given]) -> Any:
        """One answer of a rule; a costly one is looked at when it is computed."""
        if not callable(gx):
            _blame_rule(node, i, gx, gs)
            return gx

        def later() -> Any:
            with np.errstate(all="ignore"):
                return self._sound(node, i, inside_rule(node, gx), gs)

        return later


def _blame_call(op: Op, moment: Moment, y: Any, given: list[Given], params: dict[str, Any]) -> None:
    """Raise if y holds a NaN or Inf of the op's own making."""
    y = y.array if isinstance(y, Value) else y
    if not _is_array(y) or y.dtype.kind != "f":
        return
    xp = device_of(y).xp
    own = ~xp.isfinite(y)
    if not own.any():
        return
    nan = xp.isnan(y)
    numbers = [p for p in params.values() if isinstance(p, float)]
    if op.elementwise and np.isfinite(numbers).all():
        for x in given:
            own &= ~xp.isnan(x.array) & (nan | xp.isfinite(x.array))
    else:
        if np.isnan(numbers).any() or any(x.nan for x in given):
            own &= ~nan
        if not (np.isfinite(numbers).all() and all(x.finite for x in given)):
            own &= nan
    if own.any():
        first = _first(own)
        there = [f"{x.name} = {x.at(first, y.shape):.6g}" for x in given] if op.elementwise else []
        raise _error(
            f"{op.name} made {_kinds(y, own)} out of {'inputs without' if nan[first] else 'finite inputs'}: "
            f"{_how_many(own, first)}{', where ' if there else ''}{', '.join(there)}",
            [f"called at {moment.place}", *given],
            "Keep its inputs away from there (clamp, + eps, a smaller step). Where -inf is meant, put it in as a "
            "number: where(mask, x, -inf).",
        )


def _blame_rule(node: Node, i: int, gx: Any, gs: list[Given]) -> None:
    """Raise if the answer of a rule for parent i is not finite. Its cotangent is."""
    gx = gx.array if isinstance(gx, Value) else gx
    if not _is_array(gx) or gx.dtype.kind != "f" or node.parents[i] is None:
        return
    bad = ~device_of(gx).xp.isfinite(gx)
    if bad.any():
        assert node.op is not None
        trace = _trace(node)
        raise _error(
            f"the rule of {node.op.name} made {_kinds(gx, bad)} out of a finite cotangent, for its input "
            f"{named(node.op, node.parents)[i][0]}: {_how_many(bad, _first(bad))}",
            [_called(node), *gs, *(() if trace is None else trace.given)],
            "Keep the input off the place where the slope is infinite or undefined (clamp, + eps) before the op: "
            "leaving the element out after it is too late.",
        )


class Given:
    """An argument as it was when the op was called: its range, and where it is from."""

    __slots__ = ("array", "from_where", "high", "inf", "low", "name", "nan", "what")

    def __init__(self, name: str, x: Any):
        self.name, self.from_where = name, _origin(x)
        self.array = x.array if isinstance(x, Value) else x
        a = self.array if _is_array(self.array) else np.asarray(self.array)
        self.what = f"{tuple(a.shape)} {a.dtype}" if _is_array(self.array) else "a number"
        self.nan = self.inf = 0
        if a.dtype.kind == "f":
            xp = device_of(a).xp
            finite = xp.isfinite(a)
            if not finite.all():
                self.nan = int(xp.isnan(a).sum())
                self.inf = int(a.size - finite.sum()) - self.nan
                a = a[finite]
        self.low: Any
        self.high: Any
        self.low, self.high = (a.min().item(), a.max().item()) if a.size else (None, None)

    @property
    def finite(self) -> bool:
        """Whether it held neither NaN nor Inf."""
        return not (self.nan or self.inf)

    def at(self, place: tuple[int, ...], shape: tuple[int, ...]) -> float:
        """The element that an elementwise op with an answer of that shape had there."""
        if not _is_array(self.array):
            return float(self.array)
        return float(device_of(self.array).xp.broadcast_to(self.array, shape)[place])

    def __str__(self) -> str:
        held = [] if self.low is None else [f"{self.low:.6g} .. {self.high:.6g}"]
        held += [f"{n} {kind}" for n, kind in ((self.nan, "NaN"), (self.inf, "Inf")) if n]
        return f"{self.name}: {self.what}, {' and '.join(held) or 'no elements'}{self.from_where}"


def _origin(x: Any) -> str:
    if not isinstance(x, Value) or x.node is None:
        return ""
    if x.node.op is None:
        return ", a leaf"
    maker = x.node.parents[0] if x.node.op is pick else x.node
    return f", from {_called(maker)}" if maker is not None else ""


def _trace(node: Node) -> Trace | None:
    return getattr(node, "trace", None)


def _called(node: Node) -> str:
    assert node.op is not None
    trace = _trace(node)
    return f"{node.op.name}, called before detect_anomaly was on" if trace is None else str(trace.moment)


def _is_array(x: Any) -> bool:
    return type(x) in DEVICES


def _kinds(y: Any, bad: Any) -> str:
    xp, found = device_of(y).xp, y[bad]
    tests = (("NaN", xp.isnan), ("Inf", xp.isposinf), ("-Inf", xp.isneginf))
    return " and ".join(kind for kind, test in tests if test(found).any())


def _first(bad: Any) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(int(bad.argmax()), bad.shape))


def _how_many(bad: Any, first: tuple[int, ...]) -> str:
    return f"{int(bad.sum())} of {bad.size} elements, the first at {first}" if first else "its only element"


def _error(what: str, about: Iterable[object], advice: str) -> RuntimeError:
    return RuntimeError("\n  ".join(map(str, (what, *about, advice))))
