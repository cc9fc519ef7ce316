"""Products composed of `matmul` and broadcasting, and einsum, which names the axes that meet."""

from __future__ import annotations

from math import nan, prod
from string import ascii_letters
from typing import Any

from tinygrad_ft.chain_rule import cast
from tinygrad_ft.device import at_hand
from tinygrad_ft.engine import Array, op
from tinygrad_ft.ops.arithmetic import clip
from tinygrad_ft.ops.arrange import diagonal, roll
from tinygrad_ft.ops.composed import composed
from tinygrad_ft.ops.functions import sqrt
from tinygrad_ft.ops.linalg import matmul
from tinygrad_ft.ops.reduce import HALF, in_float32, sum
from tinygrad_ft.ops.shape import axes_of, permute, reshape, squeeze, unsqueeze

__all__ = [
    "addmm", "baddbmm", "bmm", "corrcoef", "cov", "cross", "dot", "einsum", "inner", "kron", "mm", "mv", "outer",
    "tensordot", "trace",
]  # fmt: skip


def _with_axes(name: str, *wanted: tuple[Array, int]) -> None:
    if any(x.ndim != n for x, n in wanted):
        needed, got = ", ".join(str(n) for _, n in wanted), ", ".join(str(tuple(x.shape)) for x, _ in wanted)
        raise ValueError(f"{name} needs arrays of {needed} axes: got {got}")


@composed
def mm(input: Array, mat2: Array) -> Array:
    """The product of two matrices."""
    _with_axes("mm", (input, 2), (mat2, 2))
    return matmul(input, mat2)


@composed
def bmm(input: Array, mat2: Array) -> Array:
    """The products of two equally long rows of matrices: y[i] = a[i] b[i]."""
    _with_axes("bmm", (input, 3), (mat2, 3))
    if input.shape[0] != mat2.shape[0]:
        raise ValueError(f"bmm needs as many matrices on both sides: got {tuple(input.shape)} and {tuple(mat2.shape)}")
    return matmul(input, mat2)


@composed
def mv(input: Array, vec: Array) -> Array:
    """A matrix times a vector."""
    _with_axes("mv", (input, 2), (vec, 1))
    return matmul(input, vec)


@composed
def dot(input: Array, tensor: Array) -> Array:
    """The sum of the products of two vectors' elements."""
    _with_axes("dot", (input, 1), (tensor, 1))
    if tuple(input.shape) != tuple(tensor.shape):
        raise ValueError(f"dot needs vectors of one length: got {input.shape[0]} and {tensor.shape[0]} numbers")
    return matmul(input, tensor)


@composed
def outer(input: Array, vec2: Array) -> Array:
    """y[i, j] = a[i] b[j] of two vectors."""
    _with_axes("outer", (input, 1), (vec2, 1))
    return unsqueeze(input, -1) * vec2


@composed
def inner(input: Array, other: Array) -> Array:
    """The sum of products over the last axes: y[i.., j..] = sum_k a[i.., k] b[j.., k]; a number just multiplies."""
    return tensordot(input, other, ([-1], [-1])) if input.ndim and other.ndim else input * other


@composed
def addmm(input: Array, mat1: Array, mat2: Array, *, beta: float = 1, alpha: float = 1) -> Array:
    """beta x + alpha a b, for x that broadcasts to the product of two matrices."""
    return _added("addmm", input, mm(mat1, mat2), beta, alpha)


@composed
def baddbmm(input: Array, batch1: Array, batch2: Array, *, beta: float = 1, alpha: float = 1) -> Array:
    """beta x[i] + alpha a[i] b[i], for x that broadcasts to the products of two rows of matrices."""
    return _added("baddbmm", input, bmm(batch1, batch2), beta, alpha)


def _added(name: str, x: Array, product: Array, beta: float, alpha: float) -> Array:
    y = beta * x + alpha * product if beta else alpha * product  # with beta 0, x counts for nothing, even if it is NaN
    if tuple(y.shape) != tuple(product.shape):
        raise ValueError(f"{name}: input {tuple(x.shape)} does not broadcast to the product {tuple(product.shape)}")
    return y


