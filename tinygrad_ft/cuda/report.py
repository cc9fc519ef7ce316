"""The compile report: what ptxas and nvdisasm say of a kernel, for each compute capability. Needs no GPU.

ptxas allots registers and tells what it spills, in a twentieth of a second a kernel; nvdisasm lists the machine's
instructions (SASS), which are counted, in a second. Both answers are kept on disk under a digest of the text and the
tool's version.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from tinygrad_ft.cache import cache_folder
from tinygrad_ft.cuda import toolkit
from tinygrad_ft.cuda.cards import Capability, Occupancy, occupancy
from tinygrad_ft.cuda.compile import Kernel, Signature
from tinygrad_ft.cuda.fingerprint import digest
from tinygrad_ft.cuda.launch import Launch
from tinygrad_ft.cuda.ptx import Compiled
from tinygrad_ft.storage import write_atomically

SASS = re.compile(r"^\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)", re.M)
COUNTED = {  # by the beginning of the instruction
    "ffma": r"FFMA",
    "hmma": r"HMMA",
    "mufu": r"MUFU",
    "ldg": r"LDG|LD\.E",
    "ldg128": r"(?:LDG|LD\.E).*\.128",
    "stg": r"STG|ST\.E",
    "lds": r"LDS",
    "lds128": r"LDS.*\.128",
    "sts": r"STS",
    "ldl": r"LDL",
    "stl": r"STL",
    "shfl": r"SHFL",
    "bar": r"BAR",
    "atom": r"RED|ATOM",
    "call": r"CALL",
}
TOLD = {
    "registers": r"Used (\d+) registers",
    "stack": r"(\d+) bytes stack frame",
    "spill_stores": r"(\d+) bytes spill stores",
    "spill_loads": r"(\d+) bytes spill loads",
    "shared": r"(\d+) bytes smem",
}


class Figures(NamedTuple):
    """What one text became. Registers a thread; stack, spills and shared memory in bytes; `f64` counts PTX's words."""

    registers: int
    stack: int
    spill_stores: int
    spill_loads: int
    shared: int
    f64: int

    @property
    def spills(self) -> int:
        """Bytes that a thread stores and loads because its registers do not suffice."""
        return self.spill_stores + self.spill_loads


class Use(NamedTuple):
    """A kernel as it is launched: for one signature, in blocks of so many threads, with dynamic shared memory."""

    kernel: Kernel
    signature: Signature
    threads: int
    shared: int

    @property
    def label(self) -> str:
        """Its name, the numbers built into it, what it takes, and the threads of a block: the same in every run."""
        built_in = "".join(f" {name}={value}" for name, value in sorted(self.kernel.constants.items()))
        alike = [(kind, len(list(some))) for kind, some in groupby(map(_short, self.signature))]
        takes = ", ".join(f"{count} {kind}" if count > 1 else kind for kind, count in alike)
        return f"{self.kernel.name}{built_in} ({takes}) x {self.threads}"


class Row(NamedTuple):
    """A line of the report."""

    use: Use
    capability: Capability
    figures: Figures
    occupancy: Occupancy

    @property
    def text(self) -> Compiled:
        """What was compiled."""
        return self.use.kernel.ptx(self.use.signature, self.capability)

    def as_dict(self) -> dict[str, Any]:
        """The line as names and values."""
        figures = {name: getattr(self.figures, name) for name in ("registers", "stack", "spills", "shared", "f64")}
        return {
            "kernel": self.use.label,
            "target": f"sm_{self.capability[0]}{self.capability[1]}",
            **{**figures, "shared": figures["shared"] + self.use.shared},
            "occupancy": round(self.occupancy.share, 2),
            "bound by": self.occupancy.bound,
        }


def _short(kind: Any) -> str:
    """`float32 2d` for an array, with `any` if it may be strided; a number's type by its name."""
    if not hasattr(kind, "ndim"):
        return str(kind)
    return f"{kind.dtype} {kind.ndim}d{'' if kind.layout == 'C' else ' any'}"


def uses(launches: Iterable[Launch]) -> list[Use]:
    """What is different among launches, in order of the label."""
    found = {}
    for noted in launches:
        x, y, z = noted.block
        use = Use(noted.kernel, noted.kernel.signature(*noted.args), x * y * z, noted.shared)
        found[use.label] = use
    return [found[label] for label in sorted(found)]


def report(chosen: Sequence[Use], capabilities: Sequence[Capability], *, workers: int = 2) -> list[Row]:
    """One row for each use and capability; the tools run in so many processes at a time.

    Raises:
        MissingToolkit: if ptxas is not installed.
        RuntimeError: if it refuses a text, with what it says.
    """
    pairs = [(use, capability) for use in chosen for capability in capabilities]
    texts = [use.kernel.ptx(use.signature, capability) for use, capability in pairs]
    with ThreadPoolExecutor(workers) as pool:
        found = list(pool.map(figures, texts))
    return [
        Row(use, capability, seen, occupancy(capability, seen.registers, seen.shared + use.shared, use.threads))
        for (use, capability), seen in zip(pairs, found, strict=True)
    ]


def figures(compiled: Compiled) -> Figures:
    """What ptxas says of one text; from disk if it said it before.

    Raises:
        MissingToolkit: if it is not installed.
        RuntimeError: if it refuses the text, with what it says.
    """
    return Figures(**_kept("ptxas", compiled, _allotted))


def instructions(compiled: Compiled) -> dict[str, int]:
    """How many instructions of each kind the machine's code holds, `all` of them first; from disk if counted before.

    Raises:
        MissingToolkit: if ptxas or nvdisasm is not installed.
        RuntimeError: if ptxas refuses the text, with what it says.
    """
    return _kept("nvdisasm", compiled, _listed)


def _kept(tool: str, compiled: Compiled, measure: Callable[[Compiled], dict[str, int]]) -> dict[str, int]:
    name = f"{compiled.name}_{tool}_{digest(compiled.ptx, compiled.capability, toolkit.version_of(tool))}.json"
    path = cache_folder("report") / name
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        found = measure(compiled)
        write_atomically(path, json.dumps(found) + "\n")
        return found


def _assembled(compiled: Compiled, folder: str) -> tuple[str, Path]:
    """What ptxas says, and the file that it writes."""
    target = f"sm_{compiled.capability[0]}{compiled.capability[1]}"
    source, binary = Path(folder) / "kernel.ptx", Path(folder) / "kernel.cubin"
    source.write_text(compiled.ptx, encoding="utf-8")
    try:
        order = [str(toolkit.tool("ptxas")), "-v", f"-arch={target}", str(source), "-o", str(binary)]
        return toolkit.run(order), binary
    except RuntimeError as error:
        raise RuntimeError(f"ptxas refuses kernel {compiled.name} for {target}: {error}") from None


def _allotted(compiled: Compiled) -> dict[str, int]:
    with TemporaryDirectory() as folder:
        said, _ = _assembled(compiled, folder)
    told = {name: re.search(pattern, said) for name, pattern in TOLD.items()}
    found = {name: int(seen[1]) if seen else 0 for name, seen in told.items()}
    return {**found, "f64": len(re.findall(r"\.f64\b", compiled.ptx))}


def _listed(compiled: Compiled) -> dict[str, int]:
    with TemporaryDirectory() as folder:
        words = SASS.findall(toolkit.run([str(toolkit.tool("nvdisasm")), "-c", str(_assembled(compiled, folder)[1])]))
    counted = {name: sum(bool(re.match(pattern, word)) for word in words) for name, pattern in COUNTED.items()}
    return {"all": len(words), **counted}
