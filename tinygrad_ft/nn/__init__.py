"""Neural nets: modules, layers, initial values. Names, arguments and meaning are those of `torch.nn`."""

from tinygrad_ft.nn import functional, init, utils
from tinygrad_ft.nn.attention import MultiheadAttention, TransformerEncoderLayer
from tinygrad_ft.nn.layers import (
    GELU,
    Dropout,
    Embedding,
    LayerNorm,
    Linear,
    ModuleList,
    ReLU,
    Sequential,
    Sigmoid,
    Tanh,
)
from tinygrad_ft.nn.losses import BCELoss, BCEWithLogitsLoss, CrossEntropyLoss, MSELoss
from tinygrad_ft.nn.module import Module, Parameter

__all__ = [
    "GELU",
    "BCELoss",
    "BCEWithLogitsLoss",
    "CrossEntropyLoss",
    "Dropout",
    "Embedding",
    "LayerNorm",
    "Linear",
    "MSELoss",
    "Module",
    "ModuleList",
    "MultiheadAttention",
    "Parameter",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Tanh",
    "TransformerEncoderLayer",
    "functional",
    "init",
    "utils",
]
