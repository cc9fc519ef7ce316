"""Mutants of PTX: one instruction that ran is changed, and whoever checks the kernel must notice.

    launches = ...                                        # `recorded()` around the call, for `compiled` and `counters`
    found = mutants(compiled.ptx, executed(counters))
    how = [outcome(compiled, mutant, [right]) for mutant in found]         # what noticed it, or None

A check such as `right()` does it all anew, from fresh inputs, and answers whether the reference agrees.
"""

import random
import re
from collections import Counter
from contextlib import contextmanager
from typing import NamedTuple

from tinygrad_ft.cuda.emulator import KernelFault, Program, machine

STEP_LIMIT = 100_000  # a mutant that loops for ever must not take ten seconds to be noticed


class Mutant(NamedTuple):
    """A changed instruction: the kind of change, its line in the PTX, the line before and after, and the whole text."""

    kind: str
    line: int
    before: str
    after: str
    ptx: str


def _swap(pattern, pairs):
    table = {**pairs, **{b: a for a, b in pairs.items()}}
    return re.compile(pattern), lambda m: m[0].replace(m[1], table[m[1]], 1)


def _shifted(m):
    size = int(m["vector"] or 1) * int(m["bits"]) // 8
    offset = int(m["offset"] or 0) + size
    return f"{m['head']}[{m['base']}+{offset}]"


MOVE = (
    r"(?P<head>(?<![\w.]){}\.(?!param|local)(?:[\w:]+\.)*?(?:v(?P<vector>[248])\.)?[bfsu](?P<bits>\d+)\s[^\[;]*)"
    r"\[(?P<base>[%$\w]+)(?:\+(?P<offset>-?\d+))?\]"
)

# Kind of change: what it applies to within a line, and what is put there instead.
CHANGES = {
    "drop the barrier": (re.compile(r"\b(bar|barrier)(\.cta)?\.sync[^;]*;"), lambda m: ""),
    "drop the warp barrier": (re.compile(r"\bbar\.warp\.sync[^;]*;"), lambda m: ""),
    "flip the bound": _swap(r"\bsetp\.(lt|le|gt|ge)\.[us](?:16|32|64)\b", {"lt": "le", "gt": "ge"}),
    # Of random numbers no two are equal, so `le` for `lt` would change nothing.
    "turn the comparison": _swap(r"\bsetp\.(lt|le|gt|ge)u?\.(?:ftz\.)?f(?:16|32|64)\b", {"lt": "gt", "le": "ge"}),
    "equal to unequal": _swap(r"\bsetp\.(eq|ne)u?\.", {"eq": "ne"}),
    "load the next": (re.compile(MOVE.format("ld")), _shifted),
    "store to the next": (re.compile(MOVE.format("st")), _shifted),
    "add to subtract": _swap(r"(?<![\w.])(add|sub)\.(?:rn\.|ftz\.)*f(?:16|32|64)\b", {"add": "sub"}),
    "multiply to add": (re.compile(r"(?<![\w.])mul(?=\.(?:rn\.|ftz\.)*f32\b)"), lambda m: "add"),
    "largest to smallest": _swap(r"(?<![\w.])(max|min)\.(?:NaN\.|ftz\.)*f(?:16|32|64)\b", {"max": "min"}),
    "forget the sum": (
        re.compile(r"\bfma\.rn\.(?:ftz\.)?f32(\s+%\w+, [^,]+, [^,]+), [^;]+;"),
        lambda m: f"mul.f32{m[1]};",
    ),
    # `down` would be as good as `bfly` for lane 0, which often is the only one that counts.
    "another lane": (re.compile(r"\bshfl\.sync\.bfly\b"), lambda m: "shfl.sync.up"),
    "another atomic": (
        re.compile(r"\b(atom|red)(?P<words>[.\w]*)\.add\.(?=[us]\d)"),
        lambda m: f"{m[1]}{m['words']}.max.",
    ),
    "an atomic that overwrites": (
        re.compile(r"\batom(?P<words>[.\w]*)\.add\.f(?P<bits>32|64)\b"),
        lambda m: f"atom{m['words']}.exch.b{m['bits']}",
    ),
    "the other choice": (
        re.compile(r"\bselp\.(\w+)(\s+%\w+), ([^,]+), ([^,]+), "),
        lambda m: f"selp.{m[1]}{m[2]}, {m[4]}, {m[3]}, ",
    ),
    "branch the other way": (re.compile(r"@(!?)(%\w+)(?=\s+bra)"), lambda m: f"@{'' if m[1] else '!'}{m[2]}"),
}  # fmt: skip


