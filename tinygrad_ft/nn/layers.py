"""The layers that models are built of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tinygrad_ft import ops
from tinygrad_ft.nn import init
from tinygrad_ft.nn.module import Module, Parameter
from tinygrad_ft.ops.random import Rng


class Linear(Module):
    """y = x W^T + b.

    Shapes: x (..., in_features) -> y (..., out_features); weight (out_features, in_features), a row for each output.
    Weights and bias start uniform within 1/sqrt(in_features), as PyTorch's do, so that y does not grow with the inputs.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, *, rng: Rng = None):
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        bound = in_features**-0.5 if in_features else 0.0
        self.weight = Parameter(np.empty((out_features, in_features), np.float32))
        init.uniform_(self.weight, -bound, bound, rng)
        self.bias = Parameter(np.empty(out_features, np.float32)) if bias else None
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound, rng)

    def forward(self, x: Any) -> Any:
        """x (..., in_features) -> (..., out_features)."""
        return ops.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Its sizes."""
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Embedding(Module):
    """A row of a table for each integer; rows start normal with variance 1.

    Shapes: ids (...) integers -> (..., embedding_dim); weight (num_embeddings, embedding_dim).
    """

    def __init__(self, num_embeddings: int, embedding_dim: int, *, rng: Rng = None):
        super().__init__()
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.weight = Parameter(np.empty((num_embeddings, embedding_dim), np.float32))
        init.normal_(self.weight, rng=rng)

    def forward(self, ids: Any) -> Any:
        """ids (...) -> (..., embedding_dim)."""
        return ops.embedding(ids, self.weight)

    def extra_repr(self) -> str:
        """Its sizes."""
        return f"{self.num_embeddings}, {self.embedding_dim}"


class LayerNorm(Module):
    """Each vector of the last axes brought to mean 0 and variance 1, then scaled by weight and shifted by bias."""

    def __init__(self, normalized_shape: int | tuple[int, ...], eps: float = 1e-5, *, bias: bool = True):
        super().__init__()
        self.normalized_shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.eps = eps
        self.weight = Parameter(np.ones(self.normalized_shape, np.float32))
        self.bias = Parameter(np.zeros(self.normalized_shape, np.float32)) if bias else None

    def forward(self, x: Any) -> Any:
        """x (..., *normalized_shape) -> the same shape."""
        return ops.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """Its sizes."""
        return f"{self.normalized_shape}, eps={self.eps}, bias={self.bias is not None}"


class Dropout(Module):
    """In training each element becomes 0 with chance p and the others grow by 1 / (1 - p); in evaluation none does."""

    def __init__(self, p: float = 0.5, *, rng: Rng = None):
        super().__init__()
        if not 0.0 <= p <= 1.0:
            raise ValueError(f"Dropout needs a chance from 0 to 1: got p={p}")
        self.p, self.rng = p, rng

    def forward(self, x: Any) -> Any:
        """Any shape -> the same shape."""
        return ops.dropout(x, self.p, self.training, rng=self.rng)

    def extra_repr(self) -> str:
        """Its chance."""
        return f"p={self.p}"


class ReLU(Module):
    """max(x, 0)."""

    def forward(self, x: Any) -> Any:
        """Any shape -> the same shape."""
        return ops.relu(x)


class GELU(Module):
    """x times the chance that a standard normal is below x; approximate="tanh" for the older formula."""

    def __init__(self, approximate: str = "none"):
        super().__init__()
        self.approximate = approximate

    def forward(self, x: Any) -> Any:
        """Any shape -> the same shape."""
        return ops.gelu(x, approximate=self.approximate)

    def extra_repr(self) -> str:
        """Which formula."""
        return f"approximate={self.approximate!r}"


class Tanh(Module):
    """The hyperbolic tangent."""

    def forward(self, x: Any) -> Any:
        """Any shape -> the same shape."""
        return ops.tanh(x)


class Sigmoid(Module):
    """1 / (1 + e^-x)."""

    def forward(self, x: Any) -> Any:
        """Any shape -> the same shape."""
        return ops.sigmoid(x)


class Sequential(Module):
    """Modules one after another, named 0, 1, 2, ..."""

    def __init__(self, *modules: Module):
        super().__init__()
        for i, module in enumerate(modules):
            if not isinstance(module, Module):
                raise TypeError(f"Sequential is made of Modules: item {i} is {type(module).__name__}")
            setattr(self, str(i), module)

    def append(self, module: Module) -> Any:
        """Add a module at the end; returns self."""
        setattr(self, str(len(self)), module)
        return self

    def __iter__(self) -> Iterator[Module]:
        return (module for _, module in self.named_children())

    def __len__(self) -> int:
        return len(list(self.named_children()))

    def __getitem__(self, i: int) -> Module:
        return list(self)[i]

    def forward(self, x: Any) -> Any:
        """What the last module makes of what the others made of x."""
        for module in self:
            x = module(x)
        return x


class ModuleList(Sequential):
    """Modules in a list, named 0, 1, 2, ...; their owner decides how they are called."""

    def __init__(self, modules: Any = ()):
        super().__init__(*modules)

    def forward(self, *inputs: Any, **params: Any) -> Any:
        """Has none: iterate over the list."""
        raise NotImplementedError("a ModuleList is not called: iterate over it")
