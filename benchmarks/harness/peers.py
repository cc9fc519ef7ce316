"""The other libraries, each brought to one small vocabulary in which a benchmark states its work once.

What a library has ready, fused or not, is taken from it; what it lacks is composed of its own functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any
from warnings import catch_warnings

import numpy as np

from benchmarks.harness.contender import Running

Loss = Callable[..., Any]
Differentiated = Callable[[Sequence[Any]], tuple[Any, list[Any]]]


class Engine:
    """A library with NumPy's names, in `xp`, and gradients."""

    xp: Any

    def __getattr__(self, name: str) -> Any:
        return getattr(self.xp, name)

    def constant(self, array: Any) -> Any:
        """An input."""
        return array

    def relu(self, x: Any) -> Any:
        """max(x, 0)."""
        return self.xp.maximum(x, 0.0)

    def gelu(self, x: Any) -> Any:
        """GELU by the error function, or by tanh in a library that has none."""
        u = (x + 0.044715 * (x * x * x)) * math.sqrt(2 / math.pi)
        return 0.5 * x * (1.0 + self.xp.tanh(u))

    def softmax(self, x: Any) -> Any:
        """Over the last axis."""
        e = self.xp.exp(x - self.xp.max(x, axis=-1, keepdims=True))
        return e / self.xp.sum(e, axis=-1, keepdims=True)

    def layer_norm(self, x: Any, weight: Any) -> Any:
        """Over the last axis, without a shift."""
        z = x - self.xp.mean(x, axis=-1, keepdims=True)
        return z / self.xp.sqrt(self.xp.mean(z * z, axis=-1, keepdims=True) + 1e-5) * weight

    def cross_entropy(self, logits: Any, targets: Any) -> Any:
        """Mean over the rows."""
        raise NotImplementedError

    def conv1d(self, x: Any, weight: Any) -> Any:
        """x (n, length, channels), weight (outputs, channels, k) -> (n, length - k + 1, outputs)."""
        k = weight.shape[2]
        places = x.shape[1] - k + 1
        windows = self.xp.concatenate([x[:, j : j + places] for j in range(k)], axis=-1)
        rows = self.xp.reshape(self.xp.transpose(weight, (2, 1, 0)), (-1, weight.shape[0]))
        return self.xp.matmul(windows, rows)

    def value_and_grad(self, loss_of: Loss) -> Differentiated:
        """From the parameters, arrays, to (the loss, its gradients)."""
        raise NotImplementedError

    def training(self, loss_of: Loss, parameters: list[Any], update: Any) -> Running:
        """A training step of the parameters, which are updated in place."""
        differentiate = self.value_and_grad(loss_of)

        def step() -> Any:
            loss, gradients = differentiate(parameters)
            update(parameters, gradients)
            return loss

        return Running(step, lambda loss: [float(np.asarray(loss).sum())])


class MyGrad(Engine):
    """MyGrad, its guard against writing into arrays in use off, as its manual advises for speed."""

    def __init__(self) -> None:
        import mygrad
        from mygrad.nnet import activations, layers, losses

        mygrad.turn_memory_guarding_off()
        self.xp, self.relu, self._losses, self._layers = mygrad, activations.relu, losses, layers
        self.softmax = lambda x: activations.softmax(x, axis=-1)

    def cross_entropy(self, logits: Any, targets: Any) -> Any:
        return self._losses.softmax_crossentropy(logits, targets)

    def conv1d(self, x: Any, weight: Any) -> Any:
        y = self._layers.conv_nd(self.xp.swapaxes(x, 1, 2), weight, stride=1)
        return self.xp.swapaxes(y, 1, 2)

    def value_and_grad(self, loss_of: Loss) -> Differentiated:
        def differentiated(parameters: Sequence[Any]) -> tuple[Any, list[Any]]:
            tensors = [self.xp.tensor(p, copy=False) for p in parameters]
            loss = loss_of(*tensors)
            loss.backward()
            return loss.data, [t.grad for t in tensors]

        return differentiated


class Autograd(Engine):
    """HIPS autograd."""

    def __init__(self) -> None:
        from autograd import numpy, value_and_grad
        from autograd.scipy.special import erf, logsumexp

        self.xp, self._differentiated, self._erf, self._logsumexp = numpy, value_and_grad, erf, logsumexp

    def gelu(self, x: Any) -> Any:
        return 0.5 * x * (1.0 + self._erf(x * math.sqrt(0.5)))

    def cross_entropy(self, logits: Any, targets: Any) -> Any:
        rows = self.xp.arange(len(targets))
        return self.xp.mean(self._logsumexp(logits, axis=1) - logits[rows, targets])

    def value_and_grad(self, loss_of: Loss) -> Differentiated:
        run = self._differentiated(lambda parameters: loss_of(*parameters))
        return lambda parameters: run(list(parameters))


