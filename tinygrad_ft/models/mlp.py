"""The multi-layer perceptron: linear layers with a nonlinearity between them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tinygrad_ft import nn

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}


@dataclass(frozen=True)
class MLPConfig:
    """The sizes of the layers, inputs first, classes last, and what stands between them."""

    sizes: tuple[int, ...]
    activation: str = "relu"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "sizes", tuple(self.sizes))
        if len(self.sizes) < 2 or any(not isinstance(n, int) or n < 1 for n in self.sizes):
            raise ValueError(f"an MLP needs two sizes or more, each at least 1: got {self.sizes}")
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"activation is one of {', '.join(ACTIVATIONS)}: got {self.activation!r}")

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {**asdict(self), "sizes": list(self.sizes)}


class MLP(nn.Module):
    """x (..., sizes[0]) -> (..., sizes[-1]): linear, activation, dropout, ..., linear.

    Weights start as He et al. propose for ReLU, biases at 0.
    """

    def __init__(self, config: MLPConfig, *, rng: np.random.Generator | None = None):
        super().__init__()
        self.config = config
        layers: list[nn.Module] = []
        for inputs, outputs in zip(config.sizes, config.sizes[1:], strict=False):
            layers += [nn.Linear(inputs, outputs, rng=rng), ACTIVATIONS[config.activation]()]
            if config.dropout:
                layers.append(nn.Dropout(config.dropout, rng=rng))
        while not isinstance(layers[-1], nn.Linear):
            layers.pop()
        self.layers = nn.Sequential(*layers)
        for layer in layers:
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu", rng=rng)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward(self, x: Any) -> Any:
        """x (..., sizes[0]) -> logits (..., sizes[-1])."""
        return self.layers(x)
