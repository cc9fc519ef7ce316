"""PyTorch's own test cases (its op_db) run through our functions: values, first and second derivatives, errors."""

import warnings
from functools import cache

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

import tinygrad_ft as tg

TOLERANCE = 1e-9  # of the largest element of what PyTorch answers


@cache
def opinfos():
    """{name: PyTorch's descriptions of that op, one a variant}."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.testing._internal.common_methods_invocations import op_db
    found = {}
    for info in op_db:
        found.setdefault(info.name, []).append(info)
    return found


class TheirDraw:
    """Draws for our dropout that drop what PyTorch's drops in op_db, which seeds it so."""

    def __init__(self, p):
        self.p = p

    def random(self, shape, dtype):
        torch.manual_seed(42)
        stays = torch.nn.functional.dropout(torch.ones(shape, dtype=torch.float64), self.p) != 0
        return stays.numpy().astype(dtype)


def dropout(x, p=0.5, training=True):
    return tg.nn.functional.dropout(x, p, training, rng=TheirDraw(p))


def attention(*inputs, dropout_p=0.0, **params):
    rng = TheirDraw(dropout_p)
    return tg.nn.functional.scaled_dot_product_attention(*inputs, dropout_p=dropout_p, rng=rng, **params)


ADAPTERS = {
    "__rdiv__": tg.Tensor.__rtruediv__,
    "einsum": lambda operands, equation: tg.einsum(equation, *operands),
    "expand": tg.Tensor.expand,
    "linalg.pinv": lambda a, *b, **params: tg.linalg.pinv(a @ b[0].mT if b else a, **params),
    "log_softmax": lambda x, axis, **params: tg.nn.functional.log_softmax(x, axis, **params),
    "nn.functional.dropout": dropout,
    "nn.functional.embedding": lambda weight, ids, **params: tg.nn.functional.embedding(ids, weight, **params),
    "nn.functional.scaled_dot_product_attention": attention,
    "polygamma": lambda x, n: tg.polygamma(n, x),
    "softmax": lambda x, axis, **params: tg.nn.functional.softmax(x, axis, **params),
    "where": lambda x, condition, other: tg.where(condition, x, other),
}  # by PyTorch's name: where op_db calls something else than the function of that name


def symmetric(A, *more, **params):
    return (A + A.mT, *more), params


def in_double(x, aweights=None, **params):
    return (x,), {**params, "aweights": None if aweights is None else aweights.double()}


ARGUMENTS = {
    "cholesky_solve": lambda B, L, upper=False: ((B, L.triu() if upper else L.tril()), {"upper": upper}),
    "cov": in_double,  # float32 is what op_db has for its weights
    "linalg.eigh": symmetric,
    "linalg.pinv": lambda A, *B, **params: symmetric(A, **params) if "hermitian" in params else ((A, *B), params),
}  # what goes into the functions of both libraries: of half a matrix the other half may have a derivative or none


def eigen(w, v):
    return w, v.abs(), (v * w.unsqueeze(-2)) @ v.mT


def singular(u, s, vh):
    u, vh = u[..., : s.shape[-1]], vh[..., : s.shape[-1], :]
    return u.abs(), s, vh.abs(), (u * s.unsqueeze(-2)) @ vh


ANSWERS = {
    "linalg.eigh": eigen,
    "linalg.svd": singular,
}  # what is compared, in both libraries: the signs of eigenvectors are free, and the columns that fill up a matrix


def ours(name):
    """Our function of PyTorch's name for it: tg.exp, tg.linalg.inv, tg.nn.functional.gelu, or the Tensor's method."""
    if name in ADAPTERS:
        return ADAPTERS[name]
    *homes, last = name.split(".")
    home = tg
    for part in homes:
        home = getattr(home, part)
    return getattr(home, last, None) or getattr(home if homes else tg.Tensor, last)


def converted(x, leaves):
    """An argument of PyTorch's as one of ours; Tensors that require grad are added to `leaves`, theirs beside ours."""
    if isinstance(x, torch.Tensor):
        mine = tg.tensor(x.detach().resolve_conj().resolve_neg().numpy())
        if x.requires_grad:
            mine.requires_grad_()
            leaves.append((x, mine))
        return mine
    if isinstance(x, torch.dtype):
        return np.dtype(str(x).removeprefix("torch."))
    if isinstance(x, torch.Size):
        return tuple(x)
    if isinstance(x, dict):
        return {name: converted(value, leaves) for name, value in x.items()}
    if isinstance(x, list | tuple) and not isinstance(x, str):
        return type(x)(converted(part, leaves) for part in x)
    return x


def complex_parts(x):
    """Whether complex numbers occur in an argument."""
    if isinstance(x, torch.Tensor):
        return x.is_complex()
    if isinstance(x, list | tuple):
        return any(map(complex_parts, x))
    if isinstance(x, dict):
        return any(map(complex_parts, x.values()))
    return isinstance(x, complex) or x in (torch.complex64, torch.complex128)


def flat(y, kind):
    """The Tensors in an answer, in order."""
    if isinstance(y, kind):
        return [y]
    return [part for whole in y for part in flat(whole, kind)] if isinstance(y, list | tuple) else []


def off(mine, theirs):
    """Why two arrays do not agree, or None."""
    mine, theirs = np.asarray(mine), theirs.numpy(force=True)
    if mine.shape != theirs.shape:
        return f"shape {mine.shape} for {theirs.shape}"
    if theirs.dtype.kind != mine.dtype.kind and not {mine.dtype.kind, theirs.dtype.kind} <= set("iu"):
        return f"dtype {mine.dtype} for {theirs.dtype}"
    scale = np.max(np.abs(theirs), initial=0.0, where=np.isfinite(theirs)) if theirs.dtype.kind == "f" else 0.0
    if not np.allclose(mine, theirs, rtol=TOLERANCE, atol=TOLERANCE * max(scale, 1e-3), equal_nan=True):
        apart = np.abs(mine.astype(float) - theirs.astype(float))
        worst = np.argmax(np.where(mine == theirs, 0.0, np.where(np.isnan(apart), np.inf, apart)))
        return f"{mine.flat[worst]!r} for {theirs.flat[worst]!r} at {worst} of {theirs.size}"
    return None


