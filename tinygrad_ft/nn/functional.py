"""The functions of nets under PyTorch's name for their home: `import tinygrad_ft.nn.functional as F`."""

from tinygrad_ft.ops import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    avg_pool1d,
    avg_pool2d,
    batch_norm,
    bilinear,
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cast,
    conv1d,
    conv2d,
    conv_transpose1d,
    conv_transpose2d,
    cosine_embedding_loss,
    cosine_similarity,
    cross_entropy,
    dropout,
    gaussian_nll_loss,
    gelu,
    group_norm,
    hinge_embedding_loss,
    huber_loss,
    instance_norm,
    interpolate,
    kl_div,
    l1_loss,
    layer_norm,
    margin_ranking_loss,
    max_pool1d,
    max_pool2d,
    mse_loss,
    nll_loss,
    normalize,
    pad,
    pairwise_distance,
    pixel_shuffle,
    pixel_unshuffle,
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
from tinygrad_ft.ops import embedding as _embedding
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


def embedding(input, weight, padding_idx=None):  # type: ignore[no-untyped-def]
    """y[...] = weight[input[...]]; the row padding_idx, if one is named, gets no gradient."""
    y = _embedding(input, weight)
    if padding_idx is None or not hasattr(y, "detach"):
        return y
    if not -len(weight) <= padding_idx < len(weight):
        raise IndexError(f"embedding has rows 0 to {len(weight) - 1}: got the padding_idx {padding_idx}")
    return where((input == padding_idx % len(weight))[..., None], y.detach(), y)


def linear(input, weight, bias=None):  # type: ignore[no-untyped-def]
    """y = x W^T + b; bias may be left out."""
    return _linear(input, weight, bias)


def softmax(input, *axis, dtype=None, **named):  # type: ignore[no-untyped-def]
    """y = e^x / sum(e^x) along `axis` (or `dim`), computed in `dtype` if one is given."""
    return _softmax(input if dtype is None else cast(input, dtype=dtype), *axis, **named)


def log_softmax(input, *axis, dtype=None, **named):  # type: ignore[no-untyped-def]
    """y = x - log(sum(e^x)) along `axis` (or `dim`), computed in `dtype` if one is given."""
    return _log_softmax(input if dtype is None else cast(input, dtype=dtype), *axis, **named)


def softplus(input, beta=1.0, threshold=20.0):  # type: ignore[no-untyped-def]
    """y = log(1 + e^(beta x)) / beta, but x where beta x is above a threshold other than 20, where both are one."""
    y = _softplus(input) if beta == 1 else _softplus(input * beta) / beta
    return y if threshold == 20 else where(input * beta > threshold, input, y)


def upsample_bilinear(input, size=None, scale_factor=None):  # type: ignore[no-untyped-def]
    """Images in another size, the corners staying where they are."""
    return interpolate(input, size, scale_factor, "bilinear", True)


__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "avg_pool1d",
    "avg_pool2d",
    "batch_norm",
    "bilinear",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "celu",
    "conv1d",
    "conv2d",
    "conv_transpose1d",
    "conv_transpose2d",
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
    "instance_norm",
    "interpolate",
    "kl_div",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "linear",
    "log_softmax",
    "logsigmoid",
    "margin_ranking_loss",
    "max_pool1d",
    "max_pool2d",
    "mish",
    "mse_loss",
    "nll_loss",
    "normalize",
    "pad",
    "pairwise_distance",
    "pixel_shuffle",
    "pixel_unshuffle",
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
    "upsample_bilinear",
]
