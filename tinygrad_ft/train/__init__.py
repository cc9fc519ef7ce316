"""Training: the loop, its callbacks and checkpoints, what a run keeps, and the runs that the command line offers."""

from tinygrad_ft.train.callbacks import BestWeights, Callback, EarlyStopping
from tinygrad_ft.train.checkpoint import Checkpoints, load_checkpoint, write_checkpoint
from tinygrad_ft.train.classify import train_mlp
from tinygrad_ft.train.folder import load_model
from tinygrad_ft.train.language import continue_text, train_transformer
from tinygrad_ft.train.penalty import penalised
from tinygrad_ft.train.run import Running, carry_out
from tinygrad_ft.train.tensorboard import TensorBoard
from tinygrad_ft.train.trainer import Diverged, Trainer

__all__ = [
    "BestWeights",
    "Callback",
    "Checkpoints",
    "Diverged",
    "EarlyStopping",
    "Running",
    "TensorBoard",
    "Trainer",
    "carry_out",
    "continue_text",
    "load_checkpoint",
    "load_model",
    "penalised",
    "train_mlp",
    "train_transformer",
    "write_checkpoint",
]
