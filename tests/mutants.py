"""Faults as people make them by hand, planted in our own rules: the checker must catch every one.

A row says what is checked, which kind of fault it is, what was changed, how it is planted, and what a right guess says
(a regular expression; "" where the numbers alone cannot tell a person what was meant).
"""

from math import log, pi, prod, sqrt

import numpy as np
from faults import (
    ASSIGN,
    FACTOR,
    NO_SUM,
    NO_TERM,
    SAVED,
    SIGN,
    TRANSPOSE,
    along_assigned,
    altered,
    arrive_last,
    attention_rule,
    called,
    concatenate_from_the_end,
    cross_entropy_rule,
    engine,
    first_of,
    function,
    mean_of,
    normalise_rule,
    of,
    put_assigned,
    rows_assigned,
    spread,
    square,
    turned,
)

from tinygrad_ft import ops
from tinygrad_ft.engine import OPS
from tinygrad_ft.ops.reduce import count_along, kept_shape

getitem, inv, solve_columns = OPS["getitem"], OPS["inv"], OPS["solve_columns"]
POW, MATMUL = OPS["pow"].rule, OPS["matmul"].rule


def mse(xp, x, t, *, reduction="mean"):
    return (xp.mean if reduction == "mean" else xp.sum)((x - t) ** 2)


def silu(xp, x):
    return x / (1.0 + xp.exp(-x))


def elu(xp, x, *, alpha=1.0):
    return xp.where(x > 0, x, alpha * xp.expm1(x))


def part(x, reduction):
    return 1.0 / prod(x.shape) if reduction == "mean" else 1.0


SIGN_GUESS = r"\bsign\b"
SAVED_GUESS = r"wrong array saved.*output belongs"
MASK = r"mask"
MEAN = r"mean against sum"
TURNED = r"transposed|order"
SWAPPED = r"swap|exchang|other input"
ASSIGNED = r"assigned where"
NOT_SUMMED = r"not summed|broadcast"
NO_GRADIENT = r"the gradient is missing"


def factor(number: float) -> str:
    """A guess that names the ratio."""
    return f"{number:.3g}"[:4].replace(".", r"\.")


