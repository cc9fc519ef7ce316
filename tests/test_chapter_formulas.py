"""The gradients that five book chapters print, each with the verdict that it deserves: F6 to F9, F12 and F14.

A chapter's formula is given to the checker as somebody's hand-written gradient, in NumPy, then the mended one.
"""

import numpy as np

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
    return np.mean((relu(ROWS @ w1 + b1) @ w2 + b2 - GOALS) ** 2)


def net_gradient(w1, b1, w2, b2, *, two=2.0, masked=True, through=True):
    """The chain rule by hand; the keywords leave out what the chapter leaves out."""
    z = ROWS @ w1 + b1
    a = relu(z)
    out = two * (a @ w2 + b2 - GOALS) / GOALS.size
    hidden = out @ (w2.T if through else np.ones_like(w2.T))
    hidden = hidden * (z > 0) if masked else hidden
    return ROWS.T @ hidden, hidden.sum(0), a.T @ out, out.sum(0)


def chapter_f8(w1, b1, w2, b2):
    """-1/n sum (y - yhat) yhat x for every weight, -1/n sum (y - yhat) yhat for every bias."""
    a = relu(ROWS @ w1 + b1)
    y = a @ w2 + b2
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
