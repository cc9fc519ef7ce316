"""The MLP and the GPT: their sizes, what they see, and what they write."""

import json
import math

import numpy as np
import pytest

import tinygrad_ft as tg
from tinygrad_ft import nn
from tinygrad_ft.models import GPT, MLP, GPTConfig, MLPConfig
from tinygrad_ft.models.gpt import loss_of

SMALL = GPTConfig(vocabulary=11, context=6, layers=2, heads=2, width=8)


def small(seed=0, config=SMALL):
    return GPT(config, rng=np.random.default_rng(seed))


def ids_of(rng, *shape):
    return rng.integers(0, SMALL.vocabulary, shape)


# --- configurations --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "config",
    [GPTConfig(5), GPTConfig(7, 3, 1, 2, 4, 0.1, True), MLPConfig((3, 2)), MLPConfig([4, 5, 6], "gelu", 0.2)],
)
def test_a_config_comes_back_equal_through_json(config):
    back = type(config)(**json.loads(json.dumps(config.to_dict())))
    assert back == config
    assert hash(back) == hash(config)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vocabulary": 0}, "vocabulary of at least 1: got 0"),
        ({"vocabulary": 5, "context": -1}, "context of at least 1: got -1"),
        ({"vocabulary": 5, "layers": 1.5}, "layers of at least 1: got 1.5"),
        ({"vocabulary": 5, "heads": "2"}, "heads of at least 1: got '2'"),
        ({"vocabulary": 5, "heads": 3, "width": 8}, "multiple of its heads: got 8 and 3"),
    ],
)
def test_a_gpt_of_impossible_sizes_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        GPTConfig(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sizes": (3,)}, "two sizes or more"),
        ({"sizes": (3, 0)}, r"each at least 1: got \(3, 0\)"),
        ({"sizes": (3, 2.0)}, "each at least 1"),
        ({"sizes": (3, 2), "activation": "swish"}, "one of relu, gelu, tanh, sigmoid: got 'swish'"),
    ],
)
def test_an_mlp_of_impossible_sizes_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        MLPConfig(**options)


@pytest.mark.parametrize("dropout", [-0.5, 1.5])
def test_a_dropout_that_is_no_chance_is_refused(dropout):
    with pytest.raises(ValueError, match="chance from 0 to 1"):
        GPT(GPTConfig(5, width=4, heads=1, dropout=dropout))
    with pytest.raises(ValueError, match="chance from 0 to 1"):
        MLP(MLPConfig((2, 2, 2), dropout=dropout))


# --- MLP -------------------------------------------------------------------------------------------------------------


def test_an_mlp_alternates_layers_and_nonlinearities_and_ends_with_a_layer():
    def kinds(config):
        return [type(m).__name__ for m in MLP(config).layers]

    assert kinds(MLPConfig((4, 3, 2))) == ["Linear", "ReLU", "Linear"]
    assert kinds(MLPConfig((4, 3, 2), "tanh", 0.5)) == ["Linear", "Tanh", "Dropout", "Linear"]
    assert kinds(MLPConfig((4, 2))) == ["Linear"]


def test_an_mlp_maps_the_last_axis_and_starts_as_its_seed_says(rng):
    config = MLPConfig((4, 3, 2))
    first, again, other = (MLP(config, rng=np.random.default_rng(seed)) for seed in (1, 1, 2))
    x = tg.tensor(rng.standard_normal((5, 6, 4)).astype(np.float32))
    assert first(x).shape == (5, 6, 2)
    np.testing.assert_array_equal(first(x).array, again(x).array)
    assert not np.allclose(first(x).array, other(x).array)


def test_an_mlp_of_relus_neither_swells_nor_shrinks_with_depth(rng):
    model = MLP(MLPConfig((200,) * 21), rng=rng)
    y = model(tg.tensor(rng.standard_normal((100, 200)).astype(np.float32)))
    assert 0.2 < (y.array**2).mean() < 5  # by PyTorch's default it would be 6^-20


# --- GPT -------------------------------------------------------------------------------------------------------------


