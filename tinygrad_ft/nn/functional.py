"""The functions of nets under PyTorch's name for their home: `import tinygrad_ft.nn.functional as F`."""

from tinygrad_ft.ops import (
    bilinear,
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cast,
    cosine_embedding_loss,
    cosine_similarity,
    cross_entropy,
    dropout,
    embedding,
    gaussian_nll_loss,
    gelu,
    group_norm,
    hinge_embedding_loss,
    huber_loss,
    kl_div,
    l1_loss,
    layer_norm,
    margin_ranking_loss,
    mse_loss,
    nll_loss,
    normalize,
    pad,
    pairwise_distance,
    poisson_nll_loss,
    relu,
    rms_norm,
    scaled_dot_product_attention,
    sigmoid,
    smooth_l1_loss,
    soft_margin_loss,
    tanh,
    triplet_margin_loss,
    where,
)
from tinygrad_ft.ops import linear as _linear
from tinygrad_ft.ops import log_softmax as _log_softmax
from tinygrad_ft.ops import softmax as _softmax
from tinygrad_ft.ops import softplus as _softplus
from tinygrad_ft.ops.activations import (
    celu,
    elu,
    glu,
    hardshrink,
    hardsigmoid,
    hardswish,
    hardtanh,
    leaky_relu,
    logsigmoid,
    mish,
    prelu,
    relu6,
    selu,
    silu,
    softmin,
    softshrink,
    softsign,
    tanhshrink,
    threshold,
)


def linear(x, weight, bias=None):  # type: ignore[no-untyped-def]
    """y = x W^T + b; bias may be left out."""
    return _linear(x, weight, bias)


def softmax(x, *axis, dtype=None, **named):  # type: ignore[no-untyped-def]
    """y = e^x / sum(e^x) along `axis` (or `dim`), computed in `dtype` if one is given."""
    return _softmax(x if dtype is None else cast(x, dtype=dtype), *axis, **named)


def log_softmax(x, *axis, dtype=None, **named):  # type: ignore[no-untyped-def]
    """y = x - log(sum(e^x)) along `axis` (or `dim`), computed in `dtype` if one is given."""
    return _log_softmax(x if dtype is None else cast(x, dtype=dtype), *axis, **named)


def softplus(x, beta=1.0, threshold=20.0):  # type: ignore[no-untyped-def]
    """y = log(1 + e^(beta x)) / beta, but x where beta x is above a threshold other than 20, where both are one."""
    y = _softplus(x) if beta == 1 else _softplus(x * beta) / beta
    return y if threshold == 20 else where(x * beta > threshold, x, y)


__all__ = [
    "bilinear",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "celu",
    "cosine_embedding_loss",
    "cosine_similarity",
    "cross_entropy",
    "dropout",
    "elu",
    "embedding",
    "gaussian_nll_loss",
    "gelu",
    "glu",
    "group_norm",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "hinge_embedding_loss",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "linear",
    "log_softmax",
    "logsigmoid",
    "margin_ranking_loss",
    "mish",
    "mse_loss",
    "nll_loss",
    "normalize",
    "pad",
    "pairwise_distance",
    "poisson_nll_loss",
    "prelu",
    "relu",
    "relu6",
    "rms_norm",
    "scaled_dot_product_attention",
    "selu",
    "sigmoid",
    "silu",
    "smooth_l1_loss",
    "soft_margin_loss",
    "softmax",
    "softmin",
    "softplus",
    "softshrink",
    "softsign",
    "tanh",
    "tanhshrink",
    "threshold",
    "triplet_margin_loss",
]
