"""Checkpoints: a run that was killed goes on to the same bits, and what is damaged or foreign is refused."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from one_weight import Diary

import tinygrad_ft as tg
from tinygrad_ft import data, nn, storage
from tinygrad_ft.train import BestWeights, Callback, Checkpoints, EarlyStopping, Trainer, load_checkpoint
from tinygrad_ft.train.checkpoint import _sealed, _unsealed, checkpoints_in

STEPS = 14


class Interrupted(Callback):
    """Ends the run after some steps."""

    def __init__(self, *steps):
        self.steps = steps

    def stepped(self, trainer, record):
        if trainer.step in self.steps:
            raise KeyboardInterrupt


class Unfreezes(Callback):
    """Trains the first layer too, from some step on."""

    def __init__(self, step):
        self.step = step

    def started(self, trainer):
        trainer.model[0].requires_grad_(trainer.step >= self.step)

    def stepped(self, trainer, record):
        if trainer.step == self.step:
            trainer.model[0].requires_grad_(True)


OPTIMIZERS = {
    "adamw": lambda groups: tg.optim.AdamW(groups, lr=1e-2),
    "momentum": lambda groups: tg.optim.SGD(groups, lr=1e-2, momentum=0.9),
    "sgd": lambda groups: tg.optim.SGD(groups, lr=1e-2),
    "rmsprop": lambda groups: tg.optim.RMSprop(groups, lr=1e-3),
}


def trainer_in(folder, *interrupted, jitted=True, optimizer="adamw", width=16, callbacks=(), seed=3):
    """Two kinds of dropout, batches of two sizes, two groups, clipping, a schedule, two batches a step."""
    rng = np.random.default_rng(seed)
    tg.manual_seed(seed)
    model = nn.Sequential(
        nn.Linear(6, width, rng=rng), nn.GELU(), nn.Dropout(0.3, rng=rng), nn.LayerNorm(width), nn.Dropout(0.1),
        nn.Linear(width, 3, rng=rng),
    )  # fmt: skip
    x, y = rng.standard_normal((37, 6)).astype(np.float32), rng.integers(0, 3, 37)
    groups = [{"params": list(model[0].parameters())}, {"params": [*model[3].parameters(), *model[5].parameters()]}]

    def loss_of(model, x, y):
        return tg.cross_entropy(model(x), y)

    return Trainer(
        model,
        loss_of,
        OPTIMIZERS[optimizer](groups),
        data.Shuffled(x, y, batch_size=8, seed=1),
        steps=STEPS,
        schedule=lambda step: 1 / (1 + step),
        max_norm=1.0,
        accumulate=2,
        evaluate=lambda last: {"val_loss": loss_of(model, tg.tensor(x), tg.tensor(y)).item()},
        evaluate_every=5,
        callbacks=[*callbacks, Checkpoints(folder, every=3), Interrupted(*interrupted)],
        jitted=jitted,
    )


def interrupted_run(make, folder, interruptions):
    """Run to the end, resuming after each interruption; answers the last trainer."""
    for i in range(len(interruptions) + 1):
        trainer = make(folder, *interruptions[i : i + 1])
        if i:
            load_checkpoint(trainer, checkpoints_in(folder)[-1])
            assert trainer.step == interruptions[i - 1]
        try:
            trainer.run()
            return trainer
        except KeyboardInterrupt:
            pass
    raise AssertionError("the run never ended")


def same_bits(a, b):
    ours, theirs = a.model.state_dict(), b.model.state_dict()
    return all(ours[name].array.tobytes() == theirs[name].array.tobytes() for name in ours)


@pytest.mark.parametrize("jitted", [True, False])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_an_interrupted_run_ends_with_the_bits_of_the_one_that_was_not(tmp_path, optimizer, jitted):
    def make(folder, *interrupted):
        return trainer_in(folder, *interrupted, optimizer=optimizer, jitted=jitted)

    whole = make(tmp_path / "whole")
    whole.run()
    for interruptions in ([1], [2, 3], [5, 7, 12], [13]):
        folder = tmp_path / f"cut at {interruptions[0]}"
        assert same_bits(whole, interrupted_run(make, folder, interruptions)), interruptions


def test_parameters_that_begin_to_train_on_the_way_do_so_in_a_resumed_run(tmp_path):
    def make(folder, *interrupted):
        return trainer_in(folder, *interrupted, callbacks=[Unfreezes(6)])

    whole = make(tmp_path / "whole")
    before = whole.model[0].weight.numpy_copy()
    whole.run()
    assert not np.array_equal(before, whole.model[0].weight.array)
    for interruptions in ([4], [6], [9]):
        assert same_bits(whole, interrupted_run(make, tmp_path / str(interruptions[0]), interruptions))


@pytest.mark.parametrize("lost", ["the place in the data", "the random state", "the moments", "the weights"])
def test_a_resumption_that_loses_something_would_be_seen(tmp_path, lost):
    whole = trainer_in(tmp_path / "whole")
    whole.run()
    with pytest.raises(KeyboardInterrupt):
        trainer_in(tmp_path / "cut", 7).run()
    resumed = trainer_in(tmp_path / "cut")
    weights = {name: t.numpy_copy() for name, t in resumed.model.state_dict().items()}
    fresh, chance = resumed.optimizer.state_dict(), resumed.state_dict()["random"]
    load_checkpoint(resumed, checkpoints_in(tmp_path / "cut")[-1])
    if lost == "the place in the data":
        resumed.batches.seed = 2
    elif lost == "the random state":
        resumed.load_state_dict(resumed.state_dict() | {"random": chance})
    elif lost == "the moments":
        resumed.optimizer.load_state_dict(fresh)
    else:
        resumed.model.load_state_dict(weights)
    resumed.run()
    assert not same_bits(whole, resumed)


def test_callbacks_go_on_from_what_they_knew(tmp_path):
    def make(folder, *interrupted):
        return trainer_in(folder, *interrupted, callbacks=[BestWeights(), EarlyStopping(2, min_delta=100.0)])

    whole = make(tmp_path / "whole")
    whole.run()
    assert whole.step == 10  # the first evaluation is the best, two more were waited for
    cut = interrupted_run(make, tmp_path / "cut", [6])
    assert cut.step == 10
    assert cut.stopped == whole.stopped
    assert cut.callbacks[0].step == whole.callbacks[0].step
    assert same_bits(whole, cut)


def test_a_stopped_run_that_is_resumed_takes_no_more_steps(tmp_path):
    trainer = trainer_in(tmp_path, callbacks=[EarlyStopping(1, min_delta=100.0)])
    trainer.run()
    again = trainer_in(tmp_path, callbacks=[EarlyStopping(1, min_delta=100.0)])
    load_checkpoint(again, checkpoints_in(tmp_path)[-1])
    diary = Diary()
    again.callbacks.append(diary)
    again.run()
    assert diary.events == ["started", "ended by NoneType"]


# --- what is kept ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("within", ["the gradient", "the update"])
def test_what_is_interrupted_within_a_step_is_not_kept(tmp_path, within):
    """As by a second Ctrl-C: random numbers are drawn or weights moved, and the step is not counted."""
    whole = trainer_in(tmp_path / "whole", jitted=False)
    whole.run()
    cut = trainer_in(tmp_path / "cut", jitted=False)
    where, name = (cut._step, "gradients") if within == "the gradient" else (cut.optimizer, "step")
    done = getattr(where, name)

    def then_interrupted(*given):
        answer = done(*given)
        if cut.step == 7:
            raise KeyboardInterrupt
        return answer

    setattr(where, name, then_interrupted)
    with pytest.raises(KeyboardInterrupt):
        cut.run()
    resumed = trainer_in(tmp_path / "cut", jitted=False)
    load_checkpoint(resumed, checkpoints_in(tmp_path / "cut")[-1])
    assert resumed.step == 6  # after which a checkpoint was due
    resumed.run()
    assert same_bits(whole, resumed)


def test_what_others_put_beside_checkpoints_stays_and_is_none(tmp_path):
    (tmp_path / ".DS_Store").write_bytes(b"a file manager's")
    (tmp_path / "step-notes").mkdir()
    trainer_in(tmp_path).run()
    assert [path.name for path in checkpoints_in(tmp_path)] == ["step-000000012", "step-000000014"]
    assert (tmp_path / ".DS_Store").exists() and (tmp_path / "step-notes").exists()


def test_the_last_so_many_are_kept_and_nothing_unfinished(tmp_path):
    trainer = trainer_in(tmp_path)
    (tmp_path / ".step-000000001.unfinished").mkdir()  # of a process that was killed
    trainer.run()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000000012", "step-000000014"]
    assert sorted(path.name for path in checkpoints_in(tmp_path)[-1].iterdir()) == [
        "model.safetensors", "optimizer.safetensors", "state.json",
    ]  # fmt: skip


@pytest.mark.parametrize("options", [{"every": 0}, {"every": 1, "keep": 0}])
def test_numbers_below_one_are_refused(tmp_path, options):
    with pytest.raises(ValueError, match="every >= 1 and keep >= 1"):
        Checkpoints(tmp_path, **options)


@pytest.mark.parametrize("call", range(1, 16))
def test_a_disk_that_is_full_leaves_the_checkpoint_before_whole(tmp_path, monkeypatch, call):
    """Whichever of the calls that write fails: the fsync of a file, of a folder, or the renaming."""
    calls = []

    def failing(f):
        def tried(*args, **options):
            if armed:
                calls.append(f)
                if len(calls) == call:
                    raise OSError(28, "No space left on device")
            return f(*args, **options)

        return tried

    armed = []
    trainer = trainer_in(tmp_path, 3, jitted=False)
    with pytest.raises(KeyboardInterrupt):
        trainer.run()
    for name in ("fsync", "replace", "mkdir", "rename"):
        monkeypatch.setattr(os, name, failing(getattr(os, name)))
    resumed = trainer_in(tmp_path, jitted=False)
    load_checkpoint(resumed, checkpoints_in(tmp_path)[-1])
    armed.append(True)
    try:
        resumed.run()
    except OSError as error:
        assert error.strerror == "No space left on device"
        assert str(tmp_path) in str(error.filename)
    monkeypatch.undo()
    again = trainer_in(tmp_path, jitted=False)
    load_checkpoint(again, checkpoints_in(tmp_path)[-1])
    again.run()
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    assert len(calls) >= call


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.fixture
def checkpoint(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        trainer_in(tmp_path, 7, jitted=False).run()
    return checkpoints_in(tmp_path)[-1]


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json"])
def test_one_flipped_bit_is_refused_wherever_it_is(checkpoint, name):
    path = checkpoint / name
    content, rng = path.read_bytes(), random.Random(0)
    for place in [0, len(content) - 2, *(rng.randrange(len(content)) for _ in range(30))]:
        damaged = bytearray(content)
        damaged[place] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        trainer = trainer_in(checkpoint.parent, jitted=False)
        before = {name: t.numpy_copy() for name, t in trainer.model.state_dict().items()}
        with pytest.raises(ValueError, match=name.replace(".", r"\.")) as caught:
            load_checkpoint(trainer, checkpoint)
        assert "\n" not in str(caught.value)
        assert all(np.array_equal(before[name], t.array) for name, t in trainer.model.state_dict().items())
        assert trainer.step == 0


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors"])
def test_a_missing_part_is_named(checkpoint, name):
    (checkpoint / name).unlink()
    with pytest.raises(ValueError, match=f"{name} is missing: the checkpoint is damaged; delete .* the one before"):
        load_checkpoint(trainer_in(checkpoint.parent), checkpoint)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 17}, "has shape"),
        ({"optimizer": "momentum"}, "not of SGD"),
        ({"callbacks": [EarlyStopping(2)]}, "the saved run had Checkpoints, Interrupted, and this has EarlyStopping"),
    ],
)
def test_a_checkpoint_of_another_model_optimiser_or_run_is_refused(checkpoint, options, message):
    with pytest.raises(ValueError, match=rf"is of another run: .*{message}"):
        load_checkpoint(trainer_in(checkpoint.parent, **options), checkpoint)


@pytest.mark.parametrize("files", [None, {}, {"model.safetensors": ""}, {"../elsewhere": ""}])
def test_a_state_that_names_no_files_is_refused(checkpoint, files):
    path = checkpoint / "state.json"
    state = {**_unsealed(path), "files": files}
    path.write_text(_sealed(state), encoding="utf-8")
    with pytest.raises(ValueError, match="does not name the files of a checkpoint"):
        load_checkpoint(trainer_in(checkpoint.parent), checkpoint)


@pytest.mark.parametrize("content", ["[" * 100_000, "9" * 5000])
def test_what_json_cannot_hold_is_refused_with_the_name_of_the_file(checkpoint, content):
    (checkpoint / "state.json").write_text(content)
    with pytest.raises(ValueError, match=r"state\.json is not JSON"):
        load_checkpoint(trainer_in(checkpoint.parent), checkpoint)


def test_a_later_format_is_refused_by_its_number(checkpoint, monkeypatch):
    from tinygrad_ft.train import checkpoint as room

    monkeypatch.setattr(room, "FORMAT", 2)
    with pytest.raises(ValueError, match="has format 1, and this version reads 2"):
        load_checkpoint(trainer_in(checkpoint.parent), checkpoint)


def test_nothing_in_a_checkpoint_is_a_pickle(checkpoint):
    for path in checkpoint.iterdir():
        assert path.suffix in (".json", ".safetensors")
    assert json.loads((checkpoint / "state.json").read_text())["sha256"]
    assert storage.load(checkpoint / "model.safetensors")


# --- killed for good -------------------------------------------------------------------------------------------------

PROGRAM = """
import sys
import time
from pathlib import Path
from test_checkpoint import checkpoints_in, load_checkpoint, trainer_in
from tinygrad_ft import storage
folder = Path(sys.argv[1])
trainer = trainer_in(folder, jitted=sys.argv[2] == "jitted")
if checkpoints_in(folder):
    load_checkpoint(trainer, checkpoints_in(folder)[-1])
