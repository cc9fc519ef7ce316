"""PTX by hand: a kernel that loads one number of each array, runs some instructions, and stores what they answer."""

import math

import numpy as np

from tinygrad_ft.cuda.emulator import Program, run
from tinygrad_ft.cuda.emulator.operands import TYPES

HEAD = ".version 8.0\n.target sm_90\n.address_size 64\n"
ARRAY = 7  # words that an array of one axis makes as an argument


def entry(body, arrays, *, registers="", head="", name="by_hand"):
    """A kernel of so many arrays; %p0, %p1, ... hold their addresses, %t the number of the thread."""
    params = ",\n".join(f".param .u64 {name}_{n}" for n in range(ARRAY * arrays))
    lines = "\n".join(f"ld.param.u64 %p{n}, [{name}_{ARRAY * n + 4}];" for n in range(arrays))
    return f"""{HEAD}{head}
.visible .entry {name}(
{params}
)
{{
.reg .b64 %p<{arrays + 1}>;
.reg .b32 %t<1>;
.reg .b32 %block<2>;
{registers}
{lines}
mov.u32 %t0, %tid.x;
mov.u32 %block0, %ctaid.x;
mov.u32 %block1, %ntid.x;
mad.lo.s32 %t0, %block0, %block1, %t0;
{body}
ret;
}}
"""


def holder(kind):
    """The type of register that holds numbers of a type: those of 8 bits have none of their own."""
    t = TYPES[kind]
    return ".pred" if kind == "pred" else f".f{t.bits}" if t.kind == "f" else f".b{max(t.bits, 16)}"


def answers(instructions, inputs, result, *, registers=""):
    """What instructions answer in %d for %a, %b, %c, ... of these types and arrays.

    Args:
        instructions: PTX, over the registers %a, %b, ... and %d.
        inputs: pairs of a PTX type and an array of the numbers.
        result: the PTX type of %d.
        registers: further declarations.
    """
    names = "abcefghij"[: len(inputs)]
    size = inputs[0][1].size
    out = np.zeros(size, TYPES[result].dtype)
    declared, lines = registers, ""
    for n, (name, (kind, _)) in enumerate(zip(names, inputs, strict=True)):
        width = TYPES[kind].bytes
        declared += f"\n.reg {holder(kind)} %{name};\n.reg .b64 %at{n};"
        lines += f"mad.wide.u32 %at{n}, %t0, {width}, %p{n};\nld.global.{kind} %{name}, [%at{n}];\n"
    n, width = len(inputs), TYPES[result].bytes
    declared += f"\n.reg {holder(result)} %d;\n.reg .b64 %at{n};"
    lines += f"{instructions}\nmad.wide.u32 %at{n}, %t0, {width}, %p{n};\nst.global.{result} [%at{n}], %d;\n"
    program = Program.parse(entry(lines, n + 1, registers=declared))
    threads = math.gcd(size, 64)
    run(program, size // threads, threads, [*(array for _, array in inputs), out])
    return out
