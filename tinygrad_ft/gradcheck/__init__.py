"""Is a gradient right? Held against differences: of the library's ops, of any function or module, of hand-written ones.

`check.py` is the page to read first; then `examine.py`, which judges, and `differences.py`, which it judges by.
"""

from tinygrad_ft.gradcheck.bisect import Bisection, Suspect, bisect
from tinygrad_ft.gradcheck.check import examine, gradcheck, gradgradcheck
from tinygrad_ft.gradcheck.ops import check_op, examine_op, examine_sample
from tinygrad_ft.gradcheck.report import GradcheckError, Report
from tinygrad_ft.gradcheck.samples import SAMPLES, Sample
from tinygrad_ft.gradcheck.subject import FunctionError
from tinygrad_ft.gradcheck.verdict import Finding, Verdict

__all__ = [
    "SAMPLES",
    "Bisection",
    "Finding",
    "FunctionError",
    "GradcheckError",
    "Report",
    "Sample",
    "Suspect",
    "Verdict",
    "bisect",
    "check_op",
    "examine",
    "examine_op",
    "examine_sample",
    "gradcheck",
    "gradgradcheck",
]
