"""What holds for every language model that may not look ahead: GPT-2 and Llama, so small that they are trained here."""

import dataclasses

import numpy as np
import pytest
import tiny_gpt2
import tiny_llama
from huggingface import tensors

import tinygrad_ft as tg
from tinygrad_ft import ops

TINY = {"gpt2": tiny_gpt2.tiny, "llama": tiny_llama.tiny}
STILL = dataclasses.replace(tiny_gpt2.TINY, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
every_model = pytest.mark.parametrize("tiny", TINY.values(), ids=TINY)


@every_model
@pytest.mark.parametrize("shape", [(4,), (2, 0), (2, 17), (1, 2, 3)])
def test_inputs_of_other_shapes_are_refused(tiny, shape):
    with pytest.raises(ValueError, match=r"input_ids \(batch, n\) with n from 1 to 16: got"):
        tiny()(tg.tensor(np.zeros(shape, int)))


@every_model
def test_an_id_beyond_the_vocabulary_is_refused(tiny):
    with pytest.raises(IndexError):
        tiny()(tg.tensor([[29]]))


@every_model
def test_changing_a_token_changes_no_logits_before_it(tiny, rng):
    model, ids = tiny(), tiny_llama.ids_of(rng, 2, 6)
    before = model(tg.tensor(ids)).array
    for t in range(6):
        changed = ids.copy()
        changed[:, t] = (changed[:, t] + 1) % 29
        after = model(tg.tensor(changed)).array
        np.testing.assert_array_equal(after[:, :t], before[:, :t])
        assert (abs(after[:, t:] - before[:, t:]).max((0, 2)) > 0).all()


@every_model
def test_a_look_into_the_future_would_be_seen(tiny, rng, monkeypatch):
    right = ops.scaled_dot_product_attention
    monkeypatch.setattr(ops, "scaled_dot_product_attention", lambda q, k, v, mask, rate, causal, rng: right(q, k, v))
    with pytest.raises(AssertionError):
        test_changing_a_token_changes_no_logits_before_it(tiny, rng)


@pytest.mark.parametrize(("kind", "config"), [("gpt2", STILL), ("llama", tiny_llama.TINY)], ids=TINY)
def test_a_tiny_model_learns_under_the_jit(kind, config, rng):
    model = TINY[kind](config, spread=0.0).train()
    ids = np.tile([[3, 1, 4, 1, 5, 9, 2, 6]], (2, 1))
    optimizer = tg.optim.AdamW(model.parameters(), lr=1e-2)

    @tg.jit
    def step(ids, targets):
        optimizer.zero_grad()
        loss = ops.cross_entropy(ops.reshape(model(ids), (-1, 29)), ops.reshape(targets, (-1,)))
        loss.backward()
        optimizer.step()
        return loss

    found = [float(step(*tensors(ids[:, :-1], ids[:, 1:])).array) for _ in range(80)]
    assert found[0] > 3
    assert found[-1] < 0.05
    assert model.generate([3], 7, temperature=0, rng=rng).tolist() == [3, 1, 4, 1, 5, 9, 2, 6]
