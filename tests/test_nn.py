"""Modules, layers, initial values, and what happens to gradients before a step."""

import gc
import math
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_ft as tg
from tinygrad_ft import nn
from tinygrad_ft.gradcheck import GradcheckError, gradcheck
from tinygrad_ft.nn import functional as F
from tinygrad_ft.nn import init


class Block(nn.Module):
    """Two linear layers that share a weight, a buffer, and a child of children."""

    def __init__(self, rng=None):
        super().__init__()
        self.scale = nn.Parameter(np.ones(3, np.float32))
        self.first = nn.Linear(3, 3, rng=rng)
        self.inner = nn.Sequential(nn.Dropout(0.5), nn.Linear(3, 3, bias=False, rng=rng))
        self.inner[1].weight = self.first.weight
        self.register_buffer("seen", tg.tensor([1, 2, 3]))

    def forward(self, x):
        return self.inner(self.first(x) * self.scale)


def numbers(module):
    return {name: t.numpy_copy() for name, t in module.state_dict().items()}


def assert_same_numbers(a, b):
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


# --- Module: finding things ------------------------------------------------------------------------------------------


def test_parameters_have_dotted_names_in_the_order_of_their_assignment_and_a_tied_one_comes_once():
    names = [name for name, _ in Block().named_parameters()]
    assert names == ["scale", "first.weight", "first.bias"]  # inner.1.weight is first.weight
    assert len(list(Block().parameters())) == 3


def test_untied_parameters_come_each():
    block = Block()
    block.inner[1].weight = nn.Parameter(block.first.weight.array.copy())
    assert [name for name, _ in block.named_parameters()][-1] == "inner.1.weight"


def test_modules_come_depth_first_with_dotted_names_each_once():
    block = Block()
    block.again = block.first
    assert [name for name, _ in block.named_modules()] == ["", "first", "inner", "inner.0", "inner.1"]
    assert [type(m).__name__ for m in block.modules()] == ["Block", "Linear", "Sequential", "Dropout", "Linear"]
    assert [name for name, _ in block.named_children()] == ["first", "inner", "again"]


def test_a_module_among_plain_attributes_is_a_leaf_in_no_list():
    block = Block()
    block.others = [nn.Linear(2, 2)]  # as in PyTorch, a list hides its modules: ModuleList shows them
    assert len(list(block.parameters())) == 3
    block.others = nn.ModuleList(block.others)
    assert len(list(block.parameters())) == 5


def test_a_tensor_that_requires_grad_but_is_no_parameter_is_not_found():
    block = Block()
    block.plain = tg.ones(2, requires_grad=True)
    assert len(list(block.parameters())) == 3


def test_a_subclass_that_forgets_the_constructor_of_module_works_all_the_same():
    class Forgetful(nn.Module):
        def __init__(self):
            self.layer = nn.Linear(2, 1)
            self.register_buffer("seen", tg.ones(1))

        def forward(self, x):
            return self.layer(x)

    module = Forgetful()
    assert list(module.state_dict()) == ["layer.weight", "layer.bias", "seen"]
    assert module.training and not module.eval().training
    assert list(nn.Linear(2, 1).named_buffers()) == []  # the buffers of one are not those of all


def test_a_very_deep_module_needs_no_recursion():
    module = nn.Linear(1, 1)
    for _ in range(3000):
        module = nn.Sequential(module)
    assert len(list(module.parameters())) == 2
    assert not module.eval().training


def test_a_module_without_forward_says_so():
    with pytest.raises(NotImplementedError, match="Module defines no forward"):
        nn.Module()(1)


def test_repr_shows_the_tree():
    assert repr(Block()) == (
        "Block(\n"
        "  (first): Linear(in_features=3, out_features=3, bias=True)\n"
        "  (inner): Sequential(\n"
        "    (0): Dropout(p=0.5)\n"
        "    (1): Linear(in_features=3, out_features=3, bias=False)\n"
        "  )\n"
        ")"
    )
    assert repr(nn.Embedding(7, 2)) == "Embedding(7, 2)"
    assert repr(nn.LayerNorm(4, bias=False)) == "LayerNorm((4,), eps=1e-05, bias=False)"
    assert repr(nn.GELU("tanh")) == "GELU(approximate='tanh')"
    assert repr(nn.ReLU()) == "ReLU()"


# --- Module: state ---------------------------------------------------------------------------------------------------


def test_the_state_holds_parameters_and_buffers_as_constants_that_share_memory():
    block = Block()
    state = block.state_dict()
    assert list(state) == ["scale", "first.weight", "first.bias", "seen"]
    assert not any(t.requires_grad for t in state.values())
    block.scale.array[...] = 7
    assert state["scale"].tolist() == [7.0] * 3


def test_loading_copies_the_numbers():
    block, other = Block(), Block()
    state = other.state_dict()
    assert block.load_state_dict(state) == ([], [])
    assert_same_numbers(numbers(block), numbers(other))
    other.scale.array[...] = 9
    assert block.scale.tolist() == [1.0] * 3
    assert block.inner[1].weight is block.first.weight  # still tied


def test_a_parameter_stays_the_same_object_when_numbers_are_loaded_so_that_optimisers_keep_it():
    block = Block()
    before = [id(p) for p in block.parameters()]
    block.load_state_dict({name: np.zeros(t.shape, t.dtype) for name, t in block.state_dict().items()})
    assert [id(p) for p in block.parameters()] == before
    assert all(p.requires_grad and not p.array.any() for p in block.parameters())


