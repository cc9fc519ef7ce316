"""The nets beside PyTorch's: the same state, the same answers, the same gradients, the same losses step by step."""

import numpy as np
import pytest

import tinygrad_ft as tg
from tinygrad_ft import nn
from tinygrad_ft.data import TokenSnippets
from tinygrad_ft.models import GPT, MLP, GPTConfig, MLPConfig
from tinygrad_ft.models.gpt import loss_of

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.reference

STEPS = 20


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def to_torch(a):
    return torch.from_numpy(np.ascontiguousarray(a))


def copied(module):
    """The state of one of our modules, for one of PyTorch's."""
    return {name: to_torch(t.numpy_copy()) for name, t in module.state_dict().items()}


def assert_close(ours, theirs, tolerance=1e-10):
    theirs = theirs.detach().numpy()
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours.array, theirs, rtol=tolerance, atol=tolerance)


def assert_same_gradients(ours, theirs):
    gradients = {name: p.grad for name, p in ours.named_parameters()}
    for name, p in theirs.named_parameters():
        assert_close(gradients.pop(name), p.grad)
    assert gradients == {}


# --- layers, in float64 ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bias", [True, False])
def test_attention_loads_pytorchs_state_and_agrees_in_output_weights_and_gradients(rng, bias):
    torch.manual_seed(0)
    theirs = torch.nn.MultiheadAttention(12, 3, bias=bias, batch_first=True).double()
    for p in theirs.parameters():
        torch.nn.init.normal_(p)
    ours = nn.MultiheadAttention(12, 3, bias=bias).to("float64")
    assert ours.load_state_dict({k: v.detach().numpy() for k, v in theirs.state_dict().items()}) == ([], [])
    q, k, v = (rng.standard_normal((2, n, 12)) for n in (4, 7, 7))
    for arrays in ((q, q, q), (q, k, v)):
        ours.zero_grad()
        theirs.zero_grad()
        allowed = rng.random((4, len(arrays[1][0]))) < 0.7
        allowed[:, 0] = True
        xs = [tg.tensor(a, requires_grad=True) for a in arrays]
        ts = [to_torch(a).requires_grad_() for a in arrays]
        y, weights = ours(*xs, attn_mask=tg.tensor(~allowed), need_weights=True)
        t, theirs_weights = theirs(*ts, attn_mask=to_torch(~allowed))
        assert_close(y, t)
        assert_close(weights, theirs_weights)
        g = rng.standard_normal(y.shape)
        y.backward(tg.tensor(g))
        t.backward(to_torch(g))
        assert_same_gradients(ours, theirs)
        for x, t in zip(xs, ts, strict=True):
            assert_close(x.grad, t.grad)


@pytest.mark.parametrize("bias", [True, False])
def test_the_encoder_layer_loads_pytorchs_state_and_agrees_in_output_and_gradients(rng, bias):
    torch.manual_seed(0)
    options = {"activation": "gelu", "batch_first": True, "norm_first": True, "bias": bias, "dtype": torch.float64}
    theirs = torch.nn.TransformerEncoderLayer(12, 3, 20, 0.0, **options)
    for p in theirs.parameters():
        torch.nn.init.normal_(p, std=0.5)
    ours = nn.TransformerEncoderLayer(12, 3, 20, 0.0, bias=bias).to("float64")
    assert ours.load_state_dict({k: v.detach().numpy() for k, v in theirs.state_dict().items()}) == ([], [])
    x = tg.tensor(rng.standard_normal((2, 5, 12)), requires_grad=True)
    t = to_torch(x.array.copy()).requires_grad_()
    future = torch.nn.Transformer.generate_square_subsequent_mask(5, dtype=torch.float64)
    for causal in (False, True):
        ours.zero_grad()
        theirs.zero_grad()
        x.grad = t.grad = None
        y, z = ours(x, is_causal=causal), theirs(t, src_mask=future if causal else None)
        assert_close(y, z)
        g = rng.standard_normal(y.shape)
        y.backward(tg.tensor(g))
        z.backward(to_torch(g))
        assert_same_gradients(ours, theirs)
        assert_close(x.grad, t.grad)


def test_a_swapped_pair_of_weights_would_be_seen(rng):
    ours = nn.TransformerEncoderLayer(8, 2, 8, 0.0, rng=rng).to("float64")
    options = {"activation": "gelu", "batch_first": True, "norm_first": True, "dtype": torch.float64}
    theirs = torch.nn.TransformerEncoderLayer(8, 2, 8, 0.0, **options)
    state = copied(ours)
    state["linear1.weight"], state["linear2.weight"] = state["linear2.weight"], state["linear1.weight"]
    theirs.load_state_dict(state)
    x = rng.standard_normal((1, 3, 8))
    with pytest.raises(AssertionError):
        assert_close(ours(tg.tensor(x)), theirs(to_torch(x)))


# --- training, in float32 --------------------------------------------------------------------------------------------