def test_a_gpt_answers_with_logits_for_every_position(rng):
    model = small()
    for shape in [(1, 1), (3, 6), (2, 4)]:
        assert model(tg.tensor(ids_of(rng, *shape))).shape == (*shape, 11)
    assert GPT(GPTConfig(3, 2, 1, 1, 4))(tg.tensor([[0, 2]])).shape == (1, 2, 3)


@pytest.mark.parametrize("shape", [(1, 7), (1, 0), (3,), (1, 2, 3)])
def test_a_gpt_refuses_what_its_context_cannot_hold(shape):
    with pytest.raises(ValueError, match=r"n from 1 to its context 6: got"):
        small()(tg.tensor(np.zeros(shape, np.int64)))
    with pytest.raises(IndexError, match="rows 0 to 10"):
        small()(tg.tensor([[11]]))


def test_changing_a_token_changes_no_logits_before_it(rng):
    model = small()
    ids = ids_of(rng, 2, 6)
    before = model(tg.tensor(ids)).array
    for t in range(6):
        changed = ids.copy()
        changed[:, t] = (changed[:, t] + 1) % 11
        after = model(tg.tensor(changed)).array
        np.testing.assert_array_equal(after[:, :t], before[:, :t])
        assert (abs(after[:, t:] - before[:, t:]).max((0, 2)) > 0).all()


def test_a_look_into_the_future_would_be_seen(rng, monkeypatch):
    forward = nn.TransformerEncoderLayer.forward
    monkeypatch.setattr(nn.TransformerEncoderLayer, "forward", lambda self, x, is_causal: forward(self, x))
    with pytest.raises(AssertionError):
        test_changing_a_token_changes_no_logits_before_it(rng)


def test_logits_do_not_depend_on_the_rest_of_the_batch(rng):
    model = small()
    ids = ids_of(rng, 3, 6)
    together = model(tg.tensor(ids)).array
    alone = np.concatenate([model(tg.tensor(row[None])).array for row in ids])
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_the_order_of_the_tokens_matters(rng):
    logits = small()(tg.tensor([[1, 2, 3], [2, 1, 3]])).array
    assert abs(logits[0, 2] - logits[1, 2]).max() > 1e-6


def test_the_output_layer_is_the_token_table(rng):
    model = small()
    names = [name for name, _ in model.named_parameters()]
    assert names[:2] == ["wte.weight", "wpe.weight"]
    assert not any("head" in name or name.endswith("bias") for name in names)
    assert sum(p.numel() for p in model.parameters()) == 8 * (11 + 6) + 2 * (12 * 8 * 8 + 2 * 8) + 8
    model(tg.tensor([[0]])).sum().backward()
    rows = abs(model.wte.weight.grad.array).sum(1)
    assert (rows > 0).all()  # token 0 through the table, all of them through the output


def test_a_gpt_with_biases_has_them_everywhere_and_starts_them_at_0():
    model = small(config=GPTConfig(11, 6, 1, 2, 8, bias=True))
    biases = {name: p for name, p in model.named_parameters() if name.endswith("bias")}
    assert len(biases) == 7
    assert not any(p.array.any() for p in biases.values())


def test_weights_start_small_and_smaller_where_they_write_into_the_residual_stream(rng):
    model = GPT(GPTConfig(500, 64, 8, 4, 64), rng=rng)
    for name, p in model.named_parameters():
        if p.ndim == 2:
            residual = name.endswith(("out_proj.weight", "linear2.weight"))
            assert p.array.std() == pytest.approx(0.005 if residual else 0.02, rel=0.05), name


@pytest.mark.parametrize("vocabulary", [30, 65, 300])
def test_a_new_gpt_knows_nothing(rng, vocabulary):
    model = GPT(GPTConfig(vocabulary, 16, 2, 2, 32), rng=rng)
    ids = rng.integers(0, vocabulary, (8, 17))
    assert loss_of(model, ids[:, :-1], ids[:, 1:]).item() == pytest.approx(math.log(vocabulary), rel=0.02)


def test_a_gpt_learns_a_text_by_heart(rng):
    model = small()
    ids = np.tile([[3, 1, 4, 1, 5, 9]], (1, 1))
    optimizer = tg.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(120):
        optimizer.zero_grad()
        loss = loss_of(model, ids[:, :-1], ids[:, 1:])
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.02
    assert model.generate([3], 5, temperature=0, rng=rng).tolist() == [3, 1, 4, 1, 5, 9]


