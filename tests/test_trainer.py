"""The training loop and its callbacks: what a step does, when the model is evaluated, who is told, and when it ends."""

import math
from itertools import count

import numpy as np
import pytest
from one_weight import Diary, Ones, one_weight

import tinygrad_ft as tg
from tinygrad_ft import data, nn
from tinygrad_ft.train import BestWeights, Callback, EarlyStopping, Trainer


def test_each_step_takes_the_rate_of_its_number_times_the_gradient_off_the_weights():
    trainer, diary, _, modes, _ = one_weight(steps=4)
    assert trainer.model.weight.item() == 1 - 0.5 - 0.25 - 0.125 - 0.0625
    assert [r["step"] for r in diary.steps] == [1, 2, 3, 4]
    assert [r["lr"] for r in diary.steps] == [0.5, 0.25, 0.125, 0.0625]
    assert [r["train_loss"] for r in diary.steps] == [1.0, 0.5, 0.25, 0.125]
    assert all(r["examples_per_second"] > 0 for r in diary.steps)
    assert modes == [True] * 4


def test_each_group_keeps_its_own_rate_under_the_schedule():
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))
    groups = [{"params": [model[0].weight], "lr": 0.1}, {"params": [model[1].weight], "lr": 0.2}]
    optimizer = tg.optim.SGD(groups, lr=9.0)
    trainer = Trainer(
        model, lambda m, x, y: m(x).sum(), optimizer, Ones(), steps=2, schedule=lambda s: 0.5**s, jitted=False
    )
    trainer.run()
    assert [group["lr"] for group in optimizer.param_groups] == [0.05, 0.1]


def test_the_model_is_evaluated_before_the_first_step_every_so_often_and_last():
    trainer, diary, asked, _, _ = one_weight(steps=7, every=3)
    assert [r["step"] for r in diary.evaluations] == [0, 3, 6, 7]
    assert asked == [(False, False, False)] * 3 + [(True, False, False)]  # in evaluation mode, without a graph
    assert diary.modes == [False] * 4  # also while callbacks show samples
    assert trainer.model.training
    assert [r["step"] for r in diary.steps if "val_loss" in r] == [3, 6, 7]
    assert diary.evaluations[-1]["val_loss"] == trainer.model.weight.item()
    assert trainer.record["val_loss"] == trainer.model.weight.item()


def test_callbacks_are_told_in_order_and_of_the_end_whatever_happens():
    _, diary, *_ = one_weight(steps=2, every=1)
    assert diary.events == ["started", "evaluated", *["evaluated", "stepped"] * 2, "ended by NoneType"]

    class Breaks(Callback):
        def stepped(self, trainer, record):
            raise OSError("the disk is full")

        def ended(self, trainer, error):
            raise ZeroDivisionError  # must not hide what ended the run

    diary = Diary()
    with pytest.raises(OSError, match="the disk is full"):
        one_weight(steps=2, callbacks=[Breaks(), diary])
    assert diary.events == ["started", "evaluated", "ended by OSError"]


def test_what_goes_wrong_at_the_end_alone_is_raised():
    class Breaks(Callback):
        def ended(self, trainer, error):
            raise OSError("no picture")

    diary = Diary()
    with pytest.raises(OSError, match="no picture"):
        one_weight(steps=1, callbacks=[Breaks(), diary])
    assert diary.events[-1] == "ended by NoneType"


@pytest.mark.parametrize("accumulate", [1, 3])
def test_exactly_the_batches_of_the_steps_are_asked_for_in_order(accumulate):
    batches = Ones()
    one_weight(steps=4, batches=batches, accumulate=accumulate)
    assert batches.asked == list(range(4 * accumulate))


@pytest.mark.parametrize("jitted", [False, True])
def test_accumulated_batches_make_the_step_of_one_large_batch(jitted):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((48, 5)).astype(np.float32), rng.integers(0, 3, 48)

    def trained(batch_size, accumulate):
        model = nn.Linear(5, 3, rng=np.random.default_rng(1))
        Trainer(
            model,
            lambda m, x, y: tg.cross_entropy(m(x), y),
            tg.optim.AdamW(model.parameters(), lr=1e-2),
            data.Shuffled(x, y, batch_size=batch_size, seed=3),
            steps=8,
            max_norm=0.1,
            accumulate=accumulate,
            jitted=jitted,
        ).run()
        return model.weight.array

    np.testing.assert_allclose(trained(4, 3), trained(12, 1), rtol=1e-4, atol=1e-6)
    assert np.abs(trained(4, 1) - trained(12, 1)).max() > 1e-3  # else nothing was accumulated


