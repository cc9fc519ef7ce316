"""The twenty formulas that five book chapters print, F1 to F20, each with the verdict that it deserves.

A printed gradient is given to the checker as somebody's hand-written gradient, in NumPy, then the mended one. A printed
value is held against its definition, and against the engine.
"""

import re
from pathlib import Path

import numpy as np
import pytest

import tinygrad_ft as tg
from tinygrad_ft import nn
from tinygrad_ft.gradcheck import examine

RNG = np.random.default_rng(7)


def sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


def relu(z):
    return np.maximum(z, 0.0)


def verdict_of(f, inputs, gradient):
    """What the checker says, and what it guesses."""
    report = examine(f, inputs, gradient=gradient)
    return report.verdict, report.worst.guess


def assert_wrong(f, inputs, gradient, guess):
    verdict, said = verdict_of(f, inputs, gradient)
    assert verdict == "wrong"
    assert guess in said.lower(), said


def assert_right(f, inputs, gradient):
    assert verdict_of(f, inputs, gradient)[0] == "ok"


def engine(f, *arrays):
    """What a function of Tensors answers, as an array."""
    return f(*map(tg.tensor, arrays)).numpy_copy()


# ---------------------------------------------------------------- F1 to F3: activations

XS = 3.0 * RNG.standard_normal(40)


def test_f1_is_right_and_its_slope_at_0_is_0_by_convention():
    np.testing.assert_array_equal(engine(tg.relu, XS), np.maximum(0, XS))
    assert_right(lambda x: np.maximum(0, x).sum(), (XS,), lambda x: (x > 0) * 1.0)
    kink = tg.tensor([0.0], requires_grad=True)
    tg.relu(kink).sum().backward()
    assert kink.grad.item() == 0


def test_f2_is_right_and_overflows_where_the_engine_does_not():
    np.testing.assert_allclose(1 / (1 + np.exp(-XS)), (1 + np.tanh(XS / 2)) / 2, rtol=1e-12)  # 1 + tanh cancels
    np.testing.assert_allclose(engine(tg.sigmoid, XS), sigmoid(XS), rtol=1e-14)
    with pytest.raises(FloatingPointError), np.errstate(over="raise"):
        sigmoid(np.float32(-100))
    with np.errstate(all="raise"):
        assert 0 < tg.sigmoid(tg.tensor(-80.0)).item() < 1e-34


def test_f3_is_no_tanh():
    def chapter(x):
        return np.tan(np.pi / 2 * x / (1 + abs(x)))

    tanh = (np.exp(XS) - np.exp(-XS)) / (np.exp(XS) + np.exp(-XS))
    assert abs(chapter(XS) - tanh).max() > 1
    assert chapter(1e6) > 1e5
    np.testing.assert_allclose(engine(tg.tanh, XS), tanh, rtol=1e-12)
    assert_right(lambda x: np.tanh(x).sum(), (XS / 3,), lambda x: 1 - np.tanh(x) ** 2)


# ---------------------------------------------------------------- F4, F5, F16: losses


def test_f4_is_right():
    y, said = RNG.standard_normal((2, 9))
    by_definition = sum((a - b) ** 2 for a, b in zip(y, said, strict=True)) / 9
    assert engine(tg.mse_loss, said, y) == pytest.approx(by_definition, rel=1e-14)
    assert_right(lambda said: np.mean((y - said) ** 2), (said,), lambda said: 2 / 9 * (said - y))


def test_f5_and_f16_are_right_for_probabilities_and_the_engine_takes_logits():
    z, labels = RNG.standard_normal((6, 4)), RNG.integers(0, 4, 6)
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    f5 = -(np.eye(4)[labels] * np.log(p)).sum() / 6
    assert f5 == pytest.approx(-np.log(np.prod(p[np.arange(6), labels])) / 6, rel=1e-12)
    assert engine(lambda z: tg.cross_entropy(z, tg.tensor(labels)), z) == pytest.approx(f5, rel=1e-12)
    f16 = engine(lambda z: tg.cross_entropy(z, tg.tensor(labels), reduction="sum"), z)
    assert f16 == pytest.approx(6 * f5, rel=1e-12)


def test_f5_after_a_softmax_overflows_and_log_softmax_does_not():
    far = np.array([0.0, 1000.0])
    with np.errstate(all="ignore"):
        assert np.isnan(np.log(np.exp(far) / np.exp(far).sum())).any()
    np.testing.assert_array_equal(engine(lambda z: tg.log_softmax(z, dim=0), far), [-1000, 0])