# --- writing ---------------------------------------------------------------------------------------------------------


def write(model, prompt=(1, 2), tokens=12, seed=0, **options):
    return model.generate(prompt, tokens, rng=np.random.default_rng(seed), **options).tolist()


def test_the_same_seed_writes_the_same_and_another_something_else():
    model = small()
    first = write(model, tokens=30)
    assert first[:2] == [1, 2]
    assert len(first) == 32
    assert write(model, tokens=30) == first != write(model, tokens=30, seed=1)


def test_temperature_0_and_top_k_1_and_a_tiny_temperature_always_take_the_likeliest():
    model = small()
    for p in model.parameters():  # larger weights, so that what is written varies
        p.array *= 8
    greedy = write(model, temperature=0)
    assert len(set(greedy)) > 3
    assert write(model, temperature=0, seed=1) == greedy
    assert write(model, top_k=1) == write(model, top_k=1, seed=1) == greedy
    assert write(model, temperature=1e-300) == greedy  # dividing by it overflows
    for n in range(2, 14):
        seen = np.array([greedy[max(0, n - 6) : n]])
        assert greedy[n] == model(tg.tensor(seen)).array[0, -1].argmax()


@pytest.mark.parametrize(
    ("options", "changed"),
    [
        ({}, [1.0, 0.0, -1.0, -2.0]),
        ({"temperature": 2.0}, [0.5, 0.0, -0.5, -1.0]),
        ({"top_k": 2}, [1.0, 0.0, -math.inf, -math.inf]),
        ({"temperature": 0.5, "top_k": 3}, [2.0, 0.0, -2.0, -math.inf]),
        ({"temperature": math.inf, "top_k": 3}, [0.0, 0.0, 0.0, -math.inf]),
        ({"top_k": 99}, [1.0, 0.0, -1.0, -2.0]),
    ],
)
def test_tokens_are_drawn_with_the_chances_that_the_model_gives_them(monkeypatch, options, changed):
    logits = tg.tensor([[[1.0, 0.0, -1.0, -2.0]]])
    monkeypatch.setattr(GPT, "forward", lambda self, ids: logits)
    chances = np.exp(changed) / np.exp(changed).sum()
    counts = np.bincount(write(small(), prompt=[0], tokens=4000, **options)[1:], minlength=4)
    assert abs(counts / 4000 - chances).max() < 4 * (0.25 / 4000) ** 0.5
    assert not counts[chances == 0].any()


def test_only_the_last_context_of_a_long_prompt_is_seen():
    model = small()
    long = [7, 7, 7, 1, 2, 3, 4, 5, 6]
    assert write(model, prompt=long)[9:] == write(model, prompt=long[-6:])[6:]
    assert write(model, prompt=long, tokens=0) == long


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"prompt": []}, ValueError, "at least one token"),
        ({"temperature": -1}, ValueError, "temperature >= 0 and top_k >= 1: got -1"),
        ({"temperature": math.nan}, ValueError, "temperature >= 0"),
        ({"top_k": 0}, ValueError, "top_k >= 1: got 1.0 and 0"),
        ({"prompt": [11]}, IndexError, "rows 0 to 10"),
    ],
)
def test_impossible_wishes_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        write(small(), **options)


def test_writing_ends_in_the_mode_it_began_in_and_leaves_no_graph():
    model = small(config=GPTConfig(11, 6, 1, 2, 8, dropout=0.5))
    first = write(model)
    assert model.training
    assert write(model) == first  # no dropout while writing
    model.eval()
    write(model)
    assert not model.training
    with pytest.raises(IndexError):
        write(model.train(), prompt=[11])
    assert model.training
    assert all(p.grad is None for p in model.parameters())


def test_a_model_that_has_gone_bad_says_so():
    model = small()
    model.norm.weight.array[0] = np.nan
    for options in ({}, {"temperature": 0}, {"top_k": 2}):
        with pytest.raises(ValueError, match="not finite"):
            write(model, **options)
