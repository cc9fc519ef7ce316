"""Tensor: an array that remembers how it was made. Its operators and methods are the ops themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy import ndarray

from tinygrad_ft import gradients, ops
from tinygrad_ft.chain_rule import as_gradient
from tinygrad_ft.device import DEVICES, Device, cpu, device, device_of, names
from tinygrad_ft.engine import NONE_YET, Node, Value, answers_with
from tinygrad_ft.notice import constant, looks_at, uses
from tinygrad_ft.numpy_protocol import array_function, array_ufunc
from tinygrad_ft.operations import Operations
from tinygrad_ft.ops.moving import moved


@answers_with
class Tensor(Operations):
    """An array, and the node of the op that made it if a gradient may be asked of it.

    `array` is the plain array (NumPy's on the CPU). Ops accept Tensors, plain arrays and Python numbers, and never
    change a Tensor; numbers take on the Tensor's dtype.
    """

    __slots__ = ()
    __array_priority__ = 1000  # CuPy's arrays leave operators to what has more than their 100
    __array_ufunc__, __array_function__ = array_ufunc, array_function

    def __init__(self, array: Any, node: Node | None = None):
        if node is None and type(array) is not ndarray:  # ops alone give a node, with an array of their making
            array = _plain(array, type(self).__name__)
        self.array = array
        self.node = node

    # what it is

    @property
    def device(self) -> Device:
        """Where the array lives."""
        return device_of(self.array)

    def size(self, axis: int | None = None) -> Any:
        """The shape, or the length of one axis."""
        return self.shape if axis is None else self.shape[axis]

    def dim(self) -> int:
        """The number of axes."""
        return int(self.array.ndim)

    def numel(self) -> int:
        """The number of elements."""
        return int(self.array.size)

    def __len__(self) -> int:
        if not self.ndim:
            raise TypeError("len() of a Tensor without axes")
        return int(self.shape[0])

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        numbers = np.array2string(self.numpy_copy(), separator=", ", prefix="tensor(", precision=4, threshold=100)
        notes = "" if self.dtype == np.float32 or self.dtype.kind in "bi" else f", dtype={self.dtype}"
        if self.device is not cpu:
            notes += f", device={self.device}"
        if self.node is not None:
            notes += ", requires_grad=True" if self.node.op is None else f", made by {self.node.op.name}"
        return f"tensor({numbers}{notes})"

    __str__ = __repr__

    # what it holds

    def item(self) -> Any:
        """The only element, as a Python number."""
        looks_at("the value of a Tensor, by item(), float() or int()")
        if self.array.size != 1:
            raise ValueError(f"item() needs a Tensor of one element: this one has shape {self.shape}")
        return self.array.item()

    def tolist(self) -> Any:
        """The elements as nested lists of Python numbers."""
        looks_at("the values of a Tensor, by tolist()")
        return self.array.tolist()

    def numpy_copy(self) -> np.ndarray[Any, Any]:
        """A NumPy array with the same numbers, on the CPU, whatever the device, and also while a gradient is kept."""
        looks_at("the values of a Tensor, by numpy_copy() or by printing it")
        return np.array(self.array.get() if hasattr(self.array, "get") else self.array)

    def numpy(self) -> np.ndarray[Any, Any]:
        """The NumPy array itself, memory shared; refused while a gradient is kept, which would not see changes."""
        looks_at("the values of a Tensor, by numpy()")
        if self.node is not None:
            raise RuntimeError("this Tensor keeps a gradient: call .detach().numpy()")
        if not isinstance(self.array, np.ndarray):
            raise TypeError(f"this Tensor is on {self.device}: call .cpu().numpy()")
        return self.array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self.dtype.kind not in "iu":
            raise TypeError(f"only an integer Tensor can be an index: this one is {self.dtype}")
        return int(self.item())

    def __bool__(self) -> bool:
        if self.array.size != 1:
            raise ValueError(
                f"a Tensor of shape {self.shape} is neither true nor false; compare, then ask .all() or .any()"
            )
        looks_at("whether a Tensor is true")
        return bool(self.array.item())

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else str(self)

    def all(self) -> bool:
        """Whether every element is true."""
        looks_at("whether the elements of a Tensor are true, by all()")
        return bool(self.array.all())

    def any(self) -> bool:
        """Whether some element is true."""
        looks_at("whether an element of a Tensor is true, by any()")
        return bool(self.array.any())

    # gradients

    @property
    def requires_grad(self) -> bool:
        """Whether a gradient can be asked of it; setting it makes a leaf or a constant."""
        return self.node is not None

    @requires_grad.setter
    def requires_grad(self, wanted: bool) -> None:
        self.requires_grad_(wanted)

    def requires_grad_(self, wanted: bool = True) -> Any:
        """Start keeping a gradient, or stop, in place."""
        if self.node is not None and self.node.op is not None:
            if not wanted:
                raise RuntimeError(
                    "only a leaf can stop requiring grad; use .detach() for a constant with the same numbers"
                )
        elif not wanted:
            self.node = None
        elif self.node is None:
            if self.dtype.kind != "f":
                raise TypeError(
                    f"only floating-point Tensors can require grad: this one is {self.dtype}; call .float() first"
                )
            self.node = Node(None, (), (), {}, self.array.shape, self.array.dtype)
            self.node.grad = NONE_YET
        return self

    @property
    def is_leaf(self) -> bool:
        """Whether no op made it."""
        return self.node is None or self.node.op is None

    @property
    def grad(self) -> Any:
        """What backward() has added up so far: a Tensor of the same shape, or None."""
        g = None if self.node is None else self.node.grad
        return None if g is NONE_YET else g

    @grad.setter
    def grad(self, g: Any) -> None:
        uses([self])
        if self.node is not None and self.node.grad is not None:
            self.node.grad = NONE_YET if g is None else as_gradient(g, self, "grad")
        elif g is not None:
            why = "does not require grad" if self.node is None else "was made by an op and does not retain its grad"
            raise RuntimeError(f"this Tensor {why}, so it has nowhere to keep one")

    def backward(self, gradient: Any = None, retain_graph: bool | None = None, create_graph: bool = False) -> None:
        """Add d(self)/d(leaf) to the grad of every leaf that self depends on; see `gradients.backward`."""
        gradients.backward(self, gradient, retain_graph, create_graph)

    def register_hook(self, hook: Callable[[Any], Any]) -> Callable[[], None]:
        """Call hook(g) when this Tensor's cotangent g is complete; what it returns, if not None, takes the place of g.

        Returns a function that removes the hook; calling it again does nothing.
        """
        if self.node is None:
            raise RuntimeError("this Tensor does not require grad, so no cotangent will ever reach it")
        hooks = self.node.hooks = self.node.hooks or {}
        key = object()  # one function may be registered twice
        hooks[key] = hook

        def remove() -> None:
            hooks.pop(key, None)

        return remove

    def retain_grad(self) -> None:
        """Keep the gradient of a Tensor that an op made, as leaves do."""
        if self.node is None:
            raise RuntimeError("this Tensor does not require grad, so it has no gradient to retain")
        if self.node.grad is None:
            self.node.grad = NONE_YET

    def detach(self) -> Any:
        """A constant with the same numbers, memory shared."""
        return Tensor(self.array)

    def clone(self) -> Any:
        """A copy that passes gradients back to the original."""
        return ops.clone(self)

    def __reduce__(self) -> Any:
        """What copy and pickle go by: a leaf becomes another leaf, with its gradient and without its hooks."""
        if not self.is_leaf:
            raise RuntimeError(
                f"this Tensor was made by {self.node.op.name}, and its graph cannot be copied: "  # type: ignore[union-attr]
                "copy the leaves that it was made of, or call .detach() or .clone()"
            )
        return _leaf, (type(self), self.array, self.requires_grad, self.grad), getattr(self, "__dict__", None) or None

    # moving and converting

    def to(self, *targets: Any, device: Any = None, dtype: Any = None) -> Any:
        """On another device (a name or a Device), or in another dtype, or both; itself if nothing changes."""
        moved = self
        for target in targets:
            moved = moved._moved(target) if _is_device(target) else moved._in(target)
        moved = moved if device is None else moved._moved(device)
        return moved if dtype is None else moved._in(dtype)

    def _moved(self, target: Any) -> Any:
        wanted, here = device(target), self.device
        return self if wanted is here else moved(self, source=here.name, target=wanted.name)

    def _in(self, target: Any) -> Any:
        try:
            dtype = np.dtype(target)
        except TypeError:
            raise ValueError(f"{target!r} is neither a device ({', '.join(names())}) nor a dtype") from None
        if dtype == self.dtype:
            return self
        return ops.cast(self, dtype=dtype) if dtype.kind == "f" else Tensor(ops.cast(self.array, dtype=dtype))

    def type(self, dtype: Any) -> Any:
        """In another dtype."""
        return self.to(dtype)

    def cpu(self) -> Any:
        """On the CPU."""
        return self._moved(cpu)

    def cuda(self) -> Any:
        """On the GPU."""
        return self._moved("cuda")

    def float(self) -> Any:
        """In float32."""
        return self.to(np.float32)

    def double(self) -> Any:
        """In float64."""
        return self.to(np.float64)

    def half(self) -> Any:
        """In float16."""
        return self.to(np.float16)

    def long(self) -> Any:
        """In int64, a constant."""
        return self.to(np.int64)

    def bool(self) -> Any:
        """In booleans, a constant."""
        return self.to(np.bool_)


def _is_device(target: Any) -> bool:
    return isinstance(target, Device) or (isinstance(target, str) and target in names())


def _plain(array: Any, kind: str) -> Any:
    """An array of a device: NumPy's subclasses and single numbers are brought to its one type of array."""
    if type(array) in DEVICES:
        return array
    if isinstance(array, ndarray | np.generic):
        return np.asarray(array)
    raise TypeError(f"{kind}(...) takes an array: got {type(array).__name__}; tg.tensor(...) takes numbers too")


def _leaf(kind: type[Tensor], array: Any, requires_grad: bool, grad: Any) -> Tensor:
    made = kind.__new__(kind)  # a subclass may take other arguments than an array
    Tensor.__init__(made, array)
    made.requires_grad_(requires_grad).grad = grad
    return made


def tensor(data: Any, dtype: Any = None, *, requires_grad: bool = False) -> Tensor:
    """A new Tensor from numbers, nested lists or an array; the numbers are copied.

    Python floats become float32 unless a dtype is given; NumPy arrays keep theirs, integers and booleans stay so.
    """
    if isinstance(data, Value):  # by ops, so that a recorded step copies too
        same = dtype is None or np.dtype(dtype) == data.dtype
        array = ops.clone(data.array) if same else ops.cast(data.array, dtype=np.dtype(dtype))
    else:
        array = np.array(data, dtype=dtype)
    if array.dtype.kind not in "fiub":
        raise TypeError(
            f"a Tensor holds floating-point numbers, integers or booleans: got {array.dtype} from {type(data).__name__}"
        )
    if dtype is None and array.dtype == np.float64 and not isinstance(data, np.ndarray | np.generic):
        array = array.astype(np.float32)
    if not isinstance(data, Value | np.ndarray | np.generic):
        constant(array)
    return Tensor(array).requires_grad_(requires_grad)  # type: ignore[no-any-return]
