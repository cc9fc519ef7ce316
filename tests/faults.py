"""How a fault is planted in one of our own rules, and the wrong rules that take more than a line."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from math import prod
from typing import Any, NamedTuple

import numpy as np

from tinygrad_ft import chain_rule, ops
from tinygrad_ft.engine import OPS, Op
from tinygrad_ft.ops.composed import COMPOSED
from tinygrad_ft.ops.reduce import count_along, kept_shape

getitem, take_along_axis, stretches, embedding, over, softmax_grad = map(
    OPS.get, ["getitem", "take_along_axis", "stretches", "embedding", "over", "softmax_grad"]
)

SIGN, FACTOR, TRANSPOSE = "sign", "factor", "transpose"
NO_SUM, NO_TERM, SAVED, ASSIGN = "missing sum", "missing term", "wrong saved array", "assign for accumulate"
KINDS = {SIGN, FACTOR, TRANSPOSE, NO_SUM, NO_TERM, SAVED, ASSIGN}


class Mutant(NamedTuple):
    """One fault: the function whose check must see it, its kind, the change in words, how to plant it, the guess."""

    checked: str
    kind: str
    change: str
    plant: Callable[[Any], None]
    guess: str


def called(answer: Any) -> Any:
    return answer() if callable(answer) else answer


def planted(monkeypatch: Any, op: Op, rule: Callable[..., Any]) -> None:
    """Give an op another rule, for as long as the test lasts."""
    for name in ("rule", "keeps", "save", "shapes", "rule_params"):
        monkeypatch.setattr(op, name, getattr(op, name))
    op.vjp(rule)


def of(name: str, kind: str, change: str, rule: Callable[..., Any], guess: str = "", *, seen_in: str = "") -> Mutant:
    """An op with this rule in the place of its own."""
    return Mutant(seen_in or name, kind, change, lambda m: planted(m, OPS[name], rule), guess)


def altered(
    name: str, kind: str, change: str, alter: Callable[[Any], Any], guess: str = "", *, of_input: int = 0
) -> Mutant:
    """An op whose own rule's answer for one input is altered."""

    def plant(monkeypatch: Any) -> None:
        right = OPS[name].rule
        assert right is not None

        @wraps(right)
        def rule(*args: Any, **params: Any) -> Any:
            answers = right(*args, **params)
            if not isinstance(answers, tuple):
                return alter(answers)
            return tuple(alter(called(a)) if i == of_input else a for i, a in enumerate(answers))

        monkeypatch.setattr(OPS[name], "rule", rule)

    return Mutant(name, kind, change, plant, guess)


def function(
    name: str, kind: str, change: str, forward: Callable[..., Any], rule: Callable[..., Any], guess: str = ""
) -> Mutant:
    """A composed function replaced by one with a rule written by hand, as one does for speed."""

    def plant(monkeypatch: Any) -> None:
        op = Op(forward)
        op.vjp(rule)
        monkeypatch.setitem(COMPOSED, name, op)

    return Mutant(name, kind, change, plant, guess)


def engine(checked: str, kind: str, change: str, name: str, wrong: Callable[..., Any], guess: str = "") -> Mutant:
    """A function of chain_rule.py replaced."""
    return Mutant(checked, kind, change, lambda m: m.setattr(chain_rule, name, wrong), guess)


def square(x: Any) -> bool:
    """Whether a forgotten transpose leaves the shapes as they are."""
    return bool(x.ndim >= 2 and x.shape[-1] == x.shape[-2])


def turned(x: Any) -> Any:
    return ops.transpose(x) if square(x) else x


# ---------------------------------------------------------------- parts of wrong rules


def _put_assigned(xp: Any, g: Any, *indices: Any, key: Any, shape: Any) -> Any:
    """`put` as y[key] = g: of several cotangents for one place the last stays."""
    y, arrays = xp.zeros(shape, dtype=g.dtype), iter(indices)
    y[tuple(next(arrays) if isinstance(k, str) else k for k in key)] = g
    return y


put_assigned = Op(_put_assigned)
put_assigned.vjp(lambda h, indices, *, key: (getitem(h, *indices, key=key), *(None for _ in indices)))


def _along(xp: Any, g: Any, index: Any, *, axis: int, shape: Any) -> Any:
    y = xp.zeros(shape, dtype=g.dtype)
    places = list(np.ogrid[tuple(slice(n) for n in index.shape)])
    places[axis] = index
    y[tuple(places)] = g
    return y


