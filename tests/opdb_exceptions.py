"""PyTorch's own samples that do not apply here, or on which we differ on purpose: each with its reason."""


def _has(name):
    return lambda variant, sample: name in sample.kwargs


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
    "norm": [(lambda variant, sample: variant == "nuc", "linalg.matrix_norm has the nuclear norm")],
    "logcumsumexp": [
        (
            lambda variant, sample: sample.args == (0,) and sample.input.max() > 1000,
            "beside 10,000 the second derivatives are 0, and PyTorch's are that number's rounding, about 1e-12",
        )
    ],
    "repeat_interleave": [(_has("output_size"), "it spares PyTorch a wait for the GPU, and says nothing new")],
    # activations
    "nn.functional.hardsigmoid": [
        (lambda variant, sample: sample.input.numel() > 1, "PyTorch's slope is 1/6 rounded to float32, in float64 too")
    ],
    # nets
    "nn.functional.batch_norm": [
        (lambda variant, sample: sample.input.ndim == 1, "an array without an axis of channels, which has no elements")
    ],
    # linear algebra
    "linalg.norm": [
        (
            lambda variant, sample: variant == "subgradients_at_zero" and _curved(sample.input, sample.args[0]),
            "at 0 the second derivative is 0 here, where PyTorch's is NaN",
        )
    ],
}


def _curved(x, order):
    """Whether PyTorch's norm of that order has NaN for its second derivative at zeros."""
    return x.numel() and order in ((None, "fro") if x.ndim > 1 else (None, 0.5, 2, -0.5, -1, -2, -3.5))


def _numbers(variant, sample):
    return any(isinstance(x, int | float) for x in (sample.input, *sample.args))


def _complex(variant, sample):
    return any(getattr(x, "is_complex", bool)() for x in (sample.input, *sample.args))


def _more_axes_than_numpy(variant, sample):
    return sample.input.ndim > 64


# PyTorch's error inputs that raise nothing here, or cannot be said here
ACCEPTED = {
    **{
        name: [(_numbers, "plain numbers are taken where PyTorch wants one Tensor or two")]
        for name in [
            *("logaddexp", "atan2", "hypot", "maximum", "minimum", "fmax", "fmin", "clamp_min", "clamp_max"),
            *("pow", "xlogy", "fmod", "remainder", "copysign"),
            *("eq", "ne", "lt", "le", "gt", "ge", "logical_and", "logical_or"),
            *("__radd__", "__rsub__", "__rmul__", "__rdiv__", "__rmod__", "__rpow__"),
        ]
    },
    **{name: [(_more_axes_than_numpy, "NumPy refuses to hold so many axes itself")] for name in ("amax", "amin")},
    **{
        name: [(_complex, "tensor() itself refuses complex numbers")]
        for name in ("masked_fill", "nn.functional.conv1d", "nn.functional.conv2d")
    },
    "mean": [
        (
            lambda variant, sample: not sample.input.is_floating_point(),
            "the mean of integers is a number too, in float32",
        )
    ],
}