def weighted(tensors, kind, seed):
    """One number of all the floating-point Tensors in a list that depend on leaves, by random weights."""
    rng, total = np.random.default_rng(seed), None
    for t in tensors:
        if t is None:
            continue
        weights = rng.standard_normal(tuple(t.shape))
        if (t.requires_grad if kind is torch.Tensor else t.node is not None) and t.numel():
            term = (t * (torch.tensor(weights) if kind is torch.Tensor else tg.tensor(weights))).sum()
            total = term if total is None else total + term
    return total


def gradients(total, leaves, kind):
    """Derivatives of one number by the leaves, differentiable themselves; zeros where there is no path."""
    if total is None:
        return [None] * len(leaves)
    if kind is torch.Tensor:
        return torch.autograd.grad(total, leaves, create_graph=True, allow_unused=True)
    return tg.autograd.grad(total, leaves, create_graph=True, allow_unused=True)


def answered(name, f, args, params, kind):
    """The Tensors that f answers with, as `ARGUMENTS` and `ANSWERS` have it."""
    args, params = ARGUMENTS[name](*args, **params) if name in ARGUMENTS else (args, params)
    y = f(*args, **params)
    return flat(ANSWERS[name](*y) if name in ANSWERS else y, kind)


def disagreement(info, sample, *, order=2):
    """What our function of that name does otherwise than PyTorch's on one of its samples, or None."""
    leaves = []
    args = converted((sample.input, *sample.args), leaves)
    params = converted(dict(sample.kwargs), leaves)
    with np.errstate(all="ignore"), warnings.catch_warnings(), sdpa_kernel(SDPBackend.MATH):
        warnings.simplefilter("ignore")
        b = answered(info.name, info.op, (sample.input, *sample.args), sample.kwargs, torch.Tensor)
        a = answered(info.name, ours(info.name), args, params, tg.Tensor)
        if len(a) != len(b):
            return f"{len(a)} outputs for {len(b)}"
        for i, (m, t) in enumerate(zip(a, b, strict=True)):
            if why := off(m.array, t):
                return f"value {i}: {why}"
        their_leaves, my_leaves = [t for t, _ in leaves], [m for _, m in leaves]
        for n in range(1, order + 1 if info.supports_gradgrad else 2):
            b = gradients(weighted(b, torch.Tensor, seed=n), their_leaves, torch.Tensor)
            a = gradients(weighted(a, tg.Tensor, seed=n), my_leaves, tg.Tensor)
            for i, (m, t) in enumerate(zip(a, b, strict=True)):
                t = torch.zeros_like(their_leaves[i]) if t is None else t
                m = np.zeros(my_leaves[i].shape) if m is None else m.array
                if why := off(m, t):
                    return f"derivative {n} by input {i}: {why}"
            both = [m is not None and t is not None for m, t in zip(a, b, strict=True)]
            a, b = ([g for g, known in zip(gs, both, strict=True) if known] for gs in (a, b))
    return None


def samples(info):
    """PyTorch's samples for an op in float64, but for complex ones."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = list(info.sample_inputs("cpu", torch.float64, requires_grad=info.supports_autograd))
    return [s for s in found if not complex_parts((s.input, s.args, s.kwargs))]


def compared(name):
    """All samples of an op: [(variant, number of the sample, sample, what we do otherwise or None)]."""
    found = []
    for info in opinfos()[name]:
        for i, sample in enumerate(samples(info)):
            try:
                what = disagreement(info, sample)
            except Exception as error:
                what = f"{type(error).__name__}: {error}"
            found.append((info.variant_test_name, i, sample, what))
    return found


def report(name):
    """Every disagreement over all samples of an op: [(variant, number of the sample, sample, what)]."""
    return [case for case in compared(name) if case[-1]]


def error_inputs(info):
    """PyTorch's arguments for which an op raises; many have none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [] if info.error_inputs_func is None else list(info.error_inputs("cpu"))


def accepted(name, args, params):
    """What our function does instead of refusing these arguments by an error of one of these kinds, or None."""
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ours(name)(*args, **params)
    except (ValueError, TypeError, IndexError, RuntimeError):
        return None
    except Exception as other:
        return f"{type(other).__name__}: {other}"
    return "no error"


def refused(name):
    """All error inputs of an op, as `compared` has the samples."""
    found = []
    for info in opinfos()[name]:
        for i, error in enumerate(error_inputs(info)):
            sample = error.sample_input
            try:
                args, params = converted(((sample.input, *sample.args), dict(sample.kwargs)), [])
            except Exception as failure:
                what = f"no arguments here: {failure}"
            else:
                what = accepted(name, args, params)
            found.append((info.variant_test_name, i, sample, what))
    return found


def unexplained(found, exceptions):
    """What in the answers of `compared` or `refused` no exception covers; and each that covers nothing, or too much."""
    wrong = [
        (variant, i, what)
        for variant, i, sample, what in found
        if what and not any(covers(variant, sample) for covers, _ in exceptions)
    ]
    for covers, reason in exceptions:
        covered = [(variant, i, what) for variant, i, sample, what in found if covers(variant, sample)]
        wrong += [(variant, i, f"no exception is needed: {reason}") for variant, i, what in covered if not what]
        wrong += [] if covered else [("", -1, f"covers nothing: {reason}")]
    return wrong
