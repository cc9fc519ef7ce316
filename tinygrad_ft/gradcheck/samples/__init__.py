"""Inputs on which each op is checked, a table for each family of ops."""

from tinygrad_ft.gradcheck.samples import activations, arrange, convolution, elementwise, linalg, nn, reduce, shape
from tinygrad_ft.gradcheck.samples.base import Sample, Samples

SAMPLES: Samples = {
    **elementwise.SAMPLES,
    **activations.SAMPLES,
    **reduce.SAMPLES,
    **shape.SAMPLES,
    **arrange.SAMPLES,
    **linalg.SAMPLES,
    **nn.SAMPLES,
    **convolution.SAMPLES,
}

__all__ = ["SAMPLES", "Sample", "Samples"]
