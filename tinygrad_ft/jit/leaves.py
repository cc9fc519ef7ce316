"""The gradients that a replay finds and leaves: on the leaves themselves, as backward() would."""

from __future__ import annotations

from sys import getrefcount
from typing import Any, NamedTuple
from weakref import ref as weak

from tinygrad_ft import engine
from tinygrad_ft.engine import NONE_YET, Value
from tinygrad_ft.jit.assembly import Assembly, aligned
from tinygrad_ft.jit.roots import FRESH, GRADIENT, Ref, flat


class Kept(NamedTuple):
    """A gradient that a program leaves behind: of which leaf, where it is, and the Tensor that shows it."""

    leaf: Any
    ref: Ref
    tensor: Any


class Gradients:
    """Those of one program. `found` are the leaves whose gradient it changes, with where it is then (None: nowhere)."""

    def __init__(self, assembly: Assembly, found: list[tuple[Any, Ref | None]]):
        self.assembly, record = assembly, assembly.record
        tensor: Any = engine.Tensor
        there = [(leaf, ref, record.roots[ref.root].kind) for leaf, ref in found if ref is not None]
        self.kept = [Kept(leaf, ref, tensor(assembly.view(ref))) for leaf, ref, kind in there if kind is FRESH]
        self.copied = [(leaf.node, ref) for leaf, ref, kind in there if kind is not FRESH]  # set to what was there
        self.cleared = [leaf.node for leaf, ref in found if ref is None]
        self._watched = [self._watch(k) for k in self.kept]
        self._fresh = True  # holders are still to be counted
        self._taken: list[list[Any]] = [
            [leaf, i, lambda: None]
            for i, root in enumerate(record.roots)
            if root.kind is GRADIENT
            for leaf in record.leaves.values()
            if leaf.tensor is root.owner
        ]
        self._start = [
            (leaf.node, leaf.had, leaf.node.hooks and dict(leaf.node.hooks)) for leaf in record.leaves.values()
        ]

    def hold(self) -> bool:
        """Whether leaves have gradients and hooks as they had when the step was recorded."""
        for node, had, hooks in self._start:
            if isinstance(node.grad, Value) is not had or node.hooks != hooks:
                return False
        roots = self.assembly.record.roots
        return all([leaf.node.grad.array.strides == roots[i].array.strides for leaf, i, _ in self._taken])

    def prepare(self) -> None:
        """Before a replay: read gradients where they are now, and write none that someone outside still holds."""
        if self._taken:
            self._take()
        for i, (node, shown, owner, count) in enumerate(self._watched):
            if (
                count
                and (getrefcount(shown) - (node.grad is shown), getrefcount(shown.array), getrefcount(owner)) != count
            ):
                self._renew(i)

    def leave(self) -> None:
        """After a replay: show the gradients on their leaves."""
        for node in self.cleared:
            node.grad = NONE_YET
        for leaf, _, shown in self.kept:
            leaf.node.grad = shown
        for node, ref in self.copied:
            node.grad = engine.Tensor(self.assembly.view(ref).copy())
        if self._fresh:
            self._fresh = False
            for i, (node, shown, owner, _) in enumerate(self._watched):
                held = getrefcount(shown) - (node.grad is shown), getrefcount(shown.array), getrefcount(owner)
                self._watched[i][3] = held

    def _watch(self, kept: Kept) -> list[Any]:
        """A leaf's node, its gradient's Tensor, who owns that memory, and how many hold these if nobody outside does.

        The last is counted at the end of a replay, before anyone outside has seen the gradient.
        """
        memory = self.assembly.memory[kept.ref.root]
        return [kept.leaf.node, kept.tensor, memory if memory.base is None else memory.base, None]

    def _renew(self, i: int) -> None:
        """Give the i-th gradient memory of its own."""
        leaf, ref, _ = self.kept[i]
        self.assembly.exchange(ref.root, aligned(self.assembly.memory[ref.root].size))
        tensor: Any = engine.Tensor
        self.kept[i] = Kept(leaf, ref, tensor(self.assembly.view(ref)))
        self._watched[i] = self._watch(self.kept[i])
        self._fresh = True

    def _take(self) -> None:
        """Read gradients from before the step where they are now."""
        for taken in self._taken:
            leaf, root, last = taken
            g = leaf.node.grad
            for i, kept in enumerate(self.kept):
                if kept.tensor is g:
                    self._renew(i)
            if last() is not g.array:
                self.assembly.exchange(root, flat(g.array))
                if not self.assembly.in_python(root) and root not in self.assembly.kept:
                    self.assembly.memory[root] = None  # the gradient's own: who holds it can be seen by counting
                taken[2] = weak(g.array)
