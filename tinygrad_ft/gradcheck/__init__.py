"""Gradients held against differences: of the library's ops, and of any function built from them."""

from tinygrad_ft.gradcheck.check import GradcheckError, gradcheck, gradgradcheck
from tinygrad_ft.gradcheck.ops import check_op
from tinygrad_ft.gradcheck.samples import SAMPLES, Sample

__all__ = ["SAMPLES", "GradcheckError", "Sample", "check_op", "gradcheck", "gradgradcheck"]
