"""The derivative of one op by one of its inputs, as numbers: its Jacobian, by its own rule applied to basis vectors."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_ft.engine import pick
from tinygrad_ft.explain.record import Recorded, on_cpu
from tinygrad_ft.explain.table import number, shape_text, shown

SMALL = 16  # elements of a Jacobian that is shown


def jacobian(recorded: Recorded, child: int, position: int) -> np.ndarray[Any, Any]:
    """dy/dx of the op that made node `child` by its input at that position: a row an element of y, a column one of x.

    Raises:
        ValueError: if backward() has released what the rule needs.
    """
    node = recorded.nodes[child]
    if isinstance(node.shape, list):
        raise ValueError("an op of several outputs has a Jacobian for each: ask for that of one of its outputs")
    parent: Any = node.parents[position]
    size = int(np.prod(node.shape))
    rows = np.zeros((size, int(np.prod(parent.shape))), parent.dtype)
    for i in range(size):
        basis = np.zeros(size, node.dtype)
        basis[i] = 1
        for edge in recorded.edges(child, basis.reshape(node.shape)):
            if edge.position == position:
                rows[i] = on_cpu(edge.g).reshape(-1)
    return rows


def local(recorded: Recorded, child: int, position: int) -> str:
    """The same in words: a number, a diagonal, a small matrix, or the two shapes."""
    node = recorded.nodes[child]
    parent: Any = node.parents[position]
    if node.op is None or node.op is pick or isinstance(node.shape, list) or isinstance(parent.shape, list):
        return "1"
    size, inputs = int(np.prod(node.shape)), int(np.prod(parent.shape))
    if size * inputs <= SMALL:
        matrix = jacobian(recorded, child, position)
        return number(matrix[0, 0]) if matrix.shape == (1, 1) else shown_matrix(matrix)
    if node.op.elementwise and node.shape == parent.shape:
        for edge in recorded.edges(child, np.ones(node.shape, node.dtype)):
            if edge.position == position:
                return f"diag({shown(edge.g)})"
    return f"{shape_text(node.shape)} by {shape_text(parent.shape)}"


def shown_matrix(matrix: np.ndarray[Any, Any]) -> str:
    """A small Jacobian; only its diagonal where all else is 0."""
    rows, columns = matrix.shape
    if rows == columns and not np.any(matrix - np.diag(np.diag(matrix))):
        return "diag(" + ", ".join(map(number, np.diag(matrix))) + ")"
    return "[" + "; ".join(" ".join(map(number, row)) for row in matrix) + "]"