@composed
def tensordot(a: Array, b: Array, dims: Any = 2) -> Array:
    """The sum of products over some axes of a and as many of b: a pair of lists of them, or how many last and first."""
    if isinstance(dims, int):
        if not 0 <= dims <= min(a.ndim, b.ndim):
            raise ValueError(
                f"tensordot over {dims} axes needs as many in both: got {tuple(a.shape)}, {tuple(b.shape)}"
            )
        dims = range(a.ndim - dims, a.ndim), range(dims)
    of_a, of_b = axes_of(tuple(dims[0]), a.ndim), axes_of(tuple(dims[1]), b.ndim)
    for i, j in zip(of_a, of_b, strict=True):  # a length of 1 broadcasts
        a, b = sum(a, i, True) if b.shape[j] == 1 else a, sum(b, j, True) if a.shape[i] == 1 else b
    met = [a.shape[i] for i in of_a]
    if met != [b.shape[i] for i in of_b]:
        raise ValueError(f"tensordot: axes {of_a} of {tuple(a.shape)} and {of_b} of {tuple(b.shape)} differ in length")
    left, right = ([i for i in range(x.ndim) if i not in axes] for x, axes in ((a, of_a), (b, of_b)))
    rows, columns = [a.shape[i] for i in left], [b.shape[i] for i in right]
    y = matmul(
        reshape(permute(a, (*left, *of_a)), (prod(rows), prod(met))),
        reshape(permute(b, (*of_b, *right)), (prod(met), prod(columns))),
    )
    return reshape(y, (*rows, *columns))


@composed
def kron(input: Array, other: Array) -> Array:
    """Kronecker's product: every element of a times the whole of b, block by block."""
    ndim = max(input.ndim, other.ndim)
    a, b = ((1,) * (ndim - x.ndim) + tuple(x.shape) for x in (input, other))
    blocks = reshape(input, tuple(m for n in a for m in (n, 1))) * reshape(other, tuple(m for n in b for m in (1, n)))
    return reshape(blocks, tuple(n * m for n, m in zip(a, b, strict=True)))


@composed
def trace(input: Array) -> Array:
    """The sum of the diagonal of a matrix."""
    _with_axes("trace", (input, 2))
    return sum(diagonal(input))


@composed
def cross(input: Array, other: Array, axis: int | None = None) -> Array:
    """The vector product along an axis of length 3, the first such unless told."""
    if axis is None:
        axis = next((i for i, n in enumerate(input.shape) if n == 3), -1)
    return linalg_cross(input, other, axis)


@composed
def linalg_cross(input: Array, other: Array, axis: int = -1) -> Array:
    """The vector product along an axis of length 3: y_0 = a_1 b_2 - a_2 b_1, and so on around."""
    if input.ndim != other.ndim or not input.ndim:
        raise ValueError(f"cross needs as many axes in both: got {tuple(input.shape)} and {tuple(other.shape)}")
    at = axes_of(axis, input.ndim)[0]
    if input.shape[at] != 3 or other.shape[at] != 3:
        raise ValueError(f"cross needs 3 numbers along axis {axis}: got {tuple(input.shape)} and {tuple(other.shape)}")
    return roll(input, -1, at) * roll(other, 1, at) - roll(input, 1, at) * roll(other, -1, at)


@composed
def cov(input: Array, *, correction: int = 1, fweights: Array = None, aweights: Array = None) -> Array:
    """How the rows (variables) of x vary together over its columns (observations): the matrix of covariances.

    fweights says how often each observation was made, aweights how much it counts; n - correction is the denominator.
    """
    if input.ndim > 2:
        raise ValueError(f"cov needs variables in rows and observations in columns: got {tuple(input.shape)}")
    x = reshape(input, (1, -1)) if input.ndim < 2 else input
    _check_weights(x.shape[1], fweights, aweights)
    dtype = x.dtype if aweights is None else aweights.dtype
    w = fweights if fweights is None else cast(fweights, dtype=dtype)
    w = w if aweights is None else aweights if w is None else w * aweights
    if w is None:
        w, total, left = 1.0, x.shape[1], max(x.shape[1] - correction, 0)
    else:
        total = sum(w)
        left = total - correction * (1 if aweights is None else sum(w * aweights) / total)
        left = clip(left, min=0)
    d = x - sum(x * w, axis=1, keepdims=True) / _or_nan(total)
    c = matmul(d * w, d.swapaxes(0, 1)) / _or_nan(left)
    return squeeze(c) if c.shape == (1, 1) else c


def _or_nan(n: Any) -> Any:
    return (n or nan) if isinstance(n, int) else n


def _check_weights(observations: int, fweights: Array, aweights: Array) -> None:
    for name, w, kinds in (("fweights", fweights, "iu"), ("aweights", aweights, "f")):
        if w is None:
            continue
        if tuple(w.shape) != (observations,) or w.dtype.kind not in kinds:
            what = "integers" if kinds == "iu" else "floating-point numbers"
            raise ValueError(f"cov needs {name} of {observations} {what}: got {tuple(w.shape)} of {w.dtype}")
        if at_hand(w) and (w < 0).any():
            raise ValueError(f"cov needs {name} of 0 or more: some are negative")