class Jax(Engine):
    """JAX, the whole step jitted, as its users write it."""

    def __init__(self) -> None:
        import jax

        jax.config.update("jax_platforms", "cpu")
        self.jax, self.xp = jax, jax.numpy
        self.relu = jax.nn.relu
        self.softmax = jax.nn.softmax

    def gelu(self, x: Any) -> Any:
        return self.jax.nn.gelu(x, approximate=False)

    def cross_entropy(self, logits: Any, targets: Any) -> Any:
        rows = self.xp.arange(len(targets))
        return -self.xp.mean(self.jax.nn.log_softmax(logits)[rows, targets])

    def conv1d(self, x: Any, weight: Any) -> Any:
        names = ("NHC", "OIH", "NHC")
        return self.jax.lax.conv_general_dilated(x, weight, (1,), "VALID", dimension_numbers=names)

    def value_and_grad(self, loss_of: Loss) -> Differentiated:
        run = self.jax.jit(self.jax.value_and_grad(lambda parameters: loss_of(*parameters)))
        return lambda parameters: self.jax.block_until_ready(run(list(parameters)))  # type: ignore[no-any-return]

    def training(self, loss_of: Loss, parameters: list[Any], update: Any) -> Running:
        differentiate = self.jax.value_and_grad(lambda parameters: loss_of(*parameters))

        def stepped(state: Any) -> Any:
            parameters, kept, t = state
            loss, gradients = differentiate(parameters)
            gradients = update.clipped(self.xp, gradients)
            rows = zip(parameters, gradients, kept, strict=True)
            new = [update.new(self.xp, p, g, k, t) for p, g, k in rows]
            return loss, ([p for p, _ in new], [k for _, k in new], t + 1.0)

        run = self.jax.jit(stepped, donate_argnums=0)
        parameters = [self.xp.asarray(p) for p in parameters]
        kept = [tuple(self.xp.zeros_like(p) for _ in range(update.state)) for p in parameters]
        state = [(parameters, kept, self.xp.float32(1.0))]

        def step() -> Any:
            loss, state[0] = self.jax.block_until_ready(run(state[0]))
            return loss

        return Running(step, lambda loss: [float(loss)])


class DeZero(Engine):
    """DeZero; it has no product of more than two axes, so neither attention nor a convolution of one axis."""

    def __init__(self) -> None:
        np.int = int  # type: ignore[attr-defined]  # its last version was written for NumPy 1, which had this name
        import dezero

        self.xp, self._variable = dezero.functions, dezero.Variable

    def relu(self, x: Any) -> Any:
        return self.xp.relu(x)

    def cross_entropy(self, logits: Any, targets: Any) -> Any:
        return self.xp.softmax_cross_entropy(logits, targets)

    def value_and_grad(self, loss_of: Loss) -> Differentiated:
        def differentiated(parameters: Sequence[Any]) -> tuple[Any, list[Any]]:
            variables = [self._variable(p) for p in parameters]
            loss = loss_of(*variables)
            loss.backward()
            return loss.data, [v.grad.data for v in variables]

        return differentiated


class PyDyNet(Engine):
    """PyDyNet."""

    def __init__(self) -> None:
        with catch_warnings(action="ignore"):  # that there is no CuPy
            import pydynet
            from pydynet.nn import functional

        self.xp, self._functional = pydynet, functional

    def constant(self, array: Any) -> Any:
        return self.xp.Tensor(array)

    def relu(self, x: Any) -> Any:
        return self._functional.relu(x)

    def cross_entropy(self, logits: Any, targets: Any) -> Any:
        return self._functional.cross_entropy_loss(logits, self.xp.Tensor(targets))

    def value_and_grad(self, loss_of: Loss) -> Differentiated:
        def differentiated(parameters: Sequence[Any]) -> tuple[Any, list[Any]]:
            tensors = [self.xp.Tensor(p, requires_grad=True, copy=False) for p in parameters]
            loss = loss_of(*tensors)
            loss.backward()
            return loss.data, [t.grad for t in tensors]

        return differentiated


ENGINES: dict[str, type[Engine]] = {
    "mygrad": MyGrad,
    "autograd": Autograd,
    "jax": Jax,
    "dezero": DeZero,
    "pydynet": PyDyNet,
}


def engine(name: str) -> Engine:
    """The library of that name, ready."""
    if name == "tinygrad":
        return import_module("benchmarks.harness.tinygrad_engine").TinyGrad()  # type: ignore[no-any-return]
    return ENGINES[name]()
