"""`tg.explain`: names, values, gradients, and the graph as Mermaid and as SVG, small and folded."""

import re
import time
from itertools import pairwise
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_ft as tg
from tinygrad_ft.explain.graph import BOXES
from tinygrad_ft.explain.layered import layers_of, layout
from tinygrad_ft.explain.mermaid import escaped

LABEL = r'"[^"]*"'
MERMAID_LINE = re.compile(
    rf"flowchart TD|    n\d+(\(\[{LABEL}\]\)|\[\[{LABEL}\]\]|\[/{LABEL}/\]|\[{LABEL}\])|    n\d+ -->(\|x\d+\|)? n\d+"
)


def small():
    x = tg.tensor([1.0, 2.0, 3.0], requires_grad=True)
    w = tg.tensor([[0.5], [-1.0], [2.0]], requires_grad=True)
    h = (x.reshape(1, 3) @ w).tanh()
    loss = (h * h * x).sum()
    return loss, x, w, h


def deep(layers=100):
    parts = [part for _ in range(layers) for part in (tg.nn.Linear(6, 6), tg.nn.Tanh())]
    model = tg.nn.Sequential(*parts)
    y = model(tg.ones(2, 6))
    return (y * y).mean(), model


def invalid_lines(text):
    """Lines that are not of the few kinds of Mermaid that are written here."""
    return [line for line in text.splitlines() if not MERMAID_LINE.fullmatch(line)]


def overlaps(sizes, places):
    boxes = [(x - w / 2, x + w / 2, y - h / 2, y + h / 2) for (w, h), (x, y) in zip(sizes, places, strict=True)]
    return [
        (i, j)
        for i, a in enumerate(boxes)
        for j, b in enumerate(boxes[:i])
        if a[0] < b[1] - 1e-6 and b[0] < a[1] - 1e-6 and a[2] < b[3] - 1e-6 and b[2] < a[3] - 1e-6
    ]


def test_the_backward_pass_that_is_explained_is_that_of_backward_to_the_bit():
    loss, x, w, h = small()
    explanation = tg.explain(loss)
    h.retain_grad()
    loss.backward()
    for tensor in (x, w, h):
        assert np.array_equal(explanation.gradients[explanation.names.find(tensor)], tensor.grad.array)


def test_nodes_are_called_as_the_callers_variables_and_hold_their_values():
    loss, x, w, h = small()
    assert x.is_leaf and w.is_leaf
    explanation = tg.explain(loss)
    assert {"x", "w", "h", "loss"} <= set(explanation.names.given)
    assert len(set(explanation.names.given)) == len(explanation.recorded)
    assert np.array_equal(explanation.recorded.values[h.node], h.array)
    assert len(explanation.recorded.values) == len(explanation.recorded)  # also what no rule keeps
    assert "tanh" in repr(explanation)
    assert explanation._repr_html_().count("<tr>") == len(explanation.recorded) + 1


def test_leaves_that_nobody_names_are_x1_and_x2():
    loss = (lambda: (tg.ones(2).requires_grad_() * tg.ones(2).requires_grad_()).sum())()
    assert tg.explain(loss).names.given == ["x1", "x2", "t1", "loss"]


def test_a_models_parameters_keep_their_names():
    model = tg.nn.Linear(2, 1)
    y = model(tg.ones(1, 2)).sum()
    assert {"weight", "bias"} <= set(tg.explain(y, model).names.given)


def test_an_op_of_several_outputs_is_explained():
    x = tg.tensor([[2.0, 1.0], [1.0, 3.0]], dtype=np.float64, requires_grad=True)
    values, _ = tg.linalg.eigh(x)
    y = values.sum()
    explanation = tg.explain(y)
    y.backward()
    assert np.array_equal(explanation.gradients[explanation.names.find(x)], x.grad.array)
    assert "output 0 of" in repr(explanation)


def test_what_cannot_be_explained_is_told_in_one_line():
    with pytest.raises(ValueError, match="no graph to explain"):
        tg.explain(tg.ones(2))
    with pytest.raises(ValueError, match="got int"):
        tg.explain(3)
    loss, *_ = small()
    with pytest.raises(ValueError, match=r"must have the shape \(\) of the Tensor: got \(3,\)"):
        tg.explain(loss, gradient=np.ones(3))
    loss.backward()
    with pytest.raises(ValueError, match="explain before backward"):
        tg.explain(loss).steps  # noqa: B018
    assert "flowchart" in tg.explain(loss).graph()  # the graph alone needs no rule


def test_constants_and_values_that_change_are_not_invented():
    x = tg.ones(4).requires_grad_()
    y = (tg.nn.functional.dropout(x, 0.5) + tg.tensor([1.0, 2.0, 3.0, 4.0])).sum()
    explanation = tg.explain(y)
    unknown = [node.op.name for node in explanation.recorded.nodes if node not in explanation.recorded.values]
    assert "add" in unknown  # nobody kept the constant


def test_mermaid_has_a_line_a_node_and_an_arrow_an_input():
    loss, *_ = small()
    explanation = tg.explain(loss)
    text = explanation.graph()
    assert invalid_lines(text) == []
    assert text.count("-->") == len({(p, c) for c, ps in enumerate(explanation.recorded.parents) for p in ps})
    assert "text/vnd.mermaid" in text._repr_mimebundle_()


