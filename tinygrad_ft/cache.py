"""Where compiled code is kept between runs."""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path


@cache
def cache_folder(kind: str) -> Path:
    """The folder `kind` of TINYGRAD_FT_CACHE, or of the user's own cache; a temporary one if that cannot be written."""
    given = os.environ.get("TINYGRAD_FT_CACHE")
    if given:
        folder = Path(given)
    elif sys.platform == "darwin":
        folder = Path.home() / "Library" / "Caches" / "tinygrad_ft"
    else:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tinygrad_ft"
    try:
        (folder / kind).mkdir(parents=True, exist_ok=True)
        if os.access(folder / kind, os.W_OK):
            return folder / kind
    except OSError:
        pass
    import tempfile

    return Path(tempfile.mkdtemp(prefix=f"tinygrad_ft_{kind}_"))