# ---------------------------------------------------------------- F6: one linear unit under the mean squared error

X = RNG.standard_normal(8)
Y = RNG.standard_normal(8)


def squared_error(w):
    return np.mean((Y - w * X) ** 2)


def test_f6_has_the_prediction_where_its_slope_belongs():
    def chapter(w):
        return -2.0 / 8 * np.sum((Y - w * X) * (w * X))

    def mended(w):
        return -2.0 / 8 * np.sum((Y - w * X) * X)

    w = np.array(0.7)  # so what the chapter has is w times the gradient
    assert_wrong(squared_error, (w,), chapter, "ratio 0.7 is w itself")
    assert_right(squared_error, (w,), mended)


# ---------------------------------------------------------------- F7: sigmoid, or softmax, and cross-entropy

TARGETS = (RNG.random(8) < 0.5).astype(float)


def cross_entropy_of_logits(z):
    p = sigmoid(z)
    return -np.mean(TARGETS * np.log(p) + (1.0 - TARGETS) * np.log(1.0 - p))


def test_f7_climbs_and_keeps_a_slope_that_cancels():
    def chapter(z):
        p = sigmoid(z)
        return (TARGETS - p) * p * (1.0 - p) / 8

    def mended(z):
        return (sigmoid(z) - TARGETS) / 8

    z = RNG.standard_normal(8)
    assert_wrong(cross_entropy_of_logits, (z,), chapter, "sign")
    assert_right(cross_entropy_of_logits, (z,), mended)


def test_f7_mended_for_a_weight_and_for_softmax():
    def loss(w):
        return cross_entropy_of_logits(w * X)

    assert_right(loss, (np.array(0.4),), lambda w: np.mean((sigmoid(w * X) - TARGETS) * X))
    classes = np.eye(3)[RNG.integers(0, 3, 5)]

    def softmax_loss(z):
        return -np.sum(classes * np.log(np.exp(z) / np.exp(z).sum(1, keepdims=True))) / 5

    z = RNG.standard_normal((5, 3))
    assert_right(softmax_loss, (z,), lambda z: (np.exp(z) / np.exp(z).sum(1, keepdims=True) - classes) / 5)
    assert_wrong(softmax_loss, (z,), lambda z: np.exp(z) / np.exp(z).sum(1, keepdims=True) - classes, "mean")


# ---------------------------------------------------------------- F8: two layers, ReLU, the mean squared error

ROWS, GOALS = RNG.standard_normal((6, 3)), RNG.standard_normal((6, 2))
NET = tuple(RNG.standard_normal(shape) for shape in [(3, 4), (4,), (4, 2), (2,)])


def net_loss(w1, b1, w2, b2):
    return np.mean((relu(relu(ROWS @ w1 + b1) @ w2 + b2) - GOALS) ** 2)


def net_gradient(w1, b1, w2, b2, *, two=2.0, masked=True, through=True):
    """The chain rule by hand; the keywords leave out what the chapter leaves out."""
    z = ROWS @ w1 + b1
    a = relu(z)
    y = a @ w2 + b2
    out = two * (relu(y) - GOALS) / GOALS.size * ((y > 0) if masked else 1.0)
    hidden = out @ (w2.T if through else np.ones_like(w2.T))
    hidden = hidden * (z > 0) if masked else hidden
    return ROWS.T @ hidden, hidden.sum(0), a.T @ out, out.sum(0)


def chapter_f8(w1, b1, w2, b2):
    """-1/n sum (y - yhat) yhat x for every weight, -1/n sum (y - yhat) yhat for every bias."""
    a = relu(ROWS @ w1 + b1)
    y = relu(a @ w2 + b2)
    e = -(GOALS - y) * y / len(ROWS)
    hidden = e.sum(1, keepdims=True) * np.ones(4)
    return ROWS.T @ hidden, hidden.sum(0), a.T @ e, e.sum(0)


def test_f8_is_wrong_in_every_line():
    assert verdict_of(net_loss, NET, chapter_f8)[0] == "wrong"
    for i in range(4):  # each line alone, the others right

        def one_line(*net, i=i):
            return tuple((chapter_f8 if j == i else net_gradient)(*net)[j] for j in range(4))

        assert verdict_of(net_loss, NET, one_line)[0] == "wrong"
    assert_right(net_loss, NET, net_gradient)


