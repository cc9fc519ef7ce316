"""What to say of a kernel that Numba cannot compile: the reason in its words, and the line that it was reading."""

from __future__ import annotations

import linecache
import re
from collections.abc import Callable
from typing import Any

ENDS = re.compile(r"There are \d+ candidate implementations:|During: |This error is usually caused|File \"")
HEADER = re.compile(r"Failed in \w+ mode pipeline \(step: [^)]*\)")
FUNCTION = re.compile(r"Function\(<(?:built-in )?(?:function|method) ([\w.]+)[^>]*>\)")
LINE = re.compile(r"File \"[^\"]*\", line (\d+)")


def reason(error: BaseException) -> str:
    """What Numba said, without its account of everything that it tried."""
    if isinstance(error, KeyError) and type(error.args[0]).__name__ == "ufunc":
        return f"kernels have no np.{error.args[0].__name__}: take the one of math, or an operator"
    said = FUNCTION.sub(r"\1", ENDS.split(HEADER.sub("", str(error)))[0])
    return " ".join(said.replace(">>>", "").split()) or type(error).__name__


def place(function: Callable[..., Any], error: BaseException) -> tuple[str, int]:
    """File and line of the Python source that Numba could not compile; where the function begins, if it does not tell.

    Numba keeps the line in the error, or else only in the frames that the error came through, so the last of them that
    knows one is asked.
    """
    code = function.__code__
    found = _line(getattr(error, "loc", None))
    trace = error.__traceback__
    while trace is not None and found is None:
        here = trace.tb_frame.f_locals
        for name in ("loc", "inst", "constraint"):
            found = _line(here.get(name)) or found
        trace = trace.tb_next
    if found is None and (told := LINE.search(str(error))):
        return code.co_filename, int(told[1])
    return found or (code.co_filename, code.co_firstlineno)


def _line(what: Any) -> tuple[str, int] | None:
    where: Any = what if type(what).__name__ == "Loc" else getattr(what, "__dict__", {}).get("loc")
    if type(where).__name__ != "Loc" or not where.line:
        return None
    return str(where.filename), int(where.line)


def explain(function: Callable[..., Any], error: BaseException) -> str:
    """Reason and place in one line, with the source text there if it can be read."""
    return f"{reason(error)} ({_shown(*place(function, error))})"


def unresolved(function: Callable[..., Any], ptx: str) -> str:
    """What to say of a text that calls what is not in it; empty if there is no such call."""
    outside = re.search(r"^\.extern \.func .*?\b(?!vprintf\b)([\w$]+)\s*$", ptx, re.M)  # each driver has print
    if outside is None:
        return ""
    code = function.__code__
    own = {line for _, _, line in code.co_lines()}  # Numba's files have the number of ours in the PTX
    before = ptx[: ptx.index(outside[1], ptx.index("call.uni"))]
    lines = [int(n) for n in re.findall(r"^\s*\.loc\s+\d+ (\d+)", before, re.M) if int(n) in own]
    way_out = ": make a float32 of a float16 before computing with it" if "half" in outside[1] else ""
    return (
        f"it needs {outside[1]}, which is written in CUDA C++ and lies elsewhere{way_out} "
        f"({_shown(code.co_filename, (lines or [code.co_firstlineno])[-1])})"
    )


def _shown(file: str, line: int) -> str:
    text = linecache.getline(file, line).strip()
    return f"{file}:{line}" + (f": {text}" if text else "")
