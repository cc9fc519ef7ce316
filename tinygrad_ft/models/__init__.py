"""Models: one a file, each with its configuration."""

from tinygrad_ft.models.gpt import GPT, GPTConfig
from tinygrad_ft.models.mlp import MLP, MLPConfig

__all__ = ["GPT", "MLP", "GPTConfig", "MLPConfig"]
