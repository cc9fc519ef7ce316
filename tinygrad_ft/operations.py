"""What a Tensor takes over from the ops: its operators, and the methods that PyTorch's has."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ft import ops
from tinygrad_ft.engine import Value
from tinygrad_ft.ops.index import HERE


class Operations(Value):
    """Operators and methods; each is the op of that name with this Tensor as its first input."""

    __slots__ = ()

    __hash__ = object.__hash__
    __add__ = __radd__ = ops.add
    __mul__ = __rmul__ = ops.mul
    __sub__, __truediv__, __pow__, __neg__, __abs__ = ops.sub, ops.div, ops.pow, ops.neg, ops.abs
    __matmul__ = ops.matmul
    __lt__, __le__, __gt__, __ge__ = ops.lt, ops.le, ops.gt, ops.ge
    __and__ = __rand__ = ops.logical_and
    __or__ = __ror__ = ops.logical_or
    __invert__ = ops.logical_not

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

    def __rmatmul__(self, other: Any) -> Any:
        return ops.matmul(other, self)

    def __getitem__(self, key: Any) -> Any:
        indices: list[Any] = []
        pattern = []
        for k in key if isinstance(key, tuple) else (key,):
            if isinstance(k, list | np.ndarray | Value):
                k = np.asarray(k, dtype=None if k else np.intp) if isinstance(k, list) else getattr(k, "array", k)
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
    __mod__ = ops.remainder
    isfinite, matmul = ops.isfinite, ops.matmul
    sum, mean, var, std, max, min = ops.sum, ops.mean, ops.var, ops.std, ops.max, ops.min
    amax, amin, argmax, argmin = ops.amax, ops.amin, ops.argmax, ops.argmin
    logsumexp, softmax, log_softmax = ops.logsumexp, ops.softmax, ops.log_softmax
    transpose, squeeze, unsqueeze, flatten = ops.transpose, ops.squeeze, ops.unsqueeze, ops.flatten
    swapaxes = ops.transpose
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

    def reshape(self, *shape: Any) -> Any:
        """The same elements in a new shape, given as numbers or as one tuple."""
        return ops.reshape(self, shape=one_tuple(shape))

    view = reshape

    def permute(self, *axes: Any) -> Any:
        """The axes in another order, given as numbers or as one tuple."""
        return ops.permute(self, axes=one_tuple(axes))

    def expand(self, *shape: Any) -> Any:
        """Repeated along axes of length 1; -1 keeps a length."""
        return ops.broadcast_to(self, one_tuple(shape))

    def flip(self, *dims: Any) -> Any:
        """Read backwards along those axes, given as numbers or as one tuple."""
        return ops.flip(self, one_tuple(dims))

    def tile(self, *dims: Any) -> Any:
        """Repeated along those axes, counted from the last, as often as the numbers or one tuple of them say."""
        return ops.tile(self, one_tuple(dims))

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
