"""jit: a step recorded once, then replayed without Python between its kernels.

Read `jit.py` first, then `record.py`, `plan.py`, `fuse.py`, `program.py`, and last the machine that walks the table.
"""

from tinygrad_ft.jit.jit import Jitted, jit
from tinygrad_ft.jit.roots import JitError

__all__ = ["JitError", "Jitted", "jit"]