def test_gradients_are_clipped_together():
    trainer, *_ = one_weight(steps=1, max_norm=0.25)
    assert trainer.model.weight.item() == pytest.approx(1 - 0.5 * 0.25, rel=1e-5)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_before_its_step_and_names_it(bad):
    calls = count(1)
    trainer, diary, _, _, error = one_weight(loss_of=lambda m, x, y: m(x).sum() * (bad if next(calls) == 3 else 1))
    assert str(error) == f"the loss became {bad} at step 3; a smaller learning rate may help"
    assert trainer.model.weight.item() == 1 - 0.5 - 0.25
    assert [r["step"] for r in diary.steps] == [1, 2]
    assert diary.evaluations[-1]["step"] == 0


def test_a_gradient_that_is_not_finite_stops_before_its_step_and_names_it():
    trainer, diary, _, _, error = one_weight(loss_of=lambda m, x, y: (m.weight - 1.0).sqrt().sum(), max_norm=1.0)
    assert str(error) == "the gradient's length became inf at step 1; a smaller learning rate may help"
    assert trainer.model.weight.item() == 1
    assert diary.steps == []


def test_an_evaluation_that_is_not_finite_is_not_told_so_that_the_good_weights_stay():
    values = iter([1.0, math.nan])
    _, diary, _, _, error = one_weight(evaluate=lambda last: {"val_loss": next(values)})
    assert str(error) == "val_loss became nan at step 3; a smaller learning rate may help"
    assert [r["step"] for r in diary.evaluations] == [0]
    assert [r["step"] for r in diary.steps] == [1, 2]


def test_a_module_set_to_evaluation_stays_so_through_training():
    model = nn.Sequential(nn.Linear(1, 1), nn.Dropout(0.5))
    model[1].eval()
    with model.evaluating():
        assert not any(module.training for module in model.modules())
    assert [module.training for module in model.modules()] == [True, True, False]


@pytest.mark.parametrize("jitted", [False, True])
def test_frozen_parameters_are_left_alone(jitted):
    model = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1))
    model[0].requires_grad_(False)
    before, trained = model[0].weight.item(), model[1].weight.item()
    optimizer = tg.optim.SGD(list(model[1].parameters()), lr=0.1)
    Trainer(model, lambda m, x, y: m(x).sum(), optimizer, Ones(), steps=2, max_norm=1.0, jitted=jitted).run()
    assert model[0].weight.item() == before
    assert model[1].weight.item() != trained


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps to be at least 1: got 0"),
        ({"accumulate": 0}, "accumulate to be at least 1: got 0"),
        ({"every": -1}, "evaluate_every to be at least 1: got -1"),
    ],
)
def test_numbers_out_of_their_range_are_refused_when_the_trainer_is_made(options, message):
    with pytest.raises(ValueError, match=message):
        one_weight(**options)


# --- early stopping and the best weights -----------------------------------------------------------------------------


def measured(*values):
    """An evaluate that answers those values, one after the other."""
    values = iter(values)
    return lambda last: {"val_loss": next(values), "val_accuracy": 1.0}


def test_a_run_stops_when_the_measure_has_not_improved_for_so_many_evaluations():
    trainer, diary, *_ = one_weight(
        steps=9, every=1, evaluate=measured(5, 4, 4, 3, 3.5, 3), callbacks=[EarlyStopping(2)]
    )
    assert trainer.step == 5
    assert trainer.stopped == "val_loss has not improved in 2 evaluations"
    assert diary.events[-1] == "ended by NoneType"


def test_an_improvement_too_small_to_count_does_not_count():
    trainer, *_ = one_weight(
        steps=9, every=1, evaluate=measured(5, 4.9, 4.8, 4.7), callbacks=[EarlyStopping(2, min_delta=0.5)]
    )
    assert trainer.step == 2