def test_missing_and_unexpected_names_are_refused_if_strict_else_told():
    block = Block()
    state = {"scale": np.full(3, 2, np.float32), "extra": np.ones(1)}
    with pytest.raises(KeyError, match=r"missing \['first\.bias', 'first\.weight', 'seen'\], unexpected \['extra'\]"):
        block.load_state_dict(state)
    assert block.scale.tolist() == [1.0] * 3
    assert block.load_state_dict(state, strict=False) == (["first.bias", "first.weight", "seen"], ["extra"])
    assert block.scale.tolist() == [2.0] * 3


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"seen": np.ones(4, np.int64)}, r"seen has shape \(4,\) in the state and \(3,\) in Block"),
        ({"seen": np.ones(3)}, "seen holds float64 in the state, which int64 cannot hold"),
        ({"first.bias": np.ones(3, np.complex64)}, "first.bias holds complex64"),
        ({"first.bias": np.array(["a", "b", "c"])}, "first.bias holds <U1"),
    ],
)
def test_loading_is_all_or_nothing(strict, bad, message):
    block = Block()
    before = numbers(block)
    state = {name: a + 1 for name, a in before.items()} | bad
    with pytest.raises(ValueError, match=message):
        block.load_state_dict(state, strict=strict)
    assert_same_numbers(numbers(block), before)


def test_a_state_in_float64_or_as_arrays_is_loaded_into_float32():
    layer = nn.Linear(2, 1)
    layer.load_state_dict({"weight": np.array([[1.5, 2.5]]), "bias": tg.tensor([0.5], dtype="float64")})
    assert layer.weight.dtype == np.float32
    assert layer.weight.tolist() == [[1.5, 2.5]]


# --- Module: switching -----------------------------------------------------------------------------------------------


def test_train_and_eval_reach_every_module():
    block = Block()
    assert block.eval() is block
    assert not any(m.training for m in block.modules())
    assert block.train() is block
    assert all(m.training for m in block.modules())
    block.inner.eval()
    assert [m.training for m in block.modules()] == [True, True, False, False, False]


def test_a_frozen_module_gets_no_gradients_and_a_thawed_one_does():
    block = Block().eval()
    assert block.requires_grad_(False) is block
    assert not block(tg.ones(1, 3)).requires_grad
    block.first.requires_grad_()
    block(tg.ones(1, 3)).sum().backward()
    assert block.scale.grad is None
    assert block.first.weight.grad is not None


def test_zero_grad_forgets_all_gradients():
    block = Block().eval()
    block.scale.requires_grad_(False)
    block(tg.ones(2, 3)).sum().backward()
    assert block.first.bias.grad is not None
    block.zero_grad()
    assert all(p.grad is None for p in block.parameters())


def test_to_converts_floating_point_numbers_and_leaves_integers():
    block = Block()
    block.scale.requires_grad_(False)
    parameters = list(block.parameters())
    assert block.to("float64") is block
    assert [p is q for p, q in zip(block.parameters(), parameters, strict=True)] == [True] * 3
    assert {p.dtype for p in block.parameters()} == {np.dtype(np.float64)}
    assert block.seen.dtype == np.int64
    assert block.inner[1].weight is block.first.weight
    assert [p.requires_grad for p in block.parameters()] == [False, True, True]
    y = block.eval()(tg.ones(1, 3, dtype=np.float64))
    assert y.dtype == np.float64
    y.sum().backward()
    assert block.first.weight.grad.dtype == np.float64
    assert block.to("cpu").first.weight.dtype == np.float64


def test_to_an_integer_dtype_or_an_unknown_device_is_refused_and_changes_nothing():
    layer = nn.Linear(2, 2)
    before = numbers(layer)
    with pytest.raises(TypeError, match="floating-point"):
        layer.to("int64")
    with pytest.raises(ValueError, match="neither a device"):
        layer.to("cuda:7")
    assert_same_numbers(numbers(layer), before)
    assert layer.weight.requires_grad


def test_apply_calls_on_every_module_once():
    seen = []
    block = Block()
    assert block.apply(seen.append) is block
    assert seen == list(block.modules())


def test_a_module_and_its_graph_go_without_the_garbage_collector():
    gc.disable()
    try:
        block = Block()
        block(tg.ones(1, 3)).sum().backward()
        gone = weakref.ref(block.scale)
        del block
        assert gone() is None
    finally:
        gc.enable()


# --- layers ----------------------------------------------------------------------------------------------------------


def test_linear_is_x_times_w_transposed_plus_b(rng):
    layer = nn.Linear(3, 2, rng=rng)
    x = rng.standard_normal((4, 5, 3)).astype(np.float32)
    weights = list(zip(layer.weight.tolist(), layer.bias.tolist(), strict=True))
    expected = [
        [[sum(a * w for a, w in zip(row, ws, strict=True)) + b for ws, b in weights] for row in rows]
        for rows in x.tolist()
    ]
    np.testing.assert_allclose(layer(tg.tensor(x)).array, expected, rtol=1e-5, atol=1e-6)
    assert nn.Linear(3, 2, bias=False).bias is None
    assert nn.Linear(3, 2, bias=False)(tg.zeros(1, 3)).tolist() == [[0.0, 0.0]]


