"""Models: one a file, each with its configuration."""

from tinygrad_ft.models.bert import BertConfig, BertForMaskedLM, BertForSequenceClassification, BertModel
from tinygrad_ft.models.gpt import GPT, GPTConfig
from tinygrad_ft.models.gpt2 import GPT2Config, GPT2LMHeadModel, GPT2Model
from tinygrad_ft.models.llama import LlamaConfig, LlamaForCausalLM, LlamaModel
from tinygrad_ft.models.mlp import MLP, MLPConfig
from tinygrad_ft.models.pretrained import from_pretrained, save_pretrained
from tinygrad_ft.models.text_cnn import TextCNN, TextCNNConfig

__all__ = [
    "GPT",
    "MLP",
    "BertConfig",
    "BertForMaskedLM",
    "BertForSequenceClassification",
    "BertModel",
    "GPT2Config",
    "GPT2LMHeadModel",
    "GPT2Model",
    "GPTConfig",
    "LlamaConfig",
    "LlamaForCausalLM",
    "LlamaModel",
    "MLPConfig",
    "TextCNN",
    "TextCNNConfig",
    "from_pretrained",
    "save_pretrained",
]
