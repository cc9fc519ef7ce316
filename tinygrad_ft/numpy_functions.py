"""Which op answers for which function of NumPy, under NumPy's names for its parameters: three tables.

`UFUNCS` and `METHODS` (np.add.reduce and its kin) for element-by-element functions, `FUNCTIONS` for all others. The
parameters of a row are those that have a counterpart.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, reduce
from math import inf
from typing import Any

import numpy as np

from tinygrad_ft import engine, ops
from tinygrad_ft.chain_rule import as_tensor
from tinygrad_ft.engine import Array, Value
from tinygrad_ft.notice import constant
from tinygrad_ft.ops import decompositions, determinants, distances, products
from tinygrad_ft.ops.arrange import BORDERS
from tinygrad_ft.ops.shape import axes_of

Table = dict[Any, Callable[..., Any]]


# ---------------------------------------------------------------- NumPy's meaning where ours differs


def as_array(x: Any) -> Any:
    """Lists become arrays."""
    return x if hasattr(x, "ndim") else np.asarray(x)


def _arrays(xs: Any) -> list[Any]:
    return [as_array(x) for x in xs]


def _along(f: Callable[..., Any]) -> Callable[..., Any]:
    """f(a, axis), where no axis means: of all elements in one row."""
    return lambda a, axis=None: f(ops.ravel(a), axis=0) if axis is None else f(a, axis=axis)


def _reduction(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda a, axis=None, *, keepdims=False: f(a, axis=axis, keepdims=keepdims)


def _first_axis(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda array, *, axis=0, keepdims=False: f(array, axis=axis, keepdims=keepdims)


def _spread(f: Callable[..., Any]) -> Callable[..., Any]:
    def spread(a: Array, axis: Any = None, *, ddof: float = 0, keepdims: bool = False, correction: Any = None) -> Array:
        return f(a, axis, correction=ddof if correction is None else correction, keepdims=keepdims)

    return spread


def _like(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda a, *args, dtype=None, shape=None: engine.Tensor(constant(f(a.array, *args, dtype=dtype, shape=shape)))


def _plain(f: Callable[..., Any]) -> Callable[..., Any]:
    """A function whose answers, truths and places, have no derivative: NumPy's, of the numbers; arrays as Tensors."""

    def plain(*args: Any, **params: Any) -> Any:
        y = f(*map(_number, args), **{name: _number(value) for name, value in params.items()})
        if isinstance(y, tuple):
            return tuple(map(engine.Tensor, y))
        return engine.Tensor(np.asarray(y)) if isinstance(y, np.ndarray | np.generic) else y

    return plain


def _number(x: Any) -> Any:
    return x.array if isinstance(x, Value) else x