def test_linear_starts_uniform_within_one_over_the_root_of_its_inputs(rng):
    layer = nn.Linear(400, 300, rng=rng)
    for p in (layer.weight, layer.bias):
        assert abs(p.array).max() <= 0.05
        assert abs(p.array).max() > 0.049
    assert layer.weight.array.var() == pytest.approx(0.05**2 / 3, rel=0.02)


def test_linear_of_another_width_says_what_came_and_what_was_needed():
    with pytest.raises(ValueError, match=r"got x \(2, 4\) and weight \(2, 3\)"):
        nn.Linear(3, 2)(tg.ones(2, 4))


def test_embedding_takes_rows_and_gives_each_row_the_sum_of_its_cotangents():
    layer = nn.Embedding(4, 2)
    layer.weight.array[...] = np.arange(8).reshape(4, 2)
    ids = tg.tensor([[0, 3], [3, 3]])
    y = layer(ids)
    assert y.tolist() == [[[0, 1], [6, 7]], [[6, 7], [6, 7]]]
    y.sum().backward()
    assert layer.weight.grad.tolist() == [[1, 1], [0, 0], [0, 0], [3, 3]]


@pytest.mark.parametrize("ids", [[4], [-1]])
def test_embedding_refuses_ids_without_a_row(ids):
    with pytest.raises(IndexError, match="rows 0 to 3"):
        nn.Embedding(4, 2)(tg.tensor(ids))
    with pytest.raises(TypeError, match="integer ids"):
        nn.Embedding(4, 2)(tg.tensor([1.0]))


@pytest.mark.parametrize("shape", [5, (5,), (3, 5)])
def test_layer_norm_brings_the_last_axes_to_mean_0_and_variance_1(rng, shape):
    layer = nn.LayerNorm(shape)
    x = (7 + 3 * rng.standard_normal((4, 3, 5))).astype(np.float32)
    y = layer(tg.tensor(x)).array
    axes = (-1,) if shape != (3, 5) else (-2, -1)
    np.testing.assert_allclose(y.mean(axes), 0, atol=1e-6)
    np.testing.assert_allclose(y.var(axes), 1, rtol=1e-4)
    layer.weight.array[...], layer.bias.array[...] = 2, 1
    np.testing.assert_allclose(layer(tg.tensor(x)).array, 2 * y + 1, rtol=1e-6, atol=1e-6)


def test_layer_norm_of_a_constant_is_finite_and_of_another_width_refused():
    assert nn.LayerNorm(3)(tg.full((2, 3), 5.0)).tolist() == [[0.0] * 3] * 2
    with pytest.raises(ValueError, match=r"layer_norm over \(4,\)"):
        nn.LayerNorm(4)(tg.ones(2, 3))


def test_dropout_keeps_the_mean_and_drops_its_share(rng):
    y = nn.Dropout(0.3, rng=rng)(tg.ones(100_000)).array
    assert (y == 0).mean() == pytest.approx(0.3, abs=0.005)
    assert y.mean() == pytest.approx(1, abs=0.005)
    np.testing.assert_allclose(np.unique(y), [0, 1 / 0.7], rtol=1e-6)


def test_dropout_without_the_scale_would_be_seen(rng):
    y = (rng.random(100_000) >= 0.3).astype(np.float32)
    assert y.mean() != pytest.approx(1, abs=0.005)


def test_dropout_does_nothing_in_evaluation_or_with_p_0_and_all_with_p_1():
    x = tg.randn(4, requires_grad=True)
    assert nn.Dropout(0.5).eval()(x) is x
    assert nn.Dropout(0.0)(x) is x
    y = nn.Dropout(1.0)(x)
    assert y.tolist() == [0.0] * 4
    y.sum().backward()
    assert x.grad.tolist() == [0.0] * 4


def test_dropout_passes_gradients_through_the_same_mask(rng):
    x = tg.ones(100, requires_grad=True)
    y = nn.Dropout(0.5, rng=rng)(x)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.array, y.array)


def test_dropout_with_a_seeded_generator_is_reproducible():
    masks = [nn.Dropout(0.5, rng=np.random.default_rng(seed))(tg.ones(50)).tolist() for seed in (1, 1, 2)]
    assert masks[0] == masks[1] != masks[2]
    tg.manual_seed(3)
    first = nn.Dropout(0.5)(tg.ones(50)).tolist()
    assert nn.Dropout(0.5)(tg.ones(50)).tolist() != first
    tg.manual_seed(3)
    assert nn.Dropout(0.5)(tg.ones(50)).tolist() == first


@pytest.mark.parametrize("p", [-0.1, 1.1, math.nan])
def test_a_chance_that_is_none_is_refused(p):
    with pytest.raises(ValueError, match="from 0 to 1"):
        nn.Dropout(p)


@pytest.mark.parametrize(
    ("module", "function"),
    [
        (nn.ReLU(), lambda x: max(x, 0.0)),
        (nn.Tanh(), math.tanh),
        (nn.Sigmoid(), lambda x: 1 / (1 + math.exp(-x))),
        (nn.GELU(), lambda x: x * (1 + math.erf(x / 2**0.5)) / 2),
        (nn.GELU("tanh"), lambda x: x / 2 * (1 + math.tanh((2 / math.pi) ** 0.5 * (x + 0.044715 * x**3)))),
    ],
    ids=lambda value: repr(value) if isinstance(value, nn.Module) else "",
)
def test_an_activation_is_its_formula(module, function):
    x = np.linspace(-4, 4, 41).reshape(1, 41)
    np.testing.assert_allclose(module(tg.tensor(x)).array, [[function(v) for v in x[0]]], rtol=1e-12, atol=1e-15)


