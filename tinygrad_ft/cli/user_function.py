"""A function in somebody's file, with the inputs that stand beside it: FILE.py:NAME on the command line."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from tinygrad_ft.tensor import Tensor
from tinygrad_ft.testing import variable


class UserFunction(NamedTuple):
    """A function, the inputs to check it on, and its gradient if the file has one written by hand."""

    function: Callable[..., Any]
    inputs: tuple[Any, ...]
    gradient: Callable[..., Any] | None


def load(path: Path, name: str) -> UserFunction:
    """What FILE.py says about one of its functions.

    `NAME_inputs`, or `inputs` if there is none of that name, is an array or a tuple of inputs, or a function that
    answers that. `NAME_gradient`, if it is there, is the gradient to be checked; else it is that of the engine's rules,
    by all floating-point inputs, which then become Tensors.
    Raises:
        ValueError: if the file cannot be run, or lacks the function or its inputs.
    """
    module = _run(path)
    function = getattr(module, name, None)
    if not callable(function):
        raise ValueError(f"{path} has no function {name}; it has {', '.join(_functions(module)) or 'none'}")
    inputs = getattr(module, f"{name}_inputs", getattr(module, "inputs", None))
    if inputs is None:
        raise ValueError(
            f"{path} does not say on which inputs to check {name}: write {name}_inputs = (x, ...), or a function "
            "that answers them"
        )
    inputs = inputs() if callable(inputs) and not isinstance(inputs, Tensor) else inputs
    inputs = tuple(inputs) if isinstance(inputs, tuple | list) else (inputs,)
    gradient = getattr(module, f"{name}_gradient", None)
    return UserFunction(function, inputs if gradient else tuple(map(variable, inputs)), gradient)


def _run(path: Path) -> Any:
    """The file as a module; what it imports may stand beside it."""
    spec = importlib.util.spec_from_file_location(f"checked_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} is no Python file: its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module  # dataclasses look for the module that they are written in
    sys.path.insert(0, str(path.resolve().parent))
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ValueError(f"{path} cannot be run: {type(error).__name__}: {error}") from error
    finally:
        sys.path.pop(0)
    return module


def _functions(module: Any) -> list[str]:
    own = {k: v for k, v in vars(module).items() if getattr(v, "__module__", None) == module.__name__}
    return [k for k, v in own.items() if callable(v) and not k.endswith(("_inputs", "_gradient"))]
