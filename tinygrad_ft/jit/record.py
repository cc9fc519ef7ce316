"""Recording: a step runs once for real, and every op that it goes through leaves a line.

A line names arrays by where they lie: a `Ref` is a view of a `Root`, which is a stretch of memory. So views need no
line of their own, and two names for the same memory are seen to be the same. While a step is recorded, rules run on
Tensors without a node, so that the operators inside rules are ops too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_ft import engine
from tinygrad_ft.device import DEVICES, at_hand, device_of
from tinygrad_ft.engine import NONE_YET, Array, Node, Op, Value
from tinygrad_ft.jit.reach import guard_arrays, release_arrays
from tinygrad_ft.jit.roots import (
    ARGUMENT,
    EACH_TIME,
    FRESH,
    GRADIENT,
    HELD,
    JitError,
    Leaf,
    Line,
    Ref,
    Root,
    address,
    checksum,
    dense,
    flat,
    overwritten_by,
    owner_of,
)
from tinygrad_ft.watch import Place, Watch, user_place


class Recorder(Watch):
    """Watches a step and writes down its lines.

    Args:
        arguments: the arrays that the step is called with.
        numbers: which of them were Python floats: beside other arrays they take on their dtype, as floats do.
        before: an earlier recording of the step, if there is one: what it met is looked at before the step begins.
    """

    def __init__(self, arguments: Sequence[Any], numbers: Sequence[int] = (), before: Recorder | None = None):
        self.roots: list[Root] = []
        self.lines: list[Line] = []
        self.leaves: dict[int, Leaf] = {}
        self.frozen: list[Any] = []  # of what was looked at for gradients, Tensors that can have none
        self.used: list[Any] = []  # modules and optimisers, whose options are to stay as they are
        self.events: list[tuple[int, Callable[[], Any]]] = []  # what Python does, in order: -1, or the root it fills
        self.constants: set[int] = set()  # roots that a step makes anew with the same numbers each time
        self.tampered = ""
        self.left: list[tuple[Leaf, Ref | None]] = []  # leaves whose gradient the step changed, and where it is then
        self._undo: list[tuple[dict[str, Any], dict[str, Any]]] = []
        self._undo_gradients: list[tuple[Any, Any]] = []  # nodes, and the gradients that they had before the step
        self._options: list[tuple[Any, dict[str, Any]]] = []  # of what is used, as they were before
        self._numbers = set(numbers)
        self._at_start = {} if before is None else before.now()
        self._known: dict[int, int] = {}  # id of the array that owns the memory -> number of the root
        for a in arguments:
            self._new(ARGUMENT, a)

    # what arrays are

    def _new(self, kind: str, array: Any, owner: Any = None) -> int:
        at, known = id(array), self._known
        root = Root(kind, array, owner, lambda _: known.pop(at, None))
        if kind is not FRESH and self._at_start.get(id(array), root.seen) != root.seen:
            self.tampered = "the numbers of an array"
        if kind is HELD and owner is not None and self._at_start.get(id(owner), id(array)) != id(array):
            self.tampered = "the .array of a Tensor"
        known[at] = len(self.roots)
        self.roots.append(root)
        return len(self.roots) - 1

    def now(self) -> dict[int, int]:
        """Checksums of what comes from outside, and which array each Tensor has, as they are before another call."""
        found: dict[int, int] = {}
        for root in self.roots:
            if root.kind is HELD:
                array = root.array if root.owner is None else owner_of(root.owner.array)
                found[id(array)] = checksum(flat(array))
                if root.owner is not None:
                    found[id(root.owner)] = id(array)
        for leaf in self.leaves.values():
            if isinstance(leaf.node.grad, Value):
                base = owner_of(leaf.node.grad.array)
                found[id(base)] = checksum(flat(base))
        return found

    def ref(self, a: Any, tensor: Any = None) -> Ref:
        """Where an array lies; `tensor` is the Tensor that it was found in."""
        _must_be_here(a)
        base = owner_of(a)
        if not dense(base):
            raise JitError(f"the step uses an array of someone else's memory, with gaps: {a.shape}; pass a copy of it")
        root = self._known.get(id(base))
        if root is None:
            leaf = next((leaf for leaf in self.leaves.values() if self._is_gradient(leaf, base)), None)
            if leaf is None:
                root = self._new(HELD, base, tensor)
            else:  # of another program, it lies in memory that begins earlier
                own = leaf.node.grad.array
                root = self._new(GRADIENT, own if dense(own) else base, leaf.tensor)
                self._known[id(base)] = root
        offset = address(a) - address(self.roots[root].array) if a.size else 0
        return Ref(root, offset, a.shape, a.strides, a.dtype)

    def _is_gradient(self, leaf: Leaf, base: Any) -> bool:
        return isinstance(leaf.node.grad, Value) and owner_of(leaf.node.grad.array) is base

    def _described(self, x: Any) -> Any:
        """A Ref for an array; anything else as it is."""
        if isinstance(x, Value):
            if x.node is not None and x.node.op is None:
                self.meets(x)
            return self.ref(x.array, x)
        return self.ref(x) if type(x) in DEVICES else x

    def meets(self, leaf: Any) -> None:
        """Note a leaf, with the gradient that it has now."""
        if id(leaf.node) not in self.leaves:
            self.leaves[id(leaf.node)] = Leaf(leaf, leaf.node, isinstance(leaf.node.grad, Value))
            self._undo_gradients.append((leaf.node, leaf.node.grad))

    def forget_leaves_but(self, earlier: Recorder) -> None:
        """Forget the leaves that the step makes for itself, which an earlier recording does not know."""
        self.leaves = {i: leaf for i, leaf in self.leaves.items() if i in earlier.leaves}

    # what happens

    def call(self, op: Op, inputs: Sequence[Any], params: dict[str, Any]) -> Any:
        """Run the op, and note it."""
        if not any([isinstance(x, Value) or type(x) in DEVICES for x in inputs]):
            return op(*inputs, **params)  # of numbers alone, which are compared where they are used
        described = tuple([self._described(x) for x in inputs])
        weak = [i for i, x in enumerate(described) if self._is_number(x)] if self._numbers else []
        alone = bool(weak) and len(weak) == sum(isinstance(x, Ref) for x in described)  # what comes out is a number too
        if weak and not alone:
            inputs, described = self._adapted(inputs, described, weak)
        if any(isinstance(x, Ref) and x.dtype == bool for x in described[1:]) and op.name in ("getitem", "put"):
            raise JitError(
                f"the step takes those elements where a condition holds, at {user_place()}: how many there are changes "
                "with the numbers, and the shapes of a jitted step do not. Use where() or masked_fill()."
            )
        written = [described[i] for i in overwritten_by(op, len(inputs)) if isinstance(described[i], Ref)]
        for ref in written:
            root = self.roots[ref.root]
            if root.kind is ARGUMENT:
                raise JitError(
                    f"{op.name} at {user_place()} writes into an argument of the step: answer the new numbers"
                )
            if root.kind is not FRESH and root.before is None:
                root.before = root.bytes.copy()
            root.overwritten = True
        y = op(*inputs, **params)
        if isinstance(y, np.generic):
            y = np.asarray(y)
        for ref in described:
            root = self.roots[ref.root] if isinstance(ref, Ref) else None
            if root is not None and root.kind is FRESH and not root.overwritten and root.changed():
                raise JitError(_past_all_ops(root, op, user_place()))
        for ref in written:
            root = self.roots[ref.root]
            root.seen = checksum(root.bytes)
        self._note(op, described, params, y, bool(written))
        if alone:
            self._numbers |= {ref.root for ref in self.lines[-1].outputs}
        return y

    def composed(self, f: Any, inputs: Sequence[Any], params: dict[str, Any]) -> Any:
        """Run a composed function that has kernels as one op, where no graph is wanted of it."""
        if any(isinstance(x, Value) and x.node is not None for x in inputs):
            return NotImplemented
        arrays = [x.array if isinstance(x, Value) else x for x in inputs]
        y = f(*arrays, **params)
        self._note(f, tuple([self._described(x) for x in inputs]), params, y, False)
        tensor: Any = engine.Tensor
        return tuple([tensor(part) for part in y]) if type(y) is tuple else tensor(y)

    def _is_number(self, x: Any) -> bool:
        return isinstance(x, Ref) and x.root in self._numbers

    def _adapted(self, inputs: Sequence[Any], described: tuple[Any, ...], weak: list[int]) -> Any:
        """The inputs, those that were Python floats in the dtype of the other arrays, as NumPy has it for floats."""
        floats = [x.dtype for i, x in enumerate(described) if isinstance(x, Ref) and i not in weak]
        dtype = np.result_type(*[d for d in floats if d.kind == "f"] or [np.dtype(np.float32)])
        changed = list(inputs)
        for i in weak:
            x = inputs[i]
            y = self._cast(x.array if isinstance(x, Value) else x, described[i], dtype)
            changed[i] = engine.Tensor(y) if isinstance(x, Value) else y
        return changed, tuple([self._described(x) for x in changed])

    def _cast(self, array: Any, ref: Ref, dtype: Any) -> Any:
        cast = engine.OPS["cast"]
        y = cast(array, dtype=dtype)
        self._note(cast, (ref,), {"dtype": dtype}, y, False)
        return y

    def _note(self, op: Any, inputs: tuple[Any, ...], params: dict[str, Any], y: Any, effect: bool) -> None:
        several = type(y) is tuple
        outputs, made = [], effect
        for part in y if several else (y,):
            a = part.array if isinstance(part, Value) else part
            if type(a) not in DEVICES:
                raise JitError(f"{op.name} answers a {type(a).__name__}, which a replay could not make anew")
            _must_be_here(a)
            base = owner_of(a)
            if id(base) not in self._known:
                self._new(FRESH, base)
                made = True
            outputs.append(self.ref(a))
        if made:
            self.lines.append(Line(op, inputs, params, tuple(outputs), several, user_place()))

    def pull(self, node: Node, g: Array, graph: bool) -> Sequence[Array]:
        """Run the rule on Tensors, whose operators are ops."""
        if graph or node.kept is engine.RELEASED:
            return super().pull(node, g, graph)
        op: Any = node.op
        params = {name: node.params[name] for name in op.rule_params}
        answer = op.rule(_tensors(g), *(_tensors(a) for a in node.kept), **params)
        answers = answer if type(answer) is tuple else (answer,)
        if len(answers) != len(node.parents):
            return super().pull(node, g, graph)  # which says what is wrong
        return answers

    def each_time(self, make: Callable[[], Any]) -> Any:
        """Note an array that Python makes at each replay; a number becomes an array without axes."""
        made = make()
        _must_be_here(made)
        if type(made) is np.ndarray and id(owner_of(made)) in self._known:
            return made  # an argument, or an answer of an op
        a = np.array(made, dtype=np.float64) if isinstance(made, int | float) else np.array(made)
        self.events.append((self._new(EACH_TIME, a), make))
        return a

    def effect(self, f: Callable[[], None]) -> None:
        """Note what Python does in each replay, before anything else, in the order of all such things."""
        owner = getattr(f, "__self__", None)
        for names in (vars(owner), *getattr(getattr(owner, "optimizer", None), "param_groups", ())) if owner else ():
            self._undo.append((names, dict(names)))
        f()
        self.events.append((-1, f))
        for i, (thing, before) in enumerate(self._options):  # what it changes, it changes in each replay too
            self._options[i] = (thing, {k: v for k, v in vars(thing).items() if k in before})

    def constant(self, array: Any) -> None:
        """Note an array that is made of Python's numbers, in each call the same."""
        self.constants.add(self.ref(array).root)

    def uses(self, thing: Any) -> None:
        """Note modules, optimisers and leaves."""
        if isinstance(thing, list):
            tensors = thing
        else:
            if not any(thing is other for other in self.used):
                self.used.append(thing)
                self._options.append((thing, dict(vars(thing))))
            tensors = [p for group in getattr(thing, "param_groups", ()) for p in group["params"]]
        for t in tensors:
            if t.node is None:
                self.frozen.append(t)
            elif t.node.op is None:
                self.meets(t)

    def looks_at(self, what: str) -> None:
        """What a replay could not do again."""
        raise JitError(
            f"a jitted step asked for {what}: its Python code runs only while it is recorded, so it cannot depend on "
            f"numbers that change. At {user_place()}. Return the Tensor and look at it outside, or use where()."
        )

    def __enter__(self) -> Any:
        guard_arrays()
        return super().__enter__()

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        release_arrays()

    # how it ends

    def undo(self) -> None:
        """Put back what the step has overwritten, and the gradients of its leaves."""
        for root in self.roots:
            if root.before is not None:
                root.bytes[...] = root.before
        for node, grad in self._undo_gradients:
            node.grad = grad
        for names, before in reversed(self._undo):
            names.clear()
            names.update(before)

    def check_untouched(self) -> None:
        """Raise if an array, or an option of a module, was changed by something that is no op."""
        for thing, before in self._options:
            for name, value in before.items():
                now = vars(thing).get(name)
                if type(value) in (bool, int, float, str) and now != value:
                    raise JitError(
                        f"the step changes {name} of a {type(thing).__name__} (from {value!r} to {now!r}), which a "
                        "replay would not: its Python code runs only while it is recorded"
                    )
        if self.tampered:
            raise JitError(
                f"the step changes {self.tampered} before an op uses it, which a replay would not: use an optimiser "
                "or an op, or do it outside"
            )
        for root in self.roots:
            if root.kind is HELD and root.owner is not None and owner_of(root.owner.array) is not root.array:
                raise JitError(
                    "the step gives a Tensor another array, by assigning to .array, which a replay would not: use an "
                    "optimiser, or answer the new array and assign it outside"
                )
        for i, root in enumerate(self.roots):
            if root.changed():
                user = next(line for line in self.lines if any(_is_of(x, i) for x in (*line.inputs, *line.outputs)))
                raise JitError(_past_all_ops(root, user.op, user.place))

    def release(self) -> None:
        """Let go of what ops made: all has been noted that is to be known of it."""
        self.left = self._gradients()
        self._known.clear()
        for root in self.roots:
            if root.kind is EACH_TIME:  # a replay has a place of its own for what it draws
                root.let_go()

    def settle(self) -> None:
        """The call is over, and nothing is to be undone."""
        for root in self.roots:
            root.before = None
        self._undo.clear()
        self._undo_gradients.clear()

    def _gradients(self) -> list[tuple[Leaf, Ref | None]]:
        """The leaves whose gradient is another than before, and where it is now; None for none."""
        found: list[tuple[Leaf, Ref | None]] = []
        for leaf in self.leaves.values():
            now = leaf.node.grad
            if isinstance(now, Value):
                root = self._known.get(id(owner_of(now.array)))
                if root is not None and self.roots[root].kind is not GRADIENT:
                    found.append((leaf, self.ref(now.array)))
            elif now is NONE_YET:
                found.append((leaf, None))
        return found


def _must_be_here(a: Any) -> None:
    if not at_hand(a):
        raise JitError(
            f"a jitted step runs on the CPU so far, and at {user_place()} it uses an array that is on {device_of(a)}: "
            "call .cpu(), or call the step as it is, without tg.jit"
        )


def _past_all_ops(root: Root, op: Any, place: Place) -> str:
    return (
        f"the step changes, past all ops, the numbers of an array ({root.kind}) that {op.name} uses at {place}: a "
        "replay would not. Use an optimiser or an op, do not write into .array."
    )


def _is_of(x: Any, root: int) -> bool:
    return isinstance(x, Ref) and x.root == root


def _tensors(kept: Any) -> Any:
    """A kept array as a Tensor; lists and tuples of them likewise."""
    tensor: Any = engine.Tensor
    if type(kept) in (list, tuple):
        return type(kept)(_tensors(a) for a in kept)
    return tensor(kept) if type(kept) in DEVICES else kept