def test_an_unknown_gelu_is_refused():
    with pytest.raises(ValueError, match="'none' or 'tanh'"):
        nn.GELU("erf")(tg.ones(1))


def test_sequential_calls_one_after_the_other_and_has_items_and_a_length():
    double, plus = nn.Linear(1, 1), nn.Linear(1, 1)
    for layer, weight, bias in ((double, 2, 0), (plus, 1, 5)):
        init.constant_(layer.weight, weight)
        init.constant_(layer.bias, bias)
    model = nn.Sequential(double, plus)
    assert model(tg.ones(1, 1)).tolist() == [[7.0]]
    assert nn.Sequential(plus, double)(tg.ones(1, 1)).tolist() == [[12.0]]
    assert nn.Sequential(double, double)(tg.ones(1, 1)).tolist() == [[4.0]]  # one layer in two places
    assert (len(model), model[0], model[-1], list(model)) == (2, double, plus, [double, plus])
    assert model.append(double) is model
    assert [name for name, _ in model.named_children()] == ["0", "1", "2"]
    assert model(tg.ones(1, 1)).tolist() == [[14.0]]
    assert nn.Sequential()(3) == 3


def test_what_is_no_module_is_refused_in_a_sequential():
    with pytest.raises(TypeError, match="item 1 is function"):
        nn.Sequential(nn.ReLU(), lambda x: x)


def test_a_module_list_holds_modules_and_is_not_called():
    modules = nn.ModuleList(nn.Linear(1, 1) for _ in range(3))
    modules.append(nn.ReLU())
    assert len(modules) == 4
    assert len(list(modules.parameters())) == 6
    with pytest.raises(NotImplementedError, match="iterate over it"):
        modules(1)


# --- attention -------------------------------------------------------------------------------------------------------


