"""What a Tensor takes over from the ops: its operators, and the methods that PyTorch's has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_ft import ops
from tinygrad_ft.engine import Op, Value
from tinygrad_ft.ops.index import HERE


def _operator(op: Op) -> Callable[[Any, Any], Any]:
    """An elementwise op of two inputs as an operator, which has no other arguments to look for."""

    def operator(a: Any, b: Any) -> Any:
        y = op.quick(a, b)
        return op(a, b) if y is NotImplemented else y

    return operator


class Operations(Value):
    """Operators and methods; each is the op of that name with this Tensor as its first input."""

    __slots__ = ()

    __hash__ = object.__hash__
    __add__ = __radd__ = _operator(ops.add)
    __mul__ = __rmul__ = _operator(ops.mul)
    __sub__, __truediv__, __pow__ = _operator(ops.sub), _operator(ops.div), _operator(ops.pow)
    __neg__, __abs__, __matmul__, __mod__ = ops.neg, ops.abs, ops.matmul, ops.remainder
    __lt__, __le__, __gt__, __ge__ = ops.lt, ops.le, ops.gt, ops.ge
    __and__ = __rand__ = ops.bitwise_and
    __or__ = __ror__ = ops.bitwise_or
    __invert__ = ops.bitwise_not

    def __eq__(self, other: Any) -> Any:
        return ops.eq(self, other)

    def __ne__(self, other: Any) -> Any:
        return ops.ne(self, other)

    def __rsub__(self, other: Any) -> Any:
        return ops.sub(other, self)

    def __rtruediv__(self, other: Any) -> Any:
        return ops.div(other, self)

    def __rpow__(self, other: Any) -> Any:
        return ops.pow(other, self)

    def __floordiv__(self, other: Any) -> Any:
        return ops.div(self, other, rounding_mode="floor")

    def __rfloordiv__(self, other: Any) -> Any:
        return ops.div(other, self, rounding_mode="floor")

    def __pos__(self) -> Any:
        return self

    def __rmod__(self, other: Any) -> Any:
        return ops.remainder(other, self)

    def __rmatmul__(self, other: Any) -> Any:
        return ops.matmul(other, self)

    def __getitem__(self, key: Any) -> Any:
        indices: list[Any] = []
        pattern: list[Any] = []
        k: Any
        for k in key if isinstance(key, tuple) else (key,):
            if isinstance(k, list | tuple | range | np.ndarray | Value):
                k = getattr(k, "array", k) if hasattr(k, "dtype") else np.asarray(k, dtype=None if k else np.intp)
                if k.dtype.kind not in "biu":
                    raise IndexError(f"an index must hold integers or booleans: got {k.dtype}")
                indices.append(k)
                k = HERE
            pattern.append(k)
        return ops.getitem(self, *indices, key=tuple(pattern))

    def __setitem__(self, key: Any, value: Any) -> None:
        raise TypeError(
            "a Tensor cannot be written into: its old numbers may be needed for a gradient. "
            "Build the new one with where(), cat() or stack(), or change .array of a constant."
        )

    # methods that are ops

    add, sub, mul, div, neg, pow, exp, log, sqrt = (
        ops.add, ops.sub, ops.mul, ops.div, ops.neg, ops.pow, ops.exp, ops.log, ops.sqrt,
    )  # fmt: skip
    sin, cos, tanh, sigmoid, relu, erf, abs, sign = (
        ops.sin, ops.cos, ops.tanh, ops.sigmoid, ops.relu, ops.erf, ops.abs, ops.sign,
    )  # fmt: skip
    maximum, minimum, clip, clamp = ops.maximum, ops.minimum, ops.clip, ops.clamp
    clamp_min, clamp_max, fmax, fmin, lerp = ops.clamp_min, ops.clamp_max, ops.fmax, ops.fmin, ops.lerp
    addcmul, addcdiv, nan_to_num, reciprocal = ops.addcmul, ops.addcdiv, ops.nan_to_num, ops.reciprocal
    square, rsqrt, exp2, expm1, log1p = ops.square, ops.rsqrt, ops.exp2, ops.expm1, ops.log1p
    log2, log10, logaddexp, logit, sinc = ops.log2, ops.log10, ops.logaddexp, ops.logit, ops.sinc
    tan, asin, acos, atan, atan2, hypot = ops.tan, ops.asin, ops.acos, ops.atan, ops.atan2, ops.hypot
    sinh, cosh, asinh, acosh, atanh = ops.sinh, ops.cosh, ops.asinh, ops.acosh, ops.atanh
    deg2rad, rad2deg, erfc, erfinv, xlogy = ops.deg2rad, ops.rad2deg, ops.erfc, ops.erfinv, ops.xlogy
    lgamma, digamma, floor, ceil, trunc = ops.lgamma, ops.digamma, ops.floor, ops.ceil, ops.trunc
    round, frac, fmod, remainder, copysign = ops.round, ops.frac, ops.fmod, ops.remainder, ops.copysign
    isfinite, matmul = ops.isfinite, ops.matmul
    sum, mean, var, std, max, min = ops.sum, ops.mean, ops.var, ops.std, ops.max, ops.min
    amax, amin, argmax, argmin = ops.amax, ops.amin, ops.argmax, ops.argmin
    logsumexp, softmax, log_softmax = ops.logsumexp, ops.softmax, ops.log_softmax
    transpose, squeeze, unsqueeze, flatten = ops.transpose, ops.squeeze, ops.unsqueeze, ops.flatten
    swapaxes, swapdims, moveaxis = ops.swapaxes, ops.swapdims, ops.moveaxis
    absolute, negative, multiply, subtract = ops.absolute, ops.negative, ops.multiply, ops.subtract
    divide, true_divide, fix = ops.divide, ops.true_divide, ops.fix
    arcsin, arccos, arctan, arctan2 = ops.arcsin, ops.arccos, ops.arctan, ops.arctan2
    arcsinh, arccosh, arctanh = ops.arcsinh, ops.arccosh, ops.arctanh
    eq, ne, lt, le, gt, ge = ops.eq, ops.ne, ops.lt, ops.le, ops.gt, ops.ge
    greater, greater_equal, less, less_equal = ops.greater, ops.greater_equal, ops.less, ops.less_equal
    not_equal, logical_and, logical_or, logical_not = ops.not_equal, ops.logical_and, ops.logical_or, ops.logical_not
    bitwise_and, bitwise_or, bitwise_not = ops.bitwise_and, ops.bitwise_or, ops.bitwise_not
    broadcast_to, split, gather = ops.broadcast_to, ops.split, ops.gather
    ravel, unflatten, movedim, t = ops.ravel, ops.unflatten, ops.movedim, ops.t
    chunk, tensor_split, unbind, narrow, select = ops.chunk, ops.tensor_split, ops.unbind, ops.narrow, ops.select
    take, take_along_dim, index_select, index_add = ops.take, ops.take_along_dim, ops.index_select, ops.index_add
    index_fill, index_put, masked_fill, masked_select = (
        ops.index_fill, ops.index_put, ops.masked_fill, ops.masked_select,
    )  # fmt: skip
    scatter, scatter_add, scatter_reduce = ops.scatter, ops.scatter_add, ops.scatter_reduce
    fliplr, flipud, rot90, roll, repeat = ops.fliplr, ops.flipud, ops.rot90, ops.roll, ops.repeat
    repeat_interleave, tril, triu, unfold = ops.repeat_interleave, ops.tril, ops.triu, ops.unfold
    diag, diagonal, diag_embed, diff = ops.diag, ops.diagonal, ops.diag_embed, ops.diff
    argsort, sort, topk, median = ops.argsort, ops.sort, ops.topk, ops.median
    prod, cumsum, cumprod, logcumsumexp = ops.prod, ops.cumsum, ops.cumprod, ops.logcumsumexp
    nansum, nanmean, norm, dist = ops.nansum, ops.nanmean, ops.norm, ops.dist

    mm, bmm, mv, dot, outer, inner = ops.mm, ops.bmm, ops.mv, ops.dot, ops.outer, ops.inner
    addmm, baddbmm, kron, cross, trace = ops.addmm, ops.baddbmm, ops.kron, ops.cross, ops.trace
    det, slogdet, matrix_power, cholesky_solve = ops.det, ops.slogdet, ops.matrix_power, ops.cholesky_solve
    cov, corrcoef = ops.cov, ops.corrcoef

    def reshape(self, *numbers: Any, shape: Any = None) -> Any:
        """The same elements in a new shape, given as numbers or as one tuple."""
        return ops.reshape(self, shape=shape or one_tuple(numbers))

    view = reshape

    def permute(self, *axes: Any, dims: Any = None) -> Any:
        """The axes in another order, given as numbers or as one tuple."""
        return ops.permute(self, axes=dims or one_tuple(axes))

    def expand(self, *shape: Any) -> Any:
        """Repeated along axes of length 1; -1 keeps a length."""
        return ops.broadcast_to(self, one_tuple(shape))

    def where(self, condition: Any, other: Any) -> Any:
        """Itself where the condition holds, the other elsewhere."""
        return ops.where(condition, self, other)

    def flip(self, *axes: Any, dims: Any = None) -> Any:
        """Read backwards along those axes, given as numbers or as one tuple."""
        return ops.flip(self, dims or one_tuple(axes))

    def tile(self, *times: Any, dims: Any = None) -> Any:
        """Repeated along those axes, counted from the last, as often as the numbers or one tuple of them say."""
        return ops.tile(self, dims or one_tuple(times))

    @property
    def T(self) -> Any:
        """The axes in reverse order."""
        return ops.permute(self, axes=tuple(reversed(range(self.ndim))))

    @property
    def mT(self) -> Any:
        """The last two axes exchanged."""
        return ops.transpose(self)


def one_tuple(numbers: tuple[Any, ...]) -> tuple[int, ...]:
    """Lengths or axes, which may be given as numbers or as one tuple."""
    return tuple(numbers[0]) if len(numbers) == 1 and isinstance(numbers[0], tuple | list) else numbers
