"""Freezing by patterns of names, rates by depth, and unfreezing on the way."""

import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_ft as tg
from tinygrad_ft import nn, ops
from tinygrad_ft.data import Shuffled
from tinygrad_ft.finetune.freeze import ProgressiveUnfreezing, freeze, layerwise_groups, unfreeze
from tinygrad_ft.models import BertConfig, BertForMaskedLM, BertForSequenceClassification
from tinygrad_ft.optim import SGD, AdamW
from tinygrad_ft.train import Callback, Trainer, load_checkpoint, write_checkpoint

TINY = BertConfig(
    vocab_size=31, hidden_size=12, num_hidden_layers=3, num_attention_heads=3, intermediate_size=20,
    max_position_embeddings=9, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
)  # fmt: skip
HEAD = ("classifier.*", "bert.pooler.*")


def tiny(kind=BertForSequenceClassification):
    return kind(TINY, rng=np.random.default_rng(0))


def trained(model):
    return {name for name, p in model.named_parameters() if p.requires_grad}


def test_frozen_names_get_no_gradient_and_unfrozen_ones_do_again():
    model = tiny()
    everything = trained(model)
    names = freeze(model, "*embeddings*", "bert.encoder.layer.[01].*")
    expected = [n for n in dict(model.named_parameters()) if "embeddings" in n or ".layer.0." in n or ".layer.1." in n]
    assert names == expected
    assert trained(model) == everything - set(names)
    ops.cross_entropy(model(tg.tensor([[1, 2, 3]])), tg.tensor([1])).backward()
    assert {name for name, p in model.named_parameters() if p.grad is not None} == everything - set(names)
    assert unfreeze(model, "bert.encoder.layer.1.*") == [n for n in names if ".layer.1." in n]
    assert trained(model) == everything - {n for n in names if ".layer.1." not in n}


def test_a_gradient_that_is_left_over_does_not_move_what_is_frozen():
    model = tiny()
    ops.cross_entropy(model(tg.tensor([[1, 2, 3]])), tg.tensor([1])).backward()
    freeze(model, "*embeddings*")
    before = model.bert.embeddings.LayerNorm.weight.numpy_copy()
    SGD(model.parameters(), lr=1.0).step()
    np.testing.assert_array_equal(model.bert.embeddings.LayerNorm.weight.numpy_copy(), before)


@pytest.mark.parametrize(
    ("pattern", "near"),
    [
        ("*embedings*", "near are embeddings"),
        ("classifer.weight", "near are classifier.weight"),
        ("bert.encoder.layers.0.*", "near are"),
        ("zzz", "there are bert.embeddings"),
    ],
)
def test_a_pattern_that_fits_nothing_is_an_error_with_near_names_and_freezes_nothing(pattern, near):
    model = tiny()
    with pytest.raises(ValueError, match=f"{re.escape(repr(pattern))} is the name of no parameter.*{near}") as caught:
        freeze(model, "*LayerNorm*", pattern)
    assert "\n" not in str(caught.value)
    assert trained(model) == {name for name, _ in model.named_parameters()}


@given(decay=st.floats(0.1, 1.0), lr=st.floats(1e-6, 1.0), kind=st.sampled_from([BertForMaskedLM, "classifier"]))
def test_groups_hold_every_parameter_once_with_rates_that_fall_towards_the_input(decay, lr, kind):
    model = tiny(BertForSequenceClassification if kind == "classifier" else kind)
    groups = layerwise_groups(model, lr, decay, weight_decay=0.1)
    found = [p for group in groups for p in group["params"]]
    assert {id(p) for p in found} == {id(p) for p in model.parameters()} and len(found) == len(list(model.parameters()))
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    for name, p in model.named_parameters():
        if "embeddings" in name:
            depth = 0
        elif ".layer." in name:
            depth = 1 + int(name.split(".layer.")[1][0])
        else:
            depth = 4
        assert rates[id(p)] == pytest.approx(lr * decay ** (4 - depth)), name


def test_biases_and_norms_get_no_weight_decay():
    model = tiny()
    decays = {id(p): g["weight_decay"] for g in layerwise_groups(model, 1.0, 0.9, 0.1) for p in g["params"]}
    for name, p in model.named_parameters():
        assert decays[id(p)] == (0.0 if name.endswith("bias") or "LayerNorm" in name else 0.1), name


def test_a_model_without_layers_is_all_head():
    groups = layerwise_groups(nn.Linear(2, 2), 0.5, 0.5)
    assert [group["lr"] for group in groups] == [0.5, 0.5]


@pytest.mark.parametrize("decay", [0.0, -1.0, 1.5, float("nan")])
def test_a_decay_that_is_none_is_refused(decay):
    with pytest.raises(ValueError, match=r"must be in \(0, 1\]"):
        layerwise_groups(tiny(), 1.0, decay)


# --- on the way ------------------------------------------------------------------------------------------------------


class Watching(Callback):
    """Notes what changed in each step."""

    def __init__(self):
        self.before, self.changed = {}, []

    def started(self, trainer):
        self.before = {name: p.numpy_copy() for name, p in trainer.model.named_parameters()}

    def stepped(self, trainer, record):
        now = {name: p.numpy_copy() for name, p in trainer.model.named_parameters()}
        self.changed.append({name for name in now if not np.array_equal(now[name], self.before[name])})
        self.before = now


