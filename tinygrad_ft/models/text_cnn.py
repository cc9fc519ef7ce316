"""TextCNN: which of two sides a text takes, by the strongest answer of each of many small patterns of words."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tinygrad_ft import nn, ops


@dataclass(frozen=True)
class TextCNNConfig:
    """The shape of a TextCNN. `width` is how long a word's vector is, `kernel` how many words a pattern spans."""

    vocabulary: int = 10_000
    width: int = 16
    channels: int = 128
    kernel: int = 5
    dropout: float = 0.5

    def __post_init__(self) -> None:
        for name in ("vocabulary", "width", "channels", "kernel"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise ValueError(f"a TextCNN needs {name} of at least 1: got {getattr(self, name)!r}")
        if not isinstance(self.dropout, int | float) or not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"a TextCNN needs dropout from 0 to below 1: got {self.dropout!r}")

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)


class TextCNN(nn.Module):
    """ids (batch, n) -> logits (batch,), whose sigmoid is the chance of the second class; n >= kernel.

    Embedding, convolution along the text, ReLU, the largest answer of each channel, dropout, one output. Padding is a
    word like others, number 0: it has a vector of its own, which is learned.
    Weights start as Keras starts them: uniform in ±0.05 for words, Glorot's elsewhere, biases 0.
    Source: Kim, "Convolutional Neural Networks for Sentence Classification", 2014, with one width of pattern.
    """

    def __init__(self, config: TextCNNConfig, *, rng: np.random.Generator | None = None):
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary, config.width, rng=rng)
        self.conv = nn.Conv1d(config.width, config.channels, config.kernel, rng=rng)
        self.dropout = nn.Dropout(config.dropout, rng=rng)
        self.output = nn.Linear(config.channels, 1, rng=rng)
        nn.init.uniform_(self.embedding.weight, -0.05, 0.05, rng=rng)
        for layer in (self.conv, self.output):
            nn.init.xavier_uniform_(layer.weight, rng=rng)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)

    def forward(self, ids: Any) -> Any:
        """ids (batch, n) integers -> logits (batch,).

        Raises:
            ValueError: if a text is shorter than a pattern.
        """
        if ids.ndim != 2 or ids.shape[1] < self.config.kernel:
            raise ValueError(
                f"TextCNN needs ids (batch, n), n at least its kernel {self.config.kernel}: got {ids.shape}"
            )
        x = ops.transpose(self.embedding(ids), 1, 2)
        strongest = ops.relu(ops.amax(self.conv(x), 2))  # the same as the maximum of ReLUs, on fewer numbers
        return ops.squeeze(self.output(self.dropout(strongest)), 1)


def loss_of(model: TextCNN, ids: Any, sides: Any) -> Any:
    """Mean binary cross-entropy, in nats; sides (batch,) are 0 and 1, as floats."""
    return ops.binary_cross_entropy_with_logits(model(ids), sides)