def test_f8_each_omission_has_its_guess():
    assert_wrong(net_loss, NET, lambda *net: net_gradient(*net, two=1.0), "0.5")
    assert verdict_of(net_loss, NET, lambda *net: net_gradient(*net, masked=False))[0] == "wrong"
    assert verdict_of(net_loss, NET, lambda *net: net_gradient(*net, through=False))[0] == "wrong"


# ---------------------------------------------------------------- F9: the hand-written backward pass


def test_f9_climbs_the_loss():
    def loss(w, w_out):
        return np.mean((relu(relu(ROWS @ w) @ w_out) - GOALS) ** 2)

    def chapter(w, w_out):  # the products as the shapes need them, else as printed
        hidden = relu(ROWS @ w)
        output = relu(hidden @ w_out)
        d_out = GOALS - output
        return ROWS.T @ ((d_out @ w_out.T) * (hidden > 0)), hidden.T @ d_out

    def mended(w, w_out):
        hidden = relu(ROWS @ w)
        output = relu(hidden @ w_out)
        d_out = 2.0 * (output - GOALS) / GOALS.size * (output > 0)
        return ROWS.T @ ((d_out @ w_out.T) * (hidden > 0)), hidden.T @ d_out

    def with_the_mask(w, w_out):
        return tuple(-g * GOALS.size / 2.0 for g in mended(w, w_out))

    weights = NET[0], NET[2]
    assert verdict_of(loss, weights, chapter)[0] == "wrong"
    assert_wrong(loss, weights, with_the_mask, "sign")
    assert_right(loss, weights, mended)
    stepped = [w - 0.01 * g for w, g in zip(weights, chapter(*weights), strict=True)]
    assert loss(*stepped) > loss(*weights)


# ---------------------------------------------------------------- F10, F11: matrices and the chain rule

A, B, CBAR, VECTOR = (RNG.standard_normal(shape) for shape in ((3, 3), (3, 3), (3, 3), (3,)))
RULES = {  # of L = sum(Cbar * C), or of sum(v * C) where C is a vector
    "sum": (lambda a: np.sum(CBAR * (a + B)), lambda a: CBAR),
    "matrix-vector": (lambda a: np.sum(VECTOR * (a @ VECTOR)), lambda a: np.outer(VECTOR, VECTOR)),
    "matrix-matrix": (lambda a: np.sum(CBAR * (a @ B)), lambda a: CBAR @ B.T),
    "transpose": (lambda a: np.sum(CBAR * a.T), lambda a: CBAR.T),
    "inverse": (
        lambda a: np.sum(CBAR * np.linalg.inv(a)),
        lambda a: -np.linalg.inv(a).T @ CBAR @ np.linalg.inv(a).T,
    ),
}


@pytest.mark.parametrize("name", RULES)
def test_f10_is_right_with_its_rule(name):
    f, rule = RULES[name]
    assert_right(f, (A,), rule)


def test_f10_the_inverses_rule_without_its_sign_or_a_transpose_is_seen():
    f, rule = RULES["inverse"]
    assert_wrong(f, (A,), lambda a: -rule(a), "sign")
    assert verdict_of(f, (A,), lambda a: -np.linalg.inv(a) @ CBAR @ np.linalg.inv(a))[0] == "wrong"


def test_f11_is_right_and_without_its_inner_slope_it_is_not():
    def h(x):
        return np.exp(np.sin(x))

    x = np.array(0.8)
    assert_right(h, (x,), lambda x: np.exp(np.sin(x)) * np.cos(x))
    assert_wrong(h, (x,), lambda x: np.exp(np.sin(x)), "")


# ---------------------------------------------------------------- F12: the Jacobian of a layer

W, BIAS, SEED = RNG.standard_normal((4, 4)), RNG.standard_normal(4), RNG.standard_normal(4)


def layer(a, w):
    """The layer's outputs weighted by SEED, so that its gradient is the Jacobian's transpose times SEED."""
    return np.sum(SEED * sigmoid(w @ a + BIAS))


def slope(a, w):
    s = sigmoid(w @ a + BIAS)
    return s * (1.0 - s)


