"""The functions of nets under PyTorch's name for their home: `import tinygrad_ft.nn.functional as F`."""

from tinygrad_ft.ops import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    dropout,
    embedding,
    gelu,
    layer_norm,
    log_softmax,
    mse_loss,
    pad,
    relu,
    scaled_dot_product_attention,
    sigmoid,
    softmax,
    softplus,
    tanh,
)
from tinygrad_ft.ops import linear as _linear


def linear(x, weight, bias=None):  # type: ignore[no-untyped-def]
    """y = x W^T + b; bias may be left out."""
    return _linear(x, weight, bias)


__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "dropout",
    "embedding",
    "gelu",
    "layer_norm",
    "linear",
    "log_softmax",
    "mse_loss",
    "pad",
    "relu",
    "scaled_dot_product_attention",
    "sigmoid",
    "softmax",
    "softplus",
    "tanh",
]