def test_labels_that_would_break_mermaid_are_escaped_and_the_check_sees_those_that_are_not():
    assert invalid_lines(f'    n0["{escaped("a[" + chr(34) + "]#<b>`")}"]') == []
    assert invalid_lines('    n0["a["]"]') != []


def test_svg_is_wellformed_in_the_pages_own_colour_and_holds_every_name(tmp_path):
    loss, _, w, _ = small()
    assert w.requires_grad
    picture = tg.explain(loss).svg()
    root = ElementTree.fromstring(picture)
    assert "w" in {text.text for text in root.iter("{http://www.w3.org/2000/svg}text")}
    assert set(re.findall(r'(?:fill|stroke)="([^"]*)"', picture)) <= {"currentColor", "none"}
    assert "http" not in picture.replace("http://www.w3.org/2000/svg", "")
    picture.save(tmp_path / "graph.svg")
    saved = (tmp_path / "graph.svg").read_text()
    assert "prefers-color-scheme:dark" in saved
    ElementTree.fromstring(saved)


def test_a_large_model_is_folded_by_its_modules_into_few_boxes():
    loss, model = deep()
    explanation = tg.explain(loss, model)
    drawn = explanation.drawing()
    assert len(explanation.recorded) > 400
    assert len(drawn.boxes) <= BOXES + 2
    assert sorted(drawn.box_of()) == list(range(len(explanation.recorded)))  # each node lies in one box
    assert all(a < b for a, b in drawn.arrows)
    assert invalid_lines(explanation.graph()) == []
    assert drawn.boxes[-1].kind == "result"


def test_a_large_graph_without_modules_is_folded_too():
    x = tg.ones(3).requires_grad_()
    y = x
    for _ in range(5000):
        y = y * 0.999 + x
    drawn = tg.explain(y.sum()).drawing()
    assert len(drawn.boxes) <= BOXES + 3
    assert all(a < b for a, b in drawn.arrows)


def test_explaining_500_nodes_takes_less_than_two_seconds():
    loss, model = deep(125)
    start = time.process_time()
    explanation = tg.explain(loss, model)
    assert len(explanation.recorded) >= 500
    repr(explanation), explanation.graph(), explanation.svg(fold=False)
    assert time.process_time() - start < 2


@given(st.integers(1, 30), st.randoms(use_true_random=False))
def test_boxes_never_overlap_and_arrows_point_down(count, random):
    sizes = [(random.uniform(30, 200), random.uniform(20, 80)) for _ in range(count)]
    arrows = sorted({tuple(sorted(random.sample(range(count), 2))) for _ in range(2 * count)} if count > 1 else set())
    found = layout(sizes, arrows)
    assert overlaps(sizes, found.places) == []
    assert all(found.places[a][1] < found.places[b][1] for a, b in arrows)
    assert all(
        w / 2 - 1e-6 <= x <= found.width - w / 2 + 1e-6 for (w, _), (x, _) in zip(sizes, found.places, strict=True)
    )


def test_overlapping_boxes_would_be_seen():
    assert overlaps([(10, 10), (10, 10)], [(0, 0), (4, 4)]) == [(1, 0)]


def test_layers_are_longest_ways():
    assert layers_of(5, [(0, 1), (1, 2), (0, 2), (3, 2), (2, 4)]) == [0, 1, 2, 1, 3]


def test_importing_the_package_does_not_import_the_explainer(tmp_path):
    import subprocess
    import sys

    program = "import sys, tinygrad_ft; assert 'tinygrad_ft.explain' not in sys.modules; tinygrad_ft.explain.formula"
    subprocess.run([sys.executable, "-c", program], check=True)


def hidden(sizes, found):
    """Arrows that run behind a box, by the straight parts of their routes."""
    return [
        (arrow, i)
        for arrow, route in found.routes.items()
        for i, ((w, h), (x, y)) in enumerate(zip(sizes, found.places, strict=True))
        if i not in arrow
        for (ax, ay), (bx, by) in pairwise(route)
        if ax == bx and abs(ax - x) < w / 2 and min(ay, by) < y + h / 2 - 1e-6 and max(ay, by) > y - h / 2 + 1e-6
    ]


def test_long_arrows_pass_beside_the_boxes_of_the_layers_between():
    sizes = [(100.0, 40.0)] * 6
    found = layout(sizes, [(0, 1), (1, 2), (2, 3), (0, 3), (0, 4), (4, 5), (1, 5)])
    assert hidden(sizes, found) == []
    found.routes[0, 3] = [found.places[0], (found.places[0][0], found.places[3][1])]
    found.places[1] = (found.places[0][0], found.places[1][1])
    assert hidden(sizes, found) != []


def test_a_notebook_gets_the_picture_as_an_image_that_survives_the_stripping_of_svg():
    loss = small()[0]
    picture = tg.explain(loss).svg()
    html = picture._repr_html_()
    assert "<svg" not in html
    source = re.search(r'src="data:image/svg\+xml,([^"]*)"', html)[1]
    assert unquote(source) == picture.alone()
    assert ElementTree.fromstring(picture.alone()).tag.endswith("svg")
    assert f'alt="{picture.caption}"' in html


def test_every_arrow_ends_in_a_piece_with_a_direction():
    loss = small()[0]
    for path in re.findall(r'<path d="(M[^"]+)" ?[^>]*marker-end', tg.explain(loss).svg()):
        numbers = [float(n) for n in re.findall(r"-?\d+\.\d+", path)]
        points = list(zip(numbers[::2], numbers[1::2], strict=True))
        assert points[-1] != points[-2]
