"""Initial values for parameters, written in place. Names and meaning are those of `torch.nn.init`."""

from __future__ import annotations

from math import prod, sqrt
from typing import Any

from tinygrad_ft.ops.random import Rng, generator
from tinygrad_ft.tensor import Tensor

GAINS = {"linear": 1.0, "sigmoid": 1.0, "tanh": 5.0 / 3.0, "relu": sqrt(2.0)}


def calculate_gain(nonlinearity: str, slope: float = 0.01) -> float:
    """How much larger weights must be so that the nonlinearity after them leaves the variance as it was."""
    if nonlinearity == "leaky_relu":
        return sqrt(2.0 / (1.0 + slope * slope))
    if nonlinearity not in GAINS:
        raise ValueError(f"no gain is known for {nonlinearity!r}: known are leaky_relu, {', '.join(GAINS)}")
    return GAINS[nonlinearity]


def _fans(x: Tensor) -> tuple[int, int]:
    """How many inputs feed an output and how many outputs an input feeds, for a weight (outputs, inputs, ...)."""
    if x.ndim < 2:
        raise ValueError(
            f"the number of inputs and outputs is read off a weight (outputs, inputs, ...): got shape {x.shape}"
        )
    field = prod(x.shape[2:])
    return x.shape[1] * field, x.shape[0] * field


def _fill(x: Tensor, values: Any) -> Tensor:
    x.array[...] = values
    return x


def constant_(x: Tensor, value: float) -> Tensor:
    """One value everywhere."""
    return _fill(x, value)


def zeros_(x: Tensor) -> Tensor:
    """Zeros."""
    return _fill(x, 0.0)


def ones_(x: Tensor) -> Tensor:
    """Ones."""
    return _fill(x, 1.0)


def uniform_(x: Tensor, a: float = 0.0, b: float = 1.0, rng: Rng = None) -> Tensor:
    """Uniform from a to b."""
    return _fill(x, generator(rng).uniform(a, b, x.shape))


def normal_(x: Tensor, mean: float = 0.0, std: float = 1.0, rng: Rng = None) -> Tensor:
    """Normal."""
    return _fill(x, generator(rng).normal(mean, std, x.shape))


def xavier_uniform_(x: Tensor, gain: float = 1.0, rng: Rng = None) -> Tensor:
    """Uniform with variance gain^2 2 / (inputs + outputs), between keeping activations and keeping gradients level.

    Source: Glorot and Bengio, "Understanding the difficulty of training deep feedforward networks", 2010, eq. 16.
    """
    bound = gain * sqrt(6.0 / sum(_fans(x)))
    return uniform_(x, -bound, bound, rng)


def xavier_normal_(x: Tensor, gain: float = 1.0, rng: Rng = None) -> Tensor:
    """Normal with variance gain^2 2 / (inputs + outputs); see `xavier_uniform_`."""
    return normal_(x, 0.0, gain * sqrt(2.0 / sum(_fans(x))), rng)


def _he_std(x: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"mode is 'fan_in' or 'fan_out': got {mode!r}")
    return calculate_gain(nonlinearity, a) / sqrt(_fans(x)[mode == "fan_out"])


def kaiming_uniform_(
    x: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", rng: Rng = None
) -> Tensor:
    """Uniform with variance gain^2 / inputs, which keeps activations level through ReLUs.

    Args:
        a: the slope of a leaky ReLU for x < 0; 0 is a plain ReLU.

    Source: He et al., "Delving Deep into Rectifiers", 2015, section 2.2.
    """
    bound = sqrt(3.0) * _he_std(x, a, mode, nonlinearity)
    return uniform_(x, -bound, bound, rng)


def kaiming_normal_(
    x: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", rng: Rng = None
) -> Tensor:
    """Normal with variance gain^2 / inputs; see `kaiming_uniform_`."""
    return normal_(x, 0.0, _he_std(x, a, mode, nonlinearity), rng)
