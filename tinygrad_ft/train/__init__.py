"""Training: the loop, what a run keeps, and the runs that the command line offers."""

from tinygrad_ft.train.classify import train_mlp
from tinygrad_ft.train.folder import load_model
from tinygrad_ft.train.language import continue_text, train_transformer
from tinygrad_ft.train.loop import Diverged, fit

__all__ = ["Diverged", "continue_text", "fit", "load_model", "train_mlp", "train_transformer"]
