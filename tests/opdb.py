"""PyTorch's own test cases (its op_db) run through our functions: values, first and second derivatives, errors."""

import warnings
from functools import cache

import numpy as np
import torch

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


ADAPTERS = {
    "einsum": lambda operands, equation: tg.einsum(equation, *operands),
    "expand": tg.Tensor.expand,
    "linalg.pinv": lambda a, *b, **params: tg.linalg.pinv(a @ b[0].mT if b else a, **params),
    "log_softmax": lambda x, axis, **params: tg.nn.functional.log_softmax(x, axis, **params),
    "polygamma": lambda x, n: tg.polygamma(n, x),
    "softmax": lambda x, axis, **params: tg.nn.functional.softmax(x, axis, **params),
    "where": lambda x, condition, other: tg.where(condition, x, other),
}  # by PyTorch's name: where op_db calls something else than the function of that name


def ours(name):
    """Our function of PyTorch's name for it: tg.exp, tg.linalg.inv, tg.nn.functional.gelu, or the Tensor's method."""
    if name in ADAPTERS:
        return ADAPTERS[name]
    found = tg
    for part in name.split("."):
        found = getattr(found, part, None) or getattr(tg.Tensor, part)
    return found


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
        worst = np.nanargmax(np.where(mine == theirs, 0.0, np.abs(mine.astype(float) - theirs.astype(float))))
        return f"{mine.flat[worst]!r} for {theirs.flat[worst]!r} at {worst} of {theirs.size}"
    return None


def weighted(tensors, kind, rng):
    """One number of all the floating-point Tensors in an answer that depend on leaves, by fixed random weights."""
    total = None
    for t in tensors:
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


def disagreement(info, sample, *, order=2):
    """What our function of that name does otherwise than PyTorch's on one of its samples, or None."""
    leaves = []
    mine_args = converted((sample.input, *sample.args), leaves)
    mine_kwargs = converted(dict(sample.kwargs), leaves)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = info.op(sample.input, *sample.args, **sample.kwargs)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mine = ours(info.name)(*mine_args, **mine_kwargs)
        a, b = flat(mine, tg.Tensor), flat(theirs, torch.Tensor)
        if len(a) != len(b):
            return f"{len(a)} outputs for {len(b)}"
        for i, (m, t) in enumerate(zip(a, b, strict=True)):
            if why := off(m.array, t):
                return f"value {i}: {why}"
        their_leaves, my_leaves = [t for t, _ in leaves], [m for _, m in leaves]
        their_total, my_total = weighted(b, torch.Tensor, rng := np.random.default_rng(0)), None
        my_total = weighted(a, tg.Tensor, np.random.default_rng(0))
        for n in range(1, order + 1):
            theirs = gradients(their_total, their_leaves, torch.Tensor)
            mine = gradients(my_total, my_leaves, tg.Tensor)
            for i, (m, t) in enumerate(zip(mine, theirs, strict=True)):
                t = torch.zeros_like(their_leaves[i]) if t is None else t
                m = np.zeros(my_leaves[i].shape) if m is None else m.array
                if why := off(m, t):
                    return f"derivative {n} by input {i}: {why}"
            if n == order or not info.supports_gradgrad:
                break
            seed = int(rng.integers(1 << 30))
            their_total = weighted([t for t in theirs if t is not None], torch.Tensor, np.random.default_rng(seed))
            my_total = weighted(
                [m for m, t in zip(mine, theirs, strict=True) if t is not None and m is not None],
                tg.Tensor,
                np.random.default_rng(seed),
            )
    return None


def samples(info):
    """PyTorch's samples for an op in float64, but for complex ones."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = list(info.sample_inputs("cpu", torch.float64, requires_grad=info.supports_autograd))
    return [s for s in found if not complex_parts((s.input, s.args, s.kwargs))]


def report(name):
    """Every disagreement over all samples of an op: [(variant, number of the sample, sample, what)]."""
    found = []
    for info in opinfos()[name]:
        for i, sample in enumerate(samples(info)):
            try:
                what = disagreement(info, sample)
            except Exception as error:
                what = f"{type(error).__name__}: {error}"
            if what:
                found.append((info.variant_test_name, i, sample, what))
    return found
