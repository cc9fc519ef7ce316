"""PyTorch's own samples that do not apply here, or on which we differ on purpose: each with its reason."""


def _has(name):
    return lambda variant, sample: name in sample.kwargs


def _positional(variant, sample):
    return variant == "unbiased"


EXCEPTIONS = {
    # reductions, scans, shapes and indices
    "cat": [
        (
            lambda variant, sample: len({t.ndim for t in sample.input}) > 1,
            "an empty row among arrays of more axes is a relic that PyTorch keeps for old code",
        )
    ],
    "gather": [
        (
            lambda variant, sample: sample.args[1].ndim > max(sample.input.ndim, 1),
            "an index of more axes than x, which PyTorch lets pass if it is empty",
        )
    ],
    **{name: [(_has("dtype"), "cast first: reductions take no dtype here")] for name in ("prod", "cumsum", "cumprod")},
    **{
        name: [(_positional, "a boolean in the place of the axis: say unbiased=")]
        for name in ("std", "var", "std_mean", "var_mean")
    },
    "norm": [(lambda variant, sample: variant == "nuc", "linalg.matrix_norm has the nuclear norm")],
    "logcumsumexp": [
        (
            lambda variant, sample: sample.args == (0,) and sample.input.numel() == 125,
            "second derivatives that are 0 come out of PyTorch as about 1e-12",
        )
    ],
    "repeat_interleave": [(_has("output_size"), "it spares PyTorch a wait for the GPU, and says nothing new")],
    # activations
    "nn.functional.hardsigmoid": [
        (lambda variant, sample: sample.input.numel() > 1, "PyTorch's slope is 1/6 rounded to float32, in float64 too")
    ],
    # linear algebra
    "cholesky_solve": [
        (
            lambda variant, sample: sample.args[0].requires_grad and sample.args[0].shape[-1] > 1,
            "PyTorch's derivative has numbers in the triangle that is not read, where differences are 0",
        )
    ],
    "cov": [
        (
            lambda variant, sample: sample.kwargs.get("aweights") is not None,
            "PyTorch's samples have weights in float32, whose rounding differs in the seventh digit",
        )
    ],
    "linalg.eigh": [
        (
            lambda variant, sample: sample.input.shape[-1] > 1,
            "the sign of an eigenvector is free, and the triangle that is not read has no derivative here",
        )
    ],
    "linalg.norm": [
        (
            lambda variant, sample: variant == "subgradients_at_zero",
            "at 0 the second derivative is 0 here, where PyTorch's is NaN",
        )
    ],
    "linalg.pinv": [
        (
            lambda variant, sample: variant == "hermitian" and sample.input.numel() > 0,
            "the triangle that is not read has no derivative here, as differences find",
        )
    ],
    "linalg.svd": [(lambda variant, sample: sample.input.numel() > 0, "the signs of singular vectors are free")],
}
