"""Module: a part of a model, which finds its parameters by the names of its attributes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinygrad_ft.engine import NONE_YET
from tinygrad_ft.notice import uses
from tinygrad_ft.tensor import Tensor


class Parameter(Tensor):
    """A Tensor that a Module trains: assigned to an attribute, it is found under that name."""

    def __init__(self, data: Any, requires_grad: bool = True):
        super().__init__(data.array if isinstance(data, Tensor) else data)
        self.requires_grad_(requires_grad)


class Module:
    """A part of a model. Subclasses assign Parameters and Modules to attributes, and define `forward`."""

    # Defaults of the class, so that a subclass which forgets super().__init__() works all the same.
    training: bool = True
    _buffers: frozenset[str] = frozenset()

    def forward(self, *inputs: Any, **params: Any) -> Any:
        """What the module computes; called as module(...)."""
        raise NotImplementedError(f"{type(self).__name__} defines no forward")

    def __call__(self, *inputs: Any, **params: Any) -> Any:
        """The same as forward."""
        uses(self)
        return self.forward(*inputs, **params)

    def register_buffer(self, name: str, tensor: Tensor) -> None:
        """Make a constant part of the state: saved and loaded with the parameters, but not trained."""
        setattr(self, name, tensor)
        self._buffers |= {name}

    # finding things

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules among the attributes, with their names."""
        return ((name, value) for name, value in vars(self).items() if isinstance(value, Module))

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module and all below it, each once, with dotted names; this one's is `prefix`."""
        seen: set[Module] = set()
        waiting: list[tuple[str, Module]] = [(prefix, self)]
        while waiting:
            name, module = waiting.pop()
            if module not in seen:
                seen.add(module)
                yield name, module
                below = [(f"{name}.{child}" if name else child, m) for child, m in module.named_children()]
                waiting += reversed(below)

    def modules(self) -> Iterator[Module]:
        """This module and all below it."""
        return (module for _, module in self.named_modules())

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Every parameter once, with its dotted name; one that is used in two places has the first name."""
        seen: set[int] = set()
        for name, p in self._named_state(lambda m, n, v: isinstance(v, Parameter)):
            if id(p) not in seen:
                seen.add(id(p))
                yield name, p

    def parameters(self) -> Iterator[Parameter]:
        """Every parameter once."""
        return (p for _, p in self.named_parameters())

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """Every registered constant, with its dotted name."""
        return self._named_state(lambda m, n, v: n in m._buffers)

    def _named_state(self, belongs: Callable[[Module, str, Any], bool]) -> Iterator[tuple[str, Any]]:
        for prefix, module in self.named_modules():
            for name, value in vars(module).items():
                if belongs(module, name, value):
                    yield (f"{prefix}.{name}" if prefix else name), value

    # state

    def state_dict(self) -> dict[str, Tensor]:
        """All parameters and buffers by name, as constants that share memory: copy what training must not change."""
        return {name: t.detach() for name, t in [*self.named_parameters(), *self.named_buffers()]}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> tuple[list[str], list[str]]:
        """Copy arrays into the parameters and buffers of the same names; answers (missing, unexpected) names.

        Raises:
            KeyError: under `strict`, if names are missing or unexpected.
            ValueError: if a shape differs, or numbers would be lost on the way to our dtype. Nothing is loaded then.
        """
        own = dict([*self.named_parameters(), *self.named_buffers()])
        missing, unexpected = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
        if strict and (missing or unexpected):
            names = f"missing {missing or 'nothing'}, unexpected {unexpected or 'nothing'}"
            raise KeyError(f"state does not fit {type(self).__name__}: {names}")
        found = {name: np.asarray(getattr(state[name], "array", state[name])) for name in own if name in state}
        for name, array in found.items():
            mine = own[name].array
            if array.shape != mine.shape:
                raise ValueError(
                    f"{name} has shape {array.shape} in the state and {mine.shape} in {type(self).__name__}"
                )
            if not np.can_cast(array.dtype, mine.dtype, "same_kind"):
                raise ValueError(f"{name} holds {array.dtype} in the state, which {mine.dtype} cannot hold")
        for name, array in found.items():
            own[name].array[...] = array
        return missing, unexpected

    # switching

    def train(self, mode: bool = True) -> Any:
        """Behave as in training (dropout drops), here and in all modules below; returns self."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Any:
        """Behave as in use; returns self."""
        return self.train(False)

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """A context in which all modules behave as in use; after it each behaves as before."""
        before = [(vars(module), vars(module).get("training")) for module in self.modules()]
        self.eval()
        try:
            yield
        finally:
            for attributes, training in before:
                if training is None:  # the class's own: a recorded step shall find the attributes it knows
                    del attributes["training"]
                else:
                    attributes["training"] = training

    def requires_grad_(self, wanted: bool = True) -> Any:
        """Train all parameters, or freeze them; returns self."""
        for p in self.parameters():
            p.requires_grad_(wanted)
        return self

    def zero_grad(self) -> None:
        """Forget all gradients."""
        uses(list(self.parameters()))
        for p in self.parameters():
            if p.node is not None:
                p.node.grad = NONE_YET

    def to(self, target: Any) -> Any:
        """Convert parameters and buffers to a dtype or a device, in place, and forget gradients; returns self."""
        for t in [*self.parameters(), *(b for _, b in self.named_buffers())]:
            moved = t.detach().to(target)
            if moved.dtype.kind == t.dtype.kind:
                trained, t.array, t.node = t.requires_grad, moved.array, None
                t.requires_grad_(trained)
            elif t.dtype.kind == "f":
                raise TypeError(f"a module's numbers can become floating-point ones only: got {target}")
        return self

    def apply(self, f: Callable[[Module], Any]) -> Any:
        """Call f on this module and all below; returns self."""
        for module in list(self.modules()):
            f(module)
        return self

    def extra_repr(self) -> str:
        """What a subclass wants to say of itself in repr."""
        return ""

    def __repr__(self) -> str:
        lines = [f"({name}): {module!r}".replace("\n", "\n  ") for name, module in self.named_children()]
        body = "\n  " + "\n  ".join(lines) + "\n" if lines else self.extra_repr()
        return f"{type(self).__name__}({body})"
