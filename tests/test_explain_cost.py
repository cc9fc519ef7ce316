"""The cost of forward mode, reverse mode and checkpointing, held against counts by hand."""

import numpy as np
import pytest

import tinygrad_ft as tg
from tinygrad_ft.explain.cost import work_of


def test_multiplications_of_a_product_of_matrices_are_those_of_paper():
    a, b = np.ones((2, 3)), np.ones((3, 4))
    cost = tg.explain.cost_of(lambda a, b: (a @ b).sum(), a, b)
    assert (cost.inputs, cost.outputs) == (18, 1)
    assert cost.value == 2 * 3 * 4
    assert cost.derivative == 2 * (2 * 3 * 4)  # one for each of a and b
    assert cost.forward_mode(cost.inputs) == 24 + 18 * 48
    assert cost.reverse_mode(cost.outputs) == 24 + 48
    assert cost.checkpointed(1) == 24 + 48 + 24


def test_the_constant_side_of_a_product_costs_nothing():
    x = np.ones((2, 3))
    assert tg.explain.cost_of(lambda a: (a @ tg.ones(3, 4)).sum(), x).derivative == 24


def test_forward_and_reverse_mode_cross_where_inputs_are_as_many_as_outputs():
    cost = tg.explain.cost_of(lambda x: x.exp() @ tg.ones(3, 5), np.ones(3))
    assert cost.crossing == 5
    assert cost.forward_mode(4) < cost.reverse_mode(5) == cost.forward_mode(5) < cost.forward_mode(6)


def chain(x, n):
    for _ in range(n):
        x = x.tanh()
    return x.sum()


@pytest.mark.parametrize("n", [16, 100])
def test_peaks_of_a_chain_are_those_of_paper(n):
    size = 8 * 50
    cost = tg.explain.cost_of(lambda x: chain(x, n), np.zeros(50))
    assert cost.forward_bytes == 4 * size  # a value, its tangent and those that they come of
    assert n * size < cost.reverse_bytes <= (n + 2) * size + 16  # all that tanh keeps, and two cotangents
    root = int((n + 1) ** 0.5)
    assert cost.segments == root
    assert cost.checkpoint_bytes <= (2 * root + 5) * size


def test_more_inputs_do_not_change_reverse_mode_but_forward_mode():
    few, many = (tg.explain.cost_of(lambda x: (x * x).sum(), np.ones(n)) for n in (10, 1000))
    assert many.reverse_mode(1) == 100 * few.reverse_mode(1)
    assert many.forward_mode(many.inputs) > 5000 * few.forward_mode(few.inputs)


def test_what_is_estimated_is_said():
    cost = tg.explain.cost_of(lambda x: tg.softmax(x, axis=-1).sum(), np.ones((2, 3)))
    assert cost.estimated == ["softmax"]
    assert "Estimated, two an element: softmax" in repr(cost)
    assert "reverse mode" in cost._repr_html_()


def test_contractions_count_the_product_of_all_letters():
    y = tg.einsum("ij,jk->ik", tg.ones(2, 3).requires_grad_(), tg.ones(3, 4))
    worked = [work_of(node)[0] for node in tg.explain(y).recorded.nodes if node.op is not None]
    assert sum(worked) == 24


def test_a_function_of_nothing_is_told():
    with pytest.raises(ValueError, match="no graph to explain"):
        tg.explain.cost_of(lambda x: 3.0, np.ones(2))
