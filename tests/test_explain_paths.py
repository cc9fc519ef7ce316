"""Paths sum to the gradient on 1,000 random graphs, wrong ways are wrong, and derivations say what the engine did."""

import numpy as np
import pytest

import tinygrad_ft as tg
from tinygrad_ft.explain.paths import large

UNARY = ("tanh", "sin", "exp", "sigmoid")


def random_graph(seed):
    """A random graph of float64 ops over scalars and vectors, with sums, broadcasts and values that are used again."""
    rng = np.random.default_rng(seed)
    shapes = [(), (3,), (2, 3)]
    leaves = [
        tg.tensor(rng.uniform(-0.9, 0.9, shapes[rng.integers(3)]), requires_grad=True)
        for _ in range(rng.integers(1, 4))
    ]
    values = list(leaves)
    for _ in range(rng.integers(2, 10)):
        a, b = (values[rng.integers(max(0, len(values) - 4), len(values))] for _ in range(2))
        kind = rng.integers(6)
        if kind == 0:
            values.append(getattr(tg, UNARY[rng.integers(4)])(a * 0.7))
        elif kind == 1:
            values.append(a.sum())
        elif kind == 2 and a.ndim == 2:
            values.append(a @ tg.tensor(rng.uniform(-1, 1, (3, 3))))
        elif kind == 3:
            values.append(a + b)
        elif kind == 4:
            values.append(a / (b * b + 1.5))
        else:
            values.append(a * b)
    return values[-1].sum(), leaves


def agreement(seed, spoil=1.0):
    """The largest relative difference between path sums and .grad over the leaves of a graph, and how many paths."""
    loss, leaves = random_graph(seed)
    explanation = tg.explain(loss)
    reached = [x for x in leaves if x.node in explanation.recorded.number]
    found = [explanation.paths(x, limit=20_000) for x in reached]
    loss.backward()
    worst = 0.0
    for x, paths in zip(reached, found, strict=True):
        assert len(paths.paths) == paths.count
        if paths.paths:
            paths.paths[0].g = paths.paths[0].g * spoil
        grad = x.grad.array
        scale = max(np.abs(grad).max(), sum(np.abs(p.g).max() for p in paths.paths), 1e-300)
        worst = max(worst, float(np.abs(paths.sum - grad).max() / scale))
    return worst, sum(paths.count for paths in found)


def test_path_products_sum_to_grad_on_a_thousand_random_graphs():
    results = [agreement(seed) for seed in range(1000)]
    assert max(worst for worst, _ in results) < 1e-10
    assert sum(count > 5 for _, count in results) > 300  # they are no mere chains


def test_a_path_that_is_wrong_by_a_millionth_would_be_seen():
    assert max(agreement(seed, spoil=1 + 1e-6)[0] for seed in range(10)) > 1e-10


def diamond():
    a = tg.tensor(2.0, requires_grad=True)
    c = a * a
    d = c * a + c
    return d * c, a


def test_products_of_a_small_graph_are_those_of_paper():
    f, a = diamond()
    paths = tg.explain(f).paths(a)
    assert sorted(float(p.g) for p in paths.paths) == [8, 8, 16, 16, 16, 24, 24]
    assert "4 · 1 · 2 · 2" in repr(paths)
    assert "sum over 7 paths" in repr(paths)
    assert paths._repr_html_().count("<tr>") == 10
    assert paths.difference == 0


def test_paths_go_through_ops_of_several_outputs():
    x = tg.tensor([[2.0, 0.3], [0.3, 1.0]], dtype=np.float64, requires_grad=True)
    values, vectors = tg.linalg.eigh(x)
    y = values.sum() * values[0] + (vectors * vectors)[0, 0]
    assert tg.explain(y).paths(x).difference < 1e-12


def test_too_many_paths_are_counted_and_refused_not_walked():
    x = tg.tensor(1.0, requires_grad=True)
    y = x
    for _ in range(3000):
        y = (y + y) * 0.5
    explanation = tg.explain(y)
    with pytest.raises(ValueError, match=r"about 10\^903 paths lead from .* to x, more than 1,000"):
        explanation.paths(x)
    y = x
    for _ in range(12):
        y = y + y
    with pytest.raises(ValueError, match="4,096 paths"):
        tg.explain(y).paths("x")
    assert tg.explain(y).paths("x", limit=4096).count == 4096
    assert large(10**20) == "about 10^20"


