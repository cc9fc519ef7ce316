"""Functions of one variable, element by element, and powers."""

from __future__ import annotations

from math import log as ln
from math import pi
from math import sqrt as root
from typing import Any

from numpy import ndarray

from tinygrad_ft.device import special
from tinygrad_ft.engine import Array, elementwise
from tinygrad_ft.ops.arithmetic import clip, div, mul, over, times, zeros_like
from tinygrad_ft.ops.comparison import logical_and, where
from tinygrad_ft.ops.composed import composed

__all__ = [
    "cos", "erf", "exp", "exp2", "expm1", "gelu", "log", "log10", "log1p", "log2", "logaddexp", "logit", "pow", "power",
    "reciprocal", "relu", "rsqrt", "sigmoid", "sin", "softplus", "sqrt", "square", "tanh",
]  # fmt: skip

LARGE = 1 << 16  # elements from which on the rules of tanh and sigmoid ask for a kernel


@elementwise
def pow(xp: Any, x: Array, p: Array) -> Array:
    """y = x^p; 0^0 is 1."""
    return x**p


@pow.vjp
def pow_vjp(g: Array, x: Array, p: Array, y: Array) -> tuple[Any, ...]:
    """dy = p x^(p-1) dx + y log(x) dp; nothing in x where p = 0, nothing in p where x = 0 <= p, as PyTorch has it."""

    def gx() -> Array:
        if isinstance(p, int | float):
            return times(g, p * pow(x, p - 1)) if p else zeros_like(g * x)
        flat = p == 0
        return where(flat, 0.0, times(g, p * pow(x, where(flat, 1.0, p - 1))))

    def gp() -> Array:
        if isinstance(x, int | float) and x > 0:
            return times(g, y * ln(x))
        settled = logical_and(x == 0, p >= 0)
        return times(g, where(settled, 0.0, y * log(where(settled, 1.0, x))))

    return gx, gp


power = pow  # its name in NumPy


@elementwise
def exp(xp: Any, x: Array) -> Array:
    """y = e^x, its own derivative."""
    return xp.exp(x)


@exp.vjp
def exp_vjp(g: Array, y: Array) -> Array:
    """dy = y dx."""
    return times(g, y)


@elementwise
def log(xp: Any, x: Array) -> Array:
    """y = ln x."""
    return xp.log(x)


@log.vjp
def log_vjp(g: Array, x: Array) -> Array:
    """dy = dx / x."""
    return over(g, x)


@elementwise
def expm1(xp: Any, x: Array) -> Array:
    """y = e^x - 1, to full precision near 0."""
    return xp.expm1(x)


@expm1.vjp
def expm1_vjp(g: Array, y: Array) -> Array:
    """dy = (y + 1) dx."""
    return times(g, y + 1.0)


@elementwise
def log1p(xp: Any, x: Array) -> Array:
    """y = ln(1 + x), to full precision near 0."""
    return xp.log1p(x)


@log1p.vjp
def log1p_vjp(g: Array, x: Array) -> Array:
    """dy = dx / (1 + x)."""
    return over(g, 1.0 + x)


@elementwise
def log2(xp: Any, x: Array) -> Array:
    """y = ln x / ln 2, whole where x is a power of 2."""
    return xp.log2(x)


@log2.vjp
def log2_vjp(g: Array, x: Array) -> Array:
    """dy = dx / (x ln 2)."""
    return over(g, x * ln(2.0))


@elementwise
def log10(xp: Any, x: Array) -> Array:
    """y = ln x / ln 10, whole where x is a power of 10."""
    return xp.log10(x)


@log10.vjp
def log10_vjp(g: Array, x: Array) -> Array:
    """dy = dx / (x ln 10)."""
    return over(g, x * ln(10.0))


@elementwise
def logaddexp(xp: Any, a: Array, b: Array) -> Array:
    """y = ln(e^a + e^b), where neither can overflow."""
    return xp.logaddexp(a, b)