def softmax(s):
    e = np.exp(s - s.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def attention_by_loops(layer, query, key, value, allowed=None, added=None):
    """y and mean weights, one head of one example after the other, straight from the paper."""
    e, heads = layer.embed_dim, layer.num_heads
    d = e // heads
    w = layer.in_proj_weight.array.astype(np.float64)
    b = np.zeros(3 * e) if layer.in_proj_bias is None else layer.in_proj_bias.array.astype(np.float64)
    answers, shown = [], []
    for i in range(len(query)):
        q, k, v = (x[i] @ w[j * e : (j + 1) * e].T + b[j * e : (j + 1) * e] for j, x in enumerate((query, key, value)))
        outputs, weights = [], []
        for h in range(heads):
            part = slice(h * d, (h + 1) * d)
            s = q[:, part] @ k[:, part].T / d**0.5
            if allowed is not None:
                s = np.where(np.broadcast_to(allowed, (len(query), heads, *s.shape))[i, h], s, -np.inf)
            if added is not None:
                s = s + np.broadcast_to(added, (len(query), heads, *s.shape))[i, h]
            weights.append(softmax(s))
            outputs.append(weights[-1] @ v[:, part])
        bias = 0 if layer.out_proj.bias is None else layer.out_proj.bias.array
        answers.append(np.concatenate(outputs, 1) @ layer.out_proj.weight.array.T + bias)
        shown.append(np.mean(weights, 0))
    return np.array(answers), np.array(shown)


def attention_layer(rng, embed_dim=6, heads=2, **options):
    layer = nn.MultiheadAttention(embed_dim, heads, rng=rng, **options).to("float64")
    for p in layer.parameters():
        init.normal_(p, rng=rng)  # biases too, which start at 0
    return layer


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("heads", [1, 2, 6])
def test_attention_is_a_loop_over_heads(rng, heads, bias):
    layer = attention_layer(rng, heads=heads, bias=bias)
    x = rng.standard_normal((3, 5, 6))
    y, weights = layer(tg.tensor(x), need_weights=True)
    expected, shown = attention_by_loops(layer, x, x, x)
    np.testing.assert_allclose(y.array, expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(weights.array, shown, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(weights.array.sum(-1), 1, rtol=1e-12)
    without, none = layer(tg.tensor(x))
    assert none is None
    np.testing.assert_allclose(without.array, y.array, rtol=1e-12, atol=1e-12)


def test_heads_in_the_wrong_order_would_be_seen(rng):
    layer = attention_layer(rng)
    x = rng.standard_normal((1, 5, 6))
    y = layer(tg.tensor(x))[0].array
    layer.in_proj_weight.array[:6] = np.roll(layer.in_proj_weight.array[:6], 3, axis=0)
    expected, _ = attention_by_loops(layer, x, x, x)
    assert abs(y - expected).max() > 1e-3


def test_attention_asks_other_keys_and_values(rng):
    layer = attention_layer(rng)
    q, k, v = (rng.standard_normal((2, n, 6)) for n in (3, 7, 7))
    y, weights = layer(*map(tg.tensor, (q, k, v)), need_weights=True)
    expected, shown = attention_by_loops(layer, q, k, v)
    assert weights.shape == (2, 3, 7)
    np.testing.assert_allclose(y.array, expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(weights.array, shown, rtol=1e-12, atol=1e-12)
    alike = layer(tg.tensor(q), tg.tensor(k))[0].array  # the value is the key unless given
    np.testing.assert_allclose(alike, attention_by_loops(layer, q, k, k)[0], rtol=1e-12, atol=1e-12)
    same = [layer(tg.tensor(q))[0].array, layer(*[tg.tensor(q)] * 3)[0].array]
    np.testing.assert_allclose(*same, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [(4, 4), (2, 1, 4, 4), (2, 3, 4, 4), (1, 1, 1, 4)])
def test_attention_looks_nowhere_that_a_mask_of_booleans_forbids_and_adds_one_of_numbers(rng, shape):
    layer = attention_layer(rng, heads=3)
    x = rng.standard_normal((2, 4, 6))
    allowed = rng.random(shape) < 0.6
    allowed[..., 0] = True
    added = rng.standard_normal(shape)
    for mask, options in ((~allowed, {"allowed": allowed}), (added, {"added": added})):
        y, weights = layer(tg.tensor(x), attn_mask=tg.tensor(mask), need_weights=True)
        expected, shown = attention_by_loops(layer, x, x, x, **options)
        np.testing.assert_allclose(y.array, expected, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(weights.array, shown, rtol=1e-12, atol=1e-12)


def test_a_position_that_may_look_nowhere_answers_with_the_bias_and_finite_gradients(rng):
    layer = attention_layer(rng)
    x = tg.tensor(rng.standard_normal((1, 3, 6)), requires_grad=True)
    allowed = np.array([[True, True, True], [False, False, False], [True, False, False]])
    y, _ = layer(x, attn_mask=tg.tensor(~allowed))
    np.testing.assert_allclose(y.array[0, 1], layer.out_proj.bias.array)
    y.sum().backward()
    assert np.isfinite(x.grad.array).all()


def test_a_causal_position_sees_nothing_of_the_future(rng):
    layer = attention_layer(rng)
    x = rng.standard_normal((1, 6, 6))
    before = layer(tg.tensor(x), is_causal=True)[0].array
    triangle = layer(tg.tensor(x), attn_mask=tg.tensor(~np.tri(6, dtype=bool)))[0].array
    np.testing.assert_allclose(before, triangle, rtol=1e-12, atol=1e-12)
    for t in range(6):
        changed = x.copy()
        changed[0, t:] += 1
        after = layer(tg.tensor(changed), is_causal=True)[0].array
        np.testing.assert_array_equal(after[0, :t], before[0, :t])
        assert abs(after[0, t] - before[0, t]).max() > 1e-3
    open_ = layer(tg.tensor(changed))[0].array
    assert abs(open_[0, :5] - layer(tg.tensor(x))[0].array[0, :5]).max() > 1e-3  # the test would see a leak


def test_attention_drops_weights_in_training_only():
    layer = nn.MultiheadAttention(4, 2, dropout=0.5, rng=np.random.default_rng(0))
    x = tg.randn(2, 5, 4)
    for need in (False, True):
        assert not np.array_equal(layer(x, need_weights=need)[0].array, layer(x, need_weights=need)[0].array)
    layer.eval()
    np.testing.assert_array_equal(layer(x)[0].array, layer(x)[0].array)


@pytest.mark.parametrize(("embed_dim", "heads"), [(8, 3), (8, 0), (0, 1), (4, 8), (-4, 2)])
def test_a_width_that_heads_cannot_share_is_refused(embed_dim, heads):
    with pytest.raises(ValueError, match=f"got {embed_dim} and {heads}"):
        nn.MultiheadAttention(embed_dim, heads)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(3, 8)], r"query needs shape \(batch, positions, 8\).*got \(3, 8\)"),
        ([(2, 3, 7)], r"query needs .*got \(2, 3, 7\)"),
        ([(2, 3, 8), (2, 4, 6)], r"key needs .*got \(2, 4, 6\)"),
        ([(2, 3, 8), (3, 3, 8)], r"key needs .*got \(3, 3, 8\) with query \(2, 3, 8\)"),
        ([(2, 3, 8), (2, 4, 8), (2, 4, 9)], r"value needs .*got \(2, 4, 9\)"),
        ([(2, 3, 8), (2, 4, 8), (2, 5, 8)], r"attention needs"),
    ],
)
def test_attention_refuses_shapes_that_do_not_fit_by_name(shapes, message):
    with pytest.raises(ValueError, match=message):
        nn.MultiheadAttention(8, 2)(*(tg.ones(*shape) for shape in shapes))


def test_attention_of_nothing_is_nothing():
    assert nn.MultiheadAttention(4, 2)(tg.ones(0, 3, 4))[0].shape == (0, 3, 4)
    assert nn.MultiheadAttention(4, 2)(tg.ones(2, 0, 4))[0].shape == (2, 0, 4)


def test_the_encoder_layer_is_its_formula(rng):
    layer = nn.TransformerEncoderLayer(6, 2, 10, dropout=0.0, rng=rng).to("float64")
    x = tg.tensor(rng.standard_normal((2, 4, 6)))
    z = x + layer.self_attn(layer.norm1(x), is_causal=True)[0]
    expected = z + layer.linear2(F.gelu(layer.linear1(layer.norm2(z))))
    np.testing.assert_array_equal(layer(x, is_causal=True).array, expected.array)
    assert not np.allclose(layer(x).array, expected.array)


def test_the_encoder_layer_with_all_dropped_hands_its_input_on():
    layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=1.0)
    x = tg.randn(2, 3, 4)
    np.testing.assert_array_equal(layer(x).array, x.array)
    assert not np.array_equal(layer.eval()(x).array, x.array)