def test_a_leaf_that_is_not_there_is_told():
    f, _ = diamond()
    with pytest.raises(ValueError, match="nothing in this graph is called 'q'"):
        tg.explain(f).paths("q")
    with pytest.raises(ValueError, match="does not depend on it"):
        tg.explain(f).paths(tg.ones(1).requires_grad_())
    with pytest.raises(ValueError, match="'depth-first' and 'assign'"):
        tg.explain(f).paths("x1", wrong="upside-down")


def test_both_wrong_ways_come_out_wrong_where_values_are_used_twice():
    f, a = diamond()
    explanation = tg.explain(f)
    first, assigned = explanation.paths(a, wrong="depth-first"), explanation.paths(a, wrong="assign")
    assert first.differ == assigned.differ == ["a"]
    assert float(first.gradients[0]) == 48  # 112 is right
    assert float(assigned.gradients[0]) == 16
    assert "at t1, 12 from f was never handed on" in repr(first)
    assert "at t1, 12 from f was wiped out" in repr(assigned)


def test_both_wrong_ways_are_right_on_a_chain():
    x = tg.tensor([0.5, 0.2], requires_grad=True)
    y = x.exp().tanh().sum()
    for way in ("depth-first", "assign"):
        wrong = tg.explain(y).paths(x, wrong=way)
        assert wrong.differ == []
        assert "Nothing got lost" in repr(wrong)


def test_a_derivation_walks_in_the_order_of_the_chain_rule_and_hands_on_what_arrives():
    f, _ = diamond()
    explanation = tg.explain(f)
    steps = explanation.derivation().steps
    assert [s.number for s in steps] == sorted((s.number for s in steps), reverse=True)
    arrived = {len(explanation.recorded) - 1: 1.0}
    for step in steps:
        assert float(step.g) == arrived[step.number]
        for edge in step.edges:
            arrived[edge.parent] = arrived.get(edge.parent, 0.0) + float(edge.g)


def test_a_derivation_says_which_axes_were_summed_and_why():
    x, b = tg.ones(4, 3).requires_grad_(), tg.ones(3).requires_grad_()
    column = tg.ones(4, 1).requires_grad_()
    text = repr(tg.explain((x * column + b).sum()).derivation())
    assert "summed over axis 0 of (4, 3): b of shape (3,) was broadcast to 4 copies, and every copy counts" in text
    assert "summed over axis 1 of (4, 3): column of shape (4, 1) was broadcast to 3 copies" in text
    assert "spread over the shape (4, 3)" in text
    assert "dy = b da + a db." in text
    html = tg.explain((x * column + b).sum()).derivation()._repr_html_()
    assert "was broadcast" in html


def test_a_derivation_of_thousands_of_nodes_is_cut_and_made_quickly():
    x = tg.ones(2).requires_grad_()
    y = x
    for _ in range(4000):
        y = y * 0.9999
    derivation = tg.explain(y.sum()).derivation()
    assert len(derivation) == 4002
    assert "3902 more steps" in repr(derivation)


def test_html_of_names_that_look_like_html_is_escaped():
    variables = {"<b>": tg.ones(1).requires_grad_()}
    y = variables["<b>"].sum()
    html = tg.explain(y)._repr_html_()
    assert "<b>" not in html
    assert "&lt;b&gt;" in html


def test_the_command_shows_steps_and_paths(capsys):
    from tinygrad_ft.cli import main

    assert main(["explain", "x * y + x", "--at", "x=2,y=3", "--wrt", "x", "--steps", "--paths"]) == 0
    shown = capsys.readouterr().out
    assert "hands on  to x: 3" in shown
    assert "sum over 2 paths" in shown
    assert main(["explain", "2 + 3", "--steps"]) == 1
    assert "there are no steps to show" in capsys.readouterr().err