print("begins", trainer.step, flush=True)
trainer.callbacks[0].every, trainer.steps = 1, 60
told = trainer._tell
def tell(what, *news):
    told(what, *news)
    print(what, trainer.step, flush=True)
trainer._tell = tell
trainer.run()
storage.save(trainer.model.state_dict(), folder.with_suffix(".safetensors"))
"""


def unfinished(folder):
    """The checkpoints that are being written, or were never finished, told apart by their inodes."""
    return {(e.name, e.inode()) for e in os.scandir(folder) if e.name.startswith(".")} if folder.exists() else set()


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX's")
def test_a_run_killed_twenty_times_ends_with_the_bits_of_the_one_that_was_not(tmp_path):
    """Killed at random moments of the steps and of the writing of checkpoints, one of which comes after each step."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}

    def process(name):
        command = [sys.executable, "-c", PROGRAM, str(tmp_path / name), "jitted"]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)

    with process("whole") as whole:
        whole.communicate()
    rng, in_the_midst = random.Random(1), 0
    for killed in range(21):
        before = unfinished(tmp_path / "cut")
        with process("cut") as running:
            if killed < 20:
                # wait until something has been done, then for a moment of what follows
                news = iter(running.stdout.readline, "")
                next(line for line in news if line.startswith("stepped" if killed % 2 else "started"))
                if killed % 4 == 3:  # five times not by chance alone
                    while unfinished(tmp_path / "cut") <= before:
                        assert running.poll() is None
                else:
                    time.sleep(rng.uniform(0, 0.006))
                running.kill()
            running.communicate()
            assert running.returncode == (0 if killed == 20 else -signal.SIGKILL)
        in_the_midst += not unfinished(tmp_path / "cut") <= before
    assert in_the_midst > 0  # at least once a checkpoint was being written
    whole, cut = (storage.load(tmp_path / f"{name}.safetensors") for name in ("whole", "cut"))
    assert all(whole[name].array.tobytes() == cut[name].array.tobytes() for name in whole)
