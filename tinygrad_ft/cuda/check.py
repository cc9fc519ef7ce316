"""Run an example case on a device and compare it with the op's own forward in float64 on NumPy."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from tinygrad_ft.cuda.cases import Case, Host
from tinygrad_ft.cuda.launch import Launch, compiled_only, recorded
from tinygrad_ft.cuda.toolkit import MissingToolkit
from tinygrad_ft.device import DEVICES, Device, cpu, device
from tinygrad_ft.dispatch import REFERENCE
from tinygrad_ft.kernel_choice import use_kernels
from tinygrad_ft.ops.composed import every


class Outcome(NamedTuple):
    """What a case came to: what it was given, the largest absolute difference, the launches, and what is wrong."""

    case: Case
    given: str
    difference: float
    launches: list[Launch]
    wrong: str

    def __str__(self) -> str:
        told = f"{self.difference:.1e} of {self.case.tolerance:.1e}, launches: {len(self.launches)}"
        version = self.case.version or "the one chosen"
        return f"{self.case.op} {version} ({self.given}): {self.wrong or told}"

    @property
    def fine(self) -> bool:
        """Whether the answer is within the tolerance, and the kernel gave it."""
        return not self.wrong


def checked(case: Case, name: str = "emulator", *, seed: int = 0) -> Outcome:
    """Run one case on the device of that name. What the emulator objects to is said in the outcome, not raised."""
    place = device(name)
    inputs = case.inputs(np.random.default_rng(seed))
    given = ", ".join(map(_shown, inputs))
    launches: list[Launch] = []
    try:
        with recorded(launches):
            answers = answers_on(place, case, inputs)
    except MissingToolkit:
        raise
    except (RuntimeError, NotImplementedError, TypeError, ValueError) as error:
        return Outcome(case, given, np.inf, launches, f"{type(error).__name__}: {error}")
    worst = max((largest_difference(a, b) for a, b in zip(answers, expected(case, inputs), strict=True)), default=0.0)
    if not launches:
        wrong = f"no kernel was launched: {case.version or 'whatever there is'} refuses these arguments"
    elif not worst <= case.tolerance:
        wrong = f"differs by {worst:.1e} from float64, more than {case.tolerance:.1e}"
    else:
        wrong = ""
    return Outcome(case, given, worst, launches, wrong)


def compiled(cases: Iterable[Case], *, seed: int = 0) -> list[Launch]:
    """What cases would launch on the emulator; nothing runs."""
    with recorded() as launches, compiled_only(), np.errstate(all="ignore"):
        for case in cases:
            answers_on(device("emulator"), case, case.inputs(np.random.default_rng(seed)))
    return launches


def answers_on(place: Device, case: Case, inputs: tuple[Any, ...]) -> list[np.ndarray]:
    """What the kernel answers, and what it overwrites, brought to the host."""
    with use_kernels(**{case.op: case.version}):
        return [_get(y) for y in ready(place, case, inputs)()]


def expected(case: Case, inputs: tuple[Any, ...]) -> list[np.ndarray]:
    """The same by the op's own forward, in float64 on NumPy."""
    wide = case._replace(params={name: _wide(value) for name, value in case.params.items()})
    with use_kernels(**{case.op: REFERENCE}), np.errstate(all="ignore"):  # a GPU says nothing of such numbers
        return ready(cpu, wide, tuple(map(_wide, inputs)))()


def ready(place: Device, case: Case, inputs: tuple[Any, ...]) -> Callable[[], list[Any]]:
    """The call of a case, its arrays on the device already: answers the op's answers, and what it overwrites."""
    op = every()[case.op]
    given = [_put(place, x) for x in inputs]
    params = {name: _put(place, value) for name, value in case.params.items()}

    def call() -> list[Any]:
        answer = op(*given, **params)
        answers = list(answer) if isinstance(answer, tuple) else [answer]
        for i in getattr(op, "overwritten", ()):
            answers += given[i] if isinstance(i, slice) else [given[i]]
        return [*{id(a): a for a in answers if a is not None}.values()]

    return call


def _shown(x: Any) -> str:
    x = x.array if isinstance(x, Host) else x
    return "x".join(map(str, x.shape)) if getattr(x, "ndim", 0) else str(x)


def _put(place: Device, x: Any) -> Any:
    if isinstance(x, Host):
        return x.array.copy()
    if place is cpu:
        return x.copy() if isinstance(x, np.ndarray) else x
    return place.xp.asarray(x) if isinstance(x, np.ndarray) else x


def _wide(x: Any) -> Any:
    x = x.array if isinstance(x, Host) else x
    if isinstance(x, np.ndarray):
        return x.astype(np.float64) if x.dtype.kind == "f" else x.copy()
    return x


def _get(y: Any) -> np.ndarray:
    return y if DEVICES.get(type(y), cpu) is cpu else y.get()  # type: ignore[no-any-return]


def largest_difference(a: np.ndarray, b: np.ndarray) -> float:
    """The largest absolute difference; infinite if only one of two numbers is NaN or infinite, or the shapes differ."""
    if np.shape(a) != np.shape(b):
        return np.inf
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore"):
        apart = np.where(same, 0.0, np.abs(a - b))
    return float(np.where(np.isnan(apart), np.inf, apart).max(initial=0.0))
