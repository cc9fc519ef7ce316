"""Optimisers and learning-rate schedules, under PyTorch's names."""

from tinygrad_ft.optim import lr_scheduler
from tinygrad_ft.optim.adam import Adam, AdamW
from tinygrad_ft.optim.optimizer import Optimizer
from tinygrad_ft.optim.rmsprop import RMSprop
from tinygrad_ft.optim.sgd import SGD

__all__ = ["Adam", "AdamW", "Optimizer", "RMSprop", "SGD", "lr_scheduler"]