class TorchGPT(torch.nn.Module):
    """nanoGPT's model: pre-norm blocks, learned positions, tied weights, no biases, GELU by erf."""

    def __init__(self, c):
        super().__init__()
        self.wte = torch.nn.Embedding(c.vocabulary, c.width)
        self.wpe = torch.nn.Embedding(c.context, c.width)
        options = {"activation": "gelu", "batch_first": True, "norm_first": True, "bias": c.bias}
        self.blocks = torch.nn.ModuleList(
            torch.nn.TransformerEncoderLayer(c.width, c.heads, 4 * c.width, 0.0, **options) for _ in range(c.layers)
        )
        self.norm = torch.nn.LayerNorm(c.width, bias=c.bias)
        self.register_buffer("future", torch.full((c.context, c.context), -torch.inf).triu(1), persistent=False)

    def forward(self, ids):
        n = ids.shape[1]
        x = self.wte(ids) + self.wpe.weight[:n]
        for block in self.blocks:
            x = block(x, src_mask=self.future[:n, :n])
        return torch.nn.functional.linear(self.norm(x), self.wte.weight)


def mlp_losses(rng, steps=STEPS, momentum=0.9):
    """Our losses and PyTorch's over some steps of 784-512-256-10, with SGD on batches of 64."""
    ours = MLP(MLPConfig((784, 512, 256, 10)), rng=rng)
    linear, relu = torch.nn.Linear, torch.nn.ReLU
    theirs = torch.nn.Sequential(linear(784, 512), relu(), linear(512, 256), relu(), linear(256, 10))
    theirs.load_state_dict({name.removeprefix("layers."): t for name, t in copied(ours).items()})
    optimizer = tg.optim.SGD(ours.parameters(), lr=0.05, momentum=0.9)
    torch_optimizer = torch.optim.SGD(theirs.parameters(), lr=0.05, momentum=momentum)
    losses = []
    for _ in range(steps):
        x, y = rng.random((64, 784), dtype=np.float32), rng.integers(0, 10, 64)
        loss = nn.functional.cross_entropy(ours(tg.tensor(x)), tg.tensor(y))
        torch_loss = torch.nn.functional.cross_entropy(theirs(to_torch(x)), to_torch(y))
        optimizer.zero_grad()
        torch_optimizer.zero_grad()
        loss.backward()
        torch_loss.backward()
        optimizer.step()
        torch_optimizer.step()
        losses.append((loss.item(), torch_loss.item()))
    return np.array(losses).T


def gpt_losses(rng, steps=STEPS, beta2=0.99):
    """Our losses and PyTorch's over some steps of the nano GPT, with AdamW as nanoGPT configures it."""
    config = GPTConfig(65, 64, 4, 4, 128)
    ours, theirs = GPT(config, rng=rng), TorchGPT(config)
    theirs.load_state_dict(copied(ours))

    def groups(model):
        parameters = list(model.parameters())
        return [
            {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": 0.1},
            {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
        ]

    optimizer = tg.optim.AdamW(groups(ours), lr=1e-3, betas=(0.9, 0.99))
    torch_optimizer = torch.optim.AdamW(groups(theirs), lr=1e-3, betas=(0.9, beta2))
    snippets = TokenSnippets(rng.integers(0, 65, 5000) // 3, context=64, batch_size=12, seed=0)
    losses = []
    for i in range(steps):
        ids, targets = snippets[i]
        loss = loss_of(ours, ids, targets)
        torch_loss = torch.nn.functional.cross_entropy(theirs(to_torch(ids)).flatten(0, 1), to_torch(targets).flatten())
        optimizer.zero_grad()
        torch_optimizer.zero_grad()
        loss.backward()
        torch_loss.backward()
        nn.utils.clip_grad_norm_(ours.parameters(), 1.0)
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)
        optimizer.step()
        torch_optimizer.step()
        losses.append((loss.item(), torch_loss.item()))
    return np.array(losses).T


def worst(losses):
    """The largest relative difference between our losses and PyTorch's."""
    ours, theirs = losses
    assert ours[-1] != ours[0]
    return abs(ours / theirs - 1).max()


def test_an_mlp_trained_with_the_same_weights_and_data_gives_pytorchs_losses_step_by_step(rng):
    losses = mlp_losses(rng)
    assert losses.shape == (2, STEPS)
    assert worst(losses) < 1e-4


def test_a_nano_gpt_trained_with_the_same_weights_and_data_gives_pytorchs_losses_step_by_step(rng):
    losses = gpt_losses(rng)
    assert losses.shape == (2, STEPS)
    assert worst(losses) < 1e-4


def test_a_slightly_other_recipe_is_told_apart(rng):
    assert worst(mlp_losses(rng, steps=5, momentum=0.89)) > 1e-4
    assert worst(gpt_losses(rng, steps=5, beta2=0.98)) > 1e-4