def trainer_for(steps, plan=None, jitted=False):
    model = tiny()
    rng = np.random.default_rng(1)
    ids, labels = rng.integers(1, 31, (12, 6)), rng.integers(0, 2, 12)
    plan = {0: HEAD, 2: ["bert.encoder.layer.2.*"], 4: ["bert.encoder.layer.[01].*"]} if plan is None else plan
    freeze(model, "*embeddings*")
    return Trainer(
        model,
        lambda model, ids, labels: ops.cross_entropy(model(ids), labels),
        AdamW(layerwise_groups(model, 0.01, 0.9)),
        Shuffled(ids, labels, batch_size=4, seed=0),
        steps=steps,
        callbacks=[ProgressiveUnfreezing(plan), Watching()],
        jitted=jitted,
    )


@pytest.mark.parametrize("jitted", [False, True])
def test_layers_take_part_from_the_step_that_the_plan_says(jitted):
    trainer = trainer_for(6, jitted=jitted)
    trainer.run()
    seen = [{n.split(".layer.")[1][0] if ".layer." in n else "head" for n in c} for c in trainer.callbacks[1].changed]
    assert seen == [{"head"}, {"head"}, {"head", "2"}, {"head", "2"}, {"head", "0", "1", "2"}, {"head", "0", "1", "2"}]


@pytest.mark.parametrize("cut", [1, 2, 3, 4, 5])
def test_a_resumed_run_unfreezes_as_one_that_was_never_interrupted(tmp_path, cut):
    whole = trainer_for(6)
    whole.run()
    first = trainer_for(cut)
    first.run()
    path = write_checkpoint(first, tmp_path)
    second = trainer_for(6)
    load_checkpoint(second, path)
    second.run()
    for name, t in whole.model.state_dict().items():
        np.testing.assert_array_equal(t.numpy_copy(), second.model.state_dict()[name].numpy_copy(), err_msg=name)


def test_a_resumed_run_that_forgot_what_was_unfrozen_would_be_seen(tmp_path):
    """The planted fault: only what is due at the very step of the resumption is unfrozen."""

    class Forgetful(ProgressiveUnfreezing):
        def started(self, trainer):
            super().started(trainer)
            for step, patterns in self.plan.items():
                if step < trainer.step:
                    freeze(trainer.model, *patterns)

    second = trainer_for(6, {1: ["bert.pooler.*"], 4: ["bert.encoder.*"]})
    second.callbacks[0] = Forgetful(second.callbacks[0].plan)
    second.step = 3
    second.run()
    assert second.callbacks[1].changed[0] == {"classifier.weight", "classifier.bias"}


def test_a_plan_is_refused_that_names_nothing_or_what_the_optimiser_lacks():
    with pytest.raises(ValueError, match=r"'\*nothing\*' is the name of no parameter"):
        trainer_for(2, {1: ["*nothing*"]}).run()
    trainer = trainer_for(2)
    trainer.optimizer = AdamW(trainer.model.classifier.parameters())
    with pytest.raises(ValueError, match="the optimiser lacks it"):
        trainer.callbacks[0].started(trainer)
    for plan in ({-1: ["*"]}, {0: "*"}, {0: []}):
        with pytest.raises(ValueError, match="lists of patterns by steps from 0"):
            ProgressiveUnfreezing(plan)


def test_the_state_is_what_json_can_hold():
    assert json.loads(json.dumps(ProgressiveUnfreezing({1: ["*"]}).state_dict())) == {}


# --- recorded steps see it -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("whole", [True, False], ids=["one step", "in parts"])
def test_a_recorded_step_trains_and_clips_what_was_unfrozen_after_it_was_recorded(whole):
    """In parts, the update and the clipping run no forward pass in which they would see the parameter."""

    def run(recorded):
        rng = np.random.default_rng(0)
        model = nn.Sequential(nn.Linear(3, 3, rng=rng), nn.Linear(3, 2, rng=rng))
        freeze(model, "0.*")
        optimizer = AdamW(model.parameters(), lr=0.1)

        def gradients(x, y):
            optimizer.zero_grad()
            ops.cross_entropy(model(x), y).backward()

        def clip():
            nn.utils.clip_grad_norm_(model.parameters(), 0.01)

        def everything(x, y):
            gradients(x, y)
            clip()
            optimizer.step()

        parts = [recorded(everything)] if whole else [recorded(f) for f in (gradients, clip, optimizer.step)]
        for i in range(8):
            if i == 4:
                unfreeze(model, "0.weight")
            x, y = tg.tensor(rng.normal(size=(4, 3)).astype(np.float32)), tg.tensor(rng.integers(0, 2, 4))
            parts[0](x, y)
            for part in parts[1:]:
                part()
        return {name: t.numpy_copy() for name, t in model.state_dict().items()}

    expected, found = run(lambda part: part), run(tg.jit)
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], atol=1e-5, err_msg=name)


def test_many_lengths_and_many_unfreezings_together_are_not_too_many_recordings():
    """What was recorded before is let go of: there is room for a few programs only, each with memory of its own."""

    class Lengths:
        def __getitem__(self, i):
            rng = np.random.default_rng(i)
            return rng.integers(1, 31, (2, 2 + i % 5)), rng.integers(0, 2, 2)

    model = tiny()
    everything = [*HEAD, "bert.encoder.layer.2.*", "bert.encoder.layer.1.*", "bert.encoder.layer.0.*"]
    trainer = Trainer(
        model,
        lambda model, ids, labels: ops.cross_entropy(model(ids), labels),
        AdamW(layerwise_groups(model, 0.01)),
        Lengths(),
        steps=20,
        callbacks=[ProgressiveUnfreezing({5 * i: [pattern] for i, pattern in enumerate(everything[1:])})],
    )
    trainer.run()
    assert all(sum(map(len, part.programs.values())) <= 10 for part in trainer._step.recorded())
