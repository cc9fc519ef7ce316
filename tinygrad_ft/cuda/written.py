"""Kernels whose text a program wrote. It lies in a file, which whoever reports on a kernel quotes lines of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tinygrad_ft.cache import cache_folder
from tinygrad_ft.cuda.compile import Kernel, kernel
from tinygrad_ft.storage import write_atomically


def kernel_of(name: str, text: str, words: Mapping[str, Any], **told: Any) -> Kernel:
    """The kernel that the text defines under that name, `words` being its globals; `told` goes to `compile.kernel`."""
    path = cache_folder("kernels") / f"{name}.py"
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write_atomically(path, text)
    names = dict(words)
    exec(compile(text, str(path), "exec"), names)  # our own text: nothing that a user gave is in it
    made: Kernel = kernel(**told)(names[name])
    return made