@composed
def corrcoef(input: Array) -> Array:
    """The covariances of the rows, each divided by both standard deviations: from -1 to 1."""
    c = cov(input)
    if c.ndim == 0:
        return c / c
    deviations = sqrt(diagonal(c))
    return clip(c / unsqueeze(deviations, 1) / deviations, min=-1.0, max=1.0)


@composed
def einsum(equation: str, *operands: Any) -> Array:
    """The sum of products that an equation names, as "ij,jk->ik": axes of one letter meet, those not in y are summed.

    "..." stands for all axes without a letter; without "->", y has the letters that occur once, in alphabetical order.
    """
    xs = list(operands[0]) if len(operands) == 1 and isinstance(operands[0], list | tuple) else list(operands)
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(xs):
        raise ValueError(f"einsum: {equation!r} names {len(terms)} operands, and {len(xs)} were given")
    if bad := [c for c in (left + right).replace("...", "") if c not in ascii_letters + ","]:
        raise ValueError(f"einsum: an equation holds letters, ',', '->' and '...': {equation!r} holds {bad[0]!r}")
    spare = [c for c in ascii_letters if c not in equation]
    rest = [x.ndim - len(term.replace("...", "")) for term, x in zip(terms, xs, strict=True)]
    for term, x, n in zip(terms, xs, rest, strict=True):
        if n < 0 or (n and "..." not in term):
            raise ValueError(f"einsum: {term!r} in {equation!r} does not fit an operand of shape {tuple(x.shape)}")
    most = max(rest)
    dots = "".join(spare[:most])
    terms = [term.replace("...", dots[most - n :]) for term, n in zip(terms, rest, strict=True)]
    once = sorted(c for c in set(left) if c.isalpha() and left.count(c) == 1)
    y = right.replace("...", dots) if arrow else dots + "".join(once)
    if unknown := [c for c in y if y.count(c) > 1 or not any(c in term for term in terms)]:
        raise ValueError(f"einsum: the answer of {equation!r} needs each letter once, from the left: {unknown[0]!r}")
    lone = [_without_repeats(term, x) for term, x in zip(terms, xs, strict=True)]
    for c in sorted(set("".join(terms))):
        met = [x.shape[term.index(c)] for term, x in lone if c in term]
        if len({*met, 1}) > 2:
            raise ValueError(f"einsum: axes of one letter, {c!r} in {equation!r}, differ in length: {met}")
    return contract(*(x for _, x in lone), equation=",".join(term for term, _ in lone) + "->" + y)


def _without_repeats(term: str, x: Array) -> tuple[str, Array]:
    """A term like "iij" as "ij", with the diagonal of x."""
    for c in sorted(set(term)):
        while term.count(c) > 1:
            i, j = [k for k, other in enumerate(term) if other == c][:2]
            if x.shape[i] != x.shape[j]:
                raise ValueError(f"einsum: axes of one letter, {c!r}, differ in length: {tuple(x.shape)}")
            others = [k for k in range(len(term)) if k not in (i, j)]
            x, term = diagonal(x, 0, i, j), "".join(term[k] for k in others) + c
    return term, x


@op
def contract(xp: Any, *xs: Array, equation: str) -> Array:
    """einsum without "...", in whose terms no letter is repeated; a length of 1 broadcasts."""
    if any(x.dtype == HALF for x in xs):
        return in_float32(contract, xp, *xs, equation=equation)
    terms = zip(equation.split(","), xs, strict=True)
    work = prod({c: n for term, x in terms for c, n in zip(term, x.shape, strict=False)}.values())
    # With a plan, BLAS multiplies: 7 times as quick for two matrices of 500 x 500; for less work than this, the plan
    # itself takes longer (30 us; NumPy 2.4, 1 core)
    return xp.einsum(equation, *xs, optimize=len(xs) > 2 or work > 2**16)


@contract.vjp
def contract_vjp(g: Array, xs: list[Array], *, equation: str) -> tuple[Any, ...]:
    """For each operand the contraction of g with the others; a letter of it alone was summed, so g spreads over it."""
    left, y = equation.split("->")
    terms = left.split(",")

    def gx(i: int) -> Array:
        others = [k for k in range(len(xs)) if k != i]
        given = [y, *(terms[k] for k in others)]
        found = "".join(c for c in terms[i] if any(c in term for term in given))
        part = contract(g, *(xs[k] for k in others), equation=",".join(given) + "->" + found)
        lengths = dict(zip(found, part.shape, strict=True))
        return reshape(part, tuple(lengths.get(c, 1) for c in terms[i]))

    return tuple(lambda i=i: gx(i) for i in range(len(xs)))