along_assigned = Op(_along)
along_assigned.vjp(lambda h, index, *, axis: (take_along_axis(h, index, axis=axis), None))


def _rows(xp: Any, g: Any, ids: Any, *, rows: int) -> Any:
    y = xp.zeros((rows, g.shape[-1]), dtype=g.dtype)
    y[ids] = g
    return y


rows_assigned = Op(_rows)
rows_assigned.vjp(lambda h, ids: (embedding(ids, h), None))


def first_of(g: Any, *, shape: Any) -> Any:
    """One of the copies that broadcasting made, where their sum belongs."""
    lead = g.ndim - len(shape)
    g = getitem(g, key=(0,) * lead + tuple(slice(n) for n in shape)) if g.size else ops.sum(g)
    return g if tuple(g.shape) == tuple(shape) else ops.broadcast_to(g, shape)


def mean_of(g: Any, *, shape: Any) -> Any:
    return OPS["sum_to"](g, shape=shape) * (max(prod(shape), 1) / max(prod(g.shape), 1))


arrive = chain_rule._arrive


def arrive_last(node: Any, g: Any, arrived: Any, queue: Any) -> None:
    """`_arrive` that forgets what came before."""
    if node in arrived:
        arrived[node] = g
    else:
        arrive(node, g, arrived, queue)


def concatenate_from_the_end(g: Any, *, axis: int, xs_shape: Any) -> Any:
    """The stretches cut in the reverse order, then handed out in the right one."""
    sizes = tuple(shape[axis] for shape in xs_shape)
    return tuple(stretches(g, sizes=sizes[::-1], axis=axis))[::-1]


def spread(g: Any, shape: Any, axis: Any) -> Any:
    return ops.broadcast_to(g.reshape(kept_shape(shape, axis)), shape)


def attention_parts(gs: Any, v: Any, p: Any) -> Any:
    """(gy, gp) of attention, gp with what came through y."""
    gy, gp = gs
    through = ops.matmul(gy, ops.transpose(v)) if gy is not None else 0.0
    return gy, through if gp is None else gp + through


def attention_rule(wrong: str) -> Any:
    def rule(gs: Any, q: Any, k: Any, v: Any, y: Any, *, scale: float) -> Any:
        p = y[1]
        gy, gp = attention_parts(gs, v, p)
        s = gp * p if wrong == "sum" else softmax_grad(gp, p)
        left = s if wrong == "gk" and square(s) else ops.transpose(s)
        gv = None if gy is None else ops.matmul(p if wrong == "gv" and square(p) else ops.transpose(p), gy)
        gq = ops.matmul(s, k) * (1.0 if wrong == "scale" else scale)
        return gq, ops.matmul(left, q * scale), gv, s

    return rule


def normalise_rule(*kept: str) -> Any:
    """Only these of the three terms of g - mean(g) - z mean(g z)."""

    def rule(gs: Any, y: Any, *, axes: int) -> Any:
        (g, gr), (z, r) = gs, y
        last = tuple(range(z.ndim - axes, z.ndim))
        gx = 0.0
        if g is not None:
            gx = g
            gx = gx - ops.mean(g, last, True) if "mean" in kept else gx
            gx = gx - z * ops.mean(g * z, last, True) if "variance" in kept else gx
            gx = r * gx if "scale" in kept else gx
        return gx if gr is None else gx - gr * r * r * z * (1.0 / count_along(z.shape, last))

    return rule


def cross_entropy_rule(wrong: str) -> Any:
    def rule(gs: Any, x: Any, target: Any, share: Any, y: Any) -> Any:
        (g, gslope), (_, slope) = gs, y
        right = OPS["summed_cross_entropy"]
        column = share if isinstance(share, float) else share.reshape((-1, 1))
        p = ops.softmax(x)
        change = {"sign": -slope, "onehot": p * column, "share": over(slope, column)}[wrong]
        gx = 0.0 if g is None else g * change
        gx = gx if gslope is None else gx + softmax_grad(gslope * column, p)
        at = target.reshape((-1, 1))
        gshare = 0.0 if g is None else -g * take_along_axis(ops.log_softmax(x), at, axis=1).reshape(-1)
        if gslope is not None:
            gshare = gshare + ops.sum(gslope * p, axis=1) - take_along_axis(gslope, at, axis=1).reshape(-1)
        assert right.rule is not None
        return gx, None, gshare

    return rule