@logaddexp.vjp
def logaddexp_vjp(g: Array, a: Array, b: Array) -> tuple[Any, ...]:
    """dy = sigmoid(a - b) da + sigmoid(b - a) db."""
    return lambda: g * sigmoid(a - b), lambda: g * sigmoid(b - a)


@composed
def exp2(x: Array) -> Array:
    """y = 2^x, whole where x is."""
    return pow(2.0, x)


@composed
def square(x: Array) -> Array:
    """y = x^2."""
    return mul(x, x)


@composed
def reciprocal(x: Array) -> Array:
    """y = 1 / x."""
    return div(1.0, x)


@composed
def rsqrt(x: Array) -> Array:
    """y = 1 / sqrt(x)."""
    return div(1.0, sqrt(x))


@composed
def logit(x: Array, eps: float | None = None) -> Array:
    """y = log(x / (1 - x)), the inverse of sigmoid; x is first held between eps and 1 - eps."""
    x = x if eps is None else clip(x, min=eps, max=1.0 - eps)
    return log(x) - log1p(-x)  # both slopes are right at the ends, 0 and 1, where that of log(x / (1 - x)) is not


@elementwise
def sqrt(xp: Any, x: Array) -> Array:
    """y = the square root of x."""
    return xp.sqrt(x)


@sqrt.vjp
def sqrt_vjp(g: Array, y: Array) -> Array:
    """dy = dx / (2 y), infinite at 0."""
    return over(g, 2.0 * y)


@elementwise
def sin(xp: Any, x: Array) -> Array:
    """y = sin x."""
    return xp.sin(x)


@sin.vjp
def sin_vjp(g: Array, x: Array) -> Array:
    """dy = cos(x) dx."""
    return g * cos(x)


@elementwise
def cos(xp: Any, x: Array) -> Array:
    """y = cos x."""
    return xp.cos(x)


@cos.vjp
def cos_vjp(g: Array, x: Array) -> Array:
    """dy = -sin(x) dx."""
    return g * -sin(x)


@elementwise
def tanh(xp: Any, x: Array) -> Array:
    """y = (e^x - e^-x) / (e^x + e^-x)."""
    return xp.tanh(x)


@tanh.vjp
def tanh_vjp(g: Array, y: Array) -> Array:
    """dy = (1 - y^2) dx."""
    if type(y) is ndarray and y.size >= LARGE:  # to ask always would cost as much as the rest, of one number
        return tanh_grad(g, y)
    return g * (1.0 - y * y)


@composed
def tanh_grad(g: Array, y: Array) -> Array:
    """g (1 - y^2)."""
    return g * (1.0 - y * y)


@elementwise
def sigmoid(xp: Any, x: Array) -> Array:
    """y = 1 / (1 + e^-x), by way of e^-|x|, which cannot overflow."""
    z = xp.exp(-xp.abs(x))
    return xp.where(xp.greater_equal(x, 0), 1.0, z) / (1.0 + z)


@sigmoid.vjp
def sigmoid_vjp(g: Array, y: Array) -> Array:
    """dy = y (1 - y) dx."""
    if type(y) is ndarray and y.size >= LARGE:
        return sigmoid_grad(g, y)
    return g * (y * (1.0 - y))


@composed
def sigmoid_grad(g: Array, y: Array) -> Array:
    """g y (1 - y)."""
    return g * (y * (1.0 - y))


@elementwise
def softplus(xp: Any, x: Array) -> Array:
    """y = log(1 + e^x), the smooth ramp whose slope is the sigmoid; large x does not overflow."""
    return xp.maximum(x, 0) + xp.log1p(xp.exp(-xp.abs(x)))


@softplus.vjp
def softplus_vjp(g: Array, x: Array) -> Array:
    """dy = sigmoid(x) dx."""
    return g * sigmoid(x)


@elementwise
def relu(xp: Any, x: Array) -> Array:
    """y = max(x, 0); the derivative at 0 is taken to be 0."""
    return xp.maximum(x, 0)


