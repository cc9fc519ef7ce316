"""ld and st: between registers and global, shared, local or constant memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_ft.cuda.emulator.access import (
    AFTER,
    CONSTANT,
    FORBIDDEN,
    FRESH,
    OK,
    OUTSIDE,
    READ,
    STRONG,
    UNALIGNED,
    VOLATILE,
    WRITE,
    access,
)
from tinygrad_ft.cuda.emulator.decode import Decoder, maker
from tinygrad_ft.cuda.emulator.faults import MISALIGNED, OUT_OF_BOUNDS, READ_ONLY, UNWRITTEN
from tinygrad_ft.cuda.emulator.memory import Region
from tinygrad_ft.cuda.emulator.operands import TYPES, U64, Address, Immediate, Operand, Symbol, Vector
from tinygrad_ft.cuda.emulator.program import LOCAL, SHARED, SPACE_SIZE
from tinygrad_ft.cuda.emulator.rules import Words
from tinygrad_ft.cuda.emulator.simple import param
from tinygrad_ft.cuda.emulator.text import Instruction

SPACES = ("global", "shared", "local", "const")
STRONGER = ("volatile", "relaxed", "acquire", "release")
HINTS = {
    "weak", "ca", "cg", "cs", "lu", "cv", "wb", "wt", "sys", "gpu", "cta", "cluster",
    "L1::evict_normal", "L1::evict_unchanged", "L1::evict_first", "L1::evict_last", "L1::no_allocate",
    "L2::64B", "L2::128B", "L2::256B",
}  # fmt: skip

# A piece of an access: a region, where the data are in it, and which of the lanes (None: all).
Piece = tuple[Region, Any, Any]


def space_of(words: Words) -> str:
    """The space that an instruction names; empty if its addresses tell."""
    if words.has("shared::cta"):
        return "shared"
    return words.one_of(*SPACES) or ""


def address_of(d: Decoder, o: Operand) -> Callable[[list[Any]], Any]:
    """A function from the register file to the address of each lane, or one for all."""
    if not isinstance(o, Address):
        raise ValueError(f"{o} is no address")
    if isinstance(o.base, Symbol | Immediate):
        slot = d.source(o.base, U64)
    else:
        kind = d.program.registers[o.base.name]
        slot = d.source(o.base, U64 if kind.bits == 64 else TYPES["u32"])
        if kind.bits == 32:
            offset32 = np.uint64(o.offset % 2**64)
            return lambda R: R[slot].astype(np.uint64) + offset32
    if o.offset == 0:
        return lambda R: R[slot]
    offset = np.uint64(o.offset % 2**64)
    return lambda R: R[slot] + offset


def generic(m: Any, addresses: Any, number: int) -> str:
    """The space that addresses without one lie in."""
    sample = addresses.flat[0] if type(addresses) is np.ndarray else addresses
    name = _window(int(sample))
    if type(addresses) is np.ndarray:
        low, high = int(addresses.min()), int(addresses.max())
        if _window(low) != name or _window(high) != name:
            raise m.unknown(number, "addresses of several spaces in one instruction")
    return name


def _window(address: int) -> str:
    if SHARED <= address < SHARED + SPACE_SIZE:
        return "shared"
    return "local" if LOCAL <= address < LOCAL + SPACE_SIZE else "global"


def touch(m: Any, space: str, addresses: Any, width: int, kind: int, number: int) -> list[Piece]:
    """Check, count and note an access to global, constant or shared memory: where the data are."""
    given = addresses if type(addresses) is np.ndarray else addresses.reshape(1)
    lanes = m.lanes
    region = m.shared if space == "shared" else m.memory.find(int(given[0]))
    if region is None:
        raise out_of_bounds(m, space, given, 0, width, number)
    at, code, k, cell = _call(m, region, given, lanes.stamps, width, kind, number)
    if code == OK:
        return [(region, at, None)]
    if code == OUTSIDE and space != "shared" and m.memory.find(int(given[k])) not in (None, region):
        return _scattered(m, given, width, kind, number)
    raise _fault(m, space, region, given, code, k, cell, width, number)


def _call(m: Any, region: Region, given: Any, stamps: Any, width: int, kind: int, number: int) -> Any:
    if width < region.cell:
        region.refine(width)
    at = np.empty(stamps.size, np.int64)
    code, k, cell = access(
        given,
        stamps,
        at,
        region.numbers,
        m.numbers,
        m.order,
        region.state,
        region.tables,
        m.tally,
        m.scratch,
        width,
        kind,
        number,
    )
    return at, code, k, cell


def _scattered(m: Any, given: Any, width: int, kind: int, number: int) -> list[Piece]:
    """An access whose lanes go to several regions."""
    regions = [m.memory.find(int(a)) for a in given]
    pieces = []
    for region in {id(r): r for r in regions}.values():
        if region is None:
            raise out_of_bounds(m, "global", given, regions.index(None), width, number)
        chosen = np.array([k for k, r in enumerate(regions) if r is region])
        at, code, k, cell = _call(m, region, given[chosen], m.lanes.stamps[chosen], width, kind, number)
        if code != OK:
            raise _fault(m, "global", region, given, code, int(chosen[k]), cell, width, number)
        pieces.append((region, at, chosen))
    return pieces


def out_of_bounds(m: Any, space: str, given: Any, k: int, width: int, number: int) -> Any:
    """The fault of lane k."""
    address = int(given[k % given.size])
    if space == "shared":
        size = m.shared_size
        detail = f"byte {address - SHARED} of shared memory, of which the block has {size}"
        if m.program.dynamic and size == m.program.shared:
            detail += " (of a size that the launch gives: shared=)"
    elif space == "local":
        detail = f"byte {address - LOCAL} of local memory, of which the thread has {m.program.local}"
    else:
        detail = m.memory.describe(address)
    return m.fault(OUT_OF_BOUNDS, number, k, f"{width} bytes at {detail}")


def _fault(
    m: Any, space: str, region: Region, given: Any, code: int, k: int, cell: int, width: int, number: int
) -> Any:
    address = int(given[k % given.size])
    if code in (OUTSIDE, FORBIDDEN):
        return out_of_bounds(m, space or "global", given, k, width, number)
    if code == UNALIGNED:
        detail = f"address {address:#x} is not a multiple of {width}, the bytes that the instruction moves"
        return m.fault(MISALIGNED, number, k, detail)
    where = m.memory.describe(address) if space != "shared" else f"byte {address - SHARED} of shared memory"
    if code == FRESH:
        return m.fault(UNWRITTEN, number, k, where)
    did = ("read", "written", "updated by an atomic")[code - AFTER]
    return m.race(number, k, where, region.tables[code - AFTER, cell], did)


def load(m: Any, space: str, addresses: Any, size: int, count: int, kind: int, number: int) -> Any:
    """`count` unsigned integers of `size` bytes for each lane."""
    if not space:
        space = generic(m, addresses, number)
    if space == "local":
        return m.local.load(m, addresses, size, count, number)
    pieces = touch(m, space, addresses, size * count, kind, number)
    if len(pieces) == 1:
        region, at, _ = pieces[0]
        if type(addresses) is not np.ndarray and space != "shared":
            at = at[0]  # one address for all lanes: one number
        words = region.words[size]
        if count == 1:
            return (words[at],)
        return np.ascontiguousarray(region.rows(size, count)[at].T)
    out = np.empty((count, m.lanes.n), f"u{size}")
    for region, at, chosen in pieces:
        out[:, chosen] = region.rows(size, count)[at].T
    return out


def store(m: Any, space: str, addresses: Any, values: Sequence[Any], size: int, number: int, kind: int) -> None:
    """Write some unsigned integers of `size` bytes for each lane."""
    if not space:
        space = generic(m, addresses, number)
    if space == "local":
        m.local.store(m, addresses, values, size, number)
        return
    for region, at, chosen in touch(m, space, addresses, size * len(values), kind, number):
        if not region.writable:
            raise m.fault(READ_ONLY, number, 0, "an array that is not writable, or a constant")
        picked = [v if chosen is None or type(v) is not np.ndarray else v[chosen] for v in values]
        if len(values) == 1:
            region.words[size][at] = picked[0]
        else:
            rows = np.empty((at.size, len(values)), f"u{size}")
            for n, v in enumerate(picked):
                rows[:, n] = v
            region.rows(size, len(values))[at] = rows


def _words(i: Instruction) -> tuple[str, Any, int, int]:
    """Space, type, numbers a lane, and the kind of access."""
    words = Words(i)
    loads = i.op != "st"
    kind = READ if loads else WRITE
    if words.one_of(*STRONGER):
        kind = VOLATILE if loads else STRONG
    elif loads and words.has("nc"):
        kind = CONSTANT
    space = space_of(words)
    vector = words.one_of("v2", "v4", "v8")
    t = words.type()
    words.left = [word for word in words.left if word not in HINTS]
    words.done()
    if len(items(i.operands[0 if loads else 1])) != (int(vector[1]) if vector else 1):
        raise words.unknown("another number of registers")
    return space, t, int(vector[1]) if vector else 1, kind


@maker("ld", "ldu")
def ld(d: Decoder, i: Instruction) -> None:
    """A load."""
    if "param" in i.modifiers:
        param(d, i)
        return
    space, t, count, kind = _words(i)
    address, number, size = address_of(d, i.operands[1]), d.number, t.bytes
    raw = TYPES[f"u{t.bits}"]
    results: list[tuple[int, Any]] = []
    for o in items(i.operands[0]):
        kept = d.like(o, raw._replace(kind="b"))
        if t.kind in "sf":  # a sign is extended to what the register holds; a vote for floats
            kept = t
        slot, finish = d.target(o, kept)
        view = None if kept.dtype == raw.dtype else kept.dtype
        results.append((slot, _then(view, finish)))
    if len(results) == 1:
        ((slot, end),) = results

        def step(R: list[Any], m: Any) -> None:
            x = load(m, space, address(R), size, 1, kind, number)[0]
            R[slot] = x if end is None else end(x)
    else:

        def step(R: list[Any], m: Any) -> None:
            for (slot, end), x in zip(results, load(m, space, address(R), size, count, kind, number), strict=True):
                R[slot] = x if end is None else end(x)

    d.emit(step)


def _then(view: Any, finish: Any) -> Any:
    if view is None:
        return finish
    return (lambda x: x.view(view)) if finish is None else (lambda x: finish(x.view(view)))


@maker("st")
def st(d: Decoder, i: Instruction) -> None:
    """A store."""
    if "param" in i.modifiers:
        param(d, i)
        return
    space, t, _, kind = _words(i)
    address, number, size = address_of(d, i.operands[0]), d.number, t.bytes
    raw = TYPES[f"u{t.bits}"]
    sources = [_raw_source(d, o, t, raw) for o in items(i.operands[1])]

    def step(R: list[Any], m: Any) -> None:
        store(m, space, address(R), [get(R) for get in sources], size, number, kind)

    d.emit(step)


def _raw_source(d: Decoder, o: Operand, t: Any, raw: Any) -> Callable[[list[Any]], Any]:
    """A function from the register file to a number's bits."""
    kept = t if t.kind == "f" else d.like(o, raw._replace(kind="b"))
    slot = d.source(o, kept)
    if kept.dtype == raw.dtype:
        return lambda R: R[slot]
    dtype = raw.dtype
    return lambda R: R[slot].view(dtype)


def items(o: Operand) -> tuple[Operand, ...]:
    """The registers of a vector, or the one that it is."""
    return o.items if isinstance(o, Vector) else (o,)
