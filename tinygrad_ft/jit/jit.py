"""`jit`: which program a call replays, and when the step has to be recorded."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import update_wrapper
from threading import RLock
from typing import Any, NamedTuple
from weakref import WeakSet

import numpy as np

from tinygrad_ft import engine
from tinygrad_ft.engine import mode
from tinygrad_ft.jit.compare import Difference, difference, of_answers
from tinygrad_ft.jit.ground import Ground
from tinygrad_ft.jit.guards import Baked, Options, changed_by_itself, read_by, require_unchanged
from tinygrad_ft.jit.program import Changed, Program
from tinygrad_ft.jit.record import Recorder
from tinygrad_ft.jit.roots import JitError, Ref
from tinygrad_ft.jit.tree import flattened, numbers_in, objects_in, rebuilt

MOST_TRIES = 4  # recordings that all differ
MOST_PROGRAMS = 16  # signatures and states in which one step is recorded
MOST_NAMED = 3  # options in a message


class Recorded(NamedTuple):
    """One recording of a step: what it was called with, what it noted and answered, what its code had read."""

    record: Recorder
    results: list[Ref]
    structure: Any
    baked: list[Baked]
    arguments: list[Any]
    options: Options


def jit(step: Callable[..., Any] | None = None, *, threads: int | None = None) -> Any:
    """A step that runs as compiled kernels: recorded in its first two calls, replayed in all later ones.

    The step is any function of Tensors and arrays that computes by ops: a forward pass, or a whole training step with
    backward(), clipping, an optimiser, a schedule and dropout. It answers Tensors, or tuples, lists and dicts of them.
    Results are those of the step itself, to rounding (in products of a matrix that is mostly 0, its zeros are passed
    over, so that what is infinite or NaN beside them leaves no trace). New shapes, dtypes, integers or flags among the
    arguments, and another mode of a module, are recorded anew. A Python float among the arguments may change freely.

    Args:
        threads: how many threads a replay runs on; by default all cores if there is enough to do.
    Raises:
        JitError: when called, if the step looks at numbers (a branch on a Tensor's value, item()), answers something
            other than Tensors, changes a Python value, or reads one that is another now than when it was recorded.
    """
    return Jitted(step, threads) if step is not None else lambda step: Jitted(step, threads)


class Jitted:
    """What `jit` makes of a step; called as the step is."""

    def __init__(self, step: Callable[..., Any], threads: int | None = None):
        if not callable(step):
            raise TypeError(f"jit takes a function: got a {type(step).__name__}")
        if threads is not None and (not isinstance(threads, int) or threads < 1):
            raise ValueError(f"jit needs threads to be a number of at least 1: got {threads!r}")
        update_wrapper(self, step)
        self.step, self.threads = step, threads
        self.programs: dict[Any, list[tuple[Program, Recorded]]] = {}
        self.tried: dict[Any, list[Recorded]] = {}
        self._unproven: set[Program] = set()
        self._ground = Ground()
        self._new_lock()
        _all.add(self)

    def _new_lock(self) -> None:
        self._lock = RLock()  # a program has one memory: calls from several threads take turns

    def __call__(self, *args: Any, **params: Any) -> Any:
        """What the step answers."""
        with self._lock:
            return self._call(args, params)

    def _call(self, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
        if engine.observer is not None:  # someone watches, or another jitted step is being recorded: be part of it
            return self.step(*args, **params)
        arrays, signature = flattened((args, params)) if args or params else ([], _NOTHING)
        signature = (signature, mode.recording)
        for program, recorded in self.programs.get(signature, ()):
            require_unchanged(recorded.baked)
            if not program.applies():
                continue
            if program in self._unproven and not self._same_arguments(recorded, arrays):
                return self._record(signature, arrays, prove=(program, recorded))
            try:
                answers = program(arrays)
            except Changed:
                continue
            return rebuilt(recorded.structure, [engine.Tensor(a) for a in answers])
        return self._record(signature, arrays)

    @staticmethod
    def _same_arguments(recorded: Recorded, arrays: Sequence[Any]) -> bool:
        return all([a is b or (a.tobytes() == b.tobytes()) for a, b in zip(recorded.arguments, arrays, strict=True)])

    def _record(self, signature: Any, arrays: list[Any], prove: Any = None) -> Any:
        """Run the step for real, and note what it does."""
        if signature not in self.tried and len(self.tried) >= 4 * MOST_PROGRAMS:
            raise JitError(
                f"the step was called with {len(self.tried)} kinds of arguments, each once: pass what changes from "
                "call to call as a float or a Tensor, and bring arrays to one shape"
            )
        self._ground.rest()  # what the step makes while it is recorded needs as much again
        own = [np.array(a, order="C") for a in arrays]
        tried = self.tried.get(signature) or [recorded for _, recorded in self.programs.get(signature, ())]
        recorder = Recorder(own, numbers_in(signature[0]), tried[-1].record if tried else None)
        args, params = rebuilt(signature[0], [engine.Tensor(a) for a in own])
        read = read_by(self.step, objects_in(signature[0]))
        try:
            with recorder:
                for thing in read.ours:
                    recorder.uses(thing)
                answer = self.step(*args, **params)
            tensors, structure = flattened(answer, answers=True)
            results = [recorder.ref(a) for a in tensors]
            known = {id(root.array) for root in recorder.roots}
            baked = [value for value in read.values if value.array is None or id(value.array) not in known]
            changed_by_itself(baked)
            recorder.check_untouched()
            recorder.release()
            options = Options(recorder.used)
            recorded = Recorded(recorder, results, structure, baked, [np.array(a) for a in arrays], options)
            if prove is not None:
                self._prove(prove, recorded)
            else:
                self._consider(signature, recorded)
        except BaseException:
            recorder.undo()
            raise
        recorder.settle()
        return rebuilt(structure, [engine.Tensor(np.array(a)) for a in tensors])

    def _prove(self, prove: tuple[Program, Recorded], again: Recorded) -> None:
        """A constant that the step made has been equal so far: now that the arguments differ, is it still?"""
        program, recorded = prove
        found = _difference(recorded, again)
        if found is not None:
            raise JitError(_baked(found.text))
        self._unproven.discard(program)

    def _consider(self, signature: Any, new: Recorded) -> None:
        """A second recording that is the same program makes it one; one that differs in a number alone is an error."""
        tried = self.tried.setdefault(signature, [])
        differences = []
        for earlier in reversed(tried):
            found = _difference(earlier, new)
            if found is None:
                new.record.forget_leaves_but(earlier.record)
                program = Program(new.record, new.results, self._ground, self.threads)
                programs = self.programs.setdefault(signature, [])
                programs.insert(0, (program, new))
                if new.arguments and self._same_arguments(earlier, new.arguments):
                    self._unproven.add(program)  # a number may have come from an argument, past all ops
                tried.clear()
                return
            differences.append(found)
        changed = _changed(tried)
        meanwhile = f" ({changed} changed in between)" if changed else ""
        tried.append(new)
        values = [found for found in differences if found.value]
        if len(values) >= 2:
            tried.clear()
            raise JitError(_baked(values[0].text + meanwhile))
        if len(tried) >= MOST_TRIES:
            tried.clear()
            raise JitError(
                f"the step did something else in each of {MOST_TRIES} calls: {differences[0].text}{meanwhile}. A "
                "jitted step does the same ops in the same order whenever its arguments have the same shapes."
            )
        if sum(map(len, self.programs.values())) >= MOST_PROGRAMS:
            alike = [recorded for _, recorded in self.programs.get(signature, ())]
            if 2 * len(alike) >= MOST_PROGRAMS:
                what = _changed(alike) or "which Tensors it uses, or which of them have gradients"
                raise JitError(
                    f"the step was recorded in {MOST_PROGRAMS} states of its modules and optimisers, and is in another "
                    f"one now: what kept changing is {what}. Pass what changes from call to call as a float or a "
                    "Tensor; the rate of an optimiser may change freely."
                )
            raise JitError(
                f"the step was recorded for {MOST_PROGRAMS} kinds of arguments: pass what changes from call to call as "
                "a float or a Tensor, and bring arrays to one shape"
            )

    def program(self) -> str:
        """What the recorded programs consist of, as text; see `report`."""
        from tinygrad_ft.jit.report import report

        return "\n\n".join(report(program) for programs in self.programs.values() for program, _ in programs) or (
            "nothing is recorded yet: call the step twice"
        )


_NOTHING = flattened(((), {}))[1]
_all: WeakSet[Jitted] = WeakSet()


def _unlock_all() -> None:
    for jitted in _all:
        jitted._new_lock()  # in the child of a fork nobody is left who could release the old one


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock_all)


def _difference(a: Recorded, b: Recorded) -> Difference | None:
    if a.structure != b.structure:
        return Difference("how many Tensors it answers, or in what", False)
    return difference(a.record, b.record) or of_answers(a.record, b.record, a.results, b.results)


def _changed(earlier: list[Recorded]) -> str:
    """Which options of modules and optimisers are others now than in earlier recordings."""
    found = [*dict.fromkeys(text for recorded in earlier for text in recorded.options.changed())]
    return ", ".join(found[:MOST_NAMED]) + (", ..." if len(found) > MOST_NAMED else "")


def _baked(text: str) -> str:
    return (
        f"a number that changes from call to call is baked into the step: {text}. Pass it to the step as a float or a "
        "Tensor; of arrays, compute them by ops."
    )