def _median(a: Array, axis: Any = None, *, keepdims: bool = False) -> Array:
    """The mean of the two in the middle, NaN where one occurs."""
    axes = axes_of(axis, a.ndim)
    x = ops.movedim(a, axes, tuple(range(a.ndim - len(axes), a.ndim)))
    x = ops.sort(ops.reshape(x, (*x.shape[: a.ndim - len(axes)], -1))).values
    n = x.shape[-1]
    y = ops.where(x[..., -1] != x[..., -1], x[..., -1], (x[..., (n - 1) // 2] + x[..., n // 2]) * 0.5)
    return ops.reshape(y, tuple(1 if i in axes else m for i, m in enumerate(a.shape))) if keepdims else y


def _trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Array:
    return ops.trapezoid(as_array(y), None if x is None else as_array(x), dx=dx, axis=axis)


def _clip(a: Any, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None) -> Array:
    return ops.clamp(as_array(a), min if a_min is None else a_min, max if a_max is None else a_max)


def _round(a: Array, decimals: int = 0) -> Array:
    return ops.round(a, decimals=decimals)


def _squeeze(a: Array, axis: Any = None) -> Array:
    if axis is not None and any(a.shape[i] != 1 for i in axes_of(axis, a.ndim)):
        raise ValueError(f"np.squeeze takes away axes of length 1: got axis {axis} of {tuple(a.shape)}")
    return ops.squeeze(a, axis)


def _expand_dims(a: Array, axis: Any) -> Array:
    several = axis if isinstance(axis, tuple | list) else (axis,)
    for i in sorted(axes_of(tuple(several), a.ndim + len(several))):
        a = ops.unsqueeze(a, i)
    return a


def _broadcast_arrays(*args: Any) -> tuple[Array, ...]:
    xs = _arrays(args)
    return tuple(as_tensor(ops.broadcast_to(x, np.broadcast_shapes(*(y.shape for y in xs)))) for x in xs)


def _concatenate(arrays: Any, /, axis: int | None = 0) -> Array:
    xs = _arrays(arrays)
    return ops.cat(list(map(ops.ravel, xs))) if axis is None else ops.cat(xs, axis)


def _split(ary: Array, indices_or_sections: Any, axis: int = 0) -> list[Array]:
    if isinstance(indices_or_sections, int) and ary.shape[axis] % indices_or_sections:
        raise ValueError(f"np.split: {ary.shape[axis]} elements are not {indices_or_sections} equal parts")
    return list(ops.tensor_split(ary, indices_or_sections, axis))


def _atleast(ndim: int, f: Callable[[Any], Array]) -> Callable[..., Any]:
    """NumPy's atleast functions are the first step of its stacks, so a stack of one does the same."""

    def atleast(*arys: Any) -> Any:
        xs = tuple(as_tensor(x if x.ndim >= ndim else f([x])) for x in _arrays(arys))
        return xs if len(xs) > 1 else xs[0]

    return atleast


def _take(a: Array, indices: Any, axis: int | None = None) -> Array:
    x = ops.ravel(a) if axis is None else a
    return x[(slice(None),) * axes_of(axis or 0, x.ndim)[0] + (indices,)]


def _pad(array: Array, pad_width: Any, mode: str = "constant", *, constant_values: float = 0.0) -> Array:
    widths = np.broadcast_to(pad_width, (array.ndim, 2))[::-1].ravel().tolist()
    mode = {theirs: ours for ours, theirs in BORDERS.items()}.get(mode, mode)
    return ops.pad(array, widths, mode, constant_values if mode == "constant" else None)


def _meshgrid(*xi: Any, indexing: str = "xy") -> list[Array]:
    return list(map(as_tensor, ops.meshgrid(*_arrays(xi), indexing=indexing)))


def _dot(a: Any, b: Any) -> Array:
    a, b = as_array(a), as_array(b)
    if a.ndim == 0 or b.ndim == 0:
        return ops.mul(a, b)
    return ops.matmul(a, b) if b.ndim <= 2 else ops.tensordot(a, b, ([a.ndim - 1], [b.ndim - 2]))


def _outer(a: Any, b: Any) -> Array:
    return ops.outer(*map(ops.ravel, _arrays((a, b))))


def _vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Array:
    return ops.sum(ops.mul(x1, x2), axis=axis)


def _cov(
    m: Array, *, rowvar: bool = True, bias: bool = False, ddof: Any = None, fweights: Any = None, aweights: Any = None
) -> Array:
    free = (0 if bias else 1) if ddof is None else ddof
    weights = {name: as_array(w) for name, w in (("fweights", fweights), ("aweights", aweights)) if w is not None}
    return ops.cov(m if rowvar else ops.t(m), correction=free, **weights)


def _solve(a: Array, b: Array) -> Array:
    """b is a vector if it has one axis, else matrices: PyTorch reads some as many vectors."""
    a, b = as_array(a), as_array(b)
    return decompositions.solve(a, b if b.ndim == 1 else ops.reshape(b, (1,) * (a.ndim - b.ndim) + tuple(b.shape)))


def _cholesky(a: Array, /, *, upper: bool = False) -> Array:
    """NumPy reads the triangle that it is asked for; ours the mean of both."""
    return decompositions.cholesky(decompositions.mirrored(ops.transpose(a) if upper else a), upper=upper)


def _qr(a: Array, mode: str = "reduced") -> Any:
    qr = decompositions.qr(a, "reduced" if mode == "r" else mode)
    return qr.R if mode == "r" else qr


# ---------------------------------------------------------------- the tables

UFUNCS: Table = {
    np.add: ops.add, np.subtract: ops.sub, np.multiply: ops.mul, np.divide: ops.div, np.negative: ops.neg,
    np.positive: ops.clone, np.power: ops.pow, np.remainder: ops.remainder, np.fmod: ops.fmod, np.matmul: ops.matmul,
    np.floor_divide: partial(ops.div, rounding_mode="floor"),
    np.absolute: ops.abs, np.fabs: ops.abs, np.sign: ops.sign, np.square: ops.square, np.sqrt: ops.sqrt,
    np.reciprocal: ops.reciprocal, np.exp: ops.exp, np.exp2: ops.exp2, np.expm1: ops.expm1, np.log: ops.log,
    np.log2: ops.log2, np.log10: ops.log10, np.log1p: ops.log1p, np.logaddexp: ops.logaddexp,
    np.sin: ops.sin, np.cos: ops.cos, np.tan: ops.tan, np.arcsin: ops.asin, np.arccos: ops.acos, np.arctan: ops.atan,
    np.arctan2: ops.atan2, np.hypot: ops.hypot, np.sinh: ops.sinh, np.cosh: ops.cosh, np.tanh: ops.tanh,
    np.arcsinh: ops.asinh, np.arccosh: ops.acosh, np.arctanh: ops.atanh, np.degrees: ops.rad2deg,
    np.rad2deg: ops.rad2deg, np.radians: ops.deg2rad, np.deg2rad: ops.deg2rad,
    np.maximum: ops.maximum, np.minimum: ops.minimum, np.fmax: ops.fmax, np.fmin: ops.fmin, np.copysign: ops.copysign,
    np.floor: ops.floor, np.ceil: ops.ceil, np.trunc: ops.trunc, np.rint: ops.round,
    np.equal: ops.eq, np.not_equal: ops.ne, np.less: ops.lt, np.less_equal: ops.le, np.greater: ops.gt,
    np.greater_equal: ops.ge, np.logical_and: ops.logical_and, np.logical_or: ops.logical_or,
    np.logical_not: ops.logical_not, np.isfinite: ops.isfinite, np.vecdot: _vecdot,
    np.isnan: lambda x: ops.ne(x, x), np.isinf: lambda x: ops.eq(ops.abs(x), inf),
    np.bitwise_and: ops.bitwise_and, np.bitwise_or: ops.bitwise_or, np.invert: ops.bitwise_not,
}  # fmt: skip

METHODS: Table = {
    (np.add, "reduce"): _first_axis(ops.sum),
    (np.multiply, "reduce"): _first_axis(ops.prod),
    (np.maximum, "reduce"): _first_axis(ops.amax),
    (np.minimum, "reduce"): _first_axis(ops.amin),
    (np.logaddexp, "reduce"): _first_axis(ops.logsumexp),
    (np.add, "accumulate"): lambda array, *, axis=0: ops.cumsum(array, axis=axis),
    (np.multiply, "accumulate"): lambda array, *, axis=0: ops.cumprod(array, axis=axis),
    (np.logaddexp, "accumulate"): lambda array, *, axis=0: ops.logcumsumexp(array, axis=axis),
}

FUNCTIONS: Table = {
    # reductions and scans
    np.sum: _reduction(ops.sum), np.mean: _reduction(ops.mean), np.prod: _reduction(ops.prod),
    np.max: _reduction(ops.amax), np.amax: _reduction(ops.amax), np.min: _reduction(ops.amin),
    np.amin: _reduction(ops.amin), np.argmax: _reduction(ops.argmax), np.argmin: _reduction(ops.argmin),
    np.nansum: _reduction(ops.nansum), np.nanmean: _reduction(ops.nanmean),
    np.ptp: _reduction(lambda a, **params: ops.amax(a, **params) - ops.amin(a, **params)),
    np.nanprod: _reduction(lambda a, **params: ops.prod(ops.where(a != a, 1.0, a), **params)),
    np.median: _median,
    np.std: _spread(ops.std), np.var: _spread(ops.var),
    np.cumsum: _along(ops.cumsum), np.cumprod: _along(ops.cumprod),
    np.diff: lambda a, n=1, axis=-1: ops.diff(a, n, axis),
    np.trapezoid: _trapezoid,
    np.cov: _cov,
    np.corrcoef: lambda x, *, rowvar=True: ops.corrcoef(x if rowvar else ops.t(x)),
    # element by element
    np.where: lambda condition, x, y, /: ops.where(condition, x, y),
    np.clip: _clip, np.round: _round, np.around: _round, np.fix: lambda x: ops.trunc(x),
    np.nan_to_num: lambda x, *, nan=0.0, posinf=None, neginf=None: ops.nan_to_num(x, nan, posinf, neginf),
    np.sinc: lambda x: ops.sinc(x),
    np.copy: lambda a: ops.clone(a),
    np.zeros_like: _like(np.zeros_like), np.ones_like: _like(np.ones_like),
    np.empty_like: _like(np.empty_like), np.full_like: _like(np.full_like),
    # shapes
    np.reshape: lambda a, /, shape: ops.reshape(a, shape),
    np.ravel: lambda a: ops.ravel(a),
    np.transpose: lambda a, axes=None: ops.permute(a, tuple(range(a.ndim))[::-1] if axes is None else tuple(axes)),
    np.matrix_transpose: lambda x, /: ops.transpose(x),
    np.swapaxes: lambda a, axis1, axis2: ops.transpose(a, axis1, axis2),
    np.moveaxis: lambda a, source, destination: ops.movedim(a, source, destination),
    np.squeeze: _squeeze,
    np.expand_dims: _expand_dims,
    np.broadcast_to: lambda array, shape: ops.broadcast_to(array, (shape,) if isinstance(shape, int) else shape),
    np.broadcast_arrays: _broadcast_arrays,
    np.atleast_1d: _atleast(1, ops.hstack), np.atleast_2d: _atleast(2, ops.vstack),
    np.atleast_3d: _atleast(3, ops.dstack),
    # joining, cutting, repeating, ordering
    np.concatenate: _concatenate,
    np.append: lambda arr, values, axis=None: _concatenate((arr, values), axis),
    np.stack: lambda arrays, axis=0: ops.stack(_arrays(arrays), axis),
    np.hstack: lambda tup: ops.hstack(_arrays(tup)),
    np.vstack: lambda tup: ops.vstack(_arrays(tup)),
    np.dstack: lambda tup: ops.dstack(_arrays(tup)),
    np.column_stack: lambda tup: ops.column_stack(_arrays(tup)),
    np.split: _split,
    np.array_split: lambda ary, indices_or_sections, axis=0: list(ops.tensor_split(ary, indices_or_sections, axis)),
    np.hsplit: lambda ary, indices_or_sections: _split(ary, indices_or_sections, min(ary.ndim - 1, 1)),
    np.vsplit: lambda ary, indices_or_sections: _split(ary, indices_or_sections),
    np.dsplit: lambda ary, indices_or_sections: _split(ary, indices_or_sections, 2),
    np.tile: lambda A, reps: ops.tile(A, (reps,) if isinstance(reps, int) else tuple(reps)),
    np.repeat: lambda a, repeats, axis=None: ops.repeat_interleave(
        a, repeats if isinstance(repeats, int) else as_array(repeats), axis
    ),
    np.roll: lambda a, shift, axis=None: ops.roll(a, shift, axis),
    np.flip: lambda m, axis=None: ops.flip(m, axes_of(axis, m.ndim)),
    np.fliplr: lambda m: ops.fliplr(m),
    np.flipud: lambda m: ops.flipud(m),
    np.rot90: lambda m, k=1, axes=(0, 1): ops.rot90(m, k, axes),
    np.pad: _pad,
    np.meshgrid: _meshgrid,
    np.sort: lambda a, axis=-1, kind=None, *, stable=None: _along(lambda x, axis: ops.sort(x, axis).values)(a, axis),
    np.argsort: lambda a, axis=-1, kind=None, *, stable=None: _along(ops.argsort)(a, axis),
    np.take: _take,
    np.take_along_axis: lambda arr, indices, axis=-1: ops.take_along_dim(arr, as_array(indices), axis),
    np.tril: lambda m, k=0: ops.tril(m, k),
    np.triu: lambda m, k=0: ops.triu(m, k),
    np.diag: lambda v, k=0: ops.diag(v, k),
    np.diagonal: lambda a, offset=0, axis1=0, axis2=1: ops.diagonal(a, offset, axis1, axis2),
    np.trace: lambda a, offset=0, axis1=0, axis2=1: ops.sum(ops.diagonal(a, offset, axis1, axis2), axis=-1),
    # products and linear algebra
    np.dot: _dot,
    np.vdot: lambda a, b, /: ops.dot(*map(ops.ravel, _arrays((a, b)))),
    np.inner: lambda a, b, /: ops.inner(as_array(a), as_array(b)),
    np.outer: _outer,
    np.kron: lambda a, b: ops.kron(as_array(a), as_array(b)),
    np.cross: lambda a, b, *, axis=-1: products.linalg_cross(*_broadcast_arrays(a, b), axis),
    np.tensordot: lambda a, b, axes=2: ops.tensordot(as_array(a), as_array(b), axes),
    np.einsum: lambda subscripts, *operands, optimize=False: ops.einsum(subscripts, *_arrays(operands)),
    np.linalg.matmul: lambda x1, x2, /: ops.matmul(x1, x2),
    np.linalg.multi_dot: lambda arrays: reduce(ops.matmul, _arrays(arrays)),
    np.linalg.outer: lambda x1, x2, /: ops.outer(as_array(x1), as_array(x2)),
    np.linalg.cross: lambda x1, x2, /, *, axis=-1: products.linalg_cross(*_broadcast_arrays(x1, x2), axis),
    np.linalg.tensordot: lambda x1, x2, /, *, axes=2: ops.tensordot(as_array(x1), as_array(x2), axes),
    np.linalg.vecdot: _vecdot,
    np.linalg.matrix_transpose: lambda x, /: ops.transpose(x),
    np.linalg.diagonal: lambda x, /, *, offset=0: ops.diagonal(x, offset, -2, -1),
    np.linalg.trace: lambda x, /, *, offset=0: ops.sum(ops.diagonal(x, offset, -2, -1), axis=-1),
    np.linalg.det: lambda a: determinants.det(a),
    np.linalg.slogdet: lambda a: determinants.slogdet(a),
    np.linalg.matrix_power: lambda a, n: determinants.matrix_power(a, n),
    np.linalg.inv: lambda a: decompositions.inv(a),
    np.linalg.pinv: lambda a, rcond=1e-15, hermitian=False: determinants.pinv(a, rcond, hermitian=hermitian),
    np.linalg.solve: _solve,
    np.linalg.cholesky: _cholesky,
    np.linalg.qr: _qr,
    np.linalg.eigh: lambda a, UPLO="L": decompositions.eigh(a, UPLO),
    np.linalg.eigvalsh: lambda a, UPLO="L": decompositions.eigh(a, UPLO).eigenvalues,
    np.linalg.svd: lambda a, full_matrices=True, compute_uv=True: (
        decompositions.svd(a, full_matrices) if compute_uv else decompositions.svdvals(a)
    ),
    np.linalg.svdvals: lambda x, /: decompositions.svdvals(x),
    np.linalg.norm: lambda x, ord=None, axis=None, keepdims=False: distances.linalg_norm(x, ord, axis, keepdims),
    np.linalg.vector_norm: lambda x, /, *, axis=None, keepdims=False, ord=2: distances.vector_norm(
        x, ord, axis, keepdims
    ),
    np.linalg.matrix_norm: lambda x, /, *, keepdims=False, ord="fro": distances.matrix_norm(x, ord, keepdims=keepdims),
    # truths and places: no derivative
    np.shape: lambda a: a.shape,
    np.ndim: lambda a: a.ndim,
    np.size: lambda a, axis=None: np.size(a.array, axis),
    **{
        f: _plain(f)
        for f in (
            np.all, np.any, np.allclose, np.isclose, np.array_equal, np.array_equiv, np.argwhere, np.nonzero,
            np.count_nonzero, np.searchsorted, np.may_share_memory, np.shares_memory, np.result_type,
        )
    },
}  # fmt: skip
