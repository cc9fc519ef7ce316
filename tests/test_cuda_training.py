"""Training on the emulator: every number of a step comes from a kernel's PTX, and the losses are those of the CPU."""

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="kernels for GPUs need numba-cuda: pip install 'tinygrad-ft[emulator]'")

import tinygrad_ft as tg
from tinygrad_ft import nn, optim
from tinygrad_ft.cli import main
from tinygrad_ft.cuda.launch import recorded
from tinygrad_ft.cuda.synchronisations import synchronisations
from tinygrad_ft.models import GPT, GPTConfig
from tinygrad_ft.models.gpt import loss_of
from tinygrad_ft.nn import functional as F
from tinygrad_ft.train.folder import read_metrics

STEPS = 20
BOUND = 1e-5


def mlp(rng):
    """A model, its loss, and a batch."""
    model = nn.Sequential(
        nn.Linear(20, 64, rng=rng), nn.GELU(), nn.LayerNorm(64), nn.Linear(64, 50, rng=rng), nn.ReLU(),
        nn.Linear(50, 10, rng=rng),
    )  # fmt: skip
    batch = rng.standard_normal((48, 20)).astype(np.float32), rng.integers(0, 10, 48)
    return model, lambda model, x, y: F.cross_entropy(model(x), y), batch


def transformer(rng):
    """The same of one block that predicts characters."""
    model = GPT(GPTConfig(65, context=32, layers=1, heads=2, width=32, bias=True), rng=rng)
    ids = rng.integers(0, 65, (4, 33))
    return model, loss_of, (ids[:, :-1], ids[:, 1:])


def losses(make, device, *, steps=STEPS, watch=lambda loss: None):
    """The losses of so many steps on that device, and how often the host waited or sent numbers in them."""
    model, loss_of_batch, batch = make(np.random.default_rng(0))
    model = model.to(device)
    x, y = (tg.tensor(a).to(device) for a in batch)
    optimizer = optim.AdamW(model.parameters(), lr=1e-2)
    found = []
    with synchronisations() as count:
        for _ in range(steps):
            optimizer.zero_grad()
            loss = loss_of_batch(model, x, y)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            watch(loss)
            found.append(loss.detach())
    return np.array([loss.cpu().item() for loss in found]), count


ASKED_OF_KERNELS = {
    mlp: {"matmul", "gelu", "cross_entropy", "layer_norm", "adam", "scale"},
    transformer: {"matmul", "gelu", "cross_entropy", "layer_norm", "flash", "take", "add_rows", "adam", "scale"},
}


@pytest.mark.parametrize("make", [mlp, transformer])
def test_twenty_steps_go_as_on_the_cpu_and_nothing_waits(make):
    expected, _ = losses(make, "cpu")
    with recorded() as launches:
        found, count = losses(make, "emulator")
    np.testing.assert_allclose(found, expected, rtol=0, atol=BOUND)
    assert expected[-1] < 0.5 * expected[0]
    assert (count.waits.total(), count.copies.total()) == (0, 0), count
    names = {one.kernel.name for one in launches}
    missing = {part for part in ASKED_OF_KERNELS[make] if not any(part in name for name in names)}
    assert missing == set(), sorted(names)


def test_a_step_that_looks_at_its_loss_is_told():
    _, count = losses(mlp, "emulator", steps=2, watch=lambda loss: loss.item())
    assert count.waits == {"item": 2}


def test_a_kernel_that_is_wrong_shows_in_the_losses(monkeypatch):
    """The bound tells: a third of one gradient off by a hundredth, and twenty steps later the losses are apart."""
    from tinygrad_ft.kernels.cuda import gelu

    true, expected = gelu.over, losses(mlp, "cpu")[0]

    def over(size, kernel, *arrays):
        true(size, kernel, *arrays)
        if kernel is gelu.gelu_grad_of_elements:
            arrays[-1]._memory[::3] *= np.float32(1.01)

    monkeypatch.setattr(gelu, "over", over)
    found, _ = losses(mlp, "emulator")
    assert abs(found - expected).max() > 5 * BOUND


def test_the_command_line_trains_on_another_device_and_keeps_the_same_numbers(tmp_path, capsys):
    found = {}
    for device in ("cpu", "emulator"):
        order = ["train", "mlp", "--data", "moons", "--steps", "5", "--device", device, "--out", str(tmp_path / device)]
        assert main(order) == 0
        found[device] = read_metrics(tmp_path / device / "metrics.jsonl")[-1]
    assert found["emulator"]["train_loss"] == pytest.approx(found["cpu"]["train_loss"], abs=BOUND)
    assert found["emulator"]["val_loss"] == pytest.approx(found["cpu"]["val_loss"], abs=BOUND)


def test_a_gpt_writes_the_same_on_another_device():
    model, _, _ = transformer(np.random.default_rng(0))
    model.eval()
    here = model.generate([1, 2, 3], 5, temperature=0, rng=np.random.default_rng(0))
    there = model.to("emulator").generate([1, 2, 3], 5, temperature=0, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(here, there)
