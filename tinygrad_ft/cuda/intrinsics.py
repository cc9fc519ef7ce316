"""What a kernel asks of the GPU that Numba's language has no words for: four neighbours in one load or store.

One request moves 16 bytes a thread in float32 instead of 4, so a warp needs a quarter of the instructions for the same
bytes. NVVM finds this by itself where it knows the alignment, which is for local arrays only.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from tinygrad_ft.cuda.compile import intrinsic, types

I32, I64 = ir.IntType(32), ir.IntType(64)


def _four(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> tuple[Any, int]:
    """A pointer to element `index`, counted in C order, and the three after it; and the bytes of the four."""
    parts = context.make_array(kind)(context, builder, array)
    place = builder.sext(index, I64) if index.type.width < 64 else index
    four = ir.VectorType(context.get_data_type(kind.dtype), 4)
    return builder.bitcast(builder.gep(parts.data, [place]), four.as_pointer()), kind.dtype.bitwidth // 2


@intrinsic
def ld4(typing: Any, x: Any, i: Any) -> Any:
    """x[i], x[i + 1], x[i + 2] and x[i + 3] in one load; x[i] lies at a multiple of four elements."""

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        pointer, size = _four(context, builder, signature.args[0], *values)
        four = builder.load(pointer)
        four.align = size
        parts = [builder.extract_element(four, I32(k)) for k in range(4)]
        return context.make_tuple(builder, signature.return_type, parts)

    return types.UniTuple(x.dtype, 4)(x, i), write


@intrinsic
def st4(typing: Any, x: Any, i: Any, v0: Any, v1: Any, v2: Any, v3: Any) -> Any:
    """x[i] to x[i + 3] = v0 to v3 in one store, rounded to what x holds; x[i] lies at a multiple of four elements."""

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kind, *given = signature.args
        pointer, size = _four(context, builder, kind, *values[:2])
        four = ir.Constant(pointer.type.pointee, ir.Undefined)
        for k in range(4):
            value = context.cast(builder, values[2 + k], given[1 + k], kind.dtype)
            four = builder.insert_element(four, value, I32(k))
        builder.store(four, pointer).align = size
        return context.get_dummy_value()

    return types.void(x, i, v0, v1, v2, v3), write


@intrinsic
def address(typing: Any, x: Any) -> Any:
    """Where x[0] lies, in bytes."""

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.ptrtoint(context.make_array(signature.args[0])(context, builder, values[0]).data, I64)

    return types.int64(x), write