def test_f12_needs_the_weights_transposed_not_the_gradient_of_the_weights():
    def weights(a, w):
        return np.outer(SEED * slope(a, w), a)

    def as_labelled(a, w):  # sigma' times what the weights' gradient has
        return SEED * slope(a, w) * a, weights(a, w)

    def not_transposed(a, w):
        return w @ (SEED * slope(a, w)), weights(a, w)

    def mended(a, w):  # the transpose of diag(sigma'(w a + b)) w, times SEED
        return w.T @ (SEED * slope(a, w)), weights(a, w)

    point = RNG.standard_normal(4), W
    assert_wrong(layer, point, as_labelled, "a term is missing or wrong")
    assert_wrong(layer, point, not_transposed, "a term is missing or wrong")
    assert_right(layer, point, mended)


# ---------------------------------------------------------------- F14: Adam's step

T, BETA1, BETA2, EPS = 3, 0.9, 0.999, 1e-8


def adam_step(m, v):
    """What is taken from theta, for a rate of 1, added up."""
    return np.sum((m / (1.0 - BETA1**T)) / (np.sqrt(v / (1.0 - BETA2**T)) + EPS))


def test_f14_does_not_feel_the_second_moment():
    def chapter(m, v):  # of m / (sqrt(1 - beta2^t) (1 - beta1^t)), in which v does not occur
        return np.full_like(m, 1.0 / (np.sqrt(1.0 - BETA2**T) * (1.0 - BETA1**T))), np.zeros_like(v)

    def mended(m, v):
        mhat, root = m / (1.0 - BETA1**T), np.sqrt(v / (1.0 - BETA2**T))
        return 1.0 / (1.0 - BETA1**T) / (root + EPS), -mhat / (root + EPS) ** 2 * root / (2.0 * v)

    moments = RNG.standard_normal(5), RNG.uniform(0.5, 2.0, 5)
    assert_wrong(adam_step, moments, chapter, "the gradient is missing (zero)")
    assert examine(adam_step, moments, gradient=chapter).worst.input == "v"
    assert_right(adam_step, moments, mended)


# ---------------------------------------------------------------- F13, F15: SGD and penalties


def test_f13_is_right():
    theta, g = RNG.standard_normal((2, 5))
    p = tg.tensor(theta, requires_grad=True)
    p.grad = tg.tensor(g)
    tg.optim.SGD([p], lr=0.1).step()
    np.testing.assert_allclose(p.array, theta - 0.1 * g, rtol=1e-15)


def test_f15_is_right_and_under_adam_l2_in_the_loss_is_no_weight_decay():
    theta = RNG.standard_normal(5)
    assert_right(lambda w: 0.3 * abs(w).sum(), (theta,), lambda w: 0.3 * np.sign(w))
    assert_right(lambda w: 0.3 * (w**2).sum(), (theta,), lambda w: 0.6 * w)
    assert_wrong(lambda w: 0.3 * (w**2).sum(), (theta,), lambda w: 0.3 * w, "ratio 0.5")

    def after(optimizer_of):
        p = tg.tensor(theta.copy(), requires_grad=True)
        optimizer = optimizer_of([p])
        for _ in range(5):
            p.grad = tg.tensor(np.array([1.0, 1e-3, 1.0, 1e-3, 1.0]))
            optimizer.step()
        return p.array

    for kind, decayed in ((tg.optim.SGD, None), (tg.optim.Adam, tg.optim.AdamW)):
        in_the_loss = after(lambda params, kind=kind: kind(params, lr=0.01, weight_decay=0.5))
        if decayed is None:  # multiply by 1 - lr * decay, then step
            apart = theta.copy()
            for _ in range(5):
                apart = (1 - 0.01 * 0.5) * apart - 0.01 * np.array([1.0, 1e-3, 1.0, 1e-3, 1.0])
            np.testing.assert_allclose(in_the_loss, apart, rtol=1e-12)
        else:
            apart = after(lambda params, decayed=decayed: decayed(params, lr=0.01, weight_decay=0.5))
            assert abs(in_the_loss - apart).max() > 1e-3


# ---------------------------------------------------------------- F17 to F19: attention and positions

Q, K, V = RNG.standard_normal((3, 5, 8))


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def attention(q, k, v, mask=0.0):
    return softmax(q @ k.T / np.sqrt(8) + mask) @ v


def attention_gradient(q, k, v, g, mask=0.0):
    p = softmax(q @ k.T / np.sqrt(8) + mask)
    s = p * (g @ v.T - (g @ v.T * p).sum(-1, keepdims=True)) / np.sqrt(8)
    return s @ k, s.T @ q, p.T @ g