MUTANTS = [
    # ---------------------------------------------------------------- elementwise
    of("neg", SIGN, "g for -g", lambda g: g, SIGN_GUESS),
    of("sub", SIGN, "g for both", lambda g: (g, g), SIGN_GUESS),
    of("cos", SIGN, "sin x for -sin x", lambda g, x: g * ops.sin(x), SIGN_GUESS),
    of("sin", SIGN, "-cos x for cos x", lambda g, x: g * -ops.cos(x), SIGN_GUESS),
    of("cosh", SIGN, "-sinh x, as cos has it", lambda g, x: g * -ops.sinh(x), SIGN_GUESS),
    altered("acos", SIGN, "as asin", lambda gx: -gx, SIGN_GUESS),
    altered("erfc", SIGN, "as erf", lambda gx: -gx, SIGN_GUESS),
    altered("div", SIGN, "a / b^2 for -a / b^2", lambda gb: -gb, SIGN_GUESS, of_input=1),
    altered("atan2", SIGN, "a / (a^2 + b^2) for -a / (a^2 + b^2)", lambda gb: -gb, SIGN_GUESS, of_input=1),
    of("abs", NO_TERM, "without sign(x)", lambda g: g, r"the sign of x"),
    altered("erf", FACTOR, "without 2/sqrt(pi)", lambda gx: gx * (sqrt(pi) / 2), factor(sqrt(pi) / 2)),
    altered("erfinv", FACTOR, "without sqrt(pi)/2", lambda gx: gx * (2 / sqrt(pi)), factor(2 / sqrt(pi))),
    altered("log2", FACTOR, "without ln 2", lambda gx: gx * log(2), factor(log(2))),
    altered("log10", FACTOR, "times ln 10 and not by it", lambda gx: gx * log(10) ** 2, factor(log(10) ** 2)),
    altered("hypot", FACTOR, "2 a / y for a / y", lambda ga: ga * 2.0, r"\b2\b"),
    altered("sqrt", FACTOR, "1 / y for 1 / (2 y)", lambda gx: gx * 2.0, r"\b2\b"),
    of(
        "pow",
        FACTOR,
        "x^(p-1) without p",
        lambda g, x, p, y: (g * ops.pow(x, p - 1), called(POW(g, x, p, y)[1])),
        r"factor of 1 / p",
    ),
    of(
        "pow", FACTOR, "p x^p for p x^(p-1)", lambda g, x, p, y: (g * p * y, called(POW(g, x, p, y)[1])), r"factor of x"
    ),
    of("div", FACTOR, "a / b for a / b^2", lambda g, a, b: (g / b, -g * a / b), r"input 1|\bb\b"),
    of("tanh", FACTOR, "1 - y for 1 - y^2", lambda g, y: g * (1.0 - y), r"should be 1 - t\^2"),
    of("tan", FACTOR, "1 + y for 1 + y^2", lambda g, y: g * (1.0 + y), r"should be 1 \+ t\^2"),
    of("atan", FACTOR, "1 + x for 1 + x^2", lambda g, x: g / (1.0 + x), r"should be 1/\(1 \+ t\^2\)"),
    of(
        "atanh",
        SIGN,
        "1 + x^2 for 1 - x^2, as atan has it",
        lambda g, x: g / (1.0 + x * x),
        r"should be 1/\(1 - t\^2\)",
    ),
    of("asin", FACTOR, "without the square root", lambda g, x: g / ((1.0 - x) * (1.0 + x)), r"should be 1/sqrt"),
    of("log1p", NO_TERM, "1 / x for 1 / (1 + x)", lambda g, x: g / x, r"should be 1/\(1 \+ t\)"),
    of("expm1", NO_TERM, "y for y + 1", lambda g, y: g * y, r"should be 1 \+ t"),
    of("lgamma", FACTOR, "log x for digamma(x)", lambda g, x: g * ops.log(x)),
    of("log", FACTOR, "g x for g / x", lambda g, x: g * x, r"factor of x.*\^2"),
    of("tanh", SAVED, "x saved for y", lambda g, x: g * (1.0 - x * x), SAVED_GUESS),
    of("sigmoid", SAVED, "x saved for y", lambda g, x: g * (x * (1.0 - x)), SAVED_GUESS),
    of("exp", SAVED, "x saved for y", lambda g, x: g * x, SAVED_GUESS),
    of("sqrt", SAVED, "x saved for y", lambda g, x: g / (2.0 * x), SAVED_GUESS),
    of("mul", SAVED, "each its own factor", lambda g, a, b: (g * a, g * b), SWAPPED),
    of(
        "logaddexp",
        SAVED,
        "each the other's share",
        lambda g, a, b: (g * ops.sigmoid(b - a), g * ops.sigmoid(a - b)),
        SWAPPED,
    ),
    of("softplus", SIGN, "sigmoid(-x) for sigmoid(x)", lambda g, x: g * ops.sigmoid(-x), SIGN_GUESS),
    of("gelu", NO_TERM, "without x times the density", lambda g, x: g * (0.5 * (1.0 + ops.erf(x * sqrt(0.5))))),
    altered("gelu_slope", FACTOR, "half of it", lambda gx: gx * 0.5, r"0\.5|half"),
    of("relu", NO_TERM, "without the mask", lambda g: g, MASK),
    of("clip", NO_TERM, "without the mask", lambda g: g, MASK),
    of("relu", SAVED, "the mask of g for that of y", lambda g: g * (g > 0)),
    of("maximum", NO_TERM, "all to both", lambda g: (g, g), MASK),
    of("minimum", SAVED, "as maximum", lambda g, a, b: (g * (a > b), g * (b > a)), SWAPPED),
    of(
        "where",
        SAVED,
        "the branches exchanged",
        lambda g, condition: (None, ops.where(condition, 0.0, g), ops.where(condition, g, 0.0)),
        SWAPPED,
    ),
    of("add", NO_TERM, "nothing for b", lambda g: (g, None), NO_GRADIENT),
    of("fmod", NO_TERM, "nothing for b", lambda g: (g, None), NO_GRADIENT),
    # ---------------------------------------------------------------- second order alone
    of("exp", NO_TERM, "y cut off from x in the rule", lambda g, y: g * getattr(y, "array", y), NO_GRADIENT),
    of(
        "tanh",
        NO_TERM,
        "y cut off from x in the rule",
        lambda g, y: g * (1.0 - getattr(y, "array", y) ** 2),
        NO_GRADIENT,
    ),
    altered("gelu_slope", SIGN, "the bend with the other sign", lambda gx: -gx, SIGN_GUESS)._replace(checked="gelu"),
    altered("softmax_grad", NO_TERM, "nothing for p", lambda gp: gp * 0.0, NO_GRADIENT, of_input=1),
    # ---------------------------------------------------------------- reductions and scans
    of(
        "mean",
        FACTOR,
        "without / n",
        lambda g, *, axis, x_shape: g.reshape(kept_shape(x_shape, axis)),
        MEAN,
    ),
    of(
        "mean",
        FACTOR,
        "/ all elements, not those of the axis",
        lambda g, *, axis, x_shape: g.reshape(kept_shape(x_shape, axis)) * (1.0 / max(prod(x_shape), 1)),
        MEAN,
    ),
    of(
        "sum",
        FACTOR,
        "/ n",
        lambda g, *, axis, x_shape: g.reshape(kept_shape(x_shape, axis)) * (1.0 / max(count_along(x_shape, axis), 1)),
        MEAN,
    ),
    of(
        "sum",
        NO_SUM,
        "to the first element alone",
        lambda g, *, axis, x_shape: ops.where(
            np.arange(prod(x_shape)).reshape(x_shape) == 0, spread(g, x_shape, axis), 0.0
        ),
    ),
    of("amax", NO_TERM, "to all elements", lambda g, *, axis, x_shape: spread(g, x_shape, axis), MASK),
    of(
        "amin",
        SAVED,
        "to those that do not attain it",
        lambda g, x, y, *, axis: ops.where(x == spread(y, x.shape, axis), 0.0, spread(g, x.shape, axis)),
        r"inverted",
    ),
    of("logsumexp", NO_TERM, "e^x for softmax(x)", lambda g, x, *, axis: spread(g, x.shape, axis) * ops.exp(x)),
    of(
        "softmax",
        NO_TERM,
        "y g, the sum forgotten",
        lambda g, y: g * y,
        r"a sum or mean along axis .* times the output",
    ),
    of(
        "softmax",
        NO_TERM,
        "y (g - sum g), without y in the sum",
        lambda g, y, *, axis: y * (g - ops.sum(g, axis=axis, keepdims=True)),
        r"a sum or mean along axis .* times the output",
    ),
    of(
        "softmax",
        SIGN,
        "y (g + sum(y g))",
        lambda g, y, *, axis: y * (g + ops.sum(g * y, axis=axis, keepdims=True)),
        r"a sum or mean along axis .* times the output",
    ),
    of("log_softmax", NO_SUM, "g - e^y g", lambda g, y: g - ops.exp(y) * g),
    of(
        "log_softmax", NO_TERM, "g - sum g, without e^y", lambda g, y, *, axis: g - ops.sum(g, axis=axis, keepdims=True)
    ),
    of("cumsum", TRANSPOSE, "summed forwards", lambda g, *, axis: ops.cumsum(g, axis=axis), r"wrong order"),
    # ---------------------------------------------------------------- broadcasting and accumulation
    engine("add", NO_SUM, "one copy of what was broadcast", "sum_to", first_of, NOT_SUMMED),
    engine("mul", NO_SUM, "one copy of what was broadcast", "sum_to", first_of, NOT_SUMMED),
    engine("sub", FACTOR, "the mean of what was broadcast", "sum_to", mean_of, MEAN),
    engine("square", ASSIGN, "the last cotangent stays", "_arrive", arrive_last, ASSIGNED),
    engine("silu", ASSIGN, "the last cotangent stays", "_arrive", arrive_last, ASSIGNED),
    engine("diff", ASSIGN, "the last cotangent stays", "_arrive", arrive_last, ASSIGNED),
    # ---------------------------------------------------------------- shapes and indices
    altered(
        "reshape",
        TRANSPOSE,
        "columns first",
        lambda gx: ops.transpose(ops.reshape(gx, gx.shape[::-1])) if gx.ndim == 2 else gx,
        TURNED,
    ),
    of(
        "permute",
        TRANSPOSE,
        "the axes as they came, not their inverse",
        lambda g, *, axes: ops.permute(g, axes),
        TURNED,
    ),
    of("join", TRANSPOSE, "cut in the wrong order", concatenate_from_the_end, TURNED),
    altered("stretches", TRANSPOSE, "joined backwards", lambda gx: ops.flip(gx, -1), TURNED),
    of(
        "pad_constant",
        SAVED,
        "cut from the corner",
        lambda g, *, x_shape: getitem(g, key=tuple(slice(n) for n in x_shape)),
        r"place",
    ),
    of(
        "getitem",
        ASSIGN,
        "y[key] = g",
        lambda g, indices, *, key, x_shape: (
            put_assigned(g, *indices, key=key, shape=x_shape),
            *(None for _ in indices),
        ),
        ASSIGNED,
    ),
    of(
        "take_along_axis",
        ASSIGN,
        "y[index] = g",
        lambda g, index, *, axis, x_shape: (along_assigned(g, index, axis=axis, shape=x_shape), None),
        ASSIGNED,
    ),
    of(
        "embedding",
        ASSIGN,
        "y[ids] = g",
        lambda g, ids, *, weight_shape: (None, rows_assigned(g, ids, rows=weight_shape[0])),
        ASSIGNED,
    ),
    altered("sum_rows", FACTOR, "divided by the rows", lambda gx: gx * 0.25, r"0\.25"),
    altered("put", SIGN, "-h", lambda gx: -gx, SIGN_GUESS),
    # ---------------------------------------------------------------- linear algebra
    of(
        "matmul",
        TRANSPOSE,
        "g b for g b^T, where b is square",
        lambda g, a, b: (
            lambda: MATMUL(g, a, ops.transpose(b))[0]() if square(b) else MATMUL(g, a, b)[0](),
            MATMUL(g, a, b)[1],
        ),
        TURNED,
    ),
    of(
        "matmul",
        TRANSPOSE,
        "a g for a^T g, where a is square",
        lambda g, a, b: (
            MATMUL(g, a, b)[0],
            lambda: MATMUL(g, ops.transpose(a), b)[1]() if square(a) else MATMUL(g, a, b)[1](),
        ),
        TURNED,
    ),
    altered("linear", TRANSPOSE, "x^T g for g^T x", lambda gw: ops.transpose(gw), TURNED, of_input=1),
    altered("linear", NO_SUM, "the first row's for the bias", lambda rows: rows[:1], NOT_SUMMED, of_input=2),
    altered(
        "linear",
        FACTOR,
        "the mean over the rows for the bias",
        lambda rows: ops.mean(rows, axis=0, keepdims=True),
        MEAN,
        of_input=2,
    ),
    altered("inv", SIGN, "y^T g y^T", lambda gx: -gx, SIGN_GUESS),
    of("inv", TRANSPOSE, "-y g y", lambda g, y: -(y @ g @ y), TURNED),
    of("det", TRANSPOSE, "y x^-1 for y x^-T", lambda g, x, y: ops.reshape(g * y, (*y.shape, 1, 1)) * inv(x), TURNED),
    of(
        "slogdet",
        TRANSPOSE,
        "x^-1 for x^-T",
        lambda gs, x: None if gs[1] is None else ops.reshape(gs[1], (*gs[1].shape, 1, 1)) * inv(x),
        TURNED,
    ),
    of(
        "solve_columns",
        TRANSPOSE,
        "solved with a for a^T",
        lambda g, a, y: (-ops.matmul(solve_columns(a, g), ops.transpose(y)), solve_columns(a, g)),
        TURNED,
    ),
    altered("solve_columns", SIGN, "without the minus in a", lambda ga: -ga, SIGN_GUESS),
    altered("contract", TRANSPOSE, "the square one turned", turned, TURNED),
    of(
        "pseudo_inverse",
        NO_TERM,
        "as the inverse of a square matrix",
        lambda g, x, y: -(ops.transpose(y) @ g @ ops.transpose(y)),
    ),
    altered("lower_factor", FACTOR, "twice, for both triangles", lambda gx: gx * 2.0, r"\b2\b"),
    # ---------------------------------------------------------------- normalisation and attention
    of("normalise", NO_TERM, "without mean(g)", normalise_rule("scale", "variance"), r"a sum or mean along axis"),
    of(
        "normalise",
        NO_TERM,
        "without z mean(g z)",
        normalise_rule("scale", "mean"),
        r"a sum or mean along axis .* times the output",
    ),
    of("normalise", NO_TERM, "r g alone", normalise_rule("scale")),
    of("normalise", FACTOR, "without r", normalise_rule("mean", "variance"), r"factor"),
    of("normalise", NO_TERM, "without mean(g)", normalise_rule("scale", "variance"), seen_in="group_norm"),
    of("attention", NO_TERM, "the softmax without its sum", attention_rule("sum")),
    of("attention", FACTOR, "gq without the scale", attention_rule("scale"), r"\b2\b"),
    of("attention", TRANSPOSE, "s q for s^T q, where s is square", attention_rule("gk"), TURNED),
    of("attention", TRANSPOSE, "p gy for p^T gy, where p is square", attention_rule("gv"), TURNED),
    # ---------------------------------------------------------------- losses
    of("summed_cross_entropy", SIGN, "onehot - p", cross_entropy_rule("sign"), SIGN_GUESS),
    of("summed_cross_entropy", NO_TERM, "p without the onehot", cross_entropy_rule("onehot")),
    of("summed_cross_entropy", FACTOR, "without the rows' shares", cross_entropy_rule("share"), r"factor of 1 / share"),
    altered("bce_of_chances", SIGN, "t - x", lambda gx: -gx, SIGN_GUESS),
    of(
        "bce_of_chances",
        FACTOR,
        "x - t, without x (1 - x)",
        lambda g, x, t: (g * (x - t), g * (ops.log(1.0 - x) - ops.log(x))),
    ),
    function(
        "mse_loss",
        FACTOR,
        "the mean's 1 / n forgotten",
        mse,
        lambda g, x, t: (g * 2.0 * (x - t), g * 2.0 * (t - x)),
        MEAN,
    ),
    function(
        "mse_loss",
        FACTOR,
        "the square's 2 forgotten",
        mse,
        lambda g, x, t, *, reduction: (g * (x - t) * part(x, reduction), g * (t - x) * part(x, reduction)),
        r"0\.5|half",
    ),
    function(
        "mse_loss",
        SIGN,
        "the same for both",
        mse,
        lambda g, x, t, *, reduction: (2.0 * g * (x - t) * part(x, reduction),) * 2,
        SIGN_GUESS,
    ),
    function("silu", NO_TERM, "sigmoid(x) for all of it", silu, lambda g, x: g * ops.sigmoid(x)),
    function("silu", NO_TERM, "x sigmoid'(x) for all of it", silu, lambda g, x, y: g * y * (1.0 - ops.sigmoid(x))),
    function("elu", NO_TERM, "y for y + alpha", elu, lambda g, x, y: ops.where(x > 0, g, g * y)),
]