def test_of_some_measures_larger_is_better():
    trainer, *_ = (
        one_weight(
            steps=3,
            every=1,
            evaluate=lambda last: {"score": next(scores)},
            callbacks=[EarlyStopping(1, monitor="score", larger=True)],
        )
        if (scores := iter([1.0, 2.0, 3.0, 2.5]))
        else None
    )
    assert trainer.step == 3


def test_the_best_weights_are_given_back_at_the_end():
    best = BestWeights()
    trainer, *_ = one_weight(steps=3, every=1, evaluate=measured(5, 2, 3, 4), callbacks=[best])
    assert best.step == 1
    assert trainer.model.weight.item() == 1 - 0.5


def test_a_run_that_was_broken_off_keeps_the_weights_it_had():
    class Breaks(Callback):
        def stepped(self, trainer, record):
            if trainer.step == 2:
                raise KeyboardInterrupt

    model = nn.Linear(1, 1, bias=False)
    nn.init.ones_(model.weight)
    trainer = Trainer(
        model,
        lambda m, x, y: m(x).sum(),
        tg.optim.SGD(model.parameters(), lr=0.25),
        Ones(),
        steps=3,
        evaluate=measured(1, 2, 3),
        evaluate_every=1,
        callbacks=[BestWeights(), Breaks()],
        jitted=False,
    )
    with pytest.raises(KeyboardInterrupt):
        trainer.run()
    assert model.weight.item() == 0.5


def test_a_measure_that_no_evaluation_answers_is_named_with_those_there_are():
    with pytest.raises(ValueError, match="no evaluation answers val_f1: there are step, val_loss"):
        one_weight(callbacks=[EarlyStopping(1, monitor="val_f1")])


@pytest.mark.parametrize("options", [{"patience": 0}, {"patience": 1, "min_delta": -1.0}])
def test_an_early_stopping_that_means_nothing_is_refused(options):
    with pytest.raises(ValueError, match=r"patience >= 1 and min_delta >= 0"):
        EarlyStopping(**options)


# --- recorded steps --------------------------------------------------------------------------------------------------


def small_net(jitted, steps=6, batch_size=8):
    rng = np.random.default_rng(0)
    tg.manual_seed(1)
    model = nn.Sequential(nn.Linear(6, 16, rng=rng), nn.GELU(), nn.Dropout(0.3), nn.Linear(16, 3, rng=rng))
    x, y = rng.standard_normal((20, 6)).astype(np.float32), rng.integers(0, 3, 20)
    diary = Diary()
    trainer = Trainer(
        model,
        lambda m, x, y: tg.cross_entropy(m(x), y),
        tg.optim.AdamW(model.parameters(), lr=1e-2),
        data.Shuffled(x, y, batch_size=batch_size, seed=3),
        steps=steps,
        max_norm=1.0,
        evaluate=lambda last: {"val_loss": tg.cross_entropy(model(tg.tensor(x)), tg.tensor(y)).item()},
        evaluate_every=2,
        callbacks=[diary],
        jitted=jitted,
    )
    trainer.run()
    return [r["train_loss"] for r in diary.steps]


def test_a_recorded_run_is_the_eager_run_to_rounding_with_dropout_and_batches_of_two_sizes():
    assert small_net(True) == pytest.approx(small_net(False), rel=1e-5)


def test_every_step_that_counts_is_a_replay(monkeypatch):
    from tinygrad_ft.jit import Jitted
    from tinygrad_ft.train.step import Step

    rehearsing, recorded_in_earnest = [], []
    rehearse, record = Step._rehearse, Jitted._record

    def noted(self, batches):
        rehearsing.append(1)
        rehearse(self, batches)
        rehearsing.pop()

    monkeypatch.setattr(Step, "_rehearse", noted)
    monkeypatch.setattr(
        Jitted, "_record", lambda self, *a, **k: recorded_in_earnest.append(not rehearsing) or record(self, *a, **k)
    )
    small_net(True)
    assert recorded_in_earnest and not any(recorded_in_earnest)


def test_a_rehearsal_that_changed_something_would_be_seen(monkeypatch):
    from contextlib import nullcontext

    from tinygrad_ft.train import step

    good = small_net(True)
    monkeypatch.setattr(step, "as_it_was", lambda model, optimizer: nullcontext())
    assert small_net(True) != pytest.approx(good, rel=1e-5)
