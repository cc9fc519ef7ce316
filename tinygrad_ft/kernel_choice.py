"""The one loader of kernels: announces them to their ops at import, and lets a user choose among them."""

from __future__ import annotations

from importlib import import_module
from types import TracebackType

from tinygrad_ft.dispatch import REFERENCE
from tinygrad_ft.ops.composed import every

import_module("tinygrad_ft.kernels").announce()


def load_kernels(device: str) -> None:
    """Load all kernels of a device now, where each op would do so when it first meets an array that is large enough.

    Raises:
        ImportError: if the device's tools are not installed.
    """
    for op in every().values():
        if op.kernels:
            op.kernels.load(device)


class use_kernels:  # a function to its users, a class so that it can also be a context
    """Choose by name which kernel of an op runs: use_kernels(gelu="reference") is the op's own forward, None the best.

    Takes effect at once; as a context, `with use_kernels(...):`, until it ends. A chosen kernel that does not apply to
    some arguments (dtype, layout, size) leaves them to the op's own forward.

    Raises:
        ValueError: for an op that does not exist or has no kernel of that name; the message lists what there is.
    """

    def __init__(self, **choice: str | None):
        ops = every()
        for op, name in choice.items():
            if op not in ops:
                raise ValueError(f"there is no op {op!r}; `tinygrad-ft ops` lists them")
            kernels = ops[op].kernels
            if name is not None and not (kernels.has(name) if kernels else name == REFERENCE):
                known = kernels.names() if kernels else [REFERENCE]
                raise ValueError(f"{op} has no kernel {name!r}: known are {', '.join(known)}")
        self._before: dict[str, str | None] = {}
        for op, name in choice.items():
            if kernels := ops[op].kernels:
                self._before[op], kernels.choice = kernels.choice, name

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for op, name in self._before.items():
            kernels = every()[op].kernels
            assert kernels is not None
            kernels.choice = name
