"""What a program consists of, as text: its rows, what was dropped and fused, its memory, its generated loops."""

from __future__ import annotations

from tinygrad_ft.jit.fuse import Group
from tinygrad_ft.jit.plan import lines_of
from tinygrad_ft.jit.program import Program
from tinygrad_ft.jit.table import Loop


def report(program: Program) -> str:
    """A page for one program."""
    table = program.assembly
    recorded, kept = len(table.record.lines), len(table.lines)
    fused = sum(len(lines_of(item)) for item in table.items if isinstance(item, Group))
    groups = sum(isinstance(item, Group) for item in table.items)
    eager = table.arena.asked + sum(table.record.roots[i].nbytes for i in table.unstored)
    lines = [
        f"ops: {recorded} recorded, {kept} needed, of which {fused} elementwise ones became {groups} loops",
        f"table: {len(table.rows)} rows on {_threads(program.pace.threads)}, {len(table.python)} left to Python",
        f"memory between ops: {_bytes(table.arena.size)} planned, {_bytes(eager)} if each answer had its own",
        "",
    ]
    for item in table.items:
        if isinstance(item, Group):
            ops = " ".join(line.op.name for line in lines_of(item))
            lines.append(f"  loop    {_shape(item.shape)}  {ops}")
        else:
            how = "Python" if any(item is line for line in table.by_python.values()) else "kernel"
            lines.append(f"  {how:<7} {_shape(item.outputs[0].shape)}  {item.op.name}")
    texts = dict.fromkeys(row.loop.text for row in table.rows if row is not None and isinstance(row.loop, Loop))
    for text in texts:
        lines += ["", text[text.index("def loop") :].rstrip()]
    return "\n".join(lines)


def _threads(n: int) -> str:
    return "1 thread" if n == 1 else f"{n} threads"


def _shape(shape: tuple[int, ...]) -> str:
    return f"{'x'.join(map(str, shape)) or 'one':<14}"


def _bytes(n: int) -> str:
    return f"{n / 2**20:.1f} MiB" if n >= 2**20 else f"{n / 2**10:.1f} KiB"
