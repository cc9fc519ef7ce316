"""What all optimisers share: groups of parameters, the state of each parameter, saving and loading."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from math import inf
from numbers import Real
from typing import Any, ClassVar

import numpy as np

from tinygrad_ft.device import device_of
from tinygrad_ft.engine import Array
from tinygrad_ft.memory import keep_freed_memory
from tinygrad_ft.notice import each_time, uses
from tinygrad_ft.tensor import Tensor

Group = dict[str, Any]
State = dict[str, Any]

NOT_OPTIONS = {"params", "initial_lr", "name"}  # a scheduler notes initial_lr in each group; a name is for its reader


class Optimizer:
    """Updates parameters in place from their gradients. A subclass says how, in `update`.

    Args:
        params: Tensors, or groups: dicts of "params" and the options in which the group differs from `defaults`.
        defaults: the options of every group. "lr" may be a Tensor without axes, which can then be written into.
    `param_groups` is the list of groups, whose options may be changed between steps. `state[p]` holds what is
    remembered for parameter p.
    Raises:
        ValueError: if there are no parameters, one comes twice or is not a leaf, or an option is out of its range.
        TypeError: if something other than a Tensor is to be updated, or an option is not a number.
    """

    below: ClassVar[dict[str, float]] = {}  # number options: each is at least 0 and below this

    def __init__(self, params: Iterable[Any], defaults: Group):
        if isinstance(params, Tensor | Mapping | set | frozenset):
            raise TypeError(
                f"{self._name} needs a list of Tensors or of groups, in a fixed order: got a {_type(params)}"
            )
        keep_freed_memory()  # whoever makes an optimiser is about to train
        given = list(params)
        self.defaults = defaults
        self.param_groups: list[Group] = []
        self.state: defaultdict[Tensor, State] = defaultdict(dict)
        for group in given if given and isinstance(given[0], dict) else [{"params": given}]:
            self.add_param_group(group)
        if not any(group["params"] for group in self.param_groups):
            raise ValueError(f"{self._name} got no parameters: was a generator used up before?")

    def update(self, p: Array, g: Array, lr: Any, state: State, group: Group) -> None:
        """Write one step into the array p, whose gradient is the array g. `lr` is a number or an array without axes."""
        raise NotImplementedError

    def buffers(self, group: Group) -> set[str]:
        """What is remembered for a parameter of this group: names of arrays of its shape, or `step`, a count."""
        return set()

    def check(self, group: Group) -> None:
        """Raise if the options of this group do not go together."""

    def step(self) -> None:
        """Update every parameter that has a gradient."""
        uses(self)
        for group in self.param_groups:
            lr = each_time(lambda group=group: group["lr"].array if isinstance(group["lr"], Tensor) else group["lr"])  # type: ignore[misc]
            for p in group["params"]:
                g = p.grad
                if g is not None:
                    self.update(p.array, g.array, lr, self.state[p], group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients, or set those there are to new zeros: a parameter without a gradient is not updated."""
        uses(self)
        for group in self.param_groups:
            for p in group["params"]:
                if set_to_none:
                    p.grad = None
                elif p.grad is not None:
                    p.grad = Tensor(zeros_like(p.array))

    def add_param_group(self, group: Group) -> None:
        """Take on more parameters; options that the group does not give are the defaults."""
        if not isinstance(group, dict) or "params" not in group:
            raise TypeError(
                f'a group of parameters is a dict with a list of Tensors under "params": got a {_type(group)}'
            )
        group = {**self.defaults, **group}
        params = group["params"]
        group["params"] = params = [params] if isinstance(params, Tensor) else list(params)
        known = {p for other in self.param_groups for p in other["params"]}
        for i, p in enumerate(params):
            if not isinstance(p, Tensor):
                raise TypeError(f"{self._name} updates Tensors: parameter {i} is a {_type(p)}")
            op = None if p.node is None else p.node.op
            if op is not None:
                raise ValueError(
                    f"{self._name} updates leaves, and parameter {i} was made by {op.name}: pass the Tensors it "
                    "was made of, or make it a leaf with .detach().requires_grad_()"
                )
            if p in known:
                raise ValueError(f"{self._name} would update parameter {i} twice in a step: list each Tensor once")
            known.add(p)
        self._check_options(group)
        self.param_groups.append(group)

    def forget(self, p: Tensor) -> None:
        """Bring what is remembered of a parameter back to what it is before the first step, in the same arrays."""
        for a in self.state.get(p, {}).values():
            a[...] = 0

    def state_dict(self) -> dict[str, Any]:
        """All that the next step depends on beside parameters and gradients, as numbers and NumPy arrays of its own.

        {"state": {position: {name: array}}, "param_groups": [{option: number, "params": [position, ...]}]}; a position
        counts the parameters of all groups. Parameters not yet updated have no entry.
        """
        groups: list[Group] = []
        positions: dict[Tensor, int] = {}
        for group in self.param_groups:
            here = range(len(positions), len(positions) + len(group["params"]))
            positions.update(zip(group["params"], here, strict=True))
            groups.append({**group, "lr": float(group["lr"]), "params": list(here)})
        state = {
            i: {name: Tensor(a).numpy_copy() for name, a in self.state[p].items()}
            for p, i in positions.items()
            if self.state.get(p)
        }
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` answered, in this process or another; nothing changes if it does not fit.

        Raises:
            ValueError: if it is of another optimiser, other groups or parameters of other shapes.
        """
        if not {"state", "param_groups"} <= state_dict.keys():
            raise ValueError(f'the state of an optimiser has "state" and "param_groups": this has {sorted(state_dict)}')
        saved = state_dict["param_groups"]
        sizes, saved_sizes = ([len(group["params"]) for group in groups] for groups in (self.param_groups, saved))
        if sizes != saved_sizes:
            raise ValueError(f"the saved state is of groups of {saved_sizes} parameters, and here they are of {sizes}")
        for group in saved:
            missing = sorted(self.defaults.keys() - group.keys())
            if missing:
                raise ValueError(f"the saved state is not of {self._name}: it has no {', '.join(missing)}")
            self._check_options(group)
        entries = {int(i): entry for i, entry in state_dict["state"].items()}  # JSON makes a string of a position
        params = [p for group in self.param_groups for p in group["params"]]
        if not entries.keys() <= set(range(len(params))):
            raise ValueError(f"the saved state has parameters {sorted(entries)}, and here are {len(params)}, from 0")
        needed = [self.buffers(group) for group in saved for _ in group["params"]]
        state = {params[i]: _restored(i, params[i].array, entry, needed[i]) for i, entry in entries.items()}
        for group, new in zip(self.param_groups, saved, strict=True):
            lr = group["lr"]
            group.update({**new, "params": group["params"], "lr": lr})
            set_lr(group, new["lr"])
        self.state = defaultdict(dict, state)

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _check_options(self, group: Group) -> None:
        unknown = sorted(group.keys() - self.defaults.keys() - NOT_OPTIONS)
        if unknown:
            raise ValueError(f"{self._name} has no option {', '.join(unknown)}: it has {', '.join(self.defaults)}")
        for name, below in self.below.items():
            value = group[name]
            if not isinstance(value, Real) and not (name == "lr" and isinstance(value, Tensor) and value.ndim == 0):
                raise TypeError(f"{self._name} needs a number for {name}: got a {_type(value)}")
            require(self._name, name, float(value), below)
        self.check(group)


def require(owner: str, name: str, value: float, below: float) -> None:
    """Raise ValueError unless 0 <= value < below; nan is refused too."""
    if not 0.0 <= value < below:
        range_ = "finite and at least 0" if below == inf else f"at least 0 and below {below:g}"
        raise ValueError(f"{owner} needs {name} to be {range_}: got {value}")


def set_lr(group: Group, lr: float) -> None:
    """Change the learning rate of a group; a Tensor is written into, so that who holds it sees the new rate."""
    if isinstance(group["lr"], Tensor):
        group["lr"].array[...] = lr
    else:
        group["lr"] = lr


def zeros_like(p: Array) -> Array:
    """Zeros in the shape, dtype and place of p."""
    return device_of(p).xp.zeros_like(p)


def _restored(i: int, p: Array, entry: State, needed: set[str]) -> State:
    """The saved entry of parameter i as arrays where p is, in its dtype. `step`, a count, stays a NumPy integer."""
    missing = sorted(needed - entry.keys())
    if missing:
        raise ValueError(f"the saved state of parameter {i} has no {', '.join(missing)}")
    xp = device_of(p).xp
    state: State = {}
    for name, value in entry.items():
        shape = () if name == "step" else p.shape
        if np.shape(value) != shape:
            raise ValueError(f"the saved {name} of parameter {i} has shape {np.shape(value)}, and here it is {shape}")
        state[name] = np.array(value, np.int64) if name == "step" else xp.array(value, p.dtype)
    return state


def _type(x: Any) -> str:
    return type(x).__name__