def test_the_biases_of_attention_start_at_0():
    layer = nn.MultiheadAttention(4, 2)
    assert not layer.in_proj_bias.array.any()
    assert not layer.out_proj.bias.array.any()


def test_the_encoder_layer_is_causal_in_evaluation_and_random_in_training():
    layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.5, rng=np.random.default_rng(0))
    x = tg.randn(1, 3, 4)
    assert not np.array_equal(layer(x).array, layer(x).array)
    layer.eval()
    changed = tg.tensor(x.array + np.array([0, 0, 1], np.float32)[:, None])
    y, z = layer(x, is_causal=True).array, layer(changed, is_causal=True).array
    np.testing.assert_array_equal(y[0, :2], z[0, :2])
    assert not np.array_equal(y[0, 2], z[0, 2])


# --- gradients of every layer's parameters ---------------------------------------------------------------------------

LAYERS = {
    "Linear": (lambda rng: nn.Linear(3, 2, rng=rng), (4, 3)),
    "Linear without bias": (lambda rng: nn.Linear(3, 2, bias=False, rng=rng), (2, 2, 3)),
    "Embedding": (lambda rng: nn.Embedding(5, 2, rng=rng), None),
    "LayerNorm": (lambda rng: nn.LayerNorm((2, 3)), (4, 2, 3)),
    "GELU": (lambda rng: nn.Sequential(nn.Linear(3, 2, rng=rng), nn.GELU()), (4, 3)),
    "GELU tanh": (lambda rng: nn.Sequential(nn.Linear(3, 2, rng=rng), nn.GELU("tanh")), (4, 3)),
    "Tanh": (lambda rng: nn.Sequential(nn.Linear(3, 2, rng=rng), nn.Tanh()), (4, 3)),
    "Sigmoid": (lambda rng: nn.Sequential(nn.Linear(3, 2, rng=rng), nn.Sigmoid()), (4, 3)),
    "ReLU": (lambda rng: nn.Sequential(nn.Linear(3, 2, rng=rng), nn.ReLU()), (4, 3)),
    "MultiheadAttention": (lambda rng: nn.MultiheadAttention(4, 2, rng=rng), (2, 3, 4)),
    "TransformerEncoderLayer": (lambda rng: nn.TransformerEncoderLayer(4, 2, 5, dropout=0.0, rng=rng), (2, 3, 4)),
    "Block": (lambda rng: Block(rng).eval(), (2, 3)),
}


def check_gradients(module, x):
    """Hold the gradients of x and of every parameter against differences."""
    parameters = list(module.parameters())
    homes = [
        (m, name, i)
        for i, p in enumerate(parameters)
        for m in module.modules()
        for name, value in vars(m).items()
        if value is p
    ]

    def f(x, *values):
        for m, name, i in homes:
            setattr(m, name, values[i])
        y = module(x)
        return y[0] if isinstance(y, tuple) else y

    return gradcheck(f, [x, *parameters])


@pytest.mark.parametrize("name", LAYERS)
def test_the_gradients_of_a_layer_agree_with_differences(rng, name):
    make, shape = LAYERS[name]
    module = make(rng).to("float64")
    for p in module.parameters():
        init.normal_(p, rng=rng)
    x = tg.tensor(rng.standard_normal(shape), requires_grad=True) if shape else tg.tensor([[0, 4], [4, 2]])
    assert check_gradients(module, x)


def test_a_wrong_gradient_of_a_layer_is_caught(rng):
    class Wrong(nn.Module):
        def __init__(self):
            self.weight = nn.Parameter(rng.standard_normal(3))

        def forward(self, x):
            return x * self.weight * self.weight.detach()

    with pytest.raises(GradcheckError, match="input 1"):
        check_gradients(Wrong(), tg.tensor(rng.standard_normal((2, 3)), requires_grad=True))


# --- initial values --------------------------------------------------------------------------------------------------

INITIALISERS = {  # of a weight (300, 200): variance, and bound where there is one
    "uniform_": ({"a": -1, "b": 2}, 9 / 12, None),
    "normal_": ({"mean": 0, "std": 0.3}, 0.09, None),
    "xavier_uniform_": ({}, 2 / 500, (6 / 500) ** 0.5),
    "xavier_normal_": ({"gain": 2.0}, 4 * 2 / 500, None),
    "kaiming_uniform_": ({}, 2 / 200, (6 / 200) ** 0.5),
    "kaiming_normal_": ({"mode": "fan_out", "nonlinearity": "relu"}, 2 / 300, None),
    "kaiming_uniform_ tanh": ({"nonlinearity": "tanh"}, 25 / 9 / 200, (25 / 3 / 200) ** 0.5),
    "kaiming_normal_ leaky": ({"a": 0.5}, 2 / 1.25 / 200, None),
}