@relu.vjp
def relu_vjp(g: Array, y: Array) -> Array:
    """dy = dx where y > 0."""
    return g * (y > 0)


def _erf(xp: Any, x: Array) -> Array:
    y = special(xp).erf(x)
    return y.astype(xp.float16) if getattr(x, "dtype", None) == xp.float16 else y  # SciPy 1.18 makes float32 of it


@elementwise
def erf(xp: Any, x: Array) -> Array:
    """y = 2/sqrt(pi) times the integral of e^(-t^2) from 0 to x."""
    return _erf(xp, x)


@erf.vjp
def erf_vjp(g: Array, x: Array) -> Array:
    """dy = 2/sqrt(pi) e^(-x^2) dx."""
    return g * (2.0 / root(pi)) * exp(-(x * x))


TANH_SCALE, TANH_CUBIC = (
    root(2.0 / pi),
    0.044715,
)  # Hendrycks and Gimpel, "Gaussian Error Linear Units", 2016, section 2


@elementwise
def gelu(xp: Any, x: Array, *, approximate: str = "none") -> Array:
    """y = x times the chance that a standard normal is below x; "tanh" is Hendrycks and Gimpel's formula for it."""
    if approximate == "tanh":
        return 0.5 * x * (1.0 + xp.tanh(TANH_SCALE * (x + TANH_CUBIC * x * x * x)))
    if approximate != "none":
        raise ValueError(f"gelu: approximate is 'none' or 'tanh', not {approximate!r}")
    return 0.5 * x * (1.0 + _erf(xp, x * root(0.5)))


@gelu.vjp
def gelu_vjp(g: Array, x: Array, *, approximate: str) -> Array:
    """dy = gelu_slope(x) dx."""
    return gelu_grad(g, x) if approximate == "none" else g * gelu_slope(x, approximate=approximate)


@composed
def gelu_grad(g: Array, x: Array) -> Array:
    """g gelu_slope(x)."""
    return g * gelu_slope(x)


@elementwise
def gelu_slope(xp: Any, x: Array, *, approximate: str = "none") -> Array:
    """The derivative of gelu: the chance below x, plus x times the density at x."""
    if approximate == "tanh":
        t = xp.tanh(TANH_SCALE * (x + TANH_CUBIC * x * x * x))
        return 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * TANH_SCALE * (1.0 + 3.0 * TANH_CUBIC * x * x)
    return 0.5 * (1.0 + _erf(xp, x * root(0.5))) + x * xp.exp(-0.5 * x * x) * root(0.5 / pi)


@gelu_slope.vjp
def gelu_slope_vjp(g: Array, x: Array, *, approximate: str) -> Array:
    """The second derivative of gelu: density times (2 - x^2), or what the tanh formula gives."""
    if approximate == "none":
        return g * (exp(x * x * -0.5) * root(0.5 / pi) * (2.0 - x * x))
    t = tanh(TANH_SCALE * (x + TANH_CUBIC * x * x * x))
    du = TANH_SCALE * (1.0 + 3.0 * TANH_CUBIC * x * x)
    return g * (1.0 - t * t) * (du + x * (3.0 * TANH_SCALE * TANH_CUBIC * x - t * du * du))


@elementwise
def bias_gelu(xp: Any, x: Array, bias: Array) -> Array:
    """y = gelu(x + bias): a GPU reads and writes once for both what a layer before left without its bias."""
    return gelu.forward(xp, x + bias)


@bias_gelu.vjp
def bias_gelu_vjp(g: Array, x: Array, bias: Array) -> tuple[Array, Array]:
    """dy = gelu_slope(x + bias) (dx + dbias)."""
    both = bias_gelu_grad(g, x, bias)
    return both, both


@composed
def bias_gelu_grad(g: Array, x: Array, bias: Array) -> Array:
    """g gelu_slope(x + bias)."""
    return g * gelu_slope(x + bias)