def test_f17_is_right_with_its_rule_and_with_a_causal_mask():
    by_definition = np.zeros((5, 8))
    for i in range(5):
        weights = [np.exp(Q[i] @ K[j] / np.sqrt(8)) for j in range(5)]
        by_definition[i] = sum(w * v for w, v in zip(weights, V, strict=True)) / sum(weights)
    np.testing.assert_allclose(attention(Q, K, V), by_definition, rtol=1e-12)
    np.testing.assert_allclose(engine(tg.scaled_dot_product_attention, Q, K, V), by_definition, rtol=1e-12)
    assert_right(attention, (Q, K, V), attention_gradient)
    future = np.triu(np.full((5, 5), -np.inf), 1)
    causal = engine(lambda q, k, v: tg.scaled_dot_product_attention(q, k, v, is_causal=True), Q, K, V)
    np.testing.assert_allclose(attention(Q, K, V, future), causal, rtol=1e-12)
    assert_right(
        lambda q, k, v: attention(q, k, v, future), (Q, K, V), lambda q, k, v, g: attention_gradient(q, k, v, g, future)
    )
    wrong = verdict_of(attention, (Q, K, V), lambda q, k, v, g: attention_gradient(q, k, v, g, future))
    assert wrong[0] == "wrong"


def test_f18_has_rows_that_are_no_weights():
    scores = np.exp(Q @ K.T)
    printed = scores / (np.sqrt(8) * np.sqrt(8) * scores[:, :8].sum(1, keepdims=True))
    np.testing.assert_allclose(printed.sum(1), 1 / 8, rtol=1e-12)
    np.testing.assert_allclose(softmax(Q @ K.T / np.sqrt(8)).sum(1), 1, rtol=1e-12)


def test_f19_has_no_matrix_that_looks_ahead_and_sines_with_cosines_have():
    i, j = np.arange(60)[:, None], np.arange(16)
    printed = np.sin(i / 10000 ** (2 * j / 16))
    angle = i / 10000 ** (2 * (j // 2) / 16)
    mended = np.where(j % 2 == 0, np.sin(angle), np.cos(angle))

    def left_over(code, k):
        r = np.linalg.lstsq(code[:-k], code[k:], rcond=None)[0]
        return abs(code[:-k] @ r - code[k:]).max()

    for k in (1, 5, 20):
        assert left_over(printed, k) > 0.05
        assert left_over(mended, k) < 1e-10


# ---------------------------------------------------------------- F20: a net by its numbers


def test_f20_is_the_same_formula_with_other_numbers_and_only_the_trained_ones_know_something():
    rng = np.random.default_rng(0)
    true = rng.standard_normal((3, 6))
    x = rng.standard_normal((200, 6))
    labels = (x @ true.T).argmax(1)

    def loss_of(model, x, labels):
        return tg.cross_entropy(model(tg.tensor(x)), tg.tensor(labels))

    def fitted(model, x, labels, steps):
        optimizer = tg.optim.Adam(model.parameters(), lr=0.01)
        for _ in range(steps):
            optimizer.zero_grad()
            loss_of(model, x, labels).backward()
            optimizer.step()
        return model

    def fresh():
        rng = np.random.default_rng(1)
        return nn.Sequential(nn.Linear(6, 16, rng=rng), nn.ReLU(), nn.Linear(16, 3, rng=rng)).to(np.float64)

    trained = fitted(fresh(), x, labels, 200)
    first = trained[0]
    np.testing.assert_allclose(engine(first, x), x @ first.weight.array.T + first.bias.array, rtol=1e-12)
    moved, few = x + 0.1, slice(0, 20)  # what it is tuned to
    tuned, anew = fitted(trained, moved[few], labels[few], 10), fitted(fresh(), moved[few], labels[few], 10)
    assert loss_of(tuned, moved[20:], labels[20:]).item() < 0.5 * loss_of(anew, moved[20:], labels[20:]).item()


# ---------------------------------------------------------------- none is left out


def test_each_of_the_twenty_has_a_verdict_here():
    named = re.findall(r"^def test_((?:f\d+_(?:and_)?)+)", Path(__file__).read_text(encoding="utf-8"), re.M)
    assert {int(n) for name in named for n in re.findall(r"\d+", name)} == set(range(1, 21))