@pytest.mark.parametrize("name", INITIALISERS)
def test_initial_values_have_the_variance_that_the_paper_asks_for(rng, name):
    options, variance, bound = INITIALISERS[name]
    x = tg.zeros(300, 200, requires_grad=True)
    assert getattr(init, name.split()[0])(x, **options, rng=rng) is x
    assert x.array.var() == pytest.approx(variance, rel=0.02)
    assert x.array.mean() == pytest.approx(0.5 if name == "uniform_" else 0, abs=4 * (variance / 60_000) ** 0.5)
    if bound:
        assert bound * 0.999 < abs(x.array).max() <= bound
    assert x.requires_grad and x.is_leaf and x.dtype == np.float32


def test_the_fans_of_a_convolutions_weight_count_its_field(rng):
    x = tg.zeros(64, 32, 3, 3)
    assert init.kaiming_normal_(x, rng=rng).array.var() == pytest.approx(2 / (32 * 9), rel=0.04)
    assert init.kaiming_normal_(x, mode="fan_out", rng=rng).array.var() == pytest.approx(2 / (64 * 9), rel=0.04)


def test_constants_are_constant_and_a_seed_gives_the_same_numbers():
    x = tg.randn(3, 2)
    assert init.constant_(x, 2.5).tolist() == [[2.5] * 2] * 3
    assert init.ones_(x).tolist() == [[1.0] * 2] * 3
    assert init.zeros_(x).tolist() == [[0.0] * 2] * 3
    first, again, other = (init.normal_(tg.zeros(5), rng=np.random.default_rng(s)).tolist() for s in (1, 1, 2))
    assert first == again != other


def test_initialisers_refuse_what_they_cannot_read_or_do_not_know():
    with pytest.raises(ValueError, match=r"got shape \(3,\)"):
        init.xavier_uniform_(tg.zeros(3))
    with pytest.raises(ValueError, match="'fan_in' or 'fan_out': got 'fan'"):
        init.kaiming_uniform_(tg.zeros(2, 2), mode="fan")
    with pytest.raises(ValueError, match=r"no gain is known for 'swish': known are leaky_relu, linear"):
        init.calculate_gain("swish")


def test_gains_keep_the_second_moment_through_the_nonlinearity():
    z = np.random.default_rng(0).standard_normal(1_000_000)
    assert init.calculate_gain("relu") ** 2 * (np.maximum(z, 0) ** 2).mean() == pytest.approx(1, rel=0.01)
    leaky = np.where(z > 0, z, 0.2 * z)
    assert init.calculate_gain("leaky_relu", 0.2) ** 2 * (leaky**2).mean() == pytest.approx(1, rel=0.01)
    assert init.calculate_gain("linear") == init.calculate_gain("sigmoid") == 1


# --- clipping --------------------------------------------------------------------------------------------------------


def leaves_with(*gradients):
    leaves = [tg.tensor(np.zeros(np.shape(g), np.float32), requires_grad=True) for g in gradients]
    for leaf, g in zip(leaves, gradients, strict=True):
        leaf.grad = tg.tensor(np.array(g, np.float32))
    return leaves


def length(leaves, order=2.0):
    return float(np.linalg.norm(np.concatenate([p.grad.array.ravel() for p in leaves]).astype(np.float64), order))


vectors = st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=4)


@given(
    gradients=st.lists(vectors, min_size=1, max_size=3),
    limit=st.floats(0.01, 1e4),
    order=st.sampled_from([2.0, math.inf, 1.0]),
)
def test_clipping_leaves_no_more_than_the_limit_and_keeps_the_direction(gradients, limit, order):
    leaves = leaves_with(*gradients)
    before, arrays = length(leaves, order), [p.grad.array.copy() for p in leaves]
    told = nn.utils.clip_grad_norm_(iter(leaves), limit, order)
    assert told.item() == pytest.approx(before, rel=1e-5, abs=1e-30)
    assert length(leaves, order) <= limit * (1 + 1e-5)
    scale = min(1.0, limit / (before + 1e-6))
    for p, g in zip(leaves, arrays, strict=True):
        np.testing.assert_allclose(p.grad.array, g * scale, rtol=1e-5, atol=1e-30)


def test_a_gradient_within_the_limit_is_not_touched():
    leaves = leaves_with([3.0, 4.0])
    array = leaves[0].grad.array
    assert nn.utils.clip_grad_norm_(leaves, 5.1).item() == 5.0
    assert leaves[0].grad.array is array
    assert array.tolist() == [3.0, 4.0]


@pytest.mark.parametrize("order", [2.0, 3.0, math.inf])
def test_the_length_of_float16_gradients_does_not_overflow_on_the_way(order):
    leaf = tg.tensor(np.zeros(2, np.float16), requires_grad=True)
    leaf.grad = tg.tensor(np.array([300, 1], np.float16))
    assert nn.utils.clip_grad_norm_(leaf, 1.0, order).item() == pytest.approx(300, rel=1e-4)
    assert leaf.grad.dtype == np.float16 and length([leaf], order) == pytest.approx(1, rel=1e-3)


def test_leaves_whose_cotangent_is_one_array_are_scaled_once_each():
    a, b = tg.zeros(4, requires_grad=True), tg.zeros(4, requires_grad=True)
    (a + b).backward(tg.full((4,), 3.0))  # the rule of add hands the same array to both
    assert nn.utils.clip_grad_norm_([a, b], 1.0).item() == pytest.approx(72**0.5)
    assert length([a, b]) == pytest.approx(1.0, rel=1e-5)