BARRIERS = ("drop the barrier", "drop the warp barrier")


def executed(counters):
    """PTX lines of a launch of one program that some lane ran."""
    (tally,) = counters.tallies.values()
    return set(tally.program.lines) - set(counters.missed)


def mutants(ptx, lines, *, most=None, seed=0, kinds=tuple(CHANGES)):
    """Every mutant of these lines; at most so many of a kind, chosen by the seed.

    Args:
        ptx: the text.
        lines: numbers of lines, from 1.
        most: of each kind.
        kinds: of CHANGES.
    """
    text = ptx.splitlines(keepends=True)
    chooser, found = random.Random(seed), []
    for kind in kinds:
        pattern, change = CHANGES[kind]
        of_kind = []
        for line in sorted(lines):
            before = text[line - 1]
            after = pattern.sub(change, before, count=1)
            if after != before:
                changed = "".join([*text[: line - 1], after, *text[line:]])
                of_kind.append(Mutant(kind, line, before.strip(), after.strip(), changed))
        if most is not None and len(of_kind) > most:
            of_kind = sorted(chooser.sample(of_kind, most), key=lambda mutant: mutant.line)
        found += of_kind
    return found


@contextmanager
def planted(compiled, mutant, step_limit=STEP_LIMIT):
    """Until it ends, `compiled` is the mutant."""
    before, limit = compiled.program, machine.STEP_LIMIT
    compiled.__dict__["program"] = Program.parse(mutant.ptx)
    machine.STEP_LIMIT = step_limit
    try:
        yield
    finally:
        compiled.__dict__["program"] = before
        machine.STEP_LIMIT = limit


def outcome(compiled, mutant, checks, step_limit=STEP_LIMIT):
    """What noticed the mutant: the kind of fault, "wrong answer", or None."""
    with planted(compiled, mutant, step_limit):
        for right in checks:
            try:
                if not right():
                    return "wrong answer"
            except KernelFault as fault:
                return fault.kind
    return None


class Score:
    """How many mutants of each kind there were, how many were noticed, and those that were not."""

    def __init__(self, total=(), noticed=(), survivors=()):
        self.total, self.noticed, self.survivors = Counter(total), Counter(noticed), [*survivors]

    def __add__(self, other):
        parts = zip(
            (self.total, self.noticed, self.survivors), (other.total, other.noticed, other.survivors), strict=True
        )
        return Score(*(a + b for a, b in parts))

    @property
    def share(self):
        return sum(self.noticed.values()) / max(sum(self.total.values()), 1)

    def __str__(self):
        rows = [f"{kind}: {self.noticed[kind]} of {n}" for kind, n in sorted(self.total.items())]
        rows += [f"  survived: {m.kind}, line {m.line}: {m.before} -> {m.after}" for m in self.survivors]
        return "\n".join(rows)


def score(compiled, found, checks_of, step_limit=STEP_LIMIT):
    """The score of some mutants; `checks_of` tells the checks of one."""
    result = Score()
    for mutant in found:
        result.total[mutant.kind] += 1
        if outcome(compiled, mutant, checks_of(mutant), step_limit):
            result.noticed[mutant.kind] += 1
        else:
            result.survivors.append(mutant)
    return result
