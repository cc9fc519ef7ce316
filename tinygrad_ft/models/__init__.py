"""Models: one a file, each with its configuration."""

from tinygrad_ft.models.bert import BertConfig, BertForMaskedLM, BertForSequenceClassification, BertModel
from tinygrad_ft.models.gpt import GPT, GPTConfig
from tinygrad_ft.models.mlp import MLP, MLPConfig
from tinygrad_ft.models.pretrained import from_pretrained, save_pretrained

__all__ = [
    "GPT",
    "MLP",
    "BertConfig",
    "BertForMaskedLM",
    "BertForSequenceClassification",
    "BertModel",
    "GPTConfig",
    "MLPConfig",
    "from_pretrained",
    "save_pretrained",
]