def test_the_callers_gradient_is_not_scaled_with_the_leafs():
    seed = tg.full((4,), 3.0)
    x = tg.zeros(4, requires_grad=True)
    x.backward(seed)
    nn.utils.clip_grad_norm_(x, 1.0)
    assert seed.tolist() == [3.0] * 4


@pytest.mark.parametrize("order", [2.0, math.inf, 1.0])
@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_is_told_wherever_it_stands(order, place, bad):
    gradients = [[1.0, 2.0], [3.0]]
    gradients[place][-1] = bad
    leaves = leaves_with(*gradients)
    with pytest.raises(RuntimeError, match=f"norm is {bad}"):
        nn.utils.clip_grad_norm_(leaves, 1.0, order, error_if_nonfinite=True)
    assert [p.grad.tolist() for p in leaves][1 - place] == gradients[1 - place]  # nothing was scaled
    with np.errstate(invalid="ignore"):
        told = nn.utils.clip_grad_norm_(leaves, 1.0, order).item()
    assert math.isnan(told) if math.isnan(bad) else told == bad
    if math.isnan(bad):  # as in PyTorch, nothing is left that looks like a gradient
        assert all(np.isnan(p.grad.array).all() for p in leaves)


def test_leaves_without_gradients_and_empty_ones_count_for_nothing():
    lone = tg.zeros(3, requires_grad=True)
    assert nn.utils.clip_grad_norm_([lone], 1.0).item() == 0.0
    for order in (2.0, math.inf):
        assert nn.utils.clip_grad_norm_([], 1.0, order).item() == 0.0
        assert nn.utils.clip_grad_norm_(leaves_with([], [3.0]), 9.0, order).item() == 3.0


def test_a_length_in_float64_is_told_in_float64():
    x = tg.zeros(1, dtype=np.float64, requires_grad=True)
    x.grad = tg.tensor(np.array([1e60]))
    assert nn.utils.clip_grad_norm_(x, 1.0).item() == pytest.approx(1e60)
    assert x.grad.item() == pytest.approx(1.0)


def test_clipping_by_value_holds_every_element():
    leaves = leaves_with([-3.0, 0.5], [[2.0]])
    nn.utils.clip_grad_value_([*leaves, tg.zeros(1, requires_grad=True)], 1.0)
    assert [p.grad.tolist() for p in leaves] == [[-1.0, 0.5], [[1.0]]]
    nn.utils.clip_grad_value_(leaves[0], 0.25)
    assert leaves[0].grad.tolist() == [-0.25, 0.25]


# --- losses as modules -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_a_loss_as_a_module_is_the_function_with_its_options(rng, reduction):
    x, chances = rng.standard_normal((4, 3)), rng.random((4, 3))
    weight = tg.tensor(rng.random(3))
    classes = tg.tensor([0, 2, 1, -1])
    pairs = [
        (nn.MSELoss(reduction), F.mse_loss, x, chances, {}),
        (nn.BCELoss(weight, reduction), F.binary_cross_entropy, chances, chances[::-1], {"weight": weight}),
        (
            nn.BCEWithLogitsLoss(None, reduction, weight),
            F.binary_cross_entropy_with_logits,
            x,
            chances,
            {"pos_weight": weight},
        ),
    ]
    for module, function, a, b, options in pairs:
        a, b = tg.tensor(a), tg.tensor(b)
        np.testing.assert_array_equal(module(a, b).array, function(a, b, reduction=reduction, **options).array)
    options = {"ignore_index": -1, "reduction": reduction, "label_smoothing": 0.1}
    loss = nn.CrossEntropyLoss(weight, **options)(tg.tensor(x), classes)
    np.testing.assert_array_equal(loss.array, F.cross_entropy(tg.tensor(x), classes, weight, **options).array)
    assert not np.array_equal(loss.array, F.cross_entropy(tg.tensor(x), tg.tensor([0, 2, 1, 1])).array)


def test_the_loss_of_logits_without_knowledge_is_the_logarithm_of_the_classes():
    loss = nn.CrossEntropyLoss()(tg.zeros(5, 10, requires_grad=True), tg.tensor([0, 1, 2, 3, 4]))
    assert loss.item() == pytest.approx(math.log(10))
    loss.backward()


def test_functional_linear_takes_no_bias(rng):
    x, w = tg.tensor(rng.standard_normal((2, 3))), tg.tensor(rng.standard_normal((4, 3)))
    np.testing.assert_array_equal(F.linear(x, w).array, F.linear(x, w, tg.zeros(4, dtype=np.float64)).array)


def test_the_row_padding_idx_of_an_embedding_gets_no_gradient():
    for padding_idx, expected in ((0, [[0], [1]]), (-1, [[2], [0]]), (None, [[2], [1]])):
        weight = tg.tensor([[1.0], [2.0]], requires_grad=True)
        y = tg.nn.functional.embedding(tg.tensor([0, 0, 1]), weight, padding_idx)
        y.sum().backward()
        assert y.tolist() == [[1], [1], [2]] and weight.grad.tolist() == expected
    with pytest.raises(IndexError, match="padding_idx 2"):
        tg.nn.functional.embedding(tg.tensor([0]), weight, padding_idx=2)
