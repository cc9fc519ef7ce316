"""The smallest training there is: one weight, one example, a gradient of 1."""

import numpy as np

import tinygrad_ft as tg
from tinygrad_ft import nn
from tinygrad_ft.train import Callback, Diverged, Trainer


class Diary(Callback):
    """Notes everything."""

    def __init__(self):
        self.evaluations, self.steps, self.modes, self.events = [], [], [], []

    def started(self, trainer):
        self.events.append("started")

    def evaluated(self, trainer, record):
        self.events.append("evaluated")
        self.evaluations.append(dict(record))
        self.modes.append(trainer.model.training)

    def stepped(self, trainer, record):
        self.events.append("stepped")
        self.steps.append(dict(record))

    def ended(self, trainer, error):
        self.events.append(f"ended by {type(error).__name__}")


class Ones:
    """Batches of `rows` ones, without targets; notes which were asked for."""

    def __init__(self, rows=1):
        self.rows, self.asked = rows, []

    def __getitem__(self, i):
        self.asked.append(i)
        return np.ones((self.rows, 1), np.float32), None


def halving(step):
    return 0.5**step


def one_weight(steps=7, *, loss_of=None, lr=0.5, evaluate=None, every=3, batches=None, callbacks=(), **options):
    """Fit y = w x to y = 0 from w = 1: the gradient of the loss w is 1, so each step takes lr off.

    Answers the trainer, the diary, what evaluate was asked, the modes in which losses were taken, and the Diverged.
    """
    model = nn.Linear(1, 1, bias=False)
    nn.init.ones_(model.weight)
    diary, asked, modes = Diary(), [], []

    def loss(model, x, y):
        modes.append(model.training)
        return loss_of(model, x, y) if loss_of else model(x).sum()

    def told(last):
        asked.append((last, model.training, (model.weight * 1).requires_grad))
        return evaluate(last) if evaluate else {"val_loss": model.weight.item()}

    options = {"schedule": halving, "jitted": False} | options  # a recorded loss would not be asked
    trainer = Trainer(
        model,
        loss,
        tg.optim.SGD(model.parameters(), lr=lr),
        batches or Ones(),
        steps=steps,
        evaluate=told,
        evaluate_every=every,
        callbacks=[diary, *callbacks],
        **options,
    )
    error = None
    try:
        trainer.run()
    except Diverged as caught:
        error = caught
    return trainer, diary, asked, modes, error
